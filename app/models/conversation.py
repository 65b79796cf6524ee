"""Conversations of people with the platform's assistants."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import FetchedValue, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, Timestamp, UUIDKey

if TYPE_CHECKING:
    from app.models.chatbot import Chatbot
    from app.models.message import Message
    from app.models.tenant import Tenant
    from app.models.user import User


class Conversation(Base):
    """A conversation of one person. Guide: "Modified Tables", `conversations`.

    `chatbot` is None for conversations from before chatbots, and for those whose chatbot is gone.

    Row security: "Users can view (create, update, delete) their own conversations" (revision 006).
    """

    __tablename__ = "conversations"
    __table_args__ = (
        # Over both columns, so that a link never leaves its tenant.
        ForeignKeyConstraint(
            ["tenant_id", "chatbot_id"], ["chatbots.tenant_id", "chatbots.id"], ondelete="SET NULL (chatbot_id)"
        ),
        Index("idx_conversations_tenant_id", "tenant_id"),
        Index("idx_conversations_user_id", "user_id", "created_at", "tenant_id"),
        Index(
            "idx_conversations_chatbot_id",
            "chatbot_id",
            "created_at",
            postgresql_where=text("chatbot_id IS NOT NULL"),
        ),
        Index(
            "idx_conversations_tenant_chatbot",
            "tenant_id",
            "chatbot_id",
            "user_id",
            "created_at",
            postgresql_where=text("chatbot_id IS NOT NULL"),
        ),
        {"comment": "A person's, with a chatbot or with none"},
    )

    id: Mapped[UUIDKey]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str | None]
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    chatbot_id: Mapped[UUID | None] = mapped_column(
        comment="The chatbot it is with; NULL for those from before chatbots, and once the chatbot is gone"
    )
    chatbot_version: Mapped[int | None] = mapped_column(
        server_default=FetchedValue(),
        server_onupdate=FetchedValue(),
        comment=(
            "The version that its chatbot had when they were linked, or linked again; NULL without a chatbot, and for"
            " links from before versions"
        ),
    )

    __mapper_args__: dict[str, Any] = {"eager_defaults": True}  # noqa: RUF012 - an AsyncSession reads nothing later

    tenant: Mapped["Tenant"] = relationship(back_populates="conversations")
    user: Mapped["User"] = relationship(back_populates="conversations")
    # By chatbot_id alone: over both columns, `conversation.chatbot = None` would set tenant_id to NULL as well.
    chatbot: Mapped["Chatbot | None"] = relationship(
        back_populates="conversations", primaryjoin="Chatbot.id == foreign(Conversation.chatbot_id)"
    )
    messages: Mapped[list["Message"]] = relationship(back_populates="conversation", passive_deletes="all")

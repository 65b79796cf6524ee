"""Users: the people of a tenant."""

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import ANY_ROLE, ANY_TEXT, TRUE, Base, Timestamp, UUIDKey

if TYPE_CHECKING:
    from app.models.chatbot import Chatbot
    from app.models.conversation import Conversation
    from app.models.feedback import Feedback
    from app.models.tenant import Tenant

Role = Literal["admin", "user"]


class User(Base):
    """A person of one tenant. Guide: "Modified Tables", `users`.

    An adopted platform that had roles before keeps them: `role` is then any string of the platform's, or None, and
    chatbot admins are those whose role is one of `-x admin_role`. `is_active` may be None there: inactive.

    Row security: "Users can view themselves and admins their tenant" (revision 008), "Users can update their own
    profile" (006). `role`, `tenant_id` and `is_active` are changed by the table's owner and by service alone.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("tenant_id", "email"),
        CheckConstraint("role::text IN ('admin', 'user')", name="role"),
        Index("idx_users_role", "role"),
        Index("idx_users_tenant_role", "tenant_id", "role"),
        {"comment": "The people of a tenant"},
    )

    id: Mapped[UUIDKey]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(ANY_TEXT)
    full_name: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=TRUE)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    role: Mapped[Role] = mapped_column(
        ANY_ROLE,
        server_default="user",
        comment="admin: manages the chatbots of their tenant; user: uses them",
    )

    tenant: Mapped["Tenant"] = relationship(back_populates="users")
    created_chatbots: Mapped[list["Chatbot"]] = relationship(back_populates="creator", passive_deletes="all")
    conversations: Mapped[list["Conversation"]] = relationship(back_populates="user", passive_deletes="all")
    feedback: Mapped[list["Feedback"]] = relationship(back_populates="user", passive_deletes="all")

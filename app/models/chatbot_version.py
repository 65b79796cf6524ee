"""Versions of chatbots: each configuration that one has had."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, Timestamp
from app.models.tool import Tool, tools_of

if TYPE_CHECKING:
    from app.models.chatbot import Chatbot


class ChatbotVersion(Base):
    """A chatbot's configuration as it once was saved; written by the database. Guide: "Future Enhancements".

    Row security: "Admin users can view chatbot versions in their tenant" (revision 013). Nobody
    but the owner writes it.
    """

    __tablename__ = "chatbot_versions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "chatbot_id"], ["chatbots.tenant_id", "chatbots.id"], onupdate="CASCADE", ondelete="CASCADE"
        ),
        Index("idx_chatbot_versions_created_by", "created_by", postgresql_where=text("created_by IS NOT NULL")),
        {"comment": "Each configuration that a chatbot has had; written by triggers alone, and never changed"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    chatbot_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="From 1, without gaps")
    system_prompt: Mapped[str]
    model: Mapped[str] = mapped_column(String(100))
    temperature: Mapped[float]
    max_tokens: Mapped[int | None]
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_by: Mapped[UUID | None] = mapped_column(
        comment="Who made it; NULL where no person is known, and once that person is gone"
    )
    created_at: Mapped[Timestamp]

    chatbot: Mapped["Chatbot"] = relationship(
        back_populates="versions", primaryjoin="Chatbot.id == foreign(ChatbotVersion.chatbot_id)", viewonly=True
    )

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The functions that the model could call, from `settings`.

        Raises:
            TypeError: they are from before revision 015, and of another shape.
        """
        return tools_of(self.settings)

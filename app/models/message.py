"""Messages: what was said in a conversation."""

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import ANY_TEXT, Base, Timestamp, UUIDOrIntegerKey

if TYPE_CHECKING:
    from app.models.conversation import Conversation
    from app.models.feedback import Feedback

MessageRole = Literal["user", "assistant", "system", "tool"]


class Message(Base):
    """One message of a conversation, by its user or by the assistant.

    On an adopted platform `id` is an int where the platform's ids are integers, and `role` whatever its roles are.

    Row security: "Users can view messages of their own conversations", "Users can write messages in their own
    conversations" (revision 006), the latter with role 'user' alone.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant', 'system', 'tool')", name="role"),
        Index("idx_messages_conversation_id", "conversation_id", "created_at"),
        {"comment": "What was said in a conversation"},
    )

    id: Mapped[UUIDOrIntegerKey]
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    role: Mapped[MessageRole] = mapped_column(ANY_TEXT)
    content: Mapped[str]
    created_at: Mapped[Timestamp]

    conversation: Mapped["Conversation"] = relationship(back_populates="messages")
    feedback: Mapped[list["Feedback"]] = relationship(back_populates="message", passive_deletes="all")

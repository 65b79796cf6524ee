"""Feedback: how people rate the answers they get."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, Synonym, mapped_column, relationship, synonym

from app.models.base import ANY_NUMBER, Base, Timestamp, UUIDOrIntegerKey

if TYPE_CHECKING:
    from app.models.message import Message
    from app.models.user import User


class Feedback(Base):
    """A person's rating of a message, one each. Guide: "Modified Tables", `feedback`.

    On an adopted platform `id` and `message_id` are ints where the platform's ids are integers, and `rating` is a
    Decimal or a float where its ratings have fractions. Ratings may be thumbs there: -1 and 1.

    `comment` is what `notes` was called before revision 010; it still reads, writes and filters.

    Row security: "Users can view (update, delete) their own feedback", "Users can give feedback on their own
    conversations" (revision 006).
    """

    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("message_id", "user_id"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),
        Index("idx_feedback_user_id", "user_id"),
        {"comment": "How a person rates a message, once"},
    )

    id: Mapped[UUIDOrIntegerKey]
    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    rating: Mapped[int] = mapped_column(ANY_NUMBER)
    notes: Mapped[str | None]
    created_at: Mapped[Timestamp]

    comment: Synonym[str | None] = synonym("notes")

    message: Mapped["Message"] = relationship(back_populates="feedback")
    user: Mapped["User"] = relationship(back_populates="feedback")

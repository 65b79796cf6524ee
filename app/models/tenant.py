"""Tenants: the organisations that share the platform."""

from typing import TYPE_CHECKING

from sqlalchemy.orm import Mapped, relationship

from app.models.base import Base, Timestamp, UUIDKey

if TYPE_CHECKING:
    from app.models.chatbot import Chatbot
    from app.models.conversation import Conversation
    from app.models.user import User


class Tenant(Base):
    """An organisation on the platform; nothing of one is ever seen by another.

    Row security: "Users can view their tenant" (revision 006).
    """

    __tablename__ = "tenants"
    __table_args__ = ({"comment": "Organisations; none ever sees what is another's"},)

    id: Mapped[UUIDKey]
    name: Mapped[str]
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]

    users: Mapped[list["User"]] = relationship(back_populates="tenant", passive_deletes="all")
    chatbots: Mapped[list["Chatbot"]] = relationship(back_populates="tenant", passive_deletes="all")
    conversations: Mapped[list["Conversation"]] = relationship(back_populates="tenant", passive_deletes="all")

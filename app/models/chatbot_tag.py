"""Tags of chatbots, a row each: what chatbots are found by."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import LABEL, Base


class ChatbotTag(Base):
    """One tag of one chatbot; written by the database from `Chatbot.tags`. Guide: "Chatbot Categories/Tags".

    `Chatbot.with_any_tag` and `Chatbot.with_all_tags` search here: under row security no index serves an operator of
    arrays. A list of those with a tag is here, too, by one index:

        select(ChatbotTag.chatbot_id, ChatbotTag.name).where(ChatbotTag.tag == "orders").order_by(ChatbotTag.name)

    Row security: "Users can view tags of published chatbots and admins all", "Demo user can view tags of published
    chatbots" (revision 014). Nobody but the owner writes it.
    """

    __tablename__ = "chatbot_tags"
    __table_args__ = (
        CheckConstraint(LABEL.format("tag"), name="tag"),
        ForeignKeyConstraint(
            ["tenant_id", "chatbot_id"], ["chatbots.tenant_id", "chatbots.id"], onupdate="CASCADE", ondelete="CASCADE"
        ),
        Index("idx_chatbot_tags_tag", "tenant_id", "tag", "name", postgresql_include=["chatbot_id", "is_published"]),
        {"comment": "Each tag of each chatbot, to find it by; written by triggers"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    chatbot_id: Mapped[UUID] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), comment="The chatbot's")
    is_published: Mapped[bool] = mapped_column(comment="Whether the chatbot is")

"""Chatbots: the agents that a tenant's admins configure and publish."""

from collections.abc import Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    FetchedValue,
    ForeignKey,
    Index,
    String,
    Text,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import FALSE, LABEL, Base, Timestamp, UUIDKey
from app.models.chatbot_tag import ChatbotTag
from app.models.tool import Tool, tools_of, with_tools

if TYPE_CHECKING:
    from app.models.chatbot_version import ChatbotVersion
    from app.models.conversation import Conversation
    from app.models.tenant import Tenant
    from app.models.user import User


class Chatbot(Base):
    """An AI agent of one tenant. Guide: "New Tables", `chatbots`.

    Row security: the guide's six policies (revisions 007 and 008). Admins manage those of their tenant, members view
    its published ones, anonymous visitors view parts of every published one (also as view `published_chatbots`).

    Who saves what somebody else has changed meanwhile gets SQLAlchemy's `StaleDataError`, by `lock_version`: roll back,
    read it again, and save what you change of that.

    The database trims `category` and `tags`, and leaves out what is blank or repeated: read again, they are as it keeps
    them.
    """

    __tablename__ = "chatbots"
    __table_args__ = (
        CheckConstraint(r"name ~ '\S'", name="name"),
        CheckConstraint(r"system_prompt ~ '\S'", name="system_prompt"),
        CheckConstraint(r"model ~ '\S'", name="model"),
        CheckConstraint("temperature BETWEEN 0 AND 2", name="temperature"),
        CheckConstraint("max_tokens >= 1", name="max_tokens"),
        CheckConstraint("jsonb_typeof(settings) = 'object'", name="settings"),
        CheckConstraint(LABEL.format("category"), name="category"),
        CheckConstraint("cardinality(tags) <= 20", name="tags"),
        Index("idx_chatbots_tenant_id", "tenant_id", "id", unique=True),
        Index(
            "idx_chatbots_created_by",
            "created_by",
            "created_at",
            "tenant_id",
            postgresql_where=text("created_by IS NOT NULL"),
        ),
        Index("idx_chatbots_is_published", "created_at", postgresql_where=text("is_published")),
        Index("idx_chatbots_tenant_published", "tenant_id", "is_published", "name", postgresql_include=["id"]),
        Index("idx_chatbots_created_at", "tenant_id", "created_at"),
        Index("idx_chatbots_name", "tenant_id", "name", postgresql_ops={"name": 'COLLATE "C"'}),
        Index(
            "idx_chatbots_category",
            "tenant_id",
            "category",
            "name",
            postgresql_include=["id", "is_published"],
            postgresql_where=text("category IS NOT NULL"),
        ),
        {"comment": "AI agents that a tenant's admins configure and publish"},
    )

    id: Mapped[UUIDKey]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    created_by: Mapped[UUID | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), comment="The admin who made it; NULL once that person is gone"
    )
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None]
    system_prompt: Mapped[str] = mapped_column(
        comment="Instructions to the model; members of the tenant can read those of published chatbots"
    )
    model: Mapped[str] = mapped_column(String(100), comment="Name of the language model, as its provider spells it")
    temperature: Mapped[float] = mapped_column(server_default=text("0.7"), comment="Randomness of the answers, 0 to 2")
    max_tokens: Mapped[int | None] = mapped_column(comment="Longest answer in tokens; NULL leaves it to the model")
    settings: Mapped[dict[str, Any]] = mapped_column(
        JSONB,
        server_default=text("'{}'"),
        comment="Further parameters, a JSON object; tools in it are functions for the model",
    )
    is_published: Mapped[bool] = mapped_column(
        server_default=FALSE, comment="Visible to the tenant's members, and in parts to anonymous visitors"
    )
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp] = mapped_column(
        server_onupdate=FetchedValue(),
        comment="When the configuration or publishing last changed; kept by the database",
    )
    version: Mapped[int] = mapped_column(
        server_default="1",
        server_onupdate=FetchedValue(),
        comment="Number of its configuration in chatbot_versions; kept by the database",
    )
    lock_version: Mapped[int] = mapped_column(
        server_default="1",
        server_onupdate=FetchedValue(),
        comment="Moves with every save; who states the one that they have read is refused if it has moved",
    )
    category: Mapped[str | None] = mapped_column(
        comment="What it is for, to find it by: at most 50 characters, trimmed"
    )
    tags: Mapped[list[str]] = mapped_column(
        MutableList.as_mutable(ARRAY(Text)),
        server_default=text("'{}'"),
        comment="To find it by: at most 20 of at most 50 characters, trimmed, none twice; searched in chatbot_tags",
    )
    __mapper_args__: dict[str, Any] = {  # noqa: RUF012
        "version_id_col": lock_version,
        "version_id_generator": False,
        "eager_defaults": True,  # an AsyncSession reads nothing later
    }

    tenant: Mapped["Tenant"] = relationship(back_populates="chatbots")
    creator: Mapped["User | None"] = relationship(back_populates="created_chatbots")
    conversations: Mapped[list["Conversation"]] = relationship(
        back_populates="chatbot",
        primaryjoin="Chatbot.id == foreign(Conversation.chatbot_id)",
        passive_deletes="all",
    )
    versions: Mapped[list["ChatbotVersion"]] = relationship(
        back_populates="chatbot",
        primaryjoin="Chatbot.id == foreign(ChatbotVersion.chatbot_id)",
        order_by="ChatbotVersion.version.desc()",
        viewonly=True,
    )

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The functions that the model may call, from `settings`; to change them, set others.

        Raises:
            TypeError: they are from before revision 015, and of another shape.
        """
        return tools_of(self.settings)

    @tools.setter
    def tools(self, tools: Iterable[Tool]) -> None:
        self.settings = with_tools(self.settings, tools)

    @classmethod
    def with_any_tag(cls, *tags: str) -> ColumnElement[bool]:
        """The condition that a chatbot has one of these tags; case tells tags apart."""
        return cls.id.in_(select(ChatbotTag.chatbot_id).where(ChatbotTag.tag.in_(as_kept(tags))))

    @classmethod
    def with_all_tags(cls, *tags: str) -> ColumnElement[bool]:
        """The condition that a chatbot has each of these tags; case tells tags apart."""
        wanted = as_kept(tags)
        if not wanted:
            return true()
        having = select(ChatbotTag.chatbot_id).where(ChatbotTag.tag.in_(wanted)).group_by(ChatbotTag.chatbot_id)
        return cls.id.in_(having.having(func.count() == len(wanted)))

    def restore(self, version: "ChatbotVersion") -> None:
        """Take over the configuration of a version of this chatbot: once it is saved, it is the newest.

        Raises:
            ValueError: it is another chatbot's.
        """
        if version.chatbot_id != self.id:
            raise ValueError(f"Version {version.version} is of chatbot {version.chatbot_id}, not of {self.id}.")
        self.system_prompt = version.system_prompt
        self.model = version.model
        self.temperature = version.temperature
        self.max_tokens = version.max_tokens
        self.settings = deepcopy(version.settings)


def as_kept(tags: Iterable[str]) -> set[str]:
    """Tags as the database keeps them: trimmed, and in Unicode's form C (revision 014)."""
    return {normalize("NFC", tag).strip() for tag in tags}

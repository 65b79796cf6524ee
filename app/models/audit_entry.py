"""The audit log: who changed chatbots, and people's roles and activity."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

AuditAction = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]


class AuditEntry(Base):
    """One change of a chatbot, or of a person's role or activity; written by the database. Guide: "Metrics to Track".

    It refers to nothing, so that it outlives what it tells of. A row that moves to another tenant is told to the one as
    deleted, to the other as inserted.

    Row security: "Admin users can view the audit log of their tenant" (revision 012). Nobody but the owner writes it.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("idx_audit_log_changed_at", "changed_at"),
        {"comment": "Changes of chatbots, and of people's roles and activity; written by triggers alone"},
    )

    tenant_id: Mapped[UUID] = mapped_column(
        primary_key=True,
        comment="Whose row it was; a row that moves is deleted from one tenant and inserted into the other",
    )
    changed_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.clock_timestamp())
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[UUID | None] = mapped_column(
        server_default=text("chatbot_private.author()"),
        comment="The person whom the token named; NULL where none did, or once that person is erased",
    )
    database_role: Mapped[str] = mapped_column(
        server_default=text("coalesce(nullif(current_setting('role'), 'none'), session_user)"),
        comment="The role that spoke: a client's, service_role, or whoever logged in",
    )
    action: Mapped[AuditAction] = mapped_column(Text, comment="INSERT, UPDATE, DELETE or TRUNCATE")
    table_name: Mapped[str]
    row_id: Mapped[UUID | None] = mapped_column(comment="NULL for TRUNCATE, and for a person who is erased")
    old_values: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, comment="Of what an UPDATE changed alone; of a DELETE all that is watched; of a TRUNCATE how many rows"
    )
    new_values: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, comment="Of what an UPDATE changed alone; of an INSERT all that is watched"
    )

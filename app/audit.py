"""What the audit log tells an operator, of one tenant or of all. Guide: "Metrics to Track"."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from app.errors import SetupError
from app.models import AuditAction, AuditEntry, Chatbot, Tenant, User
from app.sight import require_every_row
from app.tenants import find_tenant

READ = ["audit_log", "chatbots", "tenants", "users"]
AT_ONCE = 1000  # entries fetched together: a log may be longer than memory


@dataclass(frozen=True)
class Change:
    """One entry of the log, with what its ids are called today.

    Args:
        changed_at: timezone-aware.
        tenant: its name; None: it is gone.
        user: the email of the person whom the token named; None: it named nobody, or somebody who is gone.
        database_role: the role that spoke.
        row: the chatbot's name, or the email of whose role or activity it is; None: not known any more.
        old_values: by column, of an UPDATE what it changed; None: there was no row.
        new_values: as `old_values`.
    """

    changed_at: datetime
    tenant_id: UUID
    tenant: str | None
    user_id: UUID | None
    user: str | None
    database_role: str
    action: AuditAction
    table_name: str
    row_id: UUID | None
    row: str | None
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None


def changes(session: Session, tenant: str | None = None, since: datetime | None = None) -> Iterator[Change]:
    """What was changed, the latest first.

    Args:
        session: of the owner of the tables, or of a role with BYPASSRLS that may read them.
        tenant: its id or name, or the id of one that is gone; None: every tenant's, gone or not.
        since: timezone-aware; None: from the beginning.

    Raises:
        SetupError: there is no such tenant, or row security hides rows from this role.
    """
    require_every_row(session.connection(), READ)
    its, person = AuditEntry, aliased(User)
    names = (its.new_values["name"].astext, its.old_values["name"].astext, Chatbot.name, person.email)
    query = (
        select(
            *(its.changed_at, its.tenant_id, Tenant.name.label("tenant"), its.user_id, User.email.label("user")),
            *(its.database_role, its.action, its.table_name, its.row_id, func.coalesce(*names).label("row")),
            *(its.old_values, its.new_values),
        )
        .outerjoin(Tenant, Tenant.id == its.tenant_id)
        .outerjoin(User, User.id == its.user_id)
        .outerjoin(Chatbot, (its.table_name == "chatbots") & (Chatbot.id == its.row_id))
        .outerjoin(person, (its.table_name == "users") & (person.id == its.row_id))
        .order_by(its.changed_at.desc(), its.id)
    )
    if tenant is not None:
        query = query.where(its.tenant_id == find_logged(session, tenant))
    if since is not None:
        query = query.where(its.changed_at >= since)
    for entry in session.execute(query.execution_options(yield_per=AT_ONCE)).mappings():
        yield Change(**entry)


def find_logged(session: Session, id_or_name: str) -> UUID:
    """The id of a tenant, which may be gone, if the log knows it.

    Raises:
        SetupError: there is none, and never was.
    """
    try:
        return find_tenant(session, id_or_name).id
    except SetupError:
        with suppress(ValueError):
            gone = UUID(id_or_name)
            if session.scalar(select(exists().where(AuditEntry.tenant_id == gone))):
                return gone
        raise

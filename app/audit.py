"""What the audit log tells an operator, of one tenant or of all. Guide: "Metrics to Track"."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, Text, cast, exists, func, select, text
from sqlalchemy.orm import Session, aliased

from app.errors import SetupError
from app.excerpts import Pair, beginning, excerpts, pieces
from app.models import AuditAction, AuditEntry, Chatbot, Tenant, User
from app.sight import require_every_row
from app.tenants import find_tenant
from app.terminal import as_text, json_in_ascii

READ = ["audit_log", "chatbots", "tenants", "users"]
AT_ONCE = 100  # entries fetched together: a log may be longer than memory, and so may its values
LONGEST_NAME = 1000  # characters of a tenant's, a person's or a chatbot's name
KEPT_BY_THE_DATABASE = ["updated_at", "lock_version"]  # they move with the others

ENTRIES = "unnest(CAST(:tenants AS uuid[]), CAST(:times AS timestamptz[]), CAST(:ids AS uuid[])) AS asked (t, at, i)"
OF_ENTRIES = f"FROM public.audit_log AS its JOIN {ENTRIES} ON its.tenant_id = t AND its.changed_at = at AND its.id = i"
OF_ENTRY = "FROM public.audit_log WHERE tenant_id = :tenant AND changed_at = :time AND id = :id"
# An UPDATE tells what it changed; of whole rows, only those of users and the counts of a TRUNCATE are told.
TOLD = f"""
    SELECT its.id AS key, key AS name, was::text, becomes::text
    {OF_ENTRIES}, LATERAL (
        SELECT key, old.value, new.value
        FROM jsonb_each(old_values) AS old FULL JOIN jsonb_each(new_values) AS new USING (key)
    ) AS columns (key, was, becomes)
    WHERE CASE action WHEN 'UPDATE' THEN key <> ALL (CAST(:kept AS text[]))
        ELSE table_name = 'users' OR action = 'TRUNCATE' END
"""
VALUES = ("old_values", "new_values")
BEGINNINGS = text(f"""
    SELECT its.id, {beginning("old_values::text")}, {beginning("new_values::text")} {OF_ENTRIES}
""")


@dataclass(frozen=True)
class Change:
    """One entry of the log without its values, with what its ids are called today.

    Args:
        changed_at: timezone-aware.
        tenant: its name; None: it is gone.
        user: the email of the person whom the token named; None: it named nobody, or somebody who is gone.
        database_role: the role that spoke.
        row: the chatbot's name, or the email of whose role or activity it is; None: not known any more.
    """

    id: UUID
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


def changes(session: Session, tenant: str | None = None, since: datetime | None = None) -> Iterator[Sequence[Change]]:
    """Return what was changed, the latest first, some entries at a time.

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
            *(its.id, its.changed_at, its.tenant_id, named(Tenant.name).label("tenant"), its.user_id),
            *(named(User.email).label("user"), its.database_role, its.action, its.table_name, its.row_id),
            named(func.coalesce(*names)).label("row"),
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
    for rows in session.execute(query.execution_options(yield_per=AT_ONCE)).mappings().partitions():
        yield [Change(**row) for row in rows]


def named(name: SQLColumnExpression[str]) -> ColumnElement[str]:
    """Return a name, or the beginning of a long one."""
    return func.left(cast(name, Text), LONGEST_NAME)


def keys(entries: Sequence[Change]) -> dict[str, list[object]]:
    """Return the parameters that name entries."""
    return {
        "tenants": [each.tenant_id for each in entries],
        "times": [each.changed_at for each in entries],
        "ids": [each.id for each in entries],
    }


def told(session: Session, entries: Sequence[Change]) -> dict[UUID, list[Pair]]:
    """Return excerpts of the values that are told of each entry, by column."""
    found: dict[UUID, list[Pair]] = defaultdict(list)
    for pair in excerpts(session, TOLD, {**keys(entries), "kept": KEPT_BY_THE_DATABASE}):
        found[pair.key].append(pair)
    return {key: sorted(pairs, key=lambda pair: (len(pair.name), pair.name)) for key, pairs in found.items()}


def as_json(session: Session, entries: Sequence[Change]) -> Iterator[str]:
    """Return whole entries as JSON, an object a line, in pieces of bounded length."""
    beginnings = {key: values for key, *values in session.execute(BEGINNINGS, keys(entries))}
    for entry in entries:
        parts = {name: value for name, value in asdict(entry).items() if name != "id"}
        yield json_in_ascii(json.dumps(parts, default=as_text)).removesuffix("}")
        one = {"tenant": entry.tenant_id, "time": entry.changed_at, "id": entry.id}
        for name, first in zip(VALUES, beginnings[entry.id], strict=True):
            yield f', "{name}": '
            for piece in ["null"] if first is None else pieces(session, f"{name}::text", OF_ENTRY, one, first):
                yield json_in_ascii(piece)
        yield "}\n"


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

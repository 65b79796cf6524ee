"""Questions to the database, asked as the connection's role or as somebody else, of which nothing stays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.errors import InsufficientPrivilege, QueryCanceled, ReadOnlySqlTransaction
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.errors import SetupError
from app.identity import BECOME, Identity
from app.sight import require_every_row

TIMEOUT = "30s"  # for each question; what takes longer is told as unknown
LIMITS = text(f"SELECT set_config('statement_timeout', '{TIMEOUT}', true), set_config('lock_timeout', '2s', true)")
VERBATIM = {"no_parameters": True}  # a policy's text may have : and % in it

ANONYMOUS = Identity("anon", json.dumps({"role": "anon"}))

PEOPLE = """
    SELECT users.id, users.email::text, users.role::text, users.is_active, users.tenant_id, tenants.name::text
    FROM public.users LEFT JOIN public.tenants ON tenants.id = users.tenant_id
    WHERE {} ORDER BY users.tenant_id, users.id LIMIT 11
"""
BY_ID = text(PEOPLE.format("users.id = CAST(:given AS uuid)"))
BY_ADDRESS = text(PEOPLE.format("users.email::text = :given"))  # a platform's type may be its own


class UnansweredError(Exception):
    """The database did not answer; the message is why."""

    def __init__(self, reason: str, *, denied: bool) -> None:
        """Denied is a question that the asking role may not ask."""
        super().__init__(reason)
        self.denied = denied


def ask(connection: Connection, question: str, identity: Identity | None = None) -> Sequence[Any]:
    """Ask for one row.

    Args:
        connection: in a read-only transaction; its role and settings are left as they were.
        question: SQL as the server takes it, without parameters.
        identity: who asks, if not the connection's role.

    Raises:
        UnansweredError: the server refused it, or it took too long.
    """
    try:
        with connection.begin_nested() as savepoint:
            connection.execute(LIMITS)
            if identity is not None:
                connection.execute(BECOME, identity._asdict())
            row = connection.exec_driver_sql(question, execution_options=VERBATIM).one()
            savepoint.rollback()
            return row
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise UnansweredError(why(error), denied=isinstance(error.orig, InsufficientPrivilege)) from error


def why(error: DBAPIError) -> str:
    """Why there was no answer, in a few words."""
    match error.orig:
        case QueryCanceled():
            return f"it takes longer than {TIMEOUT.removesuffix('s')} s"
        case ReadOnlySqlTransaction():
            return "it runs code that writes, and nothing is written here"
    return str(error.orig).splitlines()[0]


@dataclass(frozen=True)
class Person:
    """Whom a person is to the platform and to the database."""

    id: UUID
    email: str
    role: str
    is_active: bool
    tenant_id: UUID
    tenant: str | None  # its name; None where it is not there
    database_role: str = "authenticated"

    @property
    def identity(self) -> Identity:
        """What `app.identity.act_as` sets for them."""
        return Identity(self.database_role, json.dumps({"role": self.database_role, "sub": str(self.id)}))


def find(connection: Connection, email_or_id: str) -> Person:
    """The person with this address or id.

    Raises:
        SetupError: there is none or more than one, or the connection's role may not look, or not become them.
    """
    require_every_row(connection, ["tenants", "users"])
    try:
        query, given = BY_ID, str(UUID(email_or_id))
    except ValueError:
        query, given = BY_ADDRESS, email_or_id
    try:
        with connection.begin_nested():
            connection.execute(LIMITS)
            found = connection.execute(query, {"given": given}).all()
    except DBAPIError as error:
        if not isinstance(error.orig, QueryCanceled):
            raise
        raise SetupError(f"To find {email_or_id!r} takes longer than 30 s: give the id.") from error
    if not found:
        raise SetupError(f"There is no user {email_or_id!r}: give the exact address or the id of one.")
    if len(found) > 1:
        ids = ", ".join(f"{row.id} (tenant {row.name})" for row in found[:10])
        raise SetupError(f"Several users have the address {email_or_id!r}: give the id of one, such as {ids}.")
    person = Person(*found[0])
    require_becoming(connection, person.identity)
    return person


def require_becoming(connection: Connection, identity: Identity) -> None:
    """See that the connection's role may act as somebody.

    Raises:
        SetupError: it may not.
    """
    try:
        ask(connection, "SELECT true", identity)
    except UnansweredError as refusal:
        operator = connection.scalar(text("SELECT current_user"))
        raise SetupError(
            f"Role {operator} cannot act as {identity.role} ({refusal}): GRANT {identity.role} TO {operator}, or"
            " connect as a superuser."
        ) from refusal

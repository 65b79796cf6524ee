"""Finding a person as an operator names them, to act or ask as them."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.errors import QueryCanceled
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.asking import LIMITS, require_becoming
from app.errors import SetupError
from app.identity import Identity, identity_of
from app.sight import require_every_row

PEOPLE = """
    SELECT users.id, users.email::text, users.role::text, users.is_active, users.tenant_id, tenants.name::text
    FROM public.users LEFT JOIN public.tenants ON tenants.id = users.tenant_id
    WHERE {} ORDER BY users.tenant_id, users.id LIMIT 11
"""
BY_ID = text(PEOPLE.format("users.id = CAST(:given AS uuid)"))
BY_ADDRESS = text(PEOPLE.format("users.email::text = :given"))  # a platform's type may be its own


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
        return identity_of(self.id, self.database_role)


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

"""Find a person by the address or id that an operator gives, to act as that person."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.errors import QueryCanceled
from sqlalchemy import Boolean, Connection, DateTime, TableClause, Text, Uuid, cast, column, or_, select, table, text
from sqlalchemy.exc import DBAPIError

from app.asking import LIMITS, require_becoming
from app.errors import SetupError
from app.identity import Identity, identity_of
from app.sight import require_every_row

# Only the owner may call chatbot_private.identity_column(), but every role may read its body.
IDENTITY_COLUMN = text("""
    SELECT attname
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    LEFT JOIN pg_attribute ON attrelid = to_regclass('public.users') AND attnum > 0 AND NOT attisdropped
        AND prosrc = format('SELECT %L::name', attname)
    WHERE nspname = 'chatbot_private' AND proname = 'identity_column'
""")

# The columns that every platform's users have, in types that every platform's values can be compared with.
COLUMNS = {
    "id": Uuid(),
    "tenant_id": Uuid(),
    "email": None,  # email and role may be an enum, a domain or citext: cast them to text
    "role": None,
    "is_active": Boolean(),
    "created_at": DateTime(),
}
TENANTS = table("tenants", column("id", Uuid), column("name"), schema="public")
SHOWN = 10  # matches that an error lists


@dataclass(frozen=True)
class Person:
    """A row of users, as the platform and the database know it.

    Args:
        sub: The `sub` of the person's token; None: no token is theirs yet.
        identity_column: The column of users that holds `sub`.
        is_active: False where users.is_active is NULL.
        tenant: The tenant's name; None: the tenant does not exist, or has no name.
        database_role: The role that the person's token gives.
    """

    id: UUID
    sub: UUID | None
    identity_column: str
    email: str | None
    role: str | None
    is_active: bool
    tenant_id: UUID
    tenant: str | None
    database_role: str = "authenticated"

    @property
    def identity(self) -> Identity:
        """The identity that `app.identity.act_as` sets for the person.

        Raises:
            SetupError: No token is theirs yet.
        """
        if self.sub is None:
            where = f"users.{self.identity_column}"
            raise SetupError(
                f"Nobody can act as {self.email or self.id}, because {where} is NULL: the person has not signed in yet."
                f" Ask the person to sign in, or set {where} to the sub of the person's token."
            )
        return identity_of(self.sub, self.database_role)


def identity_column(connection: Connection) -> str:
    """Return the column of users that holds the `sub` of a person's token.

    Raises:
        SetupError: The database does not record one, or the column is gone.
    """
    found = connection.execute(IDENTITY_COLUMN).one_or_none()
    if found is None:
        raise SetupError("This database is not at the newest revision: run `alembic upgrade head` first.")
    if found.attname is None:
        raise SetupError("The column of users that held the sub of tokens is gone: run `python -m app doctor`.")
    return str(found.attname)


def users_with(identity: str) -> TableClause:
    """Return the table users with the columns that every platform has, and this identity column."""
    types = {identity: Uuid(), **COLUMNS}
    return table("users", *(column(name, type_) for name, type_ in types.items()), schema="public")


def find(connection: Connection, email_or_id: str) -> Person:
    """Find a person to act as: see `look_up`.

    Raises:
        SetupError: As for `look_up`. No token is the person's yet. The connection's role may not act as the person.
    """
    person = look_up(connection, email_or_id)
    require_becoming(connection, person.identity)
    return person


def look_up(connection: Connection, email_or_id: str) -> Person:
    """Find the person with an address, an id of users, or a token's `sub`.

    Raises:
        SetupError: No person matches, or several do. The connection's role may not read every row.
    """
    require_every_row(connection, ["tenants", "users"])
    identity = identity_column(connection)
    users = users_with(identity)
    try:
        given = UUID(email_or_id)
    except ValueError:
        kind, other, matches = "address", "id", cast(users.c.email, Text) == email_or_id
    else:
        kind, other, matches = "id or sub", "email", or_(users.c.id == given, users.c[identity] == given)
    query = (
        select(
            *(users.c.id, users.c[identity].label("sub"), cast(users.c.email, Text).label("email")),
            *(cast(users.c.role, Text).label("role"), users.c.is_active.is_(True).label("is_active")),
            *(users.c.tenant_id, cast(TENANTS.c.name, Text).label("tenant")),
        )
        .select_from(users.outerjoin(TENANTS, TENANTS.c.id == users.c.tenant_id))
        .where(matches)
        .order_by(users.c.tenant_id, users.c.id)
        .limit(SHOWN + 1)
    )
    try:
        with connection.begin_nested():
            connection.execute(LIMITS)
            found = connection.execute(query).mappings().all()
    except DBAPIError as error:
        if not isinstance(error.orig, QueryCanceled):
            raise
        raise SetupError(f"The search for {email_or_id!r} takes longer than 30 s: give the id.") from error
    if not found:
        raise SetupError(f"There is no user {email_or_id!r}: give the exact address, the id or the sub of one.")
    if len(found) > 1:
        others = ", ".join(f"{row[other]} (tenant {row['tenant']})" for row in found[:SHOWN])
        raise SetupError(f"Several users have the {kind} {email_or_id!r}: give the {other} of one, such as {others}.")
    return Person(identity_column=identity, **found[0])

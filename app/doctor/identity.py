"""Check that the column of users that holds the token's sub exists, and names one person at most."""

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from app.asking import UnansweredError, ask
from app.catalog.markers import name_in
from app.sight import hidden

MARKER = text("""
    SELECT prosrc FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname = 'chatbot_private' AND proname = 'identity_column'
""")
COLUMN = text("""
    SELECT quote_ident(attname) AS name, EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = attrelid AND indisunique AND indisvalid AND indimmediate AND indnkeyatts = 1
            AND indkey[0] = attnum
            AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) = format('(%I IS NOT NULL)', attname))
    ) AS is_unique
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname = :column AND NOT attisdropped
""")
SHARED = """
    WITH found AS MATERIALIZED (
        SELECT {column}::text AS sub FROM public.users WHERE {column} IS NOT NULL GROUP BY {column} HAVING count(*) > 1
    )
    SELECT (SELECT count(*) FROM found), ARRAY (SELECT sub FROM found LIMIT 3)
"""


@dataclass(frozen=True)
class IdentityColumn:
    """The column of users that holds the token's sub.

    Args:
        name: as SQL writes it.
        exists: whether users has it.
        is_unique: whether a unique index sees to it that a sub names one person.
        shared: how many subs name more than one person; None if unknown.
        subs: three of them.
        unknown: why the number is unknown.
    """

    name: str
    exists: bool = True
    is_unique: bool = True
    shared: int | None = 0
    subs: list[str] = field(default_factory=list)
    unknown: str = ""

    @property
    def faults(self) -> list[str]:
        """The faults to mend, a sentence each."""
        if not self.exists:
            return [
                f"users has no column {self.name}, which held the sub of people's tokens, so nobody sees a chatbot:"
                " restore it, or run `alembic downgrade base` and upgrade with -x identity=COLUMN."
            ]
        faults = []
        if not self.is_unique:
            faults.append(
                f"Nothing keeps users.{self.name}, which holds the sub of people's tokens, unique: CREATE UNIQUE INDEX"
                f" CONCURRENTLY ON public.users ({self.name})."
            )
        if self.shared:
            some = "1 sub names" if self.shared == 1 else f"{self.shared:,} subs name"
            faults.append(
                f"{some} more than one row of users, and so nobody: set users.{self.name} of all but one of them NULL,"
                f" such as of {', '.join(self.subs)}."
            )
        return faults


def identity_column(connection: Connection) -> str:
    """Return the column of users that holds the token's sub, as 006 recorded it."""
    return name_in((connection.scalar(MARKER) or "").strip()) or "id"


def examined_identity(connection: Connection) -> IdentityColumn:
    """Examine the column: whether it exists, whether it is unique, and otherwise which subs name several people."""
    recorded = identity_column(connection)
    column = connection.execute(COLUMN, {"column": recorded}).one_or_none()
    if column is None:
        return IdentityColumn(recorded, exists=False, is_unique=False)
    if column.is_unique:
        return IdentityColumn(column.name)
    trouble = hidden(connection, ["users"])
    try:
        if not trouble:
            count, subs = ask(connection, SHARED.format(column=column.name))
            return IdentityColumn(column.name, is_unique=False, shared=count, subs=subs)
    except UnansweredError as reason:
        trouble = str(reason)
    return IdentityColumn(column.name, is_unique=False, shared=None, unknown=trouble)

"""Whether a role sees every row: what row security hides from it, it would take for missing."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from app.errors import SetupError

HIDDEN = text("""
    SELECT format('role %s does not see every row of %s', current_user, string_agg(relname, ', ' ORDER BY relname))
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relname = ANY (CAST(:names AS text[]))
        AND (row_security_active(oid) OR NOT has_table_privilege(oid, 'SELECT'))
    HAVING count(*) > 0
""")


def hidden(connection: Connection, names: Sequence[str]) -> str:
    """Say which of the tables of schema public the connection's role does not read whole; nothing if it reads all."""
    return connection.scalar(HIDDEN, {"names": list(names)}) or ""


def require_every_row(connection: Connection, names: Sequence[str]) -> None:
    """See that the connection's role reads tables of schema public past row security.

    Raises:
        SetupError: it does not.
    """
    if trouble := hidden(connection, names):
        raise SetupError(f"R{trouble[1:]}: connect (DATABASE_URL) as the owner of the tables.")

"""Repeat the warnings of preflight that still hold."""

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.asking import UnansweredError, ask
from app.doctor.identity import identity_column
from app.migration.blocks import stated_all
from app.migration.settings import FIRST

# The first revision warns of states of the platform. The others warn of what their own step changes, which is done.
DECIDED = text("SELECT set_config('chatbots.identity', :identity, true)")


def warnings(connection: Connection, script: ScriptDirectory) -> tuple[list[str], list[str]]:
    """Ask the queries by which preflight warned.

    Args:
        connection: in a read-only transaction.
        script: the revisions.

    Returns:
        What still holds, and why any of it is unknown: the connection's role may not ask, or a query takes too long.
    """
    connection.execute(DECIDED, {"identity": identity_column(connection)})
    found: list[str] = []
    unknown: list[str] = []
    for query in stated_all(script.get_revision(FIRST), "WARNINGS"):
        try:
            (told,) = ask(connection, f"SELECT array_agg(warning) FROM ({query}\n) AS stated (warning)")
            found += told or []
        except UnansweredError as reason:
            unknown.append(f"what preflight warned of ({reason})")
    return found, unknown

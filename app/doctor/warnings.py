"""What preflight warned of before the platform was adopted, and still holds."""

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.asking import ask
from app.doctor.identity import identity_column
from app.migration.blocks import stated_all
from app.migration.settings import FIRST

# The first revision warns of states of the platform. The others warn of what their own step changes, which is done.
DECIDED = text("SELECT set_config('chatbots.identity', :identity, true)")


def warnings(connection: Connection, script: ScriptDirectory) -> list[str]:
    """Ask the queries by which preflight warned.

    Args:
        connection: in a read-only transaction.
        script: the revisions.

    Raises:
        UnansweredError: the connection's role may not ask, or it takes too long.
    """
    connection.execute(DECIDED, {"identity": identity_column(connection)})
    found: list[str] = []
    for query in stated_all(script.get_revision(FIRST), "WARNINGS"):
        (told,) = ask(connection, f"SELECT array_agg(warning) FROM ({query}\n) AS stated (warning)")
        found += told or []
    return found

"""What the verbs share: a session on the database, errors as sentences, exit codes, Alembic's settings."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg.errors import UndefinedColumn, UndefinedFunction, UndefinedTable
from sqlalchemy import Connection, event
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app.database import announced_engine, errors_as_sentences, read_any_bytes
from app.errors import SetupError
from app.terminal import errors_end_the_command

FOUND = 3  # exit code of those that only look, when there is something to mend

# The settings of each transaction; those that this version of PostgreSQL has.
TRANSACTION_SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "0",  # a person may read page by page
    "quote_all_identifiers": "off",
    "row_security": "on",
    "standard_conforming_strings": "on",
    "transaction_timeout": "0",
}
FIRST_OF_ALL = """
    SELECT pg_catalog.set_config('statement_timeout', '0', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)
"""
SETTLE = """
    SELECT set_config(key, value, true) FROM jsonb_each_text(%s::jsonb)
    WHERE EXISTS (SELECT FROM pg_settings WHERE name = key)
"""
THE_ROLES_PATH = """
    SELECT set_config('search_path', reset_val || ', public', true) FROM pg_settings WHERE name = 'search_path'
"""

Settings = Annotated[
    Path | None, typer.Option("--config", "-c", help="Alembic's settings. Default: those of this package.")
]
Decided = Annotated[
    list[str] | None,
    typer.Option("-x", metavar="NAME=VALUE", help="What `alembic -x` takes: identity, admin_role, fresh."),
]
Section = Annotated[str, typer.Option("--name", "-n", help="Their section, as `alembic --name` has it.")]


def add(verbs: typer.Typer, verb: Callable[..., None], *, example: str, name: str | None = None) -> None:
    """Add a verb: its help ends with an example, and what a person can mend ends it with a sentence."""

    @functools.wraps(verb)
    def told(*args: Any, **kwargs: Any) -> None:
        with errors_end_the_command(), errors_as_sentences():
            verb(*args, **kwargs)

    verbs.command(name=name, epilog=f"Example: {example}")(told)


@contextmanager
def database_session(*, writes: bool = False) -> Iterator[Session]:
    """A session on the database, whatever the role's own settings are.

    Args:
        writes: whether it changes rows. Otherwise it sees one state of the database, and cannot change it.

    Raises:
        SetupError: what a person has to mend.
    """
    options: dict[str, Any] = {"schema_translate_map": {None: "public"}, "isolation_level": "READ COMMITTED"}
    if not writes:
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with announced_engine(execution_options=options) as engine:
        event.listen(engine, "connect", read_any_bytes)
        event.listen(engine, "begin", partial(settle, writes=writes))
        try:
            with Session(engine) as session:
                yield session
        except ProgrammingError as error:
            if not isinstance(error.orig, UndefinedTable | UndefinedColumn | UndefinedFunction):
                raise
            if error.orig.diag.context:  # a function of the platform's lacks it, not we
                raise
            reason = error.orig.diag.message_primary
            raise SetupError(
                f"This database is not at the newest revision ({reason}): run `alembic upgrade head` first."
            ) from error


def settle(connection: Connection, *, writes: bool) -> None:
    """Set what our queries and the driver rely on, for one transaction.

    Whoever writes keeps the role's search_path, in which the platform's own triggers find their tables.
    """
    connection.exec_driver_sql(FIRST_OF_ALL)
    connection.exec_driver_sql(SETTLE, (json.dumps(TRANSACTION_SETTINGS),))
    if writes:
        connection.exec_driver_sql(THE_ROLES_PATH)

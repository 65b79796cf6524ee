"""A run of the revisions: a session with the right settings, and how patiently it waits for locks."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.errors import Diagnostic
from sqlalchemy import Connection, Engine, text

from app.errors import SetupError
from app.migration.concurrency import one_at_a_time, with_retries
from app.migration.watching import SEARCH_PATH

log = logging.getLogger("alembic")
OLDEST_SUPPORTED = 15  # PostgreSQL's major version: security_invoker views, ON DELETE SET NULL (column)

SESSION_SETTINGS = {
    "client_connection_check_interval": "1s",  # or a killed upgrade leaves its CREATE INDEX running
    "search_path": SEARCH_PATH,
    "standard_conforming_strings": "on",  # what a backslash in the revisions means
    "quote_all_identifiers": "off",  # how PostgreSQL writes what autogenerate reads
    "row_security": "on",  # an auditor, too, sees the version table through a policy
    "jit": "off",  # compiling what looks for obstacles takes a second, running it a millisecond
    "application_name": "alembic",  # whom others see waiting, or wait for
}
# Those that would end a run half-way; which of them a server knows depends on its version.
NO_TIMEOUTS = """
    SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')
"""
FIRST_LOCK_TIMEOUT = 50  # milliseconds that the first try waits for a lock; the next ones twice as long each
# In a deadlock, whoever has waited for deadlock_timeout fails: it is us who give up before.
SHORTEN_LOCK_TIMEOUT = text("""
    SELECT set_config(name, least(nullif(given, 0), patient * 9 / 10, :now)::text, false)
    FROM (
        SELECT max(setting::int) FILTER (WHERE name = 'lock_timeout'),
            max(setting::int) FILTER (WHERE name = 'deadlock_timeout')
        FROM pg_settings WHERE name IN ('lock_timeout', 'deadlock_timeout')
    ) AS settings (given, patient), unnest(ARRAY['lock_timeout', 'chatbots.lock_timeout']) AS name
""")


@dataclass(frozen=True)
class Patience:
    """How a run waits for locks: what `alembic -x name=value` sets.

    Args:
        lock_timeout: how long one strong lock waits at most, and everyone behind it; as PostgreSQL writes times.
        retry_for: seconds for which it is tried again.
    """

    lock_timeout: str = "1s"
    retry_for: float = 600

    @classmethod
    def given(cls, arguments: Mapping[str, str]) -> "Patience":
        """Read the command line's -x arguments.

        Raises:
            SetupError: one of them is not known, or no number.
        """
        unknown = arguments.keys() - {"lock_timeout", "retry_for"}
        retry_for = arguments.get("retry_for", str(cls.retry_for))
        if unknown or not re.fullmatch(r"\d+(\.\d+)?", retry_for):
            raise SetupError("-x takes lock_timeout=TIME (such as 500ms) and retry_for=SECONDS, and nothing else.")
        return cls(arguments.get("lock_timeout", cls.lock_timeout), float(retry_for))


def run(
    engine: Engine,
    migrate: Callable[[Connection, str | None], None],
    *,
    exclusive: bool,
    patience: Patience,
) -> None:
    """Run revisions on a database.

    Args:
        engine: without a pool; each try has a connection of its own.
        migrate: the work, on a connection that is set up for it, with the schema of the version table.
        exclusive: whether it changes the database, so that one run at a time may do it, retrying for its locks.
        patience: how it waits for locks.
    """

    def attempt(connection: Connection, failures: int) -> None:
        prepare_session(connection, patience.lock_timeout, failures)
        connection.commit()  # or Alembic would take the transaction for the caller's, and commit nothing
        migrate(connection, "public")

    if exclusive:
        with one_at_a_time(engine, tell=log.info):
            with_retries(engine, attempt, retry_for=patience.retry_for, tell=log.info)
    else:
        with engine.connect() as connection:
            prepare_session(connection, patience.lock_timeout, 0)
            connection.exec_driver_sql("SET search_path = public")  # where autogenerate finds the tables
            migrate(connection, None)  # rolled back with the settings, which a pooler's connection must not keep


def prepare_session(connection: Connection, lock_timeout: str, failures: int) -> None:
    """Set a fresh connection up for revisions.

    Args:
        connection: the one that the revisions will run on.
        lock_timeout: how long a strong lock may wait at most, and everyone behind it; as PostgreSQL writes times
            ("1s"). chatbots.lock_timeout repeats it: a revision lifts the timeout while it builds an index
            CONCURRENTLY, which blocks nobody while it waits, and finds there what to set it back to.
        failures: how often it was not enough. The first tries wait less: most locks are held for moments, and who
            holds one for long is not outwaited in a second, but everyone else is kept waiting for it.

    Raises:
        SetupError: the server is older than PostgreSQL 15.
    """
    driver_connection: Any = connection.connection.driver_connection
    version = driver_connection.info.server_version // 10000
    if version < OLDEST_SUPPORTED:
        raise SetupError(f"This server is PostgreSQL {version}: upgrade it to {OLDEST_SUPPORTED} or newer first.")
    for name, value in (SESSION_SETTINGS | {"lock_timeout": lock_timeout}).items():
        connection.exec_driver_sql("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
    connection.exec_driver_sql(NO_TIMEOUTS)
    connection.execute(SHORTEN_LOCK_TIMEOUT, {"now": FIRST_LOCK_TIMEOUT * 2 ** min(failures, 20)})

    def pass_on(diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            log.warning("%s", diagnostic.message_primary)  # such as what a downgrade loses

    driver_connection.add_notice_handler(pass_on)

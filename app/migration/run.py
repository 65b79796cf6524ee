"""A run of the revisions: a session with the right settings, which tries again when it does not get a lock."""

import logging
from collections.abc import Callable
from typing import Any

from psycopg.errors import Diagnostic
from sqlalchemy import Connection, Engine, text

from app.errors import SetupError
from app.migration.concurrency import one_at_a_time, with_retries
from app.migration.options import Decisions, Options
from app.migration.watching import SEARCH_PATH

log = logging.getLogger("alembic")
OLDEST_SUPPORTED = 15  # PostgreSQL's major version: security_invoker views, ON DELETE SET NULL (column)

SESSION_SETTINGS = {
    "client_connection_check_interval": "1s",  # or a killed upgrade leaves its CREATE INDEX running
    "search_path": SEARCH_PATH,
    # How PostgreSQL writes constants in the policies and defaults that are compared, and the driver reads times.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",  # what a transaction waited for, it has to see
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
NOTHING_DECIDED = Decisions()
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


def run(
    engine: Engine,
    migrate: Callable[[Connection, str | None], None],
    *,
    exclusive: bool,
    options: Options,
) -> None:
    """Run revisions on a database.

    Args:
        engine: without a pool; each try has a connection of its own.
        migrate: the work, on a connection that is set up for it, with the schema of the version table.
        exclusive: whether it changes the database, so that one run at a time may do it, retrying for its locks.
        options: how it waits for locks, and what the operator decides.
    """
    patience = options.patience

    def attempt(connection: Connection, failures: int) -> None:
        prepare_session(connection, patience.lock_timeout, failures, options.decisions)
        connection.commit()  # or Alembic would take the transaction for the caller's, and commit nothing
        migrate(connection, "public")

    if exclusive:
        with one_at_a_time(engine, tell=log.info):
            with_retries(engine, attempt, retry_for=patience.retry_for, tell=log.info)
    else:
        with engine.connect() as connection:
            prepare_session(connection, patience.lock_timeout, 0, options.decisions)
            connection.exec_driver_sql("SET search_path = public")  # where autogenerate finds the tables
            migrate(connection, None)  # rolled back with the settings, which a pooler's connection must not keep


def prepare_session(
    connection: Connection, lock_timeout: str, failures: int, decisions: Decisions = NOTHING_DECIDED
) -> None:
    """Set a fresh connection up for revisions.

    Args:
        connection: the one that the revisions will run on.
        lock_timeout: how long a strong lock may wait at most, and everyone behind it; as PostgreSQL writes times
            ("1s"). chatbots.lock_timeout repeats it: a revision lifts the timeout while it builds an index
            CONCURRENTLY, which blocks nobody while it waits, and finds there what to set it back to.
        failures: how often it was not enough. The first tries wait less: most locks are held for moments, and who
            holds one for long is not outwaited in a second, but everyone else is kept waiting for it.
        decisions: what the revisions read as settings.

    Raises:
        SetupError: the server is older than PostgreSQL 15.
    """
    driver_connection: Any = connection.connection.driver_connection
    version = driver_connection.info.server_version // 10000
    if version < OLDEST_SUPPORTED:
        raise SetupError(f"This server is PostgreSQL {version}: upgrade it to {OLDEST_SUPPORTED} or newer first.")
    for name, value in (SESSION_SETTINGS | decisions.settings() | {"lock_timeout": lock_timeout}).items():
        connection.exec_driver_sql("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
    connection.exec_driver_sql(NO_TIMEOUTS)
    connection.execute(SHORTEN_LOCK_TIMEOUT, {"now": FIRST_LOCK_TIMEOUT * 2 ** min(failures, 20)})

    def pass_on(diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            log.warning("%s", diagnostic.message_primary)  # such as what a downgrade loses

    driver_connection.add_notice_handler(pass_on)

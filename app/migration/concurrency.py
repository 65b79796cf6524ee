"""Run revisions beside a live service and beside each other: one run at a time, strong locks by short tries."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.errors import SetupError
from app.migration.watching import SAFE_PATH, watched

LOCK_KEY = 0x63686174626F7473  # of the advisory lock that a run holds on its database: "chatbots"
POLL = 0.25  # seconds between two looks at somebody else's lock
FIRST_PAUSE = 0.1  # seconds between the first two tries, and from there twice as many each time
LONGEST_PAUSE = 10.0  # seconds between two tries
RETRIED = {"55P03", "40P01"}  # lock timeout, deadlock

HOLDER = text("""
    SELECT format('process %s of %s, since %s', pid, usename, to_char(backend_start, 'HH24:MI:SS'))
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) + objid::bigint = :key AND granted
""")


@contextmanager
def one_at_a_time(engine: Engine, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other run works on this database, and keep others waiting for the length of a `with` block.

    The lock is a session's, on a connection of its own, so that it outlasts the transactions of a run and goes with
    the process, however that ends. It is polled for: a statement that waits for it would hold a snapshot, which the
    holder's CREATE INDEX CONCURRENTLY waits for in turn.

    Args:
        engine: of the database.
        tell: takes a line for whom this run waits.

    Raises:
        SetupError: a pooler hands the session's connection to others between its transactions.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        require_a_session(engine, connection)
        connection.execute(SAFE_PATH)
        connection.execute(text("SET idle_session_timeout = 0"))  # it idles for as long as the run takes
        told = False
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
            holder = None if told else connection.scalar(HOLDER, {"key": LOCK_KEY})
            if holder is not None:
                tell(f"Waiting for another upgrade of this database: {holder}")
                told = True
            time.sleep(POLL)
        try:
            yield
        finally:
            with suppress(DBAPIError):  # a server closes a session some time after its client
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})


def require_a_session(engine: Engine, connection: Connection) -> None:
    """See that what one transaction sets for the session is there in the next, while somebody else uses the server.

    A transaction-mode pooler gives the server connection that was just used to whoever comes next.
    """
    connection.execute(text("SELECT pg_catalog.set_config('chatbots.session', 'ours', false)"))
    with engine.connect() as another:
        another.execute(text("SELECT 1"))
        kept = connection.scalar(text("SELECT current_setting('chatbots.session', true)"))
        elsewhere = another.scalar(text("SELECT current_setting('chatbots.session', true)"))
    if kept != "ours" or elsewhere == "ours":
        raise SetupError(
            "DATABASE_URL leads through a transaction-mode pooler (PgBouncer, Supabase's port 6543), where the locks"
            " of an upgrade do not hold: give the direct connection, on Supabase port 5432. Nothing was changed."
        )


def with_retries(
    engine: Engine, run: Callable[[Connection, int], None], *, retry_for: float, tell: Callable[[str], None]
) -> None:
    """Run something that takes strong locks by short tries, again and again until it gets them.

    Args:
        engine: gives each try a connection of its own.
        run: the work, with the number of tries that failed at the same statement; what it committed in a try that
            failed, the next one must find and go on from.
        retry_for: seconds for which it tries one and the same statement again.
        tell: takes a line for each retry, which names who holds the lock.

    Raises:
        sqlalchemy.exc.DBAPIError: the last try's, or any error but a lock timeout or a deadlock.
    """
    failing, failures, deadline = None, 0, 0.0
    while True:
        try:
            with engine.connect() as connection, watched(engine, connection, tell) as blockers:
                return run(connection, failures)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in RETRIED:
                raise
            if error.statement != failing:  # it got further than before
                failing, failures, deadline = error.statement, 0, time.monotonic() + retry_for
            pause = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
            failures += 1
            if time.monotonic() + pause > deadline:
                raise
        tell(f"A lock is held by {blockers}; trying again in {pause:g} s")
        if blockers.vacuumed is not None:
            interrupt_autovacuum(engine, blockers.vacuumed)
        time.sleep(pause)


def interrupt_autovacuum(engine: Engine, relation: str) -> None:
    """Have PostgreSQL cancel the autovacuum of a table, which it begins anew some time later.

    It does so for whoever has waited for deadlock_timeout (1 s): longer than a strong lock may wait, with everybody
    behind it. The lock asked for here blocks neither readers nor writers while it waits.
    """
    with engine.connect() as connection, suppress(DBAPIError):  # an autovacuum against wraparound is not cancelled
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(text(f"LOCK TABLE {relation} IN SHARE UPDATE EXCLUSIVE MODE"))

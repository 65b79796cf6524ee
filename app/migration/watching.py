"""What a run is at, seen from a second connection: who blocks it, and how far an index is."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from app.migration.progress import Progress

SHORTEST_LOOK = 0.02  # seconds from the begin of a statement to the first look at it, and from there ever more to
LONGEST_LOOK = 0.25
LONG_WAIT = 2.0  # seconds after which a wait is told

SEARCH_PATH = "pg_catalog, pg_temp"  # of every session of a run: nobody's objects are taken for PostgreSQL's
SAFE_PATH = text(f"SET search_path = {SEARCH_PATH}")

# Asked of a waiting process alone: pg_blocking_pids holds up everybody's locks for a moment.
BLOCKERS = text("""
    SELECT pid, usesysid IS NULL AS is_autovacuum,
        (SELECT relation::regclass::text FROM pg_locks WHERE pid = :pid AND NOT granted AND relation IS NOT NULL),
        CASE WHEN usesysid IS NULL THEN format('process %s, an autovacuum', pid)
            ELSE format('process %s of %s', pid, usename) END
        || coalesce(format(', in a transaction for %s s', extract(epoch FROM clock_timestamp() - xact_start)::int), '')
        || coalesce(', with: ' || left(regexp_replace(
            CASE WHEN pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN query END,
            '\\s+', ' ', 'g'), 80), ', hidden from those without pg_read_all_stats')
    FROM pg_stat_activity
    WHERE pid = ANY (CASE WHEN EXISTS (
        SELECT FROM pg_stat_activity WHERE pid = :pid AND wait_event_type = 'Lock'
    ) THEN pg_blocking_pids(:pid) ELSE '{}' END)
    ORDER BY pid
""")
INDEX = text("""
    SELECT (SELECT relname FROM pg_class WHERE oid = index_relid), phase,
        CASE WHEN blocks_total > 0 THEN blocks_done::float / blocks_total
            WHEN tuples_total > 0 THEN tuples_done::float / tuples_total
            WHEN lockers_total > 0 THEN lockers_done::float / lockers_total END
    FROM pg_stat_progress_create_index WHERE pid = :pid
""")


class Blockers:
    """Who blocked a run when it was last seen waiting."""

    def __init__(self) -> None:
        """Nobody yet."""
        self.described: list[str] = []
        self.vacuumed: str | None = None  # the table that the run waits for because it is being autovacuumed

    def __str__(self) -> str:
        """For a person."""
        return ", ".join(self.described) or "somebody unseen"


@contextmanager
def watched(engine: Engine, connection: Connection, tell: Callable[[str], None]) -> Iterator[Blockers]:
    """Watch a connection's statements for the length of a `with` block; the latest blockers stand in what it yields.

    Args:
        engine: gives the watcher a connection of its own.
        connection: whom to watch.
        tell: takes a line for a long wait: CONCURRENTLY waits for older transactions, blocking nobody meanwhile.
    """
    driver_connection: Any = connection.connection.driver_connection
    watcher = Watcher(engine, driver_connection.info.backend_pid, tell)
    event.listen(connection, "before_cursor_execute", watcher.look_soon)
    event.listen(connection, "after_cursor_execute", watcher.see_no_more)
    thread = threading.Thread(target=watcher.watch, daemon=True)
    thread.start()
    try:
        yield watcher.blockers
    finally:
        event.remove(connection, "before_cursor_execute", watcher.look_soon)
        event.remove(connection, "after_cursor_execute", watcher.see_no_more)
        watcher.stop()
        thread.join()


class Watcher:
    """Looks at one process from a connection of its own; soon after a statement begins, then less and less often."""

    def __init__(self, engine: Engine, pid: int, tell: Callable[[str], None]) -> None:
        """Of the process `pid`."""
        self.blockers = Blockers()
        self._engine, self._pid = engine, pid
        self._progress = Progress(tell)
        self._woken, self._over = threading.Event(), False
        self._waiting_since: float | None = None
        self._told = False

    def look_soon(self, *_: object) -> None:
        """A statement begins."""
        self._progress.next_statement()
        self._woken.set()

    def see_no_more(self, *_: object) -> None:
        """A statement has ended: what it showed goes, before anything else is printed."""
        self._progress.next_statement()

    def stop(self) -> None:
        """End `watch`."""
        self._over = True
        self._woken.set()

    def watch(self) -> None:
        """Look until stopped. It only tells: when its connection is lost, the run goes on untold."""
        pause = LONGEST_LOOK
        with (
            suppress(DBAPIError),
            self._progress as progress,
            self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching,
        ):
            watching.execute(SAFE_PATH)
            while True:
                if self._woken.wait(pause):
                    self._woken.clear()
                    pause = SHORTEST_LOOK
                else:
                    pause = min(pause * 2, LONGEST_LOOK)
                if self._over:
                    return
                self._see_blockers(watching)
                if pause == LONGEST_LOOK:  # whatever is over by then needs no progress shown
                    statement = progress.statement
                    progress.show(watching.execute(INDEX, {"pid": self._pid}).first(), statement)

    def _see_blockers(self, watching: Connection) -> None:
        now = watching.execute(BLOCKERS, {"pid": self._pid}).all()
        if not now:
            self._waiting_since, self._told = None, False
            return
        self.blockers.described = [row[3] for row in now]
        self.blockers.vacuumed = next((row[2] for row in now if row[1]), None)
        self._waiting_since = self._waiting_since or time.monotonic()
        if not self._told and time.monotonic() - self._waiting_since > LONG_WAIT:
            self._progress.tell(f"Waiting for {self.blockers}")
            self._told = True

"""Crashes at every moment of every step: the same command, run again, ends where an undisturbed run does.

A moment is the gap between two round trips of a run to the server, COMMITs included: right after one statement is right
before the next. So the moments of a step are those before each of its round trips, and the one after the last.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from alembic.script import ScriptDirectory
from psycopg import Connection, Cursor
from psycopg.pq import TransactionStatus
from sqlalchemy import URL

from app.embedded import server_user, temporary_server
from app.migration import takeover
from tests.conftest import Host
from tests.people import ACME, populate
from tests.platforms import SUPABASE, settle, settle_guide
from tests.tools import PROJECT, REVISIONS, SCRATCH, alembic, catalog, connect, rows, run

STEPS = list(pairwise(["base", *REVISIONS]))
TAKING_OVER = [step for step in STEPS if step[1] <= "010"]  # the steps that take over what was made by hand
SOME = 5  # of so many moments within a transaction, one is tried
SET_UP = "SELECT set_config(%s, %s, false)"  # how app.migration prepares its session, before any step

# The runner has threads of its own, none of which the children need.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

Act = Callable[[int, int], None]  # what to do at a moment, of this number, to the backend of this process id


class Moment(NamedTuple):
    """When something may happen to a run.

    Args:
        before: what comes right after it.
        decides: whether what a dead run leaves differs from what it left a moment ago: it is at the beginning of a
            transaction, which will be rolled back, or at its end.
    """

    before: str
    decides: bool


@contextmanager
def moments(act: Act) -> Iterator[list[Moment]]:
    """Act at each moment of the runs in a `with` block, and list them."""
    seen: list[Moment] = []

    def note(connection: Connection, what: str) -> None:
        # Only the connection that runs revisions bears this name, not those that hold the run's lock or watch it.
        ours = not connection.closed and connection.info.parameter_status("application_name") == "alembic"
        if ours and what != SET_UP:
            act(len(seen), connection.info.backend_pid)
            decides = connection.info.transaction_status != TransactionStatus.INTRANS or what == "COMMIT"
            seen.append(
                Moment(what.replace("%%", "%"), decides)
            )  # as it was before SQLAlchemy doubled it for the driver

    execute, commit, close = Cursor.execute, Connection.commit, Connection.close

    def noted_execute(cursor: Cursor, query: Any, *arguments: Any, **options: Any) -> Cursor:
        note(cursor.connection, str(query))
        return execute(cursor, query, *arguments, **options)

    def noted_commit(connection: Connection) -> None:
        if connection.info.transaction_status != TransactionStatus.IDLE:  # or it sends nothing
            note(connection, "COMMIT")
        commit(connection)

    def noted_close(connection: Connection) -> None:
        note(connection, "the end")
        close(connection)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Cursor, "execute", noted_execute)
        monkeypatch.setattr(Connection, "commit", noted_commit)
        monkeypatch.setattr(Connection, "close", noted_close)
        yield seen


def statements(revision: str, command: str) -> Counter[str]:
    """What a step of a revision executes, as its file has it."""
    script = ScriptDirectory(str(PROJECT / "alembic")).get_revision(revision)
    with patch.object(takeover, "op") as op, patch.object(script.module, "op", op, create=True):
        getattr(script.module, command)()
    executed = [call.args[0] for call in op.execute.call_args_list]
    return Counter(each if isinstance(each, str) else each.text.replace("\\:", ":") for each in executed)


class State(NamedTuple):
    """All that a run may have changed in a database."""

    catalog: list[str]
    rows: dict[str, tuple[int, str]]
    version_table: tuple[object, ...] | None
    version: list[tuple[str]]
    half_done: object  # the command that the version table notes


def state(url: URL) -> State:
    with connect(url) as connection:
        table = connection.execute("""
            SELECT obj_description(oid, 'pg_class'), relacl::text, relrowsecurity,
                ARRAY(SELECT polname FROM pg_policy WHERE polrelid = pg_class.oid)
            FROM pg_class WHERE oid = to_regclass('public.alembic_version')
        """).fetchone()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall() if table else []
        return State(catalog(connection), rows(connection), table, version, half_done=table and table[0])


@dataclass(frozen=True)
class Databases:
    """The databases of this file on the tests' server."""

    host: Host
    admin: Connection  # to none of them

    def create(self, name: str, template: str = "template1", options: str = "") -> URL:
        self.admin.execute(f"DROP DATABASE IF EXISTS {name} (FORCE)")
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
        return self.host.url(name)

    def wait_until_gone(self, condition: str, value: object) -> None:
        query = f"SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND {condition} = %s"
        while self.admin.execute(query, (value,)).rowcount:
            time.sleep(0.005)


@pytest.fixture(scope="module")
def databases(host: Host) -> Iterator[Databases]:
    """With fresh_base, fresh_006 and so on, a database at each revision, with rows in all that there is by then, and
    by_hand_base and so on, of the guide's platform with the guide's SQL run by hand; to be cloned."""
    with connect(host.url("postgres")) as admin:
        databases = Databases(host, admin)
        databases.create("fresh_base")
        for before, revision in STEPS:
            url = databases.create(f"fresh_{revision}", f"fresh_{before}")
            alembic(url, "upgrade", revision)
            with connect(url) as connection:
                populate(connection, first=revision, last=revision)
        with connect(databases.create("by_hand_base")) as connection:
            settle_guide(connection, by_hand=True)
            connection.execute("UPDATE chatbots SET settings = NULL WHERE is_published")
        for before, revision in TAKING_OVER:
            alembic(databases.create(f"by_hand_{revision}", f"by_hand_{before}"), "upgrade", revision)
        yield databases


def forked(url: URL, command: tuple[str, str], act: Act | None = None) -> int:
    """The id of a child that runs alembic: it exits with 1 after a sentence for a person, with 2 after a traceback."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            with moments(act) if act else nullcontext():
                alembic(url, *command)
            code = 0
        except SystemExit as told:
            code = 1 if str(told).startswith("Error: ") else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # what else the parent had to do at its end, it does itself
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def terminate_backend(databases: Databases, url: URL, command: tuple[str, str], moment: int, *, is_last: bool) -> None:
    def act(number: int, pid: int) -> None:
        if number == moment:
            databases.admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
            databases.wait_until_gone("pid", pid)

    told = nullcontext() if is_last else pytest.raises(SystemExit, match=r"^Error: .*; run the same command again")
    with moments(act), told:
        alembic(url, *command)


def kill_alembic(databases: Databases, url: URL, command: tuple[str, str], moment: int, **_: object) -> None:
    def act(number: int, _: int) -> None:
        if number == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    assert exit_code(forked(url, command, act)) == -signal.SIGKILL
    databases.wait_until_gone("datname", url.database)


@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
@pytest.mark.parametrize(
    ("shape", "before", "revision"),
    [("fresh", *step) for step in STEPS] + [("by_hand", *step) for step in TAKING_OVER],
)
def test_a_step_goes_on_after_a_crash_at_any_moment(
    databases: Databases, shape: str, before: str, revision: str, command: str
) -> None:
    start, target = (before, revision) if command == "upgrade" else (revision, before)
    undisturbed = databases.create("undisturbed", f"{shape}_{start}")
    with moments(lambda *_: None) as seen:
        alembic(undisturbed, command, target)
    assert statements(revision, command) <= Counter(moment.before for moment in seen)
    finished = state(undisturbed)

    url = databases.create("crashed", f"{shape}_{start}")
    beginning = state(url)
    proven: list[State] = []
    for moment, (what, decides) in enumerate(seen):
        if not decides and moment % SOME:
            continue  # what a run leaves is what it left before; what it says is looked at now and then
        crash = kill_alembic if decides and moment % 2 else terminate_backend
        crash(databases, url, (command, target), moment, is_last=moment == len(seen) - 1)
        reached = state(url)
        if reached not in proven:  # what a run does follows from the state that it finds
            assert reached in (beginning, finished) or reached.half_done == f"alembic {command} {target}"
            alembic(url, command, target)
            assert state(url) == finished, f"after a crash before: {what}"
            proven.append(reached)
        elif reached == beginning:
            continue  # nothing to undo
        url = databases.create("crashed", f"{shape}_{start}")
    assert reached == finished


def test_a_run_goes_on_after_the_server_was_stopped_at_random(binaries: Path) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    # What is committed has to outlive the stop.
    with temporary_server(binaries, SCRATCH, synchronous_commit="on") as server:
        journeys = []
        for platform, start in (("fresh", "006"), ("adopted", "base")):
            with connect(server.url()) as admin:
                admin.execute(f"CREATE DATABASE {platform}")
            url = server.url(platform)
            with connect(url) as connection:
                if platform == "adopted":
                    settle(connection, SUPABASE)
                else:
                    alembic(url, "upgrade", start)
                    populate(connection, last=start)
                # Validating and building indexes should take a while.
                connection.execute(f"""
                    INSERT INTO users (id, tenant_id, email)
                        SELECT gen_random_uuid(), '{ACME}', n || '@example.com' FROM generate_series(1, 10000) AS n;
                    INSERT INTO conversations (tenant_id, user_id) SELECT tenant_id, id FROM users
                """)
            for command in (("upgrade", "head"), ("downgrade", start)):
                begun = time.monotonic()
                assert exit_code(forked(url, command)) == 0
                journeys.append((url, command, time.monotonic() - begun, state(url)))

        codes: Counter[int] = Counter()
        for stop in range(100):
            if stop >= 30 and codes[1] > 10:
                break
            # Up and down in turn, so that each begins where the one before ended.
            url, command, duration, finished = journeys[stop % len(journeys)]
            running = forked(url, command)
            time.sleep(draw.uniform(0, duration))
            server.run("pg_ctl", "--pgdata", server.data, "--mode", "immediate", "--silent", "stop")
            codes[exit_code(running)] += 1
            server.ensure_running()
            alembic(url, *command)
            assert state(url) == finished, f"stop {stop} of seed {seed}, at {command} of {url.database}"
    assert codes.keys() <= {0, 1}, f"seed {seed}: a traceback"
    assert codes[1] > 10, f"seed {seed}: too few were interrupted to tell anything: {codes}"


def system(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/usr/bin/env", *command], capture_output=True, text=True, check=False)


@pytest.fixture
def leave_free(databases: Databases) -> Iterator[Callable[[int], None]]:
    """The tablespace small_disk, on a file system of its own: call it with the number of bytes to leave free there."""
    path, user = Path(tempfile.mkdtemp(dir="/tmp")), server_user()
    options = f"size=100m,mode=700,uid={user.pw_uid},gid={user.pw_gid}"
    mounted = system("mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
    if mounted.returncode:
        path.rmdir()
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")

    def leave_free(size: int) -> None:
        size += shutil.disk_usage(path).used
        system("mount", "-o", f"remount,size={size}", path).check_returncode()

    try:
        databases.admin.execute(f"CREATE TABLESPACE small_disk LOCATION '{path}'")
        yield leave_free
        databases.admin.execute("DROP DATABASE IF EXISTS full_disk (FORCE)")
        databases.admin.execute("DROP TABLESPACE small_disk")
    finally:
        system("umount", "--lazy", path).check_returncode()
        path.rmdir()


def test_an_upgrade_goes_on_after_the_disk_was_full(databases: Databases, leave_free: Callable[[int], None]) -> None:
    url = databases.create("full_disk", "fresh_007", "TABLESPACE small_disk")
    with connect(url) as connection:
        connection.execute("""
            INSERT INTO tenants (name) SELECT 'Tenant ' || n FROM generate_series(1, 20000) AS n;
            INSERT INTO users (tenant_id, email) SELECT id, 'one@example.com' FROM tenants;
        """)
    undisturbed = databases.create("undisturbed", "full_disk", "TABLESPACE pg_default")
    alembic(undisturbed, "upgrade", "head")

    leave_free(400_000)  # enough for all of 008 but its index of every user
    failed = run("alembic", "upgrade", "head", url=url)
    assert failed.returncode == 1
    assert "No space left on device: free space on the server's disk; run the same" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    with connect(url) as connection:
        invalid = connection.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid").fetchall()
    assert invalid == [("idx_users_tenant_role",)]

    leave_free(50_000_000)
    alembic(url, "upgrade", "head")
    assert state(url) == state(undisturbed)

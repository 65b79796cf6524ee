"""What several tests need: the command line, attempts as a person, a database's catalog and rows as text."""

import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, ClassVar, NoReturn, Self

import psycopg
import pytest
import sqlalchemy
from alembic.config import main as alembic_main
from psycopg import ClientCursor, Connection, errors, sql
from sqlalchemy import URL

from tests.people import ID_PREFIX, SUB_PREFIX, Who

PROJECT = Path(__file__).resolve().parent.parent

# Where the tests' servers have their data: in memory, if there is room, as most of what they do is copy databases.
MEMORY, ROOM = Path("/dev/shm"), 4_000_000_000  # noqa: S108 - each makes a directory of its own
SCRATCH = str(MEMORY) if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else "/tmp"  # noqa: S108

REVISIONS = ("006", "007", "008", "009", "010", "011", "012", "013", "014", "015")
NEWEST = REVISIONS[-1]

# Schemas of a fresh install, for an IN list of SQL. Where feedback.notes was there before, chatbot_compat is not.
OURS = "to_regnamespace('public'), to_regnamespace('chatbot_private'), to_regnamespace('chatbot_compat')"


@contextmanager
def database_url(url: URL) -> Iterator[None]:
    """Set DATABASE_URL for the length of a `with` block."""
    os.environ["DATABASE_URL"] = url.render_as_string(hide_password=False)
    try:
        yield
    finally:
        del os.environ["DATABASE_URL"]


def alembic(url: URL, *arguments: str) -> None:
    """Run the alembic command in this process."""
    with database_url(url):
        alembic_main(["-c", str(PROJECT / "alembic.ini"), *arguments], prog="alembic")


def environment(url: URL | str | None) -> dict[str, str]:
    """A process's environment in which DATABASE_URL is this one, or unset."""
    others = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if url is None:
        return others
    return {**others, "DATABASE_URL": url if isinstance(url, str) else url.render_as_string(hide_password=False)}


def run_anew(
    *command: str | Path, url: URL | str | None = None, cwd: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Run a Python module's command line (`run_anew("alembic", "upgrade", "head")`) as a person would."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=environment(url), capture_output=True, text=True, check=False
    )


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["app.verbs", "tests.tools"])


def run(*command: str, url: URL | str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it as `run_anew` does, from the project's root, but by a fork of a process that has imported this checkout.

    Most of a command's time is imports. What Python reads at its start (PYTHONIOENCODING) is that process's.
    """
    with NamedTemporaryFile("r+") as out, NamedTemporaryFile("r+") as err:
        process = FORKS.Process(target=become_command, args=(command, environment(url), out.name, err.name))
        process.start()
        process.join()
        code = process.exitcode
        process.close()
        assert code is not None
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def become_command(command: tuple[str, ...], environment: dict[str, str], out: str, err: str) -> None:
    """What a fork does: with this environment, and these files as its output, run a module as `python -m` does."""
    os.chdir(PROJECT)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR), number)
    sys.argv = [*command]
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def go_without(reason: str) -> NoReturn:
    """Skip on a bare machine; on CI, where nothing may be missing, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def copy_of_project(directory: Path) -> Path:
    """A copy of the project for a test to change, without what was made in it."""
    made = shutil.ignore_patterns(".venv", ".git", ".postgres", ".*_cache", "__pycache__")
    return Path(shutil.copytree(PROJECT, directory / "copy", ignore=made))


def libpq_url(url: URL) -> str:
    """The URL as psycopg, psql and pg_dump take it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def connect(url: URL) -> Connection:
    """A psycopg connection, in autocommit mode."""
    return psycopg.connect(libpq_url(url), autocommit=True)


@contextmanager
def sqlalchemy_connection(url: URL) -> Iterator[sqlalchemy.Connection]:
    """A connection as the application's own code takes one, in a transaction that is rolled back."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def url_of(connection: Connection) -> URL:
    """The URL of the database that a connection is on."""
    info = connection.info
    return URL.create(
        "postgresql+psycopg", info.user, database=info.dbname, query={"host": info.host, "port": str(info.port)}
    )


class Counted(ClientCursor[Any]):
    """A cursor that notes what it sends, on whichever connection."""

    sent: ClassVar[list[str]] = []

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
        self.sent.append(query)
        return super().execute(query, *arguments, **options)


# Where people sign in by users.auth_id, a token that names somebody of tests.people names their auth_id.
SET_CLAIMS = f"""
    SELECT set_config('request.jwt.claims', CASE
        WHEN EXISTS (
            SELECT FROM pg_catalog.pg_attribute
            WHERE attrelid = pg_catalog.to_regclass('public.users') AND attname = 'auth_id'
        )
        THEN replace(%(claims)s::text, '{ID_PREFIX}', '{SUB_PREFIX}') ELSE %(claims)s::text
    END, true)
"""


def become(connection: Connection[Any], who: Who) -> None:
    """Be somebody for the rest of the transaction, as PostgREST does it."""
    if who.claims is not None:
        connection.execute(SET_CLAIMS, {"claims": who.claims})
    if who.role is not None:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(who.role)))


def attempt(connection: Connection, who: Who, statement: str, values: Mapping[str, object]) -> int | str:
    """Try a statement as somebody, roll it back, and tell what came of it.

    Returns:
        The number of rows seen or changed, or what refused: see `refused_by`.
    """
    try:
        with connection.transaction(force_rollback=True):
            become(connection, who)
            return connection.execute(statement, values).rowcount
    except psycopg.Error as error:
        return refused_by(error)


# By SQLSTATE, those that have one of their own.
REFUSALS = {"23503": "key", "23514": "check", "23505": "unique", "PT409": "conflict", "PT404": "missing"}


def refused_by(error: psycopg.Error) -> str:
    """What refused a statement.

    Returns:
        "grant" (a missing privilege), "policy" (row security's WITH CHECK) or "guard" (one of our triggers), which
        share SQLSTATE 42501; "key" (a foreign key), "check" (a CHECK constraint), "unique"; "conflict" (a save of what
        was changed meanwhile), "missing" (a version that is not there).

    Raises:
        psycopg.Error: the same, where it is none of these.
    """
    message = error.diag.message_primary or ""
    match error:
        case errors.InsufficientPrivilege() if message.startswith("permission denied"):
            return "grant"
        case errors.InsufficientPrivilege():
            return "policy" if "row-level security policy" in message else "guard"
        case psycopg.Error(sqlstate=code) if code in REFUSALS:
            return REFUSALS[code]
        case _:
            raise error


CATALOG = Path(__file__).with_name("catalog.sql").read_text()


def catalog(connection: Connection) -> list[str]:
    """Everything that a migration can change, a line each; see catalog.sql."""
    return [line for (line,) in connection.execute(CATALOG)]


def dump(binaries: Path, url: URL, *options: str, schema_only: bool = True) -> str:
    """What `pg_dump` prints, without the version table and the random key of its restrict lines."""
    only = ["--schema-only"] if schema_only else []
    command = [str(binaries / "pg_dump"), *only, "--exclude-table=public.alembic_version", *options, libpq_url(url)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in printed.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def rows(connection: Connection) -> dict[str, tuple[int, str]]:
    """Count and checksum of every column of every table in public with an id, by its name; rows in order of the id.

    A column renamed keeps its checksum under the new name; `comment` of feedback is called notes here, always.
    """
    columns = connection.execute("""
        SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
            AND attnum > 0 AND NOT attisdropped
            AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'id' AND NOT attisdropped)
        ORDER BY 1, 2
    """).fetchall()
    found = {}
    for table, column in columns:
        query = sql.SQL("SELECT count(*), md5(string_agg(coalesce({0}::text, '~'), '|' ORDER BY id)) FROM {1}")
        result = connection.execute(query.format(sql.Identifier(column), sql.Identifier("public", table))).fetchone()
        assert result is not None
        found[f"{table}.{column}".replace("feedback.comment", "feedback.notes")] = (result[0], result[1])
    return found


def psql(binaries: Path, url: URL, *options: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run psql, without anybody's .psqlrc, on a file (-f) or on a script given to its standard input."""
    command = [str(binaries / "psql"), "--no-psqlrc", "--quiet", *options, libpq_url(url)]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)

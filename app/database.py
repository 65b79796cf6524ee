"""Where the database is, an engine on it, and its errors as sentences."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from app.errors import SetupError, printable

if TYPE_CHECKING:
    from psycopg.abc import Buffer
    from sqlalchemy.ext.asyncio import AsyncEngine

SCHEMES = ("postgresql+psycopg://", "postgresql://", "postgres://")

AGAIN = "run the same command again, which goes on where this one stopped"
UNFORESEEN = "nobody foresaw this error (SQLSTATE {}); mend what PostgreSQL names, and run the same command again"
OUR_LINES = re.compile(r"\n(?=  - |Beside that, |If revisions of your own )")  # where our own errors begin a line

# What to do about an error that PostgreSQL reports without a hint of ours, by SQLSTATE or its class.
REMEDIES = {
    "08": AGAIN,
    "22": "correct that value",
    "22P05": "give another text; the database's encoding has no such character",
    "25P02": AGAIN,
    "40": AGAIN,
    "53": f"free what the server lacks; {AGAIN}",
    "57": AGAIN,
    "57014": f"{AGAIN}; a role whose statement_timeout ended the query needs a longer one",
    "58": f"see the server's log; {AGAIN}",
    "XX": f"see the server's log; {AGAIN}",
    "25006": "connect to the primary, as a role without default_transaction_read_only",
    "3D000": "create the database, or correct its name in DATABASE_URL",
    "42501": "connect (DATABASE_URL) as the role that owns the database and the platform's tables",
    "2BP01": "drop or change what depends on it, and run the same command again",
    "42710": "rename or drop what bears that name, and run the same command again",
    "42P06": "rename or drop what bears that name, and run the same command again",
    "42P07": "rename or drop what bears that name, and run the same command again",
    "0A000": "change what PostgreSQL names, and run the same command again",
    "22023": "correct it",
    "42703": "mend what names it, and run the same command again",
    "42883": "mend what names it, and run the same command again",
    "42P01": "mend what names it, and run the same command again",
    "42701": "rename or drop what bears that name, and run the same command again",
    "42704": "change what PostgreSQL names, and run the same command again",
    "42809": "change what PostgreSQL names, and run the same command again",
    "53100": f"free space on the server's disk; {AGAIN}",
    "P0001": "the database's own code refuses it; change that, and run the same command again",
    "55P03": f"another session uses the table; {AGAIN}",
}

# The same for refused connections, by what libpq says.
CONNECTION_REMEDIES = {
    r"password|authentication|pg_hba\.conf": "correct the user and password in DATABASE_URL",
    r"database .* does not exist": REMEDIES["3D000"],
    r"role .* does not exist": "create the role, or correct the user in DATABASE_URL",
    r"permission denied for database": "have CONNECT on the database granted, or correct the user in DATABASE_URL",
    r"invalid value for parameter|unrecognized config": "correct PGOPTIONS, or options in DATABASE_URL",
    r"resolve host|translate host name": "correct the host in DATABASE_URL (or PGHOST)",
    r"definition of service|service file": "correct PGSERVICE, or service in DATABASE_URL",
    r"too many|starting up|shutting down|recovery": "wait a moment and run the same command again",
}


@dataclass(frozen=True)
class Database:
    """A database and how to tell a person about it."""

    url: URL
    description: str  # one line, without secrets


def locate() -> Database:
    """Find the database: the one in DATABASE_URL, or the embedded server, which is started when it is unset.

    Raises:
        SetupError: DATABASE_URL is no PostgreSQL URL, or there is neither a URL nor a server to embed.
    """
    given = os.environ.get("DATABASE_URL")
    if given is not None:
        url = parse(given)
        sources = ", ".join(["DATABASE_URL", *deciding_variables(url)])
        return Database(url, f"Database: {summary(url)}, from {sources}")
    from app import embedded  # noqa: PLC0415 - only those without a DATABASE_URL need the extra

    server = embedded.start()
    note = f"Database: embedded PostgreSQL in {server.home} (to use another: DATABASE_URL=postgresql://...)"
    return Database(server.url(), note)


def database_url() -> URL:
    """The URL of the database that Alembic uses, as SQLAlchemy takes it; see `locate`."""
    return locate().url


def create_engine(**options: Any) -> Engine:
    """An engine on the database that Alembic uses.

    It prepares no statements, as psycopg would by itself: behind a transaction-mode pooler that does not keep track of
    them, they get mixed up, and one client's SELECT runs another's DELETE (seen with PgBouncer 1.18). With a direct
    connection, or PgBouncer from 1.21 on with max_prepared_statements, `connect_args={"prepare_threshold": 5}` saves
    the planning.

    Args:
        options: passed on to `sqlalchemy.create_engine`.

    Raises:
        SetupError: see `locate`. A server that is away shows at the first connection, as SQLAlchemy's error.
    """
    return sqlalchemy.create_engine(database_url(), **without_prepared_statements(options))


def create_async_engine(**options: Any) -> "AsyncEngine":
    """The same for asyncio; needs the extra `asyncio`.

    Args:
        options: passed on to `sqlalchemy.ext.asyncio.create_async_engine`.

    Raises:
        SetupError: see `locate`.
    """
    from sqlalchemy.ext import asyncio  # noqa: PLC0415 - it needs greenlet, which only the extra brings

    return asyncio.create_async_engine(database_url(), **without_prepared_statements(options))


def without_prepared_statements(options: dict[str, Any]) -> dict[str, Any]:
    """An engine's options, with psycopg's own preparing off unless they say otherwise."""
    return options | {"connect_args": {"prepare_threshold": None, **options.get("connect_args", {})}}


def parse(text: str) -> URL:
    """Read a URL as libpq does (its parameters, several hosts, a socket directory as host) for SQLAlchemy.

    Raises:
        SetupError: `text` is no PostgreSQL URL. The message does not repeat it: it may hold a password.
    """
    text = text.strip()  # a newline at the end of a file is no part of the URL that it holds
    if text[:1] in {"'", '"'}:
        raise SetupError("DATABASE_URL begins with a quotation mark: give it without quotation marks around it.")
    if driver := re.match(r"postgres(?:ql)?\+(?!psycopg:)(\w+)://", text):
        raise SetupError(
            f"DATABASE_URL names the driver {driver[1]}, and this package uses psycopg: begin it with postgresql://"
            f" instead of {driver[0]}, and give its parameters as libpq knows them."
        )
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), None)
    if scheme is None:
        raise SetupError(
            "DATABASE_URL is not a PostgreSQL URL: give it as postgresql://user:password@host:5432/database,"
            " or unset it to use the embedded PostgreSQL."
        )
    if "@" in text.removeprefix(scheme).partition("?")[0].partition("/")[2]:
        raise unreadable("it has an @ after the first /")
    try:
        parts = conninfo_to_dict("postgresql://" + text.removeprefix(scheme))
    except psycopg.ProgrammingError as error:
        if unknown := unknown_parameters(text):
            raise SetupError(
                f"DATABASE_URL has parameters that PostgreSQL's clients do not know ({', '.join(unknown)}): correct"
                " them, or leave them out. If pgbouncer is one of them, give the direct connection instead, on Supabase"
                " port 5432."
            ) from None
        raise unreadable(str(error).strip().split(":")[0]) from None  # what follows may quote the password
    query = {name: str(value) for name, value in parts.items() if value is not None}
    host, port = query.get("host", ""), query.get("port", "")
    if "@" in host.removeprefix("@"):  # the rest of a password with a bare @ in it; a leading @ is a socket's name
        raise unreadable("it has more than one @")
    if not all(each.isdecimal() for each in port.split(",") if each):
        raise unreadable("its port is no number")
    # A single network host stands in the URL's own place; socket directories and host lists only fit its query.
    single = bool(host) and not host.startswith(("/", "@")) and "," not in host and "," not in port
    return URL.create(
        "postgresql+psycopg",
        username=query.pop("user", None),
        password=query.pop("password", None),
        host=query.pop("host") if single else None,
        port=int(query.pop("port")) if single and port else None,
        database=query.pop("dbname", None),
        query=query,
    )


def unknown_parameters(text: str) -> list[str]:
    """Return the names of a URL's parameters that libpq does not know; none if they may be a part of a password."""
    _, _, query = text.partition("?")
    if "@" in query:
        return []
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}
    names = [pair.partition("=")[0] for pair in query.split("&")]
    return [name for name in names if re.fullmatch(r"\w+", name) and name not in known]


def unreadable(reason: str) -> SetupError:
    """The error for a URL whose scheme is right and whose rest is not."""
    return SetupError(
        f"DATABASE_URL cannot be read ({reason}): give it as postgresql://user:password@host:5432/database,"
        " with special characters of the password percent-encoded."
    )


def given_in(url: URL) -> dict[str, str]:
    """Return what a URL itself says of where the database is, by libpq's names."""
    parts = {"user": url.username, "host": url.host, "port": url.port, "dbname": url.database}
    parts |= {name: str(url.query[name]) for name in ("host", "port", "hostaddr", "service") if name in url.query}
    return {name: str(value) for name, value in parts.items() if value}


def defaults_of(service: str | None) -> dict[str, tuple[str, str]]:
    """Return what libpq takes for what a URL leaves out, and the variable that may say so, by libpq's names.

    Args:
        service: the service that the URL names; None: PGSERVICE does, or nothing.
    """
    before = os.environ.get("PGSERVICE")
    if service is not None:
        os.environ["PGSERVICE"] = service  # libpq reads a service's file for no other reason
    try:
        options = Conninfo.get_defaults()
    except (MemoryError, psycopg.Error):  # there is no such service, as the connection will say
        return {}
    finally:
        if service is not None:
            os.environ.pop("PGSERVICE")
            os.environ.update({} if before is None else {"PGSERVICE": before})
    return {
        option.keyword.decode(): (option.val.decode(errors="replace"), (option.envvar or b"").decode())
        for option in options
        if option.val is not None
    }


def deciding_variables(url: URL) -> list[str]:
    """Return the variables of the environment that say what a URL leaves out."""
    given = given_in(url)
    if "service" in given:
        return [f"service {given['service']}"]
    if os.environ.get("PGSERVICE"):
        return ["PGSERVICE"]
    found = defaults_of(None)
    names = [found[part][1] for part in ("user", "host", "hostaddr", "port", "dbname") if part in found.keys() - given]
    return [name for name in names if os.environ.get(name)]


def summary(url: URL) -> str:
    """Name a database as libpq will find it, without its secrets: user, host, port and name."""
    given = given_in(url)
    parts = {name: value for name, (value, _) in defaults_of(given.get("service")).items()} | given
    host = parts.get("hostaddr") or parts.get("host") or "[local]"
    where = f"[{host}]" if ":" in host and "," not in host else host
    port = parts.get("port", "")
    is_usual = "port" not in given and port == "5432"
    user = parts.get("user", "")
    return f"postgresql://{user}@{where}{'' if is_usual or not port else f':{port}'}/{parts.get('dbname') or user}"


@contextmanager
def announced_engine(**options: Any) -> Iterator[Engine]:
    """An engine for a command: the first line of output names the database, and errors are sentences.

    Raises:
        SetupError: what a person has to mend, from `locate` or from the database.
    """
    found = locate()
    print(printable(found.description), file=sys.stderr)  # stdout belongs to results
    # Whatever encoding the role or database prefers, the driver has to read it as text.
    engine = sqlalchemy.create_engine(found.url, connect_args={"client_encoding": "utf8"}, **options)
    try:
        with errors_as_sentences():
            yield engine
    finally:
        engine.dispose()


class AnyBytes(psycopg.adapt.Loader):
    """Reads text that may be no UTF-8, as a database in SQL_ASCII may have it."""

    def load(self, data: "Buffer") -> str:
        """Return the text, with escapes for such bytes."""
        return bytes(data).decode(errors="backslashreplace")


def read_any_bytes(connection: Any, _: object) -> None:
    """Have a new connection to a database in SQL_ASCII, which converts nothing, read whatever bytes it sends."""
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.execute("SET client_encoding = 'SQL_ASCII'")  # or the server refuses to send what is no UTF-8
        connection.commit()
        for kind in ("text", "varchar", "bpchar", "name", 0):
            connection.adapters.register_loader(kind, AnyBytes)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn the errors of a database, and of text that does not get there, into `SetupError`."""
    try:
        yield
    except (DBAPIError, PendingRollbackError) as error:
        # Alembic leaves an autocommit block by the connection, and where that was lost, raises PendingRollbackError.
        cause = error if isinstance(error, DBAPIError) else error.__context__
        if not isinstance(cause, DBAPIError) or not isinstance(cause.orig, psycopg.Error):
            raise
        told = [explain_lost_connection(cause.orig)] if cause.connection_invalidated else explain(cause.orig)
        sentence, *lines = told
        raise SetupError(" ".join([sentence, *getattr(cause, "__notes__", ())]), *lines) from error
    except UnicodeEncodeError as error:
        raise SetupError("An argument is no text in UTF-8: type it again.") from error


def explain(error: psycopg.Error) -> list[str]:
    """Say in a sentence, and perhaps a list below it, what a database's error asks a person to do."""
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        return [explain_refused_connection(str(error))]
    message, hint = error.diag.message_primary or str(error), error.diag.message_hint
    if error.sqlstate == "55000" and hint is None:
        return OUR_LINES.split(message)  # ours: it has the remedies in it
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    state = error.sqlstate or ""
    remedy = REMEDIES.get(state, REMEDIES.get(state[:2], UNFORESEEN.format(state or "none")))
    if hint and (state in {"55000", "P0001"} or state not in REMEDIES):
        remedy = hint.removesuffix(".")
    return [f"{message}{detail}: {remedy}."]


def explain_lost_connection(error: BaseException) -> str:
    """Say what to do when the server, or what lies between, ended a connection that had come about."""
    reason = str(error).strip().splitlines()[0].rpartition(": ")[2]
    return f"{reason}: the connection was lost; run the same command again, which goes on where this one stopped."


def explain_refused_connection(message: str) -> str:
    """Say what to do about a connection that did not come about; libpq gives its message only, no SQLSTATE."""
    reason = message.strip().splitlines()[0].replace("FATAL:  ", "")
    reason = reason.removeprefix("connection failed: ").removeprefix("connection is bad: ")
    remedy = next(
        (remedy for pattern, remedy in CONNECTION_REMEDIES.items() if re.search(pattern, reason)),
        "start the server, or correct DATABASE_URL",
    )
    return f"Cannot connect to PostgreSQL ({reason}): {remedy}."

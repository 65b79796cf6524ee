"""Questions to the database, asked as the connection's role or as somebody else, of which nothing stays."""

import json
from collections.abc import Sequence
from typing import Any

from psycopg.errors import InsufficientPrivilege, QueryCanceled, ReadOnlySqlTransaction
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.errors import SetupError
from app.identity import BECOME, Identity

TIMEOUT = "30s"  # for each question; what takes longer is told as unknown
LIMITS = text(f"SELECT set_config('statement_timeout', '{TIMEOUT}', true), set_config('lock_timeout', '2s', true)")
VERBATIM = {"no_parameters": True}  # a policy's text may have : and % in it

ANONYMOUS = Identity("anon", json.dumps({"role": "anon"}))


class UnansweredError(Exception):
    """The database did not answer; the message is why."""

    def __init__(self, reason: str, *, denied: bool) -> None:
        """Denied is a question that the asking role may not ask."""
        super().__init__(reason)
        self.denied = denied


def ask(connection: Connection, question: str, identity: Identity | None = None) -> Sequence[Any]:
    """Ask for one row.

    Args:
        connection: in a read-only transaction; its role and settings are left as they were.
        question: SQL as the server takes it, without parameters.
        identity: who asks, if not the connection's role.

    Raises:
        UnansweredError: the server refused it, or it took too long.
    """
    try:
        with connection.begin_nested() as savepoint:
            connection.execute(LIMITS)
            if identity is not None:
                connection.execute(BECOME, identity._asdict())
            row = connection.exec_driver_sql(question, execution_options=VERBATIM).one()
            savepoint.rollback()
            return row
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise UnansweredError(why(error), denied=isinstance(error.orig, InsufficientPrivilege)) from error


def why(error: DBAPIError) -> str:
    """Why there was no answer, in a few words."""
    match error.orig:
        case QueryCanceled():
            return f"it takes longer than {TIMEOUT.removesuffix('s')} s"
        case ReadOnlySqlTransaction():
            return "it runs code that writes, and nothing is written here"
    return str(error.orig).splitlines()[0]


def require_becoming(connection: Connection, identity: Identity) -> None:
    """See that the connection's role may act as somebody.

    Raises:
        SetupError: it may not.
    """
    try:
        ask(connection, "SELECT true", identity)
    except UnansweredError as refusal:
        operator = connection.scalar(text("SELECT current_user"))
        raise SetupError(
            f"Role {operator} cannot act as {identity.role} ({refusal}): GRANT {identity.role} TO {operator}, or"
            " connect as a superuser."
        ) from refusal

"""Run read-only probes as the connection's role or as another identity; each is rolled back."""

import json
from collections.abc import Sequence
from typing import Any

from psycopg.errors import InsufficientPrivilege, QueryCanceled, ReadOnlySqlTransaction
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.errors import SetupError
from app.identity import BECOME, Identity

TIMEOUT = "30s"  # for each probe; the answer to a slower one is reported as unknown
LIMITS = text(f"SELECT set_config('statement_timeout', '{TIMEOUT}', true), set_config('lock_timeout', '2s', true)")
VERBATIM = {"no_parameters": True}  # the text of a policy may contain : and %

ANONYMOUS = Identity("anon", json.dumps({"role": "anon"}))


class UnansweredError(Exception):
    """The database did not answer; the message says why."""

    def __init__(self, reason: str, *, denied: bool) -> None:
        """Keep the reason, and whether the asking role lacks the privilege."""
        super().__init__(reason)
        self.denied = denied


def ask(connection: Connection, question: str, identity: Identity | None = None) -> Sequence[Any]:
    """Run a query that returns one row.

    Args:
        connection: In a read-only transaction. Its role and settings stay as they were.
        question: SQL as the server takes it, without parameters.
        identity: The identity that asks; by default the connection's role.

    Raises:
        UnansweredError: The server refused the query, or the query took longer than `TIMEOUT`.
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
    """Return in a few words why there was no answer."""
    match error.orig:
        case QueryCanceled():
            return f"it takes longer than {TIMEOUT.removesuffix('s')} s"
        case ReadOnlySqlTransaction():
            return "it runs code that writes, and nothing is written here"
    return str(error.orig).splitlines()[0]


def require_becoming(connection: Connection, identity: Identity) -> None:
    """Check that the connection's role may act as an identity.

    Raises:
        SetupError: It may not.
    """
    try:
        ask(connection, "SELECT true", identity)
    except UnansweredError as refusal:
        operator = connection.scalar(text("SELECT current_user"))
        raise SetupError(
            f"Role {operator} cannot act as {identity.role} ({refusal}): GRANT {identity.role} TO {operator}, or"
            " connect as a superuser."
        ) from refusal

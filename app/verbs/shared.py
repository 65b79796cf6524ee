"""What the verbs share: a session on the database, errors as sentences, exit codes, Alembic's settings."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from psycopg.errors import UndefinedColumn, UndefinedFunction, UndefinedTable
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app import database
from app.errors import SetupError

WIDE = 200  # columns of a table, where nobody looks at a terminal
FOUND = 3  # exit code of those that only look, when there is something to mend

Settings = Annotated[
    Path | None, typer.Option("--config", "-c", help="Alembic's settings. Default: those of this package.")
]
Decided = Annotated[
    list[str] | None,
    typer.Option("-x", metavar="NAME=VALUE", help="What `alembic -x` takes: identity, admin_role, fresh."),
]
Section = Annotated[str, typer.Option("--name", "-n", help="Their section, as `alembic --name` has it.")]


def add(verbs: typer.Typer, verb: Callable[..., None], *, example: str, name: str | None = None) -> None:
    """Add a verb, whose help ends with an example."""
    verbs.command(name=name, epilog=f"Example: {example}")(verb)


@contextmanager
def database_session() -> Iterator[Session]:
    """A session on the database; what a person can mend ends the command with a sentence."""
    try:
        with errors_for_a_person(), database.announced_engine() as engine, Session(engine) as session:
            yield session
    except ProgrammingError as error:
        if not isinstance(error.orig, UndefinedTable | UndefinedColumn | UndefinedFunction):
            raise
        sys.exit("Error: This database is not at the newest revision: run `alembic upgrade head` first.")
    except UnicodeEncodeError:
        sys.exit("Error: An argument is no text in UTF-8: type it again.")


@contextmanager
def errors_for_a_person() -> Iterator[None]:
    """End the command with the sentence of what a person has to put right."""
    try:
        yield
    except SetupError as error:
        sys.exit(f"Error: {error}")


def to_json(value: object) -> str:
    """What JSON has no type for: an id, a time."""
    return value.isoformat() if isinstance(value, datetime) else str(value)

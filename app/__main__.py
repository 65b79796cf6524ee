"""The operator's verbs: `python -m app --help`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app import database
from app.errors import SetupError
from app.models import User
from app.seed import seed as seed_samples

verbs = typer.Typer(
    help="Run a chatbot platform's database. It is the one in DATABASE_URL, or the embedded PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@verbs.command(epilog="Example: python -m app seed --tenant Acme")
def seed(
    tenant: Annotated[
        str | None, typer.Option(help="Id or name of an existing tenant. Default: a demo tenant, made if missing.")
    ] = None,
) -> None:
    """Add the six sample chatbots. Run again, it adds nothing and overwrites no edit."""
    with database_session() as session:
        result = seed_samples(session, tenant)
        session.commit()
        print(f"Tenant {result.tenant.name} ({result.tenant.id}): {result.added_chatbots} chatbots added", end="")
        print(f", {result.added_people} people added." if result.added_people else ".")
        people = select(User).where(User.tenant_id == result.tenant.id).order_by(User.role, User.email).limit(10)
        for person in session.scalars(people):
            print(f"  {person.role:5}  {person.id}  {person.email}")


@verbs.command(name="preflight", epilog="Example: DATABASE_URL=postgresql://... python -m app preflight")
def look_before_upgrade() -> None:
    """Say whether `alembic upgrade head` would go through, and what it would do. Touches nothing."""
    from app.migration import preflight  # noqa: PLC0415 - Alembic takes its time, which the other verbs need not spend

    with errors_for_a_person():
        found = preflight.preflight()
    for line in preflight.told(found):
        print(line)
    if found.obstacles:
        raise typer.Exit(1)


@verbs.command(name="document", epilog="Example: python -m app document")
def write_document() -> None:
    """Write app/SCHEMA_DOCUMENTATION.md anew: what the revisions make of an empty database, on a server of its own."""
    from app.catalog import regeneration  # noqa: PLC0415 - it needs the extra `embedded`, which the other verbs may not

    with errors_for_a_person():
        print(f"Wrote {regeneration.write()}")


@contextmanager
def database_session() -> Iterator[Session]:
    """A session on the database; what a person can mend ends the command with a sentence."""
    try:
        with errors_for_a_person(), database.announced_engine() as engine, Session(engine) as session:
            yield session
    except ProgrammingError as error:
        if not isinstance(error.orig, UndefinedTable | UndefinedColumn):
            raise
        sys.exit("Error: This database is not at the newest revision: run `alembic upgrade head` first.")


@contextmanager
def errors_for_a_person() -> Iterator[None]:
    """End the command with the sentence of what a person has to put right."""
    try:
        yield
    except SetupError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    verbs(prog_name="python -m app")

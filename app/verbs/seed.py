"""`python -m app seed`."""

from typing import Annotated

import typer
from sqlalchemy import select

from app import seed as samples
from app.models import User
from app.terminal import printable
from app.verbs.shared import database_session


def seed(
    tenant: Annotated[
        str | None, typer.Option(help="Id or name of an existing tenant. Default: a demo tenant, made if missing.")
    ] = None,
) -> None:
    """Add the six sample chatbots. Run again, it adds nothing and overwrites no edit."""
    with database_session() as session:
        result = samples.seed(session, tenant)
        session.commit()
        name = printable(result.tenant.name)
        people = f", {result.added_people} people added." if result.added_people else "."
        print(f"Tenant {name} ({result.tenant.id}): {result.added_chatbots} chatbots added{people}")
        some = select(User).where(User.tenant_id == result.tenant.id).order_by(User.role, User.email).limit(10)
        for person in session.scalars(some):
            print(f"  {person.role:5}  {person.id}  {printable(person.email)}")

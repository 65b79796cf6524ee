"""`python -m app seed`."""

from typing import Annotated

import typer

from app import seed as samples
from app.terminal import printable
from app.verbs.shared import database_session


def seed(
    tenant: Annotated[
        str | None, typer.Option(help="Id or name of an existing tenant. Default: a demo tenant, made if missing.")
    ] = None,
) -> None:
    """Add the six sample chatbots. A second run adds nothing and overwrites no edit."""
    with database_session() as session:
        result = samples.seed(session, tenant)
        session.commit()
        name = printable(result.tenant.name or "-")
        added = f", {result.added_people} people added." if result.added_people else "."
        print(f"Tenant {name} ({result.tenant.id}): {result.added_chatbots} chatbots added{added}")
        for person in samples.people(session, result.tenant):
            differs = "" if person.sub == person.id else f"  id {person.id}"
            email = printable(person.email or "-")
            print(f"  {printable(person.role or '-'):5}  {person.sub or '-'!s:36}{differs}  {email}")
        if result.no_people:
            print(
                f"No people were made up, because {printable(result.no_people)}: have people sign up in this tenant,"
                " and make one an admin with `python -m app admins grant`."
            )

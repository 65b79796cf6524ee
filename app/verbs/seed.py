"""`python -m app seed`."""

from typing import Annotated

import typer

from app import seed as samples
from app.terminal import counted, say
from app.verbs.shared import database_session


def seed(
    tenant: Annotated[
        str | None, typer.Option(help="Id or name of an existing tenant. Default: a demo tenant, made if missing.")
    ] = None,
) -> None:
    """Add the six sample chatbots. A second run adds nothing and overwrites no edit."""
    with database_session(writes=True) as session:
        result = samples.seed(session, tenant)
        session.commit()
        people = f", {counted(result.added_people, 'person', 'people')} added." if result.added_people else "."
        chatbots = counted(result.added_chatbots, "chatbot")
        say(f"Tenant {result.tenant.name or '-'} ({result.tenant.id}): {chatbots} added{people}")
        for person in samples.people(session, result.tenant):
            differs = "" if person.sub == person.id else f"  id {person.id}"
            say(f"  {person.role or '-':5}  {person.sub or '-'!s:36}{differs}  {person.email or '-'}")
        if result.no_people:
            say(
                f"No people were made up, because {result.no_people}: have people sign up in this tenant,"
                " and make one an admin with `python -m app admins grant`."
            )

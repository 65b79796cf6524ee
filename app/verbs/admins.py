"""`python -m app admins`."""

from typing import Annotated

import typer
from sqlalchemy.orm import Session

from app import admins as roles
from app.terminal import say
from app.verbs.shared import add, database_session

admins = typer.Typer(help="List, grant and revoke the role of chatbot admins.", no_args_is_help=True)

People = Annotated[list[str], typer.Argument(help="Addresses as they are written in users, or ids.")]
Of = Annotated[str, typer.Option("--tenant", help="Id or name of their tenant.")]


def grant(
    people: People,
    tenant: Of,
    role: Annotated[
        str | None,
        typer.Option(help="Write this admin role over any role. Default: the first, over none and the default."),
    ] = None,
) -> None:
    """Make people admins. If one of them is not found, nobody's role is changed."""
    with database_session(writes=True) as session:
        tell(session, roles.grant(session, tenant, people, role))


def revoke(
    people: People,
    tenant: Of,
    leave_none: Annotated[
        bool, typer.Option("--leave-none", help="Also if the tenant has chatbots and no other active admin.")
    ] = False,
    role: Annotated[str | None, typer.Option(help="Write this role. Default: the default of users.role.")] = None,
) -> None:
    """Make admins plain users. If one of them is not found, nobody's role is changed."""
    with database_session(writes=True) as session:
        tell(session, roles.revoke(session, tenant, people, role, leave_none=leave_none))


def list_(tenant: Annotated[str | None, typer.Option(help="Id or name. Default: all that have any.")] = None) -> None:
    """List the admins of each tenant, and how many chatbots it has."""
    with database_session() as session:
        found = roles.admins(session, tenant)
        several = len(roles.roles_of(session).admin) > 1
        for each in found:
            say(f"{roles.called(each.tenant)} ({each.tenant.id}), chatbots: {each.chatbots}")
            for person in each.admins:
                sub = "" if person.sub == person.id else f"  sub {person.sub or '-'}"
                role = f"  {person.role or '-'}" if several else ""
                inactive = "" if person.is_active else "  (inactive: has no rights)"
                say(f"  {person.id}{sub}  {person.email or '-'}{role}{inactive}")
            if not any(person.is_active for person in each.admins):
                say("  no active admin")


def tell(session: Session, result: roles.Changed) -> None:
    """Commit, and print each person's role."""
    known = roles.roles_of(session)
    session.commit()
    for person in [*result.changed, *result.unchanged]:
        word = "now" if person in result.changed else "already"
        usual = known.admin[0] if person.is_admin else known.default
        what = "an admin" if person.is_admin else "a plain user" if person.role == usual else "no admin"
        role = "" if person.role == usual else f", with the role {person.role}" if person.role else ", without a role"
        inactive = "" if person.is_active else " (inactive: has no rights)"
        who = f"{person.email or person.id} of {roles.called(result.tenant)}"
        say(f"{who} is {word} {what}{role}{inactive}.")


add(admins, grant, example="python -m app admins grant ada@acme.example --tenant Acme")
add(admins, revoke, example="python -m app admins revoke ada@acme.example --tenant Acme")
add(admins, list_, name="list", example="python -m app admins list")

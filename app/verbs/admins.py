"""`python -m app admins`."""

from typing import Annotated

import typer
from sqlalchemy.orm import Session

from app import admins as roles
from app.terminal import printable
from app.verbs.shared import add, database_session

admins = typer.Typer(help="Say who is an admin, and change it: the guide's Assign Admin Roles.", no_args_is_help=True)

Emails = Annotated[list[str], typer.Argument(help="Addresses, as they are written in users.")]
Of = Annotated[str, typer.Option("--tenant", help="Id or name of their tenant.")]


def grant(emails: Emails, tenant: Of) -> None:
    """Make people admins. If one address is not found, nobody's role is changed."""
    with database_session() as session:
        tell(session, roles.grant(session, tenant, emails), "an admin")


def revoke(
    emails: Emails,
    tenant: Of,
    leave_none: Annotated[
        bool, typer.Option("--leave-none", help="Also if the tenant has chatbots and no other active admin.")
    ] = False,
) -> None:
    """Make admins plain users. If one address is not found, nobody's role is changed."""
    with database_session() as session:
        tell(session, roles.revoke(session, tenant, emails, leave_none=leave_none), "a plain user")


def list_(tenant: Annotated[str | None, typer.Option(help="Id or name. Default: all that have any.")] = None) -> None:
    """List the admins of each tenant, and how many chatbots it has."""
    with database_session() as session:
        for each in roles.admins(session, tenant):
            print(f"{printable(each.tenant.name)} ({each.tenant.id}), chatbots: {each.chatbots}")
            for person in each.admins:
                inactive = "" if person.is_active else "  (inactive: has no rights)"
                print(f"  {person.id}  {printable(person.email)}{inactive}")
            if not any(person.is_active for person in each.admins):
                print("  no active admin")


def tell(session: Session, result: roles.Changed, what: str) -> None:
    """Commit, and tell what came of it."""
    session.commit()
    for person in [*result.changed, *result.unchanged]:
        word = "now" if person in result.changed else "already"
        inactive = "" if person.is_active else " (inactive: has no rights)"
        print(printable(f"{person.email} of {result.tenant.name} is {word} {what}{inactive}."))


add(admins, grant, example="python -m app admins grant ada@acme.example --tenant Acme")
add(admins, revoke, example="python -m app admins revoke ada@acme.example --tenant Acme")
add(admins, list_, name="list", example="python -m app admins list")

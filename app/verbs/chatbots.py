"""`python -m app chatbots`."""

from dataclasses import asdict
from typing import Annotated

import typer

from app.chatbots import Listed
from app.chatbots import chatbots as chatbots_of
from app.terminal import say, say_json, say_table
from app.verbs.shared import database_session

HEADINGS = ("Tenant", "Chatbot", "Id", "Category", "Tags", "Model", "Published")


def chatbots(
    tenant: Annotated[str | None, typer.Option(help="Id or name. Default: all.")] = None,
    category: Annotated[str | None, typer.Option(help="Only those of it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only those with it; given again, with all of them.")] = None,
    any_tag: Annotated[bool, typer.Option("--any", help="With one of the tags, not all.")] = False,
    who: Annotated[
        str | None,
        typer.Option("--as", metavar="EMAIL", help="As this user sees them, or `anonymous`; takes an id or sub, too."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
) -> None:
    """List chatbots, as somebody sees them. Only reads."""
    with database_session() as session:
        found = chatbots_of(session, tenant, category, tag or (), any_tag=any_tag, who=who)
    if as_json:
        say_json([asdict(each) for each in found])
    elif found:
        say_table(HEADINGS, [row(each) for each in found])
    else:
        say("There are no such chatbots." if tenant or category or tag or who else "There are no chatbots.")


def row(each: Listed) -> tuple[str, ...]:
    """A chatbot's values in the table."""
    texts = (each.tenant, each.name, str(each.id), each.category or "", ", ".join(each.tags), each.model)
    return (*texts, "yes" if each.is_published else "no")

"""`python -m app chatbots`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.chatbots import Listed
from app.chatbots import chatbots as chatbots_of
from app.terminal import printable
from app.verbs.shared import WIDE, database_session, to_json


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
        print(json.dumps([asdict(each) for each in found], indent=2, default=to_json))
    elif found:
        Console(width=None if sys.stdout.isatty() else WIDE).print(table(found))
    else:
        print("There are no such chatbots." if tenant or category or tag or who else "There are no chatbots.")


def table(found: Sequence[Listed]) -> Table:
    """A chatbot a line; names without what a terminal would obey."""
    made = Table(box=None, pad_edge=False)
    for heading in ("Tenant", "Chatbot", "Category", "Tags", "Model", "Published"):
        made.add_column(heading, overflow="fold")
    for each in found:
        texts = (each.tenant, each.name, each.category or "", ", ".join(each.tags), each.model)
        made.add_row(*(Text(printable(text)) for text in texts), "yes" if each.is_published else "no")
    return made

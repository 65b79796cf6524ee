"""`python -m app usage`."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.terminal import printable
from app.usage import ChatbotUsage
from app.usage import usage as usage_of
from app.verbs.shared import WIDE, database_session, to_json


def usage(
    tenant: Annotated[str | None, typer.Option(help="Id or name. Default: all.")] = None,
    positive_from: Annotated[
        int | None,
        typer.Option(
            min=-(2**31),
            max=2**31 - 1,
            help="The lowest rating that counts as positive. Default: 4, or 1 where ratings are thumbs (-1 and 1).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead, names as they are.")] = False,
) -> None:
    """Say how each chatbot is used: conversations, messages, people, ratings. Only reads."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    with database_session() as session:
        found = usage_of(session, tenant, positive_from)
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2, default=to_json))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, [field.name for field in fields(ChatbotUsage)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in found)
    elif found:
        Console(width=None if sys.stdout.isatty() else WIDE).print(table(found))
    else:
        print("There are no chatbots.")


def table(found: Sequence[ChatbotUsage]) -> Table:
    """The figures, a chatbot a line; names without what a terminal would obey."""
    made = Table(box=None, pad_edge=False)
    for heading in ("Tenant", "Chatbot", "Published"):
        made.add_column(heading, overflow="fold")
    for heading in ("Conversations", "Messages", "People", "Ratings", "Mean", "Positive", "Last used"):
        made.add_column(heading, justify="right")
    for each in found:
        counts = (each.conversations, each.messages, each.people, each.ratings)
        made.add_row(
            Text(printable(each.tenant_name)),
            Text(printable(each.chatbot_name)),
            "yes" if each.is_published else "no",
            *(f"{count:,}" for count in counts),
            "" if each.mean_rating is None else f"{each.mean_rating:.2f}",
            "" if each.positive_share is None else f"{each.positive_share:.0%}",
            "never" if each.last_used_at is None else f"{each.last_used_at:%Y-%m-%d %H:%M}",
        )
    return made

"""`python -m app usage`."""

from dataclasses import asdict, fields
from typing import Annotated

import typer

from app.terminal import say, say_csv, say_json, say_table
from app.usage import ChatbotUsage
from app.usage import usage as usage_of
from app.verbs.shared import database_session

TEXTS = ("Tenant", "Chatbot", "Published")
NUMBERS = ("Conversations", "Messages", "People", "Ratings", "Mean", "Positive", "Last used")


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
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print CSV instead; a ' goes before a name that a spreadsheet would calculate."),
    ] = False,
) -> None:
    """Say how each chatbot is used: conversations, messages, people, ratings. Only reads."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    with database_session() as session:
        found = usage_of(session, tenant, positive_from)
    if as_json:
        say_json([asdict(each) for each in found])
    elif as_csv:
        say_csv([field.name for field in fields(ChatbotUsage)], [[*asdict(each).values()] for each in found])
    elif found:
        say_table((*TEXTS, *NUMBERS), [row(each) for each in found], numbers=NUMBERS)
    else:
        say("There are no chatbots.")


def row(each: ChatbotUsage) -> tuple[str, ...]:
    """A chatbot's values in the table."""
    counts = (each.conversations, each.messages, each.people, each.ratings)
    return (
        *(each.tenant_name, each.chatbot_name, "yes" if each.is_published else "no"),
        *(f"{count:,}" for count in counts),
        "" if each.mean_rating is None else f"{each.mean_rating:.2f}",
        "" if each.positive_share is None else f"{each.positive_share:.0%}",
        "never" if each.last_used_at is None else f"{each.last_used_at:%Y-%m-%d %H:%M}",
    )

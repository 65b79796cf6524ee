"""`python -m app doctor`."""

from dataclasses import asdict
from typing import Annotated

import typer

from app.errors import SetupError
from app.terminal import fail, say, say_json
from app.verbs.shared import FOUND, Section, Settings


def doctor(
    who: Annotated[
        str | None, typer.Option("--as", metavar="EMAIL", help="Say what this user can do; takes an id or sub, too.")
    ] = None,
    chatbot: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Say why they, or without --as an anonymous visitor, see it or not."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    config: Settings = None,
    name: Section = "alembic",
) -> None:
    """Check the database and report problems: revision, drift, open doors, orphans, indexes; and who sees what."""
    from app.doctor import examination, report, visibility  # noqa: PLC0415 - Alembic takes its time
    from app.migration import settings  # noqa: PLC0415

    chatbot_id = visibility.chatbot_id(chatbot) if chatbot is not None else None
    found = examination.examine(settings.configuration(config, name), who, chatbot_id)
    if as_json:
        say_json(asdict(found))
    else:
        for line in report.told(found):
            say(line)
    if found.mend:
        raise typer.Exit(FOUND)
    if found.unknown:
        fail(SetupError(f"Not everything could be judged: {'; '.join(found.unknown)}."))

"""`python -m app preflight`."""

import typer

from app.terminal import say
from app.verbs.shared import FOUND, Decided, Section, Settings


def preflight(x: Decided = None, config: Settings = None, name: Section = "alembic") -> None:
    """Say whether `alembic upgrade head` would go through, and what it would do. Touches nothing."""
    from app.migration import options, preflight, settings  # noqa: PLC0415 - Alembic takes its time, which other verbs need not

    found = preflight.preflight(options.give(settings.configuration(config, name), x or ()))
    for paragraph in preflight.told(found):
        for line in paragraph.split("\n"):
            say(line)
    if found.obstacles:
        raise typer.Exit(FOUND)

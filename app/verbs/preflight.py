"""`python -m app preflight`."""

import typer

from app.verbs.shared import FOUND, Section, Settings, errors_for_a_person


def preflight(config: Settings = None, name: Section = "alembic") -> None:
    """Say whether `alembic upgrade head` would go through, and what it would do. Touches nothing."""
    from app.migration import preflight, settings  # noqa: PLC0415 - Alembic takes its time, which other verbs need not

    with errors_for_a_person():
        found = preflight.preflight(settings.configuration(config, name))
    for line in preflight.told(found):
        print(line)
    if found.obstacles:
        raise typer.Exit(FOUND)

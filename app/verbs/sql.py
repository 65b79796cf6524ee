"""`python -m app sql`."""

from pathlib import Path
from typing import Annotated

import typer

from app.terminal import say
from app.verbs.shared import Decided, Section, Settings


def sql(
    directory: Annotated[Path, typer.Argument(help="Where to; made if missing.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that differ.")] = False,
    x: Decided = None,
    config: Settings = None,
    name: Section = "alembic",
) -> None:
    """Write the guide's SQL files, for psql or an SQL editor. Needs no database."""
    from app.migration import files, options, settings  # noqa: PLC0415 - Alembic takes its time, which other verbs need not

    given = options.give(settings.configuration(config, name), x or ())
    written = files.write(directory, given, force=force)
    left_out = files.left_out(given)
    for path in written:
        say(f"Wrote {path}")
    if not written:
        say(f"All files are in {directory} already.")
    if left_out:
        say(f"Left out your own revisions ({', '.join(left_out)}): run `alembic upgrade heads` for them.")

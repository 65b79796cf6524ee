"""`python -m app metrics`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.metrics.collection import Section, collect, require_textfile
from app.verbs.shared import database_session


def metrics(
    sections: Annotated[list[Section] | None, typer.Argument(help="Of the guide's. Default: all.")] = None,
    textfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE.prom", help="Write it for node_exporter's textfile collector, whole or not at all."),
    ] = None,
) -> None:
    """Print the guide's Metrics to Track in Prometheus' text format. Only reads."""
    with database_session() as session:
        if textfile is not None:
            require_textfile(textfile)
        found = collect(session.connection(), sections or [])
        if textfile is None:
            sys.stdout.buffer.write(found.text())
        else:
            found.write(textfile)

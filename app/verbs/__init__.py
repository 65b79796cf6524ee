"""The operator's verbs, a file each: `python -m app --help`."""

from typing import Any

import typer

from app.verbs import document, preflight, seed, sql

verbs = typer.Typer(
    help="Run a chatbot platform's database. It is the one in DATABASE_URL, or the embedded PostgreSQL.",
    epilog="Exit codes: 0 done; 1 not done, and the last line of the errors says why; 2 wrong usage;"
    " 3 looked, and found something to mend (preflight, doctor).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def add(verb: Any, *, name: str, example: str) -> None:
    """Add a verb, whose help ends with an example."""
    verbs.command(name=name, epilog=f"Example: {example}")(verb)


add(preflight.preflight, name="preflight", example="DATABASE_URL=postgresql://... python -m app preflight")
add(sql.sql, name="sql", example="python -m app sql migrations")
add(seed.seed, name="seed", example="python -m app seed --tenant Acme")
add(document.document, name="document", example="python -m app document")

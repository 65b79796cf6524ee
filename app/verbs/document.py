"""`python -m app document`."""

from app.terminal import say


def document() -> None:
    """Write app/SCHEMA_DOCUMENTATION.md anew: what the revisions make of an empty database, on a server of its own."""
    from app.catalog import regeneration  # noqa: PLC0415 - it needs the extra `embedded`, which other verbs may not

    say(f"Wrote {regeneration.write()}")

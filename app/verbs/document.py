"""`python -m app document`."""

from app.verbs.shared import errors_for_a_person


def document() -> None:
    """Write app/SCHEMA_DOCUMENTATION.md anew: what the revisions make of an empty database, on a server of its own."""
    from app.catalog import regeneration  # noqa: PLC0415 - it needs the extra `embedded`, which other verbs may not

    with errors_for_a_person():
        print(f"Wrote {regeneration.write()}")

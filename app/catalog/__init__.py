"""The catalog of a database as facts: read, written down as documentation, and compared.

- `facts` reads what PostgreSQL's catalogs state of our objects.
- `document` writes the facts of a fresh install to SCHEMA_DOCUMENTATION.md and reads them back; `regeneration` makes
  them on a server of its own.
- `comparison` reports how a live database differs from the document.
- `adoption` says what is ours on a platform that was there before us, by the `markers` that the revisions left there.
- `openings` reports what else lets somebody past row security; `sources` finds the tables that a function's text names.

The plugin that puts all this under `alembic check` is `app.migration.autogenerate`.
"""

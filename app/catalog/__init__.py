"""The catalog of a database as facts: read, written down as documentation, and compared. Design: section 5.

`facts` reads what PostgreSQL's catalogs state of our objects. `document` writes that as SCHEMA_DOCUMENTATION.md and
reads it back; `regeneration` does so from a server of its own. `comparison` says how a live database differs from it,
`adoption` what of that is ours where the platform was there before, `openings` what else lets somebody past row
security, and `sources` which tables a function's text names. The plugin that puts all this under `alembic check` is
`app.migration.autogenerate`.
"""

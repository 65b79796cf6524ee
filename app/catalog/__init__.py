"""The catalog of a database as facts: read, written down as documentation, and compared. Design: section 5.

`facts` reads what PostgreSQL's catalogs state of our objects, `document` writes that as SCHEMA_DOCUMENTATION.md and
reads it back, `comparison` says how a live database differs from it, and `openings` what else lets somebody past row
security. The Alembic plugin that puts all this under `alembic check` is `app.migration.autogenerate`.
"""

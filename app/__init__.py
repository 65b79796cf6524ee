"""The PostgreSQL schema of a multi-tenant, multi-agent chatbot platform.

`app.models` holds the tables as SQLAlchemy classes, `app.database` finds the database, `app.identity` lets a session
act for one person under row security, and `python -m app` runs the operator's verbs. The schema itself is made by the
Alembic revisions beside this package.
"""

"""Run the revisions: against the database of `app.database`, or into a script (`--sql`)."""

import sys
from contextlib import suppress
from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from app.database import announced_engine
from app.errors import SetupError
from app.migration import CONFIGURATION, Patience, run, secure_version_table
from app.models import Base

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)
VERSION_TABLE = config.get_main_option("version_table", "alembic_version")


def finish_step(ctx: MigrationContext, *_: Any, **__: Any) -> None:
    """In the transaction that ends a step: keep clients off the version table, and tell PostgREST to look again."""
    ctx.execute(secure_version_table(VERSION_TABLE))
    ctx.execute("NOTIFY pgrst, 'reload schema'")


def migrate(connection: Connection | None = None, **script: Any) -> None:
    """Run what the command asks for, one transaction a step, on a connection or into a script."""
    context.configure(
        connection=connection,
        **script,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        on_version_apply=finish_step,
        **CONFIGURATION,
    )
    context.run_migrations()  # it begins a transaction for each step


def changes_the_database() -> bool:
    """Whether the command goes to a revision (upgrade, downgrade, stamp) or only looks (check, current)."""
    with suppress(KeyError):
        context.get_revision_argument()
        return True
    return False


try:
    if context.is_offline_mode():
        migrate(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True)
    else:
        patience = Patience.given(context.get_x_argument(as_dictionary=True))
        with announced_engine(poolclass=NullPool) as engine:
            run(engine, migrate, exclusive=changes_the_database(), patience=patience)
except SetupError as error:
    if config.cmd_opts is None:  # called from Python
        raise
    sys.exit(f"Error: {error}")

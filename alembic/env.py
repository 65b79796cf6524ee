"""Run the revisions: against the database of `app.database`, or into a script (`--sql`)."""

import logging
import sys
from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy.pool import NullPool

from app.database import announced_engine
from app.errors import SetupError
from app.migration import prepare_session, secure_version_table
from app.models import Base

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)
VERSION_TABLE = config.get_main_option("version_table", "alembic_version")


def finish_step(ctx: MigrationContext, *_: Any, **__: Any) -> None:
    """In the transaction that ends a step: keep clients off the version table, and tell PostgREST to look again."""
    ctx.execute(secure_version_table(VERSION_TABLE))
    ctx.execute("NOTIFY pgrst, 'reload schema'")


def migrate(**target: Any) -> None:
    """Run what the command asks for, one transaction a step, on a connection or a dialect."""
    context.configure(
        **target,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
        on_version_apply=finish_step,
        compare_server_default=True,
        autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
    )
    with context.begin_transaction():
        context.run_migrations()


try:
    if context.is_offline_mode():
        migrate(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True)
    else:
        with announced_engine(poolclass=NullPool) as engine, engine.connect() as connection:
            prepare_session(connection, warn=logging.getLogger("alembic").warning)
            migrate(connection=connection)
except SetupError as error:
    if config.cmd_opts is None:  # called from Python
        raise
    sys.exit(f"Error: {error}")

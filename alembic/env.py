"""Run the revisions: against the database of `app.database`, or into a script (`--sql`)."""

from contextlib import suppress
from typing import Any

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from app.database import announced_engine
from app.migration.autogenerate import AUTOGENERATE
from app.migration.options import given
from app.migration.run import run
from app.migration.settings import set_up_logging
from app.migration.steps import finish_step, guard_steps
from app.migration.version_table import valid_version_table
from app.models import Base
from app.terminal import errors_end_the_command

config = context.config
if config.cmd_opts is not None:  # or it is called from Python, whose logging is the caller's
    set_up_logging(config)


def migrate(connection: Connection | None, version_table_schema: str | None, **script: Any) -> None:
    """Run what the command asks for, one transaction a step, on a connection or into a script."""
    context.configure(
        connection=connection,
        **script,
        target_metadata=Base.metadata,
        version_table_schema=version_table_schema,
        version_table=valid_version_table(config.get_main_option("version_table", "alembic_version")),
        on_version_apply=lambda ctx, heads, **_: finish_step(ctx, heads),
        transaction_per_migration=True,  # a step that is done stays done
        **AUTOGENERATE,
    )
    guard_steps(context.get_context(), given(config).decisions)
    context.run_migrations()  # it begins a transaction for each step


def changes_the_database() -> bool:
    """Whether the command goes to a revision (upgrade, downgrade, stamp) or only looks (check, current)."""
    with suppress(KeyError):
        context.get_revision_argument()
        return True
    return False


def obey() -> None:
    """Do what the command asks for."""
    if context.is_offline_mode():
        migrate(None, "public", dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True)
    else:
        options = given(config)  # before anything connects
        with announced_engine(poolclass=NullPool) as engine:
            run(engine, migrate, exclusive=changes_the_database(), options=options)


if config.cmd_opts is None:  # called from Python
    obey()
else:
    with errors_end_the_command():
        obey()

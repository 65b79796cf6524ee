"""What autogenerate says of an adopted platform: of its own tables, only what is ours or what we rely on."""

from collections.abc import Iterable
from typing import Any

from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import DOMAIN

# The columns that revisions after 006 add. Their indexes and constraints are ours as well.
OURS = {("users", "role"), ("conversations", "chatbot_id")}

# Those of the platform whose type and NOT NULL row security and the keys of chatbots rest on.
RELIED_ON = {
    ("tenants", "id"),
    ("users", "id"),
    ("users", "tenant_id"),
    ("users", "is_active"),
    ("conversations", "id"),
    ("conversations", "tenant_id"),
    ("messages", "id"),
}
TABLES = {"tenants", "users", "conversations", "messages", "feedback"}

IS_ADOPTED = text("""
    SELECT EXISTS (
        SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = 'chatbot_private' AND proname = 'is_adopted' AND prosrc = 'SELECT true'
    )
""")

leave_theirs_alone = Rewriter()


def is_adopted(context: MigrationContext) -> bool:
    """Whether the platform's tables were there before us: read from the catalogs, which every role may."""
    assert context.connection is not None  # noqa: S101 - autogenerate is online
    return bool(context.connection.scalar(IS_ADOPTED))


@leave_theirs_alone.rewrites(ops.DropTableOp)
def keep_their_tables(context: MigrationContext, _revision: Any, op: ops.DropTableOp) -> Any:
    """A table that no model knows is the platform's own."""
    return [] if is_adopted(context) else op


@leave_theirs_alone.rewrites(ops.ModifyTableOps)
def keep_their_columns(context: MigrationContext, _revision: Any, op: ops.ModifyTableOps) -> Any:
    """Of an adopted table, what no model knows is the platform's own, and so is how a baseline column is declared."""
    if op.table_name in TABLES and is_adopted(context):
        op.ops = [each for each in op.ops if is_a_finding(op.table_name, each)]
    return op


def is_a_finding(table: str, op: ops.MigrateOperation) -> bool:
    """Whether a difference in an adopted table concerns what is ours or what we rely on."""
    columns: Iterable[Any] = ()  # a column, index, constraint or comment to drop is the platform's own
    match op:
        case ops.AddColumnOp():  # one that the models read
            return True
        case ops.AlterColumnOp() if (table, op.column_name) in RELIED_ON:
            its = op.existing_type.data_type if isinstance(op.existing_type, DOMAIN) else op.existing_type
            changed = op.modify_type is not None and not isinstance(its, type(op.modify_type))
            return changed or op.modify_nullable is not None
        case ops.AlterColumnOp():
            columns = [op.column_name]
        case ops.CreateIndexOp() | ops.CreateUniqueConstraintOp():
            columns = [getattr(column, "name", column) for column in op.columns]
        case ops.CreateForeignKeyOp():
            columns = op.local_cols
        case ops.CreateCheckConstraintOp():
            columns = str(op.condition).split()
    return any((table, column) in OURS for column in columns)

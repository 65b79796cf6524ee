"""Extend `alembic check` and `alembic revision --autogenerate`: an Alembic plugin.

Stock autogenerate compares tables, columns, keys and indexes with the models. It sees neither policies, grants, guards
nor functions. This plugin adds what differs from the documented catalog, and leaves out what is the platform's own.
"""

import logging
import sys
import textwrap
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Column, Computed, ForeignKeyConstraint, Identity, Index
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import SchemaItem

from app.catalog.facts import Difference
from app.migration.run import log
from app.models import Base
from app.models.base import Uncast

PLUGIN = "chatbots.catalog"
STOCK_LOGS = [logging.getLogger(name) for name in ("alembic.autogenerate", "alembic.ext")]


class Finding(NamedTuple):
    """A difference as `alembic check` lists it: on a line of its own."""

    kind: str
    line: str

    def __repr__(self) -> str:
        """The line, in what Alembic prints and raises."""
        return f"\n  {self.line}"


@dataclass
class DifferenceOp(ops.MigrateOperation):
    """One difference from the documented catalog."""

    difference: Difference

    def to_diff_tuple(self) -> Finding:
        """As `alembic check` lists it."""
        return Finding("catalog", self.difference.text)


class DifferencesOp(ops.OpContainer):
    """The differences from the documented catalog that autogenerate cannot write as operations."""

    def __init__(self, found: Iterable[Difference], *, alone: bool) -> None:
        """Keep the differences, and whether the revision has no other operation."""
        super().__init__([DifferenceOp(each) for each in found])
        self.alone = alone

    def reverse(self) -> "DifferencesOp":
        """Return no operation: the author writes the downgrade together with the upgrade."""
        return DifferencesOp([], alone=False)


@renderers.dispatch_for(DifferencesOp)
def render_differences(_context: AutogenContext, op: DifferencesOp) -> list[str]:
    """Render comments for the author of the revision."""
    if not op.ops:
        return []
    lines = ["# Differs from app/SCHEMA_DOCUMENTATION.md, and is for you to write:"]
    for each in op.ops:
        assert isinstance(each, DifferenceOp)  # noqa: S101 - by __init__
        lines += textwrap.wrap(each.difference.text, 110, initial_indent="# - ", subsequent_indent="#   ")
    return [*lines, "pass"] if op.alone else lines  # a function is more than comments


def setup(plugin: Plugin) -> None:
    """Called by Alembic when the plugin is registered."""
    plugin.add_autogenerate_comparator(compare_catalog, "autogenerate", priority=DispatchPriority.FIRST)
    plugin.add_autogenerate_comparator(add_differences, "autogenerate", priority=DispatchPriority.LAST)


def compare_catalog(context: AutogenContext, _upgrade: ops.UpgradeOps) -> PriorityDispatchResult:
    """Compare the catalog before the stock comparison, which logs its findings at once."""
    from app.catalog.comparison import compare  # noqa: PLC0415 - what no upgrade needs

    assert context.connection is not None and context.migration_context is not None  # noqa: S101, PT018 - it is online
    comparison = compare(context.connection, context.migration_context.version_table)
    meanwhile = ExitStack()
    context.opts[PLUGIN] = comparison, meanwhile
    meanwhile.enter_context(warnings.catch_warnings())
    # A column of the platform's own may be of any type, such as pgvector's. Types of ours are facts of the catalog.
    warnings.filterwarnings("ignore", "Did not recognize type", SAWarning)
    if comparison.own:  # most of what it finds is the platform's own; the rest is logged when that is known
        for stock in STOCK_LOGS:
            meanwhile.callback(stock.setLevel, stock.level)
            stock.setLevel(logging.WARNING)
    return PriorityDispatchResult.CONTINUE


def add_differences(context: AutogenContext, upgrade: ops.UpgradeOps) -> PriorityDispatchResult:
    """Add to the findings of the stock comparison, and leave out of them what is the platform's own."""
    comparison, meanwhile = context.opts.pop(PLUGIN)
    meanwhile.close()
    if comparison.own:
        leave_theirs_alone(upgrade, comparison.own, comparison.differences)
        for diff in upgrade.as_diffs():
            log.info("Detected %s", diff)
    written = set(written_by(upgrade))
    found = [each for each in comparison.differences if not {(*each.key, each.fact), (*each.key, "")} & written]
    for each in found:
        log.info("Detected %s", each)
    if found:
        upgrade.ops.append(DifferencesOp(found, alone=not upgrade.ops))
    return PriorityDispatchResult.CONTINUE


def is_known(name: str | None, kind: str, _parents: Mapping[str, Any]) -> bool:
    """Whether to reflect a thing of the database: a table that no model knows is the platform's own."""
    return kind != "table" or name in Base.metadata.tables


def is_judged(item: SchemaItem, _name: str | None, _kind: str, reflected: bool, counterpart: SchemaItem | None) -> bool:
    """Whether to compare a thing. Stock autogenerate judges what no model knows, except what may be harmless.

    The catalog judges an index that is not unique, a key to a table of the platform's own, and a column that the
    database generates: stock autogenerate fails at a column whose model states a default instead.
    """
    match item:
        case Column() if isinstance(counterpart, Column) and isinstance(
            counterpart.server_default, Identity | Computed
        ):
            return False
        case Index() if reflected and counterpart is None:
            return bool(item.unique)
        case ForeignKeyConstraint() if reflected and counterpart is None:
            return item.elements[0].target_fullname.rpartition(".")[0] in Base.metadata.tables
    return True


def rendered(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """A type of the models as a revision spells it: the one of a fresh install; False for all others."""
    if kind == "type":
        assert context.dialect is not None  # noqa: S101 - it is online
        its = item.dialect_impl(context.dialect)
        if isinstance(its, Uncast):
            return f"sa.{its.plain!r}"
    return False


AUTOGENERATE: dict[str, Any] = {  # of Alembic's context
    "compare_server_default": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname", PLUGIN],
    "include_name": is_known,
    "include_object": is_judged,
    "render_item": rendered,
}


def leave_theirs_alone(upgrade: ops.UpgradeOps, own: Collection[str], differences: Iterable[Difference]) -> None:
    """Remove from the findings what is the platform's own.

    Args:
        upgrade: the findings of the stock comparison.
        own: the platform's tables.
        differences: what the catalog says of them; it knows what is ours, and what ours rests on.
    """
    judged = {tuple(each.key) for each in differences}
    for op in upgrade.ops:
        if isinstance(op, ops.ModifyTableOps) and op.table_name in own:
            op.ops = [each for each in op.ops if is_a_finding(each, judged)]
    upgrade.ops = [op for op in upgrade.ops if not (isinstance(op, ops.ModifyTableOps) and op.is_empty())]


def is_a_finding(op: ops.MigrateOperation, judged: Collection[tuple[str, ...]]) -> bool:
    """Whether a difference in a table of the platform's concerns what is ours, or a column that the models read."""
    if isinstance(op, ops.AddColumnOp):
        return True
    return any((place, kind, name) in judged for place, kind, name, _ in written_by(ops.UpgradeOps([op])))


def written_by(upgrade: ops.OpContainer) -> Iterator[tuple[str, str, str, str]]:
    """Yield what the operations mend, as place, kind, name and fact of the catalog; fact "" is all of a thing."""
    for op in upgrade.ops:
        match op:
            case ops.OpContainer():
                yield from written_by(op)
            case ops.CreateTableOp():
                yield op.table_name, "table", "", ""
                for item in op.columns:
                    kind = "column" if isinstance(item, Column) else "constraint"
                    yield op.table_name, kind, str(getattr(item, "name", "")), ""
            case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
                yield op.table_name, "table", "", "Comment"
            case ops.AddColumnOp():
                yield op.table_name, "column", op.column.name, ""
            case ops.DropColumnOp():
                yield op.table_name, "column", op.column_name, ""
            case ops.AlterColumnOp():
                changed = {
                    "Type": op.modify_type is not None,
                    "Not null": op.modify_nullable is not None,
                    "Default": op.modify_server_default is not False,
                    "Comment": op.modify_comment is not False,
                }
                yield from ((op.table_name, "column", op.column_name, fact) for fact in changed if changed[fact])
            case ops.CreateIndexOp() | ops.DropIndexOp():
                yield op.table_name or "", "index", str(op.index_name), ""
            case ops.AddConstraintOp():
                constraint = op.to_constraint()
                yield constraint.table.name, "constraint", str(constraint.name), ""
            case ops.DropConstraintOp():
                yield op.table_name, "constraint", str(op.constraint_name), ""


Plugin.setup_plugin_from_module(sys.modules[__name__], PLUGIN)

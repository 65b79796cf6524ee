"""For an application's own Alembic on the same database: what its autogenerate leaves alone.

The application may declare its tables in metadata of its own, in this package's, or in a list of both. The database may
be at any revision, so what a later revision makes is left alone where it is missing, too.
"""

import re
from functools import cache

from sqlalchemy import Column, Constraint, Table
from sqlalchemy.schema import SchemaItem

from app.catalog.adoption import OURS, TABLES
from app.catalog.document import documented
from app.models import Base

SCHEMAS = {"chatbot_private", "chatbot_compat"}
RENAMED = ("feedback", "comment"), ("feedback", "notes")  # by 010; the one name gives way to the other
MADE = {*OURS, *RENAMED}  # the columns of the platform's tables that come or go with a revision
KEPT = re.compile(r".+_before_\d{3}")  # an index of the platform's, until the downgrade
MAPPED_BY_US = "chatbots.mapped_by_us"  # noted in the info of a reflected table, which is the next to be compared


def not_ours(item: SchemaItem, name: str | None, _kind: str, reflected: bool, counterpart: SchemaItem | None) -> bool:
    """Whether something is the application's to compare: for `include_object` of its `context.configure`.

    This package's tables, what it makes in the platform's tables, and the version tables are left alone. Where the
    application maps a table of the platform's itself, the rest of that table is compared. Of a model of this package,
    only what the application has added to it is: what the database has beyond that may be anybody's.
    """
    table = item if isinstance(item, Table) else getattr(item, "table", None)
    if not isinstance(table, Table):
        return True
    if table.schema not in {None, "public"} or table.name not in documented_tables():
        is_versions = reflected and counterpart is None and set(table.columns.keys()) == {"version_num"}
        return not is_versions and table.schema not in SCHEMAS
    by_us = table is Base.metadata.tables[table.name] or MAPPED_BY_US in table.info
    if isinstance(item, Table):
        return compares_table(item, counterpart, reflected=reflected, by_us=by_us)
    if by_us:
        return not (reflected or is_documented(table.name, name))
    if reflected or table.name not in TABLES:
        return not (is_documented(table.name, name) or (isinstance(item, Constraint) and rests_on_ours(item, table)))
    return not rests_on_ours(item, table)


def compares_table(table: Table, counterpart: SchemaItem | None, *, reflected: bool, by_us: bool) -> bool:
    """Whether to compare a table of the platform's or ours; its parts are asked for one by one."""
    is_ours = by_us or table.name not in TABLES
    if reflected or (counterpart is None and is_ours):
        return False
    if is_ours and isinstance(counterpart, Table):
        counterpart.comment = table.comment  # which Alembic compares without asking
    if by_us and isinstance(counterpart, Table):
        counterpart.info[MAPPED_BY_US] = True
    return True


def rests_on_ours(item: SchemaItem, table: Table) -> bool:
    """Whether something is, or is of, a column that this package makes."""
    columns = [item] if isinstance(item, Column) else getattr(item, "columns", ())
    ours = MADE if table.name in TABLES else documented_names()
    return any((table.name, each.name) in ours for each in columns)


def is_documented(table: str, name: str | None) -> bool:
    """Whether a part of a table is this package's, or kept by it, at some revision."""
    return name is None or (table, name) in documented_names() or KEPT.fullmatch(name) is not None


@cache
def documented_names() -> frozenset[tuple[str, str]]:
    """Every column, constraint and index of a fresh install, by its table."""
    kinds = {"column", "constraint", "index"}
    return frozenset({(key.place, key.name) for key in documented() if key.kind in kinds} | {*RENAMED})


@cache
def documented_tables() -> frozenset[str]:
    """The tables of a fresh install. Our metadata may hold the application's as well."""
    return frozenset(key.place for key in documented() if key.kind == "table" and key.place in Base.metadata.tables)

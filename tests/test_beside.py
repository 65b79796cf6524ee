"""An application's own autogenerate beside ours, whatever revision the database is at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from psycopg import Connection
from sqlalchemy import URL, Column, Index, Integer, MetaData, Table, Text

from app.migration.beside import not_ours
from app.models import Base
from tests.platforms import PLAIN, SUPABASE, settle, settle_guide
from tests.tools import REVISIONS, alembic, connect, sqlalchemy_connection

PLATFORMS: dict[str, tuple[Callable[[Connection], object], tuple[str, ...]]] = {
    "fresh": (lambda _: None, ()),
    "supabase": (lambda connection: settle(connection, SUPABASE), ()),
    "guide": (settle_guide, ("-x", "admin_role=admin")),
    "by-hand": (lambda connection: settle_guide(connection, by_hand=True), ()),
}


def proposed(url: URL, metadata: MetaData | list[MetaData], **options: object) -> list[str]:
    """What autogenerate would write, an operation each, such as "add_column users.phone"."""
    with sqlalchemy_connection(url) as connection:
        settings = {"include_object": not_ours, "compare_server_default": True, "target_metadata": metadata, **options}
        context = MigrationContext.configure(connection, opts=settings)
        upgrade = produce_migrations(context, metadata).upgrade_ops  # type: ignore[arg-type]
    assert upgrade is not None
    return sorted(map(described, flat(upgrade)))


def flat(container: ops.OpContainer) -> Iterator[ops.MigrateOperation]:
    for op in container.ops:
        if isinstance(op, ops.OpContainer):
            yield from flat(op)
        else:
            yield op


def described(op: ops.MigrateOperation) -> str:
    match op:
        case ops.AddColumnOp():
            return f"add_column {op.table_name}.{op.column.name}"
        case ops.DropColumnOp():
            return f"drop_column {op.table_name}.{op.column_name}"
        case ops.CreateIndexOp() | ops.DropIndexOp():
            return f"{type(op).__name__} {op.index_name}"
        case _:
            return f"{type(op).__name__} {getattr(op, 'table_name', '')} {getattr(op, 'column_name', '')}".strip()


@contextmanager
def sharing() -> Iterator[MetaData]:
    """Our metadata, on which an application has declared a table, and a column and an index of our tables."""
    users, chatbots = Base.metadata.tables["users"], Base.metadata.tables["chatbots"]
    invoices = Table("own_table", Base.metadata, Column("id", Integer, primary_key=True))
    phone = Column("phone", Text)
    users.append_column(phone)
    indexes = Index("own_users", users.c.email), Index("own_chatbots", chatbots.c.model)
    try:
        yield Base.metadata
    finally:
        Base.metadata.remove(invoices)
        users._columns.remove(phone)
        users.indexes.discard(indexes[0])
        chatbots.indexes.discard(indexes[1])


@pytest.mark.filterwarnings("ignore:Cannot correctly sort tables")  # of the guide's own
@pytest.mark.filterwarnings("ignore:Did not recognize type")
@pytest.mark.parametrize("platform", PLATFORMS)
def test_at_no_revision_autogenerate_proposes_anything_of_ours(empty: URL, platform: str) -> None:
    settle_platform, options = PLATFORMS[platform]
    own, theirs = MetaData(), MetaData()
    Table("own_table", own, Column("id", Integer, primary_key=True))
    with connect(empty) as connection:
        settle_platform(connection)
        with sqlalchemy_connection(empty) as reflecting:
            theirs.reflect(reflecting)
        connection.execute("CREATE TABLE leftover ()")
        before, theirs_before = proposed(empty, own), proposed(empty, theirs)
        assert {"CreateTableOp own_table", "DropTableOp leftover"} <= {*before}
        for revision in REVISIONS:
            alembic(empty, *options, "upgrade", revision)
            assert proposed(empty, own) == before, revision
            assert proposed(empty, [Base.metadata, own]) == before, revision
            assert proposed(empty, theirs) == theirs_before, revision
            added = ["add_column users.phone", "CreateIndexOp own_users"]
            added += ["CreateIndexOp own_chatbots"] * (revision >= "007" or platform == "by-hand")
            with sharing() as shared:
                assert proposed(empty, shared) == sorted([*before, *added]), revision


def test_the_applications_own_parts_of_its_own_tables_are_compared(empty: URL) -> None:
    """Columns, indexes and constraints that it adds or takes out, and types that it changes."""
    with connect(empty) as connection:
        settle(connection, SUPABASE)
        theirs = MetaData()
        with sqlalchemy_connection(empty) as reflecting:
            theirs.reflect(reflecting)
        alembic(empty, "upgrade", "head")
        connection.execute("""
            ALTER TABLE tenants ADD COLUMN own_plan text CONSTRAINT own_plans UNIQUE;
            CREATE INDEX own_titles ON conversations (title);
            ALTER TABLE users ADD COLUMN own_age integer
        """)
    users = theirs.tables["users"]
    users.append_column(Column("own_phone", Text))
    users.append_column(Column("own_age", Text))
    Index("own_phones", users.c.own_phone)
    assert proposed(empty, theirs) == [
        "AlterColumnOp users own_age",
        "CreateIndexOp own_phones",
        "DropConstraintOp tenants",
        "DropIndexOp own_titles",
        "add_column users.own_phone",
        "drop_column tenants.own_plan",
    ]


def test_schemas_of_ours_are_left_alone(head: URL) -> None:
    assert proposed(head, MetaData(), include_schemas=True) == []


@pytest.mark.parametrize(("revision", "mapped"), [("006", "notes"), ("009", "notes"), ("010", "comment")])
def test_the_renamed_column_is_left_alone_under_either_name(empty: URL, revision: str, mapped: str) -> None:
    """The application may be older or newer than the database."""
    with connect(empty) as connection:
        settle(connection, PLAIN)
    theirs = MetaData()
    with sqlalchemy_connection(empty) as reflecting:
        theirs.reflect(reflecting)
    if mapped == "notes":
        feedback = theirs.tables["feedback"]
        feedback._columns.remove(feedback.c.comment)
        feedback.append_column(Column("notes", Text))
    alembic(empty, "upgrade", revision)
    assert proposed(empty, theirs) == []

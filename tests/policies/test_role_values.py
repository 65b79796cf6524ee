"""A users.role that was there before: which of its values are admins, and who may give them, by its own type."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from psycopg import Connection
from sqlalchemy import URL

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_MEMBER,
    LOGIN_ROLES,
    MEMBER,
    NEWCOMER,
    SERVICE,
    Who,
    populate,
)
from tests.platforms import FREEDOM, settle_guide
from tests.tools import alembic, attempt, connect


@dataclass(frozen=True)
class Column:
    """A users.role as platforms have it.

    Args:
        declaration: what makes it of the guide's text DEFAULT 'user'.
        admin_role: the values that the operator names.
        admins, others: values of it; None is NULL.
        key: what two values have in common that are equal by the column's own =.
    """

    declaration: str
    admin_role: str
    admins: tuple[str, ...]
    others: tuple[str | None, ...]
    key: Callable[[str | None], str | None] = lambda value: value


TO = "ALTER TABLE users ALTER COLUMN role TYPE {0} USING role::{0}"
COLUMNS = {
    "text": Column("", "admin", ("admin",), ("user", "Admin", " admin", "owner", "", None)),
    "two-values": Column("", "owner,admin", ("owner", "admin"), ("user", "OWNER", "owner,admin", None)),
    "varchar": Column(TO.format("varchar(20)"), "admin", ("admin",), ("user", "admin ", None)),
    "citext": Column(
        f"CREATE EXTENSION citext; {TO.format('citext')}",
        "admin",
        ("admin", "Admin", "ADMIN"),
        ("user", "administrator", None),
    ),
    "enum": Column(
        "CREATE TYPE rank AS ENUM ('guest', 'user', 'admin', 'owner');"
        f" ALTER TABLE users ALTER COLUMN role DROP DEFAULT; {TO.format('rank')};"
        " ALTER TABLE users ALTER COLUMN role SET DEFAULT 'user'",
        "owner,admin",
        ("owner", "admin"),
        ("user", "guest", None),
    ),
    "domain": Column(
        f"CREATE DOMAIN rank AS text CHECK (VALUE <> ''); {TO.format('rank')}",
        "owner",
        ("owner",),
        ("user", "admin", None),
    ),
    "char": Column(
        TO.format("char(10)"), "admin", ("admin", "admin "), ("user", None), lambda value: value and value.strip()
    ),
}


@pytest.fixture(params=COLUMNS)
def column(request: pytest.FixtureRequest, empty: URL) -> Column:
    """One of them on the guide's platform, adopted, where every row of users is everybody's."""
    column: Column = COLUMNS[request.param]
    with connect(empty) as connection:
        settle_guide(connection, rows="")
        populate(connection, last="006")
        connection.execute(column.declaration.encode() or b"SELECT")
        for value, user in zip((*column.admins, "user", "user"), (ACME_ADMIN, ACME_COLLEAGUE), strict=False):
            connection.execute("UPDATE users SET role = %s WHERE id = %s", (value, user))
        connection.execute(LOGIN_ROLES)
    alembic(empty, "-x", f"admin_role={column.admin_role}", "upgrade", "head")
    with connect(empty) as connection:
        connection.execute(FREEDOM)
        populate(connection, first="007", last="007")
    return column


def literal(value: str | None) -> str:
    return "NULL" if value is None else f"'{value}'"


def attempts(connection: Connection, was: str | None, statement: str, *whos: Who) -> list[int | str]:
    """Try a statement where the member has a role."""
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE users SET role = %s WHERE id = %s", (was, ACME_MEMBER))
        return [attempt(connection, who, statement, {}) for who in whos]


def test_only_changes_from_or_to_an_admins_value_are_guarded(column: Column, empty: URL) -> None:
    """Whichever values those are: the rest is the platform's own business."""
    change = f"UPDATE users SET role = {{}} WHERE id = '{ACME_MEMBER}'"
    insert = f"INSERT INTO users (id, tenant_id, email, role) VALUES ('{NEWCOMER}', '{ACME}', 'new@acme.example', {{}})"
    found: dict[tuple[str | None, ...], list[int | str]] = {}
    expected: dict[tuple[str | None, ...], list[int | str]] = {}
    with connect(empty) as connection:
        for becomes in (*column.admins, *column.others):
            is_admins = becomes in column.admins
            found[None, becomes, "insert"] = attempts(
                connection, None, insert.format(literal(becomes)), MEMBER, SERVICE
            )
            expected[None, becomes, "insert"] = ["guard" if is_admins else 1, 1]
            for was in (*column.admins, *column.others):
                differs = column.key(was) != column.key(becomes)
                guarded = differs and (is_admins or was in column.admins)
                found[was, becomes, "update"] = attempts(
                    connection, was, change.format(literal(becomes)), MEMBER, SERVICE
                )
                expected[was, becomes, "update"] = ["guard" if guarded else 1, 1]
    assert found == expected


def test_whoever_has_an_admins_value_manages_chatbots(column: Column, empty: URL) -> None:
    create = f"""
        INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
        VALUES ('{ACME}', '{ACME_MEMBER}', 'N', 'N', 'm')
    """
    with connect(empty) as connection:
        for value in (*column.admins, *column.others):
            is_admins = value in column.admins
            seen = attempts(connection, value, "SELECT FROM chatbots", MEMBER)
            created = attempts(connection, value, create, MEMBER)
            assert (seen, created) == ([2 if is_admins else 1], [1 if is_admins else "policy"]), value


@pytest.mark.usefixtures("column")
def test_the_column_stays_the_platforms(empty: URL) -> None:
    """No CHECK of ours, no NOT NULL, no other default or type."""
    facts = """
        SELECT atttypid::regtype::text, atttypmod, attnotnull, pg_get_expr(adbin, adrelid),
            (SELECT count(*) FROM pg_constraint WHERE conrelid = attrelid AND attnum = ANY (conkey))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = 'public.users'::regclass AND attname = 'role'
    """
    with connect(empty) as connection:
        at_head = connection.execute(facts).fetchone()
        roles = connection.execute("SELECT id, role FROM users ORDER BY id").fetchall()
        connection.execute("DROP VIEW profiles")
    alembic(empty, "downgrade", "base")
    with connect(empty) as connection:
        assert connection.execute(facts).fetchone() == at_head
        assert connection.execute("SELECT id, role FROM users ORDER BY id").fetchall() == roles
        assert at_head is not None
        assert (at_head[2], at_head[4]) == (False, 0)

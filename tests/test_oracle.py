"""Many people's statements in a row: the database shows, changes and refuses what tests.oracle says, and nothing else.

`pytest tests/test_oracle.py --hypothesis-profile=long` tries 10,000 sequences; the ordinary run tries a few hundred.
"""

from collections.abc import Iterable, Iterator
from itertools import product

import psycopg
import pytest
from hypothesis import given, note
from psycopg import Connection, sql
from psycopg.types.json import Jsonb
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import URL

from tests.conftest import Host, loader
from tests.oracle import FRESH, GUIDES, TIMES, Rules, State, Statement, stored_in, tags_of
from tests.people import LOGIN_ROLES, Who
from tests.platforms import settle_guide
from tests.sequences import CASTS, SUBS, Actor, Sequence, sequences
from tests.tools import alembic, connect, refused_by

TAG = "chatbot_id || '/' || tag"  # what names a row of chatbot_tags


def become(who: Who) -> sql.Composed:
    """Be somebody for the rest of the transaction, in one statement."""
    settings = "SELECT set_config('role', {}, true), set_config('request.jwt.claims', {}, true)"
    return sql.SQL(settings).format(who.role or "none", who.claims or "")


def text(rules: Rules, statement: Statement) -> sql.Composed:
    """A statement in SQL."""
    table, first = sql.Identifier(statement.table), next(iter(statement.values), {})
    listed = sql.SQL("*") if statement.returns == rules.columns[statement.table] else names(statement.returns)
    if statement.command == "SELECT":
        query = sql.SQL("SELECT {} FROM {}").format(listed, table)
    elif statement.command == "INSERT":
        rows = (
            sql.SQL("({})").format(sql.SQL(", ").join(literal(row[column]) for column in first))
            for row in statement.values
        )
        query = sql.SQL("INSERT INTO {} ({}) VALUES {}").format(table, names(first), sql.SQL(", ").join(rows))
    elif statement.command == "UPDATE":
        changes = (sql.SQL("{} = {}").format(sql.Identifier(column), literal(value)) for column, value in first.items())
        query = sql.SQL("UPDATE {} SET {}").format(table, sql.SQL(", ").join(changes))
    else:
        query = sql.SQL("DELETE FROM {}").format(table)
    if statement.where:
        query += sql.SQL(" WHERE {} = {}").format(sql.Identifier(statement.where[0]), literal(statement.where[1]))
    if statement.returns and statement.command != "SELECT":
        query += sql.SQL(" RETURNING {}").format(listed)
    return query


def names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column) for column in columns)


def literal(value: object) -> sql.Literal:
    return sql.Literal(Jsonb(value) if isinstance(value, dict) else value)


def run(rules: Rules, connection: Connection, who: Who, statement: Statement) -> frozenset[str] | int | str:
    """The ids that a statement returns, or else how many rows it changes, or what refuses it."""
    batch: list[str | sql.Composed] = [
        "SAVEPOINT attempt",
        become(who),
        text(rules, statement),
        become(Who(None)),
        "RELEASE SAVEPOINT attempt",
    ]
    try:
        cursor = connection.execute(in_one(batch))
    except psycopg.Error as error:
        connection.execute("ROLLBACK TO SAVEPOINT attempt")
        return refused_by(error)
    cursor.set_result(2)
    return frozenset(str(row[0]) for row in cursor) if statement.returns else cursor.rowcount


def in_one(statements: Iterable[str | sql.Composed]) -> sql.Composed:
    """Several statements that go to the server at once."""
    return sql.SQL("; ").join(sql.SQL(each) if isinstance(each, str) else each for each in statements)


def prepare(rules: Rules, connection: Connection) -> None:
    """Prepare what is asked again and again; actors of one role follow each other, and so share a plan."""
    connection.prepare_threshold = None  # psycopg's own preparing forgets everything at each rollback
    rows = []
    for table, columns in rules.tables.items():
        known = ", ".join(f"'{column}', {table}.{column}" for column in columns if column not in TIMES)
        rows.append(f"SELECT '{table}', jsonb_build_object({known}) FROM {table}")
    rows.append(f"SELECT 'chatbot_tags', to_jsonb(chatbot_tags) || jsonb_build_object('id', {TAG}) FROM chatbot_tags")
    connection.execute(f"PREPARE contents AS {' UNION ALL '.join(rows)}")
    for kind, tables in rules.select.items():
        rows = [f"SELECT '{table}', id::text FROM {table}" for table in tables]
        rows.append(f"SELECT 'chatbot_tags', {TAG} FROM chatbot_tags")
        connection.execute(f"PREPARE sight_of_{kind} AS {' UNION ALL '.join(rows)}")


def contents(rules: Rules, connection: Connection) -> State:
    """All rows, as the owner sees them."""
    found: State = {table: {} for table in (*rules.tables, "chatbot_tags")}
    for table, row in connection.execute("EXECUTE contents"):
        found[table][row["id"]] = row
    return found


def sight(rules: Rules, connection: Connection) -> dict[Actor, set[tuple[str, str]]]:
    """Table and id of every row that each actor sees."""
    actors = CASTS[rules].everybody
    batch = [part for actor in actors for part in (become(actor.who), f"EXECUTE sight_of_{actor.caller.kind}")]
    cursor = connection.execute(in_one([*batch, become(Who(None))]))
    found = {}
    for number, actor in enumerate(actors):
        cursor.set_result(2 * number + 1)
        found[actor] = set(cursor)
    return found


def expected_contents(state: State) -> State:
    tags = (row for chatbot in state["chatbots"].values() for row in tags_of(chatbot))
    return state | {"chatbot_tags": {row["id"]: row for row in tags}}


def expected_sight(rules: Rules, state: State) -> dict[Actor, set[tuple[str, str]]]:
    found: dict[Actor, set[tuple[str, str]]] = {}
    for actor in CASTS[rules].everybody:
        seen = found[actor] = set()
        for table in rules.select[actor.caller.kind]:
            for row_id, row in state[stored_in(table)].items():
                if rules.may(state, actor.caller, "SELECT", table, row):
                    seen.add((table, row_id))
                    if table == "chatbots":
                        seen.update(("chatbot_tags", tag["id"]) for tag in tags_of(row))
    return found


def add_heir(url: URL) -> None:
    with connect(url) as connection:
        connection.execute(LOGIN_ROLES)


def adopt(url: URL) -> None:
    """The guide's own platform at head, with accounts and no rows."""
    with connect(url) as connection:
        settle_guide(connection, rows="")
        connection.execute("INSERT INTO auth.users SELECT unnest(%s::uuid[])", (SUBS,))
        connection.execute(LOGIN_ROLES)
        connection.execute("INSERT INTO tenants (name, slug) VALUES ('x', 'x')")
        connection.execute("INSERT INTO users (tenant_id, email, role) SELECT id, 'x', 'admin' FROM tenants")
    alembic(url, "-x", "admin_role=admin", "upgrade", "head")
    with connect(url) as connection:
        connection.execute("DELETE FROM users; DELETE FROM tenants")


oracle_template = factories.postgresql_noproc(depends_on="head_template", dbname="oracle", load=[loader(add_heir)])
guides_oracle_template = factories.postgresql_noproc(depends_on="host", dbname="guides_oracle", load=[loader(adopt)])


@pytest.fixture(scope="module", params=[FRESH, GUIDES], ids=["fresh", "guide"])
def rules(request: pytest.FixtureRequest) -> Rules:
    """The rules of a fresh install, or of the guide's own platform."""
    its: Rules = request.param
    return its


@pytest.fixture(scope="module")
def connection(request: pytest.FixtureRequest, host: Host, rules: Rules) -> Iterator[Connection]:
    """A superuser's connection to a database at head, without rows."""
    template = "oracle_template" if rules is FRESH else "guides_oracle_template"
    executor: NoopExecutor = request.getfixturevalue(template)
    with connect(host.url(executor.template_dbname)) as connection:
        prepare(rules, connection)
        yield connection


def compare(rules: Rules, connection: Connection, sequence: Sequence) -> Iterator[tuple[str, str]]:
    """Run a sequence, compare after each statement, and tell who succeeded with which command."""
    state = sequence.rows
    fill = in_one(
        text(rules, Statement("INSERT", table, tuple(rows.values()))) for table, rows in state.items() if rows
    )
    note(fill.as_string(connection))
    connection.execute(fill)
    for actor, statement in sequence.steps:
        note(f"-- as {actor.who.role} {actor.who.claims or ''}\n{text(rules, statement).as_string(connection)};")
        expected = rules.execute(state, actor.caller, statement)
        came_of_it = run(rules, connection, actor.who, statement)
        assert came_of_it in (expected.refused_by or {expected.ids if statement.returns else len(expected.ids)})
        state = expected.state
        assert contents(rules, connection) == expected_contents(state)
        if expected.ids:
            yield actor.caller.kind, statement.command
    assert sight(rules, connection) == expected_sight(rules, state)


def test_the_database_does_as_the_oracle_says(rules: Rules, connection: Connection) -> None:
    succeeded: set[tuple[str, str]] = set()

    @given(sequences(rules))
    def agree(sequence: Sequence) -> None:
        with connection.transaction(force_rollback=True):
            succeeded.update(compare(rules, connection, sequence))

    agree()
    commands = ("SELECT", "INSERT", "UPDATE", "DELETE")
    anonymous = ("SELECT",) if rules is FRESH else commands  # the guide's policies know them by their token
    assert succeeded == {*product(("anonymous",), anonymous), *product(("person", "service"), commands)}

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
from tests.oracle import COLUMNS, SELECT, TABLES, State, Statement, execute, may, stored_in, tags_of
from tests.people import LOGIN_ROLES, Who
from tests.sequences import ACTORS, Actor, Sequence, sequences
from tests.tools import connect, refused_by

TAG = "chatbot_id || '/' || tag"  # what names a row of chatbot_tags


def become(who: Who) -> sql.Composed:
    """Be somebody for the rest of the transaction, in one statement."""
    settings = "SELECT set_config('role', {}, true), set_config('request.jwt.claims', {}, true)"
    return sql.SQL(settings).format(who.role or "none", who.claims or "")


def text(statement: Statement) -> sql.Composed:
    """A statement in SQL."""
    table, first = sql.Identifier(statement.table), next(iter(statement.values), {})
    listed = sql.SQL("*") if statement.returns == COLUMNS[statement.table] else names(statement.returns)
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


def run(connection: Connection, who: Who, statement: Statement) -> frozenset[str] | int | str:
    """The ids that a statement returns, or else how many rows it changes, or what refuses it."""
    batch: list[str | sql.Composed] = [
        "SAVEPOINT attempt",
        become(who),
        text(statement),
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


def prepare(connection: Connection) -> None:
    """Prepare what is asked again and again; actors of one role follow each other, and so share a plan."""
    connection.prepare_threshold = None  # psycopg's own preparing forgets everything at each rollback
    rows = [f"SELECT '{table}', to_jsonb({table}) - ARRAY['created_at', 'updated_at'] FROM {table}" for table in TABLES]
    rows.append(f"SELECT 'chatbot_tags', to_jsonb(chatbot_tags) || jsonb_build_object('id', {TAG}) FROM chatbot_tags")
    connection.execute(f"PREPARE contents AS {' UNION ALL '.join(rows)}")
    for kind, tables in SELECT.items():
        rows = [f"SELECT '{table}', id::text FROM {table}" for table in tables]
        rows.append(f"SELECT 'chatbot_tags', {TAG} FROM chatbot_tags")
        connection.execute(f"PREPARE sight_of_{kind} AS {' UNION ALL '.join(rows)}")


def contents(connection: Connection) -> State:
    """All rows, as the owner sees them."""
    found: State = {table: {} for table in (*TABLES, "chatbot_tags")}
    for table, row in connection.execute("EXECUTE contents"):
        found[table][row["id"]] = row
    return found


def sight(connection: Connection) -> dict[Actor, set[tuple[str, str]]]:
    """Table and id of every row that each actor sees."""
    batch = [part for actor in ACTORS for part in (become(actor.who), f"EXECUTE sight_of_{actor.caller.kind}")]
    cursor = connection.execute(in_one([*batch, become(Who(None))]))
    found = {}
    for number, actor in enumerate(ACTORS):
        cursor.set_result(2 * number + 1)
        found[actor] = set(cursor)
    return found


def expected_contents(state: State) -> State:
    tags = (row for chatbot in state["chatbots"].values() for row in tags_of(chatbot))
    return state | {"chatbot_tags": {row["id"]: row for row in tags}}


def expected_sight(state: State) -> dict[Actor, set[tuple[str, str]]]:
    found: dict[Actor, set[tuple[str, str]]] = {}
    for actor in ACTORS:
        seen = found[actor] = set()
        for table in SELECT[actor.caller.kind]:
            for row_id, row in state[stored_in(table)].items():
                if may(state, actor.caller, "SELECT", table, row):
                    seen.add((table, row_id))
                    if table == "chatbots":
                        seen.update(("chatbot_tags", tag["id"]) for tag in tags_of(row))
    return found


def add_heir(url: URL) -> None:
    with connect(url) as connection:
        connection.execute(LOGIN_ROLES)


oracle_template = factories.postgresql_noproc(depends_on="head_template", dbname="oracle", load=[loader(add_heir)])


@pytest.fixture(scope="module")
def connection(host: Host, oracle_template: NoopExecutor) -> Iterator[Connection]:
    """A superuser's connection to a database at head, without rows."""
    with connect(host.url(oracle_template.template_dbname)) as connection:
        prepare(connection)
        yield connection


def compare(connection: Connection, sequence: Sequence) -> Iterator[tuple[str, str]]:
    """Run a sequence, compare after each statement, and tell who succeeded with which command."""
    state = sequence.rows
    fill = in_one(text(Statement("INSERT", table, tuple(rows.values()))) for table, rows in state.items() if rows)
    note(fill.as_string(connection))
    connection.execute(fill)
    for actor, statement in sequence.steps:
        note(f"-- as {actor.who.role} {actor.who.claims or ''}\n{text(statement).as_string(connection)};")
        expected = execute(state, actor.caller, statement)
        came_of_it = run(connection, actor.who, statement)
        assert came_of_it in (expected.refused_by or {expected.ids if statement.returns else len(expected.ids)})
        state = expected.state
        assert contents(connection) == expected_contents(state)
        if expected.ids:
            yield actor.caller.kind, statement.command
    assert sight(connection) == expected_sight(state)


def test_the_database_does_as_the_oracle_says(connection: Connection) -> None:
    succeeded: set[tuple[str, str]] = set()

    @given(sequences())
    def agree(sequence: Sequence) -> None:
        with connection.transaction(force_rollback=True):
            succeeded.update(compare(connection, sequence))

    agree()
    commands = product(("person", "service"), ("SELECT", "INSERT", "UPDATE", "DELETE"))
    assert succeeded == {("anonymous", "SELECT"), *commands}

"""The README's rolling deploy over 010: the old version at work before, during and after the step."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import dict_row
from sqlalchemy import URL

from tests.people import (
    ACME_COLLEAGUE,
    ACME_MEMBER,
    ANONYMOUS,
    COLLEAGUE,
    COLLEAGUES_TALK,
    GLOBEX_MEMBER,
    GLOBEX_TALK,
    MEMBER,
    OTHER_MEMBER,
    OWN_FEEDBACK,
    OWN_TALK,
    SERVICE,
    Who,
    populate,
)
from tests.platforms import SUPABASE, settle
from tests.tools import PROJECT, alembic, attempt, become, connect

CYCLES = 6
ROUNDS = 3  # of each connection, in each phase of a cycle
PEOPLE = [
    (MEMBER, ACME_MEMBER, OWN_TALK),
    (COLLEAGUE, ACME_COLLEAGUE, COLLEAGUES_TALK),
    (OTHER_MEMBER, GLOBEX_MEMBER, GLOBEX_TALK),
    (SERVICE, ACME_MEMBER, OWN_TALK),
]

# What the README says, run here.
OPTIONS = {"options": "-csearch_path=chatbot_compat,public", "application_name": "platform-1"}
BY_ROLE = "ALTER ROLE application SET search_path = chatbot_compat, public"
OLD_SESSIONS = "SELECT usename, pid FROM pg_stat_activity WHERE application_name = 'platform-1'"
DROP = "DROP SCHEMA chatbot_compat CASCADE"

WAITING = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"


def statements(column: str) -> list[str]:
    """What a version sends that calls the column so: each finds the row of its own message, if that is there."""
    give = f"INSERT INTO feedback (message_id, user_id, rating, {column}) VALUES (%(message)s, %(user)s, 4, %(text)s)"
    own = "WHERE message_id = %(message)s AND user_id = %(user)s"
    returning = f"RETURNING user_id, message_id, {column}"
    return [
        f"{give} {returning}",
        f"SELECT user_id, message_id, {column} FROM feedback",
        f"UPDATE feedback SET {column} = %(text)s {own} {returning}",
        "SELECT * FROM feedback",
        f"{give} ON CONFLICT (message_id, user_id) DO UPDATE SET {column} = excluded.{column} {returning}",
        f"DELETE FROM feedback {own} {returning}",
        # Nobody's here, as each writes texts of its own: only row security that fails would let it find others' rows.
        f"UPDATE feedback SET {column} = 'Stolen' WHERE user_id <> %(user)s AND %(text)s <> '' {returning}",
    ]


@dataclass
class Client:
    """A connection of a version of the application, as one person who rates a message of their own."""

    url: URL
    column: str
    who: Who
    user: UUID
    message: UUID
    prepare: bool
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)

    def work(self, over: Event) -> None:
        with connect(self.url) as connection:
            while not over.is_set():
                todo = statements(self.column)[: 6 if self.who == SERVICE else 7]
                for transaction in [todo] if self.rounds % 2 else [[statement] for statement in todo]:
                    try:
                        with connection.transaction():
                            become(connection, self.who)
                            for statement in transaction:
                                self.send(connection, statement)
                    except psycopg.Error as error:
                        self.wrong.append(f"{type(error).__name__}: {error}")
                self.rounds += 1

    def send(self, connection: Connection, statement: str) -> None:
        text = f"{self.message}, {self.rounds}"
        with connection.cursor(row_factory=dict_row) as cursor:
            values = {"message": self.message, "user": self.user, "text": text}
            rows = cursor.execute(statement, values, prepare=self.prepare).fetchall()
        if self.who != SERVICE and {row["user_id"] for row in rows} - {self.user}:
            self.wrong.append(f"found others' rows: {statement}")
        if [row.get(self.column) for row in rows if row["message_id"] == self.message] != [text] * (
            "Stolen" not in statement
        ):
            self.wrong.append(f"found not what it wrote: {statement}")


def wrong(clients: Iterable[Client]) -> set[str]:
    return {what for client in clients for what in client.wrong}


@contextmanager
def at_work(clients: list[Client]) -> Iterator[None]:
    over = Event()
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(client.work, over) for client in clients]
        try:
            yield
        finally:
            over.set()
            for each in running:
                each.result()


def go_on(clients: list[Client]) -> None:
    """Wait until each has done some rounds more: no phase passes without their statements."""
    goals, deadline = [client.rounds + ROUNDS for client in clients], time.monotonic() + 60
    while any(client.rounds < goal for client, goal in zip(clients, goals, strict=True)):
        assert time.monotonic() < deadline, "one of them stands still"
        time.sleep(0.002)


def until(connection: Connection, query: str) -> None:
    """Wait until a query finds something."""
    deadline = time.monotonic() + 60
    while connection.execute(query).fetchone() is None:
        assert time.monotonic() < deadline, query
        time.sleep(0.002)


@dataclass(frozen=True)
class Deploy:
    """A platform at 009, and how each version connects to it."""

    owner: URL
    old: URL
    new: URL

    def clients(self, column: str) -> list[Client]:
        url = self.old if column == "comment" else self.new
        found = [
            Client(url, column, who, user, uuid4(), prepare) for who, user, _ in PEOPLE for prepare in (False, True)
        ]
        with connect(self.owner) as connection:
            connection.cursor().executemany(
                "INSERT INTO messages (id, conversation_id, role, content) VALUES (%s, %s, 'assistant', 'Hello')",
                [(client.message, talk) for client in found for who, _, talk in PEOPLE if who == client.who],
            )
        return found


@pytest.fixture(params=["fresh install, by the URL", "Supabase, by the role"])
def deploy(request: pytest.FixtureRequest, empty: URL) -> Iterator[Deploy]:
    adopted, by_role = "Supabase" in request.param, "role" in request.param
    with connect(empty) as connection:
        if adopted:
            settle(connection, SUPABASE)
        alembic(empty, "upgrade", "009")
        populate(connection, first="007" if adopted else "006", last="009")
        for role in ("application_1", "application_2"):  # roles belong to the whole cluster
            connection.execute(f"CREATE ROLE {role} LOGIN NOINHERIT IN ROLE anon, authenticated, service_role")
        if by_role:
            connection.execute(BY_ROLE.replace("application", "application_1"))
        old = empty.set(username="application_1")
        yield Deploy(empty, old if by_role else old.update_query_dict(OPTIONS), empty.set(username="application_2"))
        connection.execute("DROP ROLE application_1, application_2")


def test_no_statement_fails_and_each_version_reads_the_other(deploy: Deploy) -> None:
    old, new = deploy.clients("comment"), deploy.clients("notes")
    with at_work(old), connect(deploy.old) as before, connect(deploy.new) as after:
        nobodys = attempt(before, ANONYMOUS, "SELECT comment FROM feedback", {})
        assert nobodys in {"grant", 0}
        for cycle in range(CYCLES):
            go_on(old)
            alembic(deploy.owner, "upgrade", "010")
            with at_work(new):
                go_on(old + new)
                for writer, its, reader, theirs in (
                    (before, "comment", after, "notes"),
                    (after, "notes", before, "comment"),
                ):
                    with writer.transaction():
                        become(writer, MEMBER)
                        text = f"{its} {cycle}"
                        writer.execute(f"UPDATE feedback SET {its} = %s WHERE id = %s", (text, OWN_FEEDBACK))
                    seen = f"SELECT FROM feedback WHERE {theirs} = %(text)s"
                    found = [attempt(reader, who, seen, {"text": text}) for who in (MEMBER, COLLEAGUE, OTHER_MEMBER)]
                    assert found == [1, 0, 0]
                assert attempt(before, ANONYMOUS, "SELECT comment FROM feedback", {}) == nobodys
            alembic(deploy.owner, "downgrade", "009")
        go_on(old)
    assert wrong(old + new) == set()


def test_tries_that_are_given_up_fail_nobody(deploy: Deploy) -> None:
    old = deploy.clients("comment")
    with at_work(old), connect(deploy.owner) as observer, connect(deploy.old) as reader, ThreadPoolExecutor(1) as pool:
        for command in (("upgrade", "010"), ("downgrade", "009")):
            with reader.transaction():
                become(reader, MEMBER)
                reader.execute("SELECT comment FROM feedback")
                step = pool.submit(alembic, deploy.owner, "-x", "lock_timeout=100ms", *command)
                until(observer, f"SELECT WHERE EXISTS ({WAITING})")
                until(observer, f"SELECT WHERE NOT EXISTS ({WAITING})")
            step.result()
            go_on(old)
    assert wrong(old) == set()


def test_a_downgrade_fails_nobody_who_locks_the_other_way_round(deploy: Deploy) -> None:
    """A deletion that cascades locks feedback without the view, and its transaction then reads the view."""
    alembic(deploy.owner, "upgrade", "010")
    with (
        connect(deploy.owner) as observer,
        connect(deploy.old) as reader,
        connect(deploy.old) as deleter,
        ThreadPoolExecutor(2) as pool,
    ):
        with deleter.transaction():
            become(deleter, MEMBER)
            deleter.execute("DELETE FROM conversations WHERE id = %s", (OWN_TALK,))
            with reader.transaction():
                become(reader, MEMBER)
                reader.execute("SELECT comment FROM feedback")
                downgrade = pool.submit(alembic, deploy.owner, "downgrade", "009")
                until(observer, WAITING)
                selected = pool.submit(deleter.execute, "SELECT comment FROM feedback")
                until(observer, "SELECT FROM pg_locks WHERE NOT granted OFFSET 1")
            # Now the downgrade has the view and waits for feedback; the deleter has feedback and waits for the view.
            assert selected.result().fetchall() == []
        downgrade.result()


def test_the_view_goes_when_no_session_of_the_old_version_is_left(head: URL) -> None:
    with connect(head) as connection:
        with connect(head.update_query_dict(OPTIONS)):
            assert connection.execute(OLD_SESSIONS).fetchall()
        until(connection, f"SELECT WHERE NOT EXISTS ({OLD_SESSIONS})")
        told: list[str | None] = []
        connection.add_notice_handler(lambda diagnostic: told.append(diagnostic.message_primary))
        connection.execute(DROP)
        assert told == ["drop cascades to view chatbot_compat.feedback"]
    for command in (("check",), ("downgrade", "009"), ("upgrade", "head")):
        alembic(head, *command)


def test_the_readme_says_what_is_done_here() -> None:
    readme = " ".join((PROJECT / "README.md").read_text().split())
    options = "&".join(f"{name}={value.replace('=', '%3D')}" for name, value in OPTIONS.items())
    for each in (f"?{options}", BY_ROLE, OLD_SESSIONS, DROP, "downgrade 009"):
        assert each in readme

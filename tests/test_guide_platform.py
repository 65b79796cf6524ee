"""The guide's own platform, before its SQL, after it, and in between: to head and back, beside the old application."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection, errors
from sqlalchemy import URL

from tests.people import ANONYMOUS, LOGIN_ROLES, SERVICE, Who
from tests.platforms import (
    BY_HAND,
    CHATBOTS_WITHOUT_POLICIES,
    GUIDE,
    GUIDE_BY_HAND,
    GUIDE_ROWS,
    ROWS_WITHOUT_LINKS,
    SUPABASE_OWNER,
    settle_guide,
)
from tests.tools import alembic, attempt, become, catalog, connect, dump, psql, run

ADMINS = ("-x", "admin_role=admin")

# Of rows.sql.
TEN = (1, 2, 3, 4, 5, 6, 57, 58, 59, 60)  # admins; members; NULL for active; inactive; NULL for a role; not signed in
SUB = "a0000000-0000-0000-0000-{:012}"
USER = "20000000-0000-0000-0000-{:012}"
TENANT = "10000000-0000-0000-0000-{:012}"


@dataclass(frozen=True)
class Shape:
    """A state of the platform: its SQL, its rows, and the options that its upgrade needs."""

    platform: str
    rows: str = GUIDE_ROWS
    options: tuple[str, ...] = ADMINS


SHAPES = {
    "before-007": Shape(GUIDE),
    "by-hand": Shape(GUIDE_BY_HAND, options=()),
}
PARTLY = {
    "role-check": Shape(GUIDE + BY_HAND["008"], options=()),
    "notes": Shape(GUIDE + BY_HAND["010"]),
    "chatbots": Shape(GUIDE + BY_HAND["007"], ROWS_WITHOUT_LINKS),
    "chatbots-without-policies": Shape(GUIDE + CHATBOTS_WITHOUT_POLICIES, ROWS_WITHOUT_LINKS),
    "links": Shape(GUIDE + BY_HAND["007"] + BY_HAND["009"]),
    "links-without-policies": Shape(GUIDE + CHATBOTS_WITHOUT_POLICIES + BY_HAND["009"]),
    "all-but-notes": Shape(GUIDE + BY_HAND["007"] + BY_HAND["008"] + BY_HAND["009"], options=()),
}


@dataclass(frozen=True)
class Platform:
    """A database with a shape of the platform."""

    superuser: URL
    url: URL  # of its owner
    shape: Shape

    @property
    def has_chatbots(self) -> bool:
        return "CREATE TABLE chatbots" in self.shape.platform


def settled(url: URL, shape: Shape, owner: str | None) -> Platform:
    with connect(url) as connection:
        settle_guide(connection, owner=owner, platform=shape.platform, rows=shape.rows)
        connection.execute(LOGIN_ROLES)
    return Platform(url, url.set(username=owner) if owner else url, shape)


@pytest.fixture(params=[None, SUPABASE_OWNER], ids=["superuser", "supabase-owner"])
def owner(request: pytest.FixtureRequest) -> str | None:
    role: str | None = request.param
    return role


@pytest.fixture(params=SHAPES)
def platform(request: pytest.FixtureRequest, empty: URL, owner: str | None) -> Platform:
    """The platform in each of the guide's two states, of either owner."""
    return settled(empty, SHAPES[request.param], owner)


@pytest.fixture(params=[("before-007", SUPABASE_OWNER), ("by-hand", None)], ids=["before-007", "by-hand"])
def either(request: pytest.FixtureRequest, empty: URL) -> Platform:
    """The platform in each of the guide's two states, of one owner each."""
    shape, owner = request.param
    return settled(empty, SHAPES[shape], owner)


@pytest.fixture(params=PARTLY)
def partly(request: pytest.FixtureRequest, empty: URL) -> Platform:
    """The platform in each state in between, where the guide's SQL was run in part."""
    return settled(empty, PARTLY[request.param], None)


@pytest.fixture
def by_hand(empty: URL) -> Platform:
    return settled(empty, SHAPES["by-hand"], None)


# Nothing is lost


def everything(binaries: Path, url: URL) -> Counter[str]:
    """The lines of a dump, in which rows stand in whichever order, without its comments."""
    lines = dump(binaries, url, "--exclude-schema=chatbot_private", schema_only=False).splitlines()
    return Counter(line for line in lines if line and not line.startswith("--"))


CLIENTS = ("anon", "authenticated", "service_role")
HIDDEN = {"system_prompt", "temperature", "max_tokens", "settings", "created_by"}  # from anonymous visitors
A_GRANT = re.compile(rf"GRANT .* ON TABLE public\.chatbots TO ({'|'.join(CLIENTS)});")
DOORS = {"TRUNCATE", "TRIGGER"}


def rights(url: URL) -> set[tuple[str, str, str]]:
    """Client, privilege and column of every right on chatbots; "" where the right is on the table."""
    on_columns, on_table = ("SELECT", "INSERT", "UPDATE", "REFERENCES"), ("DELETE", *DOORS)
    with connect(url) as connection:
        if connection.execute("SELECT to_regclass('public.chatbots')").fetchone() == (None,):
            return set()
        return {
            (role, privilege, column)
            for role in CLIENTS
            for privilege, column in connection.execute(
                """
                SELECT privilege, attname FROM pg_attribute, unnest(%(on_columns)s::text[]) AS privilege
                WHERE attrelid = 'public.chatbots'::regclass AND attnum > 0 AND NOT attisdropped
                    AND has_column_privilege(%(role)s, attrelid, attnum, privilege)
                UNION ALL
                SELECT privilege, '' FROM unnest(%(on_table)s::text[]) AS privilege
                WHERE has_table_privilege(%(role)s, 'chatbots', privilege)
                """,
                {"role": role, "on_columns": list(on_columns), "on_table": list(on_table)},
            )
        }


def opens_a_door(right: tuple[str, str, str]) -> bool:
    """Whether a downgrade need not give this right back."""
    role, privilege, column = right
    return privilege in DOORS or (role == "anon" and privilege == "SELECT" and column in HIDDEN)


def without_grants(lines: Counter[str]) -> Counter[str]:
    """All but the grants on chatbots, which `rights` compares."""
    return Counter({line: count for line, count in lines.items() if not A_GRANT.fullmatch(line)})


def schema(lines: Counter[str]) -> list[str]:
    """Those that are no rows."""
    return sorted(line for line in lines if "\t" not in line)


def survivors(url: URL) -> dict[str, list[tuple[object, ...]]]:
    """Every chatbot, link, role and note with its id, in whichever column a note stands."""
    with connect(url) as connection:
        columns = {
            f"{table}.{column}"
            for table, column in connection.execute("""
                SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
            """)
        }
        note = "notes" if "feedback.notes" in columns else "comment"
        queries = {
            "roles": "SELECT id, role, auth_id, is_active FROM users ORDER BY id",
            "notes": f"SELECT id, {note}, rating FROM feedback ORDER BY id",
        }
        if "conversations.chatbot_id" in columns:
            queries["links"] = "SELECT id, chatbot_id FROM conversations ORDER BY id"
        if "chatbots.id" in columns:
            queries["chatbots"] = """
                SELECT id, tenant_id, name, system_prompt, model, temperature, max_tokens, settings, is_published,
                    created_by, created_at, updated_at FROM chatbots ORDER BY id
            """
        return {what: connection.execute(query).fetchall() for what, query in queries.items()}


def test_up_and_down_leave_the_platform_as_it_was(platform: Platform, binaries: Path) -> None:
    before, rights_before = everything(binaries, platform.superuser), rights(platform.superuser)
    rows_before = survivors(platform.superuser)
    alembic(platform.url, *platform.shape.options, "upgrade", "head")
    alembic(platform.url, "check")
    rows_at_head = survivors(platform.superuser)
    assert {what: rows_at_head[what] for what in rows_before} == rows_before
    for target in ("006", "base"):
        alembic(platform.url, "downgrade", target)
        assert survivors(platform.superuser) == rows_before
    after, rights_after = everything(binaries, platform.superuser), rights(platform.superuser)
    assert without_grants(after) == without_grants(before)
    assert rights_after <= rights_before
    assert [right for right in rights_before - rights_after if not opens_a_door(right)] == []


def test_each_partly_done_state_goes_up_and_down(partly: Platform, binaries: Path) -> None:
    before, rights_before = everything(binaries, partly.superuser), rights(partly.superuser)
    rows_before = survivors(partly.superuser)
    for _ in range(2):
        alembic(partly.url, *partly.shape.options, "upgrade", "head")
        rows_at_head = survivors(partly.superuser)
        assert {what: rows_at_head[what] for what in rows_before} == rows_before
        alembic(partly.url, "downgrade", "base")
    assert without_grants(everything(binaries, partly.superuser)) == without_grants(before)
    assert all(map(opens_a_door, rights_before - rights(partly.superuser)))


def test_each_revision_goes_down_to_the_one_before(either: Platform) -> None:
    rows_before = survivors(either.superuser)
    alembic(either.url, *either.shape.options, "upgrade", "006")
    for _ in range(9):
        alembic(either.url, "upgrade", "+1")
        alembic(either.url, "downgrade", "-1")
        alembic(either.url, "upgrade", "+1")
    alembic(either.url, "check")
    rows_at_head = survivors(either.superuser)
    assert {what: rows_at_head[what] for what in rows_before} == rows_before


def test_options_are_remembered(either: Platform) -> None:
    alembic(either.url, "-x", "identity=auth_id", *either.shape.options, "upgrade", "007")
    alembic(either.url, "upgrade", "head")
    alembic(either.url, "downgrade", "006")
    alembic(either.url, "upgrade", "head")
    with connect(either.superuser) as connection:
        found = connection.execute("SELECT chatbot_private.identity_column(), chatbot_private.admin_roles()")
        assert found.fetchone() == ("auth_id", ["admin"])
    alembic(either.url, "downgrade", "base")
    refused = run("alembic", "upgrade", "head", url=either.url)
    assert (refused.returncode == 0) == (not either.shape.options)  # nothing is remembered past 006


def by_files(binaries: Path, platform: Platform, directory: Path, name: str) -> None:
    """Run one of the guide's SQL files, which have the options written into them."""
    written = run("app", "sql", str(directory), *platform.shape.options)
    assert written.returncode == 0, written.stderr
    done = psql(binaries, platform.url, "-v", "ON_ERROR_STOP=1", "-f", str(directory / f"{name}.sql"))
    assert done.returncode == 0, done.stderr


def by_script(binaries: Path, platform: Platform, command: str, revisions: str) -> None:
    """Run what `alembic --sql` prints for psql."""
    printed = run("alembic", *platform.shape.options, command, revisions, "--sql")
    assert printed.returncode == 0, printed.stderr
    done = psql(binaries, platform.url, "-v", "ON_ERROR_STOP=1", script=printed.stdout)
    assert done.returncode == 0, done.stderr


def ours(url: URL) -> tuple[list[str], list[tuple[object, ...]]]:
    """The catalog, and what a downgrade would put back."""
    with connect(url) as connection:
        replaced = connection.execute("SELECT part, statement FROM chatbot_private.replaced ORDER BY 1, 2").fetchall()
        return catalog(connection), replaced


def test_the_files_and_scripts_do_what_alembic_does(either: Platform, binaries: Path, tmp_path: Path) -> None:
    before, rows_before = everything(binaries, either.superuser), survivors(either.superuser)
    for _ in range(2):  # the first downgrade leaves away what opens a door, and the second finds it so
        alembic(either.url, *either.shape.options, "upgrade", "head")
        by_alembic = ours(either.superuser)
        alembic(either.url, "downgrade", "base")
    back = everything(binaries, either.superuser)
    for way in ("files", "script"):
        if way == "files":
            by_files(binaries, either, tmp_path, "006_platform_baseline")
            by_files(binaries, either, tmp_path, "apply_multi_agent_migrations")
        else:
            by_script(binaries, either, "upgrade", "base:head")
        assert ours(either.superuser) == by_alembic, way
        at_head = survivors(either.superuser)
        assert {what: at_head[what] for what in rows_before} == rows_before
        if way == "files":
            by_files(binaries, either, tmp_path, "rollback_multi_agent_migrations")
            alembic(either.url, "downgrade", "base")
        else:
            by_script(binaries, either, "downgrade", "head:base")
        assert everything(binaries, either.superuser) == back
    assert without_grants(back) == without_grants(before)


def test_settings_that_are_null_become_an_empty_object_and_stay_one(by_hand: Platform, binaries: Path) -> None:
    with connect(by_hand.superuser) as connection:
        connection.execute("UPDATE chatbots SET settings = NULL WHERE name IN ('Bot 1', 'Bot 2')")
    before = everything(binaries, by_hand.superuser)
    announced = run("app", "preflight", url=by_hand.url)
    assert announced.returncode == 0, announced.stdout + announced.stderr
    assert re.search(r"settings.*2|2.*settings", announced.stdout)
    alembic(by_hand.url, "upgrade", "head")
    alembic(by_hand.url, "downgrade", "base")
    after = everything(binaries, by_hand.superuser)
    gone, came = sorted(without_grants(before - after)), sorted(without_grants(after - before))
    assert [line.split("\t")[2] for line in gone] == ["Bot 1", "Bot 2"]
    assert [line.replace("\t{}\t", "\t\\N\t") for line in came] == gone


@pytest.mark.parametrize(
    "at_head",
    [
        f"INSERT INTO chatbots (tenant_id, name, system_prompt) VALUES ('{TENANT.format(1)}', 'Of nobody', 'Help.')",
        f"DELETE FROM users WHERE id = '{USER.format(1)}'",
    ],
    ids=["nobodys", "somebody-gone"],
)
def test_a_constraint_that_rows_contradict_by_now_is_named_and_stays_away(
    by_hand: Platform, binaries: Path, at_head: str
) -> None:
    before = everything(binaries, by_hand.superuser)
    alembic(by_hand.url, "upgrade", "head")
    with connect(by_hand.superuser) as connection:
        connection.execute(at_head.encode())
        kept = connection.execute("SELECT count(*) FROM chatbots").fetchone()
    down = run("alembic", "downgrade", "base", url=by_hand.url)
    assert down.returncode == 0, down.stderr
    listed, _, _ = down.stderr.partition("Running downgrade")
    assert "created_by" in listed
    after = everything(binaries, by_hand.superuser)
    gone, came = (schema(without_grants(lines)) for lines in (before - after, after - before))
    assert (gone, came) == (["    created_by uuid NOT NULL,"], ["    created_by uuid,"])
    with connect(by_hand.superuser) as connection:
        assert connection.execute("SELECT count(*) FROM chatbots").fetchone() == kept


# Everybody sees what is theirs


def token(number: int) -> Who:
    """One of the people of rows.sql by their Supabase token."""
    sub = SUB.format(number)
    return Who("authenticated", json.dumps({"role": "authenticated", "aud": "authenticated", "sub": sub}))


LIST = "SELECT id FROM chatbots"


def seen(connection: Connection, who: Who, query: str) -> list[tuple[object, ...]]:
    with connection.transaction(force_rollback=True):
        become(connection, who)
        return connection.execute(query.encode()).fetchall()


def conversations_of_ten(url: URL) -> dict[int, list[tuple[object, ...]]]:
    with connect(url) as connection:
        query = "SELECT id, title FROM conversations ORDER BY id"
        return {number: seen(connection, token(number), query) for number in TEN}


def chatbots_of_ten(url: URL) -> dict[int, set[UUID]]:
    with connect(url) as connection:
        return {number: {row[0] for row in seen(connection, token(number), LIST)} for number in TEN}  # type: ignore[misc]


def chatbots_by_the_matrix(url: URL) -> dict[int, set[UUID]]:
    """Design §4's row for chatbots, from the rows."""
    with connect(url) as connection:
        bots = connection.execute("SELECT id, tenant_id, is_published FROM chatbots").fetchall()
        people = connection.execute("SELECT auth_id, tenant_id, role FROM users WHERE is_active").fetchall()
    active = {str(auth_id): (tenant, role) for auth_id, tenant, role in people}
    expected = {}
    for number in TEN:
        tenant, role = active.get(SUB.format(number), (None, None))
        expected[number] = {bot for bot, its, published in bots if its == tenant and (published or role == "admin")}
    return expected


NEW_BOTS = """
    INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, is_published)
    SELECT u.tenant_id, u.id, 'New ' || n, 'You help.', 'gpt-4o', n = 1 FROM users u, generate_series(1, 2) n
    WHERE auth_id = '{}'
"""


def test_ten_people_see_their_conversations_before_at_head_and_after(platform: Platform) -> None:
    before = conversations_of_ten(platform.superuser)
    assert {number for number, rows in before.items() if not rows} == {57, 58, 60}
    alembic(platform.url, *platform.shape.options, "upgrade", "head")
    assert conversations_of_ten(platform.superuser) == before
    alembic(platform.url, "downgrade", "base")
    assert conversations_of_ten(platform.superuser) == before


def test_ten_people_see_chatbots_as_the_matrix_says(either: Platform) -> None:
    before = chatbots_of_ten(either.superuser) if either.has_chatbots else None
    alembic(either.url, *either.shape.options, "upgrade", "head")
    if before is not None:
        assert chatbots_of_ten(either.superuser) == before
    with connect(either.superuser) as connection:
        for number in TEN:  # whoever is an admin by users.role makes two in their tenant, nobody else any
            is_admin = number <= 3
            with connection.transaction():
                become(connection, token(number))
                try:
                    with connection.transaction():
                        made = connection.execute(NEW_BOTS.format(SUB.format(number)).encode()).rowcount
                except errors.InsufficientPrivilege:
                    made = 0
                connection.execute("RESET ROLE")
            assert made == (2 if is_admin else 0), number
        published = {row[0] for row in connection.execute("SELECT id FROM chatbots WHERE is_published")}
        assert {row[0] for row in seen(connection, ANONYMOUS, LIST)} == published
    expected = chatbots_by_the_matrix(either.superuser)
    assert chatbots_of_ten(either.superuser) == expected
    assert {number for number, bots in expected.items() if not bots} == {57, 58, 60}
    assert all(expected[admin] > expected[member] for admin, member in ((1, 4), (2, 5), (3, 6)))
    alembic(either.url, "downgrade", "base")
    if either.has_chatbots:
        assert chatbots_of_ten(either.superuser) == expected


# The platform's life goes on


@dataclass(frozen=True)
class Life:
    """What the platform does with accounts, as it does it itself; each call is of somebody new."""

    url: URL

    def sign_up(self) -> tuple[UUID, str]:
        """The backend makes the person whose account is there already."""
        sub, email = uuid4(), f"{uuid4()}@x.example"
        with connect(self.url) as connection:
            self.make_account(connection, sub, email)
            with connection.transaction():
                become(connection, SERVICE)
                connection.execute(
                    "INSERT INTO users (auth_id, tenant_id, email, name) VALUES (%s, %s, %s, 'New')",
                    (sub, TENANT.format(1), email),
                )
            assert self.sees_conversations(connection, sub)
        return sub, email

    def accept_invitation(self) -> None:
        """The backend invites an admin, who signs in for the first time and claims their row."""
        sub, email = uuid4(), f"{uuid4()}@x.example"
        with connect(self.url) as connection:
            with connection.transaction():
                become(connection, SERVICE)
                connection.execute(
                    "INSERT INTO users (tenant_id, email, name, role) VALUES (%s, %s, 'Invited', 'admin')",
                    (TENANT.format(2), email),
                )
            self.make_account(connection, sub, email)
            assert not self.sees_conversations(connection, sub)
            with connection.transaction():
                become(connection, person_by(sub))
                connection.execute("SELECT claim_invitation(%s)", (email,))
            assert self.sees_conversations(connection, sub)

    def delete_account(self) -> None:
        """Supabase deletes the account; the person stays without one."""
        sub, email = self.sign_up()
        with connect(self.url) as connection:
            connection.execute("SET SESSION AUTHORIZATION supabase_auth_admin")
            assert connection.execute("DELETE FROM auth.users WHERE id = %s", (sub,)).rowcount == 1
            connection.execute("RESET SESSION AUTHORIZATION")
            found = connection.execute("SELECT auth_id FROM users WHERE email = %s", (email,)).fetchall()
            assert found == [(None,)]
            assert not self.sees_conversations(connection, sub)

    def change_role(self) -> None:
        """The backend makes somebody an admin, and a user again."""
        sub, _ = self.sign_up()
        with connect(self.url) as connection:
            for role in ("admin", "user"):
                with connection.transaction():
                    become(connection, SERVICE)
                    changed = connection.execute("UPDATE users SET role = %s WHERE auth_id = %s", (role, sub))
                    assert changed.rowcount == 1

    def make_account(self, connection: Connection, sub: UUID, email: str) -> None:
        connection.execute("SET SESSION AUTHORIZATION supabase_auth_admin")
        connection.execute("INSERT INTO auth.users VALUES (%s, %s)", (sub, email))
        connection.execute("RESET SESSION AUTHORIZATION")

    def sees_conversations(self, connection: Connection, sub: UUID) -> bool:
        return bool(seen(connection, person_by(sub), "SELECT FROM conversations LIMIT 1"))


def person_by(sub: UUID) -> Who:
    return Who("authenticated", json.dumps({"role": "authenticated", "sub": str(sub)}))


EVENTS = ["sign_up", "accept_invitation", "delete_account", "change_role"]


def test_accounts_live_on_at_head(platform: Platform) -> None:
    alembic(platform.url, *platform.shape.options, "upgrade", "head")
    for event in EVENTS:
        getattr(Life(platform.superuser), event)()


def test_an_admin_made_at_head_manages_chatbots_until_they_are_none(either: Platform) -> None:
    alembic(either.url, *either.shape.options, "upgrade", "head")
    make = NEW_BOTS.format(SUB.format(4))
    with connect(either.superuser) as connection:
        for role, outcome in (
            ("user", "policy"),
            ("admin", 2),
            ("user", "policy"),
            (None, "policy"),
            ("owner", "policy"),
        ):
            if role == "owner" and either.has_chatbots:
                continue  # the guide's CHECK refuses it
            changed = connection.execute("UPDATE users SET role = %s WHERE auth_id = %s", (role, SUB.format(4)))
            assert changed.rowcount == 1
            assert attempt(connection, token(4), make, {}) == outcome, role


# Beside the old application

Sightings = set[tuple[str, int]]


@dataclass
class Client:
    """A connection of the application from before the upgrade, as one person who writes what the matrix allows."""

    url: URL
    number: int
    notes: str
    bots: tuple[str, ...]  # the published ones of their tenant, where there are chatbots
    is_admin: bool = False
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)
    sightings: Sightings = field(default_factory=set)

    def work(self, over: Event) -> None:
        with connect(self.url) as connection:
            while not over.is_set():
                todo = self.statements(self.rounds)
                for transaction in [todo] if self.rounds % 2 else [[statement] for statement in todo]:
                    try:
                        with connection.transaction():
                            become(connection, token(self.number))
                            for what, statement in transaction:
                                count = connection.execute(statement.encode()).rowcount
                                self.sightings.add((what, count))
                    except psycopg.Error as error:
                        self.wrong.append(f"{type(error).__name__}: {error} ({transaction})")
                self.rounds += 1

    def statements(self, number: int) -> list[tuple[str, str]]:
        talk, question, answer, bot = (uuid4() for _ in range(4))
        user, tenant = USER.format(self.number), TENANT.format(1 + self.number % 3)
        link = f", '{self.bots[number % len(self.bots)]}'" if self.bots else ""
        ask = f"INSERT INTO messages (id, conversation_id, role, content) VALUES ('{{}}', '{talk}', '{{}}', 'Words')"
        todo = [
            (
                "begin",
                f"INSERT INTO conversations (id, tenant_id, user_id, title{', chatbot_id' if link else ''})"
                f" VALUES ('{talk}', '{tenant}', '{user}', 'Meanwhile'{link})",
            ),
            ("ask", ask.format(question, "user")),
            ("answer", ask.format(answer, "assistant")),
            (
                "rate",
                f"INSERT INTO feedback (message_id, user_id, rating, {self.notes})"
                f" VALUES ('{answer}', '{user}', 1, 'Meanwhile')",
            ),
            ("read the rating", f"SELECT {self.notes} FROM feedback WHERE message_id = '{answer}'"),
            ("read the conversation", f"SELECT id, title FROM conversations WHERE id = '{talk}'"),
            ("rename", f"UPDATE conversations SET title = 'Renamed' WHERE id = '{talk}'"),
        ]
        if self.bots:
            todo.append(("list theirs", f"SELECT id, name, system_prompt FROM chatbots WHERE tenant_id = '{tenant}'"))
            todo.append(("list others'", f"SELECT id, name FROM chatbots WHERE tenant_id <> '{tenant}'"))
            todo.append(("unlink", f"UPDATE conversations SET chatbot_id = NULL WHERE id = '{talk}'"))
        if self.bots and self.is_admin:
            todo += [
                (
                    "create a chatbot",
                    "INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt)"
                    f" VALUES ('{bot}', '{tenant}', '{user}', 'Meanwhile', 'You help.')",
                ),
                ("configure it", f"UPDATE chatbots SET name = 'Renamed', temperature = 1 WHERE id = '{bot}'"),
                ("delete it", f"DELETE FROM chatbots WHERE id = '{bot}'"),
            ]
        return [*todo, ("end", f"DELETE FROM conversations WHERE id = '{talk}'")]


@contextmanager
def at_work(clients: list[Client]) -> Iterator[None]:
    over = Event()
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(client.work, over) for client in clients]
        try:
            yield
            before = [client.rounds for client in clients]
            while any(client.rounds < rounds + 2 for client, rounds in zip(clients, before, strict=True)):
                assert not any(each.done() for each in running), [each.exception() for each in running if each.done()]
                over.wait(0.01)
        finally:
            over.set()


def published_of(platform: Platform, tenant: str) -> tuple[str, ...]:
    if not platform.has_chatbots:
        return ()
    with connect(platform.superuser) as connection:
        found = connection.execute("SELECT id FROM chatbots WHERE is_published AND tenant_id = %s", (tenant,))
        return tuple(str(bot) for (bot,) in found)


def test_the_old_application_sees_no_failed_statement(either: Platform) -> None:
    """Nor more or fewer chatbots than before, at any moment."""
    published = {number: published_of(either, TENANT.format(1 + number % 3)) for number in (1, 2, 4, 5)}
    notes = "notes" if "RENAME COLUMN comment TO notes" in either.shape.platform else "comment"
    application = either.superuser.set(username="authenticator")
    if notes == "comment":
        application = application.update_query_dict({"options": "-csearch_path=chatbot_compat,public"})
    clients = [Client(application, number, notes, published[number], is_admin=number < 4) for number in (1, 2, 4, 5)]
    with at_work(clients):
        alembic(either.url, *either.shape.options, "upgrade", "head")
        alembic(either.url, "downgrade", "base")
    for client in clients:
        assert client.wrong == []
        assert client.rounds > 3
        counts = {count for what, count in client.sightings if what == "list theirs"}
        assert counts == (set() if not client.bots else {4} if client.is_admin else {3})
        assert {count for what, count in client.sightings if what == "list others'"} <= {0}
        assert {count for what, count in client.sightings if not what.startswith("list")} == {1}


def test_accounts_live_on_meanwhile(either: Platform) -> None:
    life, over = Life(either.superuser), Event()

    def live(events: list[str]) -> int:
        rounds = 0
        while not over.is_set():
            for event in events:
                getattr(life, event)()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(live, events) for events in (EVENTS[:2], EVENTS[2:])]
        try:
            alembic(either.url, *either.shape.options, "upgrade", "head")
            alembic(either.url, "downgrade", "base")
        finally:
            over.set()
    assert all(each.result() > 2 for each in running)

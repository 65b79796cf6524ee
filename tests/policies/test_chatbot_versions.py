"""Versions of chatbots: who reads and restores them, what makes one, and who is refused because somebody was faster."""

from datetime import datetime
from uuid import UUID

import pytest
from psycopg import Connection, errors

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_INACTIVE,
    ACME_MEMBER,
    ADMIN,
    DRAFT,
    GLOBEX,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    INACTIVE,
    MEMBER,
    NOBODY,
    OTHER_ADMIN,
    OWN_OLD_TALK,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    STRANGER,
    Who,
)
from tests.policies import Outcomes, Place, cases
from tests.tools import attempt, become, connect

BOTS = {"published": PUBLISHED, "draft": DRAFT, "Globex's published": GLOBEX_PUBLISHED, "Globex's draft": GLOBEX_DRAFT}

READING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      0         0     2       0      2       4     4
    read published              grant      0      0         0     1       0      0       1     1
    read draft                  grant      0      0         0     1       0      0       1     1
    read Globex's published     grant      0      0         0     0       0      1       1     1
    read Globex's draft         grant      0      0         0     0       0      1       1     1
"""
READ = {"read all": "SELECT * FROM chatbot_versions"} | {
    f"read {name}": f"SELECT * FROM chatbot_versions WHERE chatbot_id = '{bot}'" for name, bot in BOTS.items()
}

WRITING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    write a version             grant  grant  grant     grant grant   grant  grant   grant     1
    rewrite a version           grant  grant  grant     grant grant   grant  grant   grant     1
    delete a version            grant  grant  grant     grant grant   grant  grant   grant     1
    number the configuration    grant  grant  grant     grant grant   grant  grant       1     1
    create a numbered one       grant  grant  grant     grant grant   grant  grant       1     1
    state what was read         grant      0      0         0     1       0      0       1     1
    state nothing               grant      0      0         0     1       0      0       1     1
"""
WRITE = {
    "write a version": f"""
        INSERT INTO chatbot_versions (tenant_id, chatbot_id, version, system_prompt, model, temperature, settings)
        VALUES ('{ACME}', '{DRAFT}', 2, 'Be evil.', 'm', 1, '{{}}')
    """,
    "rewrite a version": f"UPDATE chatbot_versions SET system_prompt = 'Be evil.' WHERE chatbot_id = '{DRAFT}'",
    "delete a version": f"DELETE FROM chatbot_versions WHERE chatbot_id = '{DRAFT}'",
    "number the configuration": f"UPDATE chatbots SET version = 7 WHERE id = '{DRAFT}'",
    "create a numbered one": f"""
        INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, version, lock_version)
        VALUES ('{ACME}', '{ACME_ADMIN}', 'N', 'N', 'm', 7, 7)
    """,
    "state what was read": f"UPDATE chatbots SET name = 'New', lock_version = 1 WHERE id = '{DRAFT}'",
    "state nothing": f"UPDATE chatbots SET name = 'New' WHERE id = '{DRAFT}'",
}

RESTORING = """
                            anonymous nobody   member  colleague  admin member2  admin2 service owner
    restore draft               grant missing missing   missing       1 missing missing       1     1
    restore published           grant missing missing   missing       1 missing missing       1     1
    restore Globex's draft      grant missing missing   missing missing missing       1       1     1
    restore as it was read      grant missing missing   missing       1 missing missing       1     1
"""
RESTORE = {
    "restore draft": f"SELECT restore_chatbot('{DRAFT}', 1)",
    "restore published": f"SELECT restore_chatbot('{PUBLISHED}', 1)",
    "restore Globex's draft": f"SELECT restore_chatbot('{GLOBEX_DRAFT}', 1)",
    "restore as it was read": f"SELECT restore_chatbot('{DRAFT}', 1, 1)",
}


@pytest.mark.parametrize(
    ("statement", "outcomes"), [*cases(READING, READ), *cases(WRITING, WRITE), *cases(RESTORING, RESTORE)]
)
def test_chatbot_versions(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes


@pytest.mark.parametrize(
    "stale",
    [
        f"UPDATE chatbots SET name = 'New', lock_version = 2 WHERE id = '{DRAFT}'",
        f"UPDATE chatbots SET lock_version = 0 WHERE id = '{DRAFT}'",
        f"SELECT restore_chatbot(chatbot => '{DRAFT}', version => 1, lock_version => 2)",
    ],
)
def test_who_states_what_was_not_read_is_refused(place: Place, stale: str) -> None:
    """Whom row security lets change it; the others learn nothing."""
    nobody = "missing" if "restore" in stale else 0
    assert place.attempt(stale, ADMIN, SERVICE, OWNER, MEMBER, OTHER_ADMIN) == ["conflict"] * 3 + [nobody] * 2


@pytest.mark.parametrize(("stated", "outcome"), [(1, 1), (2, "conflict")])
def test_an_upsert_states_what_was_read(place: Place, stated: int, outcome: int | str) -> None:
    upsert = f"""
        INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt, model, lock_version)
        VALUES ('{DRAFT}', '{ACME}', '{ACME_ADMIN}', 'New', 'New', 'm', {stated})
        ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, lock_version = EXCLUDED.lock_version
    """
    assert place.attempt(upsert, ADMIN, SERVICE, OWNER) == [outcome] * 3


@pytest.mark.parametrize("who", [ADMIN, SERVICE, OWNER], ids=["admin", "service", "owner"])
@pytest.mark.parametrize("stated", [2147483647, 2, 0, -1, -2147483648])
def test_a_chatbot_begins_at_one_whatever_is_stated(place: Place, who: Who, stated: int) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, who)
        made = connection.execute(
            """
            INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt, model, lock_version)
            VALUES (%s, %s, %s, 'N', 'N', 'm', %s)
            ON CONFLICT (id) DO UPDATE SET lock_version = EXCLUDED.lock_version
            RETURNING version, lock_version
            """,
            (NOBODY, ACME, ACME_ADMIN, stated),
        )
        assert made.fetchone() == (1, 1)
        saved = connection.execute(change("model = 'other'", NOBODY) + " RETURNING version, lock_version")
        assert saved.fetchone() == (2, 2)


def test_what_a_service_says_of_versions_is_not_taken(place: Place) -> None:
    """Nor when it may write every column."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(
            connection,
            SERVICE,
            f"""
            INSERT INTO chatbots (id, tenant_id, name, system_prompt, model, version, lock_version)
            VALUES ('{NOBODY}', '{ACME}', 'N', 'N', 'm', 7, 7)
            """,
            change("version = 9, name = 'New'", NOBODY),
        )
        assert numbers(connection, NOBODY) == (1, 2)


def test_the_largest_number_of_saves_stops_nobody(place: Place) -> None:
    """As there may be one from before INSERT was told otherwise."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE chatbots SET lock_version = 2147483647 WHERE id = %s", (DRAFT,))
        connection.execute("SET LOCAL session_replication_role = origin")
        do(connection, SERVICE, "UPDATE chatbots SET model = 'newer'")
        assert numbers(connection, DRAFT) == (2, 1)


def test_they_are_truncated_by_their_owner_alone(place: Place) -> None:
    for who in (Who("anon"), MEMBER, ADMIN, SERVICE):
        assert place.attempt("TRUNCATE chatbot_versions", who) == ["grant"]


# What makes a version

Kept = tuple[int, str, float, UUID | None]


def versions(connection: Connection, bot: UUID) -> list[Kept]:
    return connection.execute(
        "SELECT version, system_prompt, temperature, created_by FROM chatbot_versions WHERE chatbot_id = %s ORDER BY 1",
        (bot,),
    ).fetchall()


def numbers(connection: Connection, bot: UUID) -> tuple[int, int]:
    found = connection.execute("SELECT version, lock_version FROM chatbots WHERE id = %s", (bot,)).fetchone()
    assert found is not None
    return found[0], found[1]


def do(connection: Connection, who: Who, *statements: str) -> None:
    """As somebody, within the test's transaction."""
    become(connection, who)
    for statement in statements:
        connection.execute(statement)
    connection.execute("RESET ROLE; SELECT set_config('request.jwt.claims', '', true)")


def as_one(connection: Connection, bot: UUID) -> None:
    """As if it had been made with a number in its settings, which JSON may write in two ways."""
    connection.execute("SET LOCAL session_replication_role = replica")
    connection.execute("UPDATE chatbots SET settings = '{\"one\": 1}' WHERE id = %s", (bot,))
    connection.execute("SET LOCAL session_replication_role = origin")


def change(what: str, bot: UUID = DRAFT) -> str:
    return f"UPDATE chatbots SET {what} WHERE id = '{bot}'"


@pytest.mark.parametrize(
    ("what", "is_version", "is_save"),
    [
        ("system_prompt = 'New'", 1, 1),
        ("model = 'new'", 1, 1),
        ("temperature = 1", 1, 1),
        ("max_tokens = 5", 1, 1),
        ("settings = '{\"a\": 1}'", 1, 1),
        ("settings = '{\"one\": 1.0}'", 1, 1),
        ("name = 'New', system_prompt = 'New', temperature = 2", 1, 1),
        ("name = 'New'", 0, 1),
        ("description = 'New'", 0, 1),
        ("is_published = true", 0, 1),
        ("system_prompt = system_prompt, settings = settings, name = name", 0, 0),
        ("created_by = NULL", 0, 0),
        ("version = 9, updated_at = '2020-01-01'", 0, 0),
    ],
)
def test_a_version_is_made_of_a_configuration(place: Place, what: str, is_version: int, is_save: int) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        as_one(connection, DRAFT)
        assert numbers(connection, DRAFT) == (1, 1)
        do(connection, SERVICE, change(what))
        assert numbers(connection, DRAFT) == (1 + is_version, 1 + is_save)
        assert [kept[0] for kept in versions(connection, DRAFT)] == [1, 2][: 1 + is_version]


def test_versions_are_numbered_without_gaps_and_say_who_made_them(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, change("system_prompt = 'Two'"), change("name = 'Renamed'"))
        with pytest.raises(errors.CheckViolation), connection.transaction():
            do(connection, SERVICE, change("system_prompt = ' '"))
        do(connection, SERVICE, change("temperature = 1"))
        do(connection, Who(None, OTHER_ADMIN.claims), change("system_prompt = 'Four'"))
        assert [(version, prompt, temperature) for version, prompt, temperature, _ in versions(connection, DRAFT)] == [
            (1, "Be kind.", 0.7),
            (2, "Two", 0.7),
            (3, "Two", 1),
            (4, "Four", 1),
        ]
        authors = [author for *_, author in versions(connection, DRAFT)]
        assert authors[1:3] == [ACME_ADMIN, None]
        assert authors[0] == ACME_ADMIN  # who created it, by a service that named nobody
        assert numbers(connection, DRAFT) == (4, 5)
        times = connection.execute(
            "SELECT bool_and(created_at <= now()), max(created_at) = now() FROM chatbot_versions"
        )
        assert times.fetchone() == (True, True)


def test_a_new_chatbot_has_version_1_of_whoever_creates_it(place: Place) -> None:
    create = f"""
        INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt, model)
        VALUES ('{NOBODY}', '{ACME}', '{ACME_ADMIN}', 'N', 'One', 'm')
    """
    for who, author in (
        (ADMIN, ACME_ADMIN),
        (SERVICE, ACME_ADMIN),
        (Who("service_role", MEMBER.claims), ACME_MEMBER),
        (Who("service_role", INACTIVE.claims), ACME_INACTIVE),
        (Who("service_role", STRANGER.claims), None),  # nobody is known, and the creator has not done it
    ):
        with connect(place.url) as connection, connection.transaction(force_rollback=True):
            do(connection, who, create)
            assert versions(connection, NOBODY) == [(1, "One", 0.7, author)]


def test_a_new_chatbot_has_version_1_whatever_is_said(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, SERVICE, WRITE["create a numbered one"])
        found = connection.execute("SELECT id FROM chatbots WHERE name = 'N'").fetchone()
        assert found is not None
        assert numbers(connection, found[0])[0] == 1
        assert [kept[0] for kept in versions(connection, found[0])] == [1]


def test_a_restored_version_is_a_new_one(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        configured = "system_prompt = 'Two', model = 'two', temperature = 2, max_tokens = 2, settings = '{\"two\": 2}'"
        was = connection.execute("SELECT * FROM chatbot_versions WHERE chatbot_id = %s", (DRAFT,)).fetchone()
        do(connection, ADMIN, change(f"{configured}, name = 'Two'"))
        become(connection, ADMIN)
        assert connection.execute(RESTORE["restore draft"]).fetchone() == (3,)
        assert connection.execute(RESTORE["restore draft"]).fetchone() == (3,)  # which it has
        connection.execute("RESET ROLE")
        assert [kept[0] for kept in versions(connection, DRAFT)] == [1, 2, 3]
        now = connection.execute("SELECT * FROM chatbot_versions WHERE chatbot_id = %s AND version = 3", (DRAFT,))
        third = now.fetchone()
        assert was is not None
        assert third is not None
        assert third[3:8] == was[3:8]  # prompt, model, parameters, settings
        bot = connection.execute(
            "SELECT name, system_prompt, model, temperature::float, max_tokens, settings, version FROM chatbots"
            " WHERE id = %s",
            (DRAFT,),
        ).fetchone()
        assert bot == ("Two", *was[3:8], 3)


def test_a_version_that_is_not_there_is_told(place: Place) -> None:
    for missing in (f"restore_chatbot('{DRAFT}', 2)", f"restore_chatbot('{NOBODY}', 1)", "restore_chatbot(NULL, NULL)"):
        assert place.attempt(f"SELECT {missing}", ADMIN, OWNER) == ["missing", "missing"]


def test_a_demoted_admin_reads_and_restores_nothing(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("UPDATE users SET role = 'user' WHERE id = %s", (ACME_ADMIN,))
        assert attempt(connection, ADMIN, "SELECT FROM chatbot_versions", {}) == 0
        assert attempt(connection, ADMIN, RESTORE["restore published"], {}) == "missing"


def test_versions_go_with_their_chatbot_and_their_author_is_forgotten(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, change("temperature = 1"))
        do(connection, Who("service_role", MEMBER.claims), change("temperature = 0"))
        connection.execute("DELETE FROM feedback")
        connection.execute("DELETE FROM users WHERE id = %s", (ACME_ADMIN,))
        assert [author for *_, author in versions(connection, DRAFT)] == [None, None, ACME_MEMBER]
        do(connection, SERVICE, f"DELETE FROM chatbots WHERE id = '{DRAFT}'")
        assert versions(connection, DRAFT) == []
        assert len(versions(connection, PUBLISHED)) == 1


def test_a_version_of_just_now_goes_together_with_its_author(place: Place) -> None:
    """Of a row of the same transaction, PostgreSQL checks every key again when it is updated."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM feedback")
        do(connection, ADMIN, change("temperature = 1"))
        connection.execute(f"""
            WITH gone AS (DELETE FROM chatbots WHERE id = '{DRAFT}')
            DELETE FROM users WHERE id = '{ACME_ADMIN}'
        """)
        assert versions(connection, DRAFT) == []


def test_what_a_chatbot_was_before_it_had_versions_is_its_first(place: Place) -> None:
    """As while the upgrade has not come to it."""
    for before in ("", "UPDATE chatbots SET name = 'Renamed'"):
        with connect(place.url) as connection, connection.transaction(force_rollback=True):
            connection.execute(before.encode() or b"SELECT")
            connection.execute("DELETE FROM chatbot_versions")
            do(connection, ADMIN, change("temperature = 1"))
            assert versions(connection, DRAFT) == [
                (1, "Be kind.", 0.7, None if before else ACME_ADMIN),
                (2, "Be kind.", 1, ACME_ADMIN),
            ]


def test_whoever_moves_a_chatbot_moves_its_versions(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, OWNER, change(f"tenant_id = '{GLOBEX}'"))
        connection.execute("SAVEPOINT moved")
        assert attempt(connection, ADMIN, f"SELECT FROM chatbot_versions WHERE chatbot_id = '{DRAFT}'", {}) == 0
        assert attempt(connection, OTHER_ADMIN, f"SELECT FROM chatbot_versions WHERE chatbot_id = '{DRAFT}'", {}) == 1


# Which version a conversation is linked to

BEGIN = f"""
    INSERT INTO conversations (id, tenant_id, user_id, chatbot_id) VALUES ('{NOBODY}', '{ACME}', '{ACME_MEMBER}', {{}})
"""


def linked_version(connection: Connection, talk: UUID) -> int | None:
    found = connection.execute("SELECT chatbot_version FROM conversations WHERE id = %s", (talk,)).fetchone()
    assert found is not None
    return None if found[0] is None else int(found[0])


@pytest.mark.parametrize("who", [MEMBER, SERVICE, OWNER], ids=["member", "service", "owner"])
def test_a_conversation_records_the_version_that_it_is_linked_to_last(place: Place, who: Who) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, SERVICE, change("temperature = 1", PUBLISHED))
        do(connection, who, BEGIN.format(f"'{PUBLISHED}'"))
        do(connection, SERVICE, change("temperature = 2", PUBLISHED))
        assert linked_version(connection, NOBODY) == 2
        do(connection, who, f"UPDATE conversations SET title = 'Later' WHERE id = '{NOBODY}'")
        assert linked_version(connection, NOBODY) == 2
        do(connection, who, f"UPDATE conversations SET chatbot_id = NULL WHERE id = '{NOBODY}'")
        assert linked_version(connection, NOBODY) is None
        do(connection, who, f"UPDATE conversations SET chatbot_id = '{PUBLISHED}' WHERE id = '{NOBODY}'")
        assert linked_version(connection, NOBODY) == 3
        do(connection, SERVICE, f"DELETE FROM chatbots WHERE id = '{PUBLISHED}'")
        assert linked_version(connection, NOBODY) is None


def test_nobody_chooses_the_version_that_a_conversation_is_linked_to(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(
            connection,
            SERVICE,
            BEGIN.format(f"'{PUBLISHED}'")
            .replace("chatbot_id)", "chatbot_id, chatbot_version)")
            .replace(f"'{PUBLISHED}')", f"'{PUBLISHED}', 7)"),
        )
        assert linked_version(connection, NOBODY) == 1
        do(connection, SERVICE, change("temperature = 1", PUBLISHED))
        for talk, version in ((NOBODY, 1), (OWN_OLD_TALK, None)):
            do(connection, SERVICE, f"UPDATE conversations SET chatbot_version = 7 WHERE id = '{talk}'")
            assert linked_version(connection, talk) == version
        do(
            connection,
            SERVICE,
            f"INSERT INTO conversations (tenant_id, user_id, chatbot_version) VALUES ('{ACME}', '{ACME_MEMBER}', 7)",
        )
        assert connection.execute("SELECT FROM conversations WHERE chatbot_version = 7").rowcount == 0


def test_another_tenants_version_is_told_to_nobody(place: Place) -> None:
    """What cannot be linked is refused, whatever was looked up."""
    begin = BEGIN.format(f"'{GLOBEX_DRAFT}'") + " RETURNING chatbot_version"
    assert place.attempt(begin, MEMBER, SERVICE, OWNER) == ["guard", "key", "key"]
    assert place.attempt(begin.replace(str(GLOBEX_DRAFT), str(PUBLISHED)), MEMBER) == [1]


PEEK = """
    INSERT INTO conversations (id, tenant_id, user_id, chatbot_id) VALUES ('{}', '{}', '{}', '{}')
    ON CONFLICT (id) DO UPDATE SET title = 'It is at ' || coalesce(EXCLUDED.chatbot_version::text, 'no version')
    RETURNING title
"""


@pytest.mark.parametrize(
    ("bot", "told"), [(PUBLISHED, "It is at 1"), (DRAFT, "It is at no version")], ids=["seen", "hidden"]
)
def test_an_upsert_learns_no_version_of_a_chatbot_that_is_hidden(place: Place, bot: UUID, told: str) -> None:
    """A proposed row passes the triggers before its conflict is found, and no guard has refused it by then."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, MEMBER)
        peek = PEEK.format(OWN_TALK, ACME, ACME_MEMBER, bot)
        assert connection.execute(peek).fetchone() == (told,)


def test_an_upsert_learns_no_version_of_another_tenants_chatbot(adopted_place: Place) -> None:
    """Where no policy of conversations asks for the tenant."""
    with connect(adopted_place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, MEMBER)
        peek = PEEK.format(OWN_TALK, GLOBEX, ACME_MEMBER, GLOBEX_DRAFT)
        assert connection.execute(peek).fetchone() == ("It is at no version",)


@pytest.mark.parametrize(
    "begin",
    [
        f"INSERT INTO conversations (tenant_id, user_id, chatbot_id) VALUES ('{ACME}', '{ACME_MEMBER}', '{{}}')",
        f"UPDATE conversations SET chatbot_id = '{{}}' WHERE id = '{OWN_OLD_TALK}'",
    ],
    ids=["insert", "update"],
)
def test_an_error_learns_no_version_of_a_chatbot_that_is_hidden(place: Place, begin: str) -> None:
    told = " RETURNING ('version ' || chatbot_version)::integer"
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, MEMBER)
        for bot, refusal in ((PUBLISHED, errors.InvalidTextRepresentation), (DRAFT, errors.InsufficientPrivilege)):
            with pytest.raises(refusal), connection.transaction():
                connection.execute(begin.format(bot) + told)


def test_times_of_versions_are_those_of_the_saves(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, change("temperature = 1"))
        found = connection.execute("""
            SELECT chatbots.updated_at, chatbot_versions.created_at
            FROM chatbots JOIN chatbot_versions ON chatbot_id = id AND chatbot_versions.version = chatbots.version
        """).fetchall()
        assert all(isinstance(saved, datetime) and saved == made for saved, made in found)
        assert connection.execute("SELECT FROM conversations WHERE id = %s", (OWN_TALK,)).rowcount == 1

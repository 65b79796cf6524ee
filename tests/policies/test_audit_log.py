"""The audit log: who reads it, that nobody but the owner writes it, and that nothing escapes it."""

from uuid import UUID

import pytest
from psycopg import Connection, errors
from psycopg.types.json import Jsonb

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_INACTIVE,
    ACME_MEMBER,
    ADMIN,
    ADMIN_MADE,
    BOT_MADE,
    DRAFT,
    GLOBEX,
    GLOBEX_MADE,
    INACTIVE_ADMIN,
    MEMBER,
    NEWCOMER,
    NOBODY,
    OTHER_ADMIN,
    OWNER,
    PUBLISHED,
    SERVICE,
    STRANGER,
    TENANTS_END,
    Who,
)
from tests.policies import Outcomes, Place, cases, on_each
from tests.tools import attempt, become, connect

ENTRIES = {"own": BOT_MADE, "own of a person": ADMIN_MADE, "Globex's": GLOBEX_MADE, "a gone tenant's": TENANTS_END}

READING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      0         0     2       0      1       4     4
    read own                    grant      0      0         0     1       0      0       1     1
    read own of a person        grant      0      0         0     1       0      0       1     1
    read Globex's               grant      0      0         0     0       0      1       1     1
    read a gone tenant's        grant      0      0         0     0       0      0       1     1
"""
READ = {"read all": "SELECT * FROM audit_log"} | on_each(ENTRIES, "read", "SELECT * FROM audit_log")

NEW = f"INSERT INTO audit_log (tenant_id, action, table_name) VALUES ('{ACME}', 'DELETE', 'chatbots')"
WRITING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    write an entry              grant  grant  grant     grant grant   grant  grant   grant     1
    rewrite an entry            grant  grant  grant     grant grant   grant  grant   grant     1
    delete an entry             grant  grant  grant     grant grant   grant  grant   grant     1
    delete all                  grant  grant  grant     grant grant   grant  grant   grant     4
    merge into it               grant  grant  grant     grant grant   grant  grant   grant     1
"""
WRITE = {
    "write an entry": NEW,
    "rewrite an entry": f"UPDATE audit_log SET user_id = NULL WHERE id = '{BOT_MADE}'",
    "delete an entry": f"DELETE FROM audit_log WHERE id = '{BOT_MADE}'",
    "delete all": "DELETE FROM audit_log",
    "merge into it": f"MERGE INTO audit_log USING (SELECT '{BOT_MADE}'::uuid AS its) AS source ON id = its"
    " WHEN MATCHED THEN DELETE",
}


@pytest.mark.parametrize(("statement", "outcomes"), [*cases(READING, READ), *cases(WRITING, WRITE)])
def test_audit_log(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes


def test_it_is_truncated_by_its_owner_alone(place: Place) -> None:
    for who in (Who("anon"), MEMBER, ADMIN, SERVICE):
        assert place.attempt("TRUNCATE audit_log", who) == ["grant"]
    with connect(place.url.set(username=place.owner)) as connection, connection.transaction(force_rollback=True):
        connection.execute("TRUNCATE audit_log")


# What is noted

Entry = tuple[UUID, UUID | None, str, str, str, UUID | None, object, object]
PERSON = (
    f"INSERT INTO users (id, tenant_id, email, role, is_active) VALUES ('{NEWCOMER}', '{ACME}', 'n@x.example', {{}})"
)
FREE = "DELETE FROM feedback;"  # which keeps people where the platform's own keys say so


def noted(connection: Connection, who: Who, *statements: str) -> list[Entry]:
    """The entries that somebody's statements make, in order; they are rolled back."""
    with connection.transaction(force_rollback=True):
        connection.execute("TRUNCATE audit_log")
        with connection.transaction():
            become(connection, who)
            for statement in statements:
                connection.execute(statement)
        connection.execute("RESET ROLE")
        return connection.execute("""
            SELECT tenant_id, user_id, database_role, action, table_name, row_id, old_values, new_values
            FROM audit_log ORDER BY changed_at
        """).fetchall()


def row(connection: Connection, bot: UUID) -> dict[str, object]:
    found = connection.execute("SELECT to_jsonb(chatbots) FROM chatbots WHERE id = %s", (bot,)).fetchone()
    assert found is not None
    return dict(found[0])


RENAME = f"UPDATE chatbots SET name = 'New', temperature = temperature WHERE id = '{DRAFT}'"


@pytest.mark.parametrize(
    ("who", "user_id", "role"),
    [
        pytest.param(ADMIN, ACME_ADMIN, "authenticated", id="admin"),
        pytest.param(SERVICE, None, "service_role", id="service"),
        pytest.param(Who("service_role", ADMIN.claims), ACME_ADMIN, "service_role", id="service-for-an-admin"),
        pytest.param(OWNER, None, "postgres", id="owner"),
        pytest.param(Who(None, ADMIN.claims), ACME_ADMIN, "postgres", id="owner-for-an-admin"),
    ],
)
def test_who_did_what(place: Place, who: Who, user_id: UUID | None, role: str) -> None:
    """By the owner's own connection: whoever it is, nothing escapes."""
    with connect(place.url) as connection:
        was = row(connection, DRAFT)
        ((*start, action, table, bot, old, new),) = noted(connection, who, RENAME)
        assert (start, action, table, bot) == ([ACME, user_id, role], "UPDATE", "chatbots", DRAFT)
        assert isinstance(old, dict)
        assert isinstance(new, dict)
        assert old.keys() == new.keys() <= {"name", "updated_at", "lock_version"}
        assert (old["name"], new["name"]) == ("Acme Draft", "New")
        assert old["updated_at"] == was["updated_at"] != new["updated_at"]


def test_a_chatbot_that_comes_and_goes_is_noted_whole(place: Place) -> None:
    create = f"""
        INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt, model)
        VALUES ('{NOBODY}', '{ACME}', '{ACME_ADMIN}', 'Brief', 'Be.', 'm')
    """
    with connect(place.url) as connection:
        columns = row(connection, DRAFT).keys()
        came, went = noted(connection, ADMIN, create, f"DELETE FROM chatbots WHERE id = '{NOBODY}'")
    for entry, action in ((came, "INSERT"), (went, "DELETE")):
        assert entry[:6] == (ACME, ACME_ADMIN, "authenticated", action, "chatbots", NOBODY)
    assert (came[6], went[7]) == (None, None)
    assert came[7] == went[6]
    assert isinstance(came[7], dict)
    assert came[7].keys() == columns
    assert came[7]["system_prompt"] == "Be."


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE chatbots SET name = name, settings = settings WHERE id = '{DRAFT}'",
        f"UPDATE users SET full_name = 'New', role = role, is_active = is_active WHERE id = '{ACME_ADMIN}'",
        PERSON.format("'user', true"),
        f"{FREE} DELETE FROM users WHERE id = '{ACME_MEMBER}'",
    ],
    ids=["nothing-new", "no-role", "a-plain-person-comes", "a-plain-person-goes"],
)
def test_what_changes_nothing_is_not_noted(place: Place, statement: str) -> None:
    with connect(place.url) as connection:
        assert noted(connection, SERVICE, RENAME) != []
        assert noted(connection, OWNER, statement) == []


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        (
            f"UPDATE users SET role = 'admin', full_name = 'New' WHERE id = '{ACME_MEMBER}'",
            (ACME, "UPDATE", ACME_MEMBER, {"role": "user"}, {"role": "admin"}),
        ),
        (
            f"UPDATE users SET is_active = true WHERE id = '{ACME_INACTIVE}'",
            (ACME, "UPDATE", ACME_INACTIVE, {"is_active": False}, {"is_active": True}),
        ),
        (PERSON.format("'admin', true"), (ACME, "INSERT", NEWCOMER, None, {"role": "admin", "is_active": True})),
        (PERSON.format("'user', false"), (ACME, "INSERT", NEWCOMER, None, {"role": "user", "is_active": False})),
        (
            f"{FREE} DELETE FROM users WHERE id = '{ACME_INACTIVE}'",
            (ACME, "DELETE", ACME_INACTIVE, {"role": "user", "is_active": False}, None),
        ),
    ],
    ids=["promoted", "active-again", "an-admin-comes", "an-inactive-comes", "an-inactive-goes"],
)
def test_roles_and_activity(place: Place, statement: str, entry: tuple[object, ...]) -> None:
    with connect(place.url) as connection:
        ((tenant, user_id, role, action, table, person, old, new),) = noted(connection, SERVICE, statement)
        assert (user_id, role, table) == (None, "service_role", "users")
        assert (tenant, action, person, old, new) == entry


def test_a_number_that_is_written_otherwise_is_noted(place: Place) -> None:
    """PostgreSQL takes 1 and 1.0 for equal, programs may not."""
    one, again = (f"UPDATE chatbots SET settings = '{{\"a\": {number}}}' WHERE id = '{DRAFT}'" for number in (1, "1.0"))
    with connect(place.url) as connection:
        _, entry = noted(connection, SERVICE, one, again)
    assert isinstance(entry[7], dict)
    assert entry[7].keys() >= {"settings", "version"}


def test_each_tenant_is_told_its_own_part_of_a_move(place: Place) -> None:
    """A chatbot's, and a person's, who is told of as somebody who comes and goes also if they are a plain user."""
    move = f"UPDATE chatbots SET tenant_id = '{GLOBEX}', system_prompt = 'Globex''s' WHERE id = '{DRAFT}'"
    with connect(place.url) as connection:
        left, came = noted(connection, OWNER, move)
        assert (left[0], left[3], left[5], left[7]) == (ACME, "DELETE", DRAFT, None)
        assert (came[0], came[3], came[5], came[6]) == (GLOBEX, "INSERT", DRAFT, None)
        assert "Globex" not in str(left)
        assert left[6] == row(connection, DRAFT)
        assert isinstance(came[7], dict)
        assert came[7]["system_prompt"] == "Globex's"
        left, came = noted(connection, OWNER, f"UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_INACTIVE}'")
    inactive = {"role": "user", "is_active": False}
    assert (left[0], left[3], left[5:]) == (ACME, "DELETE", (ACME_INACTIVE, inactive, None))
    assert (came[0], came[3], came[5:]) == (GLOBEX, "INSERT", (ACME_INACTIVE, None, inactive))


def test_another_id_is_another_row(place: Place) -> None:
    with connect(place.url) as connection:
        left, came = noted(connection, OWNER, f"UPDATE chatbots SET id = '{NOBODY}' WHERE id = '{DRAFT}'")
        assert [(left[3], left[5]), (came[3], came[5])] == [("DELETE", DRAFT), ("INSERT", NOBODY)]


def test_what_a_persons_deletion_sets_off_is_noted_as_of_whoever_began_it(place: Place) -> None:
    with connect(place.url) as connection:
        orphaned = noted(connection, SERVICE, f"{FREE} DELETE FROM users WHERE id = '{ACME_ADMIN}'")
    assert {(*entry[1:5], entry[5]) for entry in orphaned} == {
        (None, "service_role", "DELETE", "users", ACME_ADMIN),
        (None, "service_role", "UPDATE", "chatbots", PUBLISHED),
        (None, "service_role", "UPDATE", "chatbots", DRAFT),
    }


def test_what_a_tenants_deletion_takes_along_is_noted(fresh_place: Place) -> None:
    """Where it takes it along: of the platforms adopted here, none lets a tenant with people go."""
    with connect(fresh_place.url) as connection:
        entries = noted(connection, SERVICE, f"DELETE FROM tenants WHERE id = '{ACME}'")
    assert {entry[:3] for entry in entries} == {(ACME, None, "service_role")}
    assert {entry[5] for entry in entries if entry[3] == "DELETE"} >= {PUBLISHED, DRAFT, ACME_ADMIN, ACME_INACTIVE}


def test_each_tenant_is_told_of_a_truncation(place: Place) -> None:
    with connect(place.url) as connection:
        entries = noted(connection, OWNER, "TRUNCATE tenants CASCADE")
    assert {(entry[0], *entry[3:5], str(entry[6])) for entry in entries} == {
        (ACME, "TRUNCATE", "chatbots", "{'rows': 2}"),
        (GLOBEX, "TRUNCATE", "chatbots", "{'rows': 2}"),
        (ACME, "TRUNCATE", "users", "{'rows': 5}"),
        (GLOBEX, "TRUNCATE", "users", "{'rows': 2}"),
    }
    assert {entry[5] for entry in entries} == {None}


def test_what_is_rolled_back_is_not_noted(place: Place) -> None:
    with connect(place.url) as connection:
        assert attempt(connection, ADMIN, RENAME, {}) == 1
        found = connection.execute("SELECT FROM audit_log WHERE new_values ->> 'name' = 'New'")
        assert found.rowcount == 0


@pytest.mark.parametrize(
    "who", [MEMBER, STRANGER, INACTIVE_ADMIN, OTHER_ADMIN], ids=["member", "stranger", "ex", "other"]
)
def test_what_row_security_hides_makes_no_entry(place: Place, who: Who) -> None:
    with connect(place.url) as connection:
        assert noted(connection, who, RENAME) == []


def test_claims_that_are_none_let_nothing_be_changed_unnoted(place: Place) -> None:
    with connect(place.url) as connection, pytest.raises(errors.InvalidTextRepresentation):
        noted(connection, Who("service_role", "nonsense"), RENAME)


# Erasure

ERASE = "SELECT chatbot_private.erase_from_audit_log(%s)"


def test_a_person_is_taken_out_and_the_entries_stay(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(
            """
            INSERT INTO audit_log (tenant_id, user_id, action, table_name, row_id, old_values, new_values) VALUES
                (%(acme)s, NULL, 'UPDATE', 'chatbots', %(bot)s, %(by)s, %(by_nobody)s),
                (%(acme)s, NULL, 'INSERT', 'chatbots', %(bot)s, NULL, %(by)s),
                (%(acme)s, NULL, 'INSERT', 'chatbots', %(person)s, NULL, %(other)s)
            """,
            {
                "acme": ACME,
                "bot": DRAFT,
                "person": ACME_ADMIN,
                "by": Jsonb({"created_by": str(ACME_ADMIN), "name": "x"}),
                "by_nobody": Jsonb({"created_by": None, "name": "x"}),
                "other": Jsonb({"created_by": str(ACME_MEMBER)}),
            },
        )
        before = connection.execute("SELECT * FROM audit_log ORDER BY id").fetchall()
        assert connection.execute(ERASE, (ACME_ADMIN,)).fetchone() == (4,)
        after = connection.execute("SELECT * FROM audit_log ORDER BY id").fetchall()
        assert connection.execute(ERASE, (ACME_ADMIN,)).fetchone() == (0,)
    assert len(after) == len(before)
    changed = {
        (old[2], number)
        for old, new in zip(before, after, strict=True)
        for number in range(10)
        if old[number] != new[number]
    }
    told_of = {(entry, number) for entry, number in changed if entry in {BOT_MADE, ADMIN_MADE}}
    assert told_of == {(BOT_MADE, 3), (ADMIN_MADE, 7)}  # user_id, row_id
    assert len(changed) == 4
    # A chatbot's id that is this person's is no person's; what others made stays theirs.
    assert sum(str(ACME_ADMIN) in str(entry) for entry in after) == 1
    assert sum("'created_by': None, " in str(entry) or "'created_by': None}" in str(entry) for entry in after) == 2


def test_nobody_but_the_owner_erases(place: Place) -> None:
    """Nor with the right to call it: it does what its caller may."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("""
            GRANT USAGE ON SCHEMA chatbot_private TO service_role;
            GRANT EXECUTE ON FUNCTION chatbot_private.erase_from_audit_log TO service_role
        """)
        become(connection, SERVICE)
        with pytest.raises(errors.InsufficientPrivilege, match="permission denied for table audit_log"):
            connection.execute(ERASE, (ACME_ADMIN,))

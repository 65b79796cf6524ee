"""The guards, where grants and policies do not help: platforms whose clients hold ALL under policies of their own."""

from collections.abc import Callable

import pytest
from psycopg import Connection, errors

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    ADMIN,
    DRAFT,
    GLOBEX,
    GLOBEX_PUBLISHED,
    HEIR,
    INACTIVE,
    INACTIVES_TALK,
    MEMBER,
    NEWCOMER,
    NOBODY,
    OWN_OLD_TALK,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    Who,
    person,
)
from tests.platforms import FREEDOM
from tests.policies import Outcomes, Place, cases
from tests.tools import attempt, become, connect, url_of

MINE = f"WHERE id = '{ACME_MEMBER}'"
NEW_USER = f"INSERT INTO users (id, tenant_id, email, role) VALUES ('{NEWCOMER}', '{{}}', 'new@acme.example', '{{}}')"
UPSERT = f"""
    INSERT INTO users (id, tenant_id, email) VALUES ('{ACME_MEMBER}', '{ACME}', 'member@acme.example')
    ON CONFLICT (id) DO UPDATE SET role = 'admin'
"""
MERGE = f"""
    MERGE INTO users USING (SELECT '{ACME_MEMBER}'::uuid AS me) AS source ON id = me
    WHEN MATCHED THEN UPDATE SET role = 'admin'
"""
NEW_TALK = f"INSERT INTO conversations (tenant_id, user_id, chatbot_id) VALUES ('{{}}', '{ACME_MEMBER}', '{{}}')"
LINK = "UPDATE conversations SET chatbot_id = '{}' WHERE id = '{}'"

# Every row is everybody's: FREEDOM, below.
FREE = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    promote                     grant  guard  guard     guard guard   guard  guard       1     1
    promote by upsert           grant  guard  guard     guard guard   guard  guard       1     1
    promote by merge            grant  guard  guard     guard guard   guard  guard       1     1
    promote through a view      guard  guard  guard     guard guard   guard  guard       1     1
    promote by returning rows   grant  guard  guard     guard guard   guard  guard       1     1
    demote                      grant  guard  guard     guard guard   guard  guard       1     1
    move                        grant  guard  guard     guard guard   guard  guard       1     1
    move through a view         guard  guard  guard     guard guard   guard  guard       1     1
    take over an id             grant  guard  guard     guard guard   guard  guard       1     1
    reactivate                  grant  guard  guard     guard guard   guard  guard       1     1
    deactivate                  grant  guard  guard     guard guard   guard  guard       1     1
    insert an admin             grant  guard  guard     guard guard   guard  guard       1     1
    insert one through a view   guard  guard  guard     guard guard   guard  guard       1     1
    insert a user               grant      1      1         1     1       1      1       1     1
    change the address          grant      1      1         1     1       1      1       1     1
    change an admin's address   grant      1      1         1     1       1      1       1     1
    set what it is              grant      1      1         1     1       1      1       1     1
    link to published           grant  guard      1         1     1   guard  guard       1     1
    link to draft               grant  guard  guard     guard     1   guard  guard       1     1
    begin with published        grant  guard      1         1     1   guard  guard       1     1
    begin with draft            grant  guard  guard     guard     1   guard  guard       1     1
    follow to Globex            grant  guard  guard     guard guard       1      1       1     1
    unlink                      grant      1      1         1     1       1      1       1     1
"""
FREELY = {
    "promote": f"UPDATE users SET role = 'admin' {MINE}",
    "promote by upsert": UPSERT,
    "promote by merge": MERGE,
    "promote through a view": f"UPDATE profiles SET role = 'admin' {MINE}",
    "promote by returning rows": f"WITH done AS (UPDATE users SET role = 'admin' {MINE} RETURNING *) TABLE done",
    "demote": "UPDATE users SET role = 'user' WHERE email = 'admin@acme.example'",
    "move": f"UPDATE users SET tenant_id = '{GLOBEX}' {MINE}",
    "move through a view": f"UPDATE profiles SET tenant_id = '{GLOBEX}' {MINE}",
    "take over an id": f"UPDATE users SET id = '{NOBODY}' WHERE id = '{ACME_INACTIVE_ADMIN}'",
    "reactivate": f"UPDATE users SET is_active = true WHERE id = '{ACME_INACTIVE}'",
    "deactivate": f"UPDATE users SET is_active = false WHERE id = '{ACME_COLLEAGUE}'",
    "insert an admin": NEW_USER.format(ACME, "admin"),
    "insert one through a view": NEW_USER.format(ACME, "admin").replace("users", "profiles"),
    "insert a user": NEW_USER.format(ACME, "user"),
    "change the address": f"UPDATE users SET email = 'new@acme.example' {MINE}",
    "change an admin's address": f"UPDATE users SET email = 'new@acme.example' WHERE id = '{ACME_ADMIN}'",
    "set what it is": f"UPDATE users SET role = role, tenant_id = tenant_id, is_active = is_active, id = id {MINE}",
    "link to published": LINK.format(PUBLISHED, OWN_OLD_TALK),
    "link to draft": LINK.format(DRAFT, OWN_OLD_TALK),
    "begin with published": NEW_TALK.format(ACME, PUBLISHED),
    "begin with draft": NEW_TALK.format(ACME, DRAFT),
    "follow to Globex": f"""
        UPDATE conversations SET tenant_id = '{GLOBEX}', chatbot_id = '{GLOBEX_PUBLISHED}' WHERE id = '{OWN_OLD_TALK}'
    """,
    "unlink": f"UPDATE conversations SET chatbot_id = NULL WHERE id = '{OWN_TALK}'",
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(FREE, FREELY))
def test_guards_where_every_row_is_everybodys(free_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert free_place.attempt_as_each(statement) == outcomes


# A role that was there before may be NULL, and is the platform's own business where no admin's is concerned.
NO_ROLES = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    forget a member's role      grant      1      1         1     1       1      1       1     1
    forget an admin's role      grant  guard  guard     guard guard   guard  guard       1     1
    insert one without a role   grant      1      1         1     1       1      1       1     1
"""
WITHOUT_ROLES = {
    "forget a member's role": f"UPDATE users SET role = NULL {MINE}",
    "forget an admin's role": f"UPDATE users SET role = NULL WHERE id = '{ACME_ADMIN}'",
    "insert one without a role": NEW_USER.format(ACME, "user").replace("'user')", "NULL)"),
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(NO_ROLES, WITHOUT_ROLES))
def test_guards_where_a_role_may_be_null(free_guide_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert free_guide_place.attempt_as_each(statement) == outcomes


@pytest.mark.parametrize("who", [MEMBER, Who(HEIR, MEMBER.claims)], ids=["member", "heir"])
@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        *((FREELY[name], "guard") for name in FREELY if name.startswith(("promote by", "begin with d", "link to d"))),
        (FREELY["promote"], "guard"),
        (FREELY["move"], "guard"),
        (FREELY["set what it is"], 1),
        (FREELY["begin with published"], 1),
        (FREELY["link to published"], 1),
        (FREELY["follow to Globex"], "guard"),
        (f"UPDATE users SET is_active = false {MINE}", "guard"),
        (f"UPDATE users SET role = 'user' {MINE}", 1),
        (f"UPDATE conversations SET tenant_id = '{GLOBEX}' WHERE id = '{OWN_OLD_TALK}'", 1),  # the platform lets it
        (f"UPDATE conversations SET chatbot_id = '{DRAFT}' WHERE id = '{INACTIVES_TALK}'", 0),  # the platform does not
    ],
)
def test_guards_on_an_adopted_platform(adopted_place: Place, who: Who, statement: str, outcome: int | str) -> None:
    """Its clients hold ALL on users and conversations, under policies for their own profile and conversations."""
    assert adopted_place.attempt(statement, who, SERVICE) == [outcome, 1]


def test_a_linked_conversation_stays_in_its_tenant(adopted_place: Place) -> None:
    move = f"UPDATE conversations SET tenant_id = '{GLOBEX}' WHERE id = '{{}}'"
    assert adopted_place.attempt(move.format(OWN_TALK), MEMBER, SERVICE, OWNER) == ["key"] * 3
    assert adopted_place.attempt(move.format(OWN_OLD_TALK), MEMBER, SERVICE, OWNER) == [1] * 3


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        (INACTIVE, f"UPDATE users SET is_active = true WHERE id = '{ACME_INACTIVE}'", "guard"),
        (INACTIVE, f"UPDATE users SET full_name = 'New' WHERE id = '{ACME_INACTIVE}'", 1),
        (INACTIVE, LINK.format(PUBLISHED, INACTIVES_TALK), "guard"),
        (person(NEWCOMER), NEW_USER.format(ACME, "admin"), "guard"),
        # Its policy lets people join where they like, even again: preflight warns of it.
        (person(NEWCOMER), NEW_USER.format(GLOBEX, "user"), 1),
    ],
)
def test_guards_on_an_adopted_platform_where_one_is_nobody(
    adopted_place: Place, who: Who, statement: str, outcome: int | str
) -> None:
    assert adopted_place.attempt(statement, who, SERVICE) == [outcome, 1]


@pytest.mark.parametrize(
    "planted",
    [
        "pg_roles AS SELECT oid, rolname, true AS rolbypassrls FROM pg_catalog.pg_roles",
        "pg_class AS SELECT 'public.users'::regclass::oid AS oid, 'authenticated'::regrole::oid AS relowner",
        "pg_constraint AS SELECT * FROM pg_catalog.pg_constraint LIMIT 0",
    ],
    ids=["pg_roles", "pg_class", "pg_constraint"],
)
def test_a_catalog_planted_in_pg_temp_fools_no_guard(free_place: Place, planted: str) -> None:
    assert free_place.attempt(FREELY["promote"], MEMBER) == ["guard"]
    with connect(free_place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, MEMBER)
        connection.execute(f"CREATE TEMP TABLE {planted}")
        with pytest.raises(errors.InsufficientPrivilege, match="may not set"):
            connection.execute(FREELY["promote"])


@pytest.fixture
def try_freely(platform: Connection) -> Callable[[Who, str], int | str]:
    """As try_as, in a database of the test's own where every row is everybody's."""
    platform.execute(FREEDOM)
    platform.commit()

    def try_freely(who: Who, statement: str) -> int | str:
        with connect(url_of(platform)) as connection:
            return attempt(connection, who, statement, {})

    return try_freely


def test_a_later_before_trigger_of_the_platform_overrules_nothing(
    platform: Connection, try_freely: Callable[[Who, str], int | str]
) -> None:
    platform.execute("""
        CREATE FUNCTION promote() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.role := ''admin''; RETURN NEW; END';
        CREATE TRIGGER zzz_promote BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION promote();
        CREATE FUNCTION link() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            AS 'BEGIN NEW.chatbot_id := ''00000000-0000-0000-0000-000000000101''; RETURN NEW; END';
        CREATE TRIGGER zzz_link BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION link()
    """)
    platform.commit()
    rename = f"UPDATE users SET full_name = 'x' {MINE}"
    assert [try_freely(who, rename) for who in (MEMBER, SERVICE)] == ["guard", 1]
    retitle = f"UPDATE conversations SET title = 'x' WHERE id = '{OWN_TALK}'"
    assert [try_freely(who, retitle) for who in (MEMBER, ADMIN, SERVICE)] == ["guard", 1, 1]


def test_a_trigger_instead_of_writing_a_view_overrules_nothing(
    platform: Connection, try_freely: Callable[[Who, str], int | str]
) -> None:
    platform.execute("""
        CREATE VIEW people AS TABLE users;
        GRANT ALL ON people TO authenticated;
        CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN UPDATE users SET role = NEW.role WHERE id = OLD.id; RETURN NEW; END';
        CREATE TRIGGER write INSTEAD OF UPDATE ON people FOR EACH ROW EXECUTE FUNCTION write()
    """)
    platform.commit()
    promote = f"UPDATE people SET role = 'admin' {MINE}"
    assert [try_freely(who, promote) for who in (MEMBER, Who(None))] == ["guard", 1]

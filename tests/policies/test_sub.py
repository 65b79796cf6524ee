"""Where the token's sub is users.auth_id: whom it names, who may set it, and what is kept of who did something."""

import json
from uuid import UUID

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
    GLOBEX_ADMIN,
    GLOBEX_DRAFT,
    INACTIVE,
    INACTIVE_ADMIN,
    INVITED,
    MEMBER,
    NEWCOMER,
    NOBODY,
    OTHER_ADMIN,
    OWNER,
    SERVICE,
    STRANGER,
    Who,
    person,
    sub_of,
)
from tests.policies import NOBODIES, Outcomes, Place, cases
from tests.policies.test_cascades import as_function
from tests.policies.test_chatbot_versions import change, do
from tests.tools import attempt, become, connect

# Who may set the sub of a row, where every row is everybody's. The sub is a stranger's, who has an account and no row.
SUB = f"auth_id = '{sub_of(NOBODY)}'"
MINE = f"WHERE id = '{ACME_MEMBER}'"
NEW = "INSERT INTO users (id, tenant_id, email, auth_id) VALUES"
SETTING = """
                             anonymous nobody member colleague admin member2 admin2 service owner
    claim an invitation          grant  guard  guard     guard guard   guard  guard       1     1
    claim all that are unclaimed grant  guard  guard     guard guard   guard  guard       1     1
    take a colleague's row       grant  guard  guard     guard guard   guard  guard       1     1
    take an inactive's row       grant  guard  guard     guard guard   guard  guard       1     1
    change one's own             grant  guard  guard     guard guard   guard  guard       1     1
    swap two                     grant  guard  guard     guard guard   guard  guard       2     2
    claim by upsert              grant  guard  guard     guard guard   guard  guard       1     1
    claim by merge               grant  guard  guard     guard guard   guard  guard       1     1
    claim through a view         guard  guard  guard     guard guard   guard  guard       1     1
    claim by returning rows      grant  guard  guard     guard guard   guard  guard       1     1
    claim and rename             grant  guard  guard     guard guard   guard  guard       1     1
    claim by a row               grant  guard  guard     guard guard   guard  guard       1     1
    give one's own up            grant      1      1         1     1       1      1       1     1
    give a colleague's up        grant      1      1         1     1       1      1       1     1
    set what it is               grant      1      1         1     1       1      1       1     1
    insert with a sub            grant      1      1         1     1       1      1       1     1
    insert an admin with it      grant  guard  guard     guard guard   guard  guard       1     1
"""
SET = {
    "claim an invitation": f"UPDATE users SET {SUB} WHERE id = '{INVITED}'",
    "claim all that are unclaimed": f"UPDATE users SET {SUB} WHERE auth_id IS NULL",
    "take a colleague's row": f"UPDATE users SET {SUB} WHERE id = '{ACME_COLLEAGUE}'",
    "take an inactive's row": f"UPDATE users SET {SUB} WHERE id = '{ACME_INACTIVE_ADMIN}'",
    "change one's own": f"UPDATE users SET {SUB} {MINE}",
    "swap two": f"""
        UPDATE users SET auth_id = CASE WHEN auth_id IS NULL THEN '{sub_of(NOBODY)}'::uuid END
        WHERE id IN ('{INVITED}', '{ACME_MEMBER}')
    """,
    "claim by upsert": f"""
        {NEW} ('{INVITED}', '{GLOBEX}', 'invited@globex.example', NULL) ON CONFLICT (id) DO UPDATE SET {SUB}
    """,
    "claim by merge": f"""
        MERGE INTO users USING (VALUES ('{INVITED}'::uuid)) AS source (wanted) ON id = wanted
        WHEN MATCHED THEN UPDATE SET {SUB}
    """,
    "claim through a view": f"UPDATE profiles SET {SUB} WHERE id = '{INVITED}'",
    "claim by returning rows": f"WITH done AS (UPDATE users SET {SUB} WHERE auth_id IS NULL RETURNING *) TABLE done",
    "claim and rename": f"UPDATE users SET full_name = 'Mine', {SUB} WHERE id = '{INVITED}'",
    "claim by a row": f"UPDATE users SET (auth_id, name) = ('{sub_of(NOBODY)}', name) WHERE id = '{INVITED}'",
    "give one's own up": f"UPDATE users SET auth_id = NULL {MINE}",
    "give a colleague's up": f"UPDATE users SET auth_id = NULL WHERE id = '{ACME_COLLEAGUE}'",
    "set what it is": f"UPDATE users SET auth_id = auth_id {MINE}",
    "insert with a sub": f"{NEW} ('{NEWCOMER}', '{ACME}', 'new@acme.example', '{sub_of(NOBODY)}')",
    "insert an admin with it": f"""
        INSERT INTO users (id, tenant_id, email, auth_id, role)
        VALUES ('{NEWCOMER}', '{ACME}', 'new@acme.example', '{sub_of(NOBODY)}', 'admin')
    """,
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(SETTING, SET))
def test_who_sets_the_sub_of_a_row(free_guide_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert free_guide_place.attempt_as_each(statement) == outcomes


def test_a_sub_that_one_gave_up_is_not_taken_back(free_guide_place: Place) -> None:
    """Nor put on another row, in the transaction in which it was one's own."""
    for row, outcome in ((ACME_MEMBER, "guard"), (INVITED, "guard")):
        with connect(free_guide_place.url) as connection, connection.transaction(force_rollback=True):
            do(connection, MEMBER, f"UPDATE users SET auth_id = NULL {MINE}")
            take = f"UPDATE users SET auth_id = '{sub_of(ACME_MEMBER)}' WHERE id = '{row}'"
            assert attempt(connection, MEMBER, take, {}) == outcome
            assert attempt(connection, SERVICE, take, {}) == 1


def test_an_account_that_is_deleted_leaves_its_row(guide: Connection) -> None:
    """By Supabase's own role, which may do nothing else here; by a client, whom the platform lets delete accounts."""
    guide.execute("GRANT SELECT, DELETE ON auth.users TO authenticated, service_role")
    delete = f"DELETE FROM auth.users WHERE id = '{sub_of(ACME_COLLEAGUE)}'"
    for who in (Who("supabase_auth_admin"), MEMBER, SERVICE, OWNER):
        assert attempt(guide, who, f"WITH gone AS ({delete} RETURNING 1) TABLE gone", {}) == 1
    guide.execute(delete.encode())
    found = guide.execute("SELECT auth_id, is_active FROM users WHERE id = %s", (ACME_COLLEAGUE,)).fetchone()
    assert found == (None, True)
    assert attempt(guide, person(ACME_COLLEAGUE), "SELECT FROM chatbots", {}) == 0


@pytest.mark.parametrize(
    ("action", "definer", "outcome"),
    [
        ("ON DELETE SET NULL", True, 1),
        ("ON DELETE CASCADE", True, 1),
        ("", True, 1),
        ("ON DELETE SET NULL", False, "guard"),
    ],
    ids=["set-null", "cascade", "no-action", "with-the-callers-rights"],
)
def test_an_invitation_is_claimed_by_a_function_of_the_owners(
    guide: Connection, action: str, definer: bool, outcome: int | str
) -> None:
    guide.execute(f"""
        ALTER TABLE users DROP CONSTRAINT users_auth_id_fkey,
            ADD FOREIGN KEY (auth_id) REFERENCES auth.users (id) {action};
        INSERT INTO users (id, tenant_id, email, role)
        VALUES ('{INVITED}', '{GLOBEX}', 'invited@globex.example', 'admin');
        GRANT ALL ON users TO authenticated;
        CREATE POLICY "Anything goes" ON users TO authenticated USING (true)
    """)
    claim = "UPDATE users SET auth_id = auth.uid() WHERE email = 'invited@globex.example' AND auth_id IS NULL"
    guide.execute(as_function(claim, definer))
    assert attempt(guide, STRANGER, claim, {}) == "guard"
    assert attempt(guide, STRANGER, "SELECT do_it()", {}) == outcome
    assert attempt(guide, STRANGER, "SELECT claim_invitation('invited@globex.example')", {}) == 1
    do(guide, STRANGER, "SELECT claim_invitation('invited@globex.example')")
    assert attempt(guide, STRANGER, "SELECT FROM chatbots", {}) == 2


def test_a_key_that_clients_may_change_puts_nobody_on_anothers_row(guide: Connection) -> None:
    """An account table of the platform's own, whose key users follows."""
    guide.execute("""
        CREATE TABLE accounts (id uuid PRIMARY KEY);
        INSERT INTO accounts SELECT auth_id FROM users;
        ALTER TABLE users ADD FOREIGN KEY (auth_id) REFERENCES accounts (id) ON UPDATE CASCADE;
        GRANT ALL ON accounts TO authenticated
    """)
    take = f"UPDATE accounts SET id = '{sub_of(NOBODY)}' WHERE id = '{sub_of(GLOBEX_ADMIN)}'"
    assert [attempt(guide, who, take, {}) for who in (STRANGER, MEMBER, OTHER_ADMIN)] == ["guard"] * 3
    assert attempt(guide, OWNER, take, {}) == 1
    guide.execute(as_function(take, definer=True))
    assert [attempt(guide, who, "SELECT do_it()", {}) for who in (STRANGER, OWNER)] == ["guard", 1]


def test_a_before_trigger_sets_no_sub_unnoticed(guide: Connection) -> None:
    guide.execute(f"""
        GRANT ALL ON users TO authenticated;
        CREATE POLICY "Anything goes" ON users TO authenticated USING (true);
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql
            AS $$BEGIN NEW.auth_id := '{sub_of(NOBODY)}'; RETURN NEW; END$$;
        CREATE TRIGGER zzz_meddle BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION meddle()
    """)
    rename = f"UPDATE users SET full_name = 'x' {MINE}"
    assert [attempt(guide, who, rename, {}) for who in (MEMBER, SERVICE)] == ["guard", 1]


# Whom a sub names

HELPERS = """
    SELECT chatbot_private.claimed_user_id(), chatbot_private.user_id(), chatbot_private.tenant_id(),
        chatbot_private.is_admin()
"""
EVERYTHING = """
    SELECT FROM chatbots UNION ALL SELECT FROM chatbot_versions UNION ALL SELECT FROM chatbot_tags
    UNION ALL SELECT FROM audit_log UNION ALL SELECT FROM chatbot_usage() UNION ALL SELECT FROM tenant_admins()
"""
OF_ADMIN = f"WHERE id = '{ACME_ADMIN}'"
WRITES = {
    "UPDATE chatbots SET name = 'Mine'": 0,
    "DELETE FROM chatbots": 0,
    f"INSERT INTO chatbots (tenant_id, name, system_prompt, model) VALUES ('{ACME}', 'N', 'N', 'm')": "policy",
    f"SELECT restore_chatbot('{DRAFT}', 1)": "missing",
}
TWINS = "ALTER TABLE users DROP CONSTRAINT users_auth_id_key;"


def told(connection: Connection, who: Who) -> tuple[object, ...]:
    with connection.transaction(force_rollback=True):
        become(connection, Who(None, who.claims))
        found = connection.execute(HELPERS).fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "who", "claimed"),
    [
        pytest.param("", STRANGER, None, id="no-row"),
        pytest.param("", INACTIVE_ADMIN, ACME_INACTIVE_ADMIN, id="inactive"),
        pytest.param(
            f"UPDATE users SET is_active = NULL WHERE id = '{ACME_ADMIN}'", ADMIN, ACME_ADMIN, id="null-active"
        ),
        pytest.param(f"UPDATE users SET auth_id = NULL WHERE id = '{ACME_ADMIN}'", ADMIN, None, id="null-sub"),
        pytest.param("UPDATE users SET auth_id = NULL", NOBODIES["no-sub"], None, id="null-sub-and-no-sub"),
        pytest.param("UPDATE users SET auth_id = NULL", NOBODIES["no-token"], None, id="null-sub-and-no-token"),
        pytest.param("UPDATE users SET auth_id = NULL", NOBODIES["malformed-sub"], None, id="null-sub-and-a-malformed"),
        pytest.param(
            f"{TWINS} UPDATE users SET auth_id = '{sub_of(ACME_ADMIN)}' WHERE id = '{GLOBEX_ADMIN}'",
            ADMIN,
            None,
            id="two-rows-of-two-tenants",
        ),
        pytest.param(
            f"{TWINS} UPDATE users SET auth_id = '{sub_of(ACME_ADMIN)}' WHERE id = '{ACME_MEMBER}'",
            ADMIN,
            None,
            id="two-rows-of-one-tenant",
        ),
        pytest.param(
            f"{TWINS} UPDATE users SET auth_id = '{sub_of(ACME_ADMIN)}' WHERE id = '{ACME_INACTIVE}'",
            ADMIN,
            None,
            id="two-rows-one-inactive",
        ),
        pytest.param(
            f"{TWINS} UPDATE users SET auth_id = '{sub_of(ACME_ADMIN)}', is_active = NULL WHERE id = '{GLOBEX_ADMIN}'",
            ADMIN,
            None,
            id="two-rows-one-null-active",
        ),
    ],
)
def test_who_is_nobody_sees_nothing_and_nothing_fails(
    guide: Connection, before: str, who: Who, claimed: UUID | None
) -> None:
    assert attempt(guide, ADMIN, EVERYTHING, {}) == 2 + 2 + 4 + 2 + 2 + 1  # the positive half
    guide.execute(before.encode() or b"SELECT")
    assert told(guide, who) == (claimed, None, None, False)
    assert attempt(guide, who, EVERYTHING, {}) == 0
    for write, outcome in WRITES.items():
        assert attempt(guide, who, write, {}) == outcome, write


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ACME_ADMIN, id="an-admins-id"),
        pytest.param(GLOBEX_ADMIN, id="another-tenants-admins-id"),
        pytest.param(ACME, id="a-tenants-id"),
        pytest.param(GLOBEX_DRAFT, id="a-chatbots-id"),
    ],
)
def test_an_id_is_no_sub(guide: Connection, other: UUID) -> None:
    """Ids are no secret: conversations show a tenant's members those of its people."""
    claims = json.dumps({"role": "authenticated", "sub": str(other)})
    for role, rows in (("authenticated", 0), ("anon", 2)):
        with guide.transaction(force_rollback=True):
            guide.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
            assert guide.execute(HELPERS).fetchone() == (None, None, None, False)
            guide.execute(f"SET LOCAL ROLE {role}")
            assert guide.execute("SELECT id FROM chatbots").rowcount == rows


def test_a_member_whose_id_is_anothers_sub_is_neither_more_nor_less(guide: Connection) -> None:
    """Nothing keeps the two columns apart: whoever signs up may be given an account id that is somebody's row id."""
    account = f"INSERT INTO auth.users (id) VALUES ('{ACME_ADMIN}')"
    guide.execute(account.encode())
    guide.execute("UPDATE users SET auth_id = %s WHERE id = %s", (ACME_ADMIN, ACME_MEMBER))
    claims = json.dumps({"role": "authenticated", "sub": str(ACME_ADMIN)})
    with guide.transaction(force_rollback=True):
        guide.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
        assert guide.execute(HELPERS).fetchone() == (ACME_MEMBER, ACME_MEMBER, ACME, False)


# What is kept of who did something


@pytest.mark.parametrize(
    ("who", "author"),
    [
        pytest.param(ADMIN, ACME_ADMIN, id="admin"),
        pytest.param(Who("service_role", ADMIN.claims), ACME_ADMIN, id="service-for-an-admin"),
        pytest.param(Who("service_role", INACTIVE.claims), ACME_INACTIVE, id="service-for-an-inactive"),
        pytest.param(Who(None, INACTIVE_ADMIN.claims), ACME_INACTIVE_ADMIN, id="owner-for-an-inactive"),
        pytest.param(Who("service_role", STRANGER.claims), None, id="service-for-a-sub-without-a-row"),
        pytest.param(Who("service_role", NOBODIES["malformed-sub"].claims), None, id="service-for-a-malformed-sub"),
        pytest.param(SERVICE, None, id="service"),
    ],
)
def test_the_log_and_versions_keep_ids_of_rows(place: Place, who: Who, author: UUID | None) -> None:
    """Never the sub, also of who is inactive by now; NULL for a sub without a row."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("TRUNCATE audit_log")
        do(connection, who, change("system_prompt = 'New'"))
        entry = connection.execute("SELECT user_id FROM audit_log").fetchall()
        version = connection.execute(
            "SELECT created_by FROM chatbot_versions WHERE chatbot_id = %s AND version = 2", (DRAFT,)
        ).fetchall()
    assert (entry, version) == ([(author,)], [(author,)])


def test_no_sub_stands_in_any_table_of_ours(guide_place: Place) -> None:
    with connect(guide_place.url) as connection, connection.transaction(force_rollback=True):
        create = f"""
            INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
            VALUES ('{ACME}', '{{}}', 'Made here', 'Be.', 'm')
        """
        assert attempt(connection, ADMIN, create.format(sub_of(ACME_ADMIN)), {}) == "policy"
        do(connection, ADMIN, create.format(ACME_ADMIN), change("temperature = 1"))
        do(connection, SERVICE, f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'")
        do(connection, MEMBER, change("temperature = 2"))
        for table in ("chatbots", "chatbot_versions", "chatbot_tags", "audit_log", "conversations", "feedback"):
            found = connection.execute(f"SELECT FROM {table} WHERE to_jsonb({table})::text ~ '0000-0001-0000-0000'")
            assert found.rowcount == 0, table


def test_the_platforms_own_key_still_keeps_two_people_apart(guide_place: Place) -> None:
    with connect(guide_place.url) as connection, pytest.raises(errors.UniqueViolation):
        connection.execute(f"UPDATE users SET auth_id = '{sub_of(ACME_ADMIN)}' WHERE id = '{ACME_MEMBER}'")

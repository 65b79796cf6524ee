"""The guards, where grants and policies do not help: a platform whose clients hold ALL under policies of its own."""

from collections.abc import Callable

import pytest
from psycopg import Connection, errors

from tests.people import (
    ACME,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    DRAFT,
    GLOBEX,
    MEMBER,
    NOBODY,
    OWN_OLD_TALK,
    OWN_TALK,
    PUBLISHED,
    SERVICE,
    Who,
)
from tests.tools import attempt, become, connect, url_of

HEIR = Who("heir_of_authenticated", MEMBER.claims)

NEW_USER = "INSERT INTO users (tenant_id, email, role) VALUES ('{}', 'new@acme.example', '{}')"
UPSERT = f"""
    INSERT INTO users (id, tenant_id, email) VALUES ('{ACME_MEMBER}', '{ACME}', 'member@acme.example')
    ON CONFLICT (id) DO UPDATE SET role = 'admin'
"""
MERGE = f"""
    MERGE INTO users USING (SELECT '{ACME_MEMBER}'::uuid AS me) AS source ON id = me
    WHEN MATCHED THEN UPDATE SET role = 'admin'
"""
NEW_TALK = "INSERT INTO conversations (tenant_id, user_id, chatbot_id) VALUES ('{}', '{}', '{}')"


@pytest.fixture
def try_freely(platform: Connection) -> Callable[[Who, str], int | str]:
    """As try_as, where clients hold ALL on users and conversations, and a role inherits authenticated."""
    platform.execute("""
        GRANT ALL ON users, conversations TO authenticated;
        CREATE POLICY "Anything goes" ON users TO authenticated USING (true) WITH CHECK (true);
        CREATE POLICY "Anything goes" ON conversations TO authenticated USING (true) WITH CHECK (true);
        DO $$
        BEGIN
            IF to_regrole('heir_of_authenticated') IS NULL THEN
                CREATE ROLE heir_of_authenticated INHERIT IN ROLE authenticated;
            END IF;
        END
        $$
    """)
    platform.commit()

    def try_freely(who: Who, statement: str) -> int | str:
        with connect(url_of(platform)) as connection:
            return attempt(connection, who, statement, {})

    return try_freely


@pytest.mark.parametrize("who", [MEMBER, HEIR], ids=["member", "heir"])
@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        pytest.param(f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'", "guard", id="promote-self"),
        pytest.param(f"UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_MEMBER}'", "guard", id="move-self"),
        pytest.param(
            f"UPDATE users SET id = '{NOBODY}' WHERE id = '{ACME_INACTIVE_ADMIN}'", "guard", id="take-over-an-id"
        ),
        pytest.param(f"UPDATE users SET is_active = true WHERE id = '{ACME_INACTIVE}'", "guard", id="reactivate"),
        pytest.param(UPSERT, "guard", id="promote-by-upsert"),
        pytest.param(MERGE, "guard", id="promote-by-merge"),
        pytest.param(NEW_USER.format(ACME, "admin"), "guard", id="insert-an-admin"),
        pytest.param(NEW_USER.format(ACME, "user"), 1, id="insert-a-user"),
        pytest.param(f"UPDATE users SET role = role, email = 'x' WHERE id = '{ACME_MEMBER}'", 1, id="change-nothing"),
        pytest.param(f"UPDATE conversations SET chatbot_id = '{DRAFT}'", "guard", id="link-a-draft"),
        pytest.param(NEW_TALK.format(ACME, ACME_COLLEAGUE, DRAFT), "guard", id="begin-with-a-draft"),
        pytest.param(NEW_TALK.format(ACME, ACME_COLLEAGUE, PUBLISHED), 1, id="begin-with-a-published-one"),
        pytest.param(
            f"UPDATE conversations SET chatbot_id = '{PUBLISHED}' WHERE id = '{OWN_OLD_TALK}'", 1, id="link-published"
        ),
        pytest.param(
            f"UPDATE conversations SET tenant_id = '{GLOBEX}' WHERE id = '{OWN_TALK}'", "key", id="move-a-linked-one"
        ),
    ],
)
def test_guards(try_freely: Callable[[Who, str], int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_freely(who, statement) == outcome


@pytest.mark.parametrize(
    "planted",
    [
        "pg_roles AS SELECT 'authenticated'::name AS rolname, true AS rolbypassrls",
        "pg_class AS SELECT 'public.users'::regclass::oid AS oid, 'authenticated'::regrole::oid AS relowner",
    ],
    ids=["pg_roles", "pg_class"],
)
def test_a_catalog_planted_in_pg_temp_fools_no_guard(
    try_freely: Callable[[Who, str], int | str], platform: Connection, planted: str
) -> None:
    assert try_freely(MEMBER, f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'") == "guard"
    with connect(url_of(platform)) as connection, connection.transaction(force_rollback=True):
        become(connection, MEMBER)
        connection.execute(f"CREATE TEMP TABLE {planted}")
        with pytest.raises(errors.InsufficientPrivilege, match="may not set"):
            connection.execute(f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'")


def test_guards_let_service_and_owner_through(try_freely: Callable[[Who, str], int | str]) -> None:
    for who in (SERVICE, Who(None)):
        assert try_freely(who, "UPDATE users SET role = 'admin', is_active = NOT is_active") == 7
        assert try_freely(who, NEW_TALK.format(ACME, ACME_MEMBER, DRAFT)) == 1


def test_a_later_before_trigger_of_the_platform_overrules_nothing(
    platform: Connection, try_freely: Callable[[Who, str], int | str]
) -> None:
    platform.execute("""
        CREATE FUNCTION promote() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.role := ''admin''; RETURN NEW; END';
        CREATE TRIGGER zzz_promote BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION promote()
    """)
    platform.commit()
    assert try_freely(MEMBER, f"UPDATE users SET full_name = 'x' WHERE id = '{ACME_MEMBER}'") == "guard"
    assert try_freely(SERVICE, f"UPDATE users SET full_name = 'x' WHERE id = '{ACME_MEMBER}'") == 1

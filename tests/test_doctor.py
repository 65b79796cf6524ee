"""`python -m app doctor`: revision, drift, whom one is, why a chatbot is seen or not, orphans, indexes."""

import json
import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.doctor.report import WIDTH, told
from app.doctor.visibility import chatbot_id
from app.errors import SetupError
from tests.examining import LOGIN, OWNER, ROLES, change, examined
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    DRAFT,
    GLOBEX,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    NOBODY,
    PUBLISHED,
)
from tests.tools import NEWEST, alembic, connect, run, url_of

# Revision


def test_a_database_at_head_is_well(people_database: URL) -> None:
    found = examined(people_database)
    assert (found.revision.at, found.revision.pending, found.revision.half_done) == ([NEWEST], [], None)
    assert (found.mend, found.unknown, found.drift) == ([], [], [])
    assert found.orphans is not None
    assert {each.count for each in found.orphans} == {0}
    assert (found.person, found.tables, found.chatbot) == (None, [], None)
    assert "Nothing to mend." in list(told(found))


def test_where_the_tables_are_not_there(empty: URL) -> None:
    found = examined(empty, "admin@acme.example", PUBLISHED)
    assert found.revision.told == "Has none of the platform's tables: they would be made."
    assert (found.drift, found.person, found.chatbot, found.orphans) == (None, None, None, None)
    assert found.mend == ["Revisions are pending: run `alembic upgrade head`."]
    assert any(f"are judged at the newest revision ({NEWEST})" in line for line in told(found))


def test_before_the_newest_revision_and_half_way(empty: URL) -> None:
    alembic(empty, "upgrade", "008")
    found = examined(empty)
    assert (found.revision.at, found.revision.pending, found.drift) == (
        ["008"],
        ["009", "010", "011", "012", "013", "014", "015"],
        None,
    )
    alembic(empty, "upgrade", "head")
    with connect(empty) as connection:
        connection.execute("COMMENT ON TABLE alembic_version IS 'alembic downgrade 009'")
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.idx_users_role'::regclass"
        )
    found = examined(empty)
    assert (found.revision.pending, found.revision.half_done, found.drift) == ([], "alembic downgrade 009", None)
    assert found.mend == [
        "A step was interrupted: run `alembic downgrade 009`.",
        "Index idx_users_role is invalid: run `alembic downgrade 009`.",
    ]


def test_another_projects_version_table_is_refused(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('a1')")
    with pytest.raises(SetupError, match="another project"):
        examined(empty)


# Whom one is


def test_a_superuser_is_told_that_row_security_does_not_bind(people_database: URL) -> None:
    role = examined(people_database).role
    assert role.told.startswith("You are postgres, a superuser: row security does not bind you.")
    assert (role.bound_by_row_security, role.becomes, role.claims) == (False, ["anon", "authenticated"], None)


@pytest.fixture
def owned(platform: Connection) -> Iterator[URL]:
    """As one who owns the tables, without being more."""
    platform.execute(f"{ROLES}; ALTER ROLE {OWNER} NOBYPASSRLS; GRANT anon, authenticated TO {OWNER}")
    tables = platform.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    for (table,) in tables.fetchall():
        platform.execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
    platform.execute(f"ALTER SCHEMA chatbot_private OWNER TO {OWNER}")
    helpers = ("user_id()", "tenant_id()", "is_admin()", "claimed_user_id()", "tools_fault(jsonb)")
    for helper in helpers:
        platform.execute(f"ALTER FUNCTION chatbot_private.{helper} OWNER TO {OWNER}")
    url = change(platform, f"ALTER FUNCTION chatbot_private.token_sub() OWNER TO {OWNER}")
    yield url.set(username=OWNER)
    platform.rollback()
    change(platform, f"REASSIGN OWNED BY {OWNER} TO postgres; DROP OWNED BY {OWNER}; DROP OWNED BY {LOGIN}")
    change(platform, f"REVOKE anon, authenticated FROM {OWNER}, {LOGIN}")


def test_the_owner_is_no_superuser(owned: URL, platform: Connection) -> None:
    found = examined(owned, "member@acme.example", DRAFT)
    assert found.role.told.startswith(
        f"You are {OWNER}, owner of chatbot_tags, chatbot_versions, chatbots, conversations"
    )
    assert found.chatbot is not None
    assert found.chatbot.seen is False
    assert {each.table: each.sees.count for each in found.tables}["messages"] == 3
    assert found.unknown == []

    change(platform, f"REVOKE authenticated FROM {OWNER}")
    found = examined(owned)
    assert f"GRANT authenticated TO {OWNER}." in found.role.told
    found = examined(owned, ACME_MEMBER, PUBLISHED)
    (trouble,) = found.unknown
    assert trouble.startswith(f"what member@acme.example can do (Role {OWNER} cannot act as authenticated (permission")
    assert found.drift is not None  # all that can be judged without them is
    assert found.orphans is not None
    assert (found.tables, found.chatbot) == ([], None)
    told = run("app", "doctor", "--as", "member@acme.example", url=owned)
    assert told.returncode in {1, 3}
    assert "member@acme.example, role user, of tenant Acme: what they can do is unknown." in told.stdout
    assert "Rows that belong to nothing:" in told.stdout

    change(platform, "ALTER TABLE messages FORCE ROW LEVEL SECURITY")
    found = examined(owned)
    assert {each.unknown for each in found.orphans or []} == {f"role {OWNER} does not see every row of messages"}
    assert found.unknown[0] == f"users whose tenant is not there (role {OWNER} does not see every row of messages)"
    change(platform, "ALTER TABLE users FORCE ROW LEVEL SECURITY")
    with pytest.raises(SetupError, match=f"Role {OWNER} does not see every row of users: connect .* as the owner"):
        examined(owned, ACME_MEMBER)
    change(platform, "ALTER TABLE users NO FORCE ROW LEVEL SECURITY")


def test_other_roles_are_told_what_they_are(owned: URL, platform: Connection) -> None:
    application = owned.set(username=LOGIN)
    with pytest.raises(SetupError) as refusal:
        examined(application)
    assert str(refusal.value).startswith(f"You are {LOGIN}, with no rights on the tables until act_as. act_as needs")
    assert "For the rest, permission denied for table alembic_version: connect" in str(refusal.value)

    change(platform, f"GRANT SELECT ON alembic_version TO {LOGIN}; GRANT anon, authenticated TO {LOGIN}")
    role = examined(application).role
    assert role.told == f"You are {LOGIN}, with no rights on the tables until act_as."
    change(platform, f"GRANT SELECT ON users TO {LOGIN}")
    role = examined(application).role
    assert (role.has_rights, role.bound_by_row_security) == (["users"], True)
    change(platform, f"ALTER ROLE {OWNER} BYPASSRLS")
    assert f"You are {OWNER}, with BYPASSRLS: row security does not bind" in examined(owned).role.told
    claims = f'{{"sub": "{ACME_ADMIN}"}}'
    change(platform, f"ALTER ROLE {LOGIN} SET request.jwt.claims = '{claims}'")
    role = examined(application).role
    assert role.claims == claims
    assert "and so as somebody: RESET that." in role.told
    change(platform, f"ALTER ROLE {LOGIN} RESET ALL")


# Who somebody is


def test_finds_people_by_address_or_id(people_database: URL) -> None:
    for given in ("former@acme.example", ACME_INACTIVE_ADMIN, f"{{{ACME_INACTIVE_ADMIN}}}"):
        found = examined(people_database, given)
        assert found.person is not None
        assert (found.person.id, found.person.tenant, found.person.role) == (ACME_INACTIVE_ADMIN, "Acme", "admin")
        assert "Not active: former@acme.example, role admin, of tenant Acme, acts as authenticated:" in told(found)


def test_people_that_are_not_there_or_several(platform: Connection) -> None:
    url = change(
        platform, "INSERT INTO users (id, tenant_id, email) VALUES (%s, %s, 'member@acme.example')", NOBODY, GLOBEX
    )
    for unknown in ("Member@acme.example", "nobody", UUID(int=0)):
        with pytest.raises(SetupError, match=f"There is no user '{unknown}'"):
            examined(url, unknown)
    with pytest.raises(SetupError, match="Several users have the address") as several:
        examined(url, "member@acme.example")
    assert f"{ACME_MEMBER} (tenant Acme), {NOBODY} (tenant Globex)" in str(several.value)


# Why a chatbot is seen


@pytest.mark.parametrize(
    ("who", "chatbot", "seen", "why"),
    [
        (ACME_ADMIN, DRAFT, True, "an admin of its tenant. It is not published."),
        (ACME_ADMIN, PUBLISHED, True, "an admin of its tenant. It is published."),
        (ACME_MEMBER, PUBLISHED, True, "it is published, and of their tenant."),
        (ACME_MEMBER, DRAFT, False, "it is not published, and they are no admin. Set is_published"),
        (ACME_INACTIVE, PUBLISHED, False, "they are not active"),
        (ACME_INACTIVE_ADMIN, GLOBEX_DRAFT, False, "they are not active"),
        (
            ACME_ADMIN,
            GLOBEX_PUBLISHED,
            False,
            f"it is of tenant Globex ({GLOBEX}), and they are of tenant Acme ({ACME})",
        ),
        (None, PUBLISHED, True, "it is published. They see it without its prompt and parameters."),
        (None, DRAFT, False, "it is not published. Set is_published"),
        (ACME_ADMIN, NOBODY, False, f"There is no chatbot {NOBODY}: it was deleted, or is in another database."),
    ],
)
def test_says_why_a_chatbot_is_seen_or_not(
    people_database: URL, who: UUID | None, chatbot: UUID, seen: bool, why: str
) -> None:
    found = examined(people_database, who, chatbot)
    assert found.chatbot is not None
    assert (found.chatbot.seen, found.chatbot.as_it_should_be) == (seen, True)
    assert why in found.chatbot.why
    assert found.mend == found.unknown == []


@pytest.mark.parametrize(
    ("statement", "who", "chatbot", "why"),
    [
        (
            'DROP POLICY "Demo user can view published chatbots" ON chatbots',
            None,
            PUBLISHED,
            "An anonymous visitor does not see chatbot Acme Support",
        ),
        (
            "CREATE POLICY x ON chatbots USING (true)",
            ACME_MEMBER,
            GLOBEX_DRAFT,
            "by the rules they would not, as it is",
        ),
        ("REVOKE SELECT ON chatbots FROM authenticated", ACME_ADMIN, DRAFT, "(permission denied for table chatbots)"),
    ],
)
def test_says_where_rules_and_reality_disagree(
    platform: Connection, statement: str, who: UUID | None, chatbot: UUID, why: str
) -> None:
    found = examined(change(platform, statement), who, chatbot)
    assert found.chatbot is not None
    assert found.chatbot.as_it_should_be is False
    assert why in found.chatbot.why
    assert found.chatbot.why.endswith("Row security has drifted: see above.")
    assert "Who sees the chatbot is not as the rules have it." in found.mend
    assert found.drift


def test_what_is_no_chatbots_id() -> None:
    with pytest.raises(SetupError, match="'1' is no chatbot's id"):
        chatbot_id("1")


# The command


def test_json_is_one_object(people_database: URL) -> None:
    said = run("app", "doctor", "--json", "--as", "member@acme.example", "--chatbot", str(DRAFT), url=people_database)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert list(found) == [
        *("revision", "role", "drift", "warnings", "identity", "person", "tables", "chatbot"),
        *("orphans", "leaderless", "indexes", "mend", "unknown"),
    ]
    assert found["person"]["id"] == str(ACME_MEMBER)
    assert found["tables"][2]["sees"] == {"granted": True, "count": 1, "or_more": False}
    assert (found["chatbot"]["seen"], found["revision"]["pending"]) == (False, [])
    assert said.stderr.startswith("Database: ")


def test_exit_codes_and_lines(platform: Connection, people_database: URL) -> None:
    change(
        platform,
        "ALTER TABLE users DISABLE TRIGGER users_guard_role_update;"
        " INSERT INTO tenants (name) VALUES (E'\\x1b[31mRed')",
    )
    change(
        platform, "UPDATE users SET tenant_id = (SELECT id FROM tenants WHERE name ~ 'Red') WHERE id = %s", ACME_MEMBER
    )
    ill = run("app", "doctor", "--as", str(ACME_MEMBER), url=url_of(platform))
    assert ill.returncode == 3, ill.stderr
    assert "  users: trigger users_guard_role_update: state is disabled" in ill.stdout.splitlines()
    assert "  - It differs from what was installed in 1 thing." in ill.stdout.splitlines()
    assert r"of tenant \x1b[31mRed" in ill.stdout
    assert "\x1b" not in ill.stdout
    assert re.search(r"\n  users               1        no       1        no       full_name\n", ill.stdout)
    assert max(map(len, ill.stdout.splitlines())) <= WIDTH
    nobody = run("app", "doctor", "--as", "nobody", url=people_database)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.splitlines()[-1].startswith("Error: There is no user 'nobody': ")


def test_what_cannot_be_judged_is_no_success(platform: Connection) -> None:
    platform.execute(f"{ROLES}; GRANT SELECT ON alembic_version TO {LOGIN}")
    url = change(platform, "SELECT 1").set(username=LOGIN)
    said = run("app", "doctor", url=url)
    assert said.returncode == 1
    assert "It is what was installed." in said.stdout
    assert f"unknown, as role {LOGIN} does not see every row of chatbot_tags, chatbot_versions, chatbots" in said.stdout
    assert "Nothing to mend." not in said.stdout
    error = said.stderr.splitlines()[-1]
    assert error.startswith("Error: Not everything could be judged: what preflight warned of")
    assert "; users whose tenant is not there (role doctor_login does not see every row" in error
    change(platform, f"DROP OWNED BY {LOGIN}")

"""The functions behind row security: who may call them, and that no caller's setting leads them elsewhere."""

from uuid import UUID

import pytest
from psycopg import Connection

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    GLOBEX,
    GLOBEX_ADMIN,
    MEMBER,
    NO_TOKEN,
    OTHER_ADMIN,
    OWNER,
    SERVICE,
    Who,
    person,
)
from tests.policies import NOBODIES, Place
from tests.tools import become, connect

HELPERS = [
    "token_sub()",
    "claimed_user_id()",
    "author()",
    "user_id()",
    "tenant_id()",
    "is_admin()",
    "is_admin_role(NULL)",
    "is_adopted()",
    "identity_column()",
    "admin_roles()",
    "taken_over()",
    "positive_from()",
    "reporting_scope(NULL, NULL)",
    "erase_from_audit_log(NULL)",
    "tools_fault(NULL)",
    "looks_empty(NULL)",
    "normal_label(NULL)",
]
REPORTS = [
    "chatbot_usage",
    "popular_chatbots",
    "tenant_admins",
    "unpublished_chatbots",
]  # each with one in schema public that asks it
TRIGGERS = [
    "touch_updated_at",
    "require_table_owner",
    "require_bounds",
    "require_visible_chatbot",
    "audit_row",
    "audit_truncation",
    "number_version",
    "keep_version",
    "record_version",
    "forget_author",
    "normalise_labels",
    "keep_tags",
    "require_tools",
]


@pytest.mark.parametrize("helper", HELPERS)
def test_nobody_calls_a_helper_by_name(place: Place, helper: str) -> None:
    call = f"SELECT chatbot_private.{helper}"
    assert place.attempt(call, ANONYMOUS, NO_TOKEN, MEMBER, ADMIN, SERVICE, OWNER) == ["grant"] * 5 + [1]


def test_no_function_but_those(place: Place) -> None:
    with connect(place.url) as connection:
        found = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'chatbot_private'::regnamespace")
        assert {name for (name,) in found} == {*(helper.split("(")[0] for helper in HELPERS), *TRIGGERS, *REPORTS}


@pytest.mark.parametrize(
    ("who", "user_id", "tenant_id", "is_admin"),
    [
        pytest.param(MEMBER, ACME_MEMBER, ACME, False, id="member"),
        pytest.param(ADMIN, ACME_ADMIN, ACME, True, id="admin"),
        pytest.param(OTHER_ADMIN, GLOBEX_ADMIN, GLOBEX, True, id="other-admin"),
        pytest.param(Who(None, ""), None, None, False, id="empty-claims"),
        pytest.param(Who(None, "null"), None, None, False, id="claims-null"),
        pytest.param(Who(None, "[]"), None, None, False, id="claims-no-object"),
        pytest.param(Who(None, '{"sub": 1}'), None, None, False, id="sub-a-number"),
        pytest.param(Who(None, '{"sub": null}'), None, None, False, id="sub-null"),
        pytest.param(person(f"{ACME_ADMIN}\n"), None, None, False, id="sub-with-a-line-break"),
        pytest.param(person(str(GLOBEX_ADMIN).upper()), GLOBEX_ADMIN, GLOBEX, True, id="sub-in-capitals"),
        *(pytest.param(who, None, None, False, id=name) for name, who in NOBODIES.items()),
    ],
)
def test_each_helper_tells_by_itself(
    place: Place, who: Who, user_id: UUID | None, tenant_id: UUID | None, is_admin: bool
) -> None:
    """One that said too much would hide behind the others: policies ask several at once."""
    told = "SELECT chatbot_private.user_id(), chatbot_private.tenant_id(), chatbot_private.is_admin()"
    with connect(place.url) as connection, connection.transaction():
        become(connection, Who(None, who.claims))
        assert connection.execute(told).fetchone() == (user_id, tenant_id, is_admin)


def test_execute_is_granted_where_policies_need_it_and_for_the_figures(place: Place) -> None:
    with connect(place.url) as connection:
        granted = connection.execute(
            """
            SELECT pronamespace::regnamespace::text, proname,
                array_agg(grantee::regrole::text ORDER BY grantee::regrole::text)
            FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
            WHERE grantee <> proowner
                AND (pronamespace = 'chatbot_private'::regnamespace OR proname = ANY (%s)) GROUP BY 1, 2
        """,
            (REPORTS,),
        ).fetchall()
    clients, both = ["authenticated"], ["authenticated", "service_role"]
    everybody = ["-"]  # PUBLIC, by whose WHEN conditions the guards ask; the schema is closed
    assert {(schema, name): to for schema, name, to in granted} == {
        **{("chatbot_private", name): clients for name in ("is_admin", "tenant_id", "user_id")},
        ("chatbot_private", "is_admin_role"): everybody,
        **{(schema, name): both for schema in ("chatbot_private", "public") for name in REPORTS},
    }


def test_each_function_runs_as_it_should(place: Place) -> None:
    """As its owner only where it reads past row security, or writes what nobody else may. pg_temp last in the path."""
    with connect(place.url) as connection:
        found = connection.execute("""
            SELECT proname, prosecdef, provolatile, proconfig FROM pg_proc
            WHERE pronamespace = 'chatbot_private'::regnamespace AND prosqlbody IS NULL
        """).fetchall()
        asking = connection.execute(
            "SELECT proname, prosecdef, provolatile, proconfig, prosqlbody IS NULL FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND proname = ANY (%s) ORDER BY proname",
            (REPORTS,),
        ).fetchall()
        parsed = connection.execute(
            "SELECT proname, prosecdef, provolatile FROM pg_proc"
            " WHERE pronamespace = 'chatbot_private'::regnamespace AND prosqlbody IS NOT NULL"
        ).fetchall()
        restoring = connection.execute(
            "SELECT prosecdef, proconfig FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND proname = 'restore_chatbot'"
        ).fetchall()
    reading = {"claimed_user_id", "user_id", "tenant_id", "is_admin", "reporting_scope", *REPORTS}
    recorded = {"is_adopted", "identity_column", "admin_roles", "taken_over", "positive_from"}
    assert {name for name, definer, _, _ in found if definer} == reading | {
        "author",
        "audit_row",
        "audit_truncation",
        "require_bounds",
        "number_version",
        "keep_version",
        "forget_author",
        "normalise_labels",
        "keep_tags",
        "require_tools",
    }
    deciding = {"tools_fault", "looks_empty", "normal_label"}
    assert {name for name, _, volatile, _ in found if volatile == "i"} == recorded | deciding
    assert {name for name, _, volatile, _ in found if volatile == "s"} == reading | {"token_sub"}
    assert {settings[0] for _, _, _, settings in found} == {"search_path=pg_catalog, pg_temp"}
    assert {name for name, _, _, settings in found if "row_security=off" in settings} == {*REPORTS}
    # What is parsed when it is made, no path leads astray.
    assert asking == [(name, False, "s", None, False) for name in REPORTS]
    assert parsed == [("is_admin_role", False, "i")]
    assert restoring == [(False, ["search_path=pg_catalog, pg_temp"])]


@pytest.mark.parametrize("planted", ["text", "json", "uuid", "bool"])
@pytest.mark.parametrize("who", [MEMBER, Who("authenticated")], ids=["member", "no-token"])
def test_a_type_planted_in_pg_temp_runs_nothing_as_the_owner(fresh_place: Place, who: Who, planted: str) -> None:
    """PostgreSQL looks for types in pg_temp before a search_path that does not name it."""
    attack = f"""
        CREATE FUNCTION pg_temp.own(pg_catalog.{planted}) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user <> 'authenticated' THEN
                RAISE EXCEPTION 'runs as %', current_user;
            END IF;
            RETURN true;
        END $$;
        CREATE DOMAIN pg_temp.{planted} AS pg_catalog.{planted} CHECK (pg_temp.own(VALUE));
    """
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, who)
        connection.execute(attack)
        for table in ("tenants", "users", "chatbots", "conversations", "messages", "feedback"):
            connection.execute(f"SELECT FROM public.{table}")


def test_objects_planted_ahead_in_the_search_path_are_not_seen(platform: Connection) -> None:
    platform.execute("""
        CREATE SCHEMA planted;
        CREATE TABLE planted.users AS SELECT * FROM public.users;
        UPDATE planted.users SET role = 'admin';
        CREATE FUNCTION planted.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT timestamptz ''2000-01-01''';
        GRANT USAGE ON SCHEMA planted TO authenticated;
        SET LOCAL search_path = planted, pg_catalog, public
    """)
    become(platform, MEMBER)
    assert len(platform.execute("SELECT FROM public.chatbots").fetchall()) == 1


@pytest.mark.parametrize(
    "sub",
    [f" {ACME_ADMIN}", f"x{ACME_ADMIN}", f"{ACME_ADMIN}0", f"{ACME_ADMIN} ", f"{{{ACME_ADMIN}}}", ACME_ADMIN.hex],
    ids=["space-before", "letter-before", "digit-after", "space-after", "braces", "no-hyphens"],
)
def test_a_sub_is_a_uuid_as_tokens_spell_it_or_nobody(place: Place, sub: str) -> None:
    assert place.attempt("SELECT FROM chatbots", person(sub), person(ACME_ADMIN)) == [0, 2]


@pytest.mark.parametrize(
    ("who", "rows"),
    [
        (Who("authenticated"), 0),
        (Who("authenticated", "{}"), 0),
        (Who("authenticated", ""), 0),
        (MEMBER, 1),
        (ADMIN, 5),
    ],
    ids=["no-token", "no-sub", "empty", "member", "admin"],
)
def test_a_leftover_of_the_older_setting_is_nobody(fresh_place: Place, who: Who, rows: int) -> None:
    """Supabase's auth.uid() would take it for the caller."""
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('request.jwt.claim.sub', %s, true)", (str(GLOBEX_ADMIN),))
        become(connection, who)
        assert connection.execute("SELECT FROM users").rowcount == rows

"""The functions behind row security: who may call them, and that no caller's setting leads them elsewhere."""

from collections.abc import Callable
from uuid import UUID

import pytest
from psycopg import Connection
from sqlalchemy import URL

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    GLOBEX,
    GLOBEX_ADMIN,
    MEMBER,
    OTHER_ADMIN,
    SERVICE,
    Who,
    person,
)
from tests.policies import NOBODIES
from tests.tools import become, connect

HELPERS = ["claimed_user_id", "user_id", "tenant_id", "is_admin"]


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize("who", [ANONYMOUS, MEMBER, ADMIN, SERVICE], ids=["anonymous", "member", "admin", "service"])
def test_nobody_calls_a_helper_by_name(try_as: Callable[..., int | str], who: Who, helper: str) -> None:
    assert try_as(who, f"SELECT chatbot_private.{helper}()") == "grant"


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
    platform: Connection, who: Who, user_id: UUID | None, tenant_id: UUID | None, is_admin: bool
) -> None:
    """One that said too much would hide behind the others: policies ask several at once."""
    become(platform, Who(None, who.claims))
    told = "SELECT chatbot_private.user_id(), chatbot_private.tenant_id(), chatbot_private.is_admin()"
    assert platform.execute(told).fetchone() == (user_id, tenant_id, is_admin)


def test_execute_is_granted_to_authenticated_alone_and_where_policies_need_it(platform: Connection) -> None:
    granted = platform.execute("""
        SELECT proname, grantee::regrole::text FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
        WHERE pronamespace = 'chatbot_private'::regnamespace AND grantee <> proowner ORDER BY proname
    """).fetchall()
    assert granted == [("is_admin", "authenticated"), ("tenant_id", "authenticated"), ("user_id", "authenticated")]


def test_every_function_fixes_its_search_path(platform: Connection) -> None:
    loose = platform.execute("""
        SELECT proname FROM pg_proc WHERE pronamespace = 'chatbot_private'::regnamespace
            AND proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
    """).fetchall()
    assert loose == []


@pytest.mark.parametrize("planted", ["text", "json", "uuid", "bool"])
@pytest.mark.parametrize("who", [MEMBER, Who("authenticated")], ids=["member", "no-token"])
def test_a_type_planted_in_pg_temp_runs_nothing_as_the_owner(people_database: URL, who: Who, planted: str) -> None:
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
    with connect(people_database) as connection, connection.transaction(force_rollback=True):
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

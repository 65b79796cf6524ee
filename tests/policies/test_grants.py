"""Which columns each role may read and write: design §3's column lists, compared with all that the catalogs grant."""

import pytest
from psycopg import Connection

from tests.policies import Place
from tests.tools import OURS, connect

PUBLIC_COLUMNS = "id tenant_id name description model is_published created_at updated_at category tags"
CONFIGURATION = "name description system_prompt model temperature max_tokens settings is_published category tags"
SERVICE = {"SELECT": "*", "INSERT": "*", "UPDATE": "*", "DELETE": "*"}

# By relation and role; * is every column. Heirs of a role have its rights, and nobody else has any.
RIGHTS = {
    "chatbots": {
        "anon": {"SELECT": f"{PUBLIC_COLUMNS} version"},
        "authenticated": {
            "SELECT": "*",
            "INSERT": f"id tenant_id created_by {CONFIGURATION} lock_version",
            "UPDATE": f"{CONFIGURATION} lock_version",
            "DELETE": "*",
        },
        "service_role": SERVICE,
    },
    "published_chatbots": {
        "anon": {"SELECT": "*"},
        "authenticated": {"SELECT": "*"},
        "service_role": {"SELECT": "*"},
    },
    "tenants": {"authenticated": {"SELECT": "*"}, "service_role": SERVICE},
    "users": {"authenticated": {"SELECT": "*", "UPDATE": "full_name"}, "service_role": SERVICE},
    "conversations": {
        "authenticated": {
            "SELECT": "*",
            "INSERT": "id tenant_id user_id title chatbot_id",
            "UPDATE": "title chatbot_id",
            "DELETE": "*",
        },
        "service_role": SERVICE,
    },
    "messages": {
        "authenticated": {"SELECT": "*", "INSERT": "id conversation_id role content"},
        "service_role": SERVICE,
    },
    "feedback": {
        "authenticated": {
            "SELECT": "*",
            "INSERT": "id message_id user_id rating notes",
            "UPDATE": "rating notes",
            "DELETE": "*",
        },
        "service_role": SERVICE,
    },
    "chatbot_compat.feedback": {
        "authenticated": {
            "SELECT": "*",
            "INSERT": "id message_id user_id rating comment",
            "UPDATE": "rating comment",
            "DELETE": "*",
        },
        "service_role": SERVICE,
    },
    "audit_log": {"authenticated": {"SELECT": "*"}, "service_role": {"SELECT": "*"}},
    "chatbot_versions": {"authenticated": {"SELECT": "*"}, "service_role": {"SELECT": "*"}},
    "chatbot_tags": {role: {"SELECT": "*"} for role in ("anon", "authenticated", "service_role")},
    "alembic_version": {},
    "chatbot_private.replaced": {},
    "chatbot_private.replaced_id_seq": {},
}
CLIENTS = {role: role for role in ("anon", "authenticated", "service_role")}
HEIRS = {
    "heir_of_authenticated": "authenticated",
    "application": None,  # NOINHERIT, until it acts for somebody
    "authenticator": None,
    "public": None,
}

Rights = dict[str, frozenset[str]]  # columns by privilege; where a privilege has no columns, all of them


def declared_rights(connection: Connection, role: str | None, relation: str) -> Rights:
    """What RIGHTS says that a role may do with a relation."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (relation,),
    )
    every_column = frozenset(name for (name,) in found)
    return {
        privilege: every_column if columns == "*" else frozenset(columns.split())
        for privilege, columns in RIGHTS[relation].get(role or "", {}).items()
    }


def actual_rights(connection: Connection, role: str, relation: str) -> Rights:
    """What a role may do with a relation, by whichever grant, as PostgreSQL itself answers."""
    on_columns = ["SELECT", "INSERT", "UPDATE", "REFERENCES"]
    on_tables = ["DELETE", "TRUNCATE", "TRIGGER"] + ["MAINTAIN"] * (connection.info.server_version >= 170000)
    found = connection.execute(
        """
        SELECT privilege, attname
        FROM pg_attribute, unnest(%(on_columns)s::text[] || %(on_tables)s::text[]) AS privilege
        WHERE attrelid = %(relation)s::regclass AND attnum > 0 AND NOT attisdropped AND CASE
            WHEN privilege = ANY (%(on_columns)s::text[])
            THEN has_column_privilege(%(role)s, attrelid, attnum, privilege)
            ELSE has_table_privilege(%(role)s, attrelid, privilege)
        END
        """,
        {"role": role, "relation": relation, "on_columns": on_columns, "on_tables": on_tables},
    ).fetchall()
    privileges = {privilege for privilege, _ in found}
    return {privilege: frozenset(column for its, column in found if its == privilege) for privilege in privileges}


@pytest.mark.parametrize("relation", [name for name in RIGHTS if not name.endswith("_seq")])
def test_rights_on_relations(fresh_place: Place, relation: str) -> None:
    with connect(fresh_place.url) as connection:
        for role, source in (CLIENTS | HEIRS).items():
            assert actual_rights(connection, role, relation) == declared_rights(connection, source, relation), role


def test_no_relation_but_those(fresh_place: Place) -> None:
    """A revision that adds one has to say here who may use it."""
    with connect(fresh_place.url) as connection:
        found = connection.execute(f"""
            SELECT oid::regclass::text FROM pg_class
            WHERE relnamespace IN ({OURS}) AND relkind NOT IN ('i', 'c')
        """)
        assert {name for (name,) in found} == set(RIGHTS)


@pytest.mark.parametrize(
    "relation",
    [
        "chatbots",
        "published_chatbots",
        "audit_log",
        "chatbot_versions",
        "chatbot_tags",
        "alembic_version",
        "chatbot_private.replaced",
    ],
)
def test_rights_on_what_is_ours_everywhere(place: Place, relation: str) -> None:
    """On an adopted platform too, whatever it grants by default."""
    with connect(place.url) as connection:
        for role, source in (CLIENTS | HEIRS).items():
            assert actual_rights(connection, role, relation) == declared_rights(connection, source, relation), role


def test_rights_on_schemas(place: Place) -> None:
    with connect(place.url) as connection:
        for role in (*CLIENTS, *HEIRS):
            found = connection.execute(
                f"""
                SELECT oid::regnamespace::text, privilege
                FROM pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) AS privilege
                WHERE oid IN ({OURS}) AND has_schema_privilege(%s, oid, privilege)
                """,
                (role,),
            )
            expected = {("public", "USAGE"), ("chatbot_compat", "USAGE")}
            is_by_hand = connection.execute("SELECT to_regnamespace('chatbot_compat')").fetchone() == (None,)
            assert set(found) == expected - ({("chatbot_compat", "USAGE")} if is_by_hand else set()), role


def test_row_security_is_on_and_nothing_is_owned_by_others(fresh_place: Place) -> None:
    """Every table, the version table too; not forced, because helpers and backfills run as the owner."""
    with connect(fresh_place.url) as connection:
        tables = connection.execute(f"""
            SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class
            WHERE relnamespace IN ({OURS}) AND relkind = 'r'
        """).fetchall()
        assert len(tables) == 11
        assert {(on, forced) for _, on, forced in tables} == {(True, False)}
        owners = connection.execute(f"""
            SELECT DISTINCT owner::regrole::text FROM (
                SELECT relowner FROM pg_class WHERE relnamespace IN ({OURS}) UNION ALL
                SELECT proowner FROM pg_proc WHERE pronamespace IN ({OURS})
            ) AS owned (owner)
        """).fetchall()
        assert owners == [(fresh_place.owner,)]


def test_nobody_may_grant_on(place: Place) -> None:
    with connect(place.url) as connection:
        granted_on = connection.execute(f"""
            SELECT thing, grantee::regrole FROM (
                SELECT oid::regclass::text, relacl FROM pg_class
                WHERE relnamespace IN ({OURS}) UNION ALL
                SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute JOIN pg_class ON oid = attrelid
                WHERE relnamespace IN ({OURS}) UNION ALL
                SELECT oid::regprocedure::text, proacl FROM pg_proc WHERE pronamespace IN ({OURS}) UNION ALL
                SELECT nspname, nspacl FROM pg_namespace WHERE oid IN ({OURS})
            ) AS things (thing, acl), aclexplode(acl)
            WHERE is_grantable
        """).fetchall()
    assert granted_on == []


def test_clients_are_nobody_else(place: Place) -> None:
    """None has an attribute but service's BYPASSRLS, or the rights of another role."""
    with connect(place.url) as connection:
        found = connection.execute(
            """
            SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolcanlogin, rolbypassrls,
                ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = pg_roles.oid)
            FROM pg_roles WHERE rolname = ANY (%s) ORDER BY 1
            """,
            (list(CLIENTS),),
        ).fetchall()
    assert found == [(client, False, client == "service_role", []) for client in CLIENTS]

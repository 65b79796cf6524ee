"""What the tables of a fresh install refuse and fill in by themselves, whoever writes: row security rests on it."""

import pytest
from psycopg import Connection, errors
from sqlalchemy import URL

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_MEMBER,
    ADMINS_TALK,
    COLLEAGUES_ANSWER,
    COLLEAGUES_TALK,
    DRAFT,
    GLOBEX,
    GLOBEX_DRAFT,
    NEWCOMER,
    NOBODY,
    OWN_ANSWER,
    OWN_FEEDBACK,
    OWN_OLD_TALK,
    OWN_OTHER_ANSWER,
    OWN_TALK,
    OWNER,
    PUBLISHED,
)
from tests.policies import Place
from tests.tools import attempt, connect

MAY_BE_NULL = {
    "tenants": set(),
    "users": {"full_name"},
    "chatbots": {"created_by", "description", "max_tokens", "category"},
    "conversations": {"title", "chatbot_id", "chatbot_version"},
    "messages": set(),
    "feedback": {"notes"},
    "audit_log": {"user_id", "row_id", "old_values", "new_values"},
    "chatbot_versions": {"max_tokens", "created_by"},
    "chatbot_tags": set(),
    "alembic_version": set(),
}


@pytest.mark.parametrize("table", MAY_BE_NULL)
def test_what_may_be_null(fresh_place: Place, table: str) -> None:
    nullable = set()
    with connect(fresh_place.url) as connection:
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (table,),
        ).fetchall()
        for (column,) in columns:
            try:
                made = f"WITH made AS (UPDATE {table} SET {column} = NULL RETURNING {column})"
                if attempt(connection, OWNER, f"{made} SELECT FROM made WHERE {column} IS NULL", {}):
                    nullable.add(column)
            except errors.NotNullViolation:
                pass
    assert nullable == MAY_BE_NULL[table]


@pytest.mark.parametrize(
    ("insert", "filled_in"),
    [
        ("tenants (name) VALUES ('New')", {}),
        (f"users (tenant_id, email) VALUES ('{ACME}', 'new@acme.example')", {"is_active": True, "role": "user"}),
        (
            f"chatbots (tenant_id, name, system_prompt, model) VALUES ('{ACME}', 'N', 'N', 'm')",
            {"temperature": 0.7, "settings": {}, "is_published": False, "category": None, "tags": []},
        ),
        (f"conversations (tenant_id, user_id) VALUES ('{ACME}', '{ACME_MEMBER}')", {}),
        (f"messages (conversation_id, role, content) VALUES ('{OWN_TALK}', 'user', 'Hello')", {}),
        (f"feedback (message_id, user_id, rating) VALUES ('{OWN_ANSWER}', '{ACME_ADMIN}', 5)", {}),
    ],
    ids=["tenants", "users", "chatbots", "conversations", "messages", "feedback"],
)
def test_what_is_filled_in(people_database: URL, insert: str, filled_in: dict[str, object]) -> None:
    """Beside an id and the times, which are now."""
    with connect(people_database) as connection, connection.transaction(force_rollback=True):
        inserted = connection.execute(
            f"INSERT INTO {insert} RETURNING to_jsonb({insert.split(maxsplit=1)[0]}), created_at = now()"
        ).fetchone()
    assert inserted is not None
    row, now = inserted
    assert row.pop("id") is not None
    assert now
    assert row.get("updated_at", row["created_at"]) == row["created_at"]
    assert {column: row[column] for column in filled_in} == filled_in


@pytest.mark.parametrize(
    "copied",
    [
        "tenants TABLE tenants",
        "users TABLE users",
        "users (tenant_id, email) SELECT tenant_id, email FROM users",
        "chatbots TABLE chatbots",
        "conversations TABLE conversations",
        "messages TABLE messages",
        "feedback TABLE feedback",
        f"feedback (id, message_id, user_id, rating) SELECT id, '{OWN_OTHER_ANSWER}', user_id, rating FROM feedback",
        "feedback (message_id, user_id, rating) SELECT message_id, user_id, rating FROM feedback",
        "chatbot_versions TABLE chatbot_versions",
        "chatbot_tags TABLE chatbot_tags",
        "audit_log TABLE audit_log",
        "alembic_version TABLE alembic_version",
    ],
)
def test_nothing_is_there_twice(fresh_place: Place, copied: str) -> None:
    assert fresh_place.attempt(f"INSERT INTO {copied}", OWNER) == ["unique"]


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        (f"UPDATE users SET tenant_id = '{NOBODY}' WHERE id = '{ACME_MEMBER}'", "key"),
        (f"UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_MEMBER}'", 1),
        (f"UPDATE chatbots SET tenant_id = '{NOBODY}' WHERE id = '{DRAFT}'", "key"),
        (f"UPDATE chatbots SET tenant_id = '{GLOBEX}' WHERE id = '{DRAFT}'", 1),
        (f"UPDATE chatbots SET tenant_id = '{GLOBEX}' WHERE id = '{PUBLISHED}'", "key"),  # is linked
        (f"UPDATE chatbots SET created_by = '{NOBODY}' WHERE id = '{DRAFT}'", "key"),
        (f"UPDATE conversations SET tenant_id = '{NOBODY}' WHERE id = '{OWN_OLD_TALK}'", "key"),
        (f"UPDATE conversations SET tenant_id = '{GLOBEX}' WHERE id = '{OWN_OLD_TALK}'", 1),
        (f"UPDATE conversations SET tenant_id = '{GLOBEX}' WHERE id = '{OWN_TALK}'", "key"),  # is linked
        (f"UPDATE conversations SET user_id = '{NOBODY}' WHERE id = '{OWN_TALK}'", "key"),
        (f"UPDATE conversations SET chatbot_id = '{DRAFT}' WHERE id = '{OWN_TALK}'", 1),
        (f"UPDATE conversations SET chatbot_id = '{GLOBEX_DRAFT}' WHERE id = '{OWN_TALK}'", "key"),
        (f"UPDATE messages SET conversation_id = '{NOBODY}' WHERE id = '{OWN_ANSWER}'", "key"),
        (f"UPDATE messages SET conversation_id = '{ADMINS_TALK}' WHERE id = '{OWN_ANSWER}'", 1),
        (f"UPDATE feedback SET message_id = '{NOBODY}' WHERE id = '{OWN_FEEDBACK}'", "key"),
        (f"UPDATE feedback SET user_id = '{NOBODY}' WHERE id = '{OWN_FEEDBACK}'", "key"),
        (f"UPDATE feedback SET user_id = '{ACME_ADMIN}' WHERE id = '{OWN_FEEDBACK}'", 1),
        (f"UPDATE chatbot_versions SET chatbot_id = '{NOBODY}' WHERE chatbot_id = '{DRAFT}'", "key"),
        (f"UPDATE chatbot_versions SET tenant_id = '{GLOBEX}' WHERE chatbot_id = '{DRAFT}'", "key"),
        (f"UPDATE chatbot_versions SET chatbot_id = '{DRAFT}', version = 2 WHERE chatbot_id = '{PUBLISHED}'", 1),
        (f"UPDATE chatbot_tags SET chatbot_id = '{NOBODY}' WHERE chatbot_id = '{DRAFT}'", "key"),
        (f"UPDATE chatbot_tags SET tenant_id = '{GLOBEX}' WHERE chatbot_id = '{DRAFT}'", "key"),
        ("UPDATE chatbot_tags SET tag = repeat('x', 50) WHERE tag = 'returns'", 1),
        ("UPDATE chatbot_tags SET tag = repeat('x', 51) WHERE tag = 'returns'", "check"),
        ("UPDATE chatbot_tags SET tag = ' returns' WHERE tag = 'returns'", "check"),
        ("UPDATE chatbot_tags SET tag = '' WHERE tag = 'returns'", "check"),
        ("UPDATE users SET role = 'owner'", "check"),
        ("UPDATE messages SET role = 'shouter'", "check"),
        ("UPDATE messages SET role = 'tool'", 8),
        ("UPDATE feedback SET rating = 0", "check"),
        ("UPDATE feedback SET rating = 1", 5),
        ("UPDATE feedback SET rating = 5", 5),
        ("UPDATE feedback SET rating = 6", "check"),
    ],
)
def test_what_a_row_may_become(fresh_place: Place, statement: str, outcome: int | str) -> None:
    with connect(fresh_place.url) as connection:
        assert attempt(connection, OWNER, statement, {}) == outcome


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        (
            "tenants (id, name) VALUES ('{0}', 'New')",
            f"users (id, tenant_id, email) VALUES ('{NOBODY}', '{{0}}', 'new@acme.example')",
        ),
        (
            "tenants (id, name) VALUES ('{0}', 'New')",
            "chatbots (tenant_id, name, system_prompt, model) VALUES ('{0}', 'N', 'N', 'm')",
        ),
        (
            "tenants (id, name) VALUES ('{0}', 'New')",
            f"conversations (tenant_id, user_id) VALUES ('{{0}}', '{ACME_MEMBER}')",
        ),
        (
            f"users (id, tenant_id, email) VALUES ('{{0}}', '{ACME}', 'new@acme.example')",
            f"chatbots (tenant_id, created_by, name, system_prompt, model) VALUES ('{ACME}', '{{0}}', 'N', 'N', 'm')",
        ),
        (
            f"users (id, tenant_id, email) VALUES ('{{0}}', '{ACME}', 'new@acme.example')",
            f"conversations (tenant_id, user_id) VALUES ('{ACME}', '{{0}}')",
        ),
        (
            f"users (id, tenant_id, email) VALUES ('{{0}}', '{ACME}', 'new@acme.example')",
            f"feedback (message_id, user_id, rating) VALUES ('{OWN_ANSWER}', '{{0}}', 4)",
        ),
        (
            f"chatbots (id, tenant_id, name, system_prompt, model) VALUES ('{{0}}', '{ACME}', 'N', 'N', 'm')",
            f"conversations (tenant_id, user_id, chatbot_id) VALUES ('{ACME}', '{ACME_MEMBER}', '{{0}}')",
        ),
        (
            f"conversations (id, tenant_id, user_id) VALUES ('{{0}}', '{ACME}', '{ACME_MEMBER}')",
            "messages (conversation_id, role, content) VALUES ('{0}', 'user', 'Hello')",
        ),
        (
            f"messages (id, conversation_id, role, content) VALUES ('{{0}}', '{OWN_TALK}', 'user', 'Hello')",
            f"feedback (message_id, user_id, rating) VALUES ('{{0}}', '{ACME_MEMBER}', 4)",
        ),
    ],
)
def test_an_id_stays_what_it_is_once_another_row_names_it(fresh_place: Place, parent: str, child: str) -> None:
    rename = f"UPDATE {parent.split(maxsplit=1)[0]} SET id = '{NOBODY}' WHERE id = '{NEWCOMER}'"
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"INSERT INTO {parent.format(NEWCOMER)}")
        assert attempt(connection, OWNER, rename, {}) == 1
        connection.execute(f"INSERT INTO {child.format(NEWCOMER)}")
        assert attempt(connection, OWNER, rename, {}) == "key"


# Two of whom each key has to be the one that acts: a conversation whose person moved, feedback on another's message.
ODD_ROWS = f"""
    UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_COLLEAGUE}';
    INSERT INTO feedback (message_id, user_id, rating) VALUES ('{COLLEAGUES_ANSWER}', '{ACME_MEMBER}', 1);
"""


@pytest.mark.parametrize(
    ("deleted", "lost"),
    [
        (f"tenants WHERE id = '{ACME}'", {"tenants": 1, "users": 4, "chatbots": 2, "conversations": 5, "feedback": 5}),
        (f"users WHERE id = '{ACME_MEMBER}'", {"users": 1, "conversations": 2, "feedback": 2}),
        (f"users WHERE id = '{ACME_ADMIN}'", {"users": 1, "conversations": 1, "feedback": 1}),
        (f"chatbots WHERE id = '{PUBLISHED}'", {"chatbots": 1}),
        (f"conversations WHERE id = '{COLLEAGUES_TALK}'", {"conversations": 1, "feedback": 2}),
        (f"messages WHERE id = '{COLLEAGUES_ANSWER}'", {"feedback": 2}),
    ],
)
def test_what_a_deletion_takes_along(fresh_place: Place, deleted: str, lost: dict[str, int]) -> None:
    tables = ("tenants", "users", "chatbots", "conversations", "feedback")
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(ODD_ROWS)
        before = {table: connection.execute(f"TABLE {table}").rowcount for table in tables}
        assert connection.execute(f"DELETE FROM {deleted}").rowcount == 1
        after = {table: connection.execute(f"TABLE {table}").rowcount for table in tables}
        assert {table: before[table] - after[table] for table in tables if before[table] > after[table]} == lost
        orphans = connection.execute("SELECT FROM messages WHERE conversation_id NOT IN (SELECT id FROM conversations)")
        assert orphans.rowcount == 0


def test_a_deletion_leaves_chatbots_and_conversations_unlinked(fresh_place: Place) -> None:
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM users WHERE id = %s", (ACME_ADMIN,))
        made = connection.execute("SELECT tenant_id, created_by FROM chatbots WHERE id = %s", (PUBLISHED,))
        assert made.fetchone() == (ACME, None)
        connection.execute("DELETE FROM chatbots WHERE id = %s", (PUBLISHED,))
        held = connection.execute("SELECT tenant_id, chatbot_id FROM conversations WHERE id = %s", (OWN_TALK,))
        assert held.fetchone() == (ACME, None)


@pytest.mark.parametrize(
    ("table", "change", "moves"),
    [
        ("tenants", "name = 'New'", True),
        ("tenants", "name = name", False),
        ("users", "email = 'new@acme.example'", True),
        ("users", "full_name = 'New'", True),
        ("users", "is_active = NOT is_active", True),
        ("users", "role = CASE role WHEN 'user' THEN 'admin' ELSE 'user' END", True),
        ("users", "role = role, full_name = full_name", False),
        ("users", f"tenant_id = '{GLOBEX}'", False),
        ("conversations", "title = 'New'", True),
        ("conversations", "chatbot_id = NULL", False),
    ],
)
def test_updated_at_moves_with_what_people_see(platform: Connection, table: str, change: str, moves: bool) -> None:
    platform.execute(f"UPDATE {table} SET updated_at = '2026-01-01'")
    first = f"(SELECT id FROM {table} ORDER BY id LIMIT 1)"
    platform.execute(f"UPDATE {table} SET {change} WHERE id = {first}")
    found = platform.execute(f"SELECT updated_at = now(), updated_at = '2026-01-01' FROM {table} WHERE id = {first}")
    assert found.fetchone() == (moves, not moves)


# Which may have statistics though clients write them: what a column says of itself, and ids, which nobody guesses.
OF_ANY_TENANT = """
    SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
        AND attnum > 0 AND NOT attisdropped AND coalesce(attstattarget, -1) <> 0
        AND atttypid NOT IN ('uuid'::regtype, 'boolean'::regtype, 'timestamptz'::regtype)
    ORDER BY 1, 2
"""


def test_the_planner_keeps_nothing_of_what_tenants_write(crowded: Connection) -> None:
    """Its estimates would show it to everybody: see test_attacks."""
    words_of_ours = {("audit_log", "action"), ("audit_log", "table_name"), ("audit_log", "database_role")}
    kept = {(table, column) for table, column in crowded.execute(OF_ANY_TENANT)}
    assert kept == words_of_ours | {("messages", "role"), ("users", "role")}
    measured = {
        (table, column)
        for table, column in crowded.execute("SELECT tablename, attname FROM pg_stats WHERE schemaname = 'public'")
    }
    assert {("chatbots", "id"), ("messages", "conversation_id")} <= measured
    assert not {(table, column) for table, column in measured if column in ("max_tokens", "temperature", "version")}

"""The guide's "Post-Migration Testing" and "Security Testing", a test for each line, named after it; its queries."""

from collections.abc import Callable, Iterator

import pytest
from psycopg import Connection, errors
from sqlalchemy import URL

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    DRAFT,
    GLOBEX,
    GLOBEX_ADMIN,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    INACTIVE,
    INACTIVE_ADMIN,
    MEMBER,
    NO_TOKEN,
    NOBODY,
    OTHER_ADMIN,
    OWN_OLD_TALK,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    STRANGER,
    populate,
)
from tests.tools import alembic, connect, rows, url_of

TryAs = Callable[..., int | str]

ALL = "SELECT id FROM chatbots"
ONE = "SELECT id FROM chatbots WHERE id = %(id)s"
CREATE = """
    INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
    VALUES (%(tenant)s, %(by)s, 'New', 'Be new.', 'a-model')
"""
UPDATE = "UPDATE chatbots SET name = 'Changed' WHERE id = %(id)s"
DELETE = "DELETE FROM chatbots WHERE id = %(id)s"


# Post-Migration Testing


def test_verify_chatbots_table_created_successfully(platform: Connection) -> None:
    columns = platform.execute("""
        SELECT column_name, data_type, is_nullable FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'chatbots' ORDER BY ordinal_position
    """).fetchall()
    assert columns == [
        ("id", "uuid", "NO"),
        ("tenant_id", "uuid", "NO"),
        ("created_by", "uuid", "YES"),
        ("name", "character varying", "NO"),
        ("description", "text", "YES"),
        ("system_prompt", "text", "NO"),
        ("model", "character varying", "NO"),
        ("temperature", "double precision", "NO"),
        ("max_tokens", "integer", "YES"),
        ("settings", "jsonb", "NO"),
        ("is_published", "boolean", "NO"),
        ("created_at", "timestamp with time zone", "NO"),
        ("updated_at", "timestamp with time zone", "NO"),
        ("version", "integer", "NO"),  # of revision 013, beyond the guide
        ("lock_version", "integer", "NO"),
        ("category", "text", "YES"),  # of 014
        ("tags", "ARRAY", "NO"),
    ]


def test_confirm_rls_policies_prevent_unauthorized_access(platform: Connection, try_as: TryAs) -> None:
    unprotected = platform.execute("""
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
    """).fetchall()
    assert unprotected == []
    policies = platform.execute("""
        SELECT policyname, cmd, roles::text FROM pg_policies WHERE schemaname = 'public' AND tablename = 'chatbots'
    """)
    assert set(policies) == {
        ("Admin users can view chatbots in their tenant", "SELECT", "{authenticated}"),
        ("Users can view published chatbots in their tenant", "SELECT", "{authenticated}"),
        ("Admin users can create chatbots in their tenant", "INSERT", "{authenticated}"),
        ("Admin users can update chatbots in their tenant", "UPDATE", "{authenticated}"),
        ("Admin users can delete chatbots in their tenant", "DELETE", "{authenticated}"),
        ("Demo user can view published chatbots", "SELECT", "{anon}"),
    }
    assert try_as(MEMBER, ALL) == 1
    for who in (INACTIVE, INACTIVE_ADMIN, STRANGER, NO_TOKEN):
        assert try_as(who, ALL) == 0


def test_admin_user_can_create_update_delete_chatbots(try_as: TryAs) -> None:
    assert try_as(ADMIN, CREATE, tenant=ACME, by=ACME_ADMIN) == 1
    assert try_as(ADMIN, UPDATE, id=DRAFT) == 1
    assert try_as(ADMIN, DELETE, id=DRAFT) == 1


def test_regular_user_can_only_view_published_chatbots(try_as: TryAs) -> None:
    assert try_as(MEMBER, ALL) == 1
    assert try_as(MEMBER, ONE, id=PUBLISHED) == 1
    assert try_as(MEMBER, UPDATE, id=PUBLISHED) == 0
    assert try_as(MEMBER, DELETE, id=PUBLISHED) == 0


def test_demo_user_can_view_published_chatbots_without_auth(try_as: TryAs) -> None:
    assert try_as(ANONYMOUS, "SELECT id, tenant_id, name, description, model FROM chatbots") == 2
    assert try_as(ANONYMOUS, "SELECT * FROM published_chatbots") == 2


def test_verify_conversations_can_link_to_chatbots(try_as: TryAs) -> None:
    link = "UPDATE conversations SET chatbot_id = %(bot)s WHERE id = %(talk)s"
    assert try_as(MEMBER, link, bot=PUBLISHED, talk=OWN_OLD_TALK) == 1
    start = "INSERT INTO conversations (tenant_id, user_id, chatbot_id) VALUES (%(tenant)s, %(me)s, %(bot)s)"
    assert try_as(MEMBER, start, tenant=ACME, me=ACME_MEMBER, bot=PUBLISHED) == 1
    assert try_as(MEMBER, start, tenant=ACME, me=ACME_MEMBER, bot=DRAFT) == "guard"
    for other_tenants in (GLOBEX_PUBLISHED, GLOBEX_DRAFT):
        assert try_as(MEMBER, link, bot=other_tenants, talk=OWN_OLD_TALK) in {"guard", "key"}
        assert try_as(SERVICE, link, bot=other_tenants, talk=OWN_OLD_TALK) == "key"
        assert try_as(OWNER, link, bot=other_tenants, talk=OWN_OLD_TALK) == "key"


def test_confirm_existing_conversations_still_work_with_null_chatbot_id(try_as: TryAs) -> None:
    assert try_as(MEMBER, "SELECT FROM conversations WHERE chatbot_id IS NULL") == 1
    assert try_as(MEMBER, "UPDATE conversations SET title = 'New' WHERE chatbot_id IS NULL") == 1
    assert try_as(MEMBER, "UPDATE conversations SET chatbot_id = NULL WHERE id = %(id)s", id=OWN_TALK) == 1
    start = "INSERT INTO conversations (tenant_id, user_id) VALUES (%(tenant)s, %(me)s)"
    assert try_as(MEMBER, start, tenant=ACME, me=ACME_MEMBER) == 1


def test_feedback_notes_column_renamed_correctly(empty: URL) -> None:
    alembic(empty, "upgrade", "009")
    with connect(empty) as connection:
        populate(connection, last="009")
        comments = connection.execute("SELECT id, comment FROM feedback ORDER BY id").fetchall()
        alembic(empty, "upgrade", "010")
        assert connection.execute("SELECT id, notes FROM feedback ORDER BY id").fetchall() == comments
        assert any(comment for _, comment in comments)


def test_the_guides_indexes_are_there_by_name(platform: Connection) -> None:
    """ "Indexes Created"; autogenerate compares neither predicate nor operator class."""
    definitions = platform.execute("""
        SELECT indexname, split_part(indexdef, ' USING btree ', 2) FROM pg_indexes
        WHERE schemaname = 'public'
            AND (tablename = 'chatbots' OR indexname ~ '^idx_(users|conversations_.*chatbot)')
        ORDER BY indexname
    """).fetchall()
    assert dict(definitions) == {
        "chatbots_pkey": "(id)",
        "idx_chatbots_category":  # beyond the guide
        "(tenant_id, category, name) INCLUDE (id, is_published) WHERE (category IS NOT NULL)",
        "idx_chatbots_created_at": "(tenant_id, created_at)",
        "idx_chatbots_created_by": "(created_by, created_at, tenant_id) WHERE (created_by IS NOT NULL)",
        "idx_chatbots_is_published": "(created_at) WHERE is_published",
        "idx_chatbots_name": '(tenant_id, name COLLATE "C")',
        "idx_chatbots_tenant_id": "(tenant_id, id)",
        "idx_chatbots_tenant_published": "(tenant_id, is_published, name) INCLUDE (id)",
        "idx_conversations_chatbot_id": "(chatbot_id, created_at) WHERE (chatbot_id IS NOT NULL)",
        "idx_conversations_tenant_chatbot": (
            "(tenant_id, chatbot_id, user_id, created_at) WHERE (chatbot_id IS NOT NULL)"
        ),
        "idx_users_role": "(role)",
        "idx_users_tenant_role": "(tenant_id, role)",
    }


def test_verify_foreign_key_constraints_work(try_as: TryAs, platform: Connection) -> None:
    link = "UPDATE conversations SET chatbot_id = %(bot)s WHERE id = %(talk)s"
    assert try_as(OWNER, CREATE, tenant=ACME, by=ACME_ADMIN) == 1
    assert try_as(OWNER, CREATE, tenant=NOBODY, by=ACME_ADMIN) == "key"
    assert try_as(OWNER, CREATE, tenant=ACME, by=NOBODY) == "key"
    assert try_as(OWNER, link, bot=NOBODY, talk=OWN_TALK) == "key"

    before = rows(platform)
    platform.execute("DELETE FROM chatbots WHERE id = %s", (PUBLISHED,))
    talk = platform.execute("SELECT tenant_id, chatbot_id FROM conversations WHERE id = %s", (OWN_TALK,)).fetchone()
    assert talk == (ACME, None)  # the conversation stays, in its tenant
    assert rows(platform)["conversations.updated_at"] == before["conversations.updated_at"]

    platform.execute("DELETE FROM users WHERE id = %s", (ACME_ADMIN,))
    draft = platform.execute("SELECT created_by FROM chatbots WHERE id = %s", (DRAFT,)).fetchone()
    assert draft == (None,)  # the chatbot outlives its creator
    assert before["chatbots.updated_at"][0] - 1 == rows(platform)["chatbots.updated_at"][0]

    platform.execute("DELETE FROM tenants WHERE id = %s", (ACME,))
    assert platform.execute("SELECT DISTINCT tenant_id FROM chatbots").fetchall() == [(GLOBEX,)]


def test_rollback_procedure(platform: Connection) -> None:
    """To 006, the guide's full rollback; test_revisions.py looks at each step."""
    before = rows(platform)
    platform.commit()
    alembic(url_of(platform), "downgrade", "006")
    gone = before.keys() - rows(platform).keys()
    columns = {name for name in gone if not name.startswith(("chatbots.", "audit_log."))}
    assert columns == {"users.role", "conversations.chatbot_id", "conversations.chatbot_version"}
    assert rows(platform).items() <= before.items()


# Security Testing


def test_attempt_cross_tenant_chatbot_access_should_fail(try_as: TryAs) -> None:
    assert try_as(OTHER_ADMIN, ONE, id=GLOBEX_DRAFT) == 1
    for who in (MEMBER, ADMIN):
        for foreign in (GLOBEX_PUBLISHED, GLOBEX_DRAFT):
            assert try_as(who, ONE, id=foreign) == 0
            assert try_as(who, UPDATE, id=foreign) == 0
    assert try_as(ADMIN, CREATE, tenant=GLOBEX, by=ACME_ADMIN) == "policy"
    assert try_as(ADMIN, CREATE, tenant=ACME, by=GLOBEX_ADMIN) == "policy"


def test_attempt_regular_user_creating_chatbot_should_fail(try_as: TryAs) -> None:
    assert try_as(ADMIN, CREATE, tenant=ACME, by=ACME_ADMIN) == 1
    assert try_as(MEMBER, CREATE, tenant=ACME, by=ACME_MEMBER) == "policy"


def test_attempt_user_viewing_unpublished_chatbot_should_fail(try_as: TryAs) -> None:
    assert try_as(ADMIN, ONE, id=DRAFT) == 1
    assert try_as(MEMBER, ONE, id=DRAFT) == 0


def test_verify_admin_cannot_delete_chatbot_from_other_tenant(try_as: TryAs) -> None:
    assert try_as(OTHER_ADMIN, DELETE, id=GLOBEX_DRAFT) == 1
    assert try_as(ADMIN, DELETE, id=GLOBEX_DRAFT) == 0
    assert try_as(ADMIN, DELETE, id=GLOBEX_PUBLISHED) == 0


def test_demo_user_access_restrictions(try_as: TryAs) -> None:
    public = "SELECT id, tenant_id, name, description, model, is_published, created_at, updated_at FROM chatbots"
    assert try_as(ANONYMOUS, public) == 2  # the published ones, of every tenant
    assert try_as(ANONYMOUS, public + " WHERE NOT is_published") == 0
    for column in ("system_prompt", "settings", "temperature", "max_tokens", "created_by"):
        assert try_as(ANONYMOUS, f"SELECT {column} FROM chatbots") == "grant"
    assert try_as(ANONYMOUS, CREATE, tenant=ACME, by=None) == "grant"
    assert try_as(ANONYMOUS, UPDATE, id=PUBLISHED) == "grant"
    assert try_as(ANONYMOUS, DELETE, id=PUBLISHED) == "grant"
    for table in ("tenants", "users", "conversations", "messages", "feedback", "alembic_version"):
        assert try_as(ANONYMOUS, f"SELECT FROM {table}") == "grant"


# "Debug Queries", word for word


@pytest.fixture
def fresh(head: URL) -> Iterator[Connection]:
    with connect(head) as connection:
        yield connection


def test_check_if_migrations_applied(fresh: Connection) -> None:
    columns = fresh.execute("""
        SELECT table_name, column_name, data_type
        FROM information_schema.columns
        WHERE table_schema = 'public'
        AND table_name IN ('chatbots', 'users', 'conversations', 'feedback')
        ORDER BY table_name, ordinal_position;
    """).fetchall()
    assert {table for table, _, _ in columns} == {"chatbots", "users", "conversations", "feedback"}
    assert {
        ("users", "role", "character varying"),
        ("conversations", "chatbot_id", "uuid"),
        ("feedback", "notes", "text"),
        ("chatbots", "is_published", "boolean"),
    } <= set(columns)
    assert ("feedback", "comment", "text") not in columns


def test_verify_rls_policies(fresh: Connection) -> None:
    policies = fresh.execute("""
        SELECT schemaname, tablename, policyname, permissive, roles, cmd, qual
        FROM pg_policies
        WHERE tablename = 'chatbots';
    """).fetchall()
    assert {(policy[2], policy[5]) for policy in policies} == {
        ("Admin users can view chatbots in their tenant", "SELECT"),
        ("Users can view published chatbots in their tenant", "SELECT"),
        ("Admin users can create chatbots in their tenant", "INSERT"),
        ("Admin users can update chatbots in their tenant", "UPDATE"),
        ("Admin users can delete chatbots in their tenant", "DELETE"),
        ("Demo user can view published chatbots", "SELECT"),
    }
    assert {(policy[0], policy[1], policy[3]) for policy in policies} == {("public", "chatbots", "PERMISSIVE")}


def test_check_indexes(fresh: Connection) -> None:
    indexes = fresh.execute("""
        SELECT indexname, indexdef
        FROM pg_indexes
        WHERE tablename IN ('chatbots', 'users', 'conversations')
        AND schemaname = 'public';
    """).fetchall()
    assert {
        *("idx_chatbots_tenant_id", "idx_chatbots_created_by", "idx_chatbots_is_published"),
        *("idx_chatbots_tenant_published", "idx_chatbots_created_at", "idx_chatbots_name"),
        *("idx_users_role", "idx_users_tenant_role"),
        *("idx_conversations_chatbot_id", "idx_conversations_tenant_chatbot"),
    } <= {name for name, _ in indexes}
    assert all(definition.startswith("CREATE ") for _, definition in indexes)


# Recommended Queries, verbatim, beside the functions that stand for them


def test_chatbot_usage_by_tenant_as_the_guide_has_it_does_not_run(platform: Connection) -> None:
    """See tests/policies/test_usage.py for what it means."""
    with pytest.raises(errors.UndefinedTable, match='missing FROM-clause entry for table "c"'):
        platform.execute("""
            SELECT
              c.tenant_id,
              cb.name as chatbot_name,
              COUNT(DISTINCT conv.id) as conversation_count,
              AVG(f.rating) as avg_rating
            FROM public.chatbots cb
            LEFT JOIN public.conversations conv ON cb.id = conv.chatbot_id
            LEFT JOIN public.messages m ON conv.id = m.conversation_id
            LEFT JOIN public.feedback f ON m.id = f.message_id
            WHERE c.tenant_id = 'YOUR_TENANT_ID'
            GROUP BY c.tenant_id, cb.name
            ORDER BY conversation_count DESC;
        """)


def test_admin_users_by_tenant(platform: Connection) -> None:
    guides = platform.execute("""
        SELECT t.name, COUNT(*) as admin_count
        FROM public.users u
        JOIN public.tenants t ON u.tenant_id = t.id
        WHERE u.role = 'admin'
        GROUP BY t.name;
    """).fetchall()
    assert sorted(guides) == [("Acme", 2), ("Globex", 1)]
    assert platform.execute("SELECT tenant_name, admins FROM tenant_admins()").fetchall() == sorted(guides)


def test_unpublished_chatbots(platform: Connection) -> None:
    platform.execute("UPDATE chatbots SET updated_at = now() - interval '1 day' WHERE id = %s", (DRAFT,))
    guides = platform.execute("""
        SELECT tenant_id, name, created_at, updated_at
        FROM public.chatbots
        WHERE is_published = false
        ORDER BY updated_at DESC;
    """).fetchall()
    assert [tenant for tenant, *_ in guides] == [GLOBEX, ACME]
    ours = "SELECT tenant_id, chatbot_name, created_at, updated_at FROM unpublished_chatbots()"
    assert platform.execute(ours).fetchall() == guides

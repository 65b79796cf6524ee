"""Platforms that were there before: adopted without a change of what is theirs, or refused before anything changes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import Connection
from sqlalchemy import URL, Engine, event

from app.embedded import Server
from app.migration.preflight import preflight
from app.migration.settings import configuration
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    DRAFT,
    GLOBEX,
    GLOBEX_PUBLISHED,
    MEMBER,
    OWN_FEEDBACK,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    Who,
    populate,
)
from tests.platforms import PLAIN, PLATFORMS, ROLES, SUPABASE, settle
from tests.tools import NEWEST, PROJECT, alembic, attempt, catalog, connect, database_url, dump, rows, run


@pytest.fixture(params=PLATFORMS)
def platform(request: pytest.FixtureRequest, empty: URL) -> URL:
    with connect(empty) as connection:
        settle(connection, PLATFORMS[request.param])
    return empty


# A policy or a grant on one of theirs, as a line of the catalog; feedback.notes keeps the grants of comment.
THEIRS = r"public\.(tenants|users|conversations|messages|feedback)"
WIDENS = re.compile(rf"policy .* on {THEIRS} |relation {THEIRS} |column {THEIRS}\.(?!notes).* acl [^ ]+ comment")


def everything(server: Server, url: URL) -> str:
    """All that pg_dump knows of the platform's own, rows included."""
    return dump(server.binaries, url, "--exclude-schema=chatbot_private", schema_only=False)


def test_what_is_theirs_stays_byte_for_byte(server: Server, platform: URL) -> None:
    with connect(platform) as connection:
        before, catalog_before, rows_before = everything(server, platform), catalog(connection), rows(connection)

        alembic(platform, "upgrade", "006")
        assert everything(server, platform) == before

        alembic(platform, "upgrade", "head")
        catalog_after = catalog(connection)
        known = {*catalog_before, *(line.replace("(comment)", "(notes)") for line in catalog_before)}
        assert [line for line in catalog_after if line not in known and WIDENS.match(line)] == []
        gone = set(catalog_before) - set(catalog_after)
        assert all("comment" in line and "feedback" in line for line in gone), gone  # it is called notes now
        assert rows_before.items() <= rows(connection).items()

        alembic(platform, "downgrade", "006")
        assert everything(server, platform) == before

        alembic(platform, "downgrade", "base")
        assert catalog(connection) == catalog_before
        assert everything(server, platform) == before


def test_downgrade_keeps_what_was_written_meanwhile(platform: URL) -> None:
    alembic(platform, "upgrade", "head")
    with connect(platform) as connection:
        populate(connection, first="007")
        written = rows(connection)
        alembic(platform, "downgrade", "base")
        kept = rows(connection)
    assert kept.items() <= written.items()
    assert {name.partition(".")[0] for name in kept} >= {"tenants", "users", "conversations", "messages", "feedback"}


def test_check_takes_a_domain_for_its_type(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute(f"CREATE DOMAIN key AS uuid; CREATE DOMAIN flag AS boolean; {ROLES};")
        connection.execute(PLAIN.replace("id uuid", "id key").replace("is_active boolean", "is_active flag"))
    alembic(empty, "upgrade", "head")
    alembic(empty, "check")


def test_check_finds_nothing_of_theirs(platform: URL) -> None:
    for command in (("upgrade", "head"), ("check",), ("downgrade", "006"), ("upgrade", "head"), ("check",)):
        done = run("alembic", *command, url=platform)
        assert done.returncode == 0, done.stderr
        assert "Detected" not in done.stderr  # nor is what they have told


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param("ALTER TABLE chatbots ADD COLUMN mood text", "mood", id="column-of-chatbots"),
        pytest.param("ALTER TABLE users ALTER COLUMN role DROP NOT NULL", "role", id="role"),
        pytest.param("ALTER TABLE users DROP CONSTRAINT users_role_check", "users_role_check", id="check"),
        pytest.param("DROP INDEX idx_users_role", "idx_users_role", id="index"),
        pytest.param("ALTER TABLE users ALTER COLUMN tenant_id DROP NOT NULL", "tenant_id", id="tenant-of-users"),
        pytest.param("ALTER TABLE conversations ALTER COLUMN tenant_id DROP NOT NULL", "tenant_id", id="tenant"),
        pytest.param("ALTER TABLE users DROP COLUMN is_active CASCADE", "is_active", id="is-active"),
        pytest.param("ALTER TABLE messages ALTER COLUMN id TYPE text", "'messages', 'id'", id="type-relied-on"),
        pytest.param("ALTER TABLE messages DROP COLUMN content", "content", id="column-that-models-read"),
        pytest.param(
            "ALTER TABLE conversations DROP CONSTRAINT conversations_tenant_id_chatbot_id_fkey",
            "conversations_tenant_id_chatbot_id_fkey",
            id="tenant-true-key",
        ),
        pytest.param(
            "DROP INDEX idx_conversations_chatbot_id; CREATE INDEX idx_conversations_chatbot_id"
            " ON conversations (chatbot_id) WHERE chatbot_id IS NOT NULL",
            "idx_conversations_chatbot_id",
            id="index-columns",
        ),
    ],
)
def test_check_still_judges_what_is_ours_or_relied_on(empty: URL, change: str, names: str) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        alembic(empty, "upgrade", "head")
        connection.execute(change)
    checked = run("alembic", "check", url=empty)
    assert checked.returncode != 0
    assert names in checked.stdout + checked.stderr


@pytest.fixture
def supabase(empty: URL) -> Iterator[Connection]:
    """A platform where clients hold ALL on every table, at head with rows."""
    with connect(empty) as connection:
        settle(connection, SUPABASE)
    alembic(empty, "upgrade", "head")
    with connect(empty) as connection:
        populate(connection, first="007")
        yield connection


def test_guards_hold_where_clients_hold_everything(supabase: Connection) -> None:
    own = f"WHERE id = '{ACME_MEMBER}'"
    for column, value in (("role", "'admin'"), ("tenant_id", f"'{GLOBEX}'"), ("is_active", "false")):
        change = f"UPDATE users SET {column} = {value} {own}"
        assert attempt(supabase, MEMBER, change, {}) == "guard", column
        assert attempt(supabase, SERVICE, change, {}) == 1, column
    assert attempt(supabase, MEMBER, f"UPDATE users SET full_name = 'New' {own}", {}) == 1
    for chatbot, outcome in ((PUBLISHED, 1), (DRAFT, "guard"), (GLOBEX_PUBLISHED, "guard")):
        link = f"UPDATE conversations SET chatbot_id = '{chatbot}' WHERE id = '{OWN_TALK}'"
        assert attempt(supabase, MEMBER, link, {}) == outcome


def test_chatbots_are_as_closed_as_on_a_fresh_install(supabase: Connection) -> None:
    create = f"""
        INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
        VALUES ('{ACME}', '{ACME_ADMIN}', 'New', 'New', 'm')
    """
    assert attempt(supabase, ADMIN, create, {}) == 1
    assert attempt(supabase, MEMBER, create, {}) == "policy"
    assert attempt(supabase, ANONYMOUS, create, {}) == "grant"
    assert attempt(supabase, ADMIN, "SELECT FROM chatbots", {}) == 2
    assert attempt(supabase, MEMBER, "SELECT FROM chatbots", {}) == 1
    assert attempt(supabase, ANONYMOUS, "SELECT system_prompt FROM chatbots", {}) == "grant"
    assert attempt(supabase, MEMBER, "TRUNCATE chatbots", {}) == "grant"
    assert attempt(supabase, MEMBER, "SELECT chatbot_private.is_adopted()", {}) == "grant"


def test_the_view_for_the_previous_version_has_their_columns_and_their_grants(platform: URL) -> None:
    with connect(platform) as connection:
        before = connection.execute("SELECT * FROM feedback ORDER BY id").fetchall()
        columns = [(each.name, each.type_code) for each in connection.execute("TABLE feedback").description or ()]
        who = [MEMBER, ANONYMOUS, SERVICE]
        statements = [
            "SELECT id, rating FROM feedback",
            "SELECT * FROM feedback",
            f"UPDATE feedback SET comment = 'Better' WHERE id = '{OWN_FEEDBACK}'",
            f"UPDATE feedback SET rating = 1 WHERE id = '{OWN_FEEDBACK}'",
            f"DELETE FROM feedback WHERE id = '{OWN_FEEDBACK}'",
        ]
        outcomes = [attempt(connection, each, statement, {}) for each in who for statement in statements]
        alembic(platform, "upgrade", "head")
        connection.execute("SET search_path = chatbot_compat, public")
        found = connection.execute("TABLE feedback").description or ()
        assert [(each.name, each.type_code) for each in found] == columns
        assert connection.execute("SELECT * FROM feedback ORDER BY id").fetchall() == before
        assert [attempt(connection, each, statement, {}) for each in who for statement in statements] == outcomes


def test_a_version_table_of_another_project_is_named(empty: URL) -> None:
    """Also one whose ids look like ours."""
    for revision in ("ae1027a6acf", "006"):
        with connect(empty) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES (%s)", (revision,))
            before = catalog(connection)
            for command in (("upgrade", "head"), ("downgrade", "base"), ("check",)):
                refused = run("alembic", *command, url=empty)
                assert refused.returncode == 1
                told = refused.stderr.splitlines()[-1]
                assert f"holds revision {revision} of another project" in told
                assert "version_table" in told
            assert catalog(connection) == before
            assert connection.execute("TABLE alembic_version").fetchall() == [(revision,)]
            connection.execute("DROP TABLE alembic_version")


REFUSED = {
    "some-are-missing": (
        "DROP TABLE feedback, messages",
        "has tenants, users, conversations, but no messages, feedback",
    ),
    "view": ("ALTER TABLE messages RENAME TO m; CREATE VIEW messages AS TABLE m", "messages is a view"),
    "partitioned": (
        "DROP TABLE feedback; CREATE TABLE feedback (id uuid, message_id uuid, user_id uuid, rating integer,"
        " comment text, created_at timestamptz, PRIMARY KEY (id)) PARTITION BY HASH (id)",
        "feedback is a partitioned table",
    ),
    "partitioned-within": (
        "ALTER TABLE messages RENAME TO m; CREATE TABLE every_message (LIKE m) PARTITION BY HASH (id); CREATE TABLE"
        " messages PARTITION OF every_message FOR VALUES WITH (MODULUS 1, REMAINDER 0) PARTITION BY HASH (id)",
        "messages is a partitioned table",
    ),
    "partition": (
        "CREATE TABLE all_feedback (LIKE feedback) PARTITION BY RANGE (created_at); ALTER TABLE all_feedback"
        " ATTACH PARTITION feedback DEFAULT",
        "feedback is a partition",
    ),
    "inherited": ("CREATE TABLE archived () INHERITS (conversations)", "conversations is a child or parent"),
    "unlogged": ("ALTER TABLE users SET UNLOGGED", "users is an unlogged table"),
    "column-missing": (
        "ALTER TABLE tenants DROP COLUMN created_at",
        r"no column created_at: ALTER TABLE public.tenants ADD COLUMN created_at timestamptz NOT NULL DEFAULT now\(\)",
    ),
    "no-comment": ("ALTER TABLE feedback DROP COLUMN comment", "feedback has no column comment"),
    "key-of-another-type": (
        "ALTER TABLE users DROP COLUMN id, ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "users.id is of type bigint, not uuid",
    ),
    "text-key": ("ALTER TABLE feedback ALTER COLUMN id TYPE text", "feedback.id is of type text, not uuid"),
    "tenant-of-another-type": (
        "ALTER TABLE conversations ALTER COLUMN tenant_id TYPE text",
        "conversations.tenant_id is of type text, not uuid",
    ),
    "text-key-in-use": (
        "CREATE VIEW keys AS SELECT id::uuid FROM feedback; ALTER TABLE feedback RENAME TO f; CREATE TABLE feedback"
        " (LIKE f); ALTER TABLE feedback ALTER COLUMN id TYPE text; CREATE VIEW text_keys AS SELECT id FROM feedback",
        "feedback.id is of type text, not uuid: convert them together with view public.text_keys, which use them",
    ),
    "messages-by-another-key": (
        "ALTER TABLE messages ALTER COLUMN id TYPE bigint USING 1",
        "feedback.message_id is of type uuid, not bigint: have it hold the ids of messages",
    ),
    "date-in-use": (
        "ALTER TABLE messages ALTER COLUMN created_at TYPE date; CREATE VIEW days AS SELECT created_at FROM messages;"
        " CREATE INDEX by_week ON messages (extract(week FROM created_at))",
        "messages.created_at is of type date, not timestamptz; what reads and writes it would then do so as that:"
        " convert it together with index public.by_week, view public.days, which use it",
    ),
    "rating-no-number": (
        "ALTER TABLE feedback ALTER COLUMN rating TYPE boolean USING true",
        "feedback.rating is of type boolean",
    ),
    "active-no-boolean": ("ALTER TABLE users ALTER COLUMN is_active TYPE text", "users.is_active is of type text"),
    "title-no-text": (
        "ALTER TABLE conversations ALTER COLUMN title TYPE bytea USING NULL",
        "conversations.title is of type bytea",
    ),
    "tenant-of-users-null": (
        "ALTER TABLE users ALTER COLUMN tenant_id DROP NOT NULL",
        "users.tenant_id may be NULL; .*: SELECT id FROM public.users WHERE tenant_id IS NULL; ALTER TABLE",
    ),
    "tenant-null": (
        "ALTER TABLE conversations ALTER COLUMN tenant_id DROP NOT NULL",
        "conversations.tenant_id may be NULL",
    ),
    "no-primary-key": ("ALTER TABLE users DROP CONSTRAINT users_pkey", "users.id is not the primary key"),
    "wider-primary-key": (
        "ALTER TABLE tenants DROP CONSTRAINT tenants_pkey, ADD PRIMARY KEY (id, name)",
        "tenants.id is not the primary key",
    ),
    "own-role": (
        "ALTER TABLE users ADD COLUMN role text DEFAULT 'admin'",
        "users.role is there already",
    ),
    "own-chatbots": ("CREATE TABLE chatbots (id uuid PRIMARY KEY)", "chatbots is there without column tenant_id"),
    "own-chatbots-with-a-trigger": (
        "CREATE TABLE chatbots (id uuid PRIMARY KEY); CREATE TRIGGER own BEFORE UPDATE ON chatbots FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "chatbots is there without column tenant_id",
    ),
    "own-published-chatbots": ("CREATE VIEW published_chatbots AS SELECT 1 AS id", "published_chatbots exists already"),
    "own-chatbot-id": (
        "ALTER TABLE conversations ADD COLUMN chatbot_id text",
        "conversations has a column chatbot_id of",
    ),
    "notes-beside-comment": (
        "ALTER TABLE feedback ADD COLUMN notes text",
        "feedback has a column notes beside comment",
    ),
    "own-index": ("CREATE INDEX idx_users_tenant_role ON feedback (rating)", "idx_users_tenant_role exists already"),
    "own-index-of-conversations": (
        "CREATE INDEX idx_conversations_chatbot_id ON feedback (rating)",
        "idx_conversations_chatbot_id exists already",
    ),
    "own-index-name": ("CREATE TABLE idx_chatbots_name ()", "idx_chatbots_name exists already"),
    "own-trigger": (
        "CREATE TRIGGER users_guard_membership BEFORE UPDATE ON users FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "Trigger users_guard_membership of users exists already",
    ),
    "own-trigger-of-conversations": (
        'CREATE TRIGGER "Conversations_guard_chatbot_insert" BEFORE UPDATE ON conversations FOR EACH ROW'
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "Trigger Conversations_guard_chatbot_insert of conversations exists already",
    ),
    "deferrable-key": (
        "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
        "users.id is not the primary key: BEGIN; ALTER TABLE public.users DROP CONSTRAINT users_pkey, ADD CONSTRAINT",
    ),
    "typed-table": (
        "DROP TABLE feedback; CREATE TYPE opinion AS (id uuid, message_id uuid, user_id uuid, rating integer,"
        " comment text, created_at timestamptz); CREATE TABLE feedback OF opinion",
        "feedback is a typed table",
    ),
    "row-type-elsewhere": (
        "CREATE TABLE audit (before users)",
        "Column before of public.audit holds whole rows of users, .*: ALTER TABLE public.audit ALTER COLUMN",
    ),
    "row-type-of-tenants": (
        "CREATE TABLE audit (before tenants[]); ALTER TABLE tenants DROP COLUMN updated_at",
        "Column before of public.audit holds whole rows of tenants",
    ),
    "row-type-in-use": (
        "CREATE TABLE audit (before users); CREATE VIEW who AS SELECT (before).email FROM audit",
        "whole rows of users, .*: give it another type, such as jsonb, together with view public.who, which use it",
    ),
    "own-type": ("CREATE TYPE chatbots AS ENUM ('a')", "Type chatbots exists already"),
    "trigger-that-names-comment": (
        "ALTER TABLE feedback ADD COLUMN words tsvector; CREATE TRIGGER index_words BEFORE INSERT ON feedback"
        " FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.english', comment)",
        "Trigger index_words of feedback is given the column name comment",
    ),
    "users-of-clients": (
        "ALTER TABLE users OWNER TO authenticated",
        "users belongs to authenticated, whose rights authenticated has: ALTER TABLE public.users OWNER TO postgres",
    ),
    "own-monitoring": (
        "CREATE FUNCTION popular_chatbots() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        r"Function public.popular_chatbots\(\) exists already",
    ),
    "own-log": ("CREATE TABLE audit_log (id uuid)", "audit_log exists already"),
    "own-trigger-of-the-log": (
        "CREATE TRIGGER users_audit_update BEFORE UPDATE ON users FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "Trigger users_audit_update of users exists already",
    ),
    "own-versions": ("CREATE VIEW chatbot_versions AS SELECT 1 AS id", "chatbot_versions exists already"),
    "own-version": (
        "ALTER TABLE conversations ADD COLUMN chatbot_version text",
        "conversations has a column chatbot_version of its own",
    ),
    "own-trigger-of-versions": (
        "CREATE TRIGGER users_forget_author BEFORE UPDATE ON users FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "Trigger users_forget_author of public.users exists already",
    ),
    "own-restore": (
        "CREATE FUNCTION restore_chatbot() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        r"Function public.restore_chatbot\(\) exists already",
    ),
    "own-tags": ("CREATE TABLE chatbot_tags (tag text)", "chatbot_tags exists already"),
    "own-index-of-categories": ("CREATE TABLE idx_chatbots_category ()", "idx_chatbots_category exists already"),
    "own-private-schema": (
        "CREATE SCHEMA chatbot_private",
        "Schema chatbot_private exists already, .*: ALTER SCHEMA chatbot_private RENAME TO",
    ),
    "own-private-schema-in-use": (
        "CREATE SCHEMA chatbot_private; CREATE FUNCTION secret() RETURNS text LANGUAGE plpgsql"
        " AS 'BEGIN RETURN chatbot_private.secret(); END'",
        r"Schema chatbot_private exists already, .*: move it elsewhere together with public.secret\(\), which name it",
    ),
    "planted-private-schema": (
        "CREATE SCHEMA chatbot_private AUTHORIZATION authenticated; CREATE TABLE chatbot_private.replaced ();"
        " ALTER TABLE chatbot_private.replaced OWNER TO authenticated",
        "Schema chatbot_private exists already",
    ),
    "own-compat-schema": ("CREATE SCHEMA chatbot_compat", "Schema chatbot_compat exists already"),
}

# What the models read, and row security rests on, in another form: nothing of it is in the way.
FITS = {
    "nothing-that-only-models-need": (
        "ALTER TABLE tenants DROP COLUMN updated_at;"
        " ALTER TABLE conversations DROP COLUMN title, DROP COLUMN updated_at;"
        " ALTER TABLE users DROP COLUMN full_name, DROP COLUMN is_active, DROP COLUMN updated_at"
    ),
    "active-may-be-null": "ALTER TABLE users ALTER is_active DROP NOT NULL, ALTER is_active SET DEFAULT true",
    "local-times": (
        "ALTER TABLE tenants ALTER COLUMN created_at TYPE timestamp(3), ALTER COLUMN updated_at TYPE timestamp;"
        " ALTER TABLE users ALTER COLUMN created_at TYPE timestamp; ALTER TABLE messages ALTER COLUMN created_at"
        " TYPE timestamp; CREATE VIEW latest AS SELECT max(created_at) FROM messages"
    ),
    "bigint-keys": (
        "ALTER TABLE feedback DROP COLUMN message_id, DROP COLUMN id; ALTER TABLE messages DROP COLUMN id;"
        " ALTER TABLE messages ADD COLUMN id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY;"
        " ALTER TABLE feedback ADD COLUMN id serial, ADD COLUMN message_id integer REFERENCES messages"
    ),
    "partitioned-messages": (
        "ALTER TABLE messages RENAME TO m;"
        " CREATE TABLE messages (LIKE m INCLUDING DEFAULTS, PRIMARY KEY (id, created_at))"
        " PARTITION BY RANGE (created_at); CREATE TABLE messages_now PARTITION OF messages DEFAULT;"
        " INSERT INTO messages TABLE m; DROP TABLE m; ALTER TABLE messages_now ENABLE ROW LEVEL SECURITY"
    ),
    "messages-without-a-key": "ALTER TABLE messages DROP CONSTRAINT messages_pkey",
    "numeric-rating": "ALTER TABLE feedback ALTER COLUMN rating TYPE numeric(3, 1)",
    "real-rating": "ALTER TABLE feedback ALTER COLUMN rating TYPE real",
    "notes-already": "ALTER TABLE feedback RENAME COLUMN comment TO notes",
    "whole-rows-of-what-stays": (
        "CREATE TABLE audit (before tenants, message messages[]); CREATE VIEW everybody AS SELECT users FROM users"
    ),
}

PLANTED = {  # on what a step before has made
    "own-category": ("ALTER TABLE chatbots ADD COLUMN category text", "chatbots has a column category of its own"),
}


def refused(url: URL, *reasons: str) -> None:
    """See that an upgrade says all these reasons in one message, and changes nothing."""
    with connect(url) as connection:
        before, kept = catalog(connection), rows(connection)
        with pytest.raises(SystemExit) as stopped:
            alembic(url, "upgrade", "head")
        told = str(stopped.value)
        assert told.startswith("Error: Nothing was changed, because this database does not fit:\n")
        for reason in reasons:
            assert re.search(f"^  - .*{reason}", told, re.MULTILINE | re.DOTALL), told
        with database_url(url):
            found = preflight(configuration())
        assert told.splitlines()[1:] == [f"  - {reason}: {remedy}" for reason, remedy in found.obstacles]
        assert (catalog(connection), rows(connection)) == (before, kept)
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(empty: URL, change: str, reason: str) -> None:
    with connect(empty) as connection:
        connection.execute(ROLES + ";" + PLAIN)
        connection.execute(change)
    refused(empty, reason)


@pytest.mark.parametrize("change", FITS.values(), ids=FITS)
def test_what_fits_is_adopted_and_given_back_as_it_was(server: Server, empty: URL, change: str) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute(change)
        before, catalog_before = everything(server, empty), catalog(connection)
        with database_url(empty):
            assert preflight(configuration()).obstacles == []
        alembic(empty, "upgrade", "head")
        alembic(empty, "check")
        alembic(empty, "downgrade", "base")
        assert everything(server, empty) == before
        assert catalog(connection) == catalog_before


# Tables that are there under other names or in other schemas, and what is said of them.
ELSEWHERE = {
    "basejump": (
        "CREATE SCHEMA basejump; CREATE TABLE basejump.accounts (); CREATE TABLE basejump.account_user ()",
        "basejump.account_user, basejump.accounts",
    ),
    "drizzle": (
        'CREATE TABLE "User" (id uuid); CREATE TABLE "Chat" (id uuid); CREATE TABLE "Message_v2" (id uuid);'
        ' CREATE TABLE "Vote_v2" (id uuid)',
        'public."Chat", public."Message_v2", public."User"',
    ),
    "camel-case": ('CREATE TABLE "chatMessages" (id uuid)', 'public."chatMessages"'),
    "prefixes": (
        "CREATE TABLE auth_user (id int); CREATE TABLE app_threads (id int)",
        "public.app_threads, public.auth_user",
    ),
    "supabases-first-steps": ("CREATE TABLE profiles (id uuid)", "public.profiles"),
    "another-schema": (
        f"CREATE SCHEMA app; SET search_path = app; {PLAIN}; RESET search_path",
        "app.conversations, app.feedback, app.messages, app.tenants, app.users",
    ),
    "partitioned": (
        "CREATE TABLE chats (id int) PARTITION BY HASH (id);"
        " CREATE TABLE chats_1 PARTITION OF chats FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "public.chats",
    ),
    "many": (
        "".join(f"CREATE SCHEMA s{number}; CREATE TABLE s{number}.teams (); " for number in range(10, 22)),
        f"{', '.join(f's{number}.teams' for number in range(10, 20))} and 2 more",
    ),
}


@pytest.mark.parametrize(("tables", "named"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_no_second_platform_is_built_beside_another_unless_one_says_so(
    server: Server, empty: URL, tables: str, named: str
) -> None:
    with connect(empty) as connection:
        connection.execute(tables)
        refused(empty, f"or in other schemas: {re.escape(named)}: to build new, .* `alembic -x fresh=yes upgrade head`")
        before = dump(server.binaries, empty)
        alembic(empty, "-x", "fresh=yes", "upgrade", "head")
        alembic(empty, "check")
        alembic(empty, "downgrade", "base")
        assert dump(server.binaries, empty) == before


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE invoices (id uuid); CREATE TABLE products (id uuid); CREATE TABLE usages (id int)",
        "CREATE TABLE superuser (id int); CREATE TABLE threadlocal (id int); CREATE TABLE users_version (id int);"
        " CREATE SCHEMA app; CREATE TABLE app.users (version_num varchar(32))",
        "CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid); CREATE SCHEMA storage; CREATE TABLE storage.members ();"
        " CREATE SCHEMA _realtime; CREATE TABLE _realtime.tenants (); CREATE SCHEMA supabase_x; CREATE TABLE"
        " supabase_x.accounts ()",
    ],
    ids=["unrelated", "other-words", "supabase"],
)
def test_other_tables_do_not_stop_a_fresh_install(empty: URL, tables: str) -> None:
    with connect(empty) as connection:
        connection.execute(tables)
    alembic(empty, "upgrade", "006")


def test_some_of_the_tables_beside_others_are_no_reason_to_make_the_rest(empty: URL) -> None:
    """Where another table may be what is missing, an empty one of our name would hide it."""
    with connect(empty) as connection:
        connection.execute(f"{ROLES}; {PLAIN}; DROP TABLE feedback; CREATE TABLE memberships (id int)")
        refused(empty, "but no feedback; it also has public.memberships: CREATE TABLE public.feedback")
        connection.execute("ALTER TABLE messages RENAME TO chat_messages")
        refused(
            empty,
            "but no messages, feedback; it also has public.chat_messages, public.memberships: this package works on",
        )
        with pytest.raises(SystemExit, match="but no messages, feedback"):
            alembic(empty, "-x", "fresh=yes", "upgrade", "head")


def test_what_is_there_is_not_built_anew(empty: URL) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        before = rows(connection)
        with pytest.raises(SystemExit, match=r"The five tables are there, .*: leave `-x fresh=yes` away"):
            alembic(empty, "-x", "fresh=yes", "upgrade", "head")
        assert rows(connection) == before


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        ("TABLE users (id uuid)", "This database has users, but no tenants, conversations, messages, feedback"),
        ("TABLE chatbots (id uuid)", "chatbots is there without column tenant_id"),
        ("SCHEMA chatbot_private", "Schema chatbot_private exists already"),
    ],
)
def test_a_name_that_is_taken_in_an_empty_database_is_refused(empty: URL, taken: str, reason: str) -> None:
    with connect(empty) as connection:
        connection.execute(f"CREATE {taken}")
    refused(empty, reason)


@pytest.mark.parametrize(
    ("revision", "planted"),
    [
        ("006", "own-chatbots"),
        ("006", "own-published-chatbots"),
        ("007", "own-role"),
        ("008", "own-chatbot-id"),
        ("009", "notes-beside-comment"),
        ("011", "own-log"),
        ("012", "own-versions"),
        ("013", "own-tags"),
        ("013", "own-category"),
    ],
)
def test_what_was_planted_between_two_steps_is_not_taken_over(empty: URL, revision: str, planted: str) -> None:
    """By whoever may create objects there; an old 'admin' of another column would be an admin of chatbots."""
    alembic(empty, "upgrade", revision)
    change, reason = (REFUSED | PLANTED)[planted]
    with connect(empty) as connection:
        connection.execute(change)
        before = catalog(connection)
        with pytest.raises(SystemExit, match=reason):
            alembic(empty, "upgrade", "head")
        assert catalog(connection) == before


def test_every_reason_is_told_at_once(empty: URL) -> None:
    changes = [
        "tenant-of-users-null",
        "text-key",
        "own-role",
        "own-chatbots",
        "notes-beside-comment",
        "own-private-schema",
    ]
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute(";".join(REFUSED[change][0] for change in changes))
    refused(empty, *(REFUSED[change][1] for change in changes))


def test_beside_another_projects_alembic(server: Server, empty: URL, tmp_path: Path) -> None:
    """Its version table stays as it is when ours is called otherwise."""
    settings = (PROJECT / "alembic.ini").read_text().replace("%(here)s", str(PROJECT))
    ini = tmp_path / "alembic.ini"
    ini.write_text(settings.replace("version_table = alembic_version", "version_table = chatbot_version"))
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
        before = everything(server, empty)
        for command in (("upgrade", "head"), ("check",), ("downgrade", "base")):
            done = run("alembic", "-c", str(ini), *command, url=empty)
            assert done.returncode == 0, done.stderr
        assert everything(server, empty) == before
        assert connection.execute("TABLE alembic_version").fetchall() == [("ae1027a6acf",)]


@pytest.mark.parametrize(
    ("revision", "change", "reason"),
    [
        ("006", "ALTER TABLE users ALTER COLUMN tenant_id DROP NOT NULL", "users.tenant_id may be NULL"),
        ("006", "ALTER TABLE users DROP CONSTRAINT users_pkey", "users.id is not the primary key"),
        (
            "008",
            "ALTER TABLE conversations ALTER COLUMN tenant_id DROP NOT NULL",
            "conversations.tenant_id may be NULL",
        ),
    ],
)
def test_what_no_longer_fits_after_adoption_is_refused(empty: URL, revision: str, change: str, reason: str) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        alembic(empty, "upgrade", revision)
        connection.execute(change)
    with pytest.raises(SystemExit, match=reason):
        alembic(empty, "upgrade", "head")


@pytest.mark.parametrize(
    ("dependent", "told"),
    [
        ("CREATE VIEW theirs AS SELECT name FROM chatbots", "view public.theirs.*needs chatbots"),
        ("CREATE TABLE theirs (id uuid REFERENCES chatbots)", "constraint theirs_id_fkey.*needs chatbots"),
        ("CREATE VIEW theirs AS SELECT role FROM users", "view public.theirs.*needs users.role"),
        ("CREATE VIEW theirs AS SELECT people FROM chatbot_usage()", "view public.theirs.*needs chatbot_usage"),
        (
            "CREATE FUNCTION theirs() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM tenant_admins())",
            r"function public.theirs\(\).*needs tenant_admins",
        ),
        ("CREATE VIEW theirs AS SELECT tag FROM chatbot_tags", "view public.theirs.*needs chatbot_tags"),
        ("CREATE VIEW theirs AS SELECT name FROM published_chatbots", "view public.theirs.*needs published_chatbots"),
        ("CREATE VIEW theirs AS SELECT category FROM chatbots", "view public.theirs.*needs chatbots.category"),
        ("CREATE VIEW theirs AS SELECT version FROM chatbot_versions", "view public.theirs.*needs chatbot_versions"),
        ("CREATE VIEW theirs AS SELECT action FROM audit_log", "view public.theirs.*needs audit_log"),
        ("CREATE PUBLICATION theirs FOR TABLE users (id, role)", "publication.*needs users.role"),
        (
            "CREATE POLICY theirs ON conversations USING (chatbot_id IS NULL)",
            "policy theirs on table public.conversations.*needs conversations.chatbot_id",
        ),
    ],
)
def test_a_downgrade_that_would_fail_half_way_does_not_begin(empty: URL, dependent: str, told: str) -> None:
    """Half-way, admins would have lost their policies, and no step but this one could go on."""
    with connect(empty) as connection:
        settle(connection, PLAIN)
        alembic(empty, "upgrade", "head")
        connection.execute(dependent)
        before = catalog(connection)
        with pytest.raises(SystemExit, match=f"Nothing was changed(.|\n)*{told}"):
            alembic(empty, "downgrade", "006")
        assert catalog(connection) == before


def test_planted_operators_and_functions_are_not_ours(empty: URL) -> None:
    """Where others may create objects in public, a better match than PostgreSQL's own would run as whoever migrates."""
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute("""
            CREATE FUNCTION public.never(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT false';
            CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.never);
            CREATE OPERATOR public.<> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.never);
            CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''ran''; END';
            CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''ran''; END';
            CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''ran''; END'
        """)
        alembic(empty, "upgrade", "head")
        connection.execute("GRANT ALL ON users TO authenticated")
        promote = f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'"
        assert attempt(connection, MEMBER, promote, {}) == "guard"
        assert attempt(connection, SERVICE, promote, {}) == "grant"
        alembic(empty, "downgrade", "base")


def test_a_planted_version_table_is_not_used(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        with pytest.raises(SystemExit, match="is there already, empty and of somebody else's making"):
            alembic(empty, "upgrade", "head")
        assert connection.execute("SELECT to_regnamespace('chatbot_private')").fetchone() == (None,)
        connection.execute("DROP TABLE alembic_version")
        settle(connection, PLAIN)
        alembic(empty, "upgrade", "head")
        connection.execute("ALTER TABLE alembic_version OWNER TO authenticated")
        with pytest.raises(SystemExit, match=f"holds revision {NEWEST} of another project"):
            alembic(empty, "downgrade", "base")


def test_default_privileges_of_other_roles_open_nothing_of_ours(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute("DROP ROLE IF EXISTS web; CREATE ROLE web")
        for kind in ("TABLES", "SCHEMAS"):
            connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO web")
        alembic(empty, "upgrade", "head")
        for statement in (
            "TRUNCATE chatbots CASCADE",
            "UPDATE chatbots SET created_at = now()",
            "TABLE published_chatbots",
        ):
            assert attempt(connection, Who("web"), statement, {}) == "grant"
        for schema in ("chatbot_compat", "chatbot_private"):
            assert attempt(connection, Who("web"), f"CREATE TABLE {schema}.users ()", {}) == "grant"
        connection.execute("DROP OWNED BY web; DROP ROLE web")


def test_a_cascade_does_not_pass_the_guard(empty: URL) -> None:
    """It writes users as their owner, for a client who may write the table that the key references."""
    with connect(empty) as connection:
        settle(connection, SUPABASE)
        connection.execute("""
            CREATE TABLE teams (tenant_id uuid, id uuid DEFAULT gen_random_uuid() UNIQUE, PRIMARY KEY (tenant_id, id));
            INSERT INTO teams (tenant_id) SELECT id FROM tenants;
            ALTER TABLE users ADD COLUMN team_id uuid;
            UPDATE users SET team_id = teams.id FROM teams WHERE teams.tenant_id = users.tenant_id;
            ALTER TABLE users ADD CONSTRAINT own_team FOREIGN KEY (tenant_id, team_id) REFERENCES teams
                ON UPDATE CASCADE;
            REVOKE ALL ON users FROM authenticated;
            GRANT SELECT ON users TO authenticated
        """)
        with database_url(empty):
            warnings = preflight(configuration()).steps[0].warnings
        assert any("Foreign key own_team of users follows public.teams, where anon and" in line for line in warnings)
        alembic(empty, "upgrade", "head")
        move = f"UPDATE teams SET tenant_id = '{GLOBEX}' WHERE tenant_id = '{ACME}'"
        connection.execute(f"CREATE FUNCTION move() RETURNS void LANGUAGE plpgsql AS $$BEGIN {move}; END$$")
        assert attempt(connection, MEMBER, move, {}) == "guard"
        assert attempt(connection, MEMBER, "SELECT move()", {}) == "guard"
        connection.execute("SET log_parameter_max_length_on_error = -1")  # then parameters are part of the context
        with_parameters = move.replace(f"'{GLOBEX}'", "%(globex)s::uuid")
        assert attempt(connection, MEMBER, with_parameters, {"globex": str(GLOBEX)}) == "guard"
        assert attempt(connection, SERVICE, move, {}) == 1
        assert attempt(connection, OWNER, move, {}) == 1


def test_the_owners_functions_pass_the_guard(empty: URL) -> None:
    """SECURITY DEFINER functions are how a platform changes what clients may not."""
    with connect(empty) as connection:
        settle(connection, SUPABASE)
        connection.execute("""
            CREATE FUNCTION leave() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
                AS 'BEGIN UPDATE public.users SET is_active = false WHERE id = auth.uid(); END';
            CREATE FUNCTION leave_sql() RETURNS void LANGUAGE sql SECURITY DEFINER
                AS 'UPDATE public.users SET is_active = false WHERE id = auth.uid()'
        """)
        alembic(empty, "upgrade", "head")
        for function in ("leave", "leave_sql"):
            assert attempt(connection, MEMBER, f"SELECT {function}()", {}) == 1


def test_strings_mean_the_same_whatever_the_database_says(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute(ROLES + ";" + PLAIN)
        connection.execute("ALTER TABLE users ALTER COLUMN tenant_id DROP NOT NULL")
        connection.execute(f"ALTER DATABASE {empty.database} SET standard_conforming_strings = off")
        refused(empty, "users.tenant_id may be NULL")
        connection.execute(f"ALTER DATABASE {empty.database} RESET standard_conforming_strings")


def test_chatbots_that_are_planted_in_the_midst_of_a_step_are_not_taken_over(empty: URL) -> None:
    """After the step was judged, by whoever may create tables in public: their owner would read every tenant's."""
    alembic(empty, "upgrade", "006")
    planted = """
        CREATE TABLE chatbots (id uuid PRIMARY KEY, tenant_id uuid, created_by uuid, name varchar(255),
            description text, system_prompt text, model varchar(100), temperature double precision, max_tokens integer,
            settings jsonb, is_published boolean, created_at timestamptz, updated_at timestamptz);
        ALTER TABLE chatbots OWNER TO authenticated
    """

    def plant(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "CREATE TABLE IF NOT EXISTS public.chatbots" in statement:
            with connect(empty) as connection:
                connection.execute(planted)

    event.listen(Engine, "before_cursor_execute", plant)
    try:
        with pytest.raises(SystemExit, match="Somebody else has made chatbots"):
            alembic(empty, "upgrade", "head")
    finally:
        event.remove(Engine, "before_cursor_execute", plant)

"""Remedies that preflight prints, pasted as they are: the upgrade then goes through, and all see what they saw."""

from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.embedded import Server
from app.migration.preflight import preflight
from app.migration.settings import configuration
from tests.people import (
    ACME,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    INACTIVE,
    MEMBER,
    NO_TOKEN,
    OTHER_ADMIN,
    OTHER_MEMBER,
    OWNER,
    SERVICE,
    STRANGER,
    Who,
)
from tests.platforms import PLAIN, SUPABASE, settle
from tests.tools import alembic, attempt, connect, database_url, psql, rows

# No row security, and clients who may read everything.
OPEN = PLAIN + "; GRANT SELECT ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role"

# What does not fit: the platform, and how it differs. Everything that is refused of it is refused with SQL.
SHAPES = {
    "no-feedback": (SUPABASE, "DROP TABLE feedback CASCADE"),
    "no-feedback-on-bigint": (
        OPEN,
        "DROP TABLE feedback, messages; CREATE TABLE messages (id bigint PRIMARY KEY, conversation_id uuid, role text,"
        " content text, created_at timestamptz)",
    ),
    "users-alone": (OPEN, "DROP TABLE tenants, conversations, messages, feedback"),
    "no-columns-of-tenants": (SUPABASE, "ALTER TABLE tenants DROP COLUMN name, DROP COLUMN created_at"),
    "no-columns-of-users": (SUPABASE, "ALTER TABLE users DROP COLUMN email, DROP COLUMN created_at"),
    "no-tenant-of-conversations": (SUPABASE, "ALTER TABLE conversations DROP COLUMN tenant_id"),
    "no-person-of-conversations": (OPEN, "ALTER TABLE conversations DROP COLUMN user_id"),
    "no-columns-of-messages": (
        SUPABASE,
        "ALTER TABLE messages DROP COLUMN role, DROP COLUMN content CASCADE, DROP COLUMN created_at",
    ),
    "no-columns-of-feedback": (
        SUPABASE,
        "ALTER TABLE feedback DROP COLUMN id CASCADE, DROP COLUMN comment CASCADE, DROP COLUMN rating,"
        " DROP COLUMN message_id, DROP COLUMN created_at CASCADE",
    ),
    "no-message-on-bigint": (
        OPEN,
        "ALTER TABLE messages ALTER id TYPE bigint USING ('x' || right(id::text, 8))::bit(32)::bigint;"
        " ALTER TABLE feedback DROP COLUMN message_id",
    ),
    "keys-on-another-column": (
        OPEN,
        "ALTER TABLE conversations DROP COLUMN id; ALTER TABLE conversations ADD number bigint GENERATED ALWAYS AS"
        " IDENTITY PRIMARY KEY; ALTER TABLE messages DROP COLUMN conversation_id; ALTER TABLE messages ADD conversation"
        " bigint REFERENCES conversations ON DELETE CASCADE; UPDATE messages SET conversation = 1",
    ),
    "no-primary-keys": (
        OPEN,
        "ALTER TABLE users DROP CONSTRAINT users_pkey; ALTER TABLE tenants DROP CONSTRAINT tenants_pkey;"
        " ALTER TABLE conversations DROP CONSTRAINT conversations_pkey",
    ),
    "wider-primary-key": (
        OPEN,
        "ALTER TABLE tenants DROP CONSTRAINT tenants_pkey, ADD PRIMARY KEY (id, name); CREATE TABLE seats (tenant uuid,"
        ' name text, CONSTRAINT "Of" FOREIGN KEY (tenant, name) REFERENCES tenants ON DELETE CASCADE)',
    ),
    "deferrable-primary-key": (OPEN, "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (id) DEFERRABLE"),
    "text-keys": (
        OPEN,
        "ALTER TABLE tenants ALTER id TYPE varchar(36), ALTER id SET DEFAULT gen_random_uuid()::text;"
        " ALTER TABLE users ALTER id TYPE text, ALTER tenant_id TYPE text, ADD FOREIGN KEY (tenant_id)"
        " REFERENCES tenants; ALTER TABLE conversations ALTER user_id TYPE text, ADD FOREIGN KEY (user_id)"
        ' REFERENCES users ON DELETE CASCADE; CREATE TABLE invitations (inviter text CONSTRAINT "By" REFERENCES users)',
    ),
    "text-keys-of-messages": (
        OPEN,
        "ALTER TABLE messages ALTER id TYPE text; ALTER TABLE feedback ALTER id TYPE text, ALTER message_id TYPE text,"
        " ADD FOREIGN KEY (message_id) REFERENCES messages",
    ),
    "active-as-a-number": (
        OPEN,
        "ALTER TABLE users ALTER is_active TYPE smallint USING is_active::integer, ALTER is_active SET DEFAULT 1",
    ),
    "active-as-text": (OPEN, "ALTER TABLE users ALTER is_active TYPE text, ALTER is_active SET DEFAULT 'yes'"),
    "rating-as-a-boolean": (
        OPEN,
        "ALTER TABLE feedback ALTER rating TYPE boolean USING rating > 3, ALTER rating SET DEFAULT false",
    ),
    "rating-as-text": (OPEN, "ALTER TABLE feedback ALTER rating TYPE text"),
    "content-as-jsonb": (OPEN, "ALTER TABLE messages ALTER content TYPE jsonb USING to_jsonb(content)"),
    "title-as-bytea": (OPEN, "ALTER TABLE conversations ALTER title TYPE bytea USING convert_to(title, 'UTF8')"),
    "time-as-a-number": (
        OPEN,
        "ALTER TABLE messages ALTER created_at DROP DEFAULT, ALTER created_at TYPE bigint USING extract(epoch FROM"
        " created_at) * 1000, ALTER created_at SET DEFAULT (extract(epoch FROM now()) * 1000)::bigint",
    ),
    "time-as-a-date": (OPEN, "ALTER TABLE messages ALTER created_at TYPE date"),
    "time-as-text": (OPEN, "ALTER TABLE messages ALTER created_at TYPE text"),
    "tenant-may-be-null": (
        SUPABASE,
        "ALTER TABLE users ALTER tenant_id DROP NOT NULL; ALTER TABLE conversations ALTER tenant_id DROP NOT NULL",
    ),
    "unlogged": (
        OPEN,
        "ALTER TABLE tenants SET UNLOGGED; ALTER TABLE users SET UNLOGGED; ALTER TABLE users ADD FOREIGN KEY"
        " (tenant_id) REFERENCES tenants",
    ),
    "typed": (
        OPEN,
        "CREATE TYPE opinion AS (id uuid, message_id uuid, user_id uuid, rating integer, comment text, created_at"
        " timestamptz); ALTER TABLE feedback OF opinion",
    ),
    "whole-rows-elsewhere": (
        SUPABASE,
        'CREATE TABLE log (before users, "After" conversations[]); INSERT INTO log SELECT users FROM users LIMIT 2',
    ),
    "whole-rows-in-a-type": (
        OPEN,
        "ALTER TABLE tenants DROP COLUMN updated_at; CREATE TYPE change AS (at timestamptz, before tenants);"
        " CREATE TABLE log (change change); INSERT INTO log SELECT (now(), tenants)::change FROM tenants",
    ),
    "owned-by-clients": (
        PLAIN,
        "ALTER TABLE users OWNER TO authenticated; ALTER TABLE messages OWNER TO anon",
    ),
    "private-schema": (OPEN, "CREATE SCHEMA chatbot_private; CREATE TABLE chatbot_private.theirs ()"),
    # What bears a name that one of the revisions needs.
    "view-of-published-chatbots": (OPEN, "CREATE VIEW published_chatbots AS SELECT 1 AS id"),
    "index-names": (
        OPEN,
        "CREATE TABLE idx_chatbots_name (); CREATE INDEX idx_users_tenant_role ON feedback (rating);"
        " CREATE SEQUENCE idx_conversations_chatbot_id; CREATE MATERIALIZED VIEW idx_chatbots_category AS SELECT 1",
    ),
    "types": (SUPABASE, "CREATE TYPE chatbots AS ENUM ('a'); CREATE DOMAIN audit_log AS text"),
    "triggers": (
        SUPABASE,
        "".join(
            f'CREATE TRIGGER "{name}" BEFORE UPDATE ON {table} FOR EACH ROW'
            " EXECUTE FUNCTION suppress_redundant_updates_trigger();"
            for name, table in (
                ("users_guard_membership", "users"),
                ("users_guard_role_update", "users"),
                ("users_audit_update", "users"),
                ("users_forget_author", "users"),
                ("Conversations_guard_chatbot_insert", "conversations"),
                ("conversations_record_version_update", "conversations"),
            )
        ),
    ),
    "tables": (
        SUPABASE,
        "CREATE TABLE audit_log (id uuid); CREATE TABLE chatbot_tags (); CREATE VIEW chatbot_versions AS SELECT 1",
    ),
    "functions": (
        OPEN,
        "CREATE FUNCTION popular_chatbots() RETURNS integer LANGUAGE sql AS 'SELECT 1';"
        " CREATE FUNCTION restore_chatbot(text) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    ),
    "columns": (
        OPEN,
        "ALTER TABLE conversations ADD COLUMN chatbot_id bigint, ADD COLUMN chatbot_version text;"
        " ALTER TABLE feedback ADD COLUMN notes text",
    ),
    "compat-schema": (OPEN, "CREATE SCHEMA chatbot_compat"),
}

PEOPLE = (MEMBER, COLLEAGUE, ADMIN, INACTIVE, OTHER_MEMBER, OTHER_ADMIN, STRANGER, NO_TOKEN, ANONYMOUS, SERVICE, OWNER)
TABLES = ("tenants", "users", "conversations", "messages", "feedback")


def number_of_rows(connection: Connection, who: Who, table: str) -> int:
    """How many rows of a table somebody sees; none where they may not look, or it is not there yet."""
    try:
        found = attempt(connection, who, f"SELECT FROM {table}", {})
    except psycopg.errors.UndefinedTable:
        return 0
    assert found == "grant" or isinstance(found, int)
    return 0 if isinstance(found, str) else found


def seen(connection: Connection) -> dict[str, int]:
    """How many rows of each table everybody sees."""
    return {f"{who} {table}": number_of_rows(connection, who, table) for who in PEOPLE for table in TABLES}


def obstacles(url: URL) -> list[tuple[str, str]]:
    with database_url(url):
        return preflight(configuration()).obstacles


def is_sql(remedy: str) -> bool:
    return remedy[0].isupper()


def paste(binaries: Path, url: URL, remedies: list[str]) -> str:
    """Give psql what preflight printed."""
    done = psql(binaries, url, "--set=ON_ERROR_STOP=1", script="".join(f"{remedy};\n" for remedy in remedies))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("platform", "change"), SHAPES.values(), ids=SHAPES)
def test_whoever_follows_the_remedies_hides_nothing_and_loses_nothing(
    server: Server, empty: URL, platform: str, change: str
) -> None:
    with connect(empty) as connection:
        settle(connection, platform)
        connection.execute(change)
        before = seen(connection)
        remedies = [remedy for _, remedy in obstacles(empty)]
        assert remedies
        assert all(map(is_sql, remedies)), remedies
        paste(server.binaries, empty, remedies)
        assert obstacles(empty) == []
        assert seen(connection) == before
        alembic(empty, "upgrade", "head")
        assert seen(connection) == before
        connection.execute("REASSIGN OWNED BY authenticated, anon TO postgres")


# Where no statement can know what is right, and what the sentence names instead.
SENTENCES = {
    "keys-of-people": (
        "ALTER TABLE users DROP COLUMN id, ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "give users another key, and move what refers to this one",
    ),
    "column-in-use": (
        "ALTER TABLE users ALTER is_active TYPE text; CREATE POLICY active ON users USING (is_active = 'yes');"
        " CREATE INDEX ON users (lower(is_active)); CREATE VIEW active AS SELECT is_active FROM users",
        "convert it together with index public.users_lower_idx, policy active on table public.users, view public.act",
    ),
    "text-keys-in-use": (
        "ALTER TABLE tenants ALTER id TYPE text; CREATE VIEW names AS SELECT id, name FROM tenants",
        "convert them together with view public.names",
    ),
    "whole-rows-in-use": (
        "CREATE TABLE log (before users); CREATE VIEW emails AS SELECT (before).email FROM log",
        "give it another type, such as jsonb, together with view public.emails",
    ),
    "owner-past-row-security": (
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users OWNER TO authenticated",
        "give it an owner that no client is a member of, and the clients policies for what they should see",
    ),
    "column-that-a-function-reads": (
        "ALTER TABLE conversations ADD COLUMN chatbot_id bigint; CREATE FUNCTION bot() RETURNS bigint LANGUAGE sql"
        " AS 'SELECT chatbot_id FROM public.conversations'",
        "public.bot()",
    ),
    "another-parent": ("CREATE TABLE archived () INHERITS (conversations)", "put a plain table in its place"),
}


@pytest.mark.parametrize(("change", "named"), SENTENCES.values(), ids=SENTENCES)
def test_where_no_statement_can_know_a_sentence_says_what_depends_on_it(empty: URL, change: str, named: str) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute(change)
        assert any(named in remedy for _, remedy in obstacles(empty)), obstacles(empty)
        connection.execute("REASSIGN OWNED BY authenticated TO postgres")


def test_conversations_get_the_tenant_of_their_person_and_keep_their_time(server: Server, empty: URL) -> None:
    """The application that knows no tenant_id goes on writing conversations, and no trigger takes it for a change."""
    with connect(empty) as connection:
        settle(connection, SUPABASE)
        connection.execute("""
            ALTER TABLE conversations DROP COLUMN tenant_id;
            UPDATE conversations SET updated_at = '2020-01-01';
            CREATE TRIGGER idle BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION private.touch();
            ALTER TABLE conversations DISABLE TRIGGER idle
        """)
        before = rows(connection)
        states = "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'public.conversations'::regclass ORDER BY 1"
        enabled = connection.execute(states).fetchall()
        ((reason, remedy),) = obstacles(empty)
        assert reason == "conversations has no column tenant_id; this gives each its person's tenant"
        paste(server.binaries, empty, [remedy])
        assert before.items() <= rows(connection).items()
        assert set(enabled) < set(connection.execute(states).fetchall())
        write = f"INSERT INTO conversations (user_id) VALUES ('{ACME_MEMBER}') RETURNING tenant_id"
        for step in ("006", "head"):
            assert connection.execute(write).fetchone() == (ACME,)
            assert attempt(connection, MEMBER, write, {}) == 1
            alembic(empty, "upgrade", step)
        assert connection.execute(write).fetchone() == (ACME,)


@pytest.mark.parametrize("table", ["users", "conversations"])
def test_rows_without_a_tenant_are_shown_before_anything_changes(server: Server, empty: URL, table: str) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute(f"ALTER TABLE {table} ALTER tenant_id DROP NOT NULL")
        (lost,) = connection.execute(
            f"UPDATE {table} SET tenant_id = NULL WHERE id IN (SELECT id FROM {table} LIMIT 1) RETURNING id"
        )
        before = rows(connection)
        remedies = [remedy for _, remedy in obstacles(empty)]
        tried = psql(server.binaries, empty, "--set=ON_ERROR_STOP=1", script=";".join(remedies))
        assert str(lost[0]) in tried.stdout
        assert 'column "tenant_id" of relation' in tried.stderr
        assert rows(connection) == before
        connection.execute(f"UPDATE {table} SET tenant_id = %s WHERE tenant_id IS NULL", (ACME,))
        paste(server.binaries, empty, remedies)
        assert obstacles(empty) == []


def test_conversions_keep_what_was_meant(server: Server, empty: URL) -> None:
    """Also of rows to come: a default is converted with its column."""
    meant = """
        SELECT (SELECT array_agg(is_active ORDER BY id) FROM users),
            (SELECT array_agg(rating ORDER BY id) FROM feedback),
            (SELECT array_agg(title ORDER BY id) FROM conversations),
            (SELECT array_agg(content ORDER BY id) FROM messages),
            (SELECT array_agg(date_trunc('milliseconds', created_at) ORDER BY id) FROM messages)
    """
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute("UPDATE feedback SET rating = CASE WHEN rating > 3 THEN 1 ELSE -1 END")
        before = connection.execute(meant).fetchall()
        connection.execute("""
            ALTER TABLE users ALTER is_active TYPE integer USING is_active::integer, ALTER is_active SET DEFAULT 1;
            ALTER TABLE feedback ALTER rating TYPE boolean USING rating > 0, ALTER rating SET DEFAULT true;
            ALTER TABLE conversations ALTER title TYPE bytea USING convert_to(title, 'UTF8');
            ALTER TABLE messages ALTER content TYPE jsonb USING to_jsonb(content), ALTER created_at DROP DEFAULT,
                ALTER created_at TYPE bigint USING floor(extract(epoch FROM created_at) * 1000),
                ALTER created_at SET DEFAULT (extract(epoch FROM now()) * 1000)::bigint
        """)
        paste(server.binaries, empty, [remedy for _, remedy in obstacles(empty)])
        assert connection.execute(meant).fetchall() == before
        connection.execute("""
            INSERT INTO users (id, tenant_id) SELECT gen_random_uuid(), id FROM tenants LIMIT 1;
            INSERT INTO messages (id) VALUES (gen_random_uuid());
            INSERT INTO feedback (comment) VALUES ('new')
        """)
        assert connection.execute("""
            SELECT (SELECT is_active FROM users WHERE email IS NULL),
                (SELECT rating FROM feedback WHERE comment = 'new'),
                (SELECT now() - created_at < '1 minute' FROM messages WHERE content IS NULL)
        """).fetchone() == (True, 1, True)


def test_what_is_computed_when_it_is_read_is_stored(server: Server, empty: URL) -> None:
    """PostgreSQL 18 knows such columns; where all are stored, nothing is in the way."""
    with connect(empty) as connection:
        settle(connection, PLAIN)
        kind = "VIRTUAL" if connection.info.server_version >= 180000 else "STORED"
        connection.execute(f"""
            ALTER TABLE users DROP COLUMN is_active;
            ALTER TABLE users ADD COLUMN is_active boolean NOT NULL GENERATED ALWAYS AS (email !~ '^inactive') {kind}
        """)
        active = "SELECT email, is_active FROM users ORDER BY 1"
        before = connection.execute(active).fetchall()
        found = obstacles(empty)
        assert [reason for reason, _ in found] == ["users.is_active is computed when it is read"] * (kind == "VIRTUAL")
        paste(server.binaries, empty, [remedy for _, remedy in found])
        assert obstacles(empty) == []
        assert connection.execute(active).fetchall() == before
        alembic(empty, "upgrade", "head")


def test_keys_that_others_refer_to_stay_what_they_refer_to(server: Server, empty: URL) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute("""
            ALTER TABLE tenants DROP CONSTRAINT tenants_pkey, ADD CONSTRAINT tenants_pkey PRIMARY KEY (id, name);
            CREATE TABLE seats (tenant uuid, name text,
                FOREIGN KEY (tenant, name) REFERENCES tenants ON DELETE CASCADE);
            INSERT INTO seats SELECT id, name FROM tenants
        """)
        paste(server.binaries, empty, [remedy for _, remedy in obstacles(empty)])
        connection.execute("INSERT INTO tenants VALUES (%s, 'Acme') ON CONFLICT (id, name) DO NOTHING", (ACME,))
        connection.execute("DELETE FROM tenants WHERE id = %s", (ACME,))
        assert connection.execute("SELECT count(*) FROM seats").fetchone() == (1,)


def test_what_a_role_lacks_is_given_by_what_is_printed(fresh_server: Server) -> None:
    """Each reason says who runs its statement; then the role that lacked everything upgrades a platform of its own."""
    url, newcomer = fresh_server.url(), fresh_server.url().set(username="newcomer")
    with connect(url) as connection:
        connection.execute(PLAIN)
        connection.execute("CREATE ROLE newcomer LOGIN")
        for table in TABLES[1:]:
            connection.execute(f"ALTER TABLE {table} OWNER TO newcomer")
        found = obstacles(newcomer)
        assert {reason.partition("; ")[2] for reason, _ in found} == {
            "as its owner, run once",
            "as a superuser, run once",
        }
        paste(fresh_server.binaries, url, [remedy for _, remedy in found])
        assert obstacles(newcomer) == []
        alembic(newcomer, "upgrade", "head")
        alembic(newcomer, "downgrade", "base")

        connection.execute("""
            CREATE ROLE between; CREATE ROLE "Further";
            GRANT service_role TO between; GRANT between TO "Further"; GRANT "Further" TO authenticated;
            GRANT newcomer TO anon; GRANT pg_read_all_data TO anon;
            ALTER ROLE authenticated BYPASSRLS
        """)
        found = obstacles(newcomer)
        assert [reason for reason, _ in found] == [
            "Role authenticated is past row security",
            "Role anon has the rights of newcomer, past what this package grants",
            "Role anon has the rights of pg_read_all_data, past what this package grants",
            "Role authenticated has the rights of service_role, past what this package grants",
        ]
        paste(fresh_server.binaries, url, [remedy for _, remedy in found])
        assert obstacles(newcomer) == []

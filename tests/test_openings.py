"""What `alembic check` finds beside changed facts: what opens ours, on every shape, and never what is harmless."""

from collections.abc import Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import Connection

from app.catalog.comparison import compare
from tests.conftest import Host
from tests.tools import sqlalchemy_connection

SHAPES = {"plain": "people", "supabase": "supabase", "adopted": "adopted"}  # templates, by shape


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, host: Host) -> Iterator[Connection]:
    """To a database of each shape, shared by all: leave nothing of what you do."""
    template: NoopExecutor = request.getfixturevalue(f"{SHAPES[request.param]}_template")
    with sqlalchemy_connection(host.url(template.template_dbname)) as connection:
        yield connection


@pytest.fixture
def adopted(host: Host, adopted_template: NoopExecutor) -> Iterator[Connection]:
    with sqlalchemy_connection(host.url(adopted_template.template_dbname)) as connection:
        yield connection


def found_after(connection: Connection, *statements: str) -> list[str]:
    for statement in statements:
        connection.exec_driver_sql(statement.replace("%", "%%"))
    return [each.text for each in compare(connection, "alembic_version").differences]


def test_an_untouched_database_passes(shape: Connection) -> None:
    assert found_after(shape) == []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param("INSERT INTO tenants (id, name) VALUES (gen_random_uuid(), 'New')", id="row"),
        pytest.param("UPDATE users SET role = 'admin'", id="admins"),
        pytest.param("ANALYZE", id="analyze"),
        pytest.param("CREATE TABLE own (id uuid REFERENCES chatbots); GRANT ALL ON own TO PUBLIC", id="table"),
        pytest.param("CREATE INDEX own ON chatbots (model); CREATE INDEX own2 ON users (created_at)", id="index"),
        pytest.param("ALTER TABLE chatbots SET (fillfactor = 70)", id="storage"),
        pytest.param("ALTER TABLE chatbots ALTER created_at SET STATISTICS 500", id="statistics"),
        pytest.param("CREATE SCHEMA other; CREATE TABLE other.chatbots (id uuid)", id="table-of-our-name"),
        pytest.param("CREATE VIEW own WITH (security_invoker) AS TABLE chatbots; GRANT ALL ON own TO anon", id="view"),
        pytest.param("CREATE TEMP VIEW own AS TABLE chatbots", id="temporary-view"),
        pytest.param("CREATE VIEW own AS SELECT 1; GRANT ALL ON own TO anon", id="view-of-nothing"),
        pytest.param("CREATE ROLE openings_newcomer LOGIN BYPASSRLS", id="role"),
        pytest.param("CREATE ROLE openings_newcomer LOGIN NOINHERIT IN ROLE anon, authenticated", id="login-role"),
        pytest.param(
            "CREATE ROLE openings_newcomer; GRANT SELECT ON alembic_version TO openings_newcomer", id="auditor"
        ),
        pytest.param(
            "CREATE FUNCTION own() RETURNS integer LANGUAGE sql SECURITY DEFINER AS"
            " 'SELECT 1 /* from chatbots, users */ -- join users'",
            id="definer-of-nothing",
        ),
        pytest.param(
            "CREATE FUNCTION own() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$BEGIN PERFORM * FROM auth.users, other.chatbots; RAISE 'users may not'; END$$",
            id="definer-elsewhere",
        ),
        pytest.param(
            "CREATE FUNCTION own() RETURNS void LANGUAGE sql SECURITY INVOKER AS 'SELECT FROM public.chatbots'",
            id="invoker",
        ),
        pytest.param(
            "CREATE FUNCTION own() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT FROM public.chatbots';"
            "REVOKE ALL ON FUNCTION own() FROM PUBLIC, anon, authenticated; CREATE ROLE openings_newcomer;"
            "GRANT EXECUTE ON FUNCTION own() TO openings_newcomer",
            id="definer-for-services",
        ),
        pytest.param(
            "CREATE SCHEMA shop; CREATE TABLE shop.users (); CREATE FUNCTION own() RETURNS bigint LANGUAGE sql"
            " SECURITY DEFINER SET search_path = shop AS 'SELECT count(*) FROM users'",
            id="definer-of-a-path-elsewhere",
        ),
        pytest.param(
            "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$BEGIN INSERT INTO public.users (id) VALUES (NEW.id); RETURN NEW; END$$",
            id="sign-up",
        ),
        pytest.param(
            "CREATE TABLE own (); CREATE RULE own AS ON INSERT TO own DO INSTEAD SELECT 1; GRANT ALL ON own TO anon",
            id="rule",
        ),
        pytest.param(
            "CREATE TABLE own (id uuid PRIMARY KEY); ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES own"
            " ON DELETE CASCADE NOT VALID; ALTER TABLE chatbots ADD FOREIGN KEY (id) REFERENCES own NOT VALID",
            id="keys-to-a-table",
        ),
        pytest.param("DROP SCHEMA chatbot_compat CASCADE", id="compatibility-view-no-longer-needed"),
        pytest.param("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon", id="defaults-elsewhere"),
    ],
)
def test_a_harmless_act_is_no_finding(shape: Connection, act: str) -> None:
    assert found_after(shape, act) == []


def test_a_function_saved_with_other_line_ends_is_the_same(shape: Connection) -> None:
    """As an editor on Windows saves it."""
    saved = shape.exec_driver_sql("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'is_admin'").scalar_one()
    assert found_after(shape, saved.replace("\n", "\r\n")) == []


def test_a_platform_that_takes_policies_of_ours_over_remains_one(adopted: Connection) -> None:
    """Or its own columns would be findings, and autogenerate would draft to drop them."""
    assert (
        found_after(
            adopted,
            """
        CREATE POLICY "Users can view their tenant" ON tenants FOR SELECT TO authenticated
            USING (id = (SELECT chatbot_private.tenant_id()));
        CREATE TRIGGER tenants_touch_updated_at BEFORE UPDATE ON tenants FOR EACH ROW
            WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION chatbot_private.touch_updated_at()
        """,
        )
        == []
    )


@pytest.mark.parametrize("change", ["DROP FUNCTION chatbot_private.is_adopted()", "ALTER TABLE users OWNER TO anon"])
def test_of_an_adopted_platform_that_is_all(adopted: Connection, change: str) -> None:
    (found,) = found_after(adopted, change)
    assert found in {"function chatbot_private.is_adopted() is missing", "table users: owner is anon"}


@pytest.mark.parametrize(
    "act",
    [
        "ALTER TABLE users ADD COLUMN avatar text; ALTER TABLE users ALTER COLUMN email DROP NOT NULL",
        "CREATE UNIQUE INDEX own ON users (email); CREATE INDEX own2 ON users (role)",
        "CREATE POLICY own ON users USING (true); ALTER TABLE tenants DISABLE ROW LEVEL SECURITY",
        "GRANT ALL ON users, messages TO PUBLIC; REVOKE ALL ON feedback FROM anon",
        "CREATE TRIGGER own BEFORE UPDATE ON users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE users ADD CHECK (role <> ''); ALTER TABLE feedback DROP CONSTRAINT feedback_comment_check",
        "COMMENT ON TABLE users IS 'Ours'; ALTER TABLE tenants OWNER TO service_role",
        "CREATE VIEW own AS TABLE messages; GRANT ALL ON own TO anon",
        "GRANT CREATE ON SCHEMA public TO PUBLIC; ALTER ROLE authenticated LOGIN",
        "ALTER TABLE feedback ADD COLUMN tags text; CREATE TABLE child () INHERITS (messages)",
    ],
)
def test_what_is_an_adopted_platforms_own_is_no_finding(adopted: Connection, act: str) -> None:
    assert found_after(adopted, act) == []


DEFINER = "CREATE FUNCTION own() RETURNS SETOF chatbots SECURITY DEFINER LANGUAGE"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        pytest.param(
            "CREATE VIEW own AS TABLE chatbots", "view public.own reads chatbots past row security", id="view"
        ),
        pytest.param(
            "CREATE VIEW first WITH (security_invoker) AS TABLE published_chatbots;"
            'CREATE SCHEMA "Their own"; CREATE VIEW "Their own"."My|view" AS TABLE first',
            'view "Their own"."My|view" reads chatbots, published_chatbots past row security',
            id="view-of-views",
        ),
        pytest.param(
            "CREATE MATERIALIZED VIEW own AS TABLE chatbots; GRANT SELECT (id) ON own TO authenticated",
            "materialized view public.own reads chatbots past row security",
            id="materialized-view",
        ),
        pytest.param(
            f"{DEFINER} sql AS 'SELECT * FROM public.chatbots'",
            "function public.own() reads or changes chatbots past row security",
            id="definer",
        ),
        pytest.param(
            f'{DEFINER} plpgsql AS $$BEGIN RETURN QUERY SELECT * FROM "public" . "chatbots"; END$$',
            "function public.own() reads or changes chatbots past row security",
            id="definer-quoted",
        ),
        pytest.param(
            f"{DEFINER} plpgsql AS $$BEGIN RETURN QUERY EXECUTE format('TABLE %I', 'chatbots'); END$$",
            "function public.own() reads or changes chatbots past row security",
            id="definer-dynamic",
        ),
        pytest.param(
            f"{DEFINER} sql BEGIN ATOMIC SELECT * FROM chatbots; END",
            "function public.own() reads or changes chatbots past row security",
            id="definer-parsed",
        ),
        pytest.param(
            "CREATE FUNCTION own(query text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$BEGIN EXECUTE query; END$$",
            "function public.own(text) reads or changes whatever it is given past row security",
            id="definer-of-anything",
        ),
        pytest.param(
            "CREATE VIEW bots WITH (security_invoker) AS TABLE chatbots; CREATE FUNCTION own() RETURNS SETOF bots"
            " LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM bots'",
            "function public.own() reads or changes bots past row security",
            id="definer-of-a-view",
        ),
        pytest.param(
            "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$BEGIN SELECT string_agg(system_prompt, '') INTO NEW.title FROM public.chatbots; RETURN NEW; END$$",
            "trigger function public.own() reads chatbots past row security: revoke it from all",
            id="definer-of-a-trigger",
        ),
        pytest.param(
            "CREATE TABLE inbox (x text); GRANT ALL ON inbox TO authenticated;"
            "CREATE RULE own AS ON INSERT TO inbox DO INSTEAD SELECT name FROM chatbots",
            "rule own on public.inbox reads chatbots past row security",
            id="rule",
        ),
        pytest.param(
            "CREATE RULE own AS ON INSERT TO chatbot_compat.feedback DO INSTEAD SELECT name FROM chatbots",
            "chatbot_compat.feedback: rule own is not of this package",
            id="rule-of-the-compatibility-view",
        ),
        pytest.param(
            "CREATE MATERIALIZED VIEW own AS TABLE chatbots; ALTER MATERIALIZED VIEW own OWNER TO authenticated",
            "materialized view public.own reads chatbots past row security",
            id="materialized-view-given-away",
        ),
        pytest.param(
            "DO $$BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO authenticated', current_database()); END$$",
            "role authenticated: member of was no other, is pg_database_owner",
            id="database-given-away",
        ),
        pytest.param(
            "ALTER SCHEMA public OWNER TO authenticated",
            "schema public: owner is authenticated",
            id="schema-public-given-away",
        ),
        pytest.param(
            "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database());"
            " END$$",
            "setting session_replication_role of database",
            id="guards-off",
        ),
        pytest.param(
            "CREATE TABLE parent (LIKE chatbots); ALTER TABLE chatbots INHERIT parent",
            "table chatbots: inherits from is public.parent",
            id="parent",
        ),
        pytest.param(
            "CREATE POLICY own ON alembic_version FOR UPDATE USING (true)",
            'alembic_version: policy "own" is not of this package',
            id="policy-of-the-version-table",
        ),
        pytest.param(
            "GRANT INSERT ON alembic_version TO anon",
            "alembic_version: rights of anon are not of this package: INSERT all",
            id="grant-of-the-version-table",
        ),
        pytest.param(
            "GRANT USAGE ON SCHEMA chatbot_private TO anon",
            "schema chatbot_private: USAGE was the owner, is anon, the owner",
            id="schema",
        ),
        pytest.param("ALTER ROLE anon BYPASSRLS", "role anon: BYPASSRLS was no, is yes", id="bypassrls"),
        pytest.param(
            "GRANT pg_read_all_data TO authenticated",
            "role authenticated: member of was no other, is pg_read_all_data",
            id="membership",
        ),
        pytest.param(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA chatbot_private GRANT EXECUTE ON FUNCTIONS TO anon",
            "schema chatbot_private: default privileges is {anon=X/",
            id="default-privileges",
        ),
        pytest.param(
            "CREATE ROLE openings_newcomer; ALTER FUNCTION chatbot_private.tenant_id() OWNER TO openings_newcomer",
            "function chatbot_private.tenant_id(): row security of users hides everybody from its owner",
            id="helper-that-sees-nobody",
        ),
    ],
)
def test_what_opens_ours_is_a_finding_everywhere(shape: Connection, change: str, line: str) -> None:
    found = found_after(shape, change)
    assert any(each.startswith(line) for each in found), found


def test_a_rule_is_blamed_and_not_what_reads_its_table(shape: Connection) -> None:
    (found,) = found_after(
        shape,
        "CREATE TABLE inbox (x text); CREATE RULE own AS ON INSERT TO inbox DO INSTEAD SELECT name FROM chatbots",
        "CREATE VIEW letters AS TABLE inbox; GRANT ALL ON letters TO anon",
    )
    assert found.startswith("rule own on public.inbox reads chatbots past row security")

"""What `alembic check` finds beside changed facts: what opens ours, on every shape, and never what is harmless."""

from collections.abc import Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import Connection

from app.catalog.comparison import compare
from tests.conftest import Host
from tests.platforms import SUPABASE_OWNER
from tests.tools import sqlalchemy_connection

SHAPES = {  # templates, by shape
    "plain": "people",
    "supabase": "supabase",
    "adopted": "adopted",
    "guide": "guide",
    "by-hand": "by_hand",
}


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


@pytest.fixture
def guide(host: Host, guide_template: NoopExecutor) -> Iterator[Connection]:
    with sqlalchemy_connection(host.url(guide_template.template_dbname)) as connection:
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
        pytest.param("UPDATE tenants SET name = 'New'", id="row"),
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
        pytest.param("DROP SCHEMA IF EXISTS chatbot_compat CASCADE", id="compatibility-view-no-longer-needed"),
        pytest.param("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon", id="defaults-elsewhere"),
    ],
)
def test_a_harmless_act_is_no_finding(shape: Connection, act: str) -> None:
    assert found_after(shape, act) == []


def test_a_function_saved_with_other_line_ends_is_the_same(shape: Connection) -> None:
    """As an editor on Windows saves it."""
    saved = shape.exec_driver_sql(
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE oid = 'chatbot_private.is_admin'::regproc"
    ).scalar_one()
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


@pytest.fixture
def by_hand(host: Host, by_hand_template: NoopExecutor) -> Iterator[Connection]:
    """The guide's platform, where its SQL was run by hand; as its owner."""
    with sqlalchemy_connection(host.url(by_hand_template.template_dbname)) as connection:
        connection.exec_driver_sql(f"SET ROLE {SUPABASE_OWNER}")
        yield connection


@pytest.mark.parametrize(
    "act",
    [
        "ALTER TABLE users ALTER role SET NOT NULL, ALTER role SET DEFAULT 'member'",
        "ALTER TABLE users DROP CONSTRAINT check_role_valid, ADD CONSTRAINT users_role_check CHECK (true)",
        "UPDATE users SET role = 'user' WHERE role = 'admin'",
        "ALTER TABLE users ALTER is_active SET NOT NULL; ALTER TABLE users ADD UNIQUE (email)",
        "ALTER TABLE chatbots ADD COLUMN mood text, ADD COLUMN owner uuid REFERENCES users ON DELETE CASCADE",
        "ALTER TABLE chatbots ADD CONSTRAINT own CHECK (length(name) > 1), ADD UNIQUE (tenant_id, name)",
        "ALTER TABLE chatbots ALTER max_tokens DROP NOT NULL, ALTER max_tokens DROP DEFAULT, ALTER model DROP DEFAULT",
        "ALTER TABLE chatbots ADD COLUMN theirs uuid REFERENCES invite_codes ON DELETE CASCADE",
        "ALTER TABLE chatbots ALTER description SET NOT NULL, ALTER created_at SET DEFAULT now() + interval '1 s'",
        "DROP INDEX idx_chatbots_name_before_007; CREATE UNIQUE INDEX own ON chatbots (lower(name))",
        "CREATE TRIGGER own BEFORE UPDATE ON chatbots FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()",
        "ALTER TABLE chatbots RENAME CONSTRAINT chatbots_pkey TO pk_chatbots",
        "ALTER TABLE chatbots DROP CONSTRAINT check_temperature_range, DROP CONSTRAINT check_max_tokens_positive",
        "ALTER TABLE feedback ALTER notes TYPE varchar(100); ALTER TABLE feedback ALTER rating TYPE numeric",
        "COMMENT ON COLUMN chatbots.name IS 'Ours'; COMMENT ON COLUMN chatbots.description IS 'Ours'",
        "CREATE SCHEMA chatbot_archive; CREATE TABLE chatbot_archive.chatbots (LIKE chatbots)",
    ],
)
def test_what_is_the_guides_platforms_own_is_no_finding(by_hand: Connection, act: str) -> None:
    by_hand.exec_driver_sql("ALTER TABLE chatbots DISABLE TRIGGER USER; UPDATE chatbots SET description = 'x'")
    by_hand.exec_driver_sql("UPDATE users SET is_active = coalesce(is_active, false), role = coalesce(role, 'user')")
    by_hand.exec_driver_sql("ALTER TABLE chatbots ENABLE TRIGGER USER")
    assert found_after(by_hand, act) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "DROP TRIGGER users_guard_identity ON users",
            "users: trigger users_guard_identity is missing",
        ),
        (
            "ALTER TABLE users DISABLE TRIGGER users_guard_identity",
            "users: trigger users_guard_identity: state is disabled",
        ),
        (
            "CREATE OR REPLACE TRIGGER users_guard_identity AFTER UPDATE ON users FOR EACH ROW"
            " WHEN (NEW.auth_id IS NULL) EXECUTE FUNCTION chatbot_private.require_table_owner('auth_id')",
            "users: trigger users_guard_identity: when was ((new.auth_id IS NOT NULL) AND"
            " (old.auth_id IS DISTINCT FROM new.auth_id)), is (new.auth_id IS NULL)",
        ),
        ("ALTER TABLE users ALTER tenant_id DROP NOT NULL", "users: column tenant_id: not null was yes, is nothing"),
        (
            "ALTER TABLE chatbots ALTER settings DROP NOT NULL",
            "chatbots: column settings: not null was yes, is nothing",
        ),
        (
            "ALTER TABLE chatbots ALTER settings DROP DEFAULT",
            "chatbots: column settings: default was '{}'::jsonb, is nothing",
        ),
        (
            "DELETE FROM chatbots WHERE created_by IS NULL; ALTER TABLE chatbots ALTER created_by SET NOT NULL",
            "chatbots: column created_by: not null is yes",
        ),
        (
            "ALTER TABLE chatbots ALTER name SET STATISTICS 100",
            "chatbots: column name: statistics was none, is nothing",
        ),
        (
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_name_check",
            "chatbots: constraint chatbots_name_check is missing",
        ),
        (
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_temperature_check,"
            " ADD CONSTRAINT chatbots_temperature_check CHECK (temperature::integer BETWEEN 0 AND 2)",
            "chatbots: constraint chatbots_temperature_check: definition was CHECK (((temperature >=",
        ),
        ("DROP INDEX idx_chatbots_name", "chatbots: index idx_chatbots_name is missing"),
        ("ALTER TABLE chatbots DISABLE ROW LEVEL SECURITY", "table chatbots: row security was on, is off"),
        ("GRANT SELECT ON chatbots TO anon", "chatbots: rights of anon: SELECT was category, created_at"),
        (
            "CREATE POLICY own ON chatbots FOR SELECT USING (true)",
            'chatbots: policy "own" is not of this package: FOR SELECT, TO PUBLIC, USING true',
        ),
        (
            "ALTER TABLE chatbots ADD FOREIGN KEY (created_by) REFERENCES users ON DELETE CASCADE",
            "chatbots: constraint chatbots_created_by_fkey1 is not of this package",
        ),
        (
            "ALTER TABLE conversations ADD FOREIGN KEY (chatbot_id) REFERENCES chatbots ON DELETE CASCADE;"
            "ALTER TABLE conversations DROP CONSTRAINT conversations_tenant_id_chatbot_id_fkey",
            "conversations: constraint conversations_tenant_id_chatbot_id_fkey is missing",
        ),
        ("CREATE RULE own AS ON DELETE TO chatbots DO NOTHING", "chatbots: rule own is not of this package"),
    ],
)
def test_what_is_ours_on_the_guides_platform_is_judged(by_hand: Connection, change: str, line: str) -> None:
    (found,) = found_after(by_hand, change)
    assert found.startswith(line)


@pytest.mark.parametrize("column", ["auth_id", "role"])
def test_a_column_that_ours_rests_on_may_not_go(guide: Connection, column: str) -> None:
    assert f"users: column {column} is missing" in found_after(guide, f"ALTER TABLE users RENAME {column} TO other")


MARKER = (
    "CREATE OR REPLACE FUNCTION chatbot_private.{} LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp"
    " AS $$SELECT {}$$"
)
EDITS = {  # of the markers, and of what depends on them; what is found of a platform where people sign in by auth_id
    "identity": (
        MARKER.format("identity_column() RETURNS name", "'id'::name"),
        "function chatbot_private.identity_column(): body was SELECT 'auth_id'::name, is SELECT 'id'::name",
    ),
    "identity-computed": (
        MARKER.format("identity_column() RETURNS name", "concat('auth', '_id')::name"),
        "function chatbot_private.identity_column(): body was SELECT 'auth_id'::name, is SELECT concat('auth', '_id')",
    ),
    "one-helper": (
        "DO $$BEGIN EXECUTE replace(pg_get_functiondef('chatbot_private.tenant_id'::regproc), 'person.auth_id',"
        " 'person.id'); END$$",
        "function chatbot_private.tenant_id(): body, line 4, was WHERE person.auth_id = chatbot_private.token_sub()"
        " HAVING count(*) = 1, is WHERE person.id = chatbot_private.token_sub() HAVING count(*) = 1",
    ),
    "roles": (
        MARKER.format("admin_roles() RETURNS text[]", "'{admin,user}'::text[]"),
        "function chatbot_private.is_admin_role(text): body was RETURN COALESCE((role = ANY"
        " ('{\"admin\",\"user\"}'::text[])), false), is RETURN COALESCE((role = ANY ('{admin}'::text[])), false)",
    ),
    "no-roles": (
        MARKER.format("admin_roles() RETURNS text[]", "NULL::text[]"),
        "function chatbot_private.admin_roles(): body was SELECT '{admin}'::text[], is SELECT NULL::text[]",
    ),
    "roles-of-the-judge": (
        "CREATE OR REPLACE FUNCTION chatbot_private.is_admin_role(role text) RETURNS boolean LANGUAGE sql IMMUTABLE"
        " PARALLEL SAFE RETURN coalesce(role = ANY ('{admin,user}'::text[]), false)",
        "function chatbot_private.is_admin_role(text): body was RETURN COALESCE((role = ANY ('{\"admin\"}'::text[])),"
        " false), is RETURN COALESCE((role = ANY ('{admin,user}'::text[])), false)",
    ),
    "judge": (
        "CREATE OR REPLACE FUNCTION chatbot_private.is_admin_role(role text) RETURNS boolean LANGUAGE sql IMMUTABLE"
        " PARALLEL SAFE RETURN true",
        "function chatbot_private.is_admin_role(text): body was RETURN COALESCE((",
    ),
    "taken-over": (
        MARKER.format("taken_over() RETURNS text[]", "'{users}'::text[]"),
        "function chatbot_private.taken_over(): body was SELECT '{}'::text[], is SELECT '{users}'::text[]",
    ),
    "adopted": (
        MARKER.format("is_adopted() RETURNS boolean", "1 = 1"),
        "function chatbot_private.is_adopted(): body was SELECT true, is SELECT 1 = 1",
    ),
    "thumbs": (
        MARKER.format("positive_from() RETURNS integer", "0"),
        "function chatbot_private.positive_from(): body was SELECT 4, is SELECT 0",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_markers_and_what_depends_on_them_agree(guide: Connection, edit: str) -> None:
    """A marker that is edited does not hide that the helpers are other, nor do the helpers hide each other."""
    change, line = EDITS[edit]
    found = found_after(guide, change)
    assert any(each.startswith(line) for each in found), found
    assert len(found) == 1 or edit == "taken-over"  # without it, users.role would be ours


def test_all_of_them_edited_alike_are_another_platform(guide: Connection) -> None:
    """Its guard tells."""
    every = "'chatbot_private'::regnamespace AND proname IN ('claimed_user_id', 'user_id', 'tenant_id', 'is_admin')"
    found = found_after(
        guide,
        MARKER.format("identity_column() RETURNS name", "'id'::name"),
        f"DO $$DECLARE its oid; BEGIN FOR its IN SELECT oid FROM pg_proc WHERE pronamespace = {every} LOOP"
        " EXECUTE replace(pg_get_functiondef(its), 'person.auth_id', 'person.id'); END LOOP; END$$",
    )
    assert found == ["users: trigger users_guard_identity is not of this package"]


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


def test_a_rule_of_the_compatibility_view_is_a_finding(adopted: Connection) -> None:
    rule = "CREATE RULE own AS ON INSERT TO chatbot_compat.feedback DO INSTEAD SELECT name FROM chatbots"
    assert "chatbot_compat.feedback: rule own is not of this package" in found_after(adopted, rule)


def test_a_rule_is_blamed_and_not_what_reads_its_table(shape: Connection) -> None:
    (found,) = found_after(
        shape,
        "CREATE TABLE inbox (x text); CREATE RULE own AS ON INSERT TO inbox DO INSTEAD SELECT name FROM chatbots",
        "CREATE VIEW letters AS TABLE inbox; GRANT ALL ON letters TO anon",
    )
    assert found.startswith("rule own on public.inbox reads chatbots past row security")

"""`python -m app preflight`; that it judges as the upgrade does is in test_adoption.py."""

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.embedded import Server
from app.migration.preflight import Preflight, preflight
from app.migration.settings import configuration
from tests.people import ACME, ANONYMOUS, LOGIN_ROLES, MEMBER, PUBLISHED, Who, missing_roles, populate
from tests.platforms import PLAIN, ROLES, SUPABASE, settle
from tests.tools import NEWEST, PROJECT, REVISIONS, alembic, attempt, catalog, connect, database_url, psql, run


def looked_at(url: URL) -> Preflight:
    with database_url(url):
        return preflight(configuration())


@pytest.fixture
def adoptable(empty: URL) -> URL:
    with connect(empty) as connection:
        settle(connection, SUPABASE)
    return empty


def test_says_what_each_step_would_do(adoptable: URL) -> None:
    with connect(adoptable) as connection:
        connection.execute("ANALYZE")
    said = run("app", "preflight", url=adoptable)
    assert said.returncode == 0, said.stderr
    assert "Has conversations, feedback, messages, tenants, users: they would be adopted." in said.stdout
    assert "It fits." in said.stdout
    for line in (
        "locks:     ACCESS EXCLUSIVE on users for milliseconds",
        "meanwhile: checks about 7 rows of users (users_role_check)",
        "meanwhile: builds idx_users_role, at most 1 MB",
        "meanwhile: builds idx_users_tenant_role, at most 1 MB",
        "meanwhile: checks about 6 rows of conversations (conversations_tenant_id_chatbot_id_fkey)",
        "meanwhile: builds idx_conversations_tenant_chatbot, empty at first",
        "downgrade: loses who was an admin",
    ):
        assert line in said.stdout
    assert [step.revision for step in looked_at(adoptable).steps] == list(REVISIONS)


def test_of_an_empty_database_all_is_made(empty: URL) -> None:
    found = looked_at(empty)
    assert found.situation == "Has none of the platform's tables: they would be made."
    assert found.obstacles == []
    assert [line for step in found.steps for line in step.warnings] == []
    assert found.steps[2].work == [
        "builds idx_users_role, empty at first",
        "builds idx_users_tenant_role, empty at first",
    ]


def test_touches_nothing_and_waits_for_nobody_who_lets_others_read(adoptable: URL) -> None:
    with connect(adoptable) as connection, connect(adoptable) as busy:
        before = catalog(connection)
        busy.autocommit = False
        busy.execute("LOCK TABLE tenants, users, conversations, messages, feedback IN EXCLUSIVE MODE")
        assert looked_at(adoptable).obstacles == []
        busy.rollback()
        assert catalog(connection) == before
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


def test_what_does_not_fit_is_an_exit_code(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute(ROLES + ";" + PLAIN + "; ALTER TABLE users ADD COLUMN role text")
    said = run("app", "preflight", url=empty)
    assert said.returncode == 3
    assert "It does not fit:\n  - users.role is there already" in said.stdout


def test_the_judgement_is_of_the_role_that_would_migrate(fresh_role: URL) -> None:
    """Everything that a role lacks is told at once, also what would fail before a step begins."""
    told = "\n".join(": ".join(each) for each in looked_at(fresh_role).obstacles)
    for reason in (
        "users belongs to postgres, and you are newcomer: connect as its owner",
        "conversations belongs to postgres",
        "feedback belongs to postgres",
        "newcomer may not reference tenants; as its owner, run once: GRANT REFERENCES ON TABLE public.tenants TO",
        "newcomer may not create schemas in database",
        "newcomer may not create tables in schema public; as its owner, run once: GRANT CREATE ON SCHEMA public TO",
    ):
        assert reason in told
    assert "messages belongs" not in told  # nothing of it is changed


@pytest.fixture
def fresh_role(adoptable: URL) -> URL:
    with connect(adoptable) as connection:
        connection.execute("DROP ROLE IF EXISTS newcomer; CREATE ROLE newcomer LOGIN")
    return adoptable.set(username="newcomer")


def test_force_row_level_security_binds_an_owner_that_does_not_bypass_it(fresh_role: URL, adoptable: URL) -> None:
    with connect(adoptable) as connection:
        connection.execute(f"""
            ALTER TABLE users OWNER TO newcomer;
            ALTER TABLE conversations OWNER TO newcomer;
            ALTER TABLE feedback OWNER TO newcomer;
            ALTER SCHEMA public OWNER TO newcomer;
            GRANT REFERENCES ON tenants TO newcomer;
            GRANT CREATE ON DATABASE {adoptable.database} TO newcomer
        """)
        found = looked_at(fresh_role)
        assert found.obstacles == []
        (warning,) = [each for step in found.steps for each in step.warnings if "newcomer" in each]
        assert "newcomer does not see every row of messages, tenants" in warning
        connection.execute("ALTER TABLE users FORCE ROW LEVEL SECURITY")
        ((reason, remedy),) = looked_at(fresh_role).obstacles
        assert reason == "users has FORCE ROW LEVEL SECURITY, which hides its rows from newcomer"
        # NO FORCE would open every row to an application that connects as the owner.
        assert remedy == "connect as a superuser, or as a role with BYPASSRLS that is a member of newcomer"
        assert looked_at(adoptable).obstacles == []  # a superuser bypasses it
        connection.execute("ALTER ROLE newcomer BYPASSRLS")
        assert looked_at(fresh_role).obstacles == []
        connection.execute("ALTER ROLE newcomer SUPERUSER NOBYPASSRLS")
        assert looked_at(fresh_role).obstacles == []
        connection.execute("ALTER ROLE newcomer NOSUPERUSER; ALTER TABLE users NO FORCE ROW LEVEL SECURITY")
        alembic(fresh_role, "upgrade", "head")  # no superuser, but fits
        alembic(fresh_role, "downgrade", "base")
        connection.execute("ALTER SCHEMA public OWNER TO pg_database_owner")
        connection.execute("REASSIGN OWNED BY newcomer TO postgres; DROP OWNED BY newcomer")


def test_warns_of_what_weakens_or_breaks(adoptable: URL) -> None:
    with connect(adoptable) as connection:
        connection.execute("""
            ALTER TABLE messages DISABLE ROW LEVEL SECURITY;
            CREATE FUNCTION last_words() RETURNS text LANGUAGE sql AS 'SELECT max(comment) FROM feedback';
            CREATE FUNCTION parsed() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT max(comment) FROM feedback; END;
            CREATE FUNCTION unrelated() RETURNS text LANGUAGE sql AS 'SELECT ''commentary on feedback''';
            CREATE FUNCTION react() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.comment := 1; RETURN NEW; END';
            CREATE TRIGGER react BEFORE INSERT ON feedback FOR EACH ROW WHEN (false) EXECUTE FUNCTION react()
        """)
    warnings = {step.revision: step.warnings for step in looked_at(adoptable).steps}
    (functions,) = warnings["010"]
    assert functions.partition(": ")[2] == "public.last_words(), public.react()"
    assert warnings["006"] == [
        "Row security is off on messages, which anon and authenticated may use, so every tenant's rows are open to"
        " them; this makes its policies take effect: ALTER TABLE public.messages ENABLE ROW LEVEL SECURITY",
        "anon and authenticated may insert into users, and so choose a tenant, also after deleting their own row, which"
        ' makes an inactive person active again; let policy "Own profile" check id and tenant_id, or, if only your'
        " backend adds people, run: REVOKE INSERT ON TABLE public.users FROM anon, authenticated",
        "anon and authenticated hold TRUNCATE or TRIGGER on conversations, feedback, messages, tenants, users; TRUNCATE"
        " empties a table for every tenant, and a trigger runs as whoever writes, the owner too: REVOKE TRUNCATE,"
        " TRIGGER ON TABLE public.conversations, public.feedback, public.messages, public.tenants, public.users FROM"
        " anon, authenticated",
    ]


@pytest.mark.parametrize(
    ("revision", "change", "warning"),
    [
        (
            "006",
            "CREATE VIEW profiles AS SELECT id, tenant_id, email, is_active FROM users",
            "anon and authenticated may insert into users through view public.profiles, as its owner: REVOKE INSERT ON"
            " TABLE public.profiles FROM anon, authenticated",
        ),
        (
            "006",
            'CREATE POLICY "Owners" ON tenants FOR DELETE TO authenticated USING (id = auth.uid())',
            "authenticated may delete tenants, and chatbots are deleted with their tenant: REVOKE DELETE ON TABLE"
            " public.tenants FROM authenticated",
        ),
        (
            "006",
            "CREATE TABLE plans (id int PRIMARY KEY); REVOKE ALL ON plans FROM anon, authenticated; GRANT DELETE ON"
            " plans TO PUBLIC; ALTER TABLE tenants ADD COLUMN plan_id int REFERENCES plans ON DELETE CASCADE",
            "anon and authenticated may delete rows of public.plans, which deletes tenants, and chatbots are deleted"
            " with their tenant: REVOKE DELETE ON TABLE public.plans FROM PUBLIC",
        ),
        (
            "006",
            "ALTER TABLE messages RENAME TO m; CREATE TABLE messages (LIKE m) PARTITION BY RANGE (created_at);"
            " CREATE TABLE messages_1 PARTITION OF messages DEFAULT; ALTER TABLE messages ENABLE ROW LEVEL SECURITY",
            "Row security is off on public.messages_1, a partition of messages that anon and authenticated may use",
        ),
        (
            "006",
            "ALTER TABLE tenants DROP COLUMN updated_at; ALTER TABLE users DROP COLUMN is_active",
            "Revision 006 adds tenants.updated_at, users.is_active, and its downgrade drops them; everybody is active"
            " at first; no trigger keeps updated_at current",
        ),
        (
            "006",
            "ALTER TABLE tenants DROP COLUMN updated_at; CREATE FUNCTION first() RETURNS tenants LANGUAGE sql AS"
            " 'SELECT * FROM public.tenants LIMIT 1'",
            "Function public.first() takes whole rows of tenants, which get a column",
        ),
        (
            "006",
            "ALTER TABLE users ALTER COLUMN is_active DROP NOT NULL",
            "users.is_active may be NULL, which counts as inactive",
        ),
        (
            "006",
            "ALTER TABLE tenants ALTER COLUMN created_at TYPE timestamp; ALTER TABLE messages ALTER COLUMN created_at"
            " TYPE timestamp(3)",
            "Without a time zone (type timestamp) are tenants.created_at, messages.created_at: models and usage take",
        ),
        ("006", "CREATE RULE quiet AS ON UPDATE TO conversations WHERE false DO INSTEAD NOTHING", "Rules rewrite"),
        ("006", "GRANT CREATE ON SCHEMA public TO PUBLIC", "Everybody may create objects in schema public"),
        ("006", "ALTER TABLE users OWNER TO pg_monitor", "users belongs to pg_monitor, and chatbots will belong to"),
        (
            "006",
            "REVOKE ALL ON conversations FROM authenticated",
            "Members may not use conversations: role authenticated has no right on it; this gives them what its"
            " policies admit: GRANT SELECT, INSERT, UPDATE (title), DELETE ON TABLE public.conversations TO authent",
        ),
        (
            "006",
            "REVOKE ALL ON conversations FROM authenticated; CREATE POLICY everybody ON conversations USING (true)",
            "Members may not use conversations: role authenticated has no right on it; its policies admit more than a"
            " member's own rows, so change them before any GRANT",
        ),
        (
            "008",
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO kept SELECT OLD.*; RETURN NULL; END';"
            " CREATE TRIGGER keep AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep()",
            "Function public.keep() takes whole rows of users",
        ),
        (
            "009",
            "CREATE FUNCTION latest() RETURNS conversations LANGUAGE sql AS 'SELECT * FROM conversations LIMIT 1'",
            "Function public.latest() takes whole rows of conversations",
        ),
        (
            "011",
            "ALTER TABLE feedback DROP CONSTRAINT feedback_message_id_user_id_key",
            "No index of feedback begins with message_id, so chatbot_usage reads the whole table",
        ),
    ],
)
def test_warns_of(adoptable: URL, revision: str, change: str, warning: str) -> None:
    assert not any(warning in line for step in looked_at(adoptable).steps for line in step.warnings)
    with connect(adoptable) as connection:
        connection.execute(change)
    warnings = {step.revision: step.warnings for step in looked_at(adoptable).steps}
    assert any(warning in line for line in warnings[revision])


@pytest.mark.parametrize(
    "change",
    [
        'CREATE POLICY "Nobody" ON tenants FOR DELETE USING (false)',
        'CREATE POLICY "Owners" ON tenants FOR DELETE USING (true); CREATE POLICY "Not" ON tenants AS RESTRICTIVE'
        " USING (false)",
        'CREATE POLICY "Owners" ON tenants FOR DELETE USING (true); REVOKE DELETE ON tenants FROM anon, authenticated',
        "CREATE TABLE plans (id int PRIMARY KEY); ALTER TABLE tenants ADD COLUMN plan_id int REFERENCES plans",
    ],
    ids=["never", "restricted", "no-grant", "no-cascade"],
)
def test_warns_of_deletions_only_where_they_are_possible(adoptable: URL, change: str) -> None:
    with connect(adoptable) as connection:
        connection.execute(change)
    assert not any("may delete" in line for line in looked_at(adoptable).steps[0].warnings)


@pytest.mark.parametrize("roles", ["", ROLES], ids=["before-the-roles", "with-the-roles"])
def test_says_what_gives_members_of_a_plain_platform_their_own_and_nothing_else(
    server: Server, empty: URL, roles: str
) -> None:
    """Row security goes on with the grants, and binds nobody but members: the platform's own role sees what it saw."""
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute(f"{missing_roles('own_backend NOLOGIN')}; {roles}")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO own_backend")
        warnings = looked_at(empty).steps[0].warnings
        assert [line.partition(":")[0] for line in warnings] == [
            f"Members may not use {table}" for table in ("tenants", "users", "conversations", "messages", "feedback")
        ]
        alembic(empty, "upgrade", "006")
        remedies = [line.partition("from revision 006 on, this gives them their own rows: ")[2] for line in warnings]
        done = psql(server.binaries, empty, "--set=ON_ERROR_STOP=1", script=";".join(remedies))
        assert done.returncode == 0, done.stderr
        sees = {
            table: [
                attempt(connection, who, f"SELECT FROM {table}", {}) for who in (MEMBER, ANONYMOUS, Who("own_backend"))
            ]
            for table in ("tenants", "users", "conversations", "messages", "feedback")
        }
        assert sees == {
            "tenants": [1, "grant", 2],
            "users": [1, "grant", 7],
            "conversations": [2, "grant", 6],
            "messages": [3, "grant", 8],
            "feedback": [1, "grant", 5],
        }
        connection.execute("DROP OWNED BY own_backend; DROP ROLE own_backend")


def test_no_grant_is_given_for_what_policies_do_not_limit(empty: URL) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute("""
            ALTER TABLE conversations ENABLE ROW LEVEL SECURITY;
            CREATE POLICY own ON conversations USING (user_id = nullif(current_setting('app.user', true), '')::uuid);
            ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
            CREATE POLICY everything ON messages USING (true);
            GRANT SELECT ON feedback TO authenticated
        """)
    said = {line.split()[4].rstrip(":"): line for line in looked_at(empty).steps[0].warnings}
    assert said["conversations"].endswith("DELETE ON TABLE public.conversations TO authenticated")
    assert "CREATE POLICY" not in said["conversations"]
    assert said["messages"].endswith(
        "its policies admit more than a member's own rows, so change them before any GRANT"
    )
    assert not any("GRANT" in line for line in said.values() if "feedback" in line)
    assert said["on"].startswith("Row security is off on feedback, which authenticated may use, so every tenant's rows")


def test_warns_of_login_roles_that_are_members_and_service(empty: URL) -> None:
    with connect(empty) as connection:
        settle(connection, PLAIN)
        connection.execute(f"""
            {LOGIN_ROLES};
            {missing_roles("services NOLOGIN", "backend LOGIN", "member LOGIN", "supabase_x LOGIN", "worker LOGIN")};
            GRANT service_role TO services;
            GRANT authenticated, services TO backend;
            GRANT authenticated TO member;
            GRANT authenticated, service_role TO supabase_x;
            GRANT service_role TO worker;
            {missing_roles("tables_owner NOLOGIN", "operator LOGIN NOINHERIT")};
            GRANT authenticated, service_role TO tables_owner;
            GRANT tables_owner TO operator;
            ALTER TABLE users OWNER TO tables_owner
        """)
        try:
            found = [line for line in looked_at(empty).steps[0].warnings if "service_role" in line]
        finally:
            connection.execute("REASSIGN OWNED BY tables_owner TO postgres")
            connection.execute("DROP ROLE services, backend, member, supabase_x, worker, operator, tables_owner")
    assert found == [
        "Login role backend can act as authenticated and as service_role, so SQL that is injected into a member's"
        " request can bypass row security: REVOKE services FROM backend"
    ]


def test_of_an_upgraded_database_news_is_no_warning(adoptable: URL) -> None:
    """`doctor` asks the same query at head: what stays is what the platform lets its clients do."""
    with connect(adoptable) as connection:
        connection.execute("""
            ALTER TABLE tenants DROP COLUMN updated_at;
            ALTER TABLE users ALTER COLUMN is_active DROP NOT NULL;
            ALTER TABLE messages ALTER COLUMN created_at TYPE timestamp;
            REVOKE ALL ON conversations FROM anon, authenticated
        """)
        before = looked_at(adoptable).steps[0].warnings
        alembic(adoptable, "upgrade", "head")
        connection.execute("SET search_path = pg_catalog, pg_temp")
        after = [line for (line,) in connection.execute((PROJECT / "alembic" / "sql" / "006_warnings.sql").read_text())]
    assert after == [line for line in before if "may insert into users" in line or "TRUNCATE" in line]
    assert len(before) == len(after) + 4


def test_a_fresh_install_has_nothing_to_warn_of(head: URL) -> None:
    with connect(head) as connection:
        connection.execute("SET search_path = pg_catalog, pg_temp")
        assert connection.execute((PROJECT / "alembic" / "sql" / "006_warnings.sql").read_text()).fetchall() == []


def test_a_client_past_row_security_does_not_fit(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute(ROLES)
        connection.execute("ALTER ROLE authenticated BYPASSRLS")
        obstacles = looked_at(empty).obstacles
        connection.execute("ALTER ROLE authenticated NOBYPASSRLS")
    assert obstacles == [
        ("Role authenticated is past row security", "ALTER ROLE authenticated NOSUPERUSER NOBYPASSRLS")
    ]


def test_warns_of_a_client_that_is_a_member_of_another_role(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute(f"{ROLES}; CREATE ROLE web; GRANT web TO anon")
        found = looked_at(empty)
        connection.execute("DROP ROLE web")
    assert found.obstacles == []
    (warning,) = found.steps[0].warnings
    assert warning.startswith("Role anon is a member of web, whose rights it has or may take; `alembic check` will")


@pytest.mark.parametrize("held", ["postgres", "service_role", "pg_read_all_data", "pg_write_all_data"])
def test_a_client_with_the_rights_of_others_does_not_fit(empty: URL, held: str) -> None:
    """Nor on a fresh install: it would own the tables, or read and write them past their grants."""
    with connect(empty) as connection:
        connection.execute(f"{ROLES}; GRANT {held} TO authenticated")
        obstacles = looked_at(empty).obstacles
        connection.execute(f"REVOKE {held} FROM authenticated")
    assert [reason for reason, _ in obstacles] == [
        f"Role authenticated has the rights of {held}, past what this package grants"
    ]
    assert looked_at(empty).obstacles == []


def test_an_upgrade_says_the_warnings(adoptable: URL) -> None:
    with connect(adoptable) as connection:
        connection.execute("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT max(comment) FROM feedback'")
    told = run("alembic", "upgrade", "head", url=adoptable).stderr
    assert "WARNING These functions name comment of feedback" in told
    assert "WARNING anon and authenticated may insert into users" in told


@pytest.mark.parametrize(
    "statement",
    ["REVOKE ALL ON users FROM anon, authenticated", 'DROP POLICY "Own profile" ON users'],
    ids=["no-grant", "no-policy"],
)
def test_warns_of_insertion_only_where_it_is_possible(adoptable: URL, statement: str) -> None:
    with connect(adoptable) as connection:
        connection.execute(statement)
    assert not any("may insert into users" in line for line in looked_at(adoptable).steps[0].warnings)


def test_says_what_downgrades_would_drop_by_now(platform: Connection, people_database: URL) -> None:
    platform.execute("UPDATE users SET role = 'user' WHERE tenant_id = %s", (ACME,))
    platform.commit()
    said = run("app", "preflight", url=people_database)
    assert said.returncode == 0
    assert f"At revision {NEWEST}.\nThere is nothing newer." in said.stdout
    for loss in ("006: 2 tenants, 7 users", "007: 4 chatbots", "008: the role of 3 admins", "009: the chatbot of 2"):
        assert loss in said.stdout


def test_one_thing_is_counted_in_the_singular(empty: URL) -> None:
    alembic(empty, "upgrade", "head")
    with connect(empty) as connection:
        connection.execute("""
            INSERT INTO tenants (name) VALUES ('Acme');
            INSERT INTO users (tenant_id, email, role) SELECT id, 'a@acme.example', 'admin' FROM tenants;
            INSERT INTO chatbots (tenant_id, name, system_prompt, model, category, tags)
            SELECT id, 'Bot', 'Be.', 'm', 'c', '{t}' FROM tenants;
            INSERT INTO conversations (tenant_id, user_id, chatbot_id)
            SELECT users.tenant_id, users.id, chatbots.id FROM users, chatbots;
            DELETE FROM audit_log WHERE table_name = 'users';
        """)
    assert looked_at(empty).losses == [
        "006: 1 tenant, 1 user, 1 conversation, 0 messages, 0 feedback",
        "007: 1 chatbot",
        "008: the role of 1 admin",
        "009: the chatbot of 1 conversation",
        "012: 1 entry of the audit log",
        "013: the version that 1 conversation was linked to",
        "014: the category of 1 chatbot",
        "014: the tags of 1 chatbot",
    ]


def test_of_an_adopted_platform_downgrades_drop_no_row(adoptable: URL) -> None:
    alembic(adoptable, "upgrade", "head")
    with connect(adoptable) as connection:
        populate(connection, first="007")
    assert looked_at(adoptable).losses == [
        "007: 4 chatbots",
        "008: the role of 3 admins",
        "009: the chatbot of 2 conversations",
        "012: 4 entries of the audit log",
        "013: the version that 2 conversations were linked to",
        "014: the category of 2 chatbots",
        "014: the tags of 3 chatbots",
    ]


def test_warns_of_tools_of_another_shape(empty: URL) -> None:
    alembic(empty, "upgrade", "014")
    with connect(empty) as connection:
        populate(connection, last="014")
        assert not any("tools of another shape" in line for line in looked_at(empty).steps[-1].warnings)
        connection.execute('UPDATE chatbots SET settings = \'{"tools": [{"type": "function"}]}\' WHERE is_published')
        (warning,) = looked_at(empty).steps[-1].warnings
        assert warning.startswith("2 chatbots have tools of another shape, which stay until their settings are saved")
        assert warning.endswith(f"The first is {PUBLISHED}: settings.tools[0].type is not known here")
        upgraded = run("alembic", "upgrade", "head", url=empty)
        assert (upgraded.returncode, warning in upgraded.stderr) == (0, True)
        connection.execute("UPDATE chatbots SET name = 'New'")


def test_says_what_is_half_done(adoptable: URL) -> None:
    alembic(adoptable, "upgrade", "007")
    with connect(adoptable) as connection:
        connection.execute("COMMENT ON TABLE alembic_version IS 'alembic upgrade 008'")
    assert looked_at(adoptable).situation == "Interrupted half-way through a step: `alembic upgrade 008` finishes it."


def test_sizes_are_bounds(empty: URL) -> None:
    alembic(empty, "upgrade", "007")
    with connect(empty) as connection:
        connection.execute("""
            INSERT INTO tenants (name) SELECT 'Tenant ' || n FROM generate_series(1, 1000) AS n;
            INSERT INTO users (tenant_id, email) SELECT id, n || '@x' FROM tenants, generate_series(1, 100) AS n
        """)
        assert "of unknown size (ANALYZE users)" in looked_at(empty).steps[0].work[2]
        connection.execute("ANALYZE")
        said = looked_at(empty).steps[0].work[2]
        alembic(empty, "upgrade", "008")
        size = connection.execute("SELECT pg_relation_size('idx_users_tenant_role') / 1e6").fetchone()
        bound = int(said.partition("at most ")[2].removesuffix(" MB"))
        assert size is not None
        assert size[0] <= bound <= 8 * size[0]

"""`alembic check`: what it finds beside the models' differences, in which words, and what is no finding.

That no documented fact can change unseen is in test_tampering.py; what else is a finding, in test_openings.py.
"""

import re
import subprocess
from pathlib import Path

import pytest
from psycopg import Connection
from pytest_postgresql import factories
from sqlalchemy import URL

from app.embedded import Server
from tests.conftest import Host
from tests.tools import alembic, connect, copy_of_project, libpq_url, run, run_anew, url_of

by_hand_connection = factories.postgresql("by_hand_template")


def test_is_clean_at_head(head: URL) -> None:
    checked = run("alembic", "check", url=head)
    assert (checked.returncode, checked.stdout) == (0, "No new upgrade operations detected.\n")


MEMBERS = "Users can view published chatbots in their tenant"
THEIRS = "tenant_id = (SELECT chatbot_private.tenant_id())"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        pytest.param(
            f'DROP POLICY "{MEMBERS}" ON chatbots', f'chatbots: policy "{MEMBERS}" is missing', id="policy-dropped"
        ),
        pytest.param(
            "CREATE POLICY extra ON chatbots FOR SELECT TO anon USING (true)",
            'chatbots: policy "extra" is not of this package: FOR SELECT, TO anon, USING true',
            id="policy-added",
        ),
        pytest.param(
            f'ALTER POLICY "{MEMBERS}" ON chatbots USING (is_published)',
            f'chatbots: policy "{MEMBERS}": USING was (({THEIRS}) AND is_published), is is_published',
            id="policy-using",
        ),
        pytest.param(
            'ALTER POLICY "Users can view themselves and admins their tenant" ON users USING'
            f" (({THEIRS} AND id = (SELECT chatbot_private.user_id())) OR (SELECT chatbot_private.is_admin()))",
            "AND ((id = (SELECT chatbot_private.user_id())) OR (SELECT chatbot_private.is_admin()))),"
            f" is ((({THEIRS}) AND (id = (SELECT chatbot_private.user_id()))) OR (SELECT chatbot_private.is_admin()))",
            id="policy-parentheses",
        ),
        pytest.param(
            "ALTER TABLE chatbots DISABLE ROW LEVEL SECURITY",
            "table chatbots: row security was on, is off",
            id="row-security-off",
        ),
        pytest.param(
            "GRANT SELECT (system_prompt) ON chatbots TO PUBLIC",
            "chatbots: rights of PUBLIC are not of this package: SELECT system_prompt",
            id="column-grant",
        ),
        pytest.param(
            "GRANT UPDATE ON users TO authenticated",
            "users: rights of authenticated: UPDATE was full_name, is all, full_name",
            id="table-grant",
        ),
        pytest.param(
            "ALTER TABLE chatbots OWNER TO service_role",
            "table chatbots: owner was the owner, is service_role",
            id="owner",
        ),
        pytest.param(
            "CREATE OR REPLACE FUNCTION chatbot_private.is_admin() RETURNS boolean LANGUAGE plpgsql STABLE"
            " PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN true; END'",
            "function chatbot_private.is_admin(): body, line 1, was BEGIN, is BEGIN RETURN true; END",
            id="function-body",
        ),
        pytest.param(
            "ALTER FUNCTION chatbot_private.user_id() RESET search_path",
            "function chatbot_private.user_id(): settings was search_path=pg_catalog, pg_temp, is nothing",
            id="function-search-path",
        ),
        pytest.param(
            "ALTER TABLE users DISABLE TRIGGER users_guard_role_update",
            "users: trigger users_guard_role_update: state is disabled",
            id="trigger-disabled",
        ),
        pytest.param(
            "DROP INDEX idx_chatbots_is_published; CREATE INDEX idx_chatbots_is_published ON chatbots (created_at)",
            "chatbots: index idx_chatbots_is_published: where was is_published, is nothing",
            id="index-predicate",
        ),
        pytest.param(
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_max_tokens_check,"
            " ADD CONSTRAINT chatbots_max_tokens_check CHECK (max_tokens >= 0)",
            "chatbots: constraint chatbots_max_tokens_check: definition was CHECK ((max_tokens >= 1)),"
            " is CHECK ((max_tokens >= 0))",
            id="check-body",
        ),
        pytest.param(
            "ALTER VIEW published_chatbots RESET (security_invoker)",
            "view published_chatbots: options was security_invoker=true, is nothing",
            id="view-options",
        ),
        pytest.param("DROP VIEW published_chatbots", "view published_chatbots is missing", id="view-dropped"),
        pytest.param(
            "CREATE OR REPLACE VIEW published_chatbots WITH (security_invoker = true) AS"
            " SELECT id, tenant_id, name, description, model, is_published, created_at, updated_at, category, tags"
            " FROM chatbots",
            "view published_chatbots: definition, line 12, was WHERE is_published, is nothing",
            id="view-body",
        ),
    ],
)
def test_says(head: URL, change: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that a person understands, among the log's and in what Alembic raises."""
    with connect(head) as connection:
        connection.execute(change)
    with pytest.raises(SystemExit):
        alembic(head, "check")
    told = capsys.readouterr()
    assert re.search(f"Detected .*{re.escape(line)}\n", told.err)
    assert re.search(f"New upgrade operations detected: .*\n  .*{re.escape(line)}", told.out, re.DOTALL)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param("ALTER TABLE tenants DROP COLUMN updated_at", "updated_at", id="column-dropped"),
        pytest.param("ALTER TABLE chatbots ADD COLUMN mood text", "mood", id="column-added"),
        pytest.param(
            "ALTER TABLE messages ALTER COLUMN content TYPE varchar(9)", "modify_type.*content", id="column-type"
        ),
        pytest.param(
            "ALTER TABLE users ALTER COLUMN role DROP NOT NULL", "modify_nullable.*role", id="column-nullable"
        ),
        pytest.param(
            "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'admin'", "modify_default.*role", id="column-default"
        ),
        pytest.param("COMMENT ON COLUMN users.role IS 'x'", "modify_comment.*role", id="column-comment"),
        pytest.param("COMMENT ON TABLE users IS 'x'", "table_comment.*users", id="table-comment"),
        pytest.param("DROP INDEX idx_users_role", "idx_users_role", id="index-dropped"),
        pytest.param("CREATE UNIQUE INDEX own ON chatbots (name)", "remove_index.*own", id="unique-index-added"),
        pytest.param(
            "DROP INDEX idx_chatbots_created_at; CREATE INDEX idx_chatbots_created_at ON chatbots (created_at)",
            "idx_chatbots_created_at",
            id="index-columns",
        ),
        pytest.param(
            "ALTER TABLE users DROP CONSTRAINT users_tenant_id_email_key", "users_tenant_id_email_key", id="unique"
        ),
        pytest.param(
            "ALTER TABLE conversations DROP CONSTRAINT conversations_tenant_id_chatbot_id_fkey",
            "conversations_tenant_id_chatbot_id_fkey",
            id="foreign-key-dropped",
        ),
        pytest.param(
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_created_by_fkey, ADD CONSTRAINT chatbots_created_by_fkey"
            " FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE CASCADE",
            "chatbots_created_by_fkey",
            id="foreign-key-action",
        ),
        pytest.param(
            "ALTER TABLE chatbots ADD FOREIGN KEY (id) REFERENCES users", "remove_fk.*chatbots_id_fkey", id="key-added"
        ),
        pytest.param("ALTER TABLE users DROP CONSTRAINT users_role_check", "users_role_check", id="check-dropped"),
    ],
)
def test_says_once_what_stock_autogenerate_finds(
    head: URL, change: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(head) as connection:
        connection.execute(change)
    with pytest.raises(SystemExit) as stopped:
        alembic(head, "check")
    assert stopped.value.code != 0
    told = capsys.readouterr()
    assert re.search(f"New upgrade operations detected.*{names}", told.out + told.err, re.DOTALL)
    assert told.out.count("\n") == 1, told.out  # none of ours beside it


@pytest.fixture
def by_hand(by_hand_connection: Connection) -> URL:
    """The guide's platform, whose SQL was run by hand before it was adopted."""
    return url_of(by_hand_connection)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param("ALTER TABLE users DROP COLUMN full_name", "add_column.*full_name", id="column-of-006"),
        pytest.param("ALTER TABLE feedback DROP COLUMN notes", "add_column.*notes", id="column-of-theirs"),
        pytest.param("DROP INDEX idx_users_role", "add_index.*idx_users_role", id="index"),
        pytest.param("DROP INDEX idx_chatbots_name", "add_index.*idx_chatbots_name", id="index-of-chatbots"),
        pytest.param(
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_name_check", "chatbots_name_check", id="check-of-chatbots"
        ),
        pytest.param(
            "ALTER TABLE chatbots ALTER settings DROP NOT NULL", "modify_nullable.*settings", id="column-of-chatbots"
        ),
        pytest.param(
            "ALTER TABLE conversations DROP CONSTRAINT conversations_tenant_id_chatbot_id_fkey",
            "conversations_tenant_id_chatbot_id_fkey",
            id="key",
        ),
        pytest.param("ALTER TABLE users ALTER tenant_id DROP NOT NULL", "modify_nullable.*tenant_id", id="relied-on"),
    ],
)
def test_says_once_of_an_adopted_platform_what_stock_autogenerate_finds(
    by_hand: URL, change: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(by_hand) as connection:
        connection.execute(change)
    with pytest.raises(SystemExit):
        alembic(by_hand, "check")
    told = capsys.readouterr()
    assert re.search(f"New upgrade operations detected.*{names}", told.out, re.DOTALL)
    assert told.out.count("\n") == 1, told.out
    assert told.err.count("Detected") == 1, told.err


def test_a_new_revision_leaves_an_adopted_platforms_own_alone(by_hand: URL, tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    revision = ("revision", "--autogenerate", "--rev-id", "016", "-m", "nothing")
    made = run_anew("alembic", *revision, url=by_hand, cwd=project)
    assert made.returncode == 0, made.stderr
    assert "SAWarning" not in made.stderr
    assert "op." not in (project / "alembic/versions/016_nothing.py").read_text()


def test_creates_nothing_in_an_empty_database(empty: URL) -> None:
    assert run("alembic", "check", url=empty).returncode != 0
    with connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


def test_an_auditor_needs_nothing_but_the_version_table(head: URL) -> None:
    with connect(head) as connection:
        connection.execute("CREATE ROLE auditor LOGIN; GRANT SELECT ON alembic_version TO auditor")
        connection.execute("ALTER ROLE auditor SET default_transaction_read_only = on")
        connection.execute("ALTER ROLE auditor SET row_security = off")
        try:
            auditor = head.set(username="auditor")
            assert run("alembic", "check", url=auditor).stdout == "No new upgrade operations detected.\n"
            connection.execute("GRANT SELECT (system_prompt) ON chatbots TO anon")
            checked = run("alembic", "check", url=auditor)
            assert checked.returncode != 0
            assert "chatbots: rights of anon: SELECT was" in checked.stderr
            connection.execute("REVOKE SELECT ON alembic_version FROM auditor")
            refused = run("alembic", "check", url=auditor)
            assert refused.returncode != 0
            assert "permission denied for table alembic_version" in refused.stderr.splitlines()[-1]
        finally:
            connection.execute("DROP OWNED BY auditor; DROP ROLE auditor")


def test_waits_for_nobody_who_leaves_reading_alone(head: URL) -> None:
    """EXCLUSIVE conflicts with every lock but ACCESS SHARE; somebody holds it on each table, PostgreSQL's own too."""
    with connect(head) as connection, connection.transaction():
        tables = connection.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND NOT relisshared")
        for (table,) in tables.fetchall():
            connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        checked = run("alembic", "check", url=head)
    assert checked.stdout == "No new upgrade operations detected.\n", checked.stderr


def test_adoption_cannot_be_claimed(head: URL, capsys: pytest.CaptureFixture[str]) -> None:
    """Or one changed function would hide every other change of the five tables."""
    with connect(head) as connection:
        connection.execute("""
            CREATE OR REPLACE FUNCTION chatbot_private.is_adopted() RETURNS boolean
            LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS 'SELECT true';
            DROP TRIGGER users_touch_updated_at ON users;
            DROP TRIGGER tenants_touch_updated_at ON tenants;
            DROP TRIGGER conversations_touch_updated_at ON conversations;
            ALTER TABLE messages DISABLE ROW LEVEL SECURITY
        """)
    with pytest.raises(SystemExit):
        alembic(head, "check")
    told = capsys.readouterr().err
    assert "function chatbot_private.is_adopted(): body was SELECT false, is SELECT true" in told
    assert "table messages: row security was on, is off" in told


@pytest.mark.parametrize("template", ["people", "supabase", "adopted", "guide", "by_hand"])
def test_a_restored_database_passes(
    request: pytest.FixtureRequest, host: Host, server: Server, empty: URL, template: str
) -> None:
    source = host.url(request.getfixturevalue(f"{template}_template").template_dbname)
    dumped = subprocess.run([server.binaries / "pg_dump", libpq_url(source)], capture_output=True, check=True).stdout
    psql = [str(server.binaries / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", libpq_url(empty)]
    subprocess.run(psql, input=dumped, capture_output=True, check=True)
    checked = run("alembic", "check", url=empty)
    assert checked.stdout == "No new upgrade operations detected.\n", checked.stderr


def test_data_alone_is_restored_also_where_it_is_larger_than_a_save_may_be(
    platform: Connection, head: URL, server: Server
) -> None:
    """As the README says, with --disable-triggers: versions, tags and the log come from the dump."""
    with platform.transaction():
        platform.execute("SET LOCAL session_replication_role = replica")
        platform.execute("UPDATE chatbots SET description = repeat('x', 20000), lock_version = 7")
        platform.execute("UPDATE chatbots SET settings = jsonb_build_object('a', repeat('x', 2000000)), version = 1")
        platform.execute("UPDATE chatbot_versions SET settings = jsonb_build_object('a', repeat('x', 2000000))")
    tables = ("chatbots", "chatbot_versions", "chatbot_tags", "audit_log", "conversations")
    options = [
        "--data-only",
        "--disable-triggers",
        "--exclude-table=public.alembic_version",
        "--exclude-schema=chatbot_private",
    ]
    dump = [str(server.binaries / "pg_dump"), *options, libpq_url(url_of(platform))]
    dumped = subprocess.run(dump, capture_output=True, check=True).stdout
    psql = [str(server.binaries / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", libpq_url(head)]
    subprocess.run(psql, input=dumped, capture_output=True, check=True)
    with connect(head) as restored:
        for table in tables:
            rows = f"SELECT md5(its::text) FROM {table} AS its ORDER BY 1".encode()
            assert restored.execute(rows).fetchall() == platform.execute(rows).fetchall() != []


@pytest.mark.parametrize(
    "setting",
    ["quote_all_identifiers = on", "search_path = ''", "client_encoding = 'SQL_ASCII'"],
)
def test_settings_of_the_database_change_nothing(head: URL, setting: str) -> None:
    with connect(head) as connection:
        connection.execute(f"ALTER DATABASE {head.database} SET {setting}")
    checked = run("alembic", "check", url=head)
    assert checked.stdout == "No new upgrade operations detected.\n", checked.stderr


def test_names_cannot_forge_lines(head: URL, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(head) as connection:
        connection.execute('CREATE POLICY "own\n\rNo new upgrade\x1b[2J" ON chatbots USING (true)')
    with pytest.raises(SystemExit):
        alembic(head, "check")
    assert 'chatbots: policy "own\\n\\rNo new upgrade\\x1b[2J" is not of this package' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "written", "unwritten"),
    [
        pytest.param("ALTER TABLE messages DISABLE ROW LEVEL SECURITY", "", "table messages: row security", id="alone"),
        pytest.param(
            "ALTER TABLE messages DISABLE ROW LEVEL SECURITY, DROP COLUMN content",
            "op.add_column('messages', sa.Column('content'",
            "table messages: row security was on, is off",
            id="beside-a-column",
        ),
        pytest.param(
            "DROP TABLE feedback CASCADE",
            "op.create_table('feedback'",
            'feedback: policy "Users can view their own feedback" is missing',
            id="with-a-table",
        ),
    ],
)
def test_a_new_revision_says_what_it_cannot_write(
    head: URL, tmp_path: Path, change: str, written: str, unwritten: str
) -> None:
    project = copy_of_project(tmp_path)
    with connect(head) as connection:
        connection.execute(change)
    made = run_anew("alembic", "revision", "--autogenerate", "--rev-id", "016", "-m", "mend", url=head, cwd=project)
    assert made.returncode == 0, made.stderr
    text = (project / "alembic/versions/016_mend.py").read_text()
    compile(text, "016", "exec")
    assert written in text
    assert unwritten in " ".join(re.findall(r"(?m)^    #(?: -|  ) (.*)", text))
    for command in ("upgrade", "downgrade"):
        done = run_anew("alembic", command, "+1" if command == "upgrade" else "-1", url=head, cwd=project)
        assert done.returncode == 0, done.stderr

"""What the operator decides by -x, and what is refused of a platform that the guide's SQL made by hand."""

import pytest
from sqlalchemy import URL

from app.errors import SetupError
from app.migration.options import Decisions, parse
from tests.platforms import settle_guide
from tests.tools import alembic, catalog, connect, run


@pytest.fixture
def by_hand(empty: URL) -> URL:
    """The guide's platform with its SQL run by hand, before this package."""
    with connect(empty) as connection:
        settle_guide(connection, by_hand=True)
    return empty


# What is done to the platform, and words of the reason and of the remedy.
REFUSED = {
    "link-into-another-tenant": (
        "UPDATE conversations SET chatbot_id ="
        " (SELECT id FROM chatbots WHERE tenant_id <> conversations.tenant_id LIMIT 1)"
        " WHERE id = (SELECT min(id::text)::uuid FROM conversations)",
        "1 conversation is linked to chatbots of another tenant",
        "SELECT conversations.id, chatbot_id FROM public.conversations JOIN",
    ),
    "blank-name": (
        "ALTER TABLE chatbots DROP CONSTRAINT check_name_not_empty; UPDATE chatbots SET name = ' '",
        "12 chatbots have a blank name",
        "SELECT id, tenant_id FROM public.chatbots WHERE name !~",
    ),
    "blank-prompt": (
        "ALTER TABLE chatbots DROP CONSTRAINT check_system_prompt_not_empty;"
        " UPDATE chatbots SET system_prompt = E'\\n'",
        "12 chatbots have a blank system_prompt",
        "WHERE system_prompt !~",
    ),
    "settings-no-object": (
        "UPDATE chatbots SET settings = '[]' WHERE is_published",
        "9 chatbots have settings that are no JSON object",
        "WHERE jsonb_typeof(settings) <> 'object'",
    ),
    "tools": (
        """UPDATE chatbots SET settings = '{"tools": [{"name": "x"}]}' WHERE NOT is_published""",
        "3 chatbots have settings.tools that are no function definitions",
        "SELECT id, name, settings -> 'tools'",
    ),
    "missing-column": (
        "ALTER TABLE chatbots DROP COLUMN settings",
        "chatbots is there without column settings",
        "ALTER TABLE public.chatbots ADD COLUMN settings jsonb NOT NULL DEFAULT '{}'",
    ),
    "other-type": (
        "ALTER TABLE chatbots ALTER COLUMN max_tokens TYPE bigint",
        "chatbots.max_tokens is of type bigint",
        "ALTER TABLE public.chatbots ALTER COLUMN max_tokens TYPE integer",
    ),
    "other-policy": (
        'CREATE POLICY "Support sees all" ON chatbots FOR SELECT USING (true)',
        'Policy "Support sees all" of chatbots is not one that the guide describes',
        'DROP POLICY "Support sees all" ON public.chatbots',
    ),
    "guides-policy-with-other-text": (
        'DROP POLICY "Admin users can delete chatbots in their tenant" ON chatbots;'
        ' CREATE POLICY "Admin users can delete chatbots in their tenant" ON chatbots FOR DELETE USING (is_published)',
        'Policy "Admin users can delete chatbots in their tenant" of chatbots is not one',
        'DROP POLICY "Admin users can delete chatbots in their tenant"',
    ),
    "guides-policy-without-activity": (
        'ALTER POLICY "Admin users can view chatbots in their tenant" ON chatbots USING (tenant_id IN ('
        " SELECT u.tenant_id FROM users u WHERE u.auth_id = auth.uid() AND u.role = 'admin'))",
        'Policy "Admin users can view chatbots in their tenant" of chatbots is not one',
        "DROP POLICY",
    ),
    "guides-policy-with-or": (
        'ALTER POLICY "Users can view published chatbots in their tenant" ON chatbots USING (is_published OR'
        " tenant_id IN (SELECT u.tenant_id FROM users u WHERE u.auth_id = auth.uid() AND u.is_active))",
        'Policy "Users can view published chatbots in their tenant" of chatbots is not one',
        "DROP POLICY",
    ),
    "other-grant": (
        "GRANT SELECT ON chatbots TO pg_monitor",
        "pg_monitor holds SELECT on chatbots",
        "REVOKE ALL ON TABLE public.chatbots FROM pg_monitor",
    ),
    "definer-view": (
        "CREATE VIEW all_bots AS SELECT id, name FROM chatbots",
        "View public.all_bots reads chatbots past row security",
        "ALTER VIEW public.all_bots SET (security_invoker = true)",
    ),
    "materialized-view": (
        "CREATE MATERIALIZED VIEW all_bots AS SELECT id, name FROM chatbots",
        "Materialized view public.all_bots keeps rows of chatbots, and anon and authenticated may read them",
        "REVOKE ALL ON public.all_bots FROM PUBLIC, anon, authenticated",
    ),
    "forced": (
        "ALTER TABLE chatbots FORCE ROW LEVEL SECURITY",
        "chatbots has FORCE ROW LEVEL SECURITY",
        "see that no application connects as its owner, then: ALTER TABLE public.chatbots NO FORCE ROW LEVEL SECURITY",
    ),
    "column-that-only-they-can-fill": (
        "ALTER TABLE chatbots RENAME COLUMN tenant_id TO organisation_id",
        "chatbots is there without column tenant_id, so it cannot be taken over",
        "move yours elsewhere together with the application",
    ),
    "audit-log-that-a-function-writes": (
        "CREATE TABLE audit_log (id uuid); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO audit_log VALUES (NEW.id); RETURN NEW; END'",
        "audit_log exists already",
        "give it another name, together with these functions, which name it: public.note()",
    ),
    "audit-log-that-nothing-names": (
        "CREATE TABLE audit_log (id uuid)",
        "audit_log exists already",
        "ALTER TABLE public.audit_log RENAME TO audit_log_before",
    ),
    "trigger-that-names-comment": (
        "ALTER TABLE feedback RENAME COLUMN notes TO comment;"
        " CREATE FUNCTION shorten() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.comment := left(NEW.comment, 9); RETURN NEW; END';"
        " CREATE TRIGGER shorten BEFORE INSERT ON feedback FOR EACH ROW EXECUTE FUNCTION shorten()",
        "Function public.shorten() of trigger shorten names comment of feedback",
        "works before",
    ),
}


@pytest.mark.parametrize(("change", "reason", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_lost_or_opened_is_refused(by_hand: URL, change: str, reason: str, remedy: str) -> None:
    with connect(by_hand) as connection:
        connection.execute(change)
        before = catalog(connection)
        refused = run("alembic", "upgrade", "head", url=by_hand)
        assert refused.returncode == 1
        (line,) = [line for line in refused.stderr.splitlines() if reason in line]
        assert remedy in line
        assert "Nothing was changed" in refused.stderr
        assert catalog(connection) == before


@pytest.mark.parametrize(
    "condition",
    [
        "EXISTS (SELECT 1 FROM users u WHERE u.auth_id = auth.uid() AND u.tenant_id = chatbots.tenant_id"
        " AND u.is_active AND u.role = 'admin')",
        "tenant_id = (SELECT tenant_id FROM users WHERE auth.uid() = auth_id AND role = 'admin' AND is_active = true)",
        "tenant_id IN (SELECT tenant_id FROM users"
        " WHERE auth_id = (SELECT auth.uid()) AND is_active AND role = 'admin')",
    ],
    ids=["exists", "scalar", "sub-select"],
)
def test_the_guides_policies_in_other_words_are_taken_over(by_hand: URL, condition: str) -> None:
    with connect(by_hand) as connection:
        connection.execute(
            f'ALTER POLICY "Admin users can delete chatbots in their tenant" ON chatbots USING ({condition})'
        )
    alembic(by_hand, "upgrade", "008")


def test_functions_that_run_as_their_owner_are_named(by_hand: URL) -> None:
    with connect(by_hand) as connection:
        connection.execute("""
            CREATE FUNCTION all_bots() RETURNS SETOF chatbots LANGUAGE sql SECURITY DEFINER
            SET search_path = public AS 'SELECT * FROM chatbots'
        """)
    done = run("alembic", "upgrade", "007", url=by_hand)
    assert "past row security; see that they tell each caller no more than their own tenant's: public.all_bots()" in (
        done.stderr
    )


def test_a_grant_option_comes_back(by_hand: URL) -> None:
    granted = "SELECT relacl::text FROM pg_class WHERE oid = 'public.chatbots'::regclass"
    with connect(by_hand) as connection:
        connection.execute("GRANT INSERT ON chatbots TO service_role WITH GRANT OPTION")
        before = connection.execute(granted).fetchone()
        assert before is not None
        alembic(by_hand, "upgrade", "008")
        alembic(by_hand, "downgrade", "007")
        after = connection.execute(granted).fetchone()
        assert after is not None
    service = [acl for acl in str(before[0]).split(",") if acl.startswith("service_role=")]
    assert "a*" in service[0]
    assert service[0] in str(after[0])


def test_all_reasons_are_given_also_where_the_version_table_is_anothers(by_hand: URL) -> None:
    with connect(by_hand) as connection:
        connection.execute("""
            CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
            INSERT INTO alembic_version VALUES ('ae1027a6acf');
            ALTER TABLE chatbots FORCE ROW LEVEL SECURITY
        """)
    refused = run("alembic", "upgrade", "head", url=by_hand)
    assert refused.returncode == 1
    assert "holds revision ae1027a6acf of another project" in refused.stderr
    assert "Beside that, this database does not fit:\n  - chatbots has FORCE ROW LEVEL SECURITY" in refused.stderr


def test_an_event_trigger_that_enables_row_security_leaves_the_version_table_closed(empty: URL) -> None:
    with connect(empty) as connection:
        settle_guide(connection, by_hand=True)
        connection.execute("""
            CREATE FUNCTION secure() RETURNS event_trigger LANGUAGE plpgsql AS $$
            DECLARE made record;
            BEGIN
                FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP
                    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made.object_identity);
                END LOOP;
            END $$;
            CREATE EVENT TRIGGER secure ON ddl_command_end EXECUTE FUNCTION secure()
        """)
    alembic(empty, "upgrade", "006")
    with connect(empty) as connection:
        rights = connection.execute("SELECT has_table_privilege('anon', 'alembic_version', 'SELECT, INSERT, DELETE')")
        assert rights.fetchone() == (False,)


def test_what_is_recorded_is_not_decided_otherwise(by_hand: URL) -> None:
    alembic(by_hand, "-x", "identity=auth_id", "upgrade", "head")
    for decision, recorded in (("identity=id", "identity=auth_id"), ("admin_role=user", "admin_role=admin")):
        refused = run("alembic", "-x", decision, "upgrade", "head", url=by_hand)
        assert refused.returncode == 1
        assert f"This database has recorded {recorded}" in refused.stderr
    alembic(by_hand, "-x", "identity=auth_id", "-x", "admin_role=admin", "upgrade", "head")


def test_a_role_that_nobody_has_is_refused(by_hand: URL) -> None:
    refused = run("alembic", "-x", "admin_role=admin,Owner", "upgrade", "head", url=by_hand)
    assert refused.returncode == 1
    assert "Nobody has the role 'Owner', which -x admin_role names: give values of users.role" in refused.stderr


def test_a_role_for_a_column_that_is_not_there_is_refused(empty: URL) -> None:
    with connect(empty) as connection:
        settle_guide(connection, by_hand=False)
        connection.execute("ALTER TABLE users DROP COLUMN role")
    refused = run("alembic", "-x", "admin_role=admin", "upgrade", "head", url=empty)
    assert "-x admin_role=admin is given, but users has no column role: leave it away" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        {"identity": ""},
        {"admin_role": "admin,"},
        {"admin_role": "a" * 1001},
        {"identity": "auth\nid"},
        {"fresh": "no"},
        {"roles": "admin"},
        {"retry_for": "long"},
    ],
)
def test_options_that_say_nothing_usable_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(SetupError):
        parse(arguments)


def test_options_become_settings() -> None:
    options = parse({"identity": "auth_id", "admin_role": "owner,admin", "fresh": "yes", "retry_for": "60"})
    assert options.patience.retry_for == 60
    assert options.decisions == Decisions("auth_id", "owner,admin", "yes")
    assert set(options.decisions.settings()) == {"chatbots.identity", "chatbots.admin_role", "chatbots.fresh"}

"""`python -m app doctor --as`: what it says that somebody can do is what the database then does."""

import re
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection, sql
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import URL, text

from app import asking
from app.doctor import examination
from app.doctor.powers import LIMIT, RELATIONS, Powers, Rows
from tests.conftest import Host, upgrade
from tests.examining import examined
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    ADMINS_ANSWER,
    ADMINS_TALK,
    COLLEAGUES_ANSWER,
    COLLEAGUES_TALK,
    GLOBEX,
    GLOBEX_ADMIN,
    INACTIVES_QUESTION,
    INACTIVES_TALK,
    NEWCOMER,
    NOBODY,
    OWN_QUESTION,
    OWN_TALK,
    PUBLISHED,
    person,
)
from tests.platforms import PLAIN, ROLES
from tests.tools import attempt, catalog, connect, rows, url_of

# Somebody's tenant, a conversation of theirs, and a message to rate.
PEOPLE = {
    ACME_ADMIN: (ACME, ADMINS_TALK, ADMINS_ANSWER),
    ACME_MEMBER: (ACME, OWN_TALK, OWN_QUESTION),
    ACME_COLLEAGUE: (ACME, COLLEAGUES_TALK, COLLEAGUES_ANSWER),
    ACME_INACTIVE: (ACME, INACTIVES_TALK, INACTIVES_QUESTION),
    ACME_INACTIVE_ADMIN: (ACME, NOBODY, NOBODY),  # no conversation
    GLOBEX_ADMIN: (GLOBEX, NOBODY, NOBODY),
}
INSERTS = {
    "tenants": "(name) VALUES ('New')",
    "users": f"(id, tenant_id, email) VALUES ('{NEWCOMER}', %(tenant)s, 'new@acme.example')",
    "chatbots": "(tenant_id, created_by, name, system_prompt, model) VALUES (%(tenant)s, %(me)s, 'New', 'New', 'm')",
    "published_chatbots": "(name) VALUES ('New')",
    "conversations": "(tenant_id, user_id, title) VALUES (%(tenant)s, %(me)s, 'New')",
    "messages": "(conversation_id, role, content) VALUES (%(talk)s, 'user', 'New')",
    "feedback": "(message_id, user_id, rating) VALUES (%(message)s, %(me)s, 1)",
    "chatbot_versions": "(tenant_id, chatbot_id, version) VALUES (%(tenant)s, NULL, 2)",
    "chatbot_tags": "VALUES (%(tenant)s, NULL, 'New', 'N', true)",
    "audit_log": "(tenant_id, action, table_name) VALUES (%(tenant)s, 'DELETE', 'chatbots')",
}
INSERTED = {  # what it means for who was told yes, no or unknown
    1: True,
    "unique": True,  # row security has let it pass
    "grant": False,
    "policy": False,
    "key": None,  # of a conversation that is not there
}


def really(connection: Connection, who: UUID, told: Powers) -> Powers:
    """What somebody can do with a table, by doing it; where a key refuses, row security has let it pass."""
    tenant, talk, message = PEOPLE[who]
    me, relation = person(who), sql.Identifier("public", told.table).as_string()
    values = {"me": who, "tenant": tenant, "talk": talk, "message": message}

    def done(statement: str, count: int | None) -> Rows:
        outcome = attempt(connection, me, statement, values)
        if outcome in {"key", "guard"}:
            assert count, f"a row was reached that nobody was told of: {statement}"
            return Rows(True, count)
        if outcome == "policy":  # which an UPDATE of a row as it is does not meet
            return Rows(True)
        return Rows(False) if outcome == "grant" else Rows(True, int(outcome))

    anything = {"chatbot_versions": "version", "chatbot_tags": "tag"}.get(told.table, "id")
    column = sql.Identifier(told.columns[0] if told.columns else anything).as_string()
    inserted = attempt(connection, me, f"INSERT INTO {relation} {INSERTS[told.table]}", values)
    assert inserted in INSERTED
    return Powers(
        told.table,
        done(f"SELECT FROM {relation}", told.sees.count),
        INSERTED[inserted],
        done(f"UPDATE {relation} SET {column} = {column}", told.changes.count),
        told.columns,
        done(f"DELETE FROM {relation} WHERE {anything} IS NOT NULL", told.deletes.count),
    )


def assert_true(url: URL, who: UUID) -> dict[str, Powers]:
    """See that all that is told of somebody's powers is so; returns it by table."""
    told = examined(url, who).tables
    with connect(url) as connection:
        for each in told:
            each_really = really(connection, who, each)
            each_really.notes = each.notes
            assert each == each_really
    assert [each.table for each in told] == list(RELATIONS)
    return {each.table: each for each in told}


@pytest.fixture(params=["people", "supabase", "adopted", "free", "guide", "by_hand", "free_by_hand"])
def place(request: pytest.FixtureRequest, host: Host) -> URL:
    executor: NoopExecutor = request.getfixturevalue(f"{request.param}_template")
    return host.url(executor.template_dbname)


@pytest.mark.parametrize("who", PEOPLE, ids=lambda who: who.hex[-2:])
def test_what_is_told_is_so(place: URL, who: UUID) -> None:
    told = assert_true(place, who)
    assert not any("unknown" in note for each in told.values() for note in each.notes)


def test_what_an_admin_and_a_member_can_do(people_database: URL) -> None:
    admin, member = (assert_true(people_database, who) for who in (ACME_ADMIN, ACME_MEMBER))
    configuration = ["name", "description", "system_prompt", "model", "temperature", "max_tokens", "settings"]
    configuration += ["is_published", "lock_version", "category", "tags"]
    assert admin["chatbots"] == Powers("chatbots", Rows(True, 2), True, Rows(True, 2), configuration, Rows(True, 2))
    assert member["chatbots"] == Powers("chatbots", Rows(True, 1), False, Rows(True), configuration, Rows(True))
    assert member["users"] == Powers("users", Rows(True, 1), False, Rows(True, 1), ["full_name"], Rows(False))


def test_the_guard_is_told_where_grants_are_wider(host: Host, adopted_template: NoopExecutor) -> None:
    users = assert_true(host.url(adopted_template.template_dbname), ACME_MEMBER)["users"]
    assert "role" in users.columns
    assert not {"id", "tenant_id", "is_active"} & {*users.columns}  # the guards keep these from everybody
    assert users.notes == [
        "they may insert a row with their own id, if theirs is deleted",
        "the guards refuse changes of id, is_active, role (to or from an admin's), tenant_id, whatever grants allow",
    ]


def test_the_identity_column_is_guarded(host: Host, free_by_hand_template: NoopExecutor) -> None:
    users = assert_true(host.url(free_by_hand_template.template_dbname), ACME_MEMBER)["users"]
    assert {"auth_id", "role"} <= {*users.columns}
    assert not {"id", "tenant_id", "is_active"} & {*users.columns}
    assert users.notes == [
        "the guards refuse changes of auth_id (except to NULL), id, is_active, role (to or from an admin's),"
        " tenant_id, whatever grants allow"
    ]


@pytest.mark.parametrize("policy", ["auth_id = auth.uid()", "auth.uid() = auth_id AND role IS DISTINCT FROM 'admin'"])
def test_who_may_sign_up_by_a_policy_is_told(guide: Connection, policy: str) -> None:
    guide.execute(f"CREATE POLICY sign_up ON users FOR INSERT WITH CHECK ({policy})")
    guide.commit()
    told = {each.table: each for each in examined(url_of(guide), ACME_MEMBER).tables}
    assert told["users"].inserts is False
    assert told["users"].notes[0] == "they may insert a row with their own auth_id, if theirs is deleted"


def test_a_guard_that_is_off_is_not_told(guide: Connection) -> None:
    guide.execute("ALTER TABLE users DISABLE TRIGGER users_guard_identity")
    guide.commit()
    told = {each.table: each for each in examined(url_of(guide), ACME_MEMBER).tables}
    assert "auth_id" in told["users"].columns
    assert told["users"].notes == [
        "the guards refuse changes of id, is_active, role (to or from an admin's), tenant_id, whatever grants allow"
    ]


def test_ids_may_be_numbers(empty: URL) -> None:
    """Of messages and feedback; none is drawn from a sequence to say what a person can do."""
    platform = re.sub(r"(messages|feedback) \(\s+id uuid", r"\1 (id bigint GENERATED BY DEFAULT AS IDENTITY", PLAIN)
    with connect(empty) as connection:
        connection.execute(ROLES)
        connection.execute(platform.replace("message_id uuid", "message_id bigint"))
        for table in ("messages", "feedback"):
            connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; GRANT ALL ON {table} TO authenticated")
            connection.execute(f"CREATE POLICY own ON {table} USING (id <> 7)")
        connection.execute("GRANT ALL ON conversations TO authenticated")
        connection.execute("INSERT INTO tenants (id) VALUES (%s)", (ACME,))
        connection.execute(
            "INSERT INTO users (id, tenant_id, email, is_active) VALUES (%s, %s, 'm@acme.example', true)",
            (ACME_MEMBER, ACME),
        )
    upgrade(empty)
    with connect(empty) as connection:
        told = {each.table: each for each in examined(empty, ACME_MEMBER).tables}
        assert (told["messages"].inserts, told["messages"].notes) == (
            None,
            ["they see no conversation of their own to write to"],
        )
        connection.execute(
            "INSERT INTO conversations (id, tenant_id, user_id) VALUES (%s, %s, %s)", (OWN_TALK, ACME, ACME_MEMBER)
        )
        told = {each.table: each for each in examined(empty, ACME_MEMBER).tables}
        assert (told["messages"].inserts, told["messages"].notes) == (True, [])
        assert told["feedback"].notes == ["they see no message of their own to write to"]
        connection.execute("INSERT INTO messages (conversation_id, role) VALUES (%s, 'user')", (OWN_TALK,))
        told = {each.table: each for each in examined(empty, ACME_MEMBER).tables}
        assert (told["feedback"].inserts, told["feedback"].notes) == (True, [])
        assert connection.execute("SELECT count(*) FROM messages WHERE id > 1").fetchone() == (0,)


OPEN = "CREATE POLICY open ON chatbots TO authenticated USING (true);"
CHANGES = {  # of the database; how many chatbots a member then sees, changes, deletes (None: no grant), may insert
    "row-security-off": ("ALTER TABLE chatbots DISABLE ROW LEVEL SECURITY", 4, 4, 4, True),
    "open-to-public": ("CREATE POLICY open ON chatbots USING (true)", 4, 4, 4, True),
    "open-to-one-that-they-are": (
        "{role}; CREATE POLICY open ON chatbots TO doctor_group USING (true)",
        4,
        4,
        4,
        True,
    ),
    "open-to-another": ("CREATE POLICY open ON chatbots TO anon USING (true)", 1, 0, 0, False),
    "restricted": (f"{OPEN} CREATE POLICY no ON chatbots AS RESTRICTIVE USING (is_published)", 2, 2, 2, False),
    "restricted-elsewhere": (
        f"{OPEN} CREATE POLICY no ON chatbots AS RESTRICTIVE TO anon USING (false)",
        4,
        4,
        4,
        True,
    ),
    "no-deletion": (f"{OPEN} CREATE POLICY no ON chatbots AS RESTRICTIVE FOR DELETE USING (false)", 4, 4, 0, True),
    "unchecked-rows": (
        f"{OPEN} CREATE POLICY no ON chatbots AS RESTRICTIVE FOR UPDATE WITH CHECK (false)",
        4,
        0,
        4,
        True,
    ),
    "by-a-default": (
        f"{OPEN} CREATE POLICY no ON chatbots AS RESTRICTIVE FOR INSERT"
        " WITH CHECK (NOT is_published AND temperature > 0.5 AND created_at = now())",
        4,
        4,
        4,
        True,
    ),
    "by-another-value-than-the-default": (
        f"{OPEN} CREATE POLICY no ON chatbots AS RESTRICTIVE FOR INSERT WITH CHECK (is_published)",
        4,
        4,
        4,
        False,
    ),
    "by-strings-like-calls": (
        "CREATE POLICY open ON chatbots USING (name <> 'chatbot_private.user_id() :x %s ''chatbot_private.x()')",
        4,
        4,
        4,
        True,
    ),
    "no-policy": ('DROP POLICY "Users can view published chatbots in their tenant" ON chatbots', 0, 0, 0, False),
    "open-to-changes-of-what-they-see": (
        "CREATE POLICY open ON chatbots FOR UPDATE TO authenticated USING (true)",
        1,
        1,
        0,
        False,
    ),
    "no-grant": ("REVOKE ALL ON chatbots FROM authenticated", None, None, None, False),
    "no-schema": ("REVOKE ALL ON SCHEMA public FROM PUBLIC", None, None, None, False),
}


@pytest.mark.parametrize(("statement", "sees", "changes", "deletes", "inserts"), CHANGES.values(), ids=list(CHANGES))
def test_policies_and_grants_count_as_they_stand(
    platform: Connection, statement: str, sees: int | None, changes: int | None, deletes: int | None, inserts: bool
) -> None:
    group = "CREATE ROLE doctor_group; GRANT doctor_group TO authenticated"
    platform.execute(statement.replace("{role}", group))
    platform.commit()
    try:
        chatbots = assert_true(url_of(platform), ACME_MEMBER)["chatbots"]
    finally:
        platform.execute("DROP POLICY IF EXISTS open ON chatbots; DROP ROLE IF EXISTS doctor_group")
        platform.commit()
    counts = [each.count if each.granted else None for each in (chatbots.sees, chatbots.changes, chatbots.deletes)]
    assert (*counts, chatbots.inserts) == (sees, changes, deletes, inserts)


def test_counts_up_to_a_thousand(platform: Connection) -> None:
    platform.execute(
        """
        INSERT INTO chatbots (tenant_id, name, system_prompt, model, is_published)
        SELECT %s, 'Bot ' || n, 'Be one of many.', 'a-model', true FROM generate_series(1, 999) AS n
        """,
        (ACME,),
    )
    platform.commit()
    url = url_of(platform)
    told = {each.table: each for each in examined(url, ACME_MEMBER).tables}
    assert told["chatbots"].sees == Rows(True, LIMIT, or_more=False)
    told = {each.table: each for each in examined(url, ACME_ADMIN).tables}
    assert told["chatbots"].deletes == Rows(True, LIMIT, or_more=True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("INSERT INTO public.log VALUES (1); RETURN true;", "it runs code that writes, and nothing is written here"),
        ("SET LOCAL transaction_read_only = off; INSERT INTO public.log VALUES (1); RETURN true;", "cannot set"),
        ("PERFORM pg_sleep(3); RETURN true;", "it takes longer than 30 s"),
        ("RAISE EXCEPTION 'not today'; RETURN true;", "not today"),
    ],
    ids=["writes", "writes-by-force", "sleeps", "fails"],
)
def test_what_cannot_be_evaluated_is_unknown(
    platform: Connection, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    platform.execute(f"""
        CREATE TABLE log (id integer PRIMARY KEY);
        GRANT ALL ON log TO authenticated;
        CREATE FUNCTION code() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
        CREATE POLICY code ON users TO authenticated USING (code())
    """)
    platform.commit()
    monkeypatch.setattr(asking, "LIMITS", text("SELECT set_config('statement_timeout', '200ms', true)"))
    with connect(url_of(platform)) as connection:
        before = catalog(connection), rows(connection)
        found = examined(url_of(platform), ACME_MEMBER)
        assert (catalog(connection), rows(connection)) == before
    told = {each.table: each for each in found.tables}
    assert told["users"].sees == told["users"].changes == Rows(True, None)
    assert reason in told["users"].notes[0]
    assert told["users"].deletes == Rows(False)
    assert told["tenants"].sees == Rows(True, 1)


def test_what_the_person_may_not_ask_is_unknown(platform: Connection) -> None:
    """A policy may call, or compare, what its reader may not name."""
    platform.execute("""
        CREATE SCHEMA closed;
        CREATE FUNCTION closed.everybody() RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE POLICY everybody ON chatbots TO authenticated USING (closed.everybody());
        REVOKE SELECT ON feedback FROM authenticated;
        GRANT SELECT (id) ON feedback TO authenticated
    """)
    platform.commit()
    told = {each.table: each for each in examined(url_of(platform), ACME_MEMBER).tables}
    assert told["chatbots"].sees == Rows(True, 4)  # which PostgreSQL allows
    assert (told["chatbots"].changes, told["chatbots"].inserts) == (Rows(True, None), None)
    assert told["chatbots"].notes[0] == "what they change is unknown: permission denied for schema closed"
    assert told["feedback"].sees == Rows(True, 1)
    assert told["feedback"].deletes == Rows(True, None)


def test_without_a_conversation_there_is_nothing_to_write_to(platform: Connection) -> None:
    platform.execute("DELETE FROM conversations WHERE user_id = %s", (ACME_MEMBER,))
    platform.commit()
    told = {each.table: each for each in examined(url_of(platform), ACME_MEMBER).tables}
    assert told["messages"].inserts is told["feedback"].inserts is False
    assert told["messages"].notes == ["they see no conversation of their own to write to"]
    assert told["conversations"].inserts is True


def test_nothing_planted_in_public_is_run(platform: Connection) -> None:
    platform.execute(f"""
        CREATE FUNCTION public.row_security_active(oid) RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'planted'; END $$;
        CREATE FUNCTION public.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
        CREATE FUNCTION public.array_position(text[], text) RETURNS integer LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'planted, and nearer than what takes any type'; END $$;
        ALTER DATABASE {platform.info.dbname} SET search_path = public, pg_catalog
    """)
    platform.commit()
    assert examined(url_of(platform), ACME_MEMBER).tables[2].sees == Rows(True, 1)


def test_leaves_no_trace(platform: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction id is taken, and what it looked at is no use of an index."""
    url = url_of(platform)
    own = text("SELECT pg_current_xact_id_if_assigned(), current_setting('transaction_read_only')")
    look, left = examination.seen, []

    def look_and_ask(script: Any, heads: Any, context: Any, *asked: Any) -> Any:
        found = look(script, heads, context, *asked)
        left.append(tuple(context.connection.execute(own).one()))
        return found

    monkeypatch.setattr(examination, "seen", look_and_ask)
    scans = """
        SELECT sum(idx_scan + seq_scan) FROM pg_stat_user_tables
        WHERE schemaname = 'public' AND relname <> 'alembic_version'
    """
    with connect(url) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        before = connection.execute(scans).fetchone()
        examined(url, ACME_MEMBER, PUBLISHED)
        assert left == [(None, "on")]
        assert connection.execute(scans).fetchone() == before


def test_a_leftover_of_supabases_older_setting_is_nobody(host: Host, adopted_template: NoopExecutor) -> None:
    url = host.url(adopted_template.template_dbname)
    left = url.update_query_dict({"options": f"-crequest.jwt.claim.sub={ACME_ADMIN}"})
    assert examined(left, ACME_MEMBER).tables == examined(url, ACME_MEMBER).tables

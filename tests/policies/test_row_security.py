"""Row security by itself: where everybody holds every right on every table, and where rows are out of the ordinary."""

import pytest
from psycopg import Connection, sql

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_MEMBER,
    COLLEAGUE,
    COLLEAGUES_ANSWER,
    DRAFT,
    GLOBEX,
    MEMBER,
    NEWCOMER,
    OWN_ANSWER,
    OWN_OTHER_ANSWER,
    OWN_TALK,
    PUBLISHED,
    Who,
)
from tests.policies import EVERY_CALLER, Outcomes, Place, cases
from tests.tools import attempt, connect

# No statement but the readers names a row: it is row security of the command alone that chooses.
OPEN = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read chatbots                   2      0      1         1     2       1      2       4     4
    rename chatbots                 0      0      0         0     2       0      2       4     4
    delete chatbots                 0      0      0         0     2       0      2       4     4
    add a chatbot              policy policy policy    policy     1  policy policy       1     1
    read tenants                    0      0      1         1     1       1      1       2     2
    rename tenants                  0      0      0         0     0       0      0       2     2
    delete tenants                  0      0      0         0     0       0      0       2     2
    add a tenant               policy policy policy    policy policy policy policy       1     1
    read users                      0      0      1         1     5       1      2       7     7
    rename users                    0      0      1         1     1       1      1       7     7
    delete users                    0      0      0         0     0       0      0       7     7
    add a user                 policy policy policy    policy policy policy policy       1     1
    read conversations              0      0      2         1     1       1      0       6     6
    hand conversations over         0      0 policy         1 policy policy      0       6     6
    delete conversations            0      0      2         1     1       1      0       6     6
    begin a conversation       policy policy      1    policy policy policy policy       1     1
    read messages                   0      0      3         1     1       1      0       8     8
    edit messages                   0      0      0         0     0       0      0       8     8
    delete messages                 0      0      0         0     0       0      0       8     8
    ask                        policy policy      1    policy policy policy policy       1     1
    read feedback                   0      0      1         1     1       1      0       5     5
    redirect feedback               0      0 policy         1 policy policy      0       5     5
    hand feedback over              0      0 policy         1 policy policy      0       5     5
    delete feedback                 0      0      1         1     1       1      0       5     5
    rate                       policy policy      1    policy policy policy policy       1     1
    read chatbot_versions           0      0      0         0     2       0      2       4     4
    rewrite versions                0      0      0         0     0       0      0       4     4
    delete chatbot_versions         0      0      0         0     0       0      0       4     4
    keep a version             policy policy policy    policy policy policy policy       1     1
    read chatbot_tags               3      0      2         2     4       1      1       5     5
    publish tags                    0      0      0         0     0       0      0       5     5
    delete chatbot_tags             0      0      0         0     0       0      0       5     5
    add a tag                  policy policy policy    policy policy policy policy       1     1
    read audit_log                  0      0      0         0     2       0      1       4     4
    rewrite the log                 0      0      0         0     0       0      0       4     4
    delete audit_log                0      0      0         0     0       0      0       4     4
    note an entry              policy policy policy    policy policy policy policy       1     1
"""
TABLES = (
    "chatbots",
    "tenants",
    "users",
    "conversations",
    "messages",
    "feedback",
    "chatbot_versions",
    "chatbot_tags",
    "audit_log",
)
OPENLY = (
    {f"read {table}": f"TABLE {table}" for table in TABLES}
    | {f"delete {table}": f"DELETE FROM {table}" for table in TABLES}
    | {
        "rename chatbots": "UPDATE chatbots SET name = 'New'",
        "add a chatbot": f"""
            INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, created_at, updated_at)
            VALUES ('{ACME}', '{ACME_ADMIN}', 'N', 'N', 'm', now(), now())""",
        "rename tenants": "UPDATE tenants SET name = 'New'",
        "add a tenant": "INSERT INTO tenants (name) VALUES ('New')",
        "rename users": "UPDATE users SET full_name = 'New'",
        "add a user": f"INSERT INTO users (id, tenant_id, email) VALUES ('{NEWCOMER}', '{ACME}', 'new@acme.example')",
        "hand conversations over": f"UPDATE conversations SET user_id = '{ACME_COLLEAGUE}'",
        "begin a conversation": f"""
            INSERT INTO conversations (tenant_id, user_id, created_at) VALUES ('{ACME}', '{ACME_MEMBER}', now())""",
        "edit messages": "UPDATE messages SET content = 'Edited'",
        "ask": f"""
            INSERT INTO messages (conversation_id, role, content, created_at)
            VALUES ('{OWN_TALK}', 'user', 'Hello', now())""",
        "redirect feedback": f"UPDATE feedback SET message_id = '{COLLEAGUES_ANSWER}'",
        "hand feedback over": f"UPDATE feedback SET user_id = '{ACME_COLLEAGUE}'",
        "rewrite versions": "UPDATE chatbot_versions SET system_prompt = 'Be evil.'",
        "keep a version": f"""
            INSERT INTO chatbot_versions (tenant_id, chatbot_id, version, system_prompt, model, temperature, settings)
            VALUES ('{ACME}', '{DRAFT}', 2, 'N', 'm', 1, '{{}}')""",
        "publish tags": "UPDATE chatbot_tags SET is_published = true",
        "add a tag": f"INSERT INTO chatbot_tags VALUES ('{ACME}', '{PUBLISHED}', 'New', 'N', true)",
        "rewrite the log": "UPDATE audit_log SET user_id = NULL",
        "note an entry": f"""
            INSERT INTO audit_log (tenant_id, user_id, action, table_name)
            VALUES ('{ACME}', NULL, 'DELETE', 'users')""",
        "rate": f"""
            INSERT INTO feedback (message_id, user_id, rating, created_at)
            VALUES ('{OWN_OTHER_ANSWER}', '{ACME_MEMBER}', 4, now())""",
    }
)
# What even service cannot do to every row at once, because of a key.
TAKING = """
                            anonymous nobody member colleague admin member2 admin2
    move chatbots to Acme           0      0      0         0     2       0 policy
    move conversations to Acme      0      0      2         1     1  policy      0
    take the colleague's id         0      0 policy         1 policy policy policy
"""
TAKEN = {
    "move chatbots to Acme": f"UPDATE chatbots SET tenant_id = '{ACME}'",
    "move conversations to Acme": f"UPDATE conversations SET tenant_id = '{ACME}'",
    "take the colleague's id": f"UPDATE users SET id = '{ACME_COLLEAGUE}'",
}
OUTSIDER = "outsider"  # holds every right, and is no client: row security lets it see nothing


def open_all_tables(connection: Connection) -> None:
    connection.execute(f"CREATE ROLE {OUTSIDER}")
    connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role, {OUTSIDER}")


@pytest.mark.parametrize(("statement", "outcomes"), [*cases(OPEN, OPENLY), *cases(TAKING, TAKEN)])
def test_row_security_where_everybody_holds_all(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        open_all_tables(connection)
        found = {name: attempt(connection, EVERY_CALLER[name], statement, {}) for name in outcomes}
        assert found == outcomes
        for claims in (None, MEMBER.claims):
            outsiders = attempt(connection, Who(OUTSIDER, claims), statement, {})
            assert outsiders == outcomes["stranger"]


def test_only_the_version_is_for_whoever_is_granted_it(fresh_place: Place) -> None:
    """An auditor's role has to be able to run `alembic check`, and to write nothing."""
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        open_all_tables(connection)
        for statement, outcome in (
            ("TABLE alembic_version", 1),
            ("UPDATE alembic_version SET version_num = '000'", 0),
            ("DELETE FROM alembic_version", 0),
            ("INSERT INTO alembic_version VALUES ('000')", "policy"),
            ("TABLE published_chatbots", 0),
        ):
            assert attempt(connection, Who(OUTSIDER), statement, {}) == outcome, statement


def test_who_is_let_see_conversations_sees_no_message(fresh_place: Place) -> None:
    """Their policies ask for a conversation that is found, but are for clients alone."""
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        open_all_tables(connection)
        connection.execute(f'CREATE POLICY "Analysts count" ON conversations FOR SELECT TO {OUTSIDER} USING (true)')
        for statement, outcome in (("TABLE conversations", 6), ("TABLE messages", 0), (OPENLY["ask"], "policy")):
            assert attempt(connection, Who(OUTSIDER), statement, {}) == outcome, statement


@pytest.mark.parametrize(
    ("statement", "before", "after"),
    [
        ("TABLE conversations", 2, 0),
        ("UPDATE conversations SET title = 'New'", 2, 0),
        ("DELETE FROM conversations", 2, 0),
        (f"INSERT INTO conversations (tenant_id, user_id) VALUES ('{ACME}', '{ACME_MEMBER}')", 1, "policy"),
        (f"INSERT INTO conversations (tenant_id, user_id) VALUES ('{GLOBEX}', '{ACME_MEMBER}')", "policy", 1),
        ("TABLE messages", 3, 0),
        (f"INSERT INTO messages (conversation_id, role, content) VALUES ('{OWN_TALK}', 'user', 'H')", 1, "policy"),
        ("TABLE feedback", 1, 0),
        ("UPDATE feedback SET rating = 1", 1, 0),
        ("DELETE FROM feedback", 1, 0),
        (OPENLY["rate"].replace(", created_at", "").replace(", now()", ""), 1, "policy"),
    ],
)
def test_who_moves_to_another_tenant_leaves_everything_behind(
    fresh_place: Place, statement: str, before: int | str, after: int | str
) -> None:
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        assert attempt(connection, MEMBER, statement, {}) == before
        connection.execute("UPDATE users SET tenant_id = %s WHERE id = %s", (GLOBEX, ACME_MEMBER))
        assert attempt(connection, MEMBER, statement, {}) == after


@pytest.mark.parametrize(
    "statement",
    ["TABLE feedback", "UPDATE feedback SET rating = 1", "DELETE FROM feedback"],
    ids=["see", "set", "drop"],
)
def test_feedback_of_others_on_ones_own_messages_is_not_ones_own(fresh_place: Place, statement: str) -> None:
    """Nor is one's own on a message that is somebody else's."""
    with connect(fresh_place.url) as connection, connection.transaction(force_rollback=True):
        insert = sql.SQL("INSERT INTO feedback (message_id, user_id, rating) VALUES (%s, %s, 1)")
        assert connection.execute(insert, (OWN_ANSWER, ACME_COLLEAGUE)).rowcount == 1
        assert [attempt(connection, who, statement, {}) for who in (MEMBER, COLLEAGUE)] == [1, 1]

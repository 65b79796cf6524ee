"""What a hostile client tries on the guide's own platform, which grants its clients ALL on its tables."""

import psycopg
import pytest
from psycopg import errors

from tests.people import (
    ACME,
    ACME_COLLEAGUE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    COLLEAGUES_TALK,
    DRAFT,
    GLOBEX,
    GLOBEX_ADMIN,
    GLOBEX_PUBLISHED,
    HEIR,
    INACTIVE_ADMIN,
    MEMBER,
    NEWCOMER,
    NO_TOKEN,
    NOBODY,
    OTHER_ADMIN,
    OWN_OLD_TALK,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    STRANGER,
    Who,
    sub_of,
)
from tests.policies import Outcomes, Place, cases
from tests.tools import become, connect, refused_by

NEW = "INSERT INTO users (id, tenant_id, email, auth_id, role) VALUES"
HERE = f"WHERE id = '{ACME_MEMBER}'"
ROW = f"('{NEWCOMER}', '{ACME}', 'new@acme.example', '{sub_of(NOBODY)}', 'admin')"

# Its policies name no role, so an anonymous client with a token is the token's person to them. They ask auth.uid(),
# which raises where a sub is malformed.
CALLERS = {
    "anonymous": {"anonymous": ANONYMOUS},
    "token": {"anonymous-with-a-token": Who("anon", ADMIN.claims)},
    "nobody": {"no-token": NO_TOKEN, "stranger": STRANGER},
    "former": {"inactive-admin": INACTIVE_ADMIN},
    "member": {"member": MEMBER, "member-by-an-heir": Who(HEIR, MEMBER.claims)},
    "colleague": {"colleague": COLLEAGUE},
    "admin": {"admin": ADMIN},
    "admin2": {"other-tenants-admin": OTHER_ADMIN},
    "service": {"service": SERVICE},
    "owner": {"owner": OWNER},
}
EVERY_CALLER = {name: who for column in CALLERS.values() for name, who in column.items()}

# The platform lets its clients read themselves, and nothing else of users.
BECOMING_ADMIN = """
                            anonymous  token nobody former member colleague admin admin2 service owner
    promote oneself                 0      0      0      0      0         0     0      0       1     1
    promote everybody               0      0      0      0      0         0     0      0       7     7
    promote by upsert          policy policy policy policy policy    policy policy policy      1     1
    promote by merge                0      0      0      0 policy         0     0      0       1     1
    promote by a join               0      0      0      0      0         0     0      0       1     1
    insert an admin            policy policy policy policy policy    policy policy policy      1     1
    insert by select           policy policy policy policy policy    policy policy policy      1     1
    take an admin's sub             0      0      0      0      0         0     0      0       1     1
    take an admin's id              0      0      0      0      0         0     0      0       1     1
    give everybody's sub up         0      0      0      0      0         0     0      0       7     7
    activate everybody              0      0      0      0      0         0     0      0       7     7
    move to Globex                  0      0      0      0      0         0     0      0       1     1
    delete an admin                 0      0      0      0      0         0     0      0       1     1
    read everybody                  0      1      0      1      1         1     1      1       7     7
"""
BECOME_ADMIN = {
    "promote oneself": f"UPDATE users SET role = 'admin' {HERE}",
    "promote everybody": "UPDATE users SET role = 'admin'",
    "promote by upsert": f"{NEW} ('{ACME_MEMBER}', '{ACME}', 'm@acme.example', '{sub_of(ACME_MEMBER)}', 'admin')"
    " ON CONFLICT (id) DO UPDATE SET role = excluded.role",
    "promote by merge": f"MERGE INTO users USING (VALUES ('{ACME_MEMBER}'::uuid)) AS source (me) ON id = me"
    " WHEN MATCHED THEN UPDATE SET role = 'admin'",
    "promote by a join": f"UPDATE users SET role = 'admin' FROM conversations WHERE user_id = users.id"
    f" AND conversations.id = '{OWN_TALK}'",
    "insert an admin": f"{NEW} {ROW}",
    "insert by select": "INSERT INTO users (tenant_id, email, role) SELECT id, 'new@acme.example', 'admin'"
    " FROM (VALUES ('00000000-0000-0000-0000-000000000001'::uuid)) AS made (id)",
    "take an admin's sub": f"UPDATE users SET auth_id = '{sub_of(NOBODY)}' WHERE id = '{GLOBEX_ADMIN}'",
    "take an admin's id": f"UPDATE users SET id = '{NOBODY}' WHERE id = '{ACME_INACTIVE_ADMIN}'",
    "give everybody's sub up": "UPDATE users SET auth_id = NULL",
    "activate everybody": "UPDATE users SET is_active = true",
    "move to Globex": f"UPDATE users SET tenant_id = '{GLOBEX}' {HERE}",
    "delete an admin": f"DELETE FROM users WHERE id = '{ACME_INACTIVE_ADMIN}'",
    "read everybody": "SELECT * FROM users",
}

LINKING = f"UPDATE conversations SET chatbot_id = '{{}}' WHERE id = '{OWN_OLD_TALK}'"
BEGINNING = "INSERT INTO conversations (tenant_id, user_id, chatbot_id) VALUES ('{}', '{}', '{}')"

# Its policies show a tenant's conversations to all its members, and let whoever began one change each of its columns.
LINKS = """
                            anonymous  token nobody former member colleague admin admin2 service owner
    link to published               0      0      0      0      1         0     0      0       1     1
    link to draft                   0      0      0      0  guard         0     0      0       1     1
    link a colleague's              0      0      0      0      0         1     0      0       1     1
    begin with published       policy policy policy policy      1    policy policy policy      1     1
    begin with draft           policy policy policy policy  guard    policy policy policy      1     1
    begin in the colleague's   policy policy policy policy policy         1 policy policy      1     1
    follow to Globex                0      0      0      0 policy         0     0      0       1     1
    choose the version              0      0      0      0      1         0     0      0       1     1
"""
LINK = {
    "link to published": LINKING.format(PUBLISHED),
    "link to draft": LINKING.format(DRAFT),
    "link a colleague's": f"UPDATE conversations SET chatbot_id = '{PUBLISHED}' WHERE id = '{COLLEAGUES_TALK}'",
    "begin with published": BEGINNING.format(ACME, ACME_MEMBER, PUBLISHED),
    "begin with draft": BEGINNING.format(ACME, ACME_MEMBER, DRAFT),
    "begin in the colleague's": BEGINNING.format(ACME, ACME_COLLEAGUE, PUBLISHED),
    "follow to Globex": f"UPDATE conversations SET tenant_id = '{GLOBEX}', chatbot_id = '{GLOBEX_PUBLISHED}'"
    f" WHERE id = '{OWN_OLD_TALK}'",
    "choose the version": f"UPDATE conversations SET chatbot_version = 7 WHERE id = '{OWN_TALK}'",
}


@pytest.mark.parametrize(
    ("statement", "outcomes"), [*cases(BECOMING_ADMIN, BECOME_ADMIN, CALLERS), *cases(LINKS, LINK, CALLERS)]
)
def test_the_platforms_policies_let_nobody_past_ours(guide_place: Place, statement: str, outcomes: Outcomes) -> None:
    found = guide_place.attempt(statement, *(EVERY_CALLER[name] for name in outcomes))
    assert dict(zip(outcomes, found, strict=True)) == outcomes


@pytest.mark.parametrize("table", ["users", "tenants"])
def test_no_client_empties_chatbots_by_a_cascade(guide_place: Place, table: str) -> None:
    """The platform lets each of them TRUNCATE its tables."""
    for who in (ANONYMOUS, MEMBER, ADMIN, SERVICE):
        assert guide_place.attempt(f"TRUNCATE {table} CASCADE", who) == ["grant"]
    owner = guide_place.url.set(username=guide_place.owner)
    with connect(owner) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"TRUNCATE {table} CASCADE".encode())
        assert connection.execute("SELECT FROM chatbots").rowcount == 0


@pytest.mark.parametrize(
    ("who", "rows"),
    [(ANONYMOUS, "grant"), (STRANGER, 0), (MEMBER, 1), (ADMIN, 2), (OTHER_ADMIN, 2), (INACTIVE_ADMIN, 0), (SERVICE, 4)],
    ids=["anonymous", "stranger", "member", "admin", "other-admin", "former-admin", "service"],
)
@pytest.mark.parametrize("table", ["chatbots", "chatbot_versions"])
def test_copy_shows_what_select_shows(guide_place: Place, table: str, who: Who, rows: int | str) -> None:
    if table == "chatbot_versions" and who == MEMBER:
        rows = 0
    with connect(guide_place.url.set(username="authenticator")) as connection, connection.transaction():
        become(connection, who)
        try:
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as copied:
                found: int | str = sum(1 for _ in copied.rows())
        except psycopg.Error as error:
            found = refused_by(error)
    assert found == rows


@pytest.mark.parametrize("table", ["users", "chatbots", "audit_log", "chatbot_versions", "chatbot_tags"])
@pytest.mark.parametrize("who", [ANONYMOUS, MEMBER, ADMIN], ids=["anonymous", "member", "admin"])
def test_copy_writes_nothing_past_row_security(guide_place: Place, table: str, who: Who) -> None:
    with connect(guide_place.url.set(username="authenticator")) as connection, connection.transaction():
        become(connection, who)
        refusals = (errors.InsufficientPrivilege, errors.FeatureNotSupported)  # of COPY FROM under row security
        copy = connection.cursor().copy(f"COPY {table} FROM STDIN")
        with pytest.raises(refusals), connection.transaction(), copy as copied:
            copied.write(b"")
    assert guide_place.attempt(f"SELECT FROM {table}", OWNER) != [0]


@pytest.mark.parametrize(("who", "rows"), [(MEMBER, 1), (STRANGER, 0), (NO_TOKEN, 0), (ANONYMOUS, 2)])
def test_a_leftover_of_the_older_setting_is_nobody(guide_place: Place, who: Who, rows: int) -> None:
    """The platform's policies take it for the caller, as auth.uid() does."""
    with connect(guide_place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('request.jwt.claim.sub', %s, true)", (str(sub_of(GLOBEX_ADMIN)),))
        become(connection, who)
        assert connection.execute("SELECT id FROM chatbots").rowcount == rows
        assert connection.execute("SELECT id FROM chatbots WHERE NOT is_published").rowcount == 0

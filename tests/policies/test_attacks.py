"""What somebody tries who wants more than the access matrix gives; each beside somebody for whom it works."""

import json
from typing import Any

import pytest
from psycopg import Connection, errors
from sqlalchemy import URL

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    DRAFT,
    GLOBEX,
    GLOBEX_ADMIN,
    GLOBEX_DRAFT,
    GLOBEX_TALK,
    MEMBER,
    OTHER_ADMIN,
    OTHER_MEMBER,
    OWNER,
    SERVICE,
    STRANGER,
    Who,
)
from tests.policies import Place
from tests.tools import become, connect, url_of

INSERT = "INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt, model)"
MINE = f"VALUES ('{GLOBEX_DRAFT}', '{ACME}', '{ACME_ADMIN}', 'Mine', 'Mine', 'm')"


@pytest.mark.parametrize(
    ("statement", "outcomes"),
    [
        pytest.param("UPDATE chatbots SET name = name RETURNING *", (0, 2, 4), id="update-returning"),
        pytest.param("DELETE FROM chatbots RETURNING system_prompt", (0, 2, 4), id="delete-returning"),
        pytest.param("SELECT id FROM chatbots FOR UPDATE", (0, 2, 4), id="select-for-update"),
        pytest.param("SELECT id FROM chatbots FOR KEY SHARE", (0, 2, 4), id="select-for-key-share"),
        pytest.param(
            "WITH gone AS (DELETE FROM chatbots RETURNING *) SELECT system_prompt FROM gone", (0, 2, 4), id="cte"
        ),
        pytest.param(
            "UPDATE conversations SET title = system_prompt FROM chatbots WHERE conversations.tenant_id ="
            f" chatbots.tenant_id AND chatbots.id = '{GLOBEX_DRAFT}'",
            (0, 0, 1),
            id="update-from",
        ),
        pytest.param(
            "INSERT INTO conversations (tenant_id, user_id, title)"
            f" SELECT '{ACME}', '{ACME_ADMIN}', system_prompt FROM chatbots WHERE tenant_id = '{GLOBEX}'",
            (0, 0, 2),
            id="insert-select",
        ),
        pytest.param(f"{INSERT} {MINE} ON CONFLICT DO NOTHING RETURNING *", ("policy", 0, 0), id="on-conflict-nothing"),
        pytest.param(
            f"{INSERT} {MINE} ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING *",
            ("policy", "policy", 1),
            id="on-conflict-update",
        ),
        pytest.param(
            f"SELECT FROM conversations JOIN messages ON conversation_id = conversations.id"
            f" WHERE conversations.id = '{GLOBEX_TALK}'",
            (0, 0, 1),
            id="join",
        ),
    ],
)
def test_ways_to_read_and_write_at_once(
    fresh_place: Place, statement: str, outcomes: tuple[int | str, int | str, int]
) -> None:
    assert fresh_place.attempt(statement, MEMBER, ADMIN, SERVICE) == list(outcomes)


# What a function in WHERE is shown, whichever rows come of the statement. It is so cheap that it goes first if it may.
LEAK = """
    CREATE FUNCTION leak(seen text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
    BEGIN
        RAISE NOTICE '%', seen;
        RETURN true;
    END $$;
    CREATE FUNCTION leak(seen text, text) RETURNS boolean LANGUAGE sql AS 'SELECT leak($1)';
    CREATE OPERATOR ~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = leak);
"""
ACMES, DRAFTS, GLOBEXES = {"Acme Support"}, {"Acme Draft"}, {"Globex Support"}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM chatbots WHERE leak(name)",
        "SELECT FROM chatbots WHERE name ~~~ ''",
        "SELECT FROM chatbots WHERE is_published AND leak(name) OR NOT is_published AND leak(name)",
        "SELECT leak(name) FROM chatbots",
        "SELECT FROM chatbots ORDER BY leak(name)",
        "SELECT FROM chatbots GROUP BY name HAVING leak(name)",
        "SELECT FROM chatbots JOIN (VALUES (1)) AS one (i) ON leak(name)",
        "SELECT FROM (SELECT name FROM chatbots OFFSET 0) AS all_names WHERE leak(name)",
    ],
)
def test_a_leaky_function_is_shown_no_more_than_its_caller_sees(platform: Connection, statement: str) -> None:
    platform.execute(LEAK)
    shown: list[str] = []
    platform.add_notice_handler(lambda notice: shown.append(notice.message_primary or ""))
    for who, names in (
        (ANONYMOUS, ACMES | GLOBEXES),
        (MEMBER, ACMES),
        (ADMIN, ACMES | DRAFTS),
        (OTHER_ADMIN, GLOBEXES | {"Globex Draft"}),
        (SERVICE, ACMES | DRAFTS | GLOBEXES | {"Globex Draft"}),
    ):
        shown.clear()
        with platform.transaction(force_rollback=True):
            become(platform, who)
            platform.execute(statement)
        assert set(shown) == names


def test_a_leaky_function_is_shown_only_published_rows_through_the_view(platform: Connection) -> None:
    platform.execute(LEAK)
    shown: list[str] = []
    platform.add_notice_handler(lambda notice: shown.append(notice.message_primary or ""))
    become(platform, ANONYMOUS)
    platform.execute("SELECT FROM published_chatbots WHERE leak(name)")
    assert set(shown) == ACMES | GLOBEXES


@pytest.mark.parametrize(
    ("who", "statement", "error"),
    [
        pytest.param(ADMIN, f"{INSERT} {MINE}", errors.UniqueViolation, id="taken-id"),
        pytest.param(
            MEMBER,
            f"UPDATE conversations SET chatbot_id = '{GLOBEX_DRAFT}'",
            (errors.ForeignKeyViolation, errors.InsufficientPrivilege),
            id="foreign-key",
        ),
        pytest.param(ADMIN, "UPDATE chatbots SET temperature = 3", errors.CheckViolation, id="check"),
        pytest.param(ADMIN, "UPDATE chatbots SET name = NULL", errors.NotNullViolation, id="not-null"),
        pytest.param(
            MEMBER,
            f"INSERT INTO messages (conversation_id, role, content) VALUES ('{GLOBEX_TALK}', 'user', 'Hello')",
            errors.InsufficientPrivilege,
            id="foreign-conversation",
        ),
    ],
)
def test_errors_show_nothing_of_other_rows(
    people_database: URL, who: Who, statement: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    with connect(people_database.set(username="authenticator")) as connection, connection.transaction():
        become(connection, who)
        with pytest.raises(error) as refusal, connection.transaction():
            connection.execute(statement)
    for secret in ("Globex", str(GLOBEX), str(GLOBEX_ADMIN), "Be kind", "Secret"):
        assert secret not in str(refusal.value)


def test_statistics_show_no_values(platform: Connection) -> None:
    platform.execute("CREATE STATISTICS of_tenants (mcv) ON tenant_id, is_published FROM chatbots")
    platform.execute(
        "INSERT INTO chatbots (tenant_id, name, system_prompt, model) SELECT tenant_id, name, 'S', 'm'"
        " FROM chatbots, generate_series(1, 50)"
    )
    platform.execute("ANALYZE")
    platform.commit()
    for view in ("pg_stats", "pg_stats_ext"):
        for who, sees in ((ANONYMOUS, False), (MEMBER, False), (ADMIN, False), (OWNER, True)):
            with platform.transaction(force_rollback=True):
                become(platform, who)
                found = platform.execute(f"SELECT FROM {view} WHERE schemaname = 'public'").rowcount
            assert (found > 0) == sees, (view, who)


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ("chatbots WHERE system_prompt = 'Be helpful.'", "chatbots WHERE system_prompt = 'Be unique.'"),
        ("chatbots WHERE model = 'a-model'", "chatbots WHERE model = 'another-model'"),
        ("chatbots WHERE max_tokens = 7777", "chatbots WHERE max_tokens = 7778"),
        ("chatbots WHERE temperature = 0.7", "chatbots WHERE temperature = 0.123"),
        ("chatbots WHERE lock_version = 1", "chatbots WHERE lock_version = 7777"),
        ("conversations WHERE chatbot_version = 1", "conversations WHERE chatbot_version = 7777"),
        ("chatbots WHERE name < 'Finance'", "chatbots WHERE name < 'Writing'"),
        ("users WHERE email < 'person2'", "users WHERE email < 'person8'"),
        ("conversations WHERE title = 'Be helpful.'", "conversations WHERE title = 'Other'"),
    ],
    ids=["prompt", "model", "tokens", "temperature", "saves", "version", "name", "address", "title"],
)
def test_estimates_tell_nothing_of_what_others_wrote(crowded: Connection, known: str, unknown: str) -> None:
    """An API may offer planned counts, and the planner looks at statistics over all tenants' rows."""

    def estimate(what: str) -> int:
        with crowded.transaction():
            become(crowded, OTHER_MEMBER)
            explained = crowded.execute(f"EXPLAIN (FORMAT JSON) SELECT FROM {what}").fetchone()
        assert explained is not None
        rows = explained[0][0]["Plan"]["Plan Rows"]
        assert isinstance(rows, int)
        return rows

    assert estimate(known) == estimate(unknown)
    assert estimate("chatbots WHERE created_at > '2000-01-01'") > estimate("chatbots WHERE created_at < '2000-01-01'")


@pytest.mark.parametrize("table", ["pg_statistic", "pg_statistic_ext_data", "pg_authid", "pg_user_mapping"])
def test_system_tables_with_values_are_closed(fresh_place: Place, table: str) -> None:
    assert fresh_place.attempt(f"SELECT * FROM {table}", ANONYMOUS, MEMBER, SERVICE) == ["grant"] * 3


@pytest.mark.parametrize(
    "claim",
    [
        {"user_metadata": {"role": "admin"}},
        {"app_metadata": {"role": "admin", "tenant_id": str(GLOBEX)}},
        {"role": "service_role"},
        {"role": "admin", "is_admin": True},
        {"tenant_id": str(GLOBEX)},
        {"user_id": str(GLOBEX_ADMIN), "id": str(GLOBEX_ADMIN), "Sub": str(GLOBEX_ADMIN)},
    ],
    ids=["user-metadata", "app-metadata", "service", "admin", "tenant", "like-sub"],
)
def test_no_claim_counts_but_sub(place: Place, claim: dict[str, Any]) -> None:
    boasting = Who("authenticated", json.dumps({**claim, "sub": str(ACME_MEMBER)}))
    read = f"SELECT FROM chatbots WHERE id IN ('{DRAFT}', '{GLOBEX_DRAFT}')"
    assert place.attempt(read, boasting, ADMIN, SERVICE) == [0, 1, 2]


def test_the_last_of_two_subs_counts_as_for_every_reader_of_json(place: Place) -> None:
    twice = Who("authenticated", f'{{"sub": "{GLOBEX_ADMIN}", "sub": "{ACME_MEMBER}"}}')
    assert place.attempt(f"SELECT FROM chatbots WHERE tenant_id = '{GLOBEX}'", twice, OTHER_ADMIN) == [0, 2]


@pytest.mark.parametrize("prepared", [False, True], ids=["new-statement", "prepared"])
@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        pytest.param("is_active = false", 2, 0, id="deactivated"),
        pytest.param("role = 'user'", 2, 1, id="demoted"),
        pytest.param(f"tenant_id = '{GLOBEX}'", 2, 2, id="moved"),
    ],
)
def test_an_admins_next_statement_obeys(
    platform: Connection, change: str, before: int, after: int, prepared: bool
) -> None:
    """Also in a transaction that was open already, on plans that were made before."""
    read, write = "SELECT tenant_id FROM chatbots", f"DELETE FROM chatbots WHERE tenant_id = '{ACME}'"
    with connect(url_of(platform).set(username="authenticator")) as admin, admin.transaction():
        become(admin, ADMIN)
        for _ in range(6):  # so often until PostgreSQL thinks of a generic plan
            assert admin.execute(read, prepare=prepared).fetchall() == [(ACME,)] * before
        platform.execute(f"UPDATE users SET {change} WHERE id = %s", (ACME_ADMIN,))
        platform.commit()
        tenant = GLOBEX if "tenant_id" in change else ACME
        assert admin.execute(read, prepare=prepared).fetchall() == [(tenant,)] * after
        assert admin.execute(write, prepare=prepared).rowcount == 0


def test_a_plan_made_for_one_person_serves_the_next_as_themself(people_database: URL) -> None:
    with connect(people_database.set(username="authenticator")) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute("PREPARE listing AS SELECT tenant_id FROM chatbots")
        for who, rows in (
            (ADMIN, 2),
            (MEMBER, 1),
            (OTHER_MEMBER, 1),
            (STRANGER, 0),
            (OTHER_ADMIN, 2),
            (SERVICE, 4),
        ):
            with connection.transaction():
                become(connection, who)
                assert connection.execute("EXECUTE listing").rowcount == rows

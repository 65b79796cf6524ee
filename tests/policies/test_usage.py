"""The guide's monitoring: who is told whose figures, and that each figure is what counting row by row comes to."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import mean
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import dict_row

from tests.people import (
    ACME,
    ADMIN,
    ANONYMOUS,
    EVERYBODY,
    GLOBEX,
    INACTIVE_ADMIN,
    MEMBER,
    NO_TOKEN,
    SERVICE,
    Who,
    missing_roles,
    person,
)
from tests.policies import Outcomes, Place, cases
from tests.scale import Scale
from tests.tools import become, connect, libpq_url

FIGURES = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    usage                       grant      0      0         0     2       0      2       4    4
    usage of Acme               grant      0      0         0     2       0      0       2    2
    usage of Globex             grant      0      0         0     0       0      2       2    2
    popular                     grant      0      0         0     1       0      1       2    2
    popular of Acme             grant      0      0         0     1       0      0       1    1
    popular of Globex           grant      0      0         0     0       0      1       1    1
    admins                      grant      0      0         0     1       0      1       2    2
    admins of Acme              grant      0      0         0     1       0      0       1    1
    admins of Globex            grant      0      0         0     0       0      1       1    1
    unpublished                 grant      0      0         0     1       0      1       2    2
    unpublished of Acme         grant      0      0         0     1       0      0       1    1
    unpublished of Globex       grant      0      0         0     0       0      1       1    1
"""
FUNCTIONS = {
    "usage": "chatbot_usage",
    "popular": "popular_chatbots",
    "admins": "tenant_admins",
    "unpublished": "unpublished_chatbots",
}
ASKED = {"": "", " of Acme": f"'{ACME}'", " of Globex": f"'{GLOBEX}'"}
CALLS = {
    what + whose: f"SELECT * FROM {function}({tenant})"
    for what, function in FUNCTIONS.items()
    for whose, tenant in ASKED.items()
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(FIGURES, CALLS))
def test_who_is_told_whose_figures(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes


# Each figure, counted row by row

Row = dict[str, Any]
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def busy(place: Place, seed: int) -> Iterator[Connection[Row]]:
    """A superuser's connection, in a transaction, to a database with conversations of all kinds."""
    chance = random.Random(seed)

    def some_time() -> datetime:
        return BEGINNING + timedelta(minutes=chance.randrange(500_000))

    with (
        psycopg.connect(libpq_url(place.url), autocommit=True, row_factory=dict_row) as connection,
        connection.transaction(force_rollback=True),
    ):
        execute = connection.execute
        execute("SET LOCAL TimeZone = 'UTC'")  # what a platform without time zones keeps
        ratings = admitted(connection)
        for number in range(8):  # some of one name, in one tenant and in both
            execute(
                "INSERT INTO chatbots (tenant_id, name, system_prompt, model, is_published, updated_at)"
                " VALUES (%s, %s, 'Be.', 'm', %s, %s)",
                ((ACME, GLOBEX)[number % 2], f"Bot {number // 4}", number % 3 == 0, some_time()),
            )
        people = execute("SELECT id, tenant_id FROM users").fetchall()
        bots = execute("SELECT id, tenant_id FROM chatbots ORDER BY id").fetchall()
        for _ in range(60):
            who = chance.choice(people)
            its = [bot["id"] for bot in bots if bot["tenant_id"] == who["tenant_id"]]
            talk = execute(
                "INSERT INTO conversations (tenant_id, user_id, chatbot_id, created_at) VALUES (%s, %s, %s, %s)"
                " RETURNING id",
                (who["tenant_id"], who["id"], chance.choice([None, *its[:-1]]), some_time()),
            ).fetchone()
            for _ in range(chance.randrange(4)):
                message = execute(
                    "INSERT INTO messages (conversation_id, role, content, created_at)"
                    " VALUES (%s, 'assistant', 'Yes.', %s) RETURNING id",
                    ((talk or {})["id"], some_time()),
                ).fetchone()
                for critic in chance.sample(EVERYBODY, chance.choice([0, 0, 1, 3])):
                    execute(
                        "INSERT INTO feedback (message_id, user_id, rating) VALUES (%s, %s, %s)",
                        ((message or {})["id"], critic, chance.choice(ratings)),
                    )
        yield connection


def admitted(connection: Connection[Row]) -> Sequence[int | Decimal]:
    """The ratings that a platform takes, by the column's type and CHECK: thumbs, half stars, or stars."""
    rating = connection.execute("""
        SELECT format_type(atttypid, NULL) AS type,
            coalesce(string_agg(pg_get_constraintdef(pg_constraint.oid), ''), '') AS checked
        FROM pg_attribute LEFT JOIN pg_constraint ON conrelid = attrelid AND conkey = ARRAY[attnum] AND contype = 'c'
        WHERE attrelid = 'public.feedback'::regclass AND attname = 'rating' GROUP BY type
    """).fetchone()
    assert rating is not None
    if "-1" in rating["checked"]:
        return [-1, 1]
    return [Decimal(number) / 2 for number in range(2, 11)] if rating["type"] == "numeric" else range(1, 6)


def every_row(connection: Connection[Row], table: str) -> list[Row]:
    return connection.execute(f"SELECT * FROM {table}".encode()).fetchall()


def usage_by_row(connection: Connection[Row], positive_from: int) -> list[Row]:
    """What chatbot_usage is to tell of every tenant, counted as a person would with the rows on cards."""
    talks, messages, feedback = (every_row(connection, table) for table in ("conversations", "messages", "feedback"))
    counted = []
    for bot in every_row(connection, "chatbots"):
        its_talks = [talk for talk in talks if talk["chatbot_id"] == bot["id"]]
        its_messages = [each for each in messages if each["conversation_id"] in {talk["id"] for talk in its_talks}]
        ratings = [each["rating"] for each in feedback if each["message_id"] in {one["id"] for one in its_messages}]
        positive = [rating for rating in ratings if rating >= positive_from]
        counted.append(
            {
                "tenant_id": bot["tenant_id"],
                "chatbot_id": bot["id"],
                "chatbot_name": bot["name"],
                "is_published": bot["is_published"],
                "conversations": len(its_talks),
                "messages": len(its_messages),
                "people": len({talk["user_id"] for talk in its_talks}),
                "ratings": len(ratings),
                "mean_rating": float(Fraction(mean(map(Fraction, ratings)))) if ratings else None,
                "positive_share": len(positive) / len(ratings) if ratings else None,
                "last_used_at": max((in_utc(each["created_at"]) for each in [*its_talks, *its_messages]), default=None),
            }
        )
    return counted


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; one without a time zone is."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def told(connection: Connection[Row], who: Who, call: str) -> list[Row]:
    """What somebody is told, with fractions as floats and times in UTC."""
    with connection.transaction(force_rollback=True):
        become(connection, who)
        rows = connection.execute(f"SELECT * FROM {call}".encode()).fetchall()
    for row in rows:
        for name in row.keys() & {"mean_rating", "positive_share"}:
            row[name] = None if row[name] is None else float(row[name])
        row |= {name: in_utc(each) for name, each in row.items() if isinstance(each, datetime)}
    return rows


def same(one: Sequence[Row], other: Sequence[Row]) -> bool:
    """Whether these are the same rows, in any order, fractions but for their last digit."""

    def key(row: Row) -> list[tuple[str, str]]:
        return sorted((name, f"{each:.12f}" if isinstance(each, float) else str(each)) for name, each in row.items())

    return sorted(map(key, one)) == sorted(map(key, other))


@pytest.mark.parametrize("given", [None, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_usage_is_what_counting_row_by_row_comes_to(place: Place, seed: int, given: int | None) -> None:
    with busy(place, seed) as connection:
        thumbs = -1 in admitted(connection)
        expected = usage_by_row(connection, given or (1 if thumbs else 4))
        positive_from = given or "NULL"
        assert max(row["ratings"] for row in expected) > max(row["conversations"] for row in expected) > 3
        assert min(row["conversations"] for row in expected) == 0
        of_all = told(connection, SERVICE, f"chatbot_usage(positive_from => {positive_from})")
        assert same(of_all, expected)
        assert [row["conversations"] for row in of_all] == sorted(row["conversations"] for row in expected)[::-1]
        its = [row for row in expected if row["tenant_id"] == ACME]
        for who, tenant in ((ADMIN, ""), (ADMIN, f"'{ACME}', "), (SERVICE, f"'{ACME}', ")):
            assert same(told(connection, who, f"chatbot_usage({tenant}positive_from => {positive_from})"), its)


WITHOUT_ZONES = """
    DROP VIEW published_chatbots;
    ALTER TABLE conversations ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC';
    ALTER TABLE messages ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC';
    ALTER TABLE chatbots ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC',
        ALTER updated_at TYPE timestamp USING updated_at AT TIME ZONE 'UTC'
"""


@pytest.mark.parametrize("call", ["chatbot_usage()", "unpublished_chatbots()"])
def test_times_without_a_zone_are_utc_in_every_session(fresh_place: Place, call: str) -> None:
    with busy(fresh_place, 1) as connection:
        plainly = told(connection, SERVICE, call)
        assert {type(each) for row in plainly for each in row.values()} >= {datetime}
        connection.execute(WITHOUT_ZONES)
        for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
            connection.execute(f"SET LOCAL TimeZone = '{zone}'".encode())
            for who, tenants in ((SERVICE, {ACME, GLOBEX}), (ADMIN, {ACME})):
                assert told(connection, who, call) == [row for row in plainly if row["tenant_id"] in tenants], zone


NUMBERS = {  # a type of ratings, and ratings: that add up to more than it holds, or lie beside the bound
    "smallint": [32767] * 3,
    "integer": [2147483647] * 3,
    "bigint": [9223372036854775807] * 3,
    "numeric": [Decimal("3.9"), Decimal("4.1"), Decimal("4.00"), Decimal("1e30")],
    "numeric(2,1)": [Decimal("3.9"), Decimal("4.0")],
    "real": [3.9, 4.0, 4.5, 3e38, 3e38],
    "double precision": [3.999999, 4.000001, 1e300],
}


@pytest.mark.parametrize(("type_", "ratings"), NUMBERS.items(), ids=NUMBERS)
def test_ratings_may_be_of_any_type_of_number(
    fresh_place: Place, type_: str, ratings: Sequence[int | float | Decimal]
) -> None:
    with busy(fresh_place, 1) as connection:
        connection.execute(
            f"""
            DROP SCHEMA chatbot_compat CASCADE;
            TRUNCATE feedback;
            ALTER TABLE feedback DROP CONSTRAINT feedback_rating_check, ALTER rating TYPE {type_}
        """.encode()
        )
        (talk,) = connection.execute("SELECT id FROM conversations WHERE chatbot_id IS NOT NULL LIMIT 1").fetchall()
        for each in ratings:
            connection.execute(
                "WITH said AS (INSERT INTO messages (conversation_id, role, content) VALUES (%s, 'assistant', '')"
                " RETURNING id) INSERT INTO feedback (message_id, user_id, rating) SELECT id, %s, %s FROM said",
                (talk["id"], EVERYBODY[0], each),
            )
        (its,) = [row for row in told(connection, SERVICE, "chatbot_usage()") if row["ratings"]]
        assert its["ratings"] == len(ratings)
        assert its["positive_share"] == sum(each >= 4 for each in ratings) / len(ratings)
        assert its["mean_rating"] == pytest.approx(float(mean(map(Fraction, ratings))), rel=1e-6)


def test_many_ratings_of_few_digits_add_up(fresh_place: Place) -> None:
    """Added up as they are, a hundred thousand of them are worth less than each alone."""
    with busy(fresh_place, 1) as connection:
        connection.execute("""
            DROP SCHEMA chatbot_compat CASCADE;
            TRUNCATE feedback;
            ALTER TABLE feedback DROP CONSTRAINT feedback_rating_check, ALTER rating TYPE real;
            WITH said AS (
                INSERT INTO messages (conversation_id, role, content)
                SELECT id, 'assistant', '' FROM conversations, generate_series(1, 100000)
                WHERE id = (SELECT id FROM conversations WHERE chatbot_id IS NOT NULL LIMIT 1) RETURNING id
            )
            INSERT INTO feedback (message_id, user_id, rating) SELECT said.id, users.id, 4.1
            FROM said, (SELECT id FROM users LIMIT 1) AS users
        """)
        (its,) = [row for row in told(connection, SERVICE, "chatbot_usage()") if row["ratings"]]
        assert (its["ratings"], its["mean_rating"], its["positive_share"]) == (100_000, 4.1, 1)


def test_null_for_a_number_is_its_default(place: Place) -> None:
    with busy(place, 1) as connection:
        for function, number in (("chatbot_usage", "positive_from"), ("popular_chatbots", "best")):
            plainly = told(connection, SERVICE, f"{function}()")
            assert plainly == told(connection, SERVICE, f"{function}({number} => NULL)")


def test_usage_with_the_guides_columns_is_what_the_guides_query_means(place: Place) -> None:
    """Its alias c put right: conversations that are counted once, ratings that are not multiplied."""
    with busy(place, 3) as connection:
        rows = connection.execute(f"""
            SELECT cb.id AS chatbot_id, COUNT(DISTINCT conv.id) AS conversations, AVG(f.rating) AS mean_rating
            FROM public.chatbots cb
            LEFT JOIN public.conversations conv ON cb.id = conv.chatbot_id
            LEFT JOIN public.messages m ON conv.id = m.conversation_id
            LEFT JOIN public.feedback f ON m.id = f.message_id
            WHERE cb.tenant_id = '{ACME}'
            GROUP BY cb.id
        """).fetchall()
        guides = [{**row, "mean_rating": row["mean_rating"] and float(row["mean_rating"])} for row in rows]
        ours = [{name: row[name] for name in guides[0]} for row in told(connection, ADMIN, "chatbot_usage()")]
        assert same(ours, guides)


@pytest.mark.parametrize("best", [1, 2, 10])
def test_popular_chatbots_are_those_with_the_most_conversations(place: Place, best: int) -> None:
    with busy(place, 4) as connection:
        counted = [row for row in usage_by_row(connection, 4) if row["conversations"]]
        expected = []
        for row in counted:
            others = [other for other in counted if other["tenant_id"] == row["tenant_id"]]
            ahead = sum(other["conversations"] > row["conversations"] for other in others)
            if ahead < best:
                names = ("chatbot_id", "chatbot_name", "conversations")
                expected.append(
                    {"tenant_id": row["tenant_id"], "place": ahead + 1} | {each: row[each] for each in names}
                )
        places = [(row["tenant_id"], row["place"]) for row in expected]
        assert len(places) > len(set(places)) or best == 1  # equals share a place
        of_all = told(connection, SERVICE, f"popular_chatbots(best => {best})")
        assert same(of_all, expected)
        assert [(row["tenant_id"], row["place"]) for row in of_all] == sorted(places)
        its = [row for row in expected if row["tenant_id"] == ACME]
        assert same(told(connection, ADMIN, f"popular_chatbots(best => {best})"), its)


def test_admins_are_counted_of_each_tenant_also_of_none(place: Place) -> None:
    with busy(place, 5) as connection:
        connection.execute("UPDATE users SET role = 'user' WHERE tenant_id = %s", (GLOBEX,))
        acme = {"tenant_id": ACME, "tenant_name": "Acme", "admins": 2, "active_admins": 1}
        globex = {"tenant_id": GLOBEX, "tenant_name": "Globex", "admins": 0, "active_admins": 0}
        assert told(connection, SERVICE, "tenant_admins()") == [acme, globex]
        assert told(connection, ADMIN, "tenant_admins()") == [acme]


def test_unpublished_chatbots_newest_change_first(place: Place) -> None:
    with busy(place, 6) as connection:
        drafts = [row for row in every_row(connection, "chatbots") if not row["is_published"]]
        drafts.sort(key=lambda row: row["id"])  # of the same moment, as they were made in one transaction
        drafts.sort(key=lambda row: row["updated_at"], reverse=True)
        names = {"chatbot_id": "id", "chatbot_name": "name"}
        columns = ("tenant_id", "chatbot_id", "chatbot_name", "created_at", "updated_at")
        expected = [{each: row[names.get(each, each)] for each in columns} for row in drafts]
        assert told(connection, SERVICE, "unpublished_chatbots()") == expected
        its = [row for row in expected if row["tenant_id"] == ACME]
        assert told(connection, ADMIN, "unpublished_chatbots()") == its


# Who asks, when a function cannot be told


def test_a_member_of_the_owner_is_told_everything(place: Place) -> None:
    """It has the owner's rights, so row security does not bind it."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(missing_roles(f"usage_member_of_{place.owner} IN ROLE {place.owner}"))
        connection.execute(f"SET LOCAL ROLE usage_member_of_{place.owner}".encode())
        assert connection.execute("SELECT FROM chatbot_usage()").rowcount == 4
        assert connection.execute("SELECT FROM conversations").rowcount > 4


SPY = """
    GRANT REFERENCES ON conversations TO usage_spy;
    CREATE SCHEMA spying AUTHORIZATION usage_spy;
    SET LOCAL ROLE usage_spy;
    CREATE TABLE spying.loot (ran_as name, found bigint);
    GRANT SELECT ON spying.loot TO PUBLIC;
    CREATE FUNCTION spying.look() RETURNS void LANGUAGE sql AS $$
        INSERT INTO spying.loot
            SELECT current_user, (SELECT count(*) FROM public.chatbot_usage())
                + (SELECT count(*) FROM public.popular_chatbots()) + (SELECT count(*) FROM public.tenant_admins())
                + (SELECT count(*) FROM public.unpublished_chatbots())
    $$;
    CREATE FUNCTION spying.index(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM spying.look(); RETURN $1; END
    $$;
    CREATE FUNCTION spying.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM spying.look(); RETURN OLD; END
    $$;
    CREATE FUNCTION spying.definer() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT spying.look()';
    CREATE TABLE spying.trap AS SELECT 0 AS n;
    CREATE INDEX ON spying.trap (spying.index(n));
    CREATE TABLE spying.child (talk uuid REFERENCES public.conversations ON DELETE CASCADE);
    CREATE TRIGGER note BEFORE DELETE ON spying.child FOR EACH ROW EXECUTE FUNCTION spying.note();
    CREATE MATERIALIZED VIEW spying.figures AS SELECT spying.index(0) WITH NO DATA;
    INSERT INTO spying.child SELECT id FROM public.conversations;
    TRUNCATE spying.loot;
    GRANT USAGE ON SCHEMA spying TO PUBLIC;
    RESET ROLE
"""


@pytest.mark.parametrize("role", [None, "service_role"])
@pytest.mark.parametrize(
    "routine",
    [
        pytest.param("DELETE FROM conversations", id="cascade"),
        pytest.param("SELECT spying.definer()", id="function"),
        pytest.param("REINDEX TABLE spying.trap", id="reindex"),
        pytest.param("REFRESH MATERIALIZED VIEW spying.figures", id="refresh"),
    ],
)
def test_what_others_set_off_for_somebody_tells_them_no_more(place: Place, role: str | None, routine: str) -> None:
    """An heir of authenticated plants its code where service, or a superuser's maintenance, runs it: as the heir."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(missing_roles("usage_spy IN ROLE authenticated"))
        become(connection, Who(None, MEMBER.claims))  # to find a conversation
        connection.execute(SPY)
        connection.execute("SELECT set_config('request.jwt.claims', '', true)")
        if role and not routine.startswith(("REINDEX", "REFRESH")):  # those are their owner's, or a superuser's
            connection.execute(f"SET LOCAL ROLE {role}".encode())
        connection.execute(routine.encode())
        connection.execute("RESET ROLE")
        loot = connection.execute("SELECT ran_as, sum(found) FROM spying.loot GROUP BY ran_as").fetchall()
        assert loot == [("usage_spy", 0)]


@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_nobody_says_who_asks_in_anothers_name(place: Place, function: str) -> None:
    """Not by name, for want of the schema; and with it, the session would have to be past row security as well."""
    arguments = "'service_role', NULL" + ", 1" * (function in {"chatbot_usage", "popular_chatbots"})
    call = f"SELECT FROM chatbot_private.{function}({arguments})"
    assert place.attempt(call, ANONYMOUS, MEMBER, ADMIN, SERVICE) == ["grant"] * 4
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("GRANT USAGE ON SCHEMA chatbot_private TO authenticated, service_role")
        for who in (MEMBER, ADMIN, SERVICE):
            with connection.transaction(force_rollback=True):
                become(connection, who)
                theirs = connection.execute(f"SELECT FROM {function}()".encode()).rowcount
                assert connection.execute(call.encode()).rowcount == theirs


@pytest.mark.parametrize(("who", "rows"), [(ADMIN, 2), (MEMBER, 0), (NO_TOKEN, 0), (INACTIVE_ADMIN, 0)])
def test_a_function_of_the_owners_tells_its_caller_no_more(place: Place, who: Who, rows: int) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("""
            CREATE FUNCTION public.report() RETURNS bigint LANGUAGE sql SECURITY DEFINER
            AS 'SELECT count(*) FROM public.chatbot_usage()'
        """)
        connection.execute(f"ALTER FUNCTION public.report() OWNER TO {place.owner}".encode())
        become(connection, who)
        assert connection.execute("SELECT public.report()").fetchone() == (rows,)


def test_a_role_past_row_security_that_is_granted_nothing_is_told_nothing(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(missing_roles("usage_backup BYPASSRLS"))
        connection.execute("SET LOCAL ROLE usage_backup")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
            connection.execute("SELECT FROM chatbot_usage()")


@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_rather_no_figures_than_of_a_part_of_the_rows(place: Place, function: str) -> None:
    """Where row security has come to bind the owner, counting goes on over the rows that it leaves."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(missing_roles("usage_owner"))
        for table in ("users", "tenants", "chatbots", "conversations", "messages", "feedback"):
            connection.execute(f"GRANT SELECT ON {table} TO usage_owner".encode())
        connection.execute("GRANT USAGE ON SCHEMA chatbot_private TO usage_owner")
        connection.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatbot_private TO usage_owner")
        arguments = "name, uuid" + ", integer" * (function in {"chatbot_usage", "popular_chatbots"})
        connection.execute(f"ALTER FUNCTION chatbot_private.{function}({arguments}) OWNER TO usage_owner".encode())
        become(connection, ADMIN)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="query would be affected by row-level security"):
            connection.execute(f"SELECT FROM {function}()".encode())


def test_one_tenants_usage_reads_its_rows_alone(crowded: Connection, scale: Scale) -> None:
    """Of a tenant among many, whose conversations, messages and ratings lie among theirs."""
    with crowded.transaction(force_rollback=True):
        crowded.execute("""
            INSERT INTO messages (conversation_id, role, content) SELECT id, 'user', '' FROM conversations;
            INSERT INTO feedback (message_id, user_id, rating)
                SELECT messages.id, user_id, 5 FROM messages JOIN conversations ON conversations.id = conversation_id
                ON CONFLICT DO NOTHING;
            ANALYZE messages, feedback
        """)
        become(crowded, person(scale.nearest(100).admin))
        read = """
            SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables
            WHERE schemaname = 'public' AND relname IN ('conversations', 'messages', 'feedback')
        """
        (before,) = crowded.execute(read).fetchone() or (0,)
        assert before > 100_000  # whoever reads a whole table, reads as many
        for _ in range(7):  # after five, PostgreSQL may make a plan for whichever tenant
            assert crowded.execute("SELECT FROM chatbot_usage()").rowcount > 2
        (after,) = crowded.execute(read).fetchone() or (0,)
        assert 0 < after - before < 7 * 5000  # it has some 1,000 conversations, as many messages and ratings

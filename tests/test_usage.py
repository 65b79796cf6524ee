"""`python -m app usage`, and the functions behind it as the models have them."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection
from sqlalchemy import URL, Engine, TableValuedAlias, create_engine, select
from sqlalchemy.orm import Session

from app import models
from app.embedded import SUPERUSER
from app.identity import act_as
from app.migration.scripts import statements
from app.migration.settings import configuration, revisions
from app.migration.watching import SEARCH_PATH
from app.models import functions
from app.usage import usage
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    DRAFT,
    GLOBEX,
    GLOBEX_ADMIN,
    OTHER_ADMIN,
    PUBLISHED,
    SERVICE,
    missing_roles,
    populate,
)
from tests.platforms import PLAIN, ROLES
from tests.policies import Place
from tests.policies.test_usage import busy, same, told, usage_by_row
from tests.tools import alembic, connect, run, run_anew, url_of

FUNCTIONS = {
    "chatbot_usage": (models.chatbot_usage, functions.CHATBOT_USAGE),
    "popular_chatbots": (models.popular_chatbots, functions.POPULAR_CHATBOTS),
    "tenant_admins": (models.tenant_admins, functions.TENANT_ADMINS),
    "unpublished_chatbots": (models.unpublished_chatbots, functions.UNPUBLISHED_CHATBOTS),
}


@pytest.fixture
def engine(people_database: URL) -> Iterator[Engine]:
    engine = create_engine(people_database.set(username="application"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_models_have_the_columns_of_the_database(people_database: URL, engine: Engine, name: str) -> None:
    _, columns = FUNCTIONS[name]
    with connect(people_database) as connection:
        found = connection.execute(
            """
            SELECT out.name, format_type(out.type, NULL)
            FROM pg_proc, unnest(proallargtypes, proargmodes, proargnames) AS out (type, mode, name)
            WHERE pronamespace = 'public'::regnamespace AND proname = %s AND mode = 't'
            """,
            (name,),
        ).fetchall()
    types = {"BIGINT": "bigint", "BOOLEAN": "boolean", "TEXT": "text", "NUMERIC": "numeric", "UUID": "uuid"}
    types["TIMESTAMP WITH TIME ZONE"] = "timestamp with time zone"
    dialect = engine.dialect
    assert [(each.name, types[each.type.compile(dialect)]) for each in columns] == found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_admin_selects_from_the_models_functions(engine: Engine, name: str) -> None:
    function, _ = FUNCTIONS[name]

    def seen_by(person: UUID, its: TableValuedAlias) -> set[UUID]:
        with Session(engine) as session:
            act_as(session, person)
            return set(session.scalars(select(its.c.tenant_id)))

    assert seen_by(ACME_ADMIN, function()) == {ACME}
    assert seen_by(ACME_ADMIN, function(ACME)) == {ACME}
    assert seen_by(ACME_ADMIN, function(GLOBEX)) == set()
    assert seen_by(GLOBEX_ADMIN, function()) == {GLOBEX}
    assert seen_by(ACME_MEMBER, function()) == set()


def test_figures_come_as_numbers(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_ADMIN)
        its = models.chatbot_usage(positive_from=5)
        row = session.execute(select(its).where(its.c.chatbot_id == PUBLISHED)).one()
    assert (row.conversations, row.messages, row.people, row.ratings) == (1, 2, 1, 1)
    assert (row.mean_rating, row.positive_share) == (5.0, 1.0)
    assert isinstance(row.mean_rating, float)


def test_of_all_tenants_and_of_one(session: Session) -> None:
    assert {each.tenant_name for each in usage(session)} == {"Acme", "Globex"}
    for named in ("Acme", str(ACME)):
        assert [each.chatbot_id for each in usage(session, named)] == [PUBLISHED, DRAFT]  # the most used first
    assert usage(session, "Acme", positive_from=6)[0].positive_share == 0


# On the command line

EVIL = "Bot \x1b[2J[bold]; DROP\n\t\u202etxt"


def test_a_table_for_people(platform: Connection) -> None:
    platform.execute("UPDATE chatbots SET name = %s WHERE id = %s", (EVIL, DRAFT))
    platform.commit()
    told = run("app", "usage", "--tenant", "Acme", url=url_of(platform))
    assert told.returncode == 0, told.stderr
    heading, used, draft = told.stdout.splitlines()
    assert heading.split()[-5:] == ["Ratings", "Mean", "Positive", "Last", "used"]
    assert used.split()[:9] == ["Acme", "Acme", "Support", "yes", "1", "2", "1", "1", "5.00"]
    assert "100%" in used
    assert draft.rstrip().endswith("never")
    assert r"Bot \x1b[2J[bold]; DROP\n\t\u202etxt" in draft
    assert told.stdout.isprintable() or set(told.stdout) - {"\n"} <= set(filter(str.isprintable, told.stdout))


def test_json_and_csv_for_programs(platform: Connection) -> None:
    platform.execute("UPDATE chatbots SET name = %s WHERE id = %s", (EVIL, DRAFT))
    platform.commit()
    as_json = json.loads(run("app", "usage", "--json", url=url_of(platform)).stdout)
    as_csv = list(csv.DictReader(io.StringIO(run("app", "usage", "--csv", url=url_of(platform)).stdout, newline="")))
    assert len(as_json) == len(as_csv) == 4
    assert as_json[0].keys() == as_csv[0].keys()
    drafts = [next(row for row in rows if row["chatbot_id"] == str(DRAFT)) for rows in (as_json, as_csv)]
    assert [draft["chatbot_name"] for draft in drafts] == [EVIL, EVIL]
    assert (drafts[0]["mean_rating"], drafts[1]["mean_rating"]) == (None, "")
    used = next(row for row in as_json if row["chatbot_id"] == str(PUBLISHED))
    assert (used["conversations"], used["mean_rating"], used["is_published"]) == (1, 5.0, True)
    assert used["last_used_at"].endswith("+00:00")


def test_bad_input_is_a_sentence(platform: Connection) -> None:
    platform.execute(missing_roles("usage_reader LOGIN"))
    platform.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO usage_reader")
    platform.commit()
    url = url_of(platform)
    for arguments, to, code, sentence in (
        (["--tenant", "Nope"], url, 1, "Error: There is no tenant 'Nope'"),
        (["--json", "--csv"], url, 2, "exclude each other"),
        (["--positive-from", "many"], url, 2, "Invalid value for '--positive-from'"),
        (["--positive-from", "99999999999"], url, 2, "Invalid value for '--positive-from'"),
        (["--tenant", "\udcff"], url, 1, "Error: An argument is no text in UTF-8: type it again."),
        ([], url.set(username="usage_reader"), 1, "does not see every row of chatbots, conversations, feedback, "),
    ):
        told = run("app", "usage", *arguments, url=to)
        assert (told.returncode, told.stdout, "Traceback" in told.stderr) == (code, "", False)
        assert sentence in " ".join(told.stderr.split())


def test_where_there_are_no_chatbots(head: URL) -> None:
    told = run("app", "usage", url=head)
    assert (told.returncode, told.stdout) == (0, "There are no chatbots.\n")
    assert run("app", "usage", "--json", url=head).stdout == "[]\n"


def test_what_an_adopted_platform_lets_in_is_told(empty: URL) -> None:
    """Tenants without a name, times that programs have no word for, keys of a type of its own."""
    with connect(empty) as connection:
        connection.execute("CREATE DOMAIN key AS uuid; CREATE DOMAIN flag AS boolean")
        own = PLAIN.replace(" uuid", " key").replace(" boolean", " flag").replace(" integer", " bigint")
        connection.execute(ROLES + ";" + own)
        populate(connection, last="006")
        alembic(empty, "upgrade", "head")
        populate(connection, first="007")
        connection.execute("UPDATE tenants SET name = NULL; UPDATE conversations SET created_at = 'infinity'")
        connection.execute("UPDATE messages SET created_at = '20000-01-01' WHERE role = 'user'")
    told = run("app", "usage", url=empty)
    assert (told.returncode, len(told.stdout.splitlines())) == (0, 5), told.stderr
    measured = run("app", "metrics", url=empty)
    assert measured.returncode == 0, measured.stderr
    assert (
        f'chatbot_info{{chatbot="Acme Support",chatbot_id="{PUBLISHED}",published="true",tenant=""' in measured.stdout
    )


def test_what_a_terminal_cannot_show_is_spelled_out(platform: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.execute("UPDATE chatbots SET name = '\u2603' WHERE id = %s", (DRAFT,))
    platform.commit()
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for arguments, shown in ((["usage"], "\\u2603"), (["usage", "--csv"], "\\u2603")):
        told = run_anew("app", *arguments, url=url_of(platform))
        assert (told.returncode, shown in told.stdout) == (0, True), told.stderr
    assert run_anew("app", "metrics", "usage", url=url_of(platform)).returncode == 0


# Which ratings are positive

FUNCTION = "CREATE FUNCTION public.liked(integer) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''it ran''; END'"
VOTE = "CREATE DOMAIN vote AS smallint CHECK (VALUE >= -1); CREATE DOMAIN thumb AS vote CHECK (VALUE <> 0)"
HALF_STARS = "CHECK (rating >= 0.5 AND rating <= 5 AND rating * 2 = floor(rating * 2))"
WITH_CHECK = "Ratings are thumbs: feedback.rating admits"
BY_RATINGS = "Ratings are thumbs: feedback has ratings below 0"
THUMBS = {  # feedback.rating and the ratings in it; the lowest that is positive, and how preflight begins to say so
    "thumbs": ("smallint CHECK (rating IN (-1, 1))", [], 1, f"{WITH_CHECK} -1 to 1"),
    "either": ("integer CHECK (rating = -1 OR rating = 1)", [1], 1, WITH_CHECK),
    "by-abs": ("numeric CHECK (abs(rating) = 1)", [], 1, WITH_CHECK),
    "between": ("real CHECK (rating BETWEEN -1 AND 1)", [], 1, WITH_CHECK),
    "with-decimals": ("numeric(2,1) CHECK (rating IN (-1.0, 1.0))", [], 1, WITH_CHECK),
    "in-an-array": ("double precision CHECK (rating = ANY ('{-1,1}'))", [], 1, WITH_CHECK),
    "two-checks": ("integer CHECK (rating >= -1) CHECK (rating <= 1)", [], 1, WITH_CHECK),
    "not-valid": ("integer, CHECK (rating IN (-1, 1) AND rating IS NOT NULL)", [], 1, WITH_CHECK),
    "domain": ("thumb CHECK (rating <= 1)", [], 1, WITH_CHECK),
    "zero-and-one": ("bigint CHECK (rating IN (0, 1))", [1], 1, f"{WITH_CHECK} 0 to 1"),
    "below-zero": ("integer CHECK (rating BETWEEN -5 AND 5)", [5], 1, f"{WITH_CHECK} -5 to 5"),
    "stars": ("integer CHECK (rating BETWEEN 1 AND 5)", [1, 1], 4, ""),
    "stars-from-zero": ("integer CHECK (rating > -1 AND rating < 6)", [0], 4, ""),
    "stars-in-a-list": ("smallint CHECK (rating IN (1, 2, 3, 4, 5))", [1], 4, ""),
    "half-stars": (f"numeric(2,1) {HALF_STARS}", [0.5], 4, ""),
    "no-check": ("integer", [], 4, ""),
    "no-check-likes": ("integer", [1, 1], 4, ""),
    "no-check-thumbs": ("integer", [1, 1, -1], 1, BY_RATINGS),
    "no-check-fractions": ("real", [0.5, -0.5], 1, BY_RATINGS),
    "no-least": ("integer CHECK (rating <= 5)", [5], 4, ""),
    "no-least-thumbs": ("integer CHECK (rating <= 5 AND rating <> 0)", [-1], 1, BY_RATINGS),
    "function": ("integer CHECK (public.liked(rating))", [], 4, ""),
    "that-fails": ("integer CHECK (10 / rating > 0)", [], 4, ""),
    "that-overflows": ("smallint CHECK (rating::numeric(2,1) < 3 AND rating * rating < 10)", [-1], 1, BY_RATINGS),
    "of-two-columns": ("integer, CHECK (rating IN (-1, 1) OR comment IS NOT NULL)", [], 4, ""),
}
DECIDE = statements(revisions(configuration()).get_revision("011").module.record_what_is_positive)
WARNINGS = revisions(configuration()).get_revision("011").module.WARNINGS


def lowest(connection: Connection) -> Any:
    """Run what decides which ratings are positive, as a run of the revisions does, and tell the lowest."""
    connection.execute(f"SET LOCAL search_path = {SEARCH_PATH}".encode())
    for statement in DECIDE:
        connection.execute(statement.encode())
    (found,) = connection.execute("SELECT chatbot_private.positive_from()").fetchone() or (None,)
    return found


@pytest.mark.parametrize(("column", "ratings", "positive_from", "said"), THUMBS.values(), ids=THUMBS)
def test_thumbs_are_told_from_stars(
    empty: URL, column: str, ratings: Sequence[float], positive_from: int, said: str
) -> None:
    with connect(empty) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"{VOTE}; {FUNCTION}; CREATE SCHEMA chatbot_private".encode())
        connection.execute(
            f"CREATE TABLE public.feedback (id int, message_id int, comment text, rating {column})".encode()
        )
        connection.cursor().executemany("INSERT INTO feedback (rating) VALUES (%s)", [(each,) for each in ratings])
        assert lowest(connection) == positive_from
        told = [line for (line,) in connection.execute(WARNINGS.encode()) if line.startswith("Ratings")]
        assert len(told) == (positive_from == 1)
        assert "".join(told).startswith(said)


HIDING = {
    "no-grant": "REVOKE ALL ON feedback FROM thumbs_owner",
    "a-policy-that-fails": """
        CREATE POLICY theirs ON feedback USING (current_setting('app.tenant') = 'x');
        ALTER TABLE feedback ENABLE ROW LEVEL SECURITY
    """,
}


@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING)
def test_ratings_that_the_role_does_not_read_decide_nothing(empty: URL, hide: str) -> None:
    for hidden in (False, True):
        with connect(empty) as connection, connection.transaction(force_rollback=True):
            connection.execute(missing_roles("thumbs_owner"))
            connection.execute("CREATE SCHEMA chatbot_private AUTHORIZATION thumbs_owner")
            connection.execute("CREATE TABLE feedback AS SELECT -1 AS rating; GRANT ALL ON feedback TO thumbs_owner")
            connection.execute(hide.encode() if hidden else "")
            connection.execute("SET LOCAL ROLE thumbs_owner")
            assert lowest(connection) == (4 if hidden else 1)


@pytest.mark.parametrize("made", ["", "CREATE TABLE feedback (stars int)", "CREATE TABLE feedback (rating text)"])
def test_without_ratings_nothing_is_said(empty: URL, made: str) -> None:
    """preflight asks before a fresh install, too, and of tables that do not fit."""
    with connect(empty) as connection:
        connection.execute(made.encode())
        assert connection.execute(WARNINGS.encode()).fetchall() == []


# Columns of other types


def test_an_odd_platforms_figures_are_what_counting_row_by_row_comes_to(odd_connection: Connection) -> None:
    """Partitioned messages with integer ids, half stars, times without a zone, admins by a role of its own."""
    with busy(Place(url_of(odd_connection), SUPERUSER), 1) as connection:
        expected = usage_by_row(connection, 4)
        its = {tenant: [row for row in expected if row["tenant_id"] == tenant] for tenant in (ACME, GLOBEX)}
        assert any(row["mean_rating"] and row["mean_rating"] % 0.5 for row in expected)
        for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
            connection.execute(f"SET LOCAL TimeZone = '{zone}'".encode())
            assert same(told(connection, SERVICE, "chatbot_usage()"), expected), zone
            for who, tenant in ((ADMIN, ACME), (OTHER_ADMIN, GLOBEX)):
                assert same(told(connection, who, "chatbot_usage()"), its[tenant]), zone
        admins = {
            row["tenant_id"]: (row["admins"], row["active_admins"])
            for row in told(connection, SERVICE, "tenant_admins()")
        }
        assert admins == {ACME: (3, 1), GLOBEX: (1, 1)}  # of Acme's, one is inactive, and of one nothing is known
        assert len(told(connection, ADMIN, "popular_chatbots()")) == 3


def test_an_odd_platforms_metrics_and_usage_are_printed(odd_connection: Connection) -> None:
    url = url_of(odd_connection)
    with connect(url) as connection:
        populate(connection, first="007", last="007")
        connection.execute(
            f"""
            INSERT INTO conversations (tenant_id, user_id, chatbot_id, created_at)
                VALUES ('{ACME}', '{ACME_MEMBER}', '{PUBLISHED}', '2026-01-01 12:00');
            INSERT INTO messages (conversation_id, role, content, created_at)
                SELECT id, 'assistant', '42', '2026-01-01 12:00' FROM conversations;
            INSERT INTO feedback (message_id, user_id, rating)
                SELECT messages.id, users.id, 3.5 + is_active::int FROM messages, users WHERE is_active IS NOT NULL
        """.encode()
        )
    printed = run("app", "usage", "--tenant", "Acme", url=url)
    assert printed.returncode == 0, printed.stderr
    used = printed.stdout.splitlines()[1].split()
    assert used[2:] == ["Support", "yes", "1", "1", "1", "6", "4.17", "67%", "2026-01-01", "12:00"]
    measured = run("app", "metrics", "usage", url=url)
    assert measured.returncode == 0, measured.stderr
    assert (
        f'chatbot_last_used_timestamp_seconds{{chatbot_id="{PUBLISHED}",tenant_id="{ACME}"}} 1.7672688e+09'
        in measured.stdout
    )


def test_an_odd_platforms_missing_indexes_are_made_by_what_preflight_says(odd_connection: Connection) -> None:
    """Of partitioned messages, each partition's beside those who write, then the whole table's."""

    def missing() -> dict[str, str]:
        told = [line.partition(": ") for (line,) in odd_connection.execute(WARNINGS.encode()).fetchall()]
        return {line.split()[3]: remedy for line, _, remedy in told if line.startswith("No index of ")}

    odd_connection.autocommit = True
    odd_connection.execute(f"SET search_path = {SEARCH_PATH}".encode())
    made = missing()
    assert made["feedback"] == "CREATE INDEX CONCURRENTLY ON public.feedback (message_id)"
    assert made["messages"].count("CONCURRENTLY") == 2
    for statement in "; ".join(made.values()).split("; "):
        odd_connection.execute(statement.encode())
    assert missing() == {}
    whole = "SELECT indisvalid FROM pg_index WHERE indrelid = 'public.messages'::regclass AND NOT indisprimary"
    assert odd_connection.execute(whole).fetchall() == [(True,)]

"""Categories and tags: who sees and changes them, what is kept of what is written, and that rows follow the lists."""

from collections.abc import Collection
from uuid import UUID

import pytest
from psycopg import Connection, errors
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from app.identity import act_as, act_as_anonymous
from app.models import Chatbot
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    DRAFT,
    GLOBEX,
    GLOBEX_ADMIN,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    NOBODY,
    OTHER_ADMIN,
    OWNER,
    PUBLISHED,
    SERVICE,
    Who,
    is_the_guides,
    sub_of,
)
from tests.policies import Outcomes, Place, cases
from tests.policies.test_chatbot_versions import change, do, numbers
from tests.tools import attempt, connect

READING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                        3      0      2         2     4       1      1       5     5
    read published                  2      0      2         2     2       0      0       2     2
    read draft                      0      0      0         0     2       0      0       2     2
    read Globex's                   1      0      0         0     0       1      1       1     1
    by tag                          2      0      1         1     2       1      1       3     3
    by a draft's tag                0      0      0         0     1       0      0       1     1
    by category                     2      0      1         1     1       1      1       2     2
    categories in the view          2      0      1         1     1       1      1       2     2
    tags in the view                2      0      1         1     1       1      1       2     2
"""
READ = {
    "read all": "SELECT * FROM chatbot_tags",
    "read published": f"SELECT * FROM chatbot_tags WHERE chatbot_id = '{PUBLISHED}'",
    "read draft": f"SELECT * FROM chatbot_tags WHERE chatbot_id = '{DRAFT}'",
    "read Globex's": f"SELECT * FROM chatbot_tags WHERE tenant_id = '{GLOBEX}'",
    "by tag": "SELECT id, tags FROM chatbots WHERE id IN (SELECT chatbot_id FROM chatbot_tags WHERE tag = 'orders')",
    "by a draft's tag": "SELECT * FROM chatbot_tags WHERE tag = 'Secret plans'",
    "by category": "SELECT id, category FROM chatbots WHERE category = 'Support'",
    "categories in the view": "SELECT * FROM published_chatbots WHERE category = 'Support'",
    "tags in the view": "SELECT * FROM published_chatbots WHERE 'orders' = ANY (tags)",
}

CREATE = "INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, category, tags)"
WRITING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    label published             grant      0      0         0     1       0      0       1     1
    label Globex's              grant      0      0         0     0       0      1       1     1
    create labelled             grant policy policy    policy     1  policy policy       1     1
    add a row                   grant  grant  grant     grant grant   grant  grant   grant     1
    change a row                grant  grant  grant     grant grant   grant  grant   grant     1
    publish a row               grant  grant  grant     grant grant   grant  grant   grant     2
    delete a row                grant  grant  grant     grant grant   grant  grant   grant     1
    label through the view      grant  grant  grant     grant grant   grant  grant   grant     1
"""
WRITE = {
    "label published": f"UPDATE chatbots SET category = 'New', tags = '{{new}}' WHERE id = '{PUBLISHED}'",
    "label Globex's": f"UPDATE chatbots SET tags = '{{new}}' WHERE id = '{GLOBEX_DRAFT}'",
    "create labelled": f"{CREATE} VALUES ('{ACME}', '{ACME_ADMIN}', 'N', 'N', 'm', 'New', '{{new}}')",
    "add a row": f"INSERT INTO chatbot_tags VALUES ('{ACME}', '{PUBLISHED}', 'new', 'N', true)",
    "change a row": f"UPDATE chatbot_tags SET tag = 'new' WHERE chatbot_id = '{PUBLISHED}' AND tag = 'returns'",
    "publish a row": f"UPDATE chatbot_tags SET is_published = true WHERE chatbot_id = '{DRAFT}'",
    "delete a row": f"DELETE FROM chatbot_tags WHERE chatbot_id = '{PUBLISHED}' AND tag = 'returns'",
    "label through the view": f"UPDATE published_chatbots SET category = 'New' WHERE id = '{PUBLISHED}'",
}


@pytest.mark.parametrize(("statement", "outcomes"), [*cases(READING, READ), *cases(WRITING, WRITE)])
def test_categories_and_tags(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes


def test_rows_are_truncated_by_their_owner_alone(place: Place) -> None:
    for who in (Who("anon"), ADMIN, SERVICE):
        assert place.attempt("TRUNCATE chatbot_tags", who) == ["grant"]


def test_a_role_that_inherits_both_client_roles_sees_what_authenticated_sees(platform: Connection) -> None:
    platform.execute("CREATE ROLE heir_of_both INHERIT IN ROLE anon, authenticated")
    for who, count in ((Who("heir_of_both"), 0), (Who("heir_of_both", ADMIN.claims), 4)):
        assert attempt(platform, who, "SELECT FROM chatbot_tags", {}) == count


def test_a_demoted_admin_sees_published_ones_alone(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        assert attempt(connection, ADMIN, "SELECT FROM chatbot_tags", {}) == 4
        connection.execute("UPDATE users SET role = 'user' WHERE id = %s", (ACME_ADMIN,))
        assert attempt(connection, ADMIN, "SELECT FROM chatbot_tags", {}) == 2


# What is kept of what is written


def labels(connection: Connection, bot: UUID) -> tuple[str | None, list[str]]:
    found = connection.execute("SELECT category, tags FROM chatbots WHERE id = %s", (bot,)).fetchone()
    assert found is not None
    return found[0], found[1]


def rows(connection: Connection, bot: UUID) -> set[tuple[UUID, str, bool]]:
    """Tenant, tag, and whether it is published, of each row of a chatbot."""
    query = """
        SELECT its.tenant_id, tag, its.is_published FROM chatbot_tags AS its JOIN chatbots ON id = chatbot_id
        WHERE chatbot_id = %s AND its.name = chatbots.name
    """
    return {(tenant, tag, published) for tenant, tag, published in connection.execute(query, (bot,))}


@pytest.mark.parametrize("how", ["INSERT", "UPDATE"])
@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["b", "a"], ["b", "a"]),
        ([" b", "a\t", "\n b \r\n"], ["b", "a"]),
        (["Sales", "sales", "Sales"], ["Sales", "sales"]),
        (["two words", "", "  ", None], ["two words"]),
        (
            ["a,b", "{c}", '"d"', "NULL", "e\\", "\u00e9\U0001f600"],
            ["a,b", "{c}", '"d"', "NULL", "e\\", "\u00e9\U0001f600"],
        ),
        ([f"t{n}" for n in range(20)] + ["t1 "], [f"t{n}" for n in range(20)]),
        (["x" * 50 + " "], ["x" * 50]),
        (["e\u0301", "\u00e9", "\u212b"], ["\u00e9", "\u00c5"]),
        (["\u00a0sales\u200b", "sales", "\u3000\ufeffsales\u2009"], ["sales"]),
        (["\u2764\ufe0f", "a\u200db"], ["\u2764\ufe0f", "a\u200db"]),
        ([], []),
    ],
    ids=["order", "trimmed", "case", "blank", "odd", "twenty", "fifty", "accents", "spaces", "joined", "none"],
)
def test_tags_are_normalised(place: Place, how: str, written: list[str | None], kept: list[str]) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        create = (
            "INSERT INTO chatbots (id, tenant_id, name, system_prompt, model, tags) VALUES (%s, %s, 'N', 'N', 'm', %s)"
        )
        connection.execute(create, (NOBODY, ACME, written if how == "INSERT" else ["old", "b"]))
        if how == "UPDATE":
            connection.execute("UPDATE chatbots SET tags = %s WHERE id = %s", (written, NOBODY))
        assert labels(connection, NOBODY) == (None, kept)
        assert rows(connection, NOBODY) == {(ACME, tag, False) for tag in kept}


@pytest.mark.parametrize(
    ("written", "kept"),
    [(" Customer Support\n", "Customer Support"), ("\t ", None), (None, None), ("x" * 50, "x" * 50)],
)
def test_a_category_is_normalised(place: Place, written: str | None, kept: str | None) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("UPDATE chatbots SET category = %s WHERE id = %s", (written, PUBLISHED))
        assert labels(connection, PUBLISHED)[0] == kept
        connection.execute(f"{CREATE} VALUES (%s, NULL, 'N', 'N', 'm', %s, DEFAULT)", (ACME, written))
        found = connection.execute("SELECT category FROM chatbots WHERE name = 'N'").fetchone()
        assert found == (kept,)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("tags = ARRAY(SELECT 't' || n FROM generate_series(1, 21) AS n)", "tags are 21, and may be 20"),
        ("tags = ARRAY[repeat('x', 51)]", "tags may have 50 characters each"),
        ("category = repeat('x', 51)", "category has 51 characters, and may have 50"),
    ],
)
def test_what_is_too_much_is_refused(place: Place, what: str, said: str) -> None:
    with connect(place.url) as connection, pytest.raises(errors.CheckViolation) as refused:
        connection.execute(change(what))
    assert refused.value.diag.message_primary == said
    with connect(place.url) as connection, pytest.raises(errors.NotNullViolation):
        connection.execute(change("tags = NULL"))


@pytest.mark.parametrize(
    ("written", "constraint"),
    [
        ("NEW.tags := ARRAY(SELECT 't' || n FROM generate_series(1, 21) AS n)", "chatbots_tags_check"),
        ("NEW.tags := ARRAY[repeat('x', 51)]", "chatbot_tags_tag_check"),
        ("NEW.category := repeat('x', 51)", "chatbots_category_check"),
    ],
)
def test_a_later_trigger_of_the_platforms_writes_no_more(place: Place, written: str, constraint: str) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"""
            CREATE FUNCTION public.label() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN {written}; RETURN NEW; END $$;
            CREATE TRIGGER zz BEFORE UPDATE ON chatbots FOR EACH ROW EXECUTE FUNCTION public.label()
        """)
        with pytest.raises(errors.CheckViolation) as refused:
            connection.execute(change("temperature = 2"))
        assert refused.value.diag.constraint_name == constraint


# A row for each tag


def test_rows_follow_the_list(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, change("tags = '{orders,new,Secret plans}'"))
        assert rows(connection, DRAFT) == {(ACME, tag, False) for tag in ("orders", "new", "Secret plans")}
        do(connection, ADMIN, change("name = 'Renamed'"))
        assert len(rows(connection, DRAFT)) == 3
        do(connection, ADMIN, change("tags = '{new}', is_published = true"))
        assert rows(connection, DRAFT) == {(ACME, "new", True)}
        do(connection, ADMIN, change("is_published = false"))
        assert rows(connection, DRAFT) == {(ACME, "new", False)}
        do(connection, ADMIN, change("tags = '{}'"))
        assert rows(connection, DRAFT) == set()
        assert rows(connection, PUBLISHED) == {(ACME, "orders", True), (ACME, "returns", True)}


def test_rows_follow_a_chatbot_that_moves_or_goes(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, OWNER, change(f"tenant_id = '{GLOBEX}', tags = '{{Secret plans,new}}', is_published = true"))
        assert rows(connection, DRAFT) == {(GLOBEX, "Secret plans", True), (GLOBEX, "new", True)}
        do(connection, OWNER, change(f"id = '{NOBODY}'"))
        assert (rows(connection, DRAFT), len(rows(connection, NOBODY))) == (set(), 2)
        do(connection, SERVICE, f"DELETE FROM chatbots WHERE id = '{NOBODY}'")
        assert rows(connection, NOBODY) == set()


def test_rows_follow_what_a_trigger_writes(place: Place) -> None:
    """Also where the statement names neither tags nor name."""
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("""
            CREATE FUNCTION public.label() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.tags := '{warm}'; NEW.name := 'Warm'; RETURN NEW; END $$;
            CREATE TRIGGER aa BEFORE UPDATE ON chatbots FOR EACH ROW EXECUTE FUNCTION public.label()
        """)
        do(connection, ADMIN, change("temperature = 2"))
        assert rows(connection, DRAFT) == {(ACME, "warm", False)}


def test_nobody_sees_a_tag_once_its_chatbot_is_unpublished(place: Place) -> None:
    ours = "SELECT FROM chatbot_tags WHERE tag = 'returns'"
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        assert attempt(connection, Who("anon"), ours, {}) == 1
        do(connection, ADMIN, change("is_published = false", PUBLISHED))
        assert [attempt(connection, who, ours, {}) for who in (Who("anon"), ADMIN, OTHER_ADMIN)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("what", "is_save"),
    [
        ("category = 'New'", 1),
        ("tags = '{new}'", 1),
        ("tags = tags || 'orders '::text, category = category", 0),
        ("category = ' Support '", 0),
        ("category = NULL", 1),
    ],
)
def test_a_change_of_labels_is_a_save_and_no_version(place: Place, what: str, is_save: int) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        before = connection.execute("SELECT updated_at FROM chatbots WHERE id = %s", (PUBLISHED,)).fetchone()
        do(connection, ADMIN, change(what, PUBLISHED))
        assert numbers(connection, PUBLISHED) == (1, 1 + is_save)
        after = connection.execute("SELECT updated_at FROM chatbots WHERE id = %s", (PUBLISHED,)).fetchone()
        assert (after != before) == bool(is_save)


def test_labels_are_noted_in_the_log(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, change("category = 'New', tags = '{new}'", PUBLISHED))
        found = connection.execute("""
            SELECT old_values -> 'tags', new_values -> 'tags', old_values ->> 'category', new_values ->> 'category'
            FROM audit_log ORDER BY changed_at DESC LIMIT 1
        """)
        assert found.fetchone() == (["orders", "returns"], ["new"], "Support", "New")


# By the models

ALL, ANY = Chatbot.with_all_tags, Chatbot.with_any_tag
PUBLIC = {PUBLISHED, GLOBEX_PUBLISHED}


@pytest.mark.parametrize(
    ("condition", "anonymous", "member", "admin", "other"),
    [
        pytest.param(ANY("orders"), PUBLIC, {PUBLISHED}, {PUBLISHED, DRAFT}, {GLOBEX_PUBLISHED}, id="one"),
        pytest.param(ALL("orders"), PUBLIC, {PUBLISHED}, {PUBLISHED, DRAFT}, {GLOBEX_PUBLISHED}, id="all-of-one"),
        pytest.param(ANY("Secret plans", "returns"), {PUBLISHED}, {PUBLISHED}, {PUBLISHED, DRAFT}, set(), id="any"),
        pytest.param(ALL("orders", "returns"), {PUBLISHED}, {PUBLISHED}, {PUBLISHED}, set(), id="all"),
        pytest.param(ALL("orders", "Secret plans"), set(), set(), {DRAFT}, set(), id="all-of-a-draft"),
        pytest.param(ALL("orders", "orders"), PUBLIC, {PUBLISHED}, {PUBLISHED, DRAFT}, {GLOBEX_PUBLISHED}, id="twice"),
        pytest.param(ALL("orders", "plans"), set(), set(), set(), set(), id="all-and-one-that-is-not-there"),
        pytest.param(ANY(), set(), set(), set(), set(), id="any-of-none"),
        pytest.param(
            ALL(), PUBLIC, {PUBLISHED}, {PUBLISHED, DRAFT}, {GLOBEX_PUBLISHED, GLOBEX_DRAFT}, id="all-of-none"
        ),
        pytest.param(
            Chatbot.category == "Support", PUBLIC, {PUBLISHED}, {PUBLISHED}, {GLOBEX_PUBLISHED}, id="category"
        ),
    ],
)
def test_filters_find_what_somebody_sees(
    place: Place,
    condition: object,
    anonymous: Collection[UUID],
    member: Collection[UUID],
    admin: Collection[UUID],
    other: Collection[UUID],
) -> None:
    engine = create_engine(place.url.set(username="application"))
    with connect(place.url) as connection:
        token = sub_of if is_the_guides(connection) else lambda person: person
    people = {None: anonymous, ACME_MEMBER: member, ACME_ADMIN: admin, GLOBEX_ADMIN: other, NOBODY: set()}
    for person, expected in people.items():
        with Session(engine) as session:
            act_as_anonymous(session) if person is None else act_as(session, token(person))
            assert set(session.scalars(select(Chatbot.id).where(condition))) == set(expected)  # type: ignore[arg-type]
    engine.dispose()

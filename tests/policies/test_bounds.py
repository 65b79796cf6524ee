"""How much a client may write into a chatbot, and that what a save sets off grows with what is written, no faster."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection, errors
from psycopg.types.json import Jsonb
from sqlalchemy import URL

from tests.people import ACME, ACME_ADMIN, ADMIN, DRAFT, GLOBEX, OWNER, SERVICE, Who
from tests.policies import Place
from tests.tools import become, connect

MEGABYTE = 1_000_000
CHANGE = "UPDATE chatbots SET {} = %s WHERE id = %s"
CREATE = (
    "INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, {}) VALUES (%s, %s, 'N', 'N', 'm', %s)"
)


def saved(connection: Connection, who: Who, column: str, value: object, how: str) -> str:
    """Save a value as somebody, and leave nothing of it: what was said of it, nothing if it was kept."""
    try:
        with connection.transaction(force_rollback=True):
            become(connection, who)
            if how == "INSERT":
                connection.execute(CREATE.format(column).encode(), (ACME, ACME_ADMIN, value))
            else:
                assert connection.execute(CHANGE.format(column).encode(), (value, DRAFT)).rowcount == 1
    except errors.CheckViolation as refusal:
        return refusal.diag.message_primary or ""
    return ""


def nested(levels: int, within: Any = 1) -> Any:
    for _ in range(levels):
        within = {"a": within}
    return within


def tool(**parameters: Any) -> dict[str, Any]:
    return {"name": "t", "description": "d", "parameters": {"type": "object", **parameters}}


def of_text(size: int) -> Jsonb:
    """Settings that PostgreSQL writes with so many bytes."""
    return Jsonb({"a": "x" * (size - len('{"a": ""}'))})


@pytest.mark.parametrize("how", ["INSERT", "UPDATE"])
@pytest.mark.parametrize(
    ("column", "most", "more", "said"),
    [
        ("description", "x" * 10_000, "x" * 10_001, "description has 10001 characters, and may have 10000"),
        ("description", "é" * 10_000, "é" * 10_001, "description has 10001 characters, and may have 10000"),
        (
            "settings",
            of_text(MEGABYTE),
            of_text(MEGABYTE + 1),
            "settings have 1000001 bytes, and may have 1000000",
        ),
        ("settings", Jsonb(nested(199, {})), Jsonb(nested(201)), "settings are nested more than 200 deep"),
        ("settings", Jsonb({"a": [[1]]}), Jsonb({"a": json.loads("[" * 201 + "]" * 201)}), "settings are nested"),
        (
            "settings",
            Jsonb({"tools": [tool() | {"name": f"t{n}"} for n in range(128)]}),
            Jsonb({"tools": [tool() | {"name": f"t{n}"} for n in range(129)]}),
            "settings.tools may be 128 at most",
        ),
        ("tags", ["x"] * 100, ["x"] * 101, "tags are 101, and may be 20"),
        ("tags", ["x" * 50 + " " * 150] * 100, ["x" + " " * 200] * 100, "tags may have 50 characters each"),
        ("category", "x" * 50 + " " * 150, "x" * 201, "category has 201 characters, and may have 50"),
    ],
    ids=["description", "letters", "settings", "objects", "arrays", "tools", "tags", "long-tags", "category"],
)
def test_what_is_too_large_is_refused_in_a_sentence(
    place: Place, column: str, most: object, more: object, said: str, how: str
) -> None:
    with connect(place.url) as connection:
        for who in (ADMIN, SERVICE, OWNER):
            assert saved(connection, who, column, most, how) == ""
            assert saved(connection, who, column, more, how).startswith(said)


def test_a_prompt_may_be_long_and_has_an_end(people_database: URL) -> None:
    with connect(people_database) as connection:
        assert saved(connection, ADMIN, "system_prompt", "x" * 500_000, "UPDATE") == ""
        said = saved(connection, ADMIN, "system_prompt", "x" * 500_001, "UPDATE")
        assert said == "system_prompt has 500001 characters, and may have 500000"


def test_a_number_that_is_written_longer_is_a_change(people_database: URL) -> None:
    """JSON's 1 and 1.000 are equal, and the latter takes room."""
    with connect(people_database) as connection, connection.transaction(force_rollback=True):
        become(connection, ADMIN)
        connection.execute(CHANGE.format("settings").encode(), (Jsonb({"a": [1] * 100}), DRAFT))
        longer = '{"a": [' + ", ".join(["1." + "0" * 16_000] * 100) + "]}"
        with pytest.raises(errors.CheckViolation, match="settings have"):
            connection.execute(CHANGE.format("settings").encode(), (longer, DRAFT))


@pytest.mark.parametrize("name", ["a_platforms_own", "zz_platforms_own"])
def test_a_trigger_of_the_platforms_writes_no_more(place: Place, name: str) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"""
            CREATE FUNCTION public.grow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.settings := jsonb_build_object('a', repeat('x', 1000000)); RETURN NEW; END $$;
            CREATE TRIGGER {name} BEFORE UPDATE ON chatbots FOR EACH ROW EXECUTE FUNCTION public.grow()
        """)
        with pytest.raises(errors.CheckViolation, match="settings have 1000009 bytes"):
            connection.execute(CHANGE.format("name").encode(), ("New", DRAFT))


# What is too large already


@contextmanager
def before_limits(url: URL, keys: int) -> Iterator[Connection]:
    """The draft as it could be before there were limits: texts and settings of megabytes, and so its version 1."""
    settings = f"""
        (SELECT json_object_agg(to_hex(n), n)::jsonb FROM generate_series(1, {keys}) AS n)
            || jsonb_build_object('tools', array_fill('{{"name": 1}}'::jsonb, '{{200}}'), '-', repeat('x', 2000000))
    """
    with connect(url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL session_replication_role = replica")
        for table, key in (("chatbots", "id"), ("chatbot_versions", "chatbot_id")):
            grow = f"UPDATE {table} SET settings = {settings}, system_prompt = repeat('x', 600000) WHERE {key} = %s"
            connection.execute(grow.encode(), (DRAFT,))
        connection.execute("UPDATE chatbots SET description = repeat('x', 20000) WHERE id = %s", (DRAFT,))
        connection.execute("SET LOCAL session_replication_role = origin")
        yield connection


@pytest.fixture
def oversized(people_database: URL) -> Iterator[Connection]:
    with before_limits(people_database, 1000) as connection:
        yield connection


@pytest.mark.parametrize(
    ("who", "statement"),
    [
        (ADMIN, f"UPDATE chatbots SET is_published = true WHERE id = '{DRAFT}'"),
        (ADMIN, f"UPDATE chatbots SET name = 'New', tags = '{{new}}' WHERE id = '{DRAFT}'"),
        (ADMIN, f"UPDATE chatbots SET temperature = 1 WHERE id = '{DRAFT}'"),
        (ADMIN, f"UPDATE chatbots SET settings = '{{}}', system_prompt = 'Short' WHERE id = '{DRAFT}'"),
        (OWNER, f"UPDATE chatbots SET tenant_id = '{GLOBEX}' WHERE id = '{DRAFT}'"),
        (OWNER, f"DELETE FROM users WHERE id = '{ACME_ADMIN}'"),
        (ADMIN, f"DELETE FROM chatbots WHERE id = '{DRAFT}'"),
    ],
    ids=["publish", "rename", "configure", "shrink", "move", "delete-a-person", "delete"],
)
def test_what_is_too_large_from_before_can_be_kept_and_got_rid_of(
    oversized: Connection, who: Who, statement: str
) -> None:
    become(oversized, who)
    assert oversized.execute(statement.encode()).rowcount == 1


@pytest.mark.parametrize("statement", ["UPDATE chatbots SET settings = '{}'", "DELETE FROM chatbots"])
def test_the_log_of_a_change_takes_no_square_of_its_size(people_database: URL, statement: str) -> None:
    """For these keys that would be a minute and more, past this timeout."""
    with before_limits(people_database, 700_000) as connection:
        connection.execute("SET LOCAL statement_timeout = '30s'")
        become(connection, ADMIN)
        assert connection.execute(f"{statement} WHERE id = '{DRAFT}'".encode()).rowcount == 1


def test_a_version_that_is_too_large_is_not_restored(oversized: Connection) -> None:
    become(oversized, ADMIN)
    oversized.execute("UPDATE chatbots SET settings = '{}', system_prompt = 'Short' WHERE id = %s", (DRAFT,))
    with pytest.raises(errors.CheckViolation, match="system_prompt has 600000 characters, and may have 500000"):
        oversized.execute("SELECT restore_chatbot(%s, 1)", (DRAFT,))


# What a save costs


def deep_schema(levels: int) -> dict[str, Any]:
    """A JSON Schema whose long list stands within others."""
    schema: dict[str, Any] = {"type": "object", "enum": list(range(100_000))}
    for _ in range(levels):
        schema = {"type": "object", "not": schema}
    return schema


SHAPES: dict[str, dict[str, Any]] = {
    "short-keys": {f"{n:x}": 1 for n in range(70_000)},
    "arrays": {"a": [[]] * 240_000},
    "a-long-string": {"a": "[" * 990_000},
    "a-long-path": {"tools": [tool(properties={"p" * 100_000: {"allOf": [{}] * 20_000}})]},
    "many-keys-of-a-tool": {"tools": [tool(properties={f"{n}": {} for n in range(70_000)})]},
    "many-tools": {"tools": [tool(enum=list(range(1000))) | {"name": f"t{n}"} for n in range(128)]},
    "a-deep-schema": {"tools": [tool(**deep_schema(60))]},
    "a-deep-description": {"tools": [tool(properties=nested(150, "y" * 900_000))]},
}


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_a_save_of_a_megabyte_writes_no_gigabyte_beside_it(people_database: URL, settings: dict[str, Any]) -> None:
    """Of each shape that settings can have. The server counts what queries put into temporary files."""
    with connect(people_database) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL log_temp_files = -1; SET LOCAL temp_file_limit = '100MB'")
        become(connection, ADMIN)
        connection.execute(CHANGE.format("settings").encode(), (Jsonb(settings), DRAFT))


def test_a_million_tags_are_refused_before_they_are_walked(people_database: URL) -> None:
    with (
        connect(people_database) as connection,
        pytest.raises(errors.CheckViolation, match="tags are 1000000, and may be"),
    ):
        connection.execute("UPDATE chatbots SET tags = array_fill('x'::text, '{1000000}') WHERE id = %s", (DRAFT,))


# What looks empty


@pytest.mark.parametrize("letters", ["\u200b", "\u00a0", "\u3164", " \u2800 ", "\u00ad\u200d", "\U000e0020", "\u0085"])
@pytest.mark.parametrize("column", ["name", "system_prompt", "model", "category", "tags"])
def test_what_looks_empty_is_refused(people_database: URL, column: str, letters: str) -> None:
    def value(text: str) -> object:
        return ["other", text] if column == "tags" else text

    with connect(people_database) as connection:
        assert "has no letter that can be seen" in saved(connection, ADMIN, column, value(letters), "UPDATE")
        assert saved(connection, ADMIN, column, value(f"{letters}x{letters}"), "UPDATE") == ""


def test_a_chatbot_that_looks_nameless_is_not_made(people_database: URL) -> None:
    with connect(people_database) as connection, pytest.raises(errors.CheckViolation, match="name has no letter"):
        connection.execute(
            "INSERT INTO chatbots (tenant_id, name, system_prompt, model) VALUES (%s, %s, 'N', 'm')", (ACME, "\u200b")
        )

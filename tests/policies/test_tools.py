"""Tools of chatbots: what the database takes for a function definition, who sees them, and that versions keep them."""

import json
from typing import Any

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.people import ADMIN, DRAFT, GLOBEX_DRAFT, MEMBER, OWNER, PUBLISHED, SERVICE
from tests.policies import Outcomes, Place, cases
from tests.policies.test_chatbot_versions import change, do, numbers
from tests.tools import become, connect

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "description": "Where"},
        "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 14.5, "multipleOf": 0.5},
        "unit": {"enum": ["C", "F"]},
        "spots": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/$defs/spot"}, {"const": None}]},
            "uniqueItems": True,
        },
        "anything": True,
        "whatever": {"type": ["string", "number", "integer", "boolean", "object", "array", "null"]},
        "properties": {"type": "string"},  # a property of that name
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"spot": {"type": "object", "properties": {"lat": {"type": "number"}}, "x-of-ours": ["anything"]}},
}
TOOL: dict[str, Any] = {"name": "weather", "description": "Tell the weather.", "parameters": SCHEMA}


def with_schema(**schema: Any) -> dict[str, Any]:
    return TOOL | {"parameters": {"type": "object"} | schema}


def with_property(schema: Any) -> dict[str, Any]:
    return with_schema(properties={"city": schema})


def nested(depth: int) -> dict[str, Any]:
    """A tool whose parameters are schemas within schemas."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth - 1):
        schema = {"type": "object", "properties": {"p": schema}}
    return TOOL | {"parameters": schema}


def save(tools: Any) -> str:
    return change("settings = '{}'".format(json.dumps({"greeting": "Hi", "tools": tools}).replace("'", "''")))


@pytest.mark.parametrize(
    "tools",
    [[], [TOOL], [TOOL, TOOL | {"name": "Weather-2_x"}], [with_schema()], [nested(64)], [TOOL | {"name": "x" * 64}]],
    ids=["none", "one", "two", "no-parameters", "deep", "long-name"],
)
def test_function_definitions_are_kept(place: Place, tools: Any) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, save(tools))
        found = connection.execute("SELECT settings FROM chatbots WHERE id = %s", (DRAFT,)).fetchone()
        assert found == ({"greeting": "Hi", "tools": tools},)
        settings = json.dumps({"tools": tools}).replace("'", "''")
        assert connection.execute(CREATE.format(settings)).rowcount == 1


HERE = "settings.tools"
PARAMETERS = f"{HERE}[0].parameters"
CITY = f"{PARAMETERS}.properties.city"
A_NAME = "must be 1 to 64 letters, digits, _ and -"
A_DESCRIPTION = "must be a string that says when to call it"
OF_TYPE_OBJECT = "must be a schema of type object"
STRINGS = "must be an array of strings, none twice"
A_SCHEMA = "must be a schema (an object, true or false)"
A_TYPE = "must be a type of JSON, or an array of them"


@pytest.mark.parametrize(
    ("tools", "fault"),
    [
        ({}, f"{HERE} must be an array, not {{}}"),
        (None, f"{HERE} must be an array, not null"),
        ([TOOL, "weather"], f'{HERE}[1] must be an object, not "weather"'),
        ([{**TOOL, "input_schema": {}}], f"{HERE}[0].input_schema is not known here"),
        ([{"type": "function", "function": TOOL}], f"{HERE}[0].function is not known here"),
        (
            [{"description": "x", "parameters": SCHEMA}],
            f"{HERE}[0].name {A_NAME}, and is missing",
        ),
        ([TOOL | {"name": "two words"}], f'{HERE}[0].name {A_NAME}, not "two words"'),
        ([TOOL | {"name": "x" * 65}], f'{HERE}[0].name {A_NAME}, not "{"x" * 56}...'),
        ([TOOL | {"name": ""}], f'{HERE}[0].name {A_NAME}, not ""'),
        ([TOOL | {"name": 5}], f"{HERE}[0].name {A_NAME}, not 5"),
        ([TOOL, TOOL | {"description": "y"}], f"{HERE}[1].name must not be that of a tool before"),
        ([TOOL | {"description": " "}], f'{HERE}[0].description {A_DESCRIPTION}, not " "'),
        ([TOOL | {"description": None}], f"{HERE}[0].description {A_DESCRIPTION}, not null"),
        ([TOOL | {"description": 5}], f"{HERE}[0].description {A_DESCRIPTION}, not 5"),
        ([{"name": "x", "description": "x"}], f"{PARAMETERS} {OF_TYPE_OBJECT}, and is missing"),
        ([TOOL | {"parameters": True}], f"{PARAMETERS} {OF_TYPE_OBJECT}, not true"),
        ([TOOL | {"parameters": {}}], f"{PARAMETERS} {OF_TYPE_OBJECT}, not {{}}"),
        ([TOOL | {"parameters": {"type": ["object"]}}], f'{PARAMETERS} {OF_TYPE_OBJECT}, not {{"type": ["object"]}}'),
        (
            [TOOL, nested(65) | {"name": "deep"}],
            f"{HERE}[1].parameters{'.properties.p' * 64}"[:300] + " is nested too deep",
        ),
        # Within the parameters.
        ([with_schema(properties=[])], f"{PARAMETERS}.properties must be an object of schemas, not []"),
        ([with_schema(required="city")], f'{PARAMETERS}.required {STRINGS}, not "city"'),
        ([with_schema(required=["a", "a"])], f'{PARAMETERS}.required {STRINGS}, not ["a", "a"]'),
        ([with_schema(required=[1])], f"{PARAMETERS}.required {STRINGS}, not [1]"),
        ([with_property("string")], f'{CITY} {A_SCHEMA}, not "string"'),
        ([with_property({"type": "strng"})], f'{CITY}.type {A_TYPE}, not "strng"'),
        ([with_property({"type": []})], f"{CITY}.type {A_TYPE}, not []"),
        ([with_property({"type": ["string", "string"]})], f'{CITY}.type {A_TYPE}, not ["string", "string"]'),
        ([with_property({"type": ["string", None]})], f'{CITY}.type {A_TYPE}, not ["string", null]'),
        ([with_property({"type": [["string"]]})], f'{CITY}.type {A_TYPE}, not [["string"]]'),
        ([with_property({"enum": []})], f"{CITY}.enum must be an array of something, not []"),
        ([with_property({"enum": {}})], f"{CITY}.enum must be an array of something, not {{}}"),
        ([with_property({"examples": 1})], f"{CITY}.examples must be an array, not 1"),
        ([with_property({"description": 1})], f"{CITY}.description must be a string, not 1"),
        ([with_property({"minimum": "1"})], f'{CITY}.minimum must be a number, not "1"'),
        ([with_property({"multipleOf": 0})], f"{CITY}.multipleOf must be a number above 0, not 0"),
        ([with_property({"multipleOf": True})], f"{CITY}.multipleOf must be a number above 0, not true"),
        ([with_property({"minLength": -1})], f"{CITY}.minLength must be a whole number from 0 on, not -1"),
        ([with_property({"maxItems": "1"})], f'{CITY}.maxItems must be a whole number from 0 on, not "1"'),
        ([with_property({"maxItems": 1.5})], f"{CITY}.maxItems must be a whole number from 0 on, not 1.5"),
        ([with_property({"uniqueItems": "yes"})], f'{CITY}.uniqueItems must be true or false, not "yes"'),
        ([with_property({"items": [{}]})], f"{CITY}.items {A_SCHEMA}, not [{{}}]"),
        ([with_property({"anyOf": {}})], f"{CITY}.anyOf must be an array of schemas, not {{}}"),
        ([with_property({"anyOf": []})], f"{CITY}.anyOf must be an array of schemas, not []"),
        ([with_property({"allOf": [{}, {"type": 1}]})], f"{CITY}.allOf[1].type {A_TYPE}, not 1"),
        ([with_property({"items": {"not": {"type": "x"}}})], f'{CITY}.items.not.type {A_TYPE}, not "x"'),
        ([with_schema(additionalProperties={"type": 1})], f"{PARAMETERS}.additionalProperties.type {A_TYPE}, not 1"),
        ([with_schema(**{"$defs": {"a b": {"type": 1}}})], f"{PARAMETERS}.$defs.a b.type {A_TYPE}, not 1"),
    ],
)
def test_what_is_none_is_refused_and_told_where(place: Place, tools: Any, fault: str) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        become(connection, ADMIN)
        for statement in (save(tools), CREATE.format(json.dumps({"tools": tools}).replace("'", "''"))):
            with pytest.raises(errors.CheckViolation) as refused, connection.transaction():
                connection.execute(statement)
            assert refused.value.diag.message_primary == fault
            assert (refused.value.diag.message_hint or "").startswith("A tool has name, description and parameters")


CREATE = """
    INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, settings)
    SELECT tenant_id, created_by, name, system_prompt, model, '{}' FROM chatbots LIMIT 1
"""


def test_the_value_is_told_only_as_far_as_it_helps(place: Place) -> None:
    with connect(place.url) as connection, pytest.raises(errors.CheckViolation) as refused:
        connection.execute(save([TOOL | {"name": "long " * 1000}]))
    assert len(refused.value.diag.message_primary or "") < 200


def test_whoever_writes_is_asked(place: Place) -> None:
    wrong = save([{}])
    assert place.attempt(wrong, ADMIN, SERVICE, OWNER) == ["check"] * 3
    assert place.attempt(save([TOOL]), ADMIN, SERVICE, OWNER) == [1] * 3


def test_a_later_trigger_puts_no_others_in_their_place(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("""
            CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.settings := '{"tools": 5}'; RETURN NEW; END $$;
            CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON chatbots FOR EACH ROW EXECUTE FUNCTION public.spoil()
        """)
        with pytest.raises(errors.CheckViolation):
            do(connection, ADMIN, change("name = 'New'"))


def test_those_from_before_stay_until_settings_are_changed(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(save([{"type": "function"}]))
        connection.execute("SET LOCAL session_replication_role = origin")
        do(connection, ADMIN, change("name = 'New', is_published = true, settings = settings"))
        with pytest.raises(errors.CheckViolation), connection.transaction():
            do(connection, ADMIN, change("settings = settings || '{\"a\": 1}'"))
        do(connection, ADMIN, change("settings = settings - 'tools'"))


READING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read them                   grant      0      1         1     2       1      2       4     4
    read them in versions       grant      0      0         0     2       0      2       4     4
"""
READ = {
    "read them": "SELECT settings -> 'tools' FROM chatbots",
    "read them in versions": "SELECT settings -> 'tools' FROM chatbot_versions",
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(READING, READ))
def test_who_sees_tools(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes


def test_the_public_view_has_none(place: Place) -> None:
    with connect(place.url) as connection, pytest.raises(errors.UndefinedColumn):
        connection.execute("SELECT settings FROM published_chatbots")


def test_a_version_keeps_them(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        do(connection, ADMIN, save([TOOL]))
        do(connection, ADMIN, save([TOOL, TOOL | {"name": "other"}]))
        assert numbers(connection, DRAFT) == (3, 3)
        kept = connection.execute(
            "SELECT settings -> 'tools' FROM chatbot_versions WHERE chatbot_id = %s ORDER BY version", (DRAFT,)
        ).fetchall()
        assert kept == [(None,), ([TOOL],), ([TOOL, TOOL | {"name": "other"}],)]
        do(connection, ADMIN, f"SELECT restore_chatbot('{DRAFT}', 2)")
        found = connection.execute("SELECT settings -> 'tools', version FROM chatbots WHERE id = %s", (DRAFT,))
        assert found.fetchone() == ([TOOL], 4)


def test_a_version_from_before_is_restored_only_if_it_fits(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "UPDATE chatbot_versions SET settings = %s WHERE chatbot_id = %s", (Jsonb({"tools": [{}]}), PUBLISHED)
        )
        assert place.attempt(f"SELECT restore_chatbot('{PUBLISHED}', 1)", ADMIN) == [1]
        with pytest.raises(errors.CheckViolation, match=r"settings\.tools\[0\]"), connection.transaction():
            do(connection, ADMIN, f"SELECT restore_chatbot('{PUBLISHED}', 1)")
    assert place.attempt(f"SELECT restore_chatbot('{GLOBEX_DRAFT}', 1)", MEMBER) == ["missing"]

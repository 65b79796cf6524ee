"""What triggers keep of a save does not depend on settings that whoever saves may change."""

import json

import pytest
from psycopg import Connection, Error, sql

from tests.people import ACME_ADMIN, ADMIN, DRAFT, OWN_OLD_TALK, PUBLISHED, SERVICE
from tests.policies import Place
from tests.tools import become, connect

# Each of these changes how SQL is read, or how a value is written. Anybody may set them.
SETTINGS = {
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "escape_string_warning": "off",
    "extra_float_digits": "-15",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    "search_path": "pg_temp, public",
    "default_text_search_config": "pg_catalog.german",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
SAVES = (
    f"UPDATE chatbots SET tags = '{{sales, ss , \tnew, s}}', category = ' s ' WHERE id = '{DRAFT}'",
    f"UPDATE chatbots SET temperature = 0.71 WHERE id = '{DRAFT}'",
    f"UPDATE chatbots SET temperature = 0.7123456789012345, max_tokens = 3 WHERE id = '{DRAFT}'",
    f"UPDATE chatbots SET settings = '{{\"a\": 1.50, \"tools\": []}}', name = 's' WHERE id = '{DRAFT}'",
    f"""UPDATE chatbots SET settings = '{{"tools": [{{"name": "s-d", "description": "ss",
        "parameters": {{"type": "object", "minProperties": 1}}}}]}}' WHERE id = '{DRAFT}'""",
)
REFUSED = (
    f'UPDATE chatbots SET settings = \'{{"tools": [{{"name": "s d"}}]}}\' WHERE id = \'{DRAFT}\'',
    f"UPDATE chatbots SET tags = '{{s}}', name = ' ' WHERE id = '{DRAFT}'",
    f"""UPDATE chatbots SET settings = '{{"tools": [{{"name": "n", "description": " ",
        "parameters": {{"type": "object"}}}}]}}' WHERE id = '{DRAFT}'""",
    f"""UPDATE chatbots SET settings = '{{"tools": [{{"name": "n", "description": "d",
        "parameters": {{"type": "object", "minLength": 1.5}}}}]}}' WHERE id = '{DRAFT}'""",
)
KEPT = (
    "SELECT name, category, tags, version, lock_version, settings::text FROM public.chatbots ORDER BY id",
    "SELECT tag, name FROM public.chatbot_tags ORDER BY 1, 2",
    "SELECT chatbot_id, version, temperature, max_tokens, settings::text, created_by FROM public.chatbot_versions"
    " ORDER BY 1, 2",
    "SELECT action, user_id, old_values - 'updated_at', new_values - 'updated_at' FROM public.audit_log"
    " WHERE changed_at > now() ORDER BY changed_at",
    "SELECT chatbot_id, chatbot_version FROM public.conversations ORDER BY id",
)


def kept(place: Place, settings: dict[str, str]) -> list[object]:
    """What an admin's saves leave, in a session with these settings, which has run no function before."""
    refusals: list[object] = []
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        for name, value in settings.items():
            connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), value))
        become(connection, ADMIN)
        for save in SAVES:
            assert connection.execute(save.replace("UPDATE ", "UPDATE public.").encode()).rowcount == 1
        for save in REFUSED:
            refusals.append(refusal(connection, save.replace("UPDATE ", "UPDATE public.")))
        link = f"UPDATE public.conversations SET chatbot_id = '{PUBLISHED}' WHERE id = '{OWN_OLD_TALK}'"
        connection.execute("RESET ROLE")
        become(connection, SERVICE)
        connection.execute(link.encode())
        connection.execute("RESET ROLE")
        for name in settings:
            connection.execute(sql.SQL("SET LOCAL {} TO DEFAULT").format(sql.Identifier(name)))
        return refusals + [connection.execute(query.encode()).fetchall() for query in KEPT]


def refusal(connection: Connection, save: str) -> str:
    """What is said of a save that is none."""
    with pytest.raises(Error) as refused, connection.transaction():
        connection.execute(save.encode())
    return str(refused.value.diag.message_primary)


@pytest.mark.parametrize("name", [*SETTINGS, "all"])
def test_a_session_that_reads_and_writes_otherwise_leaves_the_same(place: Place, name: str) -> None:
    hostile = SETTINGS if name == "all" else {name: SETTINGS[name]}
    assert json.dumps(kept(place, hostile), default=str) == json.dumps(kept(place, {}), default=str)


def test_a_change_of_a_temperature_is_noted(place: Place) -> None:
    with connect(place.url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL extra_float_digits = -15")
        become(connection, ADMIN)
        connection.execute(f"UPDATE chatbots SET temperature = 0.71 WHERE id = '{DRAFT}'".encode())
        connection.execute("RESET ROLE; SET LOCAL extra_float_digits = 1")
        noted = connection.execute(
            "SELECT user_id, old_values -> 'temperature', new_values -> 'temperature' FROM audit_log"
            " WHERE changed_at > now()"
        )
        assert noted.fetchall() == [(ACME_ADMIN, 0.7, 0.71)]


PINS = {r"\\": "standard_conforming_strings", r"to_jsonb\(": "extra_float_digits", "timestamptz": "TimeZone"}


def test_each_function_pins_what_its_body_depends_on(place: Place) -> None:
    """By what its text has in it: a backslash, a row written as JSON, a time."""
    with connect(place.url) as connection:
        found = connection.execute(
            "SELECT oid::regprocedure::text, prosrc, proconfig::text FROM pg_proc"
            " WHERE pronamespace = 'chatbot_private'::regnamespace AND prosqlbody IS NULL"
        ).fetchall()
        asks = "SELECT %s ~ %s"
        for name, body, settings in found:
            for sign, setting in PINS.items():
                depends = connection.execute(asks, (body, sign)).fetchone()
                assert depends == (False,) or setting in settings, (name, setting)

"""Who writes or upgrades waits for no JIT compiler: it takes a second for what then runs for a millisecond."""

import json
import re
from typing import Any

import pytest
from psycopg import Connection
from psycopg.errors import Diagnostic
from sqlalchemy import URL

from tests.people import ACME, ACME_ADMIN, ACME_COLLEAGUE, ACME_MEMBER, ADMIN, DRAFT, MEMBER, PUBLISHED, SERVICE, Who
from tests.policies.test_tools import TOOL
from tests.tools import alembic, become, connect

# Each plan, those within functions too, goes to the client, with the settings that its planner saw.
EXPLAIN = {
    "log_min_duration": "0",
    "log_nested_statements": "on",
    "log_settings": "on",
    "log_format": "json",
    "log_level": "warning",  # what a run of Alembic passes on
}
DEAR = 100_000  # jit_above_cost, of PostgreSQL's own
CHANGE = f"UPDATE chatbots SET {{}} WHERE id = '{DRAFT}'"


def plans(told: str) -> list[dict[str, Any]]:
    reader = json.JSONDecoder(strict=False)  # line breaks within a query, too
    return [reader.raw_decode(plan)[0] for plan in told.split("plan:\n")[1:]]


def compiled(told: str) -> list[dict[str, Any]]:
    """The plans that a JIT compiler would take on."""
    return [plan for plan in plans(told) if plan["Plan"]["Total Cost"] > DEAR and plan["Settings"].get("jit") != "off"]


@pytest.mark.parametrize(
    ("who", "statement", "asks"),
    [
        (
            ADMIN,
            f"""
                INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
                VALUES ('{ACME}', '{ACME_ADMIN}', 'New', 'Be new.', 'm')
            """,
            "INSERT INTO public.chatbot_versions",
        ),
        (ADMIN, CHANGE.format("settings = '{}'".format(json.dumps({"tools": [TOOL]}))), "WITH RECURSIVE given"),
        (ADMIN, CHANGE.format("tags = '{one, two}', category = 'c'"), "public.chatbot_tags"),
        (SERVICE, f"UPDATE users SET role = 'admin' WHERE id = '{ACME_COLLEAGUE}'", "INSERT INTO public.audit_log"),
        (
            MEMBER,
            f"""
                INSERT INTO conversations (tenant_id, user_id, chatbot_id)
                VALUES ('{ACME}', '{ACME_MEMBER}', '{PUBLISHED}')
            """,
            "FROM public.chatbots",
        ),
    ],
    ids=["create", "tools", "tags", "promote", "talk"],
)
def test_what_is_written_is_not_compiled(platform: Connection, who: Who, statement: str, asks: str) -> None:
    told: list[str] = []

    def note(diagnostic: Diagnostic) -> None:
        told.append(diagnostic.message_primary or "")

    platform.execute("LOAD 'auto_explain'")
    for name, value in EXPLAIN.items():
        platform.execute(f"SET auto_explain.{name} = '{value}'".encode())
    platform.add_notice_handler(note)
    become(platform, who)
    assert platform.execute(statement.encode()).rowcount == 1
    printed = "".join(told)
    assert [plan for plan in plans(printed) if asks in plan["Query Text"]] != []
    assert compiled(printed) == []


def test_nothing_in_a_run_is_compiled(empty: URL, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(empty) as connection:
        settings = {"session_preload_libraries": "auto_explain", **{f"auto_explain.{k}": v for k, v in EXPLAIN.items()}}
        for name, value in settings.items():
            connection.execute(f"ALTER DATABASE {empty.database} SET {name} = '{value}'".encode())
    alembic(empty, "upgrade", "head")
    # A run prints a message of the server's as one line, with its line breaks shown.
    told = re.sub(r"(?<!\\)((?:\\\\)*)\\n", "\\1\n", capsys.readouterr().err)
    assert [plan for plan in plans(told) if plan["Plan"]["Total Cost"] > DEAR] != []
    assert compiled(told) == []

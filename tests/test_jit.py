"""What clients write waits for no JIT compiler, which takes a second for what then runs for a millisecond."""

import json
from typing import Any

import pytest
from psycopg import Connection
from psycopg.errors import Diagnostic

from tests.people import ACME, ACME_ADMIN, ACME_COLLEAGUE, ACME_MEMBER, ADMIN, DRAFT, MEMBER, PUBLISHED, SERVICE, Who
from tests.policies.test_tools import TOOL
from tests.tools import become

# Each plan, those within functions too, goes to the client as a notice, with the settings that its planner saw.
EXPLAIN = """
    LOAD 'auto_explain';
    SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_settings = on;
    SET auto_explain.log_format = json;
    SET auto_explain.log_level = notice
"""
DEAR = 100_000  # jit_above_cost, of PostgreSQL's own
CHANGE = f"UPDATE chatbots SET {{}} WHERE id = '{DRAFT}'"


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
    plans: list[dict[str, Any]] = []

    def note(diagnostic: Diagnostic) -> None:
        _, _, plan = (diagnostic.message_primary or "").partition("plan:\n")
        plans.append(json.loads(plan))

    platform.execute(EXPLAIN)
    platform.add_notice_handler(note)
    become(platform, who)
    assert platform.execute(statement.encode()).rowcount == 1
    assert [plan for plan in plans if asks in plan["Query Text"]] != []
    compiled = [plan for plan in plans if plan["Plan"]["Total Cost"] > DEAR and plan["Settings"].get("jit") != "off"]
    assert compiled == []

"""What the table chatbots itself refuses and keeps, whoever writes."""

from collections.abc import Callable

import pytest
from psycopg import Connection

from tests.people import DRAFT, OWNER


@pytest.mark.parametrize(
    ("column", "value", "outcome"),
    [
        ("name", "'  '", "check"),
        ("name", "'Al'", 1),
        ("system_prompt", "E' \\n\\t'", "check"),
        ("system_prompt", "E'\\nBe kind.'", 1),
        ("model", "''", "check"),
        ("temperature", "-0.1", "check"),
        ("temperature", "0", 1),
        ("temperature", "2", 1),
        ("temperature", "2.1", "check"),
        ("temperature", "'NaN'", "check"),
        ("max_tokens", "0", "check"),
        ("max_tokens", "1", 1),
        ("max_tokens", "NULL", 1),
        ("settings", "'[]'", "check"),
        ("settings", "'null'", "check"),
        ("settings", "'{}'", 1),
    ],
)
def test_checks(try_as: Callable[..., int | str], column: str, value: str, outcome: int | str) -> None:
    assert try_as(OWNER, f"UPDATE chatbots SET {column} = {value} WHERE id = %(id)s", id=DRAFT) == outcome


def test_defaults(platform: Connection) -> None:
    row = platform.execute("""
        INSERT INTO chatbots (tenant_id, name, system_prompt, model)
        SELECT id, 'New', 'Be new.', 'm' FROM tenants LIMIT 1
        RETURNING temperature, max_tokens, settings, is_published, created_at = updated_at
    """).fetchone()
    assert row == (0.7, None, {}, False, True)


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ("name = 'New'", True),
        ("description = 'New'", True),
        ("system_prompt = 'New'", True),
        ("model = 'new'", True),
        ("temperature = 1", True),
        ("max_tokens = 7", True),
        ("""settings = '{"a": 1}'""", True),
        ("is_published = true", True),
        ("is_published = true, updated_at = '2020-01-01'", True),
        ("name = name", False),
        ("created_by = NULL", False),
    ],
)
def test_updated_at_moves_with_configuration_and_publishing(platform: Connection, change: str, moves: bool) -> None:
    assert platform.execute("UPDATE chatbots SET updated_at = '2026-01-01'").rowcount == 4
    platform.execute(f"UPDATE chatbots SET {change} WHERE id = %s", (DRAFT,))
    found = platform.execute(
        "SELECT updated_at = now(), updated_at = '2026-01-01' FROM chatbots WHERE id = %s", (DRAFT,)
    )
    assert found.fetchone() == (moves, not moves)

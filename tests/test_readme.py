"""The README is true: its Python runs and prints what it says; .ci/run runs its commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Header
from fastapi.testclient import TestClient
from sqlalchemy import URL

from tests.people import LOGIN_ROLES, NOBODY
from tests.tools import PROJECT, REVISIONS, connect, database_url, environment, run, run_anew

README = (PROJECT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for its_language, text in found if its_language == language]


@pytest.fixture
def seeded(head: URL) -> URL:
    assert run("app", "seed", url=head).returncode == 0
    return head


def test_python_lists_five_published_chatbots(seeded: URL) -> None:
    program = blocks("python")[0]
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT, env=environment(seeded), capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 5
    assert "Data Analysis Assistant" not in done.stdout
    assert len([line for line in program.splitlines() if line.strip()]) <= 11


def test_login_role_is_made_and_has_no_rights_of_its_own(head: URL) -> None:
    (statement,) = blocks("sql")
    name = "readme_application"  # roles belong to the whole cluster
    with connect(head) as connection:
        connection.execute(statement.replace("ROLE application", f"ROLE {name}"))
        connection.execute(f"SET ROLE {name}")
        usable = connection.execute("""
            SELECT table_name FROM information_schema.tables
            WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
        """).fetchall()
        assert usable == []
        connection.execute("RESET ROLE")
        connection.execute(f"DROP ROLE {name}")


def test_fastapi_answers_each_as_themself(seeded: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    def verified_sub(x_user: Annotated[UUID | None, Header()] = None) -> UUID | None:
        return x_user

    authentication = ModuleType("authentication")
    vars(authentication)["verified_sub"] = verified_sub
    monkeypatch.setitem(sys.modules, "authentication", authentication)
    with connect(seeded) as connection:
        connection.execute(LOGIN_ROLES)
        people: dict[str, str] = dict(connection.execute("SELECT email, id::text FROM users").fetchall())
    with database_url(seeded.set(username="application")):
        program: dict[str, Any] = {}
        exec(blocks("python")[1], program)  # noqa: S102 - the README's own
    with TestClient(program["api"]) as client:
        for person, count in ((people["admin@demo.example"], 6), (people["mia@demo.example"], 5), (str(NOBODY), 0)):
            assert len(client.get("/chatbots", headers={"X-User": person}).json()) == count
        assert len(client.get("/chatbots").json()) == 5  # as anonymous
    program["engine"].dispose()


def test_labels_and_tools_are_changed_as_the_readme_does_it(seeded: URL) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[2]],
        cwd=PROJECT,
        env=environment(seeded),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b""
    with connect(seeded) as connection:
        changed = connection.execute(
            "SELECT category, tags, settings -> 'tools' FROM chatbots WHERE version = 2"
        ).fetchall()
    ((category, tags, tools),) = changed
    assert (category, tags[-1], [tool["name"] for tool in tools]) == ("Service", "refunds", ["look_up_order", "refund"])


def test_the_operators_commands_work(seeded: URL, tmp_path: Path) -> None:
    verbs = ("sql", "admins", "history", "restore", "audit", "doctor", "chatbots", "usage", "metrics")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    typed = [
        shlex.split(line) for line in lines if line.startswith(tuple(f".venv/bin/python -m app {it}" for it in verbs))
    ]
    assert {words[3] for words in typed} == {*verbs}
    for _python, _m, *words in typed:
        done = run_anew(*words, url=seeded, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "migrations").iterdir())) == 2 * len(REVISIONS) + 2


def test_check_finds_what_the_readme_says(head: URL) -> None:
    findings, _layout = blocks("")
    with connect(head) as connection:
        connection.execute("""
            ALTER TABLE users DISABLE TRIGGER users_guard_role_update;
            CREATE SCHEMA reports;
            CREATE VIEW reports.bots AS TABLE chatbots
        """)
    checked = run("alembic", "check", url=head)
    assert re.findall(r"INFO    Detected (.*)", checked.stderr) == findings.splitlines()


def test_layout_names_what_is_there() -> None:
    _findings, layout = blocks("")
    named = [name.rstrip(",") for line in layout.splitlines() for name in re.split(r"\s{3,}", line)[0].split()]
    assert named
    for name in named:
        assert (PROJECT / name).exists(), name

"""The README is true: its Python runs and prints what it says; .ci/run runs its commands."""

import re
import subprocess
import sys

import pytest
from sqlalchemy import URL

from tests.tools import PROJECT, connect, environment, run

README = (PROJECT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for its_language, text in found if its_language == language]


@pytest.fixture
def seeded(head: URL) -> URL:
    assert run("app", "seed", url=head).returncode == 0
    return head


def test_python_lists_five_published_chatbots(seeded: URL) -> None:
    (program,) = blocks("python")
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


def test_layout_names_what_is_there() -> None:
    (layout,) = blocks("")
    named = [name.rstrip(",") for line in layout.splitlines() for name in re.split(r"\s{3,}", line)[0].split()]
    assert named
    for name in named:
        assert (PROJECT / name).exists(), name

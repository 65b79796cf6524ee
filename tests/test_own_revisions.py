"""Revisions of the user's own beside ours: on top, on a branch, independent, merged."""

import ast
import shutil
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.tools import NEWEST, PROJECT, run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The settings of a checkout to which a user adds revisions."""
    shutil.copytree(PROJECT / "alembic", tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(shutil.copy(PROJECT / "alembic.ini", tmp_path))


def succeed(url: URL, project: Path, command: str, *arguments: str) -> str:
    """Run a command, such as "alembic upgrade heads", and return what it printed."""
    module, verb, *rest = command.split()
    first = [module, "-c", str(project), verb] if module == "alembic" else [module, verb, "-c", str(project)]
    done = run(*first, *rest, *arguments, url=url)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "message",
    ['it\'s "quoted"', 'ends in """', r"back\slash \N{x} \u12", "two\nlines", "percent %s ${x} <% y %>", ""],
)
def test_any_message_makes_a_revision(head: URL, project: Path, message: str) -> None:
    succeed(head, project, "alembic revision --rev-id mine -m", message)
    (file,) = (project.parent / "alembic/versions").glob("mine_*.py")
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring is not None
    assert docstring.startswith(" ".join(message.split()) + ": say")
    assert "mine (head)" in succeed(head, project, "alembic heads")
    for command in ("upgrade heads", "check", f"downgrade {NEWEST}"):
        succeed(head, project, f"alembic {command}")

"""What all of `python -m app`'s verbs have in common: help, exit codes, errors as sentences."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from sqlalchemy import URL
from typer.testing import CliRunner

from app.verbs import verbs
from tests.tools import run

runner = CliRunner()


def paths(command: object, *names: str) -> Iterator[tuple[str, ...]]:
    """Each verb as a person types it."""
    children = getattr(command, "commands", None)
    if children is None:
        yield names
        return
    for name, child in children.items():
        yield from paths(child, *names, name)


EVERY = list(paths(typer.main.get_command(verbs)))
# Arguments with which each verb goes to the database.
WITH_A_DATABASE = {
    ("preflight",): [],
    ("seed",): [],
    ("doctor",): [],
    ("admins", "grant"): ["ada@acme.example", "--tenant", "Acme"],
    ("admins", "revoke"): ["ada@acme.example", "--tenant", "Acme"],
    ("admins", "list"): [],
    ("usage",): [],
    ("chatbots",): [],
    ("history",): ["Support"],
    ("restore",): ["Support", "1"],
    ("audit",): [],
    ("metrics",): [],
}


def test_the_verbs_are_these() -> None:
    assert {*EVERY} == {*WITH_A_DATABASE, ("sql",), ("document",)}


@pytest.mark.parametrize("verb", EVERY, ids=" ".join)
def test_help_ends_with_an_example_that_is_right(verb: tuple[str, ...]) -> None:
    shown = runner.invoke(verbs, [*verb, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert shown.exit_code == 0
    example = shown.output.strip().splitlines()[-1].strip()
    found = re.fullmatch(r"Example: (?:\w+=\S+ )?python -m app (.*)", example)
    assert found
    typed = found[1].split()
    assert tuple(typed[: len(verb)]) == verb
    command: Any = typer.main.get_command(verbs)
    for name in verb:
        command = command.commands[name]
    command.make_context("app", typed[len(verb) :])  # raises for what it does not take


def test_nothing_is_coloured_in_a_pipe() -> None:
    for arguments in (["--help"], ["admins", "--help"], ["nonsense"]):
        shown = run("app", *arguments)
        assert "\x1b" not in shown.stdout + shown.stderr
        assert shown.returncode == (2 if arguments == ["nonsense"] else 0)


@pytest.mark.parametrize("verb", EVERY, ids=" ".join)
def test_wrong_usage_exits_with_2(verb: tuple[str, ...]) -> None:
    assert runner.invoke(verbs, [*verb, "--nonsense"]).exit_code == 2


@pytest.mark.parametrize("verb", WITH_A_DATABASE, ids=" ".join)
def test_what_a_person_has_to_mend_is_a_sentence(verb: tuple[str, ...], empty: URL) -> None:
    arguments = [*verb, *WITH_A_DATABASE[verb]]
    for url, told in (
        ("mysql://here/x", "DATABASE_URL is not a PostgreSQL URL"),
        ("postgresql://127.0.0.1:1/x", "Cannot connect to PostgreSQL"),
    ):
        done = run("app", *arguments, url=url)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"Error: {told}")
        assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    if verb[0] not in {"preflight", "doctor"}:  # these look at any database
        early = run("app", *arguments, url=empty)
        *_, last = early.stderr.splitlines()
        assert early.returncode == 1
        assert last.startswith("Error: This database is not at the newest revision")
        assert last.endswith(": run `alembic upgrade head` first.")

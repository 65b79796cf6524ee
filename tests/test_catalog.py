"""SCHEMA_DOCUMENTATION.md: what the revisions make, alike on each server and by each way there."""

from pathlib import Path

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.catalog import markers
from app.catalog.document import DOCUMENT, parse, render
from app.catalog.facts import Facts, Key, read
from tests.tools import PROJECT, connect, copy_of_project, run_anew, sqlalchemy_connection, url_of


def document_of(url: URL) -> str:
    with sqlalchemy_connection(url) as connection:
        return render(read(connection))


def test_the_document_is_what_the_revisions_make(head: URL) -> None:
    """Of whichever server: run `python -m app document` after a change to a revision."""
    assert document_of(head) == DOCUMENT.read_text()


def test_rows_and_settings_change_nothing(platform: Connection) -> None:
    for setting in (
        "quote_all_identifiers = on",
        "search_path = public, chatbot_private",
        "extra_float_digits = -3",
        "standard_conforming_strings = off",
        "bytea_output = escape",
    ):
        platform.execute(f"ALTER DATABASE {platform.info.dbname} SET {setting}")
    platform.commit()
    assert document_of(url_of(platform)) == DOCUMENT.read_text()


def test_it_is_read_back_as_it_was_written() -> None:
    written = DOCUMENT.read_text()
    facts = parse(written)
    assert render(facts) == written
    assert {key.kind for key in facts} >= {"table", "column", "constraint", "index", "policy", "rights of", "trigger"}
    assert facts[Key("users", "column", "role")]["Default"] == "'user'::character varying"
    assert facts[Key("chatbots", "constraint", "chatbots_name_check")]["Definition"].count("\\S") == 1
    assert facts[Key("chatbot_private.user_id()", "function")]["Body"].startswith(
        "BEGIN\n    RETURN (\n        SELECT "
    )


def test_what_would_end_a_cell_is_read_back() -> None:
    policy = {"AS": "RESTRICTIVE", "FOR": "ALL", "TO": "anon", "USING": r"((a || ' | '::text) ~ '\|'::text)"}
    facts: Facts = {
        Key("chatbots", "table"): {"Comment": "A | b", "Owner": "the owner"},
        Key("chatbots", "policy", "Mine | yours"): policy,
        Key("", "role", "anon"): {"LOGIN": "no"},
        Key("", "schema", "public"): {"CREATE": "no client"},
    }
    assert parse(render(facts)) == facts


@pytest.mark.parametrize(
    "values",
    [[], ["admin"], ["owner", "admin"], ["it's", 'the "boss"', "a,b", "{}", "back\\slash", " ", "NULL", "ünï"]],
)
def test_markers_are_read_as_the_revisions_write_them(head: URL, values: list[str]) -> None:
    with connect(head) as connection:
        written = connection.execute("SELECT format('SELECT %%L::text[]', %s::text[])", (values,)).fetchone()
        names = [
            connection.execute("SELECT format('SELECT %%L::name', %s::text)", (each,)).fetchone() for each in values
        ]
    assert written is not None
    assert markers.values_in(written[0]) == tuple(values)
    assert [markers.name_in(each[0]) for each in names if each] == values


@pytest.mark.parametrize(
    "body",
    [
        "SELECT NULL::text[]",
        "SELECT '{admin}'::text[] -- and more",
        "SELECT '{admin}'::text[] || '{user}'::text[]",
        "SELECT '{admin,NULL}'::text[]",
        "SELECT '{{admin}}'::text[]",
        "SELECT '{admin'::text[]",
        "SELECT ALL '{admin}'::text[]",
        "SELECT '{}' || '}'::text[]",
    ],
)
def test_what_no_revision_writes_is_no_marker(body: str) -> None:
    assert markers.values_in(body) is None


def test_the_verb_writes_it(head: URL, tmp_path: Path) -> None:
    """Also when it is missing, without which `alembic check` says what to do."""
    project = copy_of_project(tmp_path)
    copy = project / DOCUMENT.relative_to(PROJECT)
    copy.unlink()
    checked = run_anew("alembic", "check", url=head, cwd=project)
    assert checked.returncode != 0
    assert checked.stderr.endswith(f"Error: There is no {copy}: `python -m app document` writes it anew.\n")
    written = run_anew("app", "document", cwd=project)
    assert (written.returncode, written.stdout) == (0, f"Wrote {copy}\n"), written.stderr
    assert copy.read_text() == DOCUMENT.read_text()
    assert run_anew("alembic", "check", url=head, cwd=project).returncode == 0

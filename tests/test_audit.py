"""`python -m app audit`, and what it reads by the models."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest
from psycopg import Connection
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import URL, create_engine, select
from sqlalchemy.orm import Session

from app.audit import changes
from app.errors import SetupError
from app.excerpts import Excerpt, shown
from app.identity import act_as
from app.models import AuditEntry
from tests.conftest import Host
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ADMIN_MADE,
    BOT_MADE,
    DRAFT,
    GLOBEX_ADMIN,
    GLOBEX_MADE,
    NOBODY,
    OWNER,
    SERVICE,
    Who,
)
from tests.tools import PROJECT, become, connect, environment, run, url_of

LONG = "Be \x1b[2J " + "long " * 40


def change(connection: Connection, who: Who, statement: str) -> None:
    with connection.transaction():
        become(connection, who)
        connection.execute(statement)


@pytest.fixture
def changed(platform: Connection) -> URL:
    """A database in which four things were changed since its log was emptied."""
    platform.commit()
    change(platform, OWNER, "TRUNCATE audit_log")
    change(platform, ADMIN, f"UPDATE chatbots SET system_prompt = '{LONG}', temperature = 1 WHERE id = '{DRAFT}'")
    change(platform, SERVICE, f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'")
    change(platform, Who(None, ADMIN.claims), f"DELETE FROM chatbots WHERE id = '{DRAFT}'")
    change(platform, OWNER, "DELETE FROM tenants WHERE name = 'Globex'")
    return url_of(platform)


def test_an_admin_reads_their_tenants_log_by_the_model(people_database: URL) -> None:
    engine = create_engine(people_database.set(username="application"))
    for person, expected in ((ACME_ADMIN, {BOT_MADE, ADMIN_MADE}), (GLOBEX_ADMIN, {GLOBEX_MADE}), (ACME_MEMBER, set())):
        with Session(engine) as session:
            act_as(session, person)
            assert set(session.scalars(select(AuditEntry.id))) == expected
    engine.dispose()


def test_changes_are_told_with_the_names_of_today(session: Session) -> None:
    latest_first = [*chain.from_iterable(changes(session))]
    assert [each.changed_at for each in latest_first] == sorted(
        (each.changed_at for each in latest_first), reverse=True
    )
    found = {(each.tenant, each.user, each.action, each.row) for each in latest_first}
    assert found == {
        ("Acme", "admin@acme.example", "INSERT", "Draft"),
        ("Acme", None, "UPDATE", "admin@acme.example"),
        ("Globex", "admin@globex.example", "DELETE", None),
        (None, None, "DELETE", "Gone"),
    }


def test_of_one_tenant_and_since_when(session: Session) -> None:
    assert {each.tenant_id for each in chain.from_iterable(changes(session, "Acme"))} == {ACME}
    assert [len(some) for some in changes(session, str(ACME))] == [2]
    now = datetime.now(UTC)
    assert [len(some) for some in changes(session, since=now - timedelta(days=1))] == [4]
    assert list(changes(session, since=now + timedelta(hours=1))) == []
    with pytest.raises(SetupError, match="There is no tenant 'Initech'"):
        list(changes(session, "Initech"))


def test_the_verb_says_who_did_what(changed: URL) -> None:
    done = run("app", "audit", "--tenant", "Acme", url=changed)
    assert done.returncode == 0, done.stderr
    headlines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert [line.partition("Z  ")[2] for line in headlines] == [
        f"Acme: admin@acme.example as postgres: DELETE chatbots {DRAFT} (Acme Draft)",
        f"Acme: service_role: UPDATE users {ACME_MEMBER} (member@acme.example)",
        f"Acme: admin@acme.example as authenticated: UPDATE chatbots {DRAFT}",
    ]
    details = [line.strip() for line in done.stdout.splitlines() if line.startswith(" ")]
    assert details[0] == 'role: "user" -> "admin"'
    assert "temperature: 0.7 -> 1" in details
    (prompt,) = [line for line in details if line.startswith("system_prompt")]
    assert prompt.startswith('system_prompt: "Be kind." -> "Be \\u001b[2J long')
    assert prompt.endswith("...")
    assert "version: 1 -> 2" in details
    assert len(details) == 4


def test_the_log_of_a_tenant_that_is_gone(session: Session) -> None:
    assert [each.row for each in chain.from_iterable(changes(session, str(NOBODY)))] == ["Gone"]
    with pytest.raises(SetupError, match="There is no tenant"):
        list(changes(session, str(ACME_MEMBER)))


def test_long_values_are_told_where_they_differ() -> None:
    before, after = shown([Excerpt(LONG + "old end"), Excerpt(LONG + "new end")], 60)
    assert before.startswith("...")
    assert before.endswith("long old end")
    assert after.endswith("long new end")
    (cut,) = shown([Excerpt(LONG)], 60)
    assert (len(cut), cut[:3], cut[-3:]) == (60, "Be ", "...")
    assert shown([Excerpt("1"), Excerpt("2")], 60) == ["1", "2"]
    assert shown([Excerpt("...same a", begins=False, ends=False), Excerpt("...same b", begins=False)], 60) == [
        "......same a...",
        "......same b",
    ]


def test_whole_entries_a_json_object_a_line(changed: URL) -> None:
    done = run("app", "audit", "--json", url=changed)
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert {entry["tenant"] for entry in entries} == {"Acme", None}
    first = entries[-1]
    assert (first["user_id"], first["row_id"]) == (str(ACME_ADMIN), str(DRAFT))
    assert (first["old_values"]["system_prompt"], first["new_values"]["system_prompt"]) == ("Be kind.", LONG)
    assert datetime.fromisoformat(first["changed_at"]).tzinfo is not None


@pytest.mark.parametrize(("since", "said"), [("2020-01-01", 3), ("2020-01-01T00:00:00+0200", 3), ("2999-12-31", 0)])
def test_since_a_time(changed: URL, since: str, said: int) -> None:
    done = run("app", "audit", "--since", since, "--tenant", "Acme", url=changed)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("2")]) == said
    assert (done.stdout == "Nothing was changed.\n") == (said == 0)
    assert run("app", "audit", "--json", "--since", "2999-12-31", url=changed).stdout == ""


def test_what_is_wrong_is_a_sentence(changed: URL, people_database: URL) -> None:
    assert run("app", "audit", "--since", "yesterday", url=changed).returncode == 2
    gone = run("app", "audit", "--tenant", str(ACME_MEMBER), url=changed)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "There is no tenant" in gone.stderr
    bound = run("app", "audit", url=people_database.set(username="application"))
    assert bound.returncode == 1
    assert "does not see every row of audit_log" in bound.stderr


# A log of many megabytes. A process begins with the peak of the process that starts it, so that is a small one.

MEASURED = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "app", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
sys.exit(done.returncode)
"""
PEAK = 150  # MB; half of it is what the modules take
ENORMOUS = 26_000_000  # characters of one value


@pytest.fixture(scope="module")
def enormous(host: Host, people_template: NoopExecutor) -> Iterator[URL]:
    """A chatbot that was saved twenty times with settings of 2 MB, and once with settings of 26 MB: 130 MB of JSON."""
    with connect(host.url("postgres")) as server:
        server.execute(f"CREATE DATABASE enormous_log TEMPLATE {people_template.template_dbname}")
        with connect(host.url("enormous_log")) as connection:
            # As before there was a limit on settings.
            connection.execute(
                """
                CREATE TEMPORARY TABLE saved AS
                SELECT number, jsonb_build_object('a', CASE number
                    WHEN 21 THEN repeat(E'lorem ipsum\u20ac ', %s) || 'end'
                    ELSE repeat('lorem ipsum ', 166666) || number END) AS settings
                FROM generate_series(1, 21) AS number
                """,
                (ENORMOUS // 13,),
            )
            connection.execute(
                """
                INSERT INTO audit_log (tenant_id, action, table_name, row_id, old_values, new_values)
                SELECT %s, 'UPDATE', 'chatbots', %s, jsonb_build_object('settings', earlier.settings),
                    jsonb_build_object('settings', saved.settings)
                FROM saved JOIN saved AS earlier ON earlier.number = saved.number - 1 ORDER BY saved.number
                """,
                (ACME, DRAFT),
            )
            connection.execute(
                """
                INSERT INTO chatbot_versions
                SELECT tenant_id, chatbot_id, saved.number + 1, system_prompt, model, temperature, max_tokens,
                    saved.settings, created_by, created_at
                FROM saved, chatbot_versions WHERE chatbot_id = %s
                """,
                (DRAFT,),
            )
        yield host.url("enormous_log")
        server.execute("DROP DATABASE enormous_log")


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        (["audit", "--tenant", "Acme"], {'    settings: ...m ipsum lorem ipsum 19"} -> ...m ipsum lorem ipsum 20"}'}),
        (["history", str(DRAFT)], {'    settings: ...m ipsum lorem ipsum 19"} -> ...m ipsum lorem ipsum 20"}'}),
        (["audit", "--tenant", "Acme", "--json"], set()),
        (["history", str(DRAFT), "--json"], set()),
    ],
    ids=" ".join,
)
def test_memory_does_not_grow_with_the_log(enormous: URL, command: list[str], lines: set[str], tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command],
            cwd=PROJECT,
            env=environment(enormous),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stderr.split()[-1]) < PEAK
        out.seek(0)
        if not lines:
            newest = json.loads(out.readline()) if command[0] == "audit" else json.load(out)[0]
            settings = (newest.get("new_values") or newest["configuration"])["settings"]
            assert (len(settings["a"]), settings["a"][-15:]) == (ENORMOUS // 13 * 13 + 3, "orem ipsum\u20ac end")
        else:
            assert lines <= {line.rstrip("\n") for line in out}
            assert out.tell() < 1_000_000

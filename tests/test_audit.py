"""`python -m app audit`, and what it reads by the models."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection
from sqlalchemy import URL, create_engine, select
from sqlalchemy.orm import Session

from app.audit import changes
from app.errors import SetupError
from app.identity import act_as
from app.models import AuditEntry
from app.verbs.audit import shown
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
from tests.tools import become, run, url_of

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
    latest_first = list(changes(session))
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
    assert {each.tenant_id for each in changes(session, "Acme")} == {ACME}
    assert len(list(changes(session, str(ACME)))) == 2
    now = datetime.now(UTC)
    assert len(list(changes(session, since=now - timedelta(days=1)))) == 4
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
    assert [each.row for each in changes(session, str(NOBODY))] == ["Gone"]
    with pytest.raises(SetupError, match="There is no tenant"):
        list(changes(session, str(ACME_MEMBER)))


def test_long_values_are_told_where_they_differ() -> None:
    before, after = shown(LONG + "old end", LONG + "new end")
    assert before.endswith('old end"')
    assert after.endswith('new end"')
    assert shown(LONG)[0].startswith('"Be ')
    assert shown(1, 2) == ["1", "2"]


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

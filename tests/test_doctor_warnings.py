"""`python -m app doctor` repeats what preflight warned of, for as long as it holds."""

import json

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.doctor import warnings
from app.doctor.report import told
from app.migration.preflight import preflight
from app.migration.settings import configuration
from tests.examining import LOGIN, ROLES, change, examined
from tests.platforms import settle_guide
from tests.tools import alembic, connect, database_url, run, url_of

BACKEND = "doctor_backend"  # a login role of the application
TABLES = "conversations, feedback, messages, tenants, users"
TRUNCATE = f"anon and authenticated hold TRUNCATE or TRIGGER on {TABLES};"
CLOSED = f"REVOKE TRUNCATE, TRIGGER ON {TABLES} FROM anon, authenticated"


def test_what_the_guides_platform_leaves_open_is_to_mend(guide: Connection) -> None:
    said = run("app", "doctor", url=url_of(guide))
    assert said.returncode == 3, said.stderr
    lines = said.stdout.splitlines()
    assert "The platform leaves open, as preflight warned:" in lines
    assert f"  {TRUNCATE} TRUNCATE" in lines
    assert "  - The platform leaves 1 thing open that preflight warned of." in lines
    assert "Nothing to mend." not in lines
    found = json.loads(run("app", "doctor", "--json", url=url_of(guide)).stdout)
    assert [each.startswith(TRUNCATE) for each in found["warnings"]] == [True]
    assert found["mend"] == ["The platform leaves 1 thing open that preflight warned of."]


def test_nothing_is_open_once_it_is_closed(guide: Connection) -> None:
    url = change(guide, CLOSED)
    found = examined(url)
    assert (found.warnings, found.mend, found.unknown) == ([], [], [])
    assert "Nothing to mend." in list(told(found))
    assert run("app", "doctor", url=url).returncode == 0


def test_a_fresh_install_leaves_nothing_open(people_database: URL) -> None:
    assert examined(people_database).warnings == []


@pytest.mark.parametrize(
    ("act", "warning"),
    [
        ("GRANT TRUNCATE ON users TO anon", "anon hold TRUNCATE or TRIGGER on users;"),
        (
            "CREATE POLICY sign_up ON users FOR INSERT WITH CHECK (true)",
            "anon and authenticated may insert into users, and so choose a tenant",
        ),
        (
            "CREATE POLICY claim ON users FOR UPDATE USING (auth_id IS NULL) WITH CHECK (auth_id = auth.uid())",
            'Policy "claim" of users lets anon and authenticated set users.auth_id',
        ),
        (  # also where another column would do as well: what was decided counts
            "ALTER TABLE users ADD COLUMN other_id uuid UNIQUE REFERENCES auth.users;"
            "CREATE POLICY claim ON users FOR UPDATE USING (auth_id IS NULL)",
            'Policy "claim" of users lets anon and authenticated set users.auth_id',
        ),
        (
            "CREATE POLICY closing ON tenants FOR DELETE TO authenticated USING (true)",
            "authenticated may delete tenants, and chatbots are deleted with their tenant:",
        ),
        ("ALTER TABLE messages DISABLE ROW LEVEL SECURITY", "Row security is off on messages, which anon and"),
        (
            f"CREATE ROLE {BACKEND} LOGIN IN ROLE authenticated, service_role",
            f"Login role {BACKEND} can act as authenticated and as service_role",
        ),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "Everybody may create objects in schema public"),
    ],
)
def test_each_warning_is_repeated_for_as_long_as_it_holds(guide: Connection, act: str, warning: str) -> None:
    url = change(guide, f"{CLOSED}; {act}")
    try:
        found = examined(url)
    finally:
        change(guide, f"DROP ROLE IF EXISTS {BACKEND}")
    assert [each[: len(warning)] for each in found.warnings or []] == [warning]
    assert found.mend == ["The platform leaves 1 thing open that preflight warned of."]
    assert found.drift == []


def test_it_says_what_preflight_said(empty: URL) -> None:
    with connect(empty) as connection:
        settle_guide(connection)
        connection.execute("CREATE POLICY claim ON users FOR UPDATE USING (auth_id IS NULL)")
    with database_url(empty):
        warned = {line for step in preflight(configuration()).steps for line in step.warnings}
    alembic(empty, "-x", "admin_role=admin", "upgrade", "head")
    still = examined(empty).warnings
    assert still is not None
    assert len(still) == 2
    assert warned.issuperset(still)


def test_a_role_without_rights_is_told_as_well(guide: Connection) -> None:
    guide.execute(f"{ROLES}; GRANT SELECT ON alembic_version TO {LOGIN}")
    found = examined(change(guide, "SELECT 1").set(username=LOGIN))
    assert [each.startswith(TRUNCATE) for each in found.warnings or []] == [True]
    assert found.unknown[0] == "what preflight warned of (permission denied for table users)"
    change(guide, f"DROP OWNED BY {LOGIN}")


def test_what_cannot_be_asked_is_unknown(guide: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "stated_all", lambda *_: ("SELECT warning FROM closed",))
    found = examined(url_of(guide))
    assert (found.warnings, found.mend) == ([], [])
    assert found.unknown == ['what preflight warned of (relation "closed" does not exist)']
    assert "Nothing to mend." not in list(told(found))

"""`python -m app doctor`: whether the column that holds the token's sub names one person, and what is still open."""

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.doctor.report import told
from tests.examining import LOGIN, ROLES, change, examined
from tests.people import ACME_COLLEAGUE, ACME_MEMBER
from tests.tools import url_of

DROP_UNIQUE = "ALTER TABLE users DROP CONSTRAINT users_auth_id_key"
TWO_ROWS = f"""
    {DROP_UNIQUE};
    UPDATE users SET auth_id = (SELECT auth_id FROM users WHERE id = '{ACME_MEMBER}') WHERE id = '{ACME_COLLEAGUE}'
"""


def test_the_identity_column_is_told(guide: Connection) -> None:
    found = examined(url_of(guide))
    assert found.identity is not None
    assert (found.identity.name, found.identity.faults) == ("auth_id", [])
    assert "People are found by users.auth_id, which holds the sub of their token." in told(found)


def test_a_fresh_install_finds_people_by_id(people_database: URL) -> None:
    found = examined(people_database)
    assert found.identity is not None
    assert (found.identity.name, found.identity.faults) == ("id", [])
    assert not any("People are found by" in line for line in told(found))


@pytest.mark.parametrize(
    "index",
    [
        "",
        "CREATE INDEX own ON users (auth_id)",
        "CREATE UNIQUE INDEX own ON users (auth_id) WHERE is_active",
        "CREATE UNIQUE INDEX own ON users (auth_id, tenant_id)",
        "CREATE UNIQUE INDEX own ON users ((auth_id::text))",
        "ALTER TABLE users ADD CONSTRAINT own UNIQUE (auth_id) DEFERRABLE",
        "CREATE UNIQUE INDEX own ON users (auth_id);"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.own'::regclass",
    ],
    ids=["none", "not-unique", "partial", "two-columns", "expression", "deferrable", "invalid"],
)
def test_a_column_that_is_no_longer_unique_is_reported(guide: Connection, index: str) -> None:
    found = examined(change(guide, f"{DROP_UNIQUE}; {index}"))
    assert found.identity is not None
    assert (found.identity.is_unique, found.identity.shared) == (False, 0)
    (fault,) = found.identity.faults
    assert fault in found.mend
    assert "CREATE UNIQUE INDEX CONCURRENTLY ON public.users (auth_id)." in fault


@pytest.mark.parametrize("where", ["", "INCLUDE (email)", "WHERE auth_id IS NOT NULL"])
def test_any_unique_index_will_do(guide: Connection, where: str) -> None:
    found = examined(change(guide, f"{DROP_UNIQUE}; CREATE UNIQUE INDEX own ON users (auth_id) {where}"))
    assert found.identity is not None
    assert found.identity.faults == []


def test_who_has_not_signed_in_shares_no_sub(guide: Connection) -> None:
    found = examined(change(guide, f"{DROP_UNIQUE}; UPDATE users SET auth_id = NULL"))
    assert found.identity is not None
    assert (found.identity.is_unique, found.identity.shared) == (False, 0)


def test_subs_of_two_rows_are_counted(guide: Connection) -> None:
    """Neither row sees anything: whose sub it is cannot be known."""
    found = examined(change(guide, TWO_ROWS))
    sub = guide.execute("SELECT auth_id::text FROM users WHERE id = %s", (ACME_MEMBER,)).fetchone()
    assert found.identity is not None
    assert (found.identity.shared, found.identity.subs) == (1, [sub[0] if sub else None])
    assert any(line.startswith("1 sub names more than one row of users, and so nobody: set") for line in found.mend)


def test_a_column_that_is_gone_is_reported(guide: Connection) -> None:
    found = examined(change(guide, "ALTER TABLE users RENAME COLUMN auth_id TO supabase_id"))
    assert found.identity is not None
    assert not found.identity.exists
    assert found.identity.faults[0] in found.mend
    assert "users has no column auth_id, which held the sub of people's tokens" in found.identity.faults[0]
    assert "users: column auth_id is missing" in (found.drift or [])


def test_a_primary_key_that_is_gone_is_reported(platform: Connection) -> None:
    found = examined(change(platform, "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE"))
    assert "unique: CREATE UNIQUE INDEX CONCURRENTLY ON public.users (id)." in " ".join(found.mend)


def test_how_many_share_a_sub_may_be_unknown(guide: Connection) -> None:
    guide.execute(f"{ROLES}; GRANT SELECT ON alembic_version TO {LOGIN}")
    url = change(guide, TWO_ROWS).set(username=LOGIN)
    found = examined(url)
    assert found.identity is not None
    assert found.identity.shared is None
    assert any(line.startswith("how many subs name several people (role doctor_login") for line in found.unknown)
    change(guide, f"DROP OWNED BY {LOGIN}")


def test_who_has_not_signed_in_is_told_with_the_rest(guide: Connection) -> None:
    guide.execute("UPDATE users SET auth_id = NULL WHERE id = %s", (ACME_MEMBER,))
    guide.commit()
    found = examined(url_of(guide), str(ACME_MEMBER))
    assert "the person has not signed in yet" in found.unknown[0]
    assert (found.tables, found.orphans is None) == ([], False)

"""Who may do what with users: design §3's row for it, each denial beside a case that succeeds."""

from collections.abc import Callable

import pytest

from tests.people import (
    ACME,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    GLOBEX,
    MEMBER,
    OTHER_ADMIN,
    OWNER,
    SERVICE,
    Who,
)
from tests.policies import nobodies

READ = "SELECT FROM users"
READ_SELF = f"SELECT FROM users WHERE id = '{ACME_MEMBER}'"
READ_GLOBEX = f"SELECT FROM users WHERE tenant_id = '{GLOBEX}'"
RENAME = "UPDATE users SET full_name = 'New'"
RENAME_COLLEAGUE = f"UPDATE users SET full_name = 'New' WHERE id = '{ACME_COLLEAGUE}'"
PROMOTE_SELF = f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'"
MOVE = f"UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_MEMBER}'"
REACTIVATE = f"UPDATE users SET is_active = true WHERE id = '{ACME_INACTIVE}'"
INVITE = f"INSERT INTO users (tenant_id, email) VALUES ('{ACME}', 'new@acme.example')"
INVITE_ADMIN = f"INSERT INTO users (tenant_id, email, role) VALUES ('{ACME}', 'new@acme.example', 'admin')"
UNKNOWN_ROLE = f"UPDATE users SET role = 'owner' WHERE id = '{ACME_MEMBER}'"
DELETE = "DELETE FROM users"


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        pytest.param(MEMBER, READ, 1, id="member-reads-one"),
        pytest.param(MEMBER, READ_SELF, 1, id="member-reads-self"),
        pytest.param(COLLEAGUE, READ_SELF, 0, id="member-reads-no-colleague"),
        pytest.param(ADMIN, READ, 5, id="admin-reads-own-tenant"),
        pytest.param(ADMIN, READ_SELF, 1, id="admin-reads-a-member"),
        pytest.param(ADMIN, READ_GLOBEX, 0, id="admin-reads-nothing-elsewhere"),
        pytest.param(OTHER_ADMIN, READ_GLOBEX, 2, id="other-admin-reads-own-tenant"),
        pytest.param(SERVICE, READ, 7, id="service-reads-all"),
        pytest.param(ANONYMOUS, READ, "grant", id="anonymous-reads-nothing"),
        *nobodies(READ, 0, "reads-nothing"),
        pytest.param(ANONYMOUS, RENAME, "grant", id="anonymous-renames-nothing"),
        *nobodies(RENAME, 0, "renames-nothing"),
        pytest.param(MEMBER, RENAME, 1, id="member-renames-self-alone"),
        pytest.param(ADMIN, RENAME, 1, id="admin-renames-self-alone"),
        pytest.param(ADMIN, RENAME_COLLEAGUE, 0, id="admin-renames-no-member"),
        pytest.param(COLLEAGUE, RENAME_COLLEAGUE, 1, id="colleague-renames-self"),
        pytest.param(SERVICE, RENAME, 7, id="service-renames-all"),
        pytest.param(ADMIN, PROMOTE_SELF, "grant", id="admin-may-not-promote"),
        pytest.param(ADMIN, MOVE, "grant", id="admin-may-not-move"),
        pytest.param(ADMIN, REACTIVATE, "grant", id="admin-may-not-reactivate"),
        pytest.param(ADMIN, INVITE, "grant", id="admin-may-not-invite"),
        pytest.param(ADMIN, INVITE_ADMIN, "grant", id="admin-may-not-invite-an-admin"),
        pytest.param(ADMIN, DELETE, "grant", id="admin-may-not-delete"),
        pytest.param(MEMBER, PROMOTE_SELF, "grant", id="member-may-not-promote"),
        pytest.param(MEMBER, MOVE, "grant", id="member-may-not-move"),
        pytest.param(MEMBER, REACTIVATE, "grant", id="member-may-not-reactivate"),
        pytest.param(MEMBER, INVITE, "grant", id="member-may-not-invite"),
        pytest.param(MEMBER, INVITE_ADMIN, "grant", id="member-may-not-invite-an-admin"),
        pytest.param(MEMBER, DELETE, "grant", id="member-may-not-delete"),
        pytest.param(SERVICE, PROMOTE_SELF, 1, id="service-may-promote"),
        pytest.param(SERVICE, REACTIVATE, 1, id="service-may-reactivate"),
        pytest.param(SERVICE, INVITE, 1, id="service-may-invite"),
        pytest.param(SERVICE, INVITE_ADMIN, 1, id="service-may-invite-an-admin"),
        pytest.param(SERVICE, UNKNOWN_ROLE, "check", id="no-role-but-admin-and-user"),
        pytest.param(OWNER, PROMOTE_SELF, 1, id="owner-may-promote"),
    ],
)
def test_users(try_as: Callable[..., int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_as(who, statement) == outcome

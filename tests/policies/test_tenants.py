"""Who may do what with tenants: design §3's row for it, each denial beside a case that succeeds."""

from collections.abc import Callable

import pytest

from tests.people import (
    ACME,
    ADMIN,
    ANONYMOUS,
    MEMBER,
    OTHER_ADMIN,
    SERVICE,
    Who,
)
from tests.policies import nobodies

READ = "SELECT FROM tenants"
READ_OWN = f"SELECT FROM tenants WHERE id = '{ACME}'"
CREATE = "INSERT INTO tenants (name) VALUES ('New')"
RENAME = "UPDATE tenants SET name = 'New'"
DELETE = "DELETE FROM tenants"


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        pytest.param(MEMBER, READ, 1, id="member-reads-one"),
        pytest.param(MEMBER, READ_OWN, 1, id="member-reads-own"),
        pytest.param(ADMIN, READ, 1, id="admin-reads-one"),
        pytest.param(OTHER_ADMIN, READ, 1, id="other-admin-reads-one"),
        pytest.param(OTHER_ADMIN, READ_OWN, 0, id="other-admin-reads-nothing-elsewhere"),
        pytest.param(SERVICE, READ, 2, id="service-reads-all"),
        pytest.param(ANONYMOUS, READ, "grant", id="anonymous-reads-nothing"),
        *nobodies(READ, 0, "reads-nothing"),
        pytest.param(ADMIN, CREATE, "grant", id="admin-has-no-insert"),
        pytest.param(ADMIN, RENAME, "grant", id="admin-has-no-update"),
        pytest.param(ADMIN, DELETE, "grant", id="admin-has-no-delete"),
        pytest.param(MEMBER, CREATE, "grant", id="member-has-no-insert"),
        pytest.param(MEMBER, RENAME, "grant", id="member-has-no-update"),
        pytest.param(MEMBER, DELETE, "grant", id="member-has-no-delete"),
        pytest.param(ANONYMOUS, CREATE, "grant", id="anonymous-has-no-insert"),
        pytest.param(ANONYMOUS, RENAME, "grant", id="anonymous-has-no-update"),
        pytest.param(ANONYMOUS, DELETE, "grant", id="anonymous-has-no-delete"),
        pytest.param(SERVICE, CREATE, 1, id="service-creates"),
        pytest.param(SERVICE, RENAME, 2, id="service-renames"),
        pytest.param(SERVICE, DELETE, 2, id="service-deletes"),
    ],
)
def test_tenants(try_as: Callable[..., int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_as(who, statement) == outcome

"""Who may do what with tenants, and with the version table: design §3's rows for them."""

import pytest

from tests.people import ACME, GLOBEX
from tests.policies import Outcomes, Place, cases

TENANTS = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      1         1     1       1      1       2     2
    read Acme                   grant      0      1         1     1       0      0       1     1
    read Globex                 grant      0      0         0     0       1      1       1     1
    create                      grant  grant  grant     grant grant   grant  grant       1     1
    rename Acme                 grant  grant  grant     grant grant   grant  grant       1     1
    rename Globex               grant  grant  grant     grant grant   grant  grant       1     1
    delete Acme                 grant  grant  grant     grant grant   grant  grant       1     1
    delete Globex               grant  grant  grant     grant grant   grant  grant       1     1
"""
VERSIONS = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read                        grant  grant  grant     grant grant   grant  grant   grant     1
    insert                      grant  grant  grant     grant grant   grant  grant   grant     1
    update                      grant  grant  grant     grant grant   grant  grant   grant     1
    delete                      grant  grant  grant     grant grant   grant  grant   grant     1
"""
ON_TENANTS = {
    "read all": "SELECT * FROM tenants",
    "read Acme": f"SELECT * FROM tenants WHERE id = '{ACME}'",
    "read Globex": f"SELECT * FROM tenants WHERE id = '{GLOBEX}'",
    "create": "INSERT INTO tenants (name) VALUES ('New')",
    "rename Acme": f"UPDATE tenants SET name = 'New' WHERE id = '{ACME}'",
    "rename Globex": f"UPDATE tenants SET name = 'New' WHERE id = '{GLOBEX}'",
    "delete Acme": f"DELETE FROM tenants WHERE id = '{ACME}'",
    "delete Globex": f"DELETE FROM tenants WHERE id = '{GLOBEX}'",
}
ON_VERSIONS = {
    "read": "SELECT * FROM alembic_version",
    "insert": "INSERT INTO alembic_version VALUES ('000')",
    "update": "UPDATE alembic_version SET version_num = '000'",
    "delete": "DELETE FROM alembic_version",
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(TENANTS, ON_TENANTS))
def test_tenants(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert fresh_place.attempt_as_each(statement) == outcomes


@pytest.mark.parametrize(("statement", "outcomes"), cases(VERSIONS, ON_VERSIONS))
def test_the_version_table(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes

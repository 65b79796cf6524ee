"""Who may do what with users: design §3's row for it."""

import pytest

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_MEMBER,
    GLOBEX,
    GLOBEX_MEMBER,
    NEWCOMER,
    NOBODY,
)
from tests.policies import Outcomes, Place, cases, on_each

ROWS = {
    "the member": ACME_MEMBER,
    "the colleague": ACME_COLLEAGUE,
    "the admin": ACME_ADMIN,
    "the inactive": ACME_INACTIVE,
    "Globex's member": GLOBEX_MEMBER,
}
INVITE = f"INSERT INTO users (id, tenant_id, email{{}}) VALUES ('{NEWCOMER}', '{{}}', 'new@acme.example'{{}})"
UPSERT = f"""
    INSERT INTO users (id, tenant_id, email) VALUES ('{ACME_MEMBER}', '{ACME}', 'member@acme.example')
    ON CONFLICT (id) DO UPDATE SET role = 'admin'
"""
MERGE = f"""
    MERGE INTO users USING (VALUES ('{ACME_MEMBER}'::uuid)) AS source (wanted) ON id = wanted
    WHEN MATCHED THEN UPDATE SET role = 'admin'
"""

USERS = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      1         1     5       1      2       7     7
    read the member             grant      0      1         0     1       0      0       1     1
    read the colleague          grant      0      0         1     1       0      0       1     1
    read the admin              grant      0      0         0     1       0      0       1     1
    read the inactive           grant      0      0         0     1       0      0       1     1
    read Globex's member        grant      0      0         0     0       1      1       1     1
    rename all                  grant      0      1         1     1       1      1       7     7
    rename the member           grant      0      1         0     0       0      0       1     1
    rename the colleague        grant      0      0         1     0       0      0       1     1
    rename the admin            grant      0      0         0     1       0      0       1     1
    rename the inactive         grant      0      0         0     0       0      0       1     1
    rename Globex's member      grant      0      0         0     0       1      0       1     1
    promote                     grant  grant  grant     grant grant   grant  grant       1     1
    promote by upsert           grant  grant  grant     grant grant   grant  grant       1     1
    promote by merge            grant  grant  grant     grant grant   grant  grant       1     1
    demote                      grant  grant  grant     grant grant   grant  grant       1     1
    move                        grant  grant  grant     grant grant   grant  grant       1     1
    reactivate                  grant  grant  grant     grant grant   grant  grant       1     1
    change the address          grant  grant  grant     grant grant   grant  grant       1     1
    change the id               grant  grant  grant     grant grant   grant  grant       1     1
    backdate                    grant  grant  grant     grant grant   grant  grant       1     1
    forge the time of change    grant  grant  grant     grant grant   grant  grant       1     1
    invite                      grant  grant  grant     grant grant   grant  grant       1     1
    invite to Globex            grant  grant  grant     grant grant   grant  grant       1     1
    invite an admin             grant  grant  grant     grant grant   grant  grant       1     1
    delete the inactive         grant  grant  grant     grant grant   grant  grant       1     1
    delete all                  grant  grant  grant     grant grant   grant  grant       7     7
"""
ON_USERS = (
    on_each(ROWS, "read", "SELECT * FROM users")
    | on_each(ROWS, "rename", "UPDATE users SET full_name = 'New'")
    | {
        "read all": "SELECT * FROM users",
        "rename all": "UPDATE users SET full_name = 'New'",
        "promote": f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'",
        "promote by upsert": UPSERT,
        "promote by merge": MERGE,
        "demote": f"UPDATE users SET role = 'user' WHERE id = '{ACME_ADMIN}'",
        "move": f"UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_MEMBER}'",
        "reactivate": f"UPDATE users SET is_active = true WHERE id = '{ACME_INACTIVE}'",
        "change the address": f"UPDATE users SET email = 'new@acme.example' WHERE id = '{ACME_MEMBER}'",
        "change the id": f"UPDATE users SET id = '{NOBODY}' WHERE email = 'former@acme.example'",
        "backdate": f"UPDATE users SET created_at = '2020-01-01' WHERE id = '{ACME_MEMBER}'",
        "forge the time of change": f"UPDATE users SET updated_at = '2020-01-01' WHERE id = '{ACME_MEMBER}'",
        "invite": INVITE.format("", ACME, ""),
        "invite to Globex": INVITE.format("", GLOBEX, ""),
        "invite an admin": INVITE.format(", role", ACME, ", 'admin'"),
        "delete the inactive": f"DELETE FROM users WHERE id = '{ACME_INACTIVE}'",
        "delete all": "DELETE FROM users",
    }
)


@pytest.mark.parametrize(("statement", "outcomes"), cases(USERS, ON_USERS))
def test_users(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert fresh_place.attempt_as_each(statement) == outcomes

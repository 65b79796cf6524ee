"""Who may do what with messages: design §3's row for it."""

import pytest

from tests.people import (
    ADMINS_ANSWER,
    ADMINS_TALK,
    COLLEAGUES_ANSWER,
    GLOBEX_ANSWER,
    GLOBEX_TALK,
    INACTIVES_ANSWER,
    INACTIVES_TALK,
    OWN_ANSWER,
    OWN_TALK,
)
from tests.policies import Outcomes, Place, cases, on_each

ROWS = {
    "the member's": OWN_ANSWER,
    "the colleague's": COLLEAGUES_ANSWER,
    "the admin's": ADMINS_ANSWER,
    "the inactive's": INACTIVES_ANSWER,
    "Globex's": GLOBEX_ANSWER,
}
WRITE = "INSERT INTO messages (conversation_id, role, content) VALUES ('{}', '{}', 'Hello')"

MESSAGES = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      3         1     1       1      0       8     8
    read the member's           grant      0      1         0     0       0      0       1     1
    read the colleague's        grant      0      0         1     0       0      0       1     1
    read the admin's            grant      0      0         0     1       0      0       1     1
    read the inactive's         grant      0      0         0     0       0      0       1     1
    read Globex's               grant      0      0         0     0       1      0       1     1
    ask in the member's         grant policy      1    policy policy  policy policy       1     1
    ask in the admin's          grant policy policy    policy     1   policy policy       1     1
    ask in the inactive's       grant policy policy    policy policy  policy policy       1     1
    ask in Globex's             grant policy policy    policy policy       1 policy       1     1
    answer in the member's      grant policy policy    policy policy  policy policy       1     1
    instruct in the member's    grant policy policy    policy policy  policy policy       1     1
    ask backdated               grant  grant  grant     grant grant   grant  grant       1     1
    edit the member's           grant  grant  grant     grant grant   grant  grant       1     1
    edit all                    grant  grant  grant     grant grant   grant  grant       8     8
    move the member's           grant  grant  grant     grant grant   grant  grant       1     1
    delete the member's         grant  grant  grant     grant grant   grant  grant       1     1
    delete all                  grant  grant  grant     grant grant   grant  grant       8     8
"""
ON_MESSAGES = on_each(ROWS, "read", "SELECT * FROM messages") | {
    "read all": "SELECT * FROM messages",
    "ask in the member's": WRITE.format(OWN_TALK, "user"),
    "ask in the admin's": WRITE.format(ADMINS_TALK, "user"),
    "ask in the inactive's": WRITE.format(INACTIVES_TALK, "user"),
    "ask in Globex's": WRITE.format(GLOBEX_TALK, "user"),
    "answer in the member's": WRITE.format(OWN_TALK, "assistant"),
    "instruct in the member's": WRITE.format(OWN_TALK, "system"),
    "ask backdated": f"""
        INSERT INTO messages (conversation_id, role, content, created_at) VALUES ('{OWN_TALK}', 'user', 'H', now())""",
    "edit the member's": f"UPDATE messages SET content = 'Edited' WHERE id = '{OWN_ANSWER}'",
    "edit all": "UPDATE messages SET content = 'Edited'",
    "move the member's": f"UPDATE messages SET conversation_id = '{GLOBEX_TALK}' WHERE id = '{OWN_ANSWER}'",
    "delete the member's": f"DELETE FROM messages WHERE id = '{OWN_ANSWER}'",
    "delete all": "DELETE FROM messages",
}


@pytest.mark.parametrize(("statement", "outcomes"), cases(MESSAGES, ON_MESSAGES))
def test_messages(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert fresh_place.attempt_as_each(statement) == outcomes


def test_nobody_writes_with_a_role_that_there_is_not(fresh_place: Place) -> None:
    outcomes = fresh_place.attempt_as_each(WRITE.format(OWN_TALK, "shouter"))
    assert outcomes["owner"] == outcomes["service"] == "check"
    assert outcomes["member"] == "policy"

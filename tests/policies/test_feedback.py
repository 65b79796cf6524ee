"""Who may do what with feedback, by its name and through the old version's view: design §3's row for it."""

import pytest

from tests.people import (
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_MEMBER,
    ADMINS_FEEDBACK,
    COLLEAGUES_ANSWER,
    COLLEAGUES_FEEDBACK,
    GLOBEX_ANSWER,
    GLOBEX_FEEDBACK,
    INACTIVES_FEEDBACK,
    INACTIVES_QUESTION,
    OWN_ANSWER,
    OWN_FEEDBACK,
    OWN_OTHER_ANSWER,
)
from tests.policies import Outcomes, Place, cases, on_each

ROWS = {
    "the member's": OWN_FEEDBACK,
    "the colleague's": COLLEAGUES_FEEDBACK,
    "the admin's": ADMINS_FEEDBACK,
    "the inactive's": INACTIVES_FEEDBACK,
    "Globex's": GLOBEX_FEEDBACK,
}
RATE = "INSERT INTO feedback (message_id, user_id, rating, notes) VALUES ('{}', '{}', 4, 'Fine')"
CHANGE = f"UPDATE feedback SET {{}} WHERE id = '{OWN_FEEDBACK}'"

FEEDBACK = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      1         1     1       1      0       5     5
    read the member's           grant      0      1         0     0       0      0       1     1
    read the colleague's        grant      0      0         1     0       0      0       1     1
    read the admin's            grant      0      0         0     1       0      0       1     1
    read the inactive's         grant      0      0         0     0       0      0       1     1
    read Globex's               grant      0      0         0     0       1      0       1     1
    rate                        grant policy      1    policy policy  policy policy       1     1
    rate the inactive's         grant policy policy    policy policy  policy policy       1     1
    rate the colleague's        grant policy policy    policy policy  policy policy       1     1
    rate Globex's               grant policy policy    policy policy  policy policy       1     1
    rate in others' name        grant policy policy    policy policy  policy policy       1     1
    rate by admin               grant policy policy    policy policy  policy policy       1     1
    rate again by upsert        grant policy      1    policy policy  policy policy       1     1
    change all                  grant      0      1         1     1       1      0       5     5
    change the member's         grant      0      1         0     0       0      0       1     1
    change the colleague's      grant      0      0         1     0       0      0       1     1
    change the admin's          grant      0      0         0     1       0      0       1     1
    change the inactive's       grant      0      0         0     0       0      0       1     1
    change Globex's             grant      0      0         0     0       1      0       1     1
    redirect                    grant  grant  grant     grant grant   grant  grant       1     1
    hand over                   grant  grant  grant     grant grant   grant  grant       1     1
    change the id               grant  grant  grant     grant grant   grant  grant       1     1
    backdate                    grant  grant  grant     grant grant   grant  grant       1     1
    rate backdated              grant  grant  grant     grant grant   grant  grant       1     1
    delete all                  grant      0      1         1     1       1      0       5     5
    delete the member's         grant      0      1         0     0       0      0       1     1
    delete the colleague's      grant      0      0         1     0       0      0       1     1
    delete the admin's          grant      0      0         0     1       0      0       1     1
    delete the inactive's       grant      0      0         0     0       0      0       1     1
    delete Globex's             grant      0      0         0     0       1      0       1     1
"""
ON_FEEDBACK = (
    on_each(ROWS, "read", "SELECT * FROM feedback")
    | on_each(ROWS, "change", "UPDATE feedback SET rating = 2, notes = 'New'")
    | on_each(ROWS, "delete", "DELETE FROM feedback")
    | {
        "read all": "SELECT * FROM feedback",
        "rate": RATE.format(OWN_OTHER_ANSWER, ACME_MEMBER),
        "rate the inactive's": RATE.format(INACTIVES_QUESTION, ACME_INACTIVE),
        "rate the colleague's": RATE.format(COLLEAGUES_ANSWER, ACME_MEMBER),
        "rate Globex's": RATE.format(GLOBEX_ANSWER, ACME_MEMBER),
        "rate in others' name": RATE.format(OWN_ANSWER, ACME_COLLEAGUE),
        "rate by admin": RATE.format(OWN_ANSWER, ACME_ADMIN),
        "rate again by upsert": RATE.format(OWN_ANSWER, ACME_MEMBER)
        + " ON CONFLICT (message_id, user_id) DO UPDATE SET rating = excluded.rating",
        "change all": "UPDATE feedback SET rating = 2, notes = 'New'",
        "redirect": CHANGE.format(f"message_id = '{OWN_OTHER_ANSWER}'"),
        "hand over": CHANGE.format(f"user_id = '{ACME_COLLEAGUE}'"),
        "change the id": CHANGE.format("id = id"),
        "backdate": CHANGE.format("created_at = '2020-01-01'"),
        "rate backdated": f"""
            INSERT INTO feedback (message_id, user_id, rating, created_at)
            VALUES ('{OWN_OTHER_ANSWER}', '{ACME_MEMBER}', 4, now())""",
        "delete all": "DELETE FROM feedback",
    }
)


@pytest.mark.parametrize(("statement", "outcomes"), cases(FEEDBACK, ON_FEEDBACK))
def test_feedback(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert fresh_place.attempt_as_each(statement) == outcomes


@pytest.mark.parametrize(("statement", "outcomes"), cases(FEEDBACK, ON_FEEDBACK))
def test_feedback_by_its_old_name(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    by_its_old_name = statement.replace("feedback", "chatbot_compat.feedback").replace("notes", "comment")
    assert fresh_place.attempt_as_each(by_its_old_name) == outcomes


def test_nobody_rates_past_five(fresh_place: Place) -> None:
    outcomes = fresh_place.attempt_as_each(RATE.format(OWN_OTHER_ANSWER, ACME_MEMBER).replace(" 4,", " 6,"))
    assert outcomes["owner"] == outcomes["service"] == outcomes["member"] == "check"

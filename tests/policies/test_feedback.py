"""Who may do what with feedback: design §3's row for it, each denial beside a case that succeeds."""

from collections.abc import Callable

import pytest

from tests.people import (
    ACME_COLLEAGUE,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    COLLEAGUES_ANSWER,
    MEMBER,
    OTHER_MEMBER,
    OWN_ANSWER,
    OWN_FEEDBACK,
    OWN_OTHER_ANSWER,
    SERVICE,
    Who,
)
from tests.policies import nobodies

READ = "SELECT FROM feedback"
READ_OWN = f"SELECT FROM feedback WHERE id = '{OWN_FEEDBACK}'"
GIVE = "INSERT INTO feedback (message_id, user_id, rating, notes) VALUES"
RATE = f"{GIVE} ('{OWN_OTHER_ANSWER}', '{ACME_MEMBER}', 4, 'Fine')"
RATE_TOO_HIGH = f"{GIVE} ('{OWN_OTHER_ANSWER}', '{ACME_MEMBER}', 6, NULL)"
RATE_COLLEAGUES = f"{GIVE} ('{COLLEAGUES_ANSWER}', '{ACME_MEMBER}', 1, NULL)"
RATE_FOR_OTHERS = f"{GIVE} ('{OWN_ANSWER}', '{ACME_COLLEAGUE}', 1, NULL)"
CHANGE = "UPDATE feedback SET rating = 2, notes = 'Changed'"
REDIRECT = f"UPDATE feedback SET message_id = '{OWN_OTHER_ANSWER}'"
DELETE = "DELETE FROM feedback"
COMPAT_READ = "SELECT comment FROM chatbot_compat.feedback"
COMPAT_CHANGE = "UPDATE chatbot_compat.feedback SET comment = 'Changed'"


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        pytest.param(MEMBER, READ, 1, id="member-reads-own"),
        pytest.param(MEMBER, READ_OWN, 1, id="member-reads-own-one"),
        pytest.param(COLLEAGUE, READ_OWN, 0, id="member-reads-no-colleagues"),
        pytest.param(ADMIN, READ, 0, id="admin-reads-none"),
        pytest.param(OTHER_MEMBER, READ_OWN, 0, id="other-member-reads-nothing-elsewhere"),
        pytest.param(SERVICE, READ, 3, id="service-reads-all"),
        pytest.param(ANONYMOUS, READ, "grant", id="anonymous-reads-nothing"),
        *nobodies(READ, 0, "reads-nothing"),
        pytest.param(ANONYMOUS, CHANGE, "grant", id="anonymous-changes-nothing"),
        *nobodies(CHANGE, 0, "changes-nothing"),
        pytest.param(ANONYMOUS, DELETE, "grant", id="anonymous-deletes-nothing"),
        *nobodies(DELETE, 0, "deletes-nothing"),
        pytest.param(ANONYMOUS, RATE, "grant", id="anonymous-rates-nothing"),
        *nobodies(RATE, "policy", "rates-nothing"),
        pytest.param(MEMBER, RATE, 1, id="member-rates-own-conversation"),
        pytest.param(MEMBER, RATE_TOO_HIGH, "check", id="no-rating-past-five"),
        pytest.param(MEMBER, RATE_COLLEAGUES, "policy", id="member-rates-not-elsewhere"),
        pytest.param(MEMBER, RATE_FOR_OTHERS, "policy", id="member-rates-in-nobodys-name"),
        pytest.param(ADMIN, RATE, "policy", id="admin-rates-for-nobody"),
        pytest.param(MEMBER, CHANGE, 1, id="member-changes-own"),
        pytest.param(ADMIN, CHANGE, 0, id="admin-changes-none"),
        pytest.param(MEMBER, REDIRECT, "grant", id="member-redirects-none"),
        pytest.param(MEMBER, DELETE, 1, id="member-deletes-own"),
        pytest.param(SERVICE, DELETE, 3, id="service-deletes"),
        pytest.param(MEMBER, COMPAT_READ, 1, id="member-reads-own-by-the-old-name"),
        pytest.param(MEMBER, COMPAT_CHANGE, 1, id="member-changes-own-by-the-old-name"),
        pytest.param(ADMIN, COMPAT_READ, 0, id="admin-reads-none-by-the-old-name"),
        pytest.param(ANONYMOUS, COMPAT_READ, "grant", id="anonymous-reads-none-by-the-old-name"),
    ],
)
def test_feedback(try_as: Callable[..., int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_as(who, statement) == outcome

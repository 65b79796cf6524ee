"""Who may do what with messages: design §3's row for it, each denial beside a case that succeeds."""

from collections.abc import Callable

import pytest

from tests.people import (
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    MEMBER,
    OTHER_MEMBER,
    OWN_TALK,
    SERVICE,
    Who,
)
from tests.policies import nobodies

READ = "SELECT FROM messages"
READ_OWN = f"SELECT FROM messages WHERE conversation_id = '{OWN_TALK}'"
ASK = f"INSERT INTO messages (conversation_id, role, content) VALUES ('{OWN_TALK}', 'user', 'Hello')"
ANSWER = f"INSERT INTO messages (conversation_id, role, content) VALUES ('{OWN_TALK}', 'assistant', 'Hello')"
SHOUT = f"INSERT INTO messages (conversation_id, role, content) VALUES ('{OWN_TALK}', 'shouter', 'HELLO')"
EDIT = "UPDATE messages SET content = 'Edited'"
DELETE = "DELETE FROM messages"


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        pytest.param(MEMBER, READ, 3, id="member-reads-own"),
        pytest.param(MEMBER, READ_OWN, 2, id="member-reads-own-conversation"),
        pytest.param(COLLEAGUE, READ_OWN, 0, id="member-reads-no-colleagues"),
        pytest.param(OTHER_MEMBER, READ_OWN, 0, id="other-member-reads-nothing-elsewhere"),
        pytest.param(ADMIN, READ, 0, id="admin-reads-none"),
        pytest.param(SERVICE, READ, 5, id="service-reads-all"),
        pytest.param(ANONYMOUS, READ, "grant", id="anonymous-reads-nothing"),
        *nobodies(READ, 0, "reads-nothing"),
        pytest.param(ANONYMOUS, ASK, "grant", id="anonymous-asks-nothing"),
        *nobodies(ASK, "policy", "asks-nothing"),
        pytest.param(MEMBER, ASK, 1, id="member-asks"),
        pytest.param(MEMBER, ANSWER, "policy", id="member-answers-for-nobody"),
        pytest.param(COLLEAGUE, ASK, "policy", id="member-asks-not-elsewhere"),
        pytest.param(ADMIN, ASK, "policy", id="admin-asks-not-elsewhere"),
        pytest.param(SERVICE, ANSWER, 1, id="service-answers"),
        pytest.param(SERVICE, SHOUT, "check", id="no-unknown-role"),
        pytest.param(MEMBER, EDIT, "grant", id="member-has-no-update"),
        pytest.param(MEMBER, DELETE, "grant", id="member-has-no-delete"),
        pytest.param(SERVICE, EDIT, 5, id="service-edits"),
        pytest.param(SERVICE, DELETE, 5, id="service-deletes"),
    ],
)
def test_messages(try_as: Callable[..., int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_as(who, statement) == outcome

"""Who may do what with conversations: design §3's row for it, each denial beside a case that succeeds."""

from collections.abc import Callable

import pytest

from tests.people import (
    ACME,
    ACME_COLLEAGUE,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    DRAFT,
    GLOBEX,
    GLOBEX_PUBLISHED,
    MEMBER,
    OTHER_MEMBER,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    Who,
)
from tests.policies import nobodies

READ = "SELECT FROM conversations"
READ_OWN = f"SELECT FROM conversations WHERE id = '{OWN_TALK}'"
CREATE = f"INSERT INTO conversations (tenant_id, user_id, title) VALUES ('{ACME}', '{ACME_MEMBER}', 'New')"
CREATE_ELSEWHERE = f"INSERT INTO conversations (tenant_id, user_id) VALUES ('{GLOBEX}', '{ACME_MEMBER}')"
CREATE_BACKDATED = CREATE.replace("title)", "created_at)").replace("'New'", "now()")
RENAME = "UPDATE conversations SET title = 'New'"
HAND_OVER = f"UPDATE conversations SET user_id = '{ACME_COLLEAGUE}'"
MOVE = f"UPDATE conversations SET tenant_id = '{GLOBEX}'"
LINK = f"UPDATE conversations SET chatbot_id = '{PUBLISHED}'"
LINK_DRAFT = f"UPDATE conversations SET chatbot_id = '{DRAFT}'"
LINK_FOREIGN = f"UPDATE conversations SET chatbot_id = '{GLOBEX_PUBLISHED}'"
DELETE = "DELETE FROM conversations"


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        pytest.param(MEMBER, READ, 2, id="member-reads-own"),
        pytest.param(MEMBER, READ_OWN, 1, id="member-reads-own-one"),
        pytest.param(COLLEAGUE, READ_OWN, 0, id="member-reads-no-colleagues"),
        pytest.param(OTHER_MEMBER, READ_OWN, 0, id="other-member-reads-nothing-elsewhere"),
        pytest.param(ADMIN, READ, 0, id="admin-reads-no-members"),
        pytest.param(SERVICE, READ, 4, id="service-reads-all"),
        pytest.param(ANONYMOUS, READ, "grant", id="anonymous-reads-nothing"),
        *nobodies(READ, 0, "reads-nothing"),
        pytest.param(ANONYMOUS, RENAME, "grant", id="anonymous-renames-nothing"),
        *nobodies(RENAME, 0, "renames-nothing"),
        pytest.param(ANONYMOUS, DELETE, "grant", id="anonymous-deletes-nothing"),
        *nobodies(DELETE, 0, "deletes-nothing"),
        pytest.param(ANONYMOUS, CREATE, "grant", id="anonymous-creates-nothing"),
        *nobodies(CREATE, "policy", "creates-nothing"),
        pytest.param(MEMBER, CREATE, 1, id="member-creates-own"),
        pytest.param(COLLEAGUE, CREATE, "policy", id="member-creates-none-for-others"),
        pytest.param(ADMIN, CREATE, "policy", id="admin-creates-none-for-others"),
        pytest.param(MEMBER, CREATE_ELSEWHERE, "policy", id="member-creates-none-elsewhere"),
        pytest.param(MEMBER, CREATE_BACKDATED, "grant", id="member-forges-no-time"),
        pytest.param(MEMBER, RENAME, 2, id="member-renames-own"),
        pytest.param(OTHER_MEMBER, RENAME, 1, id="other-member-renames-own"),
        pytest.param(ADMIN, RENAME, 0, id="admin-renames-none"),
        pytest.param(MEMBER, HAND_OVER, "grant", id="member-hands-none-over"),
        pytest.param(MEMBER, MOVE, "grant", id="member-moves-none"),
        pytest.param(MEMBER, LINK, 2, id="member-links-published"),
        pytest.param(MEMBER, LINK_DRAFT, "guard", id="member-links-no-draft"),
        pytest.param(OTHER_MEMBER, LINK, "key", id="other-member-links-no-foreign"),
        pytest.param(ADMIN, LINK_DRAFT, 0, id="admin-links-none-of-members"),
        pytest.param(SERVICE, LINK_FOREIGN, "key", id="service-links-no-foreign"),
        pytest.param(OWNER, LINK_FOREIGN, "key", id="owner-links-no-foreign"),
        pytest.param(MEMBER, DELETE, 2, id="member-deletes-own"),
        pytest.param(ADMIN, DELETE, 0, id="admin-deletes-none"),
        pytest.param(SERVICE, DELETE, 4, id="service-deletes-all"),
    ],
)
def test_conversations(try_as: Callable[..., int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_as(who, statement) == outcome

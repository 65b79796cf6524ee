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
    INACTIVE,
    INACTIVE_ADMIN,
    MALFORMED,
    MEMBER,
    NO_SUB,
    NO_TOKEN,
    OTHER_MEMBER,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
    STRANGER,
    Who,
)

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
        pytest.param(NO_TOKEN, READ, 0, id="no-token-reads-nothing"),
        pytest.param(NO_SUB, READ, 0, id="no-sub-reads-nothing"),
        pytest.param(MALFORMED, READ, 0, id="malformed-sub-reads-nothing"),
        pytest.param(STRANGER, READ, 0, id="stranger-reads-nothing"),
        pytest.param(INACTIVE, READ, 0, id="inactive-reads-nothing"),
        pytest.param(INACTIVE_ADMIN, READ, 0, id="inactive-admin-reads-nothing"),
        pytest.param(ANONYMOUS, RENAME, "grant", id="anonymous-renames-nothing"),
        pytest.param(NO_TOKEN, RENAME, 0, id="no-token-renames-nothing"),
        pytest.param(NO_SUB, RENAME, 0, id="no-sub-renames-nothing"),
        pytest.param(MALFORMED, RENAME, 0, id="malformed-sub-renames-nothing"),
        pytest.param(STRANGER, RENAME, 0, id="stranger-renames-nothing"),
        pytest.param(INACTIVE, RENAME, 0, id="inactive-renames-nothing"),
        pytest.param(INACTIVE_ADMIN, RENAME, 0, id="inactive-admin-renames-nothing"),
        pytest.param(ANONYMOUS, DELETE, "grant", id="anonymous-deletes-nothing"),
        pytest.param(NO_TOKEN, DELETE, 0, id="no-token-deletes-nothing"),
        pytest.param(NO_SUB, DELETE, 0, id="no-sub-deletes-nothing"),
        pytest.param(MALFORMED, DELETE, 0, id="malformed-sub-deletes-nothing"),
        pytest.param(STRANGER, DELETE, 0, id="stranger-deletes-nothing"),
        pytest.param(INACTIVE, DELETE, 0, id="inactive-deletes-nothing"),
        pytest.param(INACTIVE_ADMIN, DELETE, 0, id="inactive-admin-deletes-nothing"),
        pytest.param(ANONYMOUS, CREATE, "grant", id="anonymous-creates-nothing"),
        pytest.param(NO_TOKEN, CREATE, "policy", id="no-token-creates-nothing"),
        pytest.param(NO_SUB, CREATE, "policy", id="no-sub-creates-nothing"),
        pytest.param(MALFORMED, CREATE, "policy", id="malformed-sub-creates-nothing"),
        pytest.param(STRANGER, CREATE, "policy", id="stranger-creates-nothing"),
        pytest.param(INACTIVE, CREATE, "policy", id="inactive-creates-nothing"),
        pytest.param(INACTIVE_ADMIN, CREATE, "policy", id="inactive-admin-creates-nothing"),
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

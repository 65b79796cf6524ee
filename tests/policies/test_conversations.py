"""Who may do what with conversations: design §3's row for it."""

import pytest
from psycopg import Error

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_MEMBER,
    ADMINS_TALK,
    COLLEAGUES_TALK,
    DRAFT,
    GLOBEX,
    GLOBEX_DRAFT,
    GLOBEX_MEMBER,
    GLOBEX_PUBLISHED,
    GLOBEX_TALK,
    INACTIVES_TALK,
    MEMBER,
    NOBODY,
    OWN_OLD_TALK,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    SERVICE,
)
from tests.policies import Outcomes, Place, cases, on_each
from tests.tools import become, connect

ROWS = {
    "the member's": OWN_TALK,
    "the colleague's": COLLEAGUES_TALK,
    "the admin's": ADMINS_TALK,
    "the inactive's": INACTIVES_TALK,
    "Globex's": GLOBEX_TALK,
}
CREATE = "INSERT INTO conversations (tenant_id, user_id) VALUES ('{}', '{}')"
BEGIN = "INSERT INTO conversations (tenant_id, user_id, chatbot_id) VALUES ('{}', '{}', '{}')"
LINK = "UPDATE conversations SET chatbot_id = '{}' WHERE id = '{}'"
CHANGE = f"UPDATE conversations SET {{}} WHERE id = '{OWN_OLD_TALK}'"
UPSERT = f"""
    INSERT INTO conversations (id, tenant_id, user_id) VALUES ('{OWN_TALK}', '{ACME}', '{ACME_MEMBER}')
    ON CONFLICT (id) DO UPDATE SET title = 'New'
"""

CONVERSATIONS = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    read all                    grant      0      2         1     1       1      0       6     6
    read the member's           grant      0      1         0     0       0      0       1     1
    read the colleague's        grant      0      0         1     0       0      0       1     1
    read the admin's            grant      0      0         0     1       0      0       1     1
    read the inactive's         grant      0      0         0     0       0      0       1     1
    read Globex's               grant      0      0         0     0       1      0       1     1
    create the member's         grant policy      1    policy policy  policy policy       1     1
    create the admin's          grant policy policy    policy     1  policy policy       1     1
    create the inactive's       grant policy policy    policy policy  policy policy       1     1
    create Globex's             grant policy policy    policy policy       1 policy       1     1
    create mine in Globex       grant policy policy    policy policy  policy policy       1     1
    begin with published        grant policy      1    policy policy  policy policy       1     1
    begin with draft            grant policy  guard    policy policy  policy policy       1     1
    rename all                  grant      0      2         1     1       1      0       6     6
    rename the member's         grant      0      1         0     0       0      0       1     1
    rename the colleague's      grant      0      0         1     0       0      0       1     1
    rename the admin's          grant      0      0         0     1       0      0       1     1
    rename the inactive's       grant      0      0         0     0       0      0       1     1
    rename Globex's             grant      0      0         0     0       1      0       1     1
    rename by upsert            grant policy      1    policy policy  policy policy       1     1
    link to published           grant      0      1         0     0       0      0       1     1
    link to draft               grant      0  guard         0     0       0      0       1     1
    link the admin's to draft   grant      0      0         0     1       0      0       1     1
    link Globex's to its own    grant      0      0         0     0       1      0       1     1
    unlink                      grant      0      1         0     0       0      0       1     1
    hand over                   grant  grant  grant     grant grant   grant  grant       1     1
    move                        grant  grant  grant     grant grant   grant  grant       1     1
    change the id               grant  grant  grant     grant grant   grant  grant       1     1
    backdate                    grant  grant  grant     grant grant   grant  grant       1     1
    forge the time of change    grant  grant  grant     grant grant   grant  grant       1     1
    create backdated            grant  grant  grant     grant grant   grant  grant       1     1
    create as changed then      grant  grant  grant     grant grant   grant  grant       1     1
    delete all                  grant      0      2         1     1       1      0       6     6
    delete the member's         grant      0      1         0     0       0      0       1     1
    delete the colleague's      grant      0      0         1     0       0      0       1     1
    delete the admin's          grant      0      0         0     1       0      0       1     1
    delete the inactive's       grant      0      0         0     0       0      0       1     1
    delete Globex's             grant      0      0         0     0       1      0       1     1
"""
ON_CONVERSATIONS = (
    on_each(ROWS, "read", "SELECT * FROM conversations")
    | on_each(ROWS, "rename", "UPDATE conversations SET title = 'New'")
    | on_each(ROWS, "delete", "DELETE FROM conversations")
    | {
        "read all": "SELECT * FROM conversations",
        "create the member's": CREATE.format(ACME, ACME_MEMBER),
        "create the admin's": CREATE.format(ACME, ACME_ADMIN),
        "create the inactive's": CREATE.format(ACME, ACME_INACTIVE),
        "create Globex's": CREATE.format(GLOBEX, GLOBEX_MEMBER),
        "create mine in Globex": CREATE.format(GLOBEX, ACME_MEMBER),
        "begin with published": BEGIN.format(ACME, ACME_MEMBER, PUBLISHED),
        "begin with draft": BEGIN.format(ACME, ACME_MEMBER, DRAFT),
        "rename all": "UPDATE conversations SET title = 'New'",
        "rename by upsert": UPSERT,
        "link to published": LINK.format(PUBLISHED, OWN_OLD_TALK),
        "link to draft": LINK.format(DRAFT, OWN_OLD_TALK),
        "link the admin's to draft": LINK.format(DRAFT, ADMINS_TALK),
        "link Globex's to its own": LINK.format(GLOBEX_PUBLISHED, GLOBEX_TALK),
        "unlink": f"UPDATE conversations SET chatbot_id = NULL WHERE id = '{OWN_TALK}'",
        "hand over": CHANGE.format(f"user_id = '{ACME_COLLEAGUE}'"),
        "move": CHANGE.format(f"tenant_id = '{GLOBEX}'"),
        "change the id": CHANGE.format("id = id"),
        "backdate": CHANGE.format("created_at = '2020-01-01'"),
        "forge the time of change": CHANGE.format("updated_at = '2020-01-01'"),
        "create backdated": f"""
            INSERT INTO conversations (tenant_id, user_id, created_at) VALUES ('{ACME}', '{ACME_MEMBER}', now())""",
        "create as changed then": f"""
            INSERT INTO conversations (tenant_id, user_id, updated_at) VALUES ('{ACME}', '{ACME_MEMBER}', now())""",
        "delete all": "DELETE FROM conversations",
    }
)


@pytest.mark.parametrize(("statement", "outcomes"), cases(CONVERSATIONS, ON_CONVERSATIONS))
def test_conversations(fresh_place: Place, statement: str, outcomes: Outcomes) -> None:
    assert fresh_place.attempt_as_each(statement) == outcomes


@pytest.mark.parametrize(
    "link", [LINK.format(GLOBEX_PUBLISHED, OWN_TALK), BEGIN.format(ACME, ACME_MEMBER, GLOBEX_PUBLISHED)]
)
def test_nobody_links_to_another_tenants_chatbot(place: Place, link: str) -> None:
    """No positive half on the same statement, as there is none: service and owner are refused, too."""
    assert place.attempt(link, MEMBER, SERVICE, OWNER) == ["guard", "key", "key"]


@pytest.mark.parametrize("link", [LINK.format("{}", OWN_TALK), BEGIN.format(ACME, ACME_MEMBER, "{}")])
def test_a_hidden_chatbot_and_none_get_the_same_answer(place: Place, link: str) -> None:
    """Of their own tenant, of another, or nowhere: who may not see it is not told which."""
    answers = set()
    for bot in (DRAFT, GLOBEX_PUBLISHED, GLOBEX_DRAFT, NOBODY):
        with connect(place.url.set(username="authenticator")) as connection, connection.transaction():
            become(connection, MEMBER)
            with pytest.raises(Error) as refused, connection.transaction():
                connection.execute(link.format(bot).encode())
        answers.add((refused.value.sqlstate, str(refused.value).replace(str(bot), "ID")))
    assert len(answers) == 1
    assert answers.pop()[0] == "42501"

"""Who may do what with chatbots and published_chatbots: design §3's row for them."""

import pytest
from psycopg import Connection

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    DRAFT,
    GLOBEX,
    GLOBEX_ADMIN,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    MEMBER,
    NOBODY,
    PUBLISHED,
    Who,
)
from tests.policies import Outcomes, Place, cases, on_each
from tests.tools import become

ROWS = {"published": PUBLISHED, "draft": DRAFT, "Globex's published": GLOBEX_PUBLISHED, "Globex's draft": GLOBEX_DRAFT}
CONFIGURE = """
    UPDATE chatbots SET name = 'New', description = 'New', system_prompt = 'New', model = 'new', temperature = 1,
        max_tokens = 5, settings = '{"a": 1}', is_published = NOT is_published
"""
CREATE = "INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model) VALUES ('{}', {}, 'N', 'N', 'm')"
UPSERT = f"""
    INSERT INTO chatbots (id, tenant_id, created_by, name, system_prompt, model)
    VALUES ('{DRAFT}', '{ACME}', '{ACME_ADMIN}', 'N', 'N', 'm')
    ON CONFLICT (id) DO UPDATE SET name = excluded.name
"""
MERGE = f"""
    MERGE INTO chatbots USING (VALUES ('{DRAFT}'::uuid)) AS source (wanted) ON id = wanted
    WHEN MATCHED THEN UPDATE SET name = 'New'
"""

READING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    all                             2      0      1         1     2       1      2       4     4
    published                       1      0      1         1     1       0      0       1     1
    draft                           0      0      0         0     1       0      0       1     1
    Globex's published              1      0      0         0     0       1      1       1     1
    Globex's draft                  0      0      0         0     0       0      1       1     1
    every column                grant      0      1         1     2       1      2       4     4
    prompts                     grant      0      1         1     2       1      2       4     4
    whole rows                  grant      0      1         1     2       1      2       4     4
    where the prompt is         grant      0      1         1     1       0      0       1     1
"""
READ = {name: f"SELECT id, tenant_id, name FROM chatbots WHERE id = '{row}'" for name, row in ROWS.items()} | {
    "all": "SELECT id, tenant_id, name, description, model, is_published, created_at, updated_at FROM chatbots",
    "every column": "SELECT * FROM chatbots",
    "prompts": "SELECT system_prompt FROM chatbots",
    "whole rows": "SELECT chatbots FROM chatbots",
    "where the prompt is": f"SELECT id FROM chatbots WHERE system_prompt = 'Be kind.' AND id = '{PUBLISHED}'",
}

READING_THE_VIEW = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    every column                    2      0      1         1     1       1      1       2     2
    published                       1      0      1         1     1       0      0       1     1
    Globex's published              1      0      0         0     0       1      1       1     1
    rename                      grant  grant  grant     grant grant   grant  grant   grant     2
    delete                      grant  grant  grant     grant grant   grant  grant   grant     2
"""
THE_VIEW = {
    "every column": "SELECT * FROM published_chatbots",
    "published": f"SELECT * FROM published_chatbots WHERE id = '{PUBLISHED}'",
    "Globex's published": f"SELECT * FROM published_chatbots WHERE id = '{GLOBEX_PUBLISHED}'",
    "rename": "UPDATE published_chatbots SET name = 'New'",
    "delete": "DELETE FROM published_chatbots",
}

CREATING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    as themself                 grant policy policy    policy     1  policy policy       1     1
    as themself, in Globex      grant policy policy    policy policy policy      1       1     1
    in the member's name        grant policy policy    policy policy policy policy       1     1
    as a former admin           grant policy policy    policy policy policy policy       1     1
    in nobody's name            grant policy policy    policy policy policy policy       1     1
    in Globex                   grant policy policy    policy policy policy policy       1     1
"""
CREATED = {
    "as themself": CREATE.format(ACME, f"'{ACME_ADMIN}'"),
    "as themself, in Globex": CREATE.format(GLOBEX, f"'{GLOBEX_ADMIN}'"),
    "in the member's name": CREATE.format(ACME, f"'{ACME_MEMBER}'"),
    "as a former admin": CREATE.format(ACME, f"'{ACME_INACTIVE_ADMIN}'"),
    "in nobody's name": CREATE.format(ACME, "NULL"),
    "in Globex": CREATE.format(GLOBEX, f"'{ACME_ADMIN}'"),
}

CHANGING = """
                            anonymous nobody member colleague admin member2 admin2 service owner
    configure all               grant      0      0         0     2       0      2       4     4
    configure published         grant      0      0         0     1       0      0       1     1
    configure draft             grant      0      0         0     1       0      0       1     1
    configure Globex's published grant     0      0         0     0       0      1       1     1
    configure Globex's draft    grant      0      0         0     0       0      1       1     1
    upsert the draft            grant policy policy    policy     1  policy policy       1     1
    merge into the draft        grant      0      0         0     1       0      0       1     1
    move to Globex              grant  grant  grant     grant grant   grant  grant       1     1
    take over                   grant  grant  grant     grant grant   grant  grant       1     1
    backdate                    grant  grant  grant     grant grant   grant  grant       1     1
    forge the time of change    grant  grant  grant     grant grant   grant  grant       1     1
    change the id               grant  grant  grant     grant grant   grant  grant       1     1
    create backdated            grant  grant  grant     grant grant   grant  grant       1     1
    create as changed then      grant  grant  grant     grant grant   grant  grant       1     1
    delete all                  grant      0      0         0     2       0      2       4     4
    delete published            grant      0      0         0     1       0      0       1     1
    delete draft                grant      0      0         0     1       0      0       1     1
    delete Globex's published   grant      0      0         0     0       0      1       1     1
    delete Globex's draft       grant      0      0         0     0       0      1       1     1
"""
CHANGES = (
    on_each(ROWS, "configure", CONFIGURE)
    | on_each(ROWS, "delete", "DELETE FROM chatbots")
    | {
        "configure all": CONFIGURE,
        "upsert the draft": UPSERT,
        "merge into the draft": MERGE,
        "move to Globex": f"UPDATE chatbots SET tenant_id = '{GLOBEX}' WHERE id = '{DRAFT}'",
        "take over": f"UPDATE chatbots SET created_by = '{ACME_MEMBER}' WHERE id = '{PUBLISHED}'",
        "backdate": f"UPDATE chatbots SET created_at = '2020-01-01' WHERE id = '{PUBLISHED}'",
        "forge the time of change": f"UPDATE chatbots SET updated_at = '2020-01-01' WHERE id = '{PUBLISHED}'",
        "change the id": f"UPDATE chatbots SET id = '{NOBODY}' WHERE id = '{DRAFT}'",
        "create backdated": CREATED["as themself"]
        .replace("model)", "model, created_at)")
        .replace("'m')", "'m', now())"),
        "create as changed then": CREATED["as themself"]
        .replace("model)", "model, updated_at)")
        .replace("'m')", "'m', now())"),
        "delete all": "DELETE FROM chatbots",
    }
)


@pytest.mark.parametrize(
    ("statement", "outcomes"),
    [
        *cases(READING, READ),
        *cases(READING_THE_VIEW, THE_VIEW),
        *cases(CREATING, CREATED),
        *cases(CHANGING, CHANGES),
    ],
)
def test_chatbots(place: Place, statement: str, outcomes: Outcomes) -> None:
    assert place.attempt_as_each(statement) == outcomes


def test_a_role_that_inherits_both_client_roles_sees_what_authenticated_sees(platform: Connection) -> None:
    """Not anon's rows of every tenant with authenticated's columns of them."""
    platform.execute("CREATE ROLE heir_of_both INHERIT IN ROLE anon, authenticated")
    for who, count in ((Who("heir_of_both"), 0), (Who("heir_of_both", MEMBER.claims), 1)):
        with platform.transaction():
            become(platform, who)
            assert len(platform.execute("SELECT system_prompt FROM chatbots").fetchall()) == count
            platform.execute("RESET ROLE")

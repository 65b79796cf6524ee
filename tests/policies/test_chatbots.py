"""Who may do what with chatbots: design §3's row for it, each denial beside a case that succeeds."""

from collections.abc import Callable

import pytest
from psycopg import Connection

from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    ANONYMOUS,
    DRAFT,
    GLOBEX,
    MEMBER,
    OTHER_ADMIN,
    SERVICE,
    Who,
)
from tests.policies import nobodies
from tests.tools import become

READ = "SELECT id FROM chatbots"
READ_ALL_COLUMNS = "SELECT * FROM chatbots"
READ_DRAFT = f"SELECT id FROM chatbots WHERE id = '{DRAFT}'"
READ_GLOBEX = f"SELECT id FROM chatbots WHERE tenant_id = '{GLOBEX}'"
READ_VIEW = "SELECT * FROM published_chatbots"
CREATE = f"""
    INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
    VALUES ('{ACME}', '{ACME_ADMIN}', 'New', 'Be new.', 'a-model')
"""
CREATE_ANONYMOUSLY = CREATE.replace(f"'{ACME_ADMIN}'", "NULL")
CREATE_AS_MEMBER = CREATE.replace(str(ACME_ADMIN), str(ACME_MEMBER))
CREATE_ELSEWHERE = CREATE.replace(str(ACME), str(GLOBEX))
CREATE_BACKDATED = CREATE.replace("model)", "model, created_at)").replace("'a-model')", "'a-model', '2020-01-01')")
CONFIGURE = """
    UPDATE chatbots SET name = 'New', description = 'New', system_prompt = 'New', model = 'new', temperature = 1,
        max_tokens = 5, settings = '{"a": 1}', is_published = true
"""
MOVE = f"UPDATE chatbots SET tenant_id = '{GLOBEX}'"
TAKE_OVER = f"UPDATE chatbots SET created_by = '{ACME_MEMBER}'"
BACKDATE = "UPDATE chatbots SET updated_at = '2020-01-01'"
DELETE = "DELETE FROM chatbots"
WRITE_VIEW = "UPDATE published_chatbots SET name = 'New'"


@pytest.mark.parametrize(
    ("who", "statement", "outcome"),
    [
        pytest.param(ANONYMOUS, READ, 2, id="anonymous-reads-published-of-every-tenant"),
        pytest.param(ANONYMOUS, READ_ALL_COLUMNS, "grant", id="anonymous-reads-not-every-column"),
        pytest.param(ANONYMOUS, READ_DRAFT, 0, id="anonymous-reads-no-draft"),
        pytest.param(ANONYMOUS, READ_VIEW, 2, id="anonymous-reads-the-view"),
        pytest.param(MEMBER, READ_ALL_COLUMNS, 1, id="member-reads-published"),
        pytest.param(MEMBER, READ_DRAFT, 0, id="member-reads-no-draft"),
        pytest.param(MEMBER, READ_GLOBEX, 0, id="member-reads-nothing-elsewhere"),
        pytest.param(MEMBER, READ_VIEW, 1, id="member-reads-the-view"),
        pytest.param(ADMIN, READ_ALL_COLUMNS, 2, id="admin-reads-own-tenant"),
        pytest.param(ADMIN, READ_DRAFT, 1, id="admin-reads-draft"),
        pytest.param(ADMIN, READ_GLOBEX, 0, id="admin-reads-nothing-elsewhere"),
        pytest.param(ADMIN, READ_VIEW, 1, id="admin-reads-the-view"),
        pytest.param(OTHER_ADMIN, READ_GLOBEX, 2, id="other-admin-reads-own-tenant"),
        pytest.param(OTHER_ADMIN, READ_DRAFT, 0, id="other-admin-reads-nothing-elsewhere"),
        pytest.param(SERVICE, READ_ALL_COLUMNS, 4, id="service-reads-all"),
        pytest.param(SERVICE, READ_VIEW, 2, id="service-reads-the-view"),
        *nobodies(READ, 0, "reads-nothing"),
        pytest.param(ANONYMOUS, CREATE, "grant", id="anonymous-creates-nothing"),
        *nobodies(CREATE, "policy", "creates-nothing"),
        pytest.param(ANONYMOUS, CONFIGURE, "grant", id="anonymous-configures-nothing"),
        *nobodies(CONFIGURE, 0, "configures-nothing"),
        pytest.param(ANONYMOUS, DELETE, "grant", id="anonymous-deletes-nothing"),
        *nobodies(DELETE, 0, "deletes-nothing"),
        pytest.param(ADMIN, CREATE, 1, id="admin-creates-as-themself"),
        pytest.param(ADMIN, CREATE_ANONYMOUSLY, "policy", id="admin-creates-not-without-a-name"),
        pytest.param(ADMIN, CREATE_AS_MEMBER, "policy", id="admin-creates-in-nobodys-name"),
        pytest.param(ADMIN, CREATE_ELSEWHERE, "policy", id="admin-creates-nothing-elsewhere"),
        pytest.param(ADMIN, CREATE_BACKDATED, "grant", id="admin-forges-no-time"),
        pytest.param(MEMBER, CREATE_AS_MEMBER, "policy", id="member-creates-nothing"),
        pytest.param(OTHER_ADMIN, CREATE, "policy", id="other-admin-creates-nothing-elsewhere"),
        pytest.param(SERVICE, CREATE_ANONYMOUSLY, 1, id="service-creates"),
        pytest.param(ADMIN, CONFIGURE, 2, id="admin-configures-own-tenant"),
        pytest.param(OTHER_ADMIN, CONFIGURE, 2, id="other-admin-configures-own-tenant"),
        pytest.param(MEMBER, CONFIGURE, 0, id="member-configures-nothing"),
        pytest.param(SERVICE, CONFIGURE, 4, id="service-configures-all"),
        pytest.param(ADMIN, MOVE, "grant", id="admin-moves-none"),
        pytest.param(ADMIN, TAKE_OVER, "grant", id="admin-takes-none-over"),
        pytest.param(ADMIN, BACKDATE, "grant", id="admin-backdates-none"),
        pytest.param(SERVICE, TAKE_OVER, 4, id="service-takes-over"),
        pytest.param(ADMIN, DELETE, 2, id="admin-deletes-own-tenant"),
        pytest.param(MEMBER, DELETE, 0, id="member-deletes-nothing"),
        pytest.param(SERVICE, DELETE, 4, id="service-deletes-all"),
        pytest.param(ADMIN, WRITE_VIEW, "grant", id="admin-writes-no-view"),
        pytest.param(ANONYMOUS, WRITE_VIEW, "grant", id="anonymous-writes-no-view"),
        pytest.param(SERVICE, WRITE_VIEW, "grant", id="service-writes-no-view"),
    ],
)
def test_chatbots(try_as: Callable[..., int | str], who: Who, statement: str, outcome: int | str) -> None:
    assert try_as(who, statement) == outcome


def test_a_role_that_inherits_both_client_roles_sees_what_authenticated_sees(platform: Connection) -> None:
    """Not anon's rows of every tenant with authenticated's columns of them."""
    platform.execute("CREATE ROLE heir_of_both INHERIT IN ROLE anon, authenticated")
    for who, count in ((Who("heir_of_both"), 0), (Who("heir_of_both", MEMBER.claims), 1)):
        with platform.transaction():
            become(platform, who)
            assert len(platform.execute("SELECT system_prompt FROM chatbots").fetchall()) == count
            platform.execute("RESET ROLE")

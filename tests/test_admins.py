"""`python -m app admins`, and the guide's own statements."""

import threading
from collections.abc import Iterator

import pytest
from psycopg import Connection
from sqlalchemy import URL, create_engine, select
from sqlalchemy.orm import Session

from app.admins import admins, grant, revoke
from app.errors import SetupError
from app.models import Tenant, User
from app.seed import seed
from tests.people import ACME, ACME_ADMIN, ACME_COLLEAGUE, ACME_INACTIVE_ADMIN, ACME_MEMBER, GLOBEX
from tests.platforms import SUPABASE_OWNER
from tests.tools import connect, rows, run, url_of

COLLEAGUE, MEMBER, ADMIN = "colleague@acme.example", "member@acme.example", "admin@acme.example"


def role_of(session: Session, person: object) -> str | None:
    return session.scalar(select(User.role).where(User.id == person))


@pytest.mark.parametrize("tenant", ["Acme", str(ACME)])
def test_grants_and_revokes(session: Session, tenant: str) -> None:
    done = grant(session, tenant, [COLLEAGUE, ADMIN])
    assert [person.email for person in done.changed] == [COLLEAGUE]
    assert [person.email for person in done.unchanged] == [ADMIN]
    assert role_of(session, ACME_COLLEAGUE) == "admin"
    assert role_of(session, ACME_MEMBER) == "user"
    done = revoke(session, tenant, [ADMIN, MEMBER])
    assert [person.email for person in done.changed] == [ADMIN]
    assert role_of(session, ACME_ADMIN) == "user"


def test_whoever_is_not_found_is_named_and_nothing_is_changed(session: Session) -> None:
    for change in (grant, revoke):
        with pytest.raises(
            SetupError, match=r"nobody with the address Who@acme.example, member@globex.example: "
        ) as told:
            change(session, "Acme", ["Who@acme.example", COLLEAGUE, "member@globex.example", ADMIN])
        assert COLLEAGUE not in str(told.value)
        assert (role_of(session, ACME_COLLEAGUE), role_of(session, ACME_ADMIN)) == ("user", "admin")
    with pytest.raises(SetupError, match="no tenant 'Nope'"):
        grant(session, "Nope", [COLLEAGUE])


def test_a_namesake_in_another_tenant_stays_what_they_are(session: Session) -> None:
    session.add(User(tenant_id=GLOBEX, email=COLLEAGUE))
    session.flush()
    grant(session, "Acme", [COLLEAGUE])
    assert session.scalars(select(User.role).where(User.email == COLLEAGUE, User.tenant_id == GLOBEX)).all() == ["user"]


def test_a_tenant_with_chatbots_keeps_an_active_admin(session: Session) -> None:
    with pytest.raises(SetupError, match="Acme has chatbots and would be left without an active admin"):
        revoke(session, "Acme", [ADMIN])  # the other one is inactive
    assert role_of(session, ACME_ADMIN) == "admin"
    assert [each.email for each in revoke(session, "Acme", ["former@acme.example"]).changed] == ["former@acme.example"]
    assert revoke(session, "Acme", [ADMIN], leave_none=True).changed
    assert role_of(session, ACME_ADMIN) == "user"
    assert revoke(session, "Acme", [ADMIN]).unchanged  # it has none already


def test_a_tenant_without_chatbots_needs_no_admin(session: Session) -> None:
    empty = Tenant(name="Empty")
    session.add(empty)
    session.flush()
    session.add(User(tenant_id=empty.id, email="x", role="admin"))
    session.flush()
    assert revoke(session, "Empty", ["x"]).changed


def test_of_two_who_revoke_each_other_one_is_refused(platform: Connection) -> None:
    platform.execute("UPDATE users SET role = 'admin' WHERE id = %s", (ACME_COLLEAGUE,))
    platform.commit()
    engine = create_engine(url_of(platform))
    outcomes: list[str] = []

    def revoke_colleague() -> None:
        with Session(engine) as second:
            try:
                revoke(second, "Acme", [COLLEAGUE])
                second.commit()
                outcomes.append("done")
            except SetupError as error:
                outcomes.append(str(error))

    with Session(engine) as first:
        revoke(first, "Acme", [ADMIN])
        thread = threading.Thread(target=revoke_colleague)
        thread.start()
        thread.join(0.5)
        assert outcomes == []  # it waits
        first.commit()
        thread.join(10)
    engine.dispose()
    assert len(outcomes) == 1
    assert "without an active admin" in outcomes[0]


def test_lists_whoever_is_one(session: Session) -> None:
    found = {each.tenant.name: each for each in admins(session)}
    assert {name: each.chatbots for name, each in found.items()} == {"Acme": 2, "Globex": 2}
    assert [person.id for person in found["Acme"].admins] == [ACME_ADMIN, ACME_INACTIVE_ADMIN]
    assert [each.tenant.name for each in admins(session, str(GLOBEX))] == ["Globex"]
    session.add(Tenant(name="Newcomers"))
    session.flush()
    assert "Newcomers" not in {each.tenant.name for each in admins(session)}
    seed(session, "Newcomers")
    assert [each.admins for each in admins(session) if each.tenant.name == "Newcomers"] == [[]]


def test_the_verbs(people_database: URL, platform: Connection) -> None:
    url = people_database.set(database=platform.info.dbname)
    platform.commit()
    granted = run("app", "admins", "grant", COLLEAGUE, ADMIN, "inactive@acme.example", "--tenant", "Acme", url=url)
    assert granted.returncode == 0, granted.stderr
    assert granted.stdout.splitlines() == [
        "colleague@acme.example of Acme is now an admin.",
        "inactive@acme.example of Acme is now an admin (inactive: has no rights).",
        "admin@acme.example of Acme is already an admin.",
    ]
    revoked = run("app", "admins", "revoke", ADMIN, COLLEAGUE, "--tenant", "Acme", url=url)
    assert revoked.returncode == 1
    assert revoked.stderr.splitlines()[-1].startswith("Error: Acme has chatbots and would be left without")
    left = run("app", "admins", "revoke", ADMIN, COLLEAGUE, "--tenant", "Acme", "--leave-none", url=url)
    assert left.returncode == 0
    listed = run("app", "admins", "list", url=url).stdout
    assert f"Acme ({ACME}), chatbots: 2\n" in listed
    assert f"  {ACME_INACTIVE_ADMIN}  former@acme.example  (inactive: has no rights)\n" in listed
    assert "  no active admin\n" in listed


def test_row_security_is_not_taken_for_nobody_there(people_database: URL, platform: Connection) -> None:
    """A role that may update users, but sees them through its policies."""
    platform.execute("""
        CREATE ROLE admins_onlooker LOGIN;
        GRANT SELECT, UPDATE ON users, tenants, chatbots TO admins_onlooker
    """)
    platform.commit()
    url = people_database.set(database=platform.info.dbname, username="admins_onlooker")
    for command in (["admins", "list"], ["admins", "grant", ADMIN, "--tenant", "Acme"], ["seed", "--tenant", "Acme"]):
        refused = run("app", *command, url=url)
        assert refused.returncode == 1
        assert "Role admins_onlooker does not see every row of chatbots, tenants, users: connect" in refused.stderr
    platform.execute("DROP OWNED BY admins_onlooker; DROP ROLE admins_onlooker")
    platform.commit()


def test_who_may_not_is_told_so(people_database: URL, platform: Connection) -> None:
    """Past row security by a grant of the platform's, and no owner: our guard refuses."""
    platform.execute("""
        CREATE ROLE admins_reader LOGIN;
        GRANT SELECT, UPDATE ON users, tenants, chatbots TO admins_reader;
        ALTER TABLE users DISABLE ROW LEVEL SECURITY;
        ALTER TABLE tenants DISABLE ROW LEVEL SECURITY;
        ALTER TABLE chatbots DISABLE ROW LEVEL SECURITY
    """)
    before = rows(platform)
    platform.commit()
    url = people_database.set(database=platform.info.dbname, username="admins_reader")
    refused = run("app", "admins", "grant", COLLEAGUE, "--tenant", "Acme", url=url)
    assert refused.returncode == 1
    assert "Error: role admins_reader may not set role of public.users" in refused.stderr
    assert rows(platform) == before
    platform.execute("DROP OWNED BY admins_reader; DROP ROLE admins_reader")
    platform.commit()


# The guide's own, but for the addresses and the id.
GUIDES = [
    f"""
   UPDATE public.users
   SET role = 'admin'
   WHERE email IN ('{COLLEAGUE}', '{MEMBER}');
""",
    f"""
   UPDATE public.users
   SET role = 'admin'
   WHERE tenant_id = '{ACME}'
   AND email IN ('{COLLEAGUE}');
""",
]


@pytest.fixture(params=["plain", "Supabase", "adopted"])
def owner(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """The owner's connection; on Supabase that is postgres, who is no superuser."""
    template = {"plain": "people_template", "Supabase": "supabase_template", "adopted": "adopted_template"}
    name = request.getfixturevalue(template[request.param]).template_dbname
    url: URL = request.getfixturevalue("host").url(name)
    with connect(url.set(username=SUPABASE_OWNER) if request.param == "Supabase" else url) as connection:
        yield connection


@pytest.mark.parametrize("statement", GUIDES, ids=["by address", "by tenant and address"])
def test_the_guides_statements_work_as_they_are(owner: Connection, statement: str) -> None:
    with owner.transaction(force_rollback=True):
        expected = 2 if MEMBER in statement else 1
        assert owner.execute(statement.encode()).rowcount == expected
        promoted = owner.execute("SELECT count(*) FROM users WHERE role = 'admin' AND email = %s", (COLLEAGUE,))
        assert promoted.fetchone() == (1,)

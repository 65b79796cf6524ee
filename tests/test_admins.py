"""`python -m app admins`, and the guide's own statements."""

import threading
from collections.abc import Iterator

import pytest
from psycopg import Connection
from sqlalchemy import URL, create_engine, select, text
from sqlalchemy.orm import Session

from app.admins import admins, grant, revoke
from app.errors import SetupError
from app.models import Tenant, User
from app.seed import seed
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    GLOBEX,
    GLOBEX_ADMIN,
    GLOBEX_MEMBER,
    populate,
    sub_of,
)
from tests.platforms import GUIDE, SUPABASE_OWNER, settle_guide
from tests.tools import alembic, connect, rows, run, url_of

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
    """Past row security by a grant of the platform's, and no owner: our helper refuses, or our guard."""
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
    assert "Error: permission denied for schema chatbot_private: connect (DATABASE_URL) as the role that owns" in (
        refused.stderr
    )
    platform.execute("GRANT USAGE ON SCHEMA chatbot_private TO admins_reader")
    platform.execute("GRANT EXECUTE ON FUNCTION chatbot_private.admin_roles() TO admins_reader")
    platform.commit()
    refused = run("app", "admins", "grant", COLLEAGUE, "--tenant", "Acme", url=url)
    assert refused.returncode == 1
    assert "Error: role admins_reader may not set role of public.users" in refused.stderr
    assert rows(platform) == before
    platform.execute("DROP OWNED BY admins_reader; DROP ROLE admins_reader")
    platform.commit()


# Platforms with a users.role of their own, in which 'owner' and 'admin' make an admin of chatbots: its type, and why it
# takes no other text.
THEIR_ROLES = {
    "text": ("text DEFAULT 'user' CHECK (role <> 'no such role')", "violates check constraint"),
    "varchar": ("varchar(9) DEFAULT 'user'", "value too long for type character varying"),
    "enum": ("user_role DEFAULT 'user'", "invalid input value for enum user_role: "),
    "citext": ("extensions.citext DEFAULT 'user' CHECK (role <> 'no such role')", "violates check constraint"),
}
GUIDES_ROLE = "    role text DEFAULT 'user',\n    is_active"


def adopt(url: URL, role: str) -> None:
    """Make the guide's own platform with another users.role in an empty database, and adopt it."""
    assert GUIDES_ROLE in GUIDE
    roles = {GLOBEX_ADMIN: "owner", ACME_ADMIN: "admin", ACME_MEMBER: "moderator", ACME_INACTIVE: None}
    with connect(url) as connection:
        connection.execute("CREATE TYPE user_role AS ENUM ('user', 'moderator', 'owner', 'admin')")
        connection.execute("CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions")
        settle_guide(connection, rows="", platform=GUIDE.replace(GUIDES_ROLE, f"    role {role},\n    is_active"))
        populate(connection, last="006")
        for person, its in roles.items():
            connection.execute("UPDATE users SET role = %s WHERE id = %s", (its, person))
    alembic(url, "-x", "admin_role=owner,admin", "upgrade", "head")
    with connect(url) as connection:
        populate(connection, first="007", last="007")


def stored(session: Session, person: object) -> object:
    return session.scalar(text("SELECT role::text FROM users WHERE id = :id"), {"id": person})


@pytest.mark.parametrize(("role", "reason"), THEIR_ROLES.values(), ids=THEIR_ROLES)
def test_grants_and_revokes_the_platforms_own_roles(empty: URL, role: str, reason: str) -> None:
    adopt(empty, role)
    engine = create_engine(empty)
    with Session(engine) as session:
        done = grant(session, "Acme", [COLLEAGUE, "inactive@acme.example", ADMIN])
        assert {person.email: person.role for person in done.changed} == {
            COLLEAGUE: "owner",  # was 'user', the default
            "inactive@acme.example": "owner",  # was NULL
        }
        assert {person.email: person.role for person in done.unchanged} == {ADMIN: "admin"}
        assert [stored(session, each) for each in (ACME_COLLEAGUE, ACME_INACTIVE, ACME_ADMIN)] == [
            *("owner", "owner", "admin"),
        ]
        assert [person.email for person in grant(session, "Acme", [ADMIN], "owner").changed] == [ADMIN]
        assert stored(session, ACME_ADMIN) == "owner"

        with pytest.raises(SetupError, match=r"users\.role does not take 'no such role' ") as not_taken:
            revoke(session, "Acme", [ADMIN], "no such role")
        assert reason in str(not_taken.value)
        assert "Nobody's role was changed." in str(not_taken.value)
        assert stored(session, ACME_ADMIN) == "owner"  # and the transaction goes on
        with pytest.raises(SetupError, match="The role 'admin' makes an admin: give another"):
            revoke(session, "Acme", [COLLEAGUE], "admin")
        done = revoke(session, "Acme", [ADMIN, MEMBER])
        assert {person.email: person.role for person in done.changed} == {ADMIN: "user"}
        assert {person.email: person.role for person in done.unchanged} == {MEMBER: "moderator"}
        done = revoke(session, "Acme", [COLLEAGUE], "moderator", leave_none=True)
        assert {person.email: person.role for person in done.changed} == {COLLEAGUE: "moderator"}
        assert [stored(session, each) for each in (ACME_ADMIN, ACME_MEMBER, ACME_COLLEAGUE)] == [
            *("user", "moderator", "moderator"),
        ]
    engine.dispose()


@pytest.fixture
def guide_session(guide: Connection) -> Iterator[Session]:
    """A session on the guide's own platform, where a member is a moderator."""
    engine = create_engine(url_of(guide))
    with Session(engine) as session:
        session.execute(text("UPDATE users SET role = 'moderator' WHERE id = :id"), {"id": ACME_MEMBER})
        yield session
    engine.dispose()


def test_no_other_role_is_lost_unless_a_role_is_named(guide_session: Session) -> None:
    with pytest.raises(SetupError, match=r"^Another role would be lost: member@acme.example \(moderator\)\. ") as lost:
        grant(guide_session, "Acme", [COLLEAGUE, MEMBER])
    assert "To replace it, add --role admin. Nobody's role was changed." in str(lost.value)
    with pytest.raises(SetupError, match="The role 'moderator' makes no admin: give admin"):
        grant(guide_session, "Acme", [COLLEAGUE], "moderator")
    assert (stored(guide_session, ACME_COLLEAGUE), stored(guide_session, ACME_MEMBER)) == ("user", "moderator")
    assert [person.email for person in grant(guide_session, "Acme", [MEMBER, ADMIN], "admin").changed] == [MEMBER]
    assert stored(guide_session, ACME_MEMBER) == "admin"


@pytest.mark.parametrize(
    ("default", "why"),
    [
        ("DROP DEFAULT", "is missing or NULL"),
        ("SET DEFAULT NULL", "is missing or NULL"),
        ("SET DEFAULT lower('ADMIN')", "is 'admin', which makes an admin"),
    ],
)
def test_without_a_default_to_write_revoking_needs_a_role(guide_session: Session, default: str, why: str) -> None:
    guide_session.execute(text(f"ALTER TABLE users ALTER role {default}"))
    assert revoke(guide_session, "Acme", [MEMBER]).unchanged  # nothing is to be written
    with pytest.raises(SetupError, match=f"The default of users.role {why}: add --role with the role to write"):
        revoke(guide_session, "Acme", [ADMIN], leave_none=True)
    assert stored(guide_session, ACME_ADMIN) == "admin"
    assert revoke(guide_session, "Acme", [ADMIN], "user", leave_none=True).changed
    assert stored(guide_session, ACME_ADMIN) == "user"


def test_people_without_an_address_are_named_by_id_or_sub(guide_session: Session) -> None:
    guide_session.execute(text("ALTER TABLE users ALTER email DROP NOT NULL"))
    guide_session.execute(text("UPDATE users SET email = NULL WHERE tenant_id = :acme"), {"acme": ACME})
    done = grant(guide_session, "Acme", [str(ACME_COLLEAGUE), str(sub_of(ACME_INACTIVE))])
    assert [person.id for person in done.changed] == [ACME_COLLEAGUE, ACME_INACTIVE]
    assert [person.id for person in revoke(guide_session, "Acme", [str(sub_of(ACME_ADMIN))]).changed] == [ACME_ADMIN]
    with pytest.raises(SetupError, match=f"nobody with the address {GLOBEX_MEMBER}: give addresses .* or ids"):
        grant(guide_session, "Acme", [str(GLOBEX_MEMBER)])
    (found,) = admins(guide_session, "Acme")
    assert [(person.id, person.email) for person in found.admins] == [
        *((ACME_COLLEAGUE, None), (ACME_INACTIVE, None), (ACME_INACTIVE_ADMIN, None)),
    ]


def test_an_admin_whose_is_active_is_null_is_no_active_admin(guide_session: Session) -> None:
    guide_session.execute(text("UPDATE users SET is_active = NULL WHERE id = :id"), {"id": ACME_INACTIVE_ADMIN})
    with pytest.raises(SetupError, match="would be left without an active admin"):
        revoke(guide_session, "Acme", [ADMIN])
    (found,) = admins(guide_session, "Acme")
    assert [(person.id, person.is_active) for person in found.admins] == [
        *((ACME_ADMIN, True), (ACME_INACTIVE_ADMIN, False)),
    ]


def test_the_verbs_tell_roles_and_subs(empty: URL) -> None:
    """Where the type of users.role takes 'ADMIN' for 'admin', as row security does."""
    adopt(empty, THEIR_ROLES["citext"][0])
    with connect(empty) as connection:
        connection.execute("""
            ALTER TABLE users ALTER email DROP NOT NULL;
            UPDATE users SET email = NULL, auth_id = NULL, role = 'ADMIN' WHERE email = 'admin@acme.example';
            UPDATE users SET email = E'b\x1b@acme.example' WHERE email = 'colleague@acme.example'
        """)

    def typed(*command: str) -> list[str]:
        done = run("app", "admins", *command, "--tenant", "Acme", url=empty)
        return (done.stdout if done.returncode == 0 else done.stderr).splitlines()

    assert typed("grant", str(ACME_COLLEAGUE), str(ACME_ADMIN)) == [
        r"b\x1b@acme.example of Acme is now an admin.",
        f"{ACME_ADMIN} of Acme is already an admin, with the role ADMIN.",
    ]
    assert typed("revoke", MEMBER, "inactive@acme.example") == [
        f"{MEMBER} of Acme is already no admin, with the role moderator.",
        "inactive@acme.example of Acme is already no admin, without a role (inactive: has no rights).",
    ]
    assert typed("grant", MEMBER)[-1].endswith(
        " (moderator). To replace it, add --role owner or --role admin. Nobody's role was changed."
    )
    assert typed("grant", MEMBER, "--role", "admin") == [f"{MEMBER} of Acme is now an admin, with the role admin."]
    assert typed("revoke", MEMBER, "--role", "OWNER")[-1].startswith("Error: The role 'OWNER' makes an admin: ")
    assert typed("revoke", MEMBER, "--role", "editor") == [f"{MEMBER} of Acme is now no admin, with the role editor."]
    assert run("app", "admins", "list", url=empty).stdout.splitlines() == [
        f"Acme ({ACME}), chatbots: 2",
        rf"  {ACME_COLLEAGUE}  sub {sub_of(ACME_COLLEAGUE)}  b\x1b@acme.example  owner",
        f"  {ACME_ADMIN}  sub -  -  ADMIN",
        f"Globex ({GLOBEX}), chatbots: 2",
        f"  {GLOBEX_ADMIN}  sub {sub_of(GLOBEX_ADMIN)}  admin@globex.example  owner",
    ]


def test_a_single_admin_role_is_not_told(guide: Connection) -> None:
    listed = run("app", "admins", "list", "--tenant", "Globex", url=url_of(guide))
    assert listed.stdout.splitlines() == [
        f"Globex ({GLOBEX}), chatbots: 2",
        f"  {GLOBEX_ADMIN}  sub {sub_of(GLOBEX_ADMIN)}  admin@globex.example",
    ]


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

"""`python -m app seed`: the guide's six sample chatbots, added once."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import URL, create_engine, select
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.identity import act_as
from app.models import Chatbot, Tenant, User
from app.seed import DEMO_IDS, DEMO_TENANT, samples, seed
from tests.people import ACME, ACME_ADMIN, ACME_INACTIVE, ACME_MEMBER, GLOBEX, sub_of
from tests.test_admins import THEIR_ROLES, adopt
from tests.tools import catalog, connect, rows, run, url_of

GUIDES_SIX = {
    "Customer Support Agent": True,
    "Sales Assistant": True,
    "Technical Documentation Assistant": True,
    "Creative Writing Coach": True,
    "Data Analysis Assistant": False,
    "HR Onboarding Assistant": True,
}


def test_samples_are_the_guides() -> None:
    assert {sample["name"]: sample["is_published"] for sample in samples()} == GUIDES_SIX
    for sample in samples():
        assert sample["description"]
        assert len(sample["system_prompt"].split("\n\n")) >= 3
        assert sample["system_prompt"] == sample["system_prompt"].strip()


def test_makes_a_demo_tenant_and_adds_nothing_again(head: URL) -> None:
    first = run("app", "seed", url=head)
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("Database: ")
    assert "6 chatbots added, 3 people added" in first.stdout
    with connect(head) as connection:
        before = rows(connection)
        people = connection.execute("SELECT role, count(*) FROM users GROUP BY role ORDER BY role").fetchall()
        assert people == [("admin", 1), ("user", 2)]
        second = run("app", "seed", url=head)
        assert "0 chatbots added." in second.stdout
        assert rows(connection) == before


def test_overwrites_no_edit(session: Session) -> None:
    seed(session)
    names = {"Sales Assistant": "Our Sales Assistant"}
    for bot in session.scalars(select(Chatbot).where(Chatbot.name.in_(GUIDES_SIX))):
        bot.name, bot.system_prompt, bot.is_published = names.get(bot.name, bot.name), "Ours.", False
    session.scalars(select(Tenant).where(Tenant.name == "Demo")).one().name = "Renamed"
    session.scalars(select(User).where(User.email == "mia@demo.example")).one().email = "new@demo.example"
    session.flush()
    again = seed(session)
    assert (again.added_chatbots, again.added_people, again.tenant.name) == (0, 0, "Renamed")
    assert len(session.scalars(select(Chatbot).where(Chatbot.system_prompt == "Ours.")).all()) == 6


def test_adds_what_is_missing(session: Session) -> None:
    seed(session)
    session.delete(session.scalars(select(Chatbot).where(Chatbot.name == "Sales Assistant")).one())
    session.flush()
    assert seed(session).added_chatbots == 1


@pytest.mark.parametrize("tenant", ["Acme", str(ACME)])
def test_seeds_an_existing_tenant(session: Session, tenant: str) -> None:
    session.add(Chatbot(tenant_id=ACME, name="Sales Assistant", system_prompt="Ours.", model="a-model"))
    session.flush()
    result = seed(session, tenant)
    assert (result.tenant.id, result.added_people, result.added_chatbots) == (ACME, 0, 5)
    creators = session.scalars(select(Chatbot.created_by).where(Chatbot.name.in_(GUIDES_SIX)).distinct())
    assert set(creators) == {ACME_ADMIN, None}  # None is the one that was there
    assert session.scalars(select(Chatbot).where(Chatbot.tenant_id == GLOBEX, Chatbot.name.in_(GUIDES_SIX))).all() == []


def test_a_tenant_that_is_not_there_or_not_unique(session: Session) -> None:
    with pytest.raises(SetupError, match="no tenant 'Nope'"):
        seed(session, "Nope")
    with pytest.raises(SetupError, match="no tenant"):
        seed(session, "00000000-0000-0000-0000-00000000dead")
    session.add(Tenant(name="Acme"))
    session.flush()
    with pytest.raises(SetupError, match="Several tenants"):
        seed(session, "Acme")


def test_invents_no_people_where_their_ids_belong_to_another_table(session: Session, platform: Connection) -> None:
    platform.execute("""
        CREATE SCHEMA auth;
        CREATE TABLE auth.users AS SELECT id FROM public.users;
        ALTER TABLE auth.users ADD PRIMARY KEY (id);
        ALTER TABLE public.users ADD FOREIGN KEY (id) REFERENCES auth.users (id) ON DELETE CASCADE
    """)
    platform.commit()
    result = seed(session)
    assert (result.tenant.name, result.added_people, result.added_chatbots) == ("Demo", 0, 6)
    assert result.no_people == "users.id refers to auth.users"
    assert (seed(session, "Acme").added_chatbots, seed(session, "Globex").no_people) == (6, "")


NO_KEY = "ALTER TABLE users DROP CONSTRAINT users_auth_id_fkey"
NO_PEOPLE = "users.auth_id refers to auth.users"
USERNAME = "ALTER TABLE users ADD username text NOT NULL DEFAULT 'x'; ALTER TABLE users ALTER username DROP DEFAULT"
CODE = "ALTER TABLE tenants ADD code text NOT NULL DEFAULT 'x'; ALTER TABLE tenants ALTER code DROP DEFAULT"
FILLED = """
    CREATE FUNCTION fill_code() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.code := coalesce(NEW.code, upper(NEW.slug)); RETURN NEW; END $$;
    CREATE TRIGGER fill_code BEFORE INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION fill_code()
"""

ADDED = """
    SELECT (SELECT array_agg(to_jsonb(tenants) - 'created_at' - 'updated_at') FROM tenants WHERE name = 'Demo'),
        (SELECT array_agg(to_jsonb(users) - 'created_at' - 'updated_at' ORDER BY email) FROM users
            WHERE tenant_id = (SELECT id FROM tenants WHERE name = 'Demo')),
        (SELECT array_agg(to_jsonb(chatbots) - 'created_at' - 'updated_at' ORDER BY name) FROM chatbots
            WHERE tenant_id = (SELECT id FROM tenants WHERE name = 'Demo'))
"""


@pytest.fixture
def seed_by_file(guide: Connection, tmp_path: Path) -> Callable[[], str]:
    """Run seed_chatbots_data.sql on the guide's own platform; what it said."""
    assert run("app", "sql", str(tmp_path)).returncode == 0
    said: list[str] = []
    guide.add_notice_handler(lambda diagnostic: said.append(diagnostic.message_primary or ""))

    def seed_by_file() -> str:
        guide.execute((tmp_path / "seed_chatbots_data.sql").read_bytes())
        return "\n".join(said)

    return seed_by_file


@pytest.mark.parametrize(
    ("change", "no_people"),
    [
        pytest.param("SELECT", NO_PEOPLE, id="as it is"),
        pytest.param("ALTER TABLE tenants ALTER slug TYPE varchar(9)", NO_PEOPLE, id="varchar"),
        pytest.param("ALTER TABLE tenants ALTER slug DROP NOT NULL", NO_PEOPLE, id="no slug is needed"),
        pytest.param(f"{CODE}; {FILLED}", NO_PEOPLE, id="a trigger fills it"),
        pytest.param(NO_KEY, "", id="auth_id without a key"),
        pytest.param(
            f"{NO_KEY}; {USERNAME}",
            "only the platform knows the values of users.username (NOT NULL, no default)",
            id="people need more",
        ),
    ],
)
def test_seeds_the_guides_own_platform_by_verb_and_file(
    guide: Connection, seed_by_file: Callable[[], str], change: str, no_people: str
) -> None:
    guide.execute(change.encode())
    guide.commit()
    said = seed_by_file()
    by_file = guide.execute(ADDED).fetchone()
    assert ("No people were added to the demo tenant, because " in said) == bool(no_people)
    assert no_people in said
    guide.rollback()

    engine = create_engine(url_of(guide))
    with Session(engine) as session:
        result = seed(session)
        assert (result.tenant.name, result.added_chatbots, result.no_people) == ("Demo", 6, no_people)
        assert result.added_people == (0 if no_people else 3)
        session.commit()
        again = seed(session)
        assert (again.added_chatbots, again.added_people, again.no_people) == (0, 0, no_people)
    engine.dispose()
    by_verb = guide.execute(ADDED).fetchone()
    assert by_verb == by_file
    assert by_verb is not None
    (tenant,), people, chatbots = by_verb
    assert (tenant["slug"], len(people or []), len(chatbots)) == (
        *(None if "DROP NOT NULL" in change else "demo", 0 if no_people else 3, 6),
    )


def test_says_why_it_makes_up_no_people(guide: Connection) -> None:
    url = url_of(guide)
    told = run("app", "seed", url=url)
    assert told.stdout.splitlines() == [
        f"Tenant Demo ({DEMO_TENANT}): 6 chatbots added.",
        f"No people were made up, because {NO_PEOPLE}: have people sign up in this tenant, and make one an admin with"
        " `python -m app admins grant`.",
    ]


def test_demo_people_act_by_their_subs(guide: Connection) -> None:
    guide.execute(NO_KEY)
    guide.commit()
    url = url_of(guide)
    told = run("app", "seed", url=url)
    assert told.returncode == 0, told.stderr
    people = {
        email: (role, sub)
        for email, role, sub in guide.execute(
            "SELECT email, role, auth_id FROM users WHERE tenant_id = %s ORDER BY role, email", (DEMO_TENANT,)
        )
    }
    assert people.keys() == DEMO_IDS.keys()
    assert told.stdout.splitlines()[1:] == [
        f"  {role:5}  {sub}  id {DEMO_IDS[email]}  {email}" for email, (role, sub) in people.items()
    ]
    engine = create_engine(url.set(username="application"))
    with Session(engine) as session:
        for email, count in (("admin@demo.example", 6), ("mia@demo.example", 5)):
            act_as(session, people[email][1])
            assert len(session.scalars(select(Chatbot.id)).all()) == count
            session.commit()
    engine.dispose()


def test_the_platforms_first_admin_role_makes_the_demos_admin(empty: URL) -> None:
    adopt(empty, THEIR_ROLES["enum"][0])
    with connect(empty) as connection:
        connection.execute(NO_KEY)
        assert run("app", "seed", url=empty).returncode == 0
        roles = connection.execute(
            "SELECT email, role::text FROM users WHERE tenant_id = %s", (DEMO_TENANT,)
        ).fetchall()
        assert dict(roles) == {"admin@demo.example": "owner", "max@demo.example": "user", "mia@demo.example": "user"}
        assert run("app", "seed", "--tenant", "Globex", url=empty).returncode == 0
        creators = connection.execute("""
            SELECT DISTINCT tenants.name, email
            FROM chatbots JOIN tenants ON tenants.id = tenant_id JOIN users ON users.id = created_by
            WHERE chatbots.name = 'Sales Assistant'
        """)
        assert sorted(creators.fetchall()) == [("Demo", "admin@demo.example"), ("Globex", "admin@globex.example")]


PLAN = "ALTER TABLE tenants ADD plan_id int NOT NULL DEFAULT 1; ALTER TABLE tenants ALTER plan_id DROP DEFAULT"
NUMBER = "ALTER TABLE tenants DROP slug; ALTER TABLE tenants ADD slug int NOT NULL DEFAULT 1"
TEAM = "ALTER TABLE chatbots ADD team text NOT NULL DEFAULT 'x'; ALTER TABLE chatbots ALTER team DROP DEFAULT"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            f"{PLAN}; {CODE}",
            "The demo tenant cannot be made, because only the platform knows the values of tenants.plan_id,"
            " tenants.code (NOT NULL, no default): add the samples to a tenant of yours with"
            " `python -m app seed --tenant NAME`, or insert a tenant with the id",
            id="further columns",
        ),
        pytest.param(
            f"{NUMBER}; ALTER TABLE tenants ALTER slug DROP DEFAULT",
            "The demo tenant cannot be made, because only the platform knows the values of tenants.slug (",
            id="a slug that is no text",
        ),
        pytest.param(
            "UPDATE tenants SET slug = 'demo' WHERE name = 'Acme'",
            "The demo tenant cannot be made, because another tenant has its name, 'Demo', or its slug, 'demo': add",
            id="a slug that is taken",
        ),
        pytest.param(
            TEAM,
            "The samples cannot be added, because only the platform knows the values of chatbots.team (NOT NULL, no",
            id="further columns of chatbots",
        ),
    ],
)
def test_refuses_what_only_the_platform_knows(
    guide: Connection, seed_by_file: Callable[[], str], change: str, sentence: str
) -> None:
    guide.execute(change.encode())
    guide.commit()
    before = rows(guide)
    guide.commit()
    refused = run("app", "seed", url=url_of(guide))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"Error: {sentence}")
    assert rows(guide) == before
    with pytest.raises(psycopg.Error) as by_file:
        seed_by_file()
    assert str(by_file.value.diag.message_primary).startswith(sentence)
    guide.rollback()
    tenant = run("app", "seed", "--tenant", "Globex", url=url_of(guide))
    if change == TEAM:
        assert tenant.stderr.splitlines()[-1].startswith(f"Error: {sentence}")
    else:
        assert "6 chatbots added." in tenant.stdout


def test_a_demo_tenant_that_was_inserted_by_hand_is_seeded(guide: Connection) -> None:
    guide.execute(PLAN)
    by_hand = "INSERT INTO tenants (id, name, slug, plan_id) VALUES (%s, 'By hand', 'by-hand', 2)"
    guide.execute(by_hand, (DEMO_TENANT,))
    guide.commit()
    told = run("app", "seed", url=url_of(guide))
    assert told.stdout.startswith(f"Tenant By hand ({DEMO_TENANT}): 6 chatbots added."), told.stderr


@pytest.mark.parametrize("tenant", [None, "Acme"])
def test_a_rule_of_the_platforms_that_refuses_them_is_told(guide: Connection, tenant: str | None) -> None:
    guide.execute("ALTER TABLE chatbots ADD CONSTRAINT one_model CHECK (model = 'a-model')")
    guide.commit()
    refused = run("app", "seed", *(["--tenant", tenant] if tenant else []), url=url_of(guide))
    assert refused.returncode == 1
    message = 'new row for relation "chatbots" violates check constraint "one_model"'
    way_out = "" if tenant else ", or name a tenant of yours with --tenant"
    assert refused.stderr.splitlines()[-1] == (
        f"Error: The platform refuses the samples ({message}): change its rule{way_out}."
    )


def test_people_without_address_role_or_sub_are_told(guide: Connection) -> None:
    guide.execute("ALTER TABLE users ALTER email DROP NOT NULL")
    change = "UPDATE users SET email = NULL, role = NULL, auth_id = NULL WHERE id = %s"
    guide.execute(change, (ACME_MEMBER,))
    guide.execute("UPDATE users SET email = NULL WHERE id = %s", (ACME_INACTIVE,))
    guide.commit()
    told = run("app", "seed", "--tenant", "Acme", url=url_of(guide))
    assert told.returncode == 0, told.stderr
    assert f"  user   {sub_of(ACME_INACTIVE)}  id {ACME_INACTIVE}  -" in told.stdout.splitlines()
    assert told.stdout.splitlines()[-1] == f"  -      {'-':36}  id {ACME_MEMBER}  -"


def test_errors_are_sentences(head: URL, empty: URL) -> None:
    nobody = run("app", "seed", "--tenant", "Nope", url=head)
    assert nobody.returncode == 1
    assert nobody.stderr.splitlines()[-1].startswith("Error: There is no tenant 'Nope': ")
    with connect(empty) as connection:
        before = catalog(connection)
        too_early = run("app", "seed", url=empty)
        assert too_early.returncode == 1
        assert "run `alembic upgrade head` first" in too_early.stderr
        assert "Traceback" not in too_early.stderr
        assert catalog(connection) == before

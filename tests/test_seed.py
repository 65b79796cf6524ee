"""`python -m app seed`: the guide's six sample chatbots, added once."""

import pytest
from psycopg import Connection
from sqlalchemy import URL, select
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Chatbot, Tenant, User
from app.seed import samples, seed
from tests.people import ACME, ACME_ADMIN, GLOBEX
from tests.tools import catalog, connect, rows, run

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
    assert seed(session, "Acme").added_chatbots == 6


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

"""Categories, tags and tools by the models, and `python -m app chatbots`."""

import json
from dataclasses import asdict

import pytest
from psycopg import Connection
from sqlalchemy import URL, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.chatbots import ANONYMOUS, chatbots
from app.errors import SetupError
from app.models import Chatbot, ChatbotTag, Tool
from app.seed import samples
from tests.people import (
    ACME,
    ACME_INACTIVE,
    ACME_MEMBER,
    DRAFT,
    GLOBEX_ADMIN,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    PUBLISHED,
    sub_of,
)
from tests.tools import connect, run, url_of

WEATHER = Tool("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


# By the models


def test_tags_are_a_list(session: Session) -> None:
    bot = session.get_one(Chatbot, PUBLISHED)
    assert (bot.category, bot.tags) == ("Support", ["orders", "returns"])
    bot.tags.append(" new ")
    bot.tags.remove("orders")
    session.commit()
    assert bot.tags == ["returns", "new"]
    rows = session.scalars(select(ChatbotTag.tag).where(ChatbotTag.chatbot_id == PUBLISHED))
    assert set(rows) == {"returns", "new"}
    bot.tags, bot.category = [], " "
    session.commit()
    session.refresh(bot)
    assert not bot.tags
    assert bot.category is None


def test_a_new_chatbot_has_those_that_it_is_given(session: Session) -> None:
    new = Chatbot(tenant_id=ACME, name="N", system_prompt="N", model="m", tags=["a", "A", "a"], tools=[WEATHER])
    session.add_all([new, Chatbot(tenant_id=ACME, name="O", system_prompt="N", model="m")])
    session.commit()
    assert (new.tags, new.tools, new.lock_version) == (["a", "A"], (WEATHER,), 1)
    other = session.scalars(select(Chatbot).where(Chatbot.name == "O")).one()
    assert (other.tags, other.category, other.tools) == ([], None, ())


def test_of_two_who_change_tags_the_later_is_refused(session: Session) -> None:
    bot = session.get_one(Chatbot, PUBLISHED)
    with Session(session.get_bind()) as another:
        another.get_one(Chatbot, PUBLISHED).tags = ["theirs"]
        another.commit()
    bot.tags.append("ours")
    with pytest.raises(StaleDataError):
        session.commit()


def test_tools_are_typed_objects(session: Session) -> None:
    bot = session.get_one(Chatbot, PUBLISHED)
    assert (bot.tools, bot.settings) == ((), {"greeting": "Hi"})
    bot.tools = [WEATHER]
    session.commit()
    assert bot.tools == (WEATHER,)
    assert bot.settings == {"greeting": "Hi", "tools": [asdict(WEATHER)]}
    bot.tools = [*bot.tools, Tool("time", "Tell the time.", {"type": "object"})]
    session.commit()
    assert [[tool.name for tool in version.tools] for version in bot.versions] == [["weather", "time"], ["weather"], []]
    bot.tools = []
    session.commit()
    assert bot.settings == {"greeting": "Hi"}
    bot.restore(bot.versions[-2])
    session.commit()
    assert (bot.version, bot.tools) == (5, (WEATHER,))


def test_what_is_no_tool_is_refused_with_its_place(session: Session) -> None:
    session.get_one(Chatbot, DRAFT).tools = [WEATHER, Tool("time", "Tell it.", {"type": "objekt"})]
    with pytest.raises(IntegrityError, match=r"settings\.tools\[1\]\.parameters must be a schema of type object"):
        session.commit()


def test_tools_from_before_are_told_to_be_no_tools(session: Session, platform: Connection) -> None:
    with connect(url_of(platform)) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute('UPDATE chatbots SET settings = \'{"tools": [{"type": "function"}]}\'')
    with pytest.raises(TypeError):
        _ = session.get_one(Chatbot, DRAFT).tools


def test_samples_have_categories_tags_and_one_a_tool(head: URL) -> None:
    assert all(sample["category"] and len(sample["tags"]) > 1 for sample in samples())
    assert [len(sample["settings"].get("tools", [])) for sample in samples()] == [1, 0, 0, 0, 0, 0]
    assert run("app", "seed", url=head).returncode == 0
    with connect(head) as connection:
        kept = connection.execute("SELECT name, category, tags, settings FROM chatbots").fetchall()
    assert sorted(kept) == sorted((s["name"], s["category"], s["tags"], s["settings"]) for s in samples())


# The verb

EVERY = {PUBLISHED, DRAFT, GLOBEX_PUBLISHED, GLOBEX_DRAFT}


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        (None, EVERY),
        (ANONYMOUS, {PUBLISHED, GLOBEX_PUBLISHED}),
        (str(ACME_MEMBER), {PUBLISHED}),
        ("admin@acme.example", {PUBLISHED, DRAFT}),
        (str(GLOBEX_ADMIN), {GLOBEX_PUBLISHED, GLOBEX_DRAFT}),
        (str(ACME_INACTIVE), set()),
    ],
)
def test_lists_what_somebody_sees(session: Session, who: str | None, seen: set[object]) -> None:
    assert {each.id for each in chatbots(session, who=who)} == seen
    assert session.scalar(select(Chatbot.id).where(Chatbot.id == GLOBEX_DRAFT)) is not None  # as whoever it was


def test_lists_by_tenant_category_and_tags(session: Session) -> None:
    assert {each.id for each in chatbots(session, "Acme")} == {PUBLISHED, DRAFT}
    assert {each.id for each in chatbots(session, category="Support")} == {PUBLISHED, GLOBEX_PUBLISHED}
    assert {each.id for each in chatbots(session, str(ACME), tags=["orders"])} == {PUBLISHED, DRAFT}
    assert {each.id for each in chatbots(session, tags=["orders", "returns"])} == {PUBLISHED}
    assert {each.id for each in chatbots(session, tags=["Secret plans", "returns"], any_tag=True)} == {PUBLISHED, DRAFT}
    assert chatbots(session, "Globex", tags=["returns"]) == []
    first, *_ = found = chatbots(session)
    assert (first.tenant, first.name, first.tags, first.category) == (
        "Acme",
        "Acme Draft",
        ["orders", "Secret plans"],
        None,
    )
    assert [each.tenant for each in found] == ["Acme", "Acme", "Globex", "Globex"]
    with pytest.raises(SetupError, match="There is no user"):
        chatbots(session, who="nobody@acme.example")
    with pytest.raises(SetupError, match="There is no tenant"):
        chatbots(session, "Initech")


def test_the_verb_lists_as_a_person(people_database: URL) -> None:
    as_member = run("app", "chatbots", "--tag", "orders", "--as", "member@acme.example", url=people_database)
    assert as_member.returncode == 0, as_member.stderr
    heading, *lines = as_member.stdout.splitlines()
    assert heading.split() == ["Tenant", "Chatbot", "Id", "Category", "Tags", "Model", "Published"]
    assert [line.split() for line in lines] == [
        ["Acme", "Acme", "Support", str(PUBLISHED), "Support", "orders,", "returns", "a-model", "yes"]
    ]
    options = ("--tag", "returns", "--tag", "Secret plans", "--any", "--json")
    as_operator = run("app", "chatbots", *options, url=people_database)
    found = json.loads(as_operator.stdout)
    assert [(each["id"], each["tags"]) for each in found] == [
        (str(DRAFT), ["orders", "Secret plans"]),
        (str(PUBLISHED), ["orders", "returns"]),
    ]
    none = run("app", "chatbots", "--category", "Nothing", "--as", ANONYMOUS, url=people_database)
    assert none.stdout == "There are no such chatbots.\n"


def test_the_terminal_obeys_no_label(platform: Connection) -> None:
    platform.execute("UPDATE chatbots SET category = E'a\\x1b[2J', tags = ARRAY[E'b\\x1b[2J', 'c\nd']")
    platform.commit()
    shown = run("app", "chatbots", url=url_of(platform))
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert len(shown.stdout.splitlines()) == 5


def test_what_is_wrong_is_a_sentence(people_database: URL) -> None:
    for arguments, told in (
        (["--as", "nobody@acme.example"], "There is no user 'nobody@acme.example'"),
        (["--tenant", "Initech"], "There is no tenant 'Initech'"),
    ):
        done = run("app", "chatbots", *arguments, url=people_database)
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr.splitlines()[-1]
    bound = run("app", "chatbots", url=people_database.set(username="application"))
    assert bound.returncode == 1
    assert "does not see every row of chatbots" in bound.stderr


def test_lists_as_a_person_whose_sub_is_not_their_id(guide: Connection) -> None:
    url = url_of(guide)
    for named in ("member@acme.example", str(ACME_MEMBER), str(sub_of(ACME_MEMBER))):
        listed = run("app", "chatbots", "--as", named, "--json", url=url)
        assert listed.returncode == 0, listed.stderr
        assert [each["id"] for each in json.loads(listed.stdout)] == [str(PUBLISHED)]

"""Versions as applications and operators meet them: two who save at once, the step on a live database, the verbs."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import psycopg
import pytest
from psycopg import Connection
from sqlalchemy import URL, create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.database import create_async_engine
from app.errors import SetupError
from app.history import difference, find_chatbot, history, prompts, restore
from app.identity import act_as
from app.models import Chatbot, ChatbotVersion, Conversation
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_MEMBER,
    ADMIN,
    DRAFT,
    GLOBEX_DRAFT,
    GLOBEX_PUBLISHED,
    NOBODY,
    OWN_TALK,
    OWNER,
    PUBLISHED,
    Who,
    populate,
)
from tests.tools import alembic, become, connect, database_url, run, url_of

GAPS = """
    SELECT count(*) FROM (
        SELECT chatbots.id, chatbots.version, count(chatbot_versions.version) AS kept, max(chatbot_versions.version)
        FROM chatbots LEFT JOIN chatbot_versions ON chatbot_id = chatbots.id GROUP BY chatbots.id
    ) AS its WHERE version <> kept OR version <> max
"""
OTHERS = """
    SELECT count(*) FROM chatbots JOIN chatbot_versions AS kept ON chatbot_id = id AND kept.version = chatbots.version
    WHERE (chatbots.system_prompt, chatbots.model, chatbots.temperature, chatbots.max_tokens, chatbots.settings)
        IS DISTINCT FROM (kept.system_prompt, kept.model, kept.temperature, kept.max_tokens, kept.settings)
"""


def consistent(connection: Connection) -> bool:
    """Whether each chatbot has its versions from 1 on, and the last is what it is."""
    return connection.execute(f"SELECT ({GAPS}), ({OTHERS})").fetchone() == (0, 0)


# Two who save at once


@pytest.fixture
def two_admins(platform: Connection) -> Iterator[tuple[Session, Session]]:
    engine = create_engine(url_of(platform).set(username="application"))
    with Session(engine) as first, Session(engine) as second:
        for session in (first, second):
            act_as(session, ACME_ADMIN)
        yield first, second
    engine.dispose()


@pytest.mark.parametrize("column", ["system_prompt", "name"])
def test_of_two_admins_who_save_the_later_is_refused(two_admins: tuple[Session, Session], column: str) -> None:
    first, second = two_admins
    ours, theirs = (session.get_one(Chatbot, DRAFT) for session in two_admins)
    setattr(ours, column, "First")
    first.commit()
    setattr(theirs, column, "Second")
    with pytest.raises(StaleDataError):
        second.commit()
    second.rollback()
    assert getattr(theirs, column) == "First"  # read again
    setattr(theirs, column, "Second")
    second.commit()
    first.expire_all()
    assert (getattr(ours, column), ours.lock_version) == ("Second", 3)
    assert ours.version == (3 if column == "system_prompt" else 1)


def test_a_deletion_of_what_was_changed_meanwhile_is_refused(two_admins: tuple[Session, Session]) -> None:
    first, second = two_admins
    ours, theirs = (session.get_one(Chatbot, DRAFT) for session in two_admins)
    ours.is_published = True
    first.commit()
    second.delete(theirs)
    with pytest.raises(StaleDataError):
        second.commit()


def test_one_admin_saves_again_and_again(two_admins: tuple[Session, Session]) -> None:
    session, _ = two_admins
    bot = session.get_one(Chatbot, DRAFT)
    for number in range(2, 5):
        bot.system_prompt = f"Version {number}"
        session.flush()
        assert (bot.version, bot.lock_version) == (number, number)  # without a commit between
    session.commit()
    new = Chatbot(tenant_id=ACME, created_by=ACME_ADMIN, name="N", system_prompt="N", model="m")
    session.add(new)
    session.commit()
    assert (new.version, new.lock_version, [each.version for each in new.versions]) == (1, 1, [1])


def test_an_admin_restores_by_the_model(two_admins: tuple[Session, Session]) -> None:
    session, _ = two_admins
    bot = session.get_one(Chatbot, DRAFT)
    bot.system_prompt, bot.settings, bot.max_tokens = "Two", {"two": 2}, 2
    session.commit()
    newest, first = bot.versions
    assert (newest.version, newest.system_prompt, newest.created_by, newest.chatbot) == (2, "Two", ACME_ADMIN, bot)
    bot.restore(first)
    assert bot.settings is not first.settings
    session.commit()
    assert (bot.version, bot.system_prompt) == (3, "Be kind.")
    assert not bot.settings
    assert bot.max_tokens is None
    assert [each.version for each in bot.versions] == [3, 2, 1]
    other = session.get_one(Chatbot, PUBLISHED)
    with pytest.raises(ValueError, match="not of"):
        other.restore(first)


def test_async_sessions_are_refused_alike(platform: Connection) -> None:
    async def save_both() -> None:
        with database_url(url_of(platform).set(username="application")):
            engine = create_async_engine()
        async with AsyncSession(engine) as first, AsyncSession(engine) as second:
            bots = []
            for session in (first, second):
                act_as(session, ACME_ADMIN)
                bots.append(await session.get_one(Chatbot, DRAFT))
            for bot in bots:
                bot.temperature = 1.5 + bots.index(bot) / 10
            await first.flush()
            assert (bots[0].version, bots[0].lock_version) == (2, 2)  # without another question, which would fail here
            await first.commit()
            assert await first.scalar(select(Chatbot.version).where(Chatbot.id == DRAFT)) == 2
            with pytest.raises(StaleDataError):
                await second.commit()
        await engine.dispose()

    asyncio.run(save_both())


def test_of_two_sql_clients_who_save_at_the_same_moment_the_later_is_refused(platform: Connection) -> None:
    """The second waits for the first's row, and then finds another lock_version than it stated."""
    save = f"UPDATE chatbots SET system_prompt = '{{}}', lock_version = 1 WHERE id = '{DRAFT}'"
    url = url_of(platform)
    with connect(url) as first, connect(url) as second, connect(url) as watcher, ThreadPoolExecutor(1) as pool:
        first.execute("BEGIN")
        become(first, ADMIN)
        first.execute(save.format("First"))

        def save_too() -> int:
            with second.transaction():
                become(second, ADMIN)
                return second.execute(save.format("Second")).rowcount

        waiting = pool.submit(save_too)
        blocked = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while not watcher.execute(blocked, (second.info.backend_pid,)).rowcount:
            assert not waiting.done()
            time.sleep(0.01)
        first.execute("COMMIT")
        with pytest.raises(
            psycopg.Error, match="was changed meanwhile: lock_version 1 was stated, it has 2"
        ) as refused:
            waiting.result(timeout=30)
        assert refused.value.sqlstate == "PT409"  # PostgREST answers 409 Conflict
        assert "Read it again" in (refused.value.diag.message_hint or "")
        assert watcher.execute("SELECT system_prompt FROM chatbots WHERE id = %s", (DRAFT,)).fetchone() == ("First",)
        assert consistent(watcher)


def test_whoever_saves_and_whoever_deletes_a_person_do_not_wait_in_a_circle(platform: Connection) -> None:
    """An admin who holds the chatbot saves it while they are being deleted: nobody fails."""
    url = url_of(platform)
    with connect(url) as saver, connect(url) as deleter, connect(url) as watcher, ThreadPoolExecutor(1) as pool:
        saver.execute("BEGIN")
        become(saver, ADMIN)
        saver.execute("SELECT FROM chatbots WHERE id = %s FOR NO KEY UPDATE", (DRAFT,))
        gone = pool.submit(deleter.execute, "DELETE FROM users WHERE id = %s", (ACME_ADMIN,))
        blocked = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while not watcher.execute(blocked, (deleter.info.backend_pid,)).rowcount:
            assert not gone.done()
            time.sleep(0.01)
        saver.execute("UPDATE chatbots SET system_prompt = 'Last words.' WHERE id = %s", (DRAFT,))
        saver.execute("COMMIT")
        assert gone.result(timeout=30).rowcount == 1
        kept = watcher.execute("SELECT version, created_by FROM chatbot_versions WHERE chatbot_id = %s", (DRAFT,))
        assert sorted(kept.fetchall()) == [(1, None), (2, None)]


def test_many_at_once_number_without_gaps(platform: Connection) -> None:
    """Those that state no lock_version all change it, as applications from before versions do."""
    url = url_of(platform)

    def save(number: int) -> None:
        with connect(url) as connection:
            for again in range(10):
                connection.execute("UPDATE chatbots SET system_prompt = %s WHERE id = %s", (f"{number} {again}", DRAFT))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(8)))
    with connect(url) as connection:
        assert connection.execute("SELECT version FROM chatbots WHERE id = %s", (DRAFT,)).fetchone() == (81,)
        assert consistent(connection)


def test_a_conversation_tells_the_version_by_the_model(session: Session) -> None:
    bot = session.get_one(Chatbot, PUBLISHED)
    bot.temperature = 2
    session.commit()
    talk = Conversation(tenant_id=ACME, user_id=ACME_MEMBER, chatbot=bot)
    session.add(talk)
    session.commit()
    assert talk.chatbot_version == bot.version == 2
    started = select(ChatbotVersion.temperature).where(
        ChatbotVersion.chatbot_id == talk.chatbot_id, ChatbotVersion.version == talk.chatbot_version
    )
    assert session.scalar(started) == 2
    assert session.get_one(Conversation, OWN_TALK).chatbot_version == 1
    talk.chatbot = None
    session.commit()
    assert talk.chatbot_version is None


# Existing chatbots


@pytest.fixture
def before_versions(empty: URL) -> URL:
    """A platform at 012 with many chatbots, the first of them changed since they were made."""
    alembic(empty, "upgrade", "012")
    with connect(empty) as connection:
        populate(connection, last="012")
        connection.execute(
            """
            INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
                SELECT %s, %s, n, 'Be ' || n, 'm' FROM generate_series(1, 5000) AS n;
            """.replace("%s, %s", f"'{ACME}', '{ACME_ADMIN}'")
        )
        for change in ("temperature = 1", "updated_at = '2020-01-01'"):
            connection.execute(f"UPDATE chatbots SET {change} WHERE id = %s", (DRAFT,))
    return empty


def test_existing_chatbots_get_version_1(before_versions: URL) -> None:
    alembic(before_versions, "upgrade", "head")
    with connect(before_versions) as connection:
        assert connection.execute("SELECT count(*), max(version) FROM chatbot_versions").fetchone() == (5004, 1)
        assert consistent(connection)
        told = """
            SELECT chatbot_versions.created_by, chatbot_versions.created_at = chatbots.updated_at
            FROM chatbots JOIN chatbot_versions ON chatbot_id = id WHERE id = %s
        """
        assert connection.execute(told, (PUBLISHED,)).fetchone() == (ACME_ADMIN, True)
        assert connection.execute(told, (DRAFT,)).fetchone() == (None, True)  # somebody has changed it
        linked = connection.execute("SELECT chatbot_version FROM conversations WHERE id = %s", (OWN_TALK,))
        assert linked.fetchone() == (None,)  # from before versions


def test_a_chatbot_that_is_changed_before_its_turn_keeps_what_it_was(before_versions: URL) -> None:
    """As if the run were interrupted right before it: triggers are there, no version is."""
    alembic(before_versions, "upgrade", "head")
    with connect(before_versions) as connection:
        connection.execute("DELETE FROM chatbot_versions")
        with connection.transaction():
            become(connection, ADMIN)
            connection.execute("UPDATE chatbots SET system_prompt = 'Two' WHERE id = %s", (DRAFT,))
        found = connection.execute(
            "SELECT version, system_prompt, temperature, created_by, created_at < '2021-01-01' FROM chatbot_versions"
            " ORDER BY 1"
        ).fetchall()
        assert found == [(1, "Be kind.", 1, None, True), (2, "Two", 1, ACME_ADMIN, False)]


def test_the_step_goes_on_beside_those_who_change_create_and_delete_chatbots(before_versions: URL) -> None:
    """Nobody of them fails, and afterwards each chatbot that is left has all its versions."""
    begun, over = threading.Barrier(3), threading.Event()

    def serve(seed: int) -> int:
        count = 0
        with connect(before_versions) as connection:
            ids = connection.execute("SELECT id FROM chatbots ORDER BY md5(id::text || %s)", (str(seed),)).fetchall()
            while not over.is_set():
                (bot,) = ids[count % len(ids)]
                connection.execute("UPDATE chatbots SET system_prompt = system_prompt || '!' WHERE id = %s", (bot,))
                if count % 2:
                    connection.execute("DELETE FROM chatbots WHERE id = %s", (bot,))
                if count % 4 == 1:  # and comes again
                    connection.execute(
                        "INSERT INTO chatbots (id, tenant_id, name, system_prompt, model)"
                        " VALUES (%s, %s, 'New', 'Be new.', 'm') ON CONFLICT DO NOTHING",
                        (bot, ACME),
                    )
                count += 1
                if count == 1:
                    begun.wait(timeout=60)
        return count

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(serve, seed) for seed in range(2)]
        begun.wait(timeout=60)
        upgraded = run("alembic", "upgrade", "head", url=before_versions)
        over.set()
        counts = [load.result(timeout=60) for load in loads]
    assert upgraded.returncode == 0, upgraded.stderr
    assert min(counts) > 1
    with connect(before_versions) as connection:
        assert consistent(connection)
    assert run("alembic", "check", url=before_versions).returncode == 0


# On the command line


def test_history_tells_each_change_the_newest_first(session: Session) -> None:
    bot = session.get_one(Chatbot, DRAFT)
    for prompt, temperature in (("Be kind.\nAnd brief.", 0.7), ("Be kind.\nAnd brief.", 1), ("Be kind.", 0.7)):
        bot.system_prompt, bot.temperature = prompt, temperature
        session.commit()
    versions = [*chain.from_iterable(history(session, bot))]
    assert [(each.version, [*each.changed], each.same_as) for each in versions] == [
        (4, ["system_prompt", "temperature"], 1),
        (3, ["temperature"], None),
        (2, ["system_prompt"], None),
        (1, [], None),
    ]
    assert versions[-1].author == "admin@acme.example"
    assert versions[0].author is None
    assert restore(session, bot, 2) == 5
    for missing in (7, 0, 2**40):
        with pytest.raises(SetupError, match=f"has no version {missing}: `python -m app history"):
            restore(session, bot, missing)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ([{"a": 1}, {"a": True}, {"a": 1.0}, {"a": 0}, {"a": False}], "settings"),
        (["Be kind.\n", "Be kind.\r\n", "Be kind", "Be\x0bkind", "Be\nkind"], "system_prompt"),
    ],
    ids=["numbers", "line-ends"],
)
def test_history_hides_no_change(session: Session, changes: list[object], column: str) -> None:
    bot = session.get_one(Chatbot, DRAFT)
    for value in changes:
        setattr(bot, column, value)
        session.commit()
    versions = [*chain.from_iterable(history(session, bot))]
    assert [[*each.changed] for each in versions] == [[column]] * len(changes) + [[]]
    for version in versions:
        assert version.same_as is None
        if column == "system_prompt" and version.before is not None:
            was, becomes = prompts(session, bot, [version])[version.version]
            told = difference(was or "", becomes)
            assert any(line.startswith(("+", "-")) for line in told)


def test_finds_a_chatbot_as_a_person_names_it(session: Session) -> None:
    assert find_chatbot(session, "Acme Draft").id == DRAFT
    assert find_chatbot(session, str(GLOBEX_DRAFT), "Globex").id == GLOBEX_DRAFT
    session.get_one(Chatbot, GLOBEX_PUBLISHED).name = str(NOBODY)
    session.flush()
    assert find_chatbot(session, str(NOBODY)).id == GLOBEX_PUBLISHED  # a name that looks like an id
    session.get_one(Chatbot, GLOBEX_PUBLISHED).name = "Acme Draft"
    session.flush()
    assert find_chatbot(session, "Acme Draft", "Acme").id == DRAFT
    for named, tenant, told in (
        (
            "Acme Draft",
            None,
            rf"Several chatbots are named 'Acme Draft': give the id of one, such as {DRAFT} \(of Acme\), ",
        ),
        ("Acme Draft", "Initech", "There is no tenant 'Initech'"),
        (str(DRAFT), "Globex", f"There is no chatbot '{DRAFT}' of Globex"),
        (str(NOBODY), None, "give the id or the exact name of one"),
    ):
        with pytest.raises(SetupError, match=told):
            find_chatbot(session, named, tenant)


@pytest.fixture
def changed(platform: Connection) -> URL:
    """A draft with a second version, by an admin, that a terminal would obey."""
    platform.commit()
    with platform.transaction():
        become(platform, ADMIN)
        platform.execute(
            'UPDATE chatbots SET system_prompt = %s, settings = \'{"a": "\\u001b[2J"}\' WHERE id = %s',
            ("Be kind.\nAnd \x1b[2J brief.", DRAFT),
        )
    return url_of(platform)


def test_the_verbs_tell_and_restore(changed: URL) -> None:
    restored = run("app", "restore", "Acme Draft", "1", "--tenant", "Acme", url=changed)
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout == "Acme Draft is as in version 1 again; its newest is version 3.\n"
    again = run("app", "restore", str(DRAFT), "1", url=changed)
    assert again.stdout == "Acme Draft is as in version 1 already; its newest is version 3.\n"
    told = run("app", "history", "Acme Draft", url=changed)
    assert told.returncode == 0, told.stderr
    assert "\x1b" not in told.stdout
    lines = [line.strip() for line in told.stdout.splitlines()]
    assert lines[0] == f"Acme Draft ({DRAFT})"
    headlines = [line.split() for line in lines if line.startswith("version")]
    assert [line[1] for line in headlines] == ["3", "2", "1"]
    assert headlines[0][4:] == ["not", "known", "(same", "as", "version", "1)"]
    assert headlines[1][4:] == ["admin@acme.example"]
    assert lines[lines.index("+And \\x1b[2J brief.") - 1] == "Be kind."
    assert "-And \\x1b[2J brief." in lines
    assert 'settings: {} -> {"a": "\\u001b[2J"}' in lines
    assert lines[-5:] == ["Be kind.", 'model: "a-model"', "temperature: 0.7", "max_tokens: null", "settings: {}"]


def test_history_tells_no_change_of_what_stayed_null(changed: URL) -> None:
    told = run("app", "history", "Acme Draft", url=changed).stdout
    assert [line.strip() for line in told.splitlines() if "max_tokens" in line] == ["max_tokens: null"]  # of version 1


def test_history_as_json(changed: URL) -> None:
    told = run("app", "history", str(DRAFT), "--json", url=changed)
    newest, first = json.loads(told.stdout)
    assert (newest["version"], newest["author"], newest["created_by"]) == (2, "admin@acme.example", str(ACME_ADMIN))
    assert newest["changed"].keys() == {"system_prompt", "settings"}
    assert first["configuration"]["system_prompt"] == "Be kind."


def test_what_is_wrong_is_a_sentence(changed: URL) -> None:
    for arguments, code, said in (
        (["history", "Nobody's"], 1, 'There is no chatbot "Nobody\'s"'),
        (["restore", "Acme Draft", "9"], 1, "Acme Draft has no version 9"),
        (["restore", "Acme Draft", "first"], 2, "valid integer"),
    ):
        done = run("app", *arguments, url=changed)
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (code, "", False)
        assert said in done.stderr
    with connect(changed) as connection:
        assert connection.execute("SELECT version FROM chatbots WHERE id = %s", (DRAFT,)).fetchone() == (2,)


def test_the_owner_who_acts_for_somebody_is_noted_as_them(platform: Connection) -> None:
    for who, author in ((OWNER, None), (Who(None, ADMIN.claims), ACME_ADMIN)):
        with platform.transaction(force_rollback=True):
            become(platform, who)
            platform.execute("UPDATE chatbots SET temperature = 2 WHERE id = %s", (DRAFT,))
            found = platform.execute("SELECT created_by FROM chatbot_versions WHERE version = 2").fetchall()
            assert found == [(author,)]

"""act_as: every transaction of a session or connection runs as one person, and nothing of it is left behind."""

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest
from psycopg import AsyncClientCursor, Connection
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import InternalError, ProgrammingError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from app.identity import act_as, act_as_anonymous
from tests.people import ACME_ADMIN, ACME_INACTIVE, ACME_MEMBER, GLOBEX_ADMIN, GLOBEX_MEMBER, NOBODY, sub_of
from tests.tools import Counted, connect, url_of

KINDS = ["session", "connection", "async-session", "async-connection"]


class AsyncCounted(AsyncClientCursor[Any]):
    """The same for asyncio."""

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
        Counted.sent.append(query)
        return await super().execute(query, *arguments, **options)


class Target:
    """A session or connection of any of the four kinds, used alike: what is to be awaited, is."""

    def __init__(self, kind: str, engine: Engine | AsyncEngine, runner: asyncio.Runner) -> None:
        self.runner = runner
        if kind == "session":
            self.inner: Any = Session(engine)  # type: ignore[arg-type]
        elif kind == "async-session":
            self.inner = AsyncSession(engine)  # type: ignore[arg-type]
        else:
            self.inner = self.wait(engine.connect())

    def wait(self, value: Any) -> Any:
        async def awaited() -> Any:
            return await value

        return self.runner.run(awaited()) if inspect.isawaitable(value) else value

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self.wait(getattr(self.inner, name)(*arguments))

    def visible(self) -> int:
        """How many chatbots its person sees: 1 is a member of Acme, 2 an admin or anonymous."""
        found = self.scalar(text("SELECT count(*) FROM chatbots"))
        assert isinstance(found, int)
        return found

    def act_within(self, person: UUID) -> None:
        """Act in the transaction that is open: on a connection alone."""
        if hasattr(self.inner, "run_sync"):
            self.run_sync(act_as, person)
        else:
            act_as(self.inner, person)

    def driver_connection(self) -> Any:
        """Psycopg's connection, of which each engine here has one."""
        connection = self.inner if hasattr(self.inner, "closed") else self.connection()
        return getattr(connection, "sync_connection", connection).connection.driver_connection

    def assert_refuses(self, message: str) -> None:
        """Nothing is sent, however often somebody tries; only the transaction's end as SQLAlchemy knows it helps."""
        for _ in range(2):
            Counted.sent.clear()
            with pytest.raises(RuntimeError, match=message):
                self.who()
            assert Counted.sent == []

    def who(self) -> tuple[str, str | None]:
        """The role in force, and the person in the claims."""
        role = self.scalar(text("SELECT current_user"))
        claims = self.scalar(text("SELECT current_setting('request.jwt.claims', true)"))
        return role, json.loads(claims).get("sub") if claims else None


@pytest.fixture
def open_target(application: Engine) -> Iterator[Callable[..., Target]]:
    """Open a target of some kind; each engine has one connection, shared by those that it opens after another."""
    options = {"cursor_factory": AsyncCounted}
    asynchronous = create_async_engine(application.url, pool_size=1, max_overflow=0, connect_args=options)
    opened: list[Target] = []
    with asyncio.Runner() as runner:

        def open_target(kind: str, **execution_options: Any) -> Target:
            chosen = asynchronous if kind.startswith("async") else application
            opened.append(Target(kind, chosen.execution_options(**execution_options), runner))
            return opened[-1]

        yield open_target
        for target in opened:
            target.close()
        runner.run(asynchronous.dispose())


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, open_target: Callable[..., Target]) -> Target:
    return open_target(request.param)


@pytest.mark.parametrize(
    ("person", "count"), [(ACME_MEMBER, 1), (ACME_ADMIN, 2), (GLOBEX_ADMIN, 2), (ACME_INACTIVE, 0), (NOBODY, 0)]
)
def test_each_person_sees_what_is_theirs(target: Target, person: UUID, count: int) -> None:
    act_as(target.inner, person)
    assert target.visible() == count


def test_anonymous_sees_what_anyone_may(target: Target) -> None:
    act_as_anonymous(target.inner)
    assert target.visible() == 2
    assert target.who() == ("anon", None)
    with pytest.raises(ProgrammingError, match="permission denied"):
        target.scalar(text("SELECT system_prompt FROM chatbots"))


def test_holds_in_every_transaction_that_begins(target: Target) -> None:
    act_as(target.inner, str(ACME_MEMBER))
    for end in (target.commit, target.rollback, target.commit):
        assert target.visible() == 1
        end()
    target.begin()
    assert target.visible() == 1


def test_holds_after_a_failed_statement(target: Target) -> None:
    act_as(target.inner, ACME_MEMBER)
    with pytest.raises(ProgrammingError):
        target.scalar(text("SELECT nonsense FROM chatbots"))
    with pytest.raises(InternalError, match="current transaction is aborted"):
        target.who()
    target.rollback()
    assert target.who() == ("authenticated", str(ACME_MEMBER))


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT nonsense"])
def test_holds_after_a_savepoint_is_rolled_back(target: Target, statement: str) -> None:
    act_as(target.inner, ACME_MEMBER)
    savepoint = target.begin_nested()
    with suppress(ProgrammingError):
        target.scalar(text(statement))
    target.wait(savepoint.rollback())
    assert target.visible() == 1


def test_holds_after_a_statement_with_many_parameters(target: Target) -> None:
    """Psycopg sends these in a pipeline of its own."""
    act_as(target.inner, ACME_MEMBER)
    target.execute(text("SELECT set_config('some.setting', :value, true)"), [{"value": "1"}, {"value": "2"}])
    assert target.visible() == 1


ENDS = ["COMMIT", "ROLLBACK", "END", "ABORT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT; BEGIN", "RESET ALL"]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_goes_on_alone_when_sql_ends_the_transaction(target: Target, end: str) -> None:
    act_as(target.inner, ACME_MEMBER)
    assert target.visible() == 1
    target.execute(text(end))
    target.assert_refuses("SQL has ended")
    target.rollback()
    assert target.visible() == 1
    target.execute(text(end))
    target.commit()
    assert target.visible() == 1


def test_nothing_goes_on_alone_after_a_failed_transaction_and_chain(target: Target) -> None:
    act_as(target.inner, ACME_MEMBER)
    with pytest.raises(ProgrammingError):
        target.scalar(text("SELECT nonsense"))
    target.execute(text("ROLLBACK AND CHAIN"))
    target.assert_refuses("SQL has ended")
    target.rollback()
    assert target.visible() == 1


@pytest.mark.parametrize("end", ["COMMIT AND CHAIN", "COMMIT; BEGIN"])
def test_nothing_goes_on_alone_in_a_savepoint(target: Target, end: str) -> None:
    act_as(target.inner, ACME_MEMBER)
    savepoint = target.begin_nested()
    target.execute(text(end))
    target.assert_refuses("SQL has ended")
    with pytest.raises(RuntimeError, match="SQL has ended"):
        target.wait(savepoint.rollback())
    target.rollback()
    assert target.visible() == 1


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("again", [True, False])
def test_nothing_goes_on_alone_when_the_driver_ends_the_transaction(target: Target, end: str, again: bool) -> None:
    act_as(target.inner, ACME_MEMBER)
    assert target.visible() == 1
    driver_connection = target.driver_connection()
    target.wait(getattr(driver_connection, end)())
    if again:
        target.wait(driver_connection.execute("SELECT 1"))
    target.assert_refuses("SQL has ended")
    target.rollback()
    assert target.visible() == 1


@pytest.mark.parametrize("kind", ["connection", "async-connection"])
def test_nothing_goes_on_alone_when_a_savepoint_undoes_it(open_target: Callable[..., Target], kind: str) -> None:
    target = open_target(kind)
    target.execute(text("SAVEPOINT before"))
    target.act_within(ACME_MEMBER)
    target.execute(text("SAVEPOINT after"))
    target.execute(text("ROLLBACK TO after"))
    assert target.visible() == 1
    target.execute(text("ROLLBACK TO before"))
    target.assert_refuses("rolled back to a savepoint before act_as")
    target.rollback()
    assert target.visible() == 1
    target.rollback()
    target.execute(text("SAVEPOINT before"))
    assert target.visible() == 1
    with pytest.raises(ProgrammingError):
        target.scalar(text("SELECT nonsense"))
    target.execute(text("ROLLBACK TO before"))
    assert target.visible() == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("default", ["on", "off"])
def test_it_shows_whatever_the_default_of_new_transactions(
    open_target: Callable[..., Target], people_database: URL, kind: str, default: str
) -> None:
    """The setting that serves as the mark; what it says of this transaction stays."""
    with connect(people_database) as superuser:
        superuser.execute(f"ALTER ROLE application SET default_transaction_read_only = {default}")
        try:
            target = open_target(kind)
            act_as(target.inner, ACME_MEMBER)
            for _ in range(2):
                assert target.visible() == 1
                assert target.scalar(text("SHOW transaction_read_only")) == default
                target.execute(text("COMMIT AND CHAIN"))
                target.assert_refuses("SQL has ended")
                target.rollback()
        finally:
            superuser.execute("ALTER ROLE application RESET default_transaction_read_only")


def test_refuses_a_pipeline_of_the_driver(open_target: Callable[..., Target]) -> None:
    connection = open_target("connection")
    act_as(connection.inner, ACME_MEMBER)
    assert connection.visible() == 1
    with connection.driver_connection().pipeline(), pytest.raises(RuntimeError, match="pipelines"):
        connection.execute(text("COMMIT AND CHAIN"))
    assert connection.visible() == 1


@pytest.mark.parametrize("options", [{"acting_as": None}, {"becoming": True}])
def test_no_option_of_a_statement_takes_it_away(target: Target, options: dict[str, Any]) -> None:
    act_as(target.inner, ACME_MEMBER)
    seen = text("SELECT count(*) FROM chatbots").execution_options(**options)
    assert target.scalar(seen) == 1
    target.execute(text("COMMIT AND CHAIN"))
    with pytest.raises(RuntimeError, match="SQL has ended"):
        target.scalar(seen)


@pytest.mark.parametrize("kind", ["connection", "async-connection"])
def test_no_option_of_a_connection_takes_it_away(open_target: Callable[..., Target], kind: str) -> None:
    target = open_target(kind)
    act_as(target.inner, ACME_MEMBER)
    for _ in range(2):
        with pytest.raises(TypeError, match="not taken away"):
            target.wait(target.inner.execution_options(acting_as=None))
        assert target.visible() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_on_the_pooled_connection(open_target: Callable[..., Target], kind: str) -> None:
    target = open_target(kind)
    act_as(target.inner, ACME_ADMIN)
    backend = target.scalar(text("SELECT pg_backend_pid()"))
    target.close()
    following = open_target(kind)
    assert following.scalar(text("SELECT pg_backend_pid()")) == backend
    assert following.who() == ("application", None)
    with pytest.raises(ProgrammingError, match="permission denied"):
        following.visible()


def test_costs_one_round_trip_a_transaction(target: Target, tmp_path: Path) -> None:
    driver_connection = target.driver_connection()
    target.rollback()
    for transaction, person in enumerate((None, ACME_MEMBER, ACME_MEMBER, ACME_ADMIN, GLOBEX_ADMIN)):
        trace = tmp_path / f"{transaction}"
        with trace.open("w") as file:
            driver_connection.pgconn.trace(file.fileno())
            Counted.sent.clear()
            if person:
                act_as(target.inner, person)
            assert Counted.sent == []
            target.scalar(text("SELECT 1"))
            target.scalar(text("SELECT 2"))
            target.commit()
            driver_connection.pgconn.untrace()
        senders = "".join(re.findall(r"\t([FB])\t\d+\t", trace.read_text()))
        assert senders.count("FB") == (5 if person else 4)  # BEGIN, who acts, SELECT, SELECT, COMMIT


@pytest.mark.parametrize(
    "no_uuid",
    [
        "",
        "1",
        "0x" + "1" * 30,
        " " + "1" * 30 + " ",
        "+" + "1" * 31,
        "\u0661" * 32,
        "'; DROP TABLE users; --",
        str(ACME_MEMBER)[:-1],
        None,
        1,
        ACME_MEMBER.bytes,
    ],
)
def test_refuses_what_is_no_uuid_before_anything_is_sent(target: Target, no_uuid: Any) -> None:
    Counted.sent.clear()
    with pytest.raises(ValueError, match="must be a UUID"):
        act_as(target.inner, no_uuid)
    assert Counted.sent == []


def test_refuses_a_savepoint(target: Target) -> None:
    target.begin_nested()
    with pytest.raises(RuntimeError, match="commit or roll back first"):
        act_as(target.inner, ACME_MEMBER)


def test_refuses_a_second_person_in_one_transaction(target: Target) -> None:
    act_as(target.inner, ACME_MEMBER)
    assert target.visible() == 1
    act_as(target.inner, str(ACME_MEMBER))
    with pytest.raises(RuntimeError, match="commit or roll back first"):
        act_as(target.inner, ACME_ADMIN)
    with pytest.raises(RuntimeError, match="commit or roll back first"):
        act_as_anonymous(target.inner)
    assert target.who() == ("authenticated", str(ACME_MEMBER))
    target.rollback()
    act_as(target.inner, ACME_ADMIN)
    assert target.visible() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_autocommit_again_and_again(open_target: Callable[..., Target], kind: str) -> None:
    target = open_target(kind, isolation_level="AUTOCOMMIT")
    act_as(target.inner, ACME_MEMBER)
    with pytest.raises(RuntimeError, match="autocommit"):
        target.visible()
    for _ in range(2):  # nothing goes through as the login role, also not for who has caught the first error
        with pytest.raises((RuntimeError, ResourceClosedError), match=r"autocommit|closed"):
            target.who()
        target.rollback()


def test_a_leftover_of_supabases_older_setting_does_not_beat_it(target: Target) -> None:
    older = text("SELECT current_setting('request.jwt.claim.sub')")
    target.scalar(text(f"SELECT set_config('request.jwt.claim.sub', '{GLOBEX_ADMIN}', false)"))
    target.commit()
    act_as(target.inner, ACME_MEMBER)
    assert target.visible() == 1
    assert target.scalar(older) == str(ACME_MEMBER)
    target.commit()
    act_as_anonymous(target.inner)
    assert target.scalar(older) == ""


def test_takes_the_tokens_sub_by_name(target: Target) -> None:
    act_as(target=target.inner, sub=ACME_MEMBER)
    assert target.who() == ("authenticated", str(ACME_MEMBER))
    with pytest.raises(ValueError, match=r"^sub must be a UUID, not 'no'$"):
        act_as(target=target.inner, sub="no")


# What each of Supabase's versions of auth.uid() reads: either setting, or one of them alone.
OLDER = "nullif(current_setting('request.jwt.claim.sub', true), '')"
CLAIMS = "nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'"


@pytest.mark.parametrize("reads", [f"coalesce({OLDER}, {CLAIMS})", OLDER, CLAIMS], ids=["either", "older", "claims"])
def test_every_auth_uid_of_supabases_agrees_with_our_helpers(guide: Connection[Any], reads: str) -> None:
    """On the guide's own platform, whose policies ask auth.uid() of auth_id, and ours the helpers."""
    guide.execute(f"""
        CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT ({reads})::uuid $$
    """)
    guide.commit()
    engine = create_engine(url_of(guide).set(username="application"))
    seen = text("SELECT auth.uid(), (SELECT array_agg(id) FROM users), (SELECT count(*) FROM chatbots)")
    with Session(engine) as session:
        for sub, user_id, chatbots in (
            (sub_of(ACME_MEMBER), ACME_MEMBER, 1),
            (sub_of(GLOBEX_MEMBER), GLOBEX_MEMBER, 1),
            (ACME_MEMBER, None, 0),  # users.id is nobody's sub there
        ):
            act_as(session, sub)
            assert session.execute(seen).one() == (sub, [user_id] if user_id else None, chatbots)
            session.commit()
        act_as_anonymous(session)
        assert session.scalar(text("SELECT auth.uid()")) is None
        assert session.scalar(text("SELECT count(*) FROM chatbots")) == 2
    engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
def test_a_login_role_that_may_not_be_it_gets_nothing(
    open_target: Callable[..., Target], people_database: URL, kind: str
) -> None:
    target = open_target(kind)
    act_as(target.inner, ACME_MEMBER)
    assert target.visible() == 1
    target.rollback()
    with connect(people_database) as superuser:
        superuser.execute("REVOKE authenticated FROM application")
        try:
            with pytest.raises(ProgrammingError, match="permission denied to set role"):
                target.visible()
            with pytest.raises((ProgrammingError, ResourceClosedError), match=r"permission denied to set role|closed"):
                target.who()
        finally:
            superuser.execute("GRANT authenticated TO application")


def test_a_connection_goes_on_as_the_person_in_its_open_transaction(open_target: Callable[..., Target]) -> None:
    connection = open_target("connection")
    connection.begin()
    assert connection.who() == ("application", None)
    act_as(connection.inner, ACME_MEMBER)
    assert connection.visible() == 1
    connection.commit()
    assert connection.visible() == 1


def test_an_async_connection_does_so_by_run_sync(open_target: Callable[..., Target]) -> None:
    connection = open_target("async-connection")
    connection.begin()
    with pytest.raises(RuntimeError, match="run_sync"):
        act_as(connection.inner, ACME_MEMBER)
    assert connection.who() == ("application", None)
    connection.run_sync(act_as, ACME_MEMBER)
    assert connection.visible() == 1


def test_an_async_connection_must_be_open(application: Engine) -> None:
    with pytest.raises(RuntimeError, match="await it first"):
        act_as(create_async_engine(application.url).connect(), ACME_MEMBER)


@pytest.mark.parametrize("kind", ["session", "async-session"])
def test_a_session_may_have_begun_if_it_has_sent_nothing(open_target: Callable[..., Target], kind: str) -> None:
    session = open_target(kind)
    session.begin()
    act_as(session.inner, ACME_MEMBER)
    assert session.visible() == 1
    session.commit()
    other = open_target(kind)
    other.scalar(text("SELECT 1"))
    with pytest.raises(RuntimeError, match="first statement"):
        act_as(other.inner, ACME_MEMBER)
    other.rollback()
    act_as(other.inner, ACME_MEMBER)


def test_refuses_a_scoped_session_by_name(application: Engine) -> None:
    sessions = scoped_session(sessionmaker(application))
    with pytest.raises(TypeError, match="not a scoped_session"):
        act_as(sessions, ACME_MEMBER)  # type: ignore[arg-type]
    act_as(sessions(), ACME_MEMBER)
    sessions.remove()

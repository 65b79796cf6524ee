"""act_as: every transaction of a session runs as one person, and nothing of it is left behind."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self
from uuid import UUID

import pytest
from psycopg import ClientCursor, Connection
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app.identity import act_as
from app.models import Chatbot
from tests.people import ACME, ACME_ADMIN, ACME_INACTIVE, ACME_MEMBER, DRAFT, GLOBEX_ADMIN, NOBODY
from tests.tools import url_of


@pytest.fixture
def engine(platform: Connection) -> Iterator[Engine]:
    """An engine with one connection, as the README's login role: NOINHERIT, with no rights of its own."""
    platform.execute("""
        DO $$
        BEGIN
            IF to_regrole('application') IS NULL THEN
                CREATE ROLE application LOGIN NOINHERIT IN ROLE anon, authenticated;
            END IF;
        END
        $$
    """)
    platform.commit()
    engine = create_engine(url_of(platform).set(username="application"), pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def visible(session: Session) -> int:
    """How many chatbots the session's person sees: 1 is a member of Acme, 2 an admin."""
    return len(session.scalars(select(Chatbot.id)).all())


def test_member_and_admin_see_what_is_theirs(engine: Engine) -> None:
    for person, count in ((ACME_MEMBER, 1), (ACME_ADMIN, 2), (GLOBEX_ADMIN, 2), (ACME_INACTIVE, 0), (NOBODY, 0)):
        with Session(engine) as session:
            act_as(session, person)
            assert visible(session) == count


def test_holds_after_commit_rollback_and_close(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, str(ACME_MEMBER))
        for end in (session.commit, session.rollback, session.close, session.commit):
            assert visible(session) == 1
            end()


def test_holds_after_a_savepoint_is_rolled_back(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_MEMBER)
        with session.begin_nested() as savepoint:
            assert visible(session) == 1
            savepoint.rollback()
        assert visible(session) == 1


def test_holds_when_the_connection_itself_commits(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_MEMBER)
        for end in ("commit", "rollback"):
            getattr(session.connection(), end)()
            assert visible(session) == 1


def test_holds_when_another_listener_fails(engine: Engine) -> None:
    """SQLAlchemy goes on with a connection whose after_begin listener has raised."""
    failures = iter([RuntimeError("once")])

    def fail_once(*_: object) -> None:
        for failure in failures:
            raise failure

    with Session(engine) as session:
        event.listen(session, "after_begin", fail_once)
        act_as(session, ACME_MEMBER)
        with pytest.raises(RuntimeError, match="once"):
            visible(session)
        assert visible(session) == 1


def test_objects_of_the_person_before_are_gone(engine: Engine) -> None:
    with Session(engine, expire_on_commit=False) as session:
        act_as(session, ACME_ADMIN)
        draft = session.get_one(Chatbot, DRAFT)
        session.commit()
        act_as(session, GLOBEX_ADMIN)
        assert session.get(Chatbot, DRAFT) is None
        assert draft not in session


def test_a_new_object_does_not_change_hands(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_ADMIN)
        session.add(Chatbot(tenant_id=ACME, created_by=ACME_ADMIN, name="New", system_prompt="New", model="m"))
        with pytest.raises(RuntimeError, match="before a transaction"):
            act_as(session, GLOBEX_ADMIN)
        session.commit()
        assert visible(session) == 3


def test_nothing_is_left_on_the_pooled_connection(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_ADMIN)
        assert visible(session) == 2
    with Session(engine) as session, pytest.raises(ProgrammingError, match="permission denied"):
        visible(session)
    with Session(engine) as session:
        who = session.execute(text("SELECT current_user, current_setting('request.jwt.claims', true)")).one()
        assert tuple(who) == ("application", "")


class Counting(ClientCursor):
    """A cursor that notes what it sends."""

    sent: ClassVar[list[str]] = []

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        self.sent.append(query)
        return super().execute(query, params, prepare=prepare, binary=binary)


def test_costs_one_round_trip_a_transaction(engine: Engine) -> None:
    counted = create_engine(engine.url, connect_args={"cursor_factory": Counting})
    with Session(counted) as session:
        session.execute(text("SELECT 1"))  # what SQLAlchemy asks a new engine's first connection is over
        session.rollback()
        Counting.sent.clear()
        act_as(session, ACME_MEMBER)
        assert Counting.sent == []
        visible(session)
        visible(session)
        assert len(Counting.sent) == 3
        session.commit()
        visible(session)
        assert len(Counting.sent) == 5
        for person in (ACME_ADMIN, GLOBEX_ADMIN):
            session.rollback()
            act_as(session, person)
            visible(session)
        assert len(Counting.sent) == 9  # also for the next person, and the one after
    counted.dispose()


@pytest.mark.parametrize("no_uuid", ["", "1", "'; DROP TABLE users; --", str(ACME_MEMBER)[:-1]])
def test_refuses_what_is_no_uuid_before_anything_is_sent(engine: Engine, no_uuid: str) -> None:
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    with Session(engine) as session:
        with pytest.raises(ValueError, match="must be a UUID"):
            act_as(session, no_uuid)
        assert sent == []


def test_refuses_an_open_transaction_and_its_savepoints(engine: Engine) -> None:
    with Session(engine) as session:
        with session.begin(), pytest.raises(RuntimeError, match="before a transaction"):
            act_as(session, ACME_MEMBER)
        with session.begin_nested(), pytest.raises(RuntimeError, match="before a transaction"):
            act_as(session, ACME_MEMBER)


def test_refuses_a_second_person_in_one_transaction(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        act_as(session, str(ACME_MEMBER))
        with pytest.raises(RuntimeError, match="before a transaction"):
            act_as(session, ACME_ADMIN)
        assert visible(session) == 1
        session.rollback()
        act_as(session, ACME_ADMIN)
        assert visible(session) == 2


def test_refuses_autocommit(engine: Engine) -> None:
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        act_as(session, ACME_MEMBER)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="autocommit"):
                visible(session)
            with pytest.raises(RuntimeError, match="autocommit"):
                session.execute(text("SELECT 1"))
            session.rollback()


def test_refuses_sessions_whose_transactions_are_not_their_own(engine: Engine) -> None:
    bound = pytest.raises(RuntimeError, match="not to a connection")
    with engine.connect() as connection, Session(connection) as session, bound:
        act_as(session, ACME_MEMBER)
    with Session(engine, twophase=True) as session, pytest.raises(RuntimeError, match="two-phase"):
        act_as(session, ACME_MEMBER)


def test_a_leftover_of_supabases_older_setting_does_not_beat_it(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("SELECT set_config('request.jwt.claim.sub', :sub, false)"), {"sub": str(GLOBEX_ADMIN)})
        session.commit()
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        assert session.scalar(text("SELECT current_setting('request.jwt.claim.sub')")) == ""


def test_another_session_is_not_touched(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, UUID(int=ACME_MEMBER.int))
        assert visible(session) == 1
    with Session(engine) as other:
        assert other.scalar(text("SELECT current_user")) == "application"

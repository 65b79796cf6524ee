"""act_as: every transaction of a session runs as one person, and nothing of it is left behind."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from psycopg import Connection
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.exc import PendingRollbackError, ProgrammingError
from sqlalchemy.orm import Session

from app.identity import act_as
from app.models import Chatbot
from tests.people import ACME_ADMIN, ACME_INACTIVE, ACME_MEMBER, GLOBEX_ADMIN, NOBODY
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


def test_acts_at_once_in_an_open_transaction(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1


def test_nothing_is_left_on_the_pooled_connection(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_ADMIN)
        assert visible(session) == 2
    with Session(engine) as session, pytest.raises(ProgrammingError, match="permission denied"):
        visible(session)
    with Session(engine) as session:
        who = session.execute(text("SELECT current_user, current_setting('request.jwt.claims', true)")).one()
        assert tuple(who) == ("application", "")


def test_costs_one_round_trip_a_transaction(engine: Engine) -> None:
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    with Session(engine) as session:
        act_as(session, ACME_MEMBER)
        assert sent == []
        visible(session)
        visible(session)
        assert len(sent) == 3
        session.commit()
        visible(session)
        assert len(sent) == 5
    with Session(engine) as session:
        session.begin()  # open, but no connection yet
        act_as(session, ACME_MEMBER)
        visible(session)
        assert len(sent) == 7


@pytest.mark.parametrize("no_uuid", ["", "1", "'; DROP TABLE users; --", str(ACME_MEMBER)[:-1]])
def test_refuses_what_is_no_uuid_before_anything_is_sent(engine: Engine, no_uuid: str) -> None:
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    with Session(engine) as session:
        with pytest.raises(ValueError, match="must be a UUID"):
            act_as(session, no_uuid)
        assert sent == []


def test_refuses_inside_a_savepoint(engine: Engine) -> None:
    with Session(engine) as session, session.begin_nested(), pytest.raises(RuntimeError, match="savepoint"):
        act_as(session, ACME_MEMBER)


def test_refuses_autocommit(engine: Engine) -> None:
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(RuntimeError, match="autocommit"):
            act_as(session, ACME_MEMBER)


def test_a_transaction_that_could_not_take_the_identity_runs_nothing(engine: Engine) -> None:
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        act_as(session, ACME_MEMBER)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="autocommit"):
                visible(session)
            with pytest.raises(PendingRollbackError):
                session.execute(text("SELECT 1"))
            session.rollback()


def test_refuses_a_second_person_in_one_transaction(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        act_as(session, ACME_MEMBER)
        with pytest.raises(RuntimeError, match="somebody else"):
            act_as(session, ACME_ADMIN)
        assert visible(session) == 1
        session.rollback()
        act_as(session, ACME_ADMIN)
        assert visible(session) == 2


def test_a_leftover_of_supabases_older_setting_does_not_beat_it(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("SELECT set_config('request.jwt.claim.sub', :sub, false)"), {"sub": str(GLOBEX_ADMIN)})
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        assert session.scalar(text("SELECT current_setting('request.jwt.claim.sub')")) == ""


def test_another_session_is_not_touched(engine: Engine) -> None:
    with Session(engine) as session:
        act_as(session, UUID(int=ACME_MEMBER.int))
        assert visible(session) == 1
    with Session(engine) as other:
        assert other.scalar(text("SELECT current_user")) == "application"

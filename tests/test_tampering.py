"""`alembic check` misses nothing: each fact that the document states, changed, is a finding that names its thing."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Connection, create_engine

from app.catalog.comparison import differences
from app.catalog.document import documented
from app.catalog.facts import Key
from tests.tampering import STRANGERS, Tampering, tamperings

TAMPERINGS: dict[str, list[Tampering]] = {}
for each in tamperings():
    TAMPERINGS.setdefault(each.key.place or each.key.kind, []).append(each)


@pytest.fixture
def connection(head: URL) -> Iterator[Connection]:
    engine = create_engine(head)
    with engine.connect() as connection:
        connection.exec_driver_sql(STRANGERS)
        yield connection
    engine.dispose()


@pytest.mark.parametrize("place", TAMPERINGS)
def test_each_change_is_found(connection: Connection, place: str) -> None:
    missed = []
    for tampering in TAMPERINGS[place]:
        with connection.begin_nested() as savepoint:
            connection.exec_driver_sql(tampering.statement.replace("%", "%%"))
            found = differences(connection, "alembic_version")
            savepoint.rollback()
        named = tampering.key.name or tampering.key.place
        if not any((each.key, each.fact) == (tampering.key, tampering.fact) and named in each.text for each in found):
            missed.append((tampering, [each.text for each in found]))
    assert missed == []


def test_each_stated_fact_is_changed() -> None:
    """A new object, or a new fact, has to be tampered with, too."""
    tried = {(each.key, each.fact) for each in tamperings()}
    stated = {(key, fact) for key, facts in documented().items() for fact in ("", *facts)}
    # Schema public is nobody's to drop, and chatbot_compat is dropped when it is no longer needed.
    assert stated - tried == {(Key("", "schema", name), "") for name in ("public", "chatbot_compat")}

"""`alembic check` misses nothing: each fact that the document states, changed, is a finding that names its thing."""

import functools
from collections.abc import Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from app.catalog import comparison
from app.catalog.comparison import compare
from app.catalog.document import documented
from app.catalog.facts import Difference, Key, Ours, read
from tests.conftest import Host
from tests.tampering import STRANGERS, Tampering, tamperings
from tests.tools import sqlalchemy_connection

EVERY = list(tamperings(documented()))


def part_of(tampering: Tampering) -> str:
    """Which test tries it: its table's or view's, or that of all functions, schemas or roles."""
    key = tampering.key
    return key.kind if not key.place or key.kind == "function" else key.place


TOGETHER = 16  # changes that are made before it is looked what is found
PARTS = list(dict.fromkeys(map(part_of, EVERY)))

# Of an adopted platform's tables and the view that has their columns, these and nothing else are ours, or relied on.
OURS = {
    Key("users", "column", "role"),
    Key("users", "constraint", "users_role_check"),
    Key("users", "index", "idx_users_role"),
    Key("users", "index", "idx_users_tenant_role"),
    Key("users", "trigger", "users_guard_membership"),
    Key("users", "trigger", "users_guard_role_insert"),
    Key("users", "trigger", "users_guard_role_update"),
    Key("users", "trigger", "users_audit_insert"),
    Key("users", "trigger", "users_audit_update"),
    Key("users", "trigger", "users_audit_delete"),
    Key("users", "trigger", "users_audit_truncate"),
    Key("users", "trigger", "users_forget_author"),
    Key("conversations", "column", "chatbot_id"),
    Key("conversations", "column", "chatbot_version"),
    Key("conversations", "constraint", "conversations_tenant_id_chatbot_id_fkey"),
    Key("conversations", "index", "idx_conversations_chatbot_id"),
    Key("conversations", "index", "idx_conversations_tenant_chatbot"),
    Key("conversations", "trigger", "Conversations_guard_chatbot_insert"),
    Key("conversations", "trigger", "Conversations_guard_chatbot_update"),
    Key("conversations", "trigger", "conversations_record_version_insert"),
    Key("conversations", "trigger", "conversations_record_version_update"),
    Key("chatbot_compat.feedback", "view"),
    Key("chatbot_compat.feedback", "rule", "extra"),
}
THEIRS = {"tenants", "users", "conversations", "messages", "feedback", "chatbot_compat.feedback"}
THEIRS_TO_DECIDE = {
    (Key("chatbot_compat.feedback", "view"), "Definition"),
    (Key("", "schema", "public"), "CREATE"),
    *((Key("", "role", role), "LOGIN") for role in ("anon", "authenticated", "service_role")),
}
RELIED_ON = {
    **{Key(table, "column", "id"): {"", "Type", "Not null"} for table in ("tenants", "users", "conversations")},
    **{Key(table, "column", "tenant_id"): {"", "Type", "Not null"} for table in ("users", "conversations")},
    Key("users", "column", "is_active"): {"", "Type"},
    Key("messages", "column", "id"): {"", "Type", "Not null"},
    Key("users", "table"): {"Inherits from", "Inherited by"},
}

# The same of the guide's own platform, before its SQL was run by hand and after.
IDENTITY = {Key("users", "column", "auth_id"): {"", "Type"}, Key("users", "trigger", "users_guard_identity"): None}
TAKEN_OVER = {
    "guide": {Key("users", "column", "role"): {"", "Comment"}, Key("users", "constraint", "users_role_check"): set()},
}
TAKEN_OVER["by_hand"] = {
    **TAKEN_OVER["guide"],
    Key("conversations", "column", "chatbot_id"): {"", "Type", "Comment"},
    **{
        Key("chatbots", "column", name): {"", "Type", "Comment", *facts}
        for name, facts in {
            **dict.fromkeys(("created_by", "temperature", "is_published", "updated_at"), frozenset({"Not null"})),
            **dict.fromkeys(("system_prompt", "model"), frozenset({"Not null", "Statistics"})),
            "max_tokens": frozenset(),
            "settings": frozenset({"Not null", "Statistics", "Default"}),
        }.items()
    },
    **{Key("chatbots", "column", name): {"", "Type", "Not null"} for name in ("id", "tenant_id", "created_at")},
    Key("chatbots", "column", "name"): {"", "Type", "Not null", "Statistics"},
    Key("chatbots", "column", "description"): {"", "Type", "Statistics"},
    **{Key("chatbots", kind, "extra"): set() for kind in ("column", "constraint", "index", "trigger")},
}


def is_judged_when_adopted(tampering: Tampering) -> bool:
    key, fact = tampering.key, tampering.fact
    if key in RELIED_ON:
        return fact in RELIED_ON[key]
    return (key.place not in THEIRS or key in OURS) and (key, fact) not in THEIRS_TO_DECIDE


def is_judged_on(shape: str, tampering: Tampering) -> bool:
    """Whether a change is one of the guide's platform that is found."""
    key, judged = tampering.key, {**IDENTITY, **TAKEN_OVER[shape]}
    # Where chatbots were taken over, their texts may be of any length, and their primary key may have any name.
    if "atttypmod = 13" in tampering.statement and key.place in {"chatbots", "published_chatbots"}:
        return False
    if 'RENAME CONSTRAINT "chatbots_pkey"' in tampering.statement:
        return False
    if key in judged:
        facts = judged[key]
        return facts is None or tampering.fact in facts
    return is_judged_when_adopted(tampering)


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is documented is the same, however often it is asked for."""
    monkeypatch.setattr(comparison, "documented", functools.cache(documented))


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


@pytest.fixture
def of_guide(request: pytest.FixtureRequest, host: Host) -> Iterator[Connection]:
    """To the guide's own platform, adopted: a database shared by all."""
    template: NoopExecutor = request.getfixturevalue(f"{request.param}_template")
    with sqlalchemy_connection(host.url(template.template_dbname)) as connection:
        connection.exec_driver_sql(STRANGERS)
        connection.exec_driver_sql("TRUNCATE tenants, chatbot_private.replaced CASCADE")
        yield connection


@pytest.mark.parametrize("part", PARTS)
def test_each_change_is_found(fresh: Connection, part: str) -> None:
    assert unnoticed(fresh, [each for each in EVERY if part == part_of(each)]) == []


@pytest.mark.parametrize("part", PARTS)
def test_each_change_of_what_is_ours_is_found_on_an_adopted_platform(adopted: Connection, part: str) -> None:
    its = [each for each in EVERY if part == part_of(each) and is_judged_when_adopted(each)]
    assert unnoticed(adopted, its) == []


@pytest.mark.parametrize(
    ("of_guide", "part"),
    [*(("by_hand", part) for part in PARTS), ("guide", "users"), ("guide", "function"), ("guide", "conversations")],
    indirect=["of_guide"],
)
def test_each_change_of_what_is_ours_is_found_on_the_guides_platform(
    of_guide: Connection, part: str, request: pytest.FixtureRequest
) -> None:
    shape = request.node.callspec.params["of_guide"]
    here = read(of_guide, Ours.stated(documented()))
    named = documented().keys() | IDENTITY.keys() | TAKEN_OVER[shape].keys()
    ours = {
        key: facts
        for key, facts in here.items()
        if (key in named or key.place.startswith("chatbot_private."))
        and (key.place not in THEIRS or key in OURS | RELIED_ON.keys() | IDENTITY.keys())
    }
    its = [each for each in tamperings(ours) if part == part_of(each) and is_judged_on(shape, each)]
    assert its or part == "feedback" or part.startswith("chatbot_compat.")  # which is not there where notes were
    assert unnoticed(of_guide, its) == []


Unnoticed = list[tuple[Tampering, list[str]]]  # changes, and what was found instead of them


def unnoticed(connection: Connection, changes: list[Tampering]) -> Unnoticed:
    """The changes after which no finding is of that fact of that thing, and names it."""
    return [each for some in at_once(changes) for each in missed(connection, some)]


def at_once(changes: list[Tampering]) -> Iterator[list[Tampering]]:
    """The changes, some together: each of another thing, those that take others along last."""
    waiting = sorted(changes, key=lambda change: "CASCADE" in change.statement)
    while waiting:
        some: dict[Key, Tampering] = {}
        for each in waiting:
            if len(some) < TOGETHER:
                some.setdefault(each.key, each)
        yield list(some.values())
        waiting = [each for each in waiting if each not in some.values()]


def missed(connection: Connection, changes: list[Tampering]) -> Unnoticed:
    """Those of changes made together which are not found by themselves either."""
    try:
        found = differences_after(connection, changes)
    except DBAPIError:  # one of them is not possible beside the others
        if len(changes) == 1:
            raise
        suspects = changes
    else:
        suspects = [each for each in changes if not is_told(each, found)]
        if suspects and len(changes) == 1:
            return [(changes[0], [each.text for each in found])]
    if len(suspects) < len(changes):
        return missed(connection, suspects) if suspects else []
    half = len(suspects) // 2
    return missed(connection, suspects[:half]) + missed(connection, suspects[half:])


def differences_after(connection: Connection, changes: list[Tampering]) -> list[Difference]:
    """What is found once these changes are made; they are rolled back."""
    owner = connection.exec_driver_sql(
        "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'public.chatbots'::regclass"
    ).scalar()
    with connection.begin_nested() as savepoint:
        for change in changes:
            connection.exec_driver_sql(change.statement.replace("%", "%%").replace("CURRENT_USER", str(owner)))
        found = compare(connection, "alembic_version").differences
        savepoint.rollback()
    return found


def is_told(change: Tampering, found: list[Difference]) -> bool:
    name = change.key.name or change.key.place
    return any((each.key, each.fact) == (change.key, change.fact) and name in each.text for each in found)


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

"""The strong locks that each revision takes on live tables: one table a transaction, and what its docstring says."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine, event

from tests.people import populate
from tests.tools import PROJECT, alembic, connect

LIVE = {"tenants", "users", "conversations", "messages", "feedback", "chatbots"}

# Those that block reading or writing, the strongest last.
STRONG = {
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}

# A transaction a line; a foreign key is alone in its own, and locks both its tables.
UPGRADES = {
    "007": [{"users SHARE ROW EXCLUSIVE"}, {"tenants SHARE ROW EXCLUSIVE"}, {"users SHARE ROW EXCLUSIVE"}],
    "008": [{"users ACCESS EXCLUSIVE"}, {"chatbots ACCESS EXCLUSIVE"}],
    "009": [
        {"conversations ACCESS EXCLUSIVE"},
        {"chatbots SHARE ROW EXCLUSIVE", "conversations SHARE ROW EXCLUSIVE"},
    ],
    "010": [{"feedback ACCESS EXCLUSIVE"}],
    "011": [],
    "012": [{"users SHARE ROW EXCLUSIVE"}, {"chatbots SHARE ROW EXCLUSIVE"}],
    "013": [{"users SHARE ROW EXCLUSIVE"}, {"chatbots ACCESS EXCLUSIVE"}, {"conversations ACCESS EXCLUSIVE"}],
    "014": [{"chatbots ACCESS EXCLUSIVE"}],
    "015": [{"chatbots SHARE ROW EXCLUSIVE"}],
}
DOWNGRADES = {
    "015": [{"chatbots ACCESS EXCLUSIVE"}],
    "014": [{"chatbots ACCESS EXCLUSIVE"}],
    "013": [{"conversations ACCESS EXCLUSIVE"}, {"users ACCESS EXCLUSIVE"}, {"chatbots ACCESS EXCLUSIVE"}],
    "012": [{"chatbots ACCESS EXCLUSIVE"}, {"users ACCESS EXCLUSIVE"}],
    "011": [],
    "010": [{"feedback ACCESS EXCLUSIVE"}],
    "009": [
        {"chatbots ACCESS EXCLUSIVE", "conversations ACCESS EXCLUSIVE"},
        {"conversations ACCESS EXCLUSIVE"},
    ],
    "008": [{"chatbots ACCESS EXCLUSIVE"}, {"users ACCESS EXCLUSIVE"}],
    "007": [{"users ACCESS EXCLUSIVE"}, {"tenants ACCESS EXCLUSIVE"}, {"users ACCESS EXCLUSIVE"}],
}

TRACE = """
    INSERT INTO public.lock_trace SELECT txid_current(), relname, mode
    FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relnamespace = 'public'::regnamespace AND relkind = 'r';
    INSERT INTO public.not_valid_trace SELECT conname FROM pg_constraint WHERE NOT convalidated
"""


@pytest.fixture
def traced(empty: URL) -> Iterator[URL]:
    """A database where every statement of a revision notes which locks its transaction then holds.

    The note goes along with the statement, which also in autocommit makes one transaction of both. CONCURRENTLY
    refuses that, and takes no strong lock on the table.
    """

    def with_note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> object:
        is_ddl = statement.split(maxsplit=1)[0] in {"ALTER", "CREATE", "DROP", "DO", "GRANT", "REVOKE", "COMMENT"}
        return (f"{statement}; {TRACE}" if is_ddl and "CONCURRENTLY" not in statement else statement), parameters

    alembic(empty, "upgrade", "006")
    with connect(empty) as connection:
        connection.execute("CREATE TABLE lock_trace (transaction bigint, relation name, mode text)")
        connection.execute("CREATE TABLE not_valid_trace (name name)")
        populate(connection, last="006")
    event.listen(Engine, "before_cursor_execute", with_note, retval=True)
    yield empty
    event.remove(Engine, "before_cursor_execute", with_note)


def strong_locks(traced: URL, command: str, target: str, new: set[str]) -> list[set[str]]:
    """Run a step and tell its transactions' strong locks on live tables, but for those that it makes or drops."""
    with connect(traced) as connection:
        connection.execute("TRUNCATE lock_trace")
        alembic(traced, command, target)
        strongest: dict[int, dict[str, str]] = defaultdict(dict)
        query = "SELECT transaction, relation, mode FROM lock_trace WHERE relation = ANY (%s) AND mode = ANY (%s)"
        order = "ORDER BY transaction, array_position(%s, mode)"
        modes = list(STRONG)
        for transaction, relation, mode in connection.execute(f"{query} {order}", (list(LIVE - new), modes, modes)):
            strongest[transaction][relation] = STRONG[mode]
    return [{f"{relation} {mode}" for relation, mode in locks.items()} for locks in strongest.values()]


def docstring(revision: str) -> str:
    (path,) = (PROJECT / "alembic/versions").glob(f"{revision}_*.py")
    return " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())


def test_each_step_takes_the_locks_that_its_docstring_names(traced: URL) -> None:
    for revision, expected in UPGRADES.items():
        new = {"chatbots"} if revision == "007" else set()
        assert strong_locks(traced, "upgrade", revision, new) == expected, f"upgrade to {revision}"
    for revision, expected in DOWNGRADES.items():
        new = {"chatbots"} if revision == "007" else set()
        before = f"{int(revision) - 1:03}"
        assert strong_locks(traced, "downgrade", before, new) == expected, f"downgrade of {revision}"
    for revision, upgrade in UPGRADES.items():
        locks, downgrade = docstring(revision).partition("Locks: ")[2].split("Downgrade: ")
        if "same lock" in downgrade:
            downgrade += locks
        for text, transactions in ((locks, upgrade), (downgrade, DOWNGRADES[revision])):
            for relation, _, mode in (lock.partition(" ") for lock in set().union(*transactions)):
                named = re.findall(rf"{mode} on (.*?)(?= SHARE| ACCESS|\.|$)", text)
                assert any(relation in tables for tables in named), f"{revision}: {mode} on {relation}"


def test_constraints_on_live_tables_are_added_not_valid(traced: URL) -> None:
    """Rows are checked afterwards, when the strong lock is gone."""
    alembic(traced, "upgrade", "head")
    with connect(traced) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM not_valid_trace")}
    assert found == {
        "chatbots_tenant_id_fkey",
        "chatbots_created_by_fkey",
        "users_role_check",
        "conversations_tenant_id_chatbot_id_fkey",
        "chatbots_category_check",
        "chatbots_tags_check",
    }

"""The strong locks that each revision takes on live tables: one table a transaction, and what its docstring says."""

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine, event

from tests.people import populate
from tests.tools import PROJECT, alembic, connect

LIVE = {"tenants", "users", "conversations", "messages", "feedback", "chatbots"}

# Those that block reading or writing; the weaker ones do neither.
STRONG = {"ShareLock": "SHARE", "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE", "ExclusiveLock": "EXCLUSIVE"}
STRONG["AccessExclusiveLock"] = "ACCESS EXCLUSIVE"

# A transaction a line; a foreign key is alone in its own, and locks both its tables.
UPGRADES = {
    "007": [{"users SHARE ROW EXCLUSIVE"}, {"tenants SHARE ROW EXCLUSIVE"}, {"users SHARE ROW EXCLUSIVE"}],
    "008": [{"users ACCESS EXCLUSIVE"}, {"chatbots ACCESS EXCLUSIVE"}],
    "009": [
        {"conversations ACCESS EXCLUSIVE"},
        {"chatbots SHARE ROW EXCLUSIVE", "conversations SHARE ROW EXCLUSIVE"},
    ],
    "010": [{"feedback ACCESS EXCLUSIVE"}],
}
DOWNGRADES = {
    "010": [{"feedback ACCESS EXCLUSIVE"}],
    "009": [
        {"chatbots ACCESS EXCLUSIVE", "conversations ACCESS EXCLUSIVE"},
        {"conversations ACCESS EXCLUSIVE"},
    ],
    "008": [{"chatbots ACCESS EXCLUSIVE"}, {"users ACCESS EXCLUSIVE"}],
    "007": [{"users ACCESS EXCLUSIVE"}, {"tenants ACCESS EXCLUSIVE"}, {"users ACCESS EXCLUSIVE"}],
}

TRACE = """
    INSERT INTO lock_trace SELECT txid_current(), relname, mode FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relnamespace = 'public'::regnamespace AND relkind = 'r'
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
        populate(connection, last="006")
    event.listen(Engine, "before_cursor_execute", with_note, retval=True)
    yield empty
    event.remove(Engine, "before_cursor_execute", with_note)


def strong_locks(traced: URL, command: str, target: str, new: set[str]) -> list[set[str]]:
    """Run a step and tell its transactions' strong locks on live tables, but for those that it makes or drops."""
    with connect(traced) as connection:
        connection.execute("TRUNCATE lock_trace")
        alembic(traced, command, target)
        held: dict[int, set[str]] = defaultdict(set)
        for transaction, relation, mode in connection.execute("SELECT * FROM lock_trace ORDER BY transaction"):
            if relation in LIVE - new and mode in STRONG:
                held[transaction].add(f"{relation} {STRONG[mode]}")
    # The weaker of two locks on one table says nothing.
    return [
        {
            lock
            for lock in locks
            if f"{lock.split()[0]} ACCESS EXCLUSIVE" in {lock, ""} or f"{lock.split()[0]} ACCESS EXCLUSIVE" not in locks
        }
        for locks in held.values()
    ]


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
    for revision, transactions in UPGRADES.items():
        _, locks, downgrade = docstring(revision).replace("Downgrade:", "Locks:").split("Locks:")
        for text, named in ((locks, transactions), (downgrade, DOWNGRADES[revision])):
            for lock in set().union(*named):
                relation, _, mode = lock.partition(" ")
                assert "the same lock" in text.lower() or (relation in text and mode in text), f"{revision}: {lock}"

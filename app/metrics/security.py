"""What was refused, as far as PostgreSQL tells. Guide: "Security".

Its statistics count the transactions that were rolled back, whyever. What was refused and why stands in its log alone:
it is read where the server writes one in JSON (log_destination) and the connection's role may read it. A query that
row security answers with no rows is no error and stands nowhere.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, text

from app.metrics.families import counter, measured

REFUSED = "refused statements"
KINDS = {  # of refusals, and what tells each in a line of the log; the first that fits
    "key": ("23503", "conversations_tenant_id_chatbot_id_fkey"),
    "link": ("42501", "require_visible_chatbot"),
    "membership": ("42501", "require_table_owner"),
    "policy": ("42501", "row-level security"),
    "grant": ("42501", ""),
}
ROLLED_BACK = text("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")
MAY_READ = text("""
    SELECT has_function_privilege('pg_current_logfile(text)', 'EXECUTE')
        AND has_function_privilege('pg_read_binary_file(text,bigint,bigint,boolean)', 'EXECUTE')
""")
LOG_FILE = text("SELECT pg_current_logfile('jsonlog')")
CHUNK = text("SELECT pg_read_binary_file(:file, :offset, :length, true)")
LENGTH = 4 * 1024 * 1024  # bytes of the log that are read at a time


def families(connection: Connection) -> Iterator[Metric]:
    """Transactions rolled back, and statements refused since the server's log file began."""
    rolled_back = counter("rolled_back_transactions", "Transactions that failed or were given up, of any reason")
    rolled_back.add_metric([], connection.scalar(ROLLED_BACK))
    yield rolled_back
    if trouble := unreadable(connection):
        yield measured(REFUSED, trouble)
        return
    refused = counter("refused_statements", "Statements refused, by the current log file of the server", "kind")
    found = Counter(refusals(connection))
    for kind in KINDS:
        refused.add_metric([kind], found[kind])
    yield from (refused, measured(REFUSED))


def unreadable(connection: Connection) -> str:
    """Why the server's log cannot be read; nothing if it can."""
    if not connection.scalar(MAY_READ):
        return "the role may not read the server's log"
    if connection.scalar(LOG_FILE) is None:
        return "the server writes no log in JSON"
    return ""


def refusals(connection: Connection) -> Iterator[str]:
    """The kind of each refusal in this database that the current log file has."""
    database = connection.scalar(text("SELECT current_database()"))
    for line in lines(connection):
        if b'"42501"' in line or b'"23503"' in line:
            entry = parsed(line)
            if entry.get("dbname") == database and (kind := kind_of(entry)):
                yield kind


def parsed(line: bytes) -> dict[str, Any]:
    """A line of the log; nothing of one that is none, as a full disk leaves."""
    try:
        entry = json.loads(line.decode(errors="replace"))
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def lines(connection: Connection) -> Iterator[bytes]:
    """The lines of the current log file, but for one that is being written."""
    offset, rest = 0, b""
    file = connection.scalar(LOG_FILE)
    while chunk := connection.scalar(CHUNK, {"file": file, "offset": offset, "length": LENGTH}):
        offset += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def kind_of(entry: dict[str, Any]) -> str | None:
    """What refused a statement, by its line of the log; None: it was another error."""
    said, state = f"{entry.get('message', '')} {entry.get('context', '')}", entry.get("state_code")
    return next((kind for kind, (code, sign) in KINDS.items() if state == code and sign in said), None)

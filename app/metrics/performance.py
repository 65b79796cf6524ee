"""How fast chatbots are found, and what of that row security costs. Guide: "Performance"."""

from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Any

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, Row, select, text, true

from app.asking import UnansweredError, ask
from app.identity import Identity, identity_of
from app.metrics.families import counter, gauge, measured
from app.models import Base, Chatbot
from app.person import identity_column, users_with

OVERHEAD = "row security overhead"
TIMES = 15  # so often is each probe run, with and without identity by turns

# The guide's "Query Performance". They select by hand what row security leaves the person, so with and without it the
# rows are the same.
PROBES = {
    "list published chatbots": """
        SELECT id, name, description FROM public.chatbots
        WHERE tenant_id = '{tenant_id}' AND is_published ORDER BY name
    """,
    "get chatbot": "SELECT * FROM public.chatbots WHERE tenant_id = '{tenant_id}' AND id = '{chatbot_id}'",
    "list conversations of chatbot": """
        SELECT * FROM public.conversations
        WHERE tenant_id = '{tenant_id}' AND user_id = '{user_id}' AND chatbot_id = '{chatbot_id}' ORDER BY created_at
    """,
    "check role": "SELECT role FROM public.users WHERE id = '{user_id}'",
}
INDEXES = text("""
    SELECT relname, indexrelname, idx_scan, pg_relation_size(indexrelid) AS bytes FROM pg_stat_user_indexes
    WHERE schemaname = 'public' AND relname = ANY (CAST(:tables AS text[])) ORDER BY relname, indexrelname
""")
TABLES = text("""
    SELECT relname, seq_scan, seq_tup_read, n_live_tup FROM pg_stat_user_tables
    WHERE schemaname = 'public' AND relname = ANY (CAST(:tables AS text[])) ORDER BY relname
""")


def families(connection: Connection) -> Iterator[Metric]:
    """Seconds of the probes, uses of the indexes, sequential scans."""
    yield from probed(connection)
    yield from counted(connection)


def probed(connection: Connection) -> Iterator[Metric]:
    """Each probe as the connection's role, which row security does not bind, and as a member of a tenant."""
    seconds = gauge("probe_seconds", "Median of planning and running it, in the server", "query", "identity")
    overhead = gauge("row_security_overhead_seconds", "What a member's probe takes longer than without", "query")
    sample = sample_of(connection)
    try:
        if sample is None:
            raise UnansweredError("no tenant has a published chatbot and an active person", denied=False)
        for query, (without, member) in medians(connection, sample).items():
            seconds.add_metric([query, "none"], without)
            seconds.add_metric([query, "member"], member)
            overhead.add_metric([query], member - without)
    except UnansweredError as reason:
        yield measured(OVERHEAD, str(reason))
    else:
        yield from (seconds, overhead, measured(OVERHEAD))


def sample_of(connection: Connection) -> Row[Any] | None:
    """A published chatbot and an active person of its tenant with the sub of their token, if there are any."""
    identity = identity_column(connection)
    users = users_with(identity)
    sub = users.c[identity]
    theirs = select(users.c.id, sub.label("sub")).where(users.c.tenant_id == Chatbot.tenant_id)
    person = theirs.where(users.c.is_active, sub.is_not(None)).limit(1).lateral("person")
    sample = select(Chatbot.tenant_id, Chatbot.id.label("chatbot_id"), person.c.id.label("user_id"), person.c.sub)
    return connection.execute(sample.join(person, true()).where(Chatbot.is_published).limit(1)).one_or_none()


def medians(connection: Connection, sample: Row[Any]) -> dict[str, tuple[float, float]]:
    """Seconds of each probe, without and with identity.

    Raises:
        UnansweredError: the connection's role cannot act as a member, or that member may not ask.
    """
    member = identity_of(sample.sub)
    taken: dict[str, dict[Identity | None, list[float]]] = {query: defaultdict(list) for query in PROBES}
    for _ in range(TIMES):
        for query, probe in PROBES.items():
            explain = f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {probe.format(**sample._asdict())}"
            for identity in (None, member):
                (found,) = ask(connection, explain, identity)
                taken[query][identity].append((found[0]["Planning Time"] + found[0]["Execution Time"]) / 1000)
    return {query: (median(its[None]), median(its[member])) for query, its in taken.items()}


def counted(connection: Connection) -> Iterator[Metric]:
    """What PostgreSQL counts of our tables, since its statistics were last reset."""
    tables = {"tables": sorted(Base.metadata.tables)}
    scans = counter("index_scans", "Uses of an index", "table", "index")
    size = gauge("index_bytes", "Size of an index", "table", "index")
    for row in connection.execute(INDEXES, tables):
        scans.add_metric([row.relname, row.indexrelname], row.idx_scan)
        size.add_metric([row.relname, row.indexrelname], row.bytes)
    sequential = counter("sequential_scans", "Times that the whole table was read", "table")
    read = counter("sequential_rows_read", "Rows that those read", "table")
    rows = gauge("table_rows", "Rows, as estimated", "table")
    for row in connection.execute(TABLES, tables):
        for family, value in ((sequential, row.seq_scan), (read, row.seq_tup_read), (rows, row.n_live_tup)):
            family.add_metric([row.relname], value)
    yield from (scans, size, sequential, read, rows)

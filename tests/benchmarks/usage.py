"""What usage of one tenant costs its admin, beside the same aggregate written by hand as the owner of the tables.

    python -m tests.benchmarks.usage --tenants 100 10000

A database for each number of tenants: 100 chatbots, 1,000 conversations and 2,000 messages each, every tenth rated; one
tenant has ten times as many. The rows of a tenant lie scattered among those of the others. So between the databases the
tables grow and the tenants do not, and within each the other way round. The guide's 10,000
chatbots and 100,000 conversations are those of 100 tenants; 10,000 tenants have 1,000,000 and 10,000,000.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from app.embedded import Server, installed_binaries, reachable_binaries, temporary_server
from tests.people import person
from tests.tools import alembic, become, connect

TIMES = 15
CHATBOTS, PEOPLE, TALKS = 100, 10, 10  # of a tenant; of a tenant; conversations of a chatbot
LARGE = 10  # so many times as many chatbots the large tenant has
SETTINGS = {"shared_buffers": "2GB", "maintenance_work_mem": "1GB", "max_wal_size": "20GB"}

FILL = """
    INSERT INTO tenants (name) SELECT n::text FROM generate_series(1, {tenants}) AS n;
    INSERT INTO users (tenant_id, email, role)
        SELECT id, i || '@example.com', CASE i WHEN 1 THEN 'admin' ELSE 'user' END
        FROM tenants, generate_series(1, {people}) AS i;
    CREATE TEMP TABLE person AS
        SELECT id, tenant_id, row_number() OVER (PARTITION BY tenant_id) AS i FROM users;
    INSERT INTO chatbots (tenant_id, name, system_prompt, model, is_published)
        SELECT id, 'Bot ' || i, 'Be.', 'a-model', i % 4 > 0
        FROM tenants, LATERAL generate_series(1, {chatbots} * CASE name WHEN '1' THEN {large} ELSE 1 END) AS i;
    CREATE TEMP TABLE chatbot AS
        SELECT id, tenant_id, row_number() OVER (PARTITION BY tenant_id) AS i FROM chatbots;
    ANALYZE person, chatbot;
    INSERT INTO conversations (tenant_id, user_id, chatbot_id, title)
        SELECT tenant_id, person.id, chatbot.id, 'Talk'
        FROM generate_series(1, {talks}) AS n, chatbot JOIN person USING (tenant_id)
        WHERE person.i = 1 + (chatbot.i + n) % {people}
        ORDER BY n, chatbot.i;
    INSERT INTO messages (conversation_id, role, content)
        SELECT id, role, 'As long as many messages are, which is not very long.'
        FROM conversations, unnest(ARRAY['user', 'assistant']) AS role;
    INSERT INTO feedback (message_id, user_id, rating)
        SELECT messages.id, user_id, 1 + (random() * 4)::integer
        FROM messages JOIN conversations ON conversations.id = conversation_id
        WHERE role = 'assistant' AND random() < 0.2
"""
BY_HAND = """
    SELECT b.tenant_id, b.id, b.name, b.is_published, count(DISTINCT c.id), count(DISTINCT m.id),
        count(DISTINCT c.user_id), count(f.rating), avg(f.rating), avg((f.rating >= 4)::integer),
        greatest(max(c.created_at), max(m.created_at))
    FROM chatbots AS b
    LEFT JOIN conversations AS c ON c.tenant_id = b.tenant_id AND c.chatbot_id = b.id
    LEFT JOIN messages AS m ON m.conversation_id = c.id
    LEFT JOIN feedback AS f ON f.message_id = m.id
    WHERE b.tenant_id = %s
    GROUP BY b.id ORDER BY 5 DESC
"""
SCANNED = """
    SELECT sum(seq_scan)::integer FROM pg_stat_xact_user_tables WHERE schemaname = 'public' AND relname <> 'tenants'
"""


class Cost(NamedTuple):
    """Milliseconds of each way, medians; how often the admin's way read a whole table."""

    by_admin: float
    by_hand: float
    whole_tables: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tenants", type=int, nargs="+", default=[100, 10_000])
    arguments.add_argument("--postgres-binaries", type=Path, default=None)
    given = arguments.parse_args()
    binaries = reachable_binaries(given.postgres_binaries or installed_binaries())
    row = "{:>10}{:>12}{:>16}{:>12}{:>14}{:>14}{:>10}{:>16}{:>14}"
    headings = ("tenants", "chatbots", "conversations", "of tenant", "chatbot_usage", "by hand", "ratio")
    print(row.format(*headings, "to the smallest", "whole tables"))
    with temporary_server(binaries, **SETTINGS) as server:
        smallest: dict[str, float] = {}
        for tenants in given.tenants:
            fill(server, tenants)
            for tenant, bots in (("2", CHATBOTS), ("1", CHATBOTS * LARGE)):
                cost = measured(server, tenants, tenant)
                first = smallest.setdefault(tenant, cost.by_admin)
                everything = CHATBOTS * (tenants - 1 + LARGE)
                figures = (f"{tenants:,}", f"{everything:,}", f"{everything * TALKS:,}", f"{bots * TALKS:,}")
                times = (f"{cost.by_admin:.1f} ms", f"{cost.by_hand:.1f} ms", f"{cost.by_admin / cost.by_hand:.2f}")
                print(row.format(*figures, *times, f"{cost.by_admin / first:.2f}", cost.whole_tables), flush=True)


def fill(server: Server, tenants: int) -> None:
    """Make the database of so many tenants; indexes are built when the rows are there, which is faster."""
    with connect(server.url()) as connection:
        connection.execute(f"CREATE DATABASE of_{tenants}".encode())
    url = server.url(f"of_{tenants}")
    alembic(url, "upgrade", "head")
    with connect(url) as connection:
        connection.execute("SET session_replication_role = replica; SET work_mem = '1GB'")
        indexes = connection.execute("""
            SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
            WHERE indrelid IN ('public.conversations'::regclass, 'public.messages'::regclass) AND NOT indisprimary
        """).fetchall()
        values = {"tenants": tenants, "chatbots": CHATBOTS, "people": PEOPLE, "talks": TALKS, "large": LARGE}
        dropped = [f"DROP INDEX {name}" for name, _ in indexes]
        for statement in [*dropped, *FILL.format(**values).split(";\n"), *(made for _, made in indexes)]:
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")


def measured(server: Server, tenants: int, name: str) -> Cost:
    """The usage of one tenant, both ways by turns."""
    with connect(server.url(f"of_{tenants}")) as connection:
        found = connection.execute(
            "SELECT tenants.id, users.id FROM tenants JOIN users ON tenant_id = tenants.id AND role = 'admin'"
            " WHERE name = %s",
            (name,),
        ).fetchone()
        assert found is not None
        tenant, admin = found

        def by_admin() -> Sequence[Any]:
            return as_admin(connection, admin)

        def by_hand() -> Sequence[Any]:
            return connection.execute(BY_HAND, (tenant,)).fetchall()

        assert len(by_admin()) == len(by_hand()) == CHATBOTS * (LARGE if name == "1" else 1)
        taken: dict[Callable[[], object], list[float]] = {by_admin: [], by_hand: []}
        for _ in range(TIMES):
            for way, its in taken.items():
                begun = time.perf_counter()
                way()
                its.append((time.perf_counter() - begun) * 1000)
    with connect(server.url(f"of_{tenants}")) as anew, anew.transaction():
        as_admin(anew, admin)
        (scans,) = anew.execute(SCANNED).fetchone() or (0,)
    return Cost(median(taken[by_admin]), median(taken[by_hand]), scans)


def as_admin(connection: Connection, admin: UUID) -> Sequence[Any]:
    """What the API does for an admin who asks: take the identity, then the figures, in a transaction."""
    with connection.transaction():
        become(connection, person(admin))
        return connection.execute("SELECT * FROM chatbot_usage()").fetchall()


if __name__ == "__main__":
    main()

"""What a live service feels of the upgrade: its longest stall, beside that of the guide's steps written naively.

    python -m tests.benchmarks.live_upgrade --conversations 1000000

Two copies of one platform at 006, with the same load of the previous application: one is upgraded by
baselines/naive_upgrade.sql, the other by `alembic upgrade head`, then taken back by `alembic downgrade 006`. Beside
them, what the load feels of this machine when nothing is changed for as long.
"""

import argparse
import multiprocessing
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from uuid import UUID

import psycopg
from sqlalchemy import URL

from app.embedded import Server, installed_binaries, reachable_binaries, temporary_server
from tests.tools import alembic, connect, libpq_url, run

BASELINES = Path(__file__).with_name("baselines")
CONNECTIONS = 4
PAUSE = 0.002  # seconds between two statements of a connection
LEAD = 2.0  # seconds of load before the upgrade begins

FILL = """
    INSERT INTO tenants (name) SELECT 'Tenant ' || n FROM generate_series(1, 1000) AS n;
    CREATE TEMP TABLE tenant AS SELECT id, row_number() OVER () - 1 AS n FROM tenants;
    INSERT INTO users (tenant_id, email)
        SELECT id, i || '@example.com' FROM generate_series(1, %(users)s) AS i JOIN tenant ON n = i %% 1000;
    CREATE TEMP TABLE person AS SELECT id, tenant_id, row_number() OVER () - 1 AS n FROM users;
    INSERT INTO conversations (tenant_id, user_id, title)
        SELECT tenant_id, id, 'Talk ' || i
        FROM generate_series(1, %(conversations)s) AS i JOIN person ON n = i %% %(users)s;
    INSERT INTO messages (conversation_id, role, content)
        SELECT id, 'assistant', 'Hello' FROM conversations LIMIT %(feedback)s;
    INSERT INTO feedback (message_id, user_id, rating, comment)
        SELECT messages.id, user_id, 4, 'Fine' FROM messages JOIN conversations ON conversations.id = conversation_id;
"""


@dataclass(frozen=True)
class Felt:
    """What the load felt of a change."""

    change: str
    seconds: float  # that the change took
    statements: int
    longest: float  # seconds of the longest statement
    longest_statement: str
    errors: list[str]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--conversations", type=int, default=10_000_000)
    arguments.add_argument("--feedback", type=int, default=1_000_000)
    arguments.add_argument("--users", type=int, default=500_000)
    arguments.add_argument("--postgres-binaries", type=Path, default=None)
    given = arguments.parse_args()
    with temporary_server(reachable_binaries(given.postgres_binaries or installed_binaries())) as server:
        fill(server, given.conversations, given.feedback, given.users)
        naive = felt("naive upgrade", server.url("naive"), upgrade_naively)
        ours = felt("alembic upgrade head", server.url("ours"), lambda url: must(url, "upgrade", "head"))
        back = felt("alembic downgrade 006", server.url("ours"), lambda url: must(url, "downgrade", "006"))
        nothing = felt("nothing", server.url("ours"), lambda _: time.sleep(ours.seconds))
    print(f"{given.conversations:,} conversations, {given.feedback:,} feedback, {given.users:,} users")
    row = "{:24}{:>10}{:>16}{:>12}{:>8}{:>16}{:>14}"
    print(row.format("", "took", "longest stall", "statements", "failed", "stall / naive", "time / naive"))
    for each in (naive, ours, back, nothing):
        ratios = f"{each.longest / naive.longest:.4f}", f"{each.seconds / naive.seconds:.2f}"
        measured = f"{each.seconds:.1f} s", f"{each.longest * 1000:.0f} ms", f"{each.statements:,}", len(each.errors)
        print(row.format(each.change, *measured, *ratios))
        print(f"    longest: {each.longest_statement}")
        for error in each.errors[:5]:
            print(f"    {error}")


def fill(server: Server, conversations: int, feedback: int, users: int) -> None:
    """Make the databases `naive` and `ours`, alike, at 006 and with rows."""
    with connect(server.url()) as connection:
        connection.execute("CREATE DATABASE naive")
        alembic(server.url("naive"), "upgrade", "006")
        with connect(server.url("naive")) as platform:
            values = {"conversations": conversations, "feedback": feedback, "users": users}
            for statement in FILL.split(";\n")[:-1]:
                platform.execute(psycopg.sql.SQL(statement % {k: str(v) for k, v in values.items()}))
            platform.execute("VACUUM ANALYZE")
        connection.execute("CREATE DATABASE ours TEMPLATE naive STRATEGY file_copy")
        connection.execute("CHECKPOINT")


def upgrade_naively(url: URL) -> None:
    with connect(url) as connection:
        connection.execute((BASELINES / "naive_upgrade.sql").read_text())


def must(url: URL, *arguments: str) -> None:
    done = run("alembic", *arguments, url=url)
    print(done.stderr, file=sys.stderr)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments)


def felt(change: str, url: URL, make: Callable[[URL], None]) -> Felt:
    """Make a change while the load runs, and tell what it felt."""
    with connect(url) as connection:
        talks = connection.execute("""
            SELECT user_id, tenant_id, conversations.id, messages.id
            FROM conversations TABLESAMPLE SYSTEM (1) JOIN messages ON conversation_id = conversations.id LIMIT 10000
        """).fetchall()
    over = multiprocessing.Event()
    with multiprocessing.Pool(CONNECTIONS, initializer=share, initargs=(over,)) as pool:
        loads = [pool.apply_async(load, (libpq_url(url), talks)) for _ in range(CONNECTIONS)]
        time.sleep(LEAD)
        begun = time.monotonic()
        make(url)
        seconds = time.monotonic() - begun
        over.set()
        results = [result.get() for result in loads]
    longest, longest_statement = max(longest for _, longest, _ in results)
    return Felt(
        change,
        seconds,
        statements=sum(count for count, _, _ in results),
        longest=longest,
        longest_statement=longest_statement,
        errors=[error for _, _, errors in results for error in errors],
    )


def share(event: Event) -> None:
    """Give a load process the event that ends it."""
    globals()["over"] = event


def load(target: str, talks: list[tuple[UUID, UUID, UUID, UUID]]) -> tuple[int, tuple[float, str], list[str]]:
    """Run the statements of load.sql again and again, as the previous application: autocommit, no retry.

    Returns:
        Their number, the seconds of the longest and its text, and what went wrong.
    """
    lines = [line for line in (BASELINES / "load.sql").read_text().splitlines() if not line.startswith("--")]
    statements = [part.strip() for line in lines for part in line.split(";") if part.strip()]
    prepared = [re.sub(r":(\w+)", r"%(\1)s", statement) for statement in statements]
    count, longest, errors = 0, (0.0, ""), list[str]()
    with psycopg.connect(target, autocommit=True) as connection:
        while not globals()["over"].is_set():
            values = dict(zip(("user", "tenant", "conversation", "message"), random.choice(talks), strict=True))
            for statement in prepared:
                begun = time.monotonic()
                try:
                    connection.execute(statement, values)
                except psycopg.Error as error:
                    errors.append(f"{statement}: {error}")
                count, longest = count + 1, max(longest, (time.monotonic() - begun, statement))
                time.sleep(PAUSE)
    return count, longest, errors


if __name__ == "__main__":
    main()

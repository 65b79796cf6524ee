"""What a live service feels of the upgrade: its longest stall, beside that of the same steps in one transaction.

    python -m tests.benchmarks.live_upgrade --conversations 1000000
    python -m tests.benchmarks.live_upgrade --chatbots 1000000

Two copies of one platform, with the same load of the previous application: one is upgraded naively, the other by
`alembic upgrade head`, then taken back by `alembic downgrade`. Beside them, what the load feels of this machine when
nothing is changed for as long. Without --chatbots, a platform at 006, and baselines/naive_upgrade.sql; with them, one
at 010 that has so many, and the steps beyond the guide by the files of `python -m app sql`.
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
from app.migration.files import APPLY, files
from app.migration.settings import configuration
from tests.tools import alembic, connect, libpq_url, run_anew

BASELINES = Path(__file__).with_name("baselines")
CONNECTIONS = 4
PAUSE = 0.002  # seconds between two statements of a connection
LEAD = 2.0  # seconds of load before the upgrade begins

SAMPLE = """
    SELECT user_id AS "user", tenant_id AS tenant, conversations.id AS conversation, messages.id AS message
    FROM conversations TABLESAMPLE SYSTEM (1) JOIN messages ON conversation_id = conversations.id LIMIT 10000
"""
SAMPLE_OF_CHATBOTS = """
    SELECT user_id AS "user", tenant_id AS tenant, id AS conversation, chatbot_id AS chatbot
    FROM conversations WHERE chatbot_id IS NOT NULL ORDER BY id LIMIT 10000
"""
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

FILL_WITH_CHATBOTS = """
    INSERT INTO tenants (name) SELECT 'Tenant ' || n FROM generate_series(1, 1000) AS n;
    CREATE TEMP TABLE tenant AS SELECT id, row_number() OVER () - 1 AS n FROM tenants;
    INSERT INTO users (tenant_id, email, role)
        SELECT id, i || '@example.com', CASE WHEN i <= 1000 THEN 'admin' ELSE 'user' END
        FROM generate_series(1, 10000) AS i JOIN tenant ON n = i %% 1000;
    CREATE TEMP TABLE person AS SELECT DISTINCT ON (tenant_id) id, tenant_id FROM users WHERE role = 'admin';
    INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model, is_published)
        SELECT tenant.id, person.id, 'Bot ' || i, repeat('Be helpful, and never guess. ', 30), 'a-model', i %% 4 > 0
        FROM generate_series(1, %(chatbots)s) AS i JOIN tenant ON n = i %% 1000 JOIN person ON tenant_id = tenant.id;
    INSERT INTO conversations (tenant_id, user_id, chatbot_id, title)
        SELECT tenant_id, created_by, id, 'Talk' FROM chatbots;
"""


@dataclass(frozen=True)
class Platform:
    """What is upgraded, beside which load.

    Args:
        start: the revision that it is at.
        rows: SQL that fills it.
        sample: SQL for the rows that the load is at.
        load: the load's file, in baselines.
        upgrade_naively: in one transaction.
    """

    start: str
    rows: str
    sample: str
    load: str
    upgrade_naively: Callable[[URL], None]


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
    arguments.add_argument("--chatbots", type=int, default=0)
    arguments.add_argument("--postgres-binaries", type=Path, default=None)
    given = arguments.parse_args()
    if given.chatbots:
        rows = FILL_WITH_CHATBOTS % {"chatbots": given.chatbots}
        platform = Platform("010", rows, SAMPLE_OF_CHATBOTS, "load_of_chatbots.sql", run_the_files)
        print(f"{given.chatbots:,} chatbots, each with a conversation")
    else:
        rows = FILL % {"users": given.users, "conversations": given.conversations, "feedback": given.feedback}
        platform = Platform("006", rows, SAMPLE, "load.sql", upgrade_naively)
        print(f"{given.conversations:,} conversations, {given.feedback:,} feedback, {given.users:,} users")
    with temporary_server(reachable_binaries(given.postgres_binaries or installed_binaries())) as server:
        fill(server, platform)
        ours = server.url("ours")
        results = [felt("in one transaction", server.url("naive"), platform, platform.upgrade_naively)]
        results.append(felt("alembic upgrade head", ours, platform, lambda url: must(url, "upgrade", "head")))
        back = f"alembic downgrade {platform.start}"
        results.append(felt(back, ours, platform, lambda url: must(url, "downgrade", platform.start)))
        results.append(felt("nothing", ours, platform, lambda _: time.sleep(results[1].seconds)))
    naive = results[0]
    row = "{:24}{:>10}{:>16}{:>12}{:>8}{:>16}{:>14}"
    print(row.format("", "took", "longest stall", "statements", "failed", "stall / naive", "time / naive"))
    for each in results:
        ratios = f"{each.longest / naive.longest:.4f}", f"{each.seconds / naive.seconds:.2f}"
        measured = f"{each.seconds:.1f} s", f"{each.longest * 1000:.0f} ms", f"{each.statements:,}", len(each.errors)
        print(row.format(each.change, *measured, *ratios))
        print(f"    longest: {each.longest_statement}")
        for error in each.errors[:5]:
            print(f"    {error}")


def fill(server: Server, platform: Platform) -> None:
    """Make the databases `naive` and `ours`, alike, with rows."""
    with connect(server.url()) as connection:
        connection.execute("CREATE DATABASE naive")
        alembic(server.url("naive"), "upgrade", platform.start)
        with connect(server.url("naive")) as filled:
            for statement in platform.rows.split(";\n")[:-1]:
                filled.execute(psycopg.sql.SQL(statement))
            filled.execute("VACUUM ANALYZE")
        connection.execute("CREATE DATABASE ours TEMPLATE naive STRATEGY file_copy")
        connection.execute("CHECKPOINT")


def upgrade_naively(url: URL) -> None:
    with connect(url) as connection:
        connection.execute((BASELINES / "naive_upgrade.sql").read_text())


def run_the_files(url: URL) -> None:
    with connect(url) as connection:
        connection.execute(files(configuration())[APPLY].encode())


def must(url: URL, *arguments: str) -> None:
    done = run_anew("alembic", *arguments, url=url)
    print(done.stderr, file=sys.stderr)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments)


def felt(change: str, url: URL, platform: Platform, make: Callable[[URL], None]) -> Felt:
    """Make a change while the load runs, and tell what it felt."""
    with connect(url) as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        drawn = cursor.execute(platform.sample.encode()).fetchall()
    over = multiprocessing.Event()
    with multiprocessing.Pool(CONNECTIONS, initializer=share, initargs=(over,)) as pool:
        loads = [pool.apply_async(load, (libpq_url(url), platform.load, drawn)) for _ in range(CONNECTIONS)]
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


def load(target: str, file: str, drawn: list[dict[str, UUID]]) -> tuple[int, tuple[float, str], list[str]]:
    """Run the statements of a file again and again, as the previous application: autocommit, no retry.

    Returns:
        Their number, the seconds of the longest and its text, and what went wrong.
    """
    lines = [line for line in (BASELINES / file).read_text().splitlines() if not line.startswith("--")]
    statements = [part.strip() for line in lines for part in line.split(";") if part.strip()]
    prepared = [re.sub(r":(\w+)", r"%(\1)s", statement) for statement in statements]
    count, longest, errors = 0, (0.0, ""), list[str]()
    with psycopg.connect(target, autocommit=True) as connection:
        while not globals()["over"].is_set():
            values = random.choice(drawn)
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

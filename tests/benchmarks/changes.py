"""What the audit log and the versions of chatbots cost those who change chatbots, and that reading them costs the same.

    python -m tests.benchmarks.changes --chatbots 10000

One platform twice: at revision 011, and upgraded from there to head. Each change is made on both by turns and rolled
back or committed alike: in the server, as EXPLAIN ANALYZE states it, triggers included; and as a transaction, from its
first statement to its flushed end. Then a member lists the published chatbots on both.
"""

import argparse
import itertools
import re
import time
from pathlib import Path
from statistics import median

from psycopg import Connection

from app.embedded import Server, installed_binaries, reachable_binaries, temporary_server
from tests.benchmarks.queries import SETTINGS, WARMING
from tests.people import SERVICE, Who, person
from tests.scale import Scale, Tenant, fill
from tests.tools import alembic, become, connect

BEFORE = "011"
PROMPT = "You answer politely, name your sources, and never guess. " * 30  # 1.7 kB
CHANGES = {
    "temperature": "temperature = CASE temperature WHEN 1 THEN 0.5 ELSE 1 END",
    "a prompt of 1.7 kB": f"system_prompt = '{PROMPT}' || clock_timestamp()",
    "publish": "is_published = NOT is_published",
}
LISTING = "SELECT id, name FROM chatbots WHERE is_published ORDER BY name LIMIT 50"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--chatbots", type=int, default=10_000)
    arguments.add_argument("--times", type=int, default=200, help="that each change is made on each")
    arguments.add_argument("--postgres-binaries", type=Path, default=None)
    given = arguments.parse_args()
    scale = Scale(given.chatbots, 10 * given.chatbots)
    tenant = scale.nearest(100)
    with temporary_server(reachable_binaries(given.postgres_binaries or installed_binaries()), **SETTINGS) as server:
        make(server, scale)
        row = "{:28}{:>14}{:>14}{:>8}{:>20}{:>14}{:>8}"
        print(f"{given.chatbots:,} chatbots; medians of {given.times}")
        print(row.format("", "in the server", "at " + BEFORE, "ratio", "as a transaction", "at " + BEFORE, "ratio"))
        with connect(server.url("after")) as after, connect(server.url("before")) as before:
            for (who, caller), (what, change) in itertools.product(callers(tenant).items(), CHANGES.items()):
                taken = measured([after, before], caller, tenant, change, given.times)
                figures: list[str] = []
                for ours, theirs in taken:
                    figures += (f"{ours:.3f} ms", f"{theirs:.3f} ms", f"{ours / theirs:.2f}")
                print(row.format(f"{what}, {who}", *figures), flush=True)
            plans = [plan(connection, tenant) for connection in (after, before)]
        same = "the same plan and buffers" if plans[0] == plans[1] else "another plan or other buffers"
        print(f"A member's list of the published ones: {same}.", *dict.fromkeys(plans), sep="\n\n")


def make(server: Server, scale: Scale) -> None:
    """Make the databases `before` and `after`."""
    with connect(server.url()) as connection:
        connection.execute("CREATE DATABASE before")
        alembic(server.url("before"), "upgrade", BEFORE)
        with connect(server.url("before")) as platform:
            fill(platform, scale)
            platform.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CREATE DATABASE after TEMPLATE before")
        alembic(server.url("after"), "upgrade", "head")
        with connect(server.url("after")) as platform:
            platform.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")


def callers(tenant: Tenant) -> dict[str, Who]:
    return {"admin": person(tenant.admin), "service": SERVICE}


def measured(
    connections: list[Connection], who: Who, tenant: Tenant, change: str, times: int
) -> list[tuple[float, float]]:
    """The medians on each connection, in milliseconds: of the statement in the server, and of the transaction."""
    in_server: list[list[float]] = [[], []]
    as_transaction: list[list[float]] = [[], []]
    for number in range(times + WARMING):
        bot = tenant.chatbots[number % len(tenant.chatbots)]
        statement = f"UPDATE chatbots SET {change} WHERE id = '{bot}'"
        turns = list(zip(connections, in_server, as_transaction, strict=True))
        for connection, statements, transactions in turns if number % 2 else reversed(turns):
            with connection.transaction():
                become(connection, who)
                explained = connection.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}").fetchone()
            assert explained is not None
            ((stated,),) = explained
            statements.append(stated["Planning Time"] + stated["Execution Time"])
            begun = time.perf_counter()
            with connection.transaction():
                become(connection, who)
                assert connection.execute(statement).rowcount == 1
            transactions.append((time.perf_counter() - begun) * 1000)
    return [(median(ours[WARMING:]), median(theirs[WARMING:])) for ours, theirs in (in_server, as_transaction)]


def plan(connection: Connection, tenant: Tenant) -> str:
    """How a member's listing is planned, and how many pages it reads, once they are in memory."""
    connection.execute("VACUUM chatbots")
    with connection.transaction():
        become(connection, person(tenant.member))
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        for _ in range(2):
            lines = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {LISTING}"
            ).fetchall()
    return re.sub(r"\nPlanning:\n.*", "", "\n".join(line for (line,) in lines), flags=re.DOTALL)


if __name__ == "__main__":
    main()

"""What finding chatbots by tags costs under row security, beside an array's own operators and the same by hand.

    python -m tests.benchmarks.tags --chatbots 1000000

One platform of any size, 2.7 tags a chatbot in the mean. Each question is asked three ways by turns, of a tenant of the
mean size and of the largest: by the rows of chatbot_tags, as this package has it; by `tags @> ...` with an index for it
(GIN), which row security lets nobody use; and by the rows as the owner, past row security. Beside it, what a change of
tags takes of a save. Times are the server's own, as EXPLAIN ANALYZE states them, planning included.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from psycopg import Connection, sql

from app.embedded import Server, installed_binaries, reachable_binaries, temporary_server
from tests.benchmarks.queries import SETTINGS, WARMING
from tests.people import LOGIN_ROLES, OWNER, Who, person
from tests.queries import LABELLED, MEMBER, literally, plan_nodes, values
from tests.scale import Scale, Tenant, fill
from tests.tools import alembic, become, connect

ROWS, ARRAYS, BY_HAND = "rows", "arrays", "rows, by hand"
BY_ARRAYS = {  # the same questions
    "list with a tag": "SELECT id, name FROM chatbots WHERE tags @> ARRAY[:tag] ORDER BY name LIMIT :limit",
    "find with all tags": "SELECT id FROM chatbots WHERE tags @> ARRAY[:tag, :other]",
    "find with any tag": "SELECT id FROM chatbots WHERE tags && ARRAY[:tag, :other]",
}
CHANGES = {
    "tags": "tags = CASE WHEN 'new' = ANY (tags) THEN ARRAY['old'] ELSE ARRAY['new', 'newer'] END",
    "name": "name = name || '!'",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--chatbots", type=int, default=10_000)
    arguments.add_argument("--times", type=int, default=50, help="that each question is asked in each way")
    arguments.add_argument("--postgres-binaries", type=Path, default=None)
    given = arguments.parse_args()
    scale = Scale(given.chatbots, 0)
    with temporary_server(reachable_binaries(given.postgres_binaries or installed_binaries()), **SETTINGS) as server:
        make(server, scale)
        print(f"{given.chatbots:,} chatbots; medians of {given.times}, in the server")
        row = "{:22}{:>10}{:>8}{:>12}{:>14}{:>16}{:>14}{:>14}  {}"
        print(row.format("", "tenant's", "found", "rows", "arrays", "rows, by hand", "rows/arrays", "rows/hand", "by"))
        with connect(server.url()) as connection:
            for tenant in (scale.nearest(100), scale.tenants[0]):
                for query in LABELLED:
                    if query.name in BY_ARRAYS and MEMBER in query.of:
                        ways: dict[str, tuple[Who, str]] = {
                            ROWS: (person(tenant.member), query.sql),
                            ARRAYS: (person(tenant.member), BY_ARRAYS[query.name]),
                            BY_HAND: (OWNER, query.by_hand),
                        }
                        plans = asked(connection, tenant, ways, given.times)
                        print(row.format(query.name, f"{len(tenant.chatbots):,}", *figures(plans)), flush=True)
            for what, change in CHANGES.items():
                print(f"a save of {what}: {saved(connection, scale.nearest(100), change, given.times):.2f} ms")


def make(server: Server, scale: Scale) -> None:
    alembic(server.url(), "upgrade", "head")
    with connect(server.url()) as connection:
        connection.execute(LOGIN_ROLES)
        fill(connection, scale)
        connection.execute("CREATE INDEX ON chatbots USING gin (tags)")
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")


def asked(
    connection: Connection, tenant: Tenant, ways: dict[str, tuple[Who, str]], times: int
) -> dict[str, list[dict[str, Any]]]:
    """What EXPLAIN states of each time in each way, from forward and backward by turns."""
    given = values(MEMBER, tenant)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(times + WARMING):
        for way in list(ways)[:: 1 if number % 2 else -1]:
            who, statement = ways[way]
            explain = explained(connection, who, literally(statement, given))
            if number >= WARMING:
                found[way].append(explain)
    return found


def explained(connection: Connection, who: Who, statement: sql.Composable) -> dict[str, Any]:
    """What EXPLAIN ANALYZE states of a statement as somebody, which is committed."""
    with connection.transaction():
        become(connection, who)
        explain = sql.SQL("EXPLAIN (ANALYZE, TIMING off, FORMAT json) {}").format(statement)
        row = connection.execute(explain).fetchone()
    assert row is not None
    stated: dict[str, Any] = row[0][0]
    return stated


def milliseconds(stated: Iterable[dict[str, Any]]) -> float:
    """The median of what the server took, planning included."""
    return float(median(each["Planning Time"] + each["Execution Time"] for each in stated))


def figures(plans: dict[str, list[dict[str, Any]]]) -> list[str]:
    """How many were found, the medians and their ratios, and the scans of the first way's plan."""
    medians = {way: milliseconds(stated) for way, stated in plans.items()}
    plan = plans[ROWS][-1]["Plan"]
    scans = [f"{node['Node Type']} {node['Index Name']}" for node in plan_nodes(plan) if "Index Name" in node]
    ratios = (medians[ROWS] / medians[ARRAYS], medians[ROWS] / medians[BY_HAND])
    times = [f"{each:.2f} ms" for each in medians.values()]
    return [f"{plan['Actual Rows']:,.0f}", *times, *(f"{each:.4f}" for each in ratios), ", ".join(scans)]


def saved(connection: Connection, tenant: Tenant, change: str, times: int) -> float:
    """The median of a save by an admin, in milliseconds."""
    bots = [tenant.chatbots[number % len(tenant.chatbots)] for number in range(times + WARMING)]
    saves = [literally(f"UPDATE chatbots SET {change} WHERE id = :chatbot", {"chatbot": bot}) for bot in bots]
    return milliseconds([explained(connection, person(tenant.admin), each) for each in saves][WARMING:])


if __name__ == "__main__":
    main()

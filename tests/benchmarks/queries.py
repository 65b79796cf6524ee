"""What row security costs the guide's queries, and how they fare as the tables grow.

    python -m tests.benchmarks.queries --chatbots 1000 10000 100000 1000000 --plot queries.svg

For each number of chatbots a platform with ten times as many conversations, a few large tenants and many small. Each
query of tests/queries.py is asked three ways, by turns: (a) through act_as, under row security; (b) as the tables'
owner, past it, with the tenant written by hand; (c) under the policies of baselines/tutorial_policies.sql, where they
say anything of it. Server time is what EXPLAIN ANALYZE states, planning and execution; a round trip is a transaction,
from its first statement to its end, through SQLAlchemy; writes are flushed to disk.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import permutations
from multiprocessing import get_context
from pathlib import Path

from rich.progress import Progress
from sqlalchemy import URL, Connection, Engine, create_engine, text

from app.embedded import Server, installed_binaries, reachable_binaries, temporary_server
from app.identity import act_as, act_as_anonymous
from tests.benchmarks import report
from tests.benchmarks.report import BY_HAND, OURS, TENANTS, TUTORIALS, Case, Results, Run, Taken
from tests.people import LOGIN_ROLES
from tests.platforms import AUTH_UID
from tests.queries import MEMBER, QUERIES, VISITOR, literally, values
from tests.scale import Scale, fill
from tests.tools import alembic, connect

TUTORIAL = Path(__file__).with_name("baselines") / "tutorial_policies.sql"
CLIENTS = (1, 8)
LONG_ENOUGH = 5_000  # milliseconds for one query in one way; then it is not asked again
SETTINGS = {  # as on a server that has its tables in memory or on SSDs
    "random_page_cost": "1.1",
    "shared_buffers": "2GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "20GB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}
WARMING = 5  # times that are not counted


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--chatbots", type=int, nargs="+", default=[10_000])
    arguments.add_argument(
        "--times", type=int, default=100, help="that each query is asked in each way, by each client"
    )
    arguments.add_argument("--plot", type=Path, default=None, help="an SVG of time over size")
    arguments.add_argument("--postgres-binaries", type=Path, default=None)
    given = arguments.parse_args()
    binaries = reachable_binaries(given.postgres_binaries or installed_binaries())
    runs: dict[int, Run] = {}
    with temporary_server(binaries, **SETTINGS) as server, Progress() as progress:
        for chatbots in given.chatbots:
            scale = Scale(chatbots, 10 * chatbots)
            ways = databases(server, scale, progress)
            runs[chatbots] = {clients: measured(ways, scale, clients, given.times, progress) for clients in CLIENTS}
            with connect(server.url()) as connection:
                for database in {way.database for way in ways.values()}:
                    connection.execute(f"DROP DATABASE {database}".encode())
    report.table(runs)
    report.goals(runs)
    if given.plot:
        report.plot(runs, given.plot)


def databases(server: Server, scale: Scale, progress: Progress) -> dict[str, URL]:
    """The same platform twice, with our policies and with the tutorials'; the latter say nothing of conversations."""
    made = {}
    for name, conversations in (("ours", scale.conversations), ("tutorials", 0)):
        made[name] = server.url(f"{name}_{scale.chatbots}")
        with connect(server.url()) as connection:
            connection.execute(f"CREATE DATABASE {made[name].database}".encode())
        alembic(made[name], "upgrade", "head")
        rows = 2 * scale.chatbots + conversations
        bar = progress.add_task(f"{scale.chatbots:,} chatbots, {name}", total=rows)
        with connect(made[name]) as connection:
            connection.execute(LOGIN_ROLES)
            fill(connection, Scale(scale.chatbots, conversations), partial(progress.advance, bar))
            if name == "tutorials":
                connection.execute("CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO PUBLIC;" + AUTH_UID)
                policies = connection.execute(
                    "SELECT polname FROM pg_policy WHERE polrelid = 'public.chatbots'::regclass"
                )
                for (policy,) in policies.fetchall():
                    connection.execute(f'DROP POLICY "{policy}" ON chatbots'.encode())
                connection.execute(TUTORIAL.read_bytes())
            connection.execute("CHECKPOINT")
    application = {name: url.set(username="application") for name, url in made.items()}
    return {OURS: application["ours"], BY_HAND: made["ours"], TUTORIALS: application["tutorials"]}


def measured(ways: dict[str, URL], scale: Scale, clients: int, times: int, progress: Progress) -> Results:
    """What each case took in each way, by so many clients at once."""
    bar = progress.add_task(f"{scale.chatbots:,} chatbots, {clients} at once", total=clients)
    joined: Results = {}
    with ProcessPoolExecutor(clients, mp_context=get_context("fork")) as pool:
        for results in pool.map(client, [ways] * clients, [scale] * clients, range(clients), [times] * clients):
            for case, its in results.items():
                for way, taken in its.items():
                    joined.setdefault(case, {}).setdefault(way, Taken()).join(taken)
            progress.advance(bar)
    return joined


def client(ways: dict[str, URL], scale: Scale, number: int, times: int) -> Results:
    """Ask everything so many times, the ways by turns."""
    cases = [Case(query, who, tenant) for query in QUERIES for who in query.of for tenant in TENANTS]
    orders = list(permutations(ways))  # none always comes after another, whose pages are still in the processor's cache
    results: Results = {case: {} for case in cases}
    with ExitStack() as stack:
        engines = {way: create_engine(url) for way, url in ways.items()}
        for engine in engines.values():
            stack.callback(engine.dispose)
        for once in range(times + WARMING):
            if once == WARMING:
                results = {case: {} for case in cases}
            for case in cases:
                for way in orders[once % len(orders)]:
                    taken = results[case].setdefault(way, Taken())
                    if may_ask(case, way) and sum(taken.server) < LONG_ENOUGH:
                        ask(taken, case, way, engines[way], scale, number)
    return results


def may_ask(case: Case, way: str) -> bool:
    """Whether that way says anything of it: the tutorials have no policy to write by, and none without a token."""
    return way != TUTORIALS or ("FROM chatbots" in case.query.sql and case.who != VISITOR)


def ask(taken: Taken, case: Case, way: str, engine: Engine, scale: Scale, number: int) -> None:
    """Ask once for the server's time, and once for the round trip's."""
    tenant = scale.nearest(case.tenant)
    given = values(case.who, tenant, number)
    statement = case.query.by_hand if way == BY_HAND else case.query.sql

    def begin(connection: Connection) -> None:
        if way != BY_HAND and case.who == VISITOR:
            act_as_anonymous(connection)
        elif way != BY_HAND:
            act_as(connection, tenant.member if case.who == MEMBER else tenant.admin)

    with engine.connect() as connection:
        begin(connection)
        explain = literally(f"EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) {statement}", given).as_string()
        taken.take(connection, explain.replace("%", "%%"))
        connection.rollback()
    begun = time.perf_counter()
    with engine.connect() as connection:
        begin(connection)
        answer = connection.execute(text(statement), given)
        if answer.returns_rows:
            answer.all()
        connection.commit()
    taken.trips.append((time.perf_counter() - begun) * 1000)


if __name__ == "__main__":
    main()

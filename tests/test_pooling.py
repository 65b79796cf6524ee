"""Many people on few connections, pooled by PgBouncer, by SQLAlchemy, and with asyncio: each stays who they are."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import database
from app.embedded import Server
from app.identity import act_as
from tests.people import LOGIN_ROLES, NOBODY
from tests.pooler import temporary_pooler, temporary_relay
from tests.tools import connect, database_url

WORKERS, CONNECTIONS = 8, 4
TRANSACTIONS, IN_TASKS = 1_250, 250  # of a worker; asyncio takes several times as long for each
PAUSE = 0.001  # seconds in which somebody else takes the connection, which a pool gives again to who asks at once
TENANTS, PEOPLE = 10, 5  # each tenant's first is its admin

CROWD = """
    INSERT INTO tenants (name) SELECT 'Tenant ' || n FROM generate_series(1, %(tenants)s) AS n;
    INSERT INTO users (tenant_id, email, role)
        SELECT id, n || '@' || name, CASE n WHEN 1 THEN 'admin' ELSE 'user' END
        FROM tenants, generate_series(1, %(people)s) AS n;
    INSERT INTO chatbots (tenant_id, name, system_prompt, model, is_published)
        SELECT id, 'Bot', 'Be one.', 'm', n = 1 FROM tenants, generate_series(1, 2) AS n;
    INSERT INTO conversations (tenant_id, user_id) SELECT tenant_id, id FROM users
"""

# By hand, as the owner: whose conversations and which chatbots each person sees.
EXPECTED = """
    SELECT users.id, array_agg(seen.id::text ORDER BY seen.id)
    FROM users JOIN LATERAL (
        SELECT id FROM conversations WHERE user_id = users.id
        UNION ALL
        SELECT id FROM chatbots WHERE tenant_id = users.tenant_id AND (is_published OR role = 'admin')
    ) AS seen ON true
    GROUP BY users.id
"""

SEEN = text("""
    SELECT current_user, array_agg(id::text ORDER BY id)
    FROM (SELECT id FROM conversations UNION ALL SELECT id FROM chatbots) AS seen
""")
LEFT = text("""
    SELECT current_user, current_setting('request.jwt.claims', true), current_setting('request.jwt.claim.sub', true)
""")
FAIL = text("SELECT 1 / (SELECT count(*) FROM messages)")

Expected = dict[UUID, tuple[str, list[str]]]  # role and ids, by person


@pytest.fixture
def expected(head: URL) -> Expected:
    """Fifty people of ten tenants, and what each of them sees."""
    with connect(head) as connection:
        connection.execute(LOGIN_ROLES)
        for statement in CROWD.split(";"):
            connection.execute(statement, {"tenants": TENANTS, "people": PEOPLE})
        expected = {person: ("authenticated", ids) for person, ids in connection.execute(EXPECTED)}
    assert len(expected) == TENANTS * PEOPLE
    assert len({tuple(ids) for _, ids in expected.values()}) == len(expected)
    return expected


def errands(expected: Expected, seed: int, transactions: int) -> Iterator[tuple[UUID, str]]:
    """Who comes, and how their transaction ends, so many times."""
    chance = random.Random(seed)
    people = list(expected)
    for _ in range(transactions):
        yield chance.choice(people), chance.choices(["commit", "rollback", "fail", "leave"], [6, 2, 1, 1])[0]


def do_errands(open_target: Callable[[], Session | Connection], expected: Expected, seed: int) -> int:
    """Be one person after another; each tenth goes on after the end of their transaction."""
    done = 0
    for person, end in errands(expected, seed, TRANSACTIONS):
        with open_target() as target:
            act_as(target, person)
            assert target.execute(SEEN).one() == expected[person]
            if end == "fail":
                with pytest.raises(DBAPIError):
                    target.execute(FAIL)
            elif end != "leave":
                getattr(target, end)()
            if done % 10 == 0:
                target.rollback()
                assert target.execute(SEEN).one() == expected[person]
        time.sleep(PAUSE)
        done += 1
    return done


def do_all(open_target: Callable[[], Session | Connection], expected: Expected) -> None:
    with ThreadPoolExecutor(WORKERS) as workers:
        done = list(workers.map(lambda seed: do_errands(open_target, expected, seed), range(WORKERS)))
    assert done == [TRANSACTIONS] * WORKERS


def test_on_sqlalchemys_pool(head: URL, expected: Expected) -> None:
    engine = create_engine(head.set(username="application"), pool_size=CONNECTIONS, max_overflow=0)
    users: dict[int, set[int]] = {}  # threads, by the connection that they had

    @event.listens_for(engine, "checkout")
    def note(connection: psycopg.Connection, *_: object) -> None:
        users.setdefault(connection.info.backend_pid, set()).add(threading.get_ident())

    with ExitStack() as stack:
        stack.callback(engine.dispose)
        do_all(engine.connect, expected)
        assert len(users) == CONNECTIONS
        assert all(len(threads) == WORKERS for threads in users.values())
        with engine.connect() as connection:
            role, *left = connection.execute(LEFT).one()
            assert (role, any(left)) == ("application", False)


def test_through_pgbouncer(server: Server, head: URL, expected: Expected) -> None:
    with (
        temporary_pooler(server, head, user="application", connections=CONNECTIONS) as pooler,
        database_url(pooler),
        ExitStack() as stack,
    ):
        engine = database.create_engine(pool_size=WORKERS)
        stack.callback(engine.dispose)
        do_all(lambda: Session(engine), expected)
        with connect(head) as connection:
            used = connection.execute("SELECT FROM pg_stat_activity WHERE usename = 'application'").rowcount
            assert used == CONNECTIONS


async def do_errands_in_a_task(engine: AsyncEngine, expected: Expected, seed: int) -> int:
    done = 0
    for person, end in errands(expected, seed, IN_TASKS):
        async with AsyncSession(engine) as session:
            act_as(session, person)
            assert (await session.execute(SEEN)).one() == expected[person]
            if end == "fail":
                with pytest.raises(DBAPIError):
                    await session.execute(FAIL)
            elif end != "leave":
                await getattr(session, end)()
        await asyncio.sleep(PAUSE)
        done += 1
    return done


def test_with_asyncio(head: URL, expected: Expected) -> None:
    async def do_all_in_tasks() -> list[int]:
        engine = database.create_async_engine(pool_size=CONNECTIONS, max_overflow=0)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            return await asyncio.gather(*(do_errands_in_a_task(engine, expected, seed) for seed in range(WORKERS)))

    with database_url(head.set(username="application")):
        assert asyncio.run(do_all_in_tasks()) == [IN_TASKS] * WORKERS


@pytest.mark.parametrize("end", ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT; BEGIN", "END"])
def test_nobody_goes_on_alone_through_pgbouncer(server: Server, head: URL, expected: Expected, end: str) -> None:
    with (
        temporary_pooler(server, head, user="application", connections=1) as pooler,
        database_url(pooler),
        ExitStack() as stack,
    ):
        engine = database.create_engine()
        stack.callback(engine.dispose)
        for person in (*expected,)[:5]:  # each on the server connection of the one before
            with Session(engine) as session:
                act_as(session, person)
                assert session.execute(SEEN).one() == expected[person]
                session.execute(text(end))
                with pytest.raises(RuntimeError, match="SQL has ended"):
                    session.execute(SEEN)
                session.rollback()
                assert session.execute(SEEN).one() == expected[person]


def test_refuses_a_pooler_that_keeps_the_servers_reports(server: Server, head: URL) -> None:
    """Nobody could say there whether somebody still acts."""
    with (
        connect(head) as connection,
        temporary_relay(server, drop=b"S") as relay,
        database_url(head.set(username="application", query=relay)),
        ExitStack() as stack,
    ):
        connection.execute(LOGIN_ROLES)
        engine = database.create_engine()
        stack.callback(engine.dispose)
        with Session(engine) as session:
            assert session.scalar(text("SELECT current_user")) == "application"
            session.rollback()
            act_as(session, NOBODY)
            for _ in range(2):
                with pytest.raises(RuntimeError, match="the server's reports of default_transaction_read_only"):
                    session.scalar(text("SELECT current_user"))
                session.rollback()


def test_a_pooler_that_knows_no_prepared_statements_mixes_none_up(server: Server, head: URL) -> None:
    """With psycopg's default, the last of these SELECTs ran as the other client's DELETE, and said nothing."""
    select, delete = text("SELECT name FROM tenants WHERE id = :id"), text("DELETE FROM tenants WHERE id = :id")
    with connect(head) as connection:
        tenant = connection.execute("INSERT INTO tenants (name) VALUES ('Kept') RETURNING id").fetchone()
    assert tenant is not None
    with (
        temporary_pooler(server, head, user="postgres", connections=2) as pooler,
        database_url(pooler),
        database.create_engine(poolclass=NullPool).connect() as deleting,
        database.create_engine(poolclass=NullPool).connect() as selecting,
        connect(pooler) as other,
    ):
        for _ in range(6):  # psycopg prepares what it has sent five times
            deleting.execute(delete, {"id": NOBODY})
            deleting.commit()
        other.autocommit = False
        other.execute("SELECT 1")  # on the first server connection, so that the other client gets the second
        for _ in range(6):
            assert selecting.execute(select, {"id": tenant[0]}).all() == [("Kept",)]
            selecting.commit()
        other.rollback()
        assert selecting.execute(select, {"id": tenant[0]}).all() == [("Kept",)]
        selecting.commit()
        assert selecting.execute(select, {"id": tenant[0]}).all() == [("Kept",)]

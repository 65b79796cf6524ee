"""What an upgrade would meet and do, without touching anything: `python -m app preflight`.

The judgement is the one that `alembic upgrade` makes, by the queries that each revision states (see `steps`); what a
step does and locks is its docstring; the indexes and constraints are those of its SQL.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from psycopg.errors import InsufficientPrivilege, UndefinedColumn, UndefinedFunction, UndefinedTable
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from app.catalog.adoption import TABLES
from app.errors import printable
from app.migration.blocks import obstacles_of, stated_all
from app.migration.lineage import MADE, chain, lineage, newest
from app.migration.scripts import described, statements
from app.migration.settings import revisions
from app.migration.version_table import half_done_step
from app.migration.watching import SAFE_PATH

BUILDS = re.compile(
    r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+)\s+ON public\.(\w+) \((.*?)\)(.*?);", re.S
)
VALIDATES = re.compile(r"ALTER TABLE public\.(\w+) VALIDATE CONSTRAINT (\w+)")

NOT_THERE = (UndefinedTable, UndefinedColumn, UndefinedFunction, InsufficientPrivilege)
HERE = text("""
    SELECT string_agg(name, ', ') FROM unnest(CAST(:names AS text[])) AS name
    WHERE to_regclass('public.' || name) IS NOT NULL
""")
ROWS = text("SELECT nullif(reltuples, -1)::bigint FROM pg_class WHERE oid = to_regclass('public.' || :relation)")
COLUMNS = text("""
    SELECT its.attname, coalesce(avg_width, nullif(attlen, -1), 32)
    FROM pg_attribute AS its
    LEFT JOIN pg_stats ON schemaname = 'public' AND tablename = :relation AND pg_stats.attname = its.attname
    WHERE attrelid = to_regclass('public.' || :relation) AND attnum > 0 AND NOT attisdropped
""")


@dataclass(frozen=True)
class Step:
    """What one revision would do to this database, a line each."""

    revision: str
    title: str
    what: str
    locks: str
    downgrade: str
    work: list[str] = field(default_factory=list)  # while the service reads and writes
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Preflight:
    """What `alembic upgrade head` would meet and do, and what downgrades would lose by now."""

    situation: str
    obstacles: list[tuple[str, str]]  # reason, remedy
    steps: list[Step]
    losses: list[str]
    target: str  # of `alembic upgrade`: the newest revision, or all that are


def preflight(config: Config) -> Preflight:
    """Look at the database, in a read-only transaction.

    Args:
        config: Alembic's settings; see `app.migration.settings`.

    Raises:
        SetupError: it cannot be reached, or its version table is another project's.
    """
    script = revisions(config)
    found: list[Preflight] = []

    def look(heads: tuple[str, ...], context: MigrationContext) -> list[object]:
        assert context.connection is not None  # noqa: S101 - not offline
        context.connection.execute(text("SET TRANSACTION READ ONLY"))
        context.connection.execute(SAFE_PATH)
        found.append(judge(script, heads, context.connection, context.version_table))
        return []

    with EnvironmentContext(config, script, fn=look, dont_mutate=True):
        script.run_env()
    return found[0]


def judge(script: ScriptDirectory, heads: tuple[str, ...], connection: Connection, version_table: str) -> Preflight:
    """Say what stands in the way of the revisions that are not there yet, and what they would do."""
    applied = lineage(script, heads)
    every = [script.get_revision(each) for each in chain(script)]
    pending = [each for each in every if each.revision not in applied]
    obstacles = [
        (row[0], row[1])
        for each in pending
        for question in obstacles_of(each)
        for row in rows_of(connection, question.query, may_fail=question.of_rows)
    ]
    return Preflight(
        situation(connection, heads, version_table, fits=not obstacles),
        obstacles,
        [step(each, connection) for each in pending],
        [
            f"{each.revision}: {lost}"
            for each in every
            if each.revision in applied
            for lost in answers(connection, each, "LOSSES")
        ],
        newest(script),
    )


def situation(connection: Connection, heads: tuple[str, ...], version_table: str, *, fits: bool = True) -> str:
    """Say in a sentence what is there, and what would come of it if it fits."""
    half_done = half_done_step(connection, version_table)
    if half_done is not None:
        return f"Interrupted half-way through a step: `{half_done}` finishes it."
    if heads:
        return f"At revision {', '.join(heads)}."
    here = connection.scalar(HERE, {"names": sorted(TABLES)})
    missing = sorted(TABLES - set(here.split(", "))) if here else []
    if here is None:
        said, then = "Has none of the platform's tables", "they would be made"
    elif missing:
        said, then = f"Has {here}, but no {', '.join(missing)}", ""
    else:
        said, then = f"Has {here}", "they would be adopted"
    return f"{said}: {then}." if fits and then else f"{said}."


def answers(connection: Connection, revision: Script, name: str) -> list[str]:
    """The rows of the queries that a revision states; none where `app.migration.blocks.warn` would warn of none."""
    return [row[0] for query in stated_all(revision, name) for row in rows_of(connection, query, may_fail=True)]


def rows_of(connection: Connection, query: str, *, may_fail: bool) -> Sequence[Sequence[Any]]:
    """The rows of a query as it is written; none where it may fail, and its tables are not there or not to be read."""
    try:
        with connection.begin_nested():
            return connection.exec_driver_sql(query, execution_options={"no_parameters": True}).all()
    except ProgrammingError as error:
        if not may_fail or not isinstance(error.orig, NOT_THERE):
            raise
        return []


def step(revision: Script, connection: Connection) -> Step:
    """What one revision would do. Of a user's own, which may do anything, it is only what the revision says."""
    warnings = answers(connection, revision, "WARNINGS")
    work = work_of(revision, connection) if revision.revision in MADE else []
    return Step(revision.revision, *described(revision), work, warnings)


def work_of(revision: Script, connection: Connection) -> list[str]:
    """What one of our revisions would check and build while the service reads and writes."""
    sql = "; ".join(statements(revision.module.upgrade)) + ";"
    checks: dict[str, list[str]] = {}
    for relation, name in VALIDATES.findall(sql):
        checks.setdefault(relation, []).append(name)
    work = [
        f"checks {rows} of {relation} ({', '.join(names)})"
        for relation, names in checks.items()
        if (rows := count(connection, relation)) is not None
    ]
    for index, relation, columns, predicate in BUILDS.findall(sql):
        work.append(f"builds {index}, {size(connection, relation, columns, predicate)}")
    return work


def count(connection: Connection, relation: str) -> str | None:
    """About how many rows a table has; None for a table that comes with the steps."""
    found = connection.execute(ROWS, {"relation": relation}).one_or_none()
    if found is None:
        return None
    return "an unknown number of rows (ANALYZE it)" if found[0] is None else f"about {found[0]:,} rows"


def size(connection: Connection, relation: str, columns: str, predicate: str) -> str:
    """How large an index gets at most, on a table's rows as they are."""
    widths: dict[str, int] = dict(connection.execute(COLUMNS, {"relation": relation}).all())
    if not widths or (predicate and not any(re.search(rf"\b{name}\b", predicate) for name in widths)):
        return "empty at first"  # the table or the column comes with the step, and no row has another value yet
    rows = connection.scalar(ROWS, {"relation": relation})
    if rows is None:
        return f"of unknown size (ANALYZE {relation})"
    # A tuple and its pointer take 12 bytes and the columns, aligned to 8; pages are filled to nine tenths.
    entry = 12 + 8 * -(-sum(widths.get(column.split()[0], 8) for column in columns.split(", ")) // 8)
    return f"at most {-(-rows * entry * 10 // 9 // 1_000_000):,} MB"


def told(found: Preflight) -> Iterator[str]:
    """A preflight in lines for a person."""
    yield found.situation
    if found.obstacles:
        yield "It does not fit:"
        yield from (printable(f"  - {reason}: {remedy}") for reason, remedy in found.obstacles)
    elif not found.steps:
        yield "There is nothing newer."
    else:
        yield f"It fits. `alembic upgrade {found.target}` would do this, a transaction or more for each step:"
    for each in found.steps:
        yield f"\n{each.revision}  {each.title}".rstrip()
        for name, lines in (
            ("does", [each.what]),
            ("locks", [each.locks or "the revision does not say"]),
            ("meanwhile", each.work),
            ("warning", each.warnings),
            ("downgrade", [each.downgrade]),
        ):
            for line in filter(None, lines):
                yield textwrap.fill(
                    line,
                    116,
                    initial_indent=f"     {name + ':':11}",
                    subsequent_indent=" " * 16,
                    break_on_hyphens=False,  # SQL in it is pasted
                    break_long_words=False,
                )
    if found.losses:
        yield "\nDowngrades would drop by now:"
        yield from (printable(f"  {line}") for line in found.losses)

"""Blocks of PL/pgSQL that a step begins with: they raise what stands in its way, and tell what it breaks or loses."""

from collections.abc import Iterable, Sequence

from alembic.runtime.migration import RevisionStep
from alembic.script import Script


def do(block: str) -> str:
    """The statement that runs a block."""
    return f"DO $block${block}\n        $block$"


def array(values: Sequence[str]) -> str:
    """An array of text, as SQL."""
    return f"'{{{','.join(values)}}}'::text[]"


def stated(revision: Script, name: str) -> str | None:
    """One of the queries that a revision states, if it does."""
    query: str | None = getattr(revision.module, name, None)
    return query


def stated_in_the_way(step: RevisionStep) -> str | None:
    """The query for what stands in the way of a step."""
    return stated(step.revision, "OBSTACLES" if step.is_upgrade else "DEPENDENTS")


def union(queries: Iterable[str | None]) -> str | None:
    """One query for the rows of several, of reason and remedy, in their order."""
    selects = [f"SELECT * FROM ({query}) AS stated (reason, remedy)" for query in queries if query is not None]
    return " UNION ALL ".join(selects) or None


def no_obstacles(query: str | None, outcome: str) -> str | None:
    """The block that raises unless a query of reasons and remedies finds none."""
    return (
        query
        and f"""
        DECLARE
            obstacles text;
        BEGIN
            SELECT string_agg(format(E'\\n  - %s: %s', reason, remedy), '') INTO obstacles
            FROM ({query}) AS obstacle;
            IF obstacles IS NOT NULL THEN
                RAISE EXCEPTION '{outcome}, because this database does not fit:%', obstacles
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
        END"""
    )


def warnings(step: RevisionStep) -> str | None:
    """The block that tells what a step breaks, or what it loses."""
    revision = step.revision
    if step.is_upgrade:
        return tell(stated(revision, "WARNINGS"), "%")
    return tell(stated(revision, "LOSSES"), f"Downgrading {revision.revision} drops %.")


def tell(query: str | None, message: str) -> str | None:
    """The block that raises a warning for each row of a query; in the message, % stands for the row."""
    # What is gone was told by the run that dropped it and was interrupted afterwards; what the role may not read
    # (an adopted platform's tenants, perhaps) is not its own, and no step of its drops it.
    return (
        query
        and f"""
        DECLARE
            told text;
        BEGIN
            FOR told IN {query} LOOP
                RAISE WARNING '{message}', told;
            END LOOP;
        EXCEPTION
            WHEN undefined_table OR undefined_column OR insufficient_privilege THEN NULL;
        END"""
    )

"""Blocks of PL/pgSQL that a step begins with: they raise what stands in its way, and tell what it breaks or loses."""

from collections.abc import Sequence
from dataclasses import dataclass

from alembic.runtime.migration import RevisionStep
from alembic.script import Script

# What a query that reads rows may meet where its table or column is not there yet, or is not the role's to read.
NOT_THERE = "undefined_table OR undefined_column OR undefined_function OR insufficient_privilege"


def do(block: str) -> str:
    """The statement that runs a block."""
    return f"DO $block${block}\n        $block$"


def quoted(value: str) -> str:
    """A text as SQL; standard_conforming_strings is on."""
    return "'" + value.replace("'", "''") + "'"


def stated(revision: Script, name: str) -> str | None:
    """The query that a revision states under a name, if it does."""
    query: str | None = getattr(revision.module, name, None)
    return query


def stated_all(revision: Script, name: str) -> Sequence[str]:
    """The queries that a revision states under a name: none, one, or a tuple of them."""
    queries: str | tuple[str, ...] = getattr(revision.module, name, ())
    return (queries,) if isinstance(queries, str) else queries


@dataclass(frozen=True)
class Question:
    """A query for what stands in the way of a step: a row each, of reason and remedy.

    Args:
        query: the SELECT.
        of_rows: whether it reads tables that may not be there yet; then it finds nothing where they are missing.
        condition: SQL that decides whether to ask at all.
    """

    query: str
    of_rows: bool = False
    condition: str = "true"


def stated_in_the_way(step: RevisionStep, condition: str = "true") -> list[Question]:
    """The queries for what stands in the way of a step."""
    if not step.is_upgrade:
        query = stated(step.revision, "DEPENDENTS")
        return [Question(query, condition=condition)] if query is not None else []
    return obstacles_of(step.revision, condition)


def obstacles_of(revision: Script, condition: str = "true") -> list[Question]:
    """The queries for what stands in the way of a revision's upgrade."""
    return [
        Question(query, of_rows=name == "ROW_OBSTACLES", condition=condition)
        for name in ("OBSTACLES", "ROW_OBSTACLES")
        for query in stated_all(revision, name)
    ]


def no_obstacles(questions: Sequence[Question], outcome: str, hint: str = "") -> str | None:
    """The block that raises unless none of the questions finds a row.

    Args:
        questions: the queries.
        outcome: what an error begins with, such as "Nothing was changed".
        hint: a line that an error ends with.
    """
    if not questions:
        return None
    last = f" || {quoted(chr(10) + hint)}" if hint else ""
    return f"""
        DECLARE
            obstacles text := '';
        BEGIN{collect(questions)}
            IF obstacles <> '' THEN
                RAISE EXCEPTION '{outcome}, because this database does not fit:%', obstacles{last}
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
        END"""


def collect(questions: Sequence[Question]) -> str:
    """The statements that add each row of the questions to the variable `obstacles`, a line each."""
    return "".join(map(asked, questions))


def asked(question: Question) -> str:
    """The statements that ask one question. PL/pgSQL plans a query when it comes to it, not where it skips it."""
    add = f"""
                obstacles := obstacles || coalesce((
                    SELECT string_agg(E'\\n' || translate(format('  - %s: %s', reason, remedy), E'\\n\\r', '  '), '')
                    FROM ({question.query}) AS stated (reason, remedy)
                ), '');"""
    if question.of_rows:
        add = f"""
                BEGIN{add}
                EXCEPTION WHEN {NOT_THERE} THEN NULL;
                END;"""
    return f"""
            IF {question.condition} THEN{add}
            END IF;"""


def warnings(step: RevisionStep) -> str | None:
    """The block that tells what a step breaks, or what it loses."""
    revision = step.revision
    if step.is_upgrade:
        return warn(stated_all(revision, "WARNINGS"), "%")
    return warn(stated_all(revision, "LOSSES"), f"Downgrading {revision.revision} drops %.")


def warn(queries: Sequence[str], message: str) -> str | None:
    """The block that raises a warning for each row of the queries; in the message, % stands for the row."""
    # An interrupted run has warned of what it dropped. What the role may not read (an adopted platform's tenants,
    # perhaps) is not its own, and none of its steps drops it.
    if not queries:
        return None
    each = "".join(
        f"""
            BEGIN
                FOR warning IN {query} LOOP
                    RAISE WARNING '{message}', warning;
                END LOOP;
            EXCEPTION
                WHEN {NOT_THERE} THEN NULL;
            END;"""
        for query in queries
    )
    return f"""
        DECLARE
            warning text;
        BEGIN{each}
        END"""

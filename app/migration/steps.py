"""The steps of a run: judged before anything changes, noted while they are half done, told and timed.

A revision may state, beside upgrade() and downgrade(), four queries. They are asked here, in a script (`--sql`) as
well as online, and by `python -m app preflight`:

- OBSTACLES: what stands in the way of its upgrade, a row each: reason, remedy. Objects that an interrupted run of the
  revision left are none.
- DEPENDENTS: the same of its downgrade.
- WARNINGS: what its upgrade will break or leave open in the platform's own, a row each.
- LOSSES: what its downgrade loses, a row each; nothing if that is nothing.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script

from app.errors import SetupError
from app.migration.run import NO_TIMEOUTS, SESSION_SETTINGS, Patience
from app.migration.version_table import half_done_step, note_step, refuse_another_projects, secure_version_table

log = logging.getLogger("alembic")
LOCK_TIMEOUTS = dict.fromkeys(["lock_timeout", "chatbots.lock_timeout"], Patience.lock_timeout)  # of a script


def guard_steps(context: MigrationContext) -> None:
    """Have each step of a run judged, noted, told and timed.

    Only the same step, in the same direction, knows how to go on from one that was interrupted between its
    transactions: another would find, and leave, a schema that is no revision's. So each step notes itself in the
    version table's comment, in its first transaction, and `finish_step` takes the note back in its last: what remains
    after a crash is the note of a step that has committed some of its parts.

    Raises, when the steps run:
        SetupError: the version table is another project's, or another step is half done.
        sqlalchemy.exc.DBAPIError: the database does not fit; the message lists each reason with its remedy.
    """
    steps = context._migrations_fn
    if steps is None:
        return

    def guarded(heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:  # also of a stamp's steps
        if context.as_sql:
            begin_script(context)
        else:
            refuse_another_projects(context, heads)
        todo = list(steps(heads, context))
        revisions = [step for step in todo if isinstance(step, RevisionStep)]
        for step in revisions[:1]:
            refuse_beside_half_done(context, step)
        require_no_obstacles(context, revisions, "Nothing was changed")
        for step in todo:
            begun = time.monotonic()
            if isinstance(step, RevisionStep):
                begin_step(context, step)
            yield step  # the next is asked for when this one is committed
            log.info("Done in %.1f s", time.monotonic() - begun)

    context._migrations_fn = guarded


def begin_script(context: MigrationContext) -> None:
    """Have a script stop at the first error, in psql, and run with a run's own settings."""
    context.impl.static_output("\\set ON_ERROR_STOP on\n")
    for name, value in (SESSION_SETTINGS | LOCK_TIMEOUTS).items():
        context.execute(f"SET {name} TO {value if name == 'search_path' else repr(value)}")
    context.execute(f"DO $$ BEGIN PERFORM * FROM ({NO_TIMEOUTS}) AS reset; END $$")


def command_of(step: RevisionStep) -> str:
    """What a person types for this step alone."""
    (target,) = step.to_revisions_no_deps or ("base",)
    return f"alembic {'upgrade' if step.is_upgrade else 'downgrade'} {target}"


def refuse_beside_half_done(context: MigrationContext, step: RevisionStep) -> None:
    """See that no other step than this one is half done; in a script, nobody can know."""
    if context.as_sql:
        return
    assert context.connection is not None  # noqa: S101 - not offline
    half_done = half_done_step(context.connection, context.version_table)
    if half_done is not None and half_done != command_of(step):
        raise SetupError(
            f"A step was interrupted half-way: run `{half_done}`, which finishes it, before anything else."
        )


def begin_step(context: MigrationContext, step: RevisionStep) -> None:
    """Judge and note a step that begins, in the transaction that its first statements will share."""
    revision = step.revision
    require_no_obstacles(context, [step], f"Stopped before revision {revision.revision}")
    if step.is_upgrade:
        tell(context, stated(revision, "WARNINGS"), "%")
    else:
        tell(context, stated(revision, "LOSSES"), f"Downgrading {revision.revision} drops %.")
    if not context.as_sql:
        context.execute(note_step(context.version_table, command_of(step)))


def finish_step(context: MigrationContext, heads: Collection[str]) -> None:
    """In a step's last transaction: take its note back, keep clients off the version table, tell PostgREST to look.

    Args:
        context: of the run.
        heads: the revisions that the database is at with this step; where there is none, the version table goes.
    """
    if heads:
        context.execute(note_step(context.version_table, None))
        context.execute(secure_version_table(context.version_table))
    else:
        context.execute(f"DROP TABLE public.{context.version_table}")
    context.execute("NOTIFY pgrst, 'reload schema'")


def stated(revision: Script, name: str) -> str | None:
    """One of the queries that a revision states, if it does."""
    query: str | None = getattr(revision.module, name, None)
    return query


def union(queries: Iterable[str | None]) -> str | None:
    """One query for the rows of several, of reason and remedy, in their order."""
    selects = [f"SELECT * FROM ({query}) AS stated (reason, remedy)" for query in queries if query is not None]
    return " UNION ALL ".join(selects) or None


def require_no_obstacles(context: MigrationContext, steps: Iterable[RevisionStep], outcome: str) -> None:
    """Raise, in the database, unless nothing stands in the way of the steps."""
    query = union(stated(step.revision, "OBSTACLES" if step.is_upgrade else "DEPENDENTS") for step in steps)
    if query is not None:
        context.execute(f"""
            DO $obstacles$
            DECLARE
                obstacles text;
            BEGIN
                SELECT string_agg(format(E'\\n  - %s: %s', reason, remedy), '') INTO obstacles
                FROM ({query}) AS obstacle;
                IF obstacles IS NOT NULL THEN
                    RAISE EXCEPTION '{outcome}, because this database does not fit:%', obstacles
                        USING ERRCODE = 'object_not_in_prerequisite_state';
                END IF;
            END
            $obstacles$
        """)


def tell(context: MigrationContext, query: str | None, message: str) -> None:
    """Raise a warning, in the database, for each row of a query; in the message, % stands for the row."""
    if query is not None:
        # What is gone was told by the run that dropped it and was interrupted afterwards; what the role may not read
        # (an adopted platform's tenants, perhaps) is not its own, and no step of its drops it.
        context.execute(f"""
            DO $told$
            DECLARE
                told text;
            BEGIN
                FOR told IN {query} LOOP
                    RAISE WARNING '{message}', told;
                END LOOP;
            EXCEPTION
                WHEN undefined_table OR undefined_column OR insufficient_privilege THEN NULL;
            END
            $told$
        """)

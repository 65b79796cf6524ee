"""The steps of a run: judged before anything changes, noted while they are half done, told and timed.

A revision may state, beside upgrade() and downgrade(), five queries. They are asked here, in a script as well as
online, and by `python -m app preflight`:

- OBSTACLES: what stands in the way of its upgrade, a row each: reason, remedy. Objects that an interrupted run of the
  revision left are none. It reads the catalogs alone, so it runs on an empty database, too.
- ROW_OBSTACLES: the same, read from tables; where those are missing, nothing stands in the way.
- DEPENDENTS: the same of its downgrade.
- WARNINGS: what its upgrade will break or leave open in the platform's own, a row each.
- LOSSES: what its downgrade loses, a row each; nothing if that is nothing.

ROW_OBSTACLES, WARNINGS and LOSSES may be tuples of queries, each asked by itself.
"""

import functools
import logging
import re
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.errors import SetupError
from app.migration.blocks import do, no_obstacles, obstacles_of, quoted, stated_in_the_way, warnings
from app.migration.lineage import MADE, chain, heads_along, newest_of_ours, place
from app.migration.options import Decisions
from app.migration.run import NO_TIMEOUTS
from app.migration.scripts import REVISION, SETTINGS, comes_before, command_of, fits, is_due, require_a_place
from app.migration.version_table import (
    keep_decisions,
    note_step,
    require_agreement,
    require_ours,
    secure_version_table,
)
from app.migration.watching import SEARCH_PATH

log = logging.getLogger("alembic")


def guard_steps(context: MigrationContext, decisions: Decisions) -> None:
    """Have each step of a run judged, noted, told and timed.

    Only the same step, in the same direction, knows how to go on from one that was interrupted between its
    transactions: another would find, and leave, a schema that is no revision's. So each step notes itself in the
    version table's comment, in its first transaction, and `finish_step` takes the note back in its last: what remains
    after a crash is the note of a step that has committed some of its parts.

    Args:
        context: of the run.
        decisions: what the operator decided, which a script has written into it.

    Raises, here or when the steps run:
        sqlalchemy.exc.DBAPIError: the version table is another project's, or does not record what the schema looks
            like; another step is half done; or the database does not fit. The message lists reasons and remedies.
        SetupError: the command makes a version table and nothing else.
    """
    steps = context._migrations_fn
    if steps is None:
        return
    assert context.script is not None  # noqa: S101 - the environment's
    script = context.script
    is_stamp, makes_a_table = (getattr(steps, "__name__", "") == name for name in ("do_stamp", "do_ensure_version"))

    def require_ours_here(then: str) -> None:
        every_step = [question for each in script.walk_revisions() for question in obstacles_of(each)]
        finishes: dict[str, str] | None = {} if is_stamp else None  # a stamp would take the note back
        execute_block(context, require_ours(context.version_table, script, finishes, then, also=every_step))

    def require_stamp(heads: tuple[str, ...], todo: list[Any]) -> None:
        stamped = newest_of_ours(script, heads_along(context, heads, todo)[-1])
        require_ours_here(require_agreement(context.version_table, stamped))

    def guarded(heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:
        if makes_a_table and not heads:
            raise SetupError("The version table comes with the first revision: run `alembic upgrade head`.")
        if not context.as_sql and not context.purge:  # before Alembic looks for the revisions that the table names
            require_ours_here("" if is_stamp else require_agreement(context.version_table))
            execute_block(context, keep_decisions())
        todo = list(steps(heads, context))
        if is_stamp and not context.purge:
            if context.as_sql:
                set_up_script(context, decisions)
            require_stamp(heads, todo)
        judged = [step for step in todo if isinstance(step, RevisionStep)]
        places = [place(each) for each in heads_along(context, heads, todo)]
        if judged:
            if context.as_sql:
                begin_script(context, script, judged, places, decisions)
            else:
                begin_run(context, script, judged, places[0])
        for step, begins, ends in zip(todo, places, places[1:], strict=False):
            begun = time.monotonic()
            if isinstance(step, RevisionStep):
                step.migration_fn = beginning(context, step)
                if context.as_sql:
                    in_script(context, f"SELECT {is_due(begins)} AS chatbots_due \\gset", "\\if :chatbots_due")
            yield step  # the next is asked for when this one is committed
            if context.as_sql and isinstance(step, RevisionStep):
                in_script(context, f"SET {REVISION} TO '{ends}';", "\\endif")
            log.info("Done in %.1f s", time.monotonic() - begun)

    if context.purge and not context.as_sql:  # Alembic empties the version table before it asks for the steps
        require_ours_here("")
        require_stamp((), list(steps((), context)))
    context._migrations_fn = guarded


def begin_run(context: MigrationContext, script: ScriptDirectory, steps: list[RevisionStep], begins: str) -> None:
    """See that no other step is half done, that nothing stands in the way of any step, and warn of what all lose."""
    execute_block(context, require_ours(context.version_table, script, {begins: command_of(steps[0])}))
    questions = [question for step in steps for question in stated_in_the_way(step)]
    execute_block(context, no_obstacles(questions, "Nothing was changed", of_their_own(steps)))
    for step in steps:
        if not step.is_upgrade:  # what all of them lose, before the first begins
            execute_block(context, warnings(step))


def of_their_own(steps: list[RevisionStep]) -> str:
    """The hint that a downgrade of the user's own revisions may take away what stands in the way of ours."""
    commands = [f"`{command_of(step)}`" for step in steps if not step.is_upgrade and step.revision.revision not in MADE]
    return f"If revisions of your own made this, run {', '.join(commands)} first." if commands else ""


def begin_script(
    context: MigrationContext,
    script: ScriptDirectory,
    steps: list[RevisionStep],
    places: list[str],
    decisions: Decisions,
) -> None:
    """Have a script run with a run's own settings, and see where the database is."""
    set_up_script(context, decisions)
    upgrades = steps[0].is_upgrade
    command = f"alembic {'upgrade' if upgrades else 'downgrade'} {{}}:{places[0]} --sql"
    first = comes_before(places[0], chain(script), lambda its: f"the script of `{command.format(its)}`", up=upgrades)
    execute_block(context, require_a_place(context.version_table, script, steps, places, first, for_the_session=True))
    execute_block(context, keep_decisions())
    execute_block(context, fits(steps, places))


def set_up_script(context: MigrationContext, decisions: Decisions) -> None:
    """Have a script stop at the first error, in psql, and run with a run's own settings."""
    in_script(context, "\\set ON_ERROR_STOP on")
    for name, value in {**SETTINGS, **decisions.settings()}.items():
        execute(context, f"SET {name} TO {value if name == 'search_path' else quoted(value)}")
    context.execute(f"DO $$ BEGIN PERFORM * FROM ({NO_TIMEOUTS}) AS reset; END $$")


def in_script(context: MigrationContext, *lines: str) -> None:
    """Write what is psql's own, and no statement."""
    context.impl.static_output("\n".join(lines))


def execute_block(context: MigrationContext, block: str | None) -> None:
    """Run a block of PL/pgSQL, if there is one."""
    if block is not None:
        execute(context, do(block))


def execute(context: MigrationContext, sql: str) -> None:
    """Run SQL as it is written: text() would take a colon before a word for a parameter."""
    context.execute(text(re.sub(r"(?<!:):(?=\w)", r"\\:", sql)))


def beginning(context: MigrationContext, step: RevisionStep) -> Callable[..., Any]:
    """A step's function that judges and notes it before, in the transaction that its first statements share."""
    work = step.migration_fn

    @functools.wraps(work)  # Alembic tells its name
    def begin(**arguments: Any) -> None:
        outcome = f"Stopped before revision {step.revision.revision}"
        execute_block(context, no_obstacles(stated_in_the_way(step), outcome))
        if step.is_upgrade or context.as_sql:
            execute_block(context, warnings(step))
        context.execute(note_step(context.version_table, command_of(step)))
        is_ours = step.revision.revision in MADE
        try:
            if not is_ours:  # names without a schema are of their tables
                execute(context, "SET search_path TO public")
            work(**arguments)
            if not is_ours:
                execute(context, f"SET search_path TO {SEARCH_PATH}")
        except DBAPIError as error:
            error.add_note(f"Stopped in revision {step.revision.revision}, by `{command_of(step)}`.")
            raise

    return begin


def finish_step(context: MigrationContext, heads: Collection[str]) -> None:
    """In a step's last transaction: take its note back, keep clients off the version table, tell PostgREST to look.

    Args:
        context: of the run.
        heads: the revisions that the database is at with this step; where there is none, the version table goes.
    """
    for statement in finishing(context.version_table, at_base=not heads):
        context.execute(statement)


def finishing(version_table: str, *, at_base: bool = False) -> list[str]:
    """The statements that a step ends with."""
    if at_base:
        last = [f"DROP TABLE public.{version_table}"]
    else:
        last = [note_step(version_table, None), do(secure_version_table(version_table))]
    return [*last, "NOTIFY pgrst, 'reload schema'"]

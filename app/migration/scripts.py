"""What scripts need to know that a run finds out by itself: where the database is, and which of their steps it lacks.

A script begins with a block that raises unless the database is where one of its steps begins, or past the last of
them; the revision is then in the setting chatbots.revision, and each step runs only if it begins there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.migration import RevisionStep
from alembic.script import Script, ScriptDirectory

from app.migration.blocks import no_obstacles, stated_in_the_way
from app.migration.concurrency import LOCK_KEY
from app.migration.run import SESSION_SETTINGS
from app.migration.version_table import BASE, chosen, require_ours

REVISION = "chatbots.revision"
SETTINGS = {  # a script's own, beside those of a run; below deadlock_timeout, as `app.migration.run` has it
    **SESSION_SETTINGS,
    "lock_timeout": "900ms",
    "chatbots.lock_timeout": "900ms",
}


def chain(script: ScriptDirectory) -> list[str]:
    """All revisions, the oldest first."""
    return [each.revision for each in reversed(list(script.walk_revisions()))]


def begins_at(step: RevisionStep) -> str:
    """The revision that the database is at before a step, or "base"."""
    return step.from_revisions_no_deps[0] if step.from_revisions_no_deps else BASE


def ends_at(step: RevisionStep) -> str:
    """The revision that the database is at after a step, or "base"."""
    return step.to_revisions_no_deps[0] if step.to_revisions_no_deps else BASE


def command_of(step: RevisionStep) -> str:
    """What a person types for this step alone."""
    return f"alembic {'upgrade' if step.is_upgrade else 'downgrade'} {ends_at(step)}"


def quoted(value: str) -> str:
    """A text as SQL; standard_conforming_strings is on."""
    return "'" + value.replace("'", "''") + "'"


def is_due(*places: str) -> str:
    """The condition that the database is at one of these revisions, as SQL, once `require_a_place` has looked."""
    return f"current_setting('{REVISION}') IN ({', '.join(map(repr, places))})"


def comes_before(
    steps: Sequence[RevisionStep], revisions: Sequence[str], first: Callable[[str], str]
) -> dict[str, str]:
    """For each revision that the steps cannot begin at, nor were past: what to run first, by a function that knows."""
    places = [BASE, *revisions]
    begin = places.index(begins_at(steps[0]))
    return {place: first(place) for place in (places[:begin] if steps[0].is_upgrade else places[begin + 1 :])}


def require_a_place(
    version_table: str,
    revisions: Sequence[str],
    steps: Sequence[RevisionStep],
    first: Mapping[str, str],
    *,
    for_the_session: bool = False,
) -> str:
    """The block that raises unless a script may run here, and puts the revision into chatbots.revision.

    Args:
        version_table: its name.
        revisions: all of them, the oldest first.
        steps: the script's, in their order.
        first: what to run first, for each revision that the script cannot begin at.
        for_the_session: whether the setting, and the lock that keeps other runs away, last longer than a transaction.
    """
    lock = f"pg_try_advisory{'' if for_the_session else '_xact'}_lock({LOCK_KEY})"
    return require_ours(
        version_table,
        revisions,
        {begins_at(step): command_of(step) for step in steps},
        f"""
            IF {chosen(first)} IS NOT NULL THEN
                RAISE EXCEPTION 'This database is at %: run % first. Nothing was changed.', here,
                    {chosen(first)}
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            IF NOT {lock} THEN
                RAISE EXCEPTION 'Another upgrade of this database is at work: wait for it. Nothing was changed.'
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            PERFORM set_config('{REVISION}', here, {"false" if for_the_session else "true"});""",
    )


def fits(steps: Sequence[RevisionStep]) -> str | None:
    """The block that raises unless nothing stands in the way of those steps that the database lacks."""
    places = [begins_at(step) for step in steps]
    questions = [
        question
        for index, step in enumerate(steps)
        for question in stated_in_the_way(step, is_due(*places[: index + 1]))
    ]
    return no_obstacles(questions, "Nothing was changed")


class Description(NamedTuple):
    """What a revision says of itself."""

    title: str
    what: str
    locks: str
    downgrade: str


def described(revision: Script) -> Description:
    """Read the docstring of a revision."""
    document = " ".join((revision.module.__doc__ or "").split())
    title, what, locks, downgrade = re.split(r" (?:What|Locks|Downgrade): ", document + " ", maxsplit=3)
    return Description(title, what, locks, downgrade.strip())


class Statements(list[str]):
    """What a revision executes, a statement each: the buffer of an offline context."""

    def write(self, text: str) -> None:
        """Take what Alembic prints."""
        statement = text.strip().removesuffix(";")
        if statement not in {"BEGIN", "COMMIT"}:  # around what cannot share a transaction
            self.append(statement)

    def flush(self) -> None:
        """Nothing waits."""


def statements(work: Callable[[], None]) -> list[str]:
    """The SQL of a revision's upgrade or downgrade."""
    written = Statements()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        opts={"as_sql": True, "literal_binds": True, "output_buffer": written},
    )
    with Operations.context(context):
        work()
    return list(written)

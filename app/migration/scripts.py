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

from app.migration.blocks import no_obstacles, quoted, stated_in_the_way
from app.migration.concurrency import LOCK_KEY
from app.migration.lineage import BASE, MADE, chain, lineage
from app.migration.run import SESSION_SETTINGS
from app.migration.version_table import chosen, require_agreement, require_ours

REVISION = "chatbots.revision"
SETTINGS = {  # a script's own, beside those of a run; below deadlock_timeout, as `app.migration.run` has it
    **SESSION_SETTINGS,
    "lock_timeout": "900ms",
    "chatbots.lock_timeout": "900ms",
}


def begins_at(step: RevisionStep) -> str:
    """The revision that one of our steps begins at, or "base"."""
    return step.from_revisions_no_deps[0] if step.from_revisions_no_deps else BASE


def ends_at(step: RevisionStep) -> str:
    """The revision that one of our steps ends at, or "base"."""
    return step.to_revisions_no_deps[0] if step.to_revisions_no_deps else BASE


def command_of(step: RevisionStep) -> str:
    """What a person types for this step alone."""
    if not step.is_upgrade and step.revision.revision not in MADE:  # beside which others may go on
        return f"alembic downgrade {step.revision.revision}@-1"
    return f"alembic {'upgrade' if step.is_upgrade else 'downgrade'} {ends_at(step)}"


def is_due(*places: str) -> str:
    """The condition that the database is at one of these places, as SQL, once `require_a_place` has looked."""
    return f"current_setting('{REVISION}') IN ({', '.join(map(quoted, places))})"


def comes_before(begin: str, revisions: Sequence[str], first: Callable[[str], str], *, up: bool) -> dict[str, str]:
    """For each revision before a place, in the direction of the steps, what to run first, by a function that knows."""
    places = [BASE, *revisions]
    if begin not in places:  # several revisions
        return {}
    index = places.index(begin)
    return {each: first(each) for each in (places[:index] if up else places[index + 1 :])}


def is_past(script: ScriptDirectory, steps: Sequence[RevisionStep], final: str) -> str:
    """The condition that the database at `here` lacks none of the steps, as SQL."""

    def with_one_of(revisions: Sequence[str]) -> str:
        having = [each for each in chain(script) if lineage(script, [each]).intersection(revisions)]
        return f"string_to_array(here, ', ') && {quoted('{' + ','.join(having) + '}')}::text[]"

    if steps[0].is_upgrade:
        return " AND ".join(with_one_of([each]) for each in final.split(", "))
    return f"NOT ({with_one_of([step.revision.revision for step in steps])})"


def require_a_place(
    version_table: str,
    script: ScriptDirectory,
    steps: Sequence[RevisionStep],
    places: Sequence[str],
    first: Mapping[str, str],
    *,
    for_the_session: bool = False,
) -> str:
    """The block that raises unless a script may run here, and puts the place into chatbots.revision.

    Args:
        version_table: its name.
        script: all revisions.
        steps: the script's, in their order.
        places: before the first step, and after each.
        first: what to run first, for places at which the script cannot begin.
        for_the_session: whether the setting, and the lock that keeps other runs away, last longer than a transaction.
    """
    lock = f"pg_try_advisory{'' if for_the_session else '_xact'}_lock({LOCK_KEY})"
    finishes = {begins: command_of(step) for begins, step in zip(places, steps, strict=False)}
    return require_ours(
        version_table,
        script,
        finishes,
        f"""{require_agreement(version_table)}
            IF NOT ({is_past(script, steps, places[-1])} OR here IN ({", ".join(map(quoted, places))})) THEN
                RAISE EXCEPTION 'This database is at %: run % first. Nothing was changed.', here,
                    coalesce({chosen(first)}, {quoted(f"`{command_of(steps[-1])}`")})
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            IF NOT {lock} THEN
                RAISE EXCEPTION 'Another upgrade of this database is at work: wait for it. Nothing was changed.'
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            PERFORM set_config('{REVISION}', here, {"false" if for_the_session else "true"});""",
    )


def fits(steps: Sequence[RevisionStep], places: Sequence[str]) -> str | None:
    """The block that raises unless nothing stands in the way of those steps that the database lacks."""
    questions = [
        question
        for index, step in enumerate(steps)
        for question in stated_in_the_way(step, is_due(*places[: index + 1]))
    ]
    return no_obstacles(questions, "Nothing was changed")


class Description(NamedTuple):
    """What a revision says of itself; "" of what it does not say, as a revision of the user's own may."""

    title: str
    what: str
    locks: str
    downgrade: str


PARTS = re.compile(r"^(What|Locks|Downgrade|Revision(?: ID)?|Revises|Created?(?: Date)?):", re.MULTILINE)


def described(revision: Script) -> Description:
    """Read the docstring of a revision."""
    title, *rest = (" ".join(part.split()) for part in PARTS.split(revision.module.__doc__ or ""))
    parts = dict(zip(rest[::2], rest[1::2], strict=True))
    return Description(title, *(parts.get(name, "") for name in ("What", "Locks", "Downgrade")))


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

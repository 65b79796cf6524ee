"""The guide's SQL files, for those who have psql or an SQL editor alone: `python -m app sql`.

Each is one block of PL/pgSQL, so one statement: all of it happens or nothing, also where psql goes on after an error,
and an SQL editor may wrap it in a transaction of its own. So nothing in it is done CONCURRENTLY.
"""

import importlib.metadata
import json
import re
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateTable

from app import seed
from app.errors import SetupError
from app.migration.blocks import quoted, warnings
from app.migration.lineage import BASE, MADE, chain, ours
from app.migration.options import Decisions, given
from app.migration.scripts import (
    REVISION,
    SETTINGS,
    begins_at,
    comes_before,
    command_of,
    described,
    ends_at,
    fits,
    is_due,
    require_a_place,
    statements,
)
from app.migration.settings import FIRST, revisions
from app.migration.steps import finishing
from app.migration.version_table import keep_decisions, valid_version_table

PACKAGE = "chatbot-platform-schema"
APPLY, ROLL_BACK, SEED = "apply_multi_agent_migrations", "rollback_multi_agent_migrations", "seed_chatbots_data"
ROLLBACKS = {  # the guide's names; those of later revisions follow from the revision's own
    "007": "rollback_007_chatbots",
    "008": "rollback_008_users_role",
    "009": "rollback_009_conversations_chatbot",
    "010": "rollback_010_feedback_notes",
}


def write(directory: Path, config: Config, *, force: bool = False) -> list[Path]:
    """Write the guide's files, all or none.

    Args:
        directory: made if missing.
        config: Alembic's settings; see `app.migration.settings`.
        force: whether to overwrite files that differ.

    Returns:
        The files that were not there with the same content.

    Raises:
        SetupError: a file differs, or the directory cannot be written.
    """
    wanted = {directory / f"{name}.sql": text for name, text in files(config).items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        differing = [path for path, text in wanted.items() if path.exists() and path.read_bytes() != text.encode()]
        if differing and not force:
            names = ", ".join(path.name for path in differing)
            raise SetupError(f"{directory} has other contents in {names}: move them, or overwrite them with --force.")
        written = [path for path in wanted if not path.exists() or path in differing]
        put(directory, {path: wanted[path] for path in written})
    except OSError as error:
        where = error.filename or directory
        raise SetupError(f"Cannot write {where} ({error.strerror}): name another directory.") from error
    return written


def put(directory: Path, texts: Mapping[Path, str]) -> None:
    """Write files, each of them whole; where there is no room for all, none."""
    with tempfile.TemporaryDirectory(dir=directory) as aside:
        for path, text in texts.items():
            (Path(aside) / path.name).write_bytes(text.encode())
        for path in texts:
            (Path(aside) / path.name).replace(path)


def files(config: Config) -> dict[str, str]:
    """The guide's files by their names without .sql."""
    script = revisions(config)
    table = valid_version_table(config.get_main_option("version_table", "alembic_version"))
    made = Files(script, table, given(config).decisions)
    found = {file_of(step): made.of_step(step) for step in made.upgrades}
    found |= {file_of(step): made.of_step(step) for step in made.rollbacks}
    found[APPLY] = made.of_steps(made.upgrades, [f"Upgrade to revision {made.revisions[-1]}, from wherever it is."])
    found[ROLL_BACK] = made.of_steps(made.rollbacks, [f"Go back to revision {FIRST}: the guide's full rollback."])
    found[SEED] = made.of_samples()
    return found


def left_out(config: Config) -> list[str]:
    """The user's own revisions, which are in no file: only Alembic runs what they may do."""
    return [each for each in chain(revisions(config)) if each not in MADE]


def file_of(step: RevisionStep) -> str:
    """The name of the file of one step."""
    revision = step.revision
    stem = Path(revision.path).stem
    return stem if step.is_upgrade else ROLLBACKS.get(revision.revision, f"rollback_{stem}")


class Files:
    """What the files are made of.

    Args:
        script: the revisions.
        version_table: its name.
        decisions: what the operator decided, which is written into each file.
    """

    def __init__(self, script: ScriptDirectory, version_table: str, decisions: Decisions) -> None:
        """Find the steps."""
        self.script = script
        self.decisions = decisions
        self.revisions = ours(script)
        self.version_table = version_table
        all_of_them = [script.get_revision(each) for each in self.revisions]
        self.upgrades = [RevisionStep(script.revision_map, each, True) for each in all_of_them]
        self.rollbacks = [RevisionStep(script.revision_map, each, False) for each in reversed(all_of_them[1:])]

    def of_step(self, step: RevisionStep) -> str:
        """The file of one step."""
        about = described(step.revision)
        if step.is_upgrade:
            return self.of_steps([step], [about.title, f"What: {about.what}", f"Rollback: {about.downgrade}"])
        return self.of_steps([step], [f"Take back {step.revision.revision}. {about.title}", about.downgrade])

    def of_steps(self, steps: Sequence[RevisionStep], paragraphs: list[str]) -> str:
        """The file of some steps, which runs those of them that the database lacks."""
        all_of_them = {begins_at(step): step for step in (self.upgrades if steps[0].is_upgrade else self.rollbacks)}
        places = [begins_at(steps[0]), *map(ends_at, steps)]
        first = comes_before(
            places[0], self.revisions, lambda its: f"{file_of(all_of_them[its])}.sql", up=steps[0].is_upgrade
        )
        live = (
            f"Is the database in use? Then prefer `{command_of(steps[-1])}`, which takes each strong lock for a moment."
            " This holds its locks to the end, also while it checks rows and builds indexes, and everybody waits."
        )
        place = require_a_place(self.version_table, self.script, steps, places, first)
        blocks = [place, keep_decisions(), fits(steps, places), *map(self.block_of, steps)]
        return file([*paragraphs, live], blocks, self.decisions)

    def of_samples(self) -> str:
        """The file of the sample chatbots."""
        first = dict.fromkeys([BASE, *self.revisions], f"{APPLY}.sql")
        newest = self.upgrades[-1:]
        place = require_a_place(self.version_table, self.script, newest, self.revisions[-1:], first)
        title = (
            "Add the six sample chatbots to a demo tenant, like `python -m app seed`; and an admin and two members,"
            " unless another table has the platform's people first, such as Supabase's auth.users."
        )
        return file([title], [place, *seed.statements()], Decisions())

    def block_of(self, step: RevisionStep) -> str:
        """The statements of a step, which run if the database is where it begins."""
        parts = [warnings(step)]
        if begins_at(step) == BASE:
            parts.append(self.create_version_table())
        parts += map(in_one_transaction, statements(step.migration_fn))
        if begins_at(step) == BASE:
            parts.append(f"INSERT INTO public.{self.version_table} VALUES ('{ends_at(step)}')")
        else:
            parts.append(f"UPDATE public.{self.version_table} SET version_num = '{ends_at(step)}'")
        parts += [*finishing(self.version_table), f"SET LOCAL {REVISION} TO '{ends_at(step)}'"]
        body = joined(parts)
        return f"\n    IF {is_due(begins_at(step))} THEN  -- {step.revision.doc}\n\n{body}\n\n    END IF"

    def create_version_table(self) -> str:
        """The statement that makes the version table as Alembic makes it."""
        context = MigrationContext.configure(
            dialect_name="postgresql",
            opts={"as_sql": True, "version_table": self.version_table, "version_table_schema": "public"},
        )
        return str(CreateTable(context._version).compile(dialect=context.dialect)).strip()


def in_one_transaction(statement: str) -> str | None:
    """A revision's statement for a transaction that it shares with all others; None if there it has nothing to do."""
    if re.match(r"SET lock_timeout|SELECT set_config\('lock_timeout'", statement):  # around what goes CONCURRENTLY
        return None
    at_once = re.sub(r"\bINDEX CONCURRENTLY\b", "INDEX", statement)
    return re.sub(r"^ *COMMIT;\n", "", at_once, flags=re.MULTILINE)  # what goes in many transactions


def file(paragraphs: Iterable[str], blocks: Iterable[str | None], decisions: Decisions) -> str:
    """A file: what it does as a comment, and one statement that does it."""
    usage = (
        f"Written by `python -m app sql` of chatbot-platform-schema {importlib.metadata.version(PACKAGE)}: edit the"
        " revisions, not this. Run it by psql -f, or paste it into an SQL editor, as the role that owns the platform's"
        " tables. It is one transaction: all of it happens or nothing, and run again it changes nothing. Where it would"
        " wait for a lock for a second it gives up: run it again. Alembic takes over from wherever it ends."
    )
    comment = "\n--\n".join(
        textwrap.fill(each, 116, initial_indent="-- ", subsequent_indent="-- ", break_on_hyphens=False)
        for each in [*paragraphs, usage]
    )
    settings = {**SETTINGS, **decisions.settings(), "client_min_messages": "warning"}
    return f"""{comment}

DO $chatbots$
DECLARE
    chatbots_settings CONSTANT jsonb := {quoted(json.dumps(settings))};
    chatbots_before CONSTANT jsonb := (
        SELECT pg_catalog.jsonb_object_agg(key, pg_catalog.current_setting(key, true))
        FROM pg_catalog.jsonb_object_keys(chatbots_settings) AS key
    );
BEGIN
    PERFORM pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text(chatbots_settings);

{joined(blocks)}

    RAISE INFO 'This database is at revision %.', current_setting('{REVISION}');
    PERFORM pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text(chatbots_before);
END
$chatbots$;
"""


def joined(parts: Iterable[str | None]) -> str:
    """Statements and blocks one after another, as far to the right as the lines that follow each one's first."""
    lines = (part.strip("\n") if part.startswith("\n") else f"        {part}" for part in parts if part)
    return "\n\n".join(f"{each};" for each in lines)

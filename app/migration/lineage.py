"""Which revisions are this package's, which of them each revision rests on, and which one a schema looks like.

Whoever uses this package may add revisions of their own: on top of ours, on a branch off one of ours, independent of
ours. Then the version table holds several rows, of which some are theirs.
"""

from collections.abc import Collection, Iterable

from alembic.runtime.migration import HeadMaintainer, MigrationContext, RevisionStep, StampStep
from alembic.script import ScriptDirectory

BASE = "base"  # what Alembic calls the database before the first revision

# The objects by which each revision is recognised: made by it on every platform, adopted ones too, kept by each later
# one, and not lost together with a table. 010 makes nothing on a platform that had feedback.notes before.
MADE = {
    "006": ("chatbot_private.is_adopted", "chatbot_private.taken_over", "chatbot_private.user_id"),
    "007": ("chatbot_private.require_table_owner", "public.published_chatbots"),
    "008": ("chatbot_private.is_admin", "chatbot_private.is_admin_role"),
    "009": ("chatbot_private.require_visible_chatbot", "public.conversations_tenant_id_chatbot_id_fkey"),
    "010": (),
    "011": ("chatbot_private.chatbot_usage", "chatbot_private.tenant_admins"),
    "012": ("public.audit_log", "chatbot_private.audit_row"),
    "013": ("public.chatbot_versions", "chatbot_private.keep_version"),
    "014": ("public.chatbot_tags", "chatbot_private.keep_tags"),
    "015": ("chatbot_private.tools_fault", "chatbot_private.require_tools"),
}
NOTES = "010"

# Whether each revision's objects are there; NULL if only some are, as after an accident, or if nothing tells. Names
# are looked up as text: a role without USAGE on the schemas may ask, too.
STANDING = f"""
    WITH named (name) AS (
        SELECT concat(nspname, '.', proname) FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = 'chatbot_private'
        UNION ALL
        SELECT concat(nspname, '.', relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'public'
        UNION ALL
        SELECT concat(nspname, '.', conname) FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
        WHERE nspname = 'public' AND contype = 'f'
    ), made (revision, name) AS (
        VALUES {", ".join(f"('{revision}', '{name}')" for revision, names in MADE.items() for name in names)}
    )
    SELECT revision, CASE count(*) FILTER (WHERE name IN (SELECT name FROM named))
        WHEN 0 THEN false WHEN count(*) THEN true END
    FROM made GROUP BY revision
    UNION ALL
    SELECT '{NOTES}', CASE WHEN EXISTS (
            SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = 'chatbot_compat' AND relname = 'feedback'
        ) OR EXISTS (
            SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE nspname = 'chatbot_private' AND proname = 'taken_over' AND prosrc ~ 'feedback\\.notes'
        ) THEN true
        WHEN NOT EXISTS (
            SELECT FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = 'public' AND relname = 'feedback' AND attname = 'notes' AND NOT attisdropped
        ) THEN false END
"""


def chain(script: ScriptDirectory) -> list[str]:
    """All revisions, the oldest first."""
    return [each.revision for each in reversed(list(script.walk_revisions()))]


def ours(script: ScriptDirectory) -> list[str]:
    """This package's revisions, the oldest first."""
    return [each for each in chain(script) if each in MADE]


def lineage(script: ScriptDirectory, heads: Iterable[str]) -> set[str]:
    """All that is applied where the version table holds these: themselves, their ancestors, what those depend on."""
    found: set[str] = set()
    ahead = [*heads]
    while ahead:
        revision = ahead.pop()
        if revision not in found:
            found.add(revision)
            ahead += script.get_revision(revision)._all_down_revisions
    return found


def newest(script: ScriptDirectory) -> str:
    """What `alembic upgrade` is told to go to everything: a branch of the user's own makes several heads."""
    return "head" if len(script.get_heads()) == 1 else "heads"


def newest_of_ours(script: ScriptDirectory, heads: Iterable[str]) -> str:
    """The newest of this package's revisions that is applied there, or "base"."""
    return max(lineage(script, heads) & MADE.keys(), default=BASE)


class Heads(HeadMaintainer):
    """What the version table would hold, without a version table."""

    def _insert_version(self, version: str) -> None:
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.remove(version)

    def _update_version(self, from_: str, to_: str) -> None:
        self.heads = self.heads - {from_} | {to_}


def heads_along(
    context: MigrationContext, heads: Iterable[str], steps: Iterable[RevisionStep | StampStep]
) -> list[frozenset[str]]:
    """What the version table holds before the first step, and after each."""
    its = Heads(context, heads)
    along = [frozenset(its.heads)]
    for step in steps:
        its.update_to_step(step)
        along.append(frozenset(its.heads))
    return along


def place(heads: Collection[str]) -> str:
    """The rows of a version table as one text: "015", "015, 1a2b" or "base"."""
    return ", ".join(sorted(heads)) or BASE

"""The table that records the revision: its name, whose it is, what is half done, and who may read it."""

import re

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from app.errors import SetupError

WHOSE = text("""
    SELECT pg_class.xmin::text = (pg_current_xact_id_if_assigned()::text::bigint % 4294967296)::text AS is_new,
        relowner = nspowner AS has_our_owner
    FROM pg_class LEFT JOIN pg_namespace ON nspname = 'chatbot_private'
    WHERE pg_class.oid = to_regclass(:name)
""")


def valid_version_table(name: str) -> str:
    """The version table's name, if SQL takes it without quotes.

    Raises:
        SetupError: it does not.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise SetupError(f"version_table in alembic.ini is {name!r}: use lower-case letters, digits and _ alone.")
    return name


def refuse_another_projects(context: MigrationContext, heads: tuple[str, ...]) -> None:
    """See that the version table is ours: another project may use one of the same name, or somebody plant one.

    Its ids may look like ours, too; but wherever a revision of ours stands, so does the schema of our helpers, whose
    owner owns the table. An empty one is ours only if this run has just made it.

    Raises:
        SetupError: it is not.
    """
    assert context.connection is not None and context.script is not None  # noqa: S101, PT018 - not offline
    found = context.connection.execute(WHOSE, {"name": f"public.{context.version_table}"}).one_or_none()
    known = {script.revision for script in context.script.walk_revisions()}
    if found is None or found.is_new or (heads and found.has_our_owner and known.issuperset(heads)):
        return
    what = (
        f"holds revision {', '.join(heads)} of another project (or of a newer version of this package)"
        if heads
        else "is there already, empty and of somebody else's making"
    )
    raise SetupError(
        f"Table {context.version_table} {what}: give this package a version_table of its own in alembic.ini."
        " Nothing was changed."
    )


def half_done_step(connection: Connection, version_table: str) -> str | None:
    """The command that finishes the step which was interrupted between its transactions, if there is one."""
    query = text("SELECT obj_description(to_regclass(:name), 'pg_class')")
    note: str | None = connection.scalar(query, {"name": f"public.{version_table}"})
    return note if note and re.fullmatch(r"alembic (upgrade|downgrade) (\w+)", note) else None


def note_step(version_table: str, command: str | None) -> str:
    """The SQL that notes the command that a step belongs to, while the step runs, or takes the note back."""
    note = "NULL" if command is None else f"'{command}'"
    return f"COMMENT ON TABLE public.{version_table} IS {note}"


def secure_version_table(name: str) -> str:
    """The SQL that keeps clients off the version table, which lies in public beside the tables they use.

    Row security is on; whoever is granted SELECT, such as an auditor who runs `alembic check`, may read it. Default
    privileges that opened it to others (Supabase's do) are taken back, once: later grants stay.
    """
    return f"""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            IF (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'public.{name}'::regclass) THEN
                RETURN;
            END IF;
            FOR grantee IN
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl) AS acl
                WHERE pg_class.oid = 'public.{name}'::regclass AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON TABLE public.{name} FROM %s', grantee);
            END LOOP;
            ALTER TABLE public.{name} ENABLE ROW LEVEL SECURITY;
            CREATE POLICY "Auditors can view the schema revision" ON public.{name} FOR SELECT USING (true);
        END
        $$
    """

"""The table that records the revision: its name, whose it is, what is half done, and who may read it.

What is SQL here is a block of PL/pgSQL, for `app.migration.blocks.do` or to stand inside another block.
"""

import json
import re
from collections.abc import Mapping, Sequence

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.errors import SetupError
from app.migration.blocks import Question, collect, quoted
from app.migration.lineage import BASE, STANDING, chain, newest_of_ours

HALF_DONE = r"^alembic (upgrade|downgrade) [\w@-]+$"  # the note of a step that is half done


def valid_version_table(name: str) -> str:
    """The version table's name, if SQL takes it without quotes.

    Raises:
        SetupError: it does not.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise SetupError(f"version_table in alembic.ini is {name!r}: use lower-case letters, digits and _ alone.")
    return name


def require_ours(
    version_table: str,
    script: ScriptDirectory,
    finishes: Mapping[str, str] | None = None,
    then: str = "",
    also: Sequence[Question] = (),
) -> str:
    """The block that raises unless the version table is ours and no other step is half done.

    Another project may use a table of that name, or somebody plant one. Its ids may look like ours, too; but wherever a
    revision of ours stands, so does the schema of our helpers, whose owner owns the table. Without that schema, a table
    is ours only if this transaction has just made it, or if it holds revisions of the user's own alone.

    Args:
        version_table: its name.
        script: all revisions.
        finishes: for each place that a step would begin at, that step's command, which may go on from there; None
            if half a step does not matter.
        then: statements that follow. In them, the variable `here` is the place: the rows of the version table,
            separated by commas, or "base"; `ours` is the newest revision of this package, or "base".
        also: what else may stand in the way, to give all reasons at once where this package has made nothing yet.
    """
    others = ""
    if also:
        others = f"""
            IF to_regnamespace('chatbot_private') IS NULL THEN{collect(also)}
                IF obstacles <> '' THEN
                    obstacles := E'\\nBeside that, this database does not fit:' || obstacles;
                END IF;
            END IF;"""
    known = {each: newest_of_ours(script, [each]) for each in chain(script)}
    return f"""
        DECLARE
            known CONSTANT jsonb := {quoted(json.dumps(known))};
            here text := '{BASE}';
            ours text := '{BASE}';
            note text;
            is_new boolean := true;
            is_ours boolean;
            are_known boolean;
            obstacles text := '';
        BEGIN
            IF to_regclass('public.{version_table}') IS NOT NULL THEN
                SELECT coalesce(string_agg(version_num, ', ' ORDER BY version_num), '{BASE}'),
                    coalesce(max(nullif(known ->> version_num, '{BASE}')), '{BASE}'),
                    bool_and(known ? version_num)
                INTO here, ours, are_known
                FROM public.{version_table};
                SELECT pg_class.xmin::text = (pg_current_xact_id_if_assigned()::text::bigint % 4294967296)::text,
                    CASE WHEN nspowner IS NOT NULL THEN relowner = nspowner AND are_known IS NOT FALSE
                        ELSE are_known AND ours = '{BASE}' AND pg_get_userbyid(relowner) = current_user END,
                    obj_description(pg_class.oid, 'pg_class')
                INTO is_new, is_ours, note
                FROM pg_class LEFT JOIN pg_namespace ON nspname = 'chatbot_private'
                WHERE pg_class.oid = 'public.{version_table}'::regclass;
                IF is_new IS NOT TRUE AND is_ours IS NOT TRUE THEN{others}
                    RAISE EXCEPTION 'Table {version_table} %: give this package a version_table of its own in'
                        ' alembic.ini. Nothing was changed.%', CASE here
                        WHEN '{BASE}' THEN 'is there already, empty and of somebody else''s making'
                        ELSE 'holds revision ' || here || ' of another project (or of a newer version of this package)'
                        END, obstacles
                        USING ERRCODE = 'object_not_in_prerequisite_state';
                END IF;
            END IF;{"" if finishes is None else refuse_half_done(finishes)}{then}
        END"""


def require_agreement(version_table: str, stamped: str | None = None) -> str:
    """The statements that raise unless the schema looks like the revision that is recorded, or will be.

    They follow in the block of `require_ours`. Steps from another revision than the schema's would be refused with
    misleading remedies. Where a step is half done, or only some of a revision's objects are there, nothing is judged.

    Args:
        version_table: its name.
        stamped: the newest revision of ours that a stamp will record, or "base"; None if the command is no stamp.
    """
    if stamped is None:
        wrong = f"""
                    RAISE EXCEPTION 'Table {version_table} %, but the schema looks like %: run `alembic stamp %`, which'
                        ' records that. Nothing was changed.',
                        CASE here WHEN 'base' THEN 'is missing or empty' ELSE 'says ' || here END,
                        seen, coalesce(nullif(lowest, ''), 'base')
                        USING ERRCODE = 'object_not_in_prerequisite_state';"""
    else:
        wrong = f"""
                    RAISE EXCEPTION 'The schema looks like %, not {stamped}: run %`alembic % {stamped}`, which changes'
                        ' the schema. A stamp only records a revision. Nothing was changed.',
                        seen,
                        CASE WHEN recorded <> lowest THEN format('`alembic stamp %s`, then ', lowest) ELSE '' END,
                        CASE WHEN expected < lowest THEN 'downgrade' ELSE 'upgrade' END
                        USING ERRCODE = 'object_not_in_prerequisite_state';"""
    expected = "recorded" if stamped is None else quoted(stamped.replace(BASE, ""))
    return f"""
            DECLARE  -- '' is before the first revision
                recorded CONSTANT text := replace(ours, '{BASE}', '');
                expected CONSTANT text := {expected};
                lowest text;
                missing text;
                seen text;
                elsewhere text;
                records boolean;
            BEGIN
                SELECT coalesce(max(revision) FILTER (WHERE stands), ''), min(revision) FILTER (WHERE NOT stands)
                INTO lowest, missing
                FROM ({STANDING}) AS standing (revision, stands);
                seen := CASE lowest WHEN '' THEN 'no revision of this package' ELSE 'revision ' || lowest END;
                FOR elsewhere IN  -- as where the settings name another table than before
                    SELECT relname FROM pg_class
                    JOIN pg_namespace AS private ON private.nspname = 'chatbot_private' AND nspowner = relowner
                    JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'version_num' AND NOT attisdropped
                    WHERE here = '{BASE}' AND relnamespace = to_regnamespace('public') AND relkind = 'r'
                        AND relname <> '{version_table}' AND has_table_privilege(pg_class.oid, 'SELECT')
                LOOP
                    EXECUTE format('SELECT bool_and($1 ? version_num::text) FROM public.%I', elsewhere)
                    INTO records USING known;
                    IF records THEN
                        RAISE EXCEPTION 'Table % records the revision of this database already: set version_table = %'
                            ' in alembic.ini, or name the section that does (-n). Nothing was changed.',
                            elsewhere, elsewhere
                            USING ERRCODE = 'object_not_in_prerequisite_state';
                    END IF;
                END LOOP;
                IF note ~ '{HALF_DONE}' THEN
                    NULL;
                ELSIF missing < lowest THEN
                    IF expected = '' THEN
                        RAISE EXCEPTION 'Table {version_table} is missing or empty, and the schema looks like revision'
                            ' % without %: restore both from a backup. Nothing was changed.', lowest, missing
                            USING ERRCODE = 'object_not_in_prerequisite_state';
                    END IF;
                ELSIF expected < lowest OR expected >= missing THEN{wrong}
                END IF;
            END;"""


def refuse_half_done(finishes: Mapping[str, str]) -> str:
    """The statements that raise if a step is half done, and it is not the one that would begin at `here`."""
    return f"""
            IF note ~ '{HALF_DONE}' AND note <> coalesce({chosen(finishes)}, '') THEN
                RAISE EXCEPTION 'A step was interrupted half-way: run `%`, which finishes it, before anything else.',
                    note
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;"""


def chosen(values: Mapping[str, str]) -> str:
    """The value for the revision `here`, or NULL, as SQL."""
    return f"'{json.dumps(values)}'::jsonb ->> here"


def keep_decisions() -> str:
    """The block that raises where the operator decides otherwise than what the database has recorded and rests on."""
    return r"""
        DECLARE
            asked text;
            recorded text;
        BEGIN
            -- By names, as a role without USAGE on the schema may look, too.
            asked := nullif(current_setting('chatbots.identity', true), '');
            SELECT substring(prosrc FROM $re$^SELECT '(.*)'::name$$re$) INTO recorded
            FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE nspname = 'chatbot_private' AND proname = 'identity_column';
            IF replace(recorded, $q$''$q$, $q$'$q$) <> asked THEN
                RAISE EXCEPTION 'This database has recorded identity=%: leave -x identity away. To choose another'
                    ' column, `alembic downgrade base` first. Nothing was changed.', recorded
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            asked := nullif(current_setting('chatbots.admin_role', true), '');
            SELECT replace(substring(prosrc FROM $re$^SELECT '(.*)'::text\[\]$$re$), $q$''$q$, $q$'$q$) INTO recorded
            FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE nspname = 'chatbot_private' AND proname = 'admin_roles'
                AND EXISTS (SELECT FROM pg_proc AS decided WHERE decided.pronamespace = pg_proc.pronamespace
                    AND decided.proname = 'is_admin');
            IF recorded::text[] <> string_to_array(asked, ',') THEN
                RAISE EXCEPTION 'This database has recorded admin_role=%: leave -x admin_role away. To choose others,'
                    ' `alembic downgrade 007` first. Nothing was changed.', array_to_string(recorded::text[], ',')
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
        END"""


def half_done_step(connection: Connection, version_table: str) -> str | None:
    """The command that finishes the step which was interrupted between its transactions, if there is one."""
    query = text("SELECT obj_description(to_regclass(:name), 'pg_class')")
    note: str | None = connection.scalar(query, {"name": f"public.{version_table}"})
    return note if note and re.fullmatch(HALF_DONE, note) else None


def note_step(version_table: str, command: str | None) -> str:
    """The SQL that notes the command that a step belongs to, while the step runs, or takes the note back."""
    note = "NULL" if command is None else f"'{command}'"
    return f"COMMENT ON TABLE public.{version_table} IS {note}"


def secure_version_table(name: str) -> str:
    """The block that keeps clients off the version table, which lies in public beside the tables they use.

    Row security is on; whoever is granted SELECT, such as an auditor who runs `alembic check`, may read it. Default
    privileges that opened it to others (Supabase's do) are taken back, once: later grants stay. Our policy tells
    whether that was done: an event trigger of the platform's may enable row security on each new table.

    A table that a stamp has made anew goes to the owner of our schema.
    """
    return f"""
        DECLARE
            grantee text;
            its_owner text;
        BEGIN
            SELECT nspowner::regrole::text INTO its_owner
            FROM pg_catalog.pg_namespace, pg_catalog.pg_class
            WHERE nspname = 'chatbot_private' AND pg_class.oid = 'public.{name}'::regclass AND relowner <> nspowner;
            IF FOUND THEN
                EXECUTE format('ALTER TABLE public.{name} OWNER TO %s', its_owner);
            END IF;
            IF NOT EXISTS (
                SELECT FROM pg_catalog.pg_policy
                WHERE polrelid = 'public.{name}'::regclass AND polname = 'Auditors can view the schema revision'
            ) THEN
                FOR grantee IN
                    SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                    FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl) AS acl
                    WHERE pg_class.oid = 'public.{name}'::regclass AND acl.grantee <> relowner
                LOOP
                    EXECUTE format('REVOKE ALL ON TABLE public.{name} FROM %s', grantee);
                END LOOP;
                ALTER TABLE public.{name} ENABLE ROW LEVEL SECURITY;
                CREATE POLICY "Auditors can view the schema revision" ON public.{name} FOR SELECT USING (true);
            END IF;
        END"""

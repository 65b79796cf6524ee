"""Take over what a platform already has of what a revision makes, and put it back when the revision is taken back.

Teams that ran the guide's SQL by hand have chatbots, users.role, conversations.chatbot_id or feedback.notes before this
package comes. A revision records in `chatbot_private.replaced` the statement that undoes each replacement, and names
what it has taken over in `chatbot_private.taken_over()`. On other databases it records nothing and puts nothing back.

What is here runs by `op.execute`, so it works online, offline (`--sql`) and in the SQL files.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from alembic import op
from sqlalchemy import text


def execute(statement: str) -> None:
    """Run a statement as it is written: text() would take a colon before a word for a parameter."""
    op.execute(text(re.sub(r"(?<!:):(?=\w)", r"\\:", statement)))


def is_taken_over(what: str) -> str:
    """The condition, as SQL, that something was there before this package.

    Args:
        what: chatbots, users.role, conversations.chatbot_id or feedback.notes.
    """
    return f"'{what}' = ANY (chatbot_private.taken_over())"


def when(condition: str, *statements: str) -> None:
    """Run statements if a condition holds, in one block of PL/pgSQL."""
    body = "".join(f"\n                {statement.strip()};" for statement in statements)
    execute(f"""
        DO $when$
        BEGIN
            IF {condition} THEN{body}
            END IF;
        END
        $when$
    """)


def when_taken_over(what: str, *statements: str) -> None:
    """Run statements where something was there before this package."""
    when(is_taken_over(what), *statements)


def unless_taken_over(what: str, *statements: str) -> None:
    """Run statements where this package has made something itself."""
    when(f"NOT {is_taken_over(what)}", *statements)


def take_over(what: str, condition: str) -> None:
    """Note that something was there before this package, if a condition holds and it is not noted yet."""
    marked = set_marker(f"chatbot_private.taken_over() || '{what}'::text")
    when(f"({condition}) AND NOT {is_taken_over(what)}", marked)


def let_go(what: str) -> None:
    """Take the note back."""
    when_taken_over(what, set_marker(f"array_remove(chatbot_private.taken_over(), '{what}')"))


def set_marker(value: str) -> str:
    """The statement that gives the marker `taken_over()` another value."""
    return f"""
                EXECUTE format('CREATE OR REPLACE FUNCTION chatbot_private.taken_over() RETURNS text[]
                    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L',
                    format('SELECT %L::text[]', {value}))"""


def record(part: str, *queries: str) -> None:
    """Record the statements that put back what the next statements replace.

    Args:
        part: of a revision, such as "007 keys"; what one part replaced is put back together.
        queries: each selects statements; they are run in reverse order.
    """
    for query in queries:
        execute(f"""
        INSERT INTO chatbot_private.replaced (part, statement)
        SELECT '{part}', statement FROM ({query.strip()}) AS undo (statement)
        """)


def put_back(part: str, *, at_once: bool = False) -> None:
    """Run what a part of a revision has recorded, the last first, each in a transaction of its own unless at once.

    What needs something that the platform has dropped meanwhile, such as a column, is left with a warning.

    Call it in an `autocommit_block`, unless `at_once`.
    """
    commit = "" if at_once else "\n                COMMIT;"
    execute(f"""
        DO $undo$
        DECLARE
            undone record;
        BEGIN
            LOOP
                SELECT * INTO undone FROM chatbot_private.replaced
                WHERE part = '{part}' ORDER BY id DESC LIMIT 1;
                EXIT WHEN NOT FOUND;
                BEGIN
                    EXECUTE undone.statement;
                EXCEPTION
                    WHEN undefined_object OR undefined_table OR undefined_column OR undefined_function THEN
                        RAISE WARNING 'Not put back (%): %', SQLERRM, undone.statement;
                END;
                DELETE FROM chatbot_private.replaced WHERE id = undone.id;{commit}
            END LOOP;
        END
        $undo$
    """)


def park_indexes(revision: str, table: str, names: Sequence[str], condition: str) -> None:
    """Rename the platform's indexes that bear our names, and record how to rename them back.

    Renaming takes SHARE UPDATE EXCLUSIVE for a moment. The index stays, so nothing has to be built anew. Once ours are
    dropped, `put_back("<revision> indexes")`.

    Args:
        revision: which needs the names.
        table: in schema public, whose indexes they are.
        names: of our indexes.
        condition: whether the platform's may still have them; afterwards they are our own.
    """
    execute(f"""
        DO $park$
        DECLARE
            its name;
        BEGIN
            IF NOT ({condition}) THEN
                RETURN;
            END IF;
            FOR its IN
                SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
                WHERE indrelid = to_regclass('public.{table}') AND relname = ANY ('{{{",".join(names)}}}')
            LOOP
                EXECUTE format('ALTER INDEX public.%I RENAME TO %I', its, its || '_before_{revision}');
                INSERT INTO chatbot_private.replaced (part, statement) VALUES ('{revision} indexes',
                    format('ALTER INDEX IF EXISTS public.%I RENAME TO %I', its || '_before_{revision}', its));
            END LOOP;
        END
        $park$
    """)


def park_constraint(revision: str, table: str, name: str, condition: str) -> None:
    """Rename a constraint of the platform's that bears our name, and record how to rename it back."""
    execute(f"""
        DO $park$
        BEGIN
            IF ({condition}) AND EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = to_regclass('public.{table}') AND conname = '{name}'
            ) THEN
                ALTER TABLE public.{table} RENAME CONSTRAINT {name} TO {name}_before_{revision};
                INSERT INTO chatbot_private.replaced (part, statement) VALUES ('{revision}',
                    'ALTER TABLE public.{table} RENAME CONSTRAINT {name}_before_{revision} TO {name}');
            END IF;
        END
        $park$
    """)


def replace_foreign_keys(part: str, table: str, column: str, ours: str) -> None:
    """Drop the platform's foreign keys of a column once ours is validated, and record how to add them again.

    Each goes in a transaction of its own: call it in an `autocommit_block`.

    Args:
        part: as for `record`.
        table: in schema public.
        column: the only column of those keys.
        ours: the name of our key.
    """
    execute(f"""
        DO $keys$
        DECLARE
            its record;
        BEGIN
            FOR its IN
                SELECT conname, convalidated, pg_get_constraintdef(pg_constraint.oid) AS definition
                FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND conkey = ARRAY[attnum]
                WHERE conrelid = 'public.{table}'::regclass AND contype = 'f' AND attname = '{column}'
                    AND conname <> '{ours}'
                ORDER BY conname
            LOOP
                INSERT INTO chatbot_private.replaced (part, statement)
                SELECT '{part}', format('ALTER TABLE public.{table} VALIDATE CONSTRAINT %I', its.conname)
                WHERE its.convalidated;
                INSERT INTO chatbot_private.replaced (part, statement) VALUES ('{part}',
                    format('ALTER TABLE public.{table} ADD CONSTRAINT %I %s NOT VALID', its.conname,
                        regexp_replace(its.definition, ' NOT VALID$', '')));
                EXECUTE format('ALTER TABLE public.{table} DROP CONSTRAINT %I', its.conname);
                COMMIT;
            END LOOP;
        END
        $keys$
    """)


def functions_that_read(table: str, column: str) -> str:
    """SQL for the names of the platform's functions that read a column, separated by commas; NULL if there are none.

    A function's body does not follow when its column is renamed. A body is text, so this asks for both words in it.

    Args:
        table: its name in schema public, as an expression of SQL.
        column: its name, as an expression of SQL.
    """
    return rf"""(
        SELECT string_agg(DISTINCT reader.oid::regprocedure::text, ', ')
        FROM pg_proc AS reader JOIN pg_namespace ON pg_namespace.oid = reader.pronamespace
        WHERE nspname !~ '^(pg_|information_schema$|chatbot_(private|compat)$)'
            AND reader.prosrc ~* ('\m' || {column} || '\M')
            AND (reader.prosrc ~* ('\m' || {table} || '\M') OR EXISTS (
                SELECT FROM pg_trigger
                WHERE tgfoid = reader.oid AND tgrelid = to_regclass(format('public.%I', {table}))
            ))
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_proc'::regclass AND objid = reader.oid AND deptype = 'e'  -- an extension's
            )
    )"""


def functions_that_name(name: str) -> str:
    """SQL for the names of the platform's functions whose text has a word, separated by commas; NULL for none.

    Args:
        name: the word, as an expression of SQL.
    """
    return rf"""(
        SELECT string_agg(DISTINCT reader.oid::regprocedure::text, ', ')
        FROM pg_proc AS reader JOIN pg_namespace ON pg_namespace.oid = reader.pronamespace
        WHERE nspname !~ '^(pg_|information_schema$|chatbot_(private|compat)$)' AND reader.prosqlbody IS NULL
            AND reader.prosrc ~* ('\m' || {name} || '\M')
    )"""


def unless_named(readers: str, statement: str) -> str:
    """SQL for a remedy: a statement, or a sentence where functions would not follow what it renames."""
    return f"""coalesce('give it another name, together with these functions, which name it: ' || {readers},
        {statement})"""


# Remedies of what bears a name of ours: a relation, given by relname and relkind; a type, given by typname; a trigger,
# given by tgname and tgrelid; a column, given by attrelid and attname.
RENAME_RELATION = unless_named(
    functions_that_name("relname"),
    """format('ALTER %s public.%I RENAME TO %I', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'i' THEN 'INDEX'
        WHEN 'S' THEN 'SEQUENCE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, relname, relname || '_before')""",
)
RENAME_TYPE = unless_named(
    functions_that_name("typname"), "format('ALTER TYPE public.%I RENAME TO %I', typname, typname || '_before')"
)
RENAME_TRIGGER = "format('ALTER TRIGGER %I ON %s RENAME TO %I', tgname, tgrelid::regclass, tgname || '_before')"
RENAME_COLUMN = unless_named(
    functions_that_read("(SELECT relname FROM pg_class WHERE pg_class.oid = attrelid)", "attname"),
    "format('ALTER TABLE %s RENAME COLUMN %I TO %I', attrelid::regclass, attname, attname || '_before')",
)


def sql(revision_file: str, name: str, **parts: str) -> str:
    """The text of a file beside the revisions, in `sql/`, without the lines that are comments.

    Args:
        revision_file: `__file__` of the revision.
        name: the file's, without .sql.
        parts: what stands in the file's {placeholders}, beside the remedies above.
    """
    path = Path(revision_file).parents[1] / "sql" / f"{name}.sql"
    text_of_file = re.sub(r"^ *--.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE).strip()
    remedies = {
        "rename_relation": RENAME_RELATION,
        "rename_trigger": RENAME_TRIGGER,
        "rename_type": RENAME_TYPE,
        "rename_column": RENAME_COLUMN,
    }
    for placeholder, value in {**remedies, **parts}.items():
        text_of_file = text_of_file.replace(f"{{{placeholder}}}", value)
    return text_of_file

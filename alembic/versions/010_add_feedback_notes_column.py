"""Rename feedback.comment to feedback.notes.

What: the rename; schema chatbot_compat with a view feedback that still calls the column comment, for the previous
version of the application while it is rolled over: it puts chatbot_compat first in its search_path. Whoever may use
feedback may use the view. Where notes is there already and comment is not, nothing happens.
Locks: ACCESS EXCLUSIVE on feedback for milliseconds; no row is touched.
Downgrade: the same lock, and one on the view; loses nothing.
"""

from app.migration.takeover import RENAME_COLUMN, functions_that_read, let_go, take_over, unless_taken_over

revision = "010"
down_revision = "009"
branch_labels = None
depends_on = None

# Before this revision renames it, nobody but the platform has a column of that name.
HAS_NOTES = """EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = 'public.feedback'::regclass AND attname = 'notes' AND NOT attisdropped
        )"""

HAS_COMMENT = """EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = to_regclass('public.feedback') AND attname = 'comment' AND NOT attisdropped
        )"""


def upgrade() -> None:
    take_over("feedback.notes", HAS_NOTES)
    unless_taken_over(
        "feedback.notes",
        "ALTER TABLE public.feedback RENAME COLUMN comment TO notes",
        "CREATE SCHEMA chatbot_compat",
        "COMMENT ON SCHEMA chatbot_compat IS 'Names that the previous version of the application knows'",
        close_schema(),
        "GRANT USAGE ON SCHEMA chatbot_compat TO PUBLIC",  # there is nothing in it but the view
        create_view(),
        "COMMENT ON VIEW chatbot_compat.feedback IS 'What feedback was before revision 010'",
        grant_what_feedback_grants(),
    )


def downgrade() -> None:
    unless_taken_over(
        "feedback.notes",
        lock_view_and_table(),
        # Whoever needs the view no more may have dropped it, with its schema.
        "DROP VIEW IF EXISTS chatbot_compat.feedback",
        "DROP SCHEMA IF EXISTS chatbot_compat",
        "ALTER TABLE public.feedback RENAME COLUMN notes TO comment",
    )
    let_go("feedback.notes")


def close_schema() -> str:
    return """
        DO $step$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN  -- those to whom default privileges opened it
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_namespace, aclexplode(nspacl) AS acl
                WHERE pg_namespace.oid = 'chatbot_compat'::regnamespace AND acl.grantee <> nspowner
            LOOP
                EXECUTE format('REVOKE ALL ON SCHEMA chatbot_compat FROM %s', grantee);
            END LOOP;
        END
        $step$
    """


def create_view() -> str:
    # Automatically updatable, and security_invoker: row security and the grants of feedback hold through it. All its
    # columns in their order, with those that only this platform has: SELECT * finds what it found before.
    return """
        DO $step$
        BEGIN
            EXECUTE (
                SELECT format('CREATE VIEW chatbot_compat.feedback WITH (security_invoker = true) AS
                    SELECT %s FROM public.feedback',
                    string_agg(CASE attname WHEN 'notes' THEN 'notes AS comment' ELSE quote_ident(attname) END, ', '
                        ORDER BY attnum))
                FROM pg_attribute
                WHERE attrelid = 'public.feedback'::regclass AND attnum > 0 AND NOT attisdropped
            );
        END
        $step$
    """


def grant_what_feedback_grants() -> str:
    # And nothing that default privileges gave. The owner of feedback may be another role than ours.
    return """
        DO $step$
        DECLARE
            privilege text;
            grantee text;
        BEGIN
            FOR grantee IN
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_class, aclexplode(relacl) AS acl
                WHERE pg_class.oid = 'chatbot_compat.feedback'::regclass AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON TABLE chatbot_compat.feedback FROM %s', grantee);
            END LOOP;
            FOR privilege, grantee IN
                SELECT privilege_type, CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) AS acl
                WHERE pg_class.oid = 'public.feedback'::regclass AND acl.grantee <> current_user::regrole
                    AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
                UNION ALL
                SELECT format('%s (%s)', privilege_type, string_agg(
                        CASE attname WHEN 'notes' THEN 'comment' ELSE quote_ident(attname) END, ', ' ORDER BY attnum)),
                    CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_attribute, aclexplode(attacl) AS acl
                WHERE attrelid = 'public.feedback'::regclass AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
                GROUP BY privilege_type, acl.grantee
            LOOP
                EXECUTE format('GRANT %s ON TABLE chatbot_compat.feedback TO %s', privilege, grantee);
            END LOOP;
        END
        $step$
    """


def lock_view_and_table() -> str:
    # The view first and feedback in the same statement, as those do who read through it. Who holds feedback already (by
    # a deletion that cascades to it) and then asks for the view waits in a circle with us. Each of our two waits ends
    # after a third of deadlock_timeout, so that we fail and are tried again before the other one is told of a deadlock.
    return """
        DO $step$
        BEGIN
            IF to_regclass('chatbot_compat.feedback') IS NOT NULL THEN
                PERFORM set_config('lock_timeout', (
                    SELECT min(setting::integer / CASE name WHEN 'deadlock_timeout' THEN 3 ELSE 1 END)
                    FROM pg_settings
                    WHERE name IN ('lock_timeout', 'deadlock_timeout') AND setting <> '0'
                )::text, true);
                LOCK TABLE chatbot_compat.feedback IN ACCESS EXCLUSIVE MODE;
            END IF;
        END
        $step$
    """


# A function of a trigger fails every write of feedback once it names a column that is not there.
OBSTACLES = rf"""
    SELECT 'feedback has a column notes beside comment', {RENAME_COLUMN}
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.feedback') AND attname = 'notes' AND NOT attisdropped AND {HAS_COMMENT}
    UNION ALL
    SELECT format('Trigger %s of feedback is given the column name comment, and would fail each write', tgname),
        'have it do without the name comment, such as by a function that reads either name'
    FROM pg_trigger
    WHERE tgrelid = to_regclass('public.feedback')
        AND 'comment' = ANY (string_to_array(encode(tgargs, 'escape'), '\000')) AND {HAS_COMMENT}
    UNION ALL
    SELECT format('Function %s of trigger %s names comment of feedback, and would fail each write',
            tgfoid::regprocedure, string_agg(tgname, ', ')),
        'have it read coalesce(to_jsonb(NEW) ->> ''notes'', to_jsonb(NEW) ->> ''comment''), which works before'
        ' the rename and after it'
    FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE tgrelid = to_regclass('public.feedback') AND NOT tgisinternal
        AND prosrc ~* '\m(new|old)\.("comment"|comment\M)' AND {HAS_COMMENT}
    GROUP BY tgfoid
    UNION ALL
    SELECT 'Schema chatbot_compat exists already', 'ALTER SCHEMA chatbot_compat RENAME TO chatbot_compat_before'
    WHERE to_regnamespace('chatbot_compat') IS NOT NULL
"""

# Views and policies follow a rename; the body of a function does not, unless it was parsed when it was made.
WARNINGS = rf"""
    SELECT 'These functions name comment of feedback; have them know notes when this revision runs, or they fail: '
        || functions
    FROM (SELECT {functions_that_read("'feedback'", "'comment'")}) AS found (functions)
    WHERE functions IS NOT NULL AND {HAS_COMMENT}
"""

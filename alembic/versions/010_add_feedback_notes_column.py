"""Rename feedback.comment to feedback.notes.

What: the rename; schema chatbot_compat with a view feedback that still calls the column comment, for the previous
version of the application while it is rolled over: it puts chatbot_compat first in its search_path. Whoever may use
feedback may use the view.
Locks: ACCESS EXCLUSIVE on feedback for milliseconds; no row is touched.
Downgrade: the same lock, and one on the view; loses nothing.
"""

from alembic import op

revision = "010"
down_revision = "009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE public.feedback RENAME COLUMN comment TO notes")
    op.execute("CREATE SCHEMA chatbot_compat")
    op.execute("COMMENT ON SCHEMA chatbot_compat IS 'Names that the previous version of the application knows'")
    close_schema()
    op.execute("GRANT USAGE ON SCHEMA chatbot_compat TO PUBLIC")  # there is nothing in it but the view
    create_view()
    op.execute("COMMENT ON VIEW chatbot_compat.feedback IS 'What feedback was before revision 010'")
    grant_what_feedback_grants()


def downgrade() -> None:
    lock_view_and_table()
    # Whoever needs the view no more may have dropped it, with its schema.
    op.execute("DROP VIEW IF EXISTS chatbot_compat.feedback")
    op.execute("DROP SCHEMA IF EXISTS chatbot_compat")
    op.execute("ALTER TABLE public.feedback RENAME COLUMN notes TO comment")


def close_schema() -> None:
    op.execute("""
        DO $$
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
        $$
    """)


def create_view() -> None:
    # Automatically updatable, and security_invoker: row security and the grants of feedback hold through it. All its
    # columns in their order, with those that only this platform has: SELECT * finds what it found before.
    op.execute("""
        DO $$
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
        $$
    """)


def grant_what_feedback_grants() -> None:
    # And nothing that default privileges gave. The owner of feedback may be another role than ours.
    op.execute("""
        DO $$
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
        $$
    """)


def lock_view_and_table() -> None:
    # The view first and feedback in the same statement, as those do who read through it. Who holds feedback already (by
    # a deletion that cascades to it) and then asks for the view waits in a circle with us. Each of our two waits ends
    # after a third of deadlock_timeout, so that we fail and are tried again before the other one is told of a deadlock.
    op.execute("""
        DO $$
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
        $$
    """)


OBSTACLES = r"""
    SELECT 'feedback has a column notes of its own', 'rename it: comment is renamed to notes'
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.feedback') AND attname = 'notes' AND NOT attisdropped
    UNION ALL
    SELECT format('Trigger %s of feedback is given the column name comment, and would fail each write', tgname),
        'drop it, or have it do without'
    FROM pg_trigger
    WHERE tgrelid = to_regclass('public.feedback')
        AND 'comment' = ANY (string_to_array(encode(tgargs, 'escape'), '\000'))
    UNION ALL
    SELECT 'Schema chatbot_compat exists already', 'rename it: this package keeps old names under that name'
    WHERE to_regnamespace('chatbot_compat') IS NOT NULL
"""

# Views and policies follow a rename; the body of a function does not, unless it was parsed when it was made.
WARNINGS = r"""
    SELECT format('Function %s names comment of feedback: see that it knows notes when this revision runs, or it fails',
        pg_proc.oid::regprocedure)
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname !~ '^(pg_|information_schema$|chatbot_(private|compat)$)' AND prosqlbody IS NULL
        AND prosrc ~* '\mcomment\M'
        AND (prosrc ~* '\mfeedback\M' OR EXISTS (
            SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid AND tgrelid = to_regclass('public.feedback')
        ))
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'  -- an extension's
        )
"""

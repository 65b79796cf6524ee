"""Rename feedback.comment to feedback.notes.

What: the rename; schema chatbot_compat with a view feedback that still calls the column comment, for the previous
version of the application while it is rolled over: it puts chatbot_compat first in its search_path.
Locks: ACCESS EXCLUSIVE on feedback for milliseconds; no row is touched.
Downgrade: the same lock; loses nothing.
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
    # Automatically updatable, and security_invoker: row security and the grants of feedback hold through it.
    op.execute("""
        CREATE VIEW chatbot_compat.feedback WITH (security_invoker = true) AS
        SELECT id, message_id, user_id, rating, notes AS comment, created_at
        FROM public.feedback
    """)
    op.execute("REVOKE ALL ON SCHEMA chatbot_compat FROM PUBLIC, anon, authenticated, service_role")
    op.execute("GRANT USAGE ON SCHEMA chatbot_compat TO authenticated, service_role")
    op.execute("REVOKE ALL ON TABLE chatbot_compat.feedback FROM PUBLIC, anon, authenticated, service_role")
    op.execute("""
        GRANT SELECT, INSERT (id, message_id, user_id, rating, comment), UPDATE (rating, comment), DELETE
        ON TABLE chatbot_compat.feedback TO authenticated
    """)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE chatbot_compat.feedback TO service_role")


def downgrade() -> None:
    op.execute("DROP VIEW chatbot_compat.feedback")
    op.execute("DROP SCHEMA chatbot_compat")
    op.execute("ALTER TABLE public.feedback RENAME COLUMN notes TO comment")

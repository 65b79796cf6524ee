"""Add conversations.chatbot_id: which chatbot a conversation is with, if any.

What: the column; a foreign key over (tenant_id, chatbot_id), so that no role, not even one past row security, links a
conversation to another tenant's chatbot; a guard, so that a link goes only to a chatbot that its writer can see; two
indexes, over linked conversations alone. Where 006 made conversations, column grants. A chatbot_id that is there
already is taken over with its links, and its foreign key is replaced by ours.
Locks: ACCESS EXCLUSIVE on conversations for milliseconds (a nullable column: no rewrite), then SHARE ROW EXCLUSIVE on
conversations and chatbots for milliseconds (the key, NOT VALID). Then, blocking neither reads nor writes, a scan of
conversations for the key and two indexes built CONCURRENTLY.
Downgrade: loses which chatbot each conversation was with, unless the column was there before. ACCESS EXCLUSIVE on
conversations and chatbots for milliseconds (the key), then on conversations alone.
"""

from alembic import op

from app.migration.takeover import (
    is_taken_over,
    let_go,
    park_constraint,
    park_indexes,
    put_back,
    record,
    replace_foreign_keys,
    sql,
    take_over,
    unless_taken_over,
)

revision = "009"
down_revision = "008"
branch_labels = None
depends_on = None


# No interrupted run of this revision made the column: that comes together with our guard.
NOT_BEGUN = """NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = 'public.conversations'::regclass AND tgname = 'Conversations_guard_chatbot_update'
                AND tgfoid = to_regproc('chatbot_private.require_visible_chatbot')
        )"""
KEY = "conversations_tenant_id_chatbot_id_fkey"


def upgrade() -> None:
    take_over_links()
    op.execute("ALTER TABLE public.conversations ADD COLUMN IF NOT EXISTS chatbot_id uuid")
    op.execute("""
        COMMENT ON COLUMN public.conversations.chatbot_id IS
            'The chatbot it is with; NULL for those from before chatbots, and once the chatbot is gone'
    """)
    create_guard()
    with op.get_context().autocommit_block():
        add_foreign_key()
        replace_foreign_keys("009 keys", "conversations", "chatbot_id", KEY)
        drop_index_if_invalid("idx_conversations_chatbot_id")
        drop_index_if_invalid("idx_conversations_tenant_chatbot")
        op.execute("SET lock_timeout = 0")  # what CONCURRENTLY waits for, it does not block
        # Everybody's with a chatbot, newest first: for a service.
        op.execute("""
            CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_conversations_chatbot_id
            ON public.conversations (chatbot_id, created_at) WHERE chatbot_id IS NOT NULL
        """)
        # A person's with a chatbot, newest first, by all that row security asks for. Also what the foreign key looks
        # through when a chatbot is deleted.
        op.execute("""
            CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_conversations_tenant_chatbot
            ON public.conversations (tenant_id, chatbot_id, user_id, created_at) WHERE chatbot_id IS NOT NULL
        """)
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    on_a_fresh_install("GRANT INSERT (chatbot_id), UPDATE (chatbot_id) ON TABLE public.conversations TO authenticated")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        put_back("009 keys")
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_conversations_tenant_chatbot")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_conversations_chatbot_id")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
        op.execute(f"ALTER TABLE public.conversations DROP CONSTRAINT IF EXISTS {KEY}")
    # With the end of the step, so that none of theirs is taken for ours by a run that goes on after an interruption.
    put_back("009 indexes", at_once=True)
    put_back("009", at_once=True)
    op.execute('DROP TRIGGER "Conversations_guard_chatbot_update" ON public.conversations')
    op.execute('DROP TRIGGER "Conversations_guard_chatbot_insert" ON public.conversations')
    op.execute("DROP FUNCTION chatbot_private.require_visible_chatbot()")
    unless_taken_over("conversations.chatbot_id", "ALTER TABLE public.conversations DROP COLUMN chatbot_id")
    let_go("conversations.chatbot_id")


def take_over_links() -> None:
    theirs = f"""EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = 'public.conversations'::regclass AND attname = 'chatbot_id' AND NOT attisdropped
        ) AND {NOT_BEGUN}"""
    take_over("conversations.chatbot_id", theirs)
    record(
        "009",
        f"""
        SELECT format('COMMENT ON COLUMN public.conversations.chatbot_id IS %L', col_description(attrelid, attnum))
        FROM pg_attribute
        WHERE attrelid = 'public.conversations'::regclass AND attname = 'chatbot_id'
            AND {is_taken_over("conversations.chatbot_id")} AND {NOT_BEGUN}
        """,
    )
    park_indexes(
        "009", "conversations", ("idx_conversations_chatbot_id", "idx_conversations_tenant_chatbot"), NOT_BEGUN
    )
    park_constraint("009", "conversations", KEY, NOT_BEGUN)


def create_guard() -> None:
    # It runs as whoever writes, so row security of chatbots answers. AFTER, because a later BEFORE trigger could
    # overrule it. Its triggers' capital sorts them before those of foreign keys (RI_...): a chatbot that is hidden, one
    # of another tenant and one that is not there get the same answer.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.require_visible_chatbot() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            IF EXISTS (SELECT FROM public.chatbots WHERE id = NEW.chatbot_id)
                OR NOT row_security_active('public.chatbots')  -- who sees every row is answered by the key
            THEN
                RETURN NULL;
            END IF;
            RAISE EXCEPTION 'chatbot % is not visible to role %', NEW.chatbot_id, current_user USING
                ERRCODE = 'insufficient_privilege',
                HINT = 'Link conversations to chatbots that you can see.';
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.require_visible_chatbot() IS
            'Trigger: refuses to link a conversation to a chatbot that its writer cannot see'
    """)
    op.execute("""
        REVOKE ALL ON FUNCTION chatbot_private.require_visible_chatbot() FROM PUBLIC, anon, authenticated, service_role
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER "Conversations_guard_chatbot_insert" AFTER INSERT ON public.conversations
        FOR EACH ROW WHEN (NEW.chatbot_id IS NOT NULL)
        EXECUTE FUNCTION chatbot_private.require_visible_chatbot()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER "Conversations_guard_chatbot_update" AFTER UPDATE ON public.conversations
        FOR EACH ROW WHEN (NEW.chatbot_id IS NOT NULL AND OLD.chatbot_id IS DISTINCT FROM NEW.chatbot_id)
        EXECUTE FUNCTION chatbot_private.require_visible_chatbot()
    """)


def add_foreign_key() -> None:
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'public.conversations'::regclass
                    AND conname = 'conversations_tenant_id_chatbot_id_fkey'
            ) THEN
                ALTER TABLE public.conversations ADD CONSTRAINT conversations_tenant_id_chatbot_id_fkey
                    FOREIGN KEY (tenant_id, chatbot_id) REFERENCES public.chatbots (tenant_id, id)
                    ON DELETE SET NULL (chatbot_id) NOT VALID;
            END IF;
        END
        $$
    """)
    op.execute(f"ALTER TABLE public.conversations VALIDATE CONSTRAINT {KEY}")


def on_a_fresh_install(statement: str) -> None:
    # Policies, grants and triggers of an adopted platform's own tables stay as they are.
    op.execute(f"""
        DO $$
        BEGIN
            IF NOT chatbot_private.is_adopted() THEN
                {statement};
            END IF;
        END
        $$
    """)


def drop_index_if_invalid(name: str) -> None:
    # An interrupted build leaves an index that IF NOT EXISTS would take for the finished one. To drop it takes
    # milliseconds under the strong lock, so under the lock timeout.
    op.execute(f"""
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM pg_index WHERE indexrelid = to_regclass('public.{name}') AND NOT indisvalid
            ) THEN
                DROP INDEX public.{name};
            END IF;
        END
        $$
    """)


# A chatbot_id that is no link to chatbots, and what bears the names that this revision needs.
OBSTACLES = sql(__file__, "009_obstacles")

# Links that ours does not admit.
ROW_OBSTACLES = sql(__file__, "009_row_obstacles")

LOSSES = f"""
    SELECT format('the chatbot of %s conversation%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END)
    FROM public.conversations
    WHERE chatbot_id IS NOT NULL AND NOT {is_taken_over("conversations.chatbot_id")} HAVING count(*) > 0
"""

# What unpacks whole rows of conversations finds one column more.
WARNINGS = r"""
    SELECT format('Function %s takes whole rows of conversations, which get a column: see that it still fits',
        pg_proc.oid::regprocedure)
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname !~ '^pg_' AND (
        prorettype = (SELECT reltype FROM pg_class WHERE oid = to_regclass('public.conversations'))
        OR prosrc ~* '\m(old|new)\.\*' AND EXISTS (
            SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid AND tgrelid = to_regclass('public.conversations')
        )
    )
"""

# What of the platform's own needs what a downgrade drops.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0),
        'drop or change it first: it needs conversations.chatbot_id'
    FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('public.conversations')
        AND attname = 'chatbot_id' AND deptype = 'n'
        AND NOT EXISTS (
            SELECT FROM pg_proc
            WHERE oid = to_regprocedure('chatbot_private.taken_over()') AND prosrc ~ 'conversations\\.chatbot_id'
        )
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE tgrelid = to_regclass('public.conversations') AND pronamespace = to_regnamespace('chatbot_private')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint
            WHERE conrelid = to_regclass('public.conversations') AND conname = 'conversations_tenant_id_chatbot_id_fkey'
        ))
"""

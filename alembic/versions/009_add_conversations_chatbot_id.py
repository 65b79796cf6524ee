"""Add conversations.chatbot_id: which chatbot a conversation is with, if any.

What: the column; a foreign key over (tenant_id, chatbot_id), so that no role, not even one past row security, links a
conversation to another tenant's chatbot; a guard, so that a link goes only to a chatbot that its writer can see; two
indexes, over linked conversations alone. Where 006 made conversations, column grants.
Locks: ACCESS EXCLUSIVE on conversations for milliseconds (a nullable column: no rewrite), then SHARE ROW EXCLUSIVE on
conversations and chatbots for milliseconds (the key, NOT VALID). Then, blocking neither reads nor writes, a scan of
conversations for the key and two indexes built CONCURRENTLY.
Downgrade: loses which chatbot each conversation was with. ACCESS EXCLUSIVE on conversations and chatbots for
milliseconds (the key), then on conversations alone.
"""

from alembic import op

revision = "009"
down_revision = "008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE public.conversations ADD COLUMN IF NOT EXISTS chatbot_id uuid")
    op.execute("""
        COMMENT ON COLUMN public.conversations.chatbot_id IS
            'The chatbot it is with; NULL for those from before chatbots, and once the chatbot is gone'
    """)
    create_guard()
    with op.get_context().autocommit_block():
        add_foreign_key()
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
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_conversations_tenant_chatbot")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_conversations_chatbot_id")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
        op.execute("""
            ALTER TABLE public.conversations DROP CONSTRAINT IF EXISTS conversations_tenant_id_chatbot_id_fkey
        """)
    op.execute("DROP TRIGGER conversations_guard_chatbot_update ON public.conversations")
    op.execute("DROP TRIGGER conversations_guard_chatbot_insert ON public.conversations")
    op.execute("DROP FUNCTION chatbot_private.require_visible_chatbot()")
    op.execute("ALTER TABLE public.conversations DROP COLUMN chatbot_id")


def create_guard() -> None:
    # It runs as whoever writes, so row security of chatbots answers. AFTER, because a later BEFORE trigger could
    # overrule it.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.require_visible_chatbot() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            IF EXISTS (SELECT FROM public.chatbots WHERE id = NEW.chatbot_id) THEN
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
        CREATE OR REPLACE TRIGGER conversations_guard_chatbot_insert AFTER INSERT ON public.conversations
        FOR EACH ROW WHEN (NEW.chatbot_id IS NOT NULL)
        EXECUTE FUNCTION chatbot_private.require_visible_chatbot()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER conversations_guard_chatbot_update AFTER UPDATE ON public.conversations
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
    op.execute("ALTER TABLE public.conversations VALIDATE CONSTRAINT conversations_tenant_id_chatbot_id_fkey")


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


# What bears the names that this revision needs, unless an interrupted run of it made them, together with our guard.
OBSTACLES = """
    WITH ours AS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.conversations') AND tgname = 'conversations_guard_chatbot_update'
            AND tgfoid = to_regproc('chatbot_private.require_visible_chatbot')
    )
    SELECT 'conversations has a column chatbot_id of its own', 'rename it: this package makes one of that name'
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.conversations') AND attname = 'chatbot_id' AND NOT attisdropped
        AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('%s exists already', relname), 'rename or drop it: this package makes one of that name'
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public')
        AND relname IN ('idx_conversations_chatbot_id', 'idx_conversations_tenant_chatbot')
        AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT 'conversations.tenant_id may be NULL', 'set it NOT NULL: a link without a tenant could go anywhere'
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.conversations') AND attname = 'tenant_id' AND NOT attnotnull
        AND to_regnamespace('chatbot_private') IS NOT NULL  -- or 006 tells it
    UNION ALL
    SELECT format('Constraint %s of conversations exists already', conname),
        'rename it: this package makes one of that name'
    FROM pg_constraint
    WHERE conrelid = to_regclass('public.conversations') AND conname = 'conversations_tenant_id_chatbot_id_fkey'
        AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Trigger %s of conversations exists already', tgname),
        'rename it: this package makes one of that name'
    FROM pg_trigger
    WHERE tgrelid = to_regclass('public.conversations')
        AND tgname IN ('conversations_guard_chatbot_insert', 'conversations_guard_chatbot_update')
        AND NOT EXISTS (TABLE ours)
"""

LOSSES = """
    SELECT format('the chatbot of %s conversations', count(*)) FROM public.conversations
    WHERE chatbot_id IS NOT NULL HAVING count(*) > 0
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
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE tgrelid = to_regclass('public.conversations') AND pronamespace = to_regnamespace('chatbot_private')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint WHERE conname = 'conversations_tenant_id_chatbot_id_fkey'
        ))
"""

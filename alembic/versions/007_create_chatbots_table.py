"""Create chatbots: the agents that a tenant's admins configure and publish.

What: the table with its CHECKs, keys, indexes and row security; the two policies that need no users.role; the view
published_chatbots, with the columns that anyone may see; a guard on id, tenant_id and is_active of users, which
the row security of chatbots rests on. Until 008 nobody but service writes chatbots.
Locks: SHARE ROW EXCLUSIVE on users (guard, foreign key) and on tenants (foreign key), each in a transaction of its
own that lasts milliseconds.
Downgrade: drops all chatbots. ACCESS EXCLUSIVE on users, then tenants, then users again, milliseconds each.
"""

from alembic import op

revision = "007"
down_revision = "006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        create_guard()
    create_chatbots()
    refuse_somebody_elses()
    secure_chatbots()
    with op.get_context().autocommit_block():
        add_foreign_keys()


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE IF EXISTS public.chatbots DROP CONSTRAINT IF EXISTS chatbots_created_by_fkey")
        op.execute("ALTER TABLE IF EXISTS public.chatbots DROP CONSTRAINT IF EXISTS chatbots_tenant_id_fkey")
    op.execute("DROP VIEW IF EXISTS public.published_chatbots")
    op.execute("DROP TABLE IF EXISTS public.chatbots")
    with op.get_context().autocommit_block():
        op.execute("DROP TRIGGER IF EXISTS users_guard_membership ON public.users")
        op.execute("DROP FUNCTION IF EXISTS chatbot_private.require_table_owner()")


def create_guard() -> None:
    # Clients may hold ALL on users under policies of the platform's own, so policies and grants do not protect what
    # chatbots rests on; this does. An AFTER trigger, because a later BEFORE trigger could overrule an earlier one.
    # Not a list of client roles: one that inherits authenticated has its rights under another name.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.require_table_owner() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            writer name := current_user;
            stack text;
        BEGIN
            -- A foreign key's cascade writes as the table's owner, on behalf of whoever changed the other table. So
            -- where no function calls, which may be the owner's (SECURITY DEFINER), or where such a key may be what
            -- changed the row, the session's role has to be entitled, too.
            GET DIAGNOSTICS stack = PG_CONTEXT;
            IF strpos(stack, E'\\n') = 0 OR EXISTS (
                SELECT FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
                WHERE conrelid = TG_RELID AND contype = 'f' AND TG_OP = 'UPDATE'
                    AND (confupdtype IN ('c', 'n', 'd') OR confdeltype IN ('n', 'd'))
                    AND to_jsonb(OLD) -> attname IS DISTINCT FROM to_jsonb(NEW) -> attname
            ) THEN
                writer := coalesce(nullif(current_setting('role'), 'none'), session_user);
            END IF;
            IF (
                SELECT bool_and(rolbypassrls OR pg_has_role(pg_roles.oid, relowner, 'USAGE'))
                FROM pg_roles, pg_class
                WHERE rolname IN (writer, current_user) AND pg_class.oid = TG_RELID
            ) THEN
                RETURN NULL;
            END IF;
            RAISE EXCEPTION 'role % may not set % of %', writer, TG_ARGV[0], TG_RELID::regclass USING
                ERRCODE = 'insufficient_privilege',
                HINT = 'Only the table''s owner and roles with BYPASSRLS may.';
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.require_table_owner() IS
            'Trigger: refuses whoever is neither the table''s owner nor past row security'
    """)
    op.execute("""
        REVOKE ALL ON FUNCTION chatbot_private.require_table_owner() FROM PUBLIC, anon, authenticated, service_role
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER users_guard_membership AFTER UPDATE ON public.users
        FOR EACH ROW WHEN (
            OLD.id IS DISTINCT FROM NEW.id OR OLD.tenant_id IS DISTINCT FROM NEW.tenant_id
            OR OLD.is_active IS DISTINCT FROM NEW.is_active
        )
        EXECUTE FUNCTION chatbot_private.require_table_owner('id, tenant_id or is_active')
    """)


def create_chatbots() -> None:
    op.execute("""
        CREATE TABLE IF NOT EXISTS public.chatbots (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            tenant_id uuid NOT NULL,
            created_by uuid,
            name varchar(255) NOT NULL CHECK (name ~ '\\S'),
            description text,
            system_prompt text NOT NULL CHECK (system_prompt ~ '\\S'),
            model varchar(100) NOT NULL CHECK (model ~ '\\S'),
            temperature double precision NOT NULL DEFAULT 0.7 CHECK (temperature BETWEEN 0 AND 2),
            max_tokens integer CHECK (max_tokens >= 1),
            settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
            is_published boolean NOT NULL DEFAULT false,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    # No statistics of what tenants write: the planner estimates over all tenants' rows, and shows it to any of them.
    op.execute("""
        ALTER TABLE public.chatbots ALTER COLUMN name SET STATISTICS 0, ALTER COLUMN description SET STATISTICS 0,
            ALTER COLUMN system_prompt SET STATISTICS 0, ALTER COLUMN model SET STATISTICS 0,
            ALTER COLUMN settings SET STATISTICS 0
    """)
    op.execute("COMMENT ON TABLE public.chatbots IS 'AI agents that a tenant''s admins configure and publish'")
    for column, comment in {
        "created_by": "The admin who made it; NULL once that person is gone",
        "system_prompt": "Instructions to the model; members of the tenant can read those of published chatbots",
        "model": "Name of the language model, as its provider spells it",
        "temperature": "Randomness of the answers, 0 to 2",
        "max_tokens": "Longest answer in tokens; NULL leaves it to the model",
        "settings": "Further parameters, a JSON object",
        "is_published": "Visible to the tenant''s members, and in parts to anonymous visitors",
        "updated_at": "When the configuration or publishing last changed; kept by the database",
    }.items():
        op.execute(f"COMMENT ON COLUMN public.chatbots.{column} IS '{comment}'")

    # Unique, because conversations' foreign key references both columns: a link never leaves its tenant.
    op.execute("CREATE UNIQUE INDEX IF NOT EXISTS idx_chatbots_tenant_id ON public.chatbots (tenant_id, id)")
    # A creator's, newest first. Row security asks for the tenant as well: the index answers that, too.
    op.execute("""
        CREATE INDEX IF NOT EXISTS idx_chatbots_created_by ON public.chatbots (created_by, created_at, tenant_id)
        WHERE created_by IS NOT NULL
    """)
    # The anonymous listing: newest of all tenants.
    op.execute("""
        CREATE INDEX IF NOT EXISTS idx_chatbots_is_published ON public.chatbots (created_at) WHERE is_published
    """)
    # A member's listing: their tenant's published ones by name; of id and name alone, without a look at the table.
    op.execute("""
        CREATE INDEX IF NOT EXISTS idx_chatbots_tenant_published
        ON public.chatbots (tenant_id, is_published, name) INCLUDE (id)
    """)
    op.execute("CREATE INDEX IF NOT EXISTS idx_chatbots_created_at ON public.chatbots (tenant_id, created_at)")
    # For prefixes: name ^@ 'Sup', or, which plans without the value serve as well, a range in collation "C". LIKE is
    # not leakproof, so under row security no index serves it.
    op.execute("""
        CREATE INDEX IF NOT EXISTS idx_chatbots_name ON public.chatbots (tenant_id, name COLLATE "C")
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_touch_updated_at BEFORE UPDATE ON public.chatbots
        FOR EACH ROW WHEN (
            OLD.name IS DISTINCT FROM NEW.name OR OLD.description IS DISTINCT FROM NEW.description
            OR OLD.system_prompt IS DISTINCT FROM NEW.system_prompt OR OLD.model IS DISTINCT FROM NEW.model
            OR OLD.temperature IS DISTINCT FROM NEW.temperature OR OLD.max_tokens IS DISTINCT FROM NEW.max_tokens
            OR OLD.settings IS DISTINCT FROM NEW.settings OR OLD.is_published IS DISTINCT FROM NEW.is_published
        )
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    op.execute("""
        CREATE OR REPLACE VIEW public.published_chatbots WITH (security_invoker = true) AS
        SELECT id, tenant_id, name, description, model, is_published, created_at, updated_at
        FROM public.chatbots
        WHERE is_published
    """)
    op.execute("""
        COMMENT ON VIEW public.published_chatbots IS 'What anyone may see of the published chatbots they may see'
    """)


def refuse_somebody_elses() -> None:
    # IF NOT EXISTS and OR REPLACE take what is there, also what was planted since the run began. Its owner stays.
    op.execute("""
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM pg_class
                WHERE oid IN ('public.chatbots'::regclass, 'public.published_chatbots'::regclass)
                    AND relowner <> current_user::regrole
            ) THEN
                RAISE EXCEPTION 'Somebody else has made chatbots or published_chatbots meanwhile' USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'rename or drop it, and run the same command again';
            END IF;
        END
        $$
    """)


def secure_chatbots() -> None:
    op.execute("ALTER TABLE public.chatbots ENABLE ROW LEVEL SECURITY")
    op.execute('DROP POLICY IF EXISTS "Users can view published chatbots in their tenant" ON public.chatbots')
    op.execute("""
        CREATE POLICY "Users can view published chatbots in their tenant" ON public.chatbots
        FOR SELECT TO authenticated
        USING (tenant_id = (SELECT chatbot_private.tenant_id()) AND is_published)
    """)
    # Not for a role that inherits both: it would see anon's rows with all the columns of authenticated.
    op.execute('DROP POLICY IF EXISTS "Demo user can view published chatbots" ON public.chatbots')
    op.execute("""
        CREATE POLICY "Demo user can view published chatbots" ON public.chatbots
        FOR SELECT TO anon
        USING (is_published AND NOT (SELECT pg_has_role('authenticated', 'USAGE')))
    """)
    # No INSERT, UPDATE or DELETE for authenticated: 008 brings the role that may.
    close_table("public.chatbots")
    op.execute("""
        GRANT SELECT (id, tenant_id, name, description, model, is_published, created_at, updated_at)
        ON TABLE public.chatbots TO anon
    """)
    op.execute("GRANT SELECT ON TABLE public.chatbots TO authenticated")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.chatbots TO service_role")
    # The view is automatically updatable, so it is closed to writing like a table.
    close_table("public.published_chatbots")
    op.execute("GRANT SELECT ON TABLE public.published_chatbots TO anon, authenticated, service_role")


def close_table(name: str) -> None:
    # Also to those to whom default privileges opened it.
    op.execute(f"""
        DO $close$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_class, aclexplode(relacl) AS acl
                WHERE pg_class.oid = '{name}'::regclass AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON TABLE {name} FROM %s', grantee);
            END LOOP;
        END
        $close$
    """)


def add_foreign_keys() -> None:
    # One a transaction: each locks the table that it references.
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'public.chatbots'::regclass AND conname = 'chatbots_tenant_id_fkey'
            ) THEN
                ALTER TABLE public.chatbots ADD CONSTRAINT chatbots_tenant_id_fkey
                    FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON DELETE CASCADE;
            END IF;
        END
        $$
    """)
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'public.chatbots'::regclass AND conname = 'chatbots_created_by_fkey'
            ) THEN
                ALTER TABLE public.chatbots ADD CONSTRAINT chatbots_created_by_fkey
                    FOREIGN KEY (created_by) REFERENCES public.users (id) ON DELETE SET NULL;
            END IF;
        END
        $$
    """)


# What bears the names that this revision needs, unless an interrupted run of it made them: nobody but the owner of our
# function can have it in a trigger.
OBSTACLES = """
    SELECT format('%s exists already', relname), 'rename or drop it: this package makes one of that name'
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public')
        AND relname IN ('chatbots', 'published_chatbots', 'idx_chatbots_tenant_id', 'idx_chatbots_created_by',
            'idx_chatbots_is_published', 'idx_chatbots_tenant_published', 'idx_chatbots_created_at',
            'idx_chatbots_name')
        AND NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = to_regclass('public.chatbots')
                AND tgfoid = to_regproc('chatbot_private.touch_updated_at')
        )
    UNION ALL
    SELECT format('Type %s exists already', typname), 'rename it: a table of that name makes a type'
    FROM pg_type
    WHERE typnamespace = to_regnamespace('public') AND typname IN ('chatbots', 'published_chatbots') AND typrelid = 0
    UNION ALL
    SELECT format('users.%s may be NULL', attname), 'set it NOT NULL'
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname IN ('tenant_id', 'is_active') AND NOT attnotnull
        AND to_regnamespace('chatbot_private') IS NOT NULL  -- or 006 tells it
    UNION ALL
    SELECT format('%s.id is not the primary key', relation), 'make it the primary key, not deferrable'
    FROM unnest(ARRAY['tenants', 'users']) AS relation
    JOIN pg_attribute ON attrelid = to_regclass('public.' || relation) AND attname = 'id'
    WHERE to_regnamespace('chatbot_private') IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND indimmediate AND indkey::text = attnum::text
    )
    UNION ALL
    SELECT format('Trigger %s of users exists already', tgname), 'rename it: this package makes one of that name'
    FROM pg_trigger
    WHERE tgrelid = to_regclass('public.users') AND tgname = 'users_guard_membership'
        AND tgfoid IS DISTINCT FROM to_regproc('chatbot_private.require_table_owner')
"""

LOSSES = "SELECT format('%s chatbots', count(*)) FROM public.chatbots HAVING count(*) > 0"

# What of the platform's own needs what a downgrade drops.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0), 'drop or change it first: it needs chatbots'
    FROM pg_depend
    WHERE refclassid = 'pg_class'::regclass
        AND refobjid IN (to_regclass('public.chatbots'), to_regclass('public.published_chatbots')) AND deptype = 'n'
        AND NOT (classid = 'pg_rewrite'::regclass AND objid IN (
            SELECT oid FROM pg_rewrite WHERE ev_class = to_regclass('public.published_chatbots')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint
            WHERE conrelid = to_regclass('public.chatbots')
                OR conname IN ('conversations_tenant_id_chatbot_id_fkey', 'chatbot_versions_tenant_id_chatbot_id_fkey',
                    'chatbot_tags_tenant_id_chatbot_id_fkey')
        ))
        AND NOT (classid = 'pg_policy'::regclass AND objid IN (
            SELECT oid FROM pg_policy WHERE polrelid = to_regclass('public.chatbots')
        ))
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT oid FROM pg_trigger WHERE tgrelid = to_regclass('public.chatbots')
        ))
"""

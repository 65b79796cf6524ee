"""Add users.role: who is an admin, and what admins may do.

What: the column with its CHECK, guard and indexes; the helper is_admin; the four admin policies on chatbots, with the
grants they need. Where 006 made users, admins see those of their tenant.
Locks: ACCESS EXCLUSIVE on users for milliseconds (the default is a constant: no rewrite). Then, blocking neither reads
nor writes, a scan of users for the CHECK and two indexes built CONCURRENTLY. ACCESS EXCLUSIVE on chatbots for
milliseconds (policies).
Downgrade: loses who was an admin. The same locks in reverse; nobody but service writes chatbots from here.
"""

from alembic import op

revision = "008"
down_revision = "007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_role()
    touch_updated_at("email, full_name, is_active, role")
    widen_view_of_users()
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE public.users VALIDATE CONSTRAINT users_role_check")
        drop_index_if_invalid("idx_users_role")
        drop_index_if_invalid("idx_users_tenant_role")
        op.execute("SET lock_timeout = 0")  # what CONCURRENTLY waits for, it does not block
        # Most people are plain users; the others are few enough to list.
        op.execute("""
            CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_users_role ON public.users (role) WHERE role <> 'user'
        """)
        op.execute("""
            CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_users_tenant_role ON public.users (tenant_id, role)
        """)
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    let_admins_manage_chatbots()


def downgrade() -> None:
    op.execute('DROP POLICY IF EXISTS "Admin users can delete chatbots in their tenant" ON public.chatbots')
    op.execute('DROP POLICY IF EXISTS "Admin users can update chatbots in their tenant" ON public.chatbots')
    op.execute('DROP POLICY IF EXISTS "Admin users can create chatbots in their tenant" ON public.chatbots')
    op.execute('DROP POLICY IF EXISTS "Admin users can view chatbots in their tenant" ON public.chatbots')
    op.execute("REVOKE INSERT, UPDATE, DELETE ON TABLE public.chatbots FROM authenticated")
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_users_tenant_role")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_users_role")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    on_a_fresh_install('DROP POLICY "Users can view themselves and admins their tenant" ON public.users')
    on_a_fresh_install("""
        CREATE POLICY "Users can view their own profile" ON public.users
        FOR SELECT TO authenticated
        USING (id = (SELECT chatbot_private.user_id()))
    """)
    op.execute("DROP FUNCTION chatbot_private.is_admin()")
    touch_updated_at("email, full_name, is_active")
    op.execute("DROP TRIGGER users_guard_role_update ON public.users")
    op.execute("DROP TRIGGER users_guard_role_insert ON public.users")
    op.execute("ALTER TABLE public.users DROP COLUMN role")


def add_role() -> None:
    # NOT VALID, then validated: checking the rows at once would hold the strong lock for as long as it takes.
    op.execute("ALTER TABLE public.users ADD COLUMN IF NOT EXISTS role varchar(50) NOT NULL DEFAULT 'user'")
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = 'public.users'::regclass AND conname = 'users_role_check'
            ) THEN
                ALTER TABLE public.users ADD CONSTRAINT users_role_check
                    CHECK (role::text IN ('admin', 'user')) NOT VALID;
            END IF;
        END
        $$
    """)
    op.execute("COMMENT ON COLUMN public.users.role IS 'admin: manages the chatbots of their tenant; user: uses them'")
    op.execute("""
        CREATE OR REPLACE TRIGGER users_guard_role_insert AFTER INSERT ON public.users
        FOR EACH ROW WHEN (NEW.role <> 'user')
        EXECUTE FUNCTION chatbot_private.require_table_owner('role')
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER users_guard_role_update AFTER UPDATE ON public.users
        FOR EACH ROW WHEN (OLD.role IS DISTINCT FROM NEW.role)
        EXECUTE FUNCTION chatbot_private.require_table_owner('role')
    """)


def touch_updated_at(columns: str) -> None:
    # As pg_dump writes it: after a restore the catalog, and `alembic check`, find the same.
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns.split(", "))
    on_a_fresh_install(f"""
        CREATE OR REPLACE TRIGGER users_touch_updated_at BEFORE UPDATE ON public.users
        FOR EACH ROW WHEN ({changed})
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)


def widen_view_of_users() -> None:
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.is_admin() RETURNS boolean
        LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            RETURN EXISTS (
                SELECT FROM public.users
                WHERE id = chatbot_private.claimed_user_id() AND is_active AND role = 'admin'
            );
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.is_admin() IS 'Whether the caller is an admin of their tenant, and active'
    """)
    op.execute("REVOKE ALL ON FUNCTION chatbot_private.is_admin() FROM PUBLIC, anon, authenticated, service_role")
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.is_admin() TO authenticated")
    on_a_fresh_install('DROP POLICY IF EXISTS "Users can view their own profile" ON public.users')
    on_a_fresh_install('DROP POLICY IF EXISTS "Users can view themselves and admins their tenant" ON public.users')
    # The tenant stands outside the OR, so that one index in its order serves who lists people.
    on_a_fresh_install("""
        CREATE POLICY "Users can view themselves and admins their tenant" ON public.users
        FOR SELECT TO authenticated
        USING (
            tenant_id = (SELECT chatbot_private.tenant_id())
            AND (id = (SELECT chatbot_private.user_id()) OR (SELECT chatbot_private.is_admin()))
        )
    """)


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


def let_admins_manage_chatbots() -> None:
    # Each says the tenant test in the words of the members' policy: PostgreSQL then scans one index for both.
    own = "tenant_id = (SELECT chatbot_private.tenant_id()) AND (SELECT chatbot_private.is_admin())"
    op.execute('DROP POLICY IF EXISTS "Admin users can view chatbots in their tenant" ON public.chatbots')
    op.execute(f"""
        CREATE POLICY "Admin users can view chatbots in their tenant" ON public.chatbots
        FOR SELECT TO authenticated USING ({own})
    """)
    op.execute('DROP POLICY IF EXISTS "Admin users can create chatbots in their tenant" ON public.chatbots')
    op.execute(f"""
        CREATE POLICY "Admin users can create chatbots in their tenant" ON public.chatbots
        FOR INSERT TO authenticated WITH CHECK ({own} AND created_by = (SELECT chatbot_private.user_id()))
    """)
    op.execute('DROP POLICY IF EXISTS "Admin users can update chatbots in their tenant" ON public.chatbots')
    op.execute(f"""
        CREATE POLICY "Admin users can update chatbots in their tenant" ON public.chatbots
        FOR UPDATE TO authenticated USING ({own}) WITH CHECK ({own})
    """)
    op.execute('DROP POLICY IF EXISTS "Admin users can delete chatbots in their tenant" ON public.chatbots')
    op.execute(f"""
        CREATE POLICY "Admin users can delete chatbots in their tenant" ON public.chatbots
        FOR DELETE TO authenticated USING ({own})
    """)
    # Never tenant_id, created_by or a time on UPDATE, and no time on INSERT: those are the database's word.
    op.execute("""
        GRANT
            INSERT (id, tenant_id, created_by, name, description, system_prompt, model, temperature, max_tokens,
                settings, is_published),
            UPDATE (name, description, system_prompt, model, temperature, max_tokens, settings, is_published),
            DELETE
        ON TABLE public.chatbots TO authenticated
    """)


# A role of the platform's own above all: its admins would become admins of chatbots. What an interrupted run of this
# revision made came together with our guard.
OBSTACLES = """
    WITH ours AS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.users') AND tgname = 'users_guard_role_update'
            AND tgfoid = to_regproc('chatbot_private.require_table_owner')
    )
    SELECT 'users has a column role of its own',
        'rename it: this package makes one, and takes whoever is ''admin'' in it for an admin of chatbots'
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname = 'role' AND NOT attisdropped AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('%s exists already', relname), 'rename or drop it: this package makes one of that name'
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relname IN ('idx_users_role', 'idx_users_tenant_role')
        AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Constraint %s of users exists already', conname), 'rename it: this package makes one of that name'
    FROM pg_constraint
    WHERE conrelid = to_regclass('public.users') AND conname = 'users_role_check' AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Trigger %s of users exists already', tgname), 'rename it: this package makes one of that name'
    FROM pg_trigger
    WHERE tgrelid = to_regclass('public.users') AND tgname IN ('users_guard_role_insert', 'users_guard_role_update')
        AND NOT EXISTS (TABLE ours)
"""

LOSSES = "SELECT format('the role of %s admins', count(*)) FROM public.users WHERE role <> 'user' HAVING count(*) > 0"

# What unpacks whole rows of users finds one column more.
WARNINGS = r"""
    SELECT format('Function %s takes whole rows of users, which get a column: see that it still fits',
        pg_proc.oid::regprocedure)
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname !~ '^pg_' AND (
        prorettype = (SELECT reltype FROM pg_class WHERE oid = to_regclass('public.users'))
        OR prosrc ~* '\m(old|new)\.\*' AND EXISTS (
            SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid AND tgrelid = to_regclass('public.users')
        )
    )
"""

# What of the platform's own needs what a downgrade drops.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0),
        'drop or change it first: it needs users.role'
    FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('public.users') AND attname = 'role'
        AND deptype = 'n'
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE tgrelid = to_regclass('public.users') AND pronamespace = to_regnamespace('chatbot_private')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint WHERE conname = 'users_role_check'
        ))
"""

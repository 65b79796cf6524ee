"""Add users.role: who is an admin, and what admins may do.

What: the column with its CHECK, guard and indexes; the helpers is_admin_role and is_admin; the four admin policies on
chatbots, with the grants they need. Where 006 made users, admins see those of their tenant. A users.role that is there
already stays as it is, and `alembic -x admin_role=VALUE[,VALUE]` says which of its values make somebody a chatbot
admin; where a CHECK admits 'admin' and 'user' alone, nothing has to be said. On chatbots that were taken over, all
policies and grants are swapped for ours in one transaction.
Locks: ACCESS EXCLUSIVE on users for milliseconds (the default is a constant: no rewrite). Then, blocking neither reads
nor writes, a scan of users for the CHECK and two indexes built CONCURRENTLY. ACCESS EXCLUSIVE on chatbots for
milliseconds (policies).
Downgrade: loses who was an admin, unless the column was there before. The same locks in reverse; nobody but service
writes chatbots from here. Chatbots that were taken over get their policies and grants back, but for what anonymous
visitors could read of prompts, and for TRUNCATE and TRIGGER.
"""

from alembic import op

from app.migration.takeover import (
    execute,
    functions_that_read,
    is_taken_over,
    let_go,
    park_indexes,
    put_back,
    record,
    sql,
    take_over,
    unless_taken_over,
    when,
    when_taken_over,
)

revision = "008"
down_revision = "007"
branch_labels = None
depends_on = None

# No interrupted run of this revision made users.role: that comes together with our guard.
NOT_BEGUN = """NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = 'public.users'::regclass AND tgname = 'users_guard_role_update'
                AND tgfoid = to_regproc('chatbot_private.require_table_owner')
        )"""


def upgrade() -> None:
    take_over_role()
    add_role()
    create_is_admin_role()
    guard_role()
    touch_updated_at("email, full_name, is_active, role")
    widen_view_of_users()
    with op.get_context().autocommit_block():
        unless_taken_over("users.role", "ALTER TABLE public.users VALIDATE CONSTRAINT users_role_check")
        drop_index_if_invalid("idx_users_role")
        drop_index_if_invalid("idx_users_tenant_role")
        op.execute("SET lock_timeout = 0")  # what CONCURRENTLY waits for, it does not block
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_users_role ON public.users (role)")
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_users_tenant_role ON public.users (tenant_id, role)")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    drop_their_policies()
    let_admins_manage_chatbots()


def downgrade() -> None:
    # Once theirs are back, ours are gone: a run that goes on here after an interruption leaves them alone.
    when(
        f"NOT {is_taken_over('chatbots')} OR EXISTS (SELECT FROM chatbot_private.replaced WHERE part = '008 policies')",
        'DROP POLICY IF EXISTS "Admin users can delete chatbots in their tenant" ON public.chatbots',
        'DROP POLICY IF EXISTS "Admin users can update chatbots in their tenant" ON public.chatbots',
        'DROP POLICY IF EXISTS "Admin users can create chatbots in their tenant" ON public.chatbots',
        'DROP POLICY IF EXISTS "Admin users can view chatbots in their tenant" ON public.chatbots',
        "REVOKE INSERT, UPDATE, DELETE ON TABLE public.chatbots FROM authenticated",
    )
    when("EXISTS (SELECT FROM chatbot_private.replaced WHERE part = '008 policies')", close_chatbots())
    put_back("008 policies", at_once=True)
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_users_tenant_role")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_users_role")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    put_back("008 indexes", at_once=True)
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
    op.execute("DROP FUNCTION chatbot_private.is_admin_role")
    put_back("008", at_once=True)
    unless_taken_over("users.role", "ALTER TABLE public.users DROP COLUMN role")
    let_go("users.role")


def take_over_role() -> None:
    theirs = f"""EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = 'public.users'::regclass AND attname = 'role' AND NOT attisdropped
        ) AND {NOT_BEGUN}"""
    take_over("users.role", theirs)
    park_indexes("008", "users", ("idx_users_role", "idx_users_tenant_role"), NOT_BEGUN)
    # What the operator says stands as long as 006; what our own column and the guide's CHECK say, as long as this.
    execute("""
        DO $$
        DECLARE
            marker CONSTANT text := 'CREATE OR REPLACE FUNCTION chatbot_private.admin_roles() RETURNS text[]
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L';
            said text[] := coalesce(string_to_array(nullif(current_setting('chatbots.admin_role', true), ''), ','),
                chatbot_private.admin_roles());
        BEGIN
            IF said IS NULL THEN
                INSERT INTO chatbot_private.replaced (part, statement)
                VALUES ('008', format(marker, 'SELECT NULL::text[]'));
            END IF;
            EXECUTE format(marker, format('SELECT %L::text[]', coalesce(said, '{admin}')));
        END
        $$
    """)


def add_role() -> None:
    # NOT VALID, then validated: checking the rows at once would hold the strong lock for as long as it takes.
    op.execute("ALTER TABLE public.users ADD COLUMN IF NOT EXISTS role varchar(50) NOT NULL DEFAULT 'user'")
    unless_taken_over(
        "users.role",
        """
                IF NOT EXISTS (
                    SELECT FROM pg_constraint WHERE conrelid = 'public.users'::regclass AND conname = 'users_role_check'
                ) THEN
                    ALTER TABLE public.users ADD CONSTRAINT users_role_check
                        CHECK (role::text IN ('admin', 'user')) NOT VALID;
                END IF""",
    )
    record(
        "008",
        f"""
        SELECT format('COMMENT ON COLUMN public.users.role IS %L', col_description(attrelid, attnum))
        FROM pg_attribute
        WHERE attrelid = 'public.users'::regclass AND attname = 'role' AND {is_taken_over("users.role")} AND {NOT_BEGUN}
        """,
    )
    op.execute("COMMENT ON COLUMN public.users.role IS 'admin: manages the chatbots of their tenant; user: uses them'")


def create_is_admin_role() -> None:
    # By the column's own type and its own "=": a citext or an enum stays what it is. Everybody may execute it, because
    # the guards below ask it of whoever writes users; no client can name it. Its body is parsed here, once.
    execute("""
        DO $$
        DECLARE
            type_of_role text;
            equals text;
        BEGIN
            WITH RECURSIVE base (type) AS (
                SELECT atttypid FROM pg_attribute WHERE attrelid = 'public.users'::regclass AND attname = 'role'
                UNION ALL
                SELECT typbasetype FROM base JOIN pg_type ON pg_type.oid = base.type WHERE typtype = 'd'
            )
            SELECT format_type(base.type, -1) INTO type_of_role  -- where char(n) is bpchar, of any length
            FROM base JOIN pg_type ON pg_type.oid = base.type WHERE typtype <> 'd';
            SELECT format('OPERATOR(%I.%s)', nspname, oprname) INTO equals
            FROM pg_opclass
            JOIN pg_amop ON amopfamily = opcfamily AND amoplefttype = opcintype AND amoprighttype = opcintype
            JOIN pg_operator ON pg_operator.oid = amopopr
            JOIN pg_namespace ON pg_namespace.oid = oprnamespace
            WHERE opcintype = type_of_role::regtype AND opcdefault AND amopstrategy = 3
                AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree');
            EXECUTE format('CREATE OR REPLACE FUNCTION chatbot_private.is_admin_role(role %s) RETURNS boolean
                LANGUAGE sql IMMUTABLE PARALLEL SAFE
                RETURN coalesce(is_admin_role.role %s ANY (%L::%s[]), false)',
                type_of_role, coalesce(equals, 'OPERATOR(pg_catalog.=)'), chatbot_private.admin_roles(), type_of_role);
            EXECUTE format('REVOKE ALL ON FUNCTION chatbot_private.is_admin_role(%s)
                FROM anon, authenticated, service_role', type_of_role);
            EXECUTE format('GRANT EXECUTE ON FUNCTION chatbot_private.is_admin_role(%s) TO PUBLIC', type_of_role);
            EXECUTE format('COMMENT ON FUNCTION chatbot_private.is_admin_role(%s) IS %L', type_of_role,
                'Whether a value of users.role makes somebody an admin of chatbots');
        END
        $$
    """)


def guard_role() -> None:
    # Other changes of a role are the platform's own business.
    op.execute("""
        CREATE OR REPLACE TRIGGER users_guard_role_insert AFTER INSERT ON public.users
        FOR EACH ROW WHEN (chatbot_private.is_admin_role(NEW.role))
        EXECUTE FUNCTION chatbot_private.require_table_owner('role')
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER users_guard_role_update AFTER UPDATE ON public.users
        FOR EACH ROW WHEN (
            OLD.role IS DISTINCT FROM NEW.role
            AND (chatbot_private.is_admin_role(OLD.role) OR chatbot_private.is_admin_role(NEW.role))
        )
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
    execute("""
        DO $$
        BEGIN
            EXECUTE format($create$
                CREATE OR REPLACE FUNCTION chatbot_private.is_admin() RETURNS boolean
                LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
                AS $body$
                BEGIN
                    RETURN EXISTS (
                        SELECT FROM public.users AS person
                        WHERE person.%I = chatbot_private.token_sub()
                        HAVING count(*) = 1
                            AND bool_and(person.is_active AND chatbot_private.is_admin_role(person.role))
                    );
                END
                $body$
            $create$, chatbot_private.identity_column());
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


def drop_their_policies() -> None:
    # With their grants, in the transaction that makes ours: no moment has neither. What is recorded is what a downgrade
    # restores: not what opens a door.
    record("008 policies", *(part.format(are_theirs=is_taken_over("chatbots")) for part in THEIR_ACCESS))
    execute(f"""
        DO $$
        DECLARE
            its record;
        BEGIN
            IF {is_taken_over("chatbots")} THEN
                FOR its IN
                    SELECT polname FROM pg_policy
                    WHERE polrelid = 'public.chatbots'::regclass AND polname NOT IN {MADE_BY_007}
                LOOP
                    EXECUTE format('DROP POLICY %I ON public.chatbots', its.polname);
                END LOOP;
            END IF;
        END
        $$
    """)


def close_chatbots() -> str:
    return """
                DECLARE
                    grantee text;
                BEGIN
                    FOR grantee IN
                        SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                        FROM pg_class, aclexplode(relacl) AS acl
                        WHERE pg_class.oid = 'public.chatbots'::regclass AND acl.grantee <> relowner
                        UNION
                        SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                        FROM pg_attribute, aclexplode(attacl) AS acl
                        WHERE attrelid = 'public.chatbots'::regclass
                    LOOP
                        EXECUTE format('REVOKE ALL ON TABLE public.chatbots FROM %s', grantee);
                    END LOOP;
                END"""


def let_admins_manage_chatbots() -> None:
    op.execute("ALTER TABLE public.chatbots ENABLE ROW LEVEL SECURITY")
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
    when_taken_over(
        "chatbots",
        close_chatbots(),
        "GRANT SELECT (id, tenant_id, name, description, model, is_published, created_at, updated_at)"
        " ON TABLE public.chatbots TO anon",
        "GRANT SELECT ON TABLE public.chatbots TO authenticated",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.chatbots TO service_role",
    )
    # Never tenant_id, created_by or a time on UPDATE, and no time on INSERT: those are the database's word.
    op.execute("""
        GRANT
            INSERT (id, tenant_id, created_by, name, description, system_prompt, model, temperature, max_tokens,
                settings, is_published),
            UPDATE (name, description, system_prompt, model, temperature, max_tokens, settings, is_published),
            DELETE
        ON TABLE public.chatbots TO authenticated
    """)


MADE_BY_007 = ("Users can view published chatbots in their tenant", "Demo user can view published chatbots")

# The statements that a downgrade restores the access to chatbots with: what was there, without TRUNCATE and TRIGGER for
# clients, and without prompts for anonymous visitors.
THEIR_ACCESS = (
    """
        SELECT format('ALTER TABLE public.chatbots %s ROW LEVEL SECURITY',
            CASE WHEN relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END)
        FROM pg_class WHERE oid = 'public.chatbots'::regclass AND {are_theirs}
    """,
    """
        SELECT format('CREATE POLICY %I ON public.chatbots AS %s FOR %s TO %s%s%s', polname,
            CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            (
                SELECT string_agg(CASE audience WHEN 0 THEN 'PUBLIC' ELSE audience::regrole::text END, ', ')
                FROM unnest(polroles) AS audience
            ),
            ' USING (' || pg_get_expr(polqual, polrelid) || ')',
            ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')')
        FROM pg_policy
        WHERE polrelid = 'public.chatbots'::regclass AND {are_theirs}
            AND polname NOT IN ('Users can view published chatbots in their tenant',
                'Demo user can view published chatbots')
    """,
    """
        SELECT format('GRANT %s ON TABLE public.chatbots TO %s', string_agg(
                CASE WHEN grantee = to_regrole('anon') AND privilege_type = 'SELECT' THEN format('SELECT (%s)', (
                    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                    WHERE attrelid = 'public.chatbots'::regclass AND attnum > 0 AND NOT attisdropped
                        AND attname <> 'system_prompt'
                )) ELSE privilege_type END, ', '),
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
            || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        FROM pg_class, aclexplode(relacl) WITH ORDINALITY AS acl
            (grantor, grantee, privilege_type, is_grantable, ordinality)
        WHERE pg_class.oid = 'public.chatbots'::regclass AND grantee <> relowner AND {are_theirs}
            AND NOT (privilege_type IN ('TRUNCATE', 'TRIGGER')
                AND grantee IN (0, to_regrole('anon'), to_regrole('authenticated')))
        GROUP BY grantee, is_grantable ORDER BY min(ordinality) DESC
    """,
    """
        SELECT format('GRANT %s (%s) ON TABLE public.chatbots TO %s', privilege_type,
            string_agg(quote_ident(attname), ', ' ORDER BY attnum),
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
            || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        FROM pg_attribute, aclexplode(attacl)
        WHERE attrelid = 'public.chatbots'::regclass AND NOT attisdropped AND {are_theirs}
            AND NOT (grantee = to_regrole('anon') AND privilege_type = 'SELECT' AND attname = 'system_prompt')
        GROUP BY grantee, privilege_type, is_grantable
    """,
)

# The role of a platform's own, above all: which of its values are admins of chatbots is for the operator to say.
FUNCTIONS = functions_that_read("'users'", "'role'")
OBSTACLES = sql(__file__, "008_obstacles", functions=FUNCTIONS)
ROW_OBSTACLES = sql(__file__, "008_row_obstacles", functions=FUNCTIONS)

LOSSES = f"""
    SELECT format('the role of %s admin%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM public.users
    WHERE chatbot_private.is_admin_role(role) AND NOT {is_taken_over("users.role")} HAVING count(*) > 0
    UNION ALL
    SELECT format('of the grants on chatbots that were there before, what opened them: %s',
        'anonymous SELECT of system_prompt; TRUNCATE and TRIGGER of clients')
    WHERE {is_taken_over("chatbots")}
"""

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
        AND NOT EXISTS (
            SELECT FROM pg_proc
            WHERE oid = to_regprocedure('chatbot_private.taken_over()') AND prosrc ~ 'users\\.role'
        )
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE tgrelid = to_regclass('public.users') AND pronamespace = to_regnamespace('chatbot_private')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint
            WHERE conrelid = to_regclass('public.users') AND conname = 'users_role_check'
        ))
"""

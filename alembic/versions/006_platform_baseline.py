"""Lay the baseline: the platform as it is before the guide.

What: in a database that has none of them, the tables tenants, users, conversations, messages and feedback, each with
row security. In one that has all five, nothing on them: they are adopted as they are. In both, the roles that clients
speak through, and schema chatbot_private with the helpers that tell row security who is asking.
Locks: none on existing tables.
Downgrade: drops the five tables with all their rows if this revision made them; adopted ones stay as they are. The
roles stay: they belong to the whole cluster.
"""

from alembic import op

revision = "006"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_roles()
    record_whose_the_tables_are()
    create_helpers()
    create_tenants()
    create_users()
    create_conversations()
    create_messages()
    create_feedback()
    keep_no_statistics_of_what_tenants_write()


def downgrade() -> None:
    on_a_fresh_install("DROP TABLE public.feedback")
    on_a_fresh_install("DROP TABLE public.messages")
    on_a_fresh_install("DROP TABLE public.conversations")
    on_a_fresh_install("DROP TABLE public.users")
    on_a_fresh_install("DROP TABLE public.tenants")
    op.execute("DROP FUNCTION chatbot_private.touch_updated_at()")
    op.execute("DROP FUNCTION chatbot_private.tenant_id()")
    op.execute("DROP FUNCTION chatbot_private.user_id()")
    op.execute("DROP FUNCTION chatbot_private.claimed_user_id()")
    op.execute("DROP FUNCTION chatbot_private.is_adopted()")
    op.execute("DROP SCHEMA chatbot_private")


def create_roles() -> None:
    # Supabase has these; elsewhere they are made.
    op.execute("""
        DO $$
        DECLARE
            missing text;
        BEGIN
            SELECT string_agg(format('CREATE ROLE %s', role), '; ') INTO missing
            FROM unnest(ARRAY['anon NOLOGIN', 'authenticated NOLOGIN', 'service_role NOLOGIN BYPASSRLS']) AS role
            WHERE to_regrole(split_part(role, ' ', 1)) IS NULL;
            IF missing IS NOT NULL THEN
                EXECUTE missing;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                RAISE EXCEPTION 'Another session is creating the same roles' USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'nothing was changed; run the same command again';
        END
        $$
    """)


def record_whose_the_tables_are() -> None:
    # No client is granted USAGE: policies reach the helpers by themselves, and nobody calls them by name.
    op.execute("CREATE SCHEMA chatbot_private")
    op.execute("""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN  -- those to whom default privileges opened it
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_namespace, aclexplode(nspacl) AS acl
                WHERE pg_namespace.oid = 'chatbot_private'::regnamespace AND acl.grantee <> nspowner
            LOOP
                EXECUTE format('REVOKE ALL ON SCHEMA chatbot_private FROM %s', grantee);
            END LOOP;
        END
        $$
    """)
    op.execute("COMMENT ON SCHEMA chatbot_private IS 'Helpers and guards of the chatbot platform''s row security'")
    op.execute("""
        DO $$
        BEGIN
            EXECUTE format('CREATE FUNCTION chatbot_private.is_adopted() RETURNS boolean
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L',
                CASE WHEN to_regclass('public.tenants') IS NULL THEN 'SELECT false' ELSE 'SELECT true' END);
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.is_adopted() IS
            'Whether the platform''s tables were there before revision 006. Then no revision changes their policies,'
            ' grants or triggers, or drops one'
    """)


def on_a_fresh_install(statement: str) -> None:
    op.execute(f"""
        DO $$
        BEGIN
            IF NOT chatbot_private.is_adopted() THEN
                {statement};
            END IF;
        END
        $$
    """)


def close_table(name: str) -> None:
    # Also to those to whom default privileges opened it.
    on_a_fresh_install(f"""
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


def create_helpers() -> None:
    # Each fixes its search_path with pg_temp last. An empty one is no protection: PostgreSQL then looks for types and
    # tables in pg_temp first, where any client may have planted a domain named text whose CHECK runs as the owner.

    # The person whom the token names, if its sub is a UUID. Nothing else is read: Supabase's auth.uid() prefers an
    # older setting, where a leftover would beat the token, and raises on a malformed one.
    op.execute("""
        CREATE FUNCTION chatbot_private.claimed_user_id() RETURNS uuid
        LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            sub text := nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub';
        BEGIN
            IF sub ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' THEN
                RETURN sub::uuid;
            END IF;
            RETURN NULL;
        END
        $$
    """)

    # The caller, and their tenant: NULL, which no row matches, for whoever is unknown or inactive. They read users as
    # its owner, past row security. PL/pgSQL, because it keeps its plans for the session.
    op.execute("""
        CREATE FUNCTION chatbot_private.user_id() RETURNS uuid
        LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            RETURN (SELECT id FROM public.users WHERE id = chatbot_private.claimed_user_id() AND is_active);
        END
        $$
    """)
    op.execute("""
        CREATE FUNCTION chatbot_private.tenant_id() RETURNS uuid
        LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            RETURN (SELECT tenant_id FROM public.users WHERE id = chatbot_private.claimed_user_id() AND is_active);
        END
        $$
    """)

    op.execute("""
        CREATE FUNCTION chatbot_private.touch_updated_at() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            NEW.updated_at := now();
            RETURN NEW;
        END
        $$
    """)
    for helper, comment in {
        "claimed_user_id": "The person whom the token names: its sub, if that is a UUID",
        "user_id": "The caller; NULL for whoever is unknown or inactive",
        "tenant_id": "The caller''s tenant; NULL for whoever is unknown or inactive",
        "touch_updated_at": "Trigger: the row was changed now",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{helper}() IS '{comment}'")
    for helper in ("is_adopted", "claimed_user_id", "user_id", "tenant_id", "touch_updated_at"):
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{helper}() FROM PUBLIC, anon, authenticated, service_role
        """)
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.user_id() TO authenticated")
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.tenant_id() TO authenticated")


def create_tenants() -> None:
    on_a_fresh_install("""
        CREATE TABLE public.tenants (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            name text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    on_a_fresh_install("COMMENT ON TABLE public.tenants IS 'Organisations; none ever sees what is another''s'")
    on_a_fresh_install("""
        CREATE TRIGGER tenants_touch_updated_at BEFORE UPDATE ON public.tenants
        FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name)
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    on_a_fresh_install("ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY")
    on_a_fresh_install("""
        CREATE POLICY "Users can view their tenant" ON public.tenants
        FOR SELECT TO authenticated
        USING (id = (SELECT chatbot_private.tenant_id()))
    """)
    # Nothing but SELECT: tenants are made, renamed and dropped by the platform's operator.
    close_table("public.tenants")
    on_a_fresh_install("GRANT SELECT ON TABLE public.tenants TO authenticated")
    on_a_fresh_install("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.tenants TO service_role")


def create_users() -> None:
    on_a_fresh_install("""
        CREATE TABLE public.users (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
            email text NOT NULL,
            full_name text,
            is_active boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (tenant_id, email)
        )
    """)
    on_a_fresh_install("COMMENT ON TABLE public.users IS 'The people of a tenant'")
    on_a_fresh_install("""
        CREATE TRIGGER users_touch_updated_at BEFORE UPDATE ON public.users
        FOR EACH ROW WHEN (
            OLD.email IS DISTINCT FROM NEW.email OR OLD.full_name IS DISTINCT FROM NEW.full_name
            OR OLD.is_active IS DISTINCT FROM NEW.is_active
        )
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    on_a_fresh_install("ALTER TABLE public.users ENABLE ROW LEVEL SECURITY")
    on_a_fresh_install("""
        CREATE POLICY "Users can view their own profile" ON public.users
        FOR SELECT TO authenticated
        USING (id = (SELECT chatbot_private.user_id()))
    """)
    on_a_fresh_install("""
        CREATE POLICY "Users can update their own profile" ON public.users
        FOR UPDATE TO authenticated
        USING (id = (SELECT chatbot_private.user_id()))
        WITH CHECK (id = (SELECT chatbot_private.user_id()))
    """)
    # UPDATE of full_name alone: everything else on a person decides what they may see. No INSERT or DELETE: people
    # come and go by the platform's sign-up, which is a service.
    close_table("public.users")
    on_a_fresh_install("GRANT SELECT, UPDATE (full_name) ON TABLE public.users TO authenticated")
    on_a_fresh_install("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.users TO service_role")


def create_conversations() -> None:
    on_a_fresh_install("""
        CREATE TABLE public.conversations (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
            user_id uuid NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
            title text,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    on_a_fresh_install("COMMENT ON TABLE public.conversations IS 'A person''s, with a chatbot or with none'")
    on_a_fresh_install("CREATE INDEX idx_conversations_tenant_id ON public.conversations (tenant_id)")
    # A person's, newest first. Row security asks for the tenant as well: the index answers that, too.
    on_a_fresh_install("""
        CREATE INDEX idx_conversations_user_id ON public.conversations (user_id, created_at, tenant_id)
    """)
    on_a_fresh_install("""
        CREATE TRIGGER conversations_touch_updated_at BEFORE UPDATE ON public.conversations
        FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title)
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    on_a_fresh_install("ALTER TABLE public.conversations ENABLE ROW LEVEL SECURITY")
    own = "user_id = (SELECT chatbot_private.user_id()) AND tenant_id = (SELECT chatbot_private.tenant_id())"
    on_a_fresh_install(f"""
        CREATE POLICY "Users can view their own conversations" ON public.conversations
        FOR SELECT TO authenticated USING ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can create their own conversations" ON public.conversations
        FOR INSERT TO authenticated WITH CHECK ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can update their own conversations" ON public.conversations
        FOR UPDATE TO authenticated USING ({own}) WITH CHECK ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can delete their own conversations" ON public.conversations
        FOR DELETE TO authenticated USING ({own})
    """)
    # A client may choose an id, to retry safely; never a time.
    close_table("public.conversations")
    on_a_fresh_install("""
        GRANT SELECT, INSERT (id, tenant_id, user_id, title), UPDATE (title), DELETE
        ON TABLE public.conversations TO authenticated
    """)
    on_a_fresh_install("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.conversations TO service_role")


def create_messages() -> None:
    on_a_fresh_install("""
        CREATE TABLE public.messages (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            conversation_id uuid NOT NULL REFERENCES public.conversations (id) ON DELETE CASCADE,
            role text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
            content text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    on_a_fresh_install("COMMENT ON TABLE public.messages IS 'What was said in a conversation'")
    on_a_fresh_install("CREATE INDEX idx_messages_conversation_id ON public.messages (conversation_id, created_at)")
    on_a_fresh_install("ALTER TABLE public.messages ENABLE ROW LEVEL SECURITY")
    # Row security of conversations holds inside these policies: a conversation that is found is the caller's own.
    own = "EXISTS (SELECT FROM public.conversations WHERE conversations.id = messages.conversation_id)"
    on_a_fresh_install(f"""
        CREATE POLICY "Users can view messages of their own conversations" ON public.messages
        FOR SELECT TO authenticated USING ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can write messages in their own conversations" ON public.messages
        FOR INSERT TO authenticated WITH CHECK (role = 'user' AND {own})
    """)
    # No UPDATE or DELETE: what was said stays. A conversation's deletion takes its messages along.
    close_table("public.messages")
    on_a_fresh_install("""
        GRANT SELECT, INSERT (id, conversation_id, role, content) ON TABLE public.messages TO authenticated
    """)
    on_a_fresh_install("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.messages TO service_role")


def create_feedback() -> None:
    on_a_fresh_install("""
        CREATE TABLE public.feedback (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            message_id uuid NOT NULL REFERENCES public.messages (id) ON DELETE CASCADE,
            user_id uuid NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
            rating integer NOT NULL CHECK (rating BETWEEN 1 AND 5),
            comment text,
            created_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (message_id, user_id)
        )
    """)
    on_a_fresh_install("COMMENT ON TABLE public.feedback IS 'How a person rates a message, once'")
    on_a_fresh_install("CREATE INDEX idx_feedback_user_id ON public.feedback (user_id)")
    on_a_fresh_install("ALTER TABLE public.feedback ENABLE ROW LEVEL SECURITY")
    # As above: a message that is found is one of the caller's own conversations.
    own = """
        user_id = (SELECT chatbot_private.user_id())
        AND EXISTS (SELECT FROM public.messages WHERE messages.id = feedback.message_id)
    """
    on_a_fresh_install(f"""
        CREATE POLICY "Users can view their own feedback" ON public.feedback
        FOR SELECT TO authenticated USING ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can give feedback on their own conversations" ON public.feedback
        FOR INSERT TO authenticated WITH CHECK ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can update their own feedback" ON public.feedback
        FOR UPDATE TO authenticated USING ({own}) WITH CHECK ({own})
    """)
    on_a_fresh_install(f"""
        CREATE POLICY "Users can delete their own feedback" ON public.feedback
        FOR DELETE TO authenticated USING ({own})
    """)
    close_table("public.feedback")
    on_a_fresh_install("""
        GRANT SELECT, INSERT (id, message_id, user_id, rating, comment), UPDATE (rating, comment), DELETE
        ON TABLE public.feedback TO authenticated
    """)
    on_a_fresh_install("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.feedback TO service_role")


def keep_no_statistics_of_what_tenants_write() -> None:
    # The planner estimates over all tenants' rows, and shows it to any of them: whether a text is known, what is
    # alphabetically near. No query needs it.
    for table, column in (
        ("tenants", "name"),
        ("users", "email"),
        ("users", "full_name"),
        ("conversations", "title"),
        ("messages", "content"),
        ("feedback", "comment"),
    ):
        on_a_fresh_install(f"ALTER TABLE public.{table} ALTER COLUMN {column} SET STATISTICS 0")


# What stands in the way of this revision, each with its remedy. Adopted tables must be such that the models read them,
# row security of chatbots can rest on them, and later revisions may extend them.
OBSTACLES = r"""
    WITH baseline (name) AS (
        VALUES ('tenants'), ('users'), ('conversations'), ('messages'), ('feedback')
    ), adopted AS (
        SELECT name, pg_class.* FROM baseline JOIN pg_class ON pg_class.oid = to_regclass('public.' || name)
    ), needed AS (
        SELECT split_part(names, '.', 1) AS relation, split_part(names, '.', 2) AS name, type
        FROM (VALUES
            ('uuid', 'tenants.id users.id users.tenant_id conversations.id conversations.tenant_id
                conversations.user_id messages.id messages.conversation_id feedback.id feedback.message_id
                feedback.user_id'),
            ('text', 'tenants.name users.email users.full_name conversations.title messages.role messages.content
                feedback.comment'),
            ('timestamptz', 'tenants.created_at tenants.updated_at users.created_at users.updated_at
                conversations.created_at conversations.updated_at messages.created_at feedback.created_at'),
            ('boolean', 'users.is_active'),
            ('integer', 'feedback.rating')
        ) AS types (type, list), regexp_split_to_table(list, '\s+') AS names
    ), found AS (
        SELECT needed.*, attnum, attnotnull, attgenerated, format_type(atttypid, atttypmod) AS its_type,
            CASE typtype WHEN 'd' THEN typbasetype ELSE pg_type.oid END AS base_type,
            typcategory, adopted.oid AS table_oid
        FROM needed JOIN adopted ON adopted.name = needed.relation
        LEFT JOIN pg_attribute ON attrelid = adopted.oid AND attname = needed.name AND NOT attisdropped
        LEFT JOIN pg_type ON pg_type.oid = atttypid
    )
    -- Some of the tables, but not all.
    SELECT format('This database has %s, but no %s', have, lack),
        'create what is missing, or install into a database that has none of them'
    FROM (
        SELECT string_agg(baseline.name, ', ') FILTER (WHERE oid IS NOT NULL),
            string_agg(baseline.name, ', ') FILTER (WHERE oid IS NULL)
        FROM baseline LEFT JOIN adopted USING (name)
    ) AS counted (have, lack)
    WHERE have IS NOT NULL AND lack IS NOT NULL
    -- No plain tables.
    UNION ALL
    SELECT format('%s is %s', name, kind), 'put a plain table in its place'
    FROM (
        SELECT name, CASE
            WHEN relkind = 'v' THEN 'a view'
            WHEN relkind = 'm' THEN 'a materialized view'
            WHEN relkind = 'f' THEN 'a foreign table'
            WHEN relkind = 'p' THEN 'a partitioned table'
            WHEN relkind <> 'r' THEN 'no table'
            WHEN relispartition THEN 'a partition'
            WHEN EXISTS (SELECT FROM pg_inherits WHERE adopted.oid IN (inhrelid, inhparent)) THEN 'a child or parent'
            WHEN relpersistence <> 'p' THEN 'an unlogged table'
            WHEN reloftype <> 0 THEN 'a typed table'
        END
        FROM adopted
    ) AS kinds (name, kind)
    WHERE kind IS NOT NULL
    -- Columns that are missing, or that the models cannot read.
    UNION ALL
    SELECT format('%s has no column %s', relation, name), format('add it, of type %s', type)
    FROM found WHERE attnum IS NULL
    UNION ALL
    SELECT format('%s.%s is of type %s, not %s', relation, name, its_type, type),
        CASE WHEN its_type ~ '^timestamp' THEN 'convert it in a session with TimeZone UTC, which rewrites no row'
        ELSE 'convert it' END
    FROM found
    WHERE attnum IS NOT NULL AND NOT CASE type
        WHEN 'text' THEN typcategory IN ('S', 'E')
        WHEN 'integer' THEN base_type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
        ELSE base_type = type::regtype
    END
    UNION ALL
    SELECT format('%s.%s may be NULL', relation, name), 'fill it and set it NOT NULL'
    FROM found
    WHERE NOT attnotnull
        AND format('%s.%s', relation, name) IN ('users.tenant_id', 'users.is_active', 'conversations.tenant_id')
    UNION ALL
    SELECT format('%s.id is not the primary key', relation), 'make it the primary key, not deferrable'
    FROM found
    WHERE name = 'id' AND relation <> 'feedback' AND attnum IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM pg_index
            WHERE indrelid = table_oid AND indisprimary AND indimmediate AND indisvalid AND indkey::text = attnum::text
        )
    UNION ALL
    SELECT format('%s.%s is computed when it is read', relation, name), 'store it'
    FROM found WHERE attgenerated = 'v'
    UNION ALL
    SELECT format('Column %s of %s is of the row type of %s, which gets a column', attname, attrelid::regclass, name),
        'give it another type'
    FROM pg_attribute JOIN adopted ON atttypid = reltype
    WHERE name IN ('users', 'conversations') AND NOT attisdropped
    -- Clients whom row security, or the guard on users, would not bind.
    UNION ALL
    SELECT format('Role %s is past row security', rolname), format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS', rolname)
    FROM pg_roles WHERE rolname IN ('anon', 'authenticated') AND (rolsuper OR rolbypassrls)
    UNION ALL
    SELECT format('%s belongs to %s, whose rights %s has', name, relowner::regrole, rolname),
        'give it an owner that no client is a member of'
    FROM adopted JOIN pg_roles ON pg_has_role(pg_roles.oid, relowner, 'USAGE')
    WHERE rolname IN ('anon', 'authenticated') AND NOT rolsuper
    UNION ALL
    SELECT format('Role %s has the rights of %s, past what this package grants', client.rolname, held.rolname),
        format('REVOKE %I FROM %I, or from what stands between', held.rolname, client.rolname)
    FROM pg_roles AS client JOIN pg_roles AS held ON pg_has_role(client.oid, held.oid, 'USAGE')
    WHERE client.rolname IN ('anon', 'authenticated') AND NOT client.rolsuper
        AND held.rolname IN (current_user, 'service_role', 'pg_read_all_data', 'pg_write_all_data')
    -- What the migrating role may do.
    UNION ALL
    SELECT format('%s belongs to %s, and you are %s', name, relowner::regrole, current_user), 'connect as its owner'
    FROM adopted
    WHERE name IN ('users', 'conversations', 'feedback') AND NOT pg_has_role(relowner, 'USAGE')
    UNION ALL
    SELECT format('%s may not reference tenants', current_user),
        format('as its owner, GRANT REFERENCES ON TABLE public.tenants TO %I', current_user)
    FROM found
    WHERE relation = 'tenants' AND name = 'id' AND NOT has_column_privilege(table_oid, attnum, 'REFERENCES')
    UNION ALL
    SELECT format('%s has FORCE ROW LEVEL SECURITY, which hides its rows from %s', name, current_user),
        'set it NO FORCE ROW LEVEL SECURITY, or connect as a role with BYPASSRLS'
    FROM adopted
    WHERE name IN ('users', 'conversations') AND relrowsecurity AND relforcerowsecurity
        AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
    UNION ALL
    SELECT format('%s may not create schemas in database %s', current_user, current_database()),
        format('as its owner, GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
    WHERE NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT format('%s may not create tables in schema public', current_user),
        format('as its owner, GRANT CREATE ON SCHEMA public TO %I', current_user)
    WHERE has_schema_privilege(to_regnamespace('public'), 'CREATE') IS NOT TRUE
    UNION ALL
    SELECT format('%s may not create the roles that clients speak through', current_user),
        'as a superuser, run once: ' || string_agg(format('CREATE ROLE %s', role), '; ')
    FROM unnest(ARRAY['anon NOLOGIN', 'authenticated NOLOGIN', 'service_role NOLOGIN BYPASSRLS']) AS role, pg_roles
    WHERE rolname = current_user AND to_regrole(split_part(role, ' ', 1)) IS NULL
        AND NOT (rolsuper OR rolcreaterole AND (role !~ 'BYPASSRLS'
            OR rolbypassrls AND current_setting('server_version_num')::int >= 160000))
    HAVING count(*) > 0
    -- Names that this revision needs.
    UNION ALL
    SELECT 'Schema chatbot_private exists already', 'rename it: this package keeps its own helpers under that name'
    WHERE to_regnamespace('chatbot_private') IS NOT NULL
"""

# What the platform allows clients that weakens the row security of chatbots, or its own: theirs to decide.
WARNINGS = """
    WITH adopted AS (
        SELECT * FROM pg_class
        WHERE oid = ANY (ARRAY[to_regclass('public.tenants'), to_regclass('public.users'),
            to_regclass('public.conversations'), to_regclass('public.messages'), to_regclass('public.feedback')])
    ), client AS (
        SELECT oid, rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')
    )
    SELECT format('Row security is off on %s, which %s may use: every tenant''s rows are open to them',
        string_agg(DISTINCT relname, ', '), string_agg(DISTINCT rolname, ', '))
    FROM adopted JOIN client ON has_any_column_privilege(client.oid, adopted.oid, 'SELECT, INSERT, UPDATE')
        OR has_table_privilege(client.oid, adopted.oid, 'DELETE')
    WHERE NOT relrowsecurity
    HAVING count(*) > 0
    UNION ALL
    SELECT format('%s may insert into users%s: have its policy fix id and tenant_id, or people choose their tenant',
        string_agg(rolname, ', '),
        CASE WHEN bool_or(has_table_privilege(client.oid, adopted.oid, 'DELETE'))
            THEN ', also after deleting their own row, which makes an inactive person active, too' END)
    FROM adopted JOIN client ON has_any_column_privilege(client.oid, adopted.oid, 'INSERT')
    WHERE relname = 'users' AND (NOT relrowsecurity OR EXISTS (
        SELECT FROM pg_policy, unnest(polroles) AS audience
        WHERE polrelid = adopted.oid AND polcmd IN ('a', '*') AND polpermissive
            AND (audience = 0 OR pg_has_role(client.oid, audience, 'USAGE'))
    ))
    HAVING count(*) > 0
    UNION ALL
    SELECT format('%s may insert into users through view %s, as its owner: set it security_invoker',
        string_agg(rolname, ', '), ev_class::regclass)
    FROM adopted JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = adopted.oid
        AND classid = 'pg_rewrite'::regclass AND refobjsubid = 1
    JOIN pg_rewrite ON pg_rewrite.oid = objid
    JOIN pg_class AS view ON view.oid = ev_class AND view.relkind = 'v'
    JOIN client ON has_any_column_privilege(client.oid, view.oid, 'INSERT')
    WHERE adopted.relname = 'users' AND pg_relation_is_updatable(view.oid, false) & 8 <> 0
        AND coalesce(array_to_string(view.reloptions, ','), '') !~ 'security_invoker=(true|on|yes|1)'
    GROUP BY ev_class
    UNION ALL
    SELECT format('Foreign key %s of users follows %s, where %s may write: from 007 on, what it would change of people'
        ' is refused to them, in functions of the owner too', conname, confrelid::regclass, string_agg(rolname, ', '))
    FROM pg_constraint JOIN adopted ON adopted.oid = conrelid AND relname = 'users'
    JOIN client ON confupdtype IN ('c', 'n', 'd') AND has_any_column_privilege(client.oid, confrelid, 'UPDATE')
        OR confdeltype IN ('n', 'd') AND has_table_privilege(client.oid, confrelid, 'DELETE')
    WHERE contype = 'f' AND EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = conrelid AND attnum = ANY (conkey) AND attname IN ('id', 'tenant_id', 'is_active')
    )
    GROUP BY conname, confrelid
    UNION ALL
    SELECT format('%s belongs to %s, and chatbots will belong to %s: migrate as the owner of all', relname,
        relowner::regrole, current_user)
    FROM adopted WHERE relname = 'users' AND relowner <> current_user::regrole
    UNION ALL
    SELECT format('Rules rewrite what is written to %s: a key''s or guard''s work, too', string_agg(relname, ', '))
    FROM adopted WHERE relname IN ('users', 'conversations') AND relhasrules HAVING count(*) > 0
    UNION ALL
    SELECT 'Everybody may create objects in schema public, under names that others use: REVOKE CREATE ON SCHEMA public'
        ' FROM PUBLIC'
    FROM pg_namespace, aclexplode(nspacl) AS acl
    WHERE nspname = 'public' AND acl.grantee = 0 AND privilege_type = 'CREATE'
    UNION ALL
    SELECT format('Role service_role is bound by row security: ALTER ROLE service_role BYPASSRLS')
    FROM pg_roles WHERE rolname = 'service_role' AND NOT rolsuper AND NOT rolbypassrls
    UNION ALL
    SELECT format('Role %s is a member of %s, whose rights it has or may take: `alembic check` names that until it is'
        ' revoked', client.rolname, string_agg(held.rolname, ', ' ORDER BY held.rolname))
    FROM client JOIN pg_auth_members ON member = client.oid JOIN pg_roles AS held ON held.oid = roleid
    GROUP BY client.rolname
    UNION ALL
    SELECT format('Schema %s has tables tenants, users, conversations, messages and feedback, which stay unknown:'
        ' this package works in schema public', nspname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname <> 'public' AND relname IN ('tenants', 'users', 'conversations', 'messages', 'feedback')
        AND NOT EXISTS (TABLE adopted)
    GROUP BY nspname HAVING count(*) = 5
    UNION ALL
    SELECT format('%s hold TRIGGER or TRUNCATE on %s: the one runs code as whoever writes, the owner too, the other'
        ' empties it for every tenant; REVOKE them',
        string_agg(DISTINCT rolname, ', '), string_agg(DISTINCT relname, ', '))
    FROM adopted JOIN client ON has_table_privilege(client.oid, adopted.oid, 'TRIGGER, TRUNCATE')
    HAVING count(*) > 0
"""

# What a downgrade loses; of adopted tables, nothing.
LOSSES = """
    SELECT format('%s tenants, %s users, %s conversations, %s messages, %s feedback',
        (SELECT count(*) FROM public.tenants), (SELECT count(*) FROM public.users),
        (SELECT count(*) FROM public.conversations), (SELECT count(*) FROM public.messages),
        (SELECT count(*) FROM public.feedback))
    WHERE NOT chatbot_private.is_adopted() AND EXISTS (SELECT FROM public.tenants)  -- every other row belongs to one
"""

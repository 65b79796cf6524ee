"""Lay the baseline: the platform as it is before the guide.

What: in a database that has none of them, the tables tenants, users, conversations, messages and feedback, each with
row security. A database that has all five is adopted: it gets the columns that are missing of users.full_name,
users.is_active, conversations.title and updated_at, and nothing else changes. In both, the roles that clients speak
through, and schema chatbot_private with the helpers that resolve the caller by the column of users that holds the
token's sub.
Locks: ACCESS EXCLUSIVE on each adopted table that lacks a column, in a transaction of its own that lasts milliseconds
(constant defaults: no rewrite).
Downgrade: drops the five tables with all their rows if this revision made them; adopted ones stay as they were, without
the columns that it added. The roles stay: they belong to the whole cluster.
"""

from alembic import op

from app.migration.takeover import execute, put_back, sql

revision = "006"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_roles()
    create_schema()
    with op.get_context().autocommit_block():
        add_missing_columns()
    record_what_was_there()
    create_helpers()
    create_tenants()
    create_users()
    create_conversations()
    create_messages()
    create_feedback()
    keep_no_statistics_of_what_tenants_write()


def downgrade() -> None:
    with op.get_context().autocommit_block():
        put_back("006")
    on_a_fresh_install("DROP TABLE public.feedback")
    on_a_fresh_install("DROP TABLE public.messages")
    on_a_fresh_install("DROP TABLE public.conversations")
    on_a_fresh_install("DROP TABLE public.users")
    on_a_fresh_install("DROP TABLE public.tenants")
    op.execute("DROP FUNCTION chatbot_private.touch_updated_at()")
    op.execute("DROP FUNCTION chatbot_private.tenant_id()")
    op.execute("DROP FUNCTION chatbot_private.user_id()")
    op.execute("DROP FUNCTION chatbot_private.claimed_user_id()")
    op.execute("DROP FUNCTION chatbot_private.token_sub()")
    op.execute("DROP FUNCTION chatbot_private.taken_over()")
    op.execute("DROP FUNCTION chatbot_private.admin_roles()")
    op.execute("DROP FUNCTION chatbot_private.identity_column()")
    op.execute("DROP FUNCTION chatbot_private.is_adopted()")
    op.execute("DROP TABLE chatbot_private.replaced")
    op.execute("DROP SCHEMA chatbot_private")


def create_schema() -> None:
    # No client is granted USAGE: policies reach the helpers by themselves, and nobody calls them by name.
    op.execute("CREATE SCHEMA IF NOT EXISTS chatbot_private")
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
        CREATE TABLE IF NOT EXISTS chatbot_private.replaced (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            part text NOT NULL,
            statement text NOT NULL
        )
    """)
    op.execute("ALTER TABLE chatbot_private.replaced ENABLE ROW LEVEL SECURITY")
    op.execute("REVOKE ALL ON TABLE chatbot_private.replaced FROM PUBLIC")
    op.execute("REVOKE ALL ON SEQUENCE chatbot_private.replaced_id_seq FROM PUBLIC")
    op.execute("""
        DO $$
        DECLARE
            its record;
        BEGIN
            FOR its IN  -- those to whom default privileges opened the table or its sequence
                SELECT DISTINCT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, pg_class.oid::regclass,
                    CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS grantee
                FROM pg_class, aclexplode(relacl) AS acl
                WHERE relnamespace = 'chatbot_private'::regnamespace AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON %s %s FROM %s', its.kind, its.oid, its.grantee);
            END LOOP;
        END
        $$
    """)
    op.execute("""
        COMMENT ON TABLE chatbot_private.replaced IS
            'What revisions changed of a platform''s own: the statements by which downgrades put it back, last first'
    """)


def add_missing_columns() -> None:
    # Nothing but the models needs them. Each default is constant for the statement, so no row is rewritten.
    execute("""
        DO $$
        DECLARE
            missing record;
        BEGIN
            FOR missing IN
                SELECT relation, name, declaration
                FROM (VALUES
                    ('tenants', 'updated_at', 'timestamptz NOT NULL DEFAULT now()'),
                    ('users', 'full_name', 'text'),
                    ('users', 'is_active', 'boolean NOT NULL DEFAULT true'),
                    ('users', 'updated_at', 'timestamptz NOT NULL DEFAULT now()'),
                    ('conversations', 'title', 'text'),
                    ('conversations', 'updated_at', 'timestamptz NOT NULL DEFAULT now()')
                ) AS needed (relation, name, declaration)
                WHERE to_regclass('public.' || relation) IS NOT NULL AND NOT EXISTS (
                    SELECT FROM pg_attribute
                    WHERE attrelid = to_regclass('public.' || relation) AND attname = name AND NOT attisdropped
                )
            LOOP
                INSERT INTO chatbot_private.replaced (part, statement) VALUES ('006',
                    format('ALTER TABLE public.%I DROP COLUMN IF EXISTS %I', missing.relation, missing.name));
                EXECUTE format('ALTER TABLE public.%I ADD COLUMN %I %s', missing.relation, missing.name,
                    missing.declaration);
                COMMIT;
            END LOOP;
        END
        $$
    """)


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


def record_what_was_there() -> None:
    # As functions: whoever runs `alembic check` reads their bodies, and needs no right to the schema.
    execute(f"""
        DO $$
        DECLARE
            column_of_sub name := 'id';
            roles text[] := string_to_array(nullif(current_setting('chatbots.admin_role', true), ''), ',');
        BEGIN
            IF to_regclass('public.users') IS NOT NULL THEN
                SELECT choice INTO STRICT column_of_sub
                FROM ({IDENTITY}) AS found (choice, reason, remedy) WHERE choice IS NOT NULL;
            END IF;
            EXECUTE format('CREATE FUNCTION chatbot_private.is_adopted() RETURNS boolean
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L',
                CASE WHEN to_regclass('public.tenants') IS NULL THEN 'SELECT false' ELSE 'SELECT true' END);
            EXECUTE format('CREATE FUNCTION chatbot_private.identity_column() RETURNS name
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L',
                format('SELECT %L::name', column_of_sub));
            EXECUTE format('CREATE FUNCTION chatbot_private.admin_roles() RETURNS text[]
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L',
                format('SELECT %L::text[]', roles));
            CREATE FUNCTION chatbot_private.taken_over() RETURNS text[]
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $taken$SELECT '{{}}'::text[]$taken$;
        END
        $$
    """)
    for marker, comment in {
        "is_adopted": (
            "Whether the platform''s tables were there before revision 006. Then no revision changes their policies,"
            " grants or triggers, or drops one"
        ),
        "identity_column": "The column of users that holds the token''s sub",
        "admin_roles": "The values of users.role that make somebody an admin of chatbots; NULL until 008 knows",
        "taken_over": "What the platform had of chatbots, users.role, conversations.chatbot_id and feedback.notes",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{marker}() IS '{comment}'")
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{marker}() FROM PUBLIC, anon, authenticated, service_role
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

    # The token's sub, if it is a UUID. Nothing else is read: Supabase's auth.uid() prefers an older setting, where a
    # leftover would beat the token, and raises on a malformed one.
    op.execute("""
        CREATE FUNCTION chatbot_private.token_sub() RETURNS uuid
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

    # The person whom the token names, the caller, and the caller's tenant. They read users as its owner, past row
    # security. The column of the sub was unique when it was chosen; a sub that two rows have by now names nobody.
    # PL/pgSQL keeps its plans for the session.
    create_lookup("claimed_user_id", "(array_agg(person.id))[1]")
    create_lookup("user_id", "(array_agg(person.id) FILTER (WHERE person.is_active))[1]")
    create_lookup("tenant_id", "(array_agg(person.tenant_id) FILTER (WHERE person.is_active))[1]")

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
        "token_sub": "The token''s sub, if that is a UUID",
        "claimed_user_id": "The person whom the token names, active or not; NULL for nobody",
        "user_id": "The caller; NULL for whoever is unknown or inactive",
        "tenant_id": "The caller''s tenant; NULL for whoever is unknown or inactive",
        "touch_updated_at": "Trigger: the row was changed now",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{helper}() IS '{comment}'")
    for helper in ("token_sub", "claimed_user_id", "user_id", "tenant_id", "touch_updated_at"):
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{helper}() FROM PUBLIC, anon, authenticated, service_role
        """)
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.user_id() TO authenticated")
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.tenant_id() TO authenticated")


def create_lookup(name: str, found: str) -> None:
    execute(f"""
        DO $$
        BEGIN
            EXECUTE format($create$
                CREATE FUNCTION chatbot_private.{name}() RETURNS uuid
                LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
                AS $body$
                BEGIN
                    RETURN (
                        SELECT {found} FROM public.users AS person
                        WHERE person.%I = chatbot_private.token_sub() HAVING count(*) = 1
                    );
                END
                $body$
            $create$, chatbot_private.identity_column());
        END
        $$
    """)


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
        ("feedback", "rating"),
    ):
        on_a_fresh_install(f"ALTER TABLE public.{table} ALTER COLUMN {column} SET STATISTICS 0")


# The column of users that holds the token's sub: a row with the choice, or rows of reason and remedy.
IDENTITY = sql(__file__, "identity")
ON_USERS = "SELECT {} FROM public.users WHERE false UNION ALL {}"  # not asked at all where the table is missing

# What stands in the way of this revision, each with its remedy. Adopted tables must be such that the models read them,
# row security of chatbots can rest on them, and later revisions may extend them.
OBSTACLES = sql(__file__, "006_obstacles")
ROW_OBSTACLES = (
    ON_USERS.format(
        "NULL::text, NULL::text",
        f"SELECT reason, remedy FROM ({IDENTITY}) AS found (choice, reason, remedy) WHERE reason IS NOT NULL",
    ),
    ON_USERS.format("NULL::text, NULL::text", f"({sql(__file__, 'identity_rows', identity=IDENTITY)})"),
)

# What the platform allows clients that weakens the row security of chatbots, or its own: theirs to decide.
WARNINGS = (
    sql(__file__, "006_warnings"),
    ON_USERS.format("NULL::text", f"({sql(__file__, 'identity_warnings', identity=IDENTITY)})"),
)

# What a downgrade loses; of adopted tables, nothing.
LOSSES = """
    SELECT concat_ws(', ',
        (SELECT format('%s tenant%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM public.tenants),
        (SELECT format('%s user%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM public.users),
        (SELECT format('%s conversation%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END)
            FROM public.conversations),
        (SELECT format('%s message%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM public.messages),
        (SELECT format('%s feedback', count(*)) FROM public.feedback))
    WHERE NOT chatbot_private.is_adopted() AND EXISTS (SELECT FROM public.tenants)  -- every other row belongs to one
"""

# What of the platform's own needs a column that this revision added.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0),
        format('drop or change it first: it needs %s.%s, which 006 added', relname, attname)
    FROM chatbot_private.replaced
    JOIN pg_class ON relnamespace = 'public'::regnamespace AND relname IN ('tenants', 'users', 'conversations')
    JOIN pg_attribute ON attrelid = pg_class.oid
        AND statement = format('ALTER TABLE public.%I DROP COLUMN IF EXISTS %I', relname, attname)
    JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum
        AND deptype = 'n'
    WHERE part = '006' AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
        SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE pronamespace = 'chatbot_private'::regnamespace
    ))
"""

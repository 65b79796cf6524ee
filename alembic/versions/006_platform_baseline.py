"""Lay the baseline: the platform as it is before the guide.

What: tenants, users, conversations, messages and feedback, each with row security; the roles that clients speak
through; schema chatbot_private with the helpers that tell row security who is asking. Refuses a database that has
any of these tables already.
Locks: none on existing tables.
Downgrade: drops the five tables with all their rows. The roles stay: they belong to the whole cluster.
"""

from alembic import op

revision = "006"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    refuse_what_is_taken()
    create_roles()
    create_helpers()
    create_tenants()
    create_users()
    create_conversations()
    create_messages()
    create_feedback()


def downgrade() -> None:
    op.execute("""
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM public.tenants) THEN  -- every other row belongs to one
                RAISE WARNING 'Downgrading 006 drops % tenants, % users, % conversations, % messages, % feedback.',
                    (SELECT count(*) FROM public.tenants), (SELECT count(*) FROM public.users),
                    (SELECT count(*) FROM public.conversations), (SELECT count(*) FROM public.messages),
                    (SELECT count(*) FROM public.feedback);
            END IF;
        END
        $$
    """)
    op.execute("DROP TABLE public.feedback")
    op.execute("DROP TABLE public.messages")
    op.execute("DROP TABLE public.conversations")
    op.execute("DROP TABLE public.users")
    op.execute("DROP TABLE public.tenants")
    op.execute("DROP FUNCTION chatbot_private.touch_updated_at()")
    op.execute("DROP FUNCTION chatbot_private.tenant_id()")
    op.execute("DROP FUNCTION chatbot_private.user_id()")
    op.execute("DROP FUNCTION chatbot_private.claimed_user_id()")
    op.execute("DROP SCHEMA chatbot_private")


def refuse_what_is_taken() -> None:
    op.execute("""
        DO $$
        DECLARE
            taken text;
        BEGIN
            SELECT string_agg(name, ', ') INTO taken
            FROM (
                SELECT 'table ' || name
                FROM unnest(ARRAY['tenants', 'users', 'conversations', 'messages', 'feedback', 'chatbots']) AS name
                WHERE to_regclass('public.' || name) IS NOT NULL
                UNION ALL
                SELECT 'schema ' || name FROM unnest(ARRAY['chatbot_private', 'chatbot_compat']) AS name
                WHERE to_regnamespace(name) IS NOT NULL
            ) AS existing (name);
            IF taken IS NOT NULL THEN
                RAISE EXCEPTION 'This database already has %', taken USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'nothing was changed; install into a database that has none of them';
            END IF;
        END
        $$
    """)


def create_roles() -> None:
    # Supabase has these; elsewhere they are made. Whoever may not make one is told what a superuser has to run.
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
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'Role % may not create the roles that clients speak through', current_user USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = format('nothing was changed; as a superuser, run once: %s', missing);
            WHEN duplicate_object OR unique_violation THEN
                RAISE EXCEPTION 'Another session is creating the same roles' USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'nothing was changed; run the same command again';
        END
        $$
    """)


def create_helpers() -> None:
    # No client is granted USAGE here: policies reach the helpers by themselves, and nobody calls them by name.
    # Each fixes its search_path with pg_temp last. An empty one is no protection: PostgreSQL then looks for types and
    # tables in pg_temp first, where any client may have planted a domain named text whose CHECK runs as the owner.
    op.execute("CREATE SCHEMA chatbot_private")
    op.execute("REVOKE ALL ON SCHEMA chatbot_private FROM PUBLIC, anon, authenticated, service_role")
    op.execute("COMMENT ON SCHEMA chatbot_private IS 'Helpers and guards of the chatbot platform''s row security'")

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
    for helper in ("claimed_user_id", "user_id", "tenant_id", "touch_updated_at"):
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{helper}() FROM PUBLIC, anon, authenticated, service_role
        """)
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.user_id() TO authenticated")
    op.execute("GRANT EXECUTE ON FUNCTION chatbot_private.tenant_id() TO authenticated")


def create_tenants() -> None:
    op.execute("""
        CREATE TABLE public.tenants (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            name text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TRIGGER tenants_touch_updated_at BEFORE UPDATE ON public.tenants
        FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name)
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    op.execute("ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY "Users can view their tenant" ON public.tenants
        FOR SELECT TO authenticated
        USING (id = (SELECT chatbot_private.tenant_id()))
    """)
    # Nothing but SELECT: tenants are made, renamed and dropped by the platform's operator.
    op.execute("REVOKE ALL ON TABLE public.tenants FROM PUBLIC, anon, authenticated, service_role")
    op.execute("GRANT SELECT ON TABLE public.tenants TO authenticated")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.tenants TO service_role")


def create_users() -> None:
    op.execute("""
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
    op.execute("""
        CREATE TRIGGER users_touch_updated_at BEFORE UPDATE ON public.users
        FOR EACH ROW WHEN ((OLD.email, OLD.full_name, OLD.is_active)
            IS DISTINCT FROM (NEW.email, NEW.full_name, NEW.is_active))
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    op.execute("ALTER TABLE public.users ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY "Users can view their own profile" ON public.users
        FOR SELECT TO authenticated
        USING (id = (SELECT chatbot_private.user_id()))
    """)
    op.execute("""
        CREATE POLICY "Users can update their own profile" ON public.users
        FOR UPDATE TO authenticated
        USING (id = (SELECT chatbot_private.user_id()))
        WITH CHECK (id = (SELECT chatbot_private.user_id()))
    """)
    # UPDATE of full_name alone: everything else on a person decides what they may see. No INSERT or DELETE: people
    # come and go by the platform's sign-up, which is a service.
    op.execute("REVOKE ALL ON TABLE public.users FROM PUBLIC, anon, authenticated, service_role")
    op.execute("GRANT SELECT, UPDATE (full_name) ON TABLE public.users TO authenticated")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.users TO service_role")


def create_conversations() -> None:
    op.execute("""
        CREATE TABLE public.conversations (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
            user_id uuid NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
            title text,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX idx_conversations_tenant_id ON public.conversations (tenant_id)")
    op.execute("CREATE INDEX idx_conversations_user_id ON public.conversations (user_id, created_at)")
    op.execute("""
        CREATE TRIGGER conversations_touch_updated_at BEFORE UPDATE ON public.conversations
        FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title)
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)
    op.execute("ALTER TABLE public.conversations ENABLE ROW LEVEL SECURITY")
    own = "user_id = (SELECT chatbot_private.user_id()) AND tenant_id = (SELECT chatbot_private.tenant_id())"
    op.execute(f"""
        CREATE POLICY "Users can view their own conversations" ON public.conversations
        FOR SELECT TO authenticated USING ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can create their own conversations" ON public.conversations
        FOR INSERT TO authenticated WITH CHECK ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can update their own conversations" ON public.conversations
        FOR UPDATE TO authenticated USING ({own}) WITH CHECK ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can delete their own conversations" ON public.conversations
        FOR DELETE TO authenticated USING ({own})
    """)
    # A client may choose an id, to retry safely; never a time.
    op.execute("REVOKE ALL ON TABLE public.conversations FROM PUBLIC, anon, authenticated, service_role")
    op.execute("""
        GRANT SELECT, INSERT (id, tenant_id, user_id, title), UPDATE (title), DELETE
        ON TABLE public.conversations TO authenticated
    """)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.conversations TO service_role")


def create_messages() -> None:
    op.execute("""
        CREATE TABLE public.messages (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            conversation_id uuid NOT NULL REFERENCES public.conversations (id) ON DELETE CASCADE,
            role text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
            content text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX idx_messages_conversation_id ON public.messages (conversation_id, created_at)")
    op.execute("ALTER TABLE public.messages ENABLE ROW LEVEL SECURITY")
    # Row security of conversations holds inside these policies: a conversation that is found is the caller's own.
    own = "EXISTS (SELECT FROM public.conversations WHERE conversations.id = messages.conversation_id)"
    op.execute(f"""
        CREATE POLICY "Users can view messages of their own conversations" ON public.messages
        FOR SELECT TO authenticated USING ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can write messages in their own conversations" ON public.messages
        FOR INSERT TO authenticated WITH CHECK (role = 'user' AND {own})
    """)
    # No UPDATE or DELETE: what was said stays. A conversation's deletion takes its messages along.
    op.execute("REVOKE ALL ON TABLE public.messages FROM PUBLIC, anon, authenticated, service_role")
    op.execute("""
        GRANT SELECT, INSERT (id, conversation_id, role, content) ON TABLE public.messages TO authenticated
    """)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.messages TO service_role")


def create_feedback() -> None:
    op.execute("""
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
    op.execute("CREATE INDEX idx_feedback_user_id ON public.feedback (user_id)")
    op.execute("ALTER TABLE public.feedback ENABLE ROW LEVEL SECURITY")
    # As above: a message that is found is one of the caller's own conversations.
    own = """
        user_id = (SELECT chatbot_private.user_id())
        AND EXISTS (SELECT FROM public.messages WHERE messages.id = feedback.message_id)
    """
    op.execute(f"""
        CREATE POLICY "Users can view their own feedback" ON public.feedback
        FOR SELECT TO authenticated USING ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can give feedback on their own conversations" ON public.feedback
        FOR INSERT TO authenticated WITH CHECK ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can update their own feedback" ON public.feedback
        FOR UPDATE TO authenticated USING ({own}) WITH CHECK ({own})
    """)
    op.execute(f"""
        CREATE POLICY "Users can delete their own feedback" ON public.feedback
        FOR DELETE TO authenticated USING ({own})
    """)
    op.execute("REVOKE ALL ON TABLE public.feedback FROM PUBLIC, anon, authenticated, service_role")
    op.execute("""
        GRANT SELECT, INSERT (id, message_id, user_id, rating, comment), UPDATE (rating, comment), DELETE
        ON TABLE public.feedback TO authenticated
    """)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.feedback TO service_role")

"""Add versions of chatbots: each change of a configuration is kept, and who saves what another has changed is refused.

What: chatbots.version numbers the configurations (prompt, model, parameters, settings) of a chatbot, 1, 2, 3;
chatbots.lock_version moves with every save, and a save that states another than the row has is refused; the table
chatbot_versions, which triggers write; conversations.chatbot_version, the version that a conversation was linked to;
restore_chatbot, which makes an old version the newest. Existing chatbots get version 1, five hundred at a time.
Locks: SHARE ROW EXCLUSIVE on users (trigger), then ACCESS EXCLUSIVE on chatbots (columns with constant defaults: no
rewrite; triggers, foreign key), then ACCESS EXCLUSIVE on conversations (a nullable column, triggers), each in a
transaction of its own that lasts milliseconds. While five hundred chatbots get their version, for some tens of
milliseconds, who changes one of those waits; all else goes on.
Downgrade: drops all versions but the one that each chatbot has, and which one a conversation was linked to. ACCESS
EXCLUSIVE on conversations, then ACCESS EXCLUSIVE on users, then ACCESS EXCLUSIVE on chatbots, milliseconds each.
"""

from alembic import op

from app.migration.takeover import RENAME_COLUMN, RENAME_RELATION, RENAME_TRIGGER, RENAME_TYPE

revision = "013"
down_revision = "012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_versions()
    secure_versions()
    create_trigger_functions()
    op.execute("""
        CREATE OR REPLACE TRIGGER users_forget_author AFTER DELETE ON public.users
        FOR EACH ROW EXECUTE FUNCTION chatbot_private.forget_author()
    """)
    with op.get_context().autocommit_block():
        pass  # one live table a transaction
    number_versions()
    create_restore()
    with op.get_context().autocommit_block():
        keep_first_versions()
    record_what_conversations_start_with()


def downgrade() -> None:
    op.execute("DROP FUNCTION IF EXISTS public.restore_chatbot(uuid, integer, integer)")
    op.execute("DROP TRIGGER IF EXISTS conversations_record_version_update ON public.conversations")
    op.execute("DROP TRIGGER IF EXISTS conversations_record_version_insert ON public.conversations")
    op.execute("ALTER TABLE public.conversations DROP COLUMN IF EXISTS chatbot_version")
    with op.get_context().autocommit_block():
        op.execute("DROP TRIGGER IF EXISTS users_forget_author ON public.users")
    op.execute("DROP TRIGGER IF EXISTS chatbots_keep_version_update ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_keep_version_insert ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_number_version ON public.chatbots")
    op.execute("DROP TABLE IF EXISTS public.chatbot_versions")
    op.execute("ALTER TABLE public.chatbots DROP COLUMN IF EXISTS lock_version, DROP COLUMN IF EXISTS version")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.forget_author()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.record_version()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.keep_version()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.number_version()")


def create_versions() -> None:
    op.execute("""
        CREATE TABLE IF NOT EXISTS public.chatbot_versions (
            tenant_id uuid NOT NULL,
            chatbot_id uuid NOT NULL,
            version integer NOT NULL,
            system_prompt text NOT NULL,
            model varchar(100) NOT NULL,
            temperature double precision NOT NULL,
            max_tokens integer,
            settings jsonb NOT NULL,
            created_by uuid,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant_id, chatbot_id, version)
        )
    """)
    op.execute("""
        ALTER TABLE public.chatbot_versions ALTER COLUMN system_prompt SET STATISTICS 0,
            ALTER COLUMN model SET STATISTICS 0, ALTER COLUMN temperature SET STATISTICS 0,
            ALTER COLUMN max_tokens SET STATISTICS 0, ALTER COLUMN settings SET STATISTICS 0,
            ALTER COLUMN version SET STATISTICS 0
    """)
    # What is looked through when a person is deleted. No foreign key: whoever saves a chatbot holds its row, and would
    # wait for their own, while whoever deletes a person holds that, and waits for their chatbots.
    op.execute("""
        CREATE INDEX IF NOT EXISTS idx_chatbot_versions_created_by ON public.chatbot_versions (created_by)
        WHERE created_by IS NOT NULL
    """)
    op.execute("""
        COMMENT ON TABLE public.chatbot_versions IS
            'Each configuration that a chatbot has had; written by triggers alone, and never changed'
    """)
    op.execute("COMMENT ON COLUMN public.chatbot_versions.version IS 'From 1, without gaps'")
    op.execute("""
        COMMENT ON COLUMN public.chatbot_versions.created_by IS
            'Who made it; NULL where no person is known, and once that person is gone'
    """)
    # IF NOT EXISTS takes what is there, also what was planted since the run began. Its owner stays.
    op.execute("""
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM pg_class
                WHERE oid = 'public.chatbot_versions'::regclass AND relowner <> current_user::regrole
            ) THEN
                RAISE EXCEPTION 'Somebody else has made chatbot_versions meanwhile' USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'rename or drop it, and run the same command again';
            END IF;
        END
        $$
    """)


def secure_versions() -> None:
    op.execute("ALTER TABLE public.chatbot_versions ENABLE ROW LEVEL SECURITY")
    op.execute(
        'DROP POLICY IF EXISTS "Admin users can view chatbot versions in their tenant" ON public.chatbot_versions'
    )
    op.execute("""
        CREATE POLICY "Admin users can view chatbot versions in their tenant" ON public.chatbot_versions
        FOR SELECT TO authenticated
        USING (tenant_id = (SELECT chatbot_private.tenant_id()) AND (SELECT chatbot_private.is_admin()))
    """)
    # Nothing but SELECT, service included: a version stays what it was. Nor to whom default privileges let do more.
    op.execute("""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_class, aclexplode(relacl) AS acl
                WHERE pg_class.oid = 'public.chatbot_versions'::regclass AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON TABLE public.chatbot_versions FROM %s', grantee);
            END LOOP;
        END
        $$
    """)
    op.execute("GRANT SELECT ON TABLE public.chatbot_versions TO authenticated, service_role")


def create_trigger_functions() -> None:
    # Nobody chooses the number of a version, nor at which lock_version a chatbot begins. Who states the lock_version
    # that they have read changes that row or none; who states none, as an application from before this revision,
    # changes what is there. The code is one that PostgREST answers with 409 Conflict. An INSERT keeps the lock_version
    # that it states where the chatbot is there: it fails, or turns into an UPDATE (ON CONFLICT). It looks as the owner:
    # who writes a chatbot may have no right to read.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.number_version() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            next integer := CASE OLD.lock_version WHEN 2147483647 THEN 1 ELSE OLD.lock_version + 1 END;
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.version := 1;
                IF NEW.lock_version <> 1 AND NOT EXISTS (SELECT FROM public.chatbots WHERE id = NEW.id) THEN
                    NEW.lock_version := 1;
                END IF;
                RETURN NEW;
            END IF;
            IF NEW.lock_version <> OLD.lock_version THEN
                RAISE EXCEPTION 'chatbot % was changed meanwhile: lock_version % was stated, it has %',
                    OLD.id, NEW.lock_version, OLD.lock_version
                    USING ERRCODE = 'PT409', HINT = 'Read it again, and save what you change of that.';
            END IF;
            NEW.version := OLD.version;
            IF OLD.system_prompt IS DISTINCT FROM NEW.system_prompt OR OLD.model IS DISTINCT FROM NEW.model
                OR OLD.temperature IS DISTINCT FROM NEW.temperature OR OLD.max_tokens IS DISTINCT FROM NEW.max_tokens
                OR record_image_ne(ROW(OLD.settings), ROW(NEW.settings))  -- which tells 1 from 1.0
            THEN
                NEW.version := OLD.version + 1;
                NEW.lock_version := next;
            ELSIF OLD.name IS DISTINCT FROM NEW.name OR OLD.description IS DISTINCT FROM NEW.description
                OR OLD.is_published IS DISTINCT FROM NEW.is_published
            THEN
                NEW.lock_version := next;
            END IF;
            RETURN NEW;
        END
        $$
    """)
    # It writes as the owner, whoever changes the chatbot. A chatbot from before this revision may be changed before it
    # got its version 1, which is what it was.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.keep_version() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            author uuid;
        BEGIN
            IF chatbot_private.token_sub() IS NOT NULL THEN
                author := chatbot_private.author();
            ELSIF TG_OP = 'INSERT' THEN
                author := NEW.created_by;
            END IF;
            IF TG_OP = 'UPDATE' AND OLD.version = 1 THEN
                INSERT INTO public.chatbot_versions (tenant_id, chatbot_id, version, system_prompt, model, temperature,
                    max_tokens, settings, created_by, created_at)
                VALUES (NEW.tenant_id, NEW.id, 1, OLD.system_prompt, OLD.model, OLD.temperature,
                    OLD.max_tokens, OLD.settings, CASE OLD.updated_at WHEN OLD.created_at THEN NEW.created_by END,
                    OLD.updated_at)
                ON CONFLICT DO NOTHING;
            END IF;
            INSERT INTO public.chatbot_versions (tenant_id, chatbot_id, version, system_prompt, model, temperature,
                max_tokens, settings, created_by)
            VALUES (NEW.tenant_id, NEW.id, NEW.version, NEW.system_prompt, NEW.model, NEW.temperature,
                NEW.max_tokens, NEW.settings, author);
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.forget_author() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            UPDATE public.chatbot_versions AS its SET created_by = NULL
            WHERE created_by = OLD.id AND EXISTS (  -- or it goes, too, in the same statement
                SELECT FROM public.chatbots WHERE tenant_id = its.tenant_id AND id = its.chatbot_id
            );
            RETURN NULL;
        END
        $$
    """)
    # As whoever writes the conversation, who finds the number of a chatbot that they see, and of no other: RETURNING,
    # and an upsert, tell it before a guard refuses the link.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.record_version() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND NEW.chatbot_id IS NOT DISTINCT FROM OLD.chatbot_id THEN
                NEW.chatbot_version := OLD.chatbot_version;
            ELSIF NEW.chatbot_id IS NULL THEN
                NEW.chatbot_version := NULL;
            ELSE
                NEW.chatbot_version := (
                    SELECT version FROM public.chatbots WHERE tenant_id = NEW.tenant_id AND id = NEW.chatbot_id
                );
            END IF;
            RETURN NEW;
        END
        $$
    """)
    for function, comment in {
        "number_version": "Trigger: numbers configurations and saves, and refuses a save of what was changed meanwhile",
        "keep_version": "Trigger: keeps each configuration of a chatbot",
        "forget_author": "Trigger: takes a person who is deleted out of the versions that they made",
        "record_version": "Trigger: notes which version a chatbot has when a conversation is linked to it",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{function}() IS '{comment}'")
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{function}() FROM PUBLIC, anon, authenticated, service_role
        """)


def number_versions() -> None:
    op.execute("""
        ALTER TABLE public.chatbots ADD COLUMN IF NOT EXISTS version integer NOT NULL DEFAULT 1,
            ADD COLUMN IF NOT EXISTS lock_version integer NOT NULL DEFAULT 1
    """)
    op.execute("""
        ALTER TABLE public.chatbots ALTER COLUMN version SET STATISTICS 0, ALTER COLUMN lock_version SET STATISTICS 0
    """)
    op.execute("""
        COMMENT ON COLUMN public.chatbots.version IS
            'Number of its configuration in chatbot_versions; kept by the database'
    """)
    op.execute("""
        COMMENT ON COLUMN public.chatbots.lock_version IS
            'Moves with every save; who states the one that they have read is refused if it has moved'
    """)
    # With its tenant, as the key of every table that more than one machine would hold. Whoever moves a chatbot to
    # another tenant moves its past along.
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'public.chatbot_versions'::regclass
                    AND conname = 'chatbot_versions_tenant_id_chatbot_id_fkey'
            ) THEN
                ALTER TABLE public.chatbot_versions ADD CONSTRAINT chatbot_versions_tenant_id_chatbot_id_fkey
                    FOREIGN KEY (tenant_id, chatbot_id) REFERENCES public.chatbots (tenant_id, id)
                    ON UPDATE CASCADE ON DELETE CASCADE;
            END IF;
        END
        $$
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_number_version BEFORE INSERT OR UPDATE ON public.chatbots
        FOR EACH ROW EXECUTE FUNCTION chatbot_private.number_version()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_keep_version_insert AFTER INSERT ON public.chatbots
        FOR EACH ROW EXECUTE FUNCTION chatbot_private.keep_version()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_keep_version_update AFTER UPDATE ON public.chatbots
        FOR EACH ROW WHEN (OLD.version IS DISTINCT FROM NEW.version)
        EXECUTE FUNCTION chatbot_private.keep_version()
    """)
    # To state the one that was read, no other: a trigger sees to that. In an INSERT for where it turns into an UPDATE.
    # version is the database's word alone, which a conversation records for whoever begins it.
    op.execute("GRANT INSERT (lock_version), UPDATE (lock_version) ON TABLE public.chatbots TO authenticated")
    op.execute("GRANT SELECT (version) ON TABLE public.chatbots TO anon")


def create_restore() -> None:
    # As its caller, so whoever may change the chatbot and see its versions.
    op.execute("""
        CREATE OR REPLACE FUNCTION public.restore_chatbot(
            chatbot uuid, version integer, lock_version integer DEFAULT NULL
        ) RETURNS integer
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            newest integer;
        BEGIN
            UPDATE public.chatbots AS its SET system_prompt = old.system_prompt, model = old.model,
                temperature = old.temperature, max_tokens = old.max_tokens, settings = old.settings,
                lock_version = coalesce(restore_chatbot.lock_version, its.lock_version)
            FROM public.chatbot_versions AS old
            WHERE its.id = restore_chatbot.chatbot AND old.tenant_id = its.tenant_id AND old.chatbot_id = its.id
                AND old.version = restore_chatbot.version
            RETURNING its.version INTO newest;
            IF newest IS NULL THEN
                RAISE EXCEPTION 'there is no version % of chatbot % that you may restore', version, chatbot
                    USING ERRCODE = 'PT404', HINT = 'chatbot_versions has those that there are.';
            END IF;
            RETURN newest;
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION public.restore_chatbot(uuid, integer, integer) IS
            'Makes an old version of a chatbot the newest, as a new version, whose number it returns; of the version'
            ' that it has, nothing. lock_version: the one that was read, if the caller is to be told of others'' saves'
    """)
    op.execute("""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN
                SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
                WHERE pg_proc.oid = 'public.restore_chatbot(uuid, integer, integer)'::regprocedure
                    AND acl.grantee <> proowner
            LOOP
                EXECUTE 'REVOKE ALL ON FUNCTION public.restore_chatbot(uuid, integer, integer) FROM ' || grantee;
            END LOOP;
        END
        $$
    """)
    op.execute("""
        GRANT EXECUTE ON FUNCTION public.restore_chatbot(uuid, integer, integer) TO authenticated, service_role
    """)


def keep_first_versions() -> None:
    # Some a transaction, so that an interrupted run goes on. First those that nobody is at: it waits for no row while
    # it holds others, so that it is in nobody's circle. Then those that it left out, each by itself. Whose version is
    # not 1 any more has got it from the trigger. Who made it is known where nobody changed it.
    lacking = """
            version = 1 AND NOT EXISTS (
                SELECT FROM public.chatbot_versions AS kept
                WHERE kept.tenant_id = chatbots.tenant_id AND kept.chatbot_id = chatbots.id
            )"""
    keep = f"""
        WITH its AS MATERIALIZED (
            SELECT * FROM public.chatbots
            WHERE {lacking} AND {{those}}
        )
        INSERT INTO public.chatbot_versions (tenant_id, chatbot_id, version, system_prompt, model, temperature,
            max_tokens, settings, created_by, created_at)
        SELECT tenant_id, id, 1, system_prompt, model, temperature, max_tokens, settings,
            CASE updated_at WHEN created_at THEN created_by END, updated_at
        FROM its"""
    op.execute(f"""
        DO $$
        DECLARE
            reached uuid := '00000000-0000-0000-0000-000000000000';
            batch uuid[];
            missed uuid;
        BEGIN
            LOOP
                batch := ARRAY(SELECT id FROM public.chatbots WHERE id > reached ORDER BY id LIMIT 500);
                EXIT WHEN cardinality(batch) = 0;
                reached := batch[cardinality(batch)];
                {keep.format(those="id = ANY (batch) FOR NO KEY UPDATE SKIP LOCKED")};
                COMMIT;
            END LOOP;
            LOOP
                FOR missed IN
                    SELECT id FROM public.chatbots WHERE {lacking}
                LOOP
                    {keep.format(those="id = missed FOR NO KEY UPDATE")};
                    COMMIT;
                END LOOP;
                EXIT WHEN NOT FOUND;
            END LOOP;
        END
        $$
    """)


def record_what_conversations_start_with() -> None:
    op.execute("ALTER TABLE public.conversations ADD COLUMN IF NOT EXISTS chatbot_version integer")
    op.execute("ALTER TABLE public.conversations ALTER COLUMN chatbot_version SET STATISTICS 0")
    op.execute("""
        COMMENT ON COLUMN public.conversations.chatbot_version IS
            'The version that its chatbot had when they were linked, or linked again; NULL without a chatbot, and for'
            ' links from before versions'
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER conversations_record_version_insert BEFORE INSERT ON public.conversations
        FOR EACH ROW WHEN (NEW.chatbot_id IS NOT NULL OR NEW.chatbot_version IS NOT NULL)
        EXECUTE FUNCTION chatbot_private.record_version()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER conversations_record_version_update BEFORE UPDATE ON public.conversations
        FOR EACH ROW WHEN (
            OLD.chatbot_id IS DISTINCT FROM NEW.chatbot_id OR OLD.chatbot_version IS DISTINCT FROM NEW.chatbot_version
        )
        EXECUTE FUNCTION chatbot_private.record_version()
    """)


# What bears the names that this revision needs, unless an interrupted run of it made them, together with our trigger:
# what comes before that is made in one transaction, and belongs to us.
OBSTACLES = f"""
    WITH ours AS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.chatbots') AND tgname = 'chatbots_number_version'
            AND tgfoid = to_regproc('chatbot_private.number_version')
        UNION ALL
        SELECT FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
        WHERE polrelid = to_regclass('public.chatbot_versions') AND relowner = current_user::regrole
            AND polname = 'Admin users can view chatbot versions in their tenant'
    )
    SELECT format('%s exists already', relname), {RENAME_RELATION}
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public')
        AND relname IN ('chatbot_versions', 'chatbot_versions_pkey', 'idx_chatbot_versions_created_by')
        AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Type %s exists already', typname), {RENAME_TYPE}
    FROM pg_type WHERE typnamespace = to_regnamespace('public') AND typname = 'chatbot_versions' AND typrelid = 0
    UNION ALL
    SELECT format('Function %s exists already', oid::regprocedure),
        format('ALTER FUNCTION %s RENAME TO %I', oid::regprocedure, proname || '_before')
    FROM pg_proc
    WHERE pronamespace = to_regnamespace('public') AND proname = 'restore_chatbot' AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('%s has a column %s of its own', attrelid::regclass, attname), {RENAME_COLUMN}
    FROM pg_attribute
    WHERE (attrelid, attname) IN (
            (to_regclass('public.conversations'), 'chatbot_version'), (to_regclass('public.chatbots'), 'version'),
            (to_regclass('public.chatbots'), 'lock_version')
        )
        AND NOT attisdropped AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Trigger %s of %s exists already', tgname, tgrelid::regclass), {RENAME_TRIGGER}
    FROM pg_trigger
    WHERE (tgrelid, tgname) IN (
            (to_regclass('public.conversations'), 'conversations_record_version_insert'),
            (to_regclass('public.conversations'), 'conversations_record_version_update'),
            (to_regclass('public.users'), 'users_forget_author')
        )
        AND NOT EXISTS (TABLE ours)
"""

LOSSES = """
    SELECT format('%s earlier version%s of chatbots', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END)
    FROM public.chatbot_versions AS earlier JOIN public.chatbots ON chatbots.id = chatbot_id
    WHERE earlier.version < chatbots.version HAVING count(*) > 0
    UNION ALL
    SELECT format('the version that %s linked to',
        CASE count(*) WHEN 1 THEN '1 conversation was' ELSE count(*) || ' conversations were' END)
    FROM public.conversations WHERE chatbot_version IS NOT NULL HAVING count(*) > 0
"""

# What unpacks whole rows finds columns more.
WARNINGS = r"""
    SELECT format('Function %s takes whole rows of %s, which get a column: see that it still fits',
        pg_proc.oid::regprocedure, relname)
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    JOIN pg_class ON pg_class.oid IN (to_regclass('public.conversations'), to_regclass('public.chatbots'))
    WHERE nspname !~ '^pg_' AND (
        prorettype = reltype
        OR prosrc ~* '\m(old|new)\.\*' AND EXISTS (
            SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid AND tgrelid = pg_class.oid
        )
    )
"""

# What of the platform's own needs what a downgrade drops.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0), format('drop or change it first: it needs %s', needed)
    FROM pg_depend
    LEFT JOIN pg_attribute ON refclassid = 'pg_class'::regclass AND attrelid = refobjid AND attnum = refobjsubid
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN refclassid = 'pg_proc'::regclass
                AND refobjid = to_regprocedure('public.restore_chatbot(uuid, integer, integer)') THEN 'restore_chatbot'
            WHEN refclassid <> 'pg_class'::regclass THEN NULL
            WHEN refobjid = to_regclass('public.chatbot_versions') THEN 'chatbot_versions'
            WHEN refobjid = to_regclass('public.chatbots') AND attname IN ('version', 'lock_version')
                THEN 'chatbots.' || attname
            WHEN refobjid = to_regclass('public.conversations') AND attname = 'chatbot_version'
                THEN 'conversations.chatbot_version'
        END
    ) AS what (needed)
    WHERE needed IS NOT NULL AND deptype = 'n'
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint WHERE conrelid = to_regclass('public.chatbot_versions')
        ))
        AND NOT (classid = 'pg_policy'::regclass AND objid IN (
            SELECT oid FROM pg_policy WHERE polrelid = to_regclass('public.chatbot_versions')
        ))
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE pronamespace = to_regnamespace('chatbot_private')
        ))
"""

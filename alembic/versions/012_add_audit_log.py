"""Add the audit log: who changed chatbots, and people's roles and activity, when, from what to what.

What: the table audit_log, which no client writes and which refers to nothing, so that it outlives the chatbot, the
person and the tenant; triggers on chatbots and users that write it in the transaction of the change, whoever makes it;
a policy that shows admins their own tenant's entries; a function with which the owner takes a person out of it.
Locks: SHARE ROW EXCLUSIVE on users, then SHARE ROW EXCLUSIVE on chatbots, each in a transaction of its own that lasts
milliseconds.
Downgrade: drops the log. ACCESS EXCLUSIVE on chatbots, then ACCESS EXCLUSIVE on users, milliseconds each.
"""

from alembic import op

from app.migration.takeover import RENAME_RELATION, RENAME_TRIGGER, RENAME_TYPE

revision = "012"
down_revision = "011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_author()
    create_log()
    secure_log()
    create_trigger_functions()
    create_erasure()
    watch_users()
    with op.get_context().autocommit_block():
        pass  # one live table a transaction
    watch_chatbots()


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS chatbots_audit_truncate ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_audit ON public.chatbots")
    with op.get_context().autocommit_block():
        pass  # one live table a transaction
    op.execute("DROP TRIGGER IF EXISTS users_audit_truncate ON public.users")
    op.execute("DROP TRIGGER IF EXISTS users_audit_delete ON public.users")
    op.execute("DROP TRIGGER IF EXISTS users_audit_update ON public.users")
    op.execute("DROP TRIGGER IF EXISTS users_audit_insert ON public.users")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.erase_from_audit_log(uuid)")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.audit_truncation()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.audit_row()")
    op.execute("DROP TABLE IF EXISTS public.audit_log")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.author()")


def create_author() -> None:
    # Until the transaction ends, nobody deletes whoever it names: who tries waits, and then finds what they did. It
    # waits for nobody, since who deletes a person may wait for this transaction: somebody who is being deleted is not
    # named any more.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.author() RETURNS uuid
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            person uuid := chatbot_private.claimed_user_id();
        BEGIN
            PERFORM FROM public.users WHERE id = person FOR KEY SHARE SKIP LOCKED;
            RETURN CASE WHEN FOUND THEN person END;
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.author() IS
            'The person whom the token names, who is not deleted before the transaction ends; NULL for nobody'
    """)
    op.execute("REVOKE ALL ON FUNCTION chatbot_private.author() FROM PUBLIC, anon, authenticated, service_role")


def create_log() -> None:
    # Its defaults say who and when. No number counts the entries: its gaps would tell a tenant what others do. The key
    # begins with the tenant and goes on with the time, which is how admins read.
    op.execute("""
        CREATE TABLE IF NOT EXISTS public.audit_log (
            tenant_id uuid NOT NULL,
            changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            user_id uuid DEFAULT chatbot_private.author(),
            database_role text NOT NULL DEFAULT coalesce(nullif(current_setting('role'), 'none'), session_user),
            action text NOT NULL,
            table_name text NOT NULL,
            row_id uuid,
            old_values jsonb,
            new_values jsonb,
            PRIMARY KEY (tenant_id, changed_at, id)
        )
    """)
    op.execute("""
        ALTER TABLE public.audit_log ALTER COLUMN old_values SET STATISTICS 0, ALTER COLUMN new_values SET STATISTICS 0
    """)
    # For the operator, who reads all tenants' from some time on.
    op.execute("CREATE INDEX IF NOT EXISTS idx_audit_log_changed_at ON public.audit_log (changed_at)")
    op.execute("""
        COMMENT ON TABLE public.audit_log IS
            'Changes of chatbots, and of people''s roles and activity; written by triggers alone'
    """)
    for column, comment in {
        "tenant_id": "Whose row it was; a row that moves is deleted from one tenant and inserted into the other",
        "user_id": "The person whom the token named; NULL where none did, or once that person is erased",
        "database_role": "The role that spoke: a client''s, service_role, or whoever logged in",
        "action": "INSERT, UPDATE, DELETE or TRUNCATE",
        "row_id": "NULL for TRUNCATE, and for a person who is erased",
        "old_values": "Of what an UPDATE changed alone; of a DELETE all that is watched; of a TRUNCATE how many rows",
        "new_values": "Of what an UPDATE changed alone; of an INSERT all that is watched",
    }.items():
        op.execute(f"COMMENT ON COLUMN public.audit_log.{column} IS '{comment}'")
    refuse_somebody_elses()


def refuse_somebody_elses() -> None:
    # IF NOT EXISTS takes what is there, also what was planted since the run began. Its owner stays.
    op.execute("""
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM pg_class WHERE oid = 'public.audit_log'::regclass AND relowner <> current_user::regrole
            ) THEN
                RAISE EXCEPTION 'Somebody else has made audit_log meanwhile' USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'rename or drop it, and run the same command again';
            END IF;
        END
        $$
    """)


def secure_log() -> None:
    op.execute("ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY")
    op.execute('DROP POLICY IF EXISTS "Admin users can view the audit log of their tenant" ON public.audit_log')
    op.execute("""
        CREATE POLICY "Admin users can view the audit log of their tenant" ON public.audit_log
        FOR SELECT TO authenticated
        USING (tenant_id = (SELECT chatbot_private.tenant_id()) AND (SELECT chatbot_private.is_admin()))
    """)
    # Nothing but SELECT, service included: what was done stays. Not even to those whom default privileges let do more.
    op.execute("""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_class, aclexplode(relacl) AS acl
                WHERE pg_class.oid = 'public.audit_log'::regclass AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON TABLE public.audit_log FROM %s', grantee);
            END LOOP;
        END
        $$
    """)
    op.execute("GRANT SELECT ON TABLE public.audit_log TO authenticated, service_role")


def create_trigger_functions() -> None:
    # It writes as the owner, whoever changes the row. Arguments: the columns that are watched; none: all. Values are
    # taken out of the whole row: to put them together (jsonb_object_agg) takes time that grows with the square of their
    # size. How a number or a time is written is no matter of the session's settings.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.audit_row() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        SET extra_float_digits = 1 SET TimeZone = 'UTC'
        AS $$
        DECLARE
            was jsonb := to_jsonb(OLD);
            becomes jsonb := to_jsonb(NEW);
            passed_over text[] := ARRAY(
                SELECT key FROM jsonb_object_keys(CASE TG_OP WHEN 'INSERT' THEN becomes ELSE was END) AS its (key)
                WHERE TG_NARGS > 0 AND key <> ALL (TG_ARGV)
            );
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.tenant_id = NEW.tenant_id AND OLD.id = NEW.id THEN
                passed_over := passed_over || ARRAY(
                    SELECT key FROM jsonb_each(was) AS its (key, value)
                    WHERE record_image_eq(ROW(value), ROW(becomes -> key))  -- which tells 1 from 1.0
                );
                INSERT INTO public.audit_log (tenant_id, action, table_name, row_id, old_values, new_values)
                SELECT NEW.tenant_id, 'UPDATE', TG_TABLE_NAME, NEW.id, was - passed_over, becomes - passed_over
                WHERE was - passed_over <> '{}';
                RETURN NULL;
            END IF;
            -- To each tenant its own: of a row that moves, neither reads what it was, or became, in the other.
            IF TG_OP <> 'INSERT' THEN
                INSERT INTO public.audit_log (tenant_id, action, table_name, row_id, old_values)
                VALUES (OLD.tenant_id, 'DELETE', TG_TABLE_NAME, OLD.id, was - passed_over);
            END IF;
            IF TG_OP <> 'DELETE' THEN
                INSERT INTO public.audit_log (tenant_id, action, table_name, row_id, new_values)
                VALUES (NEW.tenant_id, 'INSERT', TG_TABLE_NAME, NEW.id, becomes - passed_over);
            END IF;
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.audit_row() IS
            'Trigger: notes a change of the columns that its arguments name, or of any'
    """)
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.audit_truncation() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            EXECUTE format('INSERT INTO public.audit_log (tenant_id, action, table_name, old_values)
                SELECT tenant_id, $1, $2, jsonb_build_object($3, count(*)) FROM %s GROUP BY tenant_id',
                TG_RELID::regclass) USING TG_OP, TG_TABLE_NAME, 'rows';
            RETURN NULL;
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.audit_truncation() IS
            'Trigger: notes of each tenant how many rows it loses'
    """)
    for function in ("audit_row", "audit_truncation"):
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{function}() FROM PUBLIC, anon, authenticated, service_role
        """)


def create_erasure() -> None:
    # What was done stays, by whom or to whom does not. It runs as its caller, so nobody but the owner could use it.
    # Somebody who is still there may be at a save: the lock waits for its end.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.erase_from_audit_log(person uuid) RETURNS bigint
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            entries bigint;
            creator jsonb := jsonb_build_object('created_by', person);
            nobody jsonb := jsonb_build_object('created_by', NULL);
        BEGIN
            PERFORM FROM public.users WHERE id = person FOR UPDATE;
            UPDATE public.audit_log SET
                user_id = nullif(user_id, person),
                row_id = CASE table_name WHEN 'users' THEN nullif(row_id, person) ELSE row_id END,
                old_values = CASE WHEN old_values @> creator THEN old_values || nobody ELSE old_values END,
                new_values = CASE WHEN new_values @> creator THEN new_values || nobody ELSE new_values END
            WHERE user_id = person OR table_name = 'users' AND row_id = person
                OR old_values @> creator OR new_values @> creator;
            GET DIAGNOSTICS entries = ROW_COUNT;
            RETURN entries;
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.erase_from_audit_log(uuid) IS
            'Takes a person out of the audit log, whose entries stay; says of how many. The owner calls it'
    """)
    op.execute("""
        REVOKE ALL ON FUNCTION chatbot_private.erase_from_audit_log(uuid)
        FROM PUBLIC, anon, authenticated, service_role
    """)


def watch_users() -> None:
    # A person is taken for active and no admin until the log says otherwise: that one of those comes or goes, as by
    # sign-up, changes nobody's role or activity.
    op.execute("""
        CREATE OR REPLACE TRIGGER users_audit_insert AFTER INSERT ON public.users
        FOR EACH ROW WHEN (chatbot_private.is_admin_role(NEW.role) OR NEW.is_active IS NOT TRUE)
        EXECUTE FUNCTION chatbot_private.audit_row('role', 'is_active')
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER users_audit_update AFTER UPDATE ON public.users
        FOR EACH ROW WHEN (
            OLD.role IS DISTINCT FROM NEW.role OR OLD.is_active IS DISTINCT FROM NEW.is_active
            OR OLD.tenant_id IS DISTINCT FROM NEW.tenant_id OR OLD.id IS DISTINCT FROM NEW.id
        )
        EXECUTE FUNCTION chatbot_private.audit_row('role', 'is_active')
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER users_audit_delete AFTER DELETE ON public.users
        FOR EACH ROW WHEN (chatbot_private.is_admin_role(OLD.role) OR OLD.is_active IS NOT TRUE)
        EXECUTE FUNCTION chatbot_private.audit_row('role', 'is_active')
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER users_audit_truncate BEFORE TRUNCATE ON public.users
        EXECUTE FUNCTION chatbot_private.audit_truncation()
    """)


def watch_chatbots() -> None:
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_audit AFTER INSERT OR UPDATE OR DELETE ON public.chatbots
        FOR EACH ROW EXECUTE FUNCTION chatbot_private.audit_row()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_audit_truncate BEFORE TRUNCATE ON public.chatbots
        EXECUTE FUNCTION chatbot_private.audit_truncation()
    """)


# What bears the names that this revision needs, unless an interrupted run of it made them, together with our trigger.
OBSTACLES = f"""
    WITH ours AS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.users') AND tgname = 'users_audit_update'
            AND tgfoid = to_regproc('chatbot_private.audit_row')
    )
    SELECT format('%s exists already', relname), {RENAME_RELATION}
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public')
        AND relname IN ('audit_log', 'audit_log_pkey', 'idx_audit_log_changed_at') AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Type %s exists already', typname), {RENAME_TYPE}
    FROM pg_type WHERE typnamespace = to_regnamespace('public') AND typname = 'audit_log' AND typrelid = 0
    UNION ALL
    SELECT format('Trigger %s of users exists already', tgname), {RENAME_TRIGGER}
    FROM pg_trigger
    WHERE tgrelid = to_regclass('public.users')
        AND tgname IN ('users_audit_insert', 'users_audit_update', 'users_audit_delete', 'users_audit_truncate')
        AND NOT EXISTS (TABLE ours)
"""

LOSSES = """
    SELECT format('%s of the audit log', CASE count(*) WHEN 1 THEN '1 entry' ELSE count(*) || ' entries' END)
    FROM public.audit_log HAVING count(*) > 0
"""

# What of the platform's own needs what a downgrade drops.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0), 'drop or change it first: it needs audit_log'
    FROM pg_depend
    WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('public.audit_log') AND deptype = 'n'
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint WHERE conrelid = to_regclass('public.audit_log')
        ))
        AND NOT (classid = 'pg_policy'::regclass AND objid IN (
            SELECT oid FROM pg_policy WHERE polrelid = to_regclass('public.audit_log')
        ))
"""

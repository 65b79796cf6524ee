"""Create chatbots: the agents that a tenant's admins configure and publish.

What: the table with its CHECKs, keys, indexes and row security; the two policies that need no users.role; the view
published_chatbots, with the columns that anyone may see; a guard on id, tenant_id, is_active and the token's sub of
users, which the row security of chatbots rests on; triggers that refuse texts and settings that are too large, or that
look empty, where they are changed. Until 008 nobody but service writes chatbots. Chatbots that the
guide's SQL made by hand are taken over with their rows: they get our CHECKs and NOT NULL beside theirs, and our keys in
place of theirs; settings that are NULL become {}, and created_by may be NULL. Their policies and grants stay until 008
swaps them.
Locks: SHARE ROW EXCLUSIVE on users (guards, foreign key) and on tenants (foreign key), each in a transaction of its
own that lasts milliseconds. Indexes are built CONCURRENTLY. On chatbots that are taken over, ACCESS EXCLUSIVE for
milliseconds, several times, and scans that block neither reads nor writes.
Downgrade: drops all chatbots; those that were taken over stay, and what this step replaced is put back. ACCESS
EXCLUSIVE on users, then tenants, then users again, milliseconds each; the same on chatbots that stay.
"""

from alembic import op

from app.migration.takeover import (
    execute,
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
    when,
    when_taken_over,
)

revision = "007"
down_revision = "006"
branch_labels = None
depends_on = None

# Chatbots are there, and no interrupted run of this revision made them: nobody but the owner of our function can have
# it in a trigger.
ARE_THEIRS = """to_regclass('public.chatbots') IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = to_regclass('public.chatbots') AND tgfoid = to_regproc('chatbot_private.touch_updated_at')
        )"""
TO_TAKE_OVER = f"{is_taken_over('chatbots')} AND {ARE_THEIRS}"

# Triggers that do nothing but set updated_at, on every UPDATE.
THEIR_TOUCH_TRIGGERS = r"""
        SELECT pg_trigger.oid, tgname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE tgrelid = to_regclass('public.chatbots') AND NOT tgisinternal AND tgtype & 2 = 2
            AND pronamespace <> to_regnamespace('chatbot_private')
            AND lower(regexp_replace(prosrc, '\s+', ' ', 'g'))
                ~ ('^ ?begin new\.updated_at :?= ?(now\(\)|current_timestamp|clock_timestamp\(\)|timezone\([^;]*\)); '
                    || 'return new; end ?;? ?$')
"""

CHECKS = {
    "chatbots_name_check": r"name ~ '\S'",
    "chatbots_system_prompt_check": r"system_prompt ~ '\S'",
    "chatbots_model_check": r"model ~ '\S'",
    "chatbots_temperature_check": "temperature BETWEEN 0 AND 2",
    "chatbots_max_tokens_check": "max_tokens >= 1",
    "chatbots_settings_check": "jsonb_typeof(settings) = 'object'",
}
# Enough for any model, and little enough for a save to be copied, compared and logged in milliseconds.
LIMITS = {"description": 10_000, "system_prompt": 500_000}  # characters
SETTINGS_BYTES = 1_000_000  # as text
SETTINGS_DEPTH = 200  # arrays and objects within each other

NEVER_NULL = (
    "tenant_id",
    "name",
    "system_prompt",
    "model",
    "temperature",
    "settings",
    "is_published",
    "created_at",
    "updated_at",
)
INDEXES = (
    "idx_chatbots_tenant_id",
    "idx_chatbots_created_by",
    "idx_chatbots_is_published",
    "idx_chatbots_tenant_published",
    "idx_chatbots_created_at",
    "idx_chatbots_name",
)
WRITTEN_BY_TENANTS = ("name", "description", "system_prompt", "model", "temperature", "max_tokens", "settings")
POLICIES = ("Users can view published chatbots in their tenant", "Demo user can view published chatbots")
BOUNDING_TRIGGERS = {  # named to come first
    "chatbots_admit_insert": ("BEFORE", "INSERT"),
    "chatbots_admit_update": ("BEFORE", "UPDATE"),
    "chatbots_admit_inserted": ("AFTER", "INSERT"),
    "chatbots_admit_updated": ("AFTER", "UPDATE"),
}
COMMENTS = {
    "created_by": "The admin who made it; NULL once that person is gone",
    "system_prompt": "Instructions to the model; members of the tenant can read those of published chatbots",
    "model": "Name of the language model, as its provider spells it",
    "temperature": "Randomness of the answers, 0 to 2",
    "max_tokens": "Longest answer in tokens; NULL leaves it to the model",
    "settings": "Further parameters, a JSON object",
    "is_published": "Visible to the tenant''s members, and in parts to anonymous visitors",
    "updated_at": "When the configuration or publishing last changed; kept by the database",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        create_guard()
        guard_identity()
        take_over("chatbots", ARE_THEIRS)
        fill_settings()
    make_room()
    create_bounds()
    create_chatbots()
    bound_chatbots()
    refuse_somebody_elses()
    secure_chatbots()
    with op.get_context().autocommit_block():
        create_indexes()
        add_foreign_keys()
        finish_taking_over()


def downgrade() -> None:
    with op.get_context().autocommit_block():
        put_back("007 keys")
        op.execute("ALTER TABLE IF EXISTS public.chatbots DROP CONSTRAINT IF EXISTS chatbots_created_by_fkey")
        op.execute("ALTER TABLE IF EXISTS public.chatbots DROP CONSTRAINT IF EXISTS chatbots_tenant_id_fkey")
    op.execute("DROP VIEW IF EXISTS public.published_chatbots")
    unless_taken_over("chatbots", "DROP TABLE IF EXISTS public.chatbots")
    with op.get_context().autocommit_block():
        op.execute("DROP TRIGGER IF EXISTS users_guard_identity ON public.users")
        op.execute("DROP TRIGGER IF EXISTS users_guard_membership ON public.users")
        op.execute("DROP FUNCTION IF EXISTS chatbot_private.require_table_owner()")
        op.execute("SET lock_timeout = 0")
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{name}")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    # With the end of the step, so that none of theirs is taken for ours by a run that goes on after an interruption.
    put_back("007 indexes", at_once=True)
    put_back("007", at_once=True)
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.require_bounds()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.looks_empty(text)")
    let_go("chatbots")


def create_guard() -> None:
    # Clients may hold ALL on users under policies of the platform's own, so policies and grants do not protect what
    # chatbots rests on; this does. An AFTER trigger, because a later BEFORE trigger could overrule an earlier one.
    # Not a list of client roles: one that inherits authenticated has its rights under another name.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.require_table_owner() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET TimeZone = 'UTC'
        AS $$
        DECLARE
            writer name := current_user;
            stack text;
        BEGIN
            -- A foreign key's cascade writes as the table's owner, on behalf of whoever changed the other table. So
            -- where no function calls, which may be the owner's (SECURITY DEFINER), or where such a key may be what
            -- changed the row, the session's role has to be entitled, too. A key that sets NULL sets nothing else.
            GET DIAGNOSTICS stack = PG_CONTEXT;
            IF strpos(stack, chr(10)) = 0 OR EXISTS (
                SELECT FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
                WHERE conrelid = TG_RELID AND contype = 'f' AND TG_OP = 'UPDATE'
                    AND (confupdtype IN ('c', 'd') OR confdeltype = 'd'
                        OR 'n' IN (confupdtype, confdeltype) AND to_jsonb(NEW) -> attname = 'null')
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


def guard_identity() -> None:
    # Whoever puts their own sub on somebody else's row becomes them. NULL is free: an account that is deleted leaves
    # its row (ON DELETE SET NULL), whichever role deletes it.
    execute("""
        DO $$
        BEGIN
            IF chatbot_private.identity_column() <> 'id' THEN
                EXECUTE format('CREATE OR REPLACE TRIGGER users_guard_identity AFTER UPDATE ON public.users
                    FOR EACH ROW WHEN (NEW.%1$I IS NOT NULL AND OLD.%1$I IS DISTINCT FROM NEW.%1$I)
                    EXECUTE FUNCTION chatbot_private.require_table_owner(%1$L)', chatbot_private.identity_column());
            END IF;
        END
        $$
    """)


def fill_settings() -> None:
    # Five hundred chatbots a transaction. The trigger that sets updated_at is off meanwhile, and its lock keeps other
    # writers away for milliseconds: a chatbot that nobody edits keeps its time.
    execute(f"""
        DO $$
        DECLARE
            touch name;
            filled bigint := 1;
        BEGIN
            IF NOT ({TO_TAKE_OVER}) THEN
                RETURN;
            END IF;
            SELECT tgname INTO touch FROM ({THEIR_TOUCH_TRIGGERS}) AS found;
            WHILE filled > 0 LOOP
                IF touch IS NOT NULL THEN
                    EXECUTE format('ALTER TABLE public.chatbots DISABLE TRIGGER %I', touch);
                END IF;
                UPDATE public.chatbots SET settings = '{{}}'
                WHERE id = ANY (ARRAY(SELECT id FROM public.chatbots WHERE settings IS NULL LIMIT 500));
                GET DIAGNOSTICS filled = ROW_COUNT;
                IF touch IS NOT NULL THEN
                    EXECUTE format('ALTER TABLE public.chatbots ENABLE TRIGGER %I', touch);
                END IF;
                COMMIT;
            END LOOP;
        END
        $$
    """)


def make_room() -> None:
    # In one transaction with what takes its place. The strongest lock comes first: a run that goes on here after an
    # interruption would otherwise begin with a weaker one, and a service that has read chatbots and writes them would
    # meet it in a deadlock.
    when("to_regclass('public.chatbots') IS NOT NULL", "LOCK TABLE public.chatbots IN ACCESS EXCLUSIVE MODE")
    record(
        "007",
        f"""
        SELECT concat(format('DROP POLICY IF EXISTS %I ON public.chatbots', name),
            '; ALTER POLICY ' || quote_ident(polname || ' (before 008)') || ' ON public.chatbots RENAME TO '
                || quote_ident(polname))
        FROM unnest(ARRAY[{", ".join(f"'{name}'" for name in POLICIES)}]) AS name
        LEFT JOIN pg_policy ON polrelid = to_regclass('public.chatbots') AND polname = name
        WHERE {TO_TAKE_OVER}
        """,
        f"""
        SELECT concat('DROP TRIGGER IF EXISTS chatbots_touch_updated_at ON public.chatbots', '; ' || definitions)
        FROM (SELECT string_agg(pg_get_triggerdef(oid), '; ') FROM ({THEIR_TOUCH_TRIGGERS}) AS found) AS all_of_them
            (definitions)
        WHERE {TO_TAKE_OVER}
        """,
        *(
            f"SELECT 'DROP TRIGGER IF EXISTS {name} ON public.chatbots' WHERE {TO_TAKE_OVER}"
            for name in BOUNDING_TRIGGERS
        ),
        # Rows may contradict it by then: a creator is deleted, and the chatbot stays.
        f"""
        SELECT 'DO $not_null$
            BEGIN
                IF NOT EXISTS (SELECT FROM public.chatbots WHERE created_by IS NULL) THEN
                    ALTER TABLE public.chatbots ALTER COLUMN created_by SET NOT NULL;
                END IF;
            END
            $not_null$'
        FROM pg_attribute
        WHERE attrelid = to_regclass('public.chatbots') AND attname = 'created_by' AND attnotnull AND {TO_TAKE_OVER}
        """,
        f"""
        SELECT format('ALTER TABLE public.chatbots ALTER COLUMN %I DROP NOT NULL', attname)
        FROM pg_attribute
        WHERE attrelid = to_regclass('public.chatbots') AND attname IN {NEVER_NULL} AND NOT attnotnull
            AND {TO_TAKE_OVER}
        """,
        f"""
        SELECT format('ALTER TABLE public.chatbots ALTER COLUMN settings %s',
            coalesce('SET DEFAULT ' || pg_get_expr(adbin, adrelid), 'DROP DEFAULT'))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = to_regclass('public.chatbots') AND attname = 'settings' AND {TO_TAKE_OVER}
        """,
        f"""
        SELECT format('ALTER TABLE public.chatbots ALTER COLUMN %I SET STATISTICS %s', attname,
            coalesce(attstattarget, -1))
        FROM pg_attribute
        WHERE attrelid = to_regclass('public.chatbots') AND {TO_TAKE_OVER} AND attname IN {WRITTEN_BY_TENANTS}
        """,
        f"""
        SELECT format('COMMENT ON TABLE public.chatbots IS %L', obj_description(oid, 'pg_class'))
        FROM pg_class WHERE oid = to_regclass('public.chatbots') AND {TO_TAKE_OVER}
        """,
        f"""
        SELECT format('COMMENT ON COLUMN public.chatbots.%I IS %L', attname, col_description(attrelid, attnum))
        FROM pg_attribute
        WHERE attrelid = to_regclass('public.chatbots') AND attname IN {tuple(COMMENTS)} AND {TO_TAKE_OVER}
        """,
    )
    park_indexes("007", "chatbots", INDEXES, TO_TAKE_OVER)
    for name in (*CHECKS, "chatbots_tenant_id_fkey", "chatbots_created_by_fkey"):
        park_constraint("007", "chatbots", name, TO_TAKE_OVER)
    execute(f"""
        DO $$
        DECLARE
            its record;
        BEGIN
            IF {TO_TAKE_OVER} THEN
                FOR its IN
                    SELECT polname FROM pg_policy
                    WHERE polrelid = 'public.chatbots'::regclass AND polname IN {POLICIES}
                LOOP
                    EXECUTE format('ALTER POLICY %I ON public.chatbots RENAME TO %I', its.polname,
                        its.polname || ' (before 008)');
                END LOOP;
                FOR its IN {THEIR_TOUCH_TRIGGERS} LOOP
                    EXECUTE format('DROP TRIGGER %I ON public.chatbots', its.tgname);
                END LOOP;
                ALTER TABLE public.chatbots ALTER COLUMN created_by DROP NOT NULL,
                    ALTER COLUMN settings SET DEFAULT '{{}}';
            END IF;
        END
        $$
    """)
    record("007", *(f"SELECT '{drop_constraint(name)}' WHERE {TO_TAKE_OVER}" for name in CHECKS))
    for name, condition in CHECKS.items():
        add_check(name, condition)
    for column in NEVER_NULL:
        add_check(f"chatbots_{column}_is_there", f"{column} IS NOT NULL")


def drop_constraint(name: str) -> str:
    return f"ALTER TABLE public.chatbots DROP CONSTRAINT IF EXISTS {name}"


def add_check(name: str, condition: str) -> None:
    when(
        TO_TAKE_OVER,
        f"ALTER TABLE public.chatbots ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID",
    )


def finish_taking_over() -> None:
    for name in (*CHECKS, *(f"chatbots_{column}_is_there" for column in NEVER_NULL)):
        when(
            "EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'public.chatbots'::regclass"
            f" AND conname = '{name}' AND NOT convalidated)",
            f"ALTER TABLE public.chatbots VALIDATE CONSTRAINT {name}",
        )
    # The validated CHECKs spare a scan under the strong lock.
    when_taken_over(
        "chatbots",
        *(f"ALTER TABLE public.chatbots ALTER COLUMN {column} SET NOT NULL" for column in NEVER_NULL),
        *(drop_constraint(f"chatbots_{column}_is_there") for column in NEVER_NULL),
    )
    replace_foreign_keys("007 keys", "chatbots", "tenant_id", "chatbots_tenant_id_fkey")
    replace_foreign_keys("007 keys", "chatbots", "created_by", "chatbots_created_by_fkey")


def create_bounds() -> None:
    # The letters that show nothing are those of Unicode: white space, controls, marks of direction, joiners, variation
    # selectors, fillers. In the collation "C" the list means the same on each server.
    op.execute(r"""
        CREATE OR REPLACE FUNCTION chatbot_private.looks_empty(given text) RETURNS boolean
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
        SET standard_conforming_strings = on
        AS $$
        BEGIN
            IF current_setting('server_encoding') <> 'UTF8' THEN
                RETURN given COLLATE "C" !~ '[^[:space:][:cntrl:]]';
            END IF;
            RETURN given COLLATE "C" !~ ('[^[:space:][:cntrl:]\u0080-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680'
                '\u17B4\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0'
                '\uFFF0-\uFFFB\U0001D159\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]');
        END
        $$
    """)
    # It judges what is changed, so that what is too large from before can be published, moved and deleted.
    texts = "".join(
        f"""
                WHEN NEW.{column} IS DISTINCT FROM OLD.{column} AND char_length(NEW.{column}) > {limit}
                    THEN format('{column} has %s characters, and may have {limit}', char_length(NEW.{column}))"""
        for column, limit in LIMITS.items()
    )
    blanks = "".join(
        f"""
                WHEN NEW.{column} IS DISTINCT FROM OLD.{column} AND chatbot_private.looks_empty(NEW.{column})
                    THEN '{column} has no letter that can be seen'"""
        for column in ("name", "system_prompt", "model")
    )
    op.execute(f"""
        CREATE OR REPLACE FUNCTION chatbot_private.require_bounds() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            settings jsonb := CASE WHEN record_image_ne(ROW(NEW.settings), ROW(OLD.settings)) THEN NEW.settings END;
            fault text := CASE{texts}{blanks}
                WHEN octet_length(settings::text) > {SETTINGS_BYTES}
                    THEN format('settings have %s bytes, and may have {SETTINGS_BYTES}', octet_length(settings::text))
                WHEN jsonb_path_exists(settings, 'strict $.**{{{SETTINGS_DEPTH + 1}}}')
                    THEN 'settings are nested more than {SETTINGS_DEPTH} deep'
            END;
        BEGIN
            IF fault IS NOT NULL THEN
                RAISE EXCEPTION '%', fault USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
        $$
    """)
    for function, comment in {
        "looks_empty(text)": "Whether a text has no letter that can be seen",
        "require_bounds()": "Trigger: refuses texts and settings that are too large, or that look empty",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{function} IS '{comment}'")
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{function} FROM PUBLIC, anon, authenticated, service_role
        """)


def bound_chatbots() -> None:
    # Before all other triggers of ours, and, as a later BEFORE trigger may write others, after them, before the log.
    for name, (moment, event) in BOUNDING_TRIGGERS.items():
        changed = " OR ".join(
            f"record_image_ne(ROW(OLD.{column}), ROW(NEW.{column}))"
            if column == "settings"
            else f"OLD.{column} IS DISTINCT FROM NEW.{column}"
            for column in ("name", "description", "system_prompt", "model", "settings")
        )
        when_changed = f"WHEN ({changed})" if event == "UPDATE" else ""
        op.execute(f"""
            CREATE OR REPLACE TRIGGER {name} {moment} {event} ON public.chatbots
            FOR EACH ROW {when_changed}
            EXECUTE FUNCTION chatbot_private.require_bounds()
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
    # No statistics of these: the planner estimates over all tenants' rows, and shows it to any of them.
    without = ", ".join(f"ALTER COLUMN {column} SET STATISTICS 0" for column in WRITTEN_BY_TENANTS)
    op.execute(f"ALTER TABLE public.chatbots {without}")
    op.execute("COMMENT ON TABLE public.chatbots IS 'AI agents that a tenant''s admins configure and publish'")
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN public.chatbots.{column} IS '{comment}'")
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


def create_indexes() -> None:
    for name in INDEXES:
        drop_index_if_invalid(name)
    op.execute("SET lock_timeout = 0")  # what CONCURRENTLY waits for, it does not block
    # Unique, because conversations' foreign key references both columns: a link never leaves its tenant.
    op.execute("""
        CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_tenant_id ON public.chatbots (tenant_id, id)
    """)
    # A creator's, newest first. Row security asks for the tenant as well: the index answers that, too.
    op.execute("""
        CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_created_by
        ON public.chatbots (created_by, created_at, tenant_id) WHERE created_by IS NOT NULL
    """)
    # The anonymous listing: newest of all tenants.
    op.execute("""
        CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_is_published
        ON public.chatbots (created_at) WHERE is_published
    """)
    # A member's listing: their tenant's published ones by name; of id and name alone, without a look at the table.
    op.execute("""
        CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_tenant_published
        ON public.chatbots (tenant_id, is_published, name) INCLUDE (id)
    """)
    op.execute("""
        CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_created_at ON public.chatbots (tenant_id, created_at)
    """)
    # For prefixes: name ^@ 'Sup', or, which plans without the value serve as well, a range in collation "C". LIKE is
    # not leakproof, so under row security no index serves it.
    op.execute("""
        CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_name ON public.chatbots (tenant_id, name COLLATE "C")
    """)
    op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")


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
    # Where chatbots are taken over, their policies hold beside these until 008 swaps all of them with the grants.
    unless_taken_over("chatbots", "ALTER TABLE public.chatbots ENABLE ROW LEVEL SECURITY")
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
    unless_taken_over(
        "chatbots",
        close_table("public.chatbots"),
        "GRANT SELECT (id, tenant_id, name, description, model, is_published, created_at, updated_at)"
        " ON TABLE public.chatbots TO anon",
        "GRANT SELECT ON TABLE public.chatbots TO authenticated",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.chatbots TO service_role",
    )
    # The view is automatically updatable, so it is closed to writing like a table.
    op.execute(close_table("public.published_chatbots"))
    op.execute("GRANT SELECT ON TABLE public.published_chatbots TO anon, authenticated, service_role")


def close_table(name: str) -> str:
    # Also to those to whom default privileges opened it.
    return f"""
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
    """


def add_foreign_keys() -> None:
    # One a transaction: each locks the table that it references.
    for column, references in {
        "tenant_id": "public.tenants (id) ON DELETE CASCADE",
        "created_by": "public.users (id) ON DELETE SET NULL",
    }.items():
        op.execute(f"""
            DO $$
            BEGIN
                IF NOT EXISTS (
                    SELECT FROM pg_constraint
                    WHERE conrelid = 'public.chatbots'::regclass AND conname = 'chatbots_{column}_fkey'
                ) THEN
                    ALTER TABLE public.chatbots ADD CONSTRAINT chatbots_{column}_fkey
                        FOREIGN KEY ({column}) REFERENCES {references} NOT VALID;
                END IF;
            END
            $$
        """)
        op.execute(f"ALTER TABLE public.chatbots VALIDATE CONSTRAINT chatbots_{column}_fkey")


# Chatbots that are not the guide's, and what bears the names that this revision needs, unless an interrupted run of it
# made them.
OBSTACLES = sql(__file__, "007_obstacles")

# Rows of chatbots that are taken over which ours do not admit, with the SQL that shows them.
ROW_OBSTACLES = sql(__file__, "007_row_obstacles", are_theirs=ARE_THEIRS)

# What of their statements will stop working where chatbots are taken over.
WARNINGS = sql(__file__, "007_warnings", are_theirs=ARE_THEIRS)

LOSSES = f"""
    SELECT format('%s chatbot%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM public.chatbots
    WHERE NOT {is_taken_over("chatbots")} HAVING count(*) > 0
    UNION ALL
    SELECT format('NOT NULL of chatbots.created_by, as %s no creator by now',
        CASE count(*) WHEN 1 THEN '1 chatbot has' ELSE count(*) || ' chatbots have' END)
    FROM public.chatbots
    WHERE created_by IS NULL AND EXISTS (
        SELECT FROM chatbot_private.replaced WHERE part = '007' AND statement ~ 'COLUMN created_by SET NOT NULL'
    )
    HAVING count(*) > 0
"""

# What of the platform's own needs what a downgrade drops. Chatbots that were taken over stay.
DEPENDENTS = r"""
    SELECT DISTINCT pg_describe_object(classid, objid, 0), 'drop or change it first: it needs chatbots'
    FROM pg_depend
    WHERE refclassid = 'pg_class'::regclass
        AND (refobjid = to_regclass('public.published_chatbots') OR refobjid = to_regclass('public.chatbots')
            AND NOT EXISTS (
                SELECT FROM pg_proc
                WHERE oid = to_regprocedure('chatbot_private.taken_over()') AND prosrc ~ '\mchatbots\M'
            ))
        AND deptype = 'n'
        AND NOT (classid = 'pg_rewrite'::regclass AND objid IN (
            SELECT oid FROM pg_rewrite WHERE ev_class = to_regclass('public.published_chatbots')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint
            WHERE conrelid = to_regclass('public.chatbots') OR (conrelid, conname) IN (
                (to_regclass('public.conversations'), 'conversations_tenant_id_chatbot_id_fkey'),
                (to_regclass('public.chatbot_versions'), 'chatbot_versions_tenant_id_chatbot_id_fkey'),
                (to_regclass('public.chatbot_tags'), 'chatbot_tags_tenant_id_chatbot_id_fkey')
            )
        ))
        AND NOT (classid = 'pg_policy'::regclass AND objid IN (
            SELECT oid FROM pg_policy WHERE polrelid = to_regclass('public.chatbots')
        ))
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT oid FROM pg_trigger WHERE tgrelid = to_regclass('public.chatbots')
        ))
"""

"""Add categories and tags of chatbots, to find them by: by one of several tags, by all of them, by category.

What: chatbots.category and chatbots.tags, trimmed and without repetition by a trigger; the table chatbot_tags, a row
for each tag of each chatbot, which triggers write: row security lets no operator of arrays near an index, but a row's
equality; an index by category; both columns in the view published_chatbots. A change of either is a save:
chatbots.lock_version and updated_at move.
Locks: ACCESS EXCLUSIVE on chatbots (columns with constant defaults: no rewrite; checks NOT VALID; triggers, foreign
key), then ACCESS EXCLUSIVE on the view published_chatbots, each in a transaction of its own that lasts milliseconds.
Then, blocking neither reads nor writes, a scan of chatbots for the checks and an index built CONCURRENTLY.
Downgrade: loses categories and tags. ACCESS EXCLUSIVE on published_chatbots, then on chatbots, milliseconds each.
"""

from alembic import op

from app.migration.takeover import RENAME_COLUMN, RENAME_RELATION, RENAME_TYPE

revision = "014"
down_revision = "013"
branch_labels = None
depends_on = None

PUBLIC = "id, tenant_id, name, description, model, is_published, created_at, updated_at"  # of 007's view
GIVEN_TAGS, GIVEN_LENGTH = 100, 200  # as clients may give them, before what is blank or repeated is left out
ASCII_SPACES = "' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13)"
SPACES = (0x85, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)
LABEL = r"{0} ~ '^\S(.*\S)?$' AND char_length({0}) <= 50"  # trimmed, and not blank


def upgrade() -> None:
    create_tags()
    secure_tags()
    create_trigger_functions()
    number_version("category", "tags")
    add_labels()
    with op.get_context().autocommit_block():
        op.execute(f"""
            CREATE OR REPLACE VIEW public.published_chatbots WITH (security_invoker = true) AS
            SELECT {PUBLIC}, category, tags FROM public.chatbots WHERE is_published
        """)
        op.execute("ALTER TABLE public.chatbots VALIDATE CONSTRAINT chatbots_category_check")
        op.execute("ALTER TABLE public.chatbots VALIDATE CONSTRAINT chatbots_tags_check")
        drop_index_if_invalid("idx_chatbots_category")
        op.execute("SET lock_timeout = 0")  # what CONCURRENTLY waits for, it does not block
        # A tenant's of one category by name; of id and name alone, without a look at the table.
        op.execute("""
            CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chatbots_category
            ON public.chatbots (tenant_id, category, name) INCLUDE (id, is_published) WHERE category IS NOT NULL
        """)
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.idx_chatbots_category")
        op.execute("SELECT set_config('lock_timeout', current_setting('chatbots.lock_timeout', true), false)")
    restore_view()
    with op.get_context().autocommit_block():
        pass  # the view, then the table
    op.execute("DROP TRIGGER IF EXISTS chatbots_keep_tags_update ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_keep_tags_insert ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_normalise_labels_update ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_normalise_labels_insert ON public.chatbots")
    op.execute("DROP TABLE IF EXISTS public.chatbot_tags")
    touch_updated_at()
    number_version()
    op.execute("ALTER TABLE public.chatbots DROP COLUMN IF EXISTS tags, DROP COLUMN IF EXISTS category")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.keep_tags()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.normalise_labels()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.normal_label(text)")


def create_tags() -> None:
    # Whether the chatbot is published stands here as well, so that row security of a tag asks for nothing but its row;
    # and its name, so that a list of those with a tag does.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS public.chatbot_tags (
            tenant_id uuid NOT NULL,
            chatbot_id uuid NOT NULL,
            tag text NOT NULL CHECK ({LABEL.format("tag")}),
            name varchar(255) NOT NULL,
            is_published boolean NOT NULL,
            PRIMARY KEY (tenant_id, chatbot_id, tag)
        )
    """)
    op.execute("""
        ALTER TABLE public.chatbot_tags ALTER COLUMN tag SET STATISTICS 0, ALTER COLUMN name SET STATISTICS 0
    """)
    # The filter, and the list by name: all that either asks for, without a look at the table.
    op.execute("""
        CREATE INDEX IF NOT EXISTS idx_chatbot_tags_tag ON public.chatbot_tags (tenant_id, tag, name)
        INCLUDE (chatbot_id, is_published)
    """)
    op.execute("COMMENT ON TABLE public.chatbot_tags IS 'Each tag of each chatbot, to find it by; written by triggers'")
    op.execute("COMMENT ON COLUMN public.chatbot_tags.name IS 'The chatbot''s'")
    op.execute("COMMENT ON COLUMN public.chatbot_tags.is_published IS 'Whether the chatbot is'")
    # IF NOT EXISTS takes what is there, also what was planted since the run began. Its owner stays.
    op.execute("""
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM pg_class WHERE oid = 'public.chatbot_tags'::regclass AND relowner <> current_user::regrole
            ) THEN
                RAISE EXCEPTION 'Somebody else has made chatbot_tags meanwhile' USING
                    ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'rename or drop it, and run the same command again';
            END IF;
        END
        $$
    """)


def secure_tags() -> None:
    op.execute("ALTER TABLE public.chatbot_tags ENABLE ROW LEVEL SECURITY")
    # Whoever sees a chatbot sees its tags, in the words of the chatbots' own policies.
    op.execute("""
        DROP POLICY IF EXISTS "Users can view tags of published chatbots and admins all" ON public.chatbot_tags
    """)
    op.execute("""
        CREATE POLICY "Users can view tags of published chatbots and admins all" ON public.chatbot_tags
        FOR SELECT TO authenticated
        USING (
            tenant_id = (SELECT chatbot_private.tenant_id())
            AND (is_published OR (SELECT chatbot_private.is_admin()))
        )
    """)
    op.execute('DROP POLICY IF EXISTS "Demo user can view tags of published chatbots" ON public.chatbot_tags')
    op.execute("""
        CREATE POLICY "Demo user can view tags of published chatbots" ON public.chatbot_tags
        FOR SELECT TO anon
        USING (is_published AND NOT (SELECT pg_has_role('authenticated', 'USAGE')))
    """)
    # Nothing but SELECT, service included: a chatbot's tags are changed in chatbots.
    close_table("public.chatbot_tags")
    op.execute("GRANT SELECT ON TABLE public.chatbot_tags TO anon, authenticated, service_role")


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


def create_trigger_functions() -> None:
    # A tag that is blank is none, and of two that are the same the first counts. Case is kept, and tells tags apart;
    # how a letter with an accent is put together does not. What is no label is refused before it is walked.
    op.execute(f"""
        CREATE OR REPLACE FUNCTION chatbot_private.normalise_labels() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            fault text := CASE
                WHEN char_length(NEW.category) > {GIVEN_LENGTH}
                    THEN format('category has %s characters, and may have 50', char_length(NEW.category))
                WHEN cardinality(NEW.tags) > {GIVEN_TAGS}
                    THEN format('tags are %s, and may be 20', cardinality(NEW.tags))
                WHEN char_length(array_to_string(NEW.tags, '')) > {GIVEN_TAGS * GIVEN_LENGTH}
                    THEN 'tags may have 50 characters each'
            END;
            label text;
        BEGIN
            IF fault IS NULL THEN
                FOREACH label IN ARRAY NEW.category || NEW.tags LOOP
                    IF btrim(label, {ASCII_SPACES}) <> '' AND chatbot_private.looks_empty(label) THEN
                        fault := format('a category or tag has no letter that can be seen: %s', to_json(label));
                    END IF;
                END LOOP;
                NEW.category := nullif(chatbot_private.normal_label(NEW.category), '');
                NEW.tags := CASE WHEN NEW.tags IS NOT NULL THEN ARRAY(
                    SELECT tag
                    FROM unnest(NEW.tags) WITH ORDINALITY AS its (given, place), chatbot_private.normal_label(given)
                        AS tag
                    WHERE tag <> '' GROUP BY tag ORDER BY min(place)
                ) END;
                fault := CASE
                    WHEN fault IS NOT NULL THEN fault
                    WHEN char_length(NEW.category) > 50
                        THEN format('category has %s characters, and may have 50', char_length(NEW.category))
                    WHEN cardinality(NEW.tags) > 20 THEN format('tags are %s, and may be 20', cardinality(NEW.tags))
                    WHEN EXISTS (SELECT FROM unnest(NEW.tags) AS tag WHERE char_length(tag) > 50)
                        THEN 'tags may have 50 characters each'
                END;
            END IF;
            IF fault IS NOT NULL THEN
                RAISE EXCEPTION '%', fault USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
        $$
    """)
    # In Unicode's form C, where the server knows it, without white space around it.
    spaces = " || ".join(f"chr({letter})" for letter in SPACES)
    op.execute(f"""
        CREATE OR REPLACE FUNCTION chatbot_private.normal_label(given text) RETURNS text
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            IF current_setting('server_encoding') = 'UTF8' THEN
                RETURN btrim(normalize(given, NFC), {ASCII_SPACES} || {spaces});
            END IF;
            RETURN btrim(given, {ASCII_SPACES});
        END
        $$
    """)
    # It writes as the owner, whoever changes the chatbot. A chatbot that moves has taken its tags along before.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.keep_tags() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                DELETE FROM public.chatbot_tags
                WHERE tenant_id = NEW.tenant_id AND chatbot_id = NEW.id AND tag <> ALL (NEW.tags);
            END IF;
            INSERT INTO public.chatbot_tags AS its (tenant_id, chatbot_id, tag, name, is_published)
            SELECT NEW.tenant_id, NEW.id, tag, NEW.name, NEW.is_published FROM unnest(NEW.tags) AS tag
            ON CONFLICT (tenant_id, chatbot_id, tag)
            DO UPDATE SET name = EXCLUDED.name, is_published = EXCLUDED.is_published
            WHERE its.name <> EXCLUDED.name OR its.is_published <> EXCLUDED.is_published;
            RETURN NULL;
        END
        $$
    """)
    for function, comment in {
        "normal_label(text)": "A category or tag in the spelling that is kept: trimmed, and in Unicode''s form C",
        "normalise_labels()": "Trigger: trims category and tags, and leaves out what is blank or repeated",
        "keep_tags()": "Trigger: keeps a row for each tag of a chatbot",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{function} IS '{comment}'")
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{function} FROM PUBLIC, anon, authenticated, service_role
        """)


def number_version(*labels: str) -> None:
    # The function of 013; a change of a label is a save, and no configuration.
    more = "".join(f"\n                OR OLD.{label} IS DISTINCT FROM NEW.{label}" for label in labels)
    op.execute(f"""
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
                OR OLD.is_published IS DISTINCT FROM NEW.is_published{more}
            THEN
                NEW.lock_version := next;
            END IF;
            RETURN NEW;
        END
        $$
    """)


def touch_updated_at(*labels: str) -> None:
    # The trigger of 007.
    more = "".join(f" OR OLD.{label} IS DISTINCT FROM NEW.{label}" for label in labels)
    op.execute(f"""
        CREATE OR REPLACE TRIGGER chatbots_touch_updated_at BEFORE UPDATE ON public.chatbots
        FOR EACH ROW WHEN (
            OLD.name IS DISTINCT FROM NEW.name OR OLD.description IS DISTINCT FROM NEW.description
            OR OLD.system_prompt IS DISTINCT FROM NEW.system_prompt OR OLD.model IS DISTINCT FROM NEW.model
            OR OLD.temperature IS DISTINCT FROM NEW.temperature OR OLD.max_tokens IS DISTINCT FROM NEW.max_tokens
            OR OLD.settings IS DISTINCT FROM NEW.settings OR OLD.is_published IS DISTINCT FROM NEW.is_published{more}
        )
        EXECUTE FUNCTION chatbot_private.touch_updated_at()
    """)


def add_labels() -> None:
    op.execute("""
        ALTER TABLE public.chatbots ADD COLUMN IF NOT EXISTS category text,
            ADD COLUMN IF NOT EXISTS tags text[] NOT NULL DEFAULT '{}'
    """)
    # Of what tenants write, no statistics: the planner's estimates would tell others.
    op.execute("""
        ALTER TABLE public.chatbots ALTER COLUMN category SET STATISTICS 0, ALTER COLUMN tags SET STATISTICS 0
    """)
    op.execute("""
        COMMENT ON COLUMN public.chatbots.category IS 'What it is for, to find it by: at most 50 characters, trimmed'
    """)
    op.execute("""
        COMMENT ON COLUMN public.chatbots.tags IS
            'To find it by: at most 20 of at most 50 characters, trimmed, none twice; searched in chatbot_tags'
    """)
    # NOT VALID, then validated: checking the rows at once would hold the strong lock for as long as it takes.
    for name, condition in {
        "chatbots_category_check": LABEL.format("category"),
        "chatbots_tags_check": "cardinality(tags) <= 20",
    }.items():
        op.execute(f"""
            DO $$
            BEGIN
                IF NOT EXISTS (
                    SELECT FROM pg_constraint WHERE conrelid = 'public.chatbots'::regclass AND conname = '{name}'
                ) THEN
                    ALTER TABLE public.chatbots ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID;
                END IF;
            END
            $$
        """)
    # With its tenant, as the key of every table that more than one machine would hold. Whoever moves a chatbot to
    # another tenant moves its tags along.
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'public.chatbot_tags'::regclass AND conname = 'chatbot_tags_tenant_id_chatbot_id_fkey'
            ) THEN
                ALTER TABLE public.chatbot_tags ADD CONSTRAINT chatbot_tags_tenant_id_chatbot_id_fkey
                    FOREIGN KEY (tenant_id, chatbot_id) REFERENCES public.chatbots (tenant_id, id)
                    ON UPDATE CASCADE ON DELETE CASCADE;
            END IF;
        END
        $$
    """)
    # Its name sorts before those of the triggers that look whether anything was changed.
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_normalise_labels_insert BEFORE INSERT ON public.chatbots
        FOR EACH ROW WHEN (NEW.category IS NOT NULL OR NEW.tags <> '{}')
        EXECUTE FUNCTION chatbot_private.normalise_labels()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_normalise_labels_update BEFORE UPDATE ON public.chatbots
        FOR EACH ROW WHEN (OLD.category IS DISTINCT FROM NEW.category OR OLD.tags IS DISTINCT FROM NEW.tags)
        EXECUTE FUNCTION chatbot_private.normalise_labels()
    """)
    touch_updated_at("category", "tags")
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_keep_tags_insert AFTER INSERT ON public.chatbots
        FOR EACH ROW WHEN (NEW.tags <> '{}')
        EXECUTE FUNCTION chatbot_private.keep_tags()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_keep_tags_update AFTER UPDATE ON public.chatbots
        FOR EACH ROW WHEN (
            OLD.tags IS DISTINCT FROM NEW.tags OR NEW.tags <> '{}' AND (
                OLD.name IS DISTINCT FROM NEW.name OR OLD.is_published IS DISTINCT FROM NEW.is_published
            )
        )
        EXECUTE FUNCTION chatbot_private.keep_tags()
    """)
    op.execute("GRANT SELECT (category, tags) ON TABLE public.chatbots TO anon")
    op.execute("GRANT INSERT (category, tags), UPDATE (category, tags) ON TABLE public.chatbots TO authenticated")


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


def restore_view() -> None:
    # As 007 made it: columns leave a view only with the view.
    op.execute(f"""
        DO $$
        BEGIN
            IF EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = 'public.published_chatbots'::regclass AND attname = 'category'
            ) THEN
                DROP VIEW public.published_chatbots;
                CREATE VIEW public.published_chatbots WITH (security_invoker = true) AS
                SELECT {PUBLIC} FROM public.chatbots WHERE is_published;
                COMMENT ON VIEW public.published_chatbots IS
                    'What anyone may see of the published chatbots they may see';
            END IF;
        END
        $$
    """)
    close_table("public.published_chatbots")
    op.execute("GRANT SELECT ON TABLE public.published_chatbots TO anon, authenticated, service_role")


# What bears the names that this revision needs, unless an interrupted run of it made them, together with our trigger:
# what comes before that is made in one transaction, and belongs to us.
OBSTACLES = f"""
    WITH ours AS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.chatbots') AND tgname = 'chatbots_keep_tags_update'
            AND tgfoid = to_regproc('chatbot_private.keep_tags')
    )
    SELECT format('%s exists already', relname), {RENAME_RELATION}
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public')
        AND relname IN ('chatbot_tags', 'chatbot_tags_pkey', 'idx_chatbot_tags_tag', 'idx_chatbots_category')
        AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Type %s exists already', typname), {RENAME_TYPE}
    FROM pg_type WHERE typnamespace = to_regnamespace('public') AND typname = 'chatbot_tags' AND typrelid = 0
    UNION ALL
    SELECT format('%s has a column %s of its own', attrelid::regclass, attname), {RENAME_COLUMN}
    FROM pg_attribute
    WHERE attrelid IN (to_regclass('public.chatbots'), to_regclass('public.published_chatbots'))
        AND attname IN ('category', 'tags') AND NOT attisdropped AND NOT EXISTS (TABLE ours)
    UNION ALL
    SELECT format('Constraint %s of chatbots exists already', conname),
        format('ALTER TABLE public.chatbots RENAME CONSTRAINT %I TO %I', conname, conname || '_before')
    FROM pg_constraint
    WHERE conrelid = to_regclass('public.chatbots') AND conname IN ('chatbots_category_check', 'chatbots_tags_check')
        AND NOT EXISTS (TABLE ours)
"""

LOSSES = """
    SELECT format('the category of %s chatbot%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END)
    FROM public.chatbots WHERE category IS NOT NULL HAVING count(*) > 0
    UNION ALL
    SELECT format('the tags of %s chatbot%s', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END)
    FROM public.chatbots WHERE tags <> '{}' HAVING count(*) > 0
"""

# What unpacks whole rows finds columns more.
WARNINGS = r"""
    SELECT format('Function %s takes whole rows of %s, which get a column: see that it still fits',
        pg_proc.oid::regprocedure, relname)
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    JOIN pg_class ON pg_class.oid IN (to_regclass('public.chatbots'), to_regclass('public.published_chatbots'))
    WHERE nspname !~ '^pg_' AND (
        prorettype = reltype
        OR prosrc ~* '\m(old|new)\.\*' AND EXISTS (
            SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid AND tgrelid = pg_class.oid
        )
    )
"""

# What of the platform's own needs what a downgrade drops: the view, too, which loses its columns by being made anew.
DEPENDENTS = """
    SELECT DISTINCT pg_describe_object(classid, objid, 0), format('drop or change it first: it needs %s', needed)
    FROM pg_depend
    LEFT JOIN pg_attribute ON refclassid = 'pg_class'::regclass AND attrelid = refobjid AND attnum = refobjsubid
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN refclassid <> 'pg_class'::regclass THEN NULL
            WHEN refobjid = to_regclass('public.chatbot_tags') THEN 'chatbot_tags'
            WHEN refobjid = to_regclass('public.published_chatbots') THEN 'published_chatbots'
            WHEN refobjid = to_regclass('public.chatbots') AND attname IN ('category', 'tags')
                THEN 'chatbots.' || attname
        END
    ) AS what (needed)
    WHERE needed IS NOT NULL AND deptype = 'n'
        AND NOT (classid = 'pg_rewrite'::regclass AND objid IN (
            SELECT oid FROM pg_rewrite WHERE ev_class = to_regclass('public.published_chatbots')
        ))
        AND NOT (classid = 'pg_constraint'::regclass AND objid IN (
            SELECT oid FROM pg_constraint
            WHERE conrelid IN (to_regclass('public.chatbot_tags'), to_regclass('public.chatbots'))
        ))
        AND NOT (classid = 'pg_policy'::regclass AND objid IN (
            SELECT oid FROM pg_policy WHERE polrelid = to_regclass('public.chatbot_tags')
        ))
        AND NOT (classid = 'pg_trigger'::regclass AND objid IN (
            SELECT pg_trigger.oid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE pronamespace = to_regnamespace('chatbot_private')
        ))
"""

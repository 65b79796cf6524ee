-- Chatbots that are there already are taken over if they have what the guide's SQL gives them; an interrupted run of
-- this revision left its own. Each reason comes with the statement that mends it.
WITH theirs AS (
    SELECT * FROM pg_class
    WHERE oid = to_regclass('public.chatbots') AND NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.chatbots') AND tgfoid = to_regproc('chatbot_private.touch_updated_at')
    )
), needed (name, types, declaration) AS (
    VALUES
        ('id', '{uuid}', 'uuid PRIMARY KEY DEFAULT gen_random_uuid()'),
        ('tenant_id', '{uuid}', NULL),
        ('created_by', '{uuid}', 'uuid'),
        ('name', '{text,varchar,bpchar}', NULL),
        ('description', '{text,varchar,bpchar}', 'text'),
        ('system_prompt', '{text,varchar,bpchar}', NULL),
        ('model', '{text,varchar,bpchar}', NULL),
        ('temperature', '{float8,float4,numeric}', 'double precision NOT NULL DEFAULT 0.7'),
        ('max_tokens', '{int4,int2}', 'integer'),
        ('settings', '{jsonb}', 'jsonb NOT NULL DEFAULT ''{}'''),
        ('is_published', '{bool}', 'boolean NOT NULL DEFAULT false'),
        ('created_at', '{timestamptz}', 'timestamptz NOT NULL DEFAULT now()'),
        ('updated_at', '{timestamptz}', 'timestamptz NOT NULL DEFAULT now()')
), found AS (
    SELECT needed.*, attnum, attgenerated, format_type(atttypid, atttypmod) AS its_type, typname
    FROM theirs CROSS JOIN needed
    LEFT JOIN pg_attribute ON attrelid = theirs.oid AND attname = needed.name AND NOT attisdropped
    LEFT JOIN pg_type ON pg_type.oid = atttypid
), own_names (kind, name) AS (
    VALUES ('r', 'chatbots_pkey'), ('v', 'published_chatbots'),
        ('i', 'idx_chatbots_tenant_id'), ('i', 'idx_chatbots_created_by'), ('i', 'idx_chatbots_is_published'),
        ('i', 'idx_chatbots_tenant_published'), ('i', 'idx_chatbots_created_at'), ('i', 'idx_chatbots_name')
)
SELECT format('chatbots is there and is %s, so it cannot be taken over', kind),
    'this package makes a table chatbots of another kind: move yours elsewhere together with the application'
FROM (
    SELECT CASE
        WHEN relkind = 'v' THEN 'a view'
        WHEN relkind = 'm' THEN 'a materialized view'
        WHEN relkind = 'f' THEN 'a foreign table'
        WHEN relkind = 'p' THEN 'a partitioned table'
        WHEN relkind <> 'r' THEN 'no table'
        WHEN relispartition THEN 'a partition'
        WHEN EXISTS (SELECT FROM pg_inherits WHERE theirs.oid IN (inhrelid, inhparent)) THEN 'a child or parent'
        WHEN relpersistence <> 'p' THEN 'an unlogged table'
        WHEN reloftype <> 0 THEN 'a typed table'
    END
    FROM theirs
) AS kinds (kind)
WHERE kind IS NOT NULL
UNION ALL
SELECT format('chatbots is there without column %s, so it cannot be taken over', name),
    CASE WHEN declaration IS NULL
        THEN 'this package makes a table chatbots of another kind: move yours elsewhere together with the application'
        ELSE format('ALTER TABLE public.chatbots ADD COLUMN %I %s', name, declaration) END
FROM found WHERE attnum IS NULL AND (SELECT relkind = 'r' FROM theirs)
UNION ALL
SELECT format('chatbots.%s is of type %s', name, its_type),
    CASE
        WHEN depends IS NOT NULL THEN format('give it type %s, together with %s, which use it', wanted, depends)
        WHEN typname = 'timestamp' THEN format('ALTER TABLE public.chatbots ALTER COLUMN %I TYPE timestamptz USING %1$I'
            ' AT TIME ZONE ''UTC''', name)
        ELSE format('ALTER TABLE public.chatbots ALTER COLUMN %I TYPE %s USING %1$I::%2$s', name, wanted)
    END
FROM found CROSS JOIN LATERAL (
    SELECT (types::text[])[1]::regtype, (
        SELECT string_agg(DISTINCT pg_describe_object(classid, objid, 0), ', ') FROM pg_depend
        WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('public.chatbots') AND refobjsubid = attnum
            AND classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass)
    )
) AS conversion (wanted, depends)
WHERE typname <> ALL (types::text[])
UNION ALL
SELECT format('chatbots.%s is generated', name), format('ALTER TABLE public.chatbots ALTER COLUMN %I DROP EXPRESSION', name)
FROM found WHERE attgenerated <> ''
UNION ALL
SELECT 'chatbots.id is not the primary key', 'ALTER TABLE public.chatbots ADD PRIMARY KEY (id)'
FROM found
WHERE name = 'id' AND attnum IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index
    WHERE indrelid = to_regclass('public.chatbots') AND indisprimary AND indimmediate AND indkey::text = attnum::text
)
UNION ALL
SELECT format('chatbots belongs to %s, and you are %s', relowner::regrole, current_user),
    format('connect as %s, or: ALTER TABLE public.chatbots OWNER TO %I', relowner::regrole, current_user)
FROM theirs WHERE relowner <> current_user::regrole
UNION ALL
SELECT 'chatbots has FORCE ROW LEVEL SECURITY, under which the triggers of this package would find no rows',
    'see that no application connects as its owner, then: ALTER TABLE public.chatbots NO FORCE ROW LEVEL SECURITY'
FROM theirs WHERE relforcerowsecurity
UNION ALL
SELECT format('chatbots has a rule %s', rulename), format('DROP RULE %I ON public.chatbots', rulename)
FROM pg_rules WHERE schemaname = 'public' AND tablename = 'chatbots' AND EXISTS (TABLE theirs)
UNION ALL
SELECT format('%s exists already', relname), {rename_relation}
FROM pg_class JOIN own_names ON own_names.name = relname
WHERE relnamespace = to_regnamespace('public')
    -- The index of a key goes with chatbots; plain indexes of theirs are renamed by this revision.
    AND NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = pg_class.oid AND indrelid = to_regclass('public.chatbots'))
    AND NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.chatbots') AND tgfoid = to_regproc('chatbot_private.touch_updated_at')
    )
UNION ALL
SELECT format('Type %s exists already', typname), {rename_type}
FROM pg_type
WHERE typnamespace = to_regnamespace('public') AND typname IN ('chatbots', 'published_chatbots') AND typrelid = 0
UNION ALL
SELECT 'users.tenant_id may be NULL', 'ALTER TABLE public.users ALTER COLUMN tenant_id SET NOT NULL'
FROM pg_attribute
WHERE attrelid = to_regclass('public.users') AND attname = 'tenant_id' AND NOT attnotnull
    AND to_regproc('chatbot_private.is_adopted') IS NOT NULL  -- or 006 says it
UNION ALL
SELECT format('%s.id is not the primary key', relation), format('ALTER TABLE public.%I ADD PRIMARY KEY (id)', relation)
FROM unnest(ARRAY['tenants', 'users']) AS relation
JOIN pg_attribute ON attrelid = to_regclass('public.' || relation) AND attname = 'id'
WHERE to_regproc('chatbot_private.is_adopted') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND indimmediate AND indkey::text = attnum::text
)
UNION ALL
SELECT format('Trigger %s of users exists already', tgname),
    {rename_trigger}
FROM pg_trigger
WHERE tgrelid = to_regclass('public.users') AND tgname IN ('users_guard_membership', 'users_guard_identity')
    AND tgfoid IS DISTINCT FROM to_regproc('chatbot_private.require_table_owner')

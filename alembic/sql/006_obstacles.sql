-- What stands in the way of revision 006, a row each of reason and remedy. One query that only reads, for PostgreSQL 15
-- and newer; it runs whichever tables are there.
--
-- A remedy that begins with a capital letter is SQL to paste, complete, in the order of the rows; the reason before it
-- may say who runs it. Any other remedy is a sentence, because no statement can know what is right. No remedy shows a
-- row to more people, hides one or drops one. So it grants nothing that was not held and adds no foreign key to a table
-- with rows (what a deletion takes along is the platform's to decide). Where views, policies or the like use a column,
-- it names them instead.
WITH RECURSIVE baseline (place, name) AS (
    VALUES (1, 'tenants'), (2, 'users'), (3, 'conversations'), (4, 'messages'), (5, 'feedback')
), adopted AS (
    SELECT place, name, pg_class.* FROM baseline JOIN pg_class ON pg_class.oid = to_regclass('public.' || name)
), needed (place, relation, name, kind, definition) AS (
    -- Each column that the models read. What has no definition is added by revision 006 where it is missing.
    VALUES
        (1, 'tenants', 'id', 'uuid', ''),
        (2, 'tenants', 'name', 'text', 'text NOT NULL DEFAULT '''''),
        (3, 'tenants', 'created_at', 'timestamptz', 'timestamptz NOT NULL DEFAULT now()'),
        (4, 'tenants', 'updated_at', 'timestamptz', NULL),
        (5, 'users', 'id', 'uuid', ''),
        (6, 'users', 'tenant_id', 'uuid', 'uuid'),
        (7, 'users', 'email', 'text', 'text'),
        (8, 'users', 'full_name', 'text', NULL),
        (9, 'users', 'is_active', 'boolean', NULL),
        (10, 'users', 'created_at', 'timestamptz', 'timestamptz NOT NULL DEFAULT now()'),
        (11, 'users', 'updated_at', 'timestamptz', NULL),
        (12, 'conversations', 'id', 'uuid', ''),
        (13, 'conversations', 'user_id', 'uuid', 'uuid'),
        (14, 'conversations', 'tenant_id', 'uuid', 'uuid'),
        (15, 'conversations', 'title', 'text', NULL),
        (16, 'conversations', 'created_at', 'timestamptz', 'timestamptz NOT NULL DEFAULT now()'),
        (17, 'conversations', 'updated_at', 'timestamptz', NULL),
        (18, 'messages', 'id', 'uuid or bigint', ''),
        (19, 'messages', 'conversation_id', 'uuid', 'uuid'),
        (20, 'messages', 'role', 'text', 'text'),
        (21, 'messages', 'content', 'text', 'text NOT NULL DEFAULT '''''),
        (22, 'messages', 'created_at', 'timestamptz', 'timestamptz NOT NULL DEFAULT now()'),
        (23, 'feedback', 'id', 'uuid or bigint', ''),
        (24, 'feedback', 'message_id', 'uuid or bigint', ''),
        (25, 'feedback', 'user_id', 'uuid', 'uuid'),
        (26, 'feedback', 'rating', 'a number', 'integer'),
        (27, 'feedback', 'comment', 'text', 'text'),  -- or notes, which 010 would call it
        (28, 'feedback', 'created_at', 'timestamptz', 'timestamptz NOT NULL DEFAULT now()')
), found AS (
    SELECT needed.place, relation, coalesce(attname, needed.name) AS name, kind, definition, adopted.oid AS table_oid,
        relkind AS table_kind, attnum, attnotnull, attgenerated, format_type(atttypid, atttypmod) AS its_type,
        CASE typtype WHEN 'd' THEN typbasetype ELSE pg_type.oid END AS base_type, typcategory,
        CASE WHEN atthasdef AND attgenerated = '' THEN pg_get_expr(adbin, adrelid) END AS its_default
    FROM needed JOIN adopted ON adopted.name = relation
    LEFT JOIN LATERAL (
        SELECT * FROM pg_attribute
        WHERE attrelid = adopted.oid AND NOT attisdropped
            AND (attname = needed.name OR relation = 'feedback' AND needed.name = 'comment' AND attname = 'notes')
        ORDER BY attname = needed.name DESC LIMIT 1
    ) AS attribute ON true
    LEFT JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
), message_key AS (  -- what feedback refers to
    SELECT CASE WHEN base_type IN ('integer'::regtype, 'bigint'::regtype) THEN 'bigint' ELSE 'uuid' END AS type
    FROM (SELECT) AS one LEFT JOIN found ON relation = 'messages' AND name = 'id'
), unfit AS (  -- those that the models cannot read
    SELECT found.*, CASE
            WHEN relation = 'feedback' AND name = 'message_id' THEN message_key.type
            WHEN kind = 'uuid or bigint' THEN 'uuid'
            WHEN kind = 'a number' THEN CASE typcategory WHEN 'B' THEN 'integer' ELSE 'numeric' END
            ELSE kind
        END AS target
    FROM found, message_key
    WHERE attnum IS NOT NULL AND NOT CASE kind
        WHEN 'uuid' THEN base_type = 'uuid'::regtype
        WHEN 'uuid or bigint' THEN CASE
            WHEN name = 'message_id' AND message_key.type = 'uuid' THEN base_type = 'uuid'::regtype
            WHEN name = 'message_id' THEN base_type IN ('integer'::regtype, 'bigint'::regtype)
            ELSE base_type IN ('uuid'::regtype, 'integer'::regtype, 'bigint'::regtype)
        END
        WHEN 'text' THEN typcategory IN ('S', 'E')
        WHEN 'timestamptz' THEN base_type IN ('timestamptz'::regtype, 'timestamp'::regtype)
        WHEN 'boolean' THEN base_type = 'boolean'::regtype
        ELSE base_type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'numeric'::regtype,
            'real'::regtype, 'double precision'::regtype)
    END
), row_type (name, type, relation) AS (  -- all that holds whole rows of a table which gets a column
    SELECT name, reltype, NULL::oid FROM adopted
    WHERE name IN ('users', 'conversations')
        OR EXISTS (SELECT FROM found WHERE found.table_oid = adopted.oid AND attnum IS NULL)
    UNION
    SELECT row_type.name, next.type, next.relation
    FROM row_type, LATERAL (
        SELECT typarray, NULL::oid FROM pg_type WHERE oid = row_type.type AND typarray <> 0
        UNION ALL
        SELECT oid, NULL FROM pg_type WHERE typtype = 'd' AND typbasetype = row_type.type
        UNION ALL
        SELECT reltype, pg_class.oid FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE atttypid = row_type.type AND NOT attisdropped
    ) AS next (type, relation)
    WHERE row_type.type <> 0
), holder AS (  -- the columns of tables among them
    SELECT DISTINCT row_type.name, attrelid, attnum, attname, relkind, atthasdef
    FROM row_type JOIN pg_class ON pg_class.oid = row_type.relation AND relkind IN ('r', 'p', 'm')
    JOIN pg_attribute ON attrelid = pg_class.oid AND NOT attisdropped AND attinhcount = 0
    JOIN row_type AS held ON held.name = row_type.name AND held.type = atttypid
), key AS (  -- text that should be keys, with the other ends of foreign keys
    SELECT table_oid, attnum, target, its_default FROM unfit WHERE kind LIKE 'uuid%' AND typcategory = 'S'
), link AS (
    SELECT DISTINCT pg_constraint.oid, conname, conrelid, confrelid
    FROM pg_constraint JOIN key
        ON table_oid = conrelid AND attnum = ANY (conkey) OR table_oid = confrelid AND attnum = ANY (confkey)
    WHERE contype = 'f' AND conparentid = 0
), all_keys AS (
    SELECT * FROM key
    UNION
    SELECT far.relation, far.number, key.target, pg_get_expr(adbin, adrelid)
    FROM link JOIN pg_constraint USING (oid), unnest(conkey, confkey) AS pair (child, parent)
    CROSS JOIN LATERAL (
        VALUES (pg_constraint.conrelid, child, pg_constraint.confrelid, parent),
            (pg_constraint.confrelid, parent, pg_constraint.conrelid, child)
    ) AS far (relation, number, near_relation, near_number)
    JOIN key ON key.table_oid = near_relation AND key.attnum = near_number
    LEFT JOIN pg_attrdef ON adrelid = far.relation AND adnum = far.number
    WHERE (far.relation, far.number) NOT IN (SELECT table_oid, attnum FROM key)
), uses AS (  -- what keeps the type of a column from being changed
    SELECT refobjid AS table_oid, refobjsubid AS attnum,
        string_agg(DISTINCT replace(pg_describe_object(classid, objid, objsubid), 'rule _RETURN on ', ''), ', ')
            AS users
    FROM pg_depend
    WHERE refclassid = 'pg_class'::regclass AND (refobjid, refobjsubid) IN (
            SELECT table_oid, attnum FROM unfit
            UNION SELECT table_oid, attnum FROM all_keys
            UNION SELECT attrelid, attnum FROM holder
        )
        AND (
            classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass,
                'pg_publication_rel'::regclass)
            OR classid = 'pg_constraint'::regclass AND objid IN (SELECT oid FROM pg_constraint WHERE contype = 'c')
            OR classid = 'pg_class'::regclass AND (objsubid > 0 OR objid IN (
                SELECT indexrelid FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
            ))
            OR classid = 'pg_attrdef'::regclass AND objid IN (
                SELECT pg_attrdef.oid FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
                WHERE attgenerated <> ''
            )
        )
    GROUP BY 1, 2
), words AS (
    -- Tables that a platform of chats keeps under other names or in other schemas, by the last word of their name,
    -- whether written chat_messages or ChatMessages, with or without a number such as _v2. Left out are the schemas of
    -- PostgreSQL, of Supabase and of this package, what belongs to an extension, and the tables in which Alembic keeps
    -- a revision.
    SELECT nspname, relname,
        (regexp_match(lower(regexp_replace(relname, '([a-z0-9])([A-Z])', '\1_\2', 'g')), '(^|[^a-z0-9])('
            'users?|people|persons?|accounts?|profiles?|members?|memberships?|tenants?|organi[sz]ations?|orgs?|teams?'
            '|workspaces?|chats?|conversations?|threads?|dialogu?e?s?|chat_?sessions?|messages?|feedbacks?'
            ')(_?v?[0-9]+)?$'))[2] AS word
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND NOT relispartition
        AND nspname !~ '^(pg_|_|supabase_)'
        AND nspname NOT IN ('information_schema', 'auth', 'storage', 'realtime', 'vault', 'graphql', 'graphql_public',
            'pgsodium', 'pgsodium_masks', 'cron', 'net', 'extensions', 'pgbouncer', 'chatbot_private', 'chatbot_compat')
        AND pg_class.oid NOT IN (SELECT oid FROM adopted)
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
        AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'version_num' AND relnatts = 1
        )
), seen AS (
    SELECT format('%I.%I', nspname, relname) AS name, CASE
            WHEN word ~ '^(user|people|person|profile|member)' THEN ARRAY['users']
            WHEN word ~ '^account' THEN ARRAY['users', 'tenants']
            WHEN word ~ '^(tenant|org|team|workspace)' THEN ARRAY['tenants']
            WHEN word ~ '^(message|feedback)' THEN ARRAY[CASE WHEN word ~ '^m' THEN 'messages' ELSE 'feedback' END]
            ELSE ARRAY['conversations']
        END AS resembles
    FROM words WHERE word IS NOT NULL
), listed AS (
    SELECT string_agg(name, ', ' ORDER BY name) FILTER (WHERE number <= 10)
        || CASE WHEN count(*) > 10 THEN format(' and %s more', count(*) - 10) ELSE '' END AS names
    FROM (SELECT name, row_number() OVER (ORDER BY name) AS number FROM seen) AS numbered
), counted AS (
    SELECT string_agg(baseline.name, ', ' ORDER BY baseline.place) FILTER (WHERE oid IS NOT NULL) AS have,
        string_agg(baseline.name, ', ' ORDER BY baseline.place) FILTER (WHERE oid IS NULL) AS lack,
        coalesce(array_agg(baseline.name) FILTER (WHERE oid IS NULL), '{}') AS lacking,
        coalesce(current_setting('chatbots.fresh', true), '') = 'yes' AS is_fresh
    FROM baseline LEFT JOIN adopted USING (name)
), referable AS (  -- what a table made now may reference: what is made with it, or has its key already
    SELECT baseline.name FROM baseline LEFT JOIN adopted USING (name)
    WHERE adopted.oid IS NULL OR EXISTS (
        SELECT FROM found JOIN pg_index ON indrelid = table_oid AND indisunique AND indimmediate AND indisvalid
            AND indpred IS NULL AND indexprs IS NULL AND indnkeyatts = 1 AND indkey[0] = attnum
        WHERE relation = baseline.name AND found.name = 'id' AND base_type = 'uuid'::regtype
    )
), made (name, statement) AS (
    SELECT baseline.name, format('CREATE TABLE public.%s (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), %s,'
            ' created_at timestamptz NOT NULL DEFAULT now()%s); ALTER TABLE public.%1$s ENABLE ROW LEVEL SECURITY',
        baseline.name, string_agg(format('%I %s%s', label, type, CASE WHEN parent IN (SELECT name FROM referable)
            THEN format(' REFERENCES public.%s (id) ON DELETE CASCADE', parent) END), ', ' ORDER BY number),
        CASE WHEN baseline.name IN ('tenants', 'users', 'conversations')
            THEN ', updated_at timestamptz NOT NULL DEFAULT now()' END)
    FROM baseline JOIN (
        VALUES ('tenants', 1, 'name', 'text NOT NULL', NULL),
            ('users', 1, 'tenant_id', 'uuid NOT NULL', 'tenants'),
            ('users', 2, 'email', 'text NOT NULL', NULL),
            ('users', 3, 'full_name', 'text', NULL),
            ('users', 4, 'is_active', 'boolean NOT NULL DEFAULT true', NULL),
            ('conversations', 1, 'tenant_id', 'uuid NOT NULL', 'tenants'),
            ('conversations', 2, 'user_id', 'uuid NOT NULL', 'users'),
            ('conversations', 3, 'title', 'text', NULL),
            ('messages', 1, 'conversation_id', 'uuid NOT NULL', 'conversations'),
            ('messages', 2, 'role', 'text NOT NULL', NULL),
            ('messages', 3, 'content', 'text NOT NULL', NULL),
            ('feedback', 1, 'message_id', (SELECT type FROM message_key) || ' NOT NULL', 'messages'),
            ('feedback', 2, 'user_id', 'uuid NOT NULL', 'users'),
            ('feedback', 3, 'rating', 'integer NOT NULL', NULL),
            ('feedback', 4, 'comment', 'text', NULL)
    ) AS columns (name, number, label, type, parent) USING (name)
    GROUP BY baseline.name
), primary_key AS (  -- of each table, with the foreign keys that rest on it
    SELECT adopted.oid AS table_oid, conname, pg_get_constraintdef(pg_constraint.oid) AS key_definition, conkey,
        condeferrable, dropped, added
    FROM adopted LEFT JOIN pg_constraint ON conrelid = adopted.oid AND contype = 'p'
    LEFT JOIN LATERAL (
        SELECT string_agg(format('ALTER TABLE %s DROP CONSTRAINT %I; ', child.conrelid::regclass, child.conname), ''
                ORDER BY child.oid),
            string_agg(format('; ALTER TABLE %s ADD CONSTRAINT %I %s', child.conrelid::regclass, child.conname,
                pg_get_constraintdef(child.oid)), '' ORDER BY child.oid)
        FROM pg_constraint AS child
        WHERE child.contype = 'f' AND child.conindid = pg_constraint.conindid AND child.conparentid = 0
    ) AS resting (dropped, added) ON true
), rekeyed AS (  -- id as the primary key; what was the key stays unique
    SELECT table_oid, CASE
            WHEN conname IS NULL THEN format('ALTER TABLE %s ADD PRIMARY KEY (id)', table_oid::regclass)
            ELSE format('BEGIN; %sALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %3$I PRIMARY KEY (id)%s%s; COMMIT',
                dropped, table_oid::regclass, conname,
                CASE WHEN NOT (condeferrable AND cardinality(conkey) = 1 AND EXISTS (
                    SELECT FROM pg_attribute WHERE attrelid = table_oid AND attnum = conkey[1] AND attname = 'id'
                )) THEN regexp_replace(key_definition, '^PRIMARY KEY', ', ADD UNIQUE') END,
                added)
        END AS statement
    FROM primary_key
)
-- Some of the tables, but not all; or others that may be a platform's under other names.
SELECT format('This database has %s, but no %s%s', have, lack, '; it also has ' || names),
    CASE WHEN EXISTS (SELECT FROM seen WHERE resembles && lacking)
        THEN 'this package works on tables of these five names in schema public: see that all five are there, or'
            ' install it into another database'
        ELSE (
            SELECT string_agg(statement, '; ' ORDER BY place) FROM made JOIN baseline USING (name)
            WHERE name = ANY (lacking)
        )
    END
FROM counted, listed
WHERE have IS NOT NULL AND lack IS NOT NULL
UNION ALL
SELECT format('This database has tables of users, chats or messages under other names or in other schemas: %s', names),
    'to build new, empty tables beside them, run `alembic -x fresh=yes upgrade head`; this package adopts only tables'
    ' that are called tenants, users, conversations, messages and feedback in schema public'
FROM counted, listed
WHERE have IS NULL AND names IS NOT NULL AND NOT is_fresh
UNION ALL
SELECT 'The five tables are there, so they would be adopted, and nothing be built beside them',
    'leave `-x fresh=yes` away'
FROM counted WHERE lack IS NULL AND is_fresh
-- No plain tables. Of messages nothing is changed, so they may be partitioned.
UNION ALL
SELECT * FROM (
    SELECT format('%s is %s', name, kind), CASE kind
            WHEN 'an unlogged table' THEN format('ALTER TABLE public.%s SET LOGGED', name)
            WHEN 'a typed table' THEN format('ALTER TABLE public.%s NOT OF', name)
            ELSE 'put a plain table in its place'
        END
    FROM (
        SELECT place, name, CASE
            WHEN relkind = 'v' THEN 'a view'
            WHEN relkind = 'm' THEN 'a materialized view'
            WHEN relkind = 'f' THEN 'a foreign table'
            WHEN relkind = 'p' AND name = 'messages' AND NOT relispartition THEN NULL
            WHEN relkind = 'p' THEN 'a partitioned table'
            WHEN relkind <> 'r' THEN 'no table'
            WHEN relispartition THEN 'a partition'
            WHEN EXISTS (SELECT FROM pg_inherits WHERE adopted.oid IN (inhrelid, inhparent)) THEN 'a child or parent'
            WHEN relpersistence <> 'p' THEN 'an unlogged table'
            WHEN reloftype <> 0 THEN 'a typed table'
        END
        FROM adopted
    ) AS kinds (place, name, kind)
    WHERE kind IS NOT NULL
    ORDER BY place
) AS ordered
-- Whole rows of a table that gets a column, which PostgreSQL then refuses.
UNION ALL
SELECT * FROM (
    SELECT format('Column %s of %s holds whole rows of %s, which gets a column; what writes it would then write'
            ' to_jsonb() of a row', attname, attrelid::regclass, string_agg(name, ' and ' ORDER BY name)),
        CASE WHEN users IS NULL AND relkind = 'r' AND NOT atthasdef
            THEN format('ALTER TABLE %s ALTER COLUMN %I TYPE jsonb USING to_jsonb(%2$I)', attrelid::regclass, attname)
            ELSE 'give it another type, such as jsonb' || coalesce(', together with ' || users || ', which use it', '')
        END
    FROM holder LEFT JOIN uses ON table_oid = attrelid AND uses.attnum = holder.attnum
    GROUP BY attrelid, attname, users, relkind, atthasdef
    ORDER BY attrelid::regclass::text, attname
) AS ordered
-- Keys, which are converted together with what references them.
UNION ALL
SELECT (
        SELECT string_agg(format('%s.%s is of type %s, not %s', relation, name, its_type, key.target), ', '
            ORDER BY place)
        FROM unfit JOIN key USING (table_oid, attnum)
    ),
    coalesce(
        'convert them together with ' || string_agg(users, ', ') || ', which use them',
        format('BEGIN; %s%s%s; COMMIT',
            (SELECT string_agg(format('ALTER TABLE %s DROP CONSTRAINT %I; ', conrelid::regclass, conname), ''
                ORDER BY oid) FROM link),
            string_agg(CASE WHEN its_default IS NULL
                THEN format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING %2$I::text::%3$s', relation, attname, target)
                ELSE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT, ALTER COLUMN %2$I TYPE %s USING'
                    ' %2$I::text::%3$s, ALTER COLUMN %2$I SET DEFAULT (%4$s)::text::%3$s', relation, attname, target,
                    its_default)
                END, '; ' ORDER BY relation, attname),
            (SELECT string_agg(format('; ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
                pg_get_constraintdef(oid)), '' ORDER BY oid) FROM link))
    )
FROM (
    SELECT table_oid::regclass::text AS relation, attname, target, its_default, users
    FROM all_keys LEFT JOIN uses USING (table_oid, attnum)
    JOIN pg_attribute ON attrelid = table_oid AND pg_attribute.attnum = all_keys.attnum
) AS converted
HAVING count(*) > 0
-- Other columns that the models cannot read.
UNION ALL
SELECT * FROM (
    SELECT format('%s.%s is of type %s, not %s%s', relation, name, its_type,
            CASE WHEN name = 'message_id' THEN target ELSE kind END,
            CASE WHEN kind NOT LIKE 'uuid%' THEN '; what reads and writes it would then do so as that' END),
        CASE
            WHEN name = 'message_id' THEN 'have it hold the ids of messages, in a migration of your own'
            WHEN name = 'id' THEN format('give %s another key, and move what refers to this one, in a migration of your'
                ' own', relation)
            WHEN kind LIKE 'uuid%' THEN 'have it hold uuid keys, in a migration of your own'
            WHEN attgenerated <> '' THEN 'have it computed as that type'
            WHEN users IS NOT NULL THEN format('convert it together with %s, which use it', users)
            WHEN expression IS NULL THEN 'convert it; this package cannot know how'
            WHEN its_default IS NULL
                THEN format('ALTER TABLE public.%I ALTER COLUMN %I TYPE %s USING %s', relation, name, target,
                    format(expression, format('%I', name)))
            ELSE format('ALTER TABLE public.%I ALTER COLUMN %I DROP DEFAULT, ALTER COLUMN %2$I TYPE %s USING %s, ALTER'
                ' COLUMN %2$I SET DEFAULT %5$s', relation, name, target, format(expression, format('%I', name)),
                format(expression, format('(%s)', its_default)))
        END
    FROM unfit
    LEFT JOIN uses USING (table_oid, attnum)
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN kind = 'text' AND base_type = 'bytea'::regtype THEN 'convert_from(%1$s, ''UTF8'')'
            WHEN kind = 'text' AND base_type IN ('json'::regtype, 'jsonb'::regtype) THEN '%1$s #>> ''{}'''
            WHEN kind = 'text' THEN '%1$s::text'
            WHEN kind = 'boolean' AND typcategory = 'N' THEN '%1$s <> 0'
            WHEN kind = 'boolean' AND typcategory = 'S' THEN '%1$s::text::boolean'
            WHEN kind = 'a number' AND typcategory = 'B' THEN 'CASE WHEN %1$s THEN 1 WHEN NOT %1$s THEN -1 END'
            WHEN kind = 'a number' AND typcategory = 'S' THEN '%1$s::text::numeric'
            WHEN kind = 'timestamptz' AND typcategory = 'S' THEN '%1$s::text::timestamptz'
            WHEN kind = 'timestamptz' AND base_type = 'date'::regtype THEN '%1$s::timestamp AT TIME ZONE ''UTC'''
            WHEN kind = 'timestamptz' AND typcategory = 'N'  -- seconds since 1970, or milliseconds
                THEN 'to_timestamp(CASE WHEN %1$s < 100000000000 THEN %1$s ELSE %1$s / 1000.0 END)'
        END
    ) AS conversions (expression)
    WHERE (table_oid, attnum) NOT IN (SELECT table_oid, attnum FROM key)
    ORDER BY place
) AS ordered
-- Columns that are missing.
UNION ALL
SELECT * FROM (
    SELECT format('%s has no column %s%s', relation, name, CASE
            WHEN name = 'tenant_id' AND NOT has_person
                THEN '; before the last statement give each row that the query shows its tenant'
            WHEN name = 'tenant_id' THEN '; this gives each its person''s tenant'
            END),
        CASE
            WHEN name = 'id' AND (table_kind = 'p' OR relation IN ('messages', 'feedback') AND conname IS NOT NULL)
                THEN format('ALTER TABLE public.%I ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid()', relation)
            WHEN name = 'id' AND conname IS NULL
                THEN format('ALTER TABLE public.%I ADD COLUMN id uuid PRIMARY KEY DEFAULT gen_random_uuid()', relation)
            WHEN name = 'id'
                THEN format('ALTER TABLE public.%I ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(); %s', relation,
                    (SELECT statement FROM rekeyed WHERE rekeyed.table_oid = found.table_oid))
            -- Triggers of the platform's would take it for a change of the row, and move updated_at.
            WHEN name = 'tenant_id' AND has_person
                THEN format('BEGIN; ALTER TABLE public.conversations ADD COLUMN tenant_id uuid; %sUPDATE'
                    ' public.conversations SET tenant_id = users.tenant_id FROM public.users WHERE users.id ='
                    ' conversations.user_id; %sALTER TABLE public.conversations ALTER COLUMN tenant_id SET NOT NULL;'
                    ' CREATE FUNCTION public.conversations_fill_tenant_id() RETURNS trigger LANGUAGE plpgsql SECURITY'
                    ' DEFINER SET search_path = pg_catalog, pg_temp AS ''BEGIN NEW.tenant_id := coalesce(NEW.tenant_id,'
                    ' (SELECT tenant_id FROM public.users WHERE id = NEW.user_id)); RETURN NEW; END''; CREATE TRIGGER'
                    ' conversations_fill_tenant_id BEFORE INSERT ON public.conversations FOR EACH ROW EXECUTE FUNCTION'
                    ' public.conversations_fill_tenant_id(); COMMIT', disabled, enabled)
            WHEN name = 'tenant_id'
                THEN format('ALTER TABLE public.%I ADD COLUMN tenant_id uuid; SELECT id FROM public.%1$I WHERE'
                    ' tenant_id IS NULL; ALTER TABLE public.%1$I ALTER COLUMN tenant_id SET NOT NULL', relation)
            WHEN name = 'message_id'
                THEN format('ALTER TABLE public.feedback ADD COLUMN message_id %s', message_key.type)
            ELSE format('ALTER TABLE public.%I ADD COLUMN %I %s', relation, name, definition)
        END
    FROM found JOIN primary_key USING (table_oid), message_key, LATERAL (
        SELECT relation = 'conversations' AND EXISTS (
            SELECT FROM found WHERE relation = 'conversations' AND name = 'user_id' AND attnum IS NOT NULL
        ) AND EXISTS (SELECT FROM adopted WHERE adopted.name = 'users')
    ) AS derivable (has_person), LATERAL (
        SELECT string_agg(format('ALTER TABLE public.conversations DISABLE TRIGGER %I; ', tgname), '' ORDER BY tgname),
            string_agg(format('ALTER TABLE public.conversations ENABLE TRIGGER %I; ', tgname), '' ORDER BY tgname)
        FROM pg_trigger
        WHERE tgrelid = table_oid AND NOT tgisinternal AND tgenabled = 'O' AND tgtype & 16 <> 0  -- of UPDATE
    ) AS triggers (disabled, enabled)
    WHERE attnum IS NULL AND definition IS NOT NULL
    ORDER BY place
) AS ordered
UNION ALL
SELECT * FROM (
    SELECT format('%s.tenant_id may be NULL; before the last statement give each row that the query shows its tenant',
            relation),
        format('SELECT id FROM public.%I WHERE tenant_id IS NULL; ALTER TABLE public.%1$I ALTER COLUMN tenant_id SET'
            ' NOT NULL', relation)
    FROM found
    WHERE NOT attnotnull AND name = 'tenant_id'
    ORDER BY place
) AS ordered
UNION ALL
SELECT * FROM (
    SELECT format('%s.id is not the primary key', relation), statement
    FROM found JOIN rekeyed USING (table_oid)
    WHERE name = 'id' AND relation IN ('tenants', 'users', 'conversations') AND attnum IS NOT NULL AND table_kind = 'r'
        AND NOT EXISTS (
            SELECT FROM pg_index
            WHERE indrelid = table_oid AND indisprimary AND indimmediate AND indisvalid AND indkey::text = attnum::text
        )
    ORDER BY place
) AS ordered
UNION ALL
SELECT format('%s.%s is computed when it is read', relation, name),
    CASE
        WHEN users IS NOT NULL THEN format('have it stored, together with %s, which use it', users)
        WHEN attacl IS NOT NULL THEN 'have it stored, with the grants that it has'
        ELSE format('ALTER TABLE public.%I DROP COLUMN %I, ADD COLUMN %2$I %s GENERATED ALWAYS AS (%s) STORED%s',
            relation, name, its_type, pg_get_expr(adbin, adrelid), CASE WHEN found.attnotnull THEN ' NOT NULL' END)
    END
FROM found JOIN pg_attribute ON attrelid = table_oid AND pg_attribute.attnum = found.attnum
JOIN pg_attrdef ON adrelid = table_oid AND adnum = found.attnum
LEFT JOIN uses ON uses.table_oid = found.table_oid AND uses.attnum = found.attnum
WHERE found.attgenerated = 'v'
-- Clients whom row security, or the guard on users, would not bind.
UNION ALL
SELECT format('Role %s is past row security', rolname), format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS', rolname)
FROM pg_roles WHERE rolname IN ('anon', 'authenticated') AND (rolsuper OR rolbypassrls)
UNION ALL
SELECT * FROM (
    SELECT format('%s belongs to %s, whose rights %s has', name, relowner::regrole,
            string_agg(rolname, ' and ' ORDER BY rolname)),
        CASE WHEN relrowsecurity AND NOT relforcerowsecurity
            THEN 'give it an owner that no client is a member of, and the clients policies for what they should see'
            ELSE format('ALTER TABLE public.%I OWNER TO %I; GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE public.%1$I'
                ' TO %3$s', name, current_user, relowner::regrole)
        END
    FROM adopted JOIN pg_roles ON pg_has_role(pg_roles.oid, relowner, 'USAGE')
    WHERE rolname IN ('anon', 'authenticated') AND NOT rolsuper
        AND relowner <> current_user::regrole  -- or the next reason says it
    GROUP BY place, name, relowner, relrowsecurity, relforcerowsecurity
    ORDER BY place
) AS ordered
UNION ALL
SELECT * FROM (
    SELECT format('Role %s has the rights of %s, past what this package grants', client.rolname, held.rolname),
        string_agg(format('REVOKE %I FROM %I%s', step.rolname, client.rolname,
            -- 10 made the cluster, and grants where nobody else is named.
            CASE WHEN current_setting('server_version_num')::integer >= 160000 AND grantor <> 10
                THEN format(' GRANTED BY %s', grantor::regrole) END), '; ' ORDER BY step.rolname)
    FROM pg_roles AS client JOIN pg_roles AS held ON pg_has_role(client.oid, held.oid, 'USAGE')
    JOIN pg_auth_members ON member = client.oid
    JOIN pg_roles AS step ON step.oid = roleid AND pg_has_role(step.oid, held.oid, 'USAGE')
    WHERE client.rolname IN ('anon', 'authenticated') AND NOT client.rolsuper
        AND held.rolname IN (current_user, 'service_role', 'pg_read_all_data', 'pg_write_all_data')
    GROUP BY client.rolname, held.rolname
    ORDER BY client.rolname, held.rolname
) AS ordered
-- What the migrating role may do.
UNION ALL
SELECT * FROM (
    SELECT format('%s belongs to %s, and you are %s', name, relowner::regrole, current_user), 'connect as its owner'
    FROM adopted
    WHERE NOT pg_has_role(relowner, 'USAGE') AND (
        name IN ('users', 'conversations')
        OR EXISTS (  -- 006 adds to tenants, 010 renames a column of feedback
            SELECT FROM found WHERE table_oid = adopted.oid AND (attnum IS NULL OR found.name = 'comment')
        ) AND name IN ('tenants', 'feedback')
    )
    ORDER BY place
) AS ordered
UNION ALL
SELECT format('%s may not reference tenants; as its owner, run once', current_user),
    format('GRANT REFERENCES ON TABLE public.tenants TO %I', current_user)
FROM found
WHERE relation = 'tenants' AND name = 'id' AND NOT has_column_privilege(table_oid, attnum, 'REFERENCES')
-- Not SET NO FORCE, which would open every row to an application that connects as the owner.
UNION ALL
SELECT * FROM (
    SELECT format('%s has FORCE ROW LEVEL SECURITY, which hides its rows from %s', name, current_user),
        format('connect as a superuser, or as a role with BYPASSRLS that is a member of %s', relowner::regrole)
    FROM adopted
    WHERE name IN ('users', 'conversations') AND relrowsecurity AND relforcerowsecurity
        AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
    ORDER BY place
) AS ordered
UNION ALL
SELECT format('%s may not create schemas in database %s; as its owner, run once', current_user, current_database()),
    format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
WHERE NOT has_database_privilege(current_database(), 'CREATE')
UNION ALL
SELECT format('%s may not create tables in schema public; as its owner, run once', current_user),
    format('GRANT CREATE ON SCHEMA public TO %I', current_user)
WHERE has_schema_privilege(to_regnamespace('public'), 'CREATE') IS NOT TRUE
UNION ALL
SELECT format('%s may not create the roles that clients speak through; as a superuser, run once', current_user),
    string_agg(format('CREATE ROLE %s', role), '; ')
FROM unnest(ARRAY['anon NOLOGIN', 'authenticated NOLOGIN', 'service_role NOLOGIN BYPASSRLS']) AS role, pg_roles
WHERE rolname = current_user AND to_regrole(split_part(role, ' ', 1)) IS NULL
    AND NOT (rolsuper OR rolcreaterole AND (role !~ 'BYPASSRLS'
        OR rolbypassrls AND current_setting('server_version_num')::integer >= 160000))
HAVING count(*) > 0
-- Names that this revision needs, unless an interrupted run of it made the schema: nobody else can own what it left
-- there. What names the schema in a string would not follow a new name.
UNION ALL
SELECT 'Schema chatbot_private exists already, and this package keeps its own helpers under that name',
    coalesce(
        'move it elsewhere together with ' || string_agg(pg_proc.oid::regprocedure::text, ', ') || ', which name it',
        'ALTER SCHEMA chatbot_private RENAME TO chatbot_private_before_006'
    )
FROM pg_namespace AS taken
LEFT JOIN pg_proc ON prosqlbody IS NULL AND prosrc ~* '\mchatbot_private\M'
WHERE taken.nspname = 'chatbot_private' AND NOT EXISTS (
    SELECT FROM pg_class
    WHERE relnamespace = taken.oid AND relname = 'replaced' AND relkind = 'r' AND relowner = current_user::regrole
        AND nspowner = relowner
)
GROUP BY taken.oid

-- What is stated of each object, from the catalogs: rows of place, kind, name, facts. Parameters are the names of the
-- relations and functions of schema public to read, and what Alembic's own is called here.
-- Roles are named but for the one that owns what is ours: "the owner", which no role's quoted name can be.
WITH schema AS (
    SELECT * FROM pg_namespace WHERE nspname IN ('chatbot_private', 'chatbot_compat')
), client AS (
    SELECT oid, rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
), relation AS (
    SELECT pg_class.*, CASE
        WHEN nspname <> 'public' THEN format('%I.%I', nspname, relname)
        WHEN relname = :version_table THEN 'alembic_version'
        ELSE quote_ident(relname)
    END AS place
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind NOT IN ('i', 'I', 't', 'c')
        AND NOT EXISTS (  -- the sequence of an identity column is a part of that
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'i'
                AND relkind = 'S'
        ) AND (
        relnamespace IN (SELECT oid FROM schema)
        OR nspname = 'public' AND (relname = :version_table OR relname = ANY (CAST(:names AS text[])))
    )
), function AS (
    SELECT * FROM pg_proc
    WHERE pronamespace IN (SELECT oid FROM schema)
        OR pronamespace = to_regnamespace('public') AND proname = ANY (CAST(:functions AS text[]))
), anchor AS (  -- one that owns a single thing is the one who stands out
    SELECT mode() WITHIN GROUP (ORDER BY owner) AS owner FROM (
        SELECT nspowner FROM schema
        UNION ALL SELECT proowner FROM function
        UNION ALL SELECT relowner FROM relation WHERE relname IN ('chatbots', 'published_chatbots', :version_table)
    ) AS owned (owner)
), role AS (
    SELECT oid, CASE oid WHEN owner THEN 'the owner' ELSE quote_ident(rolname) END AS called FROM pg_roles, anchor
    UNION ALL
    SELECT 0, 'PUBLIC'
), privilege AS (
    SELECT * FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN'])
        WITH ORDINALITY AS privilege (name, rank)
), relation_acl AS (
    SELECT place, relowner AS owner, item.*, NULL::name AS attname, 0::smallint AS attnum
    FROM relation,
        aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) AS item
    UNION ALL
    SELECT place, relowner, item.*, attname, pg_attribute.attnum
    FROM relation JOIN pg_attribute ON attrelid = relation.oid AND NOT attisdropped, aclexplode(attacl) AS item
), granted AS (
    SELECT place, grantee, privilege_type, rank, string_agg(DISTINCT scope, ', ' ORDER BY scope) AS scope
    FROM (
        SELECT place, grantee, privilege_type, is_grantable, string_agg(
            coalesce(quote_ident(attname), 'all'), ', ' ORDER BY attnum
        ) || CASE WHEN is_grantable THEN ' (to grant on)' ELSE '' END AS scope
        FROM (SELECT DISTINCT place, grantee, privilege_type, is_grantable, attname, attnum FROM relation_acl
            WHERE grantee <> owner
                -- An auditor may be given to read which revision it is.
                AND NOT (place = 'alembic_version' AND privilege_type = 'SELECT' AND NOT is_grantable
                    AND grantee <> 0 AND grantee NOT IN (SELECT oid FROM client))) AS each
        GROUP BY place, grantee, privilege_type, is_grantable
    ) AS scopes JOIN privilege ON privilege.name = privilege_type
    GROUP BY place, grantee, privilege_type, rank
), other_acl AS (  -- of functions and schemas
    SELECT oid, privilege_type, string_agg(called || CASE WHEN grants_on THEN ' (to grant on)' ELSE '' END, ', '
        ORDER BY called) AS grantees
    FROM (
        SELECT things.oid, privilege_type, called, bool_or(is_grantable AND grantee <> owner) AS grants_on
        FROM (
            SELECT oid, proowner, coalesce(proacl, acldefault('f', proowner)) FROM function
            UNION ALL
            SELECT oid, nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM schema
        ) AS things (oid, owner, acl), aclexplode(acl), role
        WHERE role.oid = grantee
        GROUP BY things.oid, privilege_type, called
    ) AS grants
    GROUP BY oid, privilege_type
), stated (place, kind, name, rank, facts) AS (
    -- Tables and views, and what else may be among them.
    SELECT place,
        CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
            WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'partitioned table' END,
        '', 0,
        json_build_object(
            'Comment', CASE place WHEN 'alembic_version' THEN 'Alembic''s own: the revision that the database is at'
                ELSE obj_description(relation.oid, 'pg_class') END,
            'Owner', called,
            'Revoked from the owner', (
                SELECT string_agg(name, ', ' ORDER BY rank) FROM privilege
                WHERE name <> 'MAINTAIN' AND relkind <> 'S' AND name NOT IN (
                    SELECT privilege_type FROM relation_acl
                    WHERE relation_acl.place = relation.place AND grantee = relowner AND attname IS NULL
                )
            ),
            'Row security', CASE WHEN relkind IN ('r', 'p') THEN CASE WHEN relrowsecurity THEN 'on' ELSE 'off' END
                || CASE WHEN relforcerowsecurity THEN ', forced on the owner' ELSE '' END END,
            'Persistence', CASE relpersistence WHEN 'u' THEN 'unlogged' WHEN 't' THEN 'temporary' END,
            'Inherits from', (
                SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhparent) FROM pg_inherits
                WHERE inhrelid = relation.oid
            ),
            'Inherited by', (
                SELECT string_agg(inhrelid::regclass::text, ', ' ORDER BY inhrelid) FROM pg_inherits
                WHERE inhparent = relation.oid
            ),
            'Options', CASE WHEN relkind = 'v' THEN array_to_string(reloptions, ', ') END,
            'Definition', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(relation.oid) END
        )
    FROM relation JOIN role ON role.oid = relowner
    UNION ALL
    -- Columns.
    SELECT place, 'column', attname, attnum,
        json_build_object(
            'Type', format_type(atttypid, atttypmod) || CASE typtype WHEN 'd'
                THEN format(' (%s)', format_type(typbasetype, typtypmod)) ELSE '' END,
            'Not null', CASE WHEN attnotnull THEN 'yes' || coalesce((
                SELECT ', but not of earlier rows' FROM pg_constraint
                WHERE conrelid = relation.oid AND contype = 'n' AND conkey = ARRAY[attnum] AND NOT convalidated
            ), '') END,
            'Default', CASE attgenerated WHEN '' THEN pg_get_expr(adbin, adrelid) END,
            'Generated', nullif(concat(attidentity, attgenerated), '') || coalesce(': ' || CASE
                WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END, ''),
            'Collation', CASE WHEN attcollation <> typcollation THEN attcollation::regcollation::text END,
            'Statistics', CASE attstattarget WHEN 0 THEN 'none' END,
            'Comment', col_description(relation.oid, attnum)
        )
    FROM relation
    JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind <> 'S'
    UNION ALL
    -- Keys and checks.
    SELECT place, 'constraint', CASE conname WHEN :version_table || '_pkc' THEN 'alembic_version_pkc'
            ELSE conname END, 0,
        json_build_object(
            'Definition', pg_get_constraintdef(pg_constraint.oid),
            'State', (
                SELECT 'its triggers are off' FROM pg_trigger
                WHERE tgconstraint = pg_constraint.oid AND tgenabled <> 'O' LIMIT 1
            )
        )
    FROM relation JOIN pg_constraint ON conrelid = relation.oid
    WHERE contype NOT IN ('n', 't')
        -- A key to a table of the platform's own is its own, where deletes and updates of that touch nothing of ours,
        -- or people alone: that is Supabase's key from users to auth.users.
        AND NOT (contype = 'f' AND confrelid NOT IN (SELECT oid FROM relation) AND (
            confdeltype IN ('a', 'r') AND confupdtype IN ('a', 'r') OR place = 'users' AND confupdtype IN ('a', 'r')
        ))
    UNION ALL
    -- Indexes beside those of keys.
    SELECT place, 'index', index.relname, 0,
        json_build_object(
            'Definition', pg_get_indexdef(indexrelid),
            'Computes', CASE WHEN indexprs IS NOT NULL OR EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = indexrelid AND refclassid = 'pg_proc'::regclass
            ) THEN 'yes' END,
            'State', CASE WHEN NOT (indisvalid AND indisready AND indislive) THEN 'invalid' END
        )
    FROM relation JOIN pg_index ON indrelid = relation.oid JOIN pg_class AS index ON index.oid = indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
    UNION ALL
    -- Policies.
    SELECT place, 'policy', polname, strpos('rawd*', polcmd::text),
        json_build_object(
            'AS', CASE WHEN NOT polpermissive THEN 'RESTRICTIVE' END,
            'FOR', CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
            'TO', (SELECT string_agg(called, ', ' ORDER BY called) FROM role WHERE role.oid = ANY (polroles)),
            'USING', pg_get_expr(polqual, polrelid),
            'WITH CHECK', pg_get_expr(polwithcheck, polrelid)
        )
    FROM relation JOIN pg_policy ON polrelid = relation.oid
    UNION ALL
    -- Rights to tables and views.
    SELECT place, 'rights of', called, 0, json_object_agg(privilege_type, scope ORDER BY rank)
    FROM granted JOIN role ON role.oid = grantee
    GROUP BY place, called
    UNION ALL
    -- Triggers, rules, and statistics of expressions: of columns, there are as many as the columns allow.
    SELECT place, 'trigger', tgname, 0,
        json_build_object(
            'Definition', pg_get_triggerdef(pg_trigger.oid),
            'State', CASE tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'on replicas alone'
                WHEN 'A' THEN 'always' END
        )
    FROM relation JOIN pg_trigger ON tgrelid = relation.oid
    WHERE NOT tgisinternal
    UNION ALL
    SELECT place, 'rule', rulename, 0, json_build_object('Definition', pg_get_ruledef(pg_rewrite.oid))
    FROM relation JOIN pg_rewrite ON ev_class = relation.oid
    WHERE rulename <> '_RETURN'
    UNION ALL
    SELECT place, 'statistics', stxname, 0,
        json_build_object('Definition', pg_get_statisticsobjdef(pg_statistic_ext.oid))
    FROM relation JOIN pg_statistic_ext ON stxrelid = relation.oid
    WHERE stxexprs IS NOT NULL
    UNION ALL
    -- Functions.
    SELECT function.oid::regprocedure::text, 'function', '', 0,
        json_build_object(
            'Comment', obj_description(function.oid, 'pg_proc'),
            'Arguments', nullif(pg_get_function_arguments(function.oid), ''),
            'Returns', pg_get_function_result(function.oid),
            'Language', lanname,
            'Kind', CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window' END,
            'Volatility', CASE provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
            'Parallel', CASE proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END,
            'Security', CASE WHEN prosecdef THEN 'DEFINER' ELSE 'INVOKER' END,
            'Null input', CASE WHEN proisstrict THEN 'STRICT' END,
            'Leakproof', CASE WHEN proleakproof THEN 'yes' END,
            'Settings', array_to_string(proconfig, '; '),
            'Owner', called,
            'EXECUTE', (SELECT grantees FROM other_acl WHERE other_acl.oid = function.oid),
            'Body', coalesce(pg_get_function_sqlbody(function.oid), prosrc)
        )
    FROM function JOIN pg_language ON pg_language.oid = prolang JOIN role ON role.oid = proowner
    UNION ALL
    -- Schemas.
    SELECT '', 'schema', nspname, 0,
        json_build_object(
            'Owner', called,
            'USAGE', (SELECT grantees FROM other_acl WHERE other_acl.oid = schema.oid AND privilege_type = 'USAGE'),
            'CREATE', (SELECT grantees FROM other_acl WHERE other_acl.oid = schema.oid AND privilege_type = 'CREATE'),
            'Default privileges', (
                SELECT string_agg(format('%s on %s that %s makes', defaclacl, CASE defaclobjtype
                    WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' ELSE 'types' END,
                    defaclrole::regrole), '; ' ORDER BY defaclacl::text)
                FROM pg_default_acl WHERE defaclnamespace = schema.oid
            ),
            'Comment', obj_description(schema.oid, 'pg_namespace')
        )
    FROM schema JOIN role ON role.oid = nspowner
    UNION ALL
    SELECT '', 'schema', nspname, 0,
        json_build_object(
            'Owner', (SELECT called FROM role WHERE role.oid = nspowner AND nspowner IN (SELECT oid FROM client)),
            'CREATE', coalesce((
                SELECT string_agg(called, ', ' ORDER BY called)
                FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) JOIN role ON role.oid = grantee
                WHERE privilege_type = 'CREATE' AND (grantee = 0 OR grantee IN (SELECT oid FROM client))
            ), 'no client')
        )
    FROM pg_namespace WHERE nspname = 'public'
    UNION ALL
    -- A client's rights are those that are granted to it, and none of another role's, by whichever chain of roles. What
    -- service_role has beside them, as Supabase's extensions grant, matters where it is more than BYPASSRLS gives.
    SELECT '', 'role', rolname, 0,
        json_build_object(
            'LOGIN', CASE WHEN rolcanlogin THEN 'yes' ELSE 'no' END,
            'SUPERUSER', CASE WHEN rolsuper THEN 'yes' ELSE 'no' END,
            'CREATEROLE', CASE WHEN rolcreaterole THEN 'yes' ELSE 'no' END,
            'REPLICATION', CASE WHEN rolreplication THEN 'yes' ELSE 'no' END,
            'BYPASSRLS', CASE WHEN rolbypassrls THEN 'yes' ELSE 'no' END,
            'Member of', coalesce((
                SELECT string_agg(called, ', ' ORDER BY called)
                FROM role JOIN pg_roles AS held USING (oid), anchor
                WHERE NOT pg_roles.rolsuper AND held.oid <> client.oid
                    AND pg_has_role(client.oid, held.oid, 'MEMBER') AND (
                    client.rolname <> 'service_role' OR held.rolname ~ '^pg_' OR held.oid IN (SELECT oid FROM client)
                    OR held.rolsuper OR held.rolcreaterole OR held.rolreplication
                    OR pg_has_role(held.oid, owner, 'MEMBER')
                )
            ), 'no other'),
            'May set', CASE WHEN NOT rolsuper AND has_parameter_privilege(client.oid, 'session_replication_role', 'SET')
                THEN 'session_replication_role' END
        )
    FROM client JOIN pg_roles USING (oid, rolname)
)
SELECT place, kind, name, facts FROM stated
ORDER BY place COLLATE "C", kind, rank, name COLLATE "C"

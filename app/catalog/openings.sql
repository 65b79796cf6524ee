-- What may let somebody past row security of our relations by things that are not ours: rows of kind, schema, name,
-- what it reads, and what is known of a function whose body is text. Ours are the relations (names) and functions given,
-- in public.
WITH RECURSIVE ours AS (
    SELECT pg_class.oid, relname, relowner FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relname = ANY (CAST(:names AS text[]))
), free AS (  -- those whom row security does not bind
    SELECT oid FROM pg_roles WHERE rolsuper OR rolbypassrls
    UNION
    SELECT pg_roles.oid FROM pg_roles, (SELECT DISTINCT relowner FROM ours) AS owners
    WHERE pg_has_role(pg_roles.oid, relowner, 'USAGE')
), bound AS (  -- clients, whoever is one of them, and what they are
    SELECT pg_roles.oid, pg_roles.rolname AS name
    FROM pg_roles JOIN pg_roles AS client
        ON pg_has_role(pg_roles.oid, client.oid, 'MEMBER') OR pg_has_role(client.oid, pg_roles.oid, 'MEMBER')
    WHERE client.rolname IN ('anon', 'authenticated') AND pg_roles.oid NOT IN (SELECT oid FROM free)
    UNION
    SELECT 0, 'PUBLIC'
), reading AS (  -- ours, their TOAST tables, views of those, and views of views
    SELECT oid, relname AS what FROM ours
    UNION
    SELECT reltoastrelid, pg_class.relname FROM ours JOIN pg_class USING (oid) WHERE reltoastrelid <> 0
    UNION
    SELECT ev_class, what
    FROM reading
    JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = reading.oid AND classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite ON pg_rewrite.oid = objid AND ev_class <> refobjid AND rulename = '_RETURN'
), relation AS (
    SELECT pg_class.*, nspname, what, pg_class.oid IN (SELECT oid FROM ours) OR nspname = 'chatbot_compat' AS is_ours
    FROM reading JOIN pg_class USING (oid) JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relpersistence <> 't'
), definer AS (
    SELECT pg_proc.*, nspname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE prosecdef AND proowner IN (SELECT oid FROM free) AND nspname <> 'chatbot_private'
        AND NOT (nspname = 'public' AND proname = ANY (CAST(:functions AS text[])))  -- those are facts
        AND EXISTS (
            SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee IN (SELECT oid FROM bound)
        )
        AND NOT EXISTS (  -- an extension's
            SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
        )
)
SELECT 'relation' AS kind, nspname AS schema, relname AS name, NULL AS reads, NULL AS language, NULL AS body,
    NULL AS arguments, NULL AS search_path
FROM relation
UNION ALL
SELECT 'view', nspname, format('%I.%I', nspname, relname), string_agg(DISTINCT what, ', '), NULL, NULL, NULL, NULL
FROM relation
WHERE relkind = 'v' AND NOT is_ours AND relowner IN (SELECT oid FROM free) AND NOT EXISTS (
    SELECT FROM pg_options_to_table(reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean
)
GROUP BY nspname, relname
UNION ALL
SELECT 'materialized view', nspname, format('%I.%I', nspname, relname), string_agg(DISTINCT what, ', '),
    NULL, NULL, NULL, NULL
FROM relation
WHERE relkind = 'm' AND (relowner IN (SELECT oid FROM bound) OR EXISTS (
    SELECT FROM (SELECT relacl UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = relation.oid) AS acls (acl),
        aclexplode(acl)
    WHERE grantee IN (SELECT oid FROM bound)
))
GROUP BY nspname, relname
UNION ALL
-- A rule acts as the owner of its table, whatever a view's options say.
SELECT 'rule', nspname, format('%I on %I.%I', rulename, nspname, its.relname), string_agg(DISTINCT what, ', '),
    NULL, NULL, NULL, NULL
FROM pg_rewrite
JOIN pg_class AS its ON its.oid = ev_class
JOIN pg_namespace ON pg_namespace.oid = its.relnamespace
JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid AND refclassid = 'pg_class'::regclass
JOIN reading ON reading.oid = refobjid AND refobjid <> ev_class
WHERE rulename <> '_RETURN' AND its.relowner IN (SELECT oid FROM free)
    AND ev_class NOT IN (SELECT oid FROM relation WHERE is_ours)  -- those rules are facts
GROUP BY nspname, rulename, its.relname
UNION ALL
-- A body that PostgreSQL parsed names what it reads by itself; the others are text.
SELECT 'function', nspname, definer.oid::regprocedure::text, string_agg(DISTINCT what, ', '), NULL, NULL, NULL, NULL
FROM definer
JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = definer.oid AND refclassid = 'pg_class'::regclass
JOIN reading ON reading.oid = refobjid
WHERE prosqlbody IS NOT NULL
GROUP BY nspname, definer.oid
UNION ALL
SELECT CASE WHEN prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) THEN 'trigger ' ELSE '' END || 'function',
    nspname, definer.oid::regprocedure::text, NULL, (SELECT lanname FROM pg_language WHERE oid = prolang), prosrc,
    array_to_string(proargnames, ','), (
        SELECT split_part(setting, '=', 2) FROM unnest(proconfig) AS setting WHERE setting ~ '^search_path='
    )
FROM definer WHERE prosqlbody IS NULL
UNION ALL
-- The helpers of row security look people up as their owner.
SELECT 'helper', nspname, pg_proc.oid::regprocedure::text, NULL, NULL, NULL, NULL, NULL
FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace AND nspname = 'chatbot_private'
JOIN pg_roles ON pg_roles.oid = proowner
JOIN pg_class ON pg_class.oid = to_regclass('public.users')
WHERE prosecdef AND NOT (rolsuper OR has_table_privilege(proowner, pg_class.oid, 'SELECT') AND (
    NOT relrowsecurity OR rolbypassrls OR pg_has_role(proowner, relowner, 'USAGE') AND NOT relforcerowsecurity
))
UNION ALL
-- Guards and keys are triggers, which do not fire in a session that says it applies another server's changes.
SELECT 'setting', '', 'session_replication_role of the server', NULL, NULL, NULL, NULL, NULL
FROM pg_settings
WHERE name = 'session_replication_role' AND reset_val = 'replica' AND source IN ('configuration file', 'command line')
UNION ALL
SELECT 'setting', '', format('%s of %s', split_part(setting, '=', 1), concat_ws(' in ',
        'role ' || nullif(setrole, 0)::regrole, 'database ' || datname)), NULL, NULL, NULL, NULL, NULL
FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS setting
WHERE setting ~ '^session_replication_role=(replica|"replica")' AND (setdatabase = 0 OR datname = current_database())
ORDER BY kind, schema, name

-- What lets somebody past row security of our relations by things that are not ours. Those are :names, in public.
WITH RECURSIVE ours AS (
    SELECT oid, relname, relowner FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relname = ANY (CAST(:names AS text[]))
), free AS (  -- those whom row security does not bind
    SELECT oid FROM pg_roles WHERE rolsuper OR rolbypassrls
    UNION
    SELECT pg_roles.oid FROM pg_roles, (SELECT DISTINCT relowner FROM ours) AS owners
    WHERE pg_has_role(pg_roles.oid, relowner, 'USAGE')
), reading AS (  -- views of ours, and views of those
    SELECT oid, relname AS what FROM ours
    UNION
    SELECT ev_class, what
    FROM reading
    JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = reading.oid AND classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite ON pg_rewrite.oid = objid AND ev_class <> refobjid
), view AS (
    SELECT pg_class.*, format('%I.%I', nspname, relname) AS name, what
    FROM reading JOIN pg_class USING (oid) JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relowner IN (SELECT oid FROM free) AND nspname <> 'chatbot_compat' AND pg_class.oid NOT IN (SELECT oid FROM ours)
), definer AS (
    SELECT pg_proc.*, pg_proc.oid::regprocedure::text AS name
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE prosecdef AND proowner IN (SELECT oid FROM free)
        AND nspname NOT IN ('pg_catalog', 'information_schema', 'chatbot_private')
        AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)  -- nobody calls those
        AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
            WHERE grantee NOT IN (SELECT oid FROM free))
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
)
-- A body that PostgreSQL parsed names what it reads by itself; the others are text.
SELECT 'view' AS kind, name, string_agg(DISTINCT what, ', ') AS reads, NULL AS body
FROM view
WHERE relkind = 'v' AND NOT EXISTS (
    SELECT FROM pg_options_to_table(reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean
)
GROUP BY name
UNION ALL
SELECT 'materialized view', name, string_agg(DISTINCT what, ', '), NULL
FROM view
WHERE relkind = 'm' AND EXISTS (
    SELECT FROM (
        SELECT relacl UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = view.oid
    ) AS acls (acl), aclexplode(acl)
    WHERE grantee NOT IN (SELECT oid FROM free)
)
GROUP BY name
UNION ALL
SELECT 'function', name, string_agg(DISTINCT what, ', '), NULL
FROM definer
JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = definer.oid AND refclassid = 'pg_class'::regclass
JOIN reading ON reading.oid = refobjid
GROUP BY name
UNION ALL
SELECT 'function', name, NULL, prosrc FROM definer WHERE prosqlbody IS NULL
UNION ALL
-- The helpers of row security look people up as their owner.
SELECT 'users', pg_proc.oid::regprocedure::text, proowner::regrole::text, NULL
FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace AND nspname = 'chatbot_private'
JOIN pg_roles ON pg_roles.oid = proowner
JOIN pg_class ON pg_class.oid = to_regclass('public.users')
WHERE prosecdef AND NOT (rolsuper OR has_table_privilege(proowner, pg_class.oid, 'SELECT') AND (
    NOT relrowsecurity OR rolbypassrls OR pg_has_role(proowner, relowner, 'USAGE') AND NOT relforcerowsecurity
))
ORDER BY kind, name

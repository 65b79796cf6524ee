-- What the platform has of users.role, and who may do what with chatbots that are taken over. Access that is not the
-- guide's is refused, because this revision would take it away.
WITH ours AS (
    SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass('public.users') AND tgname = 'users_guard_role_update'
        AND tgfoid = to_regproc('chatbot_private.require_table_owner')
), role_column AS (
    SELECT attrelid, attname, attnum, atttypid, format_type(atttypid, atttypmod) AS its_type
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname = 'role' AND NOT attisdropped AND NOT EXISTS (TABLE ours)
), touched AS (
    SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass('public.chatbots') AND tgfoid = to_regproc('chatbot_private.touch_updated_at')
), chatbots AS (  -- those of the platform's own, from before 007 or taken over by it
    SELECT * FROM pg_class
    WHERE oid = to_regclass('public.chatbots') AND (NOT EXISTS (TABLE touched) OR EXISTS (
        SELECT FROM pg_proc
        WHERE pg_proc.oid = to_regprocedure('chatbot_private.taken_over()') AND prosrc ~ '\mchatbots\M'
    ))
), identity (name) AS (  -- the column that holds the sub; before 006 has recorded it, whichever the policies take
    SELECT substring(prosrc FROM '''(.*)''') FROM pg_proc
    WHERE pg_proc.oid = to_regprocedure('chatbot_private.identity_column()')
    UNION ALL
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attnum > 0 AND NOT attisdropped
        AND to_regprocedure('chatbot_private.identity_column()') IS NULL
), policy AS (
    SELECT polname, polcmd, polpermissive, polroles, regexp_replace(polname, ' \(before 008\)$', '') AS name,
        concat_ws(' and ', pg_get_expr(polqual, polrelid),
            CASE WHEN polqual IS NULL OR pg_get_expr(polwithcheck, polrelid) <> pg_get_expr(polqual, polrelid)
                THEN pg_get_expr(polwithcheck, polrelid) END) AS expression
    FROM pg_policy
    -- Once 007 has run, those two under the guide's names are ours.
    WHERE polrelid = to_regclass('public.chatbots') AND EXISTS (TABLE chatbots) AND NOT (EXISTS (TABLE touched)
        AND polname IN ('Users can view published chatbots in their tenant', 'Demo user can view published chatbots'))
), -- A policy's expression as the set of its conditions: without casts, parentheses, aliases and schemas.
stripped_1 (polname, text) AS (
    SELECT polname, regexp_replace(lower(expression), '::(character varying|[a-z_."]+)(\(\d+\))?|"', '', 'g') FROM policy
), stripped_2 AS (
    SELECT polname, regexp_replace(text, '\( select auth\.uid\(\) as uid\)', 'auth.uid()', 'g') AS text FROM stripped_1
), stripped_3 AS (
    SELECT polname, regexp_replace(text, '\m(?!auth\.)[a-z_][a-z0-9_]*\.', '', 'g') AS text FROM stripped_2
), stripped_4 AS (
    SELECT polname, regexp_replace(text, '( = true)|( is true)', '', 'g') AS text FROM stripped_3
), stripped_5 AS (
    SELECT polname, regexp_replace(text, '[()\s]+', ' ', 'g') AS text FROM stripped_4
), stripped_6 AS (
    SELECT polname, regexp_replace(text, '(exists )?select ([a-z_0-9]+ )?from users ([a-z_0-9]+ )?where ',
        '\1select \2from users and ', 'g') AS text
    FROM stripped_5
), conditions (polname, set) AS (
    SELECT polname, ARRAY (
        SELECT DISTINCT regexp_replace(regexp_replace(trim(part), '^auth\.uid = (\w+)$', '\1 = auth.uid'),
            '^exists select (\w+ )?from users$', 'exists select from users')
        FROM regexp_split_to_table(text, ' and ') AS part
        ORDER BY 1
    )
    FROM stripped_6
), of_the_guide (name, command, is_admin, is_published) AS (
    VALUES ('Admin users can view chatbots in their tenant', 'r', true, false),
        ('Users can view published chatbots in their tenant', 'r', false, true),
        ('Admin users can create chatbots in their tenant', 'a', true, false),
        ('Admin users can update chatbots in their tenant', 'w', true, false),
        ('Admin users can delete chatbots in their tenant', 'd', true, false)
), expected (name, command, set) AS (
    SELECT of_the_guide.name, command, ARRAY (
        SELECT DISTINCT condition
        FROM unnest(tenants || ARRAY[lower(identity.name) || ' = auth.uid', 'is_active']
            || CASE WHEN is_admin THEN ARRAY['role = ''admin'''] ELSE '{}' END
            || CASE WHEN is_published THEN ARRAY['is_published'] ELSE '{}' END) AS condition
        ORDER BY 1
    )
    FROM of_the_guide, identity, (VALUES
        (ARRAY['tenant_id in select tenant_id from users']),
        (ARRAY['tenant_id = select tenant_id from users']),
        (ARRAY['exists select from users', 'tenant_id = tenant_id'])
    ) AS spellings (tenants)
    UNION ALL
    SELECT 'Demo user can view published chatbots', 'r', ARRAY['auth.uid is null', 'is_published']
)
SELECT format('-x admin_role=%s is given, but users has no column role', current_setting('chatbots.admin_role', true)),
    'leave it away: 008 makes the column, with ''admin'' and ''user'''
WHERE nullif(current_setting('chatbots.admin_role', true), '') IS NOT NULL
    AND to_regclass('public.users') IS NOT NULL
    AND NOT EXISTS (TABLE ours) AND NOT EXISTS (TABLE role_column)
UNION ALL
SELECT format('users.role is of type %s, and roles are texts or labels of an enum', its_type), {rename_column}
FROM role_column
WHERE NOT EXISTS (
    WITH RECURSIVE base (type) AS (
        SELECT atttypid
        UNION ALL
        SELECT typbasetype FROM base JOIN pg_type ON pg_type.oid = base.type WHERE typtype = 'd'
    )
    SELECT FROM base JOIN pg_type ON pg_type.oid = base.type
    WHERE typcategory = 'E' OR typcategory = 'S' AND typtype <> 'd'
)
UNION ALL
SELECT format('%s exists already', relname), {rename_relation}
FROM pg_class
WHERE relnamespace = to_regnamespace('public') AND relname IN ('idx_users_role', 'idx_users_tenant_role')
    -- Indexes of users are renamed by this revision.
    AND NOT EXISTS (SELECT FROM pg_index WHERE indexrelid = pg_class.oid AND indrelid = to_regclass('public.users'))
UNION ALL
SELECT format('Constraint %s of users exists already', conname),
    format('ALTER TABLE public.users RENAME CONSTRAINT %I TO %I', conname, conname || '_before')
FROM pg_constraint
WHERE conrelid = to_regclass('public.users') AND conname = 'users_role_check' AND NOT EXISTS (TABLE ours)
    AND NOT EXISTS (TABLE role_column)
UNION ALL
SELECT format('Trigger %s of users exists already', tgname),
    {rename_trigger}
FROM pg_trigger
WHERE tgrelid = to_regclass('public.users') AND tgname IN ('users_guard_role_insert', 'users_guard_role_update')
    AND NOT EXISTS (TABLE ours)
UNION ALL
SELECT format('Policy "%s" of chatbots is not one that the guide describes, so taking over would change who sees what',
        polname),
    format('see that the guide''s six do without it, then: DROP POLICY %I ON public.chatbots', polname)
FROM policy
WHERE NOT EXISTS (
    SELECT FROM expected JOIN conditions USING (set)
    WHERE conditions.polname = policy.polname AND expected.name = policy.name AND expected.command = polcmd::text
        AND polpermissive AND (polroles = '{0}' OR NOT EXISTS (
            SELECT FROM unnest(polroles) AS audience
            WHERE audience NOT IN (0, to_regrole('authenticated')::oid)
                AND NOT (policy.name ~ '^Demo' AND audience = to_regrole('anon')::oid)
        ))
)
UNION ALL
SELECT format('%s holds %s on chatbots', grantee, string_agg(DISTINCT privilege_type, ', ')),
    format('see that %1$s does without, then: REVOKE ALL ON TABLE public.chatbots FROM %1$s', grantee)
FROM (
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS grantee, privilege_type
    FROM chatbots, aclexplode(relacl) AS acl
    WHERE acl.grantee <> relowner AND acl.grantee NOT IN (
        SELECT oid FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
    )
    UNION ALL
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END, privilege_type
    FROM chatbots JOIN pg_attribute ON attrelid = chatbots.oid AND NOT attisdropped, aclexplode(attacl) AS acl
    WHERE acl.grantee NOT IN (
        SELECT oid FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
    )
) AS others
GROUP BY grantee
UNION ALL
SELECT DISTINCT format('View %s reads chatbots past row security', ev_class::regclass),
    format('ALTER VIEW %s SET (security_invoker = true)', ev_class::regclass)
FROM chatbots
JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = chatbots.oid AND classid = 'pg_rewrite'::regclass
JOIN pg_rewrite ON pg_rewrite.oid = objid
JOIN pg_class AS view ON view.oid = ev_class AND view.relkind = 'v'
WHERE coalesce(array_to_string(view.reloptions, ','), '') !~ 'security_invoker=(true|on|yes|1)'
    AND EXISTS (
        SELECT FROM pg_roles
        WHERE rolname IN ('anon', 'authenticated') AND has_any_column_privilege(pg_roles.oid, view.oid, 'SELECT')
    )
UNION ALL
SELECT DISTINCT format('Materialized view %s keeps rows of chatbots, and %s may read them past row security',
        ev_class::regclass, (
            SELECT string_agg(rolname, ' and ' ORDER BY rolname) FROM pg_roles
            WHERE rolname IN ('anon', 'authenticated') AND has_any_column_privilege(pg_roles.oid, view.oid, 'SELECT')
        )),
    format('REVOKE ALL ON %s FROM PUBLIC, anon, authenticated', ev_class::regclass)
FROM chatbots
JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = chatbots.oid AND classid = 'pg_rewrite'::regclass
JOIN pg_rewrite ON pg_rewrite.oid = objid
JOIN pg_class AS view ON view.oid = ev_class AND view.relkind = 'm'
WHERE EXISTS (
    SELECT FROM pg_roles
    WHERE rolname IN ('anon', 'authenticated') AND has_any_column_privilege(pg_roles.oid, view.oid, 'SELECT')
)

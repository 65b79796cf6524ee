-- What a platform allows its clients that weakens row security, the package's or the platform's own, and what else its
-- owner should know before revision 006: a text each, with SQL to paste where SQL can mend it. No statement shows
-- anybody a row that is not theirs. One query that only reads, for PostgreSQL 15 and newer; it runs whichever tables
-- are there.
--
-- `doctor` asks it again at later revisions, on adopted platforms. What is only news before 006 is then left out, and
-- of this package's own tables it says nothing.
WITH RECURSIVE adopted AS (
    SELECT place, name, pg_class.*
    FROM (
        VALUES (1, 'tenants'), (2, 'users'), (3, 'conversations'), (4, 'messages'), (5, 'feedback')
    ) AS baseline (place, name)
    JOIN pg_class ON pg_class.oid = to_regclass('public.' || name)
), news AS (  -- a row before 006, where all five tables are there
    SELECT FROM adopted WHERE to_regnamespace('chatbot_private') IS NULL HAVING count(*) = 5
), client AS (  -- 006 makes those that are missing
    SELECT rolname, pg_roles.oid FROM (VALUES ('anon'::name), ('authenticated')) AS names (rolname)
    LEFT JOIN pg_roles USING (rolname)
), partition (oid, name) AS (
    SELECT inhrelid, name FROM adopted JOIN pg_inherits ON inhparent = adopted.oid WHERE relkind = 'p'
    UNION ALL
    SELECT inhrelid, name FROM partition JOIN pg_inherits ON inhparent = partition.oid
), emptying (oid) AS (  -- tenants, and tables whose deleted rows take tenants along
    SELECT oid FROM adopted WHERE name = 'tenants'
    UNION
    SELECT confrelid FROM emptying JOIN pg_constraint ON conrelid = emptying.oid AND contype = 'f' AND confdeltype = 'c'
), writing (oid) AS (  -- views by which people are inserted as the view's owner
    SELECT DISTINCT ev_class
    FROM pg_depend
    JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid AND attname = 'tenant_id'
    JOIN pg_rewrite ON pg_rewrite.oid = objid
    JOIN pg_class ON pg_class.oid = ev_class AND relkind = 'v'
    WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('public.users')
        AND classid = 'pg_rewrite'::regclass AND pg_relation_is_updatable(ev_class, false) & 8 <> 0
        AND NOT EXISTS (
            SELECT FROM pg_options_to_table(reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean
        )
), relation AS (  -- all that is looked at
    SELECT pg_class.oid, relname, relowner, relrowsecurity, relacl, nspname, nspacl, nspowner
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid IN (
        SELECT oid FROM adopted UNION SELECT oid FROM partition UNION SELECT oid FROM emptying
        UNION SELECT oid FROM writing
    )
), granted AS (
    SELECT relation.oid, privilege_type AS privilege, grantee
    FROM relation, LATERAL (
        SELECT acl.* FROM aclexplode(relacl) AS acl
        UNION ALL
        SELECT acl.* FROM pg_attribute, aclexplode(attacl) AS acl WHERE attrelid = relation.oid AND NOT attisdropped
    ) AS grants
), held AS (  -- by a client, and through which grantee
    SELECT DISTINCT granted.*, rolname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS through
    FROM granted JOIN relation USING (oid), client
    WHERE CASE WHEN grantee = 0 THEN true WHEN client.oid IS NULL THEN false
            ELSE pg_has_role(client.oid, grantee, 'USAGE') END
        AND EXISTS (
            SELECT FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS usage
            WHERE privilege_type = 'USAGE' AND CASE WHEN usage.grantee = 0 THEN true WHEN client.oid IS NULL THEN false
                ELSE pg_has_role(client.oid, usage.grantee, 'USAGE') END
        )
), policy AS (  -- as a client meets it; of a command r, a, w or d
    SELECT polrelid, pg_policy.oid, polname, polpermissive, rolname, command, condition
    FROM relation JOIN pg_policy ON polrelid = relation.oid
    CROSS JOIN client
    CROSS JOIN unnest('{r,a,w,d}'::"char"[]) AS command
    CROSS JOIN LATERAL (
        SELECT pg_get_expr(CASE WHEN command = 'a' AND polwithcheck IS NOT NULL THEN polwithcheck ELSE polqual END,
            polrelid)
    ) AS expression (condition)
    WHERE polcmd IN (command, '*') AND EXISTS (
        SELECT FROM unnest(polroles) AS audience
        WHERE CASE WHEN audience = 0 THEN true WHEN client.oid IS NULL THEN false
            ELSE pg_has_role(client.oid, audience, 'USAGE') END
    )
), admitted AS (  -- what row security leaves to a client
    SELECT relation.oid, rolname, command
    FROM relation CROSS JOIN client CROSS JOIN unnest('{r,a,w,d}'::"char"[]) AS command
    LEFT JOIN policy USING (rolname, command)
    WHERE NOT relrowsecurity OR polrelid = relation.oid
    GROUP BY relation.oid, relrowsecurity, rolname, command
    HAVING NOT relrowsecurity
        OR bool_or(polpermissive AND condition <> 'false') AND NOT bool_or(NOT polpermissive AND condition = 'false')
), own (name, policy) AS (  -- what binds a member to what is theirs, from 006 on
    VALUES
        ('tenants', '"Members see their tenant" ON public.tenants FOR SELECT TO authenticated USING (id = (SELECT'
            ' chatbot_private.tenant_id()))'),
        ('users', '"Members see themselves" ON public.users FOR SELECT TO authenticated USING (id = (SELECT'
            ' chatbot_private.user_id()))'),
        ('conversations', '"Members use their conversations" ON public.conversations TO authenticated USING (user_id ='
            ' (SELECT chatbot_private.user_id()) AND tenant_id = (SELECT chatbot_private.tenant_id()))'),
        ('messages', '"Members use messages of their conversations" ON public.messages TO authenticated USING (EXISTS'
            ' (SELECT FROM public.conversations WHERE conversations.id = messages.conversation_id AND'
            ' conversations.user_id = (SELECT chatbot_private.user_id())))'),
        ('feedback', '"Members use their feedback" ON public.feedback TO authenticated USING (user_id = (SELECT'
            ' chatbot_private.user_id()))')
), useful (name, command, privilege) AS (  -- what members do on a fresh install, where policies bind them
    VALUES ('tenants', 'r'::"char", 'SELECT'), ('users', 'r', 'SELECT'), ('messages', 'r', 'SELECT'),
        ('conversations', 'r', 'SELECT'), ('conversations', 'a', 'INSERT'), ('conversations', 'd', 'DELETE'),
        ('feedback', 'r', 'SELECT'), ('feedback', 'a', 'INSERT'), ('feedback', 'd', 'DELETE')
    UNION ALL
    SELECT name, 'w', format('UPDATE (%s)', string_agg(attname, ', ' ORDER BY attnum))
    FROM adopted JOIN pg_attribute ON attrelid = adopted.oid AND NOT attisdropped AND (name, attname) IN (
        ('conversations', 'title'), ('feedback', 'rating'), ('feedback', 'comment'), ('feedback', 'notes')
    )
    GROUP BY name
), mending AS (  -- SQL that binds clients to what is theirs, and changes nothing for anybody else
    SELECT adopted.oid, adopted.name, relrowsecurity, covered, personal, rights,
        CASE WHEN covered OR to_regnamespace('chatbot_private') IS NOT NULL THEN 'this'
            ELSE 'from revision 006 on, this' END AS subject,
        CASE WHEN covered THEN '' ELSE format('CREATE POLICY %s; ', own.policy) END
            || CASE WHEN relrowsecurity THEN '' ELSE
                coalesce(format('CREATE POLICY "As before row security" ON public.%s TO ', adopted.name) || others
                    || ' USING (true) WITH CHECK (true); ', '')
                || format('ALTER TABLE public.%s ENABLE ROW LEVEL SECURITY', adopted.name) END AS statements
    FROM adopted JOIN own USING (name)
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(command = 'r'), false), coalesce(bool_and(
            condition ~ '\m(current_setting|current_user|session_user)\M' OR EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_policy'::regclass AND objid = policy.oid AND (
                    refclassid = 'pg_proc'::regclass OR refclassid = 'pg_class'::regclass AND refobjid <> polrelid
                )
            )
        ), true)
        FROM policy
        WHERE polrelid = adopted.oid AND rolname = 'authenticated' AND polpermissive AND condition <> 'false'
    ) AS policies (covered, personal)
    CROSS JOIN LATERAL (
        SELECT string_agg(useful.privilege, ', ' ORDER BY position(useful.command::text IN 'rawd'))
        FROM useful
        WHERE useful.name = adopted.name AND (NOT covered OR EXISTS (
            SELECT FROM policy
            WHERE polrelid = adopted.oid AND rolname = 'authenticated' AND polpermissive AND condition <> 'false'
                AND policy.command = useful.command
        ))
    ) AS granting (rights)
    CROSS JOIN LATERAL (
        SELECT string_agg(DISTINCT grantee::regrole::text, ', ')
        FROM granted JOIN pg_roles ON pg_roles.oid = grantee
        WHERE granted.oid = adopted.oid AND grantee <> relowner AND NOT rolsuper AND NOT rolbypassrls
            AND NOT EXISTS (SELECT FROM client WHERE pg_has_role(client.oid, grantee, 'MEMBER'))
    ) AS other (others)
)
SELECT format('Row security is off on %s, which %s may use, so every tenant''s rows are open to them; %s %s: %s', name,
    string_agg(DISTINCT rolname, ' and ' ORDER BY rolname), subject,
    CASE WHEN covered THEN 'makes its policies take effect' ELSE 'limits members to their own' END, statements)
FROM mending JOIN held USING (oid)
WHERE NOT relrowsecurity AND privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
GROUP BY name, subject, covered, statements
UNION ALL
SELECT format('Row security is off on %s, a partition of %s that %s may use by its own name, so every tenant''s rows'
    ' are open to them: ALTER TABLE %1$s ENABLE ROW LEVEL SECURITY', oid::regclass, partition.name,
    string_agg(DISTINCT rolname, ' and ' ORDER BY rolname))
FROM partition JOIN relation USING (oid) JOIN held USING (oid)
WHERE NOT relrowsecurity AND privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
GROUP BY oid, partition.name
UNION ALL
SELECT format('%s may insert into users, and so choose a tenant%s; %sif only your backend adds people, run: REVOKE'
    ' INSERT ON TABLE public.users FROM %s', string_agg(DISTINCT rolname, ' and ' ORDER BY rolname),
    CASE WHEN bool_or(deletes)
        THEN ', also after deleting their own row, which makes an inactive person active again' END,
    (
        SELECT format('let policy %s check id and tenant_id, or, ',
            string_agg(DISTINCT quote_ident(polname), ' and policy '))
        FROM policy WHERE polrelid = adopted.oid AND command = 'a' AND polpermissive HAVING count(*) > 0
    ), string_agg(DISTINCT through, ', '))
FROM adopted JOIN held USING (oid) JOIN admitted USING (oid, rolname) CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM held AS other
        WHERE other.oid = adopted.oid AND other.rolname = held.rolname AND other.privilege = 'DELETE'
    )
) AS its (deletes)
WHERE name = 'users' AND privilege = 'INSERT' AND command = 'a'
GROUP BY adopted.oid
HAVING count(*) > 0
UNION ALL
SELECT format('%s may insert into users through view %s, as its owner: REVOKE INSERT ON TABLE %2$s FROM %s',
    string_agg(DISTINCT rolname, ' and ' ORDER BY rolname), oid::regclass, string_agg(DISTINCT through, ', '))
FROM writing JOIN held USING (oid)
WHERE privilege = 'INSERT'
GROUP BY oid
UNION ALL
SELECT format('%s may delete %s, and chatbots are deleted with their tenant: REVOKE DELETE ON TABLE %s FROM %s',
    string_agg(DISTINCT rolname, ' and ' ORDER BY rolname),
    CASE WHEN relation.oid = to_regclass('public.tenants') THEN 'tenants'
        ELSE format('rows of %s, which deletes tenants', relation.oid::regclass) END,
    relation.oid::regclass, string_agg(DISTINCT through, ', '))
FROM emptying JOIN relation USING (oid) JOIN held USING (oid) JOIN admitted USING (oid, rolname)
WHERE privilege = 'DELETE' AND command = 'd'
GROUP BY relation.oid
UNION ALL
SELECT format('%s hold TRUNCATE or TRIGGER on %s; TRUNCATE empties a table for every tenant, and a trigger runs as'
    ' whoever writes, the owner too: REVOKE TRUNCATE, TRIGGER ON TABLE %s FROM %s',
    string_agg(DISTINCT rolname, ' and ' ORDER BY rolname), string_agg(DISTINCT relname, ', '),
    string_agg(DISTINCT oid::regclass::text, ', '), string_agg(DISTINCT through, ', '))
FROM relation JOIN held USING (oid)
WHERE privilege IN ('TRUNCATE', 'TRIGGER')
    AND oid IN (SELECT oid FROM adopted UNION SELECT oid FROM partition)
HAVING count(*) > 0
UNION ALL
SELECT format('Rules rewrite what is written to %s, past its keys and guards: %s', name,
    string_agg(quote_ident(rulename), ', ' ORDER BY rulename))
FROM adopted JOIN pg_rewrite ON ev_class = adopted.oid AND rulename <> '_RETURN'
WHERE name IN ('users', 'conversations')
GROUP BY name
UNION ALL
SELECT 'Everybody may create objects in schema public, under names that others use: REVOKE CREATE ON SCHEMA public FROM'
    ' PUBLIC'
FROM pg_namespace, aclexplode(nspacl) AS acl
WHERE nspname = 'public' AND acl.grantee = 0 AND privilege_type = 'CREATE'
UNION ALL
-- Not Supabase's authenticator, whose API must become all three, nor those who bypass row security or can act as the owner of users.
SELECT format('Login role %s can act as authenticated and as service_role, so SQL that is injected into a member''s'
    ' request can bypass row security: %s', login.rolname,
    string_agg(DISTINCT format('REVOKE %I FROM %I', step.rolname, login.rolname), '; '))
FROM pg_roles AS login
JOIN pg_roles AS service ON service.rolname = 'service_role' AND CASE
    WHEN current_setting('server_version_num')::integer < 160000 THEN pg_has_role(login.oid, service.oid, 'MEMBER')
    ELSE pg_has_role(login.oid, service.oid, 'USAGE') OR pg_has_role(login.oid, service.oid, 'SET')
END
JOIN client ON client.rolname = 'authenticated' AND pg_has_role(login.oid, client.oid, 'MEMBER')
JOIN pg_auth_members ON member = login.oid
JOIN pg_roles AS step ON step.oid = roleid AND pg_has_role(step.oid, service.oid, 'MEMBER')
WHERE login.rolcanlogin AND NOT login.rolsuper AND NOT login.rolbypassrls
    AND login.rolname <> 'authenticator' AND login.rolname !~ '^supabase_'
    AND NOT EXISTS (SELECT FROM adopted WHERE name = 'users' AND pg_has_role(login.oid, relowner, 'MEMBER'))
GROUP BY login.rolname
UNION ALL
-- From here on news, of no concern once 006 is there; what becomes of roles `alembic check` says from then on.
SELECT format('Role service_role is bound by row security: ALTER ROLE service_role BYPASSRLS')
FROM pg_roles
WHERE rolname = 'service_role' AND NOT rolsuper AND NOT rolbypassrls AND to_regnamespace('chatbot_private') IS NULL
UNION ALL
SELECT format('Role %s is a member of %s, whose rights it has or may take; `alembic check` will report that until: %s',
    client.rolname, string_agg(held.rolname, ', ' ORDER BY held.rolname),
    string_agg(format('REVOKE %I FROM %I', held.rolname, client.rolname), '; ' ORDER BY held.rolname))
FROM client JOIN pg_auth_members ON member = client.oid JOIN pg_roles AS held ON held.oid = roleid
WHERE to_regnamespace('chatbot_private') IS NULL
GROUP BY client.rolname
UNION ALL
SELECT format('users belongs to %s, and chatbots will belong to %s: migrate as the owner of all', relowner::regrole,
    current_user)
FROM news, adopted WHERE name = 'users' AND relowner <> current_user::regrole
UNION ALL
SELECT format('Foreign key %s of users follows %s, where %s may write: from revision 007 on, the guard refuses'
    ' what that would change of people, also in functions of the owner', conname, confrelid::regclass,
    string_agg(rolname, ' and ' ORDER BY rolname))
FROM news, pg_constraint JOIN client ON confupdtype IN ('c', 'n', 'd')
        AND has_any_column_privilege(client.oid, confrelid, 'UPDATE')
    OR confdeltype IN ('n', 'd') AND has_table_privilege(client.oid, confrelid, 'DELETE')
WHERE conrelid = to_regclass('public.users') AND contype = 'f' AND EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = conrelid AND attnum = ANY (conkey) AND attname IN ('id', 'tenant_id', 'is_active')
)
GROUP BY conname, confrelid
UNION ALL
SELECT format('Revision 006 adds %s, and its downgrade drops them%s%s', string_agg(missing, ', ' ORDER BY place),
    CASE WHEN bool_or(missing = 'users.is_active') THEN '; everybody is active at first' END,
    CASE WHEN bool_or(missing ~ 'updated_at') THEN '; no trigger keeps updated_at current' END)
FROM news, (
    VALUES (1, 'tenants', 'updated_at'), (2, 'users', 'full_name'), (3, 'users', 'is_active'),
        (4, 'users', 'updated_at'), (5, 'conversations', 'title'), (6, 'conversations', 'updated_at')
) AS addable (place, relation, attname), format('%s.%s', relation, attname) AS missing
WHERE NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('public.' || relation) AND pg_attribute.attname = addable.attname AND NOT attisdropped
)
HAVING count(*) > 0
UNION ALL
SELECT 'users.is_active may be NULL, which counts as inactive'
FROM news, pg_attribute
WHERE attrelid = to_regclass('public.users') AND attname = 'is_active' AND NOT attisdropped AND NOT attnotnull
UNION ALL
SELECT format('Without a time zone (type timestamp) are %s: models and usage take them for UTC, and now() is stored as'
    ' the local time of the session that writes',
    string_agg(format('%s.%s', name, attname), ', ' ORDER BY place, attname))
FROM news, adopted JOIN pg_attribute ON attrelid = adopted.oid AND attname IN ('created_at', 'updated_at')
JOIN pg_type ON pg_type.oid = atttypid AND 'timestamp'::regtype IN (pg_type.oid, typbasetype)
WHERE NOT attisdropped
HAVING count(*) > 0
UNION ALL
SELECT format('Function %s takes whole rows of tenants, which get a column: see that it still fits',
    pg_proc.oid::regprocedure)
FROM news, pg_proc
WHERE NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass('public.tenants') AND attname = 'updated_at' AND NOT attisdropped
    )
    AND (
        prorettype = (SELECT reltype FROM adopted WHERE name = 'tenants')
        OR prosrc ~* '\m(old|new)\.\*' AND EXISTS (
            SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid AND tgrelid = to_regclass('public.tenants')
        )
    )
UNION ALL
-- What members cannot use at all.
SELECT * FROM (
    SELECT format('Members may not use %s: role authenticated has no right on it; %s', name, CASE
            WHEN NOT personal THEN 'its policies admit more than a member''s own rows, so change them before any GRANT'
            WHEN rights IS NULL THEN 'nor do its policies admit them'
            ELSE format('%s gives them %s: %sGRANT %s ON TABLE public.%s TO authenticated', subject,
                CASE WHEN covered THEN 'what its policies admit' ELSE 'their own rows' END,
                statements || CASE WHEN relrowsecurity THEN '' ELSE '; ' END, rights, name)
        END)
    FROM news, adopted JOIN mending USING (oid, name, relrowsecurity)
    WHERE NOT EXISTS (
        SELECT FROM held
        WHERE held.oid = adopted.oid AND rolname = 'authenticated'
            AND held.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    )
    ORDER BY place
) AS ordered

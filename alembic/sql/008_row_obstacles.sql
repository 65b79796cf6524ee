-- A users.role that is there already, as long as nobody has said which of its values make a chatbot admin. A CHECK that
-- admits 'admin' and 'user' alone says it.
WITH role_column AS (
    SELECT attrelid, attnum, atttypid FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname = 'role' AND NOT attisdropped AND NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass('public.users') AND tgname = 'users_guard_role_update'
            AND tgfoid = to_regproc('chatbot_private.require_table_owner')
    )
), said (roles) AS (
    SELECT coalesce(
        string_to_array(nullif(current_setting('chatbots.admin_role', true), ''), ','),
        (
            SELECT replace(substring(prosrc FROM '^SELECT ''(.*)''::text\[\]$'), '''''', '''')::text[] FROM pg_proc
            WHERE oid = to_regprocedure('chatbot_private.admin_roles()')
        ),
        (
            SELECT '{admin}'::text[] FROM pg_constraint JOIN role_column ON conrelid = attrelid AND conkey = ARRAY[attnum]
            WHERE contype = 'c' AND convalidated
                AND regexp_replace(pg_get_constraintdef(pg_constraint.oid),
                    '::(character varying|text)(\(\d+\))?(\[\])?|[()\s]', '', 'g')
                    IN ('CHECKrole=ANYARRAY[''admin'',''user'']', 'CHECKrole=ANYARRAY[''user'',''admin'']',
                        'CHECKrole=''admin''ORrole=''user''', 'CHECKrole=''user''ORrole=''admin''')
            LIMIT 1
        )
    )
)
SELECT format('users.role is there already, with the values %s', (
        SELECT string_agg(format('%s (%s)', coalesce(quote_literal(left(value, 100)), 'NULL'), people), ', '
            ORDER BY people DESC, value)
        FROM (
            SELECT role::text AS value, count(*) AS people FROM public.users GROUP BY role::text
            ORDER BY people DESC LIMIT 50
        ) AS counted
    )),
    concat('say which of them make somebody an admin of chatbots, as in: alembic -x admin_role=admin upgrade head'
        '; preflight takes the same -x',
        '; these functions read it: ' || {functions},
        '; these policies read it: ' || (
            SELECT string_agg(DISTINCT format('"%s" of %s', polname, polrelid::regclass), ', ')
            FROM role_column JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = attrelid
                AND refobjsubid = attnum AND classid = 'pg_policy'::regclass
            JOIN pg_policy ON pg_policy.oid = objid
        ))
FROM said
WHERE roles IS NULL AND EXISTS (TABLE role_column)
UNION ALL
SELECT format('Nobody has the role %L, which -x admin_role names', value),
    'give values of users.role as they are written there: ' || coalesce((
        SELECT string_agg(quote_literal(left(present, 100)), ', ' ORDER BY present)
        FROM (SELECT DISTINCT role::text FROM public.users WHERE role IS NOT NULL LIMIT 50) AS roles (present)
    ), 'there are none')
FROM said, unnest(string_to_array(nullif(current_setting('chatbots.admin_role', true), ''), ',')) AS value
WHERE EXISTS (TABLE role_column)
    AND NOT EXISTS (SELECT FROM pg_enum JOIN role_column ON enumtypid = atttypid WHERE enumlabel = value)
    AND NOT EXISTS (SELECT FROM public.users WHERE role::text = value)

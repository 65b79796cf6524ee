-- Rows of conversations and feedback whose user_id is the sub of a token and not users.id: (reason, remedy).
--
-- It reads these tables and users: ask it where they are there, as a role that may read them. The text of identity.sql
-- replaces its name in braces. A validated foreign key to users(id) vouches for a table: then its rows are not read.
WITH suspected AS (
    SELECT pg_class.oid, relname, choice
    FROM ({identity}) AS found (choice, reason, remedy)
    JOIN pg_namespace ON nspname = 'public' AND choice <> 'id'
    JOIN pg_class ON relnamespace = pg_namespace.oid AND relname IN ('conversations', 'feedback')
    WHERE NOT EXISTS (
        SELECT FROM pg_constraint
        JOIN pg_attribute AS referring ON referring.attrelid = conrelid AND conkey = ARRAY[referring.attnum]
        JOIN pg_attribute AS referred ON referred.attrelid = confrelid AND confkey = ARRAY[referred.attnum]
        JOIN pg_class AS people ON people.oid = confrelid
        WHERE conrelid = pg_class.oid AND contype = 'f' AND convalidated AND referring.attname = 'user_id'
            AND people.relname = 'users' AND people.relnamespace = pg_class.relnamespace AND referred.attname = 'id'
    )
), filed (relname, user_id) AS (
    -- A table without a column user_id takes NULL from around it. As text, whatever the type.
    SELECT 'conversations', kept.user_id
    FROM (VALUES (NULL)) AS none (user_id), LATERAL (SELECT user_id::text FROM public.conversations) AS kept (user_id)
    WHERE EXISTS (SELECT FROM suspected WHERE relname = 'conversations')
    UNION ALL
    SELECT 'feedback', kept.user_id
    FROM (VALUES (NULL)) AS none (user_id), LATERAL (SELECT user_id::text FROM public.feedback) AS kept (user_id)
    WHERE EXISTS (SELECT FROM suspected WHERE relname = 'feedback')
), person AS (  -- by name, as the column is known only now
    SELECT document ->> 'id' AS id, document ->> (SELECT min(choice) FROM suspected) AS sub
    FROM public.users, to_jsonb(users) AS document
    WHERE EXISTS (SELECT FROM suspected)
)
SELECT format('user_id of %s row%s of %s is users.%s, the sub of a token, and must be users.id',
        count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END, relname, choice),
    format('have the application store users.id there, and at the same time run UPDATE public.%I SET'
        ' user_id = person.id FROM public.users AS person WHERE person.%I = %1$I.user_id AND NOT EXISTS ('
        'SELECT FROM public.users WHERE users.id = %1$I.user_id)', relname, choice)
FROM filed JOIN suspected USING (relname)
WHERE EXISTS (SELECT FROM person WHERE sub = user_id) AND NOT EXISTS (SELECT FROM person WHERE id = user_id)
GROUP BY relname, choice
ORDER BY relname

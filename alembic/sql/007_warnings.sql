-- What taking over changes for the clients of a platform that has chatbots already.
SELECT 'chatbots is taken over: every chatbot, policy and grant is looked at, 008 swaps the policies and grants for ours,'
    ' and a downgrade puts them back'
WHERE {are_theirs}
UNION ALL
SELECT 'From 008 on, clients are refused: INSERT with another person as created_by, or with created_at or updated_at;'
    ' UPDATE of tenant_id, created_by, created_at or updated_at, also to the same value; anonymous SELECT * of chatbots,'
    ' whose prompt and parameters anonymous visitors may not read: name the columns, or read published_chatbots'
WHERE {are_theirs}
UNION ALL
SELECT format('%s chatbots have a created_by of another tenant, which stays: SELECT chatbots.id FROM public.chatbots JOIN'
    ' public.users ON users.id = created_by WHERE users.tenant_id <> chatbots.tenant_id', count(*))
FROM public.chatbots JOIN public.users ON users.id = created_by
WHERE users.tenant_id <> chatbots.tenant_id AND {are_theirs} HAVING count(*) > 0
UNION ALL
SELECT format('%s chatbots have settings that are NULL: they become {}, and a downgrade leaves them so', count(*))
FROM public.chatbots WHERE settings IS NULL AND {are_theirs} HAVING count(*) > 0
UNION ALL
SELECT format('These functions name chatbots and run as their owner, past row security; see that they tell each caller no'
    ' more than their own tenant''s: %s', string_agg(pg_proc.oid::regprocedure::text, ', ' ORDER BY pg_proc.oid))
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE prosecdef AND nspname !~ '^(pg_|information_schema$|chatbot_(private|compat)$)'
    AND coalesce(pg_get_function_sqlbody(pg_proc.oid), prosrc) ~* '\mchatbots\M' AND {are_theirs}
    AND EXISTS (
        SELECT FROM pg_roles
        WHERE rolname IN ('anon', 'authenticated') AND has_function_privilege(pg_roles.oid, pg_proc.oid, 'EXECUTE')
    )
HAVING count(*) > 0
UNION ALL
SELECT 'From 013 and 014 on, a save of a chatbot is refused if its '
    || string_agg(format('%s has more than %s characters', attname, longest), ' or its ' ORDER BY longest)
    || ': versions and tags keep no more'
FROM pg_attribute JOIN (VALUES ('name', 255), ('model', 100)) AS kept (name, longest) ON attname = kept.name
WHERE attrelid = to_regclass('public.chatbots') AND NOT attisdropped AND {are_theirs}
    AND (atttypmod = -1 OR atttypmod - 4 > longest)
HAVING count(*) > 0

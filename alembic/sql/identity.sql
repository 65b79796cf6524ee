SELECT coalesce(nullif(current_setting('chatbots.identity', true), ''), CASE WHEN EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('public.users') AND attname = 'auth_id') THEN 'auth_id' ELSE 'id' END)::name AS choice,
    NULL::text AS reason, NULL::text AS remedy

-- Rows of chatbots that are taken over, which our CHECKs and keys do not admit.
SELECT CASE count(*) WHEN 1 THEN '1 chatbot ' || regexp_replace(what, '^have ', 'has ')
    ELSE format('%s chatbots %s', count(*), what) END, query
FROM public.chatbots AS chatbot
CROSS JOIN LATERAL (
    VALUES
        (chatbot.tenant_id IS NULL, 'have no tenant_id', 'SELECT id, name FROM public.chatbots WHERE tenant_id IS NULL'),
        (chatbot.name !~ '\S' OR chatbot.name IS NULL, 'have a blank name',
            $q$SELECT id, tenant_id FROM public.chatbots WHERE name !~ '\S' OR name IS NULL$q$),
        (length(chatbot.name) > 255, 'have a name of more than 255 characters',
            'SELECT id, name FROM public.chatbots WHERE length(name) > 255'),
        (chatbot.system_prompt !~ '\S' OR chatbot.system_prompt IS NULL, 'have a blank system_prompt',
            $q$SELECT id, name FROM public.chatbots WHERE system_prompt !~ '\S' OR system_prompt IS NULL$q$),
        (chatbot.model !~ '\S' OR chatbot.model IS NULL, 'have a blank model',
            $q$SELECT id, name FROM public.chatbots WHERE model !~ '\S' OR model IS NULL$q$),
        (length(chatbot.model) > 100, 'have a model of more than 100 characters',
            'SELECT id, name FROM public.chatbots WHERE length(model) > 100'),
        (chatbot.temperature NOT BETWEEN 0 AND 2 OR chatbot.temperature IS NULL, 'have a temperature outside 0 to 2',
            'SELECT id, name FROM public.chatbots WHERE temperature NOT BETWEEN 0 AND 2 OR temperature IS NULL'),
        (chatbot.max_tokens < 1, 'have max_tokens below 1', 'SELECT id, name FROM public.chatbots WHERE max_tokens < 1'),
        (jsonb_typeof(chatbot.settings) <> 'object', 'have settings that are no JSON object',
            $q$SELECT id, name FROM public.chatbots WHERE jsonb_typeof(settings) <> 'object'$q$),
        (chatbot.is_published IS NULL, 'have no is_published',
            'SELECT id, name FROM public.chatbots WHERE is_published IS NULL'),
        (chatbot.created_at IS NULL OR chatbot.updated_at IS NULL, 'have no created_at or updated_at',
            'SELECT id, name FROM public.chatbots WHERE created_at IS NULL OR updated_at IS NULL'),
        (NOT EXISTS (SELECT FROM public.tenants WHERE tenants.id = chatbot.tenant_id), 'have a tenant that is not there',
            'SELECT id, name FROM public.chatbots WHERE tenant_id NOT IN (SELECT id FROM public.tenants)'),
        (chatbot.created_by IS NOT NULL
            AND NOT EXISTS (SELECT FROM public.users WHERE users.id = chatbot.created_by),
            'have a created_by that is not there (it must be users.id, not the token''s sub)',
            'SELECT id, name FROM public.chatbots WHERE created_by NOT IN (SELECT id FROM public.users)')
) AS faults (is_at_fault, what, show)
CROSS JOIN LATERAL (SELECT 'change these: ' || show) AS remedy (query)
WHERE is_at_fault AND {are_theirs}
GROUP BY what, query

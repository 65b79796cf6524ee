-- Links that a key over tenant and chatbot does not admit.
SELECT format('%s linked to %s',
    CASE count(*) WHEN 1 THEN '1 conversation is' ELSE count(*) || ' conversations are' END, what), 'change these: ' || show
FROM public.conversations AS conversation
LEFT JOIN public.chatbots AS chatbot ON chatbot.id = conversation.chatbot_id
CROSS JOIN LATERAL (
    VALUES
        (chatbot.id IS NULL, 'chatbots that are not there',
            'SELECT id, chatbot_id FROM public.conversations WHERE chatbot_id NOT IN (SELECT id FROM public.chatbots)'),
        (chatbot.tenant_id <> conversation.tenant_id, 'chatbots of another tenant',
            'SELECT conversations.id, chatbot_id FROM public.conversations JOIN public.chatbots'
            ' ON chatbots.id = chatbot_id WHERE chatbots.tenant_id <> conversations.tenant_id')
) AS faults (is_at_fault, what, show)
WHERE conversation.chatbot_id IS NOT NULL AND is_at_fault
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'Conversations_guard_chatbot_update'
        AND tgrelid = 'public.conversations'::regclass)
GROUP BY what, show

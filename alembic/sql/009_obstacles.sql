-- A chatbot_id of the platform's own is taken over if it links conversations to chatbots. Its indexes, and a constraint
-- of our name, are renamed by this revision.
WITH ours AS (
    SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass('public.conversations') AND tgname = 'Conversations_guard_chatbot_update'
        AND tgfoid = to_regproc('chatbot_private.require_visible_chatbot')
), theirs AS (
    SELECT attrelid, attname, attnum, attgenerated, format_type(atttypid, atttypmod) AS its_type,
        (WITH RECURSIVE base (type) AS (
            SELECT atttypid
            UNION ALL
            SELECT typbasetype FROM base JOIN pg_type ON pg_type.oid = base.type WHERE typtype = 'd'
        ) SELECT bool_or(type = 'uuid'::regtype) FROM base) AS is_uuid
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.conversations') AND attname = 'chatbot_id' AND NOT attisdropped
        AND NOT EXISTS (TABLE ours)
)
SELECT format('conversations has a column chatbot_id %s', fault), {rename_column}
FROM theirs CROSS JOIN LATERAL (
    SELECT CASE
        WHEN to_regclass('public.chatbots') IS NULL THEN 'of its own, and there is no table chatbots'
        WHEN NOT is_uuid THEN format('of type %s, not uuid', its_type)
        WHEN attgenerated <> '' THEN 'that is generated'
        WHEN EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = attrelid AND contype = 'f' AND attnum = ANY (conkey)
                AND confrelid <> to_regclass('public.chatbots')
        ) THEN 'that references another table than chatbots'
    END
) AS faults (fault)
WHERE fault IS NOT NULL
UNION ALL
SELECT format('%s exists already', relname), {rename_relation}
FROM pg_class
WHERE relnamespace = to_regnamespace('public')
    AND relname IN ('idx_conversations_chatbot_id', 'idx_conversations_tenant_chatbot')
    AND NOT EXISTS (
        SELECT FROM pg_index WHERE indexrelid = pg_class.oid AND indrelid = to_regclass('public.conversations')
    )
UNION ALL
SELECT 'conversations.tenant_id may be NULL, and a link without a tenant could go anywhere',
    'ALTER TABLE public.conversations ALTER COLUMN tenant_id SET NOT NULL'
FROM pg_attribute
WHERE attrelid = to_regclass('public.conversations') AND attname = 'tenant_id' AND NOT attnotnull
    AND to_regproc('chatbot_private.is_adopted') IS NOT NULL  -- or 006 says it
UNION ALL
SELECT format('Trigger %s of conversations exists already', tgname),
    {rename_trigger}
FROM pg_trigger
WHERE tgrelid = to_regclass('public.conversations')
    AND tgname IN ('Conversations_guard_chatbot_insert', 'Conversations_guard_chatbot_update')
    AND NOT EXISTS (TABLE ours)

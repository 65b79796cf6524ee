DO $$
DECLARE
    demo CONSTANT uuid := {demo};  -- NULL: the samples go to a tenant of the platform's own
    identity CONSTANT name := chatbot_private.identity_column();
    of_chatbots text;
    of_tenants text;
    of_users text;
    has_slug boolean;
    person record;
BEGIN
    -- Columns that every INSERT must give, and whose values only the platform knows, unless a trigger of its own may
    -- fill them. A slug is the exception: its name says what to write.
    SELECT string_agg(name, ', ') FILTER (WHERE relname = 'chatbots'),
        string_agg(name, ', ') FILTER (WHERE relname = 'tenants' AND NOT is_slug),
        string_agg(name, ', ') FILTER (WHERE relname = 'users'),
        coalesce(bool_or(is_slug), false)
    INTO of_chatbots, of_tenants, of_users, has_slug
    FROM (
        SELECT relname, format('%s.%s', relname, attname) AS name,
            relname = 'tenants' AND attname = 'slug' AND typcategory = 'S' AS is_slug,
            EXISTS (
                SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                WHERE tgrelid = attrelid AND tgenabled <> 'D' AND tgtype & 7 = 7  -- BEFORE INSERT, FOR EACH ROW
                    AND pronamespace <> 'chatbot_private'::regnamespace
            ) AS may_be_filled
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid JOIN pg_type ON pg_type.oid = atttypid
        WHERE relnamespace = 'public'::regnamespace AND relname IN ('chatbots', 'tenants', 'users')
            AND attnum > 0 AND NOT attisdropped
            AND (attnotnull OR typnotnull) AND NOT atthasdef AND attidentity = '' AND typdefault IS NULL
            AND attname <> ALL (CASE relname
                WHEN 'chatbots' THEN '{chatbot_columns}'::name[]
                WHEN 'tenants' THEN '{id,name}'
                ELSE ARRAY['id', 'tenant_id', 'email', 'full_name', 'is_active', identity]
            END)
        ORDER BY relname, attnum
    ) AS needed
    WHERE is_slug OR NOT may_be_filled;

    IF of_chatbots IS NOT NULL THEN
        RAISE EXCEPTION 'The samples cannot be added, because only the platform knows the values of % (NOT NULL, no'
            ' default): give these columns a default, and run the same again.', of_chatbots
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF demo IS NULL THEN
        RETURN;
    END IF;

    IF NOT EXISTS (SELECT FROM public.tenants WHERE id = demo) THEN
        IF of_tenants IS NOT NULL THEN
            RAISE EXCEPTION 'The demo tenant cannot be made, because only the platform knows the values of % (NOT NULL,'
                ' no default): add the samples to a tenant of yours with `python -m app seed --tenant NAME`, or insert'
                ' a tenant with the id % and run the same again.', of_tenants, demo
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        EXECUTE format('INSERT INTO public.tenants (id, name%s) VALUES (%L, ''Demo''%s) ON CONFLICT DO NOTHING',
            CASE WHEN has_slug THEN ', slug' END, demo, CASE WHEN has_slug THEN ', ''demo''' END);
        IF NOT EXISTS (SELECT FROM public.tenants WHERE id = demo) THEN
            RAISE EXCEPTION 'The demo tenant cannot be made, because another tenant has its name, ''Demo'', or its slug,'
                ' ''demo'': add the samples to a tenant of yours with `python -m app seed --tenant NAME`.'
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END IF;

    -- People are not made up where another table has them first, such as Supabase's auth.users.
    SELECT string_agg(reason, '; ') INTO of_users FROM (
        SELECT format('users.%s refers to %s', attname, confrelid::regclass)
        FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
        WHERE conrelid = 'public.users'::regclass AND contype = 'f' AND attname IN ('id', identity)
        UNION ALL
        SELECT format('only the platform knows the values of %s (NOT NULL, no default)', of_users)
        WHERE of_users IS NOT NULL
    ) AS reasons (reason);
    PERFORM set_config('chatbots.no_people', coalesce(of_users, ''), true);
    IF of_users IS NOT NULL THEN
        RAISE INFO 'No people were added to the demo tenant, because %.', of_users;
        RETURN;
    END IF;
    FOR person IN SELECT * FROM (VALUES
        {people}
    ) AS people (id, sub, email, full_name, is_admin) LOOP
        -- Members get the role that the platform gives to new people.
        EXECUTE format(
            'INSERT INTO public.users (id, tenant_id, email, full_name, is_active%s%s)'
            ' VALUES (%L, %L, %L, %L, true%s%s) ON CONFLICT DO NOTHING',
            CASE WHEN identity <> 'id' THEN format(', %I', identity) END,
            CASE WHEN person.is_admin THEN ', role' END,
            person.id, demo, person.email, person.full_name,
            CASE WHEN identity <> 'id' THEN format(', %L', person.sub) END,
            CASE WHEN person.is_admin THEN format(', %L', (chatbot_private.admin_roles())[1]) END
        );
    END LOOP;
END
$$

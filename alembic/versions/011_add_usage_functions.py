"""Add the guide's monitoring: usage and popularity of chatbots, admins of each tenant, unpublished chatbots.

What: four functions in schema public, where PostgREST finds them, each before one in chatbot_private that reads past
row security, as the owner, and tells figures alone: an admin those of their own tenant, service those of every tenant,
anybody else nothing. A fifth, positive_from, records the lowest rating that is positive: 4, or 1 where ratings are
thumbs (-1 and 1).
Locks: none on existing tables. Where no CHECK says what feedback.rating admits, it reads the ratings once.
Downgrade: drops the functions; loses nothing.
"""

from alembic import op

revision = "011"
down_revision = "010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    record_what_is_positive()
    create_scope()
    create_chatbot_usage()
    create_popular_chatbots()
    create_tenant_admins()
    create_unpublished_chatbots()


def downgrade() -> None:
    op.execute("DROP FUNCTION IF EXISTS public.unpublished_chatbots(uuid)")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.unpublished_chatbots(name, uuid)")
    op.execute("DROP FUNCTION IF EXISTS public.tenant_admins(uuid)")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.tenant_admins(name, uuid)")
    op.execute("DROP FUNCTION IF EXISTS public.popular_chatbots(uuid, integer)")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.popular_chatbots(name, uuid, integer)")
    op.execute("DROP FUNCTION IF EXISTS public.chatbot_usage(uuid, integer)")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.chatbot_usage(name, uuid, integer)")
    op.execute("DROP FUNCTION chatbot_private.reporting_scope(name, uuid)")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.positive_from()")


# Whether ratings are thumbs: one row that says why, or none. The CHECKs of feedback.rating decide, by the whole numbers
# that they admit: ratings are thumbs if the least of these is below 0, or the greatest is 1. Where the CHECKs set no
# least, one rating below 0 decides. ts_stat runs SQL that is put together here: feedback may be missing, and each
# platform has CHECKs of its own. Only comparisons with numbers are run: they call no function of the platform's, and
# none of them can fail.
THUMBS = r"""
    WITH RECURSIVE rating (type, number) AS (  -- the type of the column and, of a domain, what that is made of
        SELECT atttypid, attnum FROM pg_attribute
        WHERE attrelid = to_regclass('public.feedback') AND attname = 'rating' AND NOT attisdropped
        UNION ALL
        SELECT typbasetype, number FROM rating JOIN pg_type ON pg_type.oid = type WHERE typtype = 'd'
    ), base (type) AS (
        SELECT type::regtype FROM rating
        WHERE type = ANY ('{smallint,integer,bigint,numeric,real,double precision}'::regtype[])
    ), checked (condition) AS (
        SELECT string_agg(format('(%s) IS NOT FALSE', expression), ' AND ')
        FROM pg_constraint, pg_get_expr(conbin, conrelid) AS expression
        WHERE contype = 'c' AND (
            contypid IN (SELECT type FROM rating)
            OR conrelid = to_regclass('public.feedback') AND conkey = ARRAY(SELECT DISTINCT number FROM rating)
        ) AND expression ~* ('^([<>=0-9.,()[\]{}'' ]|(?<![\w)] )-|::|\m(rating|value|and|or|not|is|null|any|all'
            '|array|abs|smallint|integer|bigint|numeric(?!\()|real|double precision)\M)+$')
    ), admitted (least, greatest) AS (
        SELECT split_part(word, ' ', 1)::int, split_part(word, ' ', 2)::int
        FROM base, checked, ts_stat(format('
            SELECT array_to_tsvector(ARRAY[concat(min(n), '' '', max(n))])
            FROM (SELECT n, n::%1$s AS rating, n::%1$s AS value FROM generate_series(-1000, 1000) AS n) AS candidate
            WHERE %2$s HAVING count(*) > 0', type, condition))
        WHERE condition IS NOT NULL
    ), below_zero (word) AS (
        SELECT word FROM base, ts_stat(CASE
            WHEN has_table_privilege(to_regclass('public.feedback'), 'SELECT')
                AND NOT row_security_active(to_regclass('public.feedback'))
            THEN format('SELECT ''found''::tsvector FROM public.feedback WHERE rating < 0::%s LIMIT 1', type) END)
    )
    SELECT because FROM (
        SELECT CASE
            WHEN least > -1000 THEN
                CASE WHEN least < 0 OR greatest <= 1
                    THEN format('feedback.rating admits %s to %s', least, greatest) END
            WHEN EXISTS (TABLE below_zero) THEN 'feedback has ratings below 0'
        END
        FROM (VALUES (true)) AS always LEFT JOIN admitted ON true
    ) AS thumbs (because)
    WHERE because IS NOT NULL
"""


def record_what_is_positive() -> None:
    # Closed to everybody: the function that reads past row security asks it as the owner.
    op.execute(f"""
        DO $$
        BEGIN
            EXECUTE format('CREATE FUNCTION chatbot_private.positive_from() RETURNS integer
                LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L',
                CASE WHEN EXISTS ({THUMBS}) THEN 'SELECT 1' ELSE 'SELECT 4' END);
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.positive_from() IS
            'The lowest rating that counts as positive: 4, or 1 where ratings are thumbs (-1 and 1)'
    """)
    close_function("chatbot_private.positive_from()")


def create_scope() -> None:
    # A SECURITY DEFINER function is not told who calls it, and the session's role is not who runs what a foreign key's
    # cascade or a REINDEX sets off. So each function that clients call runs as them, and says who that is (asker); its
    # body is bound to ours, which nobody without USAGE on the schema can name, to say otherwise. And whoever says so,
    # the session has to be past row security, too. Fails closed: what is not set selects no row.
    op.execute("""
        CREATE FUNCTION chatbot_private.reporting_scope(
            asker name, asked uuid, OUT every_tenant boolean, OUT tenant_id uuid
        )
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            session_role name := coalesce(nullif(current_setting('role'), 'none'), session_user);
            own uuid;
        BEGIN
            every_tenant := false;
            IF NOT EXISTS (
                SELECT FROM unnest(ARRAY[asker, session_role]) AS who
                WHERE NOT EXISTS (
                    SELECT FROM pg_roles, pg_class
                    WHERE rolname = who AND pg_class.oid = 'public.conversations'::regclass
                        AND (rolbypassrls OR pg_has_role(pg_roles.oid, relowner, 'USAGE'))
                )
            ) THEN
                every_tenant := asked IS NULL;
                tenant_id := asked;
            ELSIF chatbot_private.is_admin() THEN
                own := chatbot_private.tenant_id();
                tenant_id := CASE WHEN asked IS NULL OR asked = own THEN own END;
            END IF;
        END
        $$
    """)
    op.execute("""
        COMMENT ON FUNCTION chatbot_private.reporting_scope(name, uuid) IS
            'Whose figures the asker is told: every tenant''s or, of the tenant asked for, those that they may know'
    """)
    close_function("chatbot_private.reporting_scope(name, uuid)")


def create_chatbot_usage() -> None:
    # First by message, which several people may rate, then by conversation, then by chatbot: so nothing is counted
    # twice, and everything read once. Of the settings, row_security fails where it would hide rows from the owner;
    # plan_cache_mode plans for the tenant at hand; random_page_cost takes an index for what it is in memory. Times that
    # calendars of programs do not have, which a platform may let people write, are none.
    # An adopted platform may have columns of other types. Times without a time zone are taken for UTC, whatever the
    # caller's session says (TimeZone). Ratings may be of any type of number. The key of a partitioned messages is wider
    # than its id, so the time is grouped by as well; elsewhere the planner leaves it out.
    columns = (
        "tenant_id uuid, chatbot_id uuid, chatbot_name text, is_published boolean, conversations bigint, "
        "messages bigint, people bigint, ratings bigint, mean_rating numeric, positive_share numeric, "
        "last_used_at timestamptz"
    )
    op.execute(f"""
        CREATE FUNCTION chatbot_private.chatbot_usage(asker name, tenant uuid, positive_from integer)
        RETURNS TABLE ({columns})
        LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp SET row_security = off SET plan_cache_mode = force_custom_plan
        SET random_page_cost = 1.1 SET TimeZone = 'UTC'
        AS $$
        DECLARE
            scope record := chatbot_private.reporting_scope(asker, tenant);
            lowest integer := coalesce(positive_from, chatbot_private.positive_from());
        BEGIN
            RETURN QUERY
            SELECT chatbot.tenant_id, chatbot.id, chatbot.name::text, chatbot.is_published,
                coalesce(used.conversations, 0), coalesce(used.messages, 0), coalesce(used.people, 0),
                coalesce(used.ratings, 0), used.stars / nullif(used.ratings, 0),
                used.positive::numeric / nullif(used.ratings, 0), used.last_at
            FROM public.chatbots AS chatbot
            LEFT JOIN (
                SELECT talk.tenant_id, talk.chatbot_id, count(*) AS conversations,
                    sum(talk.messages)::bigint AS messages, count(DISTINCT talk.user_id) AS people,
                    sum(talk.ratings)::bigint AS ratings, sum(talk.stars) AS stars,
                    sum(talk.positive)::bigint AS positive,
                    greatest(max(talk.created_at), max(talk.last_at)) AS last_at
                FROM (
                    SELECT said.tenant_id, said.chatbot_id, said.user_id, said.created_at,
                        count(said.message_id) AS messages, sum(said.ratings) AS ratings, sum(said.stars) AS stars,
                        sum(said.positive) AS positive, max(said.said_at) AS last_at
                    FROM (
                        SELECT conversation.id, conversation.tenant_id, conversation.chatbot_id, conversation.user_id,
                            CASE WHEN conversation.created_at BETWEEN '0001-01-02' AND '9999-12-30'
                                THEN conversation.created_at::timestamptz END AS created_at,
                            message.id AS message_id,
                            CASE WHEN message.created_at BETWEEN '0001-01-02' AND '9999-12-30'
                                THEN message.created_at::timestamptz END AS said_at,
                            count(feedback.rating) AS ratings,
                            sum(feedback.rating)::numeric AS stars,
                            count(*) FILTER (WHERE feedback.rating >= lowest) AS positive
                        FROM public.conversations AS conversation
                        LEFT JOIN public.messages AS message ON message.conversation_id = conversation.id
                        LEFT JOIN public.feedback AS feedback ON feedback.message_id = message.id
                        WHERE conversation.chatbot_id IS NOT NULL
                            AND (scope.every_tenant OR conversation.tenant_id = scope.tenant_id)
                        GROUP BY conversation.id, message.id, message.created_at
                    ) AS said
                    GROUP BY said.id, said.tenant_id, said.chatbot_id, said.user_id, said.created_at
                ) AS talk
                GROUP BY talk.tenant_id, talk.chatbot_id
            ) AS used ON used.tenant_id = chatbot.tenant_id AND used.chatbot_id = chatbot.id
            WHERE scope.every_tenant OR chatbot.tenant_id = scope.tenant_id
            ORDER BY coalesce(used.conversations, 0) DESC, chatbot.tenant_id, chatbot.id;
        END
        $$
    """)
    ask_as_oneself(
        "chatbot_usage",
        types="uuid, integer",
        parameters="tenant uuid DEFAULT NULL, positive_from integer DEFAULT NULL",
        passed="tenant, positive_from",
        columns=columns,
        comment=(
            "Of each chatbot, used or not: its conversations, their messages, the people who had them, "
            "ratings, their mean, the share of them from positive_from on (0 to 1; the default is 4, or 1 where "
            "ratings are -1 and 1), when it was last talked to. An admin's own tenant; for service the tenant "
            "asked for, or all"
        ),
    )


def create_popular_chatbots() -> None:
    columns = "tenant_id uuid, place bigint, chatbot_id uuid, chatbot_name text, conversations bigint"
    op.execute(f"""
        CREATE FUNCTION chatbot_private.popular_chatbots(asker name, tenant uuid, best integer)
        RETURNS TABLE ({columns})
        LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp SET row_security = off SET plan_cache_mode = force_custom_plan
        SET random_page_cost = 1.1
        AS $$
        DECLARE
            scope record := chatbot_private.reporting_scope(asker, tenant);
        BEGIN
            RETURN QUERY
            SELECT chatbot.tenant_id, ranked.place, chatbot.id, chatbot.name::text, ranked.conversations
            FROM (
                SELECT counted.*, rank() OVER (
                    PARTITION BY counted.tenant_id ORDER BY counted.conversations DESC
                ) AS place
                FROM (
                    SELECT conversation.tenant_id, conversation.chatbot_id, count(*) AS conversations
                    FROM public.conversations AS conversation
                    WHERE conversation.chatbot_id IS NOT NULL
                        AND (scope.every_tenant OR conversation.tenant_id = scope.tenant_id)
                    GROUP BY conversation.tenant_id, conversation.chatbot_id
                ) AS counted
            ) AS ranked
            JOIN public.chatbots AS chatbot
                ON chatbot.tenant_id = ranked.tenant_id AND chatbot.id = ranked.chatbot_id
            WHERE ranked.place <= best
            ORDER BY chatbot.tenant_id, ranked.place, chatbot.id;
        END
        $$
    """)
    ask_as_oneself(
        "popular_chatbots",
        types="uuid, integer",
        parameters="tenant uuid DEFAULT NULL, best integer DEFAULT 10",
        passed="tenant, coalesce(best, 10)",
        columns=columns,
        comment=(
            "Of each tenant, the chatbots with the most conversations, down to place best; equals share a "
            "place. An admin's own tenant; for service the tenant asked for, or all"
        ),
    )


def create_tenant_admins() -> None:
    # Inactive ones are told apart: they have no rights. Tenants without any are told, too.
    columns = "tenant_id uuid, tenant_name text, admins bigint, active_admins bigint"
    op.execute(f"""
        CREATE FUNCTION chatbot_private.tenant_admins(asker name, tenant uuid)
        RETURNS TABLE ({columns})
        LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp SET row_security = off SET plan_cache_mode = force_custom_plan
        AS $$
        DECLARE
            scope record := chatbot_private.reporting_scope(asker, tenant);
        BEGIN
            RETURN QUERY
            SELECT its.id::uuid, its.name::text, coalesce(counted.admins, 0), coalesce(counted.active, 0)
            FROM public.tenants AS its
            LEFT JOIN (
                SELECT person.tenant_id, count(*) AS admins, count(*) FILTER (WHERE person.is_active) AS active
                FROM public.users AS person
                WHERE chatbot_private.is_admin_role(person.role)
                    AND (scope.every_tenant OR person.tenant_id = scope.tenant_id)
                GROUP BY person.tenant_id
            ) AS counted ON counted.tenant_id = its.id
            WHERE scope.every_tenant OR its.id = scope.tenant_id
            ORDER BY its.name, its.id;
        END
        $$
    """)
    ask_as_oneself(
        "tenant_admins",
        types="uuid",
        parameters="tenant uuid DEFAULT NULL",
        passed="tenant",
        columns=columns,
        comment=(
            "Of each tenant, how many admins it has, and how many of them are active. An admin's own tenant; "
            "for service the tenant asked for, or all"
        ),
    )


def create_unpublished_chatbots() -> None:
    # TimeZone as for chatbot_usage: chatbots may be the platform's own.
    columns = "tenant_id uuid, chatbot_id uuid, chatbot_name text, created_at timestamptz, updated_at timestamptz"
    op.execute(f"""
        CREATE FUNCTION chatbot_private.unpublished_chatbots(asker name, tenant uuid)
        RETURNS TABLE ({columns})
        LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp SET row_security = off SET plan_cache_mode = force_custom_plan
        SET TimeZone = 'UTC'
        AS $$
        DECLARE
            scope record := chatbot_private.reporting_scope(asker, tenant);
        BEGIN
            RETURN QUERY
            SELECT chatbot.tenant_id, chatbot.id, chatbot.name::text, chatbot.created_at::timestamptz,
                chatbot.updated_at::timestamptz
            FROM public.chatbots AS chatbot
            WHERE NOT chatbot.is_published AND (scope.every_tenant OR chatbot.tenant_id = scope.tenant_id)
            ORDER BY chatbot.updated_at DESC, chatbot.id;
        END
        $$
    """)
    ask_as_oneself(
        "unpublished_chatbots",
        types="uuid",
        parameters="tenant uuid DEFAULT NULL",
        passed="tenant",
        columns=columns,
        comment=(
            "Chatbots that are not published, the one changed last first. An admin's own tenant; for service "
            "the tenant asked for, or all"
        ),
    )


def ask_as_oneself(name: str, *, types: str, parameters: str, passed: str, columns: str, comment: str) -> None:
    # The function that clients call, of the same columns; both closed to whom default privileges opened them.
    told = comment.replace("'", "''")
    op.execute(f"""
        CREATE FUNCTION public.{name}({parameters}) RETURNS TABLE ({columns})
        LANGUAGE sql STABLE
        BEGIN ATOMIC
            SELECT * FROM chatbot_private.{name}(current_user, {passed}) AS told;
        END
    """)
    op.execute(f"COMMENT ON FUNCTION public.{name}({types}) IS '{told}'")
    op.execute(f"COMMENT ON FUNCTION chatbot_private.{name}(name, {types}) IS 'What public.{name} tells its asker'")
    close_function(f"public.{name}({types})")
    close_function(f"chatbot_private.{name}(name, {types})")
    op.execute(f"""
        GRANT EXECUTE ON FUNCTION public.{name}({types}), chatbot_private.{name}(name, {types})
        TO authenticated, service_role
    """)


def close_function(signature: str) -> None:
    op.execute(f"""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            FOR grantee IN
                SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
                WHERE pg_proc.oid = '{signature}'::regprocedure AND acl.grantee <> proowner
            LOOP
                EXECUTE format('REVOKE ALL ON FUNCTION {signature} FROM %s', grantee);
            END LOOP;
        END
        $$
    """)


OBSTACLES = """
    SELECT format('Function %s exists already', oid::regprocedure),
        format('ALTER FUNCTION %s RENAME TO %I', oid::regprocedure, proname || '_before')
    FROM pg_proc
    WHERE pronamespace = to_regnamespace('public')
        AND proname IN ('chatbot_usage', 'popular_chatbots', 'tenant_admins', 'unpublished_chatbots')
"""

# An adopted platform may keep tables from the role that migrates, or look for a conversation's parts by other ways.
WARNINGS = f"""
    SELECT format('%s does not see every row of %s, so the functions that count them fail until it may SELECT from'
        ' them, and owns them or has BYPASSRLS', current_user, string_agg(relname, ', ' ORDER BY relname))
    FROM pg_class
    WHERE oid = ANY (ARRAY[to_regclass('public.tenants'), to_regclass('public.users'),
            to_regclass('public.conversations'), to_regclass('public.messages'), to_regclass('public.feedback')])
        AND (NOT has_table_privilege(oid, 'SELECT') OR row_security_active(oid))
    HAVING count(*) > 0
    UNION ALL
    SELECT format('Ratings are thumbs: %s. Usage, metrics and alerts count 1 and above as positive', because)
    FROM ({THUMBS}) AS thumbs
    UNION ALL
    SELECT format('No index of %s begins with %s, so chatbot_usage reads the whole table: %s', relation, name,
        concat_ws('; ', string_agg(format('CREATE INDEX CONCURRENTLY ON %s (%I)', part, name), '; ' ORDER BY part),
            CASE relkind WHEN 'p' THEN format('CREATE INDEX ON public.%I (%I)', relation, name) END))
    FROM (VALUES ('messages', 'conversation_id'), ('feedback', 'message_id')) AS needed (relation, name)
    JOIN pg_class ON pg_class.oid = to_regclass('public.' || relation)
    LEFT JOIN pg_partition_tree(pg_class.oid) AS tree ON isleaf  -- no row for what is not partitioned
    CROSS JOIN coalesce(relid, pg_class.oid::regclass) AS part
    JOIN pg_attribute ON attrelid = part AND attname = name
    WHERE NOT EXISTS (
        SELECT FROM pg_index WHERE indrelid = attrelid AND indkey[0] = attnum AND indpred IS NULL AND indisvalid
    )
    GROUP BY relation, name, relkind
"""

# What of the platform's own needs what a downgrade drops.
DEPENDENTS = """
    WITH ours AS (
        SELECT oid, proname FROM pg_proc
        WHERE pronamespace = to_regnamespace('chatbot_private') AND proname IN ('positive_from', 'reporting_scope',
                'chatbot_usage', 'popular_chatbots', 'tenant_admins', 'unpublished_chatbots')
            OR oid IN (to_regprocedure('public.chatbot_usage(uuid, integer)'),
                to_regprocedure('public.popular_chatbots(uuid, integer)'),
                to_regprocedure('public.tenant_admins(uuid)'), to_regprocedure('public.unpublished_chatbots(uuid)'))
    )
    SELECT DISTINCT pg_describe_object(classid, objid, 0), format('drop or change it first: it needs %s', proname)
    FROM pg_depend JOIN ours ON ours.oid = refobjid
    WHERE refclassid = 'pg_proc'::regclass AND deptype = 'n'
        AND NOT (classid = 'pg_proc'::regclass AND objid IN (SELECT oid FROM ours))
"""

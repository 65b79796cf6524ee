-- Which column of public.users holds the sub of a caller's token, on a database before revision 006.
--
-- Rows of (choice, reason, remedy). If it is decided: one row, with the column as choice. Otherwise: rows that say why
-- not and what to do, without a choice.
--
-- Candidates are the uuid columns of users that reference auth.users, or that policies compare with the sub, directly
-- or in functions that they call and views that they read. PostgreSQL tells what a policy depends on, but not what it
-- compares with what, and of most functions it knows the text alone. So this query reads texts, in four steps:
--   1. `source` collects the policies, and what they call and read, transitively;
--   2. `folded` rewrites each way to ask for the sub to the word {sub}, and drops casts and needless parentheses.
--      Braces of the platform's own, in quotes, are taken away before;
--   3. `stated` replaces parameters and variables that are given the sub;
--   4. `attribute` finds the table of each column that is compared with {sub}, in the scope where it stands.
-- A comparison that these steps do not understand yields no candidate: then the operator decides by -x.
--
-- The query reads the catalog alone. In its patterns no colon stands before a word: SQLAlchemy would take a parameter.
WITH RECURSIVE uuid_type (oid) AS (  -- with the domains over it
    SELECT 'uuid'::regtype::oid
    UNION
    SELECT pg_type.oid FROM uuid_type JOIN pg_type ON typtype = 'd' AND typbasetype = uuid_type.oid
), person AS (  -- the columns of users
    SELECT attrelid, attnum, attname, format_type(atttypid, atttypmod) AS type, typcategory,
        atttypid IN (SELECT oid FROM uuid_type) AS is_uuid,
        EXISTS (
            SELECT FROM pg_index
            WHERE indrelid = attrelid AND indnkeyatts = 1 AND indkey[0] = attnum
                AND indisunique AND indimmediate AND indisvalid
                AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) = format('(%I IS NOT NULL)', attname))
        ) AS is_unique
    FROM pg_attribute
    JOIN pg_type ON pg_type.oid = atttypid
    JOIN pg_class ON pg_class.oid = attrelid AND relname = 'users'
    JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = 'public'
    WHERE attnum > 0 AND NOT attisdropped
), grammar AS (
    SELECT ident, path, '(?:\{\w+\}|\$\d+|' || path || ')' AS operand,
        replace(replace(replace(nest, 'NEST', nest), 'NEST', nest), 'NEST', '[^()]*') AS balanced,
        -- What is dropped of a text: comments, and strings but for those that this query looks for. Quoted names are
        -- kept, and are here because they may hold quotes and dashes.
        '(''sub''|''request\.jwt\.claims''|''request\.jwt\.claim\.sub''|"[^"]*")'
            '|\me''([^''\\]|\\.)*''|''[^'']*''|--[^\n]*|/\*([^*]|\*+[^*/])*\*+/' AS noise,
        -- A relation (4) and its alias (8), in FROM or after it. `scope` leaves {query} of a parenthesis.
        '(\m(from|join|update)\s|,)\s*(only\s+|lateral\s+)?(' || path || '|\{query\})(?![\w$.]|\s*\()(\s*\{query\})?'
            '(\s+(as\s+)?((?!(on|where|join|left|right|inner|full|cross|natural|using|group|order|having|limit|offset'
            '|fetch|for|set|union|intersect|except|returning|window|tablesample|loop|then|and|or|into|values|select'
            '|as|from)\M)' || ident || '))?' AS relation,
        -- A column (1, 6) that is compared with the sub.
        '(' || path || ')\s*(=|<>|!=|\min\M)\s*\{sub\}'
            '|\{sub\}\s*(=|<>|!=|\min\M)\s*(\(\s*select\s+(distinct\s+)?)?(' || path || ')(?![\w$."]|\s*\()'
            AS comparison
    FROM (VALUES ('(?:"[^"]+"|[a-z_][\w$]*)' COLLATE "C")) AS idents (ident),
        LATERAL (VALUES (ident || '(?:\s*\.\s*' || ident || ')*')) AS paths (path),
        (VALUES ('(?:[^()]|\(NEST\))*')) AS nests (nest)
), routine AS (  -- functions whose texts say what they do, with a pattern of their names; an extension's are left out
    SELECT pg_proc.oid, nspname, proname, format('(?:"?%s"?\s*\.\s*)%s"?%s"?',
        regexp_replace(nspname, '(\W)', '\\\1', 'g'),
        CASE WHEN min(nspname) OVER homonyms = max(nspname) OVER homonyms THEN '?' END,
        regexp_replace(proname, '(\W)', '\\\1', 'g')) AS pattern
    FROM pg_proc
    JOIN pg_namespace ON pg_namespace.oid = pronamespace AND nspname NOT IN ('pg_catalog', 'information_schema')
    JOIN pg_language ON pg_language.oid = prolang AND lanname IN ('sql', 'plpgsql')
    WHERE NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
    )
    WINDOW homonyms AS (PARTITION BY proname)

-- 1. The texts. PostgreSQL knows what policies, views and bodies that it has parsed use; it writes them down with each
-- name qualified as the current search_path needs it. A body that is a string is looked through for names of functions.
), uses (classid, objid, used_class, used) AS MATERIALIZED (  -- 0 stands for any policy
    SELECT classid, CASE classid WHEN 'pg_policy'::regclass THEN 0 ELSE objid END, refclassid, refobjid
    FROM pg_depend
    WHERE classid IN ('pg_policy'::regclass, 'pg_rewrite'::regclass, 'pg_proc'::regclass)
        AND refclassid = 'pg_proc'::regclass
    UNION
    SELECT classid, CASE classid WHEN 'pg_policy'::regclass THEN 0 ELSE objid END, 'pg_rewrite'::regclass, oid
    FROM pg_depend JOIN pg_rewrite ON ev_class = refobjid AND rulename = '_RETURN'
    WHERE classid IN ('pg_policy'::regclass, 'pg_rewrite'::regclass, 'pg_proc'::regclass)
        AND refclassid = 'pg_class'::regclass
), used (classid, objid, is_string, search_path, body) AS (
    SELECT 'pg_policy'::regclass::oid, 0::oid, false, NULL::text[] COLLATE "C", NULL COLLATE "C"
    UNION
    SELECT next.classid, next.objid, content.is_string, content.search_path,
        regexp_replace(translate(content.body, '{}', ''), noise, '\1 ', 'gi')
    FROM (
        SELECT DISTINCT found.classid, found.objid
        FROM used CROSS JOIN grammar
        CROSS JOIN LATERAL (
            SELECT used_class, uses.used FROM uses
            WHERE NOT used.is_string AND uses.classid = used.classid AND uses.objid = used.objid
            UNION ALL
            SELECT 'pg_proc'::regclass, pg_proc.oid
            FROM regexp_matches(used.body, '(' || path || ')\s*\(', 'gi') AS call (parts)
            CROSS JOIN LATERAL parse_ident(parts[1]) AS called (name)
            JOIN pg_proc ON proname = name[cardinality(name)]
            JOIN pg_namespace ON pg_namespace.oid = pronamespace
                AND nspname = ANY (CASE cardinality(name) WHEN 1 THEN used.search_path ELSE name END)
            WHERE used.is_string
        ) AS found (classid, objid)
    ) AS next
    CROSS JOIN grammar
    CROSS JOIN LATERAL (
        SELECT prosqlbody IS NULL,
            CASE WHEN prosqlbody IS NULL THEN coalesce((
                SELECT string_to_array(regexp_replace(setting, '^search_path=|["\s]', '', 'g'), ',')
                FROM unnest(proconfig) AS setting WHERE setting ~ '^search_path='
            ), ARRAY['public', nspname]) ELSE current_schemas(true)::text[] END,
            CASE WHEN pronargdefaults > 0 THEN pg_get_function_arguments(pg_proc.oid) || '; ' ELSE '' END
                || coalesce(pg_get_function_sqlbody(pg_proc.oid), prosrc)
        FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE next.classid = 'pg_proc'::regclass AND pg_proc.oid = next.objid
            AND next.objid IN (SELECT oid FROM routine)
        UNION ALL
        SELECT false, current_schemas(true)::text[], pg_get_viewdef(ev_class)
        FROM pg_rewrite WHERE next.classid = 'pg_rewrite'::regclass AND oid = next.objid
    ) AS content (is_string, search_path, body)
), source AS (
    SELECT * FROM used WHERE objid <> 0
    UNION ALL
    SELECT 'pg_policy'::regclass, pg_policy.oid, false, current_schemas(true)::text[], regexp_replace(translate(
        format('select from %s where %s', polrelid::regclass, concat_ws(' and ',
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))),
        '{}', ''), noise, '\1 ', 'gi')
    FROM pg_policy, grammar

-- 2. One word for the sub. First the settings, then functions that return the sub or the claims and read no table.
), settled AS (
    SELECT classid, objid, is_string, search_path,
        regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(body,
        '::\s*[\w".]+(\s+varying)?(\s*\(\s*\d[^()]*\))?(\s*\[\d*\])*', '', 'g'),  -- casts
        '\mis\s+(not\s+)?distinct\s+from\M', '=', 'gi'),
        '=\s*(any|some)\M', 'in', 'gi'),
        '(pg_catalog\s*\.\s*)?\mcurrent_setting\s*\(\s*''request\.jwt\.claim\.sub''[^()]*\)', '{sub}', 'gi'),
        '(pg_catalog\s*\.\s*)?\mcurrent_setting\s*\(\s*''request\.jwt\.claims''[^()]*\)', '{claims}', 'gi') AS body
    FROM source
), getter AS (
    SELECT routine.pattern, body, word
    FROM settled
    JOIN routine ON classid = 'pg_proc'::regclass AND routine.oid = objid
    JOIN pg_proc ON pg_proc.oid = objid
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN proretset OR pronargs > pronargdefaults THEN NULL
            WHEN prorettype IN (SELECT oid FROM uuid_type) THEN '{sub}'
            WHEN prorettype IN ('text'::regtype, 'varchar'::regtype) THEN '{sub}'
            WHEN prorettype IN ('json'::regtype, 'jsonb'::regtype) THEN '{claims}'
        END
    ) AS returned (word)
    WHERE CASE WHEN word IS NOT NULL THEN NOT EXISTS (
        SELECT FROM grammar CROSS JOIN LATERAL regexp_matches(body, relation, 'gi') AS reading (parts)
        CROSS JOIN LATERAL parse_ident(parts[4]) AS relation_read (name)
        JOIN pg_class ON relname = name[cardinality(name)] AND relkind IN ('r', 'p', 'v', 'm', 'f')
    ) END
), reader (pattern, word) AS (
    VALUES ('"?auth"?\s*\.\s*"?uid"?' COLLATE "C", '{sub}'), ('"?auth"?\s*\.\s*"?jwt"?', '{claims}')
    UNION
    SELECT getter.pattern, getter.word
    FROM reader JOIN getter ON CASE
        WHEN body ~* ('(?<![\w$."])' || reader.pattern || '\s*\(')
            THEN getter.word = reader.word OR reader.word = '{claims}' AND body ~ '''sub'''
        ELSE body ~ getter.word OR body ~ '\{claims\}' AND body ~ '''sub'''
    END
), rule AS (
    SELECT number, replace(replace(pattern, 'OPERAND', operand), 'BALANCED', balanced) AS pattern, result,
        count(*) OVER () AS rules
    FROM grammar, (VALUES
        (0, '\{claims\}\s*(->>?\s*''sub''|\[\s*''sub''\s*\])'
            '|\mjsonb?_extract_path(_text)?\s*\(\s*\{claims\}\s*,\s*(variadic array\[)?\s*''sub''\s*\]?\s*\)', '{sub}'),
        (1, '\m(nullif|coalesce|uuid|text)\s*\(\s*(\{sub\}|\{claims\})\s*(,BALANCED)?\)', '\2'),
        (2, '\m(lower|upper|trim|btrim)\s*\(\s*(OPERAND)\s*\)', '\2'),
        (3, '\mcast\s*\(\s*(OPERAND)\s+as\s+[^()]*(\([^()]*\))?\)', '\1'),
        (4, '\(\s*select\s+(OPERAND)(\s+as\s+OPERAND)?\s*\)', ' \1 '),
        (5, '(^|[^\w"$\s]|\m(and|or|not|where|on|in|any|select|return|when|then|else|if|array)\M)'
            '\s*\(\s*(OPERAND)\s*\)', '\1 \3 '),
        (6, '\min\s*\(\s*array\s*\[([^][()]*)\]\s*\)', 'in (\1)'),
        (7, '\min\s*\(\s*array\s+\{sub\}\s*\)', 'in {sub}'),
        (8, '\{sub\}\s+in\s*\(\s*(OPERAND)\s*,', '{sub} = \1 or {sub} in ('),
        (9, '(OPERAND)\s+in\s*\(([^()]*,)?\s*\{sub\}\s*(,[^()]*)?\)', '\1 = {sub}')
    ) AS rewriting (number, pattern, result)
), folding (classid, objid, is_string, search_path, body, step, unchanged) AS (
    SELECT classid, objid, is_string, search_path,
        regexp_replace(regexp_replace(body, of_sub, '{sub}', 'gi'), of_claims, '{claims}', 'gi'), 0, 0
    FROM settled, (
        SELECT format('(?<![\w$."])(%s)\s*\(\s*\)', string_agg(pattern, '|') FILTER (WHERE word = '{sub}')),
            format('(?<![\w$."])(%s)\s*\(\s*\)', string_agg(pattern, '|') FILTER (WHERE word = '{claims}'))
        FROM reader
    ) AS readers (of_sub, of_claims)
    UNION ALL
    SELECT classid, objid, is_string, search_path, next.body, step + 1,
        CASE WHEN next.body = folding.body THEN unchanged + 1 ELSE 0 END
    FROM folding
    JOIN rule ON number = step % rules AND unchanged < rules AND step < 20 * rules
    CROSS JOIN LATERAL regexp_replace(folding.body, pattern, result, 'gi') AS next (body)
), folded AS (  -- and, at last, two statements turned round
    SELECT classid, objid, is_string, search_path, regexp_replace(regexp_replace(body,
        '\mselect\s+(\{sub\})\s+into\s+(strict\s+)?([\w$]+)', '\3 := \1', 'gi'),
        format('\(\s*(select\s+%s(\s+as\s+%1$s)?\s+from\s%s)\)\s*=\s*\{sub\}', operand, balanced),
        '{sub} = ( \1)', 'gi') AS body
    FROM grammar CROSS JOIN folding JOIN rule ON number = 0 AND (unchanged = rules OR step = 20 * rules)

-- 3. A parameter holds the sub if a call gives it the sub, a variable if an assignment does. And a function that
-- compares its only argument with the sub says so of whatever it is called with.
), flow (giver, value, taker, holder) AS (
    SELECT folded.objid, lower(matched.parts[3]), pg_proc.oid, holder
    FROM folded CROSS JOIN grammar
    CROSS JOIN LATERAL regexp_matches(body, '(' || path || ')\s*\(([^()]*)', 'gi') AS call (parts)
    CROSS JOIN LATERAL parse_ident(call.parts[1]) AS called (name)
    JOIN pg_proc ON proname = name[cardinality(name)] AND pg_proc.oid IN (SELECT objid FROM used)
    CROSS JOIN LATERAL unnest(string_to_array(call.parts[2], ',')) WITH ORDINALITY AS argument (content, place)
    CROSS JOIN LATERAL regexp_match(
        content, '^\s*((' || ident || ')\s*(?:=>|:=))?\s*(\{sub\}|\$\d+|' || ident || ')\s*$', 'i'
    ) AS matched (parts)
    CROSS JOIN LATERAL (
        SELECT array_agg(lower(label) ORDER BY position)
        FROM unnest(proargnames) WITH ORDINALITY AS names (label, position)
        WHERE proargmodes IS NULL OR proargmodes[position] IN ('i', 'b', 'v')
    ) AS inputs (names)
    CROSS JOIN LATERAL coalesce(array_position(names, lower(btrim(matched.parts[2], '"'))), place) AS number
    CROSS JOIN LATERAL (VALUES ('$' || number), (names[number])) AS holders (holder)
    WHERE matched.parts IS NOT NULL AND holder <> ''
    UNION
    SELECT objid, lower(parts[7]), objid, btrim(lower(holder), '"')  -- the word before, or the first of a declaration
    FROM folded CROSS JOIN grammar
    CROSS JOIN LATERAL regexp_matches(body, '((^|[;,]|\mdeclare\s)\s*(' || ident || ')\s+)?(' || ident || '\s+){0,3}('
        || ident || ')\s*(:=|\mdefault\M)\s*(\{sub\}|\$\d+|' || ident || ')', 'gi') AS assignment (parts)
    CROSS JOIN LATERAL (VALUES (parts[3]), (parts[5])) AS holders (holder)
    WHERE is_string AND body ~* ':=|\mdefault\M' AND holder IS NOT NULL
), holding (objid, holder) AS (
    SELECT taker, holder FROM flow WHERE value = '{sub}'
    UNION
    SELECT flow.taker, flow.holder FROM holding JOIN flow ON giver = objid AND value = holding.holder
), held AS (
    SELECT objid, format('(?<![\w$."])("?%s"?\s*\.\s*)?("?%s"?)(?![\w$."]|\s*\()',
        regexp_replace(proname, '(\W)', '\\\1', 'g'),
        string_agg(regexp_replace(holder, '(\W)', '\\\1', 'g'), '"?|"?')) AS pattern
    FROM holding JOIN pg_proc ON pg_proc.oid = objid
    GROUP BY objid, proname
), tester AS (
    SELECT format('(?<![\w$."])(%s)\s*\(\s*(%s)\s*\)', string_agg(routine.pattern, '|'), operand) AS pattern
    FROM folded
    JOIN routine ON routine.oid = objid
    JOIN pg_proc ON pg_proc.oid = objid AND classid = 'pg_proc'::regclass AND pronargs = 1
    CROSS JOIN LATERAL (
        SELECT '(\$1' || coalesce('|"?' || regexp_replace(nullif(proargnames[1], ''), '(\W)', '\\\1', 'g') || '"?', '')
            || ')'
    ) AS argument (pattern)
    CROSS JOIN grammar
    WHERE body ~* ('(?<![\w$."])' || argument.pattern || '\s*=\s*\{sub\}')
        OR body ~* ('\{sub\}\s*=\s*' || argument.pattern || '(?![\w$."]|\s*\()')
    GROUP BY operand
), stated AS (
    SELECT folded.classid, folded.objid, search_path, final.body
    FROM folded LEFT JOIN held ON folded.classid = 'pg_proc'::regclass AND held.objid = folded.objid
    LEFT JOIN tester ON true
    CROSS JOIN LATERAL (SELECT CASE WHEN held.pattern IS NULL THEN folded.body
        ELSE regexp_replace(folded.body, held.pattern, '{sub}', 'gi') END) AS filled (body)
    CROSS JOIN LATERAL (SELECT CASE WHEN tester.pattern IS NULL THEN filled.body
        ELSE regexp_replace(filled.body, tester.pattern, '{sub} = \2', 'gi') END) AS final (body)

-- 4. Whose column it is. Parentheses that were closed before it are other scopes; taken away, the last relation that
-- goes by its qualifier, or that has such a column, is its own. In a select list, the relations follow.
), compared AS (
    SELECT classid, objid, search_path, nth, parse_ident(split_part(content, '{of}', 1)),
        split_part(array_to_string(pieces[: nth - 1], ''), ';', -1),
        split_part(array_to_string(pieces[nth :], ''), ';', 1)
    FROM stated CROSS JOIN grammar
    CROSS JOIN LATERAL string_to_array(regexp_replace(body, comparison, '\4{is}\1\6{of}', 'gi'), '{is}') AS pieces
    CROSS JOIN LATERAL unnest(pieces) WITH ORDINALITY AS piece (content, nth)
    WHERE nth BETWEEN 2 AND 101  -- more in one text nobody has written by hand
), scope (classid, objid, search_path, nth, name, before, behind, reduced_by) AS (
    SELECT *, 1 FROM compared
    UNION ALL
    SELECT classid, objid, search_path, nth, name, less[1], less[2],
        regexp_count(before || behind, '\(') - regexp_count(less[1] || less[2], '\(')
    FROM scope CROSS JOIN LATERAL (
        SELECT array_agg(regexp_replace(
            regexp_replace(side, '\((?![^()]*\mselect\M)([^()]*\mjoin\M[^()]*)\)', ' \1 ', 'gi'),
            '\([^()]*\)', ' {query} ', 'g') ORDER BY place)
        FROM unnest(ARRAY[before, behind]) WITH ORDINALITY AS sides (side, place)
    ) AS reduced (less)
    WHERE reduced_by <> 0
), attribute AS (
    SELECT DISTINCT ON (classid, objid, nth) classid, objid, attrelid, attnum
    FROM scope CROSS JOIN grammar
    CROSS JOIN LATERAL (
        SELECT parts, -place FROM regexp_matches(before, relation, 'gi') WITH ORDINALITY AS preceding (parts, place)
        UNION ALL
        SELECT parts, place - 1e6
        FROM regexp_replace(before, '^.*\mselect\M', '', 'i') AS list
        CROSS JOIN LATERAL regexp_replace(behind, format('^([^)]*\)){%s}', regexp_count(list, '\(')), '') AS rest
        CROSS JOIN LATERAL regexp_matches(
            regexp_replace(rest, '\).*$|\m(union|intersect|except)\M.*$', '', 'i'), relation, 'gi'
        ) WITH ORDINALITY AS following (parts, place)
        WHERE list <> before AND list !~* '\mfrom\M'
    ) AS relations (parts, distance)
    CROSS JOIN LATERAL (SELECT CASE WHEN parts[4] <> '{query}' THEN parse_ident(parts[4]) END) AS parsed (parents)
    CROSS JOIN LATERAL (
        SELECT parents[cardinality(parents)], name[cardinality(name)], name[cardinality(name) - 1]
    ) AS part (relation, "column", qualifier)
    LEFT JOIN LATERAL (
        SELECT attrelid, attnum
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_attribute ON attrelid = pg_class.oid AND attname = part."column" AND attnum > 0
        WHERE relname = part.relation
            AND nspname = ANY (CASE cardinality(parents) WHEN 1 THEN search_path ELSE parents END)
            AND (cardinality(parents) > 1 OR before !~* format(  -- or it is a common table expression
                '\m%s"?(\s*\{query\})?\s+as\s+(not\s+)?(materialized\s+)?\{query\}',
                regexp_replace(part.relation, '(\W)', '\\\1', 'g')
            ))
        ORDER BY array_position(search_path, nspname)
        LIMIT 1
    ) AS owner ON true
    WHERE reduced_by = 0 AND CASE WHEN qualifier IS NULL THEN attnum IS NOT NULL
        ELSE qualifier = coalesce((parse_ident(parts[8]))[1], part.relation) END
    ORDER BY classid, objid, nth, distance

-- What follows. First, each column of any table that references auth.users or is compared with the sub, and why.
), policy AS (
    SELECT oid, polname, polrelid, polqual, polwithcheck,
        format('policy "%s" of table %s', polname, regexp_replace(polrelid::regclass::text, '^public\.', '')) AS label
    FROM pg_policy
), reads AS (  -- the texts, by their names
    SELECT classid, objid, body, CASE classid
        WHEN 'pg_policy'::regclass THEN (SELECT label FROM policy WHERE oid = objid)
        WHEN 'pg_rewrite'::regclass THEN (SELECT concat('view ', ev_class::regclass) FROM pg_rewrite WHERE oid = objid)
        ELSE concat('function ', objid::regprocedure, (
            SELECT ', which ' || min(label) || ' calls,'
            FROM pg_depend JOIN policy ON policy.oid = pg_depend.objid AND pg_depend.classid = 'pg_policy'::regclass
            WHERE (refclassid, refobjid) = (stated.classid, stated.objid)
        ))
    END AS label
    FROM stated
), evidence (attrelid, attnum, classid, objid, why) AS (
    SELECT conrelid, conkey[1], 'pg_constraint'::regclass::oid, pg_constraint.oid,
        format('foreign key "%s" references auth.users', conname)
    FROM pg_constraint
    JOIN pg_class ON pg_class.oid = confrelid AND relname = 'users'
    JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = 'auth'
    WHERE contype = 'f' AND cardinality(conkey) = 1
    UNION
    SELECT attrelid, attnum, classid, objid, label || ' compares it with the sub'
    FROM attribute JOIN reads USING (classid, objid)
    -- A policy depends on each column that it names: what is not among those has been misread.
    WHERE classid <> 'pg_policy'::regclass OR EXISTS (
        SELECT FROM pg_depend
        WHERE (pg_depend.classid, pg_depend.objid) = (attribute.classid, attribute.objid)
            AND (refclassid, refobjid, refobjsubid) = ('pg_class'::regclass, attrelid, attnum)
    )
), argument AS (  -- in a few words
    SELECT attrelid, attnum, concat(
        string_agg(why, ', ' ORDER BY place) FILTER (WHERE place <= 2),
        CASE WHEN count(*) > 2 THEN format(', and %s more', count(*) - 2) END
    ) AS why
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY attrelid, attnum
            ORDER BY classid <> 'pg_constraint'::regclass, classid <> 'pg_policy'::regclass, why
        ) AS place
        FROM evidence
    ) AS numbered
    GROUP BY attrelid, attnum

-- The choice. Each column of users comes with the command that chooses it, and first, where it is needed, the statement
-- that makes it unique. A column of text gets one beside it, as its type cannot change while a policy or view uses it.
), option AS (
    SELECT attnum, attname, is_unique, is_uuid, typcategory = 'S' AS is_text,
        why IS NOT NULL AS is_named, is_uuid AND why IS NOT NULL AS is_candidate,
        format('users.%s (%s)', attname, concat_ws(', ', CASE WHEN NOT is_uuid THEN type END, why,
            CASE WHEN is_unique THEN 'unique' ELSE 'not unique' END)) AS label,
        concat(
            CASE
                WHEN NOT is_uuid THEN format('ALTER TABLE public.users ADD COLUMN %I uuid UNIQUE GENERATED ALWAYS AS'
                    ' (%I::uuid) STORED; then ', target, attname)
                WHEN NOT is_unique THEN format('CREATE UNIQUE INDEX CONCURRENTLY ON public.users (%I); then ', attname)
            END,
            '`alembic -x ', CASE WHEN target ~ '^[\w.-]+$' THEN 'identity=' || target
                ELSE format('''identity=%s''', replace(target, '''', '''\''''')) END, ' upgrade head`'
        ) AS remedy
    FROM person LEFT JOIN argument USING (attrelid, attnum)
    CROSS JOIN LATERAL (SELECT CASE WHEN is_uuid THEN attname::text ELSE attname || '_uuid' END) AS chosen (target)
), situation AS (
    SELECT nullif(current_setting('chatbots.identity', true), '') AS wish,
        count(*) FILTER (WHERE is_candidate) AS candidates,
        count(*) FILTER (WHERE is_candidate AND is_unique) AS usable,
        count(*) FILTER (WHERE is_named AND is_text) AS texts,
        (
            SELECT label FROM reads WHERE body LIKE '%{sub}%'
            ORDER BY classid <> 'pg_policy'::regclass, label LIMIT 1
        ) AS reads_sub
    FROM option
), decided (choice) AS (
    SELECT 'id' WHERE NOT EXISTS (SELECT FROM person)
    UNION ALL
    SELECT attname FROM option, situation WHERE CASE
        WHEN wish IS NOT NULL THEN attname = wish AND is_uuid AND is_unique
        ELSE usable = 1 AND is_candidate AND is_unique
    END
    UNION ALL
    SELECT 'id' FROM situation
    WHERE wish IS NULL AND candidates = 0 AND reads_sub IS NULL AND EXISTS (SELECT FROM person)
), undecided (reason, remedy) AS (
    SELECT problem || string_agg(label, ', ' ORDER BY attnum) FILTER (WHERE is_listed),
        coalesce(
            string_agg(remedy, ' or ' ORDER BY attnum) FILTER (WHERE is_offered) || '; preflight takes the same -x',
            'give users a unique column of type uuid that holds the sub'
        )
    FROM situation CROSS JOIN option CROSS JOIN LATERAL (
        SELECT format('users has no column %s, which -x identity names; its uuid columns: ', wish),
            is_uuid, is_uuid AND is_unique
        WHERE wish NOT IN (SELECT attname FROM option)
        UNION ALL
        SELECT format('users.%s, which -x identity names, is no uuid: ', wish),
            option.is_uuid,
            CASE WHEN named.is_text THEN option.attname = wish ELSE option.is_uuid AND option.is_unique END
        FROM option AS named WHERE named.attname = wish AND NOT named.is_uuid
        UNION ALL
        SELECT format('users.%s, which -x identity names, is not unique: ', wish),
            option.attname = wish, option.attname = wish
        FROM option AS named WHERE named.attname = wish AND named.is_uuid AND NOT named.is_unique
        UNION ALL
        SELECT CASE usable WHEN 0 THEN 'No uuid column of users that may hold the sub of a token is unique: '
                ELSE 'Several columns of users may hold the sub of a token: ' END,
            is_candidate, is_candidate AND (is_unique OR usable = 0)
        WHERE wish IS NULL AND candidates > 0 AND usable <> 1
        UNION ALL
        SELECT reads_sub || ' reads the sub of a token, but no policy compares a uuid column of users with it: ',
            is_uuid OR is_named, CASE texts WHEN 0 THEN is_uuid AND is_unique ELSE is_named AND is_text END
        WHERE wish IS NULL AND candidates = 0 AND reads_sub IS NOT NULL
    ) AS refusal (problem, is_listed, is_offered)
    GROUP BY problem

-- What else the choice needs: user_id of conversations and feedback must hold users.id. Where it holds the sub, people
-- would lose sight of their rows if these were converted and policies were not, so the statements go together.
), misplaced AS (
    SELECT pg_class.oid AS attrelid, relname, attnum, choice, reasons, EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = pg_class.oid AND conkey = ARRAY[attnum] AND contype = 'f' AND convalidated
                AND (confrelid, confkey) = (SELECT attrelid, ARRAY[attnum] FROM person WHERE attname = 'id')
        ) AS is_keyed
    FROM decided
    JOIN pg_class ON relname IN ('conversations', 'feedback') AND relnamespace = (
        SELECT oid FROM pg_namespace WHERE nspname = 'public'
    )
    JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'user_id'
    CROSS JOIN LATERAL (
        SELECT string_agg(why, ', ') FROM (
            SELECT why FROM argument WHERE (argument.attrelid, argument.attnum) = (pg_class.oid, pg_attribute.attnum)
            UNION ALL
            SELECT format('foreign key "%s" references users.%s', conname, choice) FROM pg_constraint
            WHERE conrelid = pg_class.oid AND conkey = ARRAY[attnum] AND contype = 'f'
                AND (confrelid, confkey) = (SELECT attrelid, ARRAY[attnum] FROM person WHERE attname = choice)
        ) AS grounds
    ) AS found (reasons)
    WHERE choice <> 'id' AND reasons IS NOT NULL
), comparing AS (  -- what uses these columns; of a policy, how it compares them with the caller's users.id instead
    SELECT label, concat('ALTER POLICY ', quote_ident(polname), ' ON ', polrelid::regclass,
            ' USING (' || next_using || ')', ' WITH CHECK (' || next_check || ')') AS statement,
        regexp_count(concat(next_using, ' ', next_check), '\muser_id\M') = regexp_count(
            concat(next_using, ' ', next_check), '\muser_id = \( SELECT public\.users_id_of_caller'
        ) AS is_simple
    FROM (
        SELECT DISTINCT objid FROM misplaced JOIN pg_depend
            ON (refclassid, refobjid, refobjsubid) = ('pg_class'::regclass, attrelid, attnum)
        WHERE classid = 'pg_policy'::regclass
    ) AS dependent
    JOIN policy ON policy.oid = objid
    CROSS JOIN LATERAL (
        SELECT '(([\w"]+\.)?user_id)', '(auth\.uid\(\)|\( SELECT auth\.uid\(\) AS uid\))',
            '(\1\5 = ( SELECT public.users_id_of_caller()))'
    ) AS part (user_id, sub, result)
    CROSS JOIN LATERAL (SELECT format('\(%s = %s\)|\(%2$s = %1$s\)', user_id, sub)) AS comparison (pattern)
    CROSS JOIN LATERAL (
        SELECT regexp_replace(pg_get_expr(polqual, polrelid), pattern, result, 'g'),
            regexp_replace(pg_get_expr(polwithcheck, polrelid), pattern, result, 'g')
    ) AS next (next_using, next_check)
    UNION ALL
    SELECT label, NULL, false FROM reads
    WHERE classid <> 'pg_policy'::regclass AND body ~* '\muser_id\M' AND EXISTS (
        SELECT FROM misplaced WHERE body ~* ('\m' || relname || '\M')
    )
), conversion (place, statement) AS (
    SELECT 1, format('ALTER TABLE public.%I DROP CONSTRAINT %I', relname, conname)
    FROM misplaced JOIN pg_constraint ON conrelid = attrelid AND conkey = ARRAY[attnum] AND contype = 'f'
    WHERE NOT is_keyed
    UNION ALL
    SELECT 2, format('CREATE OR REPLACE FUNCTION public.users_id_of_caller() RETURNS uuid LANGUAGE sql STABLE SECURITY'
        ' DEFINER SET search_path = pg_catalog, pg_temp AS %L',
        format('SELECT id FROM public.users WHERE %I = auth.uid()', choice))
    FROM decided WHERE EXISTS (SELECT FROM comparing)
    UNION ALL
    SELECT 3, statement FROM comparing
    UNION ALL
    SELECT 4, format('UPDATE public.%I SET user_id = person.id FROM public.users AS person'
        ' WHERE person.%I = %1$I.user_id', relname, choice)
    FROM misplaced WHERE NOT is_keyed
    UNION ALL
    SELECT 5, format('ALTER TABLE public.%I ADD CONSTRAINT %I %s', relname, conname, regexp_replace(
        pg_get_constraintdef(pg_constraint.oid), 'REFERENCES [^(]+\([^)]*\)', 'REFERENCES public.users (id)'))
    FROM misplaced JOIN pg_constraint ON conrelid = attrelid AND conkey = ARRAY[attnum] AND contype = 'f'
    WHERE NOT is_keyed
)
SELECT choice::name, NULL::text AS reason, NULL::text AS remedy
FROM decided WHERE NOT EXISTS (SELECT FROM misplaced)
UNION ALL
SELECT NULL, reason, remedy FROM undecided
UNION ALL
SELECT NULL, format('%s the sub of a token, and must hold users.id', (
        SELECT string_agg(format('%s.user_id (%s) holds', relname, reasons), ' and ' ORDER BY relname) FROM misplaced
    )),
    CASE WHEN (SELECT bool_and(is_simple) FROM comparing) IS NOT FALSE THEN format(
        'have the application store users.id there, and at the same time run BEGIN; %s; COMMIT',
        (SELECT string_agg(statement, '; ' ORDER BY place, statement) FROM conversion)
    ) ELSE format('in one transaction, set it to users.id and change what would no longer find it: %s',
        (SELECT string_agg(label, ', ' ORDER BY label) FROM comparing))
    END
WHERE EXISTS (SELECT FROM misplaced)

-- Policies by which clients may set the column of users that holds the sub of a token: from 007 on, a guard refuses it.
--
-- Rows of text; none where that column is id, or not decided. The text of identity.sql replaces its name in braces.
--
-- A policy keeps clients from it if it requires that the column equals something (their sub) before the UPDATE, and
-- afterwards. This query judges by the text of the policy, where PostgreSQL puts each operand of AND and OR into
-- parentheses. {own} stands for such a comparison. Parentheses are resolved from the innermost on, and {own} remains of
-- those that hold it beside nothing but AND. What is not understood is named: there may be a warning too many.
WITH RECURSIVE chosen AS (
    SELECT pg_class.oid, relrowsecurity, attnum, attname
    FROM ({identity}) AS found (choice, reason, remedy)
    JOIN pg_namespace ON nspname = 'public' AND choice <> 'id'
    JOIN pg_class ON relnamespace = pg_namespace.oid AND relname = 'users'
    JOIN pg_attribute ON attrelid = pg_class.oid AND attname = choice
), client AS (
    SELECT pg_roles.oid, rolname
    FROM pg_roles JOIN chosen ON has_column_privilege(pg_roles.oid, chosen.oid, attnum, 'UPDATE')
    WHERE rolname IN ('anon', 'authenticated')
), rule AS (  -- a policy for UPDATE, and a client that it is for
    SELECT DISTINCT pg_policy.oid, polname, polpermissive, rolname
    FROM chosen JOIN pg_policy ON polrelid = chosen.oid AND polcmd IN ('w', '*') AND relrowsecurity
    CROSS JOIN LATERAL unnest(polroles) AS audience
    JOIN client ON audience = 0 OR pg_has_role(client.oid, audience, 'USAGE')
), reducing (oid, moment, body, is_reduced) AS (
    SELECT pg_policy.oid, moment, format('(%s)', regexp_replace(regexp_replace(regexp_replace(condition,
        '''[^'']*''', '', 'g'),
        format('\((%s|\(%1$s\)(::[\w ]+)?) = ', pattern), '({own} ', 'g'),
        format(' = (%s|\(%1$s\)(::[\w ]+)?)\)', pattern), ' {own})', 'g')), false
    FROM chosen JOIN pg_policy ON polrelid = chosen.oid
    CROSS JOIN LATERAL regexp_replace(quote_ident(attname), '(\W)', '\\\1', 'g') AS pattern
    CROSS JOIN LATERAL (VALUES
        ('before', pg_get_expr(polqual, polrelid)),
        ('after', pg_get_expr(coalesce(polwithcheck, polqual), polrelid))
    ) AS conditions (moment, condition)
    WHERE pg_policy.oid IN (SELECT oid FROM rule)
    UNION ALL
    SELECT oid, moment, next, next = body
    FROM reducing CROSS JOIN LATERAL regexp_replace(regexp_replace(body,
        '\((?![^()]*\m(OR|NOT|CASE|SELECT)\M)[^()]*\{own\}[^()]*\)', '{own}', 'g'),
        '\(([^(){]*|[^()]*\m(OR|NOT|CASE|SELECT)\M[^()]*)\)', '', 'g') AS next
    WHERE NOT is_reduced
), keeping AS (
    SELECT oid FROM reducing WHERE is_reduced GROUP BY oid HAVING bool_and(btrim(body) = '{own}')
)
SELECT format('%s %s set users.%s: from 007 on, a guard refuses every other value but NULL, except to the owner of'
    ' users, to roles with BYPASSRLS, and in functions of the owner''s. Have people claim rows by such a function, as'
    ' SECURITY DEFINER', means, string_agg(rolname, ' and ' ORDER BY rolname), attname)
FROM (
    SELECT format('Policy "%s" of users lets', polname), rolname FROM rule
    WHERE polpermissive AND oid NOT IN (SELECT oid FROM keeping) AND NOT EXISTS (
        SELECT FROM rule AS limiting
        WHERE limiting.rolname = rule.rolname AND NOT limiting.polpermissive
            AND limiting.oid IN (SELECT oid FROM keeping)
    )
    UNION ALL
    SELECT 'Row security of users is off, which lets', rolname FROM client, chosen WHERE NOT relrowsecurity
) AS found (means, rolname), chosen
GROUP BY means, attname
ORDER BY means

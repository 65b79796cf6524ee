-- A line for each thing that a migration can change, read from the catalogs. Left out: system objects, the version
-- table, cluster-wide roles, and where a column stands (a dropped column leaves a gap in attnum).
WITH ours AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'
), relation AS (
    SELECT pg_class.*, format('%I.%I', nspname, relname) AS name
    FROM pg_class JOIN ours ON ours.oid = relnamespace
    WHERE relname !~ '^alembic_version'
)
SELECT line FROM (
    SELECT format('schema %s owner %s acl %s comment %s', nspname, nspowner::regrole, coalesce(nspacl, acldefault('n', nspowner)),
        obj_description(oid, 'pg_namespace'))
    FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
    UNION ALL
    SELECT format('relation %s kind %s owner %s acl %s rls %s force %s options %s comment %s', name, relkind,
        relowner::regrole,
        (SELECT string_agg(item::text, ',' ORDER BY item::text) FROM unnest(relacl) AS item),
        relrowsecurity, relforcerowsecurity, reloptions, obj_description(oid, 'pg_class'))
    FROM relation
    UNION ALL
    SELECT format('column %s.%s type %s not null %s default %s acl %s comment %s', name, attname,
        format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
        (SELECT string_agg(item::text, ',' ORDER BY item::text) FROM unnest(attacl) AS item),
        col_description(relation.oid, attnum))
    FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind IN ('r', 'v')
    UNION ALL
    SELECT format('constraint %s.%s %s valid %s', name, conname, pg_get_constraintdef(pg_constraint.oid), convalidated)
    FROM relation JOIN pg_constraint ON conrelid = relation.oid
    UNION ALL
    SELECT format('index %s valid %s ready %s', pg_get_indexdef(indexrelid), indisvalid, indisready)
    FROM relation JOIN pg_index ON indrelid = relation.oid
    UNION ALL
    SELECT format('trigger %s enabled %s', pg_get_triggerdef(pg_trigger.oid), tgenabled)
    FROM relation JOIN pg_trigger ON tgrelid = relation.oid WHERE NOT tgisinternal
    UNION ALL
    SELECT format('view %s %s', name, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT format('policy %s on %s.%s permissive %s roles %s cmd %s using %s check %s', policyname, schemaname,
        tablename, permissive, roles, cmd, qual, with_check)
    FROM pg_policies WHERE tablename <> 'alembic_version'
    UNION ALL
    SELECT format('function %s owner %s acl %s comment %s', pg_get_functiondef(pg_proc.oid), proowner::regrole,
        (SELECT string_agg(item::text, ',' ORDER BY item::text) FROM unnest(proacl) AS item),
        obj_description(pg_proc.oid, 'pg_proc'))
    FROM pg_proc JOIN ours ON ours.oid = pronamespace
) AS lines (line)
ORDER BY line COLLATE "C"

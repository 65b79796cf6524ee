"""What a table refuses and fills in by itself: a mutant for each key, NOT NULL, default and statistics target."""

DROPPED = """
    SELECT format('constraint %s: dropped', conname), format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', name, conname)
    FROM pg_constraint JOIN relation ON relation.oid = conrelid
    WHERE contype <> 'n' AND (contype <> 'c' OR conname ~ ('^' || relname))
    UNION ALL
    SELECT format('unique index %s: dropped', indexrelid::regclass),
        format('DROP INDEX %s CASCADE', indexrelid::regclass)
    FROM pg_index JOIN relation ON relation.oid = indrelid
    WHERE indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
    UNION ALL
    SELECT format('constraints of %s: not enforced', name), format('ALTER TABLE %s DISABLE TRIGGER ALL', name)
    FROM relation WHERE relhastriggers
"""
FOREIGN_KEYS = """
    SELECT format('constraint %s:%s', conname, lower(change)),
        format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %s%s', name, conname,
            CASE WHEN change ~ 'DELETE' THEN regexp_replace(its, ' ON DELETE .*', '')
                WHEN change ~ 'UPDATE' THEN regexp_replace(its, ' ON UPDATE CASCADE', '') ELSE its END, change)
    FROM (SELECT *, pg_get_constraintdef(oid) AS its FROM pg_constraint WHERE contype = 'f') AS key
    JOIN relation ON relation.oid = conrelid, unnest(ARRAY[' ON DELETE NO ACTION', ' ON DELETE RESTRICT',
        ' ON DELETE CASCADE', ' ON DELETE SET NULL', ' ON UPDATE CASCADE', ' DEFERRABLE INITIALLY DEFERRED']) AS change
    WHERE its !~ (change || '( ON |$)')
"""
# A key over several columns as one over a single column that is a key, too.
NARROWED = """
    SELECT format('constraint %s: over %s alone', conname, referring.attname),
        format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I FOREIGN KEY (%I) REFERENCES %s (%I)%s', name,
            conname, referring.attname, confrelid::regclass, referred.attname,
            substring(pg_get_constraintdef(pg_constraint.oid) FROM ' ON DELETE .*'))
    FROM pg_constraint JOIN relation ON relation.oid = conrelid, unnest(conkey, confkey) AS pair (mine, its)
    JOIN pg_attribute AS referring ON referring.attnum = mine
    JOIN pg_attribute AS referred ON referred.attnum = its
    WHERE contype = 'f' AND cardinality(conkey) > 1 AND referring.attrelid = conrelid AND referred.attrelid = confrelid
        AND EXISTS (SELECT FROM pg_index WHERE indrelid = confrelid AND indisunique AND indkey::text = its::text)
"""
COLUMNS = """
    SELECT format('column %s.%s: may be null', name, attname),
        format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', name, attname)
    FROM attribute
    WHERE relkind = 'r' AND attnotnull
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY (indkey))
    UNION ALL
    SELECT format('column %s.%s: no default', name, attname),
        format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', name, attname)
    FROM attribute WHERE relkind = 'r' AND atthasdef
    UNION ALL
    SELECT format('column %s.%s: another default', name, attname),
        format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', name, attname, another)
    FROM attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    JOIN (
        VALUES ('true', 'false'), ('false', 'true'), ($$'user'::character varying$$, $$'admin'$$)
    ) AS swap (its, another) ON pg_get_expr(adbin, adrelid) = its
    UNION ALL
    SELECT format('column %s.%s: statistics', name, attname),
        format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS -1', name, attname)
    FROM attribute WHERE relkind = 'r' AND attstattarget = 0
"""

QUERIES = [DROPPED, FOREIGN_KEYS, NARROWED, COLUMNS]

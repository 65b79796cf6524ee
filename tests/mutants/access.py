"""What lets somebody in who should stay out: a mutant for each right that a client has, or has not."""

from tests.tools import OURS

# On an adopted platform, what is its own makes no mutants.
BASELINE = "('tenants', 'users', 'conversations', 'messages', 'feedback')"
OUR_TABLES = "('chatbots', 'published_chatbots', 'chatbot_versions', 'chatbot_tags', 'audit_log', 'alembic_version')"
OUR_FUNCTIONS = """
    ('chatbot_usage', 'popular_chatbots', 'tenant_admins', 'unpublished_chatbots', 'restore_chatbot')
"""
IS_OUR_RELATION = f"""(
    relnamespace = to_regnamespace('chatbot_private') OR relnamespace IN ({OURS}) AND (
        relname IN {OUR_TABLES} OR NOT chatbot_private.is_adopted() AND relname IN {BASELINE}
    )
)"""
IS_OUR_FUNCTION = f"""(
    pronamespace = to_regnamespace('chatbot_private')
    OR pronamespace = to_regnamespace('public') AND proname IN {OUR_FUNCTIONS}
)"""

# Each query follows WITH and gives a mutant's name, its statement, and the statement that undoes what is the cluster's.
WITH = f"""
    WITH client (client) AS (
        VALUES ('anon'), ('authenticated'), ('service_role'), ('public')
    ), relation AS (
        SELECT pg_class.*, oid::regclass AS name FROM pg_class WHERE {IS_OUR_RELATION} AND relkind IN ('r', 'v')
    ), attribute AS (
        SELECT relation.name, relkind, relowner, pg_attribute.*
        FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    ), function AS (
        SELECT pg_proc.*, oid::regprocedure AS name FROM pg_proc WHERE {IS_OUR_FUNCTION}
    ), granted AS (
        SELECT item.*, CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END AS client, thing, columns
        FROM (
            SELECT relowner, relacl, format('TABLE %s', name), '' FROM relation
            UNION ALL SELECT relowner, attacl, format('TABLE %s', name), format(' (%I)', attname) FROM attribute
            UNION ALL SELECT proowner, proacl, format('FUNCTION %s', name), '' FROM function
            UNION ALL SELECT nspowner, nspacl, format('SCHEMA %s', nspname), ''
            FROM pg_namespace WHERE oid IN ({OURS})
        ) AS things (owner, acl, thing, columns), aclexplode(acl) AS item
        WHERE grantee <> owner
    )
"""

ROW_SECURITY = """
    SELECT format('row security of %s: %s', name, lower(flag)),
        format('ALTER TABLE %s %s ROW LEVEL SECURITY', name, flag)
    FROM relation, unnest(ARRAY['DISABLE', 'FORCE']) AS flag WHERE relkind = 'r'
"""

# What nobody granted. Where one has the right already, by PUBLIC too, another grant of it changes nothing.
COLUMN_GRANTS = """
    SELECT format('grant %s: %s (%s) to %s', name, lower(privilege), attname, client),
        format('GRANT %s (%I) ON TABLE %s TO %s', privilege, attname, name, client)
    FROM attribute, client, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
    WHERE NOT has_column_privilege(client, attrelid, attnum, privilege)
"""
TABLE_GRANTS = """
    SELECT format('grant %s: %s to %s', name, lower(privilege), client),
        format('GRANT %s ON TABLE %s TO %s', privilege, name, client)
    FROM relation, client, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER'] || CASE
        WHEN current_setting('server_version_num')::integer >= 170000 THEN ARRAY['MAINTAIN'] END) AS privilege
    WHERE NOT has_table_privilege(client, oid, privilege)
"""
SCHEMA_GRANTS = f"""
    SELECT format('grant schema %s: %s to %s', nspname, lower(privilege), client),
        format('GRANT %s ON SCHEMA %s TO %s', privilege, nspname, client)
    FROM pg_namespace, client, unnest(ARRAY['USAGE', 'CREATE']) AS privilege
    WHERE oid IN ({OURS}) AND NOT has_schema_privilege(client, oid, privilege)
"""
EXECUTE_GRANTS = """
    SELECT format('grant %s: execute to %s', name, client), format('GRANT EXECUTE ON FUNCTION %s TO %s', name, client)
    FROM function, client WHERE NOT has_function_privilege(client, oid, 'EXECUTE')
"""
REVOKED = """
    SELECT format('revoke %s: %s%s from %s', thing, lower(privilege_type), columns, client),
        format('REVOKE %s%s ON %s FROM %s', privilege_type, columns, thing, client)
    FROM granted
"""
GRANT_OPTIONS = """
    SELECT format('grant %s: %s%s to %s, to grant on', thing, lower(privilege_type), columns, client),
        format('GRANT %s%s ON %s TO %s WITH GRANT OPTION', privilege_type, columns, thing, client)
    FROM granted WHERE grantee <> 0
"""
OWNERS = f"""
    SELECT format('owner of %s: %s', thing, client), format('ALTER %s OWNER TO %s', thing, client)
    FROM client, (
        SELECT format('TABLE %s', name) FROM relation
        UNION ALL SELECT format('FUNCTION %s', name) FROM function
        UNION ALL SELECT format('SCHEMA %s', nspname) FROM pg_namespace WHERE oid IN ({OURS})
    ) AS owned (thing)
    WHERE client <> 'public'
"""

# Roles are the cluster's, so each is undone.
MEMBERSHIPS = """
    SELECT format('member of %s: %s', rolname, client), format('GRANT %I TO %s', rolname, client),
        format('REVOKE %I FROM %s', rolname, client)
    FROM pg_roles, client
    WHERE client <> 'public' AND rolname <> client AND rolname <> 'pg_database_owner'
        AND (rolname ~ '^pg_' OR rolname IN (SELECT client FROM client) OR rolname = current_user)
        AND NOT pg_has_role(CASE client WHEN 'public' THEN 'anon' ELSE client END, rolname, 'MEMBER')
"""
ATTRIBUTES = """
    SELECT format('attribute of %s: %s', client, lower(given)), format('ALTER ROLE %s %s', client, given),
        format('ALTER ROLE %s %s', client, undone)
    FROM pg_roles JOIN client ON rolname = client, unnest(
        ARRAY['SUPERUSER', 'CREATEROLE', 'CREATEDB', 'REPLICATION', 'LOGIN', 'BYPASSRLS'],
        ARRAY[rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolbypassrls]
    ) AS attribute (name, held), LATERAL (
        SELECT CASE WHEN held THEN 'NO' ELSE '' END || name, CASE WHEN held THEN '' ELSE 'NO' END || name
    ) AS alter_role (given, undone)
"""

QUERIES = [
    ROW_SECURITY,
    TABLE_GRANTS,
    COLUMN_GRANTS,
    SCHEMA_GRANTS,
    EXECUTE_GRANTS,
    REVOKED,
    GRANT_OPTIONS,
    OWNERS,
    MEMBERSHIPS,
    ATTRIBUTES,
]

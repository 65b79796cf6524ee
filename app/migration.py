"""What a run of the revisions needs around them: a session with the right settings, and a version table kept closed."""

from collections.abc import Callable
from typing import Any

from psycopg.errors import Diagnostic
from sqlalchemy import Connection

from app.errors import SetupError

OLDEST_SUPPORTED = 15  # PostgreSQL's major version: security_invoker views, ON DELETE SET NULL (column)

# chatbots.lock_timeout repeats lock_timeout under a name of ours: a revision lifts the timeout while it builds an
# index CONCURRENTLY, which blocks nobody while it waits, and finds here what to set it back to.
SESSION_SETTINGS = {
    "lock_timeout": "1s",  # a strong lock that waits makes everyone behind it wait
    "chatbots.lock_timeout": "1s",
    "statement_timeout": "0",  # hosted platforms set minutes; an index of a large table takes longer
    "client_connection_check_interval": "1s",  # or a killed upgrade leaves its CREATE INDEX running
    "search_path": "public",  # autogenerate compares the tables that it finds there
}


def prepare_session(connection: Connection, warn: Callable[[str], None]) -> None:
    """Set a fresh connection up for revisions, in a transaction that is over when this returns.

    Args:
        connection: the one that the revisions will run on.
        warn: takes the warnings that revisions raise, such as what a downgrade loses.

    Raises:
        SetupError: the server is older than PostgreSQL 15.
    """
    driver_connection: Any = connection.connection.driver_connection
    version = driver_connection.info.server_version // 10000
    if version < OLDEST_SUPPORTED:
        raise SetupError(f"This server is PostgreSQL {version}: upgrade it to {OLDEST_SUPPORTED} or newer first.")
    for name, value in SESSION_SETTINGS.items():
        connection.exec_driver_sql("SELECT set_config(%s, %s, false)", (name, value))
    connection.commit()

    def pass_on(diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warn(diagnostic.message_primary or "")

    driver_connection.add_notice_handler(pass_on)


def secure_version_table(name: str) -> str:
    """The SQL that keeps clients off the version table, which lies in public beside the tables they use.

    Row security is on; whoever is granted SELECT, such as an auditor who runs `alembic check`, may read it. Default
    privileges that opened it to others (Supabase's do) are taken back, once: later grants stay.
    """
    return f"""
        DO $$
        DECLARE
            grantee text;
        BEGIN
            IF (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'public.{name}'::regclass) THEN
                RETURN;
            END IF;
            FOR grantee IN
                SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
                FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl) AS acl
                WHERE pg_class.oid = 'public.{name}'::regclass AND acl.grantee <> relowner
            LOOP
                EXECUTE format('REVOKE ALL ON TABLE public.{name} FROM %s', grantee);
            END LOOP;
            ALTER TABLE public.{name} ENABLE ROW LEVEL SECURITY;
            CREATE POLICY "Auditors can view the schema revision" ON public.{name} FOR SELECT USING (true);
        END
        $$
    """

"""Find rows whose parents are missing, and indexes that are invalid or unused."""

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from app.asking import UnansweredError, ask
from app.catalog.document import documented
from app.sight import hidden

# What is said of rows, the table, and which of its rows.
ORPHANS = (
    ("users whose tenant is not there", "users", "NOT EXISTS (SELECT FROM public.tenants WHERE id = its.tenant_id)"),
    (
        "chatbots whose tenant is not there",
        "chatbots",
        "NOT EXISTS (SELECT FROM public.tenants WHERE id = its.tenant_id)",
    ),
    (
        "chatbots whose creator is not there",
        "chatbots",
        "created_by IS NOT NULL AND NOT EXISTS (SELECT FROM public.users WHERE id = its.created_by)",
    ),
    (
        "versions whose chatbot is not there",
        "chatbot_versions",
        "NOT EXISTS (SELECT FROM public.chatbots WHERE id = its.chatbot_id AND tenant_id = its.tenant_id)",
    ),
    (
        "versions whose author is not there",
        "chatbot_versions",
        "created_by IS NOT NULL AND NOT EXISTS (SELECT FROM public.users WHERE id = its.created_by)",
    ),
    (
        "chatbots whose version is not there",
        "chatbots",
        "NOT EXISTS (SELECT FROM public.chatbot_versions WHERE tenant_id = its.tenant_id AND chatbot_id = its.id"
        " AND version = its.version)",
    ),
    (
        "chatbots whose tags are not found by",
        "chatbots",
        "(SELECT array_agg((tag, name, is_published) ORDER BY tag) FROM public.chatbot_tags"
        " WHERE tenant_id = its.tenant_id AND chatbot_id = its.id)"
        " IS DISTINCT FROM (SELECT array_agg((tag, name, is_published) ORDER BY tag) FROM unnest(its.tags) AS tag)",
    ),
    (
        "tags whose chatbot is not there",
        "chatbot_tags",
        "NOT EXISTS (SELECT FROM public.chatbots WHERE id = its.chatbot_id AND tenant_id = its.tenant_id)",
    ),
    (
        "chatbots whose tools are no function definitions",
        "chatbots",
        "settings ? 'tools' AND chatbot_private.tools_fault(settings -> 'tools') IS NOT NULL",
    ),
    (
        "conversations whose tenant is not there",
        "conversations",
        "NOT EXISTS (SELECT FROM public.tenants WHERE id = its.tenant_id)",
    ),
    (
        "conversations whose user is not there",
        "conversations",
        "user_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.users WHERE id = its.user_id)",
    ),
    (
        "conversations whose chatbot is not there",
        "conversations",
        "chatbot_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.chatbots WHERE id = its.chatbot_id)",
    ),
    (
        "conversations whose chatbot is another tenant's",
        "conversations",
        "EXISTS (SELECT FROM public.chatbots WHERE id = its.chatbot_id AND tenant_id <> its.tenant_id)",
    ),
    (
        "messages whose conversation is not there",
        "messages",
        "conversation_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.conversations WHERE id = its.conversation_id)",
    ),
    (
        "feedback whose message is not there",
        "feedback",
        "message_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.messages WHERE id = its.message_id)",
    ),
    (
        "feedback whose user is not there",
        "feedback",
        "user_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.users WHERE id = its.user_id)",
    ),
)
LEADERLESS = (
    "tenants with chatbots, but no active admin",
    "tenants",
    "EXISTS (SELECT FROM public.chatbots WHERE tenant_id = its.id)"
    " AND NOT EXISTS (SELECT FROM public.users WHERE tenant_id = its.id AND is_active"
    " AND chatbot_private.is_admin_role(role))",
)
KEYS = {"chatbot_versions": "chatbot_id", "chatbot_tags": "chatbot_id"}  # what names a row, where that is no id
COUNT = """
    WITH found AS MATERIALIZED (SELECT {key}::text AS id FROM public.{table} AS its WHERE {which})
    SELECT (SELECT count(*) FROM found), ARRAY (SELECT id FROM found LIMIT 3)
"""

INVALID = text("""
    SELECT quote_ident(index.relname)
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_class AS its ON its.oid = indrelid
    WHERE its.relnamespace = to_regnamespace('public') AND its.relname = ANY (CAST(:names AS text[]))
        AND NOT indisvalid
        AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
    ORDER BY 1
""")
UNUSED = text("""
    SELECT indexrelname::text FROM pg_stat_user_indexes
    WHERE schemaname = 'public' AND idx_scan = 0 AND indexrelname = ANY (CAST(:names AS text[]))
    ORDER BY 1
""")
COUNTED_SINCE = text("""
    SELECT to_char(stats_reset, 'YYYY-MM-DD HH24:MI TZ') FROM pg_stat_database WHERE datname = current_database()
""")
TABLES = ["chatbot_tags", "chatbot_versions", "chatbots", "conversations", "feedback", "messages", "tenants", "users"]
INDEXED = [*TABLES, "audit_log"]


@dataclass(frozen=True)
class Rows:
    """Rows with a fault.

    Args:
        what: in words.
        count: None: unknown.
        ids: of three of them.
        unknown: why the count is.
    """

    what: str
    count: int | None
    ids: list[str] = field(default_factory=list)
    unknown: str = ""


@dataclass(frozen=True)
class Indexes:
    """Indexes of our tables that are invalid or unused.

    Args:
        invalid: those that an interrupted build left, and what mends each.
        unused: those of this package that no query has used; no fault by itself.
        counted_since: when uses were last counted from zero; None: since the database was made, or the server crashed.
    """

    invalid: list[tuple[str, str]]
    unused: list[str]
    counted_since: str | None


def orphans(connection: Connection) -> list[Rows]:
    """Count rows whose parents are missing. Without keys, or with keys turned off, such rows can be loaded."""
    trouble = hidden(connection, TABLES)
    return [counted(connection, *each, trouble) for each in ORPHANS]


def leaderless_tenants(connection: Connection) -> Rows:
    """Count tenants that have chatbots and no active admin."""
    return counted(connection, *LEADERLESS, hidden(connection, TABLES))


def counted(connection: Connection, what: str, table: str, which: str, trouble: str) -> Rows:
    """Count rows, unless row security hides some of them from the connection's role."""
    if trouble:
        return Rows(what, None, [], trouble)
    try:
        row = ask(connection, COUNT.format(table=table, key=KEYS.get(table, "id"), which=which))
    except UnansweredError as reason:
        return Rows(what, None, [], str(reason))
    return Rows(what, row[0], row[1])


def indexes(connection: Connection, half_done: str | None) -> Indexes:
    """Find indexes that are invalid or unused.

    Args:
        connection: in a transaction.
        half_done: the command that finishes an interrupted step, which builds its indexes anew.
    """
    ours = [key.name for key in documented() if key.kind == "index" and key.name.startswith("idx_")]
    return Indexes(
        [(name, half_done or remedy(name)) for name in connection.scalars(INVALID, {"names": INDEXED})],
        list(connection.scalars(UNUSED, {"names": ours})),
        connection.scalar(COUNTED_SINCE),
    )


def remedy(name: str) -> str:
    """Return the statement that mends an invalid index: drop the leftover of a REINDEX, rebuild any other index."""
    if name.rstrip("0123456789").endswith(("_ccnew", "_ccold")):
        return f"DROP INDEX CONCURRENTLY public.{name}"
    return f"REINDEX INDEX CONCURRENTLY public.{name}"

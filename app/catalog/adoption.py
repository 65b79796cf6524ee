"""Whose the platform's tables are: of those that 006 adopted, only what is ours is judged."""

import re

from sqlalchemy import Connection, text

from app.catalog.facts import Facts, Key

TABLES = {"tenants", "users", "conversations", "messages", "feedback"}

# The columns that revisions after 006 add. Their indexes, constraints and guards are ours as well.
OURS = {("users", "role"), ("conversations", "chatbot_id")}

# A fresh install has our own triggers on its tables, so that changing what is_adopted() says hides nothing.
IS_ADOPTED = text("""
    SELECT EXISTS (
        SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = 'chatbot_private' AND proname = 'is_adopted' AND prosrc = 'SELECT true'
    ) AND NOT EXISTS (
        SELECT FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_proc ON pg_proc.oid = tgfoid
        JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = 'chatbot_private' AND proname = 'touch_updated_at' AND relname = ANY (CAST(:tables AS text[]))
            AND relnamespace = to_regnamespace('public')
    )
""")

CAST = re.compile(r"\(((?:old|new)\.\w+)\)::\w+")  # as PostgreSQL compares columns of a domain, or of varchar


def is_adopted(connection: Connection) -> bool:
    """Whether the platform's tables were there before us: read from the catalogs, which every role may."""
    return bool(connection.scalar(IS_ADOPTED, {"tables": sorted(TABLES)}))


def as_adopted(documented: Facts, found: Facts) -> tuple[Facts, Facts]:
    """What an adopted platform has of the facts that are documented of a fresh install, and what of it is judged."""
    expected = {key: dict(facts) for key, facts in documented.items() if is_ours(key, facts)}
    expected[Key("chatbot_private.is_adopted()", "function")]["Body"] = "SELECT true"
    judged = {
        key: dict(facts)
        for key, facts in found.items()
        if key in expected or (key.place not in TABLES and is_ours(key, facts))
    }
    for its in (expected, judged):
        its.get(Key("chatbot_compat.feedback", "view"), {}).pop("Definition", None)  # it has the columns of feedback
        for key, facts in its.items():
            if key.kind == "role":
                facts.pop("LOGIN")  # how its clients connect is the platform's own
            if key.place in TABLES and "When" in facts:
                facts["When"] = CAST.sub(r"\1", facts["When"])
    return expected, judged


def is_ours(key: Key, facts: dict[str, str]) -> bool:
    """Whether something documented is ours on an adopted platform, too, and not the platform's own."""
    match key:
        case Key("chatbot_compat.feedback", kind, _):
            return kind == "view"  # a role needs the rights on feedback itself, past which the view lets nobody
        case Key("", "schema", name):
            return name != "public"
        case Key(table, "column", name) if table in TABLES:
            return (table, name) in OURS
        case Key(table, "constraint" | "index", _) if table in TABLES:
            columns = re.findall(r"\w+", facts.get("Definition", "") + facts.get("On", ""))
            return any(table == its and column in columns for its, column in OURS)
        case Key(table, "trigger", _) if table in TABLES:
            return facts["Calls"] != "chatbot_private.touch_updated_at()"
        case Key(table, _, _):
            return table not in TABLES

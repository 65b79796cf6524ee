"""Whose the platform's tables are: of those that 006 adopted, only what is ours is judged."""

import re

from app.catalog.facts import Facts, Key

TABLES = {"tenants", "users", "conversations", "messages", "feedback"}

# The columns that revisions after 006 add. Their indexes, constraints and guards are ours as well.
OURS = {("users", "role"), ("conversations", "chatbot_id")}

MARK = Key("chatbot_private.is_adopted()", "function")
THEIRS_TO_DECIDE = {
    Key("chatbot_compat.feedback", "view"): {"Definition"},  # it has the columns of feedback
    Key("", "schema", "public"): {"CREATE"},
    **{Key("", "role", role): {"LOGIN"} for role in ("anon", "authenticated", "service_role")},
}
CAST = re.compile(r"\(((?:old|new)\.\w+)\)::\w+")  # as PostgreSQL compares columns of a domain, or of varchar


def is_adopted(documented: Facts, found: Facts) -> bool:
    """Whether the platform's tables were there before us.

    006 wrote down whether they were. That says nothing where one of the policies or triggers stands that it gives only
    to tables of its own: or changing one function would hide every other change of five tables.
    """
    said = found.get(MARK, {}).get("Body") == "SELECT true"
    ours_alone = [
        key
        for key, facts in documented.items()
        if key.place in TABLES and key.kind in {"policy", "trigger"} and not is_ours(key, facts)
    ]
    return said and not any(found.get(key) == documented[key] for key in ours_alone)


def as_adopted(documented: Facts, found: Facts) -> tuple[Facts, Facts]:
    """What an adopted platform has of the facts that are documented of a fresh install, and what of it is judged."""
    expected = {key: dict(facts) for key, facts in documented.items() if is_ours(key, facts)}
    expected[MARK]["Body"] = "SELECT true"
    judged = {
        key: dict(facts)
        for key, facts in found.items()
        if key in expected or (key.place not in TABLES and is_ours(key, facts))
    }
    for its in (expected, judged):
        for key, facts in its.items():
            for fact in THEIRS_TO_DECIDE.get(key, ()):
                facts.pop(fact, None)
            if key.place in TABLES and "When" in facts:
                facts["When"] = CAST.sub(r"\1", facts["When"])
    return expected, judged


def is_ours(key: Key, facts: dict[str, str]) -> bool:
    """Whether something documented is ours on an adopted platform, too, and not the platform's own."""
    match key:
        case Key("chatbot_compat.feedback", kind, _):
            return kind not in {"column", "rights of"}  # those of feedback, past which the view lets nobody
        case Key(table, "column", name) if table in TABLES:
            return (table, name) in OURS
        case Key(table, "constraint" | "index", _) if table in TABLES:
            columns = re.findall(r"\w+", facts.get("Definition", "") + facts.get("On", ""))
            return any(table == its and column in columns for its, column in OURS)
        case Key(table, "trigger", _) if table in TABLES:
            return facts["Calls"] != "chatbot_private.touch_updated_at()"
        case Key(table, _, _):
            return table not in TABLES

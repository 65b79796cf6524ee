"""Whose the platform's tables are: of those that 006 adopted, only what is ours is judged."""

import re

from app.catalog.facts import Facts, Key

TABLES = {"tenants", "users", "conversations", "messages", "feedback"}

# The columns that revisions after 006 add. Their indexes, constraints and guards are ours as well.
OURS = {("users", "role"), ("conversations", "chatbot_id"), ("conversations", "chatbot_version")}

# Columns of the platform whose type and NOT NULL row security and the keys of chatbots rest on.
RELIED_ON = {
    ("tenants", "id"),
    ("users", "id"),
    ("users", "tenant_id"),
    ("users", "is_active"),
    ("conversations", "id"),
    ("conversations", "tenant_id"),
    ("messages", "id"),
}

CLIENTS = ("anon", "authenticated", "service_role")
PEOPLE = Key("users", "table")
RELIED_ON_OF_PEOPLE = {"Inherits from", "Inherited by"}
MARK = Key("chatbot_private.is_adopted()", "function")
THEIRS_TO_DECIDE = {
    Key("chatbot_compat.feedback", "view"): {"Definition"},  # it has the columns of feedback
    Key("", "schema", "public"): {"CREATE"},
    **{Key("", "role", role): {"LOGIN"} for role in CLIENTS},
}
CAST = re.compile(r"\(((?:old|new)\.\w+)\)::\w+")  # as PostgreSQL compares columns of a domain, or of varchar


def is_adopted(documented: Facts, found: Facts) -> bool:
    """Whether the platform's tables were there before us.

    006 wrote down whether they were. Where that says so, or is lost, it is asked for what 006 gives only to tables that
    it makes: where most of those policies and triggers stand, it made them. So changing one function does not hide all
    that is changed of five tables, and a platform that takes one of our policies over remains one.
    """
    if found.get(MARK, {}).get("Body") == "SELECT false":
        return False
    ours_alone = [
        found.get(key) == facts
        for key, facts in documented.items()
        if key.place in TABLES and key.kind in {"policy", "trigger"} and not is_ours(key, facts)
    ]
    return sum(ours_alone) * 2 <= len(ours_alone)


def as_adopted(documented: Facts, found: Facts) -> tuple[Facts, Facts]:
    """What an adopted platform has of the facts that are documented of a fresh install, and what of it is judged."""
    expected = {key: dict(facts) for key, facts in documented.items() if is_ours(key, facts)}
    expected[MARK]["Body"] = "SELECT true"
    expected[PEOPLE] = {}
    judged = {
        key: dict(facts)
        for key, facts in found.items()
        if key in expected or (key.place not in TABLES and is_ours(key, facts))
    }
    people = found.get(PEOPLE, {})  # whose rows, and those of its children, say who somebody is
    judged[PEOPLE] = {fact: value for fact, value in people.items() if fact in RELIED_ON_OF_PEOPLE}
    if people.get("Owner") in CLIENTS:  # the guard lets the owner pass
        judged[PEOPLE]["Owner"] = people["Owner"]
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

"""Judge an adopted platform: what is ours there, and what of the platform's own ours rests on, and nothing else.

The document states a fresh install. `as_adopted` turns it into what this platform must have, by what the revisions
recorded of the platform (`markers`), and drops the platform's own from what was found.
"""

import re

from app.catalog import markers
from app.catalog.facts import Facts, Key
from app.catalog.markers import base_type

TABLES = {"tenants", "users", "conversations", "messages", "feedback"}

# The columns that revisions after 006 add. Their indexes, constraints and guards are ours as well.
OURS = {("users", "role"), ("conversations", "chatbot_id"), ("conversations", "chatbot_version")}

# The platform's own columns that row security and the keys of chatbots rest on, and which of their facts.
RELIED_ON = {
    Key("tenants", "column", "id"): {"Type", "Not null"},
    Key("users", "column", "id"): {"Type", "Not null"},
    Key("users", "column", "tenant_id"): {"Type", "Not null"},
    Key("users", "column", "is_active"): {"Type"},  # NULL is inactive
    Key("conversations", "column", "id"): {"Type", "Not null"},
    Key("conversations", "column", "tenant_id"): {"Type", "Not null"},
    Key("messages", "column", "id"): {"Type", "Not null"},
}
ROLE = Key("users", "column", "role")
CHATBOTS_KEY = Key("chatbots", "constraint", "chatbots_pkey")
CHATBOT_ID = Key("conversations", "column", "chatbot_id")
PEOPLE = Key("users", "table")
RELIED_ON_OF_PEOPLE = {"Inherits from", "Inherited by"}

# What the models read as well as the documented type.
READ_AS_WELL = {
    "character varying": {"text", "character"},
    "text": {"character varying", "character"},
    "double precision": {"real", "numeric"},
    "integer": {"smallint"},
}
READ_AS_WELL_OF = {Key("messages", "column", "id"): {"bigint", "integer"}}  # of one column alone

# Where chatbots was taken over: the places whose columns have its types, and its own columns from before us, with the
# facts that we need of each beside those that we give it ourselves.
OF_CHATBOTS = frozenset({"chatbots", "published_chatbots"})
OURS_OF_COLUMNS = {"Comment", "Statistics"}
NEEDED_OF_CHATBOTS = {
    **{name: {"Type", "Not null"} for name in ("id", "tenant_id", "created_by", "name", "system_prompt", "model")},
    **{name: {"Type", "Not null"} for name in ("temperature", "is_published", "created_at", "updated_at")},
    **{name: {"Type"} for name in ("description", "max_tokens")},
    "settings": {"Type", "Not null", "Default"},
}
THEIRS_BESIDE_OURS = {"column", "constraint", "index", "trigger"}  # the kinds of which such a table may have its own

CLIENTS = ("anon", "authenticated", "service_role")
THEIRS_TO_DECIDE = {
    Key("chatbot_compat.feedback", "view"): {"Definition"},  # it has the columns of feedback
    Key("", "schema", "public"): {"CREATE"},
    **{Key("", "role", role): {"LOGIN"} for role in CLIENTS},
}

# PostgreSQL writes a cast to one of these where a column is of a domain, of varchar, or of another type of number.
CASTS = ("text", "character varying", "double precision", "numeric", "uuid", "boolean")
WITH_CASTS = {"When", "Where", "Definition"}
FOREIGN_KEY = re.compile(r"FOREIGN KEY \(([^)]*)\)")


def is_adopted(documented: Facts, found: Facts) -> bool:
    """Whether the platform's tables were there before us.

    006 recorded whether they were. If it recorded yes, or the record is lost, this function looks for the policies and
    triggers that 006 gives only to tables of its own making: most of them present means that 006 made the tables. So
    one edited function cannot hide all other changes of five tables, and a platform may take over one of our policies.
    """
    if markers.body(found, markers.ADOPTED) == "SELECT false":
        return False
    ours_alone = [
        found.get(key) == facts
        for key, facts in documented.items()
        if key.place in TABLES and key.kind in {"policy", "trigger"} and not is_ours(key, facts)
    ]
    return sum(ours_alone) * 2 <= len(ours_alone)


def as_adopted(documented: Facts, found: Facts) -> tuple[Facts, Facts]:
    """Return what an adopted platform must have of the documented facts, and what of the found facts is judged."""
    recorded = markers.recorded(documented, found)
    limits = needed_facts(documented, recorded)
    expected = {
        key: dict(facts)
        for key, facts in documented.items()
        if key in limits or is_ours(key, facts, recorded.taken_over)
    }
    expected |= markers.expected(documented, found, recorded)
    name_as_found(expected, found, recorded)
    expected.setdefault(Key("users", "column", recorded.identity), {"Type": "uuid"})
    judged = {
        key: dict(facts) for key, facts in found.items() if key in expected or not is_beside_ours(key, facts, recorded)
    }
    for facts in (expected, judged):
        drop_what_is_theirs(facts, limits)
    if found.get(PEOPLE, {}).get("Owner") in CLIENTS:  # the guard lets the owner pass
        judged[PEOPLE]["Owner"] = found[PEOPLE]["Owner"]
    allow_other_types(expected, judged, limits, recorded)
    return expected, judged


def drop_what_is_theirs(facts: Facts, limits: dict[Key, set[str]]) -> None:
    """Drop the facts that are the platform's to decide."""
    for key, needed in limits.items():
        if key in facts:
            facts[key] = {fact: value for fact, value in facts[key].items() if fact in needed}
    for key, theirs in THEIRS_TO_DECIDE.items():
        for fact in theirs & facts.get(key, {}).keys():
            del facts[key][fact]


def name_as_found(expected: Facts, found: Facts, recorded: markers.Recorded) -> None:
    """Expect what has other names here: the function that takes a role's type, and the key of chatbots taken over."""
    documented, theirs = markers.is_admin_role(expected, found, recorded)
    del expected[documented]
    expected |= theirs
    if "chatbots" in recorded.taken_over:
        key, facts = CHATBOTS_KEY, expected[CHATBOTS_KEY]
        names = [each for each in found if each[:2] == key[:2] and found[each] == facts]
        if names:
            del expected[key]
            expected[names[0]] = facts


def own_tables(found: Facts) -> frozenset[str]:
    """Return the tables that an adopted platform had before us."""
    return frozenset(TABLES) | (OF_CHATBOTS if "chatbots" in markers.taken_over(found) else frozenset())


def needed_facts(documented: Facts, recorded: markers.Recorded) -> dict[Key, set[str]]:
    """Return the things of which only some facts are judged, with those facts."""
    needed = {PEOPLE: RELIED_ON_OF_PEOPLE, Key("users", "column", recorded.identity): {"Type"}, **RELIED_ON}
    if "users.role" in recorded.taken_over:
        needed[ROLE] = OURS_OF_COLUMNS
    if "conversations.chatbot_id" in recorded.taken_over:
        needed[CHATBOT_ID] = {"Type", *OURS_OF_COLUMNS}
    if "chatbots" in recorded.taken_over:
        for name, facts in NEEDED_OF_CHATBOTS.items():
            column = Key("chatbots", "column", name)
            needed[column] = facts | (OURS_OF_COLUMNS & documented[column].keys())
    return needed


def allow_other_types(expected: Facts, judged: Facts, limits: dict[Key, set[str]], recorded: markers.Recorded) -> None:
    """Write what follows from the types and the order of the platform's columns as if they were the documented ones."""
    theirs = OF_CHATBOTS if "chatbots" in recorded.taken_over else frozenset()
    types = "|".join(map(re.escape, (*CASTS, recorded.role_type)))
    cast = re.compile(rf"\(((?:(?:old|new)\.)?\w+)\)::(?:{types})(?![\w.])")
    for key in expected.keys() & judged.keys():
        if key in limits or (key.kind == "column" and key.place in theirs - {"chatbots"}):
            accept_type(expected[key], judged[key], READ_AS_WELL_OF.get(key, set()))
        for facts in (expected[key], judged[key]):
            if key.place in TABLES | theirs:
                facts |= {fact: cast.sub(r"\1", facts[fact]) for fact in WITH_CASTS & facts.keys()}
            if key.place in theirs and key.kind == "rights of":
                facts |= {privilege: ", ".join(sorted(scope.split(", "))) for privilege, scope in facts.items()}


def accept_type(expected: dict[str, str], judged: dict[str, str], others: set[str]) -> None:
    """Accept a type that the models read as well as the documented one, or a domain over such a type."""
    documented, found = (base_type(facts.get("Type", "")) for facts in (expected, judged))
    if found and (found == documented or found in READ_AS_WELL.get(documented, set()) | others):
        judged["Type"] = expected["Type"]


def is_ours(key: Key, facts: dict[str, str], taken_over: frozenset[str] = frozenset()) -> bool:
    """Whether a documented thing is ours on an adopted platform as well, and not the platform's own."""
    match key:
        case Key("chatbot_compat.feedback", kind, _):
            return kind not in {"column", "rights of"}  # those of feedback, past which the view lets nobody
        case Key(table, "column", name) if table in TABLES:
            return (table, name) in OURS
        case Key("users", "constraint", _) if "users.role" in taken_over:
            return False
        case Key(table, "constraint" | "index", _) if table in TABLES:
            columns = re.findall(r"\w+", facts.get("Definition", "") + facts.get("On", ""))
            return any(table == its and column in columns for its, column in OURS)
        case Key(table, "trigger", _) if table in TABLES:
            return facts["Calls"] != "chatbot_private.touch_updated_at()"
        case Key(table, _, _):
            return table not in TABLES


def is_beside_ours(key: Key, facts: dict[str, str], recorded: markers.Recorded) -> bool:
    """Whether something undocumented is the platform's own: of its tables, of its chatbots, or a column of feedback."""
    if key.place in TABLES:
        return key != markers.GUARD
    if key.place == "chatbot_compat.feedback":
        return key.kind in {"column", "rights of"}
    if key.place != "chatbots" or "chatbots" not in recorded.taken_over:
        return False
    # A key of a column that we know decides what happens to a chatbot with its tenant or creator.
    columns = FOREIGN_KEY.match(facts.get("Definition", ""))
    return key.kind in THEIRS_BESIDE_OURS and not (columns and NEEDED_OF_CHATBOTS.keys() >= {*columns[1].split(", ")})

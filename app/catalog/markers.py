"""Read what the revisions recorded of an adopted platform, and say what the functions that depend on it must be.

Each marker is a function of schema chatbot_private that returns one constant. Clients and auditors may not call it;
everybody may read its body in pg_proc.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.catalog.facts import Facts, Key

ADOPTED = Key("chatbot_private.is_adopted()", "function")
IDENTITY = Key("chatbot_private.identity_column()", "function")
ADMIN_ROLES = Key("chatbot_private.admin_roles()", "function")
TAKEN_OVER = Key("chatbot_private.taken_over()", "function")
POSITIVE_FROM = Key("chatbot_private.positive_from()", "function")
TAKEABLE = frozenset({"chatbots", "users.role", "conversations.chatbot_id", "feedback.notes"})

FRESH_IDENTITY = "id"
LOOKUP = "person.{} = chatbot_private.token_sub()"  # how each helper finds the caller's row
COLUMN = r'"(?:[^"]|"")+"|\w+'
LOOKUPS = re.compile(re.escape(LOOKUP).replace(r"\{\}", f"({COLUMN})"))
GUARD = Key("users", "trigger", "users_guard_identity")

ROLE = Key("users", "column", "role")
IS_ADMIN_ROLE = "chatbot_private.is_admin_role"
STRING = r"(E?'(?:[^']|'')*')"
ROLE_ASKED = re.compile(
    rf"RETURN COALESCE\(\((?:role|\(role\)::text) (?:=|OPERATOR\((?P<schema>.+)\.=\)) ANY \("
    rf"\(?(?P<values>{STRING})::(?P<type>.+?)\[\](?:\)::text\[\])?\)\), false\)"
)
ONE_NAME = re.compile(rf"SELECT {STRING}::name")
ONE_ARRAY = re.compile(rf"SELECT {STRING}::text\[\]")
ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}\\]+)')


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a platform.

    Args:
        identity: the column of users that holds the token's sub.
        admin_roles: the values of users.role that make a chatbot admin.
        role_type: the type of users.role; of a domain its base.
        taken_over: what the platform had before us of what later revisions make.
    """

    identity: str
    admin_roles: tuple[str, ...]
    role_type: str
    taken_over: frozenset[str]


def recorded(documented: Facts, found: Facts) -> Recorded:
    """Return what the markers state; of a marker that no revision wrote, what a fresh install has."""
    admins = values_in(body(found, ADMIN_ROLES)) or values_in(body(documented, ADMIN_ROLES)) or ()
    judges = [key.place for key in (*found, *documented) if key.place.startswith(f"{IS_ADMIN_ROLE}(")]
    role_type = base_type(found.get(ROLE, {}).get("Type", "")) or judges[0].partition("(")[2].removesuffix(")")
    return Recorded(identity_agreed(documented, found), admins, role_type, taken_over(found))


def expected(documented: Facts, found: Facts, its: Recorded) -> Facts:
    """Return the facts of markers, helpers and the guard on a platform of which this is recorded."""
    facts = {key: dict(documented[key]) for key in (ADOPTED, IDENTITY, ADMIN_ROLES, TAKEN_OVER, POSITIVE_FROM)}
    facts[ADOPTED]["Body"] = "SELECT true"
    facts[IDENTITY]["Body"] = f"SELECT {quoted(its.identity)}::name"
    for key, is_valid in (
        (ADMIN_ROLES, bool(values_in(body(found, ADMIN_ROLES)))),
        (TAKEN_OVER, TAKEABLE.issuperset(values_in(body(found, TAKEN_OVER)) or ["?"])),
        (POSITIVE_FROM, body(found, POSITIVE_FROM) in {"SELECT 1", "SELECT 4"}),
    ):
        if is_valid:
            facts[key]["Body"] = body(found, key)
    usual = LOOKUP.format(FRESH_IDENTITY)
    for key, its_facts in documented.items():
        if usual in its_facts.get("Body", ""):
            column = spelled(its.identity, body(found, key))
            facts[key] = its_facts | {"Body": its_facts["Body"].replace(usual, LOOKUP.format(column))}
    if its.identity != FRESH_IDENTITY:
        facts[GUARD] = guard(its.identity, found.get(GUARD, {}).get("When", ""))
    return facts


def is_admin_role(expected: Facts, found: Facts, its: Recorded) -> tuple[Key, Facts]:
    """Return the documented key of the function that judges a role, and the key and facts that it has here.

    Its body states the type and the admins' values, so the function and the marker must agree.
    """
    documented = next(key for key in expected if key.place.startswith(f"{IS_ADMIN_ROLE}("))
    key = Key(f"{IS_ADMIN_ROLE}({its.role_type})", "function")
    facts = expected[documented] | {"Arguments": f"role {its.role_type}"}
    judges = ROLE_ASKED.fullmatch(body(found, key))
    if judges and (
        judges["type"] == {"character": "bpchar"}.get(its.role_type, its.role_type)
        and judges["schema"] in {None, its.role_type.rpartition(".")[0]}
    ):
        values = judges["values"]
        if values_in(f"SELECT {values}::text[]") != its.admin_roles:
            values = quoted(array_of(its.admin_roles))
        facts["Body"] = body(found, key).replace(judges["values"], values)
    return documented, {key: facts}


def base_type(written: str) -> str:
    """Return the name of a type without its length, and of a domain the name of its base."""
    return re.sub(r"\(\d+(,\d+)?\)", "", re.sub(r"^.* \((.*)\)$", r"\1", written))


def array_of(values: Iterable[str]) -> str:
    """Return values as an array of PostgreSQL's."""
    return "{" + ",".join('"' + re.sub(r'(["\\])', r"\\\1", each) + '"' for each in values) + "}"


def guard(identity: str, when: str) -> dict[str, str]:
    """Return the facts of the guard on the identity column.

    Args:
        identity: the column.
        when: the condition that was found, which shows how SQL writes the column's name.
    """
    column = spelled(identity, when)
    return {
        "Fires": "AFTER UPDATE FOR EACH ROW",
        "When": f"((new.{column} IS NOT NULL) AND (old.{column} IS DISTINCT FROM new.{column}))",
        "Calls": f"chatbot_private.require_table_owner({quoted(identity)})",
    }


def taken_over(found: Facts) -> frozenset[str]:
    """Return what the platform had before us of what later revisions make."""
    text = body(found, TAKEN_OVER)
    values = values_in(text)
    # A marker that no revision wrote is a finding. What it names is still left alone, or it would hide among others.
    return TAKEABLE.intersection(re.findall(r"[\w.]+", text) if values is None else values)


def body(facts: Facts, key: Key) -> str:
    """Return the body of a function; "" if the function does not exist."""
    return facts.get(key, {}).get("Body", "")


def identity_agreed(documented: Facts, found: Facts) -> str:
    """Return the identity column that the marker and most helpers name: what deviates from that is the finding."""
    stated = name_in(body(found, IDENTITY))
    votes = Counter([stated] if stated else [])
    votes.update(columns_of_helpers(documented, found))
    return votes.most_common(1)[0][0] if votes else FRESH_IDENTITY


def columns_of_helpers(documented: Facts, found: Facts) -> Iterator[str]:
    """Find the column by which each helper looks the caller up."""
    for key, facts in documented.items():
        if LOOKUP.format(FRESH_IDENTITY) in facts.get("Body", ""):
            for column in LOOKUPS.findall(body(found, key)):
                yield column[1:-1].replace('""', '"') if column.startswith('"') else column


def spelled(column: str, text: str) -> str:
    """Return a column's name as a text writes it, which quotes the name where SQL needs that."""
    in_quotes = '"' + column.replace('"', '""') + '"'
    return in_quotes if in_quotes in text or not re.fullmatch("[a-z_][a-z0-9_]*", column) else column


def name_in(body: str) -> str | None:
    """Return the name that a marker states; None if no revision wrote its body."""
    found = ONE_NAME.fullmatch(body)
    return unquoted(found[1]) if found else None


def values_in(body: str) -> tuple[str, ...] | None:
    """Return the values that a marker states; None if no revision wrote its body."""
    found = ONE_ARRAY.fullmatch(body)
    array = unquoted(found[1]) if found else ""
    if not re.fullmatch(r"\{.*\}", array, re.DOTALL):
        return None
    values, rest = [], array[1:-1]
    while rest:
        element = ELEMENT.match(rest)
        if element is None or element[2] == "NULL" or rest[element.end() : element.end() + 1] not in {"", ","}:
            return None
        values.append(element[2] or re.sub(r"\\(.)", r"\1", element[1]))
        rest = rest[element.end() + 1 :]
    return tuple(values)


def unquoted(string: str) -> str:
    """Return the value of a string of SQL."""
    value = string[string.index("'") + 1 : -1].replace("''", "'")
    return value.replace(r"\\", "\\") if string.startswith("E") else value


def quoted(value: str) -> str:
    """Return a value as a string of SQL, as format('%L') writes it."""
    string = "'" + value.replace("'", "''") + "'"
    return "E" + string.replace("\\", r"\\") if "\\" in value else string

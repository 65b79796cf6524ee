"""Design §3 in plain Python: who sees what, what a statement changes, and what refuses it, on a fresh install.

Written from the design alone and to be read beside it. It shares nothing with the SQL that it is compared with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Row = dict[str, Any]  # a value for each column but the times
State = dict[str, dict[str, Row]]  # by table and id

TIMES = ("created_at", "updated_at")
LABELS = ("category", "tags")
PUBLIC = ("id", "tenant_id", "name", "description", "model", "is_published", *TIMES, *LABELS)
VERSIONED = ("system_prompt", "model", "temperature", "max_tokens", "settings")  # a change of these is a new version
CONFIG = ("name", "description", *VERSIONED, "is_published", *LABELS)
COLUMNS: dict[str, tuple[str, ...]] = {
    "tenants": ("id", "name", *TIMES),
    "users": ("id", "tenant_id", "email", "full_name", "role", "is_active", *TIMES),
    "chatbots": ("id", "tenant_id", "created_by", *CONFIG, "version", "lock_version", *TIMES),
    "published_chatbots": PUBLIC,
    "conversations": ("id", "tenant_id", "user_id", "chatbot_id", "chatbot_version", "title", *TIMES),
    "messages": ("id", "conversation_id", "role", "content", "created_at"),
    "feedback": ("id", "message_id", "user_id", "rating", "notes", "created_at"),
}
TABLES = {table: columns for table, columns in COLUMNS.items() if table != "published_chatbots"}

# What an INSERT may leave out.
DEFAULTS: dict[str, Row] = {
    "tenants": {},
    "users": {"full_name": None, "role": "user", "is_active": True},
    "chatbots": {
        "created_by": None,
        "description": None,
        "temperature": 0.7,
        "max_tokens": None,
        "settings": {},
        "is_published": False,
        "version": 1,
        "lock_version": 1,
        "category": None,
        "tags": [],
    },
    "conversations": {"chatbot_id": None, "chatbot_version": None, "title": None},
    "messages": {},
    "feedback": {"notes": None},
}

# Whose id a column holds, and what becomes of the row once that is deleted.
REFERENCES: dict[tuple[str, str], tuple[str, Literal["goes along", "forgets"]]] = {
    ("users", "tenant_id"): ("tenants", "goes along"),
    ("chatbots", "tenant_id"): ("tenants", "goes along"),
    ("chatbots", "created_by"): ("users", "forgets"),
    ("conversations", "tenant_id"): ("tenants", "goes along"),
    ("conversations", "user_id"): ("users", "goes along"),
    ("conversations", "chatbot_id"): ("chatbots", "forgets"),
    ("messages", "conversation_id"): ("conversations", "goes along"),
    ("feedback", "message_id"): ("messages", "goes along"),
    ("feedback", "user_id"): ("users", "goes along"),
}
UNIQUE = {"users": ("tenant_id", "email"), "feedback": ("message_id", "user_id")}

Kind = Literal["anonymous", "person", "service"]
Command = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
Rights = Mapping[Kind, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Caller:
    kind: Kind
    user_id: str | None = None  # whom the token names, if it names somebody


# The columns that each may name. Members and admins are one kind here: which rows they reach tells them apart.
SELECT: Rights = {
    "anonymous": {"chatbots": (*PUBLIC, "version"), "published_chatbots": PUBLIC},
    "person": COLUMNS,
    "service": COLUMNS,
}
INSERT: Rights = {  # all but the times
    "anonymous": {},
    "person": {
        "chatbots": ("id", "tenant_id", "created_by", *CONFIG, "lock_version"),
        "conversations": ("id", "tenant_id", "user_id", "chatbot_id", "title"),
        "messages": ("id", "conversation_id", "role", "content"),
        "feedback": ("id", "message_id", "user_id", "rating", "notes"),
    },
    "service": TABLES,
}
UPDATE: Rights = {
    "anonymous": {},
    "person": {
        "chatbots": (*CONFIG, "lock_version"),
        "users": ("full_name",),
        "conversations": ("title", "chatbot_id"),
        "feedback": ("rating", "notes"),
    },
    "service": TABLES,
}
DELETE: Mapping[Kind, Iterable[str]] = {
    "anonymous": (),
    "person": ("chatbots", "conversations", "feedback"),
    "service": TABLES,
}


def may(state: State, caller: Caller, command: Command, table: str, row: Row) -> bool:
    """Whether a command finds a row, or may insert it, for somebody who has the right to that command."""
    if table == "published_chatbots":
        return row["is_published"] and may(state, caller, command, "chatbots", row)
    if caller.kind == "service":
        return True
    if caller.kind == "anonymous":
        return table == "chatbots" and row["is_published"]
    me = state["users"].get(caller.user_id or "")
    if me is None or not me["is_active"]:
        return False
    rule = {"SELECT": may_select, "INSERT": may_insert, "UPDATE": may_change, "DELETE": may_change}[command]
    return rule(state, me, table, row)


def may_select(state: State, me: Row, table: str, row: Row) -> bool:
    match table:
        case "chatbots":
            found = own_tenant(me, row) and (row["is_published"] or is_admin(me))
        case "tenants":
            found = row["id"] == me["tenant_id"]
        case "users":
            found = row["id"] == me["id"] or (own_tenant(me, row) and is_admin(me))
        case "conversations":
            found = own_tenant(me, row) and row["user_id"] == me["id"]
        case "messages":
            found = in_own_conversation(state, me, row)
        case "feedback":
            message = state["messages"].get(row["message_id"])
            found = row["user_id"] == me["id"] and message is not None and in_own_conversation(state, me, message)
    return found


def may_insert(state: State, me: Row, table: str, row: Row) -> bool:
    match table:
        case "chatbots":
            found = own_tenant(me, row) and is_admin(me) and row["created_by"] == me["id"]
        case "messages":
            found = in_own_conversation(state, me, row) and row["role"] == "user"
        case "conversations" | "feedback":
            found = may_select(state, me, table, row)
    return found


def may_change(state: State, me: Row, table: str, row: Row) -> bool:
    match table:
        case "chatbots":
            found = own_tenant(me, row) and is_admin(me)
        case "users":
            found = row["id"] == me["id"]
        case "conversations" | "feedback":
            found = may_select(state, me, table, row)
    return found


def is_admin(me: Row) -> bool:
    return bool(me["role"] == "admin")


def own_tenant(me: Row, row: Row) -> bool:
    return bool(row["tenant_id"] == me["tenant_id"])


def in_own_conversation(state: State, me: Row, message: Row) -> bool:
    conversation = state["conversations"].get(message["conversation_id"])
    return conversation is not None and may_select(state, me, "conversations", conversation)


def tags_of(chatbot: Row) -> Iterable[Row]:
    """The rows of chatbot_tags, which whoever sees the chatbot sees, and nobody writes."""
    for tag in chatbot["tags"]:
        its = {column: chatbot[column] for column in ("tenant_id", "name", "is_published")}
        yield its | {"id": f"{chatbot['id']}/{tag}", "chatbot_id": chatbot["id"], "tag": tag}


def stored_in(table: str) -> str:
    """The table whose rows these are."""
    return "chatbots" if table == "published_chatbots" else table


@dataclass(frozen=True)
class Statement:
    command: Command
    table: str
    values: tuple[Row, ...] = ()  # the rows of an INSERT, each of the same columns; what an UPDATE sets
    where: tuple[str, str] | None = None  # a column and what it equals
    returns: tuple[str, ...] = ()  # what SELECT or RETURNING lists


@dataclass(frozen=True)
class Outcome:
    """What a statement comes to: the ids that it sees or changes, or one of what may refuse it; the rows after it."""

    state: State
    ids: frozenset[str] = frozenset()
    refused_by: frozenset[str] = frozenset()


def execute(state: State, caller: Caller, statement: Statement) -> Outcome:
    if not has_rights(caller.kind, statement):
        return Outcome(state, refused_by=frozenset({"grant"}))
    if statement.command == "INSERT":
        return insert(state, caller, statement)
    rows = state[stored_in(statement.table)]
    ids = frozenset(
        key
        for key, row in rows.items()
        if statement.where is None or row[statement.where[0]] == statement.where[1]
        if may(state, caller, statement.command, statement.table, row)
    )
    if statement.command == "SELECT":
        return Outcome(state, ids)
    after = {table: {key: dict(row) for key, row in rows.items()} for table, rows in state.items()}
    if statement.command == "DELETE":
        delete(after, statement.table, ids)
        return Outcome(after, ids)
    # No client sets a column that decides whose the row is, so no UPDATE leaves its rows: nothing here says "policy".
    refused = set()
    for key in ids:
        row = after[statement.table][key]
        if statement.values[0].get("lock_version", row.get("lock_version")) != row.get("lock_version"):
            refused.add("conflict")
        row.update(timeless(statement.values[0]))
        number(after, statement.table, row, rows[key])
    if repeats(statement.table, after[statement.table].values()):
        refused.add("unique")
    if refused:
        return Outcome(state, refused_by=frozenset(refused))
    return unless_refused(state, caller, Outcome(after, ids))


def has_rights(kind: Kind, statement: Statement) -> bool:
    """Whether somebody may do this to this table, and to each column that the statement names."""
    written = {column for row in statement.values for column in row}
    rights = {"INSERT": INSERT, "UPDATE": UPDATE}.get(statement.command)
    if rights and not (statement.table in rights[kind] and written <= {*rights[kind][statement.table]}):
        return False
    if statement.command == "DELETE" and statement.table not in DELETE[kind]:
        return False
    read = {*statement.returns, *(statement.where[:1] if statement.where else ())}
    return read <= {*SELECT[kind].get(statement.table, ())}


def insert(state: State, caller: Caller, statement: Statement) -> Outcome:
    table = statement.table
    rows = [DEFAULTS[table] | timeless(row) for row in statement.values]
    for row in rows:
        number(state, table, row)
    allowed = [row for row in rows if may(state, caller, "INSERT", table, row)]
    # Row by row, the row's policy first; keys and guards when all rows are there.
    refused = {"policy"} if len(allowed) < len(rows) else set()
    if repeats(table, [*state[table].values(), *allowed]):
        refused.add("unique")
    if refused:
        return Outcome(state, refused_by=frozenset(refused))
    after = state | {table: state[table] | {row["id"]: row for row in rows}}
    return unless_refused(state, caller, Outcome(after, frozenset(row["id"] for row in rows)))


def number(state: State, table: str, row: Row, before: Row | None = None) -> None:
    """Give a row the numbers that the database keeps: of a configuration, of its saves, of what a talk starts with."""
    if table == "chatbots":
        before = before or row | {"version": 1}
        is_new = any(row[column] != before[column] for column in VERSIONED)
        is_saved = any(row[column] != before[column] for column in CONFIG)
        row.update(version=before["version"] + is_new, lock_version=before["lock_version"] + is_saved)
    if table == "conversations":
        chatbot = state["chatbots"].get(row["chatbot_id"])
        if before and before["chatbot_id"] == row["chatbot_id"]:
            row["chatbot_version"] = before["chatbot_version"]
        else:
            its = chatbot and chatbot["tenant_id"] == row["tenant_id"]
            row["chatbot_version"] = chatbot["version"] if chatbot and its else None


def timeless(row: Row) -> Row:
    return {column: value for column, value in row.items() if column not in TIMES}


def repeats(table: str, rows: Iterable[Row]) -> bool:
    """Whether two rows have the same id, or the same of what is unique together."""
    rows = list(rows)
    keys = [("id",), UNIQUE.get(table, ("id",))]
    return any(len({tuple(row[column] for column in key) for row in rows}) < len(rows) for key in keys)


def unless_refused(before: State, caller: Caller, outcome: Outcome) -> Outcome:
    """The outcome, if every key holds after it and it links no conversation to a chatbot that its writer cannot see."""
    refused = set()
    after = outcome.state
    if any(
        row[column] is not None and row[column] not in after[target]
        for (table, column), (target, _) in REFERENCES.items()
        for row in after[table].values()
    ):
        refused.add("key")
    for key, talk in after["conversations"].items():
        chatbot = after["chatbots"].get(talk["chatbot_id"])
        if chatbot and chatbot["tenant_id"] != talk["tenant_id"]:
            refused.add("key")
        relinked = talk["chatbot_id"] != before["conversations"].get(key, {"chatbot_id": None})["chatbot_id"]
        if talk["chatbot_id"] and relinked and not (chatbot and may(after, caller, "SELECT", "chatbots", chatbot)):
            refused.add("guard")
    return replace(outcome, state=before, ids=frozenset(), refused_by=frozenset(refused)) if refused else outcome


def delete(state: State, table: str, ids: Iterable[str]) -> None:
    """Delete rows, with what belongs to them."""
    gone = {key for key in ids if state[table].pop(key, None)}
    for (child, column), (target, fate) in REFERENCES.items():
        if target != table:
            continue
        orphans = [key for key, row in state[child].items() if row[column] in gone]
        if fate == "goes along" and orphans:
            delete(state, child, orphans)
        for key in orphans if fate == "forgets" else ():
            state[child][key][column] = None
            if column == "chatbot_id":
                state[child][key]["chatbot_version"] = None

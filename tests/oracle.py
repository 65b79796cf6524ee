"""Design §4 in plain Python: who sees what, what a statement changes, and what refuses it.

`Rules` are those of a fresh install, `GuidesRules` those of the guide's own platform once it is adopted: its tables
follow its own policies. Written from the design and from what those policies mean, and to be read beside them. They
share nothing with the SQL that they are compared with.
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
UNIQUE: dict[str, tuple[str, ...]] = {"users": ("tenant_id", "email"), "feedback": ("message_id", "user_id")}

# What the guide's platform has instead.
GUIDES_COLUMNS = COLUMNS | {
    "tenants": ("id", "name", "slug", *TIMES),
    "users": ("id", "auth_id", "tenant_id", "email", "name", "full_name", "role", "is_active", *TIMES),
}
GUIDES_DEFAULTS: dict[str, Row] = DEFAULTS | {
    "users": {"auth_id": None, "name": None, "full_name": None, "role": "user", "is_active": True},
    "conversations": {"chatbot_id": None, "chatbot_version": None, "title": "New Conversation"},
}
GUIDES_UNIQUE = {"users": ("auth_id",), "tenants": ("slug",), "feedback": ("message_id", "user_id")}

Kind = Literal["anonymous", "person", "service"]
Command = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
Columns = Mapping[str, tuple[str, ...]]  # by table
Rights = Mapping[Kind, Columns]


@dataclass(frozen=True)
class Caller:
    kind: Kind
    sub: str | None = None  # of the token, if it has a well-formed one


@dataclass(frozen=True)
class Statement:
    command: Command
    table: str
    values: tuple[Row, ...] = ()  # the rows of an INSERT, each of the same columns; what an UPDATE sets
    where: tuple[str, str] | None = None  # a column and what it equals
    returns: tuple[str, ...] = ()  # what SELECT or RETURNING lists

    @property
    def reads(self) -> bool:
        """Whether it names a column to read, so that it finds and makes only rows that its caller may see."""
        return bool(self.where or self.returns)


@dataclass(frozen=True)
class Outcome:
    """What a statement comes to: the ids that it sees or changes, or one of what may refuse it; the rows after it."""

    state: State
    ids: frozenset[str] = frozenset()
    refused_by: frozenset[str] = frozenset()


class Rules:
    """A fresh install's."""

    identity = "id"  # the column of users that holds the token's sub

    columns, defaults, references, unique = COLUMNS, DEFAULTS, REFERENCES, UNIQUE

    def __init__(self) -> None:
        self.tables = {table: columns for table, columns in self.columns.items() if table != "published_chatbots"}
        # The columns that each may name. Members and admins are one kind here: which rows they reach tells them apart.
        self.select: Rights = {
            "anonymous": {"chatbots": (*PUBLIC, "version"), "published_chatbots": PUBLIC},
            "person": self.columns,
            "service": self.columns,
        }
        self.insert: Rights = {  # all but the times
            "anonymous": {},
            "person": {
                "chatbots": ("id", "tenant_id", "created_by", *CONFIG, "lock_version"),
                "conversations": ("id", "tenant_id", "user_id", "chatbot_id", "title"),
                "messages": ("id", "conversation_id", "role", "content"),
                "feedback": ("id", "message_id", "user_id", "rating", "notes"),
            },
            "service": self.tables,
        }
        self.update: Rights = {
            "anonymous": {},
            "person": {
                "chatbots": (*CONFIG, "lock_version"),
                "users": ("full_name",),
                "conversations": ("title", "chatbot_id"),
                "feedback": ("rating", "notes"),
            },
            "service": self.tables,
        }
        self.delete: Mapping[Kind, Iterable[str]] = {
            "anonymous": (),
            "person": ("chatbots", "conversations", "feedback"),
            "service": self.tables,
        }
        # Where people get something done.
        self.fruitful: dict[Command, list[str]] = {
            "INSERT": [*self.insert["person"]],
            "UPDATE": [*self.update["person"]],
            "DELETE": [*self.delete["person"]],
        }

    # Which rows

    def may(self, state: State, caller: Caller, command: Command, table: str, row: Row) -> bool:
        """Whether a command finds a row, or may make it, for somebody who has the right to that command."""
        if table == "published_chatbots":
            return row["is_published"] and self.may(state, caller, command, "chatbots", row)
        if caller.kind == "service":
            return True
        if caller.kind == "anonymous" and table == "chatbots":
            return bool(row["is_published"])
        me = self.person(state, caller)
        return self.is_for(state, caller, me, command, table, row)

    def person(self, state: State, caller: Caller) -> Row | None:
        """The caller's row of users, if the sub names one and that is active."""
        found = [row for row in state["users"].values() if caller.sub and row[self.identity] == caller.sub]
        return found[0] if len(found) == 1 and found[0]["is_active"] else None

    def is_for(self, state: State, caller: Caller, me: Row | None, command: Command, table: str, row: Row) -> bool:
        """The same for a person, of a table."""
        if me is None or caller.kind == "anonymous":
            return False
        match command:
            case "SELECT":
                return self.may_select(state, me, table, row)
            case "INSERT":
                return self.may_insert(state, me, table, row)
            case _:
                return self.may_change(state, me, table, row)

    def may_select(self, state: State, me: Row, table: str, row: Row) -> bool:
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
                found = self.in_own_conversation(state, me, row)
            case "feedback":
                message = state["messages"].get(row["message_id"])
                found = (
                    row["user_id"] == me["id"] and message is not None and self.in_own_conversation(state, me, message)
                )
        return found

    def may_insert(self, state: State, me: Row, table: str, row: Row) -> bool:
        match table:
            case "chatbots":
                found = own_tenant(me, row) and is_admin(me) and row["created_by"] == me["id"]
            case "messages":
                found = self.in_own_conversation(state, me, row) and row["role"] == "user"
            case "conversations" | "feedback":
                found = self.may_select(state, me, table, row)
        return found

    def may_change(self, state: State, me: Row, table: str, row: Row) -> bool:
        match table:
            case "chatbots":
                found = own_tenant(me, row) and is_admin(me)
            case "users":
                found = row["id"] == me["id"]
            case "conversations" | "feedback":
                found = self.may_select(state, me, table, row)
        return found

    def in_own_conversation(self, state: State, me: Row, message: Row) -> bool:
        conversation = state["conversations"].get(message["conversation_id"])
        return conversation is not None and self.may_select(state, me, "conversations", conversation)

    # What a statement does

    def execute(self, state: State, caller: Caller, statement: Statement) -> Outcome:
        if not self.has_rights(caller.kind, statement):
            return Outcome(state, refused_by=frozenset({"grant"}))
        if statement.command == "INSERT":
            return self.add(state, caller, statement)
        table, rows = statement.table, state[stored_in(statement.table)]
        ids = frozenset(
            key
            for key, row in rows.items()
            if statement.where is None or row[statement.where[0]] == statement.where[1]
            if self.may(state, caller, statement.command, table, row)
            if not statement.reads or self.may(state, caller, "SELECT", table, row)
        )
        if statement.command == "SELECT":
            return Outcome(state, ids)
        after = {name: {key: dict(row) for key, row in its.items()} for name, its in state.items()}
        if statement.command == "DELETE":
            self.remove(after, table, ids)
            return Outcome(after, ids)
        refused = set()
        for key in ids:
            row = after[table][key]
            if statement.values[0].get("lock_version", row.get("lock_version")) != row.get("lock_version"):
                refused.add("conflict")
            row.update(timeless(statement.values[0]))
            number(after, table, row, rows[key])
            if not self.may_become(state, caller, statement, row):
                refused.add("policy")
        if self.repeats(table, after[table].values()):
            refused.add("unique")
        if refused:
            return Outcome(state, refused_by=frozenset(refused))
        return self.unless_refused(state, caller, Outcome(after, ids))

    def may_become(self, state: State, caller: Caller, statement: Statement, row: Row) -> bool:
        """Whether a statement may make this row, as its caller found the others before it."""
        return self.may(state, caller, statement.command, statement.table, row) and (
            not statement.reads or self.may(state, caller, "SELECT", statement.table, row)
        )

    def has_rights(self, kind: Kind, statement: Statement) -> bool:
        """Whether somebody may do this to this table, and to each column that the statement names."""
        written = {column for row in statement.values for column in row}
        rights = {"INSERT": self.insert, "UPDATE": self.update}.get(statement.command)
        if rights and not (statement.table in rights[kind] and written <= {*rights[kind][statement.table]}):
            return False
        if statement.command == "DELETE" and statement.table not in self.delete[kind]:
            return False
        read = {*statement.returns, *(statement.where[:1] if statement.where else ())}
        return read <= {*self.select[kind].get(statement.table, ())}

    def add(self, state: State, caller: Caller, statement: Statement) -> Outcome:
        table = statement.table
        rows = [self.defaults[table] | timeless(row) for row in statement.values]
        for row in rows:
            number(state, table, row)
        allowed = [row for row in rows if self.may_become(state, caller, statement, row)]
        # Row by row, the row's policy first; keys and guards when all rows are there.
        refused = {"policy"} if len(allowed) < len(rows) else set()
        if self.repeats(table, [*state[table].values(), *allowed]):
            refused.add("unique")
        if refused:
            return Outcome(state, refused_by=frozenset(refused))
        after = state | {table: state[table] | {row["id"]: row for row in rows}}
        return self.unless_refused(state, caller, Outcome(after, frozenset(row["id"] for row in rows)))

    def repeats(self, table: str, rows: Iterable[Row]) -> bool:
        """Whether two rows have the same id, or the same of what is unique together; NULL is the same as nothing."""
        for key in (("id",), self.unique.get(table, ("id",))):
            values = [tuple(row[column] for column in key) for row in rows]
            values = [value for value in values if None not in value]
            if len(set(values)) < len(values):
                return True
        return False

    def unless_refused(self, before: State, caller: Caller, outcome: Outcome) -> Outcome:
        """The outcome, if each key holds after it and its writer sees each chatbot that it links."""
        refused = set()
        after = outcome.state
        if any(
            row[column] is not None and row[column] not in after[target]
            for (table, column), (target, _) in self.references.items()
            for row in after[table].values()
        ):
            refused.add("key")
        for key, talk in after["conversations"].items():
            chatbot = after["chatbots"].get(talk["chatbot_id"])
            if chatbot and chatbot["tenant_id"] != talk["tenant_id"]:
                refused.add("key")
            relinked = talk["chatbot_id"] != before["conversations"].get(key, {"chatbot_id": None})["chatbot_id"]
            if (
                talk["chatbot_id"]
                and relinked
                and not (chatbot and self.may(after, caller, "SELECT", "chatbots", chatbot))
            ):
                refused.add("guard")
        return replace(outcome, state=before, ids=frozenset(), refused_by=frozenset(refused)) if refused else outcome

    def remove(self, state: State, table: str, ids: Iterable[str]) -> None:
        """Delete rows, with what belongs to them."""
        gone = {key for key in ids if state[table].pop(key, None)}
        for (child, column), (target, fate) in self.references.items():
            if target != table:
                continue
            orphans = [key for key, row in state[child].items() if row[column] in gone]
            if fate == "goes along" and orphans:
                self.remove(state, child, orphans)
            for key in orphans if fate == "forgets" else ():
                state[child][key][column] = None
                if column == "chatbot_id":
                    state[child][key]["chatbot_version"] = None


class GuidesRules(Rules):
    """Those of the guide's own platform. It grants its clients ALL on its tables, and its policies name no role."""

    identity = "auth_id"
    columns, defaults, unique = GUIDES_COLUMNS, GUIDES_DEFAULTS, GUIDES_UNIQUE

    def __init__(self) -> None:
        super().__init__()
        theirs = {table: columns for table, columns in self.tables.items() if table != "chatbots"}
        self.select, self.insert, self.update = (
            {kind: {**columns, **theirs} if kind != "service" else columns for kind, columns in rights.items()}
            for rights in (self.select, self.insert, self.update)
        )
        self.delete = {"anonymous": (*theirs,), "person": (*theirs, "chatbots"), "service": self.tables}
        self.fruitful = {
            "INSERT": ["chatbots", "conversations", "messages", "feedback"],
            "UPDATE": ["chatbots", "conversations", "conversations"],
            "DELETE": ["chatbots", "conversations"],
        }

    def is_for(self, state: State, caller: Caller, me: Row | None, command: Command, table: str, row: Row) -> bool:
        if table == "chatbots":
            return super().is_for(state, caller, me, command, table, row)
        if table == "users":  # also who is inactive sees their own row
            return command == "SELECT" and caller.sub is not None and row["auth_id"] == caller.sub
        if me is None:
            return False
        message = state["messages"].get(row["message_id"]) if table == "feedback" else row
        match table, command:
            case "conversations", "SELECT":
                found = own_tenant(me, row)
            case "conversations", "INSERT":
                found = own_tenant(me, row) and row["user_id"] == me["id"]
            case ("conversations", _) | ("feedback", "INSERT"):
                found = row["user_id"] == me["id"]
            case ("messages", "SELECT" | "INSERT") | ("feedback", "SELECT"):
                found = message is not None and in_own_tenant(state, me, message)
            case _:
                found = False
        return bool(found)


def is_admin(me: Row) -> bool:
    return bool(me["role"] == "admin")


def own_tenant(me: Row, row: Row) -> bool:
    return bool(row["tenant_id"] == me["tenant_id"])


def in_own_tenant(state: State, me: Row, message: Row) -> bool:
    conversation = state["conversations"].get(message["conversation_id"])
    return conversation is not None and own_tenant(me, conversation)


def tags_of(chatbot: Row) -> Iterable[Row]:
    """The rows of chatbot_tags, which whoever sees the chatbot sees, and nobody writes."""
    for tag in chatbot["tags"]:
        its = {column: chatbot[column] for column in ("tenant_id", "name", "is_published")}
        yield its | {"id": f"{chatbot['id']}/{tag}", "chatbot_id": chatbot["id"], "tag": tag}


def stored_in(table: str) -> str:
    """The table whose rows these are."""
    return "chatbots" if table == "published_chatbots" else table


def number(state: State, table: str, row: Row, before: Row | None = None) -> None:
    """Give a row the numbers that the database keeps: of a configuration, of its saves, of what a talk is linked to."""
    if table == "chatbots":
        before = before or row | {"version": 1, "lock_version": 1}
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


FRESH, GUIDES = Rules(), GuidesRules()

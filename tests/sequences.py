"""What tests/test_oracle.py tries: rows to begin with, and statements of many people, one after the other.

They know from the oracle what the rows have become, so that most of them are such as their caller may run, or nearly.
"""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.oracle import (
    COLUMNS,
    DEFAULTS,
    DELETE,
    INSERT,
    REFERENCES,
    SELECT,
    TABLES,
    TIMES,
    UPDATE,
    Caller,
    Command,
    Kind,
    Row,
    State,
    Statement,
    execute,
    may,
    stored_in,
)
from tests.people import ANONYMOUS, HEIR, MALFORMED, NO_SUB, NO_TOKEN, NOBODY, SERVICE, STRANGER, Who, key, person

TENANTS = [str(key(n)) for n in (1, 2)]
PEOPLE = [str(key(0x10 + n)) for n in range(7)]
MISSING = str(key(0xFFF))


@dataclass(frozen=True)
class Actor:
    """Somebody as the oracle knows them, and as the database does."""

    caller: Caller
    who: Who


Step = tuple[Actor, Statement]


class Sequence:
    """Rows and what is done with them; no dataclass, because Hypothesis prints each field of one."""

    def __init__(self, rows: State, steps: list[Step]) -> None:
        self.rows, self.steps = rows, steps

    def __repr__(self) -> str:
        return "<the SQL below>"


AS_THEMSELF = [Actor(Caller("person", each), person(each)) for each in PEOPLE]
AS_HEIR = [Actor(actor.caller, Who(HEIR, actor.who.claims)) for actor in AS_THEMSELF]
OPERATOR = Actor(Caller("service"), SERVICE)
NOBODIES = [
    Actor(Caller("person", str(NOBODY)), STRANGER),
    *(Actor(Caller("person"), who) for who in (MALFORMED, NO_SUB, NO_TOKEN)),
]
ANYONE = [
    Actor(Caller("anonymous"), ANONYMOUS),
    Actor(Caller("anonymous"), Who("anon", person(PEOPLE[0]).claims)),  # an admin's token is none in this role
]
ACTORS = [*AS_THEMSELF, *NOBODIES, *AS_HEIR, *ANYONE, OPERATOR]


@st.composite
def worlds(draw: st.DrawFn) -> State:
    """Two tenants with an active admin and member each; beyond them, people and rows at random."""
    world: State = {table: {} for table in TABLES}

    def add(table: str, number: int, **values: Any) -> Row:
        row = DEFAULTS[table] | {"id": str(key(number)), **values}
        world[table][row["id"]] = row
        return row

    for n, tenant in enumerate(TENANTS, 1):
        add("tenants", n, name=f"Tenant {tenant}")
    for n in range(len(PEOPLE)):
        tenant, role, active = TENANTS[n % 2], "admin" if n < 2 else "user", True
        if n > 3:
            tenant, role, active = draw(st.sampled_from(TENANTS)), draw(PLAIN["users.role"]), draw(st.booleans())
        add("users", 0x10 + n, tenant_id=tenant, email=f"{n}@example.com", role=role, is_active=active)
    for n in range(6):
        text = dict.fromkeys(("name", "system_prompt", "model"), "Old")
        published, creator = n < 2 or (n > 3 and draw(st.booleans())), draw(st.sampled_from([*PEOPLE, None]))
        tags = ["orders", "old"][: n % 3]
        add(
            "chatbots",
            0x100 + n,
            tenant_id=TENANTS[n % 2],
            created_by=creator,
            is_published=published,
            tags=tags,
            **text,
        )
    for n in range(8):
        owner = PEOPLE[n] if n < 4 else draw(st.sampled_from(PEOPLE))
        tenant = draw(st.sampled_from([world["users"][owner]["tenant_id"]] * 3 + TENANTS))  # some have moved since
        chatbots = [each["id"] for each in world["chatbots"].values() if each["tenant_id"] == tenant]
        chatbot = draw(st.sampled_from([None, *chatbots]))
        begun = {"chatbot_id": chatbot, "chatbot_version": chatbot and 1}
        talk = add("conversations", 0x200 + n, tenant_id=tenant, user_id=owner, **begun)
        add("messages", 0x300 + n, conversation_id=talk["id"], role="user", content="Old")
        answer = add("messages", 0x380 + n, conversation_id=talk["id"], role="assistant", content="Old")
        if critic := draw(st.sampled_from([None, owner, owner, *PEOPLE])):
            add("feedback", 0x400 + n, message_id=answer["id"], user_id=critic, rating=3)
    return world


@st.composite
def sequences(draw: st.DrawFn) -> Sequence:
    """Rows, and steps that know what became of them."""
    world = state = draw(worlds())
    steps: list[Step] = []
    affected: list[Actor] = []
    for number in range(draw(st.integers(1, 24))):
        if not affected and draw(st.integers(0, 4)) == 0:
            step = OPERATOR, draw(changes(state))
            affected = [actor for actor in (*AS_THEMSELF, *AS_HEIR) if ("id", actor.caller.user_id) == step[1].where]
        else:
            obeying = bool(affected) and draw(st.integers(0, 3)) > 0
            actor = draw(st.sampled_from(affected) if obeying else actors(state))
            step, affected = (actor, draw(statements(state, actor.caller, 0x1000 + number))), []
        steps.append(step)
        state = execute(state, step[0].caller, step[1]).state
    return Sequence(world, steps)


@st.composite
def changes(draw: st.DrawFn, state: State) -> Statement:
    """What service does to a person or a chatbot, and the next statement has to obey."""
    where = draw(st.sampled_from(["users.role", "users.is_active", "users.tenant_id", "chatbots.is_published"]))
    table, column = where.split(".")
    value = draw(values(state, OPERATOR.caller, table, column))
    return Statement("UPDATE", table, ({column: value},), ("id", draw(ids(state, OPERATOR.caller, table))), ("id",))


@st.composite
def actors(draw: st.DrawFn, state: State) -> Actor:
    active = [actor for actor in AS_THEMSELF if state["users"].get(actor.caller.user_id or "", {}).get("is_active")]
    groups = [active or AS_THEMSELF] * 5 + [AS_THEMSELF, AS_HEIR, NOBODIES, ANYONE, ANYONE, [OPERATOR]]
    return draw(st.sampled_from(draw(st.sampled_from(groups))))


@st.composite
def statements(draw: st.DrawFn, state: State, caller: Caller, number: int) -> Statement:
    """A statement on a table that its caller may mostly use so."""
    commands: list[Command] = ["SELECT", "INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE"]
    if caller.kind == "anonymous":
        commands += ["SELECT", "SELECT", "DELETE"]
    command = draw(st.sampled_from(commands))
    kind: Kind = "person" if caller.kind == "person" else "service"
    likely = {
        "SELECT": [*SELECT[caller.kind]] * 3 + [*COLUMNS],
        "INSERT": [*INSERT[kind]],
        "UPDATE": [*UPDATE[kind], "conversations"],
        "DELETE": [*DELETE[kind]],
    }
    table = draw(st.sampled_from(likely[command] if draw(st.integers(0, 2)) else [*COLUMNS]))
    returns = draw(lists(caller, table)) if command == "SELECT" or draw(st.booleans()) else ()
    if command == "INSERT":
        return Statement("INSERT", table, draw(new_rows(state, caller, table, number)), None, returns)
    changed = (draw(new_values(state, caller, table)),) if command == "UPDATE" else ()
    return Statement(command, table, changed, draw(wheres(state, caller, table)), returns)


@st.composite
def lists(draw: st.DrawFn, caller: Caller, table: str) -> tuple[str, ...]:
    """All columns, or the id with one that the caller may read, or may not."""
    others = [column for column in COLUMNS[table][1:] if column not in SELECT[caller.kind].get(table, ())]
    forbidden = bool(others) and draw(st.integers(0, 2)) > 0
    some = draw(st.sampled_from(others if forbidden else COLUMNS[table][1:]))
    return ("id", some) if draw(st.integers(0, 3)) else COLUMNS[table]


@st.composite
def wheres(draw: st.DrawFn, state: State, caller: Caller, table: str) -> tuple[str, str] | None:
    """One row, all that refer to the same, or all."""
    columns = [column for source, column in REFERENCES if source == stored_in(table) and column in COLUMNS[table]]
    sort = draw(st.sampled_from(["id", "id", "reference", "all", "all"]))
    if sort == "all":
        return None
    if sort == "id" or not columns:
        return "id", draw(ids(state, caller, table))
    column = draw(st.sampled_from(columns))
    return column, draw(ids(state, caller, REFERENCES[stored_in(table), column][0]))


@st.composite
def new_values(draw: st.DrawFn, state: State, caller: Caller, table: str) -> Row:
    """What an UPDATE sets: what the caller may set, now and then with a column beside it that they may not."""
    permitted = [column for column in UPDATE[caller.kind].get(table, ()) if column != "id"]
    others = [column for column in COLUMNS[table] if column not in UPDATE[caller.kind].get(table, ())]
    decisive = [column for column in permitted if (table, column) in REFERENCES]
    pools = [pool for pool in (permitted, permitted, decisive) if pool]
    count = draw(st.sampled_from([1, 1, 2])) if pools else 0
    columns = [draw(st.sampled_from(draw(st.sampled_from(pools)))) for _ in range(count)]
    if others and (not columns or draw(st.integers(0, 3)) == 0):
        columns.append(draw(st.sampled_from(others)))
    return {column: draw(values(state, caller, table, column)) for column in columns}


@st.composite
def new_rows(draw: st.DrawFn, state: State, caller: Caller, table: str, number: int) -> tuple[Row, ...]:
    """A row or two such as the caller, or somebody else, may insert; now and then with one value changed."""
    somebody = st.sampled_from([*state["users"].values(), {"id": MISSING, "tenant_id": MISSING}])
    me = state["users"].get(caller.user_id or "") or draw(somebody)
    proper = {"tenant_id": me["tenant_id"], "created_by": me["id"], "user_id": me["id"]}
    if table == "messages":
        proper["role"] = "user"
    row: Row = {"id": str(key(number))}
    for column in COLUMNS[table][1:]:
        if column in proper:
            row[column] = proper[column]
        elif column not in TIMES and (column not in DEFAULTS[stored_in(table)] or draw(st.integers(0, 2))):
            row[column] = draw(values(state, Caller("person", me["id"]), table, column))
    rows = [row] if draw(st.integers(0, 4)) else [row, row | {"id": str(key(number + 0x1000))}]
    if draw(st.booleans()):
        decisive = [column for column in COLUMNS[table] if column in proper or (table, column) in REFERENCES]
        other = [column for column in COLUMNS[table] if column in {"id", *TIMES}]
        column = draw(st.sampled_from(draw(st.sampled_from([decisive or other, decisive or other, other]))))
        value = draw(values(state, OPERATOR.caller, table, column).filter(lambda value: value != row.get(column)))
        rows = [{column: value} | row for row in rows[:-1]] + [rows[-1] | {column: value}]
    return tuple(rows)


def values(state: State, caller: Caller, table: str, column: str) -> st.SearchStrategy[Any]:
    if column == "id":
        return ids(state, caller, table)
    if reference := REFERENCES.get((stored_in(table), column)):
        found = ids(state, caller, reference[0])
        return found if column not in DEFAULTS[stored_in(table)] else st.one_of(*[found] * 4, st.none())
    text = st.just("2020-01-01" if column in TIMES else "New")
    return PLAIN.get(f"{table}.{column}", PLAIN.get(column, text))


@st.composite
def ids(draw: st.DrawFn, state: State, caller: Caller, table: str) -> str:
    """An id of a table: of a row that the caller sees, of one of their tenant, or of any."""
    rows = state[stored_in(table)]
    tenant = state["users"].get(caller.user_id or "", {}).get("tenant_id")
    seen = [each for each, row in rows.items() if may(state, caller, "SELECT", table, row)]
    near = [each for each, row in rows.items() if row.get("tenant_id") == tenant]
    pools = [pool for pool in (seen, seen, near, near, [*rows, MISSING]) if pool]
    return draw(st.sampled_from(draw(st.sampled_from(pools))))


PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "is_active": st.booleans(),
    "is_published": st.booleans(),
    "users.role": st.sampled_from(["admin", "user"]),
    "messages.role": st.sampled_from(["user", "assistant", "system", "tool"]),
    "email": st.sampled_from(["new@example.com", "0@example.com", "1@example.com"]),
    "rating": st.integers(1, 5),
    **dict.fromkeys(("version", "lock_version", "chatbot_version"), st.sampled_from([1, 1, 2])),
    "temperature": st.sampled_from([0.5, 2]),
    "max_tokens": st.sampled_from([None, 5]),
    "settings": st.sampled_from([{}, {"greeting": "Hi"}]),
    "category": st.sampled_from([None, "Support"]),
    "tags": st.sampled_from([[], ["orders"], ["plans", "orders"]]),
}

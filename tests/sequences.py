"""What tests/test_oracle.py tries: rows to begin with, and statements of many people, one after the other.

They know from the oracle what the rows have become, so that most of them are such as their caller may run, or nearly.
"""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.oracle import FRESH, GUIDES, TIMES, Caller, Command, Row, Rules, State, Statement, stored_in
from tests.people import (
    ANONYMOUS,
    HEIR,
    MALFORMED,
    NEWCOMER,
    NO_SUB,
    NO_TOKEN,
    NOBODY,
    SERVICE,
    Who,
    key,
    person,
    sub_of,
)

TENANTS = [str(key(n)) for n in (1, 2)]
PEOPLE = [str(key(0x10 + n)) for n in range(7)]
MISSING = str(key(0xFFF))

# Where the sub is users.auth_id: those of accounts. The last two are nobody's at first.
SUBS = [str(sub_of(key(0x10 + n))) for n in range(7)] + [str(sub_of(NOBODY)), str(sub_of(NEWCOMER))]


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


class Cast:
    """Who speaks, on the databases of these rules."""

    def __init__(self, rules: Rules) -> None:
        subs = PEOPLE if rules is FRESH else SUBS
        self.themselves = [Actor(Caller("person", sub), person(sub)) for sub in subs]
        self.heirs = [Actor(actor.caller, Who(HEIR, actor.who.claims)) for actor in self.themselves]
        nobodies = [NO_SUB, NO_TOKEN]
        if rules is FRESH:
            nobodies.append(MALFORMED)  # the guide's policies ask auth.uid(), which raises
        self.nobodies = [
            Actor(Caller("person", str(NOBODY)), person(NOBODY)),
            *(Actor(Caller("person"), who) for who in nobodies),
        ]
        # A token is none in this role where policies are for authenticated; the guide's are for everybody.
        self.anyone = [
            Actor(Caller("anonymous"), ANONYMOUS),
            Actor(Caller("anonymous", subs[0] if rules is GUIDES else None), Who("anon", person(subs[0]).claims)),
        ]
        self.everybody = [*self.themselves, *self.nobodies, *self.heirs, *self.anyone, OPERATOR]

    def active(self, rules: Rules, state: State) -> list[Actor]:
        return [actor for actor in self.themselves if rules.person(state, actor.caller)] or self.themselves


OPERATOR = Actor(Caller("service"), SERVICE)
CASTS = {rules: Cast(rules) for rules in (FRESH, GUIDES)}


@st.composite
def worlds(draw: st.DrawFn, rules: Rules) -> State:
    """Two tenants with an active admin and member each; beyond them, people and rows at random."""
    world: State = {table: {} for table in rules.tables}
    plain = PLAIN[rules]

    def add(table: str, number: int, **values: Any) -> Row:
        row = rules.defaults[table] | {"id": str(key(number)), **values}
        world[table][row["id"]] = row
        return row

    for n, tenant in enumerate(TENANTS, 1):
        add("tenants", n, name=f"Tenant {tenant}", **({"slug": f"tenant-{n}"} if rules is GUIDES else {}))
    for n in range(len(PEOPLE)):
        tenant, role, active = TENANTS[n % 2], "admin" if n < 2 else "user", True
        if n > 3:
            tenant, role, active = draw(st.sampled_from(TENANTS)), draw(plain["users.role"]), draw(plain["is_active"])
        sub = {"auth_id": SUBS[n] if n < 6 else None} if rules is GUIDES else {}
        add("users", 0x10 + n, tenant_id=tenant, email=f"{n}@example.com", role=role, is_active=active, **sub)
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
            add("feedback", 0x400 + n, message_id=answer["id"], user_id=critic, rating=1)
    return world


@st.composite
def sequences(draw: st.DrawFn, rules: Rules) -> Sequence:
    """Rows, and steps that know what became of them."""
    world = state = draw(worlds(rules))
    cast = CASTS[rules]
    steps: list[Step] = []
    affected: list[Actor] = []
    for number in range(draw(st.integers(1, 24))):
        if not affected and draw(st.integers(0, 4)) == 0:
            step = OPERATOR, draw(changes(rules, state))
            row = state["users"].get(step[1].where[1] if step[1].where else "", {})
            subs = {row.get(rules.identity), step[1].values[0].get(rules.identity)} - {None}
            affected = [actor for actor in (*cast.themselves, *cast.heirs) if actor.caller.sub in subs]
        else:
            obeying = bool(affected) and draw(st.integers(0, 3)) > 0
            actor = draw(st.sampled_from(affected) if obeying else actors(rules, state))
            step, affected = (actor, draw(statements(rules, state, actor.caller, 0x1000 + number))), []
        steps.append(step)
        state = rules.execute(state, step[0].caller, step[1]).state
    return Sequence(world, steps)


@st.composite
def changes(draw: st.DrawFn, rules: Rules, state: State) -> Statement:
    """What service does to a person or a chatbot, and the next statement has to obey."""
    places = ["users.role", "users.is_active", "users.tenant_id", "chatbots.is_published"]
    if rules is GUIDES:
        places += ["users.auth_id"] * 2
    table, column = draw(st.sampled_from(places)).split(".")
    value = draw(values(rules, state, OPERATOR.caller, table, column))
    row = draw(ids(rules, state, OPERATOR.caller, table))
    return Statement("UPDATE", table, ({column: value},), ("id", row), ("id",))


@st.composite
def actors(draw: st.DrawFn, rules: Rules, state: State) -> Actor:
    cast = CASTS[rules]
    groups = [cast.active(rules, state)] * 5
    groups += [cast.themselves, cast.heirs, cast.nobodies, cast.anyone, cast.anyone, [OPERATOR]]
    return draw(st.sampled_from(draw(st.sampled_from(groups))))


@st.composite
def statements(draw: st.DrawFn, rules: Rules, state: State, caller: Caller, number: int) -> Statement:
    """A statement on a table that its caller may mostly use so."""
    commands: list[Command] = ["SELECT", "INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE"]
    if caller.kind == "anonymous":
        commands += ["SELECT", "SELECT", "DELETE"]
    command = draw(st.sampled_from(commands))
    likely: dict[Command, list[str]] = {"SELECT": [*rules.select[caller.kind]] * 3 + [*rules.columns]}
    if caller.kind == "service" or (caller.kind == "anonymous" and rules is FRESH):
        likely |= {"INSERT": [*rules.tables], "UPDATE": [*rules.tables], "DELETE": [*rules.tables]}
    else:
        likely |= rules.fruitful
    likely["UPDATE"] = [*likely["UPDATE"], "conversations"]
    table = draw(st.sampled_from(likely[command] if draw(st.integers(0, 2)) else [*rules.columns]))
    returns = draw(lists(rules, caller, table)) if command == "SELECT" or draw(st.booleans()) else ()
    if command == "INSERT":
        return Statement("INSERT", table, draw(new_rows(rules, state, caller, table, number)), None, returns)
    changed = (draw(new_values(rules, state, caller, table)),) if command == "UPDATE" else ()
    return Statement(command, table, changed, draw(wheres(rules, state, caller, table)), returns)


@st.composite
def lists(draw: st.DrawFn, rules: Rules, caller: Caller, table: str) -> tuple[str, ...]:
    """All columns, or the id with one that the caller may read, or may not."""
    columns = rules.columns[table]
    others = [column for column in columns[1:] if column not in rules.select[caller.kind].get(table, ())]
    forbidden = bool(others) and draw(st.integers(0, 2)) > 0
    some = draw(st.sampled_from(others if forbidden else columns[1:]))
    return ("id", some) if draw(st.integers(0, 3)) else columns


@st.composite
def wheres(draw: st.DrawFn, rules: Rules, state: State, caller: Caller, table: str) -> tuple[str, str] | None:
    """One row, all that refer to the same, or all."""
    referring = [column for source, column in rules.references if source == stored_in(table)]
    columns = [column for column in referring if column in rules.columns[table]]
    sort = draw(st.sampled_from(["id", "id", "reference", "all", "all"]))
    if sort == "all":
        return None
    if sort == "id" or not columns:
        return "id", draw(ids(rules, state, caller, table))
    column = draw(st.sampled_from(columns))
    return column, draw(ids(rules, state, caller, rules.references[stored_in(table), column][0]))


@st.composite
def new_values(draw: st.DrawFn, rules: Rules, state: State, caller: Caller, table: str) -> Row:
    """What an UPDATE sets: what the caller may set, now and then with a column beside it that they may not."""
    permitted = [column for column in rules.update[caller.kind].get(table, ()) if column != "id"]
    others = [column for column in rules.columns[table] if column not in rules.update[caller.kind].get(table, ())]
    decisive = [column for column in permitted if (table, column) in rules.references or column == "auth_id"]
    pools = [pool for pool in (permitted, permitted, decisive) if pool]
    count = draw(st.sampled_from([1, 1, 2])) if pools else 0
    columns = [draw(st.sampled_from(draw(st.sampled_from(pools)))) for _ in range(count)]
    if others and (not columns or draw(st.integers(0, 3)) == 0):
        columns.append(draw(st.sampled_from(others)))
    return {column: draw(values(rules, state, caller, table, column)) for column in columns}


@st.composite
def new_rows(draw: st.DrawFn, rules: Rules, state: State, caller: Caller, table: str, number: int) -> tuple[Row, ...]:
    """A row or two such as the caller, or somebody else, may insert; now and then with one value changed."""
    somebody = st.sampled_from([*state["users"].values(), {"id": MISSING, "tenant_id": MISSING}])
    me = of_sub(rules, state, caller) or draw(somebody)
    proper = {"tenant_id": me["tenant_id"], "created_by": me["id"], "user_id": me["id"]}
    if table == "messages":
        proper["role"] = "user"
    row: Row = {"id": str(key(number))}
    for column in rules.columns[table][1:]:
        if column in proper:
            row[column] = proper[column]
        elif column not in TIMES and (column not in rules.defaults[stored_in(table)] or draw(st.integers(0, 2))):
            row[column] = draw(values(rules, state, Caller("person", me.get(rules.identity)), table, column))
    rows = [row] if draw(st.integers(0, 4)) else [row, row | {"id": str(key(number + 0x1000))}]
    if draw(st.booleans()):
        decisive = [each for each in rules.columns[table] if each in proper or (table, each) in rules.references]
        other = [each for each in rules.columns[table] if each in {"id", *TIMES}]
        column = draw(st.sampled_from(draw(st.sampled_from([decisive or other, decisive or other, other]))))
        value = draw(
            values(rules, state, OPERATOR.caller, table, column).filter(lambda value: value != row.get(column))
        )
        rows = [{column: value} | row for row in rows[:-1]] + [rows[-1] | {column: value}]
    return tuple(rows)


def of_sub(rules: Rules, state: State, caller: Caller) -> Row | None:
    """The row of the caller's sub, active or not."""
    rows = state["users"].values()
    return next((row for row in rows if caller.sub and row[rules.identity] == caller.sub), None)


def values(rules: Rules, state: State, caller: Caller, table: str, column: str) -> st.SearchStrategy[Any]:
    if column == "id":
        return ids(rules, state, caller, table)
    if reference := rules.references.get((stored_in(table), column)):
        found = ids(rules, state, caller, reference[0])
        return found if column not in rules.defaults[stored_in(table)] else st.one_of(*[found] * 4, st.none())
    text = st.just("2020-01-01" if column in TIMES else "New")
    plain = PLAIN[rules]
    return plain.get(f"{table}.{column}", plain.get(column, text))


@st.composite
def ids(draw: st.DrawFn, rules: Rules, state: State, caller: Caller, table: str) -> str:
    """An id of a table: of a row that the caller sees, of one of their tenant, or of any."""
    rows = state[stored_in(table)]
    tenant = (of_sub(rules, state, caller) or {}).get("tenant_id")
    seen = [each for each, row in rows.items() if rules.may(state, caller, "SELECT", table, row)]
    near = [each for each, row in rows.items() if row.get("tenant_id") == tenant]
    pools = [pool for pool in (seen, seen, near, near, [*rows, MISSING]) if pool]
    return draw(st.sampled_from(draw(st.sampled_from(pools))))


OF_FRESH: dict[str, st.SearchStrategy[Any]] = {
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
OF_GUIDES = OF_FRESH | {
    "is_active": st.sampled_from([True, True, False, None]),
    "users.role": st.sampled_from(["admin", "user", "owner", None]),
    "messages.role": st.sampled_from(["user", "assistant", "system"]),
    "auth_id": st.sampled_from([*SUBS, SUBS[-1], None]),
    "slug": st.sampled_from(["new", "tenant-1"]),
    "rating": st.sampled_from([-1, 1]),
}
PLAIN = {FRESH: OF_FRESH, GUIDES: OF_GUIDES}  # the values of columns that refer to nothing

"""Find out what a person can do with each table, by the current grants and policies.

Every query runs as that person. To count what they see, it selects the rows. To count what they change or delete, it
adds the policies of the command to that SELECT. To know whether they insert, it checks the policies against a row that
is never written.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, text

from app.asking import UnansweredError, ask
from app.person import Person

RELATIONS = (
    *("tenants", "users", "chatbots", "published_chatbots", "conversations", "messages", "feedback"),
    *("chatbot_tags", "chatbot_versions", "audit_log"),
)
LIMIT = 1000  # rows are counted up to here
# The triggers of users that refuse to change a column for anyone but its owner and service, and those columns.
GUARDS_OF_USERS = {
    "users_guard_membership": ("id", "tenant_id", "is_active"),
    "users_guard_role_update": ("role",),
    "users_guard_identity": (),  # of the column that holds the token's sub
}

GRANTS = text("""
    SELECT relname::text AS relation, relkind = 'v' AS is_view,
        has_any_column_privilege(role.oid, pg_class.oid, 'SELECT') AND in_reach AS sees,
        has_table_privilege(role.oid, pg_class.oid, 'DELETE') AND in_reach AS deletes,
        ARRAY (
            SELECT attname::text FROM pg_attribute
            WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                AND attidentity <> 'a' AND in_reach AND has_column_privilege(role.oid, attrelid, attnum, 'UPDATE')
            ORDER BY attnum
        ) AS updates,
        ARRAY (
            SELECT attname::text FROM pg_attribute
            WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                AND in_reach AND has_column_privilege(role.oid, attrelid, attnum, 'INSERT')
            ORDER BY attnum
        ) AS inserts
    FROM pg_class, pg_roles AS role, has_schema_privilege(role.oid, relnamespace, 'USAGE') AS in_reach
    WHERE relnamespace = to_regnamespace('public') AND relname = ANY (CAST(:names AS text[])) AND rolname = :role
    ORDER BY array_position(CAST(:names AS text[]), relname::text)
""")
POLICIES = text("""
    SELECT polcmd::text AS command, polpermissive AS permissive, pg_get_expr(polqual, polrelid) AS using,
        pg_get_expr(coalesce(polwithcheck, polqual), polrelid) AS check
    FROM pg_policy
    WHERE polrelid = to_regclass('public.' || :relation) AND EXISTS (
        SELECT FROM unnest(polroles) AS audience
        WHERE CASE audience WHEN 0 THEN true ELSE pg_has_role(:role, audience, 'USAGE') END
    )
    ORDER BY polname
""")
DEFAULTS = text("""
    SELECT attname::text, attgenerated <> '', pg_get_expr(adbin, adrelid)
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = to_regclass('public.' || :relation)
""")
BOUND = """
    SELECT array_agg(relname::text) FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p') AND row_security_active(oid)
"""
GUARDS = text("""
    SELECT tgname FROM pg_trigger
    WHERE tgrelid = to_regclass('public.users') AND tgname = ANY (CAST(:names AS text[])) AND tgenabled IN ('O', 'A')
""")
TYPES = text("""
    SELECT attname::text, atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) AS is_number
    FROM pg_attribute WHERE attrelid = to_regclass('public.' || :relation) AND attnum > 0 AND NOT attisdropped
""")
NO_NUMBER = -1  # no id of a row

# What no client may call by name, and policies do; or a string or name, in which nothing is a call.
CALLS = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|chatbot_private\.(\w+)\(\)""")


@dataclass(frozen=True)
class Rows:
    """The number of rows that a person may use in one way.

    Args:
        granted: whether they hold the right at all.
        count: up to `LIMIT`; None: unknown.
        or_more: whether there are more than `LIMIT`.
    """

    granted: bool
    count: int | None = 0
    or_more: bool = False


@dataclass
class Powers:
    """The rights of a person on one table or view. Keys, guards and triggers may refuse more.

    Args:
        table: in schema public.
        sees: their SELECT.
        inserts: whether they may insert a row of their own; None: unknown.
        changes: of what they see.
        columns: that they hold UPDATE on, and no guard keeps from them.
        deletes: of what they see.
        notes: why something is unknown, and what else to know.
    """

    table: str
    sees: Rows
    inserts: bool | None
    changes: Rows
    columns: list[str]
    deletes: Rows
    notes: list[str] = field(default_factory=list)


def powers(connection: Connection, person: Person) -> list[Powers]:
    """Return what a person can do with each table, and with the view of published chatbots.

    Args:
        connection: in a read-only transaction, of a role that may become `authenticated`.
        person: as `asking.find` returns them.
    """
    named = {"names": list(RELATIONS), "role": person.database_role}
    within = Evaluation(connection, person)
    return [within.powers(grants) for grants in connection.execute(GRANTS, named)]


class Evaluation:
    """Queries about one person."""

    def __init__(self, connection: Connection, person: Person) -> None:
        """Find the tables whose row security binds the person."""
        self._connection, self._person = connection, person
        (bound,) = ask(connection, BOUND, person.identity)
        self._bound: Collection[str] = bound or ()
        self._helpers: dict[str, str] = {}

    def powers(self, grants: Row[Any]) -> Powers:
        """Return what the person can do with one table, given their grants on it."""
        relation: str = grants.relation
        notes: list[str] = []
        found = Powers(
            relation,
            self._rows(relation, "see", grants.sees, [], notes),
            None if grants.is_view and grants.inserts else False,
            Rows(bool(grants.updates)),
            grants.updates,
            Rows(grants.deletes),
            notes,
        )
        if grants.is_view:
            if grants.updates or grants.inserts or grants.deletes:
                found.changes, found.deletes = Rows(bool(grants.updates), None), Rows(grants.deletes, None)
                notes.append("may be written through, by the rights on chatbots")
            return found
        found.changes = self._rows(relation, "change", bool(grants.updates), ["w", "w check"], notes)
        found.deletes = self._rows(relation, "delete", grants.deletes, ["d"], notes)
        found.inserts = self._may_insert(relation, grants.inserts, notes)
        if relation == "users":
            self._apply_guards(found)
        return found

    def _apply_guards(self, found: Powers) -> None:
        """Take out the columns of users that grants allow the person to change and guards never do; note the rest."""
        guarded: set[str] = set()
        for guard in self._connection.scalars(GUARDS, {"names": list(GUARDS_OF_USERS)}):
            guarded.update(GUARDS_OF_USERS[guard] or {self._person.identity_column})
        exceptions = {"role": " (to or from an admin's)"}
        if self._person.identity_column not in GUARDS_OF_USERS["users_guard_membership"]:
            exceptions[self._person.identity_column] = " (except to NULL)"
        refused = sorted(guarded.intersection(found.columns))
        if not refused:
            return
        columns = [f"{name}{exceptions.get(name, '')}" for name in refused]
        found.notes.append(f"the guards refuse changes of {', '.join(columns)}, whatever grants allow")
        found.columns = [name for name in found.columns if name not in refused or name in exceptions]
        if not found.columns:
            found.changes = Rows(granted=False)

    def _rows(self, relation: str, what: str, granted: bool, commands: list[str], notes: list[str]) -> Rows:
        """Count the rows that the person sees and that also meet the policies of a command."""
        if not granted:
            return Rows(granted=False)
        try:
            conditions = dict.fromkeys(self._condition(relation, *command.split()) for command in commands)
            where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
            rows = f"SELECT FROM public.{relation} {where}LIMIT {LIMIT + 1}"
            (count,) = ask(self._connection, f"SELECT count(*) FROM ({rows}) AS rows", self._person.identity)
        except UnansweredError as reason:
            if reason.denied and not commands:  # their own SELECT is what was denied
                notes.append(f"they see nothing: {reason}")
                return Rows(granted=False)
            notes.append(f"what they {what} is unknown: {reason}")
            return Rows(granted=True, count=None)
        return Rows(granted=True, count=min(count, LIMIT), or_more=count > LIMIT)

    def _condition(self, relation: str, command: str, clause: str = "using") -> str:
        """Return the condition that the policies set for a row, in SQL that the person may run.

        Args:
            relation: a table.
            command: as pg_policy has it.
            clause: "using", for rows as they are, or "check", for rows as they would be.
        """
        if relation not in self._bound:
            return "true"
        permissive: list[str] = []
        restrictive: list[str] = []
        for policy in self._connection.execute(POLICIES, {"relation": relation, "role": self._person.database_role}):
            expression: str | None = getattr(policy, clause)
            if policy.command in {command, "*"} and expression is not None:
                (permissive if policy.permissive else restrictive).append(f"({self._said_by_helpers(expression)})")
        allowed = f"({' OR '.join(permissive)})" if permissive else "false"
        return " AND ".join([allowed, *restrictive])

    def _said_by_helpers(self, expression: str) -> str:
        """Replace calls of our helpers in an expression by the values that they return for the person.

        Policies call them past the lock of schema chatbot_private; who writes such a call is refused.
        """

        def said(found: re.Match[str]) -> str:
            helper = found[2]
            if helper is None:
                return found[0]
            if helper not in self._helpers:
                call = f"chatbot_private.{helper}()"
                operator: str = self._connection.scalar(text("SELECT current_user")) or ""
                asking = self._person.identity._replace(role=operator)
                (literal,) = ask(self._connection, f"SELECT format('%L::%s', {call}, pg_typeof({call}))", asking)
                self._helpers[helper] = literal
            return self._helpers[helper]

        return CALLS.sub(said, expression)

    def _may_insert(self, relation: str, columns: list[str], notes: list[str]) -> bool | None:
        """Whether the policies admit a new row of the person's own, made of the columns that they may set."""
        if not columns:
            return False
        key, other = {"messages": ("conversation_id", "conversation"), "feedback": ("message_id", "message")}.get(
            relation, (None, None)
        )
        try:
            row = self._row_of_theirs(relation)
            are_numbers: dict[str, bool] = dict(self._connection.execute(TYPES, {"relation": relation}).all())
            lacks_other = key is not None and row[key] is None
            if lacks_other and key is not None:
                row[key] = NO_NUMBER if are_numbers[key] else uuid4()
                notes.append(f"they see no {other} of their own to write to")
            given = {name: row[name] for name in columns if name in row}
            if are_numbers.get("id"):
                given["id"] = NO_NUMBER  # or its default would draw a number
            allowed = self._meets(relation, given)
            identity = self._person.identity_column
            if relation == "users" and not allowed and self._meets(relation, {**given, identity: self._person.sub}):
                notes.append(f"they may insert a row with their own {identity}, if theirs is deleted")
        except UnansweredError as reason:
            notes.append(f"whether they insert is unknown: {reason}")
            return None
        return None if allowed and lacks_other else allowed

    def _row_of_theirs(self, relation: str) -> dict[str, Any]:
        """Return a row that the person could insert as their own."""
        person = self._person
        row: dict[str, Any] = {"id": uuid4()}
        match relation:
            case "tenants":
                row |= {"name": "New"}
            case "users":
                row |= {"tenant_id": person.tenant_id, "email": "new@example.com"}
            case "chatbots":
                row |= {"tenant_id": person.tenant_id, "created_by": person.id}
                row |= {"name": "New", "system_prompt": "Be new.", "model": "a-model"}
            case "conversations":
                row |= {"tenant_id": person.tenant_id, "user_id": person.id, "title": "New"}
            case "messages":
                row |= {"conversation_id": self._one_of_theirs("public.conversations", "id")}
                row |= {"role": "user", "content": "New"}
            case "feedback":
                said = "public.messages JOIN public.conversations ON conversations.id = messages.conversation_id"
                row |= {"message_id": self._one_of_theirs(said, "messages.id"), "user_id": person.id, "rating": 1}
        return row

    def _one_of_theirs(self, source: str, column: str) -> UUID | int | None:
        """Return the id of a row in one of the person's conversations that the person sees."""
        one = f"SELECT {column} FROM {source} WHERE conversations.user_id = '{self._person.id}' LIMIT 1"
        try:
            found: UUID | int | None = ask(self._connection, f"SELECT ({one})", self._person.identity)[0]
        except UnansweredError as reason:
            if not reason.denied:
                raise
            return None
        return found

    def _meets(self, relation: str, row: dict[str, Any]) -> bool:
        """Whether a row, completed by defaults, meets the policies for INSERT."""
        condition = self._condition(relation, "a", "check")
        if condition in {"true", "false"}:
            return condition == "true"
        given = "'" + json.dumps(row, default=str).replace("'", "''") + "'::jsonb"
        defaults = "".join(f", '{name}', {default}" for name, default in self._defaults(relation, row, condition))
        values = f"{given} || jsonb_build_object({defaults.removeprefix(', ')})"
        record = f"jsonb_populate_record(NULL::public.{relation}, {values}) AS {relation}"
        return bool(ask(self._connection, f"SELECT {condition} FROM {record}", self._person.identity)[0])

    def _defaults(self, relation: str, row: dict[str, Any], condition: str) -> Iterator[tuple[str, str]]:
        """Find the defaults of columns that a condition names and a row leaves out."""
        for name, is_generated, expression in self._connection.execute(DEFAULTS, {"relation": relation}):
            if name not in row and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", condition):
                if is_generated:
                    raise UnansweredError(f"a policy asks for {name}, which is computed", denied=False)
                yield name.replace("'", "''"), expression

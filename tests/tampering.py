"""Changes to a database at head: at least one for each fact that the document states, derived from the document."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.catalog.document import documented
from app.catalog.facts import Facts, Key
from app.embedded import SUPERUSER
from tests.people import missing_roles

VIEWS = {key.place for key in documented() if key.kind == "view"}
STRANGER = "tampering_stranger"  # a role that nothing of ours knows
STRANGERS = missing_roles(f"{STRANGER} NOLOGIN")
CATALOGS = "SET LOCAL allow_system_table_mods = on; "  # for what DDL refuses, as while others depend on it

# A default of each type that no column of ours has.
DEFAULTS = {
    "uuid": "'00000000-0000-0000-0000-000000000000'",
    "boolean": "now() IS NULL",
    "integer": "7",
    "double precision": "1",
    "jsonb": "'[]'",
    "timestamp with time zone": "'2000-01-01'",
    "text": "'x'",
    "text[]": "'{x}'",
    "character varying": "'x'",
}
INCLUDED = {"audit_log": "changed_at", "chatbot_tags": "is_published"}  # in an index, where there is no created_at
FIRST_COLUMNS = {
    "alembic_version": "version_num",
    "chatbot_versions": "version",
    "chatbot_tags": "chatbot_id",
}  # of tables without an id
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@dataclass(frozen=True)
class Tampering:
    """A change to one fact of one thing.

    Args:
        key: of the thing.
        fact: that changes; "" where the thing is gone, or is one too many.
        statement: SQL that changes it.
    """

    key: Key
    fact: str
    statement: str


def tamperings() -> Iterator[Tampering]:
    """All of them."""
    facts = documented()
    for key, its in facts.items():
        for fact, statement in OF_KIND[key.kind](key, its):
            yield Tampering(key, fact, statement)
    yield from one_too_many(facts)


Changes = Iterator[tuple[str, str]]  # fact and statement


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def comments(what: str, its: dict[str, str]) -> Changes:
    yield "Comment", f"COMMENT ON {what} IS 'Tampered with'"
    if "Comment" in its:
        yield "Comment", f"COMMENT ON {what} IS '{its['Comment'].replace(chr(39), chr(39) * 2)}\n'"
        yield "Comment", f"COMMENT ON {what} IS NULL"


def of_table(key: Key, its: dict[str, str]) -> Changes:
    table = f"TABLE {key.place}"
    yield "", f"DROP {table} CASCADE"
    yield "Owner", f"ALTER {table} OWNER TO {STRANGER}"
    yield "Row security", f"ALTER {table} DISABLE ROW LEVEL SECURITY"
    yield "Row security", f"ALTER {table} FORCE ROW LEVEL SECURITY"
    yield "Inherits from", f"CREATE TABLE parent (LIKE {key.place}); ALTER {table} INHERIT parent"
    yield "Inherited by", f"CREATE TABLE child () INHERITS ({key.place})"
    yield "Persistence", f"{CATALOGS} UPDATE pg_class SET relpersistence = 'u' WHERE oid = '{key.place}'::regclass"
    for privilege in PRIVILEGES:
        yield "Revoked from the owner", f"REVOKE {privilege} ON {table} FROM CURRENT_USER"
    if key.place != "alembic_version":  # its comment is where a half-done step is noted
        yield from comments(table, its)


def of_view(key: Key, its: dict[str, str]) -> Changes:
    view = f"VIEW {key.place}"
    yield "", f"DROP {view}"
    yield "Owner", f"ALTER {view} OWNER TO {STRANGER}"
    yield "Options", f"ALTER {view} RESET (security_invoker)"
    yield "Options", f"ALTER {view} SET (security_invoker = false)"
    yield "Options", f"ALTER {view} SET (security_barrier)"
    definition = its["Definition"].rstrip(";")
    if "WHERE" in definition:
        yield "Definition", f"CREATE OR REPLACE {view} WITH ({its['Options']}) AS {definition.partition('WHERE')[0]}"
    yield "Definition", f"CREATE OR REPLACE {view} WITH ({its['Options']}) AS SELECT * FROM ({definition}) AS its"
    yield "Revoked from the owner", f"REVOKE SELECT ON {key.place} FROM CURRENT_USER"
    yield from comments(view, its)


def of_column(key: Key, its: dict[str, str]) -> Changes:
    column = f"ALTER TABLE {key.place} ALTER COLUMN {quoted(key.name)}"
    where = f"WHERE attrelid = '{key.place}'::regclass AND attname = '{key.name}'"
    yield "", f"ALTER TABLE {key.place} RENAME COLUMN {quoted(key.name)} TO renamed"
    yield "Type", f"{CATALOGS} UPDATE pg_attribute SET atttypid = 'bytea'::regtype, atttypmod = -1 {where}"
    if "(" in its["Type"]:
        yield "Type", f"{CATALOGS} UPDATE pg_attribute SET atttypmod = 13 {where}"
    yield "Default", f"{column} SET DEFAULT {DEFAULTS[its['Type'].partition('(')[0]]}"
    if "Default" in its:
        yield "Default", f"{column} DROP DEFAULT"
    yield from comments(f"COLUMN {key.place}.{quoted(key.name)}", its)
    if its["Type"].startswith(("text", "character")):
        yield "Collation", f"{CATALOGS} UPDATE pg_attribute SET attcollation = 'pg_catalog.\"C\"'::regcollation {where}"
    if key.place in VIEWS:
        return
    yield "", f"ALTER TABLE {key.place} DROP COLUMN {quoted(key.name)} CASCADE"
    yield "Not null", f"{CATALOGS} UPDATE pg_attribute SET attnotnull = NOT attnotnull {where}"
    yield "Statistics", f"{column} SET STATISTICS {-1 if 'Statistics' in its else 0}"


def of_constraint(key: Key, its: dict[str, str]) -> Changes:
    table, name, definition = f"ALTER TABLE {key.place}", quoted(key.name), its["Definition"]
    drop = f"{table} DROP CONSTRAINT {name}"
    yield "", f"{drop} CASCADE"
    yield "", f"{table} RENAME CONSTRAINT {name} TO renamed"
    match definition.split()[0]:
        case "CHECK":
            yield "Definition", f"{drop}, ADD CONSTRAINT {name} {definition} NOT VALID"
            yield (
                "Definition",
                f"{drop}, ADD CONSTRAINT {name} CHECK ({definition.removeprefix('CHECK ')} IS NOT FALSE)",
            )
            yield "Definition", f"{drop}, ADD CONSTRAINT {name} {definition} NO INHERIT"
        case "FOREIGN":
            without_action = definition.partition(" ON ")[0]
            for action in ("", " ON DELETE RESTRICT", " ON UPDATE CASCADE", " MATCH FULL", " DEFERRABLE", " NOT VALID"):
                yield "Definition", f"{drop}, ADD CONSTRAINT {name} {without_action}{action}"
            yield "Definition", f"{drop}, ADD CONSTRAINT {name} {definition} NOT VALID"
            if "(chatbot_id)" in definition:
                yield "Definition", f"{drop}, ADD CONSTRAINT {name} {definition.removesuffix(' (chatbot_id)')}"
            yield "State", f"{table} DISABLE TRIGGER ALL"
            yield "State", f"ALTER TABLE {definition.split('REFERENCES ')[1].partition('(')[0]} DISABLE TRIGGER ALL"
        case "UNIQUE":
            yield "Definition", f"{drop}, ADD CONSTRAINT {name} {definition} DEFERRABLE"
            yield (
                "Definition",
                f"{drop}, ADD CONSTRAINT {name} {definition.replace('UNIQUE', 'UNIQUE NULLS NOT DISTINCT')}",
            )
        case "PRIMARY":
            yield "Definition", f"{drop} CASCADE, ADD CONSTRAINT {name} {definition.replace('PRIMARY KEY', 'UNIQUE')}"


def of_index(key: Key, its: dict[str, str]) -> Changes:
    where = f"WHERE {its['Where']}" if "Where" in its else ""
    unique = "UNIQUE " if "Unique" in its else ""
    keys, _, included = its["On"].removeprefix("btree (").removesuffix(")").partition(") INCLUDE (")
    columns = keys.split(", ")

    def anew(
        unique: str = unique,
        on: str = "btree",
        columns: list[str] = columns,
        included: str = included,
        where: str = where,
    ) -> str:
        include = f"INCLUDE ({included})" if included else ""
        return (
            f"DROP INDEX {key.name} CASCADE;"
            f" CREATE {unique} INDEX {key.name} ON {key.place} USING {on} ({', '.join(columns)}) {include} {where}"
        )

    yield "", f"DROP INDEX {key.name} CASCADE"
    yield "", f"ALTER INDEX {key.name} RENAME TO renamed"
    yield "Where", anew(where=f"WHERE NOT ({its['Where']})" if where else f"WHERE {columns[0].split()[0]} IS NOT NULL")
    if where:
        yield "Where", anew(where="")
    for flag in ("indisvalid", "indisready", "indislive"):
        yield "State", f"{CATALOGS} UPDATE pg_index SET {flag} = false WHERE indexrelid = '{key.name}'::regclass"
    yield "Unique", anew(unique="" if unique else "UNIQUE")
    if len(columns) == 1:
        yield "On", anew(on="hash", unique="")
    yield "On", anew(columns=[*columns, "(1)"])
    yield "On", anew(columns=[f"{columns[0]} DESC", *columns[1:]])
    yield "On", anew(columns=[f"{columns[0]} NULLS FIRST", *columns[1:]])
    if len(columns) > 1:
        yield "On", anew(columns=columns[::-1])
        yield "On", anew(columns=columns[:-1])
    if "COLLATE" in keys:
        yield "On", anew(columns=[column.removesuffix(' COLLATE "C"') for column in columns])
    if included:
        yield "On", anew(included="")
    yield "On", anew(included=INCLUDED.get(key.place, "created_at"))


def of_policy(key: Key, its: dict[str, str]) -> Changes:
    name, table = quoted(key.name), key.place
    alter = f"ALTER POLICY {name} ON {table}"

    def anew(kind: str = "PERMISSIVE", command: str = its["FOR"], **clauses: str) -> str:
        clauses = clauses or {clause: its[clause] for clause in ("USING", "WITH CHECK") if clause in its}
        written = " ".join(f"{clause.replace('_', ' ')} ({value})" for clause, value in clauses.items())
        return (
            f"DROP POLICY {name} ON {table};"
            f" CREATE POLICY {name} ON {table} AS {kind} FOR {command} TO {its['TO']} {written}"
        )

    yield "", f"DROP POLICY {name} ON {table}"
    yield "", f"{alter} RENAME TO renamed"
    yield "AS", anew(kind="RESTRICTIVE")
    yield "FOR", anew(command="ALL", USING=its.get("USING") or its.get("WITH CHECK", ""))
    for role in {"anon", "authenticated", "service_role", "PUBLIC", STRANGER} - {its["TO"]}:
        yield "TO", f"{alter} TO {role}"
        if role != "PUBLIC" and its["TO"] != "PUBLIC":
            yield "TO", f"{alter} TO {its['TO']}, {role}"
    for clause in {"USING", "WITH CHECK"} & its.keys():
        yield clause, f"{alter} {clause} (({its[clause]}) IS NOT FALSE)"
        yield clause, f"{alter} {clause} (({its[clause]}) OR current_user = 'x')"
        if its[clause] != "true":
            yield clause, f"{alter} {clause} (true)"
    if its["FOR"] == "UPDATE":
        yield "WITH CHECK", anew(USING=its["USING"])


def of_rights(key: Key, its: dict[str, str]) -> Changes:
    yield "", f"REVOKE ALL ON {key.place} FROM {key.name}"
    for privilege, scope in its.items():
        columns = "" if scope == "all" else f" ({scope})"
        if len(its) > 1:
            yield privilege, f"REVOKE {privilege}{columns} ON {key.place} FROM {key.name}"
        yield privilege, f"GRANT {privilege}{columns} ON {key.place} TO {key.name} WITH GRANT OPTION"
        for column in columns.strip(" ()").split(", ") if len(columns.split(", ")) > 1 else []:
            yield privilege, f"REVOKE {privilege} ({column}) ON {key.place} FROM {key.name}"
        if columns:
            yield privilege, f"GRANT {privilege} ON {key.place} TO {key.name}"
    for privilege in [each for each in PRIVILEGES if each not in its]:
        yield privilege, f"GRANT {privilege} ON {key.place} TO {key.name}"
        if privilege in {"SELECT", "INSERT", "UPDATE", "REFERENCES"}:
            yield privilege, f"GRANT {privilege} ({FIRST_COLUMNS.get(key.place, 'id')}) ON {key.place} TO {key.name}"


def of_trigger(key: Key, its: dict[str, str]) -> Changes:
    name, table = quoted(key.name), key.place
    drop = f"DROP TRIGGER {name} ON {table}"
    when = f"WHEN ({its['When']})" if "When" in its else ""

    def anew(fires: str = its["Fires"], when: str = when, calls: str = its["Calls"]) -> str:
        events, each = fires.split(" FOR EACH ")
        return f"{drop}; CREATE TRIGGER {name} {events} ON {table} FOR EACH {each} {when} EXECUTE FUNCTION {calls}"

    yield "", drop
    yield "", f"ALTER TRIGGER {name} ON {table} RENAME TO renamed"
    for state in ("DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS"):
        yield "State", f"ALTER TABLE {table} {state} TRIGGER {name}"
    before, after = ("BEFORE", "AFTER") if its["Fires"].startswith("BEFORE") else ("AFTER", "BEFORE")
    yield "Fires", anew(fires=its["Fires"].replace(before, after, 1))
    if " OR " in its["Fires"]:
        yield "Fires", anew(fires=re.sub(r" OR \w+ FOR", " FOR", its["Fires"]))
    else:
        yield "Fires", anew(fires=re.sub(r"UPDATE|INSERT|DELETE|TRUNCATE", other_event, its["Fires"], count=1))
    if "EACH ROW" in its["Fires"]:
        yield "Fires", anew(fires=its["Fires"].replace("EACH ROW", "EACH STATEMENT"), when="")
    if when:
        yield "When", anew(when="")
        yield "When", anew(when=f"WHEN (({its['When']}) IS NOT FALSE)")
    else:
        yield "When", anew(when="WHEN (pg_trigger_depth() = 0)")
    yield "Calls", anew(calls=its["Calls"].replace(")", ", 'x')" if "'" in its["Calls"] else "'x')"))
    yield "Calls", anew(calls="pg_catalog.suppress_redundant_updates_trigger()")


def other_event(event: re.Match[str]) -> str:
    """What else a trigger may fire at, with the rows that its WHEN names."""
    return {"DELETE": "UPDATE", "TRUNCATE": "DELETE"}.get(event[0], "UPDATE OF id")


def of_function(key: Key, its: dict[str, str]) -> Changes:
    function = f"FUNCTION {key.place}"
    row = f"WHERE oid = '{key.place}'::regprocedure"
    yield "", f"DROP {function} CASCADE"
    yield "", f"ALTER {function} RENAME TO renamed"
    yield "Owner", f"ALTER {function} OWNER TO {STRANGER}"
    for words, fact in (
        (("IMMUTABLE", "STABLE", "VOLATILE"), "Volatility"),
        (("PARALLEL SAFE", "PARALLEL RESTRICTED", "PARALLEL UNSAFE"), "Parallel"),
        (("SECURITY DEFINER", "SECURITY INVOKER"), "Security"),
    ):
        yield from ((fact, f"ALTER {function} {word}") for word in words if word.split()[-1] != its[fact])
    yield "Null input", f"ALTER {function} STRICT"
    yield "Leakproof", f"ALTER {function} LEAKPROOF"
    settings = ("RESET ALL", "SET search_path = public", "SET search_path = ''", "SET work_mem = '1MB'")
    for setting in settings[0 if "Settings" in its else 1 :]:
        yield "Settings", f"ALTER {function} {setting}"
    for role in ("PUBLIC", "anon", STRANGER):
        yield "EXECUTE", f"GRANT EXECUTE ON {function} TO {role}"
    for role in its["EXECUTE"].replace("the owner", "CURRENT_USER").split(", "):
        yield "EXECUTE", f"REVOKE EXECUTE ON {function} FROM {role}"
    if "authenticated" in its["EXECUTE"]:
        yield "EXECUTE", f"GRANT EXECUTE ON {function} TO authenticated WITH GRANT OPTION"
    if its["Body"].startswith("BEGIN ATOMIC"):
        yield "Body", f"{CATALOGS} UPDATE pg_proc SET prosqlbody = NULL, prosrc = 'SELECT 1' {row}"
    else:
        yield "Body", f"{CATALOGS} UPDATE pg_proc SET prosrc = prosrc || ' -- ' {row}"
        yield (
            "Body",
            f"{CATALOGS} UPDATE pg_proc SET prosrc = replace(prosrc, 'SELECT', 'SELECT ALL') || E'\\n--' {row}",
        )
    yield (
        "Language",
        f"{CATALOGS} UPDATE pg_proc SET prolang = 12 {row}",  # internal,
    )
    if its["Returns"].startswith("TABLE"):
        yield "Returns", f"{CATALOGS} UPDATE pg_proc SET proargnames[cardinality(proargnames)] = 'renamed' {row}"
    else:
        yield "Returns", f"{CATALOGS} UPDATE pg_proc SET prorettype = 'bytea'::regtype {row}"
    if "Arguments" in its:
        yield "Arguments", f"{CATALOGS} UPDATE pg_proc SET proargnames[1] = 'renamed' {row}"
    yield "Kind", f"{CATALOGS} UPDATE pg_proc SET prokind = 'w' {row}"
    yield from comments(function, its)


def of_schema(key: Key, its: dict[str, str]) -> Changes:
    schema = f"SCHEMA {key.name}"
    for role in ("anon", "authenticated", "service_role", "PUBLIC"):
        yield "CREATE", f"GRANT CREATE ON {schema} TO {role}"
    if key.name == "public":
        yield "Owner", "ALTER SCHEMA public OWNER TO anon"
        return
    yield "Owner", f"ALTER {schema} OWNER TO {STRANGER}"
    for role in ("anon", "authenticated", "service_role", STRANGER):
        yield "USAGE", f"GRANT USAGE ON {schema} TO {role}"
    for privilege in ("USAGE", "CREATE"):
        for role in its[privilege].replace("the owner", "CURRENT_USER").split(", "):
            yield privilege, f"REVOKE {privilege} ON {schema} FROM {role}"
    for kind in ("TABLES", "FUNCTIONS", "SEQUENCES", "TYPES"):
        yield "Default privileges", f"ALTER DEFAULT PRIVILEGES IN {schema} GRANT ALL ON {kind} TO anon"
    yield from comments(schema, its)
    if key.name != "chatbot_compat":  # which people drop when they no longer need it
        yield "", f"DROP {schema} CASCADE"
        yield "", f"ALTER {schema} RENAME TO renamed"


def of_role(key: Key, its: dict[str, str]) -> Changes:
    for attribute in ("LOGIN", "SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS"):
        yield attribute, f"ALTER ROLE {key.name} {'NO' if its[attribute] == 'yes' else ''}{attribute}"
    roles = {"anon", "authenticated", "service_role", "pg_read_all_data", "pg_write_all_data", SUPERUSER}
    for role in sorted(roles - {key.name}):
        yield "Member of", f"GRANT {role} TO {key.name}"
    if key.name != "service_role":
        yield "Member of", f"GRANT {STRANGER} TO {key.name}"
    chain = "CREATE ROLE link; CREATE ROLE held SUPERUSER; GRANT held TO link"
    yield "Member of", f"{chain}; GRANT link TO {key.name}"
    yield "May set", f"GRANT SET ON PARAMETER session_replication_role TO {key.name}"
    yield "", f"ALTER ROLE {key.name} RENAME TO renamed"


OF_KIND = {
    "table": of_table,
    "view": of_view,
    "column": of_column,
    "constraint": of_constraint,
    "index": of_index,
    "policy": of_policy,
    "rights of": of_rights,
    "trigger": of_trigger,
    "function": of_function,
    "schema": of_schema,
    "role": of_role,
}


def one_too_many(facts: Facts) -> Iterator[Tampering]:
    """Things of each kind that are not ours, where they matter."""
    for key in facts:
        if key.kind == "table":
            yield from (Tampering(Key(key.place, kind, "extra"), "", made) for kind, made in extras(key.place))
        if key.kind in {"table", "view"}:
            rule = f"CREATE RULE extra AS ON DELETE TO {key.place} DO ALSO NOTHING"
            yield Tampering(Key(key.place, "rule", "extra"), "", rule)
            for privilege in PRIVILEGES:
                # An auditor may be given to read the version table.
                for role in ["PUBLIC"] + [STRANGER] * ((key.place, privilege) != ("alembic_version", "SELECT")):
                    grant = f"GRANT {privilege} ON {key.place} TO {role}"
                    yield Tampering(Key(key.place, "rights of", role), "", grant)
        if key.kind == "schema" and key.name != "public":
            function = f"CREATE FUNCTION {key.name}.extra() RETURNS integer LANGUAGE sql AS 'SELECT 1'"
            yield Tampering(Key(f"{key.name}.extra()", "function"), "", function)
            for kind, made in (("table", "()"), ("view", "AS SELECT 1"), ("materialized view", "AS TABLE pg_am")):
                yield Tampering(Key(f"{key.name}.extra", kind), "", f"CREATE {kind} {key.name}.extra {made}")
            yield Tampering(Key(f"{key.name}.extra", "sequence"), "", f"CREATE SEQUENCE {key.name}.extra")


def extras(table: str) -> Iterator[tuple[str, str]]:
    """Kind and statement of each thing called extra that a table may get."""
    column = FIRST_COLUMNS.get(table, "id")
    for command in ("ALL", "SELECT", "UPDATE", "DELETE"):
        yield "policy", f"CREATE POLICY extra ON {table} FOR {command} TO anon USING (true)"
    yield "index", f"CREATE UNIQUE INDEX extra ON {table} ({column})"
    yield "index", f"CREATE INDEX extra ON {table} (({column}::text))"
    planted = "CREATE FUNCTION planted() RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'"
    yield "index", f"{planted}; CREATE INDEX extra ON {table} ({column}) WHERE planted()"
    yield "statistics", f"CREATE STATISTICS extra ON ({column}::text) FROM {table}"
    theirs = f"CREATE TABLE theirs AS SELECT {column} FROM {table}; ALTER TABLE theirs ADD PRIMARY KEY ({column})"
    key_elsewhere = f"ALTER TABLE {table} ADD CONSTRAINT extra FOREIGN KEY ({column}) REFERENCES theirs"
    yield "constraint", f"{theirs}; {key_elsewhere} ON UPDATE CASCADE"
    if table != "users":  # whose key may lead to Supabase's auth.users
        yield "constraint", f"{theirs}; {key_elsewhere} ON DELETE CASCADE"
    yield "constraint", f"ALTER TABLE {table} ADD CONSTRAINT extra CHECK ({column} IS NOT NULL)"
    yield "column", f"ALTER TABLE {table} ADD COLUMN extra text"
    yield "trigger", f"CREATE TRIGGER extra AFTER UPDATE ON {table} EXECUTE FUNCTION tsvector_update_trigger()"

"""What decides row by row: a mutant for each part of each policy, trigger, function, view and check."""

import re
from collections.abc import Iterator

from psycopg import Connection

from tests.mutants.access import IS_OUR_FUNCTION, IS_OUR_RELATION
from tests.mutants.terms import without_each_condition

Statements = Iterator[tuple[str, str]]  # name and SQL of each mutant


def policies(connection: Connection) -> Statements:
    found = connection.execute(f"""
        SELECT polname, quote_ident(polname), polrelid::regclass::text,
            CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            (SELECT string_agg(CASE oid WHEN 0 THEN 'public' ELSE oid::regrole::text END, ', ')
            FROM unnest(polroles) AS oid),
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE {IS_OUR_RELATION} ORDER BY 3, 1
    """)
    for polname, policy, table, command, roles, using, check in found:
        name = f"policy {table} {polname}"
        yield f"{name}: dropped", f"DROP POLICY {policy} ON {table}"
        for audience in ("anon", "authenticated", "public"):
            if audience != roles:
                yield f"{name}: to {audience}", f"ALTER POLICY {policy} ON {table} TO {audience}"
        for clause, expression in (("USING", using), ("WITH CHECK", check)):
            if expression is None:
                continue
            for what, changed in [("true", "true"), *without_each_condition(expression)]:
                if changed == expression:
                    continue
                yield f"{name}: {clause} {what}", f"ALTER POLICY {policy} ON {table} {clause} ({changed})"
        if command != "ALL":
            yield (
                f"{name}: for all",
                f"DROP POLICY {policy} ON {table}; CREATE POLICY {policy} ON {table} TO {roles}"
                f" USING ({using or check}) WITH CHECK ({check or using})",
            )


def triggers(connection: Connection) -> Statements:
    found = connection.execute("""
        SELECT tgname, tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid),
            (SELECT json_object_agg(attname, format_type(atttypid, NULL)) FROM pg_attribute
            WHERE attrelid = tgrelid AND attnum > 0 AND NOT attisdropped)
        FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE pronamespace = to_regnamespace('chatbot_private') ORDER BY 1
    """)
    for trigger, table, definition, types in found:
        name = f"trigger {trigger}"
        drop = f"DROP TRIGGER {trigger} ON {table}"
        yield f"{name}: dropped", drop
        yield f"{name}: disabled", f"ALTER TABLE {table} DISABLE TRIGGER {trigger}"
        yield f"{name}: on replicas", f"ALTER TABLE {table} ENABLE REPLICA TRIGGER {trigger}"
        for this, other in ((" AFTER ", " BEFORE "), (" BEFORE ", " AFTER ")):
            if this in definition:
                yield f"{name}:{other.lower().rstrip()}", f"{drop}; {definition.replace(this, other)}"
        for events in re.findall(r"(?:BEFORE|AFTER) (\w+(?: OR \w+)+) ON", definition):
            for event in events.split(" OR "):
                others = " OR ".join(each for each in events.split(" OR ") if each != event)
                yield f"{name}: not at {event}", f"{drop}; {definition.replace(events, others, 1)}"
        if " WHEN (" not in definition:
            continue
        before, condition, after = re.split(r"WHEN \((.*)\) EXECUTE", definition)
        yield f"{name}: without WHEN", f"{drop}; {before} EXECUTE {after}"
        for what, changed in without_each_condition(condition):
            yield f"{name}: WHEN {what}", f"{drop}; {before} WHEN ({changed}) EXECUTE {after}"
        columns = dict.fromkeys(re.findall(r"(?:new|old)\.(\w+)", condition))
        for column in columns:
            changed = re.sub(rf"NOT (old|new)\.{column}\b", "false", condition)
            changed = re.sub(rf"\b(old|new)\.{column}\b", f"NULL::{types[column]}", changed)
            yield f"{name}: WHEN without {column}", f"{drop}; {before} WHEN ({changed}) EXECUTE {after}"
        if " AFTER UPDATE " in definition:
            only = definition.replace(" UPDATE ON ", f" UPDATE OF {', '.join(columns)} ON ")
            yield f"{name}: where the statement names its columns", f"{drop}; {only}"


# By function: what of its body, and what could stand there instead.
REPLACEMENTS = {
    "token_sub()": [
        ("nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'", older)
        for older in (
            "coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),"
            " nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')",
            "coalesce(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub',"
            " nullif(current_setting('request.jwt.claim.sub', true), ''))",
            "nullif(current_setting('request.jwt.claims', true), '')::json ->> 'user_id'",
            "current_setting('request.jwt.claims', true)::json ->> 'sub'",
            "nullif(current_setting('request.jwt.claims'), '')::json ->> 'sub'",
        )
    ]
    + [("'^", "'"), ("$'", "'"), ("{12}", "{11,}")],
    "require_table_owner()": [
        ("bool_and", "bool_or"),
        ("'USAGE'", "'MEMBER'"),
        ("coalesce(nullif(current_setting('role'), 'none'), session_user)", "session_user"),
        ("coalesce(nullif(current_setting('role'), 'none'), session_user)", "current_setting('role')"),
        ("coalesce(nullif(current_setting('role'), 'none'), session_user)", "current_user"),
    ],
}
SETTINGS = {
    "loose search_path": "RESET search_path",
    "empty search_path": "SET search_path = ''",
    "search_path = public": "SET search_path = public",
    "search_path without pg_temp": "SET search_path = pg_catalog",
    "search_path with pg_temp first": "SET search_path = pg_temp, pg_catalog",
}


def functions(connection: Connection) -> Statements:
    found = connection.execute(f"""
        SELECT CASE pronamespace WHEN 'public'::regnamespace THEN 'public.' ELSE '' END || proname || '()',
            oid::regprocedure::text, prosrc, pg_get_functiondef(oid), format_type(prorettype, NULL), prosecdef,
            provolatile, prosqlbody IS NOT NULL
        FROM pg_proc WHERE {IS_OUR_FUNCTION} ORDER BY 1
    """)
    for short, function, source, definition, returns, is_definer, volatility, is_parsed in found:
        name = f"function {short}"
        yield f"{name}: dropped", f"DROP FUNCTION {function} CASCADE"
        for other in ("true", "false") if is_parsed and returns == "boolean" else ():
            yield f"{name}: {other}", re.sub("RETURN .*", f"RETURN {other}", definition)
        for other in ("SESSION_USER", "'service_role'::name") if "CURRENT_USER" in definition else ():
            yield f"{name}: {other} for CURRENT_USER", definition.replace("CURRENT_USER", other)
        for change, setting in () if is_parsed else SETTINGS.items():
            yield f"{name}: {change}", f"ALTER FUNCTION {function} {setting}"
        other = "INVOKER" if is_definer else "DEFINER"
        yield f"{name}: security {other.lower()}", f"ALTER FUNCTION {function} SECURITY {other}"
        for word in ("VOLATILE", "IMMUTABLE") if volatility == "s" else ():
            yield f"{name}: {word.lower()}", f"ALTER FUNCTION {function} {word}"
        for before, after in () if is_parsed else bodies(short, re.sub(r"\s*--.*", "", source), returns):
            yield f"{name}: {before}", definition.replace(source, after)


def bodies(short: str, source: str, returns: str) -> Statements:
    """A function's body with one thing changed, by what is changed."""
    if returns == "trigger":
        yield "does nothing", "BEGIN RETURN NULL; END"
        yield "changes nothing", "BEGIN RETURN NEW; END"
    yield from without_each_condition(source)
    for listed in re.finditer(r"\bIN \(([^()]*)\)", source):
        what, items = " ".join(listed.group().split()), [item.strip() for item in listed.group(1).split(",")]
        for item in items:
            rest = ", ".join(other for other in items if other != item)
            yield f"without {item} of {what}", source[: listed.start(1)] + rest + source[listed.end(1) :]
    for old, new in REPLACEMENTS.get(short, []):
        assert old in source, f"{short} has no {old} any more"
        yield f"{new} for {old}", source.replace(old, new)


def views(connection: Connection) -> Statements:
    found = connection.execute(f"""
        SELECT view.oid::regclass::text, pg_get_viewdef(view.oid), array_to_string(view.reloptions, ', '),
            (SELECT array_agg(quote_ident(attname)) FROM pg_attribute
            WHERE attrelid = based_on AND attnum > 0 AND NOT attisdropped)
        FROM pg_class AS view, LATERAL (
            SELECT DISTINCT refobjid
            FROM pg_rewrite JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
            WHERE ev_class = view.oid AND refclassid = 'pg_class'::regclass AND refobjid <> view.oid
        ) AS based (based_on)
        WHERE {IS_OUR_RELATION} AND relkind = 'v' ORDER BY 1
    """)
    for view, definition, options, columns in found:
        create = f"CREATE OR REPLACE VIEW {view} WITH ({options}) AS"
        yield f"view {view}: its owner's rights", f"ALTER VIEW {view} RESET (security_invoker)"
        yield f"view {view}: dropped", f"DROP VIEW {view}"
        if "WHERE" in definition:
            yield f"view {view}: every row", f"{create} {definition.split('WHERE')[0]}"
        for column in columns:
            if not re.search(rf"\b{column}\b", definition):
                yield f"view {view}: and {column}", f"{create} {definition.replace('FROM', f', {column} FROM', 1)}"


def checks(connection: Connection) -> Statements:
    found = connection.execute(f"""
        SELECT conname, conrelid::regclass::text, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE {IS_OUR_RELATION} AND contype = 'c' AND conname ~ ('^' || relname) ORDER BY 1
    """)
    for constraint, table, definition in found:
        swap = f"ALTER TABLE {table} DROP CONSTRAINT {constraint}, ADD CONSTRAINT {constraint}"
        for what, changed in without_each_condition(definition):
            yield f"constraint {constraint}: {what}", f"{swap} {changed} NOT VALID"


KINDS = [policies, triggers, functions, views, checks]

"""Our catalog queries name the schema of what they look for: a platform may have an auth.users, too.

Otherwise the answer depends on which of the two the server finds first, and that may change with each autoanalyze.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import PROJECT

# Catalogs in which several schemas may hold the same name, and the columns that hold names.
CATALOGS = (
    r"\b(pg_class|pg_proc|pg_type|pg_constraint|pg_trigger|pg_policy|pg_policies|pg_tables|pg_indexes|pg_views"
    r"|pg_matviews|pg_sequences|pg_stats(_ext)?|pg_stat(io)?_(xact_)?(all|user|sys)_\w+|pg_statistic_ext"
    r"|information_schema\.\w+)\b"
)
NAMES = (
    r"\b(rel|pro|typ|con|tg|pol|policy|index|indexrel|view|matview|sequence|stx|func"
    r"|(table|view|routine|trigger|constraint|event_object_table)_|table)name\b"
)
LITERAL = r"('|%|:|\{|ANY\b|ALL\b)"
COMPARED = rf"{NAMES}(::text)?\s*((=|<>|!?~|(NOT )?LIKE\b)\s*{LITERAL}|(NOT )?IN\b)"

# What says whose names they are: a schema, or the relation that they belong to.
DECIDED = (
    r"\b(relnamespace|pronamespace|typnamespace|connamespace|stxnamespace|nspname|schemaname|(table|view|routine"
    r"|trigger|constraint|sequence|event_object)_schema)\b|\bIS_OUR_(RELATION|FUNCTION)\b"
    r"|\b\w*relid\s*(=|IN\b)\s*('|%|:|to_regclass\b|\()"
)
UNQUALIFIED = r"(?<!to_xml\()'(?!pg_)[a-z_]+'::regclass|to_regclass\('(?!pg_)[a-z_]+'\)"

GUIDES_OWN = {"SELECT schemaname, tablename, policyname, permissive, roles, cmd, qual"}  # kept word for word


def texts(path: Path) -> Iterator[str]:
    """The SQL of a file: all of it, or a Python file's strings with their expressions in braces."""
    if path.suffix == ".sql":
        yield path.read_text()
        return
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else ast.literal_eval(part)
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def queries(sql: str) -> Iterator[str]:
    """Each SELECT of a text without those that it holds in parentheses, and without comments."""
    sql = re.sub(r"--.*", "", sql)
    sql = re.sub(r"'(?:[^']|'')*'", lambda literal: re.sub(r"[();]", "_", literal[0]), sql)
    while held := re.search(r"\(([^()]*)\)", sql):
        if re.match(r"\s*(SELECT|WITH)\b", held[1]):
            yield from re.split(r"\b(?:UNION|EXCEPT|INTERSECT)\b|;", held[1])
            sql = f"{sql[: held.start()]} _ {sql[held.end() :]}"
        else:
            sql = f"{sql[: held.start()]}\x01{held[1]}\x02{sql[held.end() :]}"
    yield from re.split(r"\b(?:UNION|EXCEPT|INTERSECT)\b|;", sql)


def undecided(sql: str) -> list[str]:
    """The queries of a text that would take another schema's relation for ours."""
    found = [match[0] for match in re.finditer(UNQUALIFIED, sql)]
    for marked in queries(sql):
        query = " ".join(marked.replace("\x01", "(").replace("\x02", ")").split())
        if re.search(CATALOGS, query) and re.search(COMPARED, query) and not re.search(DECIDED, query):
            found.append(query)
    return [query for query in found if not any(query.startswith(own) for own in GUIDES_OWN)]


@pytest.mark.parametrize("folder", ["alembic", "app", "tests"])
def test_every_catalog_query_names_the_schema(folder: str) -> None:
    paths = [path for path in sorted((PROJECT / folder).rglob("*")) if path.suffix in {".py", ".sql"}]
    paths.remove(Path(__file__)) if folder == "tests" else None
    found = [
        f"{path.relative_to(PROJECT)}: {query}" for path in paths for sql in texts(path) for query in undecided(sql)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("SELECT tableowner FROM pg_tables WHERE tablename = 'users'", 1),
        ("SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'users'", 0),
        ("SELECT FROM pg_class WHERE relname IN ('a', 'b') AND relnamespace = 'public'::regnamespace", 0),
        ("SELECT FROM pg_class WHERE relname = ANY (%s)", 1),
        ("SELECT FROM pg_stats WHERE tablename = :name", 1),
        ("SELECT FROM information_schema.columns WHERE table_name = 'users'", 1),
        ("SELECT FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'users'", 0),
        # The schema of another query says nothing of this one, around it, within it or beside it.
        ("SELECT FROM pg_tables WHERE schemaname = 'public' AND EXISTS (SELECT FROM pg_class WHERE relname = 'x')", 1),
        ("SELECT FROM pg_class WHERE relname = 'x' AND EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public')", 1),
        ("SELECT FROM pg_tables WHERE schemaname = 'public' UNION SELECT FROM pg_tables WHERE tablename = 'x'", 1),
        ("SELECT FROM pg_class WHERE (relname = 'x' OR relname = 'y') AND relnamespace = 1", 0),
        ("SELECT FROM pg_constraint WHERE conname = 'c'", 1),
        ("SELECT FROM pg_constraint WHERE conname = 'c' AND conrelid = 'public.users'::regclass", 0),
        ("SELECT FROM pg_attribute WHERE attrelid = 'users'::regclass", 1),
        ("SELECT to_regclass('users')", 1),
        ("SELECT to_regclass('public.users'), 'pg_class'::regclass", 0),
        ("SELECT FROM audit_log WHERE table_name = 'users'", 0),
        ("SELECT count(*) FROM pg_class WHERE relname ~ '^a(b|c)$' -- AND relnamespace = 1", 1),
    ],
)
def test_the_search_knows_one_from_the_other(sql: str, count: int) -> None:
    assert len(undecided(sql)) == count

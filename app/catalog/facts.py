"""What a database's catalogs state of our objects, alike from every version of PostgreSQL."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from sqlalchemy import Connection, text


class Key(NamedTuple):
    """What facts are about.

    Args:
        place: the table, view or function, qualified unless it is in public; "" for schemas and roles.
        kind: "table", "view", "function", "schema" or "role"; or, of a part of one, "column", "policy", "rights of" ...
        name: of that part, schema or role; "" for the table, view or function itself.
    """

    place: str
    kind: str
    name: str = ""

    def __str__(self) -> str:
        """For a person."""
        if not self.name:
            return f"{self.kind} {self.place}"
        part = f"{self.kind} {self.name}" if self.kind != "policy" else f'policy "{self.name}"'
        return f"{self.place}: {part}" if self.place else part


Facts = dict[Key, dict[str, str]]
"""What is stated of each thing: values by what they say, such as "Type" or "USING"; what does not apply is left out."""


class Ours(NamedTuple):
    """The names of what is ours in schema public.

    Args:
        relations: tables and views.
        functions: whatever arguments they take.
    """

    relations: frozenset[str]
    functions: frozenset[str]

    @classmethod
    def everything(cls, connection: Connection) -> "Ours":
        """All that there is in schema public."""
        return cls(*(frozenset(connection.scalars(names)) for names in (EVERY_RELATION, EVERY_FUNCTION)))

    @classmethod
    def stated(cls, facts: Facts) -> "Ours":
        """What facts are of, beside Alembic's own table."""
        relations = {key.place for key in facts if key.kind in {"table", "view"} and "." not in key.place}
        functions = {key.place.split("(")[0] for key in facts if key.kind == "function"}
        return cls(
            frozenset(relations - {"alembic_version"}),
            frozenset(each.removeprefix("public.") for each in functions if each.startswith("public.")),
        )


class Difference(NamedTuple):
    """One thing that is not as documented.

    Args:
        key: what it is of.
        fact: which of its facts differs, such as "USING"; "" where the whole thing is missing or not ours.
        text: what is the matter, for a person.
    """

    key: Key
    fact: str
    text: str

    def __str__(self) -> str:
        """The line that `alembic check` prints."""
        return self.text


FACTS = text(Path(__file__).with_name("facts.sql").read_text())
EVERY_RELATION = text("SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('public')")
EVERY_FUNCTION = text("SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace('public')")

# What PostgreSQL's way of writing expressions depends on; whatever the session or the database has set.
WRITING = {
    "search_path": "pg_catalog, pg_temp",  # every other name is qualified, and no planted function is called
    "quote_all_identifiers": "off",
    "extra_float_digits": "1",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
}
SET_WRITING = text("""
    SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.json_each_text(CAST(:settings AS pg_catalog.json))
""")

# A string, which stays as it is; a line break; (SELECT a_function()) as PostgreSQL writes it.
WRITTEN = re.compile(r"('(?:[^']|'')*')|\s*\n\s*|\( SELECT ([\w.]+\([^()]*\)) AS \w+\)")
INDEX = re.compile(r"CREATE (UNIQUE )?INDEX .*? USING (.*?)(?: WHERE (.*))?", re.S)
TRIGGER = re.compile(
    r'CREATE (CONSTRAINT )?TRIGGER (?:"(?:[^"]|"")+"|\S+) (.+?) ON (?:"(?:[^"]|"")+"|[^\s"])+ (.*?)'
    r"(?:WHEN \((.*)\) )?EXECUTE FUNCTION (.*)",
    re.S,
)
LISTED_FROM = re.compile(r"\n +FROM (?:(\w+)\.)?(\w+)(?=$|;|\n)")


def read(connection: Connection, ours: Ours | None = None, version_table: str = "alembic_version") -> Facts:
    """Read the facts of schemas chatbot_private and chatbot_compat, of what is ours in public, of the clients' roles.

    It takes no lock but ACCESS SHARE, writes nothing, and needs no privilege.

    Args:
        connection: in a transaction; its settings are left as they were.
        ours: in schema public; by default all that is there.
        version_table: what Alembic's own table is called here; in the facts it is alembic_version.
    """
    with plain_writing(connection):
        ours = ours or Ours.everything(connection)
        names = {"names": sorted(ours.relations), "functions": sorted(ours.functions)}
        rows = connection.execute(FACTS, {**names, "version_table": version_table}).all()
    return {
        (key := Key(place, kind, name)): {fact: value for fact, value in shaped(key, facts) if value is not None}
        for place, kind, name, facts in rows
    }


@contextmanager
def plain_writing(connection: Connection) -> Iterator[None]:
    """Have the catalogs written one and the same way for the length of a `with` block."""
    with connection.begin_nested() as savepoint:
        connection.execute(SET_WRITING, {"settings": json.dumps(WRITING)})
        yield
        savepoint.rollback()


def shaped(key: Key, facts: dict[str, str | None]) -> Iterator[tuple[str, str | None]]:
    """Take PostgreSQL's definitions apart, so that a difference can say which part of one differs."""
    definition = facts.pop("Definition", None)
    match key.kind:
        case "index" if found := INDEX.fullmatch(definition or ""):
            unique, on, where = found.groups()
            yield from {"Unique": unique and "yes", "On": on, "Where": where}.items()
        case "trigger" if found := TRIGGER.fullmatch(definition or ""):
            constraint, fires, each, when, calls = found.groups()
            fires = " ".join(filter(None, [constraint and "CONSTRAINT", fires, each.strip()]))
            yield from {"Fires": fires, "When": when, "Calls": calls}.items()
        case "policy":
            facts = {fact: value and on_one_line(value) for fact, value in facts.items()}
        case "view":
            yield "Definition", definition and dedent(without_needless_prefixes(definition)).strip().removesuffix(";")
        case "function":
            facts |= {"Body": dedent((facts["Body"] or "").replace("\r\n", "\n")).strip()}  # pgAdmin's line ends
        case _:
            yield "Definition", definition
    yield from facts.items()


def on_one_line(expression: str) -> str:
    """An expression without the line breaks, and without the column name that PostgreSQL adds to a scalar subquery."""
    return WRITTEN.sub(lambda found: found[1] or (f"(SELECT {found[2]})" if found[2] else " "), expression)


def without_needless_prefixes(view: str) -> str:
    """A view's definition as PostgreSQL 16 writes it, where 15 has the table's name before each column.

    From 16 on, the columns of a view of a single table have no prefix.
    """
    tables = LISTED_FROM.findall(view)
    if len(tables) != 1 or " JOIN " in view:
        return view
    return re.sub(rf'(?<![\w".]){tables[0][1]}\.(?=[\w"])', "", view)

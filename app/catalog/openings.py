"""What lets somebody past row security beside what is documented: views and functions that read with others' rights."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, text

from app.catalog.facts import Key, plain_writing
from app.catalog.sources import relations_named, runs_argument

OPENINGS = text(Path(__file__).with_name("openings.sql").read_text())
REMEDIES = {
    "view": "set it security_invoker",
    "materialized view": "revoke it from those whom that binds",
    "function": "revoke it from those whom that binds",
    "trigger function": "revoke it from all, as a trigger needs no right to it",
    "rule": "drop it",
}


def openings(connection: Connection, names: Collection[str]) -> Iterator[tuple[Key, str, str]]:
    """Name views, rules and SECURITY DEFINER functions, of whichever schema, that read our relations past row security.

    Views count unless they are security_invoker, which costs those nothing who may read past row security anyway.
    Materialized views and functions count where somebody whom row security binds may use them.

    Args:
        connection: in a transaction.
        names: our relations in schema public.

    Yields:
        What it is, "", and what is the matter, for a person.
    """
    with plain_writing(connection):
        rows = connection.execute(OPENINGS, {"names": sorted(names)}).all()
    relations = {(row.schema, row.name) for row in rows if row.kind == "relation"}
    for row in rows:
        match row.kind:
            case "relation":
                continue
            case "helper":
                trouble = "row security of users hides everybody from its owner: own users, without FORCE, or BYPASSRLS"
                yield Key(row.name, "function"), "", f"function {row.name}: {trouble}"
            case "setting":
                yield (
                    Key("", "setting", row.name),
                    "",
                    f"setting {row.name} turns guards and foreign keys off: RESET it",
                )
            case "view" | "materialized view" | "rule":
                yield Key(row.name, row.kind), "", past(row.kind, row.name, row.reads)
            case "function" | "trigger function":
                if what := row.reads or ", ".join(sorted(name for _, name in read_by(row, relations))):
                    yield Key(row.name, row.kind), "", past(row.kind, row.name, what)
                elif runs_argument(row.body or "", (row.arguments or "").split(",")):
                    yield Key(row.name, row.kind), "", past(row.kind, row.name, "whatever SQL it is given")


def past(kind: str, name: str, reads: str) -> str:
    """Say that something reads past row security, and what to do."""
    return f"{kind} {name} reads {reads} past row security: {REMEDIES[kind]}"


def read_by(function: Row[Any], relations: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """The relations that a function's text names."""
    path = [each.strip(' "') for each in (function.search_path or "public").split(",")]
    return relations_named(function.body, relations, path, reading_only=function.kind == "trigger function")

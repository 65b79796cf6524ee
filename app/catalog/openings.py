"""What lets somebody past row security beside what is documented: views and functions that read with others' rights."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, text

from app.catalog.facts import Difference, Key, Ours, plain_writing

OPENINGS = text(Path(__file__).with_name("openings.sql").read_text())
REMEDIES = {
    "view": "set it security_invoker",
    "materialized view": "revoke it from PUBLIC, and from clients and whoever is one of them",
    "function": "revoke it from PUBLIC, and from clients and whoever is one of them",
    "trigger function": "revoke it from all, as a trigger needs no right to it",
    "rule": "drop it",
}


def openings(connection: Connection, ours: Ours) -> Iterator[Difference]:
    """Name views, rules and SECURITY DEFINER functions, of whichever schema, that read our relations past row security.

    Views count unless they are security_invoker, which costs those nothing who may read past row security anyway.
    Materialized views and functions count where a client may use them, or a role that is one of them.

    Args:
        connection: in a transaction.
        ours: in schema public.
    """
    with plain_writing(connection):
        names = {"names": sorted(ours.relations), "functions": sorted(ours.functions)}
        rows = connection.execute(OPENINGS, names).all()
    relations = {(row.schema, row.name) for row in rows if row.kind == "relation"}
    for row in rows:
        match row.kind:
            case "relation":
                continue
            case "helper":
                trouble = "row security of users hides everybody from its owner: own users, without FORCE, or BYPASSRLS"
                yield Difference(Key(row.name, "function"), "", f"function {row.name}: {trouble}")
            case "setting":
                trouble = "turns guards and foreign keys off: RESET it"
                yield Difference(Key("", "setting", row.name), "", f"setting {row.name} {trouble}")
            case "view" | "materialized view" | "rule":
                yield past_row_security(row, row.reads)
            case "function" | "trigger function":
                if reads := row.reads or read_by(row, relations):
                    yield past_row_security(row, reads)


def past_row_security(row: Row[Any], reads: str) -> Difference:
    """Say what something reads, and what to do."""
    does = "reads or changes" if row.kind == "function" else "reads"
    line = f"{row.kind} {row.name} {does} {reads} past row security: {REMEDIES[row.kind]}"
    return Difference(Key(row.name, row.kind), "", line)


def read_by(function: Row[Any], relations: Collection[tuple[str, str]]) -> str:
    """The relations that a function's text names, or "whatever it is given"; "" if it reads none."""
    from app.catalog import sources  # noqa: PLC0415 - a parser, which most commands and databases do not need

    if function.language not in {"sql", "plpgsql"}:
        found = sources.words_found(function.body, relations)
    else:
        path = [each.strip(' "') for each in (function.search_path or "public").split(",")]
        reading_only = function.kind == "trigger function"
        found = sources.relations_named(function.body, relations, path, reading_only=reading_only)
    if not found and sources.runs_argument(function.body, (function.arguments or "").split(",")):
        return "whatever it is given"
    return ", ".join(sorted(name for _, name in found))

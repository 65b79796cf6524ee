"""Render an examination as lines for a person."""

import textwrap
from collections.abc import Iterable, Iterator

from app.catalog.markers import FRESH_IDENTITY
from app.doctor.examination import Examination
from app.doctor.health import Indexes
from app.doctor.health import Rows as Orphans
from app.doctor.powers import LIMIT, Powers, Rows
from app.errors import printable
from app.person import Person

WIDTH = 116
NAME = 20  # columns of a table's name, and of each answer
ANSWER = 9


def told(found: Examination) -> Iterator[str]:
    """Yield an examination in lines of at most 116 columns, without control characters."""
    for title, lines in sections(found):
        yield from wrapped(title, "")
        for line in lines:
            yield from wrapped(line, "  ")
    if found.mend:
        yield "To mend:"
        for line in found.mend:
            yield from wrapped(f"- {line}", "  ")
    elif not found.unknown:
        yield "Nothing to mend."


def wrapped(line: str, indent: str) -> Iterator[str]:
    """Yield a line, wrapped if it is too long."""
    yield from textwrap.wrap(printable(line), WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def sections(found: Examination) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the sections by title; a section without a fault is only its title."""
    yield found.revision.told, [f"pending: {', '.join(found.revision.pending)}"] if found.revision.pending else []
    yield found.role.told, []
    if found.drift is None:
        yield (
            "Drift, people, chatbots and orphans are judged at the newest revision"
            f" ({found.revision.newest}), with no step half done.",
            [],
        )
    elif found.drift:
        yield "It differs from what was installed (as `alembic check` has it):", found.drift
    else:
        yield "It is what was installed.", []
    if found.warnings:
        yield "The platform leaves open, as preflight warned:", found.warnings
    if found.identity and found.identity.name != FRESH_IDENTITY:
        yield f"People are found by users.{found.identity.name}, which holds the sub of their token.", []
    if found.person:
        yield from person(found.person, found.tables)
    if found.chatbot:
        yield found.chatbot.why, []
    if found.orphans is not None:
        yield "Rows that belong to nothing:", orphans(found.orphans)
    if found.leaderless and found.leaderless.count:
        ids = ", ".join(found.leaderless.ids)
        yield f"Warning: {found.leaderless.what}: {found.leaderless.count:,}, such as {ids}.", []
    yield from indexes(found.indexes)


def person(who: Person, tables: list[Powers]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield who a person is, and what they can do."""
    active = "" if who.is_active else "Not active: "
    tenant = f"tenant {who.tenant}" if who.tenant is not None else "a tenant that is not there"
    role = f"role {who.role}" if who.role is not None else "without a role"
    name = who.email or who.id
    if not tables:
        yield f"{active}{name}, {role}, of {tenant}: what they can do is unknown.", ids(who)
        return
    yield f"{active}{name}, {role}, of {tenant}, acts as {who.database_role}:", [*ids(who), *table(tables)]
    notes = [f"{each.table}: {note}." for each in tables for note in each.notes]
    yield "Changed and deleted is counted of what they see. Keys, guards and triggers may refuse more.", notes


def ids(who: Person) -> list[str]:
    """Return a line with the person's ids."""
    sub = "" if who.identity_column == FRESH_IDENTITY else f"{who.identity_column} {who.sub}, "
    return [f"id {who.id}, {sub}tenant_id {who.tenant_id}"]


def table(tables: list[Powers]) -> Iterator[str]:
    """Yield a line for each table, with the rights on it."""
    yield row("table", "see", "insert", "change", "delete", "columns that they may change")
    for each in tables:
        inserts = "unknown" if each.inserts is None else "yes" if each.inserts else "no"
        columns = textwrap.wrap(", ".join(each.columns), WIDTH - len(row("", *[" " * ANSWER] * 4, ".")) - 2) or [""]
        yield row(each.table, counted(each.sees), inserts, counted(each.changes), counted(each.deletes), columns[0])
        for more in columns[1:]:
            yield row("", "", "", "", "", more)


def row(name: str, *cells: str) -> str:
    """A line of the table."""
    return (f"{name:{NAME}}" + "".join(f"{cell:{ANSWER}}" for cell in cells)).rstrip()


def counted(rows: Rows) -> str:
    """Return a number of rows in a word."""
    if not rows.granted:
        return "no"
    if rows.count is None:
        return "unknown"
    return f"{LIMIT:,}+" if rows.or_more else f"{rows.count:,}"


def orphans(found: list[Orphans]) -> Iterator[str]:
    """Yield the orphans that were found, and those that could not be counted."""
    some = [each for each in found if each.count]
    unknown = [each for each in found if each.count is None]
    for each in some:
        yield f"{each.what}: {each.count:,}, such as {', '.join(each.ids)}"
    for reason in dict.fromkeys(each.unknown for each in unknown):
        what = [each.what for each in unknown if each.unknown == reason]
        yield f"unknown, as {reason}: {'; '.join(what) if len(what) < len(found) else 'all'}"
    if some:
        yield "Restore what they belong to, or delete them; of a chatbot's creator, set created_by NULL."
    elif not unknown:
        yield "none"


def indexes(found: Indexes) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the invalid and the unused indexes."""
    if found.invalid:
        yield "Invalid indexes:", [f"{name}: run `{remedy}`" for name, remedy in found.invalid]
    if found.unused:
        since = f"since {found.counted_since}" if found.counted_since else "since the server began to count"
        yield f"Indexes that no query has used on this server {since} (a replica counts its own):", found.unused

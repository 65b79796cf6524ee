"""SCHEMA_DOCUMENTATION.md: the facts of a migrated database, for people to read, and to compare databases with.

Guide: "Support and Documentation". Each thing has a heading, what is said of it as a list, its parts as tables, and SQL
as blocks; `parse` reads the facts back from what `render` wrote.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from app.catalog.facts import Facts, Key
from app.errors import SetupError

DOCUMENT = Path(__file__).resolve().parents[1] / "SCHEMA_DOCUMENTATION.md"

PREAMBLE = """\
# Schema

What a fresh install has at the newest revision, as PostgreSQL's catalogs state it. `python -m app document` writes this
file; `alembic check` compares databases with it. Do not edit it.

"The owner" is the role that migrates; it may do everything. Rights to a table that are not listed nobody has; "all" is
the whole table with columns added later, otherwise the columns are named. Of schema public, it is only stated what
clients may create in it. Statistics "none": the planner keeps nothing of texts that tenants write, for its estimates
would tell others.
"""
OBJECTS = ("table", "function", "view")  # in the document's order
CHAPTERS = {"schema": "Schemas", "role": "Roles"}  # of which each thing is a line
PARTS = {  # by kind: title, and what each line is
    "column": ("Columns", "Column"),
    "constraint": ("Keys and checks", "Constraint"),
    "index": ("Indexes", "Index"),
    "policy": ("Policies", "Policy"),
    "rights of": ("Who may do what", "Role"),
    "trigger": ("Guards and other triggers", "Trigger"),
    "rule": ("Rules", "Rule"),
    "statistics": ("Statistics", "Statistics"),
    "schema": ("", "Schema"),
    "role": ("", "Role"),
}
BLOCKS = {"Body", "Definition"}  # of views and functions: SQL of several lines
COLUMNS = (  # of tables, in their order
    *("Type", "Not null", "Default", "Generated", "Collation", "Statistics"),
    *("Definition", "Unique", "On", "Where", "Computes"),
    *("AS", "FOR", "TO", "USING", "WITH CHECK"),
    *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    *("Fires", "When", "Calls", "State"),
    *("Owner", "USAGE", "CREATE", "Default privileges"),
    *("LOGIN", "SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS", "Member of", "May set"),
    "Comment",
)
CODE = BLOCKS | {"Type", "Default", "Generated", "On", "Where", "USING", "WITH CHECK", "When", "Calls"}
HEADINGS = {f"### {title}": kind for kind, (title, _) in PARTS.items()}
HEADINGS |= {f"## {title}": kind for kind, title in CHAPTERS.items()}
ESCAPED = r"\|"


def documented() -> Facts:
    """The facts that this version of the package documents.

    Raises:
        SetupError: the document is missing, or was changed by hand.
    """
    checkout = (DOCUMENT.parents[1] / "alembic.ini").exists()
    remedy = "`python -m app document` writes it anew" if checkout else "install the package again"
    try:
        return parse(DOCUMENT.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SetupError(f"There is no {DOCUMENT}: {remedy}.") from None
    except (KeyError, ValueError):
        raise SetupError(f"{DOCUMENT} was changed, and cannot be read: {remedy}.") from None


def render(facts: Facts) -> str:
    """Write facts as Markdown."""
    return "\n".join([PREAMBLE, *lines_of(facts)])


def lines_of(facts: Facts) -> Iterator[str]:
    """The document's lines after its preamble."""
    objects = sorted((key for key in facts if not key.name), key=document_order)
    for thing in objects:
        yield f"- [{thing.kind} {thing.place}](#{anchor(thing)})"
    yield ""
    for thing in objects:
        yield from (f"## {thing.kind.capitalize()} {thing.place}", "")
        yield from itself(facts[thing])
        for kind, (title, _) in PARTS.items():
            parts = {key: each for key, each in facts.items() if (key.place, key.kind) == (thing.place, kind)}
            if parts:
                yield from (f"### {title}", "")
                yield from table(parts)
        for block in BLOCKS & facts[thing].keys():
            yield from ("```sql", facts[thing][block].strip("\n"), "```", "")
    for kind, chapter in CHAPTERS.items():
        yield from (f"## {chapter}", "")
        yield from table({key: each for key, each in facts.items() if key.kind == kind})


def anchor(thing: Key) -> str:
    """What a heading is called in a link to it."""
    return re.sub(r"[^\w-]", "", f"{thing.kind}-{thing.place}".lower())


def document_order(thing: Key) -> tuple[int, bool, str]:
    """Tables first, and Alembic's own after the platform's."""
    return OBJECTS.index(thing.kind), thing.place == "alembic_version", thing.place


def itself(facts: dict[str, str]) -> Iterator[str]:
    """What is said of a table, view or function itself: its purpose, and a list."""
    if "Comment" in facts:
        yield from (facts["Comment"], "")
    said = [f"- {fact}: {value}" for fact, value in facts.items() if fact not in BLOCKS | {"Comment"}]
    yield from (*said, "")


def table(parts: Facts) -> Iterator[str]:
    """A line for each part, a column for each fact that one of them has."""
    kind = next(iter(parts)).kind
    facts = [fact for fact in COLUMNS if any(fact in each for each in parts.values())]
    yield row([PARTS[kind][1], *facts])
    yield row(["---"] * (len(facts) + 1))
    for key, each in parts.items():
        yield row([key.name, *(cell(fact, each.get(fact, "")) for fact in facts)])
    yield ""


def row(cells: list[str]) -> str:
    """A line of a table. In its cells, only what would end them is written otherwise."""
    return f"| {' | '.join(each.replace('|', ESCAPED) for each in cells)} |"


def cell(fact: str, value: str) -> str:
    """A value as a cell shows it; SQL as code."""
    return f"`{value}`" if value and fact in CODE else value


def parse(text: str) -> Facts:
    """Read back the facts that `render` wrote."""
    facts: Facts = {}
    thing, kind, block = Key("", ""), "", False
    header: list[str] = []
    for line in text.removeprefix(PREAMBLE).splitlines():
        if line.startswith("```"):
            block = not block
        elif block:
            its = facts[thing]
            fact = "Body" if thing.kind == "function" else "Definition"
            its[fact] = f"{its[fact]}\n{line}" if fact in its else line
        elif found := re.fullmatch(rf"## ({'|'.join(OBJECTS)}) (.+)", line, re.IGNORECASE):
            thing = Key(found[2], found[1].lower())
            facts[thing] = {}
        elif line.startswith("#"):
            kind, header = HEADINGS[line], []
            thing = thing if kind not in CHAPTERS else Key("", "")
        elif line.startswith("| ") and not header:
            header = cells(line)[1:]
        elif line.startswith("| ") and not line.startswith("| ---"):
            name, *values = cells(line)
            stated = {
                fact: value.strip("`") if fact in CODE else value for fact, value in zip(header, values, strict=True)
            }
            facts[Key(thing.place, kind, name)] = {fact: value for fact, value in stated.items() if value}
        elif line.startswith("- ["):
            continue
        elif found := re.fullmatch(r"- ([^:]+): (.*)", line):
            facts[thing][found[1]] = found[2]
        elif line and not line.startswith("| "):
            facts[thing]["Comment"] = line
    return facts


def cells(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [each.replace(ESCAPED, "|") for each in line.removeprefix("| ").removesuffix(" |").split(" | ")]

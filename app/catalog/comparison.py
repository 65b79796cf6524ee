"""Compare a live database with the document."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from sqlalchemy import Connection

from app.catalog.adoption import TABLES, as_adopted, is_adopted, own_tables
from app.catalog.document import documented
from app.catalog.facts import Difference, Facts, Key, Ours, read
from app.catalog.openings import openings
from app.errors import printable

COMPATIBILITY = Key("", "schema", "chatbot_compat")


class Comparison(NamedTuple):
    """The result of comparing a live database with the document.

    Args:
        own: the tables that the platform had before us; most of what they are like is no finding.
        differences: the findings.
    """

    own: frozenset[str]
    differences: list[Difference]


def compare(connection: Connection, version_table: str) -> Comparison:
    """Compare a database at the newest revision with the document.

    Of an adopted platform, what is ours is judged, and what lets somebody past row security of it.

    Args:
        connection: in a transaction, of any role; nothing is written, no lock taken but ACCESS SHARE.
        version_table: what Alembic's own table is called here.

    Raises:
        SetupError: the document is missing.
    """
    expected = documented()
    ours = Ours.stated(expected)
    found = read(connection, ours, version_table)
    own: frozenset[str] = frozenset()
    if is_adopted(expected, found):
        own = own_tables(found)
        expected, found = as_adopted(expected, found)
        ours = ours._replace(relations=ours.relations - TABLES)
    if COMPATIBILITY not in found:  # the README says when to drop it
        expected = {key: facts for key, facts in expected.items() if not in_schema(key, COMPATIBILITY.name)}
    differences = [*compared(expected, found), *openings(connection, ours)]
    return Comparison(own, [each._replace(text=printable(each.text)) for each in differences])


def in_schema(key: Key, schema: str) -> bool:
    """Whether something is in a schema, or is the schema."""
    return schema in {key.place.partition(".")[0], key.name}


def compared(expected: Facts, found: Facts) -> Iterator[Difference]:
    """Yield each expected fact that is missing or different, and each thing that was not expected."""
    places = {key.place for key in expected}, {key.place for key in found}
    for key in sorted(expected.keys() | found.keys(), key=lambda key: (key.place, bool(key.place and key.name), key)):
        be = "are" if key.kind == "rights of" else "is"
        if key not in found:
            its_view = Key(key.place, "view")
            if key == its_view or its_view not in expected or its_view in found:  # what a view has goes with it
                yield Difference(key, "", f"{key} {be} missing")
        elif key not in expected:
            if not (key.name and key.place not in places[0]) and not is_harmless(key, found[key]):
                yield Difference(key, "", f"{key} {be} not of this package{detail(key, found[key])}")
        else:
            for fact in dict.fromkeys([*expected[key], *found[key]]):
                was, now = expected[key].get(fact), found[key].get(fact)
                if was != now:
                    yield Difference(key, fact, f"{key}: {changed(fact, was, now)}")


def is_harmless(key: Key, facts: dict[str, str]) -> bool:
    """Whether an undocumented thing lets nobody see, write or learn more.

    A plain index does. A unique index tells of other tenants' rows, and an index that computes runs code on them.
    """
    return key.kind == "index" and not {"Unique", "Computes"} & facts.keys()


def detail(key: Key, facts: dict[str, str]) -> str:
    """Describe a policy or a grant that is not ours."""
    if key.kind not in {"policy", "rights of"}:
        return ""
    return ": " + ", ".join(f"{fact} {value}" for fact, value in facts.items())


def changed(fact: str, was: str | None, now: str | None) -> str:
    """Describe how a fact changed; of several lines, the first line that differs."""
    where = ""
    if was and now and "\n" in was + now:
        lines = enumerate(zip_longest(was.split("\n"), now.split("\n")), 1)
        number, (was, now) = next((number, pair) for number, pair in lines if pair[0] != pair[1])
        where = f", line {number},"
    called = (fact if fact.isupper() else fact[0].lower() + fact[1:]) + where
    if was is None or now is None:
        return f"{called} is {now.strip()}" if now else f"{called} was {(was or '').strip()}, is nothing"
    told = (was.strip(), now.strip()) if was.strip() != now.strip() else (repr(was), repr(now))
    return f"{called} was {told[0]}, is {told[1]}"

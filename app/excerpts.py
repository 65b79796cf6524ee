"""Read values that may be larger than memory: the part of them that is printed, or all of them piece by piece."""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

BLOCK = 4096  # bytes that are compared at once
CONTEXT = 400  # bytes of an excerpt before the block in which two values begin to differ
LENGTH = CONTEXT + 2 * BLOCK  # bytes of an excerpt
FIRST = 20_000  # bytes of a value that are read together with other values
PIECE = 4_000_000  # bytes of a value that are read at once after those

# Bytes of a text, which are cut without reading it from its beginning. A database in SQL_ASCII converts nothing.
AS_BYTES = "convert_to({}, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)"
# OFFSET 0 has each value computed once.
EXCERPTS = f"""
    SELECT key, name, start, substring(was FROM start + 1 FOR {LENGTH}), octet_length(was),
        substring(becomes FROM start + 1 FOR {LENGTH}), octet_length(becomes)
    FROM (
        SELECT key, name, {AS_BYTES.format("was")} AS was, {AS_BYTES.format("becomes")} AS becomes
        FROM ({{pairs}}) AS texts
        OFFSET 0
    ) AS pairs, LATERAL (
        SELECT greatest(coalesce((
            SELECT block * {BLOCK}
            FROM generate_series(0, least(octet_length(was), octet_length(becomes)) / {BLOCK}) AS block
            WHERE substring(was FROM block * {BLOCK} + 1 FOR {BLOCK})
                IS DISTINCT FROM substring(becomes FROM block * {BLOCK} + 1 FOR {BLOCK})
            LIMIT 1
        ), 0) - {CONTEXT}, 0)
    ) AS difference (start)
"""


@dataclass(frozen=True)
class Excerpt:
    """A part of a text.

    Args:
        text: the part.
        begins: whether it is the text's beginning.
        ends: whether it is the text's end.
    """

    text: str
    begins: bool = True
    ends: bool = True


@dataclass(frozen=True)
class Pair:
    """How a value was, and how it became: excerpts from where they begin to differ.

    Args:
        key: of the row.
        name: of the value.
        was: None: there was none.
        becomes: None: there is none.
    """

    key: Any
    name: str
    was: Excerpt | None
    becomes: Excerpt | None


def excerpts(session: Session, pairs: str, values: Mapping[str, object]) -> Iterator[Pair]:
    """Read pairs of texts.

    Args:
        session: in a transaction.
        pairs: a query of key, name, was and becomes, the last two of type text.
        values: its parameters.
    """
    for key, name, start, *sides in session.execute(text(EXCERPTS.format(pairs=pairs)), values):
        yield Pair(key, name, excerpt(start, *sides[:2]), excerpt(start, *sides[2:]))


def excerpt(start: int, part: bytes | None, length: int | None) -> Excerpt | None:
    """Read the bytes that begin at `start`; a character that is cut at either end is left out."""
    if part is None or length is None:
        return None
    ends = start + len(part) >= length
    if start:
        part = part.lstrip(bytes(range(0x80, 0xC0)))
    told = part.decode(errors="ignore" if not ends or start else "backslashreplace")
    return Excerpt(told, begins=start == 0, ends=ends)


def beginning(expression: str) -> str:
    """Return the SQL of a text's first `FIRST` bytes."""
    return f"substring({AS_BYTES.format(expression)} FROM 1 FOR {FIRST})"


def pieces(session: Session, expression: str, source: str, values: Mapping[str, object], first: bytes) -> Iterator[str]:
    """Read a long text piece by piece.

    Args:
        session: in a transaction.
        expression: the text, in SQL.
        source: FROM and WHERE of its one row.
        values: the parameters of both.
        first: its beginning.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    query = text(f"SELECT substring({AS_BYTES.format(expression)} FROM :begin FOR {PIECE}) {source}")
    piece, begin, whole = first, FIRST + 1, len(first) < FIRST
    while not whole:
        yield decoder.decode(piece)
        piece = session.scalar(query, {**values, "begin": begin}) or b""
        begin, whole = begin + PIECE, len(piece) < PIECE
    yield decoder.decode(piece, final=True)


def shown(sides: Sequence[Excerpt], longest: int) -> list[str]:
    """Print texts on a line, not too long: from where they begin to differ."""
    start = 0
    if len(sides) > 1 and any(len(side.text) > longest or not side.begins for side in sides):
        same = 0
        for first, *others in zip(*(side.text for side in sides), strict=False):
            if any(other != first for other in others):
                break
            same += 1
        start = max(0, same - 20)
    return [shortened(side, start, longest) for side in sides]


def shortened(side: Excerpt, start: int, longest: int) -> str:
    """Return an excerpt from some character on."""
    before = "" if side.begins and not start else "..."
    told = before + side.text[start:]
    return told if side.ends and len(told) <= longest else f"{told[: longest - 3]}..."

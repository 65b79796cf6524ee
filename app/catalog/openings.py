"""What lets somebody past row security beside what is documented: views and functions that read with others' rights."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from sqlalchemy import Connection, text

from app.catalog.facts import Key, plain_writing

OPENINGS = text(Path(__file__).with_name("openings.sql").read_text())
COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)

# Where the text of a function names a relation of public: after a word that a relation follows, or as a whole string,
# from which a statement may be put together. What is qualified with another schema is another relation.
NAMED = r"""(?ix)
    (?: \b(?: from | join | into | update | table | only | using | copy )\s+ | , \s* )
        (?: "?public"? \s* \. \s* )? "?({names})\b
    | '(?: public\. )? ({names})'
"""


def openings(connection: Connection, names: Collection[str]) -> Iterator[tuple[Key, str, str]]:
    """Name views and SECURITY DEFINER functions, of whichever schema, that read our relations past row security.

    Views count unless they are security_invoker, which costs those nothing who may read past row security anyway.
    Materialized views and functions count where somebody whom row security binds may use them.

    Args:
        connection: in a transaction.
        names: our relations in schema public.

    Yields:
        What it is, "", and what is the matter, for a person.
    """
    with plain_writing(connection):
        found = connection.execute(OPENINGS, {"names": sorted(names)}).all()
    named = re.compile(NAMED.format(names="|".join(map(re.escape, names))))
    for kind, name, reads, body in found:
        its = COMMENTS.sub(" ", body or "")
        what = reads or ", ".join(sorted({first or second for first, second in named.findall(its)}))
        if kind == "users":
            text = "row security of users hides everybody from its owner: own users, without FORCE, or have BYPASSRLS"
            yield Key(name, "function"), "", f"function {name}: {text}"
        elif what:
            remedy = "set it security_invoker" if kind == "view" else "revoke it from those whom that binds, or drop it"
            yield Key(name, kind), "", f"{kind} {name} reads {what} past row security: {remedy}"

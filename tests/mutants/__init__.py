"""Databases at head in which one thing is weaker: whether the policy tests notice.

    python -m tests.mutants --only "^policy chatbots" --jobs 2
    python -m tests.mutants --shape guide --only "^function (token_sub|user_id|is_admin)" --jobs 2

No part of `pytest`: it runs the policy tests for each of some three thousand, of which 160 took eight minutes on two
cores.
"""

from collections import Counter
from dataclasses import dataclass

from psycopg import Connection

from tests.mutants import access, code, tables


@dataclass(frozen=True)
class Mutant:
    """One thing that is weaker, or stricter where only the tests' positive halves can tell.

    Args:
        name: what it is of, and what is changed about it.
        statement: SQL that makes it of a database at head.
        undo: SQL that undoes what belongs to the whole cluster.
    """

    name: str
    statement: str
    undo: str = ""


def mutants(connection: Connection) -> list[Mutant]:
    """All mutants of a database at head, derived from its catalogs."""
    found = [
        Mutant(*row) for query in access.QUERIES + tables.QUERIES for row in connection.execute(access.WITH + query)
    ]
    found += [Mutant(*each) for kind in code.KINDS for each in kind(connection)]
    twins = [name for name, count in Counter(mutant.name for mutant in found).items() if count > 1]
    assert not twins, f"two mutants have one name: {twins}"
    return found

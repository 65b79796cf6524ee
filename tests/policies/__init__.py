"""Who may do what: design §3 as tables of text, tried by every kind of caller on every shape of database.

A line of a table is a statement, a column a caller, a cell what comes of it: the number of rows that the statement
sees or changes, or what refuses it, in the words of tests.tools.attempt. So each denial stands beside the callers for
whom the same statement succeeds, and a table without such a caller is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import pytest
from _pytest.mark import ParameterSet
from sqlalchemy import URL

from tests.people import (
    ADMIN,
    ANONYMOUS,
    COLLEAGUE,
    HEIR,
    INACTIVE,
    INACTIVE_ADMIN,
    MALFORMED,
    MEMBER,
    NO_SUB,
    NO_TOKEN,
    OTHER_ADMIN,
    OTHER_MEMBER,
    OWNER,
    SERVICE,
    STRANGER,
    Who,
)
from tests.tools import attempt, connect

NOBODIES = {
    "no-token": NO_TOKEN,
    "no-sub": NO_SUB,
    "malformed-sub": MALFORMED,
    "stranger": STRANGER,
    "inactive": INACTIVE,
    "inactive-admin": INACTIVE_ADMIN,
}

# The columns of the tables. A role that inherits authenticated may what authenticated may.
CALLERS = {
    "anonymous": {"anonymous": ANONYMOUS, "anonymous-with-a-token": Who("anon", ADMIN.claims)},
    "nobody": NOBODIES,
    "member": {"member": MEMBER, "member-by-an-heir": Who(HEIR, MEMBER.claims)},
    "colleague": {"colleague": COLLEAGUE},
    "admin": {"admin": ADMIN, "admin-by-an-heir": Who(HEIR, ADMIN.claims)},
    "member2": {"other-tenants-member": OTHER_MEMBER},
    "admin2": {"other-tenants-admin": OTHER_ADMIN},
    "service": {"service": SERVICE},
    "owner": {"owner": OWNER},
}

EVERY_CALLER = {name: who for column in CALLERS.values() for name, who in column.items()}

Outcomes = dict[str, int | str]  # by caller


@dataclass(frozen=True)
class Place:
    """A database at head with the rows of tests.people, shared by all: leave nothing of what you do."""

    url: URL
    owner: str  # the role that migrated it

    def attempt(self, statement: str, *whos: Who) -> list[int | str]:
        """Try a statement as somebody, who logs in as Supabase's API does; see tests.tools.attempt."""
        with connect(self.url.set(username="authenticator")) as api, connect(self.url.set(username=self.owner)) as own:
            return [attempt(own if who is OWNER else api, who, statement, {}) for who in whos]

    def attempt_as_each(self, statement: str) -> Outcomes:
        """Try a statement as every caller of the tables."""
        return dict(zip(EVERY_CALLER, self.attempt(statement, *EVERY_CALLER.values()), strict=True))


def on_each(rows: dict[str, UUID], what: str, statement: str) -> dict[str, str]:
    """A statement on one row, for each of the rows: the SQL behind `what` and the row's name."""
    return {f"{what} {name}": f"{statement} WHERE id = '{row}'" for name, row in rows.items()}


def cases(
    table: str, statements: dict[str, str], callers: Mapping[str, Mapping[str, Who]] = CALLERS
) -> list[ParameterSet]:
    """The lines of a table as parameters: statement and outcomes.

    Args:
        table: A heading with the callers' columns, then a line for each statement: its name, a cell for each column.
        statements: The SQL behind each name.
        callers: Those of each column.
    """
    header, *lines = table.strip("\n").splitlines()
    columns = header.split()
    parameters = []
    for line in lines:
        if not line.strip():
            continue
        words = line.split()
        name, cells = " ".join(words[: -len(columns)]), words[-len(columns) :]
        outcomes = [int(cell) if cell.isdecimal() else cell for cell in cells]
        assert any(isinstance(outcome, int) and outcome > 0 for outcome in outcomes), f"nobody succeeds: {name}"
        each = {who: outcome for column, outcome in zip(columns, outcomes, strict=True) for who in callers[column]}
        parameters.append(pytest.param(statements[name], each, id=name.replace(" ", "-")))
    assert len(parameters) == len(statements), "a statement stands in no line"
    return parameters

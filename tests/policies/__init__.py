"""Who may do what, a table at a time; and those who may do nothing with any of them."""

import pytest
from _pytest.mark import ParameterSet

from tests.people import INACTIVE, INACTIVE_ADMIN, MALFORMED, NO_SUB, NO_TOKEN, STRANGER

NOBODIES = {
    "no-token": NO_TOKEN,
    "no-sub": NO_SUB,
    "malformed-sub": MALFORMED,
    "stranger": STRANGER,
    "inactive": INACTIVE,
    "inactive-admin": INACTIVE_ADMIN,
}


def nobodies(statement: str, outcome: int | str, what: str) -> list[ParameterSet]:
    """A case for everyone who has the role `authenticated` and is nobody to row security."""
    return [pytest.param(who, statement, outcome, id=f"{name}-{what}") for name, who in NOBODIES.items()]

"""What `alembic -x name=value` says: how long a run waits for locks, and what the operator decides about a platform.

The decisions reach the revisions' SQL as settings of the session, so the text of a revision is the same for every
database. Scripts and SQL files have the decisions written into them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alembic.config import Config

from app.errors import SetupError

LONGEST_VALUE = 1000  # characters of one option
GIVEN = "chatbots.x"  # the attribute of Alembic's settings that holds what a command of ours was given


@dataclass(frozen=True)
class Patience:
    """How a run waits for locks.

    Args:
        lock_timeout: how long one strong lock waits at most, and everyone behind it; as PostgreSQL writes times.
        retry_for: seconds for which it is tried again.
    """

    lock_timeout: str = "1s"
    retry_for: float = 600


@dataclass(frozen=True)
class Decisions:
    """What the operator decides where a database leaves it open; "" for what is not decided.

    Args:
        identity: the column of users that holds the token's sub.
        admin_role: the values of users.role that make somebody a chatbot admin, separated by commas.
        fresh: "yes" to build beside tables of users, chats or messages that have other names.
    """

    identity: str = ""
    admin_role: str = ""
    fresh: str = ""

    def settings(self) -> dict[str, str]:
        """The settings by which revisions read them."""
        return {
            "chatbots.identity": self.identity,
            "chatbots.admin_role": self.admin_role,
            "chatbots.fresh": self.fresh,
        }


@dataclass(frozen=True)
class Options:
    """All that -x takes."""

    patience: Patience
    decisions: Decisions


def parse(arguments: Mapping[str, str]) -> Options:
    """Read the -x arguments of a command.

    Raises:
        SetupError: one of them is unknown or has no usable value.
    """
    known = {"lock_timeout", "retry_for", "identity", "admin_role", "fresh"}
    retry_for = arguments.get("retry_for", str(Patience.retry_for))
    if arguments.keys() - known or not re.fullmatch(r"\d+(\.\d+)?", retry_for):
        raise SetupError(
            "-x takes lock_timeout=TIME (such as 500ms), retry_for=SECONDS, identity=COLUMN, admin_role=VALUE[,VALUE]"
            " and fresh=yes, and nothing else."
        )
    for name in ("identity", "admin_role"):
        value = arguments.get(name, "?")
        if not value or len(value) > LONGEST_VALUE or not value.isprintable() or "" in value.split(","):
            raise SetupError(f"-x {name} has no usable value: give it as in -x identity=auth_id -x admin_role=admin.")
    if arguments.get("fresh", "yes") != "yes":
        raise SetupError("-x fresh takes yes: give -x fresh=yes, or leave it away.")
    return Options(
        Patience(arguments.get("lock_timeout", Patience.lock_timeout), float(retry_for)),
        Decisions(arguments.get("identity", ""), arguments.get("admin_role", ""), arguments.get("fresh", "")),
    )


def given(config: Config) -> Options:
    """The options that a command was given: one of Alembic's, or one of ours by `give`.

    Raises:
        SetupError: see `parse`.
    """
    arguments: Iterable[str] = config.attributes.get(GIVEN) or getattr(config.cmd_opts, "x", None) or ()
    pairs = [argument.partition("=") for argument in arguments]
    return parse({name: value for name, _, value in pairs})


def give(config: Config, arguments: Iterable[str]) -> Config:
    """Alembic's settings with the -x arguments of a command of ours."""
    config.attributes[GIVEN] = [*arguments]
    return config

"""The versions of a chatbot, as an operator reads and restores them. Guide: "Future Enhancements"."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Chatbot, ChatbotVersion, User
from app.sight import require_every_row
from app.tenants import find_tenant, named

READ = ["chatbot_versions", "chatbots", "tenants", "users"]
CONFIGURATION = ("system_prompt", "model", "temperature", "max_tokens", "settings")
NO_SUCH_VERSION = "PT404"  # as restore_chatbot answers


@dataclass(frozen=True)
class Version:
    """One version of a chatbot.

    Args:
        version: its number, from 1.
        created_at: timezone-aware.
        created_by: the author's id; None: not known, or gone.
        author: the author's email; None as above.
        same_as: the number of the latest earlier version of the same configuration, as a restored one has; None: it is
            new.
        configuration: by column.
        changed: the columns in which it differs from the version before; of the first, none.
    """

    version: int
    created_at: datetime
    created_by: UUID | None
    author: str | None
    same_as: int | None
    configuration: dict[str, Any]
    changed: dict[str, Any]


def find_chatbot(session: Session, id_or_name: str, tenant: str | None = None) -> Chatbot:
    """The chatbot with this id, or with this name, of a tenant or of any.

    Raises:
        SetupError: there is none, several have the name, or the session's role does not see everybody's rows.
    """
    require_every_row(session.connection(), READ)
    query = select(Chatbot).where(named(Chatbot, id_or_name))
    where = ""
    if tenant is not None:
        home = find_tenant(session, tenant)
        query, where = query.where(Chatbot.tenant_id == home.id), f" of {home.name}"
    found = session.scalars(query.limit(2)).all()
    if not found:
        raise SetupError(f"There is no chatbot {id_or_name!r}{where}: give the id or the exact name of one.")
    if len(found) > 1:
        raise SetupError(f"Several chatbots{where} are named {id_or_name!r}: give the id of one.")
    return found[0]


def history(session: Session, chatbot: Chatbot) -> list[Version]:
    """The versions of a chatbot, the newest first."""
    rows = session.execute(
        select(ChatbotVersion, User.email)
        .outerjoin(User, User.id == ChatbotVersion.created_by)
        .where(ChatbotVersion.tenant_id == chatbot.tenant_id, ChatbotVersion.chatbot_id == chatbot.id)
        .order_by(ChatbotVersion.version)
    )
    found: list[Version] = []
    numbers: dict[str, int] = {}  # the latest, by configuration
    for row, author in rows:
        configuration = {column: getattr(row, column) for column in CONFIGURATION}
        before = found[-1].configuration if found else configuration
        # As JSON has it: to Python, true is 1 and 1.0 as well.
        changed = {
            column: value for column, value in configuration.items() if as_json(value) != as_json(before[column])
        }
        text = as_json(configuration)
        same_as = numbers.get(text)
        found.append(Version(row.version, row.created_at, row.created_by, author, same_as, configuration, changed))
        numbers[text] = row.version
    return found[::-1]


def restore(session: Session, chatbot: Chatbot, version: int) -> int:
    """Make an old version of a chatbot the newest, as a new version.

    Args:
        session: as for `find_chatbot`; the caller commits.
        chatbot: as it was read.
        version: its number.

    Returns:
        The number of the newest version: the one that it has already, if that is of the same configuration.

    Raises:
        SetupError: it has no such version; nothing was changed.
    """
    missing = f"{chatbot.name} has no version {version}: `python -m app history {chatbot.id}` lists those that it has."
    if version > chatbot.version:  # which may be no integer of PostgreSQL's either
        raise SetupError(missing)
    try:
        newest = session.scalar(select(func.public.restore_chatbot(chatbot.id, version)))
    except DatabaseError as error:
        if getattr(error.orig, "sqlstate", None) != NO_SUCH_VERSION:
            raise
        raise SetupError(missing) from error
    assert isinstance(newest, int)  # noqa: S101 - as the function returns
    return newest


def as_json(value: object) -> str:
    """A value as one text, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True)


def difference(before: str, after: str) -> Iterator[str]:
    """How a text became another, as `diff --unified` tells it, a line each; what ends the last counts as a line."""
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=2)
    yield from list(lines)[2:]  # after the names of files

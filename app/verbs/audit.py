"""`python -m app audit`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import takewhile
from typing import Annotated, Any

import typer

from app.audit import Change, changes
from app.terminal import printable
from app.verbs.shared import database_session, to_json

SHOWN = 60  # characters of a value
KEPT_BY_THE_DATABASE = {"updated_at", "lock_version"}  # they move with the others


def audit(
    tenant: Annotated[str | None, typer.Option(help="Id or name. Default: all.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"], help="UTC, unless it has an offset."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print whole entries, a JSON object a line.")] = False,
) -> None:
    """Say who changed chatbots, and people's roles and activity, the latest first. Only reads."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    none = True
    with database_session() as session:
        for change in changes(session, tenant, since):
            none = False
            if as_json:
                print(json.dumps(asdict(change), default=to_json))
            else:
                print(headline(change), *details(change), sep="\n")
    if none and not as_json:
        print("Nothing was changed.")


def headline(change: Change) -> str:
    """When, where, who and what, in a line."""
    who = change.user or change.user_id
    by = f"{who} as {change.database_role}" if who else change.database_role
    what = f"{change.table_name} {change.row_id or ''}".strip()
    named = f" ({change.row})" if change.row else ""
    where = change.tenant or change.tenant_id
    at = change.changed_at.astimezone(UTC)
    return printable(f"{at:%Y-%m-%d %H:%M:%S}Z  {where}: {by}: {change.action} {what}{named}")


def details(change: Change) -> Iterator[str]:
    """A line for each column, as it was and as it became; of a whole row, those that have a value."""
    old, new = change.old_values or {}, change.new_values or {}
    for column in dict.fromkeys([*old, *new]):
        if change.action == "UPDATE" and column not in KEPT_BY_THE_DATABASE:
            yield f"    {column}: {' -> '.join(shown(old.get(column), new.get(column)))}"
        elif change.table_name == "users" or change.action == "TRUNCATE":
            yield f"    {column}: {shown(old.get(column, new.get(column)))[0]}"


def shown(*values: Any) -> list[str]:
    """Values as JSON writes them, on a line, not too long: from where they begin to differ."""
    texts = [printable(json.dumps(value, ensure_ascii=False)) for value in values]
    start = 0
    if len(texts) > 1 and any(len(text) > SHOWN for text in texts):
        same = sum(1 for _ in takewhile(lambda each: len(set(each)) == 1, zip(*texts, strict=False)))
        start = max(0, same - SHOWN // 3)
    return [shortened(f"...{text[start:]}" if start else text) for text in texts]


def shortened(text: str) -> str:
    """A text, or its beginning."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."

"""`python -m app audit`."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.audit import Change, changes, told
from app.audit import as_json as in_json
from app.excerpts import Excerpt, Pair, shown
from app.terminal import say
from app.verbs.shared import database_session

SHOWN = 60  # characters of a value
NOTHING = Excerpt("null")


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
        for entries in changes(session, tenant, since):
            none = False
            if as_json:
                sys.stdout.writelines(in_json(session, entries))
                continue
            values = told(session, entries)
            for entry in entries:
                say(headline(entry))
                for pair in values.get(entry.id, ()):
                    say(f"    {detail(entry, pair)}")
    if none and not as_json:
        say("Nothing was changed.")


def headline(change: Change) -> str:
    """When, where, who and what, in a line."""
    who = change.user or change.user_id
    by = f"{who} as {change.database_role}" if who else change.database_role
    what = f"{change.table_name} {change.row_id or ''}".strip()
    named = f" ({change.row})" if change.row else ""
    where = change.tenant or change.tenant_id
    at = change.changed_at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}Z  {where}: {by}: {change.action} {what}{named}"


def detail(change: Change, pair: Pair) -> str:
    """A column as it was and as it became; of a whole row, its value."""
    sides = [pair.was or NOTHING, pair.becomes or NOTHING]
    if change.action != "UPDATE":
        sides = [pair.was or pair.becomes or NOTHING]
    return f"{pair.name}: {' -> '.join(shown(sides, SHOWN))}"

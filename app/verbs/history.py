"""`python -m app history`, `python -m app restore`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from itertools import pairwise
from typing import Annotated

import typer

from app import history as versions
from app.history import Version, difference, find_chatbot
from app.terminal import printable
from app.verbs.shared import database_session, to_json

Named = Annotated[str, typer.Argument(metavar="CHATBOT", help="Id or name.")]
Of = Annotated[str | None, typer.Option("--tenant", help="Id or name of its tenant. Default: any.")]


def history(
    chatbot: Named,
    tenant: Of = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of whole versions.")] = False,
) -> None:
    """List a chatbot's versions, the newest first, with what each changed. Only reads."""
    with database_session() as session:
        its = find_chatbot(session, chatbot, tenant)
        name, found = f"{its.name} ({its.id})", versions.history(session, its)
    if as_json:
        print(json.dumps([asdict(version) for version in found], indent=2, default=to_json))
        return
    print(printable(name))
    for version, before in pairwise([*found, None]):
        assert version is not None  # noqa: S101 - the last is but what nothing precedes
        print("", headline(version), *(f"    {printable(line)}" for line in changes(version, before)), sep="\n")


def restore(
    chatbot: Named, version: Annotated[int, typer.Argument(help="Its number, as history lists it.")], tenant: Of = None
) -> None:
    """Make an old version of a chatbot the newest, as a new version."""
    with database_session() as session:
        its = find_chatbot(session, chatbot, tenant)
        name, current = its.name, its.version
        newest = versions.restore(session, its, version)
        session.commit()
    if newest == current:
        print(printable(f"{name} is as in version {version} already; its newest is version {newest}."))
    else:
        print(printable(f"{name} is as in version {version} again; its newest is version {newest}."))


def headline(version: Version) -> str:
    """Number, time, author; and which it repeats."""
    who = version.author or version.created_by or "not known"
    again = f"  (same as version {version.same_as})" if version.same_as else ""
    return printable(f"version {version.version}  {version.created_at.astimezone(UTC):%Y-%m-%d %H:%M}Z  {who}{again}")


def changes(version: Version, before: Version | None) -> Iterator[str]:
    """What a version changed; of the first, what it is."""
    for column, value in (version.changed if before else version.configuration).items():
        was = before.configuration[column] if before else None
        if column == "system_prompt":
            yield "system_prompt:"
            yield from (f"  {line}" for line in (difference(was, value) if was is not None else value.splitlines()))
        elif before:
            yield f"{column}: {json.dumps(was, ensure_ascii=False)} -> {json.dumps(value, ensure_ascii=False)}"
        else:
            yield f"{column}: {json.dumps(value, ensure_ascii=False)}"

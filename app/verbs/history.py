"""`python -m app history`, `python -m app restore`."""

import sys
from collections.abc import Iterator
from datetime import UTC
from typing import Annotated

import typer

from app import history as versions
from app.excerpts import Pair, shown
from app.history import Version, difference, find_chatbot
from app.terminal import say
from app.verbs.shared import database_session

SHOWN = 1000  # characters of a value other than the prompt

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
        if as_json:
            between = "[\n"
            for found in versions.history(session, its):
                for version in found:
                    sys.stdout.write(between)
                    sys.stdout.writelines(versions.as_json(session, its, [version]))
                    between = ",\n"
            sys.stdout.write("\n]\n" if between == ",\n" else "[]\n")
            return
        say(f"{its.name} ({its.id})")
        for found in versions.history(session, its):
            changes, prompts = versions.told(session, its, found), versions.prompts(session, its, found)
            for version in found:
                say()
                say(headline(version))
                for pair in changes.get(version.version, ()):
                    for line in lines(pair, prompts.get(version.version)):
                        say(f"    {line}")


def restore(
    chatbot: Named, version: Annotated[int, typer.Argument(help="Its number, as history lists it.")], tenant: Of = None
) -> None:
    """Make an old version of a chatbot the newest, as a new version."""
    with database_session(writes=True) as session:
        its = find_chatbot(session, chatbot, tenant)
        name, current = its.name, its.version
        newest = versions.restore(session, its, version)
        session.commit()
    if newest == current:
        say(f"{name} is as in version {version} already; its newest is version {newest}.")
    else:
        say(f"{name} is as in version {version} again; its newest is version {newest}.")


def headline(version: Version) -> str:
    """Number, time, author; and which it repeats."""
    who = version.author or version.created_by or "not known"
    again = f"  (same as version {version.same_as})" if version.same_as else ""
    return f"version {version.version}  {version.created_at.astimezone(UTC):%Y-%m-%d %H:%M}Z  {who}{again}"


def lines(pair: Pair, prompts: tuple[str | None, str] | None) -> Iterator[str]:
    """What a version changed in a column; of the first version, what it is.

    Args:
        pair: excerpts of the column, before and after.
        prompts: the whole prompts, before and after; None: they are too long.
    """
    if pair.name == "system_prompt" and prompts is not None:
        was, becomes = prompts
        yield "system_prompt:"
        yield from (f"  {line}" for line in (difference(was, becomes) if was is not None else becomes.splitlines()))
    else:
        yield f"{pair.name}: {' -> '.join(shown([side for side in (pair.was, pair.becomes) if side], SHOWN))}"

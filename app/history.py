"""The versions of a chatbot, as an operator reads and restores them. Guide: "Future Enhancements"."""

import difflib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, load_only

from app.errors import SetupError
from app.excerpts import Pair, beginning, excerpts, pieces
from app.models import Chatbot, Tenant
from app.sight import require_every_row
from app.tenants import SHOWN, find_tenant, named
from app.terminal import as_text, json_in_ascii

READ = ["chatbot_versions", "chatbots", "tenants", "users"]
NO_SUCH_VERSION = "PT404"  # as restore_chatbot answers
AT_ONCE = 20  # versions read together: their values may be larger than memory
LONGEST_PROMPT = 100_000  # bytes of a prompt that is compared line by line

CONFIGURATION = ("system_prompt", "model", "temperature", "max_tokens", "settings")
# Two configurations are the same where the texts of all their values are.
DIGESTS = ", ".join(
    f"sha256(convert_to({column}::text, getdatabaseencoding())) AS {column}" for column in CONFIGURATION
)
DIFFERING = ", ".join(
    f"CASE WHEN {column} IS DISTINCT FROM lag({column}) OVER earlier THEN '{column}' END" for column in CONFIGURATION
)
VERSIONS = text(f"""
    WITH digests AS MATERIALIZED (
        SELECT version, created_at, created_by, {DIGESTS}
        FROM public.chatbot_versions WHERE tenant_id = :tenant AND chatbot_id = :chatbot
    )
    SELECT version, digests.created_at, created_by, email::text AS author,
        lag(version) OVER (PARTITION BY {", ".join(CONFIGURATION)} ORDER BY version) AS same_as,
        lag(version) OVER earlier AS before,
        CASE WHEN lag(version) OVER earlier IS NULL THEN '{{}}'
            ELSE array_remove(ARRAY[{DIFFERING}], NULL) END AS changed
    FROM digests LEFT JOIN public.users ON users.id = created_by
    WINDOW earlier AS (ORDER BY version)
    ORDER BY version DESC
""")
OF_VERSIONS = """
    FROM unnest(CAST(:versions AS integer[]), CAST(:before AS integer[])) AS asked (number, before)
    JOIN public.chatbot_versions AS its
        ON its.tenant_id = :tenant AND its.chatbot_id = :chatbot AND its.version = number
    LEFT JOIN public.chatbot_versions AS earlier
        ON earlier.tenant_id = :tenant AND earlier.chatbot_id = :chatbot AND earlier.version = asked.before
"""
OF_VERSION = "FROM public.chatbot_versions WHERE tenant_id = :tenant AND chatbot_id = :chatbot AND version = :version"
SIDES = ", ".join(
    f"('{column}', CASE WHEN earlier.version IS NOT NULL THEN coalesce(to_jsonb(earlier.{column}), 'null')::text END,"
    f" coalesce(to_jsonb(its.{column}), 'null')::text)"
    for column in CONFIGURATION
)
CHANGES = f"""
    SELECT its.version AS key, name, was, becomes
    {OF_VERSIONS}, LATERAL (VALUES {SIDES}) AS columns (name, was, becomes)
    WHERE earlier.version IS NULL OR was IS DISTINCT FROM becomes
"""
PROMPTS = text(f"""
    SELECT its.version, earlier.system_prompt, its.system_prompt {OF_VERSIONS}
    WHERE octet_length(its.system_prompt) <= {LONGEST_PROMPT}
        AND coalesce(octet_length(earlier.system_prompt), 0) <= {LONGEST_PROMPT}
""")
BEGINNINGS = text(f"""
    SELECT its.version, {", ".join(beginning(f"to_jsonb(its.{column})::text") for column in CONFIGURATION)}
    {OF_VERSIONS}
""")


@dataclass(frozen=True)
class Version:
    """One version of a chatbot, without its configuration.

    Args:
        version: its number, from 1.
        created_at: timezone-aware.
        created_by: the author's id; None: not known, or gone.
        author: the author's email; None as above.
        same_as: the number of the latest earlier version of the same configuration, as a restored one has; None: it is
            new.
        before: the number of the version before; None: it is the first.
        changed: the columns in which it differs from the version before; of the first, none.
    """

    version: int
    created_at: datetime
    created_by: UUID | None
    author: str | None
    same_as: int | None
    before: int | None
    changed: list[str]


def find_chatbot(session: Session, id_or_name: str, tenant: str | None = None) -> Chatbot:
    """The chatbot with this id, or with this name, of a tenant or of any; its configuration is not loaded.

    Raises:
        SetupError: there is none, several have the name, or the session's role does not see everybody's rows.
    """
    require_every_row(session.connection(), READ)
    columns = load_only(Chatbot.id, Chatbot.tenant_id, Chatbot.name, Chatbot.version)
    query = select(Chatbot).options(columns).where(named(Chatbot, id_or_name))
    where = ""
    if tenant is not None:
        home = find_tenant(session, tenant)
        query, where = query.where(Chatbot.tenant_id == home.id), f" of {home.name}"
    found = session.scalars(query.order_by(Chatbot.tenant_id, Chatbot.id).limit(SHOWN)).all()
    if not found:
        raise SetupError(f"There is no chatbot {id_or_name!r}{where}: give the id or the exact name of one.")
    if len(found) > 1:
        homes = dict(
            session.execute(
                select(Tenant.id, Tenant.name).where(Tenant.id.in_([each.tenant_id for each in found]))
            ).all()
        )
        which = ", ".join(f"{each.id} (of {homes.get(each.tenant_id) or each.tenant_id})" for each in found)
        raise SetupError(f"Several chatbots{where} are named {id_or_name!r}: give the id of one, such as {which}.")
    return found[0]


def history(session: Session, chatbot: Chatbot) -> Iterator[Sequence[Version]]:
    """Return the versions of a chatbot, the newest first, some at a time."""
    rows = session.execute(VERSIONS, of(chatbot), execution_options={"yield_per": AT_ONCE})
    for some in rows.mappings().partitions():
        yield [Version(**row) for row in some]


def of(chatbot: Chatbot, versions: Sequence[Version] = ()) -> dict[str, object]:
    """Return the parameters that name versions of a chatbot."""
    named = {"versions": [each.version for each in versions], "before": [each.before for each in versions]}
    return {"tenant": chatbot.tenant_id, "chatbot": chatbot.id, **(named if versions else {})}


def told(session: Session, chatbot: Chatbot, versions: Sequence[Version]) -> dict[int, list[Pair]]:
    """Return excerpts of what each version changed, by number and column; of the first, of what it is."""
    found: dict[int, dict[str, Pair]] = defaultdict(dict)
    for pair in excerpts(session, CHANGES, of(chatbot, versions)):
        found[pair.key][pair.name] = pair
    return {key: [pairs[name] for name in CONFIGURATION if name in pairs] for key, pairs in found.items()}


def prompts(session: Session, chatbot: Chatbot, versions: Sequence[Version]) -> dict[int, tuple[str | None, str]]:
    """Return the prompts of versions and of those before, by number, but for prompts that are too long to compare."""
    return {number: (was, becomes) for number, was, becomes in session.execute(PROMPTS, of(chatbot, versions))}


def as_json(session: Session, chatbot: Chatbot, versions: Sequence[Version]) -> Iterator[str]:
    """Return whole versions as JSON, an object for each, in pieces of bounded length."""
    beginnings = {number: values for number, *values in session.execute(BEGINNINGS, of(chatbot, versions))}
    for version in versions:
        parts = ("version", "created_at", "created_by", "author", "same_as")
        head = json.dumps({part: getattr(version, part) for part in parts}, default=as_text)
        yield json_in_ascii(head).removesuffix("}")
        for name, columns in (("configuration", CONFIGURATION), ("changed", version.changed)):
            yield f', "{name}": {{'
            for number, column in enumerate(columns):
                yield f'{", " if number else ""}"{column}": '
                first = beginnings[version.version][CONFIGURATION.index(column)]
                one = {**of(chatbot), "version": version.version}
                whole = (
                    ["null"] if first is None else pieces(session, f"to_jsonb({column})::text", OF_VERSION, one, first)
                )
                yield from map(json_in_ascii, whole)
            yield "}"
        yield "}"


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


def difference(before: str, after: str) -> Iterator[str]:
    """How a text became another, as `diff --unified` tells it, a line each; what ends the last counts as a line."""
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=2)
    yield from list(lines)[2:]  # after the names of files

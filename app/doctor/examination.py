"""Examine a database for `python -m app doctor`, and say what there is to mend."""

from dataclasses import dataclass, field
from uuid import UUID

from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError

from app.asking import require_becoming
from app.catalog.comparison import compare
from app.database import create_engine, errors_as_sentences
from app.doctor.health import Indexes, Rows, indexes, leaderless_tenants, orphans
from app.doctor.identity import IdentityColumn, examined_identity
from app.doctor.powers import Powers, powers
from app.doctor.role import Role, role
from app.doctor.visibility import Visibility, visibility
from app.doctor.warnings import warnings
from app.errors import SetupError, printable
from app.migration.autogenerate import written_by
from app.migration.lineage import chain, lineage, newest, ours
from app.migration.preflight import situation
from app.migration.settings import revisions
from app.migration.version_table import half_done_step
from app.migration.watching import SEARCH_PATH
from app.models import Base
from app.person import Person, look_up
from app.terminal import counted

# Where the role may: what is looked at here is no use of an index.
UNCOUNTED = text("""
    SELECT set_config('track_counts', 'off', true) WHERE has_parameter_privilege('track_counts', 'SET')
""")


@dataclass(frozen=True)
class Revision:
    """The revision of a database.

    Args:
        at: none, one, or several with revisions of the user's own.
        newest: of this package.
        pending: those that it is not at yet, in their order.
        target: of `alembic upgrade`, for all of them.
        half_done: the command that finishes an interrupted step.
        told: all this in a sentence.
    """

    at: list[str]
    newest: str
    pending: list[str]
    target: str
    half_done: str | None
    told: str

    @property
    def is_newest(self) -> bool:
        """Whether the database is at the newest revision of this package, with no step half done."""
        return self.newest not in self.pending and self.half_done is None


@dataclass(frozen=True)
class Examination:
    """The result of an examination. Before the newest revision only revision, role and indexes are examined.

    Args:
        revision: where it is.
        role: the role of the connection.
        drift: how it differs from what this package ships; None: not judged.
        warnings: what preflight warned of and still holds; None: not judged.
        identity: the column that holds the token's sub; None: not judged.
        person: the user that `--as` names.
        tables: what they can do.
        chatbot: why they, or an anonymous visitor, see the one that `--chatbot` names.
        orphans: rows whose parents are not there; None: not looked for.
        leaderless: tenants whose chatbots nobody can manage; a warning.
        indexes: how they do.
        mend: what there is to mend, a sentence each.
        unknown: what of it could not be judged, a sentence each.
    """

    revision: Revision
    role: Role
    drift: list[str] | None
    warnings: list[str] | None
    identity: IdentityColumn | None
    person: Person | None
    tables: list[Powers]
    chatbot: Visibility | None
    orphans: list[Rows] | None
    leaderless: Rows | None
    indexes: Indexes
    mend: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def examine(config: Config, who: str | None = None, chatbot: UUID | None = None) -> Examination:
    """Examine the database in a read-only transaction, which is rolled back.

    Args:
        config: Alembic's settings; see `app.migration.settings`.
        who: a user's address or id.
        chatbot: an id.

    Raises:
        SetupError: the database cannot be reached or its version table is another project's; there is no such user,
            or the connection's role does not see, or may not become, those who are asked for.
    """
    script = revisions(config)
    found: list[Examination] = []

    def look(heads: tuple[str, ...], context: MigrationContext) -> list[object]:
        assert context.connection is not None  # noqa: S101 - not offline
        context.connection.execute(text("SET TRANSACTION READ ONLY"))
        context.connection.execute(text(f"SET LOCAL search_path = {SEARCH_PATH}"))
        context.connection.execute(UNCOUNTED)
        found.append(seen(script, heads, context, who, chatbot))
        return []

    try:
        with EnvironmentContext(config, script, fn=look, dont_mutate=True):
            script.run_env()
    except SetupError as error:
        raise with_role(error) from error
    return found[0]


def with_role(error: SetupError) -> SetupError:
    """Return the same error; if a privilege is missing, name the role that lacks it."""
    cause = error.__cause__
    if not isinstance(cause, DBAPIError) or not isinstance(cause.orig, InsufficientPrivilege):
        return error
    with errors_as_sentences(), create_engine(poolclass=NullPool).connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text(f"SET LOCAL search_path = {SEARCH_PATH}"))
        return SetupError(f"{role(connection).told} For the rest, {str(error)[0].lower()}{str(error)[1:]}")


def seen(
    script: ScriptDirectory, heads: tuple[str, ...], context: MigrationContext, who: str | None, chatbot: UUID | None
) -> Examination:
    """Examine a database in an open transaction."""
    connection = context.connection
    assert connection is not None  # noqa: S101 - not offline
    revision = where(script, heads, connection, context.version_table)
    its_indexes = indexes(connection, revision.half_done)
    if not revision.is_newest:
        return judged(
            Examination(revision, role(connection), None, None, None, None, [], None, None, None, its_indexes)
        )
    person = look_up(connection, who) if who is not None else None
    its_warnings, unknown = warnings(connection, script)
    trouble = ""
    if person is not None:
        try:
            require_becoming(connection, person.identity)
        except SetupError as error:
            trouble = str(error).removesuffix(".")
            unknown.append(f"what {person.email or person.id} can do ({trouble})")
    return judged(
        Examination(
            revision,
            role(connection),
            drift(connection, context),
            its_warnings,
            examined_identity(connection),
            person,
            powers(connection, person) if person and not trouble else [],
            visibility(connection, chatbot, person) if chatbot and not trouble else None,
            orphans(connection),
            leaderless_tenants(connection),
            its_indexes,
            unknown=unknown,
        )
    )


def where(script: ScriptDirectory, heads: tuple[str, ...], connection: Connection, version_table: str) -> Revision:
    """Return the revision of a database."""
    applied = lineage(script, heads)
    return Revision(
        list(heads),
        ours(script)[-1],
        [each for each in chain(script) if each not in applied],
        newest(script),
        half_done_step(connection, version_table),
        situation(connection, heads, version_table),
    )


def drift(connection: Connection, context: MigrationContext) -> list[str]:
    """Return all that `alembic check` finds in a database at the newest revision."""
    differences = compare(connection, context.version_table).differences
    told = {each.key for each in differences}
    lines = [each.text for each in differences]
    with connection.begin_nested() as savepoint:
        connection.execute(text("SET LOCAL search_path = public"))  # where autogenerate finds the tables
        upgrade = produce_migrations(context, Base.metadata).upgrade_ops
        savepoint.rollback()
    # On an adopted platform the models ask for more than the document: the columns that they read.
    for place, kind, name, fact in written_by(upgrade) if upgrade is not None else ():
        if (place, kind, name) not in told and (place, "table", "") not in told:
            what = f"{place}: {kind} {name}" if name else f"{kind} {place}"
            lines.append(printable(f"{what}: {fact.lower() or 'it'} is not as the models have it"))
    return lines


def judged(found: Examination) -> Examination:
    """Add what there is to mend, and what nobody could judge."""
    mend, unknown = found.mend, found.unknown
    if found.revision.half_done:
        mend.append(f"A step was interrupted: run `{found.revision.half_done}`.")
    elif found.revision.pending:
        mend.append(f"Revisions are pending: run `alembic upgrade {found.revision.target}`.")
    if found.drift:
        mend.append(f"It differs from what was installed in {counted(len(found.drift), 'thing')}.")
    if found.warnings:
        mend.append(f"The platform leaves {counted(len(found.warnings), 'thing')} open that preflight warned of.")
    if found.identity:
        mend.extend(found.identity.faults)
        if found.identity.shared is None:
            unknown.append(f"how many subs name several people ({found.identity.unknown})")
    if found.chatbot and found.chatbot.as_it_should_be is False:
        mend.append("Who sees the chatbot is not as the rules have it.")
    elif found.chatbot and found.chatbot.as_it_should_be is None:
        unknown.append("who sees the chatbot")
    for each in found.orphans or []:
        if each.count:
            mend.append(f"There are {each.what}: {each.count:,}.")
        elif each.count is None:
            unknown.append(f"{each.what} ({each.unknown})")
    mend.extend(f"Index {name} is invalid: run `{remedy}`." for name, remedy in found.indexes.invalid)
    return found

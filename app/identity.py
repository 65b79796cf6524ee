"""Set the identity that a session or connection acts for, so that row security filters its queries.

An identity is the database role and the claims of the caller's token, as Supabase's API sets them. Both are local to
one transaction. A pooled connection therefore carries no identity to its next user, and a transaction-mode pooler may
stand between the application and the server.

The identity is an execution option, which a session hands to every connection that it takes. `begin` sets the identity
in the database when a connection begins a transaction; `go_on` sets it when the option reaches an open transaction.
`refuse_to_go_on_alone` refuses statements on a connection that has the option but not the identity.

How it knows: `BECOME` also marks the transaction. The mark is a setting that the server reports to the client whenever
its value changes, without being asked. The database undoes mark and identity together, so a COMMIT or ROLLBACK in SQL
text, or a savepoint's rollback, shows before the next statement, at no round trip. The mark is the opposite value of
`default_transaction_read_only`: that setting matters only to a transaction that begins while it is set, and this one
has begun. (`application_name` would do as well, but people search for it, and triggers record it.)

Three cases escape these checks: a statement of the driver's own cursor (call the connection's `begin()` first); a text
of several statements, whose first ends the transaction; and, on an engine whose pool does not roll back
(`pool_reset_on_return=None`), a connection without an identity that goes on in somebody's transaction.
"""

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID
from weakref import WeakKeyDictionary, ref

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExecutionContext
from sqlalchemy.orm import Session, SessionTransaction

if TYPE_CHECKING:  # greenlet is installed only with the extra `asyncio`
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

ACTING_AS = "acting_as"  # the execution option

# Supabase's auth.uid() prefers request.jwt.claim.sub, and older ones read nothing else. Both settings hold the same
# sub, so every version of auth.uid() agrees with our helpers, and a leftover value cannot win.
MARK = "default_transaction_read_only"
BECOME = text(f"""
    SELECT set_config('role', :role, true),
        set_config('request.jwt.claims', :claims, true),
        set_config('request.jwt.claim.sub', :sub, true),
        set_config('{MARK}', CASE current_setting('{MARK}') WHEN 'on' THEN 'off' ELSE 'on' END, true) AS mark
""")

# These options hold for BECOME alone: no server-side cursor delays it, and our own check lets it pass.
BECOMING = "becoming"
AT_ONCE = {"stream_results": False, "yield_per": None, BECOMING: BECOME}


class Identity(NamedTuple):
    """The values that `BECOME` sets; `sub` is empty for an anonymous visitor."""

    role: str
    claims: str
    sub: str = ""


class Given(NamedTuple):
    """The identity that a connection was last given in the database, and the mark of that transaction."""

    connection: "ref[Connection]"
    identity: Identity
    mark: str


DriverConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
given: WeakKeyDictionary[DriverConnection, Given] = WeakKeyDictionary()
acting: WeakKeyDictionary[Session, Identity] = WeakKeyDictionary()


def act_as(target: "Session | AsyncSession | Connection | AsyncConnection", sub: UUID | str) -> None:
    """Act as one person in every later transaction, for one round trip per transaction.

    Call it before the first statement of a transaction: nothing is sent until then. Only a `Connection` may be in a
    transaction already; then the rest of that transaction runs as the person. The login role must be a member of
    `authenticated`. A session expunges the objects that it loaded before, because they may be another person's.

    Args:
        target: A session keeps the identity for good; a connection keeps it until it is closed.
        sub: The `sub` of the person's token. By default that is `users.id`; an adopted platform may keep it in another
            column of users, such as `auth_id`. An unknown or inactive person sees no rows.

    Raises:
        ValueError: `sub` is not a UUID. Nothing was sent.
        TypeError: `target` is of another type.
        RuntimeError: The open transaction already belongs to the login role or to another person. A savepoint is open,
            whose rollback would undo the identity. The session is bound to a connection, so its transactions are not
            its own. The session has unsaved changes of loaded objects.
            At the next transaction: the connection is in autocommit mode, so each statement would run as the login
            role; or it begins a two-phase commit, which the login role would have to finish. An error at that moment
            closes the connection.
    """
    try:
        person = sub if isinstance(sub, UUID) else UUID(sub)
        if isinstance(sub, str) and person.hex not in sub.lower().replace("-", ""):
            raise ValueError  # UUID() ignores blanks, signs and 0x, and reads digits of other scripts
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"sub must be a UUID, not {sub!r}") from None
    assume(target, identity_of(person))


def identity_of(sub: UUID, role: str = "authenticated") -> Identity:
    """Return the identity that a token with this sub gives."""
    return Identity(role, json.dumps({"role": role, "sub": str(sub)}), str(sub))


def act_as_anonymous(target: "Session | AsyncSession | Connection | AsyncConnection") -> None:
    """Act as a visitor without a token in every later transaction: like `act_as`, with the role `anon`.

    Raises:
        TypeError, RuntimeError: see `act_as`.
    """
    assume(target, Identity("anon", json.dumps({"role": "anon"})))


def assume(target: object, identity: Identity) -> None:
    """Give the identity to a session or connection of either kind."""
    inner = getattr(target, "sync_session", None) or getattr(target, "sync_connection", target)
    if isinstance(inner, Session):
        assume_in_session(inner, identity)
    elif isinstance(inner, Connection):
        if inner is not target and inner.in_transaction() and ACTING_AS not in inner.get_execution_options():
            raise RuntimeError("commit or roll back first, or: await connection.run_sync(act_as, sub)")
        inner.execution_options(**{ACTING_AS: identity})
    elif inner is None:
        raise RuntimeError("act_as needs an open connection: await it first")
    else:
        kind = type(target).__name__
        raise TypeError(f"act_as takes a Session, AsyncSession, Connection or AsyncConnection, not a {kind}")


def assume_in_session(session: Session, identity: Identity) -> None:
    """Have the session hand the identity to every connection that it takes."""
    current = session.execution_options.get(ACTING_AS)
    if current == identity:
        return
    if isinstance(session.bind, Connection):
        raise RuntimeError("act_as needs a session that is bound to an engine, not to a connection")
    transaction = session.get_transaction()
    if transaction and (current or session.in_nested_transaction() or transaction.connections):
        raise RuntimeError("act_as comes before a transaction's first statement: commit or roll back first")
    if session.identity_map:
        if session.new or session.dirty or session.deleted:
            raise RuntimeError("act_as lets go of what the session has loaded: commit or expunge its changes first")
        session.expunge_all()
    session.execution_options = session.execution_options.union({ACTING_AS: identity})
    acting[session] = identity


def become(connection: Connection, identity: Identity) -> None:
    """Set role and claims for the connection's transaction, in one round trip."""
    if connection.dialect.detect_autocommit_setting(below(connection)):
        raise RuntimeError("act_as needs transactions, and the connection is in autocommit mode")
    driver_connection = driver_of(connection)
    if stands(driver_connection):
        raise RuntimeError("act_as found somebody's transaction still open: have the pool roll back what it takes back")
    mark = connection.execute(BECOME, identity._asdict(), execution_options=AT_ONCE).one().mark
    given[driver_connection] = Given(ref(connection), identity, mark)
    if not stands(driver_connection):
        raise RuntimeError(f"act_as needs the server's reports of {MARK}: connect without the pooler that drops them")


def below(connection: Connection) -> DBAPIConnection:
    """Return the driver's connection in the type that SQLAlchemy's dialects take."""
    return cast(DBAPIConnection, connection.connection.dbapi_connection)


def driver_of(connection: Connection) -> DriverConnection:
    """Return the connection of psycopg itself."""
    return cast(DriverConnection, connection.dialect.get_driver_connection(below(connection)))


def stands(driver_connection: DriverConnection) -> bool:
    """Return whether the transaction that was last given an identity still has it, by what the server reported."""
    last = given.get(driver_connection)
    info = driver_connection.info
    return (
        last is not None
        and info.transaction_status != TransactionStatus.IDLE
        and info.parameter_status(MARK) == last.mark
    )


@event.listens_for(Engine, "set_connection_execution_options")
def go_on(connection: Connection, options: dict[str, Any]) -> None:
    """Set the identity in a transaction that is already open when the connection gets the option."""
    if ACTING_AS not in options:
        return
    identity: Identity = options[ACTING_AS]
    if not isinstance(identity, Identity):
        raise TypeError("an identity is not taken away: close the connection, or take another session")
    current = connection.get_execution_options().get(ACTING_AS)
    if current == identity or not connection.in_transaction():
        return
    if current is not None or connection.in_nested_transaction():
        raise RuntimeError("act_as comes before a transaction, or first in it: commit or roll back first")
    become(connection, identity)


@event.listens_for(Engine, "begin")
def begin(connection: Connection) -> None:
    """Set the connection's identity, if it has one, when a transaction begins."""
    identity = connection.get_execution_options().get(ACTING_AS)
    if identity is None:
        return
    try:
        become(connection, identity)
    except BaseException:
        connection.close()  # otherwise SQLAlchemy would send later statements without beginning a transaction
        raise


@event.listens_for(Engine, "before_cursor_execute")
def refuse_to_go_on_alone(
    connection: Connection,
    _cursor: object,
    _statement: str,
    _parameters: object,
    context: ExecutionContext,
    _many: bool,
) -> None:
    """Refuse a statement if the identity was never set, or if SQL has undone it since."""
    identity = connection.get_execution_options().get(ACTING_AS)
    if identity is None or context.execution_options.get(BECOMING) is BECOME:
        return
    driver_connection = driver_of(connection)
    last = given.get(driver_connection)
    if last is None or last.connection() is not connection or last.identity != identity:
        raise RuntimeError("act_as was not told of the transaction's beginning: import app.identity first of all")
    if driver_connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise RuntimeError("act_as does not go with the driver's pipelines, which delay the server's answers")
    if driver_connection.info.transaction_status == TransactionStatus.INERROR:
        return  # the server refuses it, unless it rolls back
    if not stands(driver_connection):
        raise RuntimeError(
            "act_as holds in transactions that SQLAlchemy begins and ends: SQL has ended this one, or has rolled back"
            " to a savepoint before act_as"
        )


@event.listens_for(Session, "after_begin")
def act_again(session: Session, _: SessionTransaction, connection: Connection) -> None:
    """Give a connection the identity whose option was lost when somebody replaced the session's options."""
    identity = acting.get(session)
    if identity is None or connection.get_execution_options().get(ACTING_AS) == identity:
        return
    try:
        assume(connection, identity)
    except BaseException:
        connection.invalidate()  # otherwise the session would send later statements all the same
        raise


@event.listens_for(Engine, "begin_twophase")
def refuse_two_phases(connection: Connection, _: str) -> None:
    """Refuse a two-phase commit on a connection that has an identity."""
    if ACTING_AS in connection.get_execution_options():
        connection.close()
        raise RuntimeError("act_as does not go with two-phase commits, which the login role would have to finish")

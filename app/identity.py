"""Who a session or connection acts for: under row security, every transaction runs as one person, or as anonymous.

The identity is what Supabase's API sets as well: the database role, and the token's claims in `request.jwt.claims`.
Both are local to the transaction, so nothing of them is left on a connection that goes back to its pool, and a
transaction-mode pooler may stand between.

It travels as an execution option, which a session hands to each connection that it takes. It is set where a connection
begins a transaction, below the session, or where the option reaches one that is open; and no statement passes on a
connection with the option that was not given the identity. What is not seen here: a driver's own cursor (`begin()`
before it), and an engine whose pool does not roll back (`pool_reset_on_return=None`).
"""

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExecutionContext
from sqlalchemy.orm import Session

if TYPE_CHECKING:  # it needs greenlet, which only those have who use it
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

ACTING_AS = "acting_as"  # the execution option

# request.jwt.claim.sub is Supabase's older setting, which its own auth.uid() prefers: a leftover must not beat us.
BECOME = text("""
    SELECT set_config('role', :role, true),
        set_config('request.jwt.claims', :claims, true),
        set_config('request.jwt.claim.sub', '', true)
""")

# Whatever the connection's options say: it is sent at once, not by a server-side cursor, and passes.
BECOMING = "becoming"
AT_ONCE = {"stream_results": False, "yield_per": None, BECOMING: True}


class Identity(NamedTuple):
    """What `BECOME` sets."""

    role: str
    claims: str


# The identity that a connection was last given in the database.
given: WeakKeyDictionary[Connection, Identity] = WeakKeyDictionary()


def act_as(target: "Session | AsyncSession | Connection | AsyncConnection", user_id: UUID | str) -> None:
    """Act for one person in every transaction from now on, at the price of one round trip each.

    Call it before the first statement; nothing is sent until then. Only a `Connection` may be in a transaction already:
    then the person acts in the rest of it. The login role must be a member of `authenticated`. Objects that a session
    has loaded before are expunged, as they may be another person's.

    Args:
        target: A session keeps the identity for good, a connection until it is closed.
        user_id: `users.id` of the person. Whether they exist and are active is for row security to say: if not, they
            see nothing.

    Raises:
        ValueError: `user_id` is no UUID. Nothing was sent.
        TypeError: `target` is none of the four.
        RuntimeError: somebody else acts in the open transaction, the login role or another person; a savepoint is
            open, with which the identity could be rolled back; the session is bound to a connection, whose transactions
            are not its own, or has changes beside what it has loaded. When the next transaction begins: the connection
            is in autocommit mode, where each statement would run as the login role, or begins a two-phase commit, which
            the login role would have to finish. Whatever fails there closes the connection.
    """
    try:
        person = user_id if isinstance(user_id, UUID) else UUID(user_id)
        if isinstance(user_id, str) and person.hex not in user_id.lower().replace("-", ""):
            raise ValueError  # UUID() reads blanks, a sign, 0x and digits of other scripts as something else
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"user_id must be a UUID, not {user_id!r}") from None
    assume(target, identity_of(person))


def identity_of(user_id: UUID, role: str = "authenticated") -> Identity:
    """What a person's token says."""
    return Identity(role, json.dumps({"role": role, "sub": str(user_id)}))


def act_as_anonymous(target: "Session | AsyncSession | Connection | AsyncConnection") -> None:
    """Act for a visitor without a token in every transaction from now on: as `act_as`, with role `anon`.

    Raises:
        TypeError, RuntimeError: see `act_as`.
    """
    assume(target, Identity("anon", json.dumps({"role": "anon"})))


def assume(target: object, identity: Identity) -> None:
    """Give the identity to a session or connection, of either kind."""
    inner = getattr(target, "sync_session", None) or getattr(target, "sync_connection", target)
    if isinstance(inner, Session):
        assume_in_session(inner, identity)
    elif isinstance(inner, Connection):
        if inner is not target and inner.in_transaction() and ACTING_AS not in inner.get_execution_options():
            raise RuntimeError("commit or roll back first, or: await connection.run_sync(act_as, user_id)")
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


def become(connection: Connection, identity: Identity) -> None:
    """Set role and claims for the connection's transaction, in one round trip."""
    if connection.dialect.detect_autocommit_setting(below(connection)):
        raise RuntimeError("act_as needs transactions, and the connection is in autocommit mode")
    connection.execute(BECOME, identity._asdict(), execution_options=AT_ONCE).close()
    given[connection] = identity


def below(connection: Connection) -> DBAPIConnection:
    """The driver's connection, as SQLAlchemy's dialects take it."""
    return cast(DBAPIConnection, connection.connection.dbapi_connection)


@event.listens_for(Engine, "set_connection_execution_options")
def go_on(connection: Connection, options: dict[str, Any]) -> None:
    """Go on with the identity in a transaction that is open when the connection gets it."""
    if ACTING_AS not in options or not connection.in_transaction():
        return
    identity: Identity = options[ACTING_AS]
    current = connection.get_execution_options().get(ACTING_AS)
    if current == identity:
        return
    if current is not None or connection.in_nested_transaction():
        raise RuntimeError("act_as comes before a transaction, or first in it: commit or roll back first")
    become(connection, identity)


@event.listens_for(Engine, "begin")
def begin(connection: Connection) -> None:
    """Begin a connection's transaction with its identity, if it has one."""
    identity = connection.get_execution_options().get(ACTING_AS)
    if identity is None:
        return
    try:
        become(connection, identity)
    except BaseException:
        connection.close()  # after this SQLAlchemy would send statements without beginning anything
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
    """Send nothing where the identity was not set, or is gone, by a COMMIT in the text of a statement."""
    identity = connection.get_execution_options().get(ACTING_AS)
    if identity is None or BECOMING in context.execution_options:
        return
    if given.get(connection) != identity:
        raise RuntimeError("act_as was not told of the transaction's beginning: import app.identity first of all")
    driver_connection = connection.dialect.get_driver_connection(below(connection))
    if driver_connection.info.transaction_status == TransactionStatus.IDLE:
        raise RuntimeError("act_as holds in transactions that SQLAlchemy begins and ends: SQL has ended this one")


@event.listens_for(Engine, "begin_twophase")
def refuse_two_phases(connection: Connection, _: str) -> None:
    """Refuse a two-phase commit where somebody acts."""
    if ACTING_AS in connection.get_execution_options():
        connection.close()
        raise RuntimeError("act_as does not go with two-phase commits, which the login role would have to finish")

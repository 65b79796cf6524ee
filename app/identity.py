"""Who a session acts for: under row security, every transaction runs as one person.

The identity is what Supabase's API sets as well: the database role, and the token's claims in `request.jwt.claims`.
Both are local to the transaction, so nothing of them is left on a connection that goes back to its pool, and a
transaction-mode pooler may stand between.

The person travels as an execution option of the session's engine, and is set where a connection begins a transaction,
below the session: no statement of the session comes before it, whatever other listeners do or raise, and a
`session.connection().commit()` begins the next transaction as the same person.
"""

import json
from contextlib import closing
from uuid import UUID

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

ACTING_AS = "acting_as"  # the execution option

# request.jwt.claim.sub is Supabase's older setting, which its own auth.uid() prefers: a leftover must not beat us.
BECOME = """
    SELECT set_config('role', 'authenticated', true),
        set_config('request.jwt.claims', %s, true),
        set_config('request.jwt.claim.sub', '', true)
"""


def act_as(session: Session, user_id: UUID | str) -> None:
    """Let a session act for one person in every transaction that it begins from now on.

    Call it before the session's first transaction, or between two. The engine's login role must be a member of
    `authenticated`. Objects that the session loaded before are expunged: they may be another person's.

    Args:
        session: bound to one engine.
        user_id: `users.id` of the person. Whether they exist and are active is for row security to say: if not,
            they see nothing.

    Raises:
        ValueError: `user_id` is no UUID. Nothing was sent.
        RuntimeError: a transaction is open in which somebody else acts, the login role or another person (adding
            an object opens one as well); the session is bound to a connection, whose transactions are not its own,
            or uses two-phase commits, which another role would have to finish. When the next transaction begins:
            the connection is in autocommit mode, where the identity would be lost without a word.
    """
    try:
        person = user_id if isinstance(user_id, UUID) else UUID(user_id)
    except ValueError:
        raise ValueError(f"user_id must be a UUID, not {user_id!r}") from None
    engine = session.get_bind()
    if not isinstance(engine, Engine):
        raise RuntimeError("act_as needs a session that is bound to an engine, not to a connection")
    if session.twophase:
        raise RuntimeError("act_as does not go with two-phase commits, which the login role would have to finish")
    current = engine.get_execution_options().get(ACTING_AS)
    if current == person:
        return
    if session.in_transaction():
        raise RuntimeError("act_as comes before a transaction: commit or roll back first, or call it before begin()")
    for loaded in list(session.identity_map.values()):
        session.expunge(loaded)
    session.bind = engine.execution_options(**{ACTING_AS: person})


@event.listens_for(Engine, "begin")
def become(connection: Connection) -> None:
    """Set the person's role and claims for the transaction that a connection begins, in one round trip."""
    person = connection.get_execution_options().get(ACTING_AS)
    if person is None:
        return
    pooled = connection.connection
    if getattr(pooled.driver_connection, "autocommit", False):
        raise RuntimeError("act_as needs transactions, and the connection is in autocommit mode")
    claims = json.dumps({"role": "authenticated", "sub": str(person)})
    with closing(pooled.cursor()) as cursor:
        cursor.execute(BECOME, (claims,))

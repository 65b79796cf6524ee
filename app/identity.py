"""Who a session acts for: under row security, every transaction runs as one person.

The identity is what Supabase's API sets as well: the database role, and the token's claims in `request.jwt.claims`.
Both are local to the transaction, so nothing of them is left on a connection that goes back to its pool, and a
transaction-mode pooler may stand between.
"""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session, SessionTransaction

ACTING_AS = "app.identity.acting_as"

# request.jwt.claim.sub is Supabase's older setting, which its own auth.uid() prefers: a leftover must not beat us.
BECOME = text("""
    SELECT set_config('role', 'authenticated', true),
        set_config('request.jwt.claims', :claims, true),
        set_config('request.jwt.claim.sub', '', true)
""")


def act_as(session: Session, user_id: UUID | str) -> None:
    """Let a session act for one person: in this transaction if one is open, and in every one that it begins.

    After a commit or a rollback SQLAlchemy begins a new transaction on the next statement; it runs as the same person.
    The engine's login role must be a member of `authenticated`.

    Args:
        session: the one to act; calling again for somebody else between transactions replaces the person.
        user_id: `users.id` of the person. Whether they exist and are active is for row security to say: if not,
            they see nothing.

    Raises:
        ValueError: `user_id` is no UUID. Nothing was sent.
        RuntimeError: somebody else acts in the open transaction, a savepoint is open, or the connection is in
            autocommit mode, where the identity would be lost without a word.
    """
    try:
        person = user_id if isinstance(user_id, UUID) else UUID(user_id)
    except ValueError:
        raise ValueError(f"user_id must be a UUID, not {user_id!r}") from None
    current = session.info.get(ACTING_AS)
    if session.in_transaction():
        if session.in_nested_transaction():
            raise RuntimeError("act_as inside a savepoint would be undone with it: call it before begin_nested()")
        if current not in (None, person):
            raise RuntimeError("somebody else acts in this transaction: commit it or roll it back first")
        if current is None:
            become(session.connection(), person)
    session.info[ACTING_AS] = person
    if current is None:
        event.listen(session, "after_begin", act_again)


def act_again(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    """Be the same person in the transaction that begins; a savepoint is no new one."""
    if transaction.nested:
        return
    try:
        become(connection, session.info[ACTING_AS])
    except BaseException:
        connection.invalidate()  # or the session would go on with it, as the login role
        raise


def become(connection: Connection, person: UUID) -> None:
    """Set a person's role and claims for the rest of the transaction, in one round trip."""
    driver_connection: Any = connection.connection.driver_connection
    if driver_connection.autocommit:
        raise RuntimeError("act_as needs transactions, and the connection is in autocommit mode")
    connection.execute(BECOME, {"claims": json.dumps({"role": "authenticated", "sub": str(person)})})

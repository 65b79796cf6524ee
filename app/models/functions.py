"""The guide's monitoring ("Recommended Queries"), functions of the database that SQLAlchemy selects from like tables.

Each tells an admin of their own tenant, a service of the tenant asked for or of all, and anybody else nothing
(revision 011). Whose session it is, `app.identity.act_as` says.

    usage = chatbot_usage()
    session.execute(select(usage.c.chatbot_name, usage.c.people).where(usage.c.conversations > 0))
"""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnClause,
    DateTime,
    Integer,
    Numeric,
    TableValuedAlias,
    Text,
    Uuid,
    column,
    func,
    literal,
)

Columns = tuple[ColumnClause[Any], ...]

TIME = DateTime(timezone=True)
CHATBOT_USAGE: Columns = (
    column("tenant_id", Uuid),
    column("chatbot_id", Uuid),
    column("chatbot_name", Text),
    column("is_published", Boolean),
    column("conversations", BigInteger),
    column("messages", BigInteger),
    column("people", BigInteger),
    column("ratings", BigInteger),
    column("mean_rating", Numeric(asdecimal=False)),
    column("positive_share", Numeric(asdecimal=False)),
    column("last_used_at", TIME),
)
POPULAR_CHATBOTS: Columns = (
    column("tenant_id", Uuid),
    column("place", BigInteger),
    column("chatbot_id", Uuid),
    column("chatbot_name", Text),
    column("conversations", BigInteger),
)
TENANT_ADMINS: Columns = (
    column("tenant_id", Uuid),
    column("tenant_name", Text),
    column("admins", BigInteger),
    column("active_admins", BigInteger),
)
UNPUBLISHED_CHATBOTS: Columns = (
    column("tenant_id", Uuid),
    column("chatbot_id", Uuid),
    column("chatbot_name", Text),
    column("created_at", TIME),
    column("updated_at", TIME),
)


def chatbot_usage(tenant: UUID | None = None, positive_from: int | None = None) -> TableValuedAlias:
    """How each chatbot is used, the most used first. Guide: "Chatbot Usage".

    Args:
        tenant: its id; None: whichever the caller may know.
        positive_from: the lowest rating that counts as positive; None: 4, or 1 where ratings are thumbs (-1 and 1).

    Returns:
        Rows of tenant_id, chatbot_id, chatbot_name, is_published; the numbers of conversations, messages, people and
        ratings; mean_rating and positive_share (0 to 1), None without ratings; last_used_at, None if it never was.
    """
    function = func.public.chatbot_usage(literal(tenant, Uuid), literal(positive_from, Integer))
    return function.table_valued(*CHATBOT_USAGE, name="usage")


def popular_chatbots(tenant: UUID | None = None, best: int = 10) -> TableValuedAlias:
    """The chatbots with the most conversations, by tenant. Guide: "Popular chatbots by tenant".

    Args:
        tenant: as for `chatbot_usage`.
        best: the last place that is told; equals share a place.

    Returns:
        Rows of tenant_id, place (from 1), chatbot_id, chatbot_name, conversations.
    """
    function = func.public.popular_chatbots(literal(tenant, Uuid), literal(best, Integer))
    return function.table_valued(*POPULAR_CHATBOTS, name="popular")


def tenant_admins(tenant: UUID | None = None) -> TableValuedAlias:
    """How many admins each tenant has. Guide: "Admin users by tenant".

    Args:
        tenant: as for `chatbot_usage`.

    Returns:
        Rows of tenant_id, tenant_name, and the numbers admins and active_admins, also where they are 0.
    """
    return func.public.tenant_admins(literal(tenant, Uuid)).table_valued(*TENANT_ADMINS, name="admins")


def unpublished_chatbots(tenant: UUID | None = None) -> TableValuedAlias:
    """Chatbots that are not published, newest change first. Guide: "Unpublished chatbots (work in progress)".

    Args:
        tenant: as for `chatbot_usage`.

    Returns:
        Rows of tenant_id, chatbot_id, chatbot_name, created_at, updated_at.
    """
    return func.public.unpublished_chatbots(literal(tenant, Uuid)).table_valued(*UNPUBLISHED_CHATBOTS, name="drafts")

"""How chatbots are used, as an operator asks: of one tenant or of all. Guide: "Chatbot Usage"."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Tenant, chatbot_usage
from app.sight import require_every_row
from app.tenants import find_tenant

COUNTED = ["chatbots", "conversations", "feedback", "messages", "tenants", "users"]


@dataclass(frozen=True)
class ChatbotUsage:
    """One chatbot's figures.

    Args:
        people: how many had its conversations.
        mean_rating: of all ratings of its messages; None: there are none. Of thumbs, -1 to 1.
        positive_share: of the ratings, 0 to 1; None as above.
        last_used_at: its last conversation's beginning, or message; None: never.
    """

    tenant_id: UUID
    tenant_name: str
    chatbot_id: UUID
    chatbot_name: str
    is_published: bool
    conversations: int
    messages: int
    people: int
    ratings: int
    mean_rating: float | None
    positive_share: float | None
    last_used_at: datetime | None


def usage(session: Session, tenant: str | None = None, positive_from: int | None = None) -> list[ChatbotUsage]:
    """The usage of a tenant's chatbots, or of all, the most used first.

    Args:
        session: of the owner of the tables, or of a role with BYPASSRLS that may read them.
        tenant: its id or name.
        positive_from: the lowest rating that counts as positive; None: 4, or 1 where ratings are thumbs (-1 and 1).

    Raises:
        SetupError: there is no such tenant, or row security hides rows from this role.
    """
    require_every_row(session.connection(), COUNTED)
    its = chatbot_usage(find_tenant(session, tenant).id if tenant is not None else None, positive_from)
    query = select(its, func.coalesce(Tenant.name, "").label("tenant_name")).join(Tenant, Tenant.id == its.c.tenant_id)
    order = (its.c.conversations.desc(), Tenant.name, its.c.chatbot_name, its.c.chatbot_id)
    return [ChatbotUsage(**row) for row in session.execute(query.order_by(*order)).mappings()]

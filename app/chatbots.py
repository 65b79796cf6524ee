"""Which chatbots somebody sees, by category and tags. Guide: "Chatbot Categories/Tags"."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import asking
from app.identity import act_as_anonymous, assume
from app.models import Chatbot, Tenant
from app.person import find
from app.sight import require_every_row
from app.tenants import find_tenant

ANONYMOUS = "anonymous"  # instead of an address: a visitor without a token


@dataclass(frozen=True)
class Listed:
    """One chatbot, by what anybody may see of it.

    Args:
        tenant: its name.
        category: None: it has none.
    """

    tenant_id: UUID
    tenant: str
    id: UUID
    name: str
    category: str | None
    tags: list[str]
    model: str
    is_published: bool


def chatbots(
    session: Session,
    tenant: str | None = None,
    category: str | None = None,
    tags: Collection[str] = (),
    *,
    any_tag: bool = False,
    who: str | None = None,
) -> list[Listed]:
    """The chatbots that somebody sees, by tenant and name.

    Args:
        session: of the owner of the tables, or of a role with BYPASSRLS that may read them.
        tenant: its id or name; None: any.
        category: in its spelling; None: any, or none.
        tags: in their spelling; the chatbot has all of them.
        any_tag: whether one of them is enough.
        who: a user's address or id, or "anonymous"; None: the session's own role, which sees all.

    Raises:
        SetupError: there is no such tenant or user, row security hides rows from this role, or it may not become them.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    its = (Chatbot.tenant_id, Chatbot.id, Chatbot.name, Chatbot.category, Chatbot.tags, Chatbot.model)
    query = select(*its, Chatbot.is_published)
    if tenant is not None:
        query = query.where(Chatbot.tenant_id == find_tenant(session, tenant).id)
    if category is not None:
        query = query.where(Chatbot.category == category)
    if tags:
        query = query.where(Chatbot.with_any_tag(*tags) if any_tag else Chatbot.with_all_tags(*tags))
    with Session(session.get_bind()) as theirs:
        if who == ANONYMOUS:
            asking.require_becoming(session.connection(), asking.ANONYMOUS)
            act_as_anonymous(theirs)
        elif who is not None:
            assume(theirs, find(session.connection(), who).identity)
        seen = theirs.execute(query).mappings().all()
    homes = select(Tenant.id, Tenant.name).where(Tenant.id.in_({row["tenant_id"] for row in seen}))
    names = {row.id: row.name or "" for row in session.execute(homes)}
    found = [Listed(tenant=names.get(row["tenant_id"], ""), **row) for row in seen]
    return sorted(found, key=lambda each: (each.tenant, str(each.tenant_id), each.name, str(each.id)))

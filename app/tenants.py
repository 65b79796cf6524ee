"""Find a tenant by the id or name that an operator gives."""

from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Chatbot, Tenant
from app.sight import require_every_row

SHOWN = 10  # matches that an error lists


def named(model: type[Tenant] | type[Chatbot], id_or_name: str) -> ColumnElement[bool]:
    """Return the condition that a row has this id or this name. A name may look like an id."""
    try:
        return or_(model.id == UUID(id_or_name), model.name == id_or_name)
    except ValueError:
        return model.name == id_or_name


def find_tenant(session: Session, id_or_name: str) -> Tenant:
    """Return the tenant with this id or name.

    Raises:
        SetupError: No tenant has it, or several have the name. Row security filters the session's role.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    found = session.scalars(select(Tenant).where(named(Tenant, id_or_name)).order_by(Tenant.id).limit(SHOWN)).all()
    if not found:
        raise SetupError(f"There is no tenant {id_or_name!r}: give the id or the exact name of one.")
    if len(found) > 1:
        ids = ", ".join(str(each.id) for each in found)
        raise SetupError(f"Several tenants are named {id_or_name!r}: give the id of one, such as {ids}.")
    return found[0]

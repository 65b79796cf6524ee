"""Finding a tenant as a person names it."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Tenant
from app.sight import require_every_row


def find_tenant(session: Session, id_or_name: str) -> Tenant:
    """The tenant with this id, or with this name.

    Raises:
        SetupError: there is none, several have the name, or the session's role does not see everybody's rows.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    try:
        matches = Tenant.id == UUID(id_or_name)
    except ValueError:
        matches = Tenant.name == id_or_name
    found = session.scalars(select(Tenant).where(matches).limit(2)).all()
    if not found:
        raise SetupError(f"There is no tenant {id_or_name!r}: give the id or the exact name of one.")
    if len(found) > 1:
        raise SetupError(f"Several tenants are named {id_or_name!r}: give the id of one.")
    return found[0]

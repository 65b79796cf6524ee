"""Finding a tenant as a person names it, with a role that sees them all."""

from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Tenant

HIDDEN = text("""
    SELECT string_agg(name, ', ') FROM unnest(ARRAY['tenants', 'users', 'chatbots']) AS name
    WHERE row_security_active('public.' || name)
""")


def require_sight_of_everybody(session: Session) -> None:
    """See that row security hides no tenant and no person from the session's role.

    Raises:
        SetupError: it does; what is hidden would be taken for missing.
    """
    hidden = session.scalar(HIDDEN)
    if hidden:
        raise SetupError(
            f"Row security hides rows of {hidden} from {session.scalar(text('SELECT current_user'))}: connect"
            " (DATABASE_URL) as the role that owns them, or as one with BYPASSRLS."
        )


def find_tenant(session: Session, id_or_name: str) -> Tenant:
    """The tenant with this id, or with this name.

    Raises:
        SetupError: there is none, or several have the name.
    """
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

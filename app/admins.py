"""Who is an admin: the guide's "Assign Admin Roles"."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Chatbot, Tenant, User
from app.models.user import Role
from app.sight import require_every_row
from app.tenants import find_tenant


@dataclass(frozen=True)
class Changed:
    """What came of granting or revoking.

    Args:
        tenant: whose people they are.
        changed: those whose role is another now.
        unchanged: those who had it already.
    """

    tenant: Tenant
    changed: list[User]
    unchanged: list[User]


def grant(session: Session, tenant: str, emails: Sequence[str]) -> Changed:
    """Make people admins of their tenant.

    Args:
        session: of the owner of users, or of a role with BYPASSRLS; the caller commits.
        tenant: its id or name.
        emails: as they are written in users.

    Raises:
        SetupError: the tenant or a person is not there; nobody's role was changed.
    """
    return set_role(session, tenant, emails, "admin")


def revoke(session: Session, tenant: str, emails: Sequence[str], *, leave_none: bool = False) -> Changed:
    """Make admins plain users.

    Args:
        session: as for `grant`.
        tenant: as for `grant`.
        emails: as for `grant`.
        leave_none: whether a tenant that has chatbots may be left without an active admin.

    Raises:
        SetupError: as for `grant`, or it would leave such a tenant without one; nobody's role was changed.
    """
    return set_role(session, tenant, emails, "user", keep_one=not leave_none)


def set_role(session: Session, tenant: str, emails: Sequence[str], role: Role, *, keep_one: bool = False) -> Changed:
    """Give people of a tenant a role, all of them or none."""
    home = find_tenant(session, tenant)
    # The tenant's admins, too, in the same order for everybody: of two who each revoke another, the second waits, and
    # then sees whom the first has left.
    concerned = select(User).where(User.tenant_id == home.id, (User.role == "admin") | User.email.in_(emails))
    people = session.scalars(concerned.order_by(User.id).with_for_update(key_share=True)).all()
    named = [person for person in people if person.email in emails]
    missing = [email for email in dict.fromkeys(emails) if email not in {person.email for person in named}]
    if missing:
        raise SetupError(
            f"{home.name} has nobody with the address {', '.join(missing)}: give addresses as they are written in"
            " users. Nobody's role was changed."
        )
    changed = [person for person in named if person.role != role]
    if keep_one and any(person.is_active for person in changed):
        others = [person for person in people if person.role == "admin" and person not in changed]
        has_chatbots = session.scalar(select(exists().where(Chatbot.tenant_id == home.id)))
        if has_chatbots and not any(person.is_active for person in others):
            raise SetupError(
                f"{home.name} has chatbots and would be left without an active admin to manage them: grant the role to"
                " somebody first, or add --leave-none. Nobody's role was changed."
            )
    for person in changed:
        person.role = role
    session.flush()
    return Changed(home, changed, [person for person in named if person not in changed])


@dataclass(frozen=True)
class Admins:
    """A tenant's admins, and what they are to manage."""

    tenant: Tenant
    chatbots: int
    admins: list[User]


def admins(session: Session, tenant: str | None = None) -> list[Admins]:
    """The admins of a tenant, or of each tenant that has admins or chatbots, in order of the names.

    Raises:
        SetupError: there is no such tenant, or row security hides people from this role.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    chatbots = select(func.count()).where(Chatbot.tenant_id == Tenant.id).scalar_subquery()
    query = select(Tenant, chatbots, User).outerjoin(User, (User.tenant_id == Tenant.id) & (User.role == "admin"))
    if tenant is not None:
        query = query.where(Tenant.id == find_tenant(session, tenant).id)
    else:
        query = query.where(User.id.is_not(None) | exists().where(Chatbot.tenant_id == Tenant.id))
    found: dict[object, Admins] = {}
    for home, count, person in session.execute(query.order_by(Tenant.name, Tenant.id, User.email)):
        its = found.setdefault(home.id, Admins(home, count, []))
        if person is not None:
            its.admins.append(person)
    return list(found.values())

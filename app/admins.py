"""List, grant and revoke the role of chatbot admins. Guide: "Assign Admin Roles"."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg.errors import DataError, IntegrityError
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Label,
    TableClause,
    Text,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Chatbot, Tenant
from app.person import identity_column, users_with
from app.sight import require_every_row
from app.tenants import find_tenant

DEFAULT = text("""
    SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = 'public.users'::regclass AND attname = 'role'
""")
# These parameters have no type of their own, so the server reads them in the column's: an enum refuses a varchar.
MAKES_ADMIN = text("SELECT chatbot_private.is_admin_role(:role)")
WRITE = text("UPDATE public.users SET role = :role WHERE id = ANY (:ids)")
UNCHANGED = "Nobody's role was changed."


@dataclass(frozen=True)
class Member:
    """A person of a tenant.

    Args:
        sub: The `sub` of the person's token; None: the person has not signed in yet.
        is_active: False where users.is_active is NULL.
        is_admin: Whether the role makes a chatbot admin, as row security compares it.
    """

    id: UUID
    sub: UUID | None
    email: str | None
    role: str | None
    is_active: bool
    is_admin: bool

    def is_named(self, given: str) -> bool:
        """Whether an operator names this person: by the address, by users.id, or by the token's sub."""
        return given == self.email or as_uuid(given) in {self.id, self.sub} - {None}


@dataclass(frozen=True)
class Roles:
    """The values of users.role that matter here.

    Args:
        admin: Those that make a chatbot admin, the first of which is the one to grant.
        default: The column's default; None: it has none, or NULL.
        default_is_admin: Whether the default makes a chatbot admin.
    """

    admin: list[str]
    default: str | None
    default_is_admin: bool


@dataclass(frozen=True)
class Changed:
    """The result of granting or revoking.

    Args:
        tenant: The tenant of these people.
        changed: Those whose role was written.
        unchanged: Those who had such a role already.
    """

    tenant: Tenant
    changed: list[Member]
    unchanged: list[Member]


def grant(session: Session, tenant: str, people: Sequence[str], role: str | None = None) -> Changed:
    """Make people admins of their tenant.

    Args:
        session: A session of the owner of users, or of a superuser. The caller commits.
        tenant: Id or name of the tenant.
        people: Addresses as they are written in users, ids of users, or subs of tokens.
        role: The admin role to write, whatever it replaces. Default: the first admin role, which replaces only NULL
            and the column's default.

    Raises:
        SetupError: The tenant or a person is not there, or the role would replace another role. Nothing was changed.
    """
    home, locked = lock(session, tenant, people)
    named = those_named(home, locked, people)
    roles = roles_of(session)
    if role is None:
        unchanged = [person for person in named if person.is_admin]
        others = [person for person in named if not person.is_admin and person.role not in {None, roles.default}]
        if others:
            they = ", ".join(f"{person.email or person.id} ({person.role})" for person in others)
            ways = " or ".join(f"--role {value}" for value in roles.admin)
            raise SetupError(f"Another role would be lost: {they}. To replace it, add {ways}. {UNCHANGED}")
    elif role in roles.admin:
        unchanged = [person for person in named if person.role == role]
    else:
        raise SetupError(f"The role {role!r} makes no admin: give {' or '.join(roles.admin)}. {UNCHANGED}")
    changed = [person for person in named if person not in unchanged]
    written = role or roles.admin[0]
    write(session, changed, written)
    return Changed(home, [replace(person, role=written, is_admin=True) for person in changed], unchanged)


def revoke(
    session: Session, tenant: str, people: Sequence[str], role: str | None = None, *, leave_none: bool = False
) -> Changed:
    """Take the admin role from people. A person with any other role keeps it.

    Args:
        session: As for `grant`.
        tenant: As for `grant`.
        people: As for `grant`.
        role: The role to write, which makes no admin. Default: the column's default.
        leave_none: Whether a tenant that has chatbots may be left without an active admin.

    Raises:
        SetupError: As for `grant`. The column has no default that could be written. The tenant would be left without
            an active admin. Nothing was changed.
    """
    home, locked = lock(session, tenant, people)
    named = those_named(home, locked, people)
    if role is not None and makes_admin(session, role):
        raise SetupError(f"The role {role!r} makes an admin: give another with --role. {UNCHANGED}")
    changed = [person for person in named if person.is_admin]
    unchanged = [person for person in named if not person.is_admin]
    if not leave_none and any(person.is_active for person in changed):
        remain = [person for person in locked if person.is_admin and person.is_active and person not in changed]
        if not remain and session.scalar(select(exists().where(Chatbot.tenant_id == home.id))):
            raise SetupError(
                f"{called(home)} has chatbots and would be left without an active admin to manage them: grant the role"
                f" to somebody first, or add --leave-none. {UNCHANGED}"
            )
    roles = roles_of(session)
    written = role if role is not None or roles.default_is_admin else roles.default
    if changed and written is None:
        why = f"is {roles.default!r}, which makes an admin" if roles.default_is_admin else "is missing or NULL"
        raise SetupError(f"The default of users.role {why}: add --role with the role to write. {UNCHANGED}")
    write(session, changed, written)
    return Changed(home, [replace(person, role=written, is_admin=False) for person in changed], unchanged)


def lock(session: Session, tenant: str, people: Sequence[str]) -> tuple[Tenant, list[Member]]:
    """Lock the named people of a tenant, and all of its admins.

    Every session locks rows in the same order. If two admins revoke each other at once, the second session waits, and
    then sees which admins the first session has left.
    """
    home = find_tenant(session, tenant)
    users, columns = members(session)
    ids = [given for each in people if (given := as_uuid(each)) is not None]
    concerned = or_(
        columns["is_admin"].element,
        cast(users.c.email, Text).in_(people),
        users.c.id.in_(ids),
        columns["sub"].element.in_(ids),
    )
    query = select(*columns.values()).where(users.c.tenant_id == home.id, concerned).order_by(users.c.id)
    return home, [Member(**row) for row in session.execute(query.with_for_update(key_share=True)).mappings()]


def those_named(home: Tenant, found: Sequence[Member], people: Sequence[str]) -> list[Member]:
    """Return the people whom an operator names.

    Raises:
        SetupError: Somebody is not among those that were found.
    """
    missing = [each for each in dict.fromkeys(people) if not any(person.is_named(each) for person in found)]
    if missing:
        raise SetupError(
            f"{called(home)} has nobody with the address {', '.join(missing)}: give addresses as they are written in"
            f" users, or ids. {UNCHANGED}"
        )
    return [person for person in found if any(person.is_named(each) for each in people)]


def write(session: Session, people: Sequence[Member], role: str | None) -> None:
    """Write a role.

    Raises:
        SetupError: The column does not take it.
    """
    if people:
        with refusal_as_sentence(session, role):
            session.execute(WRITE, {"role": role, "ids": [person.id for person in people]})
        session.expire_all()


def makes_admin(session: Session, role: str) -> bool:
    """Whether a role makes a chatbot admin.

    Raises:
        SetupError: The column does not take it.
    """
    with refusal_as_sentence(session, role):
        return bool(session.scalar(MAKES_ADMIN, {"role": role}))


@contextmanager
def refusal_as_sentence(session: Session, role: str | None) -> Iterator[None]:
    """Turn the errors of a value that users.role does not take into `SetupError`; the transaction goes on."""
    try:
        with session.begin_nested():
            yield
    except DBAPIError as error:
        if not isinstance(error.orig, DataError | IntegrityError):
            raise
        reason = error.orig.diag.message_primary
        raise SetupError(f"users.role does not take {role!r} ({reason}): give another role. {UNCHANGED}") from error


def roles_of(session: Session) -> Roles:
    """Return the platform's roles."""
    admin = session.scalar(text("SELECT chatbot_private.admin_roles()")) or []
    default = session.scalar(DEFAULT)
    if default is None:
        return Roles(admin, None, False)
    value: ColumnElement[Any] = literal_column(f"({default})")
    written, is_admin = session.execute(select(cast(value, Text), is_admin_role(value))).one()
    return Roles(admin, written, is_admin)


def is_admin_role(role: Any) -> Any:
    """Return the condition that a role makes a chatbot admin, as row security compares it."""
    return func.chatbot_private.is_admin_role(role, type_=Boolean)


def members(session: Session) -> tuple[TableClause, dict[str, Label[Any]]]:
    """Return the table users, and the columns of `Member` by name."""
    identity = identity_column(session.connection())
    users = users_with(identity)
    columns = (
        *(users.c.id.label("id"), users.c[identity].label("sub"), cast(users.c.email, Text).label("email")),
        *(cast(users.c.role, Text).label("role"), users.c.is_active.is_(True).label("is_active")),
        is_admin_role(users.c.role).label("is_admin"),
    )
    return users, {column.name: column for column in columns}


def as_uuid(given: str) -> UUID | None:
    """Return the UUID that a text is; None if it is no UUID."""
    try:
        return UUID(given)
    except ValueError:
        return None


def called(tenant: Tenant) -> str:
    """Return a tenant's name, or the id of one without a name."""
    return tenant.name or str(tenant.id)


@dataclass(frozen=True)
class Admins:
    """A tenant's admins, and the number of its chatbots."""

    tenant: Tenant
    chatbots: int
    admins: list[Member]


def admins(session: Session, tenant: str | None = None) -> list[Admins]:
    """Return the admins of a tenant, or of each tenant that has admins or chatbots, by the tenants' names.

    Raises:
        SetupError: There is no such tenant, or row security filters the session's role.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    users, columns = members(session)
    chatbots = select(func.count()).where(Chatbot.tenant_id == Tenant.id).scalar_subquery()
    theirs = (users.c.tenant_id == Tenant.id) & columns["is_admin"].element
    query = select(Tenant, chatbots, *columns.values()).join_from(Tenant, users, theirs, isouter=True)
    if tenant is not None:
        query = query.where(Tenant.id == find_tenant(session, tenant).id)
    else:
        query = query.where(users.c.id.is_not(None) | exists().where(Chatbot.tenant_id == Tenant.id))
    found: dict[UUID, Admins] = {}
    for home, count, *values in session.execute(query.order_by(Tenant.name, Tenant.id, columns["email"], users.c.id)):
        its = found.setdefault(home.id, Admins(home, count, []))
        if values[0] is not None:
            its.admins.append(Member(*values))
    return list(found.values())

"""Add the guide's sample chatbots ("Seed Test Data") to a demo tenant with people, or to a tenant that exists."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid5

from psycopg.errors import DataError, IntegrityError, ObjectNotInPrerequisiteState
from sqlalchemy import ColumnElement, Row, Text, cast, exists, func, literal, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from app.errors import SetupError
from app.models import Base, Chatbot, Tenant, User
from app.person import identity_column, users_with
from app.sight import require_every_row
from app.tenants import find_tenant

# Ids are computed from what a row is, so a second run finds the row under any new name.
NAMESPACE = UUID("6f1c2a0e-3d5b-4c87-9a41-0d8e7b52f9c6")
DEMO_TENANT = uuid5(NAMESPACE, "demo")
DEMO_PEOPLE = {  # address: name, whether an admin
    "admin@demo.example": ("Ada Admin", True),
    "max@demo.example": ("Max Member", False),
    "mia@demo.example": ("Mia Member", False),
}
DEMO_IDS = {email: uuid5(DEMO_TENANT, email) for email in DEMO_PEOPLE}
VERBATIM = {"no_parameters": True}  # the text of a block contains %
LISTED = 10  # people of the tenant that `people` returns


@dataclass(frozen=True)
class Seeded:
    """What seeding found and added.

    Args:
        no_people: Why no people were added to the demo tenant; empty where people may be added.
    """

    tenant: Tenant
    added_people: int
    added_chatbots: int
    no_people: str = ""


def seed(session: Session, tenant: str | None = None) -> Seeded:
    """Add the missing ones of the six sample chatbots to a tenant. Existing rows stay as they are.

    Args:
        session: A session of the tables' owner or a superuser. The caller commits.
        tenant: Id or name of an existing tenant. Default: the demo tenant, which is created if missing, with one admin
            and two members. No people are made up where another table has them first, such as Supabase's auth.users.

    Raises:
        SetupError: There is no such tenant, or several have the name. Row security filters the session's role. The
            platform refuses the rows, or only the platform knows the values of further columns.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    home = DEMO_TENANT if tenant is None else find_tenant(session, tenant).id
    demo_people = select(func.count()).select_from(User).where(User.id.in_(DEMO_IDS.values()))
    before = session.scalar(demo_people) or 0
    added = Counter[str]()
    try:
        session.connection().exec_driver_sql(preparation(demo=tenant is None), execution_options=VERBATIM)
        for statement in additions(home):
            added.update("chatbot" for _ in session.execute(statement.returning(text("1"))))
    except DBAPIError as error:
        raise refused(error, demo=tenant is None) from error
    no_people = session.scalar(text("SELECT current_setting('chatbots.no_people', true)")) if tenant is None else ""
    after = session.scalar(demo_people) or 0
    return Seeded(session.get_one(Tenant, home), after - before, added["chatbot"], no_people or "")


def refused(error: DBAPIError, *, demo: bool) -> Exception:
    """Return the error as a sentence for the operator, where the platform's own rules refuse the samples."""
    match error.orig:
        case ObjectNotInPrerequisiteState(diag=diag) if diag.message_primary:
            return SetupError(diag.message_primary)
        case IntegrityError(diag=diag) | DataError(diag=diag):
            way_out = ", or name a tenant of yours with --tenant" if demo else ""
            return SetupError(f"The platform refuses the samples ({diag.message_primary}): change its rule{way_out}.")
    return error


def statements() -> list[str]:
    """Return the same for the demo tenant as SQL text, one statement each."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    inserts = [
        str(
            statement.compile(
                dialect=dialect,
                schema_translate_map={None: "public"},
                render_schema_translate=True,
                compile_kwargs={"literal_binds": True},
            )
        )
        for statement in additions(DEMO_TENANT)
    ]
    return [preparation(demo=True), *inserts]


def preparation(*, demo: bool) -> str:
    """Return the block that checks the tables' columns and, for the demo, adds the tenant and its people.

    It decides in SQL what fits the platform, because the SQL files run on every platform.
    """
    people = (
        f"('{DEMO_IDS[email]}', '{uuid5(DEMO_IDS[email], 'sub')}', '{email}', '{name}', {is_admin})"
        for email, (name, is_admin) in DEMO_PEOPLE.items()
    )
    columns = {"id", "tenant_id", "created_by"}.union(*samples())
    return (
        files("app")
        .joinpath("demo.sql")
        .read_text("utf-8")
        .strip()
        .replace("{demo}", f"'{DEMO_TENANT}'" if demo else "NULL")
        .replace("{chatbot_columns}", f"{{{','.join(sorted(columns))}}}")
        .replace("{people}", ",\n        ".join(people))
    )


def additions(home: UUID) -> Iterator[Insert]:
    """Return the statements that insert the samples into a tenant."""
    creator = (
        select(User.id)
        .where(User.tenant_id == home, func.chatbot_private.is_admin_role(User.role), User.is_active)
        .order_by(User.created_at, User.id)
        .limit(1)
        .scalar_subquery()
    )
    for sample in samples():
        identity = {"id": uuid5(home, sample["name"]), "tenant_id": home, "created_by": creator}
        namesake = exists().where(Chatbot.tenant_id == home, Chatbot.name == sample["name"])
        yield addition(Chatbot, identity | sample, ~namesake)


def addition(model: type[Base], values: dict[str, Any], *conditions: ColumnElement[bool]) -> Insert:
    """Return the statement that inserts a row on conditions, unless one of its unique keys exists."""
    row = select(*(as_sql(value, model.__table__.columns[name].type).label(name) for name, value in values.items()))
    into = insert(model).from_select(list(values), row.where(*conditions), include_defaults=False)
    return into.on_conflict_do_nothing()


def as_sql(value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return a value as an expression that SQLAlchemy can also write out as text."""
    if isinstance(value, dict):  # SQLAlchemy binds a dict, but does not write it out
        return cast(literal(json.dumps(value)), kind)
    if isinstance(value, list):
        return postgresql.array(value, type_=Text)
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def samples() -> list[dict[str, Any]]:
    """Return the six sample chatbots as values of `Chatbot`'s columns."""
    document = tomllib.loads(files("app").joinpath("samples.toml").read_text("utf-8"))
    return [{**sample, "system_prompt": sample["system_prompt"].strip()} for sample in document["chatbots"]]


def people(session: Session, tenant: Tenant) -> list[Row[tuple[UUID, UUID | None, str | None, str | None]]]:
    """Return id, sub, address and role of the first people of a tenant, by role and address."""
    identity = identity_column(session.connection())
    users = users_with(identity)
    email, role = cast(users.c.email, Text).label("email"), cast(users.c.role, Text).label("role")
    query = select(users.c.id, users.c[identity].label("sub"), email, role).where(users.c.tenant_id == tenant.id)
    return list(session.execute(query.order_by(role, email, users.c.id).limit(LISTED)))

"""The guide's sample chatbots ("Seed Test Data"), and a demo tenant with people to try them as."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Boolean, ColumnElement, Text, cast, exists, literal, literal_column, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from app.models import Base, Chatbot, Tenant, User
from app.sight import require_every_row
from app.tenants import find_tenant

# Whether a person is made elsewhere first.
IDS_OF_USERS_ARE_FOREIGN: ColumnElement[bool] = literal_column(
    """EXISTS (
        SELECT FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND attname = 'id' AND attnum = ANY (conkey)
        WHERE conrelid = 'public.users'::regclass AND contype = 'f'
    )""",
    Boolean,
)

# Ids follow from what a row is, so that seeding again finds it, whatever it has been renamed to.
NAMESPACE = UUID("6f1c2a0e-3d5b-4c87-9a41-0d8e7b52f9c6")
DEMO_TENANT = uuid5(NAMESPACE, "demo")
DEMO_PEOPLE: dict[str, dict[str, Any]] = {
    "admin@demo.example": {"full_name": "Ada Admin", "role": "admin"},
    "max@demo.example": {"full_name": "Max Member", "role": "user"},
    "mia@demo.example": {"full_name": "Mia Member", "role": "user"},
}


@dataclass(frozen=True)
class Seeded:
    """What seeding found and added."""

    tenant: Tenant
    added_people: int
    added_chatbots: int


def seed(session: Session, tenant: str | None = None) -> Seeded:
    """Add what is missing of the six sample chatbots to a tenant; what is there is left as it is.

    Args:
        session: of a role that writes past row security; the caller commits.
        tenant: id or name of an existing tenant. Without it the demo tenant, made if missing, with one admin and two
            members; no people are invented where users' ids belong to another table, such as Supabase's auth.users.

    Raises:
        SetupError: there is no such tenant, its name is not unique, or row security hides rows from this role.
    """
    require_every_row(session.connection(), ["chatbots", "tenants", "users"])
    added = Counter[str]()
    home = DEMO_TENANT if tenant is None else find_tenant(session, tenant).id
    for statement in additions(home, demo=tenant is None):
        added[statement.table.name] += len(session.execute(statement.returning(text("1"))).all())
    return Seeded(session.get_one(Tenant, home), added["users"], added["chatbots"])


def statements() -> list[str]:
    """The same for the demo tenant as SQL text, one INSERT each."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return [
        str(
            statement.compile(
                dialect=dialect,
                schema_translate_map={None: "public"},
                render_schema_translate=True,
                compile_kwargs={"literal_binds": True},
            )
        )
        for statement in additions(DEMO_TENANT, demo=True)
    ]


def additions(home: UUID, *, demo: bool) -> Iterator[Insert]:
    """What inserts the samples into a tenant, and the tenant and its people if it is the demo."""
    if demo:
        yield addition(Tenant, {"id": home, "name": "Demo"})
        for email, person in DEMO_PEOPLE.items():
            identity = {"id": uuid5(home, email), "tenant_id": home, "email": email, "is_active": True}
            yield addition(User, identity | person, ~IDS_OF_USERS_ARE_FOREIGN)
    creator = (
        select(User.id)
        .where(User.tenant_id == home, User.role == "admin", User.is_active)
        .order_by(User.created_at, User.id)
        .limit(1)
        .scalar_subquery()
    )
    for sample in samples():
        identity = {"id": uuid5(home, sample["name"]), "tenant_id": home, "created_by": creator}
        namesake = exists().where(Chatbot.tenant_id == home, Chatbot.name == sample["name"])
        yield addition(Chatbot, identity | sample, ~namesake)


def addition(model: type[Base], values: dict[str, Any], *conditions: ColumnElement[bool]) -> Insert:
    """What inserts a row, on conditions, unless its key, or another unique key of it, is there."""
    row = select(*(as_sql(value, model.__table__.columns[name].type).label(name) for name, value in values.items()))
    into = insert(model).from_select(list(values), row.where(*conditions), include_defaults=False)
    return into.on_conflict_do_nothing()


def as_sql(value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """A value as an expression that can be written out, too."""
    if isinstance(value, dict):  # which SQLAlchemy binds, and does not write out
        return cast(literal(json.dumps(value)), kind)
    if isinstance(value, list):
        return postgresql.array(value, type_=Text)
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def samples() -> list[dict[str, Any]]:
    """The six sample chatbots, as values of `Chatbot`'s columns."""
    document = tomllib.loads(files("app").joinpath("samples.toml").read_text("utf-8"))
    return [{**sample, "system_prompt": sample["system_prompt"].strip()} for sample in document["chatbots"]]

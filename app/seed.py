"""The guide's sample chatbots ("Seed Test Data"), and a demo tenant with people to try them as."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import exists, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import SetupError
from app.models import Base, Chatbot, Tenant, User

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
        SetupError: there is no such tenant, or its name is not unique.
    """
    added_people = 0
    if tenant is None:
        add(session, Tenant, {"id": DEMO_TENANT, "name": "Demo"})
        home = session.get_one(Tenant, DEMO_TENANT)
        if not ids_of_users_are_foreign(session):
            added_people = sum(
                add(session, User, {"id": uuid5(home.id, email), "tenant_id": home.id, "email": email, **person})
                for email, person in DEMO_PEOPLE.items()
            )
    else:
        home = find_tenant(session, tenant)
    creator = session.scalar(
        select(User.id)
        .where(User.tenant_id == home.id, User.role == "admin", User.is_active)
        .order_by(User.created_at, User.id)
        .limit(1)
    )
    added_chatbots = 0
    for sample in samples():
        namesake = select(exists().where(Chatbot.tenant_id == home.id, Chatbot.name == sample["name"]))
        if not session.scalar(namesake):
            identity = {"id": uuid5(home.id, sample["name"]), "tenant_id": home.id, "created_by": creator}
            added_chatbots += add(session, Chatbot, identity | sample)
    return Seeded(home, added_people, added_chatbots)


def samples() -> list[dict[str, Any]]:
    """The six sample chatbots, as values of `Chatbot`'s columns."""
    document = tomllib.loads(files("app").joinpath("samples.toml").read_text("utf-8"))
    return [{**sample, "system_prompt": sample["system_prompt"].strip()} for sample in document["chatbots"]]


def add(session: Session, model: type[Base], values: dict[str, Any]) -> int:
    """Insert a row unless its key, or another unique key of it, is there; 1 if it was inserted, else 0."""
    statement = insert(model).values(values).on_conflict_do_nothing().returning(text("1"))
    return len(session.execute(statement).all())


def ids_of_users_are_foreign(session: Session) -> bool:
    """Whether users.id references another table, so that a person is made there."""
    return bool(
        session.scalar(
            text("""
                SELECT EXISTS (
                    SELECT FROM pg_constraint
                    JOIN pg_attribute ON attrelid = conrelid AND attname = 'id' AND attnum = ANY (conkey)
                    WHERE conrelid = 'public.users'::regclass AND contype = 'f'
                )
            """)
        )
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

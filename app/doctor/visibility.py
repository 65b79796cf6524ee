"""Explain why a person sees a chatbot, or does not."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.asking import ANONYMOUS, UnansweredError, ask, require_becoming
from app.errors import SetupError
from app.person import Person
from app.sight import require_every_row

CHATBOT = text("""
    SELECT chatbots.id, chatbots.name, tenant_id, tenants.name::text AS tenant, is_published
    FROM public.chatbots LEFT JOIN public.tenants ON tenants.id = tenant_id
    WHERE chatbots.id = :id
""")
IS_ADMIN = "SELECT EXISTS (SELECT FROM public.users WHERE id = '{}' AND chatbot_private.is_admin_role(role))"
UNPUBLISHED = "it is not published{}. Set is_published, as the admins of its tenant can."


@dataclass(frozen=True)
class Visibility:
    """Whether a person sees a chatbot, and why.

    Args:
        chatbot: its id.
        exists: whether there is one of that id.
        seen: by a real SELECT of theirs; None: unknown.
        as_it_should_be: whether that is what this package's rules say; None: unknown.
        why: in a sentence, with the remedy.
    """

    chatbot: UUID
    exists: bool
    seen: bool | None
    as_it_should_be: bool | None
    why: str


def chatbot_id(given: str) -> UUID:
    """Read a chatbot's id.

    Raises:
        SetupError: it is none.
    """
    try:
        return UUID(given)
    except ValueError:
        raise SetupError(f"{given!r} is no chatbot's id: give a UUID, as in chatbots.id.") from None


def visibility(connection: Connection, chatbot: UUID, person: Person | None) -> Visibility:
    """Find out whether and why a person sees a chatbot.

    Args:
        connection: in a read-only transaction, of a role that sees every chatbot.
        chatbot: its id.
        person: who looks; None: a visitor without a token.

    Raises:
        SetupError: the connection's role does not see every chatbot, or may not act as a visitor.
    """
    require_every_row(connection, ["chatbots", "tenants"])
    identity = person.identity if person else ANONYMOUS
    require_becoming(connection, identity)
    found = connection.execute(CHATBOT, {"id": chatbot}).one_or_none()
    if found is None:
        why = f"There is no chatbot {chatbot}: it was deleted, or is in another database."
        return Visibility(chatbot, False, False, True, why)
    its_tenant = f"tenant {found.tenant} ({found.tenant_id})"
    is_admin = person is not None and has_admin_role(connection, person)
    should, why = judged(person, found.is_published, found.tenant_id, its_tenant, is_admin=is_admin)
    who = str(person.email or person.id) if person else "An anonymous visitor"
    question = f"SELECT EXISTS (SELECT FROM public.chatbots WHERE id = '{chatbot}')"
    refusal = ""
    try:
        seen: bool | None = ask(connection, question, identity)[0]
    except UnansweredError as reason:
        seen = False if reason.denied else None
        refusal = f" ({reason})"
    called = f"chatbot {found.name} of {its_tenant}"
    if seen is None:
        return Visibility(chatbot, True, None, None, f"Whether {who} sees {called} is unknown{refusal}.")
    does = f"{who} {'sees' if seen else 'does not see'} {called}"
    if seen == should:
        return Visibility(chatbot, True, seen, True, f"{does}: {why}")
    rules = f"by the rules they {'would' if should else 'would not'}, as {why}"
    return Visibility(chatbot, True, seen, False, f"{does}{refusal}, but {rules} Row security has drifted: see above.")


def has_admin_role(connection: Connection, person: Person) -> bool:
    """Whether a person's role makes a chatbot admin, as the database compares roles.

    Raises:
        SetupError: the connection's role may not ask.
    """
    try:
        return bool(ask(connection, IS_ADMIN.format(person.id))[0])
    except UnansweredError as reason:
        raise SetupError(
            f"Whether {person.email or person.id} is an admin is unknown ({reason}): connect (DATABASE_URL) as the"
            " owner of the tables."
        ) from reason


def judged(
    person: Person | None, is_published: bool, tenant_id: UUID, its_tenant: str, *, is_admin: bool
) -> tuple[bool, str]:
    """Return whether this package's rules let a person see a chatbot, and the reason with its remedy."""
    if person is None:
        without = "They see it without its prompt and parameters."
        return is_published, f"it is published. {without}" if is_published else UNPUBLISHED.format("")
    theirs = f"tenant {person.tenant} ({person.tenant_id})"
    if not person.is_active:
        return False, "they are not active, and see nothing. Set is_active of users, as the owner or service."
    if person.tenant_id != tenant_id:
        return False, f"it is of {its_tenant}, and they are of {theirs}. Nobody sees another tenant's chatbots."
    if is_admin:
        return True, f"they are an admin of its tenant. It is {'' if is_published else 'not '}published."
    if is_published:
        return True, "it is published, and of their tenant."
    return False, UNPUBLISHED.format(
        ", and they are no admin"
    ) + " Or make them an admin: `python -m app admins grant`."

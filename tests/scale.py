"""A platform of any size, whose tenants, people and chatbots are as uneven as real ones: a few large, many small."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from psycopg import Connection, sql

GUIDES = 10_000, 100_000  # chatbots and conversations of the guide's "Query Performance"
SHARE = 100  # chatbots of a tenant, in the mean
ADMINS = 50  # one of so many people is an admin
OWN = 0.9  # of the prompts are nobody else's, nor of the titles
USUAL = "Be helpful."
UNLINKED = 0.2  # of the conversations are from before chatbots
UNPUBLISHED = 0.25  # of the chatbots
BEGIN, YEAR = datetime(2025, 1, 1, tzinfo=UTC), timedelta(days=365)
CHUNK = 5_000  # rows that are sent at once
SUBJECTS = (
    *("Accounting", "Booking", "Claims", "Delivery", "Engineering", "Finance", "Hiring", "Insurance", "Legal", "Mail"),
    *("Nutrition", "Onboarding", "Payroll", "Quality", "Returns", "Sales", "Support", "Travel", "Warranty", "Writing"),
)
TAGGED = 0.9  # of the chatbots have tags, three of these in the mean; the first are the usual ones
TAGS = tuple(f"tag {n}" for n in range(200))
WORDS = (
    *("answer", "politely", "name", "your", "sources", "never", "guess", "ask", "when", "unsure"),
    *("keep", "it", "short", "offer", "help", "hand", "over", "to", "people", "in", "time"),
)


@dataclass(frozen=True)
class Tenant:
    """A tenant and who is in it; the first person is an admin, and talks the most."""

    id: UUID
    people: list[UUID]
    chatbots: list[UUID]  # the first is the most used one, and published

    @property
    def admin(self) -> UUID:
        return self.people[0]

    @property
    def member(self) -> UUID:
        return self.people[1]


@dataclass
class Scale:
    """How much there is, and whose; the same for the same numbers.

    Args:
        chatbots: in all; there are as many people.
        conversations: in all.
    """

    chatbots: int
    conversations: int
    tenants: list[Tenant] = field(init=False)  # the k-th has 1/k of what the first has
    chance: random.Random = field(default_factory=lambda: random.Random(8))

    def __post_init__(self) -> None:
        tenants = max(2, self.chatbots // SHARE)
        first = self.chatbots / sum(1 / k for k in range(1, tenants + 1))
        self.tenants = [self.tenant(max(2, round(first / k))) for k in range(1, tenants + 1)]

    def tenant(self, size: int) -> Tenant:
        return Tenant(self.key(), [self.key() for _ in range(size)], [self.key() for _ in range(size)])

    def key(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128), version=4)

    def nearest(self, chatbots: int) -> Tenant:
        """The tenant whose number of chatbots is nearest to this."""
        return min(self.tenants, key=lambda tenant: abs(len(tenant.chatbots) - chatbots))


def fill(connection: Connection, scale: Scale, advance: Callable[[int], object] = lambda _: None) -> None:
    """Fill a database at head, as a superuser in autocommit mode.

    Keys and guards are not asked, and indexes are built when the rows are there: both only for speed.

    Args:
        advance: told how many rows more there are, in chunks; in all 2 x chatbots + conversations.
    """
    tables = ("tenants", "users", "chatbots", "conversations")
    connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '1GB'")
    connection.execute("SET synchronous_commit = on")  # or VACUUM, at once after, leaves pages unmarked as all-visible
    indexes = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = ANY (%s::regclass[]) AND NOT indisprimary AND NOT indisreplident"
        " AND indexrelid NOT IN (SELECT conindid FROM pg_constraint) ORDER BY indexrelid",
        (list(tables),),
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}".encode())
    copy(connection, "tenants (id, name)", tenants(scale), lambda _: None)
    copy(connection, "users (id, tenant_id, email, full_name, role)", users(scale), advance)
    labelled = has_labels(connection)
    bots = "id, tenant_id, created_by, name, description, system_prompt, model, is_published, created_at"
    bots += ", category, tags" if labelled else ""
    copy(connection, f"chatbots ({bots})", chatbots(scale, labelled=labelled), advance)
    if labelled:
        connection.execute("""
            INSERT INTO chatbot_tags SELECT tenant_id, id, tag, name, is_published FROM chatbots, unnest(tags) AS tag
            ON CONFLICT DO NOTHING
        """)
    talks = "conversations (id, tenant_id, user_id, chatbot_id, title, created_at)"
    copy(connection, talks, conversations(scale), advance)
    for _, definition in indexes:
        connection.execute(definition.encode())
    connection.execute("VACUUM (ANALYZE)")


def has_labels(connection: Connection) -> bool:
    """Whether the database is at a revision that has categories and tags."""
    return connection.execute("SELECT to_regclass('public.chatbot_tags')").fetchone() != (None,)


def copy(connection: Connection, into: str, lines: Iterable[str], advance: Callable[[int], object]) -> None:
    """COPY lines of tab-separated values."""
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.SQL(into))) as stream:
        rows = iter(lines)
        while chunk := list(islice(rows, CHUNK)):
            stream.write("".join(chunk))
            advance(len(chunk))


def tenants(scale: Scale) -> Iterator[str]:
    for n, tenant in enumerate(scale.tenants):
        yield f"{tenant.id}\tTenant {n}\n"


def users(scale: Scale) -> Iterator[str]:
    everybody = [(tenant, n) for tenant in scale.tenants for n in range(len(tenant.people))]
    scale.chance.shuffle(everybody)
    for tenant, n in everybody:
        role = "user" if n % ADMINS else "admin"
        yield f"{tenant.people[n]}\t{tenant.id}\tperson{n}@example.com\tPerson {n}\t{role}\n"


def chatbots(scale: Scale, *, labelled: bool) -> Iterator[str]:
    chance, taste = scale.chance, random.Random(14)
    everything = [(tenant, n) for tenant in scale.tenants for n in range(len(tenant.chatbots))]
    chance.shuffle(everything)
    for made, (tenant, n) in enumerate(everything):
        creator = tenant.people[chance.randrange(0, len(tenant.people), ADMINS)]
        prompt = " ".join(chance.choices(WORDS, k=chance.randint(50, 150))) if chance.random() < OWN else USUAL
        published = n == 0 or chance.random() >= UNPUBLISHED
        name, at = f"{chance.choice(SUBJECTS)} {n}", BEGIN + YEAR * (made / len(everything))
        yield (
            f"{tenant.chatbots[n]}\t{tenant.id}\t{creator}\t{name}\tWhat it is good for\t{prompt}"
            f"\ta-model\t{published}\t{at}{labels(taste, n) if labelled else ''}\n"
        )


def labels(taste: random.Random, n: int) -> str:
    """Category and tags of a tenant's n-th chatbot; its first has the two most usual tags."""
    some = {TAGS[int(len(TAGS) * taste.random() ** 2)] for _ in range(taste.randint(1, 5))}
    tags = set(TAGS[:2]) | some if n == 0 else some if taste.random() < TAGGED else set()
    return f"\t{SUBJECTS[int(len(SUBJECTS) * taste.random() ** 2)]}\t{{{','.join(sorted(tags))}}}"


def conversations(scale: Scale) -> Iterator[str]:
    chance = scale.chance
    weights = [len(tenant.people) for tenant in scale.tenants]
    made = 0
    while made < scale.conversations:
        for tenant in chance.choices(scale.tenants, weights, k=min(CHUNK, scale.conversations - made)):
            person = tenant.people[int(len(tenant.people) * chance.random() ** 2)]
            chatbot = tenant.chatbots[int(len(tenant.chatbots) * chance.random() ** 3)]
            link = r"\N" if chance.random() < UNLINKED else chatbot
            title = f"Talk {made}" if chance.random() < OWN else USUAL
            at = BEGIN + YEAR * (made / scale.conversations)
            yield f"{scale.key()}\t{tenant.id}\t{person}\t{link}\t{title}\t{at}\n"
            made += 1

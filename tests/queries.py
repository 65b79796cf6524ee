"""The guide's queries, as people ask them and by hand past row security, and the index that each should use."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from tests.people import ANONYMOUS, SERVICE, Who, person
from tests.scale import SUBJECTS, TAGS, Tenant

ADMIN, MEMBER, VISITOR, SERVANT = "admin", "member", "anonymous", "service"

# In collation "C" a range of names is a prefix. U+10FFFF comes after every character that a name begins with.
PREFIX, BEYOND = "Sup", "Sup\U0010ffff"

TYPES = {
    "tenant": "uuid",
    "me": "uuid",
    "creator": "uuid",
    "chatbot": "uuid",
    "draft": "uuid",
    "prefix": "text",
    "beyond": "text",
    "limit": "bigint",
    "tag": "text",
    "other": "text",
    "category": "text",
}


@dataclass(frozen=True)
class Query:
    """A statement with `:parameters`, see `TYPES`.

    Args:
        sql: as the people of `of` send it; row security leaves them their rows.
        by_hand: as the tables' owner gets the same rows, or writes the same.
        index: finds the rows, in their order if they have one; None where the statement finds none.
        wide: reads columns that the index has not, of all rows of a tenant. Where random pages are said to be dear
            (random_page_cost 4), the planner then reads them as they lie, and sorts.
    """

    name: str
    of: tuple[str, ...]
    sql: str
    by_hand: str
    index: str | None
    wide: bool = False

    @property
    def is_listing(self) -> bool:
        return "ORDER BY" in self.sql

    @property
    def writes(self) -> bool:
        return not self.sql.startswith("SELECT")


PUBLISHED = "FROM chatbots WHERE is_published ORDER BY name"
PUBLISHED_BY_HAND = "FROM chatbots WHERE tenant_id = :tenant AND is_published ORDER BY name"
NEWEST = "ORDER BY created_at DESC LIMIT :limit"
NAMED = 'name COLLATE "C" >= :prefix AND name COLLATE "C" < :beyond'
BY_NAME = 'ORDER BY name COLLATE "C" LIMIT :limit'
NEW_TALK = "INSERT INTO conversations (tenant_id, user_id, chatbot_id, title) VALUES (:tenant, :me, :chatbot, 'New')"

QUERIES = (
    Query(
        "list published",
        (MEMBER, ADMIN),
        f"SELECT id, name {PUBLISHED}",
        f"SELECT id, name {PUBLISHED_BY_HAND}",
        "idx_chatbots_tenant_published",
    ),
    Query(
        "list published, described",
        (MEMBER, ADMIN),
        f"SELECT id, name, description, model {PUBLISHED}",
        f"SELECT id, name, description, model {PUBLISHED_BY_HAND}",
        "idx_chatbots_tenant_published",
        wide=True,
    ),
    Query(
        "get configuration",
        (MEMBER, ADMIN),
        "SELECT * FROM chatbots WHERE id = :chatbot",
        "SELECT * FROM chatbots WHERE tenant_id = :tenant AND id = :chatbot",
        "idx_chatbots_tenant_id",
    ),
    Query(
        "list conversations of a chatbot",
        (MEMBER, ADMIN),
        f"SELECT * FROM conversations WHERE chatbot_id = :chatbot {NEWEST}",
        f"SELECT * FROM conversations WHERE tenant_id = :tenant AND user_id = :me AND chatbot_id = :chatbot {NEWEST}",
        "idx_conversations_tenant_chatbot",
    ),
    Query(
        "list conversations",
        (MEMBER, ADMIN),
        f"SELECT * FROM conversations {NEWEST}",
        f"SELECT * FROM conversations WHERE tenant_id = :tenant AND user_id = :me {NEWEST}",
        "idx_conversations_user_id",
    ),
    Query(
        "check role",
        (MEMBER, ADMIN),
        "SELECT role FROM users WHERE id = :me",
        "SELECT role FROM users WHERE tenant_id = :tenant AND id = :me",
        "users_pkey",
    ),
    Query(
        "list people",
        (ADMIN,),
        "SELECT * FROM users ORDER BY email LIMIT :limit",
        "SELECT * FROM users WHERE tenant_id = :tenant ORDER BY email LIMIT :limit",
        "users_tenant_id_email_key",
    ),
    Query(
        "find admins",
        (ADMIN,),
        "SELECT * FROM users WHERE role = 'admin'",
        "SELECT * FROM users WHERE tenant_id = :tenant AND role = 'admin'",
        "idx_users_tenant_role",
    ),
    Query(
        "search by prefix",
        (ADMIN,),
        f"SELECT * FROM chatbots WHERE {NAMED} {BY_NAME}",
        f"SELECT * FROM chatbots WHERE tenant_id = :tenant AND {NAMED} {BY_NAME}",
        "idx_chatbots_name",
    ),
    Query(
        "search by prefix",
        (MEMBER,),
        f"SELECT * FROM chatbots WHERE {NAMED} {BY_NAME}",
        f"SELECT * FROM chatbots WHERE tenant_id = :tenant AND is_published AND {NAMED} {BY_NAME}",
        "idx_chatbots_name",
    ),
    Query(
        "list by creator",
        (ADMIN,),
        f"SELECT * FROM chatbots WHERE created_by = :creator {NEWEST}",
        f"SELECT * FROM chatbots WHERE tenant_id = :tenant AND created_by = :creator {NEWEST}",
        "idx_chatbots_created_by",
    ),
    Query(
        "list newest",
        (ADMIN,),
        f"SELECT * FROM chatbots {NEWEST}",
        f"SELECT * FROM chatbots WHERE tenant_id = :tenant {NEWEST}",
        "idx_chatbots_created_at",
    ),
    Query(
        "list newest",
        (MEMBER,),
        f"SELECT * FROM chatbots {NEWEST}",
        f"SELECT * FROM chatbots WHERE tenant_id = :tenant AND is_published {NEWEST}",
        "idx_chatbots_created_at",
    ),
    Query(
        "demo listing",
        (VISITOR,),
        f"SELECT * FROM published_chatbots {NEWEST}",
        f"SELECT * FROM published_chatbots {NEWEST}",
        "idx_chatbots_is_published",
    ),
    Query("begin a conversation", (MEMBER, ADMIN), NEW_TALK, NEW_TALK, None),
    Query(
        "change a chatbot",
        (ADMIN,),
        "UPDATE chatbots SET system_prompt = 'Be brief.' WHERE id = :draft",
        "UPDATE chatbots SET system_prompt = 'Be brief.' WHERE tenant_id = :tenant AND id = :draft",
        "idx_chatbots_tenant_id",
    ),
)

WITH_TAG = "SELECT chatbot_id, name FROM chatbot_tags WHERE {}tag = :tag ORDER BY name LIMIT :limit"
WITH_ALL = "SELECT chatbot_id FROM chatbot_tags WHERE {}tag IN (:tag, :other) GROUP BY chatbot_id HAVING count(*) = 2"
WITH_ANY = "SELECT DISTINCT chatbot_id FROM chatbot_tags WHERE {}tag IN (:tag, :other)"
OF_CATEGORY = "SELECT id, name FROM chatbots WHERE {}category = :category ORDER BY name LIMIT :limit"
OWN, OWN_PUBLISHED = "tenant_id = :tenant AND ", "tenant_id = :tenant AND is_published AND "

# By category and tags, beyond the guide.
LABELLED = tuple(
    Query(name, (who,), query.format(""), query.format(by_hand), index)
    for name, query, index in (
        ("list with a tag", WITH_TAG, "idx_chatbot_tags_tag"),
        ("find with all tags", WITH_ALL, "idx_chatbot_tags_tag"),
        ("find with any tag", WITH_ANY, "idx_chatbot_tags_tag"),
        ("list of a category", OF_CATEGORY, "idx_chatbots_category"),
    )
    for who, by_hand in ((MEMBER, OWN_PUBLISHED), (ADMIN, OWN))
)

# Past row security, over all tenants.
SERVICES = (
    Query(
        "list everybody's conversations of a chatbot",
        (SERVANT,),
        f"SELECT * FROM conversations WHERE chatbot_id = :chatbot {NEWEST}",
        f"SELECT * FROM conversations WHERE chatbot_id = :chatbot {NEWEST}",
        "idx_conversations_chatbot_id",
    ),
    Query(
        "find everybody's admins",
        (SERVANT,),
        "SELECT tenant_id FROM users WHERE role = 'admin'",
        "SELECT tenant_id FROM users WHERE role = 'admin'",
        "idx_users_role",
    ),
)


def asker(who: str, tenant: Tenant) -> Who:
    """Somebody of the tenant; a visitor and a service are of none."""
    people = {ADMIN: person(tenant.admin), MEMBER: person(tenant.member), VISITOR: ANONYMOUS, SERVANT: SERVICE}
    return people[who]


def values(who: str, tenant: Tenant, client: int = 0) -> dict[str, object]:
    """The parameters of every query; several clients at once change a chatbot each."""
    return {
        "tenant": tenant.id,
        "me": tenant.admin if who == ADMIN else tenant.member,
        "creator": tenant.admin,
        "chatbot": tenant.chatbots[0],
        "draft": tenant.chatbots[-1 - client],
        "prefix": PREFIX,
        "beyond": BEYOND,
        "limit": 20,
        "tag": TAGS[0],
        "other": TAGS[1],
        "category": SUBJECTS[0],
    }


def literally(statement: str, given: Mapping[str, object]) -> sql.Composable:
    """The statement with its values in the text."""
    parts = re.split(r":(\w+)", statement)
    return sql.Composed(
        sql.Literal(given[part]) if n % 2 else sql.SQL(part)  # type: ignore[arg-type]
        for n, part in enumerate(parts)
    )


def prepared(statement: str, given: Mapping[str, object]) -> tuple[str, sql.Composable]:
    """PREPARE, and EXECUTE with the values."""
    names = list(dict.fromkeys(re.findall(r":(\w+)", statement)))
    numbered = re.sub(r":(\w+)", lambda match: f"${names.index(match[1]) + 1}", statement)
    arguments = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, (given[name] for name in names))))
    types = f"({', '.join(TYPES[name] for name in names)})"
    return (
        f"PREPARE query {types if names else ''} AS {numbered}",
        sql.SQL("EXECUTE query {}").format(arguments if names else sql.SQL("")),
    )


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, as EXPLAIN writes them in JSON, from the top."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from plan_nodes(below)

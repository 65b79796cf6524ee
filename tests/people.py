"""Two tenants, their people and rows, for tests at any revision."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Json


def key(number: int) -> UUID:
    """A UUID that is easy to tell apart in a failure."""
    return UUID(int=number)


# On the guide's own platform, a person's token names users.auth_id instead of users.id: the id plus 2 ** 64. The two
# texts tell it apart, so that SQL can make the one of the other.
ID_PREFIX, SUB_PREFIX = "00000000-0000-0000-0000-", "00000000-0000-0001-0000-"


def sub_of(user_id: UUID) -> UUID:
    """The sub of a person's token on the guide's own platform."""
    return UUID(str(user_id).replace(ID_PREFIX, SUB_PREFIX))


ACME, GLOBEX = key(1), key(2)
ACME_ADMIN, ACME_MEMBER, ACME_COLLEAGUE, ACME_INACTIVE, ACME_INACTIVE_ADMIN = (key(0x10 + i) for i in range(5))
GLOBEX_ADMIN, GLOBEX_MEMBER = key(0x20), key(0x21)
EVERYBODY = (
    ACME_ADMIN,
    ACME_MEMBER,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_INACTIVE_ADMIN,
    GLOBEX_ADMIN,
    GLOBEX_MEMBER,
)
NOBODY, NEWCOMER = key(0x99), key(0x9A)
INVITED = key(0x22)  # a GLOBEX admin who has not signed in yet, where a test invites one

PUBLISHED, DRAFT = key(0x100), key(0x101)  # ACME's chatbots
GLOBEX_PUBLISHED, GLOBEX_DRAFT = key(0x200), key(0x201)

OWN_TALK, OWN_OLD_TALK, COLLEAGUES_TALK, GLOBEX_TALK, ADMINS_TALK, INACTIVES_TALK = (key(0x300 + i) for i in range(6))
OWN_QUESTION, OWN_ANSWER, COLLEAGUES_ANSWER, GLOBEX_ANSWER, OWN_OTHER_ANSWER = (key(0x400 + i) for i in range(5))
ADMINS_ANSWER, INACTIVES_QUESTION, INACTIVES_ANSWER = (key(0x410 + i) for i in range(3))
OWN_FEEDBACK, COLLEAGUES_FEEDBACK, GLOBEX_FEEDBACK, ADMINS_FEEDBACK, INACTIVES_FEEDBACK = (
    key(0x500 + i) for i in range(5)
)

BOT_MADE, ADMIN_MADE, GLOBEX_MADE, TENANTS_END = (key(0x600 + i) for i in range(4))  # of the audit log
ROLE_CHANGE = {"role": "user"}, {"role": "admin"}


@dataclass(frozen=True)
class Who:
    """A caller as the database sees one: the role, and the token's claims as text, if there is a token."""

    role: str | None  # None: the login role, a superuser
    claims: str | None = None


def person(user_id: object) -> Who:
    """Someone with a token."""
    return Who("authenticated", json.dumps({"role": "authenticated", "sub": str(user_id)}))


ANONYMOUS = Who("anon")
MEMBER, COLLEAGUE, ADMIN = person(ACME_MEMBER), person(ACME_COLLEAGUE), person(ACME_ADMIN)
INACTIVE, INACTIVE_ADMIN = person(ACME_INACTIVE), person(ACME_INACTIVE_ADMIN)
OTHER_MEMBER, OTHER_ADMIN = person(GLOBEX_MEMBER), person(GLOBEX_ADMIN)
STRANGER, MALFORMED, NO_SUB = person(NOBODY), person("1; DROP TABLE users"), Who("authenticated", "{}")
NO_TOKEN = Who("authenticated")
SERVICE, OWNER = Who("service_role"), Who(None)


DEFINED_ROLES: dict[str, str] = {}  # by name, as the tests define them


def missing_roles(*roles: str) -> str:
    """SQL that creates those of the roles (`name LOGIN IN ROLE ...`) that the cluster does not have yet.

    One name means one role in all tests, since those of one worker share a server.
    """
    for role in roles:
        name = role.partition(" ")[0]
        if DEFINED_ROLES.setdefault(name, role) != role:
            raise ValueError(f"two tests define role {name}: {DEFINED_ROLES[name]!r} and {role!r}")
    return f"""
        DO $$
        DECLARE
            role text;
        BEGIN
            FOREACH role IN ARRAY ARRAY[{", ".join(f"'{role}'" for role in roles)}] LOOP
                IF to_regrole(split_part(role, ' ', 1)) IS NULL THEN
                    EXECUTE 'CREATE ROLE ' || role;
                END IF;
            END LOOP;
        END
        $$
    """


HEIR = "heir_of_authenticated"  # has the rights of a client under a name of its own

# The README's login role; one as Supabase's, which may become a service as well.
LOGIN_ROLES = missing_roles(
    f"{HEIR} INHERIT IN ROLE authenticated",
    "application LOGIN NOINHERIT IN ROLE anon, authenticated",
    f"authenticator LOGIN NOINHERIT IN ROLE anon, authenticated, service_role, {HEIR}",
)


def populate(connection: Connection, first: str = "006", last: str = "015") -> None:
    """Insert the rows that each revision from `first` to `last` makes room for, into a database at `last`."""
    for revision, rows in (
        ("006", baseline_rows),
        ("007", chatbots),
        ("008", admins),
        ("009", links),
        ("010", notes),
        ("012", audit_log),
        ("014", labels),
    ):
        if first <= revision <= last:
            rows(connection, "notes" if last >= "010" else "comment")


def baseline_rows(connection: Connection, notes: str) -> None:
    insert(connection, "tenants", "id name", [(ACME, "Acme"), (GLOBEX, "Globex")])
    insert(
        connection,
        "users",
        "id tenant_id email full_name is_active",
        [
            (ACME_ADMIN, ACME, "admin@acme.example", "Ann Admin", True),
            (ACME_MEMBER, ACME, "member@acme.example", None, True),
            (ACME_COLLEAGUE, ACME, "colleague@acme.example", "Col League", True),
            (ACME_INACTIVE, ACME, "inactive@acme.example", "Ina Ctive", False),
            (ACME_INACTIVE_ADMIN, ACME, "former@acme.example", "For Mer", False),
            (GLOBEX_ADMIN, GLOBEX, "admin@globex.example", "Glo Bex", True),
            (GLOBEX_MEMBER, GLOBEX, "member@globex.example", "Glenda Bex", True),
        ],
    )
    insert(
        connection,
        "conversations",
        "id tenant_id user_id title",
        [
            (OWN_TALK, ACME, ACME_MEMBER, "Own"),
            (OWN_OLD_TALK, ACME, ACME_MEMBER, None),
            (COLLEAGUES_TALK, ACME, ACME_COLLEAGUE, "Colleague's"),
            (GLOBEX_TALK, GLOBEX, GLOBEX_MEMBER, "Globex's"),
            (ADMINS_TALK, ACME, ACME_ADMIN, "Admin's"),
            (INACTIVES_TALK, ACME, ACME_INACTIVE, "Inactive's"),
        ],
    )
    insert(
        connection,
        "messages",
        "id conversation_id role content",
        [
            (OWN_QUESTION, OWN_TALK, "user", "What is 6 x 7?"),
            (OWN_ANSWER, OWN_TALK, "assistant", "42"),
            (OWN_OTHER_ANSWER, OWN_OLD_TALK, "assistant", "Hello"),
            (COLLEAGUES_ANSWER, COLLEAGUES_TALK, "assistant", "Private"),
            (GLOBEX_ANSWER, GLOBEX_TALK, "assistant", "Secret"),
            (ADMINS_ANSWER, ADMINS_TALK, "assistant", "Welcome"),
            (INACTIVES_QUESTION, INACTIVES_TALK, "user", "Am I still here?"),
            (INACTIVES_ANSWER, INACTIVES_TALK, "assistant", "Goodbye"),
        ],
    )
    insert(
        connection,
        "feedback",
        f"id message_id user_id rating {notes}",
        [
            (OWN_FEEDBACK, OWN_ANSWER, ACME_MEMBER, 5, "Right"),
            (COLLEAGUES_FEEDBACK, COLLEAGUES_ANSWER, ACME_COLLEAGUE, 1, None),
            (GLOBEX_FEEDBACK, GLOBEX_ANSWER, GLOBEX_MEMBER, 3, "Globex's opinion"),
            (ADMINS_FEEDBACK, ADMINS_ANSWER, ACME_ADMIN, 4, None),
            (INACTIVES_FEEDBACK, INACTIVES_ANSWER, ACME_INACTIVE, 2, None),
        ],
    )


def insert(connection: Connection, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows; on the guide's own platform, with the columns and values that it has instead."""
    values = [dict(zip(columns.split(), row, strict=True)) for row in rows]
    if is_the_guides(connection):
        values = [as_on_the_guides(table, row) for row in values]
        if table == "users":
            signed_up = [(sub_of(person),) for person in (*EVERYBODY, NOBODY, NEWCOMER)]
            connection.cursor().executemany("INSERT INTO auth.users (id) VALUES (%s)", signed_up)
    names, places = ", ".join(values[0]), ", ".join(f"%({column})s" for column in values[0])
    connection.cursor().executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", values)


def is_the_guides(connection: Connection) -> bool:
    """Whether this is the guide's own platform, where people sign in by users.auth_id."""
    column = "SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.users') AND attname = 'auth_id'"
    return connection.execute(column).rowcount > 0


def as_on_the_guides(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table as the guide's own platform has it: tenants with a slug, thumbs for ratings."""
    match table:
        case "tenants":
            return row | {"slug": row["name"].lower()}
        case "users":
            return {"name" if column == "full_name" else column: value for column, value in row.items()} | {
                "auth_id": sub_of(row["id"])
            }
        case "conversations":
            return row | {"title": row["title"] or "New Conversation"}
        case "feedback":
            return row | {"rating": 1 if row["rating"] > 2 else -1}
        case "chatbots":
            return row | {"created_by": row["created_by"] or GLOBEX_ADMIN}
        case _:
            return row


def chatbots(connection: Connection, _: str) -> None:
    columns = "id tenant_id created_by name system_prompt model settings is_published"
    insert(
        connection,
        "chatbots",
        columns,
        [
            (PUBLISHED, ACME, ACME_ADMIN, "Acme Support", "Be kind.", "a-model", Json({"greeting": "Hi"}), True),
            (DRAFT, ACME, ACME_ADMIN, "Acme Draft", "Be kind.", "a-model", Json({}), False),
            (GLOBEX_PUBLISHED, GLOBEX, GLOBEX_ADMIN, "Globex Support", "Be kind.", "a-model", Json({}), True),
            (GLOBEX_DRAFT, GLOBEX, None, "Globex Draft", "Be kind.", "a-model", Json({}), False),
        ],
    )


def admins(connection: Connection, _: str) -> None:
    # The guide's own statement ("Existing Data Compatibility").
    connection.execute("""
        UPDATE public.users
        SET role = 'admin'
        WHERE email IN ('admin@acme.example', 'former@acme.example', 'admin@globex.example')
    """)


def links(connection: Connection, _: str) -> None:
    connection.execute("UPDATE conversations SET chatbot_id = %s WHERE id = %s", (PUBLISHED, OWN_TALK))
    connection.execute("UPDATE conversations SET chatbot_id = %s WHERE id = %s", (GLOBEX_DRAFT, GLOBEX_TALK))


def notes(connection: Connection, notes: str) -> None:
    connection.execute(f"UPDATE feedback SET {notes} = 'Written later' WHERE id = %s", (COLLEAGUES_FEEDBACK,))


def audit_log(connection: Connection, _: str) -> None:
    """The same entries whichever rows were there before the log; TENANTS_END is of a tenant that is gone."""
    connection.execute("TRUNCATE audit_log")
    connection.cursor().executemany(
        """
        INSERT INTO audit_log (
            id, tenant_id, user_id, database_role, action, table_name, row_id, old_values, new_values
        )
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            (BOT_MADE, ACME, ACME_ADMIN, "authenticated", "INSERT", "chatbots", DRAFT, None, Json({"name": "Draft"})),
            (ADMIN_MADE, ACME, None, "service_role", "UPDATE", "users", ACME_ADMIN, *map(Json, ROLE_CHANGE)),
            (GLOBEX_MADE, GLOBEX, GLOBEX_ADMIN, "authenticated", "DELETE", "chatbots", NOBODY, Json({}), None),
            (TENANTS_END, NOBODY, None, "postgres", "DELETE", "chatbots", NOBODY, Json({"name": "Gone"}), None),
        ],
    )


LABELS = {  # category and tags of each chatbot that has any
    PUBLISHED: ("Support", ["orders", "returns"]),
    DRAFT: (None, ["orders", "Secret plans"]),
    GLOBEX_PUBLISHED: ("Support", ["orders"]),
}


def labels(connection: Connection, _: str) -> None:
    """As if the chatbots had been made with them: no trigger takes it for a save."""
    connection.execute("SET session_replication_role = replica")
    execute = connection.cursor().executemany
    execute(
        "UPDATE chatbots SET category = %s, tags = %s WHERE id = %s",
        [(category, tags, bot) for bot, (category, tags) in LABELS.items()],
    )
    execute(
        "INSERT INTO chatbot_tags SELECT tenant_id, id, %s, name, is_published FROM chatbots WHERE id = %s",
        [(tag, bot) for bot, (_, tags) in LABELS.items() for tag in tags],
    )
    connection.execute("RESET session_replication_role")

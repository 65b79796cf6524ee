"""`alembic check` and doctor of platforms whose own columns have other types and names than a fresh install's."""

import re
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import URL

from tests.examining import examined
from tests.platforms import GUIDE, GUIDE_BY_HAND, ROWS_WITHOUT_LINKS, settle_guide
from tests.tools import alembic, connect, run


@dataclass(frozen=True)
class Variant:
    """The guide's platform, changed.

    Args:
        changes: pairs of a pattern and its replacement in the platform's SQL and rows.
        before: SQL that comes first.
        after: SQL that comes last, before the upgrade.
        by_hand: whether the guide's SQL was run by hand.
        options: of the upgrade.
    """

    changes: tuple[tuple[str, str], ...] = ()
    before: str = ""
    after: str = ""
    by_hand: bool = False
    options: tuple[str, ...] = ("-x", "admin_role=admin")


ENUM = "CREATE TYPE user_role AS ENUM ('owner', 'admin', 'user')"
CITEXT = "CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions"
VARIANTS = {
    "enum": Variant(
        (
            (r"role text DEFAULT 'user'", "role user_role DEFAULT 'user'"),
            (r"(CASE WHEN n <= 3 THEN 'admin' .*? END)", r"(\1)::user_role"),
        ),
        ENUM,
        options=("-x", "admin_role=owner,admin"),
    ),
    "citext": Variant(((r"role text DEFAULT", "role extensions.citext DEFAULT"),), CITEXT),
    "domain": Variant(
        ((r"role text DEFAULT", "role level DEFAULT"),), "CREATE DOMAIN level AS varchar(20) CHECK (VALUE <> '')"
    ),
    "domain-over-citext": Variant(
        ((r"role text DEFAULT", "role level DEFAULT"),), f"{CITEXT}; CREATE DOMAIN level AS extensions.citext"
    ),
    "character": Variant(((r"role text DEFAULT", "role char(5) DEFAULT"),)),
    "quoted-roles": Variant(
        after="UPDATE users SET role = 'it''s \"the\" {boss}' WHERE role = 'admin'",
        options=("-x", 'admin_role=it\'s "the" {boss}'),
    ),
    "quoted-identity": Variant(((r"\bauth_id\b", "\"Auth 'id'\""),)),
    "reserved-identity": Variant(((r"\bauth_id\b", '"user"'),)),
    "numbers": Variant(
        (
            (
                r"(TABLE (?:messages|feedback) \(\s+id) uuid PRIMARY KEY DEFAULT gen_random_uuid\(\)",
                r"\1 bigserial PRIMARY KEY",
            ),
            (r"message_id uuid", "message_id bigint"),
            (r"rating smallint", "rating numeric(2, 1)"),
            (r"INSERT INTO messages \(id, ", "INSERT INTO messages ("),
            (r"SELECT \('50000000-0000-0000-0000-' \|\| lpad\(n::text, 12, '0'\)\)::uuid,", "SELECT"),
        ),
    ),
    "identity-columns": Variant(
        (
            (
                r"(TABLE (?:messages|feedback) \(\s+id) uuid PRIMARY KEY DEFAULT gen_random_uuid\(\)",
                r"\1 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            ),
            (r"message_id uuid", "message_id bigint"),
            (r"INSERT INTO messages \(id, ", "INSERT INTO messages ("),
            (r"SELECT \('50000000-0000-0000-0000-' \|\| lpad\(n::text, 12, '0'\)\)::uuid,", "SELECT"),
        ),
    ),
    "times": Variant(((r"timestamptz", "timestamp"),)),
    "unknown-types": Variant(
        before="CREATE EXTENSION ltree; CREATE EXTENSION cube",
        after="ALTER TABLE messages ADD COLUMN embedding cube; ALTER TABLE users ADD COLUMN path ltree;"
        "ALTER TABLE tenants ADD COLUMN place point, ADD COLUMN settings xml",
    ),
    "generated": Variant(
        after="ALTER TABLE users ADD COLUMN full_name text GENERATED ALWAYS AS (upper(email)) STORED,"
        " ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
    ),
    "plain-texts": Variant(
        ((r"varchar\(\d+\)", "text"), (r"numeric\(3, 2\)", "real"), (r"max_tokens integer", "max_tokens smallint")),
        by_hand=True,
        options=(),
    ),
    "key-of-another-name": Variant(
        after="ALTER TABLE chatbots RENAME CONSTRAINT chatbots_pkey TO pk_chatbots", by_hand=True, options=()
    ),
}


def settled(url: URL, variant: Variant) -> None:
    """Make a variant of the platform, and adopt it."""
    platform, rows = GUIDE_BY_HAND if variant.by_hand else GUIDE, ROWS_WITHOUT_LINKS
    for pattern, replacement in variant.changes:
        assert re.search(pattern, platform + rows), pattern
        platform, rows = re.sub(pattern, replacement, platform), re.sub(pattern, replacement, rows)
    with connect(url) as connection:
        settle_guide(connection, platform=f"{variant.before};{platform}", rows=rows)
        connection.execute(variant.after or "SELECT 1")
    alembic(url, *variant.options, "upgrade", "head")


@pytest.mark.parametrize("name", VARIANTS)
def test_types_and_names_of_the_platforms_own_are_no_finding(empty: URL, name: str) -> None:
    settled(empty, VARIANTS[name])
    checked = run("alembic", "check", url=empty)
    assert checked.stdout == "No new upgrade operations detected.\n", checked.stderr
    assert "SAWarning" not in checked.stderr
    found = examined(empty, "u4@x.example")
    assert (found.drift, found.unknown) == ([], [])
    assert not any("unknown" in note for each in found.tables for note in each.notes), found.tables
    assert found.leaderless is not None
    assert found.leaderless.count == 0


DRAFT = UUID(int=7)
WHO_SEES_A_DRAFT = {  # what the operator says, and whether an owner, an admin and a user are admins of chatbots
    "owner": (True, False, False),
    "owner,admin": (True, True, False),
    "user": (False, False, True),
}


@pytest.mark.parametrize("kind", ["user_role", "extensions.citext", "text"])
@pytest.mark.parametrize("admins", WHO_SEES_A_DRAFT)
def test_doctor_knows_who_is_an_admin(empty: URL, kind: str, admins: str) -> None:
    """Compared as the platform compares roles."""
    changes = (
        ("role text DEFAULT", f"role {kind} DEFAULT"),
        (r"(CASE WHEN n <= 3 THEN 'admin' .*? END)", rf"(\1)::{kind}"),
    )
    after = "UPDATE users SET role = 'owner' WHERE email = 'u1@x.example'"
    settled(empty, Variant(changes, f"{ENUM};{CITEXT}", after, options=("-x", f"admin_role={admins}")))
    with connect(empty) as connection:
        connection.execute(
            "INSERT INTO chatbots (id, tenant_id, name, system_prompt, model)"
            " SELECT %s, id, 'Draft', 'Be one.', 'a-model' FROM tenants ORDER BY id LIMIT 1",
            (DRAFT,),
        )
        connection.execute("UPDATE users SET tenant_id = (SELECT tenant_id FROM chatbots)")
        if kind == "extensions.citext":
            connection.execute("UPDATE users SET role = upper(role::text)::extensions.citext")
    for who, sees in zip(("u1@x.example", "u2@x.example", "u4@x.example"), WHO_SEES_A_DRAFT[admins], strict=True):
        found = examined(empty, who, DRAFT).chatbot
        assert found is not None
        assert (found.seen, found.as_it_should_be) == (sees, True)
        assert ("an admin of its tenant" if sees else "they are no admin") in found.why


def test_doctor_finds_tenants_without_an_admin(empty: URL) -> None:
    settled(empty, VARIANTS["enum"])
    with connect(empty) as connection:
        connection.execute(
            "INSERT INTO chatbots (tenant_id, name, system_prompt, model) SELECT id, 'Bot', 'Be one.', 'a' FROM tenants"
        )
        connection.execute("UPDATE users SET role = 'owner' WHERE email IN ('u1@x.example', 'u2@x.example')")
        connection.execute("UPDATE users SET role = 'user' WHERE email = 'u3@x.example'")
    found = examined(empty).leaderless
    assert found is not None
    assert found.count == 1

"""Finding a person by what an operator types, on platforms where the token's sub is not users.id."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy
from psycopg import Connection
from sqlalchemy import URL

from app.errors import SetupError
from app.identity import identity_of
from app.person import find, identity_column
from tests.people import (
    ACME,
    ACME_COLLEAGUE,
    ACME_INACTIVE,
    ACME_MEMBER,
    GLOBEX_MEMBER,
    NOBODY,
    missing_roles,
    sub_of,
)
from tests.tools import sqlalchemy_connection, url_of


@pytest.fixture
def connection(guide: Connection[Any]) -> Iterator[sqlalchemy.Connection]:
    """A superuser's connection to the guide's own platform, in a transaction that is rolled back."""
    with sqlalchemy_connection(url_of(guide)) as connection:
        yield connection


@pytest.mark.parametrize(
    ("given", "person"),
    [
        ("member@acme.example", ACME_MEMBER),
        (str(ACME_MEMBER), ACME_MEMBER),
        (str(sub_of(ACME_MEMBER)), ACME_MEMBER),
        (str(sub_of(GLOBEX_MEMBER)).replace("-", "").upper(), GLOBEX_MEMBER),
    ],
)
def test_finds_by_address_id_or_sub(connection: sqlalchemy.Connection, given: str, person: UUID) -> None:
    found = find(connection, given)
    assert (found.id, found.sub, found.identity_column) == (person, sub_of(person), "auth_id")
    assert found.identity == identity_of(sub_of(person))


def test_on_a_fresh_install_the_sub_is_the_id(people_database: URL) -> None:
    with sqlalchemy_connection(people_database) as connection:
        for given in ("member@acme.example", str(ACME_MEMBER)):
            found = find(connection, given)
            assert (found.id, found.sub, found.identity_column) == (ACME_MEMBER, ACME_MEMBER, "id")
            assert (found.email, found.role, found.is_active) == ("member@acme.example", "user", True)
            assert (found.tenant_id, found.tenant) == (ACME, "Acme")


def test_nobody_acts_as_a_person_without_a_sub(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql(f"UPDATE users SET auth_id = NULL WHERE id = '{ACME_MEMBER}'")
    for given in ("member@acme.example", str(ACME_MEMBER)):
        with pytest.raises(SetupError, match=r"act as member@acme.example, because users.auth_id is NULL: .* sign in"):
            find(connection, given)
    with pytest.raises(SetupError, match="There is no user"):
        find(connection, str(sub_of(ACME_MEMBER)))


def test_columns_may_be_null_or_of_the_platforms_types(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE users ALTER email DROP NOT NULL")
    connection.exec_driver_sql(f"""
        UPDATE users SET email = NULL, role = NULL, is_active = NULL WHERE id = '{ACME_MEMBER}'
    """)
    found = find(connection, str(ACME_MEMBER))
    assert (found.email, found.role, found.is_active) == (None, None, False)
    connection.exec_driver_sql("CREATE EXTENSION citext; ALTER TABLE users ALTER email TYPE citext")
    assert find(connection, "colleague@acme.example").id == ACME_COLLEAGUE
    connection.exec_driver_sql(
        "CREATE DOMAIN address AS varchar CHECK (VALUE <> ''); ALTER TABLE users ALTER email TYPE address"
    )
    assert find(connection, "inactive@acme.example").is_active is False
    connection.exec_driver_sql("""
        CREATE TYPE known AS ENUM ('colleague@acme.example');
        ALTER TABLE users ALTER email TYPE known USING CASE id::text
            WHEN '00000000-0000-0000-0000-000000000012' THEN 'colleague@acme.example'::known
        END
    """)
    assert find(connection, "colleague@acme.example").id == ACME_COLLEAGUE
    with pytest.raises(SetupError, match="There is no user"):
        find(connection, "member@acme.example")


@pytest.mark.parametrize("name", ["Auth", 'a"b', "a:b", "100%", "select"])
def test_the_column_may_have_any_name(connection: sqlalchemy.Connection, name: str) -> None:
    quoted = name.replace('"', '""')
    body = f"SELECT '{name}'::name"
    verbatim = {"no_parameters": True}
    connection.exec_driver_sql(f'ALTER TABLE users RENAME auth_id TO "{quoted}"', execution_options=verbatim)
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION chatbot_private.identity_column() RETURNS name"
        f" LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body${body}$body$",
        execution_options=verbatim,
    )
    assert identity_column(connection) == name
    for given in ("member@acme.example", str(sub_of(ACME_MEMBER))):
        assert find(connection, given).sub == sub_of(ACME_MEMBER)


def test_where_two_people_match_it_says_which(connection: sqlalchemy.Connection) -> None:
    """Somebody's id is another's sub; and two rows with one sub, once the column is unique no more."""
    connection.exec_driver_sql(f"INSERT INTO auth.users VALUES ('{ACME_MEMBER}')")
    connection.exec_driver_sql(f"UPDATE users SET auth_id = '{ACME_MEMBER}' WHERE id = '{ACME_COLLEAGUE}'")
    with pytest.raises(SetupError, match="Several users have the id or sub") as several:
        find(connection, str(ACME_MEMBER))
    assert "such as member@acme.example (tenant Acme), colleague@acme.example (tenant Acme)." in str(several.value)
    connection.exec_driver_sql("ALTER TABLE users DROP CONSTRAINT users_auth_id_key")
    connection.exec_driver_sql(f"UPDATE users SET auth_id = '{ACME_MEMBER}' WHERE id = '{ACME_INACTIVE}'")
    with pytest.raises(SetupError, match="Several users have the id or sub"):
        find(connection, str(ACME_MEMBER))
    assert find(connection, "inactive@acme.example").sub == ACME_MEMBER


def test_a_reader_of_every_row_needs_no_right_on_our_schema(guide: Connection[Any]) -> None:
    reader = "identity_reader"
    guide.execute(missing_roles(f"{reader} LOGIN BYPASSRLS IN ROLE authenticated"))
    guide.execute(f"GRANT SELECT ON users, tenants TO {reader}")
    guide.commit()
    with sqlalchemy_connection(url_of(guide).set(username=reader)) as connection:
        assert find(connection, "member@acme.example").sub == sub_of(ACME_MEMBER)
    guide.execute(f"DROP OWNED BY {reader}; DROP ROLE {reader}")
    guide.commit()


def test_where_there_is_no_such_column_it_says_what_to_run(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE users RENAME auth_id TO other")
    with pytest.raises(SetupError, match=r"The column of users .* is gone: run `python -m app doctor`"):
        find(connection, str(NOBODY))
    connection.exec_driver_sql("ALTER FUNCTION chatbot_private.identity_column() RENAME TO other")
    with pytest.raises(SetupError, match=r"not at the newest revision: run `alembic upgrade head` first"):
        find(connection, str(NOBODY))

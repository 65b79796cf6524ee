"""Describe the role of the connection, and whether row security binds it."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from app.doctor.health import TABLES

ROLE = text("""
    SELECT current_user::text AS name, rolsuper, rolbypassrls,
        nullif(current_setting('request.jwt.claims', true), '') AS claims,
        ARRAY (
            SELECT rolname::text FROM pg_roles WHERE rolname IN ('anon', 'authenticated') AND pg_has_role(oid,
                CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
            ORDER BY 1
        ) AS becomes
    FROM pg_roles WHERE rolname = current_user
""")
RIGHTS = text("""
    SELECT relname::text, pg_has_role(relowner, 'USAGE') AS owns, NOT row_security_active(oid) AS is_free
    FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relname = ANY (CAST(:names AS text[])) AND relkind IN ('r', 'p')
        AND (has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(oid, 'DELETE'))
    ORDER BY 1
""")


@dataclass(frozen=True)
class Role:
    """The role of the connection.

    Args:
        name: the database role.
        bound_by_row_security: whether row security holds for it on each table that it has rights on.
        has_rights: the tables that it has rights on without `act_as`.
        becomes: the clients' roles that it may act as.
        claims: the token that its session begins with, if there is one.
        told: all this in sentences.
    """

    name: str
    bound_by_row_security: bool
    has_rights: list[str]
    becomes: list[str]
    claims: str | None
    told: str


def role(connection: Connection) -> Role:
    """Describe the role of a connection, before any `act_as`."""
    its = connection.execute(ROLE).one()
    rights = connection.execute(RIGHTS, {"names": TABLES}).all()
    free = [row.relname for row in rights if row.is_free]
    if its.rolsuper or its.rolbypassrls:
        kind, is_bound = "a superuser" if its.rolsuper else "with BYPASSRLS", False
    else:
        kind, is_bound = f"who may use {', '.join(free)} past it", not free
        if free and all(row.owns for row in rights if row.is_free):
            kind = f"owner of {', '.join(free)}"
    said = [f"You are {its.name}"]
    if not is_bound:
        said[0] += f", {kind}: row security does not bind you. An application must not connect so without act_as."
    elif rights:
        said[0] += f", with rights on {', '.join(row.relname for row in rights)}, bound by row security."
        said.append("A login role with NOINHERIT would have none until act_as.")
    else:
        said[0] += ", with no rights on the tables until act_as."
    if len(its.becomes) < 2:  # noqa: PLR2004 - anon and authenticated
        lacking = ", ".join(sorted({"anon", "authenticated"} - set(its.becomes)))
        said.append(f"act_as needs membership: GRANT {lacking} TO {its.name}.")
    if its.claims is not None:
        said.append(f"Its sessions begin with request.jwt.claims {its.claims}, and so as somebody: RESET that.")
    names = [row.relname for row in rights]
    return Role(its.name, is_bound, names, list(its.becomes), its.claims, " ".join(said))

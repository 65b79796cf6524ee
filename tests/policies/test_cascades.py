"""The guard on users where no client writes users itself: a foreign key's cascade, and functions that others own."""

import pytest
from psycopg import Connection, errors

from tests.people import ACME, ACME_MEMBER, GLOBEX, MEMBER, NEWCOMER, OWNER, SERVICE, Who
from tests.tools import attempt, connect, url_of

# A platform's table that clients may write, and users' key to it. The rest is there to be taken for such a key: the
# second column of users is tenant_id, that of teams is role, which has a key of its own.
TEAMS = f"""
    CREATE TABLE roles (role text PRIMARY KEY);
    INSERT INTO roles VALUES ('user'), ('admin');
    CREATE TABLE teams (tenant uuid UNIQUE, role text REFERENCES roles ON UPDATE CASCADE);
    INSERT INTO teams VALUES ('{ACME}'), ('{GLOBEX}'), ('{NEWCOMER}');
    DELETE FROM users WHERE tenant_id = '{GLOBEX}';
    ALTER TABLE users DROP CONSTRAINT users_tenant_id_fkey, ALTER COLUMN tenant_id SET DEFAULT '{NEWCOMER}',
        ADD CONSTRAINT users_team_fkey FOREIGN KEY (tenant_id) REFERENCES teams (tenant) {{}};
    GRANT ALL ON teams TO PUBLIC
"""
MOVE = f"UPDATE teams SET tenant = '{ACME_MEMBER}' WHERE tenant = '{ACME}'"
DISSOLVE = f"DELETE FROM teams WHERE tenant = '{ACME}'"
PROMOTE = f"UPDATE users SET role = 'admin' WHERE id = '{ACME_MEMBER}'"
JOIN = f"UPDATE users SET tenant_id = '{GLOBEX}' WHERE id = '{ACME_MEMBER}'"
INVITE = f"INSERT INTO users (id, tenant_id, email, role) VALUES ('{NEWCOMER}', '{ACME}', 'new@acme.example', 'admin')"


def as_function(statement: str, definer: bool) -> str:
    """A function that executes a statement and tells how many rows it was; its caller's, or its owner's rights."""
    return f"""
        CREATE FUNCTION do_it() RETURNS integer LANGUAGE plpgsql SECURITY {"DEFINER" if definer else "INVOKER"} AS $$
        DECLARE
            done integer;
        BEGIN
            {statement};
            GET DIAGNOSTICS done = ROW_COUNT;
            RETURN done;
        END $$
    """


CASCADES = [
    pytest.param("ON UPDATE CASCADE", MOVE, id="update-cascade"),
    pytest.param("ON UPDATE SET DEFAULT", MOVE, id="update-default"),
    pytest.param("ON DELETE SET DEFAULT", DISSOLVE, id="delete-default"),
]


@pytest.mark.parametrize(("action", "statement"), CASCADES)
@pytest.mark.parametrize("by", ["statement", "function", "owners-function"])
def test_a_cascade_is_whose_that_caused_it(platform: Connection, action: str, statement: str, by: str) -> None:
    """Its owner's function is no way around either: it may not know whom else it changes."""
    platform.execute(TEAMS.format(action))
    if by != "statement":
        platform.execute(as_function(statement, definer=by == "owners-function"))
        statement = "SELECT do_it()"
    for who, outcome in ((MEMBER, "guard"), (SERVICE, 1), (OWNER, 1)):
        assert attempt(platform, who, statement, {}) == outcome, who


@pytest.mark.parametrize(("action", "statement"), CASCADES)
def test_a_cascade_is_also_whose_that_has_set_no_role(platform: Connection, action: str, statement: str) -> None:
    platform.execute(TEAMS.format(action))
    platform.execute("CREATE ROLE direct LOGIN IN ROLE authenticated")
    platform.commit()
    try:
        with connect(url_of(platform).set(username="direct")) as direct, pytest.raises(errors.InsufficientPrivilege):
            direct.execute(statement)
        assert attempt(platform, OWNER, statement, {}) == 1
        platform.commit()
    finally:
        platform.execute("DROP OWNED BY direct; DROP ROLE direct")
        platform.commit()


@pytest.mark.parametrize(
    ("action", "statement", "kept"),
    [
        ("ON UPDATE CASCADE", MOVE, False),
        ("ON UPDATE SET NULL", MOVE, False),
        ("ON UPDATE SET DEFAULT", MOVE, False),
        ("ON DELETE SET NULL", DISSOLVE, False),
        ("ON DELETE SET DEFAULT", DISSOLVE, False),
        ("ON UPDATE CASCADE", MOVE, True),
        ("ON UPDATE SET NULL", MOVE, True),
        ("ON DELETE SET NULL", DISSOLVE, True),
    ],
)
def test_what_a_trigger_sets_in_a_cascade_is_whose_that_caused_it(
    platform: Connection, action: str, statement: str, kept: bool
) -> None:
    """A platform's trigger, where a key of another column changes a person, and even where it undoes that for now."""
    platform.execute(TEAMS.format("ON DELETE CASCADE"))
    platform.execute(f"""
        ALTER TABLE users DROP CONSTRAINT users_team_fkey, ADD COLUMN team uuid DEFAULT '{NEWCOMER}';
        UPDATE users SET team = tenant_id;
        ALTER TABLE users ADD FOREIGN KEY (team) REFERENCES teams (tenant) {action}
            {"DEFERRABLE INITIALLY DEFERRED" if kept else ""};
        CREATE FUNCTION promote() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.role := 'admin';
            {"NEW.team := OLD.team;" if kept else ""}
            RETURN NEW;
        END $$;
        CREATE TRIGGER zzz_promote BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION promote()
    """)
    if not kept:  # no key tells the row that is kept from one that the owner's function wrote
        platform.execute(as_function(statement, definer=True))
        statement = "SELECT do_it()"
    assert [attempt(platform, who, statement, {}) for who in (MEMBER, SERVICE, OWNER)] == ["guard", 1, 1]


@pytest.mark.parametrize("statement", [PROMOTE, JOIN, INVITE], ids=["promote", "join", "invite"])
@pytest.mark.parametrize("definer", [True, False], ids=["owners-rights", "callers-rights"])
def test_what_a_function_of_the_owners_sets_the_owner_lets_its_callers_set(
    platform: Connection, statement: str, definer: bool
) -> None:
    """Where no key is involved: a sign-up, say. Keys of other columns, and of other tables, stand beside."""
    platform.execute(TEAMS.format("ON DELETE CASCADE"))
    platform.execute('GRANT ALL ON users TO authenticated; CREATE POLICY "Anything goes" ON users USING (true)')
    platform.execute(as_function(statement, definer))
    assert attempt(platform, MEMBER, "SELECT do_it()", {}) == (1 if definer else "guard")
    assert attempt(platform, SERVICE, "SELECT do_it()", {}) == 1


@pytest.mark.parametrize(("statement", "outcome"), [(PROMOTE, 1), (INVITE, 1), (JOIN, "guard")])
def test_only_the_columns_of_such_a_key_count(platform: Connection, statement: str, outcome: int | str) -> None:
    platform.execute(TEAMS.format("ON UPDATE CASCADE"))
    platform.execute(as_function(statement, definer=True))
    assert attempt(platform, MEMBER, "SELECT do_it()", {}) == outcome


def test_a_function_of_a_clients_lends_the_owner_no_rights(platform: Connection) -> None:
    platform.execute(TEAMS.format("ON UPDATE CASCADE"))
    platform.execute('GRANT ALL ON users TO authenticated; CREATE POLICY "Anything goes" ON users USING (true)')
    platform.execute(as_function(JOIN, definer=True))
    platform.execute("ALTER FUNCTION do_it() OWNER TO authenticated")
    assert attempt(platform, OWNER, "SELECT do_it()", {}) == "guard"
    assert attempt(platform, OWNER, JOIN, {}) == 1


def test_a_member_of_the_owner_counts_only_with_its_rights(platform: Connection) -> None:
    """One that would have to SET ROLE first is no owner before."""
    platform.execute("""
        CREATE ROLE landlord;
        CREATE ROLE partner INHERIT IN ROLE landlord;
        CREATE ROLE sleeping_partner NOINHERIT IN ROLE landlord;
        ALTER TABLE users OWNER TO landlord;
        GRANT ALL ON users TO sleeping_partner;
        CREATE POLICY "Anything goes" ON users USING (true)
    """)
    assert attempt(platform, Who("partner"), PROMOTE, {}) == 1
    assert attempt(platform, Who("sleeping_partner"), PROMOTE, {}) == "guard"


@pytest.mark.parametrize("change", ["tenant_id = '{}'", "is_active = NOT NEW.is_active", "id = '{}'"])
def test_a_before_trigger_sets_nothing_unnoticed(platform: Connection, change: str) -> None:
    """Though the statement names none of the guarded columns."""
    value = GLOBEX if "tenant" in change else NEWCOMER
    set_it = "NEW." + change.format(value).replace(" = ", " := ")
    platform.execute(f"""
        GRANT ALL ON users TO authenticated;
        CREATE POLICY "Anything goes" ON users USING (true);
        DELETE FROM conversations; DELETE FROM feedback;
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {set_it}; RETURN NEW; END$$;
        CREATE TRIGGER zzz_meddle BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION meddle()
    """)
    rename = f"UPDATE users SET full_name = 'x' WHERE id = '{ACME_MEMBER}'"
    assert [attempt(platform, who, rename, {}) for who in (MEMBER, SERVICE)] == ["guard", 1]


def test_a_conversation_is_renamed_when_its_chatbot_is_to_be_seen_no_more(platform: Connection) -> None:
    platform.execute("UPDATE chatbots SET is_published = false")
    rename = "UPDATE conversations SET title = 'New' WHERE chatbot_id IS NOT NULL"
    relink = "UPDATE conversations SET chatbot_id = chatbot_id WHERE chatbot_id IS NOT NULL"
    assert [attempt(platform, MEMBER, statement, {}) for statement in (rename, relink)] == [1, 1]

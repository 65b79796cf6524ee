"""Which relations a function's text names: read as PostgreSQL reads words, not as a search would."""

import pytest

from app.catalog.sources import relations_named, runs_argument

OURS = {("public", name) for name in ("chatbots", "published_chatbots", "users", "messages", "feedback")}
KNOWN = OURS | {("other", "bots")}


def names(body: str, path: str = "public", *, reading_only: bool = False) -> set[str]:
    return {name for _, name in relations_named(body, KNOWN, path.split(), reading_only=reading_only)}


@pytest.mark.parametrize(
    "body",
    [
        "SELECT * FROM chatbots",
        'SELECT * FROM "public" . "chatbots"',
        'SELECT 1 FROM"chatbots"',
        "SELECT 1 FROM its_database.public.chatbots",
        "SELECT 1 FROM ONLY (chatbots)",
        "SELECT * FROM /* a comment */ chatbots -- and another",
        "SELECT '--' || name FROM chatbots",
        "SELECT '/*' || name FROM chatbots; /* */",
        "SELECT E'it\\'s', name FROM chatbots",
        "SELECT * FROM tags, chatbots AS c",
        "SELECT x FROM a LEFT JOIN b ON a.id = b.id, chatbots",
        "SELECT * FROM (chatbots CROSS JOIN (SELECT 1) AS one)",
        "SELECT (SELECT count(*) FROM chatbots)",
        "SELECT f((SELECT a FROM x JOIN chatbots USING (id)))",
        "SELECT * FROM a UNION ALL SELECT * FROM chatbots",
        "WITH chatbots AS (SELECT * FROM chatbots) SELECT * FROM chatbots",
        "WITH x AS (SELECT 1) SELECT * FROM x, chatbots",
        "SELECT FROM x JOIN y ON x.set = 1, chatbots",
        "SELECT count(*) FROM x WHERE id IN (SELECT id FROM chatbots)",
        "TABLE chatbots",
        "COPY chatbots TO '/tmp/x'",
        "UPDATE chatbots SET name = 'x'",
        "INSERT INTO chatbots (name) VALUES ('x')",
        "DELETE FROM tags USING chatbots WHERE true",
        "MERGE INTO chatbots USING tags ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE chatbots CASCADE",
        "LOCK TABLE chatbots",
        "GRANT ALL ON chatbots TO anon",
        "CREATE POLICY own ON chatbots USING (true)",
        "BEGIN DELETE FROM chatbots; END",
        "BEGIN FOR r IN SELECT * FROM chatbots LOOP NULL; END LOOP; END",
        "BEGIN IF EXISTS (SELECT FROM chatbots) THEN NULL; END IF; END",
        "BEGIN PERFORM 1 FROM chatbots; END",
        "BEGIN EXECUTE 'SELECT * FROM public.chatbots'; END",
        "BEGIN query := 'SELECT * FROM chatbots'; EXECUTE query; END",
        "BEGIN EXECUTE format('TABLE %I', 'chatbots'); END",
        "BEGIN EXECUTE 'SELECT * FROM ' || $q$public.\"chatbots\"$q$; END",
        "SELECT query_to_xml('SELECT * FROM chatbots', true, false, '')",
        "BEGIN name := 'chatbots'; EXECUTE 'TABLE ' || name; END",
        "SELECT table_to_xml('chatbots'::regclass, true, false, '')",
        "BEGIN 'a string that never ends FROM chatbots",
    ],
)
def test_it_names(body: str) -> None:
    assert names(body) == {"chatbots"}


@pytest.mark.parametrize(
    "body",
    [
        "SELECT * FROM other.chatbots, auth.users",
        'SELECT * FROM "Users", "chatbots archive"',
        "SELECT * FROM users.accounts",
        "SELECT * FROM users(1)",
        "SELECT x.messages, y.users FROM x JOIN y ON x.users = y.users ORDER BY users, messages",
        "INSERT INTO statistics (visits, messages) VALUES (1, 2)",
        "INSERT INTO log VALUES ('chatbots')",
        "UPDATE x SET users = 1, messages = 2 WHERE feedback = 3",
        "SELECT jsonb_build_object('users', 3), concat(message, feedback) FROM x",
        "SELECT extract(year FROM feedback), a IS DISTINCT FROM messages FROM x",
        "WITH users AS (SELECT 1) SELECT * FROM users",
        "WITH users (id) AS MATERIALIZED (SELECT 1), feedback AS NOT MATERIALIZED (SELECT 2) TABLE feedback",
        "WITH RECURSIVE messages (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM messages) SELECT * FROM messages",
        "BEGIN EXECUTE 'SELECT count(*) FROM invoices' INTO n; RETURN jsonb_build_object('chatbots', n); END",
        "BEGIN IF TG_TABLE_NAME = 'users' THEN EXECUTE format('SELECT %L', 1) USING messages; END IF; END",
        "CREATE TEMP TABLE messages AS SELECT 1",
        "SELECT a, b FROM x INTO users, messages",
        "SELECT 1 -- FROM chatbots\n /* FROM users /* nested */ FROM users */",
        "BEGIN RAISE NOTICE 'we update chatbots nightly FROM users'; END",
        "BEGIN SELECT rating INTO feedback FROM x FOR UPDATE; END",
        "SELECT net.http_post(url := 'https://chatbots.example/users')",
    ],
)
def test_it_does_not_name(body: str) -> None:
    assert names(body) == set()


def test_names_without_a_schema_are_looked_up_in_the_path() -> None:
    assert names("SELECT * FROM bots, users", "other") == {"bots"}
    assert names("SELECT * FROM bots, users", "public other") == {"bots", "users"}
    assert names("SELECT * FROM other.bots, public.users", "elsewhere") == {"bots", "users"}


def test_reading_is_told_from_changing() -> None:
    assert names("INSERT INTO users SELECT * FROM messages; DELETE FROM feedback", reading_only=True) == {"messages"}


@pytest.mark.parametrize(
    ("body", "runs"),
    [
        ("BEGIN RETURN QUERY EXECUTE query; END", True),
        ("BEGIN execute\n $1 USING 2; END", True),
        ("BEGIN EXECUTE (query); END", True),
        ("BEGIN EXECUTE 'SELECT 1; ' || query; END", True),
        ("BEGIN RETURN QUERY EXECUTE format('SELECT %s', \"query\"); END", True),
        ("SELECT query_to_xml(query, true, true, '')", True),
        ("BEGIN EXECUTE f.query; END", True),
        ("BEGIN EXECUTE format('SELECT count(*) FROM %I', query); END", True),
        ("BEGIN EXECUTE format('SELECT %L', query); END", False),
        ("BEGIN EXECUTE 'SELECT ' || quote_literal(query); END", False),
        ("BEGIN EXECUTE query_of_ours; END", False),
        ("BEGIN EXECUTE 'SELECT $1' USING query; END", False),
        ("BEGIN EXECUTE format('x'); RETURN query; END", False),
        ("BEGIN RETURN 1; -- never execute query\nEND", False),
    ],
)
def test_running_what_a_caller_gives(body: str, runs: bool) -> None:
    assert runs_argument(body, ["query", ""]) == runs


def test_long_functions_take_no_longer_by_the_line() -> None:
    """Each part of a name was once looked for in a copy of all that follows: 1,000 lines took 3 s."""
    line = "IF EXISTS (SELECT a.id FROM a JOIN b ON a.id = b.id WHERE a.x = 1) THEN UPDATE a SET x = 2; END IF;\n"
    assert names(f"BEGIN {line * 3_000} PERFORM * FROM chatbots; END") == {"chatbots"}

"""Commands print text of others without obeying it, and end with a sentence whatever happens to them."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import Connection
from sqlalchemy import URL

from tests.conftest import Host
from tests.people import ACME, ACME_ADMIN, ACME_MEMBER, DRAFT, GLOBEX, PUBLISHED
from tests.tools import PROJECT, alembic, connect, environment, run, url_of

FORGED = "Error: all is well"
EVIL = f'Bot "\x1b[2J\x07\x9b1m\u202e\u2066\u2028\r\n{FORGED}\n\t\x7f'
READERS = {
    "usage": ["usage"],
    "chatbots": ["chatbots"],
    "chatbots-as": ["chatbots", "--as", str(ACME_MEMBER)],
    "history": ["history", str(DRAFT)],
    "audit": ["audit"],
    "metrics": ["metrics"],
    "admins": ["admins", "list"],
    "doctor": ["doctor", "--as", str(ACME_MEMBER), "--chatbot", str(PUBLISHED)],
    "preflight": ["preflight"],
    "json-usage": ["usage", "--json"],
    "json-chatbots": ["chatbots", "--json"],
    "json-history": ["history", str(DRAFT), "--json"],
    "json-audit": ["audit", "--json"],
    "json-doctor": ["doctor", "--json", "--as", str(ACME_MEMBER)],
}


@pytest.fixture
def evil(platform: Connection) -> URL:
    """A database in which each name, label and value is one that a terminal would obey."""
    platform.commit()
    platform.execute("UPDATE tenants SET name = %s", (EVIL,))
    platform.execute("UPDATE users SET email = %s || id", (EVIL,))
    platform.execute("UPDATE chatbots SET name = %s, system_prompt = %s, category = 'a\x1b[2J'", (EVIL, EVIL))
    platform.execute("UPDATE chatbots SET settings = %s", (json.dumps({EVIL: EVIL}),))
    platform.execute("UPDATE chatbots SET name = 'Once more' WHERE id = %s", (DRAFT,))
    platform.commit()
    return url_of(platform)


def is_text(printed: str) -> bool:
    """Whether a terminal takes it for text, and no line is forged."""
    return all(line.isprintable() and not line.startswith(FORGED) for line in printed.split("\n"))


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_a_terminal_obeys_no_text(evil: URL, command: list[str]) -> None:
    done = run("app", *command, url=evil)
    assert done.returncode in {0, 3}, done.stderr
    assert done.stdout
    assert is_text(done.stdout)
    assert is_text(done.stderr)
    if "--json" in command:
        for document in done.stdout.splitlines() if command[0] == "audit" else [done.stdout]:
            json.loads(document)


@pytest.mark.parametrize(
    "command",
    [
        ["restore", str(PUBLISHED), "99"],
        ["restore", EVIL, "99"],
        ["history", "Nobody", "--tenant", str(ACME)],
        ["usage", "--tenant", EVIL],
        ["admins", "revoke", str(ACME_ADMIN), "--tenant", str(ACME)],
        ["admins", "grant", EVIL, "--tenant", str(ACME)],
        ["doctor", "--as", EVIL],
        ["doctor", "--chatbot", EVIL],
        ["preflight", "--config", EVIL],
    ],
    ids=lambda command: " ".join(command[:2]).replace(EVIL, "evil"),
)
def test_an_error_is_one_line(evil: URL, command: list[str]) -> None:
    done = run("app", *command, url=evil)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert is_text(done.stderr)


def test_several_of_one_name_are_listed_by_id(evil: URL) -> None:
    by_tenant = run("app", "usage", "--tenant", EVIL, url=evil).stderr
    assert all(str(each) in by_tenant for each in (ACME, GLOBEX))
    by_chatbot = run("app", "restore", EVIL, "1", url=evil).stderr
    assert str(PUBLISHED) in by_chatbot


def test_the_servers_own_words_are_text(evil: URL) -> None:
    """What a trigger of the platform raises is printed: message, DETAIL and HINT."""
    with connect(evil) as connection:
        connection.execute("""
            CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION E'no \\x1b[2J\\nError: all is well'
                    USING ERRCODE = 'ZZ123', DETAIL = E'detail \\u202e\\nError: all is well', HINT = E'hint \\u009b\\r';
            END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON public.chatbots FOR EACH ROW EXECUTE FUNCTION public.refuse();
        """)
    done = run("app", "restore", str(DRAFT), "1", url=evil)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert is_text(done.stderr)
    assert done.stderr.splitlines()[-1] == (
        r"Error: no \x1b[2J\nError: all is well (detail \u202e\nError: all is well): hint \x9b\r."
    )


def test_another_sessions_query_is_text(empty: URL) -> None:
    alembic(empty, "upgrade", "010")
    with connect(empty) as reader:
        reader.execute("BEGIN")
        reader.execute("LOCK TABLE users /* \x1b[2J \u202e */ IN ACCESS EXCLUSIVE MODE")
        done = run("alembic", "-x", "retry_for=1", "upgrade", "head", url=empty)
        reader.rollback()
    assert done.returncode == 1
    assert r"LOCK TABLE users /* \x1b[2J \u202e */" in done.stderr
    assert is_text(done.stderr)


def test_the_name_of_a_tool_forges_no_line(empty: URL) -> None:
    alembic(empty, "upgrade", "014")
    tools = [{"name": EVIL, "description": "x", "parameters": {EVIL: 1}}]
    with connect(empty) as connection:
        connection.execute("INSERT INTO tenants (id, name) VALUES (%s, 'Acme')", (ACME,))
        connection.execute(
            "INSERT INTO chatbots (tenant_id, name, system_prompt, model, settings) VALUES (%s, 'Bot', 'Be.', 'm', %s)",
            (ACME, json.dumps({"tools": tools})),
        )
    for command in (("app", "preflight"), ("alembic", "upgrade", "head"), ("app", "doctor")):
        done = run(*command, url=empty)
        assert is_text(done.stdout), command
        assert is_text(done.stderr), command


def written(command: list[str], url: URL) -> bytes:
    """The bytes that a command writes."""
    process = [sys.executable, "-m", "app", *command]
    return subprocess.run(process, cwd=PROJECT, env=environment(url), stdout=subprocess.PIPE, check=True).stdout


def test_csv_is_read_back(platform: Connection) -> None:
    names = ['a "b", c\r\nd', "x\ry", "x\ny", '=HYPERLINK("http://evil")', "+1", "-1", "@x", "\tx", "'x", "x\x1b"]
    platform.commit()
    for name in names:
        platform.execute(
            "INSERT INTO chatbots (tenant_id, name, system_prompt, model) VALUES (%s, %s, 'Be.', 'm')", (ACME, name)
        )
    platform.commit()
    found = written(["usage", "--csv", "--tenant", "Acme"], url_of(platform))
    rows = list(csv.DictReader(io.StringIO(found.decode(), newline="")))
    assert {row["chatbot_name"] for row in rows} >= {f"'{name}" if name[0] in "=+-@\t" else name for name in names}
    assert len(rows) == len(names) + 2
    assert all(None not in row and None not in row.values() for row in rows)


def on_a_terminal(command: list[str], url: URL, columns: int) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    env = {**environment(url), "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *command], cwd=PROJECT, env=env, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    printed = b""
    try:
        while part := os.read(ours, 65536):
            printed += part
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return printed.decode()


def test_csv_on_a_terminal_is_text(evil: URL) -> None:
    printed = on_a_terminal(["usage", "--csv"], evil, 80)
    assert is_text(printed.replace("\r\n", "\n"))


def test_a_narrow_terminal_gets_a_line_for_each_value(platform: Connection) -> None:
    url = url_of(platform)
    narrow = on_a_terminal(["usage", "--tenant", "Acme"], url, 60).replace("\r\n", "\n")
    assert narrow.startswith("Tenant: Acme\nChatbot: Acme Support\nPublished: yes\nConversations: 1\n")
    wide = on_a_terminal(["usage", "--tenant", "Acme"], url, 150)
    assert len(wide.splitlines()) == 3


# Whatever the role or the database is set to


@pytest.fixture
def odd_settings(platform: Connection) -> URL:
    """A database whose settings are none that our queries would work under."""
    platform.commit()
    for name, value in {
        "search_path": "nothing",
        "statement_timeout": "60ms",
        "DateStyle": "German",
        "IntervalStyle": "sql_standard",
        "TimeZone": "Asia/Kathmandu",
        "extra_float_digits": "-10",
        "standard_conforming_strings": "off",
        "default_transaction_isolation": "serializable",
        "quote_all_identifiers": "on",
        "row_security": "off",
        "bytea_output": "escape",
    }.items():
        platform.execute(f"ALTER DATABASE {platform.info.dbname} SET {name} = '{value}'")
    platform.execute("""
        CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(0.2); INSERT INTO noted VALUES (NEW.id); RETURN NEW;
        END $$;
        CREATE TABLE public.noted (id uuid);
        CREATE TRIGGER slow AFTER UPDATE ON public.chatbots FOR EACH ROW EXECUTE FUNCTION public.slow();
    """)
    platform.commit()
    return url_of(platform)


def test_settings_of_the_role_change_nothing(odd_settings: URL, people_database: URL) -> None:
    for name, command in READERS.items():
        if name in {"metrics", "doctor", "json-doctor", "preflight"}:  # these measure, or name the database's own
            continue
        odd, usual = run("app", *command, url=odd_settings), run("app", *command, url=people_database)
        assert (odd.returncode, odd.stdout) == (0, usual.stdout), odd.stderr
    for command in (["metrics"], ["seed"], ["admins", "grant", str(ACME_MEMBER), "--tenant", "Acme"], ["preflight"]):
        done = run("app", *command, url=odd_settings)
        assert done.returncode == 0, done.stderr
    checked = run("alembic", "check", url=odd_settings)
    assert "slow" in checked.stdout + checked.stderr  # the trigger, and nothing else
    assert len([line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("  ")]) == 1


def test_the_platforms_triggers_find_their_tables(odd_settings: URL) -> None:
    """Whoever writes keeps the role's search_path, and public after it; a function's own is the function's."""
    with connect(odd_settings) as connection:
        connection.execute("SET search_path = public; SET statement_timeout = 0")
        connection.execute("CREATE TRIGGER slow AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION slow()")
        connection.execute("UPDATE chatbots SET temperature = 0.1 WHERE id = %s", (DRAFT,))
        granted = run("app", "admins", "grant", str(ACME_MEMBER), "--tenant", "Acme", url=odd_settings)
        assert granted.returncode == 0, granted.stderr
        assert connection.execute("SELECT FROM noted WHERE id = %s", (ACME_MEMBER,)).rowcount == 1
    restored = run("app", "restore", str(DRAFT), "1", url=odd_settings)
    assert (restored.returncode, restored.stdout) == (1, "")
    assert restored.stderr.splitlines()[-1] == (
        'Error: relation "noted" does not exist: mend what names it, and run the same command again.'
    )


# What ends a command


CANCELED = ("pg_cancel_backend", "Error: canceling statement due to user request: run the same command again")
TERMINATED = ("pg_terminate_backend", "the connection was lost; run the same command again")
INTERRUPTED = (signal.SIGINT, "Error: interrupted: run the same command again")


@pytest.mark.parametrize(
    ("command", "end", "sentence"),
    [
        (["app", "audit"], *CANCELED),
        (["app", "restore", str(DRAFT), "1"], *CANCELED),
        (["app", "audit"], *TERMINATED),
        (["app", "doctor"], *TERMINATED),
        (["app", "audit", "--json"], *INTERRUPTED),
        (["app", "doctor"], *INTERRUPTED),
        (["app", "restore", str(DRAFT), "1"], *INTERRUPTED),
    ],
    ids=str,
)
def test_what_ends_a_command_is_a_sentence(
    platform: Connection, command: list[str], end: str | signal.Signals, sentence: str
) -> None:
    platform.commit()
    platform.execute("LOCK TABLE audit_log, chatbots IN ACCESS EXCLUSIVE MODE")
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=PROJECT,
        env=environment(url_of(platform)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with connect(url_of(platform)) as superuser:
            waiting = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            deadline = time.monotonic() + 60
            while superuser.execute(f"SELECT {waiting}").rowcount == 0:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            if isinstance(end, signal.Signals):
                process.send_signal(end)
            else:
                superuser.execute(f"SELECT {end}(pid) {waiting}")
        said = process.communicate(timeout=60)[1]
    platform.rollback()
    assert (process.returncode, "Traceback" in said) == (1, False), said
    assert sentence in said.splitlines()[-1]


@pytest.mark.parametrize("buffering", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [["app", "usage"], ["app", "audit", "--json"], ["app", "metrics"], ["app", "sql"]])
def test_output_that_cannot_be_written_is_a_sentence(
    people_database: URL, command: list[str], buffering: str, tmp_path: Path
) -> None:
    arguments = [*command, str(tmp_path)] if command[-1] == "sql" else command
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=PROJECT,
            env={**environment(people_database), "PYTHONUNBUFFERED": buffering},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.splitlines()[-1].startswith("Error: The output cannot be written (No space left on device)")


def test_a_closed_pipe_is_a_sentence(people_database: URL) -> None:
    for command in (["app", "audit"], ["alembic", "upgrade", "base:head", "--sql"]):
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECT,
            env=environment(people_database),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert (process.wait(), "Traceback" in said, "Exception ignored" in said) == (1, False, False)
        assert said.splitlines()[-1].startswith("Error: The output cannot be written (Broken pipe)")
        process.stderr.close()


@pytest.mark.parametrize(
    "command",
    [
        ["usage", "--tenant"],
        ["chatbots", "--as"],
        ["history"],
        ["audit", "--tenant"],
        ["doctor", "--as"],
        ["doctor", "--chatbot"],
        ["admins", "grant", "--tenant", "Acme"],
        ["seed", "--tenant"],
        ["preflight", "--config"],
    ],
    ids=" ".join,
)
def test_an_argument_that_is_no_text_is_a_sentence(people_database: URL, command: list[str]) -> None:
    done = run("app", *command, "\udcff", url=people_database)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.fixture
def encoded(host: Host) -> Iterator[Callable[[str], URL]]:
    """Make a database at head in another encoding."""
    made: list[str] = []

    def make(encoding: str) -> URL:
        name = f"in_{encoding.lower()}"
        with connect(host.url("postgres")) as server:
            server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        made.append(name)
        alembic(host.url(name), "upgrade", "head")
        assert run("app", "seed", url=host.url(name)).returncode == 0
        return host.url(name)

    yield make
    with connect(host.url("postgres")) as server:
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(("encoding", "byte", "shown"), [("SQL_ASCII", b"\xff", r"\xff"), ("LATIN1", b"\xe9", "é")])
def test_every_encoding_is_read(encoded: Callable[[str], URL], encoding: str, byte: bytes, shown: str) -> None:
    url = encoded(encoding)
    with connect(url) as connection:
        connection.execute(f"SET client_encoding = '{encoding}'")
        (bot,) = connection.execute("SELECT id FROM chatbots WHERE name ~ 'Sales'").fetchone() or ()
        connection.execute(
            b"UPDATE chatbots SET name = 'x" + byte + b'\', settings = \'{"a": "' + byte + b"\"}' WHERE name ~ 'Sales'"
        )
    for command in (["usage"], ["chatbots"], ["audit"], ["history", str(bot)], ["usage", "--csv"]):
        done = run("app", *command, url=url)
        assert (done.returncode, f"x{shown}" in done.stdout) == (0, True), done.stderr
    for command in (["audit", "--json"], ["history", str(bot), "--json"], ["metrics"], ["doctor"]):
        done = run("app", *command, url=url)
        assert done.returncode in {0, 3}, done.stderr
        if "--json" in command:
            json.loads(done.stdout.splitlines()[0] if command[0] == "audit" else done.stdout)
    foreign = run("app", "history", "\u20ac", url=url)
    assert (foreign.returncode, "Traceback" in foreign.stderr) == (1, False)


def test_an_unforeseen_error_names_the_revision(empty: URL) -> None:
    alembic(empty, "upgrade", "008")
    with connect(empty) as connection:
        connection.execute("""
            CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'not on a Monday' USING ERRCODE = 'ZZ999';
            END $$;
            CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER')
            EXECUTE FUNCTION public.refuse();
        """)
    done = run("alembic", "upgrade", "head", url=empty)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "Database"))]
    assert sentence.startswith("Error: not on a Monday: nobody foresaw this error (SQLSTATE ZZ999)")
    assert sentence.endswith("run the same command again. Stopped in revision 009, by `alembic upgrade 009`.")

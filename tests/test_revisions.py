"""Each revision, up, down and up again, with rows in every table."""

from itertools import pairwise
from pathlib import Path

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.embedded import Server
from tests.people import ACME, ACME_MEMBER, ADMIN, ANONYMOUS, MEMBER, SERVICE, populate
from tests.tools import (
    NEWEST,
    REVISIONS,
    alembic,
    attempt,
    catalog,
    connect,
    copy_of_project,
    dump,
    rows,
    run,
    run_anew,
    url_of,
)

STEPS = list(pairwise(["base", *REVISIONS]))


@pytest.mark.parametrize(("before", "revision"), STEPS)
def test_step_up_down_up(server: Server, empty: URL, before: str, revision: str) -> None:
    with connect(empty) as connection:
        if before != "base":
            alembic(empty, "upgrade", before)
            populate(connection, last=before)
        catalog_before, dump_before, rows_before = catalog(connection), dump(server.binaries, empty), rows(connection)

        alembic(empty, "upgrade", revision)
        catalog_after, dump_after = catalog(connection), dump(server.binaries, empty)
        assert catalog_after != catalog_before
        assert rows_before.items() <= rows(connection).items()  # the step touched nothing that was there

        populate(connection, first=revision, last=revision)
        rows_after = rows(connection)
        alembic(empty, "downgrade", before)
        assert catalog(connection) == catalog_before
        assert dump(server.binaries, empty) == dump_before
        kept = rows(connection)
        assert kept.keys() == rows_before.keys()  # all that was there before the step is there again,
        assert kept.items() <= rows_after.items()  # with every value that it had when the step was undone

        alembic(empty, "upgrade", revision)
        assert catalog(connection) == catalog_after
        assert dump(server.binaries, empty) == dump_after
        assert kept.items() <= rows(connection).items()


def test_whole_chain_up_down_up(server: Server, empty: URL) -> None:
    with connect(empty) as connection:
        catalog_before, dump_before = catalog(connection), dump(server.binaries, empty)
        alembic(empty, "upgrade", "head")
        catalog_after, dump_after = catalog(connection), dump(server.binaries, empty)
        populate(connection)

        alembic(empty, "downgrade", "base")
        assert catalog(connection) == catalog_before
        assert dump(server.binaries, empty) == dump_before
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)

        alembic(empty, "upgrade", "head")
        assert catalog(connection) == catalog_after
        assert dump(server.binaries, empty) == dump_after


def pretend_interrupted(connection: Connection, before: str, revision: str) -> None:
    """Have a database at a revision look as if the step to it had not finished."""
    connection.execute("UPDATE alembic_version SET version_num = %s", (before,))
    connection.execute(f"COMMENT ON TABLE alembic_version IS 'alembic upgrade {revision}'")


@pytest.mark.parametrize(("before", "revision"), STEPS[1:4])
def test_interrupted_step_goes_on(empty: URL, before: str, revision: str) -> None:
    """These commit in parts: run again from any of them, even the last, they end in the same catalog."""
    with connect(empty) as connection:
        alembic(empty, "upgrade", revision)
        finished = catalog(connection)
        pretend_interrupted(connection, before, revision)
        alembic(empty, "upgrade", revision)
        assert catalog(connection) == finished


# An error of the platform's own, where a downgrade has only a function left to drop.
STOP_AT_LAST_PART = """
    CREATE FUNCTION stop() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'Stopped' USING HINT = 'run the same command again'; END
    $$;
    CREATE EVENT TRIGGER stop ON ddl_command_start WHEN TAG IN ('DROP FUNCTION') EXECUTE FUNCTION stop()
"""


@pytest.mark.parametrize(
    ("start", "command", "target", "obstacle", "wrong"),
    [
        pytest.param("006", "upgrade", "007", "UPDATE tenants SET name = name", ("downgrade", "base"), id="up-007"),
        pytest.param("007", "upgrade", "008", "SELECT FROM chatbots", ("downgrade", "006"), id="up-008"),
        pytest.param("008", "upgrade", "009", "UPDATE chatbots SET name = name", ("downgrade", "006"), id="up-009"),
        pytest.param("009", "downgrade", "008", "SELECT FROM chatbots", ("upgrade", "head"), id="down-009"),
        pytest.param("008", "downgrade", "007", STOP_AT_LAST_PART, ("upgrade", "head"), id="down-008"),
        pytest.param("007", "downgrade", "006", STOP_AT_LAST_PART, ("upgrade", "head"), id="down-007"),
    ],
)
def test_a_half_done_step_is_finished_before_another_begins(
    empty: URL, start: str, command: str, target: str, obstacle: str, wrong: tuple[str, str]
) -> None:
    """These commit in parts: the other direction would lose rows, or miss the key that keeps tenants apart."""
    alembic(empty, "upgrade", start)
    with connect(empty) as connection, connect(empty) as other:
        populate(connection, last=start)
        other.autocommit = False
        other.execute(obstacle)
        if obstacle == STOP_AT_LAST_PART:
            other.commit()
        interrupted = run("alembic", "-x", "lock_timeout=100ms", "-x", "retry_for=0", command, target, url=empty)
        assert interrupted.returncode == 1
        assert "run the same command again" in interrupted.stderr.splitlines()[-1]
        other.rollback()
        connection.execute("DROP EVENT TRIGGER IF EXISTS stop; DROP FUNCTION IF EXISTS stop")

        before, kept = catalog(connection), rows(connection)
        refused = run("alembic", *wrong, url=empty)
        assert refused.returncode == 1
        assert f"run `alembic {command} {target}`, which finishes it" in refused.stderr.splitlines()[-1]
        assert (catalog(connection), rows(connection)) == (before, kept)

        alembic(empty, command, target)
        finished = catalog(connection)
        alembic(empty, *wrong)
        alembic(empty, "upgrade" if wrong[0] == "downgrade" else "downgrade", target)
        assert catalog(connection) == finished


def test_an_error_of_the_platforms_own_is_told_in_a_sentence(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute(STOP_AT_LAST_PART.replace(" USING HINT = 'run the same command again'", ""))
        connection.execute("ALTER EVENT TRIGGER stop DISABLE")
        alembic(empty, "upgrade", "007")
        connection.execute("ALTER EVENT TRIGGER stop ENABLE")
        with pytest.raises(SystemExit, match="Error: Stopped: the database's own code refuses it"):
            alembic(empty, "downgrade", "006")


def test_a_step_that_failed_as_a_whole_leaves_the_way_free(empty: URL) -> None:
    alembic(empty, "upgrade", "009")
    with connect(empty) as reader:
        reader.autocommit = False
        reader.execute("SELECT FROM feedback")
        failed = run("alembic", "-x", "lock_timeout=100ms", "-x", "retry_for=0", "upgrade", "head", url=empty)
        assert failed.returncode == 1
    alembic(empty, "downgrade", "base")


@pytest.mark.parametrize(
    ("revision", "index"), [("008", "idx_users_tenant_role"), ("009", "idx_conversations_chatbot_id")]
)
def test_invalid_index_of_an_interrupted_build_is_built_again(empty: URL, revision: str, index: str) -> None:
    with connect(empty) as connection:
        alembic(empty, "upgrade", revision)
        finished = catalog(connection)
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (index,))
        assert catalog(connection) != finished
        pretend_interrupted(connection, f"{int(revision) - 1:03}", revision)
        alembic(empty, "upgrade", revision)
        assert catalog(connection) == finished


def test_between_007_and_008_nobody_but_service_writes_chatbots(empty: URL) -> None:
    alembic(empty, "upgrade", "007")
    with connect(empty) as connection:
        populate(connection, last="007")
        create = f"INSERT INTO chatbots (tenant_id, name, system_prompt, model) VALUES ('{ACME}', 'New', 'New', 'm')"
        for statement in (create, "UPDATE chatbots SET name = 'New'", "DELETE FROM chatbots"):
            assert attempt(connection, SERVICE, statement, {}) in {1, 4}
            for who in (ADMIN, MEMBER, ANONYMOUS):
                assert attempt(connection, who, statement, {}) == "grant"
        assert attempt(connection, ADMIN, "SELECT FROM chatbots", {}) == 1  # the published one
        promote = f"UPDATE users SET tenant_id = '{ACME}' WHERE id = '{ACME_MEMBER}'"
        assert attempt(connection, SERVICE, promote, {}) == 1


def test_downgrade_tells_what_it_loses(platform: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    alembic(url_of(platform), "downgrade", "base")
    told = capsys.readouterr().err
    assert "Downgrading 009 drops the chatbot of 2 conversations." in told
    assert "Downgrading 008 drops the role of 3 admins." in told
    assert "Downgrading 007 drops 4 chatbots." in told
    assert "Downgrading 006 drops 2 tenants, 7 users, 6 conversations, 8 messages, 5 feedback." in told


def test_downgrade_of_an_empty_database_loses_nothing(head: URL, capsys: pytest.CaptureFixture[str]) -> None:
    alembic(head, "downgrade", "base")
    assert "drops" not in capsys.readouterr().err


def test_supabase_default_privileges_open_nothing(empty: URL, head: URL) -> None:
    """Supabase grants clients ALL on every new table and function of public: the outcome is the same."""
    with connect(empty) as connection, connect(head) as plain:
        for kind in ("TABLES", "FUNCTIONS"):
            grantees = "anon, authenticated, service_role"
            connection.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO {grantees}")
            connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {grantees}")
        connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {grantees}")
        alembic(empty, "upgrade", "head")
        assert catalog(connection) == catalog(plain)
        for who in (ANONYMOUS, MEMBER, SERVICE):
            for statement in ("SELECT FROM alembic_version", "TRUNCATE alembic_version", "TRUNCATE chatbots"):
                assert attempt(connection, who, statement, {}) == "grant"


def test_auditor_may_be_granted_the_version_table(platform: Connection) -> None:
    platform.execute("CREATE ROLE auditor; GRANT SELECT ON alembic_version TO auditor; SET LOCAL ROLE auditor")
    assert platform.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEWEST,)]


def test_a_finished_step_tells_postgrest(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute("LISTEN pgrst")
        alembic(empty, "upgrade", "006")
        told = list(connection.notifies(timeout=5, stop_after=1))
        assert [notify.payload for notify in told] == ["reload schema"]


@pytest.mark.parametrize("autogenerate", [False, True], ids=["empty", "autogenerate"])
def test_a_new_revision_asks_for_locks_and_downgrade(head: URL, tmp_path: Path, autogenerate: bool) -> None:
    project = copy_of_project(tmp_path)
    with connect(head) as connection:
        connection.execute("ALTER TABLE messages DROP COLUMN content")
    command = ["alembic", "revision", "--rev-id", "014", "-m", "add content", *["--autogenerate"][: int(autogenerate)]]
    made = run_anew(*command, url=head, cwd=project)
    assert made.returncode == 0, made.stderr
    text = (project / "alembic/versions/014_add_content.py").read_text()
    compile(text, "014", "exec")
    assert f"down_revision = '{NEWEST}'" in text
    assert all(f"\n{prompt}: " in text for prompt in ("What", "Locks", "Downgrade"))
    assert ("op.add_column" in text, "import sqlalchemy as sa" in text) == (autogenerate, autogenerate)


def test_nothing_is_left_unvalidated(head: URL) -> None:
    """What is added NOT VALID or built CONCURRENTLY is finished."""
    with connect(head) as connection:
        unfinished = connection.execute("""
            SELECT conname FROM pg_constraint WHERE NOT convalidated
            UNION ALL SELECT indexrelid::regclass::text FROM pg_index WHERE NOT (indisvalid AND indisready)
        """).fetchall()
        assert unfinished == []

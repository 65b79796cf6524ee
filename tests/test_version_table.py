"""The version table: lost, emptied, wrong; what `alembic stamp` records, and what it refuses."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import Connection
from sqlalchemy import URL

from app.embedded import Server
from app.errors import SetupError
from app.migration.lineage import MADE, STANDING, ours
from app.migration.preflight import preflight
from app.migration.settings import configuration, revisions
from tests.people import populate
from tests.platforms import ODD, PLAIN, ROLES, SUPABASE, settle, settle_guide
from tests.tools import NEWEST, PROJECT, REVISIONS, alembic, catalog, connect, database_url, psql, rows, run

RECORDED = "SELECT version_num FROM alembic_version"


def test_each_revision_is_recognised() -> None:
    assert [*MADE] == ours(revisions(configuration())) == [*REVISIONS]


PLATFORMS: dict[str, tuple[Callable[[Connection], object], tuple[str, ...]]] = {
    "fresh": (lambda _: None, ()),
    "plain": (lambda connection: settle(connection, PLAIN), ()),
    "supabase": (lambda connection: settle(connection, SUPABASE), ()),
    "odd": (lambda connection: connection.execute(f"{ROLES}; {ODD}".encode()), ("-x", "admin_role=owner")),
    "guide": (settle_guide, ("-x", "admin_role=admin")),
    "by-hand": (lambda connection: settle_guide(connection, by_hand=True), ()),
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_revision_is_recognised_on_each_platform(empty: URL, platform: str) -> None:
    settle_platform, options = PLATFORMS[platform]
    with connect(empty) as connection:
        settle_platform(connection)
        for revision in REVISIONS:
            alembic(empty, *options, "upgrade", revision)
            standing: dict[str, bool | None] = dict(connection.execute(STANDING).fetchall())
            # Only of notes, which some platforms had before, nothing tells until 010.
            assert [each for each in REVISIONS if standing[each] is not False] in (
                [each for each in REVISIONS if each <= revision],
                [each for each in REVISIONS if each <= revision or each == "010"],
            )
            assert all(standing[each] for each in REVISIONS if each <= revision)


@pytest.mark.parametrize(
    "accident",
    [
        pytest.param("DROP TABLE alembic_version", id="dropped"),
        pytest.param("DELETE FROM alembic_version", id="emptied"),
        pytest.param("UPDATE alembic_version SET version_num = '006'", id="too-old"),
        pytest.param(f"UPDATE alembic_version SET version_num = '{NEWEST}'", id="too-new"),
    ],
)
def test_a_lost_or_wrong_revision_is_told_with_the_stamp_that_mends_it(empty: URL, accident: str) -> None:
    with connect(empty) as connection:
        for revision in REVISIONS:
            alembic(empty, "upgrade", revision)
            if f"'{revision}'" in accident:  # it is not wrong
                continue
            before = catalog(connection)
            connection.execute(accident)
            for command in ("upgrade head", "downgrade -1", "check", "current"):
                with pytest.raises(SystemExit, match=f"looks like revision {revision}: run `alembic stamp {revision}`"):
                    alembic(empty, *command.split())
            with database_url(empty), pytest.raises(SetupError, match=f"run `alembic stamp {revision}`"):
                preflight(configuration())
            alembic(empty, "stamp", revision)
            assert connection.execute(RECORDED).fetchall() == [(revision,)]
            assert catalog(connection) == before
    alembic(empty, "check")


def test_the_doctor_tells_it_too(head: URL) -> None:
    with connect(head) as connection:
        connection.execute("DROP TABLE alembic_version")
    told = run("app", "doctor", url=head)
    assert told.returncode == 1
    assert f"run `alembic stamp {NEWEST}`" in told.stderr.splitlines()[-1]


def test_a_stamp_makes_the_version_table_for_the_owner_of_the_schema(empty: URL) -> None:
    with connect(empty) as connection:
        connection.execute("DROP ROLE IF EXISTS keeper; CREATE ROLE keeper LOGIN SUPERUSER")
        alembic(empty.set(username="keeper"), "upgrade", "head")
        before = catalog(connection)
        connection.execute("DROP TABLE alembic_version")
        alembic(empty, "stamp", "head")
        assert catalog(connection) == before
        alembic(empty.set(username="keeper"), "downgrade", "base")
        connection.execute("DROP OWNED BY keeper; DROP ROLE keeper")


def test_a_half_restored_schema_gets_no_advice_that_drops(head: URL) -> None:
    """Tables came back from a backup of an older revision, and the version table did not."""
    with connect(head) as connection:
        connection.execute("DROP TABLE audit_log, alembic_version; DROP FUNCTION chatbot_private.audit_row CASCADE")
    with pytest.raises(SystemExit, match=f"looks like revision {NEWEST} without 012: restore both from a backup"):
        alembic(head, "upgrade", "head")


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ("stamp 007", "looks like revision 015, not 007: run `alembic downgrade 007`, which"),
        ("stamp base", "looks like revision 015, not base: run `alembic downgrade base`, which"),
        ("stamp --purge 008", "looks like revision 015, not 008: run `alembic downgrade 008`, which"),
        ("stamp --purge base", "looks like revision 015, not base: run `alembic downgrade base`, which"),
        ("stamp head", ""),
        ("stamp heads", ""),
        ("stamp 015", ""),
        ("stamp --purge head", ""),
        ("stamp --purge 015", ""),
        ("ensure_version", ""),
    ],
)
def test_what_only_records_a_revision_records_no_other_than_the_schemas(head: URL, command: str, refusal: str) -> None:
    with connect(head) as connection:
        before = catalog(connection)
        if refusal:
            with pytest.raises(SystemExit, match=re.escape(refusal)):
                alembic(head, *command.split())
        else:
            alembic(head, *command.split())
        assert (catalog(connection), connection.execute(RECORDED).fetchall()) == (before, [(NEWEST,)])
    alembic(head, "check")


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ("stamp head", f"no revision of this package, not {NEWEST}: run `alembic upgrade {NEWEST}`"),
        ("stamp --purge head", f"no revision of this package, not {NEWEST}: run `alembic upgrade {NEWEST}`"),
        ("ensure_version", "The version table comes with the first revision: run `alembic upgrade head`"),
        ("ensure_version --sql", "The version table comes with the first revision: run `alembic upgrade head`"),
    ],
)
def test_nothing_makes_a_version_table_without_the_schema(empty: URL, command: str, refusal: str) -> None:
    with pytest.raises(SystemExit, match=refusal):
        alembic(empty, *command.split())
    with connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


@pytest.mark.parametrize("command", ["stamp head", "stamp --purge head", "stamp --purge 006", "stamp base"])
def test_another_projects_version_table_is_not_stamped(head: URL, command: str) -> None:
    """Also where our schema stands beside it."""
    with connect(head) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ae1027a6acf'")
        with pytest.raises(SystemExit, match="holds revision ae1027a6acf of another project"):
            alembic(head, *command.split())
        assert connection.execute(RECORDED).fetchall() == [("ae1027a6acf",)]


def test_a_stamp_leaves_the_note_of_a_half_done_step(empty: URL) -> None:
    alembic(empty, "upgrade", "007")
    with connect(empty) as connection:
        connection.execute("COMMENT ON TABLE alembic_version IS 'alembic upgrade 008'")
        for command in ("stamp 007", "stamp 008", "stamp --purge 007"):
            with pytest.raises(SystemExit, match="run `alembic upgrade 008`, which finishes it"):
                alembic(empty, *command.split())
    alembic(empty, "upgrade", "008")


def test_a_wrong_stamp_loses_no_row(empty: URL) -> None:
    alembic(empty, "upgrade", "head")
    with connect(empty) as connection:
        populate(connection)
        before = rows(connection)
        connection.execute("UPDATE alembic_version SET version_num = '008'")
        for command in ("downgrade 006", "downgrade base", "upgrade head", "stamp 009"):
            with pytest.raises(SystemExit, match=f"looks like revision {NEWEST}"):
                alembic(empty, *command.split())
        assert rows(connection) == before


def test_a_script_of_a_stamp_judges_it_too(
    server: Server, empty: URL, head: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    alembic(empty, "stamp", f"008:{NEWEST}", "--sql")
    script = capsys.readouterr().out
    alembic(empty, "upgrade", "008")
    told = psql(server.binaries, empty, script=script)
    assert (told.returncode, "looks like revision 008, not 015: run `alembic upgrade 015`" in told.stderr) == (3, True)
    with connect(empty) as connection, connect(head) as other:
        assert connection.execute(RECORDED).fetchall() == [("008",)]
        other.execute("UPDATE alembic_version SET version_num = '008'")
        assert psql(server.binaries, head, script=script).returncode == 0
        assert other.execute(RECORDED).fetchall() == [(NEWEST,)]
    alembic(head, "check")


def test_settings_that_name_another_version_table_are_told(head: URL, tmp_path: Path) -> None:
    """A stamp would make a second one."""
    settings = (PROJECT / "alembic.ini").read_text().replace("%(here)s", str(PROJECT))
    ini = tmp_path / "alembic.ini"
    ini.write_text(settings.replace("version_table = alembic_version", "version_table = chatbots_version"))
    with connect(head) as connection:
        connection.execute("CREATE TABLE others (version_num text); INSERT INTO others VALUES ('ae1027a6acf')")
        for command in ("upgrade head", "check", "stamp head", "stamp --purge head"):
            done = run("alembic", "-c", str(ini), *command.split(), url=head)
            assert done.returncode == 1
            assert "Table alembic_version records the revision of this database already" in done.stderr.splitlines()[-1]
        assert connection.execute("SELECT to_regclass('public.chatbots_version')").fetchone() == (None,)

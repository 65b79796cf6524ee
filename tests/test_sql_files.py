"""`python -m app sql`: the guide's files, through psql and as an SQL editor runs them."""

import errno
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from app.embedded import Server
from app.errors import SetupError
from app.migration.files import files, write
from app.migration.settings import configuration
from tests.people import populate
from tests.platforms import PLAIN, ROLES, SUPABASE, SUPABASE_OWNER, SUPABASE_PROJECT, settle
from tests.test_seed import GUIDES_SIX
from tests.tools import NEWEST, alembic, catalog, connect, copy_of_project, dump, psql, rows, run, run_anew

UPGRADES = {
    "006": "006_platform_baseline",
    "007": "007_create_chatbots_table",
    "008": "008_add_users_role_column",
    "009": "009_add_conversations_chatbot_id",
    "010": "010_add_feedback_notes_column",
    "011": "011_add_usage_functions",
    "012": "012_add_audit_log",
    "013": "013_add_chatbot_versions",
    "014": "014_add_categories_and_tags",
    "015": "015_check_chatbot_tools",
}
ROLLBACKS = {  # by the revision that they take back
    "015": "rollback_015_check_chatbot_tools",
    "014": "rollback_014_add_categories_and_tags",
    "013": "rollback_013_add_chatbot_versions",
    "012": "rollback_012_add_audit_log",
    "011": "rollback_011_add_usage_functions",
    "010": "rollback_010_feedback_notes",
    "009": "rollback_009_conversations_chatbot",
    "008": "rollback_008_users_role",
    "007": "rollback_007_chatbots",
}
APPLY, ROLL_BACK, SEED = "apply_multi_agent_migrations", "rollback_multi_agent_migrations", "seed_chatbots_data"
FILES = files(configuration())

SETTINGS = r"SELECT name, setting FROM pg_settings WHERE name !~ '\.' ORDER BY name"

Run = Callable[[URL, str], str]  # runs a file; what it said, errors included


@pytest.fixture
def ways(server: Server, tmp_path: Path) -> dict[str, Run]:
    def by_psql(url: URL, name: str) -> str:
        path = tmp_path / f"{name}.sql"
        path.write_text(FILES[name])
        return psql(server.binaries, url, "-f", str(path)).stderr

    def by_editor(url: URL, name: str) -> str:
        """A transaction of its own around it, which goes on afterwards."""
        said: list[str] = []
        with connect(url) as connection:
            connection.add_notice_handler(lambda diagnostic: said.append(diagnostic.message_primary or ""))
            try:
                with connection.transaction():
                    before = connection.execute(SETTINGS).fetchall()
                    connection.execute(FILES[name].encode())
                    after = connection.execute(SETTINGS).fetchall()
                assert after == before
            except psycopg.Error as error:
                said.append(f"ERROR:  {error}")
        return "\n".join(said)

    return {"psql": by_psql, "editor": by_editor}


@pytest.fixture(params=["psql", "editor"])
def run_file(request: pytest.FixtureRequest, ways: dict[str, Run]) -> Run:
    return ways[request.param]


@pytest.fixture(params=["fresh", "plain, adopted", "Supabase", "Supabase, adopted"])
def place(request: pytest.FixtureRequest, empty: URL) -> URL:
    """A database to upgrade, and the role to do it as."""
    with connect(empty) as connection:
        match request.param:
            case "plain, adopted":
                settle(connection, PLAIN)
            case "Supabase":
                connection.execute(ROLES)
                connection.execute(SUPABASE_PROJECT)
                return empty.set(username=SUPABASE_OWNER)
            case "Supabase, adopted":
                settle(connection, SUPABASE)
    return empty


def state(url: URL, binaries: Path) -> tuple[list[str], str, object]:
    """The catalog as the tests read it, as pg_dump writes it, and the revision."""
    with connect(url) as connection:
        revision = None
        if connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() != (None,):
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return catalog(connection), dump(binaries, url), revision


def row_by_row(url: URL) -> dict[str, tuple[int, str]]:
    with connect(url) as connection:
        return rows(connection)


def test_the_files_are_the_guides() -> None:
    assert set(FILES) == {*UPGRADES.values(), *ROLLBACKS.values(), APPLY, ROLL_BACK, SEED}
    assert files(configuration()) == FILES
    for text in FILES.values():
        assert re.search(r"^\s*CREATE (UNIQUE )?INDEX CONCURRENTLY", text, re.MULTILINE) is None


def test_each_file_makes_what_alembic_makes(server: Server, place: URL, ways: dict[str, Run]) -> None:
    """Up and down again a file at a time, each of them twice; Alembic takes over."""
    by_alembic = {"base": state(place, server.binaries)}
    for revision in UPGRADES:
        alembic(place, "upgrade", revision)
        by_alembic[revision] = state(place, server.binaries)
    alembic(place, "downgrade", "base")
    assert state(place, server.binaries) == by_alembic["base"]

    def run_twice(way: str, name: str, revision: str) -> None:
        assert f"This database is at revision {revision}." in ways[way](place, name)
        assert state(place, server.binaries) == by_alembic[revision], way
        assert f"This database is at revision {revision}." in ways[way](place, name)
        with connect(place) as connection:
            assert catalog(connection) == by_alembic[revision][0], way

    before = row_by_row(place)
    for way in ways:
        for revision, name in UPGRADES.items():
            run_twice(way, name, revision)
        kept = row_by_row(place)
        assert before.items() <= kept.items()
        alembic(place, "check")
        for revision, name in ROLLBACKS.items():
            run_twice(way, name, f"{int(revision) - 1:03}")
        assert row_by_row(place).items() <= kept.items()
        assert before.items() <= row_by_row(place).items()
        alembic(place, "upgrade", "head")
        alembic(place, "downgrade", "base")
        assert state(place, server.binaries) == by_alembic["base"]


@pytest.mark.parametrize("start", ["base", "006", "008", NEWEST])
def test_all_at_once_from_wherever_it_is(server: Server, empty: URL, head: URL, run_file: Run, start: str) -> None:
    if start != "base":
        alembic(empty, "upgrade", start)
    for _again in range(2):
        assert f"This database is at revision {NEWEST}." in run_file(empty, APPLY)
        assert state(empty, server.binaries) == state(head, server.binaries)
    if start not in {"base", "006"}:
        alembic(empty, "downgrade", start)
    for _again in range(2):
        assert "This database is at revision 006." in run_file(empty, ROLL_BACK)
    alembic(head, "downgrade", "006")
    assert state(empty, server.binaries) == state(head, server.binaries)


@pytest.mark.parametrize(
    ("start", "name", "first"),
    [
        *((start, UPGRADES[to], UPGRADES[f"{int(start) + 1:03}"]) for start, to in [("006", "008"), ("008", "010")]),
        *(("base", name, "006_platform_baseline") for revision, name in UPGRADES.items() if revision > "006"),
        *((NEWEST, name, ROLLBACKS[NEWEST]) for revision, name in ROLLBACKS.items() if revision < NEWEST),
        ("008", ROLLBACKS["007"], ROLLBACKS["008"]),
        ("base", SEED, APPLY),
        ("009", SEED, APPLY),
    ],
)
def test_out_of_order_it_says_what_comes_first(
    request: pytest.FixtureRequest, server: Server, run_file: Run, start: str, name: str, first: str
) -> None:
    url = request.getfixturevalue("head" if start == NEWEST else "empty")
    if start not in {"base", NEWEST}:
        alembic(url, "upgrade", start)
    before = state(url, server.binaries)
    assert f"This database is at {start}: run {first}.sql first. Nothing was changed." in run_file(url, name)
    assert state(url, server.binaries) == before


@pytest.mark.parametrize("name", [*ROLLBACKS.values(), ROLL_BACK])
def test_there_is_nothing_to_take_back_of_an_empty_database(
    server: Server, empty: URL, run_file: Run, name: str
) -> None:
    before = state(empty, server.binaries)
    assert "This database is at revision base." in run_file(empty, name)
    assert state(empty, server.binaries) == before


def test_what_does_not_fit_changes_nothing(server: Server, empty: URL, run_file: Run) -> None:
    """Of any of its steps, and also where psql goes on after an error."""
    with connect(empty) as connection:
        settle(connection, PLAIN + "; ALTER TABLE users ADD COLUMN role text DEFAULT 'admin'")
    before = state(empty, server.binaries)
    said = run_file(empty, APPLY)
    assert "Nothing was changed, because this database does not fit:" in said
    assert "users.role is there already, with the values 'admin' (7): say which of them" in said
    assert "This database is at" not in said
    assert state(empty, server.binaries) == before


def test_a_rollback_tells_what_it_loses(platform: psycopg.Connection, run_file: Run, people_database: URL) -> None:
    url = people_database.set(database=platform.info.dbname)
    platform.execute("CREATE VIEW tall AS SELECT notes FROM feedback")
    platform.commit()
    said = run_file(url, ROLL_BACK)
    assert "Downgrading 009 drops the chatbot of 2 conversations." in said
    assert "Downgrading 008 drops the role of 3 admins." in said
    assert "Downgrading 007 drops 4 chatbots." in said


def test_a_version_table_of_another_project_stays(server: Server, empty: URL, run_file: Run) -> None:
    with connect(empty) as connection:
        connection.execute(
            "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('1a2b')"
        )
    before = state(empty, server.binaries)
    assert "holds revision 1a2b of another project" in run_file(empty, APPLY)
    assert state(empty, server.binaries) == before


def test_a_step_that_alembic_left_half_done_is_finished_by_its_own_file(
    server: Server, empty: URL, head: URL, run_file: Run
) -> None:
    alembic(empty, "upgrade", "008")
    with connect(empty) as connection:
        connection.execute("ALTER TABLE conversations ADD COLUMN chatbot_id uuid")  # as far as it got
        connection.execute("COMMENT ON TABLE alembic_version IS 'alembic upgrade 009'")
        populate(connection, first="010", last="009")
    for other in (ROLLBACKS["008"], ROLL_BACK):
        assert "run `alembic upgrade 009`, which finishes it, before anything else" in run_file(empty, other)
    with connect(empty) as connection:
        connection.execute("ALTER TABLE conversations DROP COLUMN chatbot_id")
    run_file(empty, UPGRADES["009"])
    run_file(empty, APPLY)
    assert state(empty, server.binaries) == state(head, server.binaries)


def test_one_run_at_a_time(server: Server, empty: URL, run_file: Run) -> None:
    before = state(empty, server.binaries)
    with connect(empty) as other:
        other.execute("SELECT pg_advisory_lock(7163082359828345971)")
        assert "Another upgrade of this database is at work" in run_file(empty, APPLY)
    assert state(empty, server.binaries) == before


def test_nobodys_functions_are_taken_for_postgresqls(empty: URL, run_file: Run) -> None:
    """As in a run of Alembic: what lies in public, first in the search path, is not called."""
    with connect(empty) as connection:
        connection.execute("""
            CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'planted'; END
            $$;
            CREATE FUNCTION public.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'planted'; END
            $$
        """)
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog'.encode())
        said = run_file(empty, APPLY)
        connection.execute(f'ALTER DATABASE "{name}" RESET search_path'.encode())
    assert f"This database is at revision {NEWEST}." in said


def samples(url: URL) -> list[tuple[object, ...]]:
    with connect(url) as connection:
        return [
            *connection.execute("SELECT id, name FROM tenants ORDER BY id"),
            *connection.execute("SELECT id, tenant_id, email, full_name, is_active, role FROM users ORDER BY id"),
            *connection.execute("""
                SELECT id, tenant_id, created_by, name, description, system_prompt, model, temperature, max_tokens,
                    settings, is_published, category, tags FROM chatbots ORDER BY id
            """),
        ]


def test_seeds_what_the_verb_seeds(place: URL, ways: dict[str, Run]) -> None:
    def seed_by_the_verb() -> None:
        assert run("app", "seed", url=place).returncode == 0

    alembic(place, "upgrade", "head")
    seeds: list[Callable[[], object]] = [seed_by_the_verb, *(partial(way, place, SEED) for way in ways.values())]
    seeded = []
    for seed in seeds:
        for _again in range(2):
            seed()
            seeded.append(samples(place))
        with connect(place) as connection:
            assert dict(connection.execute("SELECT name, is_published FROM chatbots")) == GUIDES_SIX
            connection.execute("""
                DELETE FROM chatbots;
                DELETE FROM users WHERE email LIKE '%@demo.example';
                DELETE FROM tenants WHERE name = 'Demo'
            """)
    assert all(each == seeded[0] for each in seeded)


def test_overwrites_nothing_unasked(tmp_path: Path) -> None:
    directory = tmp_path / "some" / "migrations"
    assert len(write(directory, configuration())) == len(FILES)
    assert {path.stem: path.read_text() for path in directory.iterdir()} == FILES
    assert write(directory, configuration()) == []
    (directory / f"{APPLY}.sql").write_text("-- mine")
    (directory / f"{SEED}.sql").unlink()
    with pytest.raises(SetupError, match=f"other contents in {APPLY}.sql: move them, or overwrite them with --force"):
        write(directory, configuration())
    assert not (directory / f"{SEED}.sql").exists()
    assert (directory / f"{APPLY}.sql").read_text() == "-- mine"
    assert {path.stem for path in write(directory, configuration(), force=True)} == {APPLY, SEED}
    assert {path.stem: path.read_text() for path in directory.iterdir()} == FILES


def test_where_there_is_no_room_for_all_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        if path.name.startswith("rollback"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(SetupError, match=r"Cannot write .*No space left on device"):
        write(tmp_path, configuration())
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_write_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run("app", "sql", str(tmp_path / "file"))
    assert said.returncode == 1
    assert "Error: Cannot write " in said.stderr
    assert "Traceback" not in said.stderr


def test_the_verb_needs_no_database(tmp_path: Path) -> None:
    said = run("app", "sql", str(tmp_path), url="postgresql://nowhere.invalid/x")
    assert (said.returncode, said.stderr) == (0, "")
    assert len(said.stdout.splitlines()) == len(FILES)
    again = run("app", "sql", str(tmp_path))
    assert again.stdout == f"All files are in {tmp_path} already.\n"


def test_a_later_revision_gets_a_pair(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    (project / "alembic/versions/016_add_things.py").write_text('''"""Add things.

What: a table.
Locks: none.
Downgrade: drops it.
"""

from alembic import op

revision, down_revision, branch_labels, depends_on = "016", "015", None, None


def upgrade() -> None:
    op.execute("CREATE TABLE public.things ()")


def downgrade() -> None:
    op.execute("DROP TABLE public.things")
''')
    lineage = project / "app/migration/lineage.py"  # without an entry there, it would be a revision of a user's own
    lineage.write_text(lineage.read_text().replace('    "015":', '    "016": ("public.things",),\n    "015":'))
    said = run_anew("app", "sql", str(tmp_path / "out"), cwd=project)
    assert said.returncode == 0, said.stderr
    made = {path.stem: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert set(made) - set(FILES) == {"016_add_things", "rollback_016_add_things"}
    assert "CREATE TABLE public.things ();" in made[APPLY]
    assert "DROP TABLE public.things;" in made[ROLL_BACK]


def test_another_version_table(server: Server, empty: URL, tmp_path: Path) -> None:
    settings = tmp_path / "alembic.ini"
    settings.write_text("[chatbots]\nscript_location = /nowhere\n[other]\n")
    command = ["app", "sql", str(tmp_path / "out"), "-c", str(settings)]
    for section in ("chatbots", "other"):
        wrong = run(*command, "-n", section)
        assert (wrong.returncode, "leads to no revisions of this package" in wrong.stderr) == (1, True)
    assert "has no section [alembic]: name one with --name" in run(*command).stderr
    versions = Path(__file__).parents[1] / "alembic"
    settings.write_text(f"[chatbots]\nscript_location = {versions}\nversion_table = chatbots_version\n")
    said = run(*command, "-n", "chatbots")
    assert said.returncode == 0, said.stderr
    psql(server.binaries, empty, "-f", str(tmp_path / "out" / f"{APPLY}.sql"))
    with connect(empty) as connection:
        assert connection.execute("SELECT version_num FROM chatbots_version").fetchall() == [(NEWEST,)]
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)

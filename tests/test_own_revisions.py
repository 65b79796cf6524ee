"""Revisions of the user's own beside ours: on top, on a branch, independent, merged."""

import ast
import shutil
from pathlib import Path

import pytest
from alembic.config import main as alembic_main
from sqlalchemy import URL

from app.embedded import Server
from app.migration.settings import configuration, revisions
from tests.tools import NEWEST, PROJECT, alembic, catalog, connect, database_url, psql, run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The settings of a checkout to which a user adds revisions."""
    shutil.copytree(PROJECT / "alembic", tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(shutil.copy(PROJECT / "alembic.ini", tmp_path))


def own(project: Path, revision: str, after: str | None, depends_on: str | None = None) -> None:
    """Add a revision that declares nothing, names no schema, and that only a connection can run."""
    (project.parent / f"alembic/versions/{revision}_own.py").write_text(f"""
from alembic import context, op
from sqlalchemy import Column, Integer
revision, down_revision, branch_labels, depends_on = {revision!r}, {after!r}, None, {depends_on!r}
def upgrade():
    if not context.is_offline_mode():
        op.get_bind().exec_driver_sql("SELECT 1").one()
    op.create_table("own_{revision}", Column("id", Integer, primary_key=True))
    op.execute("COMMENT ON TABLE own_{revision} IS 'own'")
def downgrade():
    op.drop_table("own_{revision}")
""")


def go(url: URL, project: Path, command: str, *arguments: str) -> None:
    """Run an alembic command in this process."""
    with database_url(url):
        alembic_main(["-c", str(project), *command.split(), *arguments], prog="alembic")


def recorded(url: URL) -> list[str]:
    with connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version ORDER BY 1")]


def said_by(url: URL, project: Path, command: str) -> str:
    """Run a command of ours, and return what it printed."""
    done = run("app", *command.split(), "-c", str(project), url=url)
    assert done.returncode in {0, 3}, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "message",
    ['it\'s "quoted"', 'ends in """', r"back\slash \N{x} \u12", "two\nlines", "percent %s ${x} <% y %>", ""],
)
def test_any_message_makes_a_revision(head: URL, project: Path, message: str) -> None:
    go(head, project, "revision --rev-id mine -m", message)
    (file,) = (project.parent / "alembic/versions").glob("mine_*.py")
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring is not None
    assert docstring.startswith(" ".join(message.split()) + ": say")
    for command in ("heads", "upgrade heads", "check", f"downgrade {NEWEST}"):
        go(head, project, command)


@pytest.mark.parametrize(
    ("command", "heads"),
    [
        ("revision", ["mine"]),
        ("revision --autogenerate", ["mine"]),
        ("revision --head base", [NEWEST, "mine"]),
        ("revision --head base --splice", [NEWEST, "mine"]),
        ("revision --head 008 --splice", [NEWEST, "mine"]),
        ("revision --head 008 --splice --branch-label it's --depends-on 012", [NEWEST, "mine"]),
        ("revision --branch-label a --branch-label b", ["mine"]),
        ("merge heads", ["mine"]),
        ("merge 015 other --branch-label both", ["mine"]),
    ],
)
def test_each_way_to_make_a_revision_makes_one_that_runs(
    head: URL, project: Path, command: str, heads: list[str]
) -> None:
    if command.startswith("merge"):
        own(project, "other", "008")
    go(head, project, command, "--rev-id", "mine", "-m", "mine")
    go(head, project, "heads")
    assert sorted(revisions(configuration(project)).get_heads()) == heads
    with connect(head) as connection:
        before = catalog(connection)
    go(head, project, "upgrade heads")
    assert recorded(head) == heads
    for each in ("check", "current", "downgrade 014", "upgrade heads", "check", "downgrade base", "upgrade 015"):
        go(head, project, each)
    with connect(head) as connection:
        assert catalog(connection) == before


PLACES: dict[str, list[tuple[str, str | None, str | None]]] = {
    "on top": [("own1", NEWEST, None)],
    "on a branch": [("own1", "008", None)],
    "independent": [("own1", None, None)],
    "independent but later": [("own1", None, "012")],
    "several": [("own1", "006", None), ("own2", None, None), ("own3", "own1", "015"), ("own4", NEWEST, None)],
}


@pytest.fixture(params=PLACES.values(), ids=[*PLACES])
def beside(request: pytest.FixtureRequest, project: Path) -> Path:
    for each in request.param:
        own(project, *each)
    return project


def test_every_command_understands_several_revisions(empty: URL, beside: Path, tmp_path: Path) -> None:
    assert "own1\n     locks:     the revision does not say" in said_by(empty, beside, "preflight")
    go(empty, beside, "upgrade heads")
    rows = recorded(empty)
    for command in ("check", "current", "stamp heads", "stamp --purge heads", "ensure_version"):
        go(empty, beside, command)
        assert recorded(empty) == rows
    assert f"At revision {', '.join(rows)}." in said_by(empty, beside, "preflight")
    assert "Nothing to mend." in said_by(empty, beside, "doctor")
    assert "Left out your own revisions (" in said_by(empty, beside, f"sql {tmp_path / 'files'}")
    go(empty, beside, "downgrade own1@-1")
    assert "run `alembic upgrade head" in said_by(empty, beside, "doctor")
    go(empty, beside, "upgrade heads")
    go(empty, beside, "downgrade 006")
    go(empty, beside, "upgrade heads")
    assert recorded(empty) == rows
    go(empty, beside, "check")
    go(empty, beside, "downgrade base")
    with connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,)


def test_scripts_go_by_all_revisions(
    server: Server, empty: URL, beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run twice, a script changes nothing; a script that would leave something out is refused."""

    def script(command: str) -> str:
        capsys.readouterr()
        go(empty, beside, f"{command} --sql")
        return capsys.readouterr().out

    def run_script(text: str) -> str:
        return psql(server.binaries, empty, script=text).stderr

    up, down, ours = script("upgrade 006:heads"), script("downgrade 010:006"), script("upgrade 006:010")
    go(empty, beside, "upgrade heads")
    rows = recorded(empty)
    with connect(empty) as connection:
        finished = catalog(connection)
        assert "ERROR" not in run_script(up)
        assert f"This database is at {', '.join(rows)}: run " in run_script(down)
        assert (recorded(empty), catalog(connection)) == (rows, finished)
        go(empty, beside, "downgrade base")
        go(empty, beside, "upgrade 006")
        assert "ERROR" not in run_script(up)
        assert (recorded(empty), catalog(connection)) == (rows, finished)
        assert "ERROR" not in run_script(ours)
        assert (recorded(empty), catalog(connection)) == (rows, finished)


def test_files_refuse_a_database_with_a_revision_that_they_do_not_know(
    server: Server, empty: URL, project: Path, tmp_path: Path
) -> None:
    own(project, "own1", "008")
    assert "Left out your own revisions (own1)" in said_by(empty, project, f"sql {tmp_path / 'files'}")

    def run_file(name: str) -> str:
        return psql(server.binaries, empty, "-f", str(tmp_path / f"files/{name}.sql")).stderr

    go(empty, project, "upgrade own1")
    assert "This database is at own1: run `alembic upgrade 015` first" in run_file("apply_multi_agent_migrations")
    go(empty, project, "upgrade 015")
    assert "This database is at revision 015, own1." in run_file("apply_multi_agent_migrations")
    assert "This database is at 015, own1: run `alembic downgrade 006` first" in run_file(
        "rollback_multi_agent_migrations"
    )
    assert "ERROR" not in run_file("seed_chatbots_data")
    assert recorded(empty) == ["015", "own1"]


def test_another_projects_rows_are_not_ours(head: URL) -> None:
    """Whichever of them a revision of ours stands beside."""
    with connect(head) as connection:
        connection.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    for command in ("upgrade", "downgrade", "stamp"):
        with pytest.raises(SystemExit, match="holds revision 015, ae1027a6acf of another project"):
            alembic(head, command, "006")


def test_a_downgrade_past_a_revision_of_the_users_own_says_what_comes_first(head: URL, project: Path) -> None:
    (project.parent / "alembic/versions/own1.py").write_text("""
from alembic import op
revision, down_revision, branch_labels, depends_on = "own1", "015", None, None
def upgrade():
    op.execute("CREATE TABLE public.own1 (chatbot_id uuid REFERENCES public.chatbots)")
def downgrade():
    op.execute("DROP TABLE public.own1")
""")
    go(head, project, "upgrade head")
    first = (
        r"table public.own1: drop or change it.*\nIf revisions of your own made this, run `alembic downgrade own1@-1`"
    )
    with pytest.raises(SystemExit, match=first):
        go(head, project, "downgrade 006")
    assert recorded(head) == ["own1"]
    go(head, project, "downgrade own1@-1")
    go(head, project, "downgrade 006")

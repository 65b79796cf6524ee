"""The wheel: revisions without a checkout, alone and beside an application's own Alembic."""

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.test_readme import blocks
from tests.tools import PROJECT, REVISIONS, catalog, connect, copy_of_project, environment

Run = Callable[..., subprocess.CompletedProcess[str]]
ALONE, BESIDE = blocks("ini")
(COMMANDS,) = (block.splitlines() for block in blocks("sh") if "-n chatbots" in block)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and with what it needs, but without the checkout."""
    home = tmp_path_factory.mktemp("package")
    source = copy_of_project(home)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = home.glob("*.whl")
    venv.create(home / "venv")
    python = home / "venv/bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (home / "venv/lib").glob("python*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_path("purelib"))  # no .pth of that is read: it has a link to us
    return python


@pytest.fixture
def application(tmp_path: Path, installed: Path) -> tuple[Path, Run]:
    """An application's directory, and how to run a module's command line in it."""

    def run(*command: str, url: URL | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed, "-I", "-W", "error", "-m", *command],
            cwd=tmp_path,
            env=environment(url),
            capture_output=True,
            text=True,
            check=False,
        )

    return tmp_path, run


def test_holds_what_it_needs_and_nothing_beside(installed: Path) -> None:
    (site,) = (installed.parents[1] / "lib").glob("python*/site-packages")
    top = {path.name for path in site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert top == {"app"}
    revisions = {path.name for path in (PROJECT / "alembic/versions").glob("*.py")}
    assert {path.name for path in (site / "app/alembic/versions").glob("*.py")} == revisions


def test_upgrades_a_database_without_the_checkout(application: tuple[Path, Run], empty: URL, head: URL) -> None:
    directory, run = application
    (directory / "alembic.ini").write_text(ALONE)
    for command in (["alembic", "upgrade", "head"], ["alembic", "check"], ["app", "preflight"], ["app", "seed"]):
        done = run(*command, url=empty)
        assert done.returncode == 0, done.stderr
    down = run("alembic", "downgrade", "base", url=empty)
    assert "INFO    Running downgrade 006 -> " in down.stderr
    assert "WARNING Downgrading 007 drops 6 chatbots." in down.stderr
    run("alembic", "upgrade", "head", url=empty)
    with connect(empty) as connection, connect(head) as other:
        assert catalog(connection) == catalog(other)
    written = run("app", "sql", "migrations")
    assert (written.returncode, len(list((directory / "migrations").glob("*.sql")))) == (0, 2 * len(REVISIONS) + 2)
    refused = run("app", "document")
    assert (refused.returncode, "run this in the project's own checkout" in refused.stderr) == (1, True)


ENV = """
from alembic import context
from sqlalchemy import create_engine, Column, Integer, MetaData, NullPool, Table, Text, Uuid
from app.database import database_url
from app.migration.beside import not_ours

metadata = MetaData()
Table("invoices", metadata, Column("id", Integer, primary_key=True))
comment = "Organisations; none ever sees what is another's"
Table("tenants", metadata, Column("id", Uuid, primary_key=True), Column("name", Text, nullable=False), comment=comment)
with create_engine(database_url(), poolclass=NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, include_object=not_ours)
    with context.begin_transaction():
        context.run_migrations()
"""
INVOICES = """
from alembic import op
revision, down_revision = "1a2b", None
def upgrade(): op.execute("CREATE TABLE invoices (id serial PRIMARY KEY)")
def downgrade(): op.execute("DROP TABLE invoices")
"""


def test_beside_an_applications_own_alembic(application: tuple[Path, Run], empty: URL) -> None:
    directory, run = application
    own = "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n\n"
    (directory / "alembic.ini").write_text(own + BESIDE)
    (directory / "migrations/versions").mkdir(parents=True)
    (directory / "migrations/env.py").write_text(ENV)
    (directory / "migrations/script.py.mako").write_text("")
    (directory / "migrations/versions/1a2b_invoices.py").write_text(INVOICES)

    its_own, upgrade, preflight = (run(*line.removeprefix("python -m ").split(), url=empty) for line in COMMANDS)
    assert its_own.returncode == 0, its_own.stderr
    assert upgrade.returncode == 0, upgrade.stderr
    assert "INFO    Running upgrade 009 -> 010" in upgrade.stderr
    assert "There is nothing newer." in preflight.stdout
    refused = run("app", "preflight", url=empty)
    assert refused.returncode == 1
    assert "holds revision 1a2b of another project" in refused.stderr
    ours = ["-n", "chatbots"]
    for section in (ours, []):
        checked = run("alembic", *section, "check", url=empty)
        assert (checked.returncode, "No new upgrade operations detected." in checked.stdout) == (0, True), (
            checked.stdout
        )
    with connect(empty) as connection:
        connection.execute("ALTER TABLE tenants ADD COLUMN plan text; CREATE TABLE leftover (id int)")
        checked = run("alembic", "check", url=empty)
        assert checked.returncode != 0
        assert "Table('leftover'" in checked.stdout
        assert "Column('plan'" in checked.stdout
        assert "chatbot" not in checked.stdout
        assert run("alembic", *ours, "downgrade", "base", url=empty).returncode == 0
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("1a2b",)]
        tables = "to_regclass('public.chatbots_version'), to_regclass('public.tenants')"
        assert connection.execute(f"SELECT {tables}").fetchone() == (None, None)

"""`alembic upgrade ... --sql`: scripts for psql, which see where the database is and keep what goes CONCURRENTLY."""

import re

import pytest
from sqlalchemy import URL

from app.embedded import Server
from tests.people import populate
from tests.platforms import PLAIN, SUPABASE, settle
from tests.tools import NEWEST, alembic, catalog, connect, dump, psql, rows, run


def script(command: str, revisions: str) -> str:
    """What the command prints for psql."""
    done = run("alembic", command, revisions, "--sql")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def whole() -> str:
    return script("upgrade", "base:head")


@pytest.mark.parametrize("platform", [None, PLAIN, SUPABASE], ids=["fresh", "plain, adopted", "Supabase, adopted"])
@pytest.mark.parametrize("start", ["base", "006"])
def test_makes_what_alembic_makes(server: Server, empty: URL, start: str, platform: str | None) -> None:
    """Both ways; run again, in whichever state it left, it changes nothing."""
    with connect(empty) as connection:
        if platform is not None:
            settle(connection, platform)
        alembic(empty, "upgrade", "head")
        by_alembic = catalog(connection), dump(server.binaries, empty)
        alembic(empty, "downgrade", start)
        before = catalog(connection), dump(server.binaries, empty)
        kept = rows(connection)

        upgrade, downgrade = script("upgrade", f"{start}:head"), script("downgrade", f"head:{start}")
        assert len(re.findall(r"^\s*CREATE (?:UNIQUE )?INDEX CONCURRENTLY", upgrade, re.MULTILINE)) == 11
        for _again in range(2):
            done = psql(server.binaries, empty, script=upgrade)
            assert done.returncode == 0, done.stderr
            assert (catalog(connection), dump(server.binaries, empty)) == by_alembic
        assert kept.items() <= rows(connection).items()
        assert run("alembic", "check", url=empty).returncode == 0
        for _again in range(2):
            done = psql(server.binaries, empty, script=downgrade)
            assert done.returncode == 0, done.stderr
            assert (catalog(connection), dump(server.binaries, empty)) == before
        assert rows(connection) == kept


@pytest.mark.parametrize("start", ["006", "008", NEWEST])
def test_does_what_is_left_to_do(server: Server, empty: URL, head: URL, whole: str, start: str) -> None:
    alembic(empty, "upgrade", start)
    done = psql(server.binaries, empty, script=whole)
    assert done.returncode == 0, done.stderr
    assert dump(server.binaries, empty) == dump(server.binaries, head)


@pytest.mark.parametrize(
    ("at", "command", "revisions", "first"),
    [
        ("base", "upgrade", "006:head", "alembic upgrade base:006 --sql"),
        ("006", "upgrade", "008:009", "alembic upgrade 006:008 --sql"),
        ("010", "downgrade", "009:006", "alembic downgrade 010:009 --sql"),
        ("008", "downgrade", "007:base", "alembic downgrade 008:007 --sql"),
    ],
)
def test_out_of_order_it_says_what_comes_first(
    server: Server, empty: URL, at: str, command: str, revisions: str, first: str
) -> None:
    if at != "base":
        alembic(empty, "upgrade", at)
    before = dump(server.binaries, empty)
    done = psql(server.binaries, empty, script=script(command, revisions))
    assert done.returncode == 3
    assert f"This database is at {at}: run the script of `{first}` first. Nothing was changed." in done.stderr
    assert dump(server.binaries, empty) == before


def test_stops_at_what_does_not_fit(server: Server, empty: URL, whole: str) -> None:
    """Also in a psql that would go on after an error: an old admin would become an admin of chatbots."""
    with connect(empty) as connection:
        settle(connection, PLAIN + "; ALTER TABLE users ADD COLUMN role text DEFAULT 'admin'")
        before = catalog(connection)
        done = psql(server.binaries, empty, script=whole)
        assert done.returncode == 3
        assert "Nothing was changed, because" in done.stderr
        assert "users.role is there already, with the values 'admin' (7)" in done.stderr
        assert catalog(connection) == before


def test_one_run_at_a_time(server: Server, empty: URL, whole: str) -> None:
    with connect(empty) as other:
        before = catalog(other)
        other.execute("SELECT pg_advisory_lock(7163082359828345971)")
        done = psql(server.binaries, empty, script=whole)
        assert (done.returncode, "Another upgrade of this database is at work" in done.stderr) == (3, True)
        assert catalog(other) == before


def test_a_script_that_was_interrupted_goes_on(server: Server, empty: URL, head: URL) -> None:
    """It notes the step that it leaves half done, so that no other step begins before that is finished."""
    alembic(empty, "upgrade", "008")
    with connect(empty) as connection, connect(empty) as other:
        populate(connection, last="008")
        other.autocommit = False
        other.execute("UPDATE chatbots SET name = name")  # holds up the key, which is in the step's second transaction
        upgrade = script("upgrade", "006:head")
        done = psql(server.binaries, empty, script=upgrade)
        assert (done.returncode, "lock timeout" in done.stderr) == (3, True)
        other.rollback()
        before = catalog(connection)
        for wrong in (["downgrade", "007"], ["downgrade", "base"]):
            refused = run("alembic", *wrong, url=empty)
            assert refused.returncode == 1
            assert "run `alembic upgrade 009`, which finishes it, before anything else" in refused.stderr
        refused = psql(server.binaries, empty, script=script("downgrade", "008:006"))
        assert refused.returncode == 3
        assert "run `alembic upgrade 009`, which finishes it, before anything else" in refused.stderr
        assert catalog(connection) == before
        assert psql(server.binaries, empty, script=upgrade).returncode == 0
    assert dump(server.binaries, empty) == dump(server.binaries, head)

"""Whoever is deleted, while a save of theirs is open, stands nowhere once both are done."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import sleep

import pytest
from psycopg import Connection
from sqlalchemy import URL

from tests.people import ACME, ACME_ADMIN, ADMIN, DRAFT, PUBLISHED, SERVICE
from tests.tools import become, connect, url_of

DELETE = f"DELETE FROM users WHERE id = '{ACME_ADMIN}'"
ERASE = f"SELECT chatbot_private.erase_from_audit_log('{ACME_ADMIN}')"
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
SAVES = {
    "chatbot": f"UPDATE chatbots SET system_prompt = 'Mine', name = 'Mine' WHERE id = '{DRAFT}'",
    "restore": f"SELECT restore_chatbot('{DRAFT}', 1)",
    "create": f"""
        INSERT INTO chatbots (tenant_id, created_by, name, system_prompt, model)
        VALUES ('{ACME}', '{ACME_ADMIN}', 'Mine', 'Mine', 'm')
    """,
    "delete": f"DELETE FROM chatbots WHERE id = '{PUBLISHED}'",
}


@pytest.fixture
def free(platform: Connection) -> Connection:
    """A database whose draft nobody made, so that nothing but its author keeps a deletion waiting."""
    platform.execute("SET session_replication_role = replica")
    platform.execute("UPDATE chatbots SET created_by = NULL")
    platform.execute("UPDATE chatbot_versions SET created_by = NULL")
    platform.execute("UPDATE chatbots SET version = 2 WHERE id = %s", (DRAFT,))
    platform.execute(
        "INSERT INTO chatbot_versions (tenant_id, chatbot_id, version, system_prompt, model, temperature, settings)"
        " SELECT tenant_id, id, 2, system_prompt || 'changed', model, temperature, settings"
        " FROM chatbots WHERE id = %s",
        (DRAFT,),
    )
    platform.execute("UPDATE chatbots SET system_prompt = system_prompt || 'changed' WHERE id = %s", (DRAFT,))
    platform.execute("RESET session_replication_role")
    platform.commit()
    return platform


@contextmanager
def beside(url: URL, *statements: str) -> Iterator[Future[None]]:
    """Run statements in a transaction of their own, beside the test."""

    def run() -> None:
        with connect(url) as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run)


def until_waiting(url: URL, work: Future[None]) -> None:
    """Until the work waits for a lock, or is done."""
    with connect(url) as watcher:
        while not work.done() and not watcher.execute(WAITING).rowcount:
            sleep(0.01)


def named(connection: Connection) -> int:
    """How many versions and entries of the log name the person."""
    found = connection.execute(
        "SELECT (SELECT count(*) FROM chatbot_versions WHERE created_by = %(id)s)"
        " + (SELECT count(*) FROM audit_log WHERE strpos(audit_log::text, %(id)s::text) > 0)",
        {"id": ACME_ADMIN},
    ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_a_deletion_waits_for_the_persons_open_save(free: Connection, save: str) -> None:
    url = url_of(free)
    with connect(url) as saver, saver.transaction():
        become(saver, ADMIN)
        assert saver.execute(save.encode()).rowcount == 1
        with beside(url, DELETE) as deletion:
            until_waiting(url, deletion)
            assert not deletion.done()
            # Whoever waits holds nothing that this transaction needs.
            saver.execute(f"UPDATE chatbots SET name = 'Then' WHERE id = '{DRAFT}'".encode())
            saver.execute("RESET ROLE; COMMIT; BEGIN")
            deletion.result(60)
    free.execute(ERASE.encode())
    assert named(free) == 0


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_a_save_of_somebody_who_is_being_deleted_waits_for_nobody_and_names_nobody(free: Connection, save: str) -> None:
    """The deletion has begun, and nobody sees it yet."""
    url = url_of(free)
    if "INSERT" in save:  # its foreign key waits, and refuses the row
        save = save.replace(", created_by", "").replace(f", '{ACME_ADMIN}'", "")
        free.execute("""
            CREATE POLICY own ON chatbots FOR INSERT TO authenticated WITH CHECK (true); SELECT 1
        """)
        free.commit()
    with connect(url) as deleter, connect(url) as saver, deleter.transaction():
        deleter.execute(DELETE.encode())
        with saver.transaction():
            saver.execute("SET LOCAL lock_timeout = '1s'")
            become(saver, ADMIN)
            assert saver.execute(save.encode()).rowcount == 1
    free.execute(ERASE.encode())
    assert named(free) == 0


def test_an_erasure_waits_for_an_open_save_of_somebody_who_stays(free: Connection) -> None:
    url = url_of(free)
    with connect(url) as saver, saver.transaction():
        become(saver, ADMIN)
        saver.execute(SAVES["chatbot"].encode())
        with beside(url, ERASE) as erasure:
            until_waiting(url, erasure)
            assert not erasure.done()
            saver.execute("RESET ROLE; COMMIT; BEGIN")
            erasure.result(60)
    entries = free.execute("SELECT FROM audit_log WHERE user_id = %s AND changed_at > '2026-01-02'", (ACME_ADMIN,))
    assert entries.rowcount == 0


def test_others_at_the_persons_row_cost_nobody_their_name(free: Connection) -> None:
    """Who reads or edits a person's row, as each sign-in does, does not delete it."""
    url = url_of(free)
    with connect(url) as other, connect(url) as saver, other.transaction():
        other.execute(f"UPDATE users SET full_name = 'Edited' WHERE id = '{ACME_ADMIN}'".encode())
        with saver.transaction():
            become(saver, ADMIN)
            saver.execute(SAVES["chatbot"].encode())
    assert named(free) > 0
    with connect(url) as saver, saver.transaction():
        become(saver, SERVICE)
        saver.execute(SAVES["chatbot"].replace("Mine", "Ours").encode())

"""`alembic check` compares the database with the models; stock autogenerate is what it notices by today."""

import re

import pytest
from sqlalchemy import URL

from tests.tools import alembic, connect, run


def test_is_clean_at_head(head: URL) -> None:
    checked = run("alembic", "check", url=head)
    assert (checked.returncode, checked.stdout) == (0, "No new upgrade operations detected.\n")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param("ALTER TABLE chatbots DROP COLUMN max_tokens CASCADE", "max_tokens", id="column-dropped"),
        pytest.param("ALTER TABLE chatbots ADD COLUMN mood text", "mood", id="column-added"),
        pytest.param("CREATE TABLE own (id integer)", "remove_table.*own", id="table-added"),
        pytest.param(
            "ALTER TABLE messages ALTER COLUMN content TYPE varchar(9)", "modify_type.*content", id="column-type"
        ),
        pytest.param(
            "ALTER TABLE users ALTER COLUMN role DROP NOT NULL", "modify_nullable.*role", id="column-nullable"
        ),
        pytest.param(
            "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'admin'", "modify_default.*role", id="column-default"
        ),
        pytest.param("COMMENT ON COLUMN users.role IS 'x'", "modify_comment.*role", id="column-comment"),
        pytest.param("DROP INDEX idx_users_role", "idx_users_role", id="index-dropped"),
        pytest.param(
            "DROP INDEX idx_chatbots_created_at; CREATE INDEX idx_chatbots_created_at ON chatbots (created_at)",
            "idx_chatbots_created_at",
            id="index-columns",
        ),
        pytest.param(
            "ALTER TABLE users DROP CONSTRAINT users_tenant_id_email_key", "users_tenant_id_email_key", id="unique"
        ),
        pytest.param(
            "ALTER TABLE conversations DROP CONSTRAINT conversations_tenant_id_chatbot_id_fkey",
            "conversations_tenant_id_chatbot_id_fkey",
            id="foreign-key-dropped",
        ),
        pytest.param(
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_created_by_fkey, ADD CONSTRAINT chatbots_created_by_fkey"
            " FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE CASCADE",
            "chatbots_created_by_fkey",
            id="foreign-key-action",
        ),
        pytest.param("ALTER TABLE users DROP CONSTRAINT users_role_check", "users_role_check", id="check-dropped"),
        pytest.param(
            "ALTER TABLE chatbots DROP CONSTRAINT chatbots_settings_check",
            "chatbots_settings_check",
            id="check-of-ours",
        ),
    ],
)
def test_notices(head: URL, change: str, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(head) as connection:
        connection.execute(change)
    with pytest.raises(SystemExit) as stopped:
        alembic(head, "check")
    assert stopped.value.code != 0
    told = capsys.readouterr()
    assert re.search(f"New upgrade operations detected.*{names}", told.out + told.err, re.DOTALL)


def test_creates_nothing_in_an_empty_database(empty: URL) -> None:
    assert run("alembic", "check", url=empty).returncode != 0
    with connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,)

"""What goes through the old version's view of feedback, and what the table alone takes: the README's list."""

from contextlib import nullcontext

import pytest
from psycopg import errors
from sqlalchemy import URL

from tests.people import ACME_MEMBER, OWN_ANSWER, OWN_OTHER_ANSWER
from tests.test_rolling_deploy import OPTIONS
from tests.tools import alembic, connect

GIVE = f"INSERT INTO feedback (message_id, user_id, rating) VALUES ('{OWN_ANSWER}', '{ACME_MEMBER}', 4)"
LIMITS = [
    ("COPY (SELECT comment FROM feedback) TO '/dev/null'", None),
    ("COPY feedback TO '/dev/null'", errors.WrongObjectType),
    ("COPY feedback FROM '/dev/null'", errors.WrongObjectType),
    ("TRUNCATE feedback", errors.WrongObjectType),
    ("SELECT comment FROM public.feedback", errors.UndefinedColumn),
    ("SELECT notes FROM feedback", errors.UndefinedColumn),  # the new version must not have the search_path
    ("SELECT ctid, comment FROM feedback", errors.UndefinedColumn),
    ("SELECT id, comment FROM feedback GROUP BY id", errors.GroupingError),
    ("SELECT comment FROM feedback TABLESAMPLE SYSTEM (1)", errors.FeatureNotSupported),
    (f"{GIVE} ON CONFLICT ON CONSTRAINT feedback_message_id_user_id_key DO NOTHING", errors.UndefinedObject),
    (f"{GIVE} ON CONFLICT DO NOTHING", None),
    (f"INSERT INTO feedback VALUES (DEFAULT, '{OWN_OTHER_ANSWER}', '{ACME_MEMBER}', 4, 'Fine', DEFAULT)", None),
    ("SELECT comment FROM feedback FOR UPDATE SKIP LOCKED", None),
    ("LOCK TABLE feedback IN SHARE MODE", None),
    ("SELECT to_jsonb(feedback) ->> 'comment' FROM feedback", None),
    ("DO $$ DECLARE one feedback%ROWTYPE; BEGIN SELECT * INTO one FROM feedback; PERFORM one.comment; END $$", None),
    (
        "DO $$ DECLARE c CURSOR FOR SELECT FROM feedback; BEGIN FOR each IN c LOOP UPDATE feedback SET rating = 1"
        " WHERE CURRENT OF c; END LOOP; END $$",
        errors.FeatureNotSupported,
    ),
]


@pytest.mark.parametrize(("statement", "error"), LIMITS, ids=[statement[:40] for statement, _ in LIMITS])
def test_what_goes_through_the_view(people_database: URL, statement: str, error: type[Exception] | None) -> None:
    with connect(people_database.update_query_dict(OPTIONS)) as connection:
        with connection.transaction(force_rollback=True), pytest.raises(error) if error else nullcontext():
            connection.execute(statement)
        with connection.transaction(force_rollback=True):  # the table takes it all
            connection.execute("DROP SCHEMA chatbot_compat CASCADE; ALTER TABLE feedback RENAME notes TO comment")
            if "notes" not in statement:
                connection.execute(statement)


def test_merge_goes_through_the_view_from_17_on(people_database: URL) -> None:
    merge = "MERGE INTO feedback USING users ON user_id = users.id WHEN MATCHED THEN UPDATE SET comment = email"
    with connect(people_database.update_query_dict(OPTIONS)) as connection:
        before_17 = connection.info.server_version < 170000
        with (
            connection.transaction(force_rollback=True),
            pytest.raises(errors.FeatureNotSupported) if before_17 else nullcontext(),
        ):
            connection.execute(merge)


def test_a_prepared_statement_that_returns_whole_rows_does_not_survive_the_step(empty: URL) -> None:
    alembic(empty, "upgrade", "009")
    with connect(empty.update_query_dict(OPTIONS)) as old:
        old.execute("SELECT feedback FROM feedback", prepare=True)
        alembic(empty, "upgrade", "010")
        with pytest.raises(errors.FeatureNotSupported, match="cached plan must not change result type"):
            old.execute("SELECT feedback FROM feedback", prepare=True)
        old.execute("SELECT feedback FROM feedback", prepare=False)

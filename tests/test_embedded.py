"""The embedded server: shared by its users, gone after the last, and careful with what is not its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from app import embedded
from app.embedded import LONGEST_SOCKET_PATH, SOCKET_NAME, Server, installed_binaries, own_directory, server_user
from app.errors import SetupError
from tests.tools import PROJECT, connect

AS_ROOT = os.geteuid() == 0

USE = """
import sys
from pathlib import Path
from app.embedded import Server
with Server(Path(sys.argv[1]), Path(sys.argv[2])).running():
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    """A directory that the server's user may pass."""
    parent = Path(tempfile.mkdtemp(dir="/tmp"))
    parent.chmod(0o755)
    yield parent
    shutil.rmtree(parent)


@pytest.fixture
def made(parent: Path, binaries: Path) -> Server:
    """A server that was initialised and is not running."""
    server = Server(parent / "home", binaries)
    with server.running():
        pass
    return server


@pytest.fixture
def user_of(made: Server) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that uses the server until its standard input is closed."""
    started: list[subprocess.Popen[str]] = []

    def user_of() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", USE, made.home, made.binaries],
            cwd=PROJECT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        return process

    yield user_of
    for process in started:
        process.communicate(timeout=60)


def is_up(server: Server) -> bool:
    try:
        connect(server.url()).close()
    except psycopg.OperationalError:
        return False
    return True


def test_keeps_what_it_is_given(made: Server) -> None:
    assert not is_up(made)
    with made.running(), connect(made.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    with made.running(), connect(made.url()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchall() == [(1,)]
        found = connection.execute("SELECT current_setting('listen_addresses'), datcollate FROM pg_database").fetchone()
        assert found == ("", "C.UTF-8")
    assert not is_up(made)


def test_the_last_one_out_stops_it(made: Server, user_of: Callable[[], subprocess.Popen[str]]) -> None:
    first, second = user_of(), user_of()
    first.communicate(timeout=60)
    assert is_up(made)
    second.communicate(timeout=60)
    assert not is_up(made)


KILLERS = [signal.SIGTERM, signal.SIGKILL]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(server: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for, as in a container without init, does not."""
    listed = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(server)], capture_output=True, text=True, check=False)
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


def process_of(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split()[0])


@pytest.mark.parametrize("killer", KILLERS)
def test_the_last_user_may_be_killed(
    made: Server, user_of: Callable[[], subprocess.Popen[str]], killer: signal.Signals
) -> None:
    first, second = user_of(), user_of()
    server = process_of(made.data)
    first.send_signal(killer)
    first.wait()
    time.sleep(0.5)  # the watcher of the first leaves the server to the second
    assert is_up(made)
    second.send_signal(killer)
    second.wait()
    wait_until(lambda: not runs(server))
    with made.running():
        assert is_up(made)
    assert not is_up(made)


def test_a_user_that_comes_after_one_was_killed(made: Server, user_of: Callable[[], subprocess.Popen[str]]) -> None:
    for _ in range(5):
        killed = user_of()
        killed.kill()
        with made.running():  # the watcher stops the server before, or finds that it is used again
            time.sleep(0.2)
            assert is_up(made)
    assert not is_up(made)


TEMPORARY = """
import sys
from pathlib import Path
from app.embedded import temporary_server
with temporary_server(Path(sys.argv[1]), sys.argv[2]):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killer", KILLERS)
def test_a_killed_users_temporary_server_is_gone(parent: Path, binaries: Path, killer: signal.Signals) -> None:
    command = [sys.executable, "-c", TEMPORARY, str(binaries), str(parent)]
    with subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "in\n"
        (data,) = parent.glob("*/server/data")
        server = process_of(data)
        user.send_signal(killer)
    wait_until(lambda: not [*parent.iterdir()])
    assert not runs(server)


@pytest.mark.parametrize("seen", ["server", "server/data.new", "server/data", "server/data/postmaster.pid"])
def test_a_temporary_server_is_gone_whenever_its_user_is_killed(parent: Path, binaries: Path, seen: str) -> None:
    """While initdb runs, before the server starts, as it starts."""
    command = [sys.executable, "-c", TEMPORARY, str(binaries), str(parent)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as user:
        while not [*parent.glob(f"*/{seen}")]:
            time.sleep(0.001)
        user.kill()
    wait_until(lambda: not [*parent.iterdir()])
    time.sleep(1)  # for what might start now
    listed = subprocess.run(["/bin/ps", "-A", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert str(parent) not in listed
    assert not [*parent.iterdir()]


HANGING = """
import time
from pathlib import Path
import pytest
from app.embedded import temporary_server
@pytest.fixture(scope="session")
def server():
    with temporary_server(Path({binaries!r}), {parent!r}) as server:
        yield server
@pytest.mark.parametrize("number", range(2))
def test_hangs(server, number):
    Path({parent!r}, f"hangs-{{number}}").touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("killer", KILLERS)
def test_a_killed_test_run_leaves_nothing(
    parent: Path, binaries: Path, tmp_path: Path, killer: signal.Signals, workers: int
) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING.format(binaries=str(binaries), parent=str(parent)))
    options = ["-q", "-p", "no:cacheprovider", "-n", str(workers), f"--rootdir={tmp_path}", "-c", os.devnull]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, tmp_path / "test_hanging.py"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        try:
            wait_until(lambda: run.poll() is not None or len([*parent.glob("hangs-*")]) == max(workers, 1))
            servers = [process_of(data) for data in parent.glob("*/server/data")]
            assert len(servers) == max(workers, 1)
            run.send_signal(killer)
        except BaseException:
            run.kill()
            raise
    wait_until(lambda: not [*parent.glob("*/server")])
    assert not any(map(runs, servers))


def test_eight_at_once_share_one(made: Server) -> None:
    command = [sys.executable, "-c", USE, str(made.home), str(made.binaries)]
    users = [subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL) for _ in range(8)]
    assert [user.wait(timeout=120) for user in users] == [0] * 8
    assert not is_up(made)


FORK = """
import os, sys
from pathlib import Path
from app.embedded import Server
server = Server(Path(sys.argv[1]), Path(sys.argv[2]))
with server.running():
    child = os.fork()
    if child:
        os.waitpid(child, 0)  # the child has left the `with` block by then
        print(server.probe())
"""


def test_a_forked_child_leaves_it_running(made: Server) -> None:
    command = [sys.executable, "-c", FORK, str(made.home), str(made.binaries)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert not is_up(made)


def test_a_crashed_server_with_a_stale_pid_file_starts_again(
    made: Server, user_of: Callable[[], subprocess.Popen[str]]
) -> None:
    user = user_of()
    pid_file = made.data / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    while is_up(made):
        time.sleep(0.05)
    assert pid_file.exists()
    user.communicate(timeout=60)
    with made.running():
        assert is_up(made)
    assert not is_up(made)


def test_an_unrelated_process_is_not_signalled(made: Server) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        (made.data / "postmaster.pid").write_text(f"{bystander.pid}\n{made.data}\n1\n5432\n\n\n0 0\nready\n")
        os.chown(made.data / "postmaster.pid", server_user().pw_uid, server_user().pw_gid)
        try:
            with made.running():
                pass
        except SetupError as error:  # as an ordinary user: PostgreSQL takes one's own process for a server
            assert f"delete {made.data / 'postmaster.pid'} if no PostgreSQL runs there" in str(error)  # noqa: PT017
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_interrupted_initdb_is_done_again(parent: Path, binaries: Path) -> None:
    server = Server(parent / "home", binaries)
    own_directory(server.home)
    own_directory(server.home / "data.new")
    (server.home / "data.new" / "PG_VERSION").write_text("half")
    with server.running():
        assert is_up(server)


def test_a_server_that_does_not_start_says_why(made: Server) -> None:
    broken = Server(made.home, made.binaries, {"shared_buffers": "nonsense"})
    with pytest.raises(SetupError, match=r"does not start \(.*shared_buffers.*set DATABASE_URL"), broken.running():
        pass


def test_a_long_path_gets_a_short_socket(parent: Path, binaries: Path) -> None:
    deep = parent.joinpath(*["a directory with a long name"] * 4)
    deep.mkdir(parents=True)
    server = Server(deep / "home", binaries)
    assert len(os.fsencode(server.data / SOCKET_NAME)) > LONGEST_SOCKET_PATH
    with server.running():
        assert is_up(server)
        assert server.socket_directory.stat().st_mode & 0o777 == 0o700
    server.socket_directory.rmdir()


def test_the_environment_does_not_lead_elsewhere(made: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGHOST", "db.example")
    with made.running():
        assert is_up(made)


def test_somebody_elses_directory_is_left_alone() -> None:
    with pytest.raises(SetupError, match="belongs to root"):
        own_directory(Path("/usr"))


def test_a_project_that_the_servers_user_cannot_reach(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root the server lives elsewhere, and no mode is changed; an ordinary user is the server's user."""
    monkeypatch.setattr(embedded, "SHARED_HOME", parent / "shared")
    project = parent / "closed" / "project"
    project.mkdir(parents=True)
    (parent / "closed").chmod(0o700)
    package = installed_binaries().parent.parent
    for tree in (package, package.with_name(f"{package.name}.libs")):
        if tree.exists():
            shutil.copytree(tree, project / tree.name)
    server = Server.reachable_from(project, project / installed_binaries().relative_to(package.parent))
    if AS_ROOT:
        assert server.home.parent == parent / "shared"
        assert server.binaries.is_relative_to(parent / "shared")
    else:
        assert server.home == project / ".postgres"
    with server.running():
        assert is_up(server)
    assert (parent / "closed").stat().st_mode & 0o777 == 0o700


def test_the_url_is_sqlalchemys(made: Server) -> None:
    assert made.url("app") == URL.create(
        "postgresql+psycopg", "postgres", database="app", query={"host": str(made.data), "port": "5432"}
    )


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(SetupError, match="54321 has none: add it to /etc/passwd, or set DATABASE_URL"):
        server_user()

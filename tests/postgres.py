"""PostgreSQL for tests: a server that is there, or a throwaway cluster that can be stopped, restarted and copied."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

import psycopg
import pytest

from tests.ports import free_port

NAMED = "ROLLCALL_TEST_POSTGRES_URL"
LOCAL = "postgresql://postgres@127.0.0.1:5432/postgres"
COMMAND_S = 60.0
# Small, because several may run; a test of two replicas with their workers needs some eighty connections. Nothing is
# forced to the disk, which takes longer than most tests: every kill leaves the files as they were last written.
SETTINGS = {"max_connections": "150", "shared_buffers": "32MB", "listen_addresses": "127.0.0.1", "fsync": "off"}


@contextmanager
def server_url() -> Iterator[str]:
    """A server on which databases may be made: the one that is named, a cluster for this block, or a local one."""
    if named := os.environ.get(NAMED):
        yield named
    elif _find("initdb") is None and _answers(LOCAL):
        yield LOCAL
    else:
        with running_cluster() as cluster:
            yield cluster.url()


@contextmanager
def running_cluster() -> Iterator["Cluster"]:
    """A started cluster that is gone after the block; skips, visibly, where PostgreSQL is not installed."""
    with temporary_folder() as folder:
        cluster = Cluster(folder / "data")
        cluster.create()
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop("immediate")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that the server's user may write to, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="rollcall-pg-"))
    try:
        _give_away(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """One PostgreSQL server with its data in a folder; runs as an unprivileged user, as it insists on."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the empty cluster."""
        run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start, on the same port each time, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        with (self.data.parent / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [binary("postgres"), "-D", self.data, "-p", str(self.port), "-k", self.data.parent, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as_unprivileged(),
            )
        deadline = monotonic() + COMMAND_S
        while not _answers(self.url()):
            assert monotonic() < deadline and self._server.poll() is None, (self.data.parent / "log").read_text()
            sleep(0.05)

    def stop(self, how: Literal["fast", "immediate"] = "fast") -> None:
        """`fast` ends every connection in good order, `immediate` is a crash."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT if how == "fast" else signal.SIGQUIT)
            self._server.wait(COMMAND_S)
            self._server = None

    def copy_as_after_a_power_cut(self, to: Path) -> "Cluster":
        """Its files as they are at one instant, in which no process of it runs."""
        assert self._server is not None
        with stopped([self._server.pid]), stopped(_children(self._server.pid)):  # in this order it makes no others
            shutil.copytree(self.data, to, ignore=shutil.ignore_patterns("postmaster.pid"))
        for path in [to, *to.rglob("*")]:
            _give_away(path)
        return Cluster(to)


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    """Processes that do nothing during the block, as if the power had failed at its start."""
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        until = monotonic() + COMMAND_S
        while not all(map(_is_stopped, processes)):  # whoever is writing to a file finishes that first
            assert monotonic() < until
            sleep(0.001)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def run(program: str, *args: str | Path) -> str:
    """One of PostgreSQL's own programs, as the server's user; returns what it printed."""
    command = [binary(program), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, **_as_unprivileged())
    assert done.returncode == 0, f"{program} failed: {done.stderr}"
    return done.stdout


def binary(name: str) -> Path:
    """The newest installed program of this name; skips, visibly, where there is none."""
    return _find(name) or pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")


def _find(name: str) -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    for folder in reversed(folders):
        if (folder / name).exists():
            return folder / name
    found = shutil.which(name)
    return None if found is None else Path(found)


def _is_stopped(process: int) -> bool:
    """Whether none of its threads runs: the first letter after the name in brackets says stopped, or dead."""
    stats = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] in "TZX" for stat in stats)


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def _as_unprivileged() -> dict[str, object]:
    """For `subprocess`: the server refuses to run as root."""
    return {"user": _unprivileged()} if os.geteuid() == 0 else {}


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, user=_unprivileged())

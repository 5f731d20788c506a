"""Two Ray nodes on this machine, one of them killed under load: what that costs those who send pictures.

    python -m benchmarks.cluster [--seconds 60] [--callers 4] [--json FILE]

Starts a cluster of its own by `rollcall cluster`, with a replica on each node, and sends it batches as the service
does. After a third of the time one node is ended by `kill -9`, with everything on it. Each answer is compared with what
the networks find in this process. Needs `pip install rollcall[cluster]`; on a machine with few cores the figures say
what is lost and how soon it is replaced, and nothing about speed.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock
from time import monotonic, sleep

import numpy as np
from rich.console import Console
from rich.table import Table

from app.errors import ProblemError
from app.inference.admission import InferenceBusyError
from app.inference.local import load_local_runner
from app.inference.port import Analysis, Ask, Lane
from app.inference.remote import RemoteRunner, connect
from app.settings import Settings
from ml.types import RgbImage
from tests.ml.faces import astronaut, enlarged, grace_hopper
from tests.ports import free_port

ROLLCALL = Path(sys.executable).with_name("rollcall")
REPLICA = b"ray::ServeReplica:rollcall-inference"
START_S = 180.0
# Networks that batch otherwise round otherwise; another person's embedding is a hundred times as far away.
TOLERANCE = 5e-3


@dataclass
class Load:
    """Callers that send batches one after the other, and what they get: when each answer came, and what went wrong."""

    remote: RemoteRunner
    asks: Sequence[Ask]
    expected: Sequence[Analysis]
    answered_s: list[float] = field(default_factory=list)
    n_wrong: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    stopping: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def call(self, number: int) -> None:
        """One caller, beginning with this ask."""
        while not self.stopping.is_set():
            number = (number + 1) % len(self.asks)
            try:
                (analysis,) = self.remote.run([self.asks[number]], Lane.INTERACTIVE)
            except (ProblemError, InferenceBusyError) as error:
                with self.lock:
                    self.refusals[getattr(error, "code", "overloaded")] += 1
                self.stopping.wait(0.2)
                continue
            with self.lock:
                self.answered_s.append(monotonic())
                self.n_wrong += not are_same(analysis, self.expected[number])


@dataclass(frozen=True, slots=True)
class Timeline:
    """When what happened, on the monotonic clock; `back_after_s` None: two replicas never ran again."""

    began_s: float
    killed_s: float
    back_after_s: float | None
    ended_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """`retried` batches were lost with the node and answered all the same; `errors` by kind are what callers saw."""

    seconds: float
    callers: int
    answered: int
    wrong: int
    errors: dict[str, int]
    retried: int
    killed_at_s: float
    longest_without_answer_s: float
    two_replicas_again_after_s: float | None
    per_second_before: float
    per_second_after: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    with TemporaryDirectory(prefix="rollcall-cluster-") as folder:
        measured = measure(Path(folder), wanted.seconds, wanted.callers)
    Console().print(table(measured))
    if wanted.json:
        wanted.json.write_text(json.dumps(asdict(measured), indent=1))


def measure(folder: Path, seconds: float, n_callers: int) -> Measured:
    token, port = secrets.token_hex(16), free_port()
    settings = Settings(inference_urls=f"http://127.0.0.1:{port}", inference_token=token, data_dir=folder)
    asks = make_asks()
    local = load_local_runner(settings)
    expected = [local.run([ask], Lane.INTERACTIVE)[0] for ask in asks]
    with cluster(folder, token, port) as nodes, closing(connect(settings)) as remote:
        load = Load(remote, asks, expected)
        timeline = kill_one_under(load, nodes[1].pid, seconds, n_callers)
        return summary(load, timeline, n_callers)


def kill_one_under(load: Load, node_pid: int, seconds: float, n_callers: int) -> Timeline:
    """Let callers send for so long, and end a node after a third of that."""
    began_s = monotonic()
    with ThreadPoolExecutor(n_callers) as threads:
        callers = [threads.submit(load.call, number) for number in range(n_callers)]
        try:
            sleep(seconds / 3)
            killed_s = monotonic()
            kill_tree(node_pid)
            back_after_s = time_until(lambda: count(REPLICA) >= 2, seconds * 2 / 3)
            sleep(max(0.0, began_s + seconds - monotonic()))
        finally:
            load.stopping.set()
        for caller in callers:
            caller.result()
    return Timeline(began_s, killed_s, back_after_s, monotonic())


def make_asks() -> list[Ask]:
    """Pictures of two people in several sizes, so that an answer to somebody else's is told from one's own."""
    images: list[RgbImage] = [
        enlarged(each, scale) for each in (astronaut(), grace_hopper()) for scale in (0.4, 0.5, 0.6)
    ]
    pairs = zip(images, reversed(images), strict=True)
    return [Ask([image]) for image in images] + [Ask(pair) for pair in pairs]


def are_same(got: Analysis, expected: Analysis) -> bool:
    if [len(faces) for faces in got.samples] != [len(faces) for faces in expected.samples]:
        return False
    pairs = zip(sum(got.samples, []), sum(expected.samples, []), strict=True)
    return all(np.abs(one.embedding - other.embedding).max() <= TOLERANCE for one, other in pairs)


def summary(load: Load, when: Timeline, n_callers: int) -> Measured:
    times = [when.began_s, *sorted(load.answered_s), when.ended_s]
    n_before = sum(at < when.killed_s for at in load.answered_s)
    return Measured(
        seconds=round(when.ended_s - when.began_s, 1),
        callers=n_callers,
        answered=len(load.answered_s),
        wrong=load.n_wrong,
        errors=dict(load.refusals),
        retried=sum(worker.n_failed for worker in load.remote.workers.snapshot()),
        killed_at_s=round(when.killed_s - when.began_s, 1),
        longest_without_answer_s=round(float(np.diff(times).max()), 2),
        two_replicas_again_after_s=when.back_after_s,
        per_second_before=round(n_before / (when.killed_s - when.began_s), 1),
        per_second_after=round((len(load.answered_s) - n_before) / (when.ended_s - when.killed_s), 1),
    )


@contextmanager
def cluster(folder: Path, token: str, port: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Two nodes with a replica on each, answering on `port` of the first."""
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    head = f"127.0.0.1:{free_port()}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ROLLCALL_", "RAY_"))},
        **{"HOME": str(folder), "ROLLCALL_DATA_DIR": str(folder / "data"), "ROLLCALL_INFERENCE_TOKEN": token},
        "OMP_NUM_THREADS": "1",
    }
    nodes: list[subprocess.Popen[bytes]] = []
    with (folder / "ray.log").open("wb") as log:

        def run(*command: str) -> "subprocess.Popen[bytes]":
            return subprocess.Popen([ROLLCALL, "cluster", *command], env=environment, stdout=log, stderr=log)

        try:
            nodes.append(run("node", "--port", head.partition(":")[2]))
            until(lambda: is_open(head), "the first node did not start", folder)
            nodes.append(run("node", "--head", head))
            until(lambda: count(b"raylet/raylet") >= 2, "the second node did not start", folder)
            replicas = ["--replicas-min", "2", "--replicas-max", "2", "--gpus-per-replica", "0"]
            deployed = run(
                "deploy", "--address", head, *replicas, "--host", "127.0.0.1", "--port", str(port), "--proxy", "head"
            )
            if deployed.wait(START_S):
                raise RuntimeError((folder / "ray.log").read_text())
            yield nodes
        finally:
            for node in nodes:
                kill_tree(node.pid)
                node.wait()


def table(measured: Measured) -> Table:
    shown = Table("what", "measured", title="Two Ray nodes, one killed under load")
    for name, value in asdict(measured).items():
        shown.add_row(name.replace("_", " "), str(value or "none" if isinstance(value, dict) else value))
    return shown


def kill_tree(pid: int) -> None:
    """`kill -9` for a process and everything it has started."""
    for child in [pid, *descendants(pid)]:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    children = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if parent_of(path) == pid]
    return children + [further for child in children for further in descendants(child)]


def parent_of(stat: Path) -> int | None:
    with suppress(OSError):
        return int(stat.read_text().rpartition(")")[2].split()[1])
    return None


def count(words: bytes) -> int:
    """Processes of ours whose command line has these words."""
    own, found = set(descendants(os.getpid())), 0
    for pid in own:
        with suppress(OSError):
            found += words in Path(f"/proc/{pid}/cmdline").read_bytes()
    return found


def time_until(is_so: Callable[[], bool], timeout_s: float) -> float | None:
    began_s = monotonic()
    while monotonic() < began_s + timeout_s:
        if is_so():
            return round(monotonic() - began_s, 1)
        sleep(0.2)
    return None


def until(is_so: Callable[[], bool], otherwise: str, folder: Path) -> None:
    if time_until(is_so, START_S) is None:
        raise RuntimeError(f"{otherwise}:\n{(folder / 'ray.log').read_text()}")


def is_open(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()

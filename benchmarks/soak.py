"""Whether memory grows while the service works for a long time on pictures of mixed sizes.

    python -m benchmarks.soak [--minutes 20] [--json FILE]

Measures what the real service can do of these pictures, then asks for 80 % of that. A line is drawn through what is
resident each second, of the server and of its worker, after a quarter of the time.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from app.settings import AUTO
from benchmarks.load import Asking, Plan, Summary, ask, write_photos
from benchmarks.serving import ready
from tests.server import running_server

# What cameras send, and as many sizes as nobody else has: a runtime that compiles must not keep code for each of them.
USUAL_WH = ((250, 250), (640, 480), (1280, 720), (1920, 1080))
ODD_WH = tuple((int(w), int(h)) for w, h in np.random.default_rng(0).integers(120, 1200, size=(60, 2)))
LOAD = 0.8
CAPACITY_S = 20.0
CALLERS = 8
WARM_UP_SHARE = 0.25
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Growth:
    """Megabytes of one process: at the end of the warm-up, at the end, and the line's slope between."""

    begin_mb: float
    end_mb: float
    mb_per_minute: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything of one run; `growth` by what has grown."""

    asked_per_second: float
    answers: Summary
    growth: dict[str, Growth]


class Watch:
    """Looks at what a server holds, again and again."""

    def __init__(self, pid: int, url: str) -> None:
        self._pid = pid
        self._client = httpx.Client(base_url=url, trust_env=False)
        self._seen: dict[str, list[tuple[float, float]]] = {}
        self._is_over = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def end(self) -> dict[str, list[tuple[float, float]]]:
        """Minutes and megabytes of everything that was seen."""
        self._is_over.set()
        self._thread.join()
        self._client.close()
        return self._seen

    def _run(self) -> None:
        began_s = monotonic()
        while not self._is_over.wait(LOOK_EVERY_S):
            for name, megabytes in self._look().items():
                self._seen.setdefault(name, []).append(((monotonic() - began_s) / 60, megabytes))

    def _look(self) -> dict[str, float]:
        workers = _children(self._pid)
        found = {"server": _resident_mb(self._pid)} | {
            f"worker {n}": _resident_mb(pid) for n, pid in enumerate(workers)
        }
        return found | {f"GPU, {kind}": bytes_ / 2**20 for kind, bytes_ in self._gpu()}

    def _gpu(self) -> list[tuple[str, float]]:
        scraped = self._client.get("/metrics").text
        found = re.findall(r'^rollcall_gpu_memory_bytes\{kind="(\w+)"\} (\S+)$', scraped, re.MULTILINE)
        return [(kind, float(value)) for kind, value in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Console().status("asking"):
        measured = measure(Path(folder), 60 * wanted.minutes)
    Console().print(table(measured))
    if wanted.json:
        wanted.json.write_text(json.dumps(asdict(measured), indent=1))


def measure(folder: Path, seconds: float) -> Measured:
    pictures = folder / "photos"
    pictures.mkdir()
    write_photos(pictures, [size for odd in ODD_WH for size in (*USUAL_WH, odd)])
    with running_server(folder / "data", ROLLCALL_LOG_LEVEL="warning", ROLLCALL_ENGINE=AUTO) as server:
        plan = partial(Plan, server.port, ready(server), str(pictures))
        capacity = Summary.of(ask(plan(CAPACITY_S, callers=CALLERS)), CAPACITY_S).per_second
        asking, watch = Asking(plan(seconds, per_second=LOAD * capacity)), Watch(server.pid, server.url)
        answers = asking.answers()
        seen = watch.end()
    return Measured(LOAD * capacity, Summary.of(answers, seconds), {name: growth(each) for name, each in seen.items()})


def growth(seen: Sequence[tuple[float, float]]) -> Growth:
    """The line of least squares through `(minutes, megabytes)` after the warm-up."""
    minutes, megabytes = np.array(seen[int(WARM_UP_SHARE * len(seen)) :]).T
    slope = float(np.polyfit(minutes, megabytes, 1)[0])
    return Growth(float(megabytes[0]), float(megabytes[-1]), slope)


def _children(pid: int) -> list[int]:
    """Oldest first."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for task in tasks for child in task.read_text().split())


def _resident_mb(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


def table(measured: Measured) -> Table:
    shown = Table("", "after warm-up", "at the end", "slope")
    for name, grown in measured.growth.items():
        megabytes = f"{grown.begin_mb:.0f} MB", f"{grown.end_mb:.0f} MB"
        shown.add_row(name, *megabytes, f"{grown.mb_per_minute:+.3f} MB a minute")
    answers = measured.answers
    shown.caption = (
        f"{measured.asked_per_second:.1f} requests a second; served {answers.n_served}, p50 {answers.p50_ms:.1f} ms, "
        f"p95 {answers.p95_ms:.1f} ms; refused {answers.n_refused}, failed {answers.n_failed}"
    )
    return shown


if __name__ == "__main__":
    main()

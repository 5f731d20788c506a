"""Identifying over HTTP: how many a second and how quickly, what that adds to the bare networks, and too many at once.

    python -m benchmarks.serving [--seconds 10] [--json FILE]

Starts the real service on an empty gallery with one person in it. 1, 8 and 32 callers wait for each answer before they
ask again; then four times as many requests as it can answer come and wait for nobody. The first seconds of that are
told apart: until the queue is full nothing tells an overload from a burst, which is served.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from app.inference.loading import load_inference
from app.settings import AUTO, Settings
from benchmarks.load import Answer, Plan, Summary, ask, write_photos
from ml.image import decode_image
from tests.app import photos
from tests.server import Server, enroll, running_server

CALLERS = (1, 8, 32)
WARM_UP_S = 3.0
OVERLOAD = 4.0
ONSET_S = 10.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """Median milliseconds of one caller: around the networks, and of the networks alone in a process of their own."""

    latency_ms: float
    stages_ms: dict[str, float]
    around_networks_ms: float
    bare_networks_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything of one run."""

    callers: dict[int, Summary]
    overhead: Overhead
    asked_per_second: float
    overload: Summary
    overload_with_onset: Summary

    @property
    def overload_ratio(self) -> float:
        return self.overload.p95_ms / self.callers[1].p95_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Console().status("asking"):
        measured = measure(Path(folder), wanted.seconds)
    Console().print(table(measured))
    if wanted.json:
        wanted.json.write_text(json.dumps(as_json(measured), indent=1))


def measure(folder: Path, seconds: float) -> Measured:
    pictures = folder / "photos"
    pictures.mkdir()
    write_photos(pictures)
    with running_server(folder / "data", ROLLCALL_LOG_LEVEL="warning", ROLLCALL_ENGINE=AUTO) as server:
        plan = partial(Plan, server.port, ready(server), str(pictures))
        ask(plan(WARM_UP_S, callers=1))
        answers = {callers: ask(plan(seconds, callers=callers)) for callers in CALLERS}
        summaries = {callers: Summary.of(each, seconds) for callers, each in answers.items()}
        per_second = OVERLOAD * max(each.per_second for each in summaries.values())
        flood = ask(plan(seconds + ONSET_S, per_second=per_second))
    begin_s = min(each.due_s for each in flood) + ONSET_S
    steady = [each for each in flood if each.due_s >= begin_s]
    return Measured(
        callers=summaries,
        overhead=overhead(answers[1], pictures, folder / "data"),
        asked_per_second=per_second,
        overload=Summary.of(steady, seconds),
        overload_with_onset=Summary.of(flood, seconds + ONSET_S),
    )


def ready(server: Server) -> str:
    """A key of the service, in which one person is enrolled."""
    key = server.new_key("operator")
    with server.client(key) as client:
        enroll(client, "G1", photos.grace(), name="Grace Hopper").raise_for_status()
    return key


def overhead(answers: Sequence[Answer], pictures: Path, data_dir: Path) -> Overhead:
    timed = [(1000 * each.seconds, each.timing) for each in answers if each.timing is not None]
    stages = {stage: median(timing[stage] for _, timing in timed) for stage in timed[0][1]}
    around = median(latency - timing["detect"] - timing["embed"] for latency, timing in timed)
    bare = bare_networks_ms(pictures, len(timed), data_dir)
    return Overhead(median(latency for latency, _ in timed), stages, around, bare)


def bare_networks_ms(pictures: Path, n: int, data_dir: Path) -> float:
    """The same photos, one after the other, run as the service found best, in this process, which does nothing else."""
    files = sorted(pictures.glob("*.jpg"))
    images = [decode_image(path.read_bytes()) for path in files]
    inference = load_inference(Settings(data_dir=data_dir))
    took_ms = []
    for number in range(min(n, 2 * len(images))):
        started = perf_counter()
        inference.analyze([images[number % len(images)]])
        took_ms.append(1000 * (perf_counter() - started))
    inference.close()
    return median(took_ms)


def as_json(measured: Measured) -> dict[str, Any]:
    return {**asdict(measured), "overload_ratio": measured.overload_ratio}


def table(measured: Measured) -> Table:
    shown = Table("", "served a second", "p50 ms", "p95 ms", "p99 ms", "refused", "failed")
    for callers, summary in measured.callers.items():
        shown.add_row(f"{callers} callers", *cells(summary))
    rate = f"{measured.asked_per_second:.0f} asked a second"
    shown.add_row(f"{rate}, with the onset", *cells(measured.overload_with_onset))
    shown.add_row(f"{rate}, from {ONSET_S:g} s on", *cells(measured.overload))
    shown.add_row("p95 against one caller's", "", "", f"{measured.overload_ratio:.2f} times", "", "", "")
    over = measured.overhead
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in over.stages_ms.items())
    shown.caption = (
        f"one caller, median ms: {over.latency_ms:.1f} ({stages}); all but the networks {over.around_networks_ms:.1f}; "
        f"the bare networks {over.bare_networks_ms:.1f}"
    )
    return shown


def cells(summary: Summary) -> list[str]:
    figures = (summary.per_second, summary.p50_ms, summary.p95_ms, summary.p99_ms)
    return [*(f"{each:.1f}" for each in figures), str(summary.n_refused), str(summary.n_failed)]


if __name__ == "__main__":
    main()

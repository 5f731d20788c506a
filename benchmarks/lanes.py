"""Whether cameras notice that a long video is being enrolled on the same machine.

    python -m benchmarks.lanes [--seconds 20] [--clip FILE] [--json FILE]

The real service with its embedded worker. One camera asks a few times a second, for a while on an idle machine and for
as long while the worker reads a clip: FILE or the shared data set's, looped, or else a photo that is moved about.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import av
import httpx
from rich.console import Console
from rich.table import Table

from app.settings import AUTO
from benchmarks.load import Plan, Summary, ask, write_photos
from benchmarks.serving import ready
from benchmarks.video import film, make
from tests.server import running_server

SHARED_CLIP = Path(__file__).parents[2] / "shared" / "data" / "videos" / "head-pose-face-detection-female.mp4"
SIZE_WH = (1280, 720)
LOOP_S, CLIP_S = 10, 600
ASKED_PER_SECOND = 4.0
WARM_UP_S = 3.0
# Until the worker has loaded its networks and looks at the first frames.
BEGIN_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Latencies without and with the job, and how far the job got meanwhile."""

    idle: Summary
    during: Summary
    film_seconds_per_second: float

    @property
    def ratio(self) -> float:
        return self.during.p95_ms / self.idle.p95_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clip", type=Path, default=SHARED_CLIP if SHARED_CLIP.exists() else None)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with console.status("making the clip"):
            clip = repeated(make(folder, film(wanted.clip, SIZE_WH), LOOP_S), CLIP_S // LOOP_S)
        with console.status("asking"):
            measured = measure(folder, clip, wanted.seconds)
    console.print(table(measured))
    if wanted.json:
        wanted.json.write_text(json.dumps({**asdict(measured), "ratio": measured.ratio}, indent=1))


def repeated(path: Path, times: int) -> Path:
    """The same film many times over, without encoding it again."""
    longer = path.with_name(f"{times}_times.mp4")
    with av.open(str(path)) as source, av.open(str(longer), "w") as target:
        film = source.streams.video[0]
        copy = target.add_stream_from_template(film)
        length = film.duration
        assert length is not None
        for number in range(times):
            source.seek(0)
            for packet in source.demux(film):
                if packet.pts is not None and packet.dts is not None:  # the last one is empty
                    packet.pts += number * length
                    packet.dts += number * length
                    packet.stream = copy
                    target.mux(packet)
    return longer


def measure(folder: Path, clip: Path, seconds: float) -> Measured:
    pictures = folder / "photos"
    pictures.mkdir()
    write_photos(pictures)
    with (
        running_server(folder / "data", ROLLCALL_LOG_LEVEL="warning", ROLLCALL_ENGINE=AUTO) as server,
        server.client() as client,
    ):
        key = ready(server)
        client.headers["X-API-Key"] = key
        plan = partial(Plan, server.port, key, str(pictures))
        ask(plan(WARM_UP_S, callers=1))
        idle = ask(plan(seconds, per_second=ASKED_PER_SECOND))
        enrolment = _begin(client, clip)
        began_s, before = monotonic(), _progress(client, enrolment)
        during = ask(plan(seconds, per_second=ASKED_PER_SECOND))
        done = (_progress(client, enrolment) - before) * CLIP_S / (monotonic() - began_s)
    return Measured(Summary.of(idle, seconds), Summary.of(during, seconds), done)


def _begin(client: httpx.Client, clip: Path) -> str:
    """Have the clip enrolled; returns the enrolment, when its first frames have been looked at."""
    form = {"employee_code": "V1", "name": "Somebody", "consent": "true", "on_duplicate": "allow"}
    with clip.open("rb") as file:
        sent = client.post("/v1/enroll", data=form, files={"files": (clip.name, file)})
    enrolment = str(sent.raise_for_status().json()["id"])
    until_s = monotonic() + BEGIN_LIMIT_S
    while _progress(client, enrolment) == 0.0:
        if monotonic() > until_s:
            raise SystemExit("the worker did not begin")
        sleep(0.2)
    return enrolment


def _progress(client: httpx.Client, enrolment: str) -> float:
    state: dict[str, Any] = client.get(f"/v1/enrolments/{enrolment}").raise_for_status().json()
    if state["status"] not in ("queued", "running"):
        raise SystemExit(f"the clip was over too soon ({state['status']}): measure for fewer seconds")
    return float(state["progress"])


def table(measured: Measured) -> Table:
    shown = Table(f"{ASKED_PER_SECOND:g} requests a second", "p50 ms", "p95 ms", "p99 ms", "served", "not served")
    for name, summary in (("idle", measured.idle), ("while a clip is enrolled", measured.during)):
        figures = (f"{each:.1f}" for each in (summary.p50_ms, summary.p95_ms, summary.p99_ms))
        shown.add_row(name, *figures, str(summary.n_served), str(summary.n_refused + summary.n_failed))
    shown.add_row("p95 against idle", "", f"{measured.ratio:.2f} times", "", "", "")
    shown.caption = f"{measured.film_seconds_per_second:.1f} s of film are looked at in each second meanwhile"
    return shown


if __name__ == "__main__":
    main()

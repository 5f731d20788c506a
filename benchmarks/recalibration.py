"""How long a large gallery takes to recalibrate, what memory that needs, and whether identify goes on answering.

    python -m benchmarks.recalibration [--people 20000] [--photos 5]

Fills a new SQLite database with made-up templates, starts the real service on it, and asks for a recalibration while
one caller identifies the same photo again and again. Latencies are compared with those of the same run before it.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.db.engine import open_database
from app.db.migrate import upgrade
from app.db.tables import Enrolment, Person, Template
from app.db.types import new_id, utc_now
from app.gallery.changes import record_additions
from app.gallery.queries import claim_model
from app.people.schemas import PersonCreate
from app.people.service import row_of
from app.settings import Settings
from benchmarks.crowd import MODEL, embeddings
from tests.app import photos
from tests.server import enroll, identify, running_server

PEOPLE_AT_ONCE = 1000
N_IDLE = 40
PHOTO_FILE = photos.grace()
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds and megabytes of one run; latencies of single requests in seconds."""

    start_s: float
    start_mb: float
    recalibration_s: float
    peak_mb: float
    idle_s: list[float]
    during_s: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--photos", type=int, default=5)
    wanted = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        with console.status(f"making {wanted.people * wanted.photos} templates"):
            fill(data_dir, wanted.people, wanted.photos)
        with console.status("starting, then recalibrating"):
            measured = measure(data_dir)
    console.print(table(measured, wanted.people, wanted.people * wanted.photos))


def fill(data_dir: Path, n_people: int, n_photos: int) -> None:
    """A database with people whose templates lie as those of a real network do."""
    database = open_database(Settings(data_dir=data_dir))
    upgrade(database.engine)
    for first in range(0, n_people, PEOPLE_AT_ONCE):
        with database.write() as session:
            claim_model(session, MODEL)
            _add_people(session, range(first, min(first + PEOPLE_AT_ONCE, n_people)), n_photos)
    database.dispose()


def _add_people(session: Session, numbers: range, n_photos: int) -> None:
    now = utc_now()
    people = [row_of(PersonCreate(employee_code=f"E{number}", name=f"Person {number}")) for number in numbers]
    session.execute(insert(Person), people)
    shared = {"kind": "images", "status": "done", "progress": 1.0, "frames_read": n_photos, "faces_seen": n_photos}
    shared |= {"rejected": [], "warnings": [], "created_at": now}
    enrolments = [{"id": new_id("enr"), "person_id": person["id"], **shared} for person in people]
    session.execute(insert(Enrolment), enrolments)
    rows = [
        _template_row(enrolment, embedding, now)
        for number, enrolment in zip(numbers, enrolments, strict=True)
        for embedding in embeddings(number, n_photos)
    ]
    ids = session.scalars(insert(Template).returning(Template.id, sort_by_parameter_order=True), rows).all()
    record_additions(session, [(id_, row["person_id"]) for id_, row in zip(ids, rows, strict=True)])


def _template_row(enrolment: dict[str, Any], embedding: NDArray[np.float32], now: Any) -> dict[str, Any]:
    pose = {"yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
    whose = {"person_id": enrolment["person_id"], "enrolment_id": enrolment["id"], "model": MODEL}
    return {**whose, **pose, "embedding": embedding.tobytes(), "quality": 0.9, "source": {}, "created_at": now}


def measure(data_dir: Path) -> Measured:
    """Start the service, let it calibrate, change the gallery, and recalibrate it under load."""
    started = perf_counter()
    with running_server(data_dir) as server, server.client(server.new_key("admin")) as client:
        start_s, start_mb = perf_counter() - started, server.peak_memory_mb()
        client.timeout = httpx.Timeout(LIMIT_S)
        _wait_until_calibrated(client)
        enroll(client, "new", PHOTO_FILE, name="Grace Hopper").raise_for_status()
        idle_s = [_seconds(lambda: identify(client, PHOTO_FILE)) for _ in range(N_IDLE)]
        during_s, recalibration_s = _recalibrate(client)
        return Measured(start_s, start_mb, recalibration_s, server.peak_memory_mb(), idle_s, during_s)


def _wait_until_calibrated(client: httpx.Client) -> None:
    """The service starts with what its model card says, and searches the gallery in the background."""
    deadline_s = perf_counter() + LIMIT_S
    while client.get("/v1/threshold").raise_for_status().json()["method"] == "model card":
        if perf_counter() > deadline_s:
            raise SystemExit("the first calibration did not end")
        sleep(0.5)


def _recalibrate(client: httpx.Client) -> tuple[list[float], float]:
    before, started = _point_id(client), perf_counter()
    client.post("/v1/threshold/recalibrate").raise_for_status()
    during = list(_identify_until(client, lambda: _point_id(client) != before, started + LIMIT_S))
    return during, perf_counter() - started


def _identify_until(client: httpx.Client, is_done: Callable[[], bool], deadline_s: float) -> Iterator[float]:
    while True:
        yield _seconds(lambda: identify(client, PHOTO_FILE))
        if is_done():
            return
        if perf_counter() > deadline_s:
            raise SystemExit("the recalibration did not end")


def _point_id(client: httpx.Client) -> str:
    return str(client.get("/v1/threshold").raise_for_status().json()["id"])


def _seconds(call: Callable[[], httpx.Response]) -> float:
    started = perf_counter()
    call().raise_for_status()
    return perf_counter() - started


def table(measured: Measured, n_people: int, n_templates: int) -> Table:
    """The figures, with the ratios that can be compared between machines."""
    idle, during = statistics.median(measured.idle_s), statistics.median(measured.during_s)
    shown = Table(f"{n_templates} templates of {n_people} people", "")
    shown.add_row("start until ready", f"{measured.start_s:.1f} s, {measured.start_mb:.0f} MB")
    shown.add_row("recalibration", f"{measured.recalibration_s:.1f} s")
    shown.add_row("most memory ever resident", f"{measured.peak_mb:.0f} MB")
    shown.add_row("identify before", f"median {idle * 1e3:.0f} ms, worst {max(measured.idle_s) * 1e3:.0f} ms")
    shown.add_row(
        f"identify meanwhile ({len(measured.during_s)} answered)",
        f"median {during * 1e3:.0f} ms ({during / idle:.1f} times), worst {max(measured.during_s) * 1e3:.0f} ms",
    )
    return shown


if __name__ == "__main__":
    main()

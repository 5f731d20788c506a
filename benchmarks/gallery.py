"""What a replica costs: to start, to catch up, to search and to follow, for galleries of three sizes on PostgreSQL.

    python -m benchmarks.gallery [--templates 10000 100000 1000000] [--json FILE]

Each size has a database of its own, filled with made-up templates, and a process that holds nothing but the gallery:
its memory beyond what its libraries take is the gallery's. Enrolments are transactions as the service makes them,
without the networks. Uses the server of ROLLCALL_TEST_POSTGRES_URL, the local one, or a throwaway cluster.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from threading import Thread
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.db.engine import Database, open_database
from app.db.migrate import upgrade
from app.db.tables import Enrolment, Person, Template
from app.db.types import new_id, utc_now
from app.gallery.bell import bell_of
from app.gallery.changes import record_additions
from app.gallery.follower import Follower
from app.gallery.queries import lock_gallery
from app.gallery.replica import GalleryReplica
from app.logs import configure_logging
from app.people.schemas import PersonCreate
from app.people.service import row_of
from app.settings import Settings
from benchmarks.crowd import DIM, MODEL, embeddings
from tests.postgres import server_url

PER_PERSON = 5
N_MISSED = 5_000
N_SEARCHES = 300
CANDIDATES = 50
ENROLMENTS_PER_S, ENROL_FOR_S = 50, 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, megabytes, and milliseconds of one size."""

    n_templates: int
    start_s: float
    memory_mb: float
    peak_mb: float
    catch_up_s: float
    audit_s: float
    search_p50_ms: float
    search_p99_ms: float
    lag_p50_ms: float
    lag_p99_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--replica", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.replica:
        be_replica(wanted.replica)
        return
    with server_url() as server:
        measured = [measure(server, n) for n in wanted.templates]
    Console().print(table(measured))
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(each) for each in measured], indent=1))


def measure(server: str, n_templates: int) -> Measured:
    with filled_database(server, n_templates // PER_PERSON) as url:
        database = open_database(Settings(database_url=url))
        command = [sys.executable, "-m", "benchmarks.gallery", "--replica", url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as replica:
            started = ask(replica, "start")
            enrol(database, N_MISSED)
            caught_up = ask(replica, "catch_up")
            searched = ask(replica, "search")
            ask(replica, "follow")
            committed = enrol_steadily(database)
            applied = ask(replica, "end")["applied"]
        database.dispose()
    lags_ms = [1000 * (applied[str(revision)] - at) for revision, at in committed.items() if str(revision) in applied]
    assert len(lags_ms) > len(committed) / 2, "most revisions were not seen one by one"
    return Measured(
        n_templates=n_templates,
        **started,
        **caught_up,
        **searched,
        lag_p50_ms=float(np.quantile(lags_ms, 0.5)),
        lag_p99_ms=float(np.quantile(lags_ms, 0.99)),
    )


def ask(replica: "subprocess.Popen[str]", what: str) -> dict[str, Any]:
    assert replica.stdin is not None and replica.stdout is not None
    replica.stdin.write(what + "\n")
    replica.stdin.flush()
    answer: dict[str, Any] = json.loads(replica.stdout.readline())
    return answer


def be_replica(url: str) -> None:
    """Does what its standard input says, and answers with a line of JSON."""
    settings = Settings(database_url=url, log_level="error")
    configure_logging(settings)
    database = open_database(settings)
    replica = GalleryReplica(database, model=MODEL, dim=DIM)
    for line in sys.stdin:
        answer = DEEDS[line.strip()](replica, database)
        print(json.dumps(answer), flush=True)
        if line.strip() == "end":
            return


def _start(replica: GalleryReplica, _database: Database) -> dict[str, float]:
    before_mb = memory_mb("VmRSS")
    start_s = seconds(replica.rebuild)
    return {"start_s": start_s, "memory_mb": memory_mb("VmRSS") - before_mb, "peak_mb": memory_mb("VmHWM") - before_mb}


def _catch_up(replica: GalleryReplica, _database: Database) -> dict[str, float]:
    return {"catch_up_s": seconds(replica.catch_up)}


def _search(replica: GalleryReplica, _database: Database) -> dict[str, float]:
    probes = embeddings(10**9, N_SEARCHES)
    took_ms = [1000 * seconds(lambda probe=probe: replica.search(probe[None], CANDIDATES)) for probe in probes]
    audit_s = seconds(lambda: replica.audit().is_clean or sys.exit("the audit found differences"))
    p50, p99 = np.quantile(took_ms, [0.5, 0.99])
    return {"search_p50_ms": float(p50), "search_p99_ms": float(p99), "audit_s": audit_s}


def _follow(replica: GalleryReplica, database: Database) -> dict[str, float]:
    Follower(replica, bell_of(database)).start()
    Thread(target=_watch, args=(replica,), daemon=True).start()
    return {}


def _watch(replica: GalleryReplica) -> None:
    """Notes when each revision was there to be searched."""
    while True:
        APPLIED.setdefault(replica.version().revision, monotonic())
        sleep(0.0005)


def _end(_replica: GalleryReplica, _database: Database) -> dict[str, Any]:
    sleep(1.0)
    return {"applied": APPLIED}


APPLIED: dict[int, float] = {}
DEEDS = {"start": _start, "catch_up": _catch_up, "search": _search, "follow": _follow, "end": _end}


def enrol_steadily(database: Database) -> dict[int, float]:
    """When each of the enrolments was committed, by revision; on the clock that all processes share."""
    committed = {}
    begin = monotonic()
    for number in range(int(ENROLMENTS_PER_S * ENROL_FOR_S)):
        sleep(max(0.0, begin + number / ENROLMENTS_PER_S - monotonic()))
        committed[enrol(database, 1)] = monotonic()
    return committed


def enrol(database: Database, n_templates: int) -> int:
    """One new person with so many templates, each its own revision up to 50 at a time; returns the revision."""
    revision = 0
    for first in range(0, n_templates, 50):
        with database.write() as session:
            lock_gallery(session)
            person = Person(**row_of(PersonCreate(employee_code=token_hex(8), name="New")))
            enrolment = Enrolment(
                id=new_id("enr"), person_id=person.id, kind="images", status="done", created_at=utc_now()
            )
            session.add(person)
            session.flush()
            session.add(enrolment)
            session.flush()
            new = [_template(enrolment, each) for each in embeddings(hash(person.id), min(50, n_templates - first))]
            session.add_all(new)
            session.flush()
            revision = record_additions(session, [(each.id, person.id) for each in new])
    return revision


def _template(enrolment: Enrolment, embedding: NDArray[np.float32]) -> Template:
    pose = {"yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
    return Template(
        person_id=enrolment.person_id,
        enrolment_id=enrolment.id,
        model=MODEL,
        embedding=embedding.tobytes(),
        quality=1.0,
        source={},
        created_at=utc_now(),
        **pose,
    )


@contextmanager
def filled_database(server: str, n_people: int) -> Iterator[str]:
    """A database of its own, with everybody enrolled before the log begins."""
    name = f"rollcall_bench_{token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            url = f"{server.rpartition('/')[0]}/{name}"
            database = open_database(Settings(database_url=url))
            upgrade(database.engine)
            database.dispose()
            with psycopg.connect(url) as connection, Console().status(f"making {n_people * PER_PERSON} templates"):
                fill(connection, n_people)
            yield url
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def fill(connection: psycopg.Connection, n_people: int) -> None:
    now = utc_now()
    cursor = connection.cursor()
    with cursor.copy(
        "COPY people (id, employee_code, name, search_text, active, created_at, updated_at) FROM STDIN"
    ) as copy:
        for n in range(n_people):
            copy.write_row((f"per_{n:024x}", f"E{n}", f"Person {n}", f"e{n} person {n}", True, now, now))
    with cursor.copy(
        "COPY enrolments (id, person_id, kind, status, progress, frames_read, faces_seen, rejected, warnings, "
        "created_at) FROM STDIN"
    ) as copy:
        for n in range(n_people):
            copy.write_row((f"enr_{n:024x}", f"per_{n:024x}", "images", "done", 1.0, 5, 5, "[]", "[]", now))
    with cursor.copy(
        "COPY templates (person_id, enrolment_id, model, embedding, quality, yaw_deg, pitch_deg, roll_deg, source, "
        "created_at) FROM STDIN"
    ) as copy:
        for n in range(n_people):
            for embedding in embeddings(n, PER_PERSON):
                whose = f"per_{n:024x}", f"enr_{n:024x}", MODEL
                copy.write_row((*whose, embedding.tobytes(), 1.0, 0.0, 0.0, 0.0, "{}", now))
    cursor.execute("UPDATE gallery_state SET model = %s", [MODEL])
    connection.commit()
    cursor.execute("ANALYZE")
    connection.commit()


def seconds(call: Any) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def memory_mb(field: str) -> float:
    """VmRSS: resident now; VmHWM: the most that ever was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def table(measured: list[Measured]) -> Table:
    shown = Table("", *(f"{each.n_templates:,} templates" for each in measured))
    rows = {
        "start: load everything": lambda m: f"{m.start_s:.2f} s",
        "memory of the gallery": lambda m: f"{m.memory_mb:.0f} MB ({1024 * m.memory_mb / m.n_templates:.2f} kB each)",
        "most memory meanwhile": lambda m: f"{m.peak_mb:.0f} MB",
        f"catch up {N_MISSED:,} missed templates": lambda m: f"{m.catch_up_s:.2f} s",
        "audit": lambda m: f"{m.audit_s:.2f} s",
        "search, one face": lambda m: f"p50 {m.search_p50_ms:.2f} ms, p99 {m.search_p99_ms:.2f} ms",
        f"lag at {ENROLMENTS_PER_S} enrolments a second": (
            lambda m: f"p50 {m.lag_p50_ms:.1f} ms, p99 {m.lag_p99_ms:.1f} ms"
        ),
    }
    for name, cell in rows.items():
        shown.add_row(name, *(cell(each) for each in measured))
    return shown


if __name__ == "__main__":
    main()

"""A month of captures, in order, and then in any order, repeated and late: the same days, and what they cost.

    python -m benchmarks.attendance [--captures 100000] [--people 500] [--days 30] [--per-commit 50] [--json FILE]

No networks: each capture names somebody, and is stored as the service stores it, with its decision, its candidates, its
event and the days that follow. The first replay is in order. In the second, two thirds come in random order, then the
other third, late, in random order too; every tenth is sent again with the same Idempotency-Key. Both begin with copies
of one database. The days and what is said of every event must be equal. `--per-commit` captures share a transaction;
the service commits each by itself.
"""

import argparse
import json
import random
import resource
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import select

from app.attendance.captures import CaptureKey, Recorder, Sender, Stand, refuse_recorded
from app.attendance.ledger import Bookkeeper
from app.attendance.moments import DeviceClock, Moment
from app.auth.scopes import Principal, Scope
from app.cameras.schemas import Policy
from app.crops.keeping import CropKeeper
from app.db.engine import Database, open_database
from app.db.migrate import upgrade
from app.db.tables import Capture, Day, Event, OperatingPointRow, Person, Shift, ShiftAssignment
from app.db.types import new_id, utc_now
from app.decisions.log import Circumstances, DecidedFace, DecisionLog
from app.errors import ProblemError
from app.gallery.replica import GalleryVersion
from app.identification.searcher import Searched
from app.metrics.attendance import AttendanceMetrics
from app.operating_points.current import CurrentPoint
from app.people.schemas import PersonCreate
from app.people.service import row_of
from app.sealing import Sealer
from app.settings import Settings
from ml.calibration import Curves
from ml.quality import SEARCH_LIMITS
from ml.types import Candidate, Decision, Outcome, Pose, Quality

ZONE = "Europe/Berlin"
MODEL = "dlib-resnet/1"
# Monday before the night on which Berlin's clocks go back: the month has a night of nine hours.
FIRST_DAY = date(2026, 10, 5)
SHIFTS = (("Day", 9, 17), ("Early", 6, 14), ("Night", 22, 6))
# One presence: somebody looks at the camera up to four times within a minute.
REPEATS_S = (0, 7, 21, 55)
RESENT = 10
SEED = 7
_NO_CURVES = Curves([], [], [], [], [], [])


@dataclass(frozen=True, slots=True)
class Sent:
    """One capture: whom it shows and when."""

    key: str
    person: int
    at: datetime


@dataclass
class Replay:
    """What one replay cost."""

    name: str
    n_captures: int
    n_repeated: int
    seconds: float
    captures_per_s: float
    n_events: int
    n_days: int
    peak_memory_mb: float


def made_up(n_captures: int, n_people: int, n_days: int) -> list[Sent]:
    """Captures in order of time; everybody comes and goes on most days, some forget, some take a break outside."""
    rng = random.Random(SEED)
    sent: list[Sent] = []
    while len(sent) < n_captures:
        for person in range(n_people):
            for day in range(n_days):
                if rng.random() < 0.9:
                    sent += _day_of(person, day, rng, len(sent))
    return sorted(sent[:n_captures], key=lambda one: (one.at, one.key))


def _day_of(person: int, day: int, rng: random.Random, n_before: int) -> Iterator[Sent]:
    _, starts, ends = SHIFTS[person % len(SHIFTS)]
    lasts = (ends - starts) % 24
    hours = [starts + rng.gauss(-0.1, 0.15), starts + lasts + rng.gauss(0.1, 0.2)]
    if rng.random() < 0.3:
        hours += [starts + 4 + rng.random() / 4, starts + 4.6 + rng.random() / 4]
    if rng.random() < 0.05:
        hours.pop(1)  # forgot to check out
    n = 0
    for hour in hours:
        for repeat_s in REPEATS_S[: rng.randint(1, len(REPEATS_S))]:
            midnight = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) - timedelta(hours=2)
            at = midnight + timedelta(days=day, hours=hour, seconds=repeat_s)
            yield Sent(f"{person}-{day}-{n_before}-{n}", person, at)  # to the microsecond: no two at once
            n += 1


def as_it_goes_wrong(sent: Sequence[Sent]) -> list[Sent]:
    """Random order, a third of it after all the rest, every tenth twice."""
    rng = random.Random(SEED + 1)
    shuffled = rng.sample(sent, len(sent))
    resent = rng.sample(sent, len(sent) // RESENT)
    cut = len(shuffled) * 2 // 3
    early = [*shuffled[:cut], *resent[: len(resent) // 2]]
    late = [*shuffled[cut:], *resent[len(resent) // 2 :]]
    rng.shuffle(early)
    rng.shuffle(late)
    return [*early, *late]


def prepare(database: Database, n_people: int) -> None:
    """A site, three shifts, and everybody on one of them."""
    upgrade(database.engine)
    now = utc_now()
    with database.write() as session:
        session.add(_operating_point())
        for number, (name, starts, ends) in enumerate(SHIFTS):
            hours = {"starts": f"{starts:02}:00", "ends": f"{ends:02}:00"}
            session.add(Shift(id=f"shf_{number}", name=name, days=list(range(7)), rules={}, created_at=now, **hours))
        for number in range(n_people):
            columns = row_of(PersonCreate(employee_code=f"P{number}", name=f"P {number}"))
            session.add(Person(**columns | {"id": f"per_{number:06}"}))
        session.flush()
        for number in range(n_people):
            session.add(
                ShiftAssignment(
                    id=new_id("asg"),
                    person_id=f"per_{number:06}",
                    shift_id=f"shf_{number % len(SHIFTS)}",
                    is_standing=True,
                    created_at=now,
                    created_by="benchmark",
                )
            )


def _operating_point() -> OperatingPointRow:
    return OperatingPointRow(
        id="opp_benchmark",
        threshold=0.5,
        mode="manual",
        is_suggestion=False,
        expected_fpir={},
        expected_fnir={},
        method="",
        model=MODEL,
        n_people=0,
        n_templates=0,
        gallery_revision=0,
        evidence={},
        curves={},
        created_at=utc_now(),
        created_by="benchmark",
    )


class Door:
    """Records made-up identifications."""

    def __init__(self, database: Database, n_people: int) -> None:
        sealer, metrics = Sealer(["benchmark of the ledger"]), AttendanceMetrics(CollectorRegistry())
        crops = CropKeeper.of(Settings(crop_retention_days=0), sealer)
        log = DecisionLog(database, 7)
        self.recorder = Recorder(database, Bookkeeper(ZONE), log, sealer, metrics, 366, crops)
        self.database = database
        self.n_people = n_people

    def record(self, captures: Sequence[Sent]) -> int:
        """Store captures in one transaction; returns how many were there already."""
        n_repeated = 0
        with self.database.write() as session:
            for sent in captures:
                stand, sender = self._stand(sent), self._sender(sent)
                try:
                    refuse_recorded(session, stand.key)
                except ProblemError:
                    n_repeated += 1
                else:
                    self.recorder.write(session, stand, self._searched(sent), sender)
        return n_repeated

    def _sender(self, sent: Sent) -> Sender:
        return Sender(Principal("key_benchmark", Scope.CAMERA), "req", DeviceClock(None, sent.at))

    def _stand(self, sent: Sent) -> Stand:
        return Stand(
            key=CaptureKey("key_benchmark", sent.key, ""),
            created_by="key:key_benchmark",
            camera_id=None,
            site_id="site_default",
            timezone=ZONE,
            repeat_window_s=120,
            keeps_unknown=False,
            keeps_known=False,
            policy=Policy(),
            min_face_px=None,
            moment=Moment(sent.at, sent.at, 0.0),
            clock=DeviceClock(None, sent.at),
            direction=None,
        )

    def _searched(self, sent: Sent) -> Searched:
        others = [(sent.person + step) % self.n_people for step in (1, 2)]
        ranked = tuple(
            Candidate(f"per_{number:06}", 0.9 - 0.2 * rank, rank + 1, 1)
            for rank, number in enumerate([sent.person, *others])
        )
        decision = Decision(Outcome.IDENTIFIED, ranked[0].person_id, 0.9, 0.2, ranked)
        quality = Quality(0.9, Pose(0.0, 0.0, 0.0), 90.0, 1.0, 120.0, 0.99)
        circumstances = Circumstances("req", "key:key_benchmark", 0.5, "opp_benchmark", 1, MODEL)
        point = CurrentPoint("opp_benchmark", 0.5, None, {}, _NO_CURVES)
        version = GalleryVersion(revision=1, n_people=self.n_people, n_templates=self.n_people)
        face = DecidedFace(decision, quality, ())
        return Searched([face], circumstances, [None], version, point, SEARCH_LIMITS)


def replay(folder: Path, name: str, captures: Sequence[Sent], n_people: int, per_commit: int) -> Replay:
    """Record captures into the database of a folder; to be run in a process of its own, whose memory is measured."""
    database = open_database(Settings(data_dir=folder))
    door, n_repeated = Door(database, n_people), 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task, started = progress.add_task(name, total=len(captures)), perf_counter()
        for first in range(0, len(captures), per_commit):
            n_repeated += door.record(captures[first : first + per_commit])
            progress.advance(task, per_commit)
        seconds = perf_counter() - started
    n_events, n_days = (len(found) for found in what_followed(database))
    database.dispose()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_s = len(captures) / seconds
    return Replay(name, len(captures), n_repeated, round(seconds, 1), round(per_s, 1), n_events, n_days, round(peak_mb))


def what_followed(database: Database) -> tuple[dict[str, tuple[Any, ...]], dict[tuple[str, date], tuple[Any, ...]]]:
    """What was said of every capture, and every day; events by the key of their capture, because ids are random."""
    judged = (Event.local_date, Event.direction, Event.shift_id, Event.explanation)
    hidden = {"person_id", "local_date", "version", "updated_at"}
    columns = [column for column in Day.__table__.columns if column.name not in hidden]
    with database.read() as session:
        keys = {row.id: row.key for row in session.execute(_keys_of_events())}
        events = {
            keys[row.id]: (keys.get(row.duplicate_of), *row[2:])
            for row in session.execute(select(Event.id, Event.duplicate_of, *judged))
        }
        rows = session.execute(select(Day.person_id, Day.local_date, *columns).where(Day.n_events > 0))
        return events, {(row.person_id, row.local_date): tuple(row[2:]) for row in rows}


def _keys_of_events() -> Any:
    return select(Event.id, Capture.idempotency_key.label("key")).join(Capture, Capture.id == Event.capture_id)


def main() -> None:
    options = _options()
    captures = made_up(options.captures, options.people, options.days)
    with TemporaryDirectory() as folder:
        folders = [Path(folder) / name for name in ("ordered", "as_it_goes_wrong")]
        folders[0].mkdir()
        database = open_database(Settings(data_dir=folders[0]))
        prepare(database, options.people)
        database.scrub()
        database.dispose()
        shutil.copytree(folders[0], folders[1])
        orders = (captures, as_it_goes_wrong(captures))
        replays = []
        for folder_of, name, order in zip(folders, ("in order", "any order, late, repeated"), orders, strict=True):
            with get_context("spawn").Pool(1) as process:
                replays.append(process.apply(replay, (folder_of, name, order, options.people, options.per_commit)))
        followed = [what_followed(open_database(Settings(data_dir=each))) for each in folders]
    (events, days), (other_events, other_days) = followed
    is_equal = {"days": days == other_days, "events": events == other_events}
    _show(replays, is_equal)
    if options.json:
        report = {"options": vars(options) | {"json": str(options.json)}, "is_equal": is_equal}
        options.json.write_text(json.dumps(report | {"replays": [asdict(each) for each in replays]}, indent=1))
    sys.exit(0 if all(is_equal.values()) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--per-commit", type=int, default=50)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _show(replays: Sequence[Replay], is_equal: dict[str, bool]) -> None:
    table = Table("replay", "captures", "repeated", "seconds", "captures/s", "events", "days", "peak MB")
    for each in replays:
        table.add_row(*(str(value) for value in asdict(each).values()))
    console = Console()
    console.print(table)
    for what, are_equal in is_equal.items():
        console.print(f"The {what} {'are equal' if are_equal else 'DIFFER'}.")


if __name__ == "__main__":
    main()

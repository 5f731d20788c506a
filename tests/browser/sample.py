"""A company to look at: people of several countries, a month of attendance, faces, strangers, cameras, a webhook.

    with running_server(folder / "data") as server:
        fill(server, Wanted())

Faces are those of the development data where this machine has it, else the two that packages carry; the names that
they are given are made up. What happened in the past is written by the service's own rules, straight into its database.
"""

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
from sqlalchemy import update

from app.attendance.ledger import Bookkeeper
from app.db.engine import Database, open_database
from app.db.tables import Event, WebhookDelivery
from app.db.types import utc_now
from app.decisions.log import Circumstances, DecidedFace, DecisionLog
from app.settings import Settings
from ml.types import Candidate, Decision, Outcome, Pose, Quality
from tests.browser.names import DEPARTMENTS, NAMES
from tests.ml.faces import REPOSITORY, grace_hopper_jpeg
from tests.ports import free_port
from tests.server import Server, enroll

SEED: Final = 11
ZONE: Final = ZoneInfo("Europe/Berlin")
# Name, start, end, grace and break of the shifts; the last one passes midnight.
SHIFTS: Final = (
    {"name": "Office", "starts": "09:00", "ends": "17:30", "breaks": [{"starts": "12:30", "ends": "13:00"}]},
    {"name": "Early", "starts": "06:00", "ends": "14:00", "grace_in_s": 600},
    {"name": "Night", "starts": "22:00", "ends": "06:00", "breaks": [{"starts": "02:00", "ends": "02:30"}]},
)
CAMERAS: Final = (("Main entrance", "in"), ("Main exit", "out"), ("Warehouse gate", "both"), ("Canteen", "both"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much there is to be."""

    n_people: int = len(NAMES)
    n_enrolled: int = 56
    n_strangers: int = 14
    n_days: int = 31


@dataclass(frozen=True, slots=True)
class Company:
    """What was made: ids by what they are of."""

    sites: list[str]
    shifts: list[str]
    cameras: list[str]
    people: list[str]


@dataclass(frozen=True, slots=True)
class Photos:
    """Pictures of faces: several of each who is to be enrolled, one of each stranger."""

    known: list[list[bytes]]
    strangers: list[bytes]


def fill(server: Server, wanted: Wanted | None = None) -> Company:
    """Fills a service that was just set up; takes a minute or two, most of it for faces."""
    wanted = wanted or Wanted()
    photos = photos_of(wanted)
    with server.client(server.new_key("admin")) as api:
        company = _found(api, wanted)
        _enrol(api, company, photos, wanted)
        _ok(api.post("/v1/threshold/recalibrate"))
        point = _ok(api.get("/v1/threshold"))
        database = open_database(Settings(data_dir=server.data_dir))
        History(database, company, wanted, point).write()
        _tell_somebody(api)
        _be_seen(api, company, photos)
        _give_up(database)
        database.dispose()
        _add_operator(api)
    return company


def photos_of(wanted: Wanted) -> Photos:
    """From the development data, else those that packages carry."""
    folder = Path(os.environ.get("ROLLCALL_TEST_DATA", REPOSITORY.parent / "shared" / "data")) / "faces"
    if not folder.is_dir():
        return Photos([[grace_hopper_jpeg()]], [])
    protocol, images = json.loads((folder / "protocol.json").read_text()), folder / "images"
    known = [
        [(images / name / file).read_bytes() for file in (*each["gallery"], *each["probes"][:1])]
        for name, each in list(protocol["known"].items())[: wanted.n_enrolled]
    ]
    return Photos(known, [(images / path).read_bytes() for path in protocol["strangers"][: wanted.n_strangers]])


class History:
    """The past month: who came and went when, by the rules of the service."""

    def __init__(self, database: Database, company: Company, wanted: Wanted, point: dict[str, Any]) -> None:
        self._database = database
        self._company = company
        self._point = point
        self._n_days = wanted.n_days
        self._log = DecisionLog(database, retention_days=365)
        self._bookkeeper = Bookkeeper(ZONE.key)
        self._rng = random.Random(SEED)

    def write(self) -> None:
        """Everybody's month, each in one transaction."""
        for number, person_id in enumerate(self._company.people):
            times = sorted(at for at in self._punches(number) if at < utc_now())
            with self._database.write() as session:
                ids = self._log.store_in(
                    session, [self._face(person_id) for _ in times], self._circumstances(), [True] * len(times)
                )
                events = [self._event(str(id_), person_id, at) for id_, at in zip(ids, times, strict=True)]
                self._bookkeeper.add(session, events)

    def _punches(self, number: int) -> Iterator[datetime]:
        shift = SHIFTS[shift_of(number)]
        starts, ends = time.fromisoformat(str(shift["starts"])), time.fromisoformat(str(shift["ends"]))
        today = datetime.now(ZONE).date()
        for back in range(self._n_days, -1, -1):
            day = today - timedelta(days=back)
            if day.weekday() < 5 or day == today:
                yield from self._day(day, starts, ends)

    def _day(self, day: date, starts: time, ends: time) -> Iterator[datetime]:
        rng = self._rng
        if rng.random() < 0.05:  # away
            return
        late_min = rng.uniform(8, 45) if rng.random() < 0.09 else rng.gauss(-7, 4)
        end_day = day if ends > starts else day + timedelta(days=1)
        yield self._at(day, starts, late_min)
        if rng.random() < 0.2:  # out for lunch
            middle = (self._at(day, starts, 0) - self._at(end_day, ends, 0)) / -2
            yield self._at(day, starts, middle.total_seconds() / 60)
            yield self._at(day, starts, middle.total_seconds() / 60 + rng.uniform(25, 50))
        if rng.random() > 0.04:  # else forgot to look into the camera
            yield self._at(end_day, ends, rng.gauss(12, 12))

    def _at(self, day: date, wall: time, minutes: float) -> datetime:
        return (datetime.combine(day, wall, ZONE) + timedelta(seconds=round(minutes * 60))).astimezone(UTC)

    def _event(self, event_id: str, person_id: str, at: datetime) -> Event:
        return Event(
            id=event_id,
            camera_id=self._rng.choice(self._company.cameras[2:]),
            site_id=self._company.sites[0],
            timezone=ZONE.key,
            repeat_window_s=120,
            method="face",
            outcome=Outcome.IDENTIFIED.value,
            received_at=at + timedelta(seconds=1),
            created_by="key:sample",
            person_id=person_id,
            occurred_at=at,
            is_deleted=False,
        )

    def _face(self, person_id: str) -> DecidedFace:
        score = min(self._point["threshold"] + abs(self._rng.gauss(0.12, 0.06)), 0.95)
        others = self._rng.sample(self._company.people, 2)
        candidates = tuple(
            Candidate(id_, round(score - 0.2 * rank, 4), rank + 1, 1) for rank, id_ in enumerate([person_id, *others])
        )
        decision = Decision(Outcome.IDENTIFIED, person_id, score, 0.2, candidates)
        return DecidedFace(decision, Quality(0.9, Pose(2.0, -3.0, 0.5), 96.0, 1.0, 120.0, 0.99), ())

    def _circumstances(self) -> Circumstances:
        point = self._point
        return Circumstances("sample", "key:sample", point["threshold"], point["id"], 1, point["model"])


def shift_of(number: int) -> int:
    """Which shift somebody works: every fourth the early one, every ninth the night one."""
    return 2 if number % 9 == 8 else 1 if number % 4 == 3 else 0


def _found(api: httpx.Client, wanted: Wanted) -> Company:
    today = datetime.now(ZONE).date()
    _ok(api.patch("/v1/sites/site_default", json={"name": "Berlin", "timezone": ZONE.key, "unknown_days": 14}))
    hanoi = _ok(api.post("/v1/sites", json={"name": "Hà Nội", "timezone": "Asia/Ho_Chi_Minh", "unknown_days": 3}))
    _holidays(api, today.year, hanoi["id"])
    days = sorted({0, 1, 2, 3, 4, today.weekday()})
    shifts = [_ok(api.post("/v1/shifts", json={**shift, "days": days}))["id"] for shift in SHIFTS]
    cameras = [
        _ok(api.post("/v1/cameras", json={"name": name, "direction": direction}))["id"] for name, direction in CAMERAS
    ]
    people = [_ok(api.post("/v1/people", json=_person(number, shifts)))["id"] for number in range(wanted.n_people)]
    return Company(["site_default", hanoi["id"]], shifts, cameras, people)


def _holidays(api: httpx.Client, year: int, hanoi: str) -> None:
    common = {"01-01": "New Year", "05-01": "Labour Day", "12-25": "Christmas Day", "12-26": "Boxing Day"}
    for day, name in (*common.items(), ("10-03", "Day of German Unity")):
        _ok(api.post("/v1/holidays", json={"date": f"{year}-{day}", "name": name}))
    for day, name in (("04-30", "Reunification Day"), ("09-02", "National Day")):
        _ok(api.post("/v1/holidays", json={"date": f"{year}-{day}", "name": name, "site_id": hanoi}))


def _person(number: int, shifts: Sequence[str]) -> dict[str, Any]:
    consent = {"given_at": "2026-01-12T09:00:00Z", "method": "signed form"}
    return {
        "employee_code": f"E{1001 + number}",
        "name": NAMES[number],
        "department": DEPARTMENTS[number % len(DEPARTMENTS)],
        "shift_id": shifts[shift_of(number)],
        "consent": consent,
    }


def _enrol(api: httpx.Client, company: Company, photos: Photos, wanted: Wanted) -> None:
    for number, files in enumerate(photos.known[: wanted.n_people]):
        enroll(api, f"E{1001 + number}", *files[:3])


def _be_seen(api: httpx.Client, company: Company, photos: Photos) -> None:
    """What cameras saw within the last hours: people who are enrolled, and strangers, some of them twice."""
    known = [files[3] for files in photos.known if len(files) > 3]
    strangers = photos.strangers + photos.strangers[:4]
    seen = [photo for pair in zip_longest(known[: len(strangers) + 6], strangers) for photo in pair[::-1] if photo]
    first = utc_now() - timedelta(minutes=4 * len(seen))
    for number, photo in enumerate(seen):
        at = first + timedelta(minutes=4 * number)
        data = {"captured_at": at.isoformat(), "camera_id": company.cameras[number % len(company.cameras)]}
        _ok(api.post("/v1/captures", files={"image": ("a.jpg", photo)}, data=data))


def _tell_somebody(api: httpx.Client) -> None:
    _ok(api.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{free_port()}/hooks/payroll"}))


def _give_up(database: Database) -> None:
    """As if the first messages had been tried for a day."""
    gone = {"status": "dead", "n_attempts": 28, "last_status": 503, "last_error": "HTTP 503"}
    with database.write() as session:
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id <= 3).values(gone))


def _add_operator(api: httpx.Client) -> None:
    new = {"username": "minh", "name": "Minh Trần", "role": "operator", "password": "another long sentence"}
    _ok(api.post("/v1/users", json=new))


def _ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()

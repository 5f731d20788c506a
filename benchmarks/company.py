"""A large company, written straight into an empty database: people, a year of events and days, decisions, strangers.

Nothing here is worked out by the rules: only amounts and spread are like those of a real deployment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, insert, update

from app.db.engine import Database
from app.db.tables import (
    ApiKey,
    AuditEntry,
    Base,
    Camera,
    Day,
    DecisionCandidate,
    DecisionRow,
    Enrolment,
    Event,
    GalleryState,
    Holiday,
    Job,
    OperatingPointRow,
    Person,
    Shift,
    ShiftAssignment,
    Site,
    Template,
    UnknownCluster,
    UnknownFace,
    Webhook,
    WebhookDelivery,
)
from benchmarks.crowd import MODEL, embeddings

POINT: Final = "opp_benchmark"
ZONE: Final = "Europe/Berlin"
N_CAMERAS, N_SITES, N_SHIFTS, N_CLUSTERS, N_UNKNOWN = 40, 5, 12, 400, 3000
N_DELIVERIES, N_AUDIT, N_JOBS, N_KEYS = 100_000, 200_000, 500, 60
# Days whose decisions are still there, as by default.
DECIDED_DAYS: Final = 7
# Every fiftieth event shows nobody who is known.
UNKNOWN_EVERY: Final = 50
_AT_ONCE: Final = 5_000
# Of scores from -1 to 1: strangers below, people who are enrolled above.
_STEPS: Final = [round(-1 + step / 100, 2) for step in range(201)]
_CURVES: Final = {
    "thresholds": _STEPS,
    "fpir": [min(1.0, 10 ** (-4 * step)) for step in _STEPS],
    "fnir": [max(0.0, step) ** 2 for step in _STEPS],
    "bin_edges": _STEPS,
    "mated_histogram": [1] * 200,
    "non_mated_histogram": [1] * 200,
}
_NO_RATES: Final = {"value": 0.01, "low": 0.0, "high": 0.02}


@dataclass(frozen=True, slots=True)
class Company:
    """One id of each kind, in the middle of the others."""

    person_id: str
    last_day: date
    event_id: str
    camera_id: str
    shift_id: str
    cluster_id: str
    webhook_id: str


def fill(database: Database, *, n_people: int, n_events: int, last_day: date) -> Company:
    """Two events a day for everybody, on as many days up to the last one as that takes."""
    days = [last_day - timedelta(days=back) for back in range(max(1, n_events // (2 * n_people)))]
    with database.engine.begin() as connection:
        _places(connection, last_day)
        _people(connection, n_people)
        _insert(connection, Event, _events(n_people, days))
        _insert(connection, Day, _days(n_people, days))
        decided = days[:DECIDED_DAYS]
        _insert(connection, DecisionRow, _decisions(n_people, decided))
        _insert(connection, DecisionCandidate, _candidates(n_people, decided))
        _strangers(connection, last_day)
        _traces(connection, n_people, last_day)
    middle = n_people // 2
    return Company(
        person_id=_person_id(middle),
        last_day=last_day,
        event_id=_event_id(middle, last_day, 0),
        camera_id="cam_0001",
        shift_id="shf_0001",
        cluster_id="unk_0001",
        webhook_id="whk_0000",
    )


def _places(connection: Connection, last_day: date) -> None:
    now = _moment(last_day, 3)
    stamps = {"created_at": now, "updated_at": now}
    sites = ({"id": f"site_{n}", "name": f"Site {n}", "timezone": ZONE, "unknown_days": 14} for n in range(N_SITES))
    _insert(connection, Site, ({**site, "repeat_window_s": 120, **stamps} for site in sites))
    cameras = ({"id": f"cam_{n:04}", "name": f"Camera {n}", "site_id": f"site_{n % N_SITES}"} for n in range(N_CAMERAS))
    _insert(connection, Camera, ({**each, "direction": "both", "policy": {}, **stamps} for each in cameras))
    hours = {"starts": "09:00", "ends": "17:30", "days": [0, 1, 2, 3, 4], "rules": {}, "created_at": now}
    _insert(connection, Shift, ({"id": f"shf_{n:04}", "name": f"Shift {n}", **hours} for n in range(N_SHIFTS)))
    holidays = ({"local_date": date(last_day.year, month, 1), "site_id": None} for month in range(1, 13))
    _insert(connection, Holiday, ({"id": f"hol_{n}", "name": f"Day {n}", **each} for n, each in enumerate(holidays)))
    connection.execute(
        insert(OperatingPointRow).values(
            id=POINT,
            threshold=0.5,
            mode="manual",
            is_suggestion=False,
            expected_fpir=_NO_RATES,
            expected_fnir=_NO_RATES,
            method="benchmark",
            model=MODEL,
            n_people=0,
            n_templates=0,
            gallery_revision=0,
            evidence={"n_mated": 0, "n_non_mated": 0, "source": "benchmark"},
            curves=_CURVES,
            created_at=now,
            created_by="benchmark",
        )
    )


def _people(connection: Connection, n_people: int) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    stamps = [start + timedelta(seconds=n) for n in range(n_people)]
    _insert(
        connection,
        Person,
        (
            {
                "id": _person_id(n),
                "employee_code": f"E{n:06}",
                "name": f"Person {n}",
                "search_text": f"e{n:06} person {n}",
                "department": f"Department {n % 40}",
                "shift_id": f"shf_{n % N_SHIFTS:04}",
                "site_id": f"site_{n % N_SITES}",
                "active": n % 20 != 0,
                "consent_given_at": stamps[n],
                "consent_method": "form",
                "created_at": stamps[n],
                "updated_at": stamps[n],
            }
            for n in range(n_people)
        ),
    )
    _insert(
        connection,
        ShiftAssignment,
        (
            {
                "id": f"asg_{n:06}",
                "person_id": _person_id(n),
                "shift_id": f"shf_{n % N_SHIFTS:04}",
                "is_standing": True,
                "created_at": stamps[n],
                "created_by": "benchmark",
            }
            for n in range(n_people)
        ),
    )
    columns = {"kind": "images", "status": "done", "progress": 1.0, "rejected": [], "warnings": []}
    _insert(
        connection,
        Enrolment,
        (
            {"id": f"enr_{n:06}", "person_id": _person_id(n), "created_at": stamps[n], **columns}
            for n in range(n_people)
        ),
    )
    angles = {"yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0, "quality": 0.9, "model": MODEL}
    source = {"file": "a.jpg", "frame": None, "time_s": None}
    _insert(
        connection,
        Template,
        (
            {
                "person_id": _person_id(n),
                "enrolment_id": f"enr_{n:06}",
                "embedding": embedding.tobytes(),
                "source": source,
                "created_at": stamps[n],
                **angles,
            }
            for n in range(n_people)
            for embedding in embeddings(n, 2)
        ),
    )
    connection.execute(update(GalleryState).values(model=MODEL))


def _events(n_people: int, days: Iterable[date]) -> Iterator[dict[str, Any]]:
    for day in days:
        for n in range(n_people):
            for half in (0, 1):
                at, is_known = _punched_at(n, day, half), (2 * n + half) % UNKNOWN_EVERY != 0
                yield {
                    "id": _event_id(n, day, half),
                    "camera_id": f"cam_{n % N_CAMERAS:04}",
                    "site_id": f"site_{n % N_SITES}",
                    "timezone": ZONE,
                    "repeat_window_s": 120,
                    "method": "face",
                    "outcome": "identified" if is_known else "unknown",
                    "received_at": at + timedelta(seconds=1),
                    "created_by": "key:benchmark",
                    "person_id": _person_id(n) if is_known else None,
                    "occurred_at": at,
                    "is_deleted": False,
                    "direction": ("in", "out")[half] if is_known else None,
                    "local_date": day if is_known else None,
                    "shift_id": f"shf_{n % N_SHIFTS:04}" if is_known else None,
                    "explanation": "In for the shift.",
                }


def _days(n_people: int, days: Iterable[date]) -> Iterator[dict[str, Any]]:
    for day in days:
        for n in range(n_people):
            is_late = (n + day.toordinal()) % 13 == 0
            yield {
                "person_id": _person_id(n),
                "local_date": day,
                "timezone": ZONE,
                "status": "late" if is_late else "present",
                "first_in": _punched_at(n, day, 0),
                "last_out": _punched_at(n, day, 1),
                "worked_s": 28_800,
                "break_s": 1_800,
                "late_s": 900 if is_late else 0,
                "early_leave_s": 0,
                "overtime_s": 0,
                "n_events": 2,
                "closes_at": _moment(day, 23),
                "explanation": "Worked 8:00 hours.",
                "parts": [],
                "version": 1,
                "updated_at": _moment(day, 17),
            }


def _decisions(n_people: int, days: Iterable[date]) -> Iterator[dict[str, Any]]:
    for event in _events(n_people, days):
        is_known = event["person_id"] is not None
        yield {
            "id": event["id"],
            "at": event["received_at"],
            "request_id": "benchmark",
            "actor": "key:benchmark",
            "outcome": event["outcome"],
            "person_id": event["person_id"],
            "score": 0.6 if is_known else 0.4,
            "margin": 0.2,
            "quality": 0.9,
            "reasons": [],
            "threshold": 0.5,
            "operating_point_id": POINT,
            "gallery_revision": 0,
            "model": MODEL,
        }


def _candidates(n_people: int, days: Iterable[date]) -> Iterator[dict[str, Any]]:
    for day in days:
        for n in range(n_people):
            for half in (0, 1):
                for rank in (1, 2, 3):
                    who, score = _person_id((n + rank - 1) % n_people), 0.8 - 0.2 * rank
                    yield {"decision_id": _event_id(n, day, half), "rank": rank, "person_id": who, "score": score}


def _strangers(connection: Connection, last_day: date) -> None:
    seen = {"first_seen_at": _moment(last_day, 8), "created_at": _moment(last_day, 8), "n_faces": 7}
    clusters = ({"id": f"unk_{n:04}", "last_seen_at": _moment(last_day, 9, n)} for n in range(N_CLUSTERS))
    _insert(connection, UnknownCluster, ({"status": "open", **each, **seen} for each in clusters))
    unknown = (event for event in _events(N_UNKNOWN * UNKNOWN_EVERY, [last_day]) if event["outcome"] == "unknown")
    face = {"model": MODEL, "quality": 0.9, "sealed_embedding": b"\0" * 700, "sealed_crop": b"\0" * 4000}
    existing = _existing_events(connection, (event["id"] for event in unknown))
    expires = _moment(last_day, 9) + timedelta(days=14)
    _insert(
        connection,
        UnknownFace,
        (
            {
                "event_id": id_,
                "cluster_id": f"unk_{n % N_CLUSTERS:04}",
                "seen_at": _moment(last_day, 8),
                "expires_at": expires,
                **face,
            }
            for n, id_ in enumerate(existing)
        ),
    )


def _existing_events(connection: Connection, ids: Iterable[str]) -> list[str]:
    wanted = list(islice(ids, N_UNKNOWN))
    table = Event.__table__
    return [
        row.id
        for first in range(0, len(wanted), 500)
        for row in connection.execute(table.select().where(table.c.id.in_(wanted[first : first + 500])))
    ]


def _traces(connection: Connection, n_people: int, last_day: date) -> None:
    """What is kept of who did and was told what."""
    at = _moment(last_day, 6)
    hook = {"url": "https://hr.example.com/hooks", "topics": ["event.created"], "sealed_secret": b"-", "active": False}
    hooks = ({"id": f"whk_{n:04}", "created_at": at, "created_by": "benchmark", **hook} for n in range(4))
    _insert(connection, Webhook, hooks)
    _insert(
        connection,
        WebhookDelivery,
        (
            {
                "webhook_id": f"whk_{n % 4:04}",
                "topic": "event.created",
                "person_id": _person_id(n % n_people),
                "payload": {},
                "status": ("delivered", "delivered", "dead", "pending")[n // 4 % 4],
                "n_attempts": 1,
                "due_at": at,
                "created_at": at,
            }
            for n in range(N_DELIVERIES)
        ),
    )
    _insert(
        connection,
        AuditEntry,
        (
            {
                "at": at,
                "actor": "key:benchmark",
                "action": "event.corrected" if n % 5_000 == 0 else "person.updated",
                "target": _person_id(n % n_people),
                "detail": {},
            }
            for n in range(N_AUDIT)
        ),
    )
    by = {"requested_cancel": False, "created_by": "key:benchmark"}
    job = {"kind": "enrol_video", "payload": {}, "status": "done", "progress": 1.0, "attempts": 1}
    _insert(connection, Job, ({"id": f"job_{n:04}", "created_at": at, **job, **by} for n in range(N_JOBS)))
    keys = ({"id": f"key_{n:04}", "name": f"Key {n}", "secret_sha256": f"{n:064}"} for n in range(N_KEYS))
    _insert(connection, ApiKey, ({"scope": "camera", "created_at": at, **key} for key in keys))


def _insert(connection: Connection, table: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    waiting = iter(rows)
    while chunk := list(islice(waiting, _AT_ONCE)):
        connection.execute(insert(table), chunk)


def _person_id(n: int) -> str:
    return f"per_{n:024x}"


def _event_id(n: int, day: date, half: int) -> str:
    return f"evt_{day:%Y%m%d}{half}{n:015x}"


def _punched_at(n: int, day: date, half: int) -> datetime:
    """Spread over two hours in the morning and in the afternoon."""
    return _moment(day, (7, 15)[half], n % 7_200)


def _moment(day: date, hour: int, seconds: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC) + timedelta(seconds=seconds)

"""Everything about one person's day, read for its page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from app.attendance import day_queries, schemas
from app.attendance.days import one_day
from app.attendance.placing import Slot, Timetable
from app.dashboard.frame.actors import actor_names
from app.dashboard.timeline import Timeline, timeline_of
from app.db.tables import DayApproval, Event, EventCorrection, Person
from app.db.types import utc_now
from app.identification.queries import person_refs
from app.people import service as people
from app.shifts.service import plans_of

_MOST_REPEATS: Final = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """One presence: its first event, the events that only repeat it, and how many those are altogether."""

    event: Event
    repeats: list[Event]
    n_repeats: int
    camera: str | None
    has_crop: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody said about an event; `changes` are (what, before, after), none where they wrote it by hand."""

    at: datetime
    actor: str
    reason: str
    event: Event
    changes: list[tuple[str, Any, Any]]


@dataclass(frozen=True, slots=True)
class DaySheet:
    """`day` is None where nothing happened and nobody was expected; `zone` is that of the wall clock there."""

    person: Person
    date: date
    zone: str
    day: schemas.Day | None
    shifts: list[Slot]
    holiday: str | None
    seen: list[Seen]
    timeline: Timeline | None
    told: list[Told]
    approvals: list[DayApproval]
    names: dict[str, str]

    @property
    def is_open(self) -> bool:
        """Whether it may still change by itself."""
        return self.day is not None and (self.day.status == "open" or self.day.closes_at > utc_now())


def day_sheet(session: Session, person_id: str, day: date, default_zone: str) -> DaySheet:
    """The sheet; 404 `person_not_found`."""
    person = people.get(session, person_id)
    shown = one_day(session, person_id, day, default_zone)
    plan = plans_of(session, [person_id], day, day, default_zone)[person_id]
    zone = shown.timezone if shown is not None else plan.home_zone
    shifts = [slot for slot in Timetable(plan).slots(day, zone) if slot.expectation == "expected"]
    events = day_queries.events_of_day(session, person_id, day)
    counted = [event for event in events if not event.is_deleted]
    repeats = day_queries.repeats_of_day(session, person_id, day, _MOST_REPEATS)
    told = _told(session, [*events, *repeats])
    approvals = day_queries.approvals_of(session, person_id, day)
    return DaySheet(
        person=person,
        date=day,
        zone=zone,
        day=shown,
        shifts=shifts,
        holiday=plan.holidays.get(day),
        seen=_seen(session, events, repeats, day_queries.n_repeats_of_day(session, person_id, day)),
        timeline=timeline_of([(slot.times.starts_at, slot.times.ends_at) for slot in shifts], counted, utc_now()),
        told=told,
        approvals=approvals,
        names=_names(session, told, approvals),
    )


def _seen(session: Session, events: Sequence[Event], repeats: Iterable[Event], n_repeats: dict[str, int]) -> list[Seen]:
    cameras = day_queries.camera_names(session, {event.camera_id for event in events if event.camera_id})
    cropped = day_queries.events_with_crop(session, [event.id for event in events])
    by_first: dict[str | None, list[Event]] = {}
    for repeat in repeats:
        by_first.setdefault(repeat.duplicate_of, []).append(repeat)
    return [
        Seen(
            event=event,
            repeats=by_first.get(event.id, []),
            n_repeats=n_repeats.get(event.id, 0),
            camera=cameras.get(event.camera_id or ""),
            has_crop=event.id in cropped,
        )
        for event in events
    ]


def _told(session: Session, events: Sequence[Event]) -> list[Told]:
    by_id = {event.id: event for event in events}
    rows = day_queries.corrections_of(session, by_id)
    return [Told(row.at, row.actor, row.reason, by_id[row.event_id], _changes(row)) for row in rows]


def _changes(row: EventCorrection) -> list[tuple[str, Any, Any]]:
    if not row.before:
        return []
    return [(name, _value(name, row.before.get(name)), _value(name, value)) for name, value in row.after.items()]


def _value(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name == "occurred_at" and value else value


def _names(session: Session, told: Sequence[Told], approvals: Sequence[DayApproval]) -> dict[str, str]:
    """Who changed and approved, and the people whom corrections name; of those who were erased nothing is left."""
    actors = {one.actor for one in told} | {approval.actor for approval in approvals}
    ids = {id_ for one in told for name, *values in one.changes if name == "person_id" for id_ in values if id_}
    return actor_names(session, actors) | {id_: person.name for id_, person in person_refs(session, ids).items()}

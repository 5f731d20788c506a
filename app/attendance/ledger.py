"""Keeps the ledger: what a person's events make of their days, worked out anew whenever one of them changes.

The rules are local: what a change at one time can alter lies within `REACH_DAYS` of it, and follows from what lies
within `CONTEXT_DAYS`. So a capture that comes a month late costs what one costs that comes in time, and only
days that differ are written. Whoever changes a person's events holds that person's lock until the commit, so that of
two captures at once the second one sees the first.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.attendance import queries
from app.attendance.explaining import repeat_words
from app.attendance.plan import JudgedPunch, Plan, Punch, ShiftPart, WorkedDay
from app.attendance.presences import is_mere_repeat, order_of
from app.attendance.rules import CONTEXT_DAYS, REACH_DAYS, expected_day, work_out
from app.audit.service import record
from app.crops.keeping import follow
from app.db.tables import Day, Event, EventCorrection
from app.db.types import utc_now
from app.errors import RETRY_AFTER_S, ProblemError
from app.shifts.service import plans_of
from app.webhooks.payloads import day_payload, event_payload, taken_away_payload
from app.webhooks.queries import event_versions
from app.webhooks.service import announce_all

CORRECTABLE: Final[tuple[str, ...]] = ("person_id", "occurred_at", "given_direction", "is_deleted")
_PART: Final = tuple(field.name for field in fields(ShiftPart))
# What the rules say of an event.
_JUDGED: Final = tuple(field.name for field in fields(JudgedPunch) if field.name != "id")
_NOBODY: Final = "Nobody was named."


@dataclass(frozen=True, slots=True)
class _Span:
    """Dates that may differ, first and last included, and between which times lies all that they follow from."""

    first: date
    last: date
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class _Changed:
    """What working out anew has changed, as it is now."""

    events: list[Event]
    days: list[Day]


@dataclass(frozen=True, slots=True)
class Bookkeeper:
    """Writes events and what follows from them; `default_zone` is that of sites that have none of their own.

    Everything happens in the session that is given, which the caller commits.
    """

    default_zone: str

    def add(self, session: Session, events: Sequence[Event]) -> None:
        """Store new events, work out the days of the people they name, and tell.

        People are locked here unless the caller has done so; an event of somebody who is gone must come without them.
        Whoever has a zone of their own lives by it on every wall: it goes before that of the place, and is kept.
        """
        codes = queries.lock_people(session, {event.person_id for event in events if event.person_id})
        own_zones = queries.own_zones(session, codes)
        for event in events:
            event.timezone = own_zones.get(event.person_id or "", event.timezone)
            stand_alone(event)
        session.add_all(events)
        session.flush()
        changed = {id_: self._settle_new(session, id_, _events_of(events, id_)) for id_ in codes}
        told = [
            (event.person_id, event_payload(event, codes.get(event.person_id or ""), version=1)) for event in events
        ]
        announce_all(session, "event.created", told)
        _tell(session, changed, codes, told=events)

    def recompute(self, session: Session, person_id: str, around: Collection[datetime]) -> None:
        """Work out a person's days anew after their events, or their plan, changed at these times; locks the person."""
        codes = queries.lock_people(session, {person_id})
        session.flush()
        if person_id in codes:
            _tell(session, {person_id: self._settle(session, person_id, around)}, codes)

    def correct(self, session: Session, event: Event, changes: dict[str, Any], reason: str, actor: str) -> None:
        """Change what is wrong about an event, keep what it was, and work out the days of everybody concerned.

        `changes` are some of the columns `CORRECTABLE`. Whoever is named makes the event `identified`, and nobody
        makes it `unknown`. What changes nothing leaves no trace.
        """
        self.correct_all(session, [event], changes, reason, actor)

    def correct_all(
        self, session: Session, events: Sequence[Event], changes: dict[str, Any], reason: str, actor: str
    ) -> None:
        """The same change of many events: their days are worked out once, after all of them."""
        was_of, wanted = {event.id: event.person_id for event in events}, changes.get("person_id")
        codes = queries.lock_people(session, {id_ for id_ in (*was_of.values(), wanted) if id_})
        for event in queries.lock_events(session, was_of):
            _refuse_stale(event, was_of[event.id])
        if wanted is not None and wanted not in codes:
            raise ProblemError(404, "person_not_found", "There is no person with this id.")
        times = {event.id: {event.occurred_at} for event in events}
        corrected = [event for event in events if _apply(session, event, changes, reason, actor)]
        for event in corrected:
            stand_alone(event)
            record(session, actor, "event.corrected", event.id, {"fields": sorted(changes)})
            times[event.id].add(event.occurred_at)
        session.flush()
        follow(session, corrected)
        changed = {id_: self._settle(session, id_, _times_about(corrected, id_, was_of, times)) for id_ in codes}
        _tell_changes(session, corrected, was_of, codes)
        _tell(session, changed, codes, told=corrected)

    def _settle_new(self, session: Session, person_id: str, events: Sequence[Event]) -> _Changed:
        if len(events) == 1 and _is_settled_as_repeat(session, events[0]):
            return _Changed([], [])
        return self._settle(session, person_id, [event.occurred_at for event in events])

    def _settle(self, session: Session, person_id: str, around: Collection[datetime]) -> _Changed:
        spans = [self._settle_span(session, person_id, span) for span in _spans(around)]
        events = [event for span in spans for event in span.events]
        return _Changed(events, [day for span in spans for day in span.days])

    def _settle_span(self, session: Session, person_id: str, span: _Span) -> _Changed:
        punches = queries.punches(session, person_id, span.since, span.until)
        plans = plans_of(session, [person_id], span.since.date(), span.until.date(), self.default_zone)
        plan = plans[person_id]
        ledger = work_out([_punch(punch) for punch in punches], plan)
        events = _write_events(session, punches, ledger.punches, span)
        worked = {day.local_date: day for day in ledger.days if span.first <= day.local_date <= span.last}
        stored = queries.days(session, person_id, span.first, span.last)
        return _Changed(events, _write_days(session, person_id, plan, worked, stored))


def stand_alone(event: Event) -> None:
    """What an event says by itself, where the rules do not: it is deleted, or names nobody."""
    event.direction, event.shift_id, event.duplicate_of = event.given_direction, None, None
    event.local_date = event.occurred_at.astimezone(ZoneInfo(event.timezone)).date()
    event.explanation = "Deleted." if event.is_deleted else "" if event.person_id else _NOBODY


def worked_columns(day: WorkedDay) -> dict[str, Any]:
    """A day as its row holds it, without whose it is and which version."""
    names = {field.name for field in fields(day)} - {"local_date", "zone", "parts"}
    columns = {name: getattr(day, name) for name in names}
    parts = [part_json(part) for part in day.parts]
    return columns | {"timezone": day.zone, "status": day.status.value, "parts": parts}


def part_json(part: ShiftPart) -> dict[str, Any]:
    """A part of a day as JSON."""
    columns = {name: _as_json(getattr(part, name)) for name in _PART}
    return columns | {"status": part.status.value}


def _apply(session: Session, event: Event, changes: dict[str, Any], reason: str, actor: str) -> bool:
    """Whether anything was different."""
    wanted = {name: changes[name] for name in CORRECTABLE if name in changes}
    if "person_id" in wanted:
        wanted["outcome"] = "identified" if wanted["person_id"] else "unknown"
    differing = {name: value for name, value in wanted.items() if getattr(event, name) != value}
    if not differing:
        return False
    before = {name: _as_json(getattr(event, name)) for name in differing}
    for name, value in differing.items():
        setattr(event, name, value)
    note(session, event, before, {name: _as_json(value) for name, value in differing.items()}, reason, actor)
    return True


def note(
    session: Session, event: Event, before: dict[str, Any], after: dict[str, Any], reason: str, actor: str
) -> None:
    """Append to what was said about an event."""
    session.add(
        EventCorrection(event_id=event.id, at=utc_now(), actor=actor, reason=reason, before=before, after=after)
    )


def _refuse_stale(event: Event, was_of: str | None) -> None:
    # Somebody else gave the event to another person, whom we have not locked, between our looking and our locking.
    if event.person_id != was_of:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        raise ProblemError(
            409, "event_changed", "Somebody else has just changed this event. Look again.", headers=headers
        )


def _spans(around: Collection[datetime]) -> Iterator[_Span]:
    """What changes at these times can reach; what touches is one."""
    reach, context, spans = timedelta(days=REACH_DAYS), timedelta(days=CONTEXT_DAYS), iter(sorted(around))
    if (start := next(spans, None)) is None:
        return
    end = start
    for at in (*spans, None):
        if at is None or _utc_date(at) - reach > _utc_date(end) + reach + timedelta(days=1):
            yield _Span(_utc_date(start) - reach, _utc_date(end) + reach, start - context, end + context)
            start = at or start
        end = at or end


def _is_settled_as_repeat(session: Session, event: Event) -> bool:
    """Whether a new event only repeats a presence: then it says what that one says, and nothing else changes.

    Somebody whose desk is in sight of a camera is seen thousands of times a day.
    """
    before, after = queries.neighbours(session, event)
    if not before:
        return False
    previous = max(before, key=lambda stored: order_of(_punch(stored)))
    following = min((_punch(stored) for stored in after), key=order_of, default=None)
    if not is_mere_repeat(_punch(event), _punch(previous), following):
        return False
    said = {name: getattr(previous, name) for name in _JUDGED}
    if previous.duplicate_of is None:
        words = repeat_words(previous.occurred_at, previous.timezone)
        said |= {"duplicate_of": previous.id, "explanation": words}
    _set(event, said)
    session.flush()
    return True


def _write_events(
    session: Session, punches: Iterable[queries.StoredPunch], judged: Iterable[JudgedPunch], span: _Span
) -> list[Event]:
    """The events that changed."""
    before = {punch.id: tuple(getattr(punch, name) for name in _JUDGED) for punch in punches}
    differing = {
        punch.id: punch
        for punch in judged
        if span.first <= punch.local_date <= span.last
        and before[punch.id] != tuple(getattr(punch, name) for name in _JUDGED)
    }
    events = queries.events_now(session, differing)
    for event in events:
        _set(event, {name: getattr(differing[event.id], name) for name in _JUDGED})
    return events


def _write_days(
    session: Session, person_id: str, plan: Plan, worked: dict[date, WorkedDay], stored: dict[date, Day]
) -> list[Day]:
    """The days that changed. One that has lost its events keeps its row, so that no version of it comes twice."""
    made = [_day(person_id, worked[day]) for day in worked.keys() - stored.keys()]
    session.add_all(made)
    now = {day: worked.get(day) or expected_day(day, plan) for day in stored}
    changed = [row for day, row in stored.items() if _update(row, now[day])]
    session.flush()
    return sorted([*made, *changed], key=lambda day: day.local_date)


def _day(person_id: str, worked: WorkedDay) -> Day:
    columns = worked_columns(worked)
    return Day(person_id=person_id, local_date=worked.local_date, version=1, updated_at=utc_now(), **columns)


def _update(day: Day, worked: WorkedDay) -> bool:
    if not _set(day, worked_columns(worked)):
        return False
    day.version += 1
    day.updated_at = utc_now()
    return True


def _set(row: Event | Day, columns: dict[str, Any]) -> bool:
    """Whether anything was different."""
    differing = {name: value for name, value in columns.items() if getattr(row, name) != value}
    for name, value in differing.items():
        setattr(row, name, value)
    return bool(differing)


def _punch(stored: queries.StoredPunch | Event) -> Punch:
    given: Any = stored.given_direction
    return Punch(stored.id, stored.occurred_at, stored.timezone, given, stored.repeat_window_s)


def _events_of(events: Iterable[Event], person_id: str) -> list[Event]:
    return [event for event in events if event.person_id == person_id]


def _times_about(
    corrected: Iterable[Event], person_id: str, was_of: dict[str, str | None], times: dict[str, set[datetime]]
) -> set[datetime]:
    """When the corrected events of a person are, or were."""
    theirs = [event for event in corrected if person_id in (event.person_id, was_of[event.id])]
    return {at for event in theirs for at in times[event.id]}


def _tell_changes(
    session: Session, events: Sequence[Event], was_of: dict[str, str | None], codes: dict[str, str]
) -> None:
    """Tell whose the events are now, and those whose they were that they are not any more."""
    versions = event_versions(session, [event.id for event in events])
    told: list[tuple[str | None, dict[str, Any]]] = []
    for event in events:
        version, before = versions[event.id], was_of[event.id]
        if before is not None and before != event.person_id:
            told.append((before, taken_away_payload(event, version - 1)))
        told.append((event.person_id, event_payload(event, codes.get(event.person_id or ""), version)))
    announce_all(session, "event.changed", told)


def _tell(session: Session, changed: dict[str, _Changed], codes: dict[str, str], told: Iterable[Event] = ()) -> None:
    """Tell of events that others have changed, besides those that are told of already, and of days."""
    known = {event.id for event in told}
    for person_id, what in changed.items():
        others = [event for event in what.events if event.id not in known]
        _tell_changes(session, others, {event.id: person_id for event in others}, codes)
        days = [(person_id, day_payload(day, codes[person_id])) for day in what.days]
        announce_all(session, "day.changed", days)


def _utc_date(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _as_json(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

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
from app.attendance.plan import JudgedPunch, Plan, Punch, ShiftPart, WorkedDay
from app.attendance.rules import CONTEXT_DAYS, REACH_DAYS, expected_day, work_out
from app.audit.service import record
from app.db.tables import Day, Event, EventCorrection
from app.db.types import utc_now
from app.errors import RETRY_AFTER_S, ProblemError
from app.shifts.service import plans_of
from app.webhooks.payloads import day_payload, event_payload
from app.webhooks.service import announce

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
class Bookkeeper:
    """Writes events and what follows from them; `default_zone` is that of sites that have none of their own.

    Everything happens in the session that is given, which the caller commits.
    """

    default_zone: str

    def add(self, session: Session, events: Sequence[Event]) -> None:
        """Store new events, work out the days of the people they name, and tell.

        People are locked here unless the caller has done so; an event of somebody who is gone must come without them.
        """
        codes = queries.lock_people(session, {event.person_id for event in events if event.person_id})
        for event in events:
            stand_alone(event)
        session.add_all(events)
        session.flush()
        changed = {id_: self._settle(session, id_, _times_of(events, id_)) for id_ in codes}
        for event in events:
            code = codes.get(event.person_id) if event.person_id else None
            announce(session, "event.created", event.person_id, event_payload(event, code))
        for person_id, days in changed.items():
            _tell_days(session, days, codes[person_id])

    def recompute(self, session: Session, person_id: str, around: Collection[datetime]) -> None:
        """Work out a person's days anew after their events, or their plan, changed at these times; locks the person."""
        codes = queries.lock_people(session, {person_id})
        session.flush()
        if person_id in codes:
            _tell_days(session, self._settle(session, person_id, around), codes[person_id])

    def correct(self, session: Session, event: Event, changes: dict[str, Any], reason: str, actor: str) -> None:
        """Change what is wrong about an event, keep what it was, and work out the days of everybody concerned.

        `changes` are some of the columns `CORRECTABLE`. Whoever is named makes the event `identified`, and nobody
        makes it `unknown`. What changes nothing leaves no trace.
        """
        was_of, wanted = event.person_id, changes.get("person_id")
        codes = queries.lock_people(session, {id_ for id_ in (was_of, wanted) if id_})
        session.refresh(event, with_for_update=True)
        _refuse_stale(event, was_of)
        if wanted is not None and wanted not in codes:
            raise ProblemError(404, "person_not_found", "There is no person with this id.")
        times = {event.occurred_at}
        if not _apply(session, event, changes, reason, actor):
            return
        stand_alone(event)
        session.flush()
        record(session, actor, "event.corrected", event.id, {"fields": sorted(changes)})
        times.add(event.occurred_at)
        changed = {id_: self._settle(session, id_, times) for id_ in codes}
        code = codes.get(event.person_id) if event.person_id else None
        announce(session, "event.changed", event.person_id, event_payload(event, code))
        for person_id, days in changed.items():
            _tell_days(session, days, codes[person_id])

    def _settle(self, session: Session, person_id: str, around: Collection[datetime]) -> list[Day]:
        """The days that changed, as they are now."""
        return [day for span in _spans(around) for day in self._settle_span(session, person_id, span)]

    def _settle_span(self, session: Session, person_id: str, span: _Span) -> list[Day]:
        punches = queries.punches(session, person_id, span.since, span.until)
        plans = plans_of(session, [person_id], span.since.date(), span.until.date(), self.default_zone)
        plan = plans[person_id]
        ledger = work_out([_punch(punch) for punch in punches], plan)
        _write_events(session, punches, ledger.punches, span)
        worked = {day.local_date: day for day in ledger.days if span.first <= day.local_date <= span.last}
        return _write_days(session, person_id, plan, worked, queries.days(session, person_id, span.first, span.last))


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


def _write_events(
    session: Session, punches: Iterable[queries.StoredPunch], judged: Iterable[JudgedPunch], span: _Span
) -> None:
    before = {punch.id: tuple(getattr(punch, name) for name in _JUDGED) for punch in punches}
    differing = {
        punch.id: punch
        for punch in judged
        if span.first <= punch.local_date <= span.last
        and before[punch.id] != tuple(getattr(punch, name) for name in _JUDGED)
    }
    for event in queries.events_now(session, differing):
        _set(event, {name: getattr(differing[event.id], name) for name in _JUDGED})


def _write_days(
    session: Session, person_id: str, plan: Plan, worked: dict[date, WorkedDay], stored: dict[date, Day]
) -> list[Day]:
    new = sorted(worked.keys() - stored.keys())
    approved = queries.approved_versions(session, person_id, new) if new else {}
    made = [_day(person_id, worked[day], approved.get(day, 0) + 1) for day in new]
    session.add_all(made)
    changed = [day for day in stored.values() if day.local_date in worked and _update(day, worked[day.local_date])]
    emptied = [day for day in stored.values() if day.local_date not in worked]
    for day in emptied:
        session.delete(day)
    session.flush()
    # Those who were told of such a day are told what is left of it.
    left = [_day(person_id, expected_day(day.local_date, plan), day.version + 1) for day in emptied]
    return sorted([*made, *changed, *left], key=lambda day: day.local_date)


def _day(person_id: str, worked: WorkedDay, version: int) -> Day:
    columns = worked_columns(worked)
    return Day(person_id=person_id, local_date=worked.local_date, version=version, updated_at=utc_now(), **columns)


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


def _punch(stored: queries.StoredPunch) -> Punch:
    given: Any = stored.given_direction
    return Punch(stored.id, stored.occurred_at, stored.timezone, given, stored.repeat_window_s)


def _times_of(events: Iterable[Event], person_id: str) -> list[datetime]:
    return [event.occurred_at for event in events if event.person_id == person_id]


def _tell_days(session: Session, days: Iterable[Day], employee_code: str) -> None:
    for day in days:
        announce(session, "day.changed", day.person_id, day_payload(day, employee_code))


def _utc_date(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _as_json(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

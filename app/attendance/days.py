"""Days as they are shown: those on which something happened, and those on which somebody was expected in vain.

A day that never had an event has no row, unless somebody approved it. It is worked out when it is asked for, from the
plan, for people who were added by then and not yet deactivated, and never before it has begun. Lists are read in
blocks, each in a short transaction of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.attendance import day_queries, schemas
from app.attendance.day_queries import EVERYBODY, PeopleFilter, PersonDate, Surroundings, Tenure
from app.attendance.ledger import worked_columns
from app.attendance.plan import DayStatus, Plan
from app.attendance.rules import expected_day
from app.attendance.views import status_now
from app.db.engine import Database
from app.db.tables import Day, DayApproval
from app.db.types import utc_now
from app.errors import ProblemError
from app.identification.schemas import PersonRef
from app.shifts.service import plans_of

LONGEST_DAYS: Final = 366
# People, or one person's dates, that are read at once.
_BLOCK: Final = 200
# People looked at for one page, and what an empty date counts as: where hardly anybody is absent, a page is short
# rather than slow.
_LOOKED_AT_PER_PAGE: Final = 8000
_EMPTY_BLOCK: Final = 10
_SECONDS: Final = ("worked_s", "break_s", "late_s", "early_leave_s", "overtime_s")
_TIMES: Final = ("timezone", "first_in", "last_out", "closes_at", "updated_at")
_COLUMNS: Final = (*_SECONDS, *_TIMES, "n_events", "explanation", "parts", "version")


@dataclass(frozen=True, slots=True)
class DayRange:
    """Which days are asked for, first and last included: one person's, or those of whoever `who` is about."""

    first: date
    last: date
    person_id: str | None = None
    who: PeopleFilter = EVERYBODY


@dataclass(frozen=True, slots=True)
class Block:
    """The days of some people, in order, and where the next block starts; None after the last one."""

    days: list[schemas.Day]
    next_after: PersonDate | None
    n_looked_at: int = 0


def range_of(first: date | None, last: date | None, person_id: str | None, who: PeopleFilter = EVERYBODY) -> DayRange:
    """What a request asks for; by default the latest 31 days."""
    latest = last or utc_now().date() + timedelta(days=1)  # where the sun rises first it is tomorrow already
    earliest = first or max(latest, date.min + timedelta(days=31)) - timedelta(days=30)
    if latest < earliest:
        raise ProblemError(422, "range_invalid", "`to` is before `from`. Both days are included.")
    if latest - earliest >= timedelta(days=LONGEST_DAYS):
        raise ProblemError(422, "range_too_long", f"Ask for at most {LONGEST_DAYS} days at once.")
    return DayRange(earliest, latest, person_id, who)


def stream_days(
    database: Database,
    *,
    first: date,
    last: date,
    person_id: str | None,
    default_zone: str,
    who: PeopleFilter = EVERYBODY,
) -> Iterator[schemas.Day]:
    """All days from the first to the last, by date and then by person; memory and transactions stay small."""
    wanted = DayRange(first, last, person_id, who)
    after: PersonDate | None = before(first)
    while after is not None:
        with database.read() as session:
            block = read_block(session, wanted, after, default_zone)
        yield from block.days
        after = block.next_after


def page_of_days(
    session: Session, wanted: DayRange, after: PersonDate | None, limit: int, default_zone: str
) -> tuple[list[schemas.Day], PersonDate | None]:
    """The next days, and after which one to go on; fewer than `limit` when it took too long to find more."""
    shown: list[schemas.Day] = []
    place: PersonDate | None = after or before(wanted.first)
    n_looked_at = 0
    while place is not None and len(shown) <= limit and n_looked_at < _LOOKED_AT_PER_PAGE:
        block = read_block(session, wanted, place, default_zone)
        shown, place = [*shown, *block.days], block.next_after
        n_looked_at += max(block.n_looked_at, _EMPTY_BLOCK)
    if len(shown) > limit:
        last = shown[limit - 1]
        return shown[:limit], (last.person.id, last.date)
    return shown, place


def one_day(session: Session, person_id: str, day: date, default_zone: str) -> schemas.Day | None:
    """One person's day; None where nothing happened and nobody was expected."""
    block = read_block(session, DayRange(day, day, person_id), before(day), default_zone)
    return next(iter(block.days), None)


def kept_day(session: Session, person_id: str, day: date, default_zone: str) -> schemas.Day | None:
    """As `one_day`; an absence is given a row, whose version tells when it is no longer what it was."""
    shown = one_day(session, person_id, day, default_zone)
    if shown is None or shown.version:
        return shown
    for absence in _expected(session, [(person_id, day)], utc_now(), default_zone):
        absence.version, absence.updated_at = 1, utc_now()
        session.add(absence)
    session.flush()
    return one_day(session, person_id, day, default_zone)


def days_of(session: Session, people: Sequence[str], first: date, last: date, default_zone: str) -> list[schemas.Day]:
    """The days of a few hundred people at most, by date and then in their order."""
    now = utc_now()
    end = min(last, now.date() + timedelta(days=1))
    places = [(id_, first + timedelta(days=n)) for n in range((end - first).days + 1) for id_ in people]
    return _views(session, places, now, default_zone) if places else []


def before(day: date) -> PersonDate:
    """The place ahead of everybody on a date."""
    return "", day


def read_block(session: Session, wanted: DayRange, after: PersonDate, default_zone: str) -> Block:
    """What comes after a place in the list."""
    now = utc_now()
    last = min(wanted.last, now.date() + timedelta(days=1))  # no zone is ahead by more
    if wanted.person_id is not None:
        return _block_of_person(session, wanted.person_id, after, last, now, default_zone)
    return _block_of_everybody(session, wanted.who, after, last, now, default_zone)


def _block_of_person(
    session: Session, person_id: str, after: PersonDate, last: date, now: datetime, default_zone: str
) -> Block:
    is_done = after[0] >= person_id
    if after[1] >= last + timedelta(days=not is_done):
        return Block([], None)
    first = after[1] + timedelta(days=is_done)
    end = min(last, first + timedelta(days=_BLOCK - 1))
    dates = [first + timedelta(days=n) for n in range((end - first).days + 1)]
    days = _views(session, [(person_id, day) for day in dates], now, default_zone)
    return Block(days, (person_id, end) if end < last else None, len(dates))


def _block_of_everybody(
    session: Session, who: PeopleFilter, after: PersonDate, last: date, now: datetime, default_zone: str
) -> Block:
    person_id, day = after
    if day > last:
        return Block([], None)
    people = day_queries.people_on(session, day, person_id, _BLOCK, who)
    days = _views(session, [(id_, day) for id_ in people], now, default_zone) if people else []
    if len(people) == _BLOCK:
        return Block(days, (people[-1], day), len(people))
    return Block(days, before(day + timedelta(days=1)) if day < last else None, len(people))


def _views(session: Session, places: list[PersonDate], now: datetime, default_zone: str) -> list[schemas.Day]:
    """Those of these days that there is something to say about; they are in order."""
    people, first, last = list({id_: None for id_, _ in places}), places[0][1], places[-1][1]
    stored = day_queries.rows(session, people, first, last)
    found = {place: day for place, day in stored.items() if day.n_events}
    missing = [place for place in places if place not in found]
    for empty in _expected(session, missing, now, default_zone):
        place = empty.person_id, empty.local_date
        found[place] = stored.get(place, empty)
    about = day_queries.surroundings(session, found.keys())
    return [_view(found[place], about, now) for place in places if place in found and place[0] in about.people]


def _expected(session: Session, places: list[PersonDate], now: datetime, default_zone: str) -> Iterator[Day]:
    """Days of people who were expected and have no event."""
    tenures = day_queries.tenures(session, {id_ for id_, _ in places})
    if not tenures:
        return
    plans = plans_of(session, sorted(tenures), places[0][1], places[-1][1], default_zone)
    for person_id, day in places:
        if (plan := plans.get(person_id)) is not None and _may_be_absent(plan, day, tenures[person_id], now):
            worked = expected_day(day, plan)
            if worked.status is DayStatus.ABSENT:
                yield Day(person_id=person_id, local_date=day, version=0, **worked_columns(worked))


def _may_be_absent(plan: Plan, day: date, tenure: Tenure, now: datetime) -> bool:
    zone = ZoneInfo(plan.home_zone)
    if tenure.left_at is not None and day >= tenure.left_at.astimezone(zone).date():
        return False
    return bool(plan.assignments) and tenure.added_at.astimezone(zone).date() <= day <= now.astimezone(zone).date()


def _view(day: Day, about: Surroundings, now: datetime) -> schemas.Day:
    place = day.person_id, day.local_date
    person = about.people[day.person_id]
    approval = about.approvals.get(place)
    return schemas.Day.model_validate(
        {name: getattr(day, name) for name in _COLUMNS}
        | {
            "date": day.local_date,
            "person": PersonRef(id=person.id, employee_code=person.employee_code, name=person.name),
            "department": person.department,
            "status": status_now(day, now),
            "n_corrections": about.n_corrections.get(place, 0),
            "approval": None if approval is None else approval_view(approval, day.version),
        }
    )


def approval_view(approval: DayApproval, version: int) -> schemas.Approval:
    """An approval beside the day's version now."""
    is_current = approval.version == version
    return schemas.Approval(at=approval.at, actor=approval.actor, note=approval.note, is_current=is_current)

"""A site's day in figures: who came, who is late, who was expected and has not come, and how many strangers were seen.

Days are those of the ledger: somebody on a night shift that began yesterday belongs to yesterday, and is told of
beside those who came today. With ten thousand people it is a tenth of a second of work, kept for a moment for all.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.attendance import plan
from app.attendance.rules import expected_day
from app.dashboard import figure_queries as queries
from app.db.tables import Site
from app.db.types import utc_now
from app.shifts.service import planned
from app.sites.queries import holidays_between
from app.sites.service import zone_of

_KEPT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of people whose home is the site, on its day: `n_expected_later` is not absent yet.

    `n_from_yesterday` came yesterday, for a shift that goes on today, and have not left. `n_unknown` events show
    somebody unknown.
    """

    day: date
    n_came: int
    n_late: int
    n_left: int
    n_absent: int
    n_expected_later: int
    n_from_yesterday: int
    n_unknown: int


class FigureBook:
    """Works figures out, and keeps them for a moment: many who look ask the database once."""

    def __init__(self, default_zone: str) -> None:
        self._default_zone = default_zone
        self._lock, self._working = Lock(), Lock()
        self._kept: dict[str, tuple[float, Figures]] = {}

    def read(self, session: Session, site: Site) -> Figures:
        """The site's figures, a few seconds old at most; somewhat older while somebody works them out."""
        figures, is_fresh = self._look(site)
        if figures is not None and (is_fresh or not self._working.acquire(blocking=False)):
            return figures
        if figures is None:
            self._working.acquire()
        try:
            figures, is_fresh = self._look(site)
            if figures is None or not is_fresh:
                figures = work_out(session, site, self._zone(site), utc_now())
                with self._lock:
                    self._kept[site.id] = monotonic(), figures
            return figures
        finally:
            self._working.release()

    def _look(self, site: Site) -> tuple[Figures | None, bool]:
        """Today's figures as they are kept, and whether they are fresh; yesterday's are none."""
        with self._lock:
            at, figures = self._kept.get(site.id, (0.0, None))
        if figures is None or figures.day != self.today(site):
            return None, False
        return figures, monotonic() - at <= _KEPT_S

    def today(self, site: Site) -> date:
        """The date on the site's wall."""
        return utc_now().astimezone(self._zone(site)).date()

    def _zone(self, site: Site) -> ZoneInfo:
        return ZoneInfo(zone_of(site, self._default_zone))


def work_out(session: Session, site: Site, zone: ZoneInfo, now: datetime) -> Figures:
    """The figures as they are."""
    local = now.astimezone(zone)
    day, midnight = local.date(), local.replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = midnight + timedelta(days=1)
    seen = queries.seen(session, site.id, day)
    starts = _starts_of_unseen(session, site, zone, day, tomorrow)
    parts = queries.still_out(session, site.id, day - timedelta(days=1), now)
    return Figures(
        day=day,
        n_came=seen.n_came,
        n_late=seen.n_late,
        n_left=seen.n_left,
        n_absent=sum(n for at, n in starts.items() if at <= now),
        n_expected_later=sum(n for at, n in starts.items() if at > now),
        n_from_yesterday=sum(_goes_on(each, now) for each in parts),
        n_unknown=queries.n_unknown(session, site.id, midnight, tomorrow),
    )


def _starts_of_unseen(session: Session, site: Site, zone: ZoneInfo, day: date, until: datetime) -> Counter[datetime]:
    """When those were expected who have not been seen, and how many of them.

    Most people share one of a few plans, so each plan is worked out once.
    """
    rows = queries.unseen(session, site.id, day, until)
    if not rows:
        return Counter()
    shifts = {shift.id: planned(shift) for shift in queries.shifts(session)}
    holidays = {
        holiday.local_date: holiday.name
        for holiday in holidays_between(session, day, day)
        if holiday.site_id in (None, site.id)
    }
    starts: Counter[datetime] = Counter()
    for (own_zone, assigned), n in _by_plan(rows).items():
        assignments = tuple(plan.Assignment(shifts[shift_id], *rest) for shift_id, *rest in assigned)
        worked = expected_day(day, plan.Plan(assignments, holidays, own_zone or zone.key))
        expected = [part.expected_from for part in worked.parts if part.expected_from is not None]
        if worked.status is plan.DayStatus.ABSENT and expected:
            starts[min(expected)] += n
    return starts


def _by_plan(rows: Sequence[queries.Unseen]) -> Counter[tuple[str | None, tuple[Any, ...]]]:
    """How many people share which zone and assignments."""
    people: dict[str, tuple[str | None, list[Any]]] = {}
    for person_id, own_zone, *assignment in rows:
        people.setdefault(person_id, (own_zone, []))[1].append(tuple(assignment))
    return Counter((own_zone, tuple(sorted(assigned, key=repr))) for own_zone, assigned in people.values())


def _goes_on(parts: Sequence[dict[str, Any]], now: datetime) -> bool:
    """Whether a shift of the day has not ended yet."""
    ends = [datetime.fromisoformat(part["expected_to"]) for part in parts if part["expected_to"]]
    return any(end > now for end in ends)

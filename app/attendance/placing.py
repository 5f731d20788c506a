"""To which shift of which date a presence belongs, also where shifts overlap. Pure.

Every shift of a plan has a window on every date; the days of the week and the holidays only say whether somebody is
expected then. A presence that lies in one window belongs to that shift, one that lies in none to the date on the wall
where it happened. Where several windows hold it, what is expected goes before what is not; then

1. an IN belongs to the shift whose start is nearest, an OUT to the one whose end is nearest;
2. without a direction it belongs to the only shift whose working hours hold it;
3. otherwise to the earlier shift, if that one is alternating, somebody came for it and did not leave, and the later
   one is not yet over;
4. otherwise to the shift whose start or end is nearest.

Between equals the shift that starts earlier wins, then the smaller id. Whether somebody has left (3) is answered from
the presences in the window of that shift alone, those that overlap with an even earlier shift being settled by
nearness, so that what happens once cannot go on from day to day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from app.attendance.plan import DirectionRule, Plan, Shift
from app.attendance.presences import Presence
from app.attendance.shift_times import DAY, ShiftTimes, date_times, times_of

# "unplanned": nothing is known of what was expected, because no shift is assigned on that date.
Expectation = Literal["expected", "day_off", "holiday", "unplanned"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where presences are put: a shift on one date, or without a shift the date itself, as a clock there shows it."""

    local_date: date
    zone: str
    shift: Shift | None
    times: ShiftTimes
    expectation: Expectation

    @property
    def key(self) -> tuple[date, str | None]:
        """The same in every zone: who starts work in one city and ends it in another has worked one shift."""
        return self.local_date, self.shift.id if self.shift else None

    @property
    def order(self) -> tuple[datetime, str]:
        return self.times.starts_at, self.shift.id if self.shift else ""

    def may_hold(self, at: datetime) -> bool:
        return self.times.opens_at <= at < self.times.closes_at


class Timetable:
    """The slots of one person's plan, worked out where they are asked for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._by_date: dict[tuple[date, str], tuple[Slot, ...]] = {}

    def candidates(self, presence: Presence) -> list[Slot]:
        """The slots of shifts whose windows hold it, in order; only the expected ones if there are any."""
        zone, local_date = presence.first.zone, date_of(presence)
        days = (local_date - DAY, local_date, local_date + DAY)
        found = [slot for day in days for slot in self.slots(day, zone) if slot.may_hold(presence.at)]
        expected = [slot for slot in found if slot.expectation == "expected"]
        return sorted(expected or found, key=lambda slot: slot.order)

    def slots(self, local_date: date, zone: str) -> tuple[Slot, ...]:
        """The shifts of a date."""
        key = (local_date, zone)
        if key not in self._by_date:
            self._by_date[key] = tuple(
                Slot(local_date, zone, shift, times_of(shift, local_date, zone), self._expects(shift, local_date))
                for shift in self.shifts_on(local_date)
            )
        return self._by_date[key]

    def date_slot_of(self, presence: Presence) -> Slot:
        return self.date_slot(date_of(presence), presence.first.zone)

    def date_slot(self, local_date: date, zone: str) -> Slot:
        """The date itself."""
        return Slot(local_date, zone, None, date_times(local_date, zone), self.expectation(local_date))

    def expectation(self, local_date: date) -> Expectation:
        """What is expected on a date as a whole."""
        if local_date in self.plan.holidays:
            return "holiday"
        shifts = self.shifts_on(local_date)
        if not shifts:
            return "unplanned"
        return "expected" if any(local_date.weekday() in shift.days for shift in shifts) else "day_off"

    def shifts_on(self, local_date: date) -> list[Shift]:
        """A roster goes before what is usual; a shift that is assigned twice is one."""
        covering = [
            one
            for one in self.plan.assignments
            if (one.first_date is None or one.first_date <= local_date)
            and (one.last_date is None or local_date <= one.last_date)
        ]
        roster = [one for one in covering if not one.is_standing]
        return list({one.shift.id: one.shift for one in roster or covering}.values())

    def _expects(self, shift: Shift, local_date: date) -> Expectation:
        if local_date in self.plan.holidays:
            return "holiday"
        return "expected" if local_date.weekday() in shift.days else "day_off"


def date_of(presence: Presence) -> date:
    return presence.at.astimezone(ZoneInfo(presence.first.zone)).date()


def placed(presences: Sequence[Presence], timetable: Timetable) -> Iterator[tuple[Presence, Slot]]:
    """Each presence with its slot; they must be in order of time."""
    is_inside: dict[tuple[date, str | None], bool] = {}
    for presence in presences:
        slots = timetable.candidates(presence)
        yield presence, settle(presence, slots, is_inside) if slots else timetable.date_slot_of(presence)


def settle(presence: Presence, slots: Sequence[Slot], is_inside: dict[tuple[date, str | None], bool]) -> Slot:
    """Choose, and note down for the slots whose presence this may be whether somebody is inside afterwards."""
    near = nearest(presence, slots)
    keep = [slot for slot in contended(presence, slots) if is_inside.get(slot.key)]
    for slot in {slot.key: slot for slot in [near, *keep]}.values():
        is_inside[slot.key] = stays_inside(presence, slot, is_inside.get(slot.key, False))
    return keep[0] if keep else near


def contended(presence: Presence, slots: Sequence[Slot]) -> Sequence[Slot]:
    """The slots that keep it if somebody is still inside: all but the last, as long as that one is not over."""
    is_clear = len(slots) == 1 or presence.given is not None or len(at_work(presence, slots)) == 1
    return [] if is_clear or presence.at >= slots[-1].times.ends_at else slots[:-1]


def nearest(presence: Presence, slots: Sequence[Slot]) -> Slot:
    """Where it belongs if nothing came before; the first of equals."""
    if len(slots) == 1:
        return slots[0]
    if presence.given is None and len(working := at_work(presence, slots)) == 1:
        return working[0]
    return min(slots, key=lambda slot: distance(presence, slot))


def at_work(presence: Presence, slots: Sequence[Slot]) -> list[Slot]:
    return [slot for slot in slots if slot.times.starts_at <= presence.at <= slot.times.ends_at]


def distance(presence: Presence, slot: Slot) -> timedelta:
    to_start = abs(presence.at - slot.times.starts_at)
    to_end = abs(presence.at - slot.times.ends_at)
    if presence.given is not None:
        return to_start if presence.given == "in" else to_end
    return min(to_start, to_end)


def stays_inside(presence: Presence, slot: Slot, is_inside: bool) -> bool:
    """Of somebody who works a shift that only has a first and a last this cannot be said."""
    if slot.shift is None or slot.shift.rules.direction_rule != DirectionRule.ALTERNATING:
        return False
    return not is_inside if presence.given is None else presence.given == "in"

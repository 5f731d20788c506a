"""Punches, shifts and plans for the tests of the rules, written as a person would say them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.attendance.plan import Assignment, Break, Direction, DirectionRule, Plan, Punch, Shift, ShiftRules

BERLIN = "Europe/Berlin"

# A Monday in winter.
MONDAY = date(2026, 3, 2)
EVERY_DAY = frozenset(range(7))
GIVEN: dict[str, Direction] = {"in": "in", "out": "out"}


def make_moment(*, text: str, zone: str = BERLIN, fold: int = 0) -> datetime:
    """`text` is what the wall shows, "2026-03-02 08:58"; `fold` 1 is the second time it does."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def make_punch(
    *, at: str, id: str = "a", zone: str = BERLIN, given: Direction | None = None, fold: int = 0, window_s: int = 120
) -> Punch:
    return Punch(id, make_moment(text=at, zone=zone, fold=fold), zone, given, window_s)


def make_punches(*, said: str, day: date = MONDAY, zone: str = BERLIN) -> list[Punch]:
    """ "08:58 12:00-out 18:03 +06:01": times of a day, of the day after with a plus, some with a given direction."""
    return [said_punch(word, f"p{position}", day, zone) for position, word in enumerate(said.split())]


def said_punch(word: str, id: str, day: date, zone: str) -> Punch:
    clock, _, given = word.partition("-")
    local_date = day + timedelta(days=clock.count("+"))
    return make_punch(id=id, at=f"{local_date} {clock.strip('+')}", zone=zone, given=GIVEN.get(given))


def make_shift(
    *,
    hours: str = "09:00-17:00",
    name: str = "Day",
    id: str | None = None,
    days: frozenset[int] = frozenset({0, 1, 2, 3, 4}),
    breaks: Sequence[str] = (),
    grace_s: int = 300,
    half_day_below_s: int = 0,
    absent_below_s: int = 0,
    early_window_s: int = 2 * 3600,
    late_window_s: int = 6 * 3600,
    first_last: bool = False,
) -> Shift:
    rules = ShiftRules(
        grace_in_s=grace_s,
        grace_out_s=grace_s,
        half_day_below_s=half_day_below_s,
        absent_below_s=absent_below_s,
        early_window_s=early_window_s,
        late_window_s=late_window_s,
        direction_rule=DirectionRule.FIRST_LAST if first_last else DirectionRule.ALTERNATING,
        breaks=tuple(Break(*hours_of(one)) for one in breaks),
    )
    starts, ends = hours_of(hours)
    return Shift(id or f"shf_{name}", name, starts, ends, days, rules)


def hours_of(text: str) -> tuple[time, time]:
    starts, ends = text.split("-")
    return time.fromisoformat(starts), time.fromisoformat(ends)


def make_plan(*shifts: Shift, holidays: dict[date, str] | None = None, home_zone: str = BERLIN) -> Plan:
    return Plan(tuple(Assignment(shift) for shift in shifts), holidays or {}, home_zone)


def seconds_of(text: str) -> int:
    """ "7:51" hours and minutes."""
    hours, minutes = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60

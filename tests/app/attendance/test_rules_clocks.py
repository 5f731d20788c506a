"""Nights in which the clock is changed, and days in several zones, worked out by hand."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.attendance.plan import DayStatus, WorkedDay
from app.attendance.rules import expected_day, work_out
from app.attendance.shift_times import date_times, moment
from tests.app.attendance.plans import (
    BERLIN,
    EVERY_DAY,
    make_moment,
    make_plan,
    make_punch,
    make_punches,
    make_shift,
    seconds_of,
)

SANTIAGO = "America/Santiago"
LONDON = "Europe/London"

# Berlin: at 02:00 it is 03:00, and at 03:00 it is 02:00.
BERLIN_SPRING, BERLIN_AUTUMN = date(2026, 3, 28), date(2026, 10, 24)
# Santiago: at midnight after the 4th it is 23:00 of the 4th again; on 6 September there is no hour after midnight.
SANTIAGO_AUTUMN, SANTIAGO_SPRING = date(2026, 4, 4), date(2026, 9, 5)


def worked_day(*, hours: str, zone: str, day: date, punches: str, breaks: tuple[str, ...] = ()) -> WorkedDay:
    shift = make_shift(hours=hours, days=EVERY_DAY, breaks=breaks)
    (worked,) = work_out(make_punches(said=punches, day=day, zone=zone), make_plan(shift, home_zone=zone)).days
    return worked


@pytest.mark.parametrize(
    ("zone", "day", "hours", "punches", "worked", "early"),
    [
        # A night is an hour shorter in spring and an hour longer in autumn.
        (BERLIN, BERLIN_SPRING, "22:00-06:00", "22:00 +06:00", "7:00", "0:00"),
        (BERLIN, BERLIN_AUTUMN, "22:00-06:00", "22:00 +06:00", "9:00", "0:00"),
        (SANTIAGO, SANTIAGO_AUTUMN, "22:00-06:00", "22:00 +06:00", "9:00", "0:00"),
        (SANTIAGO, SANTIAGO_SPRING, "22:00-06:00", "22:00 +06:00", "7:00", "0:00"),
        # The nights before and after are as always.
        (BERLIN, BERLIN_SPRING - timedelta(days=1), "22:00-06:00", "22:00 +06:00", "8:00", "0:00"),
        (BERLIN, BERLIN_AUTUMN + timedelta(days=1), "22:00-06:00", "22:00 +06:00", "8:00", "0:00"),
        # A pause over the missing hour: 01:30 to 03:30 is one hour.
        (BERLIN, BERLIN_SPRING, "22:00-06:00", "22:00 +01:30 +03:30 +06:00", "6:00", "0:00"),
        # Leaving at 05:00 is one hour early, whatever the clock did before.
        (BERLIN, BERLIN_AUTUMN, "22:00-06:00", "22:00 +05:00", "8:00", "1:00"),
        # A start or an end at a time that does not exist is the moment at which the clock jumps over it.
        (BERLIN, BERLIN_SPRING, "02:30-10:00", "+03:00 +10:00", "7:00", "0:00"),
        (BERLIN, BERLIN_SPRING, "18:00-02:30", "18:00 +03:00", "8:00", "0:00"),
        (SANTIAGO, SANTIAGO_SPRING, "16:00-00:00", "16:00 +01:00", "8:00", "0:00"),
        (SANTIAGO, SANTIAGO_SPRING, "00:00-08:00", "+01:00 +08:00", "7:00", "0:00"),
        # An end at a time that comes twice is the first one.
        (BERLIN, BERLIN_AUTUMN, "18:00-02:30", "18:00 +02:30", "8:30", "0:00"),
        (SANTIAGO, SANTIAGO_AUTUMN, "15:00-23:30", "15:00 23:30", "8:30", "0:00"),
        # Midnight comes an hour later than usual: who leaves at the first 23:30 is an hour and a half early.
        (SANTIAGO, SANTIAGO_AUTUMN, "16:00-00:00", "16:00 23:30", "7:30", "1:30"),
        (SANTIAGO, SANTIAGO_AUTUMN, "16:00-00:00", "16:00 +00:00", "9:00", "0:00"),
    ],
)
def test_worked_time_is_the_time_that_really_went_by(
    zone: str, day: date, hours: str, punches: str, worked: str, early: str
) -> None:
    shift_date = day + timedelta(days=1) if hours.startswith("0") else day

    found = worked_day(hours=hours, zone=zone, day=day, punches=punches)

    assert (found.local_date, found.status) == (shift_date, DayStatus.PRESENT)
    assert (found.worked_s, found.early_leave_s) == (seconds_of(worked), seconds_of(early))
    assert (found.late_s, found.overtime_s) == (0, 0)


def test_the_second_half_past_eleven_is_an_hour_after_the_first() -> None:
    plan = make_plan(make_shift(hours="16:00-00:00", days=EVERY_DAY), home_zone=SANTIAGO)
    came = make_punch(id="a", at="2026-04-04 16:00", zone=SANTIAGO)
    left = [make_punch(id="b", at="2026-04-04 23:30", zone=SANTIAGO, fold=fold) for fold in (0, 1)]

    first, second = (work_out([came, one], plan).days[0] for one in left)

    assert (first.worked_s, first.early_leave_s) == (seconds_of("7:30"), seconds_of("1:30"))
    assert (second.worked_s, second.early_leave_s) == (seconds_of("8:30"), seconds_of("0:30"))


def test_an_hour_that_comes_twice_belongs_to_its_date_both_times() -> None:
    punches = [make_punch(id=f"p{fold}", at="2026-04-04 23:30", zone=SANTIAGO, fold=fold) for fold in (0, 1)]

    (day,) = work_out(punches, make_plan()).days

    assert (day.local_date, day.worked_s) == (date(2026, 4, 4), 3600)
    assert day.closes_at == datetime(2026, 4, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "pause"),
    [
        (BERLIN, BERLIN_SPRING, "02:30-03:00"),
        (BERLIN, BERLIN_SPRING, "01:45-03:15"),
        (BERLIN, BERLIN_AUTUMN, "02:30-03:00"),
        (BERLIN, BERLIN_AUTUMN, "01:45-03:15"),
        (SANTIAGO, SANTIAGO_AUTUMN, "23:30-00:00"),
        (SANTIAGO, SANTIAGO_SPRING, "00:00-00:30"),
    ],
)
def test_a_break_is_as_long_as_always_in_a_night_in_which_the_clock_is_changed(
    zone: str, day: date, pause: str
) -> None:
    found = worked_day(hours="22:00-06:00", zone=zone, day=day, punches="22:00 +06:00", breaks=(pause,))

    long = 90 if pause == "01:45-03:15" else 30
    assert found.break_s == long * 60
    assert found.worked_s == seconds_of("7:00" if "SPRING" in name_of(day) else "9:00") - long * 60


def name_of(day: date) -> str:
    return "SPRING" if day in (BERLIN_SPRING, SANTIAGO_SPRING) else "AUTUMN"


@pytest.mark.parametrize(
    ("zone", "date_", "hours"),
    [
        (BERLIN, date(2026, 3, 29), 23),
        (BERLIN, date(2026, 10, 25), 25),
        (SANTIAGO, date(2026, 4, 4), 25),
        (SANTIAGO, date(2026, 9, 6), 23),
        (SANTIAGO, date(2026, 9, 5), 24),
    ],
)
def test_a_date_lasts_from_midnight_to_midnight(zone: str, date_: date, hours: int) -> None:
    times = date_times(date_, zone)

    assert times.ends_at - times.starts_at == timedelta(hours=hours)
    assert date_times(date_ + timedelta(days=1), zone).starts_at == times.ends_at


@pytest.mark.parametrize("zone", [BERLIN, SANTIAGO, LONDON, "Australia/Lord_Howe", "Africa/Casablanca", "UTC"])
def test_of_two_times_on_the_wall_the_later_one_never_comes_first(zone: str) -> None:
    clock = ZoneInfo(zone)
    walls = [datetime(2026, 1, 1) + timedelta(minutes=15 * n) for n in range(4 * 24 * 366)]

    moments = [moment(wall, clock) for wall in walls]

    assert moments == sorted(moments)


def test_a_shift_that_is_begun_in_one_city_and_ended_in_another_is_one_shift() -> None:
    plan = make_plan(make_shift(hours="09:00-18:00"))
    punches = [
        make_punch(id="a", at="2026-03-02 09:00", zone=BERLIN),
        make_punch(id="b", at="2026-03-02 17:00", zone=LONDON),
    ]

    (day,) = work_out(punches, plan).days

    assert (day.zone, day.worked_s, day.status, day.early_leave_s) == (BERLIN, 9 * 3600, DayStatus.PRESENT, 0)
    assert day.parts[0].expected_to == make_moment(text="2026-03-02 18:00")


def test_each_city_of_a_split_day_has_its_own_clock() -> None:
    plan = make_plan(make_shift(hours="08:00-12:00", name="Morning"), make_shift(hours="14:00-18:00", name="Afternoon"))
    morning = make_punches(said="08:00 12:00", zone=BERLIN)
    afternoon = [
        make_punch(id="c", at="2026-03-02 14:10", zone=LONDON),
        make_punch(id="d", at="2026-03-02 18:00", zone=LONDON),
    ]

    (day,) = work_out([*afternoon, *morning], plan).days

    assert [(part.shift_name, part.late_s, part.worked_s) for part in day.parts] == [
        ("Morning", 0, 4 * 3600),
        ("Afternoon", 600, seconds_of("3:50")),
    ]
    assert day.zone == BERLIN


def test_a_day_that_is_gone_on_with_farther_west_is_open_until_midnight_there() -> None:
    punches = [
        make_punch(id="a", at="2026-03-02 09:00", zone=BERLIN),
        make_punch(id="b", at="2026-03-02 20:00", zone=LONDON),
        make_punch(id="c", at="2026-03-02 20:10", zone=SANTIAGO),
        make_punch(id="d", at="2026-03-02 22:00", zone=SANTIAGO),
    ]

    (day,) = work_out(punches, make_plan()).days

    assert (day.zone, day.worked_s, day.break_s) == (BERLIN, seconds_of("13:50"), seconds_of("3:10"))
    assert day.closes_at == make_moment(text="2026-03-03 00:00", zone=SANTIAGO)


def test_on_the_other_side_of_the_world_it_is_another_date() -> None:
    at = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
    dates = {}
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        punch = make_punch(at=str(at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)), zone=zone)
        dates[zone] = work_out([punch], make_plan()).days[0].local_date

    assert dates == {"Pacific/Kiritimati": date(2026, 3, 3), "Pacific/Pago_Pago": date(2026, 3, 1)}


def test_a_day_without_a_punch_is_one_at_home() -> None:
    assert expected_day(date(2026, 3, 2), make_plan(home_zone=SANTIAGO)).zone == SANTIAGO

"""Days worked out by hand. All of them are Monday, 2 March 2026, in Berlin, unless a row says otherwise."""

from dataclasses import dataclass
from datetime import date, timedelta

import pytest

from app.attendance.plan import Assignment, DayStatus, Plan, Shift
from app.attendance.rules import expected_day, work_out
from tests.app.attendance.plans import (
    EVERY_DAY,
    MONDAY,
    make_moment,
    make_plan,
    make_punch,
    make_punches,
    make_shift,
    seconds_of,
)

DAY = make_shift()
LUNCH = make_shift(breaks=["12:00-13:00"])
TWO_BREAKS = make_shift(breaks=["10:00-10:15", "12:00-12:45"])
STRICT = make_shift(grace_s=0)
MEASURED = make_shift(half_day_below_s=5 * 3600, absent_below_s=2 * 3600)
DOOR = make_shift(first_last=True)
NIGHT = make_shift(hours="22:00-06:00", name="Night")
NIGHT_BREAK = make_shift(hours="22:00-06:00", name="Night", breaks=["01:00-01:30", "23:30-00:15"])
MIDNIGHT = make_shift(hours="16:00-00:00", name="Late")
ROUND_THE_CLOCK = make_shift(hours="08:00-08:00", name="Watch", early_window_s=0, late_window_s=0)
MORNING = make_shift(hours="08:00-12:00", name="Morning")
AFTERNOON = make_shift(hours="13:00-17:00", name="Afternoon")


@dataclass(frozen=True)
class Row:
    """`directions`: I and O, a dot for neither, an equals sign for a repeat."""

    says: str
    shifts: tuple[Shift, ...]
    punches: str
    status: str
    directions: str
    worked: str = "0:00"
    breaks: str = "0:00"
    late: str = "0:00"
    early: str = "0:00"
    overtime: str = "0:00"


ROWS = [
    # Directions that nobody gives.
    Row("an ordinary day", (DAY,), "08:58 17:02", "present", "IO", "8:04", overtime="0:02"),
    Row("exactly on time", (DAY,), "09:00 17:00", "present", "IO", "8:00"),
    Row("a pause outside", (DAY,), "09:00 12:00 12:40 17:00", "present", "IOIO", "7:20", "0:40"),
    Row("two pauses", (DAY,), "09:00 10:00 10:10 12:00 12:40 17:00", "present", "IOIOIO", "7:10", "0:50"),
    Row("five looks at the camera", (DAY,), "09:00 09:01 09:03 09:04 17:00", "present", "I===O", "8:00"),
    Row("an odd number", (DAY,), "09:00 12:00 13:00", "missing_out", "IOI", "3:00"),
    Row("only a check-in", (DAY,), "09:00", "missing_out", "I"),
    Row("only a check-in, long after the start", (DAY,), "14:00", "missing_out", "I", late="5:00"),
    Row("only a check-out", (DAY,), "17:03", "missing_in", "O"),
    Row("only a check-out, within its grace", (DAY,), "16:55", "missing_in", "O"),
    Row("too early for a check-out", (DAY,), "16:54", "missing_out", "I", late="7:54"),
    # Directions that the camera gives.
    Row("both given", (DAY,), "09:00-in 17:00-out", "present", "IO", "8:00"),
    Row("the last is given", (DAY,), "09:00 12:00 17:00-out", "present", "IOO", "8:00"),
    Row("an OUT that was missed on the way to lunch", (DAY,), "09:00-in 13:00-in 17:00-out", "present", "IIO", "8:00"),
    Row("an IN that was missed after lunch", (DAY,), "09:00-in 12:00-out 17:00-out", "present", "IOO", "8:00"),
    Row("what is given puts the rest right", (DAY,), "09:00 13:00-in 17:00", "present", "IIO", "8:00"),
    Row("only an OUT is given", (DAY,), "12:00-out", "missing_in", "O", early="5:00"),
    Row("the check-in is missing", (DAY,), "12:00-out 13:00-in 17:00-out", "missing_in", "OIO", "4:00"),
    Row("both ends are missing", (DAY,), "12:00-out 13:00-in", "missing_out", "OI"),
    Row("in and at once out again", (DAY,), "09:00-in 09:01-out 09:30-in 17:00-out", "present", "IOIO", "7:31", "0:29"),
    Row("an unsaid repeat of an IN", (DAY,), "09:00-in 09:01 17:00", "present", "I=O", "8:00"),
    Row("a repeat that says what the first did not", (DAY,), "09:00 09:01-in 17:00", "present", "I=O", "8:00"),
    # First in, last out.
    Row("a door that is passed all day", (DOOR,), "09:00 10:00 12:30 17:00", "present", "I..O", "8:00"),
    Row("a door that is passed once", (DOOR,), "09:00", "missing_out", "I"),
    Row("a door that is passed once, in the evening", (DOOR,), "17:30", "missing_in", "O"),
    Row("a door that says OUT at noon", (DOOR,), "09:00 12:00-out 12:30 17:00", "present", "IO.O", "8:00"),
    Row("a door whose last is an IN", (DOOR,), "09:00 12:00 12:30-in", "missing_out", "I.I"),
    # Late, early, overtime.
    Row("late by no more than the grace", (DAY,), "09:05 17:00", "present", "IO", "7:55"),
    Row("late by more than the grace", (DAY,), "09:06 17:00", "late", "IO", "7:54", late="0:06"),
    Row("late without any grace", (STRICT,), "09:01 17:00", "late", "IO", "7:59", late="0:01"),
    Row("early by no more than the grace", (DAY,), "09:00 16:55", "present", "IO", "7:55"),
    Row("early by more than the grace", (DAY,), "09:00 16:54", "present", "IO", "7:54", early="0:06"),
    Row("late and early", (DAY,), "09:30 16:30", "late", "IO", "7:00", late="0:30", early="0:30"),
    Row("overtime", (DAY,), "09:00 19:30", "present", "IO", "10:30", overtime="2:30"),
    Row("coming early is no overtime", (DAY,), "07:30 17:00", "present", "IO", "9:30"),
    Row("back in the evening", (DAY,), "09:00 17:00 19:00 20:00", "present", "IOIO", "9:00", overtime="1:00"),
    Row("late and without a check-out", (DAY,), "09:30 12:00 13:00", "missing_out", "IOI", "2:30", late="0:30"),
    # Breaks.
    Row("a break that was worked through", (LUNCH,), "09:00 17:00", "present", "IO", "7:00", "1:00"),
    Row("a break that was punched", (LUNCH,), "09:00 12:00 13:00 17:00", "present", "IOIO", "7:00", "1:00"),
    Row("a break that was begun late", (LUNCH,), "09:00 12:20 13:10 17:00", "present", "IOIO", "6:50", "1:10"),
    Row("half a break", (LUNCH,), "09:00 12:30", "present", "IO", "3:00", "0:30", early="4:30"),
    Row("gone before the break", (LUNCH,), "09:00 11:30", "present", "IO", "2:30", early="5:30"),
    Row("come in the break", (LUNCH,), "12:30 17:00", "late", "IO", "4:00", "0:30", late="3:30"),
    Row("nothing but the break", (LUNCH,), "12:10 12:50", "late", "IO", "0:00", "0:40", late="3:10", early="4:10"),
    Row("two breaks", (TWO_BREAKS,), "09:00 17:00", "present", "IO", "7:00", "1:00"),
    Row("two breaks, one of them punched", (TWO_BREAKS,), "09:00 12:00 12:45 17:00", "present", "IOIO", "7:00", "1:00"),
    Row(
        "a pause after the shift is none of it",
        (DAY,),
        "09:00 17:30 18:00 18:30",
        "present",
        "IOIO",
        "9:00",
        overtime="1:00",
    ),
    # Half days and absences.
    Row("a whole day", (MEASURED,), "09:00 14:00", "present", "IO", "5:00", early="3:00"),
    Row("a half day", (MEASURED,), "09:00 13:59", "half_day", "IO", "4:59", early="3:01"),
    Row("late as well, but a half day", (MEASURED,), "13:00 17:00", "half_day", "IO", "4:00", late="4:00"),
    Row("hardly there", (MEASURED,), "09:00 10:59", "absent", "IO", "1:59", early="6:01"),
    Row("just there", (MEASURED,), "09:00 11:00", "half_day", "IO", "2:00", early="6:00"),
    Row("there for an unknown time", (MEASURED,), "09:00", "missing_out", "I"),
    # Over midnight.
    Row("a night", (NIGHT,), "21:58 +05:58", "present", "IO", "8:00"),
    Row(
        "a night with a pause",
        (NIGHT,),
        "21:58 +01:00 +01:30 +06:02",
        "present",
        "IOIO",
        "7:34",
        "0:30",
        overtime="0:02",
    ),
    Row("a night's breaks", (NIGHT_BREAK,), "22:00 +06:00", "present", "IO", "6:45", "1:15"),
    Row("late after midnight", (NIGHT,), "+00:30 +06:00", "late", "IO", "5:30", late="2:30"),
    Row("gone before midnight", (NIGHT,), "22:00 23:30", "present", "IO", "1:30", early="6:30"),
    Row("only the end of a night", (NIGHT,), "+06:10", "missing_in", "O"),
    Row("until midnight", (MIDNIGHT,), "16:00 +00:03", "present", "IO", "8:03", overtime="0:03"),
    Row("a watch of 24 hours", (ROUND_THE_CLOCK,), "08:00 +07:59", "present", "IO", "23:59"),
    Row(
        "a watch of 24 hours, late",
        (ROUND_THE_CLOCK,),
        "09:00 +07:00",
        "late",
        "IO",
        "22:00",
        late="1:00",
        early="1:00",
    ),
    # Two shifts on one date.
    Row("a split shift", (MORNING, AFTERNOON), "08:00 12:00 13:00 17:00", "present", "IOIO", "8:00"),
    Row(
        "a split shift, the afternoon late",
        (MORNING, AFTERNOON),
        "08:00 12:00 13:30 17:00",
        "late",
        "IOIO",
        "7:30",
        late="0:30",
    ),
    Row(
        "a split shift, and overtime in the morning",
        (MORNING, AFTERNOON),
        "08:00 12:25 12:55 17:00",
        "present",
        "IOIO",
        "8:30",
        overtime="0:25",
    ),
    Row("the afternoon only", (MORNING, AFTERNOON), "13:00 17:00", "half_day", "IO", "4:00"),
    Row("the morning only", (MORNING, AFTERNOON), "08:00 12:00", "half_day", "IO", "4:00"),
    Row("nothing punched at noon", (MORNING, AFTERNOON), "08:00 17:00", "missing_out", "IO"),
    # Without a shift.
    Row("no shift", (), "09:00 12:00 13:00 17:00", "present", "IOIO", "7:00", "1:00"),
    Row("no shift, no check-out", (), "09:00", "missing_out", "I"),
    Row("no shift, only an OUT", (), "17:00-out", "missing_in", "O"),
    Row("no shift, five punches", (), "09:00 12:00 13:00 17:00 18:00", "missing_out", "IOIOI", "7:00", "1:00"),
    # Outside the windows.
    Row("work outside of the shift", (DAY,), "03:00 05:00", "absent", "IO", "2:00"),
    Row("work outside of the shift, and in it", (DAY,), "03:00 05:00 09:00 17:00", "present", "IOIO", "10:00"),
    Row("somebody passing by at night", (DAY,), "03:00 09:00 17:00", "missing_out", "IIO", "8:00"),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.says for row in ROWS])
def test_a_day_is_what_the_table_says(row: Row) -> None:
    ledger = work_out(make_punches(said=row.punches), make_plan(*row.shifts))

    (day,) = ledger.days
    found = "".join("=" if one.duplicate_of else (one.direction or ".")[0].upper() for one in ledger.punches)
    assert (day.local_date, day.status, found) == (MONDAY, row.status, row.directions)
    figures = [day.worked_s, day.break_s, day.late_s, day.early_leave_s, day.overtime_s]
    assert figures == [seconds_of(one) for one in (row.worked, row.breaks, row.late, row.early, row.overtime)]


@pytest.mark.parametrize("said", ["09:00 17:00", "09:00", "17:00-out"])
@pytest.mark.parametrize(
    ("holidays", "days", "status"),
    [({MONDAY: "Founders' Day"}, EVERY_DAY, "holiday"), ({}, frozenset({5, 6}), "day_off")],
)
def test_who_works_on_a_day_off_is_neither_late_nor_in_overtime(
    said: str, holidays: dict[date, str], days: frozenset[int], status: str
) -> None:
    plan = make_plan(make_shift(hours="08:00-12:00", days=days), holidays=holidays)

    (day,) = work_out(make_punches(said=said), plan).days

    unknown = {"09:00": "missing_out", "17:00-out": "missing_in"}
    assert day.status == unknown.get(said, status)
    assert (day.late_s, day.early_leave_s, day.overtime_s) == (0, 0, 0)
    assert day.worked_s == (8 * 3600 if said == "09:00 17:00" else 0)


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        (make_plan(DAY), "absent"),
        (make_plan(MORNING, AFTERNOON), "absent"),
        (make_plan(make_shift(days=frozenset({1}))), "day_off"),
        (make_plan(DAY, holidays={MONDAY: "Founders' Day"}), "holiday"),
        (make_plan(holidays={MONDAY: "Founders' Day"}), "holiday"),
        (make_plan(), "day_off"),
    ],
)
def test_a_day_on_which_nobody_was_seen_is_what_was_expected_of_it(plan: Plan, status: str) -> None:
    day = expected_day(MONDAY, plan)

    assert (day.status, day.n_events, day.worked_s, day.zone) == (status, 0, 0, "Europe/Berlin")
    assert [part.status for part in day.parts] == [DayStatus.ABSENT] * len(day.parts)


def test_a_shift_that_is_only_worked_on_other_days_is_no_absence_beside_one_that_is() -> None:
    weekend = make_shift(hours="10:00-14:00", name="Weekend", days=frozenset({5, 6}))

    (day,) = work_out(make_punches(said="09:00 17:00"), make_plan(DAY, weekend)).days

    assert [part.shift_name for part in day.parts] == ["Day"]


def test_a_roster_goes_before_the_usual_shift_on_its_days_alone() -> None:
    roster = Assignment(NIGHT, MONDAY, MONDAY, is_standing=False)
    plan = Plan((Assignment(DAY), roster), home_zone="Europe/Berlin")

    assert [part.shift_name for part in expected_day(MONDAY, plan).parts] == ["Night"]
    assert [part.shift_name for part in expected_day(MONDAY + timedelta(days=1), plan).parts] == ["Day"]


def test_an_assignment_counts_from_its_first_to_its_last_day() -> None:
    plan = Plan((Assignment(DAY, MONDAY, MONDAY + timedelta(days=1)),))

    dates = [MONDAY + timedelta(days=n) for n in (-3, 0, 1, 2)]
    assert [expected_day(one, plan).status for one in dates] == ["day_off", "absent", "absent", "day_off"]


def test_a_day_is_open_until_its_last_window_closes() -> None:
    night_is_open_until = work_out(make_punches(said="21:58"), make_plan(NIGHT)).days[0].closes_at
    date_is_open_until = work_out(make_punches(said="21:58"), make_plan()).days[0].closes_at

    assert night_is_open_until == make_moment(text="2026-03-03 12:00")
    assert date_is_open_until == make_moment(text="2026-03-03 00:00")


def test_a_forgotten_check_out_does_not_spoil_the_next_day() -> None:
    plan = make_plan(DAY)
    punches = make_punches(said="09:00 +09:00 +17:00 ++09:00 ++17:00")

    days = work_out(punches, plan).days

    assert [day.status for day in days] == ["missing_out", "present", "present"]


def test_a_punch_belongs_to_a_window_from_its_first_second_to_before_its_last() -> None:
    def shift_of(at: str) -> str | None:
        return work_out([make_punch(at=f"2026-03-02 {at}")], make_plan(DAY)).punches[0].shift_id

    assert [shift_of(at) for at in ("06:59:59", "07:00", "22:59:59", "23:00")] == [None, DAY.id, DAY.id, None]


def test_work_that_lies_in_a_shift_and_around_it_is_counted_once() -> None:
    narrow = make_shift(early_window_s=0, late_window_s=0)

    (day,) = work_out(make_punches(said="08:00-in 10:00-in 12:00-out 18:00-out"), make_plan(narrow)).days

    assert [part.worked_s for part in day.parts] == [2 * 3600, 8 * 3600]
    assert day.worked_s == 10 * 3600


def test_seconds_are_kept_and_fractions_dropped() -> None:
    punches = [make_punch(id="a", at="2026-03-02 09:00:00.400"), make_punch(id="b", at="2026-03-02 17:00:10.300")]

    (day,) = work_out(punches, make_plan(make_shift(grace_s=0))).days

    assert (day.status, day.late_s, day.worked_s, day.overtime_s) == ("present", 0, 8 * 3600 + 9, 10)


def test_nothing_comes_of_nothing() -> None:
    ledger = work_out([], make_plan(DAY))

    assert (ledger.punches, ledger.days) == ((), ())

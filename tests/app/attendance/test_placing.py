"""Which shift a punch belongs to where several could have it. Monday's night ends when Tuesday's day begins."""

from datetime import timedelta

import pytest

from app.attendance.plan import Assignment, Plan
from app.attendance.rules import work_out
from tests.app.attendance.plans import EVERY_DAY, MONDAY, make_plan, make_punches, make_shift

NIGHT = make_shift(hours="22:00-06:00", name="Night")
DAY = make_shift(hours="07:00-15:00", name="Day")


def placed(said: str, plan: Plan) -> str:
    """ "N0I D1O": the shift's first letter, days after Monday, direction; "-" is no shift."""
    return " ".join(
        f"{(one.shift_id or 'shf_-')[4]}{(one.local_date - MONDAY).days}{(one.direction or '.')[0].upper()}"
        for one in work_out(make_punches(said=said), plan).punches
    )


@pytest.mark.parametrize(
    ("said", "found"),
    [
        # Only one window.
        ("21:58 +05:00", "N0I N0O"),
        ("+13:00 +15:00", "D1I D1O"),
        # The working hours of one shift alone.
        ("+05:30", "N0I"),
        ("+07:05", "D1I"),
        ("21:58 +07:05 +15:00", "N0I D1I D1O"),
        # Somebody who is still inside leaves; who has left comes.
        ("21:58 +06:05", "N0I N0O"),
        ("21:58 +06:50", "N0I N0O"),
        ("21:58 +06:05 +06:50 +15:02", "N0I N0O D1I D1O"),
        ("21:58 +05:58 +06:50 +15:02", "N0I N0O D1I D1O"),
        ("21:58 +02:00 +02:30 +06:40 +15:00", "N0I N0O N0I N0O D1O"),
        # Nobody came at night.
        ("+06:10", "N0O"),
        ("+06:40", "D1I"),
        ("+06:30", "N0O"),
        # The camera says which.
        ("+06:10-in", "D1I"),
        ("21:58 +06:10-in +15:00", "N0I D1I D1O"),
        ("+06:50-out", "N0O"),
        ("+07:30-out", "N0O"),
        ("+11:00-out", "D1O"),
        ("21:58-in +06:20-in +06:25-out +15:00-out", "N0I D1I N0O D1O"),
        # The day before a night, which somebody has left or has not.
        ("+07:00 +15:00 +20:30", "D1I D1O N1I"),
        ("+07:00 +20:30", "D1I D1O"),
        ("+07:00 +21:01", "D1I N1I"),
    ],
)
def test_a_punch_in_two_windows_belongs_where_the_rules_say(said: str, found: str) -> None:
    assert placed(said, make_plan(NIGHT, DAY)) == found
    assert placed(said, make_plan(DAY, NIGHT)) == found


def test_a_shift_that_nobody_expects_gives_way() -> None:
    early_week = make_shift(hours="07:00-15:00", name="Day", days=frozenset({2, 3}))

    assert placed("21:58 +06:50", make_plan(NIGHT, early_week)) == "N0I N0O"
    assert placed("+06:50", make_plan(NIGHT, early_week)) == "N0O"
    assert placed("+06:50", make_plan(NIGHT, DAY)) == "D1I"


def test_on_a_holiday_both_shifts_are_as_unexpected_as_each_other() -> None:
    plan = make_plan(NIGHT, DAY, holidays={MONDAY: "a", MONDAY + timedelta(days=1): "b"})

    assert placed("+06:50", plan) == "D1I"


def test_in_a_shift_with_a_first_and_a_last_only_nearness_counts() -> None:
    door = make_shift(hours="22:00-06:00", name="Night", first_last=True)

    assert placed("21:58 +02:00 +06:20", make_plan(door, DAY)) == "N0I N0. N0O"
    assert placed("21:58 +02:00 +06:40", make_plan(door, DAY)) == "N0I N0O D1I"


def test_equally_long_shifts_with_equal_hours_are_told_apart_by_their_id() -> None:
    twins = [make_shift(name=name, id=f"shf_{name}") for name in ("B", "A")]

    assert placed("09:00 17:00", make_plan(*twins)) == "A0I A0O"


def test_one_shift_that_is_assigned_twice_is_one_shift() -> None:
    roster = [Assignment(DAY, MONDAY, MONDAY, is_standing=False) for _ in range(2)]

    (day,) = work_out(make_punches(said="07:00 15:00"), Plan(tuple(roster))).days

    assert len(day.parts) == 1


def test_the_same_shift_follows_itself_without_a_gap() -> None:
    watch = make_shift(
        hours="08:00-20:00", name="Watch", days=EVERY_DAY, early_window_s=6 * 3600, late_window_s=6 * 3600
    )

    assert placed("08:00 +01:57 +02:00 +20:00", make_plan(watch)) == "W0I W0O W1I W1O"

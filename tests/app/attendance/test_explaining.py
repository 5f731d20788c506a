"""Every sentence that the rules can say, as somebody will read it."""

from datetime import date, timedelta

import pytest

from app.attendance.explaining import duration
from app.attendance.plan import Plan
from app.attendance.rules import expected_day, work_out
from tests.app.attendance.plans import BERLIN, MONDAY, make_plan, make_punch, make_punches, make_shift

DAY = make_plan(make_shift(name="day shift", breaks=["12:00-13:00"]))
PLAIN = make_plan(make_shift(name="day shift"))
NIGHT = make_plan(make_shift(hours="22:00-06:00", name="night shift A"))
DOOR = make_plan(make_shift(name="day shift", first_last=True))
STRICT = make_plan(make_shift(name="day shift", grace_s=0))
SHORT = make_plan(make_shift(name="day shift", half_day_below_s=4 * 3600, absent_below_s=7200))
SPLIT = make_plan(make_shift(hours="08:00-12:00", name="Morning"), make_shift(hours="13:00-17:00", name="Afternoon"))
NONE = make_plan()
HOLIDAY = make_plan(make_shift(name="day shift"), holidays={MONDAY: "Founders' Day"})
WEEKEND = make_plan(make_shift(name="day shift", days=frozenset({5, 6})))


@pytest.mark.parametrize(
    ("plan", "said", "sentences"),
    [
        (
            NIGHT,
            "21:58 +05:58",
            [
                "IN of night shift A: 21:58, 2 min before its start.",
                "OUT of night shift A: 05:58, 2 min before its end.",
            ],
        ),
        (
            PLAIN,
            "09:12 18:30",
            [
                "IN of day shift: 09:12, 12 min after its start (5 min of grace).",
                "OUT of day shift: 18:30, 1 h 30 min after its end.",
            ],
        ),
        (PLAIN, "09:00 17:00", ["IN of day shift: 09:00, at its start.", "OUT of day shift: 17:00, at its end."]),
        (
            STRICT,
            "09:00:30 17:00",
            ["IN of day shift: 09:00, 30 s after its start.", "OUT of day shift: 17:00, at its end."],
        ),
        (
            PLAIN,
            "08:59:30 16:58:20",
            ["IN of day shift: 08:59, 1 min before its start.", "OUT of day shift: 16:58, 2 min before its end."],
        ),
        (
            PLAIN,
            "09:00 09:01 12:00 12:48 17:00",
            [
                "IN of day shift: 09:00, at its start.",
                "Same presence as 09:00.",
                "OUT of day shift: 12:00, 5 h before its end.",
                "IN of day shift: 12:48, back after 48 min.",
                "OUT of day shift: 17:00, at its end.",
            ],
        ),
        (
            PLAIN,
            "09:00-in 13:00-in 16:00-out 17:00-out",
            [
                "IN of day shift: 09:00, at its start.",
                "IN again of day shift: 13:00, but there was no OUT since 09:00.",
                "OUT of day shift: 16:00, 1 h before its end.",
                "OUT again of day shift: 17:00, at its end, counts instead of 16:00.",
            ],
        ),
        (PLAIN, "17:05", ["OUT of day shift: 17:05, 5 min after its end, without an IN before it."]),
        (
            DOOR,
            "09:00 12:00 17:00",
            [
                "IN of day shift: 09:00, at its start.",
                "Between the first and the last of day shift: 12:00, neither IN nor OUT.",
                "OUT of day shift: 17:00, at its end.",
            ],
        ),
        (NONE, "09:00 17:00", ["IN: 09:00, no shift.", "OUT: 17:00, no shift."]),
        (PLAIN, "03:00", ["IN: 03:00, outside every shift."]),
        (HOLIDAY, "09:12", ["IN of day shift: 09:12, 12 min after its start, on a holiday."]),
        (WEEKEND, "09:12", ["IN of day shift: 09:12, 12 min after its start, on a day off."]),
        (WEEKEND, "03:00", ["IN: 03:00, on a day off."]),
    ],
)
def test_every_punch_says_why(plan: Plan, said: str, sentences: list[str]) -> None:
    assert [one.explanation for one in work_out(make_punches(said=said), plan).punches] == sentences


@pytest.mark.parametrize(
    ("plan", "said", "sentence"),
    [
        (DAY, "09:12 17:00", "Came 09:12 (12 min late), left 17:00; worked 6 h 48 min without 1 h of breaks."),
        (PLAIN, "08:58 17:00", "Came 08:58, left 17:00; worked 8 h 2 min."),
        (PLAIN, "09:00 16:30", "Came 09:00, left 16:30 (30 min early); worked 7 h 30 min."),
        (PLAIN, "09:00 17:40", "Came 09:00, left 17:40; worked 8 h 40 min, 40 min of it after the end."),
        (STRICT, "09:00:30 17:00", "Came 09:00 (30 s late), left 17:00; worked 7 h 59 min."),
        (PLAIN, "09:12", "Came 09:12 (12 min late), no check-out; how long the work was is not known."),
        (
            PLAIN,
            "09:00 12:00 13:00",
            "Came 09:00, no check-out after the IN at 13:00; worked 3 h, as far as is known.",
        ),
        (PLAIN, "17:00", "No check-in, left 17:00; how long the work was is not known."),
        (
            PLAIN,
            "12:00-out 13:00-in 17:00-out",
            "No check-in, left 17:00; worked 4 h, as far as is known.",
        ),
        (
            PLAIN,
            "12:00-out 13:00-in",
            "No check-in, no check-out after the IN at 13:00; how long the work was is not known.",
        ),
        (
            SHORT,
            "09:00 12:59",
            "Came 09:00, left 12:59 (4 h 1 min early); worked 3 h 59 min. A half day: less than 4 h.",
        ),
        (SHORT, "09:00 10:00", "Came 09:00, left 10:00 (7 h early); worked 1 h. Counts as absent: less than 2 h."),
        (
            SPLIT,
            "08:00 12:00",
            "Morning: Came 08:00, left 12:00; worked 4 h. Afternoon: Did not come; expected 13:00 to 17:00.",
        ),
        (
            PLAIN,
            "03:00 05:00 09:00 17:00",
            "day shift: Came 09:00, left 17:00; worked 8 h. Otherwise: Came 03:00, left 05:00; worked 2 h. "
            "Outside every shift.",
        ),
        (NONE, "09:00 17:00", "Came 09:00, left 17:00; worked 8 h."),
        (NONE, "09:00-in 09:00-out", "Came 09:00, left 09:00; worked 0 min."),
        (HOLIDAY, "09:12 17:00", "Came 09:12, left 17:00; worked 7 h 48 min. A holiday: Founders' Day."),
        (WEEKEND, "09:12 17:00", "Came 09:12, left 17:00; worked 7 h 48 min. A day off."),
        (NIGHT, "21:58 +05:58", "Came 21:58, left 05:58; worked 8 h."),
    ],
)
def test_every_day_says_why(plan: Plan, said: str, sentence: str) -> None:
    assert work_out(make_punches(said=said), plan).days[0].explanation == sentence


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (PLAIN, "Did not come; expected 09:00 to 17:00."),
        (HOLIDAY, "A holiday: Founders' Day."),
        (WEEKEND, "A day off."),
        (NONE, "No shift."),
    ],
)
def test_a_day_without_a_punch_says_why_too(plan: Plan, sentence: str) -> None:
    assert expected_day(MONDAY, plan).explanation == sentence


def test_every_wall_has_its_own_times() -> None:
    punches = [
        make_punch(id="a", at="2026-03-02 09:00", zone=BERLIN),
        make_punch(id="b", at="2026-03-02 16:30", zone="Europe/London"),
    ]

    ledger = work_out(punches, PLAIN)

    assert ledger.punches[1].explanation == "OUT of day shift: 16:30, 30 min after its end."
    assert ledger.days[0].explanation == "Came 09:00, left 17:30; worked 8 h 30 min, 30 min of it after the end."


def test_a_night_in_which_the_clock_is_set_back_is_told_with_the_hour_it_is_longer() -> None:
    plan = make_plan(make_shift(hours="22:00-06:00", days=frozenset({5})))
    punches = make_punches(said="22:00 +06:00", day=date(2026, 10, 24))

    assert work_out(punches, plan).days[0].explanation == "Came 22:00, left 06:00; worked 9 h."


@pytest.mark.parametrize(
    ("total", "words"),
    [
        (timedelta(), "0 min"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=25, minutes=1), "25 h 1 min"),
    ],
)
def test_durations_are_told_in_hours_and_minutes(total: timedelta, words: str) -> None:
    assert duration(total.total_seconds()) == words

from dataclasses import replace
from datetime import UTC, time
from typing import Any

import pytest

from app.attendance.plan import Shift, ShiftRules
from app.attendance.shift_limits import refuse_impossible
from tests.app.attendance.plans import EVERY_DAY, make_shift


@pytest.mark.parametrize(
    "shift",
    [
        make_shift(),
        make_shift(hours="22:00-06:00"),
        make_shift(hours="00:00-16:00"),
        make_shift(hours="08:00-08:00", early_window_s=0, late_window_s=0),
        make_shift(hours="23:59-00:00", grace_s=60),
        make_shift(days=EVERY_DAY, grace_s=0, early_window_s=0, late_window_s=0),
        make_shift(hours="22:00-06:00", breaks=["22:00-22:30", "23:45-00:15", "05:30-06:00"]),
        make_shift(hours="08:00-12:00", breaks=["09:00-10:00", "10:00-11:00"]),
        make_shift(half_day_below_s=8 * 3600, absent_below_s=8 * 3600),
        make_shift(absent_below_s=3600),
    ],
)
def test_a_possible_shift_is_accepted(shift: Shift) -> None:
    refuse_impossible(shift)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hours": "09:00-09:00"}, "lasts 24 hours: if that is meant, set early_window_s and late_window_s to 0"),
        ({"hours": "06:00-23:00"}, "make the windows at most 25200 s together"),
        ({"early_window_s": 12 * 3600}, "make the windows at most 57600 s together"),
        ({"days": frozenset()}, "at least one day of the week"),
        ({"days": frozenset({0, 7})}, "from 0 .Monday. to 6 .Sunday."),
        ({"days": frozenset({-1})}, "from 0 .Monday. to 6 .Sunday."),
        ({"grace_s": -1}, "grace_in_s must not be less than 0"),
        ({"half_day_below_s": -1}, "half_day_below_s must not be less than 0"),
        ({"absent_below_s": -1}, "absent_below_s must not be less than 0"),
        ({"early_window_s": -1}, "early_window_s must not be less than 0"),
        ({"late_window_s": -7200}, "late_window_s must not be less than 0"),
        ({"breaks": ["08:00-09:30"]}, "every break must lie between the start and the end"),
        ({"breaks": ["16:30-17:30"]}, "every break must lie between the start and the end"),
        ({"breaks": ["20:00-20:30"]}, "every break must lie between the start and the end"),
        ({"breaks": ["12:30-12:00"]}, "every break must lie between the start and the end"),
        ({"breaks": ["12:00-12:00"]}, "a break must not end when it starts"),
        ({"breaks": ["12:30-13:00", "12:00-12:31"]}, "breaks must not overlap"),
        ({"breaks": ["12:00-13:00", "12:00-13:00"]}, "breaks must not overlap"),
        ({"grace_s": 8 * 3600 + 1}, "no longer than the shift, 28800 s"),
        ({"half_day_below_s": 8 * 3600 + 1}, "without its breaks, 28800 s"),
        ({"half_day_below_s": 7 * 3600 + 1, "breaks": ["12:00-13:00"]}, "without its breaks, 25200 s"),
        ({"half_day_below_s": 3600, "absent_below_s": 7200}, "absent_below_s must be no more than half_day_below_s"),
    ],
)
def test_an_impossible_shift_is_refused_with_what_to_change(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        refuse_impossible(make_shift(**changes))


@pytest.mark.parametrize("starts", [time(9, 0, 30), time(9, 0, 0, 1), time(9, tzinfo=UTC)])
def test_a_time_that_no_wall_clock_shows_is_refused(starts: time) -> None:
    with pytest.raises(ValueError, match="whole minutes on the wall clock"):
        refuse_impossible(replace(make_shift(), starts=starts))


def test_the_rules_that_a_shift_has_by_default_suit_one_of_up_to_sixteen_hours() -> None:
    refuse_impossible(replace(make_shift(hours="06:00-22:00"), rules=ShiftRules()))

    with pytest.raises(ValueError, match="at most 28740 s"):
        refuse_impossible(replace(make_shift(hours="06:00-22:01"), rules=ShiftRules()))

"""What a shift must be like for the rules to make sense of it. Pure."""

from collections.abc import Iterable, Iterator
from datetime import time

from app.attendance.plan import Shift

_DAY_S = 24 * 3600


def refuse_impossible(shift: Shift) -> None:
    """Raises ValueError, saying what to change, where a shift could not be judged, or would overlap with itself."""
    for problem in problems(shift):
        raise ValueError(problem)


def problems(shift: Shift) -> Iterator[str]:
    """Lazily: later ones take earlier ones to be absent."""
    rules = shift.rules
    if not shift.days or not shift.days <= set(range(7)):
        yield "days must name at least one day of the week, from 0 (Monday) to 6 (Sunday)"
    if not all(is_plain(one) for one in wall_times(shift)):
        yield "times must be whole minutes on the wall clock, without a time zone"
    amounts = {
        "grace_in_s": rules.grace_in_s,
        "grace_out_s": rules.grace_out_s,
        "half_day_below_s": rules.half_day_below_s,
        "absent_below_s": rules.absent_below_s,
        "early_window_s": rules.early_window_s,
        "late_window_s": rules.late_window_s,
    }
    yield from (f"{name} must not be less than 0" for name, amount_s in amounts.items() if amount_s < 0)
    yield from window_problems(shift)
    yield from break_problems(shift)
    yield from threshold_problems(shift)


def window_problems(shift: Shift) -> Iterator[str]:
    """The windows of one day and the next must not overlap."""
    early_s, late_s, lasts_s = shift.rules.early_window_s, shift.rules.late_window_s, length_s(shift.starts, shift.ends)
    if early_s + lasts_s + late_s <= _DAY_S:
        return
    if lasts_s == _DAY_S and early_s + late_s:
        yield (
            "a shift that ends when it starts lasts 24 hours: if that is meant, set early_window_s and late_window_s "
            "to 0, else change its end"
        )
        return
    yield (
        "early_window_s, the shift and late_window_s together must be no longer than 24 hours, or one day's shift "
        f"would overlap the next day's: make the windows at most {_DAY_S - lasts_s} s together"
    )


def break_problems(shift: Shift) -> Iterator[str]:
    pauses = sorted((after_s(shift, one.starts), length_s(one.starts, one.ends)) for one in shift.rules.breaks)
    if any(one.starts == one.ends for one in shift.rules.breaks):
        yield "a break must not end when it starts"
    if any(start_s + lasts_s > length_s(shift.starts, shift.ends) for start_s, lasts_s in pauses):
        yield "every break must lie between the start and the end of the shift"
    if any(start_s + lasts_s > next_s for (start_s, lasts_s), (next_s, _) in zip(pauses, pauses[1:], strict=False)):
        yield "breaks must not overlap: make one of them"


def threshold_problems(shift: Shift) -> Iterator[str]:
    rules = shift.rules
    lasts_s = length_s(shift.starts, shift.ends)
    work_s = lasts_s - sum(length_s(one.starts, one.ends) for one in rules.breaks)
    if max(rules.grace_in_s, rules.grace_out_s) > lasts_s:
        yield f"grace_in_s and grace_out_s must be no longer than the shift, {lasts_s} s"
    if max(rules.half_day_below_s, rules.absent_below_s) > work_s:
        yield (
            f"half_day_below_s and absent_below_s must be no more than the shift without its breaks, {work_s} s, "
            "or nobody could ever work a whole day"
        )
    if 0 < rules.half_day_below_s < rules.absent_below_s:
        yield "absent_below_s must be no more than half_day_below_s"


def wall_times(shift: Shift) -> Iterable[time]:
    yield from (shift.starts, shift.ends)
    for pause in shift.rules.breaks:
        yield from (pause.starts, pause.ends)


def is_plain(wall: time) -> bool:
    return wall.tzinfo is None and wall.second == 0 and wall.microsecond == 0


def length_s(starts: time, ends: time) -> int:
    """An end that is not later is on the next day."""
    return (second_of(ends) - second_of(starts) - 1) % _DAY_S + 1


def after_s(shift: Shift, wall: time) -> int:
    return (second_of(wall) - second_of(shift.starts)) % _DAY_S


def second_of(wall: time) -> int:
    return wall.hour * 3600 + wall.minute * 60

"""What the rules decided, in plain words for whoever was there. Times are those on the wall. Pure."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from app.attendance.judging import Figures, Stay
from app.attendance.placing import Expectation, Slot
from app.attendance.plan import DayStatus, Direction, ShiftPart


def clock(at: datetime, zone: str) -> str:
    wall = at.astimezone(ZoneInfo(zone))
    return f"{wall.hour:02}:{wall.minute:02}"


def duration(total_s: float) -> str:
    """ "7 h 51 min"; what is left over of a minute is not told, unless it is all there is."""
    minutes, rest_s = divmod(int(total_s), 60)
    if minutes == 0:
        return f"{rest_s} s" if rest_s else "0 min"
    hours, minutes = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)


def distance(at: datetime, boundary: datetime) -> str:
    """ "12 min after" its start or end, so that it agrees with the minutes that clocks show."""
    if at < boundary:
        return f"{duration((boundary - at.replace(second=0, microsecond=0)).total_seconds())} before"
    passed_s = int((at - boundary).total_seconds())
    return f"{duration(passed_s)} after" if passed_s else "at"


def repeat_words(first_at: datetime, zone: str) -> str:
    return f"Same presence as {clock(first_at, zone)}."


def presence_words(
    slot: Slot, ats: Sequence[datetime], directions: Sequence[Direction | None], position: int, zone: str
) -> str:
    """Why the presence at this position of its slot is what it is. `zone` is that of the wall where it happened."""
    at, direction = ats[position], directions[position]
    name = slot.shift.name if slot.shift else "the day"
    if direction is None:
        return f"Between the first and the last of {name}: {clock(at, zone)}, neither IN nor OUT."
    before = next((i for i in reversed(range(position)) if directions[i] is not None), None)
    is_again = before is not None and directions[before] == direction
    said = f"{direction.upper()}{' again' if is_again else ''}{f' of {name}' if slot.shift else ''}: {clock(at, zone)}"
    told = in_words if direction == "in" else out_words
    earlier = ats[before] if before is not None else None
    return f"{said}{told(slot, at, earlier, is_again, zone)}{aside(slot)}."


def in_words(slot: Slot, at: datetime, earlier: datetime | None, is_again: bool, zone: str) -> str:
    if earlier is not None:
        away = duration((at - earlier).total_seconds())
        return f", but there was no OUT since {clock(earlier, zone)}" if is_again else f", back after {away}"
    if slot.shift is None:
        return ""
    return f", {distance(at, slot.times.starts_at)} its start{grace_words(slot, at)}"


def grace_words(slot: Slot, at: datetime) -> str:
    grace_s = slot.shift.rules.grace_in_s if slot.shift else 0
    if slot.expectation != "expected" or at <= slot.times.starts_at or grace_s == 0:
        return ""
    return f" ({duration(grace_s)} of grace)"


def out_words(slot: Slot, at: datetime, earlier: datetime | None, is_again: bool, zone: str) -> str:
    relation = f", {distance(at, slot.times.ends_at)} its end" if slot.shift else ""
    if earlier is None:
        return f"{relation}, without an IN before it"
    return f"{relation}, counts instead of {clock(earlier, zone)}" if is_again else relation


def aside(slot: Slot) -> str:
    """What is unusual about the slot itself."""
    if slot.expectation in ("day_off", "holiday"):
        return f", on a {slot.expectation.replace('_', ' ')}"
    if slot.shift is None:
        return ", outside every shift" if slot.expectation == "expected" else ", no shift"
    return ""


def part_words(stay: Stay, figures: Figures, status: DayStatus, holiday: str | None) -> str:
    slot = stay.slot
    if not stay.marks:
        expected = f"{clock(slot.times.starts_at, slot.zone)} to {clock(slot.times.ends_at, slot.zone)}"
        return f"Did not come; expected {expected}."
    told = f"{came_words(stay, figures)}, {left_words(stay, figures)}; {worked_words(stay, figures)}."
    return told + consequence(slot, status, holiday)


def came_words(stay: Stay, figures: Figures) -> str:
    if stay.is_missing_in or stay.first_in is None:
        return "No check-in"
    late = f" ({duration(figures.late_s)} late)" if figures.late_s else ""
    return f"Came {clock(stay.first_in, stay.slot.zone)}{late}"


def left_words(stay: Stay, figures: Figures) -> str:
    if stay.is_missing_out or stay.last_out is None:
        since = clock(stay.marks[-1][0], stay.slot.zone)
        return "no check-out" if len(stay.marks) == 1 else f"no check-out after the IN at {since}"
    early = f" ({duration(figures.early_leave_s)} early)" if figures.early_leave_s else ""
    return f"left {clock(stay.last_out, stay.slot.zone)}{early}"


def worked_words(stay: Stay, figures: Figures) -> str:
    if not stay.worked and (stay.is_missing_in or stay.is_missing_out):
        return "how long the work was is not known"
    pauses = f" without {duration(figures.break_s)} of breaks" if figures.break_s else ""
    overtime = f", {duration(figures.overtime_s)} of it after the end" if figures.overtime_s else ""
    known = ", as far as is known" if stay.is_missing_in or stay.is_missing_out else ""
    return f"worked {duration(figures.worked_s)}{pauses}{overtime}{known}"


def consequence(slot: Slot, status: DayStatus, holiday: str | None) -> str:
    """What does not follow from the times alone."""
    if slot.expectation == "holiday":
        return f" A holiday: {holiday}."
    if slot.expectation == "day_off":
        return " A day off."
    if slot.shift is None:
        return " Outside every shift." if slot.expectation == "expected" else ""
    if status == DayStatus.ABSENT:
        return f" Counts as absent: less than {duration(slot.shift.rules.absent_below_s)}."
    if status == DayStatus.HALF_DAY:
        return f" A half day: less than {duration(slot.shift.rules.half_day_below_s)}."
    return ""


def day_words(parts: Sequence[ShiftPart], expectation: Expectation, holiday: str | None) -> str:
    """One shift needs no name; several are told one by one."""
    if len(parts) == 1:
        return parts[0].explanation
    if parts:
        return " ".join(f"{part.shift_name or 'Otherwise'}: {part.explanation}" for part in parts)
    if expectation == "holiday":
        return f"A holiday: {holiday}."
    return "A day off." if expectation == "day_off" else "No shift."

"""Which presences of a slot are an IN and which an OUT. Pure."""

from collections.abc import Sequence

from app.attendance.placing import Slot
from app.attendance.plan import Direction, DirectionRule
from app.attendance.presences import Presence


def directions(presences: Sequence[Presence], slot: Slot) -> list[Direction | None]:
    """One for each presence, in order; what is given always counts. Dates without a shift alternate.

    The only presence of a shift is an OUT if it comes no earlier than one may leave: the check-in was forgotten.
    """
    rule = slot.shift.rules.direction_rule if slot.shift else DirectionRule.ALTERNATING
    if len(presences) == 1:
        return [presences[0].given or ("out" if is_late_enough_to_leave(presences[0], slot) else "in")]
    return first_and_last(presences) if rule == DirectionRule.FIRST_LAST else alternating(presences)


def is_late_enough_to_leave(presence: Presence, slot: Slot) -> bool:
    if slot.shift is None:
        return False
    return (slot.times.ends_at - presence.at).total_seconds() <= slot.shift.rules.grace_out_s


def alternating(presences: Sequence[Presence]) -> list[Direction | None]:
    """In, out, in, out; after one that is given comes the other one."""
    found: list[Direction | None] = []
    for presence in presences:
        follows: Direction = "out" if found and found[-1] == "in" else "in"
        found.append(presence.given or follows)
    return found


def first_and_last(presences: Sequence[Presence]) -> list[Direction | None]:
    """The first is in, the last is out, and those between are neither."""
    found: list[Direction | None] = [presence.given for presence in presences]
    if found:
        found[0], found[-1] = found[0] or "in", found[-1] or "out"
    return found

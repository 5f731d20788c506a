"""Punches that are one presence: who looks at the camera five times has come once. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.attendance.plan import Direction, Punch

# Somebody whose desk is in sight of a camera is seen all day. What went on before the last whole one of these does not
# matter, or else a punch could change days that are weeks away. Longer than anybody's working day.
PIECE_S: Final = 12 * 3600

# The longest window that a site may have; one that is longer all the same is taken to be this long.
MAX_REPEAT_WINDOW_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Presence:
    """Punches no further apart than the window of the later one, in order. It counts as the first of them."""

    punches: tuple[Punch, ...]
    given: Direction | None

    @property
    def first(self) -> Punch:
        return self.punches[0]

    @property
    def at(self) -> datetime:
        return self.punches[0].at


def presences_of(punches: Iterable[Punch]) -> list[Presence]:
    """Put punches together, whatever order they come in; the same one twice is the same one.

    A punch belongs to the presence before it unless it comes too late for that, or says another direction than it: an
    IN and an OUT are two presences even if one follows the other at once. A row of punches that began before the last
    whole piece begins anew with each piece, so that it depends on nothing that lies further back.

    Raises:
        ValueError: two different punches have the same id.
    """
    groups: list[list[Punch]] = []
    given: Direction | None = None
    row_piece = 0
    for punch in in_order(punches):
        is_new_row = not groups or is_too_late(punch, groups[-1][-1])
        if is_new_row:
            row_piece = piece_of(punch)
        if is_new_row or contradicts(given, punch) or row_piece + 1 < piece_of(punch) > piece_of(groups[-1][-1]):
            groups.append([])
            given = None
        groups[-1].append(punch)
        given = given or punch.given
    return [Presence(tuple(group), next((punch.given for punch in group if punch.given), None)) for group in groups]


def is_mere_repeat(punch: Punch, before: Punch, after: Punch | None) -> bool:
    """Whether a punch that comes between two others joins the presence of the one before it, and changes no other.

    Not said of one that happens at the same moment as another, nor of the first in its piece, so that what began a row
    of punches does not matter.
    """
    if before.at == punch.at or (after is not None and after.at == punch.at):
        return False
    is_near = not is_too_late(punch, before) and piece_of(punch) == piece_of(before)
    says_nothing_new = punch.given is None or punch.given == before.given
    is_bridge = after is not None and is_too_late(after, before) and not is_too_late(after, punch)
    return is_near and says_nothing_new and not is_bridge


def in_order(punches: Iterable[Punch]) -> list[Punch]:
    """Each punch once."""
    by_id: dict[str, Punch] = {}
    for punch in punches:
        if by_id.setdefault(punch.id, punch) != punch:
            raise ValueError(f"two different punches have the id {punch.id!r}")
    return sorted(by_id.values(), key=order_of)


def order_of(punch: Punch) -> tuple[datetime, str, int, str, str]:
    """By time; what happened at the same moment so that a copy of a punch, with another id, lies next to it."""
    return punch.at, punch.given or "", -punch.repeat_window_s, punch.zone, punch.id


def is_too_late(punch: Punch, before: Punch) -> bool:
    return punch.at - before.at > timedelta(seconds=min(punch.repeat_window_s, MAX_REPEAT_WINDOW_S))


def contradicts(given: Direction | None, punch: Punch) -> bool:
    return given is not None and punch.given is not None and punch.given != given


def piece_of(punch: Punch) -> int:
    return int(punch.at.timestamp() // PIECE_S)

"""Faces of frame after frame -> visitors: which face is still the same person's, by place and size alone.

No embedding is made here, so nothing but continuity says who is who. Where two people come so close that it does not,
both tracks end and what is seen next is a new visitor: somebody is sent twice then, which the service notices, rather
than somebody not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

from ml.tracking import is_near
from ml.types import FloatArray

# As in ml.tracking: half a face width of jitter, and two widths a second, which is a quick step to the side.
_REACH_WIDTHS: Final = 0.5
_REACH_WIDTHS_PER_S: Final = 2.0
_MAX_GAP_S: Final = 1.0
# Two tracks whose distances to a face differ by less than this share of its width may both be meant.
_DOUBT_WIDTHS: Final = 0.4
# A face is not followed further than this on the course it had when it was last seen.
_COURSE_S: Final = 0.4
# How much of the newest step goes into the course; landmarks and boxes jump by a tenth of a face.
_NEWEST_SHARE: Final = 0.4


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    box_xyxy: FloatArray
    time_s: float
    course: FloatArray = field(default_factory=lambda: np.zeros(2, dtype=np.float32))

    def expected(self, time_s: float) -> FloatArray:
        ahead_s = min(time_s - self.time_s, _COURSE_S)
        return self.box_xyxy + np.tile(self.course, 2) * np.float32(ahead_s)

    def take(self, box_xyxy: FloatArray, time_s: float) -> None:
        passed_s = time_s - self.time_s
        if passed_s > 0:
            step = (_centre(box_xyxy) - _centre(self.box_xyxy)) / np.float32(passed_s)
            self.course = self.course * np.float32(1 - _NEWEST_SHARE) + step * np.float32(_NEWEST_SHARE)
        self.box_xyxy, self.time_s = box_xyxy, time_s


class FaceTracks:
    """Numbers visitors from 0 on, and says which of them have gone."""

    def __init__(self) -> None:
        self._live: list[_Track] = []
        self._numbers = count()

    def add(self, time_s: float, boxes_xyxy: Sequence[FloatArray]) -> tuple[list[int], list[int]]:
        """Take the faces of the next frame that was looked at.

        Args:
            time_s: not falling.
            boxes_xyxy: `(4,)` px each.

        Returns:
            The visitor of each box, and the visitors who have gone since the last call.
        """
        gone = [track for track in self._live if time_s - track.time_s > _MAX_GAP_S]
        self._live = [track for track in self._live if track not in gone]
        reach = [self._within_reach(time_s, box) for box in boxes_xyxy]
        gone += self._end_in_doubt(reach)
        linked = self._linked(reach)
        visitors = [self._continued(linked.get(index), time_s, box) for index, box in enumerate(boxes_xyxy)]
        return visitors, [track.number for track in gone]

    def end(self) -> list[int]:
        """The visitors still in sight: the film is over."""
        live, self._live = self._live, []
        return [track.number for track in live]

    def _within_reach(self, time_s: float, box_xyxy: FloatArray) -> list[tuple[float, _Track]]:
        """Tracks that a face may continue, the nearest first, with their distance in face widths."""
        options = []
        for track in self._live:
            expected = track.expected(time_s)
            if is_near(expected, box_xyxy, _REACH_WIDTHS + _REACH_WIDTHS_PER_S * (time_s - track.time_s)):
                options.append((_distance_widths(expected, box_xyxy), track))
        return sorted(options, key=lambda option: option[0])

    def _end_in_doubt(self, reach: Sequence[list[tuple[float, _Track]]]) -> list[_Track]:
        doubtful = {
            track.number: track
            for options in reach
            for distance, track in options
            if len(options) > 1 and options[1][0] - options[0][0] < _DOUBT_WIDTHS
            if distance - options[0][0] < _DOUBT_WIDTHS
        }
        self._live = [track for track in self._live if track.number not in doubtful]
        return list(doubtful.values())

    def _linked(self, reach: Sequence[list[tuple[float, _Track]]]) -> dict[int, _Track]:
        """Which face continues which track, each at most once, the nearest first."""
        live = {track.number for track in self._live}
        options = [(distance, index, track) for index, near in enumerate(reach) for distance, track in near]
        linked: dict[int, _Track] = {}
        for _, index, track in sorted(options, key=lambda option: option[:2]):
            if track.number in live and index not in linked:
                live.remove(track.number)
                linked[index] = track
        return linked

    def _continued(self, track: _Track | None, time_s: float, box_xyxy: FloatArray) -> int:
        if track is None:
            track = _Track(next(self._numbers), box_xyxy, time_s)
            self._live.append(track)
        else:
            track.take(box_xyxy, time_s)
        return track.number


def _centre(box_xyxy: FloatArray) -> FloatArray:
    return np.asarray((box_xyxy[:2] + box_xyxy[2:]) / 2, dtype=np.float32)


def _distance_widths(a_xyxy: FloatArray, b_xyxy: FloatArray) -> float:
    width = float(a_xyxy[2] - a_xyxy[0] + b_xyxy[2] - b_xyxy[0]) / 2
    return float(np.hypot(*(_centre(a_xyxy) - _centre(b_xyxy)))) / max(width, 1.0)

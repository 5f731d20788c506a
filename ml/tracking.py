"""Photos of a clip -> tracks: which faces of different frames are one person's.

A track is never passed from one person to another. Position says where to look for a face that was there a moment ago;
whether it is the same person's is said by the embedding, wherever the face is clear enough for that. A face that
disagrees opens a new track in the same place, and tracks are joined afterwards if their clear faces agree on average.

Agreement is a mean of cosines between single faces (not the cosine of fused ones), which is the scale that `PairBounds`
is measured on. In the two head-turning development clips it is never below 0.95, with one frame a second as with 12,
while 0.3 % of 2 035 strangers reach the bound `same` (0.92) of the default backbone.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ml.enrolling import Photo, prominence
from ml.quality import ENROLL_LIMITS, QualityLimits, reasons_against
from ml.types import FloatArray, PairBounds, Reason, Sample

# A face unseen for longer is not looked for in its place any more; it is found again by its embedding.
_MAX_GAP_S = 1.0
# Where the embedding vouches for the person, the place need only be possible: half a face width of jitter, and two
# widths a second, which is a quick step to the side.
_REACH_WIDTHS = 0.5
_REACH_WIDTHS_PER_S = 2.0
_MAX_SIZE_RATIO = 2.0
# A face too poor for its embedding to count may also belong to the track whose last box it covers (the SORT bound).
_MIN_IOU = 0.3
# The last clear faces that a new one has to agree with: half a second of common clips, in much the same pose.
_N_RECENT = 5
# Fewer clear faces than this are a glitch, not a person: a detector is rarely wrong three times in the same way.
MIN_CLEAR_FACES = 3
# Memory: at most this many faces a track and finished tracks a clip, 22 MB in all with 128 numbers each, 46 with 512.
_MAX_FACES = 128
_MAX_TRACKS = 128
# Faces are forgotten from the fullest cell of this grid of yaw and pitch, so that rare poses stay.
_POSE_CELL_DEG = 15.0
_REASONS = tuple(Reason)
_N_COLUMNS = 8


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One face of a track: frame `index`, `time_s` into the clip; `reason` is what stands against it, None: clear."""

    index: int
    time_s: float
    sample: Sample
    reason: Reason | None


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Every frame that shows a track's face, also those whose sample was forgotten, in order of time.

    `index (n,)` of the frame, `time_s (n,)`, `boxes_xyxy (n, 4)` px, `prominence (n,)` as `ml.enrolling.prominence`
    as a share of the frame's area, `reasons` of length n: what stands against the face, None: clear.
    """

    index: NDArray[np.int64]
    time_s: NDArray[np.float64]
    boxes_xyxy: FloatArray
    prominence: FloatArray
    reasons: tuple[Reason | None, ...]

    @property
    def is_clear(self) -> NDArray[np.bool_]:
        """`(n,)` which of them nothing stands against."""
        return np.array([reason is None for reason in self.reasons], dtype=np.bool_)

    @property
    def areas(self) -> FloatArray:
        """`(n,)` px of the boxes."""
        return np.asarray(np.prod(self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2], axis=1), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person's faces, in order of time.

    `faces` hold samples: all of them in a short clip, else at most 128, the best of every pose. `sightings` hold every
    frame. `clear_mean (D,)` is the mean embedding of all clear faces, not of unit length (zeros without any): its
    product with another track's is the mean cosine between the faces of both. `n_clear` is how many there are.
    """

    faces: tuple[TrackedFace, ...]
    sightings: Sightings
    clear_mean: FloatArray
    n_clear: int

    @property
    def first_s(self) -> float:
        """When the person is seen first, seconds into the clip."""
        return float(self.sightings.time_s[0])

    @property
    def last_s(self) -> float:
        """When the person is seen last, seconds into the clip."""
        return float(self.sightings.time_s[-1])

    @property
    def n_frames(self) -> int:
        """How many frames show the person."""
        return len(self.sightings.index)


@dataclass(frozen=True, slots=True, eq=False)
class TrackedClip:
    """All of a clip: `frame_index (n,)` and `frame_time_s (n,)` of the frames read, and tracks by their first frame.

    `n_forgotten` tracks were given up to bound memory, the least visible of more than 128.
    """

    frame_index: NDArray[np.int64]
    frame_time_s: NDArray[np.float64]
    tracks: tuple[Track, ...]
    n_forgotten: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PooledProbe:
    """One probe for a whole track: unit-norm `embedding (D,)` fused from `n_faces`, and the best single face.

    `agreement` is the length of their mean embedding, 0..1: what a cosine with `embedding` is to be multiplied with to
    be the mean over the faces, as `ml.scoring.rank_candidates` does.
    """

    embedding: FloatArray
    agreement: float
    best: TrackedFace
    n_faces: int


class Tracker:
    """Follows the faces of one clip, fed frame by frame; holds embeddings and numbers, never images.

    Memory is bounded: 64 bytes for each face of each frame (0.4 MB for a face that is seen throughout 10 minutes at 10
    frames a second), and embeddings of at most 128 faces in each of the tracks in sight and of 128 finished ones.
    """

    def __init__(self, bounds: PairBounds, limits: QualityLimits = ENROLL_LIMITS) -> None:
        """Start a clip.

        Args:
            bounds: of the backbone that makes the embeddings.
            limits: which faces are clear: only their embeddings say who it is, and only they are enrolled or searched.
        """
        self._bounds = bounds
        self._limits = limits
        self._live: list[_Builder] = []
        self._finished: list[_Builder] = []
        self._n_forgotten = 0
        self._frame_index = array("q")
        self._frame_time_s = array("d")

    def add(self, index: int, time_s: float, photo: Photo) -> None:
        """Take the faces of the next frame.

        Args:
            index: the frame's number in the clip, growing.
            time_s: seconds into the clip, not falling.
            photo: all faces of the frame, and its size.
        """
        seen = [self._judge(index, time_s, sample, photo) for sample in photo.samples]
        since_s = self._live_since(time_s)
        self._finish([track for track in self._live if track.last_s < since_s])
        self._frame_index.append(index)
        self._frame_time_s.append(time_s)
        linked: set[int] = set()
        for track, number in self._links(seen):
            track.take(seen[number])
            linked.add(number)
        self._live.extend(_Builder.start(one) for number, one in enumerate(seen) if number not in linked)

    def finish(self) -> TrackedClip:
        """End the clip and join the tracks of one person."""
        self._finish(list(self._live))
        joined = _join(self._finished, self._bounds)
        tracks = sorted((track.build() for track in joined), key=lambda track: int(track.sightings.index[0]))
        return TrackedClip(
            frame_index=np.array(self._frame_index, dtype=np.int64),
            frame_time_s=np.array(self._frame_time_s, dtype=np.float64),
            tracks=tuple(tracks),
            n_forgotten=self._n_forgotten,
        )

    def _judge(self, index: int, time_s: float, sample: Sample, photo: Photo) -> "_Seen":
        against = reasons_against(sample.quality, self._limits)
        # A copy, for the row is a view that would keep its whole batch in memory.
        sample = replace(sample, embedding=sample.embedding.copy())
        share = prominence(sample, photo.size_wh) / (photo.size_wh[0] * photo.size_wh[1])
        return _Seen(TrackedFace(index, time_s, sample, against[0] if against else None), share)

    def _live_since(self, time_s: float) -> float:
        """The last two frames count as just now however few frames a second there are."""
        recent = self._frame_time_s[-2:]
        return min([time_s - _MAX_GAP_S, *recent])

    def _links(self, seen: Sequence["_Seen"]) -> Iterator[tuple["_Builder", int]]:
        """Which face continues which track, each at most once, the surest first."""
        options = []
        for number, one in enumerate(seen):
            for place, track in enumerate(self._live):
                if (strength := track.attraction(one.face, self._bounds)) is not None:
                    options.append((strength, place, number))
        free_tracks, free_faces = set(range(len(self._live))), set(range(len(seen)))
        for _, place, number in sorted(options, key=lambda option: (-option[0], option[1:])):
            if place in free_tracks and number in free_faces:
                free_tracks.remove(place)
                free_faces.remove(number)
                yield self._live[place], number

    def _finish(self, tracks: Sequence["_Builder"]) -> None:
        if not tracks:
            return
        self._live = [track for track in self._live if track not in tracks]
        self._finished.extend(tracks)
        if len(self._finished) > _MAX_TRACKS:
            joined = sorted(_join(self._finished, self._bounds), key=lambda track: -track.total_prominence)
            # Half of the room, so that joining is not done for every further track.
            self._finished = joined[: _MAX_TRACKS // 2] if len(joined) > _MAX_TRACKS else joined
            self._n_forgotten += len(joined) - len(self._finished)


def pool_track(track: Track, n_best: int = 8) -> PooledProbe:
    """Fuse a track into one probe.

    Args:
        track: at least one face.
        n_best: how many faces count, the best by quality score.

    Returns:
        The mean of the best clear faces, or of all faces where none is clear. (Weighted by quality it measured no
        better: `rollcall evaluate --fusion`.)
    """
    clear = [face for face in track.faces if face.reason is None] or list(track.faces)
    best = sorted(clear, key=lambda face: -face.sample.quality.score)[:n_best]
    mean = np.mean([face.sample.embedding for face in best], axis=0)
    agreement = float(np.linalg.norm(mean))
    return PooledProbe(np.asarray(mean / agreement, dtype=np.float32), agreement, best[0], len(best))


def mean_cosine(a: Track, b: Track) -> float | None:
    """The mean cosine between the clear faces of two tracks; None where one has none."""
    return float(a.clear_mean @ b.clear_mean) if a.n_clear and b.n_clear else None


def is_near(box_xyxy: FloatArray, other_xyxy: FloatArray, within_widths: float) -> bool:
    """Whether two boxes `(4,)` are of similar size and their centres not further apart than so many face widths."""
    width, other_width = _width(box_xyxy), _width(other_xyxy)
    if max(width, other_width) > _MAX_SIZE_RATIO * min(width, other_width):
        return False
    shift = np.hypot(*((box_xyxy[:2] + box_xyxy[2:] - other_xyxy[:2] - other_xyxy[2:]) / 2))
    return bool(shift <= within_widths * (width + other_width) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    face: TrackedFace
    prominence: float


@dataclass(slots=True, eq=False)
class _Builder:
    """A track that grows: kept faces, a row of numbers for every sighting, and what identity is judged by."""

    faces: list[TrackedFace]
    rows: array  # type: ignore[type-arg]
    last: FloatArray
    clear_sum: FloatArray
    n_clear: int = 0
    total_prominence: float = 0.0
    recent: deque[FloatArray] = field(default_factory=lambda: deque(maxlen=_N_RECENT))

    @classmethod
    def start(cls, seen: _Seen) -> "_Builder":
        embedding = seen.face.sample.embedding
        track = cls([], array("d"), embedding, np.zeros_like(embedding))
        track.take(seen)
        return track

    @property
    def last_s(self) -> float:
        return float(self.rows[-_N_COLUMNS + 1])

    def take(self, seen: _Seen) -> None:
        face, sample = seen.face, seen.face.sample
        code = -1 if face.reason is None else _REASONS.index(face.reason)
        self.rows.extend((face.index, face.time_s, *map(float, sample.face.box_xyxy), seen.prominence, code))
        self.total_prominence += seen.prominence
        self.faces.append(face)
        self.last = sample.embedding
        if face.reason is None:
            self.clear_sum = self.clear_sum + sample.embedding
            self.n_clear += 1
            self.recent.append(sample.embedding)
        self._forget()

    def attraction(self, face: TrackedFace, bounds: PairBounds) -> float | None:
        """How strongly a face is drawn to this track, None: it cannot be its next one."""
        last_xyxy = np.array(self.rows[-_N_COLUMNS + 2 : -_N_COLUMNS + 6], dtype=np.float32)
        overlap = _iou(last_xyxy, face.sample.face.box_xyxy)
        # Where one of the two is not clear, nobody's identity hangs on the answer: the place alone may give it.
        is_sure = face.reason is None and bool(self.recent)
        known = list(self.recent) if is_sure else [self.last]
        agreement = float(np.mean([embedding @ face.sample.embedding for embedding in known]))
        reach = _REACH_WIDTHS + _REACH_WIDTHS_PER_S * (face.time_s - self.last_s)
        if agreement >= bounds.same and is_near(last_xyxy, face.sample.face.box_xyxy, reach):
            return agreement + overlap - (0.0 if is_sure else 2.0)
        return overlap - 2.0 if not is_sure and overlap >= _MIN_IOU else None

    def absorb(self, other: "_Builder") -> None:
        """Take over all faces of a track that shares no frame with this one."""
        rows = np.concatenate([self.table(), other.table()])
        self.rows = array("d", rows[np.argsort(rows[:, 0], kind="stable")].ravel())
        self.faces = sorted([*self.faces, *other.faces], key=lambda face: face.index)
        self.clear_sum = self.clear_sum + other.clear_sum
        self.n_clear += other.n_clear
        self.total_prominence += other.total_prominence
        self._forget()

    def table(self) -> NDArray[np.float64]:
        return np.array(self.rows, dtype=np.float64).reshape(-1, _N_COLUMNS)

    def mean(self) -> FloatArray:
        return np.asarray(self.clear_sum / max(self.n_clear, 1), dtype=np.float32)

    def build(self) -> Track:
        rows = self.table()
        sightings = Sightings(
            index=rows[:, 0].astype(np.int64),
            time_s=rows[:, 1],
            boxes_xyxy=rows[:, 2:6].astype(np.float32),
            prominence=rows[:, 6].astype(np.float32),
            reasons=tuple(None if code < 0 else _REASONS[int(code)] for code in rows[:, 7]),
        )
        return Track(tuple(self.faces), sightings, self.mean(), self.n_clear)

    def _forget(self) -> None:
        """Keep the bound: faces that are not clear go first, then the worst of the pose that most others show."""
        while len(self.faces) > _MAX_FACES:
            crowd = [face for face in self.faces if face.reason is not None] or _fullest_cell(self.faces)
            self.faces.remove(min(crowd, key=lambda face: face.sample.quality.score))


def _fullest_cell(faces: Iterable[TrackedFace]) -> list[TrackedFace]:
    cells: dict[tuple[int, int], list[TrackedFace]] = {}
    for face in faces:
        pose = face.sample.quality.pose
        cell = (round(pose.yaw_deg / _POSE_CELL_DEG), round(pose.pitch_deg / _POSE_CELL_DEG))
        cells.setdefault(cell, []).append(face)
    return max(cells.values(), key=len)


def _join(tracks: Sequence[_Builder], bounds: PairBounds) -> list[_Builder]:
    """Join tracks whose clear faces agree on average and that share no frame, the most alike first."""
    left = list(tracks)
    likeness = _likeness(left)
    while likeness.size and likeness.max() >= bounds.same:
        keeper, other = sorted(divmod(int(likeness.argmax()), len(left)))
        weights = np.array([[left[keeper].n_clear], [left[other].n_clear]], dtype=np.float32)
        # The mean of all pairs of faces follows from those of the parts, and what keeps one part apart keeps the whole.
        joined = (weights * likeness[[keeper, other]]).sum(axis=0) / weights.sum()
        likeness[keeper], likeness[:, keeper] = joined, joined
        likeness = np.delete(np.delete(likeness, other, axis=0), other, axis=1)
        left[keeper].absorb(left.pop(other))
    return left


def _likeness(tracks: Sequence[_Builder]) -> FloatArray:
    """`(n, n)` mean cosines between the clear faces of two tracks; -inf if one has none, or both are in one frame."""
    likeness = np.full((len(tracks), len(tracks)), -np.inf, dtype=np.float32)
    frames = [frozenset(track.table()[:, 0].tolist()) for track in tracks]
    means = [track.mean() for track in tracks]
    for i, j in combinations(range(len(tracks)), 2):
        if tracks[i].n_clear and tracks[j].n_clear and frames[i].isdisjoint(frames[j]):
            likeness[i, j] = likeness[j, i] = means[i] @ means[j]
    return likeness


def _width(box_xyxy: FloatArray) -> float:
    """The side of a square of the box's size."""
    return float(np.sqrt(np.prod(np.maximum(box_xyxy[2:] - box_xyxy[:2], 1.0))))


def _iou(a_xyxy: FloatArray, b_xyxy: FloatArray) -> float:
    shared = float(np.prod(np.maximum(np.minimum(a_xyxy[2:], b_xyxy[2:]) - np.maximum(a_xyxy[:2], b_xyxy[:2]), 0.0)))
    both = float(np.prod(a_xyxy[2:] - a_xyxy[:2]) + np.prod(b_xyxy[2:] - b_xyxy[:2]))
    return shared / (both - shared) if both > shared else 0.0

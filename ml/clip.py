"""Tracks of a clip -> the templates worth enrolling: whose clip it is, which frames, and what is still missing.

A clip is about one person (`ml.people` says who). Of the frames that show them clearly, those are chosen that differ:
by the pose of the head, and in a pose by the face itself. A clip that is about two people gives nothing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from ml.people import OtherPerson, find_company, main_track
from ml.pose import POSES, angle_between, main_pose, poses_shown
from ml.tracking import Track, TrackedClip, TrackedFace
from ml.types import FloatArray, PairBounds, Pose, Reason, Sample

# Two frames are the same picture twice if the head turned less than this between them (the error of `ml.pose`) and
# either no time passed or the embedding did not change.
_SAME_POSE_DEG = 10.0
_SAME_MOMENT_S = 0.25
# Of somebody who keeps still this many frames are taken all the same: their mean is steadier than one of them, and
# with fewer than three nothing can be said of how well the person will be recognised.
_FEWEST = 3
# Frames this near to one another show the same pose: nobody nods within a quarter of a second and is sharp.
_JITTER_S = 0.12
# How much of the way from `PairBounds.same` to 1 an embedding must reach to be called unchanged: 0.98 for the default
# backbone. Consecutive frames of the development clips are mostly above, frames of different poses mostly below.
_UNCHANGED = 0.75
# A head turned this far from all chosen ones counts fully: the faces of one pose span about 45 degrees.
_NEW_VIEW_DEG = 30.0

_ADVICE = {
    "frontal": "Look straight into the camera for a moment, with the head level.",
    "up": "Raise your chin slowly and look up.",
    "down": "Lower your chin slowly and look down.",
}
_ADVICE_BOTH_SIDES = "Turn your head slowly to the left, and then to the right."
_ADVICE_SIDE = (
    "Turn your head the other way as well, to the {side} of the picture "
    "(to your own {other}, unless the camera mirrors)."
)


@dataclass(frozen=True, slots=True, eq=False)
class ChosenFrame:
    """One frame to enrol: `index`, `time_s` into the clip, the sample, and the pose it was chosen for."""

    index: int
    time_s: float
    sample: Sample
    pose: str


@dataclass(frozen=True, slots=True)
class RejectedFrame:
    """One frame that gives no template, and why."""

    index: int
    time_s: float
    reason: Reason


@dataclass(frozen=True, slots=True, eq=False)
class ClipChoice:
    """What to enrol from a clip, or why nothing.

    `refused` is None if there is something to enrol. Every frame read is in `chosen` or in `rejected`, both in order of
    time; `n_by_reason` counts the latter. `coverage` counts templates by pose (one may show two). `main` is the person.
    """

    refused: Reason | None
    chosen: tuple[ChosenFrame, ...] = ()
    rejected: tuple[RejectedFrame, ...] = ()
    coverage: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(POSES, 0))
    others: tuple[OtherPerson, ...] = ()
    main: Track | None = None

    @property
    def n_by_reason(self) -> dict[Reason, int]:
        """How many frames were rejected for what, the most frequent first."""
        return dict(Counter(frame.reason for frame in self.rejected).most_common())

    @property
    def passers_by(self) -> tuple[OtherPerson, ...]:
        """Those who were ignored."""
        return tuple(other for other in self.others if other.reason is None)


def choose_from_clip(
    clip: TrackedClip, enrolled: FloatArray, bounds: PairBounds, *, max_templates: int = 12
) -> ClipChoice:
    """Choose the frames of a clip that make good templates of the one person it is about.

    Args:
        clip: tracked with the limits for enrolling.
        enrolled: `(n, D)` templates that the person has already, maybe none.
        bounds: of the backbone that made the embeddings.
        max_templates: at least 1.

    Returns:
        A ClipChoice that mentions every frame once.
    """
    main = main_track(clip)
    if main is None:
        return _refusal(clip, None, Reason.NO_FACE)
    company = find_company(clip, main, bounds)
    if company.refused is not None:
        return _refusal(clip, main, company.refused, company.others)
    if _is_somebody_else(main, enrolled, bounds):
        return _refusal(clip, main, Reason.IDENTITY_CONFLICT, company.others)
    return _choice(clip, main, company.others, enrolled, bounds, max_templates)


def advise(coverage: Mapping[str, int]) -> tuple[str, ...]:
    """Say what to do about the poses without a template.

    Args:
        coverage: templates by pose, of one clip or of all that a person has.

    Returns:
        Sentences for the person before the camera. They fit a mirrored picture as well: where one side is missing, it
        is the other one than before.
    """
    missing = [pose for pose in POSES if not coverage[pose]]
    said = [_ADVICE[pose] for pose in missing if pose in _ADVICE]
    sides = [pose for pose in missing if pose in ("left", "right")]
    if len(sides) == 2:
        said.insert(0, _ADVICE_BOTH_SIDES)
    elif sides:
        other = "right" if sides == ["left"] else "left"
        said.insert(0, _ADVICE_SIDE.format(side=sides[0], other=other))
    return tuple(said)


def count_poses(samples: Iterable[Sample]) -> dict[str, int]:
    """Count how many samples show each of `ml.pose.POSES`; one may show two."""
    shown = Counter(pose for sample in samples for pose in poses_shown(sample.quality.pose))
    return {pose: shown[pose] for pose in POSES}


def _is_somebody_else(main: Track, enrolled: FloatArray, bounds: PairBounds) -> bool:
    """Whether most clear faces are near none of the templates that the person has already."""
    clear = [face.sample.embedding for face in main.faces if face.reason is None]
    if not clear or not len(enrolled):
        return False
    return float(np.median((np.array(clear) @ enrolled.T).max(axis=1))) < bounds.different


def _choice(
    clip: TrackedClip,
    main: Track,
    others: tuple[OtherPerson, ...],
    enrolled: FloatArray,
    bounds: PairBounds,
    max_templates: int,
) -> ClipChoice:
    reasons = _reasons_of_frames(clip, main)
    usable = []
    for face in main.faces:
        if face.reason is None:
            against = _reason_by_embedding(face, main, enrolled, bounds)
            if against is None:
                usable.append(face)
            else:
                reasons[face.index] = against
    chosen = tuple(
        ChosenFrame(option.face.index, option.face.time_s, option.face.sample, option.pose)
        for option in _varied(usable, bounds, max_templates)
    )
    kept = {frame.index for frame in chosen}
    rejected = tuple(
        RejectedFrame(index, time_s, reasons[index]) for index, time_s in _frames(clip) if index not in kept
    )
    coverage = count_poses(frame.sample for frame in chosen)
    refused = None if chosen else _most_frequent(rejected)
    return ClipChoice(refused, chosen, rejected, coverage, others, main)


def _reason_by_embedding(face: TrackedFace, main: Track, enrolled: FloatArray, bounds: PairBounds) -> Reason | None:
    """What the embedding of a clear face has against enrolling it."""
    embedding = face.sample.embedding
    if main.n_clear > 1:
        rest = (main.clear_mean * main.n_clear - embedding) / (main.n_clear - 1)
        if float(rest @ embedding) < bounds.same:
            return Reason.IDENTITY_CONFLICT
    if len(enrolled) and float((enrolled @ embedding).max()) >= _unchanged(bounds):
        return Reason.DUPLICATE_FRAME
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Option:
    """A face that could be enrolled, for which pose, and how good it is for that, 0..1."""

    face: TrackedFace
    pose: str
    worth: float


def _varied(faces: Sequence[TrackedFace], bounds: PairBounds, n: int) -> list[_Option]:
    """Choose at most `n` faces, as many of each pose as there are, no more than a fair share of any; by time.

    Every step takes the pose with the fewest so far, and of it the face that is best and furthest from those chosen.
    """
    share = max(math.ceil(n / len(POSES)), _FEWEST)
    options = _options(faces)
    chosen: list[_Option] = []
    while len(chosen) < n:
        n_of = Counter(option.pose for option in chosen)
        left = _news([option for option in options if n_of[option.pose] < share], chosen, bounds)
        if not left:
            break
        pose = min((option.pose for option in left), key=lambda name: (n_of[name], POSES.index(name)))
        best = max(
            (option for option in left if option.pose == pose),
            key=lambda option: option.worth * _novelty(option.face, chosen),
        )
        chosen.append(best)
    return sorted(chosen, key=lambda option: option.face.index)


def _news(options: Sequence[_Option], chosen: Sequence[_Option], bounds: PairBounds) -> list[_Option]:
    """Those that repeat none of the chosen; where these are few, others of another moment have to do."""
    new = [each for each in options if not any(_is_repeat(each.face, other.face, bounds) for other in chosen)]
    if new or len(chosen) >= _FEWEST:
        return new
    return [
        each for each in options if all(abs(each.face.time_s - other.face.time_s) >= _SAME_MOMENT_S for other in chosen)
    ]


def _options(faces: Sequence[TrackedFace]) -> list[_Option]:
    settled = [face for face in faces if _is_settled(face, faces)] or faces
    sharpness: dict[str, list[float]] = {}
    for face in settled:
        sharpness.setdefault(_pose_of(face), []).append(face.sample.quality.sharpness)
    usual = {pose: median(values) for pose, values in sharpness.items()}
    return [_Option(face, _pose_of(face), _worth(face, usual[_pose_of(face)])) for face in settled]


def _is_settled(face: TrackedFace, faces: Sequence[TrackedFace]) -> bool:
    """Whether the frames around show the same pose: the landmarks of one frame jump, most so on a face half hidden."""
    around = [
        other.sample.quality.pose
        for other in faces
        if other is not face and abs(other.time_s - face.time_s) <= _JITTER_S
    ]
    if not around:
        return True
    usual = Pose(median(pose.yaw_deg for pose in around), median(pose.pitch_deg for pose in around), 0.0)
    return main_pose(usual) == _pose_of(face)


def _pose_of(face: TrackedFace) -> str:
    return main_pose(face.sample.quality.pose)


def _worth(face: TrackedFace, usual_sharpness: float) -> float:
    """Quality, less what a face is blurred against others of its pose (hair and wall make the poses differ)."""
    quality = face.sample.quality
    return quality.score * min(1.0, quality.sharpness / max(usual_sharpness, 1e-9))


def _novelty(face: TrackedFace, chosen: Sequence[_Option]) -> float:
    """0..1: how far the head is turned from the nearest chosen one."""
    angles = [angle_between(face.sample.quality.pose, other.face.sample.quality.pose) for other in chosen]
    return min([1.0, *(angle / _NEW_VIEW_DEG for angle in angles)])


def _is_repeat(face: TrackedFace, other: TrackedFace, bounds: PairBounds) -> bool:
    if angle_between(face.sample.quality.pose, other.sample.quality.pose) >= _SAME_POSE_DEG:
        return False
    if abs(face.time_s - other.time_s) < _SAME_MOMENT_S:
        return True
    return float(face.sample.embedding @ other.sample.embedding) >= _unchanged(bounds)


def _unchanged(bounds: PairBounds) -> float:
    """The cosine from which two frames, or a frame and a template, are the same view of a person."""
    return bounds.same + _UNCHANGED * (1.0 - bounds.same)


def _reasons_of_frames(clip: TrackedClip, main: Track) -> dict[int, Reason]:
    """What stands against each frame of the clip, by its number; a clear face that is not chosen adds nothing."""
    reasons = dict.fromkeys(clip.frame_index.tolist(), Reason.NO_FACE)
    for track in clip.tracks:
        reasons |= _sighted(track, Reason.IDENTITY_CONFLICT)
    return reasons | _sighted(main, Reason.DUPLICATE_FRAME)


def _sighted(track: Track, if_clear: Reason) -> dict[int, Reason]:
    """The reason against each frame that shows a track."""
    sightings = track.sightings
    return {int(index): reason or if_clear for index, reason in zip(sightings.index, sightings.reasons, strict=True)}


def _refusal(clip: TrackedClip, main: Track | None, reason: Reason, others: tuple[OtherPerson, ...] = ()) -> ClipChoice:
    with_face = {int(index) for track in clip.tracks for index in track.sightings.index}
    rejected = tuple(
        RejectedFrame(index, time_s, reason if index in with_face else Reason.NO_FACE)
        for index, time_s in _frames(clip)
    )
    return ClipChoice(reason, rejected=rejected, others=others, main=main)


def _most_frequent(rejected: Sequence[RejectedFrame]) -> Reason:
    """What most of the frames with a face were rejected for."""
    counts = Counter(frame.reason for frame in rejected if frame.reason is not Reason.NO_FACE)
    return counts.most_common(1)[0][0]


def _frames(clip: TrackedClip) -> Iterable[tuple[int, float]]:
    return zip(clip.frame_index.tolist(), clip.frame_time_s.tolist(), strict=True)

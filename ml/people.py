"""Tracks of a clip -> whose clip it is, and who else is in it.

A clip is about one person. Others who pass by are ignored and reported; a second person who is there about as much, or
who takes the first one's place, makes the clip unusable, for nobody can say then who was meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.tracking import MIN_CLEAR_FACES, Track, TrackedClip, is_near, mean_cosine
from ml.types import FloatArray, PairBounds, Reason

# Another face adds up to a second person when it is there this much: frames, weighted with its area (never more than
# the main face's), in parts of the main person's frames. A face as large has to be there for 30 % of the time, one of
# half the width (a colleague in the background) may stay throughout. The same goes for all others together, the largest
# of each frame: in a crowd nobody stays for long, and small faces that move fast are not followed for long.
_RIVAL_PRESENCE = 0.3
# A head that appears no further than this from where the last one was has taken its place.
_SAME_PLACE_WIDTHS = 1.0


@dataclass(frozen=True, slots=True)
class OtherPerson:
    """Somebody else in the clip; `reason` says how they made it unusable, None: they only passed by."""

    first_s: float
    last_s: float
    seconds: float
    n_frames: int
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Company:
    """Who else is in a clip; `refused` is why nobody can say then whose it is, None: that is clear."""

    others: tuple[OtherPerson, ...]
    refused: Reason | None


def main_track(clip: TrackedClip) -> Track | None:
    """Find who is longest, largest and most central, be it clearly or not; None: nobody is seen."""
    return max(clip.tracks, key=lambda track: float(track.sightings.prominence.sum()), default=None)


def find_company(clip: TrackedClip, main: Track, bounds: PairBounds) -> Company:
    """Find everybody else, and what they mean for the clip.

    Args:
        clip: all tracks.
        main: the one of them that the clip is about.
        bounds: of the backbone that made the embeddings.

    Returns:
        As `others` every other track that is certainly a person: seen together with the main one, or clearly enough
        alone. One that is neither is a glitch, or the main person in frames too poor to tell.
    """
    tracks = [track for track in clip.tracks if track is not main]
    is_crowded = _crowd(main, tracks) >= _RIVAL_PRESENCE
    interval_s = _interval_s(clip)
    others = tuple(
        OtherPerson(
            first_s=track.first_s,
            last_s=track.last_s,
            seconds=round(track.n_frames * interval_s, 3),
            n_frames=track.n_frames,
            reason=Reason.SEVERAL_PEOPLE if is_crowded else _rivalry(main, track, bounds),
        )
        for track in tracks
        if _is_certain(main, track)
    )
    if is_crowded:
        return Company(others, Reason.SEVERAL_PEOPLE)
    told = {other.reason for other in others}
    worst = (reason for reason in (Reason.SEVERAL_PEOPLE, Reason.IDENTITY_CONFLICT) if reason in told)
    return Company(others, next(worst, None))


def _is_certain(main: Track, other: Track) -> bool:
    """Whether this is a person; where the main one is hardly seen, no more is asked of another."""
    n_enough = min(MIN_CLEAR_FACES, main.n_frames)
    return other.n_clear >= n_enough or _n_shared(main, other) >= n_enough


def _rivalry(main: Track, other: Track, bounds: PairBounds) -> Reason | None:
    """How a second person makes the clip unusable, None: not at all."""
    is_present = _presence(main, other).sum() / main.n_frames >= _RIVAL_PRESENCE
    if _n_shared(main, other) >= min(MIN_CLEAR_FACES, main.n_frames) or not _is_in_its_place(main, other):
        return Reason.SEVERAL_PEOPLE if is_present else None
    cosine = mean_cosine(main, other)
    is_different = cosine is not None and cosine < bounds.different
    return Reason.IDENTITY_CONFLICT if is_present or is_different else None


def _crowd(main: Track, others: Sequence[Track]) -> float:
    """How present others are in the frames that show the main person, be it one of them or one after the other."""
    largest = np.zeros(main.n_frames)
    for other in others:
        _, mine, theirs = np.intersect1d(main.sightings.index, other.sightings.index, return_indices=True)
        largest[mine] = np.maximum(largest[mine], _presence(main, other)[theirs])
    return float(largest.mean())


def _presence(main: Track, other: Track) -> FloatArray:
    """What each sighting of another person weighs, 0..1: smaller faces than the main one count less, by their area."""
    return np.asarray(np.minimum(other.sightings.areas / np.median(main.sightings.areas), 1.0), dtype=np.float32)


def _n_shared(main: Track, other: Track) -> int:
    return len(np.intersect1d(main.sightings.index, other.sightings.index))


def _is_in_its_place(main: Track, other: Track) -> bool:
    """Whether another face appears where the main one was last, or the main one where it disappears.

    Somebody who walks by comes from elsewhere; a cut, or a change of seats, puts one face in the place of another.
    """
    mine, theirs = main.sightings, other.sightings
    before = int(np.searchsorted(mine.index, theirs.index[0])) - 1
    after = int(np.searchsorted(mine.index, theirs.index[-1], side="right"))
    changes = []
    if before >= 0:
        changes.append((mine.boxes_xyxy[before], theirs.boxes_xyxy[0]))
    if after < main.n_frames:
        changes.append((theirs.boxes_xyxy[-1], mine.boxes_xyxy[after]))
    return any(is_near(a, b, _SAME_PLACE_WIDTHS) for a, b in changes)


def _interval_s(clip: TrackedClip) -> float:
    """The usual time from one frame to the next; 0 for a single frame."""
    steps = np.diff(clip.frame_time_s)
    return float(np.median(steps)) if len(steps) else 0.0

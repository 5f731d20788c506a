"""A video file -> the tracks of everybody in it: frames are decoded, shrunk, looked at in small batches, and let go."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from app.inference.port import Inference
from app.settings import Settings
from ml.enrolling import Photo
from ml.quality import ENROLL_LIMITS, SEARCH_LIMITS, QualityLimits
from ml.tracking import TrackedClip, Tracker
from ml.types import RgbImage
from ml.video import VideoFrame, VideoInfo, VideoLimits, probe_video, read_frames

# A head that turns slowly shows every pose in so many frames a second; more of them only repeat it.
_FRAMES_PER_SECOND = 5.0
# A long clip is looked at less often, so that it takes no longer than a minute of film. Where a header says nothing
# of the length, or too little, twice as much time is left between frames after each so many of them.
_MOST_FRAMES = 300
# Larger ones gain nothing on a CPU, and who identifies a face meanwhile waits for one to end.
_BATCH = 4

OnProgress = Callable[[float], None]
"""Told how much of a clip is done, 0..1, after every batch; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Look:
    """How closely clips are looked at. Detection takes as long as a frame has pixels.

    `quality` of the faces that count as clear; frames are shrunk to `longer_side_px`; of a short clip `enough_frames`
    are looked at, if it has them.
    """

    quality: QualityLimits
    longer_side_px: int
    enough_frames: int


# Whoever enrols is near the camera, and may show all poses within two seconds.
TO_ENROLL: Final = Look(ENROLL_LIMITS, longer_side_px=1280, enough_frames=60)
# Faces in the background count too; nobody is recognised the better for being seen more often than this.
TO_SEARCH: Final = Look(SEARCH_LIMITS, longer_side_px=1920, enough_frames=10)


def video_limits(settings: Settings) -> VideoLimits:
    """What is accepted as a video."""
    return VideoLimits(max_bytes=settings.max_video_bytes, max_seconds=settings.max_video_seconds)


@dataclass(frozen=True, slots=True, eq=False)
class SeenClip:
    """What was seen in a clip; boxes are pixels of the frames as they were looked at, `size_wh`."""

    info: VideoInfo
    size_wh: tuple[int, int]
    tracked: TrackedClip
    n_frames: int
    n_faces: int


@dataclass(frozen=True, slots=True)
class ClipReader:
    """Looks at clips with the networks in use."""

    inference: Inference
    limits: VideoLimits
    look: Look

    def read(self, path: Path, on_progress: OnProgress) -> SeenClip:
        """Look at a whole clip; VideoError when it is not one, or too large."""
        info = probe_video(path, self.limits)
        rate = _rate(info, self.look.enough_frames)
        tracker = Tracker(self.inference.card.pair_bounds, self.look.quality)
        size_wh, n_frames, n_faces = (info.width, info.height), 0, 0
        frames = read_frames(path, self.limits, frames_per_second=rate)
        for batch in _batches(_thinned(frames, 1 / rate)):
            images = [_shrunk(frame.image, self.look.longer_side_px) for frame in batch]
            for frame, image, samples in zip(batch, images, self.inference.analyze(images).samples, strict=True):
                size_wh = (image.shape[1], image.shape[0])
                tracker.add(frame.index, frame.time_s, Photo(samples, size_wh))
                n_faces += len(samples)
            n_frames += len(batch)
            on_progress(_share(batch[-1].time_s, n_frames, info))
        return SeenClip(info, size_wh, tracker.finish(), n_frames, n_faces)


def _rate(info: VideoInfo, enough_frames: int) -> float:
    if not info.duration_s:
        return _FRAMES_PER_SECOND
    return min(max(_FRAMES_PER_SECOND, enough_frames / info.duration_s), _MOST_FRAMES / info.duration_s)


def _thinned(frames: Iterator[VideoFrame], interval_s: float) -> Iterator[VideoFrame]:
    n_kept, due_s = 0, 0.0
    for frame in frames:
        if n_kept < _MOST_FRAMES or frame.time_s >= due_s:
            due_s = frame.time_s + interval_s * 2 ** ((n_kept + 1) // _MOST_FRAMES)
            n_kept += 1
            yield frame


def _batches(frames: Iterator[VideoFrame]) -> Iterator[list[VideoFrame]]:
    batch: list[VideoFrame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _shrunk(image: RgbImage, longer_side_px: int) -> RgbImage:
    height, width = image.shape[:2]
    ratio = longer_side_px / max(height, width)
    if ratio >= 1:
        return image
    size_wh = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _share(time_s: float, n_frames: int, info: VideoInfo) -> float:
    """A header may lie or say nothing: then the bar slows down and never reaches the end too early."""
    if info.duration_s and time_s <= info.duration_s:
        return time_s / info.duration_s
    return n_frames / (n_frames + _FRAMES_PER_SECOND * 10)

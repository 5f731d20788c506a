"""A video file -> the tracks of everybody in it: frames are decoded, shrunk, looked at in small batches, and let go."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.inference.port import Inference
from app.settings import Settings
from ml.enrolling import Photo
from ml.quality import QualityLimits
from ml.tracking import TrackedClip, Tracker
from ml.types import RgbImage
from ml.video import VideoFrame, VideoInfo, VideoLimits, probe_video, read_frames

# A head that turns for ten seconds shows every pose in fifty frames; more of them only repeat it.
_FRAMES_PER_SECOND = 5.0
# A long clip is looked at less often, so that it takes no longer than a minute of film.
_MOST_FRAMES = 300
# Detection takes as long as a frame has pixels. Whoever enrols is near the camera: 1080p keeps two thirds of its width.
_LONGER_SIDE_PX = 1280
_BATCH = 8

OnProgress = Callable[[float], None]
"""Told how much of a clip is done, 0..1, after every batch; may raise to stop."""


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
    """Looks at clips with the networks in use; `limits` of the file, `quality` of the faces that count as clear."""

    inference: Inference
    limits: VideoLimits
    quality: QualityLimits

    def read(self, path: Path, on_progress: OnProgress) -> SeenClip:
        """Look at a whole clip; VideoError when it is not one, or too large."""
        info = probe_video(path, self.limits)
        tracker = Tracker(self.inference.card.pair_bounds, self.quality)
        size_wh, n_frames, n_faces = (info.width, info.height), 0, 0
        for batch in _batches(read_frames(path, self.limits, frames_per_second=_rate(info))):
            images = [_shrunk(frame.image) for frame in batch]
            for frame, image, samples in zip(batch, images, self.inference.analyze(images).samples, strict=True):
                size_wh = (image.shape[1], image.shape[0])
                tracker.add(frame.index, frame.time_s, Photo(samples, size_wh))
                n_faces += len(samples)
            n_frames += len(batch)
            on_progress(_share(batch[-1].time_s, n_frames, info))
        return SeenClip(info, size_wh, tracker.finish(), n_frames, n_faces)


def _rate(info: VideoInfo) -> float:
    return min(_FRAMES_PER_SECOND, _MOST_FRAMES / info.duration_s) if info.duration_s else _FRAMES_PER_SECOND


def _batches(frames: Iterator[VideoFrame]) -> Iterator[list[VideoFrame]]:
    batch: list[VideoFrame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _shrunk(image: RgbImage) -> RgbImage:
    height, width = image.shape[:2]
    ratio = _LONGER_SIDE_PX / max(height, width)
    if ratio >= 1:
        return image
    size_wh = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _share(time_s: float, n_frames: int, info: VideoInfo) -> float:
    """A header may lie or say nothing: then the bar slows down and never reaches the end too early."""
    if info.duration_s and time_s <= info.duration_s:
        return time_s / info.duration_s
    return n_frames / (n_frames + _FRAMES_PER_SECOND * 10)

"""A video file -> the tracks of everybody in it: frames are decoded, shrunk, looked at in small batches, and let go."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from app.crops.cutting import FaceCrop, cut_face
from app.inference.port import Analysis, Ask, Inference, Lane
from app.settings import Settings
from ml.enrolling import Photo, most_prominent
from ml.people import main_track
from ml.quality import ENROLL_LIMITS, SEARCH_LIMITS, QualityLimits, reasons_against
from ml.tracking import TrackedClip, Tracker
from ml.types import Face, RgbImage, Sample
from ml.video import VideoFrame, VideoInfo, VideoLimits, probe_video, read_frames

# A head that turns slowly shows every pose in so many frames a second; more of them only repeat it.
_FRAMES_PER_SECOND = 5.0
_HIGHEST_RATE = 30.0
# A long clip is looked at less often, so that it takes no longer than a minute of film ...
_MOST_FRAMES = 300
# ... and where a header says nothing of the length, or lies, ever less often as it goes on, and no more than this.
_MOST_FRAMES_EVER = 900
# Faces of one frame, the biggest first: as many as a picture is asked about by default. A crowd must not keep others
# waiting who identify somebody meanwhile.
_MOST_FACES = 20
# Frames that are asked about together. Whether they are run together is for the networks' queue to say: on a CPU they
# are not, because whoever identifies a face meanwhile waits for one batch to end.
_BATCH = 8

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
    """What was seen in a clip; boxes are pixels of the frames as they were looked at, `scale` times as large.

    `model` embedded all faces.

    `crops` are those of the person whom the clip is about, by the frame's number, where crops are wanted.
    """

    info: VideoInfo
    scale: float
    tracked: TrackedClip
    n_frames: int
    n_faces: int
    model: str
    crops: Mapping[int, FaceCrop] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClipReader:
    """Looks at clips with the networks in use."""

    inference: Inference
    limits: VideoLimits
    look: Look
    keeps_crops: bool = False

    def read(self, path: Path, on_progress: OnProgress) -> SeenClip:
        """Look at a whole clip; VideoError when it is not one, or too large."""
        info = probe_video(path, self.limits)
        rate = _rate(info, self.look.enough_frames)
        scale = min(1.0, self.look.longer_side_px / max(info.width, info.height))
        model = self.inference.info.model  # of all frames, whatever is switched meanwhile
        tracker = Tracker(self.inference.card_of(model).pair_bounds, self.look.quality)
        n_frames = n_faces = 0
        crops: dict[int, tuple[Face, FaceCrop]] = {}
        frames = read_frames(path, self.limits, frames_per_second=rate)
        for batch in _batches(_thinned(frames, 1 / rate)):
            images = [_scaled(frame.image, scale) for frame in batch]
            for frame, image, samples in zip(batch, images, self._looked_at(images, model), strict=True):
                tracker.add(frame.index, frame.time_s, Photo(samples, (image.shape[1], image.shape[0])))
                n_faces += len(samples)
                if self.keeps_crops and (face := self._main_face(samples, image)):
                    crops[frame.index] = face.face, cut_face(image, face)
            n_frames += len(batch)
            on_progress(_share(batch[-1].time_s, n_frames, info))
        tracked = tracker.finish()
        return SeenClip(info, scale, tracked, n_frames, n_faces, model, _crops_of_main(tracked, crops))

    def _main_face(self, samples: Sequence[Sample], image: RgbImage) -> Sample | None:
        """The most prominent of the clear faces: of each frame one crop is held, so that memory is bounded.

        A crop is some 30 kB, so a clip of ten minutes takes 30 MB while it is read, and 4 MB from then on.
        """
        clear = [sample for sample in samples if not reasons_against(sample.quality, self.look.quality)]
        return most_prominent(Photo(clear, (image.shape[1], image.shape[0]))) if clear else None

    def _looked_at(self, images: Sequence[RgbImage], model: str) -> Iterator[list[Sample]]:
        """The samples of each image; where one fails, nobody looks at those behind it."""
        asked: list[Future[Analysis]] = []
        try:
            for image in images:
                asked.append(self.inference.submit(Ask([image], _MOST_FACES, model), Lane.BULK))
            for answer in asked:
                yield answer.result().samples[0]
        finally:
            for answer in asked:
                answer.cancel()


def _crops_of_main(tracked: TrackedClip, crops: Mapping[int, tuple[Face, FaceCrop]]) -> dict[int, FaceCrop]:
    """Only the faces that may be enrolled."""
    main = main_track(tracked)
    kept = {} if main is None else {face.index: face.sample.face for face in main.faces}
    return {index: crop for index, (face, crop) in crops.items() if kept.get(index) is face}


def _rate(info: VideoInfo, enough_frames: int) -> float:
    if not info.duration_s:
        return _FRAMES_PER_SECOND
    wanted = max(_FRAMES_PER_SECOND, enough_frames / info.duration_s)
    return min(wanted, _MOST_FRAMES / info.duration_s, _HIGHEST_RATE)


def _thinned(frames: Iterator[VideoFrame], interval_s: float) -> Iterator[VideoFrame]:
    n_kept, due_s = 0, 0.0
    for frame in frames:
        if n_kept < _MOST_FRAMES or frame.time_s >= due_s:
            due_s = frame.time_s + interval_s * 2 ** ((n_kept + 1) // _MOST_FRAMES)
            n_kept += 1
            yield frame
        if n_kept == _MOST_FRAMES_EVER:
            return


def _batches(frames: Iterator[VideoFrame]) -> Iterator[list[VideoFrame]]:
    batch: list[VideoFrame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _scaled(image: RgbImage, scale: float) -> RgbImage:
    if scale == 1.0:
        return image
    height, width = image.shape[:2]
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _share(time_s: float, n_frames: int, info: VideoInfo) -> float:
    """A header may lie or say nothing: then the bar slows down and never reaches the end too early."""
    if info.duration_s and time_s <= info.duration_s:
        return time_s / info.duration_s
    return n_frames / (n_frames + _FRAMES_PER_SECOND * 10)

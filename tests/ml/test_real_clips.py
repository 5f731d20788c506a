"""The development clips from file to templates with the default networks: who is enrolled, and who is refused.

Nothing is tuned to these clips. Each is looked at once, and what is made of them (other encodings, cuts, two in one) is
looked at as rarely as possible.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest

from ml.clip import ClipChoice, advise, choose_from_clip
from ml.engine import FaceEngine
from ml.enrolling import Photo, fuse
from ml.tracking import TrackedClip, Tracker, pool_track
from ml.types import Reason, RgbImage
from ml.video import VideoLimits, read_frames
from tests.ml.faces import data_file
from tests.ml.videos import make_clip

FEMALE, MALE = "head-pose-face-detection-female", "head-pose-face-detection-male"
WALKING, STREET = "face-demographics-walking", "street-1080p"
FPS = 12.5
LONGER_SIDE_PX = 1280
Seen: TypeAlias = list[tuple[float, Photo]]
"""What was seen in each frame, and when, in seconds."""

pytestmark = pytest.mark.timeout(600)  # detection alone takes half a minute on two cores


class Looker:
    """Looks at pictures with the default networks, and at every development clip once."""

    def __init__(self) -> None:
        self.engine = FaceEngine.load()
        self.clip = cache(self._clip)

    def _clip(self, name: str, frames_per_second: float | None = None) -> Seen:
        return self.file(data_file(f"videos/{name}"), frames_per_second)

    def file(self, path: Path, frames_per_second: float | None = None) -> Seen:
        frames = list(read_frames(path, VideoLimits(), frames_per_second=frames_per_second))
        photos = self.pictures([frame.image for frame in frames])
        return [(frame.time_s, photo) for frame, photo in zip(frames, photos, strict=True)]

    def pictures(self, images: Sequence[RgbImage]) -> list[Photo]:
        shrunk = [scaled(image, min(1.0, LONGER_SIDE_PX / max(image.shape[:2]))) for image in images]
        photos: list[Photo] = []
        for start in range(0, len(shrunk), 8):
            batch = shrunk[start : start + 8]
            sizes = [(image.shape[1], image.shape[0]) for image in batch]
            photos += [Photo(samples, size) for samples, size in zip(self.engine.analyze(batch), sizes, strict=True)]
        return photos

    def track(self, seen: Seen) -> TrackedClip:
        tracker = Tracker(self.engine.card.pair_bounds)
        for index, (time_s, photo) in enumerate(seen):
            tracker.add(index, time_s, photo)
        return tracker.finish()

    def choose(self, seen: Seen) -> ClipChoice:
        nobody = np.empty((0, self.engine.card.dim), np.float32)
        return choose_from_clip(self.track(seen), nobody, self.engine.card.pair_bounds)


def scaled(image: RgbImage, ratio: float) -> RgbImage:
    if ratio == 1:
        return image
    way = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=way), dtype=np.uint8)


@pytest.fixture(scope="module")
def looker() -> Iterator[Looker]:
    data_file(f"videos/{FEMALE}.mp4")
    yield Looker()


def images_of(name: str, every: int = 1) -> list[RgbImage]:
    frames = read_frames(data_file(f"videos/{name}.mp4"), VideoLimits(), frames_per_second=None)
    return [frame.image for frame in list(frames)[::every]]


def joined(*parts: Seen, fps: float = FPS) -> Seen:
    """One clip after the other, at another speed if need be."""
    return [(number / fps, photo) for number, (_, photo) in enumerate(frame for part in parts for frame in part)]


def poses(choice: ClipChoice) -> set[str]:
    return {pose for pose, n in choice.coverage.items() if n}


def assert_enrols(choice: ClipChoice, n_frames: int) -> None:
    assert choice.refused is None
    assert 1 <= len(choice.chosen) <= 12
    mentioned = [frame.index for frame in (*choice.chosen, *choice.rejected)]
    assert sorted(mentioned) == list(range(n_frames))


# Enrolled


@pytest.mark.parametrize("kind", ["mp4", "gif"])
@pytest.mark.parametrize("every", [1, 3], ids=["all frames", "four a second"])
def test_the_woman_who_turns_her_head_gives_three_poses(looker: Looker, kind: str, every: int) -> None:
    seen = looker.clip(f"{FEMALE}.{kind}")[::every]
    choice = looker.choose(seen)
    assert_enrols(choice, len(seen))
    assert {"left", "right"} < poses(choice) and len(choice.chosen) >= 4
    assert choice.others == ()


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_the_man_who_looks_straight_ahead_is_asked_to_turn_his_head(looker: Looker, kind: str) -> None:
    seen = looker.clip(f"{MALE}.{kind}", 5.0)
    choice = looker.choose(seen)
    assert_enrols(choice, len(seen))
    assert not poses(choice) & {"left", "right"}
    assert advise(choice.coverage)[0].startswith("Turn your head slowly to the left")
    assert choice.others == ()


@pytest.mark.parametrize("half", [slice(None, 12), slice(12, None)], ids=["first", "second"])
def test_half_a_clip_gives_what_it_shows(looker: Looker, half: slice) -> None:
    choice = looker.choose(looker.clip(f"{FEMALE}.mp4")[half])
    assert_enrols(choice, len(looker.clip(f"{FEMALE}.mp4")[half]))
    assert len(poses(choice)) >= 2


def test_one_frame_a_second_is_enough(looker: Looker) -> None:
    choice = looker.choose(joined(looker.clip(f"{FEMALE}.mp4")[::3], fps=1))
    assert_enrols(choice, 8)
    assert len(poses(choice)) >= 3 and len(looker.track(looker.clip(f"{FEMALE}.mp4")[::3]).tracks) == 1


CHANGES: dict[str, Callable[[RgbImage], RgbImage]] = {
    "mirrored": lambda image: image[:, ::-1],
    "dark": lambda image: np.asarray(image * 0.45, dtype=np.uint8),
    "larger": lambda image: scaled(image, 1.5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_encoding_of_the_clip_enrols_the_same_person(looker: Looker, tmp_path: Path, change: str) -> None:
    images = [CHANGES[change](image) for image in images_of(FEMALE, every=3)]
    options = {"crf": "28"}
    seen = looker.file(make_clip(tmp_path / "clip.mp4", frames=even(images), fps=4, options=options))
    choice = looker.choose(seen)
    assert_enrols(choice, len(images))
    assert len(poses(choice)) >= 3
    assert likeness(choice, looker.choose(looker.clip(f"{FEMALE}.mp4"))) > 0.98


def test_somebody_who_passes_by_in_a_corner_is_reported_and_not_enrolled(looker: Looker) -> None:
    images, faces = images_of(FEMALE, every=2), images_of(MALE, every=2)
    for number in range(4, 8):
        small = scaled(np.ascontiguousarray(faces[number][10:180, 160:340]), 0.7)
        left = 5 + 12 * (number - 4)
        images[number] = images[number].copy()
        images[number][10 : 10 + small.shape[0], left : left + small.shape[1]] = small
    choice = looker.choose(at_rate(looker.pictures(images), FPS / 2))
    assert_enrols(choice, len(images))
    assert [other.n_frames for other in choice.passers_by] == [4]
    assert likeness(choice, looker.choose(looker.clip(f"{FEMALE}.mp4"))) > 0.98


# Refused


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_two_people_who_walk_up_to_the_camera_are_refused(looker: Looker, kind: str) -> None:
    choice = looker.choose(looker.clip(f"{WALKING}.{kind}"))
    assert (choice.refused, choice.chosen) == (Reason.SEVERAL_PEOPLE, ())  # though they are 25 px wide at most


def test_two_people_who_walk_up_to_the_camera_are_refused_when_they_are_large_enough(looker: Looker) -> None:
    photos = looker.pictures([scaled(image, 2.6) for image in images_of(WALKING, every=4)])
    for every in (1, 2, 3):  # three frames a second, and one
        clip = looker.track(at_rate(photos[::every], FPS / 4 / every))
        long = [track for track in clip.tracks if track.n_frames > 1]
        assert [track.n_frames for track in long] == [len(photos[::every])] * 2
        assert looker.choose(at_rate(photos[::every], FPS / 4 / every)).refused is Reason.SEVERAL_PEOPLE


@pytest.mark.parametrize("part", [slice(None), slice(None, 6), slice(6, None)], ids=["whole", "first", "second"])
def test_a_street_full_of_strangers_is_refused(looker: Looker, part: slice) -> None:
    choice = looker.choose(looker.clip(f"{STREET}.mp4", 3.0)[part])
    assert (choice.refused, choice.chosen) == (Reason.SEVERAL_PEOPLE, ())


def test_two_people_side_by_side_are_refused(looker: Looker) -> None:
    pairs = zip(images_of(FEMALE, every=3), images_of(MALE, every=3), strict=False)
    photos = looker.pictures([np.hstack(pair) for pair in pairs])
    for n in (1, 2, len(photos)):
        assert looker.choose(at_rate(photos[:n], 4)).refused is Reason.SEVERAL_PEOPLE


@pytest.mark.parametrize("fps", [1.0, 5.0, 12.5])
def test_a_switch_of_identity_is_refused_whoever_comes_first_and_however_short(looker: Looker, fps: float) -> None:
    woman, man = looker.clip(f"{FEMALE}.mp4"), looker.clip(f"{MALE}.mp4", 5.0)
    for clip in (joined(woman, man, fps=fps), joined(man, woman, fps=fps), joined(man, woman[:4], fps=fps)):
        choice = looker.choose(clip)
        assert (choice.refused, choice.chosen) == (Reason.IDENTITY_CONFLICT, ())


# Found again


def test_each_enrolled_person_is_the_one_that_the_other_file_of_the_clip_is_nearest_to(looker: Looker) -> None:
    enrolled = {name: template(looker.choose(seen)) for name, seen in head_poses(looker, "mp4").items()}
    for name, seen in head_poses(looker, "gif").items():
        (found,) = looker.track(seen).tracks
        probe = pool_track(found).embedding
        assert max(enrolled, key=lambda other: float(enrolled[other] @ probe)) == name
        assert enrolled[name] @ probe > 0.97
    assert enrolled[FEMALE] @ enrolled[MALE] < 0.92


def head_poses(looker: Looker, kind: str) -> dict[str, Seen]:
    return {FEMALE: looker.clip(f"{FEMALE}.{kind}"), MALE: looker.clip(f"{MALE}.{kind}", 5.0)}


def template(choice: ClipChoice) -> np.ndarray:
    return fuse(np.array([frame.sample.embedding for frame in choice.chosen]))


def likeness(a: ClipChoice, b: ClipChoice) -> float:
    return float(template(a) @ template(b))


def at_rate(photos: Sequence[Photo], fps: float) -> Seen:
    return [(number / fps, photo) for number, photo in enumerate(photos)]


def even(images: Sequence[RgbImage]) -> list[RgbImage]:
    """Cut to even numbers of pixels, which H.264 asks for."""
    return [image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2] for image in images]

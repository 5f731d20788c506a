"""Photos of faces: two that packages carry, and the development data where this machine has it."""

import os
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import skimage.data

from ml.image import decode_image
from ml.types import RgbImage

REPOSITORY = Path(__file__).parents[2]


def grace_hopper_jpeg() -> bytes:
    """A portrait, 512 x 600, one face."""
    return (Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").read_bytes()


def grace_hopper() -> RgbImage:
    return decode_image(grace_hopper_jpeg())


def astronaut() -> RgbImage:
    """Eileen Collins, 512 x 512, one face."""
    return np.asarray(skimage.data.astronaut(), dtype=np.uint8)


def package_photos() -> list[RgbImage]:
    return [grace_hopper(), astronaut()]


def data_dir() -> Path:
    """The folder with development data, or skip the test."""
    folder = Path(os.environ.get("ROLLCALL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}: set ROLLCALL_TEST_DATA")
    return folder


def data_file(name: str) -> Path:
    """One file of the development data, or skip the test."""
    path = data_dir() / name
    if not path.is_file():
        pytest.skip(f"no development data at {path}")
    return path


def dev_photos(n: int) -> list[RgbImage]:
    """`n` photos, 250 x 250, spread evenly over the people, or skip the test."""
    paths = sorted((data_dir() / "faces" / "images").glob("*/*.jpg"))
    if len(paths) < n:
        pytest.skip(f"fewer than {n} development photos in {data_dir()}")
    return [decode_image(path.read_bytes()) for path in paths[:: len(paths) // n][:n]]


def video_frames(name: str, every: int, n: int) -> list[RgbImage]:
    """`n` frames of one of the development videos, one in `every`, or skip the test."""
    video = cv2.VideoCapture(str(data_file(f"videos/{name}")))
    frames = [video.read()[1] for _ in range(every * (n - 1) + 1)][::every]
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8) for frame in frames]


def enlarged(image: RgbImage, times: float) -> RgbImage:
    return np.asarray(cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def face_of_astronaut() -> RgbImage:
    """Her head alone, 140 x 120 (H, W)."""
    return np.ascontiguousarray(astronaut()[45:185, 165:285])


def three_sizes_of_one_face() -> RgbImage:
    """A grey 480 x 900 picture with the same head three times: middle-sized, small, big."""
    page = np.full((480, 900, 3), 128, dtype=np.uint8)
    for left, times in ((40, 1.5), (300, 0.8), (480, 3.0)):
        head = enlarged(face_of_astronaut(), times)
        page[30 : 30 + head.shape[0], left : left + head.shape[1]] = head
    return page


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> float:
    """Intersection over union of two boxes, 0..1."""
    shared_wh = np.minimum(a_xyxy[2:], b_xyxy[2:]) - np.maximum(a_xyxy[:2], b_xyxy[:2])
    shared = float(np.prod(np.maximum(shared_wh, 0)))
    area = float(np.prod(a_xyxy[2:] - a_xyxy[:2]) + np.prod(b_xyxy[2:] - b_xyxy[:2]))
    return shared / (area - shared)

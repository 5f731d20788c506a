"""How long a clip takes to be looked at, and what memory that needs, whether it lasts ten seconds or ten minutes.

    python -m benchmarks.video [--clip FILE]

Clips are made of FILE, looped, or else of a photo that packages carry, moved about; each is looked at in a process of
its own, as `rollcall enroll-video` (to enrol) and `rollcall identify` (to search) have it looked at.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from app.inference.clips import TO_ENROLL, TO_SEARCH, ClipReader, video_limits
from app.inference.loading import load_inference
from app.settings import Settings
from ml.clip import choose_from_clip
from ml.types import RgbImage
from ml.video import VideoLimits, read_frames
from tests.app import clips

LOOKS = {"to enrol": TO_ENROLL, "to search": TO_SEARCH}
SIZES = {"480 x 270": (480, 270), "1920 x 1080": (1920, 1080)}
FPS = 25
SHORT_S, LONG_S = 10, 600
LOOP_S = 10
LIMIT_S = 3600


@dataclass(frozen=True, slots=True)
class Measured:
    """One clip in a new process: seconds without loading the networks, megabytes before and at most."""

    seconds: float
    frames: int
    templates: int
    loaded_mb: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, help="a film of a face to loop")
    parser.add_argument("--look-at", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--look", choices=LOOKS, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.look_at is not None:
        print(json.dumps(look_at(wanted.look_at, wanted.look)))
        return
    console = Console()
    shown = Table("clip", "looked at", "seconds a second of film", "frames", "memory", "against 10 s")
    with tempfile.TemporaryDirectory() as folder:
        for size, size_wh in SIZES.items():
            with console.status(f"making the clips of {size}"):
                loop = film(wanted.clip, size_wh)
                short, long = (make(Path(folder), loop, seconds) for seconds in (SHORT_S, LONG_S))
            for look in LOOKS:
                with console.status(f"{size}, {look}"):
                    add_rows(shown, f"{size}", look, measure(short, look), measure(long, look))
            short.unlink()
            long.unlink()
    console.print(shown)


def film(source: Path | None, size_wh: tuple[int, int]) -> list[RgbImage]:
    """Ten seconds, or as much as there is, at one size."""
    if source is not None:
        frames = [frame.image for frame in islice(read_frames(source, VideoLimits(), frames_per_second=FPS), 250)]
    else:
        frames = clips.moving_eileen(LOOP_S * FPS)
    return [_on_canvas(frame, size_wh) for frame in frames]


def make(folder: Path, loop: Sequence[RgbImage], seconds: int) -> Path:
    """The loop, as often as it takes."""
    path = folder / f"{seconds}.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "34"})
        stream.height, stream.width = loop[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in islice(cycle(loop), seconds * FPS):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def measure(path: Path, look: str) -> Measured:
    """Look at a clip in a new process."""
    command = [sys.executable, "-m", "benchmarks.video", "--look-at", str(path), "--look", look]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S).stdout
    return Measured(**json.loads(printed))


def look_at(path: Path, look: str) -> dict[str, float]:
    """What the service does with a clip, without the service."""
    settings = Settings(data_dir=path.parent)
    reader = ClipReader(load_inference(settings), video_limits(settings), LOOKS[look])
    loaded_mb, started = _resident_mb("VmRSS"), perf_counter()
    seen = reader.read(path, lambda _: None)
    card = reader.inference.card
    choice = choose_from_clip(seen.tracked, np.empty((0, card.dim), np.float32), card.pair_bounds)
    seconds = perf_counter() - started
    counted = {"frames": seen.n_frames, "templates": len(choice.chosen)}
    return {"seconds": seconds, **counted, "loaded_mb": loaded_mb, "peak_mb": _resident_mb("VmHWM")}


def add_rows(shown: Table, size: str, look: str, short: Measured, long: Measured) -> None:
    for name, seconds, measured in ((f"{size}, 10 s", SHORT_S, short), (f"{size}, 10 min", LONG_S, long)):
        ratio = "" if measured is short else f"{measured.peak_mb / short.peak_mb:.2f} times"
        memory = f"{measured.loaded_mb:.0f} MB, at most {measured.peak_mb:.0f} MB"
        shown.add_row(name, look, f"{measured.seconds / seconds:.3f}", str(measured.frames), memory, ratio)


def _on_canvas(image: RgbImage, size_wh: tuple[int, int]) -> RgbImage:
    """Scaled to fit, on grey."""
    width, height = size_wh
    ratio = min(width / image.shape[1], height / image.shape[0])
    scaled = cv2.resize(image, (round(image.shape[1] * ratio), round(image.shape[0] * ratio)))
    canvas = np.full((height, width, 3), 90, dtype=np.uint8)
    top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def _resident_mb(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    main()

"""From pixels to embeddings: this engine, dlib and facenet-pytorch on the same pictures, turn by turn in one run.

    python -m benchmarks.pipeline [--engine RUNTIME/PRECISION/THREADS] [--pictures 40] [--json FILE]

Pictures are 250 x 250 photos of a face, and 1080p frames; from `../shared/data` where it is, else made of a photo that
packages carry. Decoding is not timed. Each way finds all faces and embeds each, with every processor there is:

- dlib: its frontal face detector on the picture enlarged twice (faces from 40 px), five landmarks, its network.
- facenet-pytorch: its MTCNN as it is, and looking for faces from 40 px, as this engine does; InceptionResnetV1 for
  every face, with random weights, which takes as long.
- ours: one picture at a time, and as many at a time as the service would. Each face is embedded twice, mirrored too.

The last table shows what each stage of ours takes beside the least it could: its multiplications at the speed of this
machine's matrix product, or its bytes at the speed of its memory.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import distribution
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import cv2
import dlib
import numpy as np
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from facenet_pytorch.models.utils.detect_face import extract_face
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from app.inference.tuning import chosen_plan
from app.settings import Settings
from ml.alignment import align_face
from ml.backbones import load_backbone
from ml.engine import FaceEngine
from ml.image import decode_image
from ml.mtcnn import MtcnnDetector, crop_bounds, edges_of, painted
from ml.mtcnn_networks import Finisher, Proposer, Refiner
from ml.plan import EnginePlan, cpu_name, n_usable_cpus, parse_plan
from ml.pyramid import lay_out
from ml.quality import measure_quality
from ml.running_sums import RunningSums
from ml.tuning import picture_with_a_face
from ml.types import FloatArray, RgbImage
from ml.video import VideoLimits, read_frames

DATA: Final = Path(__file__).parents[2] / "shared" / "data"
ROUNDS: Final = 3
FRAMES: Final = 4
BATCH: Final = {"250 x 250": 16, "1080p": 2}
SMALLEST_PX: Final = 40
SAME_FACE_IOU: Final = 0.5
N_CPUS: Final = n_usable_cpus()

Boxes = list[FloatArray]
"""Of one picture: `(4,)` px xyxy each."""
Pipeline = Callable[[Sequence[RgbImage]], list[Boxes]]


@dataclass(frozen=True, slots=True)
class Row:
    """One way on one kind of picture: milliseconds per picture, the median of the rounds, and faces it found."""

    pictures: str
    way: str
    ms: float
    n_faces: int
    recall: float


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one picture: milliseconds, the least they could be, and what sets that."""

    pictures: str
    stage: str
    ms: float
    floor_ms: float
    bound: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="how ours runs; by default as the service would")
    parser.add_argument("--pictures", type=int, default=40, help="photos of 250 x 250")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    wanted = parser.parse_args()
    plan = parse_plan(wanted.engine) if wanted.engine else chosen_plan(Settings()).plan
    console = Console()
    rows: list[Row] = []
    stages: list[Stage] = []
    engine = FaceEngine.load(plan=plan, min_face_px=SMALLEST_PX)
    peaks = measured_peaks()
    for name, pictures in (("250 x 250", photos(wanted.pictures)), ("1080p", frames())):
        with console.status(name):
            rows += compare(name, pictures, engine)
            stages += timed_stages(name, pictures[0], plan, peaks)
    show(console, plan, peaks, rows, stages)
    if wanted.json:
        facts = {"cpu": cpu_name(), "n_cpus": N_CPUS, "plan": str(plan), "peaks": peaks}
        wanted.json.write_text(
            json.dumps(facts | {"rows": [asdict(row) for row in rows], "stages": [asdict(each) for each in stages]})
        )


def photos(n: int) -> list[RgbImage]:
    """Photos of 250 x 250, one person each."""
    folder = DATA / "faces" / "images"
    if not folder.is_dir():
        portrait = picture_with_a_face()
        return [np.ascontiguousarray(np.roll(portrait, shift, axis=1)) for shift in range(n)]
    people = sorted(folder.iterdir())
    chosen = people[:: max(1, len(people) // n)][:n]
    return [decode_image(next(person.glob("*.jpg")).read_bytes()) for person in chosen]


def frames() -> list[RgbImage]:
    """Frames of 1920 x 1080 with several faces."""
    clip = DATA / "videos" / "street-1080p.mp4"
    if clip.exists():
        return [frame.image for frame in islice(read_frames(clip, VideoLimits(), frames_per_second=1.0), FRAMES)]
    tile = cv2.resize(picture_with_a_face(), (480, 540), interpolation=cv2.INTER_AREA)
    return [np.ascontiguousarray(np.roll(np.tile(tile, (2, 4, 1)), 9 * i, axis=1)) for i in range(FRAMES)]


def compare(name: str, pictures: Sequence[RgbImage], engine: FaceEngine) -> Iterator[Row]:
    """Every way in turn, several rounds, so that a slow minute of the machine slows all of them."""
    ways = ways_of(name, engine)
    found = {way: run(pictures) for way, run in ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            started = perf_counter()
            run(pictures)
            seconds[way].append(perf_counter() - started)
    theirs = found["facenet-pytorch, 40 px"]
    for way in ways:
        n_faces = sum(len(boxes) for boxes in found[way])
        yield Row(name, way, median(seconds[way]) * 1000 / len(pictures), n_faces, recall(theirs, found[way]))


def ways_of(name: str, engine: FaceEngine) -> dict[str, Pipeline]:
    network = InceptionResnetV1(pretrained=None).eval()
    own = engine.plan.n_threads if engine.plan.runtime == "torch" else 1
    return {
        "ours": with_threads(own, partial(ours, engine, batch=1)),
        f"ours, {BATCH[name]} at once": with_threads(own, partial(ours, engine, batch=BATCH[name])),
        "facenet-pytorch": with_threads(N_CPUS, partial(facenet, MTCNN(keep_all=True), network)),
        "facenet-pytorch, 40 px": with_threads(
            N_CPUS, partial(facenet, MTCNN(keep_all=True, min_face_size=SMALLEST_PX), network)
        ),
        "dlib": with_threads(1, partial(with_dlib, *dlib_networks())),
    }


def with_threads(n: int, run: Pipeline) -> Pipeline:
    """Torch's threads are the process's: each way has its own."""

    def threaded(pictures: Sequence[RgbImage]) -> list[Boxes]:
        torch.set_num_threads(n)
        return run(pictures)

    return threaded


def ours(engine: FaceEngine, pictures: Sequence[RgbImage], batch: int) -> list[Boxes]:
    starts = range(0, len(pictures), batch)
    analyzed = [samples for first in starts for samples in engine.analyze(pictures[first : first + batch])]
    return [[sample.face.box_xyxy for sample in samples] for samples in analyzed]


def facenet(mtcnn: MTCNN, network: InceptionResnetV1, pictures: Sequence[RgbImage]) -> list[Boxes]:
    found: list[Boxes] = []
    with torch.no_grad():
        for picture in pictures:
            image = Image.fromarray(picture)
            boxes, _ = mtcnn.detect(image)
            here = [] if boxes is None else [np.array(box.tolist(), dtype=np.float32) for box in boxes]
            if here:
                crops = torch.stack([extract_face(image, box) for box in here])
                network((crops - 127.5) / 128)
            found.append(here)
    return found


def with_dlib(detector: Any, landmarks: Any, network: Any, pictures: Sequence[RgbImage]) -> list[Boxes]:
    found: list[Boxes] = []
    for picture in pictures:
        boxes = detector(picture, 1)
        for box in boxes:
            network.compute_face_descriptor(picture, landmarks(picture, box))
        found.append([np.array([b.left(), b.top(), b.right(), b.bottom()], dtype=np.float32) for b in boxes])
    return found


def dlib_networks() -> tuple[Any, Any, Any]:
    files = {Path(str(file)).name: file for file in distribution("face-recognition-models").files or []}
    paths = [
        str(files[name].locate())
        for name in ("shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat")
    ]
    return (
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(paths[0]),
        dlib.face_recognition_model_v1(paths[1]),
    )


def recall(expected: Sequence[Boxes], found: Sequence[Boxes]) -> float:
    """Share of the expected boxes that one found box overlaps."""
    hits = [
        any(overlap(box, other) >= SAME_FACE_IOU for other in others)
        for boxes, others in zip(expected, found, strict=True)
        for box in boxes
    ]
    return sum(hits) / len(hits)


def overlap(a: FloatArray, b: FloatArray) -> float:
    shared = np.prod(np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def measured_peaks() -> dict[str, float]:
    """What this machine can do: GFLOP/s of float32 matrix products, GB/s read and written."""
    torch.set_num_threads(N_CPUS)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    source, target = torch.zeros(64_000_000), torch.ones(64_000_000)
    return {
        "gflops": 2 * 2048**3 / best_seconds(lambda: torch.mm(a, b)) / 1e9,
        "gb_per_s": 2 * source.nbytes / best_seconds(lambda: target.copy_(source)) / 1e9,
    }


def timed_stages(name: str, picture: RgbImage, plan: EnginePlan, peaks: dict[str, float]) -> Iterator[Stage]:
    """One picture, stage by stage, through the parts that the detector and the engine are made of."""
    detector, backbone = MtcnnDetector(min_face_px=SMALLEST_PX, plan=plan), load_backbone("dlib-resnet", plan=plan)
    torch.set_num_threads(plan.n_threads if plan.runtime == "torch" else 1)
    [faces] = detector.detect([picture])
    stage = partial(_stage, name, peaks)
    with torch.inference_mode():
        sums = RunningSums.of([picture], detector.device, detector.workers)
        [canvas] = lay_out(sums.sizes_hw[0], SMALLEST_PX, detector.factor)
        picture_levels, edges = painted(sums, [0], canvas), edges_of(canvas, detector.device)
        proposals = detector.propose(sums)
        refined = detector.refine(sums, proposals)
        small, large = (
            sums.crops(each.owners, crop_bounds(each.boxes, sums.limits_wh[each.owners]), side)
            for each, side in ((proposals, 24), (refined, 48))
        )
        run = detector.networks
        yield stage("running sums", lambda: RunningSums.of([picture], detector.device), n_bytes=sums.points.nbytes)
        yield stage("shrunk copies", lambda: painted(sums, [0], canvas), n_bytes=picture_levels.nbytes)
        yield stage("P-Net", lambda: run.propose(picture_levels, edges), flops=flops(Proposer(), picture_levels, edges))
        yield stage(
            f"{len(small)} crops of 24 px",
            lambda: sums.crops(proposals.owners, crop_bounds(proposals.boxes, sums.limits_wh[proposals.owners]), 24),
            n_bytes=small.nbytes,
        )
        yield stage("R-Net", lambda: run.refine(small), flops=flops(Refiner(), small))
        yield stage("O-Net", lambda: run.finish(large), flops=flops(Finisher(), large))
        yield stage("detection, whole", lambda: detector.detect([picture]))
        card = backbone.card
        chips = [align_face(picture, face, card.template_array, card.chip_size_px) for face in faces]
        both = np.stack(chips + [chip[:, ::-1] for chip in chips])
        yield stage(
            f"{len(faces)} chips and their quality",
            lambda: [
                measure_quality(align_face(picture, face, card.template_array, card.chip_size_px), face)
                for face in faces
            ],
            n_bytes=both.nbytes // 2,
        )
        # BACKBONE: 270,854,144 multiplications a chip
        yield stage("embedding, mirrored", lambda: backbone.embed_batch(both), flops=len(both) * 2 * 270_854_144)


def _stage(
    name: str,
    peaks: dict[str, float],
    stage: str,
    run: Callable[[], object],
    *,
    flops: float = 0.0,
    n_bytes: float = 0.0,
) -> Stage:
    floor_s = max(flops / peaks["gflops"], n_bytes / peaks["gb_per_s"]) / 1e9
    bound = "multiplications" if flops else "memory" if n_bytes else ""
    return Stage(name, stage, best_seconds(run) * 1000, floor_s * 1000, bound)


def flops(network: torch.nn.Module, *inputs: torch.Tensor) -> float:
    """Multiplications and additions of one run."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return float(counter.get_total_flops())


def best_seconds(run: Callable[[], object], rounds: int = 7) -> float:
    """The fastest of some rounds: what a quiet machine takes."""
    run()
    return min(_seconds(run) for _ in range(rounds))


def _seconds(run: Callable[[], object]) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started


def show(
    console: Console, plan: EnginePlan, peaks: dict[str, float], rows: Sequence[Row], stages: Sequence[Stage]
) -> None:
    console.print(f"{cpu_name()}, {N_CPUS} processors, {plan}; float32 products {peaks['gflops']:.0f} GFLOP/s, ")
    console.print(f"memory {peaks['gb_per_s']:.1f} GB/s. Medians of {ROUNDS} rounds, all ways in turn.")
    table = Table("pictures", "way", title="From pixels to embeddings")
    for heading in ("ms a picture", "times as long as ours", "as ours at once", "faces", "of facenet-pytorch's"):
        table.add_column(heading, justify="right")
    for row in rows:
        of_ours = [each for each in rows if each.pictures == row.pictures and each.way.startswith("ours")]
        ratios = [f"{row.ms / each.ms:.1f}" for each in of_ours]
        table.add_row(row.pictures, row.way, f"{row.ms:.1f}", *ratios, str(row.n_faces), f"{row.recall:.3f}")
    console.print(table)
    table = Table("pictures", "stage", "bound by", title="Stages of ours, one picture, the fastest of seven")
    for heading in ("ms", "least ms", "times the least"):
        table.add_column(heading, justify="right")
    for each in stages:
        least = (f"{each.floor_ms:.2f}", f"{each.ms / each.floor_ms:.1f}") if each.bound else ("", "")
        table.add_row(each.pictures, each.stage, each.bound, f"{each.ms:.2f}", *least)
    console.print(table)


if __name__ == "__main__":
    main()

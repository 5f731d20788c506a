"""MTCNN: the detector that needs no file of its own, batched across images of any sizes.

Three small networks in a row. P-Net slides over a pyramid of shrunk copies and proposes boxes; R-Net looks at a 24 px
crop of each proposal and throws most away; O-Net looks at a 48 px crop of the rest and adds landmarks.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.backbones.torch_backbone import torch_device
from ml.detection import biggest_first, check_images
from ml.mtcnn_networks import NOWHERE, Finisher, Proposer, Refiner
from ml.networks import RunNetwork, make_ready
from ml.plan import PLAIN, EnginePlan
from ml.pyramid import PIXELS_PER_CANVAS, STRIDE_PX, WINDOW_PX, Canvas, SizeHw, lay_out, remembered
from ml.running_sums import Bins, RunningSums, bins_of_whole
from ml.suppression import load_operators, nms, nms_by_group
from ml.types import Face, FloatArray, RgbImage

_RNET_PX: Final = 24
_ONET_PX: Final = 48
_IOU_WITHIN_SCALE: Final = 0.5  # this and the next two: facenet_pytorch 2.5.3, models/utils/detect_face.py
_IOU_ACROSS_SCALES: Final = 0.7
_COVER_AT_END: Final = 0.7
_CROPS_PER_BATCH: Final = 512  # bounds memory: 512 crops of 48 px take some 0.2 GB inside O-Net
_MAX_SIDE_PX: Final = 4096  # bounds memory and time
# Bounds memory: 16 bytes of running sums a pixel, 0.3 GB. On a CPU, frames of 1080p are 4 % faster one by one.
_PIXELS_PER_CHUNK: Final = {"cpu": 2**21, "cuda": _MAX_SIDE_PX**2}
# Bound time: a picture made of thousands of faces would keep R-Net and O-Net busy for a minute. A crowd gives
# some ten proposals for each face that is there.
_MOST_PROPOSALS: Final = 4000
_MOST_REFINED: Final = 1000
# Groups of boxes lie side by side and are swept at once, up to this many: a sweep takes time with the square of the
# boxes, but one for each group takes 50 us for each.
_MOST_IN_ONE_SWEEP: Final = {"cpu": 2500, "cuda": 25_000}
_MOST_LEVELS: Final = 1000  # any number that no pyramid has


@dataclass(frozen=True, slots=True)
class MtcnnNetworks:
    """The three networks, ready to run; see `ml.mtcnn_networks` for what they take and return."""

    propose: RunNetwork
    refine: RunNetwork
    finish: RunNetwork


class MtcnnDetector:
    """MTCNN with facenet_pytorch's weights; its numbers are those of `facenet_pytorch.MTCNN.detect`.

    An image whose longer side exceeds 4096 px is shrunk to that first, and `min_face_px` then counts in the shrunk
    image. Safe to share between threads.

    Source: Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks", 2016; networks, weights and the exact steps from facenet_pytorch 2.5.3 (MIT).
    """

    name = "mtcnn"

    def __init__(
        self,
        device: str = "cpu",
        min_face_px: int = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        plan: EnginePlan = PLAIN,
    ) -> None:
        """Load the three networks from the facenet_pytorch package.

        Args:
            device: `cpu`, `cuda` or `cuda:N`.
            min_face_px: smallest face that is looked for, px; at least 12, the window of the first network. Like
                facenet_pytorch's, the networks may correct a box to less than that, and then it stays.
            thresholds: score below which P-Net, R-Net and O-Net drop a candidate, 0..1 each.
            factor: ratio between neighbouring levels of the pyramid, between 0 and 1.
            plan: how the networks are run; their arithmetic is float32 whatever it says.

        Raises:
            ModelError: there is no such device on this machine, or the plan's runtime, facenet-pytorch or a torchvision
                that fits is not installed.
            ValueError: `min_face_px` or `factor` is out of range.
        """
        if min_face_px < WINDOW_PX or not 0 < factor < 1:
            raise ValueError(f"min_face_px is at least {WINDOW_PX} and factor between 0 and 1")
        self.device = torch_device(device)
        self._min_face_px = min_face_px
        self._thresholds = thresholds
        self.factor = factor
        load_operators()
        self.networks = load_networks(self.device, plan)
        self.workers = _workers(self.device, plan)

    @torch.inference_mode()
    def detect(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        """Find the faces in each image; see `ml.detection.Detector.detect`."""
        check_images(images)
        working = [_fit(image) for image in images]
        found: list[list[Face]] = []
        for chunk in _chunks_by_pixels(working, _PIXELS_PER_CHUNK[self.device.type]):
            found += self._detect_chunk(chunk)
        return [
            [_rescaled(face, small, image) for face in faces]
            for faces, small, image in zip(found, working, images, strict=True)
        ]

    def _detect_chunk(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        sums = RunningSums.of(images, self.device, self.workers)
        boxes, scores, points, owners = self._finish(sums, self.refine(sums, self.propose(sums)))
        faces: list[list[Face]] = [[] for _ in images]
        for box, score, landmarks, owner in zip(boxes, scores, points, owners, strict=True):
            faces[owner].append(Face(box, landmarks, float(score)))
        return [biggest_first(of_image) for of_image in faces]

    def propose(self, sums: RunningSums) -> "Candidates":
        """The first stage: squares that may hold a face, of all images."""
        parts = [Candidates.none(sums.device)]
        for size_hw, members in sums.by_size().items():
            for canvas in lay_out(size_hw, self._min_face_px, self.factor):
                parts += self._propose_on(sums, members, canvas)
        proposals = Candidates.cat(parts)
        proposals = proposals.take(suppress(proposals, _IOU_ACROSS_SCALES)).first(_MOST_PROPOSALS)
        return proposals.moved(square(shifted(proposals.boxes, proposals.shifts, extra=0)))

    def _propose_on(self, sums: RunningSums, members: list[int], canvas: Canvas) -> "Iterator[Candidates]":
        edges = edges_of(canvas, sums.device)
        step = max(1, PIXELS_PER_CANVAS // (canvas.size_hw[0] * canvas.size_hw[1]))
        for batch in (members[i : i + step] for i in range(0, len(members), step)):
            found = self.networks.propose(painted(sums, batch, canvas), edges)
            proposals, levels = decode_proposals(found, canvas, self._thresholds[0])
            proposals = proposals.owned(torch.tensor(batch, device=sums.device)[proposals.owners])
            yield proposals.take(suppress(proposals, _IOU_WITHIN_SCALE, levels))

    def refine(self, sums: RunningSums, proposals: "Candidates") -> "Candidates":
        """The second stage: those that still look like faces, moved and made square."""
        proposals, found = self._look(self.networks.refine, sums, proposals, _RNET_PX, width=5)
        judged = Candidates(proposals.boxes, found[:, 0].sigmoid(), found[:, 1:], proposals.owners)
        judged = judged.take(judged.scores > self._thresholds[1])
        judged = judged.take(suppress(judged, _IOU_ACROSS_SCALES)).first(_MOST_REFINED)
        return judged.moved(square(shifted(judged.boxes, judged.shifts, extra=1)))

    def _finish(
        self, sums: RunningSums, refined: "Candidates"
    ) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.int64]]:
        refined, found = self._look(self.networks.finish, sums, refined, _ONET_PX, width=15)
        scores = found[:, 0].sigmoid()
        passed = scores > self._thresholds[2]
        refined, found = refined.take(passed), found[passed]
        box_array: FloatArray = shifted(refined.boxes, found[:, 1:5], extra=1).cpu().numpy()
        score_array: FloatArray = scores[passed].cpu().numpy()
        landmarks: FloatArray = place_landmarks(refined.boxes, found[:, 5:]).cpu().numpy()
        owners: NDArray[np.int64] = refined.owners.cpu().numpy()
        kept = suppress_covered(box_array, score_array, owners, _COVER_AT_END)
        return box_array[kept], score_array[kept], landmarks[kept], owners[kept]

    def _look(
        self, run: RunNetwork, sums: RunningSums, candidates: "Candidates", side_px: int, width: int
    ) -> tuple["Candidates", Tensor]:
        """The candidates that touch their image, and the `width` numbers that a network says of each."""
        bounds = crop_bounds(candidates.boxes, sums.limits_wh[candidates.owners])
        inside = (bounds[:, 2:] > bounds[:, :2]).all(dim=1)
        candidates, bounds = candidates.take(inside), bounds[inside]
        parts = [torch.empty((0, width), device=sums.device)]
        for start in range(0, len(bounds), _CROPS_PER_BATCH):
            part = slice(start, start + _CROPS_PER_BATCH)
            parts.append(run(sums.crops(candidates.owners[part], bounds[part], side_px)))
        return candidates, torch.cat(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes on their way through the cascade, of all images together.

    `boxes (N, 4)` px xyxy, `scores (N,)` 0..1, `shifts (N, 4)` the network's correction in box sizes, `owners (N,)`
    int64 index of the image.
    """

    boxes: Tensor
    scores: Tensor
    shifts: Tensor
    owners: Tensor

    @classmethod
    def none(cls, device: torch.device) -> "Candidates":
        """No candidates."""
        boxes, owners = torch.empty((0, 4), device=device), torch.empty(0, dtype=torch.int64, device=device)
        return cls(boxes, boxes[:, 0], boxes, owners)

    @classmethod
    def cat(cls, parts: "Sequence[Candidates]") -> "Candidates":
        """The parts, one after the other."""
        columns = zip(*((p.boxes, p.scores, p.shifts, p.owners) for p in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def take(self, which: Tensor) -> "Candidates":
        """Those at the given indices, in that order, or where a mask is true."""
        return Candidates(self.boxes[which], self.scores[which], self.shifts[which], self.owners[which])

    def first(self, n: int) -> "Candidates":
        """The first `n` of each image."""
        if len(self.owners) <= n:
            return self
        by_owner = self.owners.argsort(stable=True)
        n_of = self.owners.bincount()
        before = n_of.cumsum(0) - n_of
        places = torch.arange(len(by_owner), device=by_owner.device) - before[self.owners[by_owner]]
        return self.take(by_owner[places < n].sort().values)

    def moved(self, boxes: Tensor) -> "Candidates":
        """The same with other boxes."""
        return Candidates(boxes, self.scores, self.shifts, self.owners)

    def owned(self, owners: Tensor) -> "Candidates":
        """The same with other owners."""
        return Candidates(self.boxes, self.scores, self.shifts, owners)


def painted(sums: RunningSums, members: Sequence[int], canvas: Canvas) -> Tensor:
    """The pyramids of images of one size on a canvas each: `(N, H, W, 3)` float32 grey levels."""
    pictures = torch.empty((len(members), *canvas.size_hw, 3), device=sums.device)
    bins = bins_of(canvas, sums.sizes_hw[members[0]], sums.device)
    for picture, index in zip(pictures, members, strict=True):
        sums.fill(picture, index, bins)
    return pictures


@remembered
def bins_of(canvas: Canvas, size_hw: SizeHw, device: torch.device) -> Bins:
    """The rectangles of an image of this size whose means lie on the canvas: `(H, W)`, empty where no level is."""
    corners = torch.zeros((4, *canvas.size_hw), dtype=torch.int32, device=device)
    areas = torch.ones((*canvas.size_hw, 3), device=device)
    for level in canvas.levels:
        (y, x), (height, width) = level.at_yx, level.size_hw
        bins = bins_of_whole(size_hw, level.size_hw, device)
        corners[:, y : y + height, x : x + width] = bins.corners
        areas[y : y + height, x : x + width] = bins.areas
    return Bins(corners, areas)


@remembered
def edges_of(canvas: Canvas, device: torch.device) -> Tensor:
    """What P-Net adds after its first layer, so that a level with odd sides ends as if nothing were beside it."""
    edges = torch.zeros((1, 1, canvas.size_hw[0] - 2, canvas.size_hw[1] - 2))
    for level in canvas.levels:
        (y, x), (height, width) = level.at_yx, level.size_hw
        if height % 2:
            edges[:, :, y + height - 2, x : x + width] = NOWHERE
        if width % 2:
            edges[:, :, y : y + height, x + width - 2] = NOWHERE
    return edges.to(device)


@remembered
def levels_of(canvas: Canvas, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`Canvas.level_at` of each position, int64; and of each level its first column and row, and its scale."""
    places_xy = torch.tensor([level.at_yx[::-1] for level in canvas.levels], dtype=torch.float32)
    scales = torch.tensor([[level.scale] for level in canvas.levels])
    return torch.from_numpy(canvas.level_at).long().to(device), places_xy.to(device), scales.to(device)


def decode_proposals(found: Tensor, canvas: Canvas, threshold: float) -> tuple[Candidates, Tensor]:
    """P-Net's `(N, 5, h, w)` on canvases to boxes in pixels of the images, and the index of each one's level."""
    level_at, places_xy, scales = levels_of(canvas, found.device)
    owners, y, x = ((found[:, 0] >= logit(threshold)) & (level_at >= 0)).nonzero(as_tuple=True)
    levels = level_at[y, x]
    corner = torch.stack([x, y], dim=1) * STRIDE_PX - places_xy[levels]
    boxes = (torch.cat([corner + 1, corner + WINDOW_PX], dim=1) / scales[levels]).floor()
    seen = found[owners, :, y, x]
    return Candidates(boxes, seen[:, 0].sigmoid(), seen[:, 1:], owners), levels


def logit(share: float) -> float:
    """The number whose sigmoid is `share`."""
    return math.log(share / (1 - share))


def suppress(candidates: Candidates, iou: float, levels: Tensor | None = None) -> Tensor:
    """Indices of the candidates that no better one overlaps by more than `iou`, best first.

    Only those of the same image count, and where `levels (N,)` int64 is given, of the same level.
    """
    groups = candidates.owners if levels is None else candidates.owners * _MOST_LEVELS + levels
    boxes, scores = candidates.boxes.double(), candidates.scores.double()  # side by side, float32 would round
    left: Tensor
    if 0 < len(boxes) <= _MOST_IN_ONE_SWEEP[boxes.device.type]:
        span = boxes.max() - boxes.min() + 1
        left = nms(boxes + (groups * span).unsqueeze(1), scores, iou)
    else:
        left = nms_by_group(boxes, scores, groups, iou)
    left = left.sort().values
    return left[candidates.scores[left].argsort(descending=True, stable=True)]


def suppress_covered(boxes: FloatArray, scores: FloatArray, owners: NDArray[np.int64], cover: float) -> list[int]:
    """Indices of the boxes of which no better one of the same image covers more than `cover`, best first.

    What is covered is a share of the smaller box of the two, so a box within a box goes however small it is. Among
    equal scores the later wins, as in facenet_pytorch: scores of exactly 1 are common.
    """
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    left = np.argsort(scores, kind="stable")[::-1]
    kept: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        overlap_wh = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2]) + 1
        shared = np.prod(np.maximum(overlap_wh, 0), axis=1) / np.minimum(area[best], area[left])
        left = left[(shared <= cover) | (owners[left] != owners[best])]
    return kept


def shifted(boxes: Tensor, shifts: Tensor, extra: int) -> Tensor:
    """Boxes moved by `shifts` times their size, which counts `extra` pixels more than the corners are apart."""
    sizes = boxes[:, 2:] - boxes[:, :2] + extra
    return boxes + shifts * sizes.repeat(1, 2)


def square(boxes: Tensor) -> Tensor:
    """The squares about the same centres, as wide as each box's longer side."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    side = sizes.amax(dim=1, keepdim=True)
    corner = boxes[:, :2] + sizes * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], dim=1)


def crop_bounds(boxes: Tensor, limits_wh: Tensor) -> Tensor:
    """Half-open pixel rectangles `(N, 4)` int32 xyxy of boxes whose corners count from 1, cut at the image's edges."""
    whole = boxes.int()
    return torch.cat([whole[:, :2].clamp(min=1) - 1, torch.minimum(whole[:, 2:], limits_wh)], dim=1)


def place_landmarks(boxes: Tensor, points: Tensor) -> Tensor:
    """O-Net's `points (N, 10)`, five x then five y as shares of the box, to `(N, 5, 2)` image pixels."""
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    return points.view(-1, 2, 5).transpose(1, 2) * sizes.unsqueeze(1) + boxes[:, :2].unsqueeze(1) - 1


def load_networks(device: torch.device, plan: EnginePlan) -> MtcnnNetworks:
    """Make the three networks ready on a device."""
    plan = replace(plan, precision="float32")  # fewer bits move the boxes
    canvas, edges = torch.zeros(1, 32, 32, 3), torch.zeros(1, 1, 30, 30)
    crop, larger = torch.zeros(2, _RNET_PX, _RNET_PX, 3), torch.zeros(2, _ONET_PX, _ONET_PX, 3)
    return MtcnnNetworks(
        make_ready(Proposer(), [canvas, edges], [[-1, -1, -1, 3], [1, 1, -1, -1]], device, plan),
        make_ready(Refiner(), [crop], [[-1, _RNET_PX, _RNET_PX, 3]], device, plan),
        make_ready(Finisher(), [larger], [[-1, _ONET_PX, _ONET_PX, 3]], device, plan),
    )


def _workers(device: torch.device, plan: EnginePlan) -> Executor | None:
    """Threads for what no runtime spreads over the processors: torch does that by itself, and a GPU needs none."""
    if device.type != "cpu" or plan.runtime == "torch" or plan.n_threads == 1:
        return None
    return ThreadPoolExecutor(plan.n_threads, thread_name_prefix="mtcnn")


def _fit(image: RgbImage) -> RgbImage:
    height, width = image.shape[:2]
    ratio = _MAX_SIDE_PX / max(height, width)
    if ratio >= 1:
        return image
    size_wh = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _rescaled(face: Face, small: RgbImage, image: RgbImage) -> Face:
    if small is image:
        return face
    ratio = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]], dtype=np.float32)
    half = np.float32(0.5)  # pixel centres lie at whole numbers
    corners = (face.box_xyxy.reshape(2, 2) + half) * ratio - half
    return Face(corners.ravel(), (face.landmarks + half) * ratio - half, face.detection_score)


def _chunks_by_pixels(images: Sequence[RgbImage], most: int) -> Iterator[list[RgbImage]]:
    chunk: list[RgbImage] = []
    n_pixels = 0
    for image in images:
        n_pixels += image.shape[0] * image.shape[1]
        if chunk and n_pixels > most:
            yield chunk
            chunk, n_pixels = [], image.shape[0] * image.shape[1]
        chunk.append(image)
    if chunk:
        yield chunk

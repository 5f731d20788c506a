"""Batches on the wire, version 1: what `POST /v1/analyze` of an inference worker takes and answers.

Numbers are little-endian, floats are IEEE 754, images are upright RGB without padding, and sections follow each other
without gaps unless said otherwise. Whoever reads checks every length before anything is made of it; one byte too many
or too few refuses the whole.

The ask, `Content-Type: application/x-rollcall-ask`:

    offset  type           meaning
    0       4 bytes        "RCQ1"
    4       u16            version: 1
    6       u8             lane: 0 interactive (somebody waits in front of a camera), 1 bulk (a job)
    7       u8             0
    8       u32            N, the number of images, 1 or more
    12      u32            0
    16      N x 3 x u32    of each image: height and width in pixels, and how many faces are wanted at most, 1..100
    ...     bytes          of each image: height x width x 3 bytes, row by row, R G B

The answer, `Content-Type: application/x-rollcall-answer`:

    offset  type           meaning
    0       4 bytes        "RCA1"
    4       u16            version: 1
    6       u16            D, the length of an embedding
    8       u32            N, as asked
    12      u32            F, the number of faces in all images together
    16      3 x f32        seconds: waiting in the worker, detecting, embedding (the last two of its whole batch)
    28      u16            W, the length of the engine's word in bytes
    30      u16            0
    32      N x u32        faces of each image, F in sum; then zeros up to a multiple of 8
    ...     F x 128 bytes  faces, image by image, the biggest first; of each one:
                           4 x f32   box: left, top, right, bottom in pixels of its image
                           10 x f32  landmarks, x and y of each: image-left eye, image-right eye, nose,
                                     image-left mouth corner, image-right mouth corner
                           f64       detection score, 0..1
                           8 x f64   quality: score, yaw, pitch, roll (degrees), size (px), sharpness,
                                     brightness (0..255), detection score
    ...     F x D x f32    embeddings in the same order, each of length 1
    ...     W bytes        the engine's word in UTF-8, as `GET /v1/engine` says it; answers with another are refused

Errors are `application/problem+json` like those of the whole service.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

import numpy as np

from app.inference.port import MAX_FACES, Lane
from ml.detection import check_images
from ml.types import Face, FloatArray, Pose, Quality, RgbImage, Sample

ASK_TYPE: Final = "application/x-rollcall-ask"
ANSWER_TYPE: Final = "application/x-rollcall-answer"
VERSION: Final = 1
HEAD_BYTES: Final = 16

# Larger ones would be copied again and again while a socket takes them bit by bit.
_PIECE_BYTES = 1 << 20

_ASK_MAGIC, _ANSWER_MAGIC = b"RCQ1", b"RCA1"
_ASK_HEAD = Struct("<4sHBBII")
_IMAGE_HEAD = Struct("<III")
_ANSWER_HEAD = Struct("<4sHHIIfffHH")
_COUNT = np.dtype("<u4")
_FACE = np.dtype([("box", "<f4", (4,)), ("landmarks", "<f4", (5, 2)), ("scores", "<f8", (9,))])
_LANES = (Lane.INTERACTIVE, Lane.BULK)
# Embeddings are of length 1 but for rounding; half precision on the way to it leaves no more than this.
_UNIT_TOLERANCE = 1e-3

Buffer: TypeAlias = bytes | bytearray | memoryview


class WireError(ValueError):
    """Bytes that are not what this version of the protocol says; the message says which part."""


class OtherEngineError(WireError):
    """An answer of other networks than those that were asked."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Upright `(H, W, 3)` uint8 RGB images, at least one, and how many faces of each are wanted at most."""

    images: Sequence[RgbImage]
    max_faces: Sequence[int]
    lane: Lane

    @property
    def n_bytes(self) -> int:
        """Length of the ask on the wire."""
        return _ASK_HEAD.size + sum(image_bytes(image) for image in self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The faces of each image of a batch, and where the time went, as in `app.inference.port.Analysis`."""

    samples: list[list[Sample]]
    queue_s: float
    detect_s: float
    embed_s: float


def image_bytes(image: RgbImage) -> int:
    """What one image adds to an ask."""
    return _IMAGE_HEAD.size + image.size


def largest_image_bytes(max_pixels: int) -> int:
    """Length of an ask for one image of so many pixels."""
    return _ASK_HEAD.size + _IMAGE_HEAD.size + 3 * max_pixels


def largest_answer_bytes(batch: Batch, dim: int, word: str) -> int:
    """Length of the answer in which every face is there that was wanted."""
    n_faces = sum(batch.max_faces)
    return _counts_end(len(batch.images)) + n_faces * (_FACE.itemsize + 4 * dim) + len(word.encode())


def encode_ask(batch: Batch) -> list[Buffer]:
    """A batch as pieces of one body; images that lie in one piece in memory are not copied.

    Raises:
        ValueError: something is not an image.
    """
    check_images(batch.images)
    head = _ASK_HEAD.pack(_ASK_MAGIC, VERSION, _LANES.index(batch.lane), 0, len(batch.images), 0)
    rows = (_IMAGE_HEAD.pack(*image.shape[:2], n) for image, n in zip(batch.images, batch.max_faces, strict=True))
    return [b"".join([head, *rows]), *(piece for image in batch.images for piece in _pieces(image))]


def decode_ask(body: Buffer, max_images: int) -> Batch:
    """A body as a batch whose images are views of it.

    Raises:
        WireError: the body is not an ask of this version, or one for more images than `max_images`.
    """
    n_images, lane = _read_ask_head(body, max_images)
    pixels_start = _ASK_HEAD.size + n_images * _IMAGE_HEAD.size
    _require(len(body) >= pixels_start, "the ask ends within the list of its images")
    rows = list(_IMAGE_HEAD.iter_unpack(memoryview(body)[_ASK_HEAD.size : pixels_start]))
    _require(all(height and width for height, width, _ in rows), "an image has no pixels")
    _require(all(1 <= n <= MAX_FACES for _, _, n in rows), f"max_faces of an image is not in 1..{MAX_FACES}")
    _require_length(body, pixels_start + sum(3 * height * width for height, width, _ in rows))
    images, start = [], pixels_start
    for height, width, _ in rows:
        n_bytes = 3 * height * width
        images.append(np.frombuffer(body, np.uint8, n_bytes, start).reshape(height, width, 3))
        start += n_bytes
    return Batch(images, [n for _, _, n in rows], lane)


def encode_answer(answer: Answer, dim: int, word: str) -> bytes:
    """The faces of a batch as one body, signed with the engine's word."""
    found = [sample for samples in answer.samples for sample in samples]
    name = word.encode()
    head = _ANSWER_HEAD.pack(
        *(_ANSWER_MAGIC, VERSION, dim, len(answer.samples), len(found)),
        *(answer.queue_s, answer.detect_s, answer.embed_s, len(name), 0),
    )
    counts = np.array([len(samples) for samples in answer.samples], _COUNT).tobytes()
    padding = bytes(_counts_end(len(answer.samples)) - len(head) - len(counts))
    faces = np.array([_row(sample) for sample in found], _FACE)
    embeddings = np.array([sample.embedding for sample in found], "<f4")
    return b"".join([head, counts, padding, faces.tobytes(), embeddings.tobytes(), name])


def decode_answer(body: Buffer, batch: Batch, *, dim: int, word: str, model: str) -> Answer:
    """A body as the answer to a batch.

    Args:
        body: what came.
        batch: what was asked.
        dim: length of an embedding.
        word: of the engine that was asked.
        model: what is stored with each embedding of it.

    Raises:
        OtherEngineError: other networks have answered.
        WireError: the body is not an answer of this version to this batch, or its numbers cannot be.
    """
    _require(len(body) >= _ANSWER_HEAD.size, "the answer is shorter than its head")
    magic, version, n_dim, n_images, n_faces, *times, n_word, _ = _ANSWER_HEAD.unpack_from(body)
    _require(magic == _ANSWER_MAGIC and version == VERSION, "this is no answer of version 1")
    counts_end = _counts_end(n_images)
    _require_length(body, counts_end + n_faces * (_FACE.itemsize + 4 * n_dim) + n_word)
    if bytes(body[len(body) - n_word :]) != word.encode():
        raise OtherEngineError(f"the answer is not from {word}")
    _require(n_dim == dim and n_images == len(batch.images), "the answer is not to what was asked")
    counts = np.frombuffer(body, _COUNT, n_images, _ANSWER_HEAD.size)
    _require(bool((counts <= batch.max_faces).all()), "the answer has more faces of an image than were wanted")
    _require(int(counts.sum()) == n_faces, "the faces of the images are not as many as there are faces")
    faces = np.frombuffer(body, _FACE, n_faces, counts_end)
    embeddings = np.frombuffer(body, "<f4", n_faces * dim, counts_end + faces.nbytes).reshape(n_faces, dim)
    _require_sound(times, faces, embeddings)
    # Copies, so that one face that is kept does not keep the whole body.
    samples = iter([_sample(face, vector, model) for face, vector in zip(faces, embeddings, strict=True)])
    return Answer([[next(samples) for _ in range(n)] for n in counts], *times)


def _read_ask_head(body: Buffer, max_images: int) -> tuple[int, Lane]:
    _require(len(body) >= _ASK_HEAD.size, "the ask is shorter than its head")
    magic, version, lane, _, n_images, _ = _ASK_HEAD.unpack_from(body)
    _require(magic == _ASK_MAGIC and version == VERSION, "this is no ask of version 1")
    _require(lane < len(_LANES), "the lane is neither 0 nor 1")
    _require(1 <= n_images <= max_images, f"the ask has {n_images} images; 1..{max_images} are taken")
    return n_images, _LANES[lane]


def _pieces(image: RgbImage) -> Iterator[memoryview]:
    flat = np.ascontiguousarray(image).reshape(-1).data
    return (flat[start : start + _PIECE_BYTES] for start in range(0, len(flat), _PIECE_BYTES))


def _counts_end(n_images: int) -> int:
    """Faces begin at a multiple of 8."""
    return -(-(_ANSWER_HEAD.size + n_images * _COUNT.itemsize) // 8) * 8


def _row(sample: Sample) -> tuple[FloatArray, FloatArray, tuple[float, ...]]:
    face, quality, pose = sample.face, sample.quality, sample.quality.pose
    scores = (
        *(face.detection_score, quality.score, pose.yaw_deg, pose.pitch_deg, pose.roll_deg),
        *(quality.size_px, quality.sharpness, quality.brightness, quality.detection_score),
    )
    return face.box_xyxy, face.landmarks, scores


def _sample(row: np.void, embedding: FloatArray, model: str) -> Sample:
    found, score, yaw, pitch, roll, size, sharpness, brightness, detection = (float(x) for x in row["scores"])
    quality = Quality(score, Pose(yaw, pitch, roll), size, sharpness, brightness, detection)
    face = Face(np.array(row["box"], np.float32), np.array(row["landmarks"], np.float32), found)
    return Sample(face, quality, np.array(embedding, np.float32), model)


def _require_sound(times: Sequence[float], faces: np.ndarray, embeddings: np.ndarray) -> None:
    """A worker whose memory is failing must not put a number into the gallery that is none."""
    is_finite = all(np.isfinite(part).all() for part in (times, faces["box"], faces["landmarks"], faces["scores"]))
    _require(is_finite and min(times) >= 0, "the answer has numbers that are none")
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    _require(bool((np.abs(lengths - 1) <= _UNIT_TOLERANCE).all()), "an embedding is not of length 1")


def _require_length(body: Buffer, expected: int) -> None:
    _require(len(body) == expected, f"it should be {expected} bytes long and is {len(body)}")


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise WireError(otherwise)

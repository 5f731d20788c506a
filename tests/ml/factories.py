"""Makes faces, samples and embeddings for tests. Every argument is a keyword."""

import numpy as np

from ml.types import Face, FloatArray, Pose, Quality, Sample

MODEL = "test-net/1"


def make_embeddings(*, n: int, dim: int = 16, seed: int = 0) -> FloatArray:
    """`(n, dim)` random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_near(*, embedding: FloatArray, cosine: float, seed: int = 0) -> FloatArray:
    """A unit vector at a given cosine from another one."""
    other = np.random.default_rng(seed).normal(size=embedding.shape)
    other -= (other @ embedding) * embedding
    other /= np.linalg.norm(other)
    return (cosine * embedding + np.sqrt(1 - cosine**2) * other).astype(np.float32)


def make_face(*, box_xyxy: tuple[float, float, float, float] = (40, 40, 140, 160), score: float = 0.999) -> Face:
    """A frontal face that fills its box."""
    x1, y1, x2, y2 = box_xyxy
    shape = np.array([[0.31, 0.36], [0.69, 0.36], [0.5, 0.58], [0.34, 0.77], [0.66, 0.77]])
    landmarks = shape * [x2 - x1, y2 - y1] + [x1, y1]
    return Face(np.array(box_xyxy, np.float32), landmarks.astype(np.float32), score)


def make_quality(
    *,
    size_px: float = 100,
    sharpness: float = 0.05,
    brightness: float = 120,
    yaw_deg: float = 0,
    pitch_deg: float = 0,
    detection_score: float = 0.999,
) -> Quality:
    return Quality(0.9, Pose(yaw_deg, pitch_deg, 0.0), size_px, sharpness, brightness, detection_score)


def make_sample(
    *,
    embedding: FloatArray,
    box_xyxy: tuple[float, float, float, float] = (40, 40, 140, 160),
    quality: Quality | None = None,
) -> Sample:
    face = make_face(box_xyxy=box_xyxy)
    return Sample(face, quality or make_quality(size_px=face.size_px), embedding, MODEL)

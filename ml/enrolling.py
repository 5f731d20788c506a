"""Photos of one person -> the samples worth enrolling: which face is meant, and which files show somebody else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.quality import QualityLimits, reasons_against
from ml.types import FloatArray, PairBounds, Reason, Sample

# Area times a bell over the distance from the middle, in units of the image's mean side. With this width the most
# prominent face was the person meant in all of 5 387 press photos, 807 of which show several faces.
_CENTRE_BELL_WIDTH = 0.25
# A second face this prominent, or about as large, makes a photo ambiguous (1 and 3 % of those photos).
_RIVAL_PROMINENCE = 0.4
_RIVAL_SIZE = 0.9
# Two photos with a cosine above this are the same picture, be it sent twice in one call or in two.
_SAME_PICTURE = 0.9995


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """All samples of one image and its size in pixels."""

    samples: Sequence[Sample]
    size_wh: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What to enrol: `kept` by photo number, and one reason for every other photo."""

    kept: dict[int, Sample]
    rejected: dict[int, Reason]


def choose_samples(photos: Sequence[Photo], enrolled: FloatArray, limits: QualityLimits, bounds: PairBounds) -> Choice:
    """Choose from each photo the face of the person that all of them are about.

    Args:
        photos: at least one.
        enrolled: `(n, D)` templates that the person has already, maybe none.
        limits: the gate for enrolling.
        bounds: when two embeddings do, and do not, show the same person.

    Returns:
        A Choice that mentions every photo once.
    """
    mains = {number: _main_face(photo) for number, photo in enumerate(photos)}
    rejected = {n: Reason.NO_FACE for n, main in mains.items() if main is None}
    clear: dict[int, Sample] = {}
    ambiguous: dict[int, Sample] = {}
    for number, main in mains.items():
        if main is None:
            continue
        sample, has_rival = main
        if against := reasons_against(sample.quality, limits):
            rejected[number] = against[0]
        else:
            (ambiguous if has_rival else clear)[number] = sample
    clear, same_again = _without_repeats(clear, enrolled)
    clear, conflicting = _of_one_person(clear, enrolled, bounds)
    certain = _stack(clear, enrolled)
    supported = {n: s for n, s in ambiguous.items() if _nearest(s, certain) >= bounds.same}
    rejected |= {n: Reason.SEVERAL_PEOPLE for n in ambiguous if n not in supported}
    supported, also_again = _without_repeats(supported, certain)
    rejected |= dict.fromkeys([*same_again, *also_again], Reason.DUPLICATE_FRAME)
    rejected |= dict.fromkeys(conflicting, Reason.IDENTITY_CONFLICT)
    return Choice(kept=dict(sorted((clear | supported).items())), rejected=dict(sorted(rejected.items())))


def fuse(embeddings: FloatArray) -> FloatArray:
    """Average `(n, D)` unit embeddings, n >= 1, into one `(D,)` of unit length."""
    mean = embeddings.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def most_prominent(photo: Photo) -> Sample:
    """The face that a photo with at least one is most likely about: large and near the middle."""
    return max(photo.samples, key=lambda sample: prominence(sample, photo.size_wh))


def _main_face(photo: Photo) -> tuple[Sample, bool] | None:
    """The most prominent face, and whether another one might be meant."""
    if not photo.samples:
        return None
    shares = [prominence(sample, photo.size_wh) for sample in photo.samples]
    main = int(np.argmax(shares))
    rivals = [
        shares[i] > _RIVAL_PROMINENCE * shares[main]
        or sample.quality.size_px > _RIVAL_SIZE * photo.samples[main].quality.size_px
        for i, sample in enumerate(photo.samples)
        if i != main
    ]
    return photo.samples[main], any(rivals)


def prominence(sample: Sample, size_wh: tuple[int, int]) -> float:
    """How likely a face is the one that a picture is of: its area in px of a picture `size_wh`, less off its centre."""
    x1, y1, x2, y2 = (float(v) for v in sample.face.box_xyxy)
    width, height = size_wh
    off_centre = np.hypot((x1 + x2 - width) / 2, (y1 + y2 - height) / 2) / np.sqrt(width * height)
    return float((x2 - x1) * (y2 - y1) * np.exp(-((off_centre / _CENTRE_BELL_WIDTH) ** 2)))


def _without_repeats(samples: dict[int, Sample], enrolled: FloatArray) -> tuple[dict[int, Sample], list[int]]:
    kept: dict[int, Sample] = {}
    for number, sample in samples.items():
        if _nearest(sample, _stack(kept, enrolled)) < _SAME_PICTURE:
            kept[number] = sample
    return kept, [n for n in samples if n not in kept]


def _of_one_person(
    samples: dict[int, Sample], enrolled: FloatArray, bounds: PairBounds
) -> tuple[dict[int, Sample], list[int]]:
    """Drop photos that agree with neither the enrolled templates nor the photo most others agree with."""
    if not samples:
        return {}, []
    anchors = enrolled if len(enrolled) else _medoid(_stack(samples, None))
    if len(samples) == 2 and not len(enrolled):
        # With two photos there is no majority: either may be the wrong one, so disagreement refuses both.
        anchors = _stack(samples, None)
        agree = float(anchors[0] @ anchors[1]) >= bounds.different
        return (samples, []) if agree else ({}, list(samples))
    kept = {n: s for n, s in samples.items() if _nearest(s, anchors) >= bounds.different}
    return kept, [n for n in samples if n not in kept]


def _medoid(embeddings: FloatArray) -> FloatArray:
    return embeddings[[int((embeddings @ embeddings.T).sum(axis=0).argmax())]]


def _nearest(sample: Sample, embeddings: FloatArray) -> float:
    return float((embeddings @ sample.embedding).max()) if len(embeddings) else -1.0


def _stack(samples: dict[int, Sample], enrolled: FloatArray | None) -> FloatArray:
    rows = [sample.embedding for sample in samples.values()]
    if enrolled is not None:
        rows.extend(enrolled)
    return np.array(rows, dtype=np.float32) if rows else np.empty((0, 0), dtype=np.float32)

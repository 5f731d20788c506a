"""Faces to learn from and to judge by: templates, captures that somebody confirmed, and a folder of photos.

Nothing of it is written down readable: chips lie in a file without a name, which is gone with the process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.types import utc_now
from app.gallery.queries import decode_embeddings
from app.inference.port import Inference, Lane
from app.models import training_queries as queries
from app.models.gathered import Collector, Found, GatheredFaces, OnProgress, Wanted
from app.sealing import SealBrokenError, Sealer
from app.settings import Settings
from ml.enrolling import Photo, most_prominent
from ml.errors import ImageError, TrainingError
from ml.image import decode_image
from ml.quality import SEARCH_LIMITS, reasons_against
from ml.types import FloatArray, RgbImage, Sample

T = TypeVar("T")

# Read, or looked at, together: some megabytes each.
_TEMPLATES_AT_ONCE: Final = 200
_CROPS_AT_ONCE: Final = 16
_PHOTOS_AT_ONCE: Final = 4
# Newest confirmed captures of one person: somebody confirmed every day must not stand for everybody.
_CAPTURES_PER_PERSON: Final = 20
_PHOTO_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
# How much of the whole the parts take, where all are there.
_TEMPLATES_UNTIL, _CAPTURES_UNTIL = 0.3, 0.5


@dataclass(frozen=True, slots=True)
class Sources:
    """Where faces come from. `inference` is asked for only where a picture has to be looked at."""

    database: Database
    settings: Settings
    sealer: Sealer
    inference: Callable[[], Inference]


def gather(sources: Sources, wanted: Wanted, folder: Path, report: OnProgress) -> GatheredFaces:
    """Everybody's faces who may be learned from, in an order that is the same each time.

    Args:
        sources: where from.
        wanted: what of each.
        folder: where the file of chips may lie, which has no name.
        report: told after every few faces.

    Raises:
        TrainingError: the folder of photos is not there.
        OSError: it cannot be read, or the disk is full.
    """
    with closing(Collector(wanted, folder)) as collector:
        _add_templates(sources, collector, report)
        _add_captures(sources, collector, report)
        _add_folder(sources, collector, report)
        return collector.gathered()


def _add_templates(sources: Sources, collector: Collector, report: OnProgress) -> None:
    last, n_read = 0, 0
    needs_consent = sources.settings.require_consent
    while True:
        with sources.database.read() as session:
            rows = queries.templates_after(session, last, _TEMPLATES_AT_ONCE, needs_consent=needs_consent)
            embeddings = _embeddings_of_templates(session, rows, collector.wanted)
            unknown = [row.id for row in rows if collector.needs_picture(embeddings[row.id])]
            crops = queries.crops_of(session, unknown)
        for row in rows:
            image, landmarks = _opened_crop(sources.sealer, crops.get(row.id))
            at_s = row.created_at.timestamp()
            collector.add(Found(f"template:{row.id}", row.person_id, at_s, embeddings[row.id], image, landmarks))
        if len(rows) < _TEMPLATES_AT_ONCE:
            return
        last, n_read = rows[-1].id, n_read + len(rows)
        report(_TEMPLATES_UNTIL * (1 - 1000 / (1000 + n_read)), f"reading templates: {n_read}")


def _embeddings_of_templates(
    session: Session, rows: Sequence[queries.StoredTemplate], wanted: Wanted
) -> dict[int, dict[str, FloatArray]]:
    found: dict[int, dict[str, FloatArray]] = {row.id: {} for row in rows}
    for word, dim in wanted.dims.items():
        blobs = queries.embeddings_by(session, word, [row.id for row in rows if row.model != word])
        blobs |= {row.id: row.embedding for row in rows if row.model == word}
        for template_id, blob in blobs.items():
            found[template_id][word] = decode_embeddings([blob], dim)[0]
    return found


def _opened_crop(sealer: Sealer, crop: tuple[list[Any], bytes] | None) -> tuple[RgbImage | None, FloatArray | None]:
    image = None if crop is None else _opened(sealer, crop[1])
    return (None, None) if crop is None or image is None else (image, np.array(crop[0], dtype=np.float32))


def _opened(sealer: Sealer, sealed: bytes) -> RgbImage | None:
    """None where it was sealed with a key that is gone: then there is no picture."""
    try:
        return decode_image(sealer.open(sealed))
    except (SealBrokenError, ImageError):
        return None


def _add_captures(sources: Sources, collector: Collector, report: OnProgress) -> None:
    with sources.database.read() as session:
        captures = queries.confirmed_captures(session, utc_now(), needs_consent=sources.settings.require_consent)
    captures = newest_of_each(captures)
    for done, some in _counted(captures, _CROPS_AT_ONCE):
        _report_part(report, _TEMPLATES_UNTIL, _CAPTURES_UNTIL, done, len(captures), "looking at confirmed captures")
        with sources.database.read() as session:
            sealed = queries.sealed_crops(session, [capture.event_id for capture in some])
        opened = [_opened(sources.sealer, sealed[each.event_id]) if each.event_id in sealed else None for each in some]
        pictures = [(each, image) for each, image in zip(some, opened, strict=True) if image is not None]
        for (capture, image), sample in zip(pictures, _look(sources, [image for _, image in pictures]), strict=True):
            if sample is not None:
                at_s = capture.occurred_at.timestamp()
                collector.add(_of_sample(f"event:{capture.event_id}", capture.person_id, at_s, sample, image))


def newest_of_each(captures: Sequence[queries.ConfirmedCapture]) -> list[queries.ConfirmedCapture]:
    """Of captures that come newest first, so many of each person that nobody outweighs the others; by time."""
    taken: dict[str, list[queries.ConfirmedCapture]] = {}
    for capture in captures:
        taken.setdefault(capture.person_id, []).append(capture)
    kept = [each for of_one in taken.values() for each in of_one[:_CAPTURES_PER_PERSON]]
    return sorted(kept, key=lambda capture: (capture.occurred_at, capture.event_id))


def _add_folder(sources: Sources, collector: Collector, report: OnProgress) -> None:
    if sources.settings.training_data is None:
        return
    photos = list(_photos(sources, sources.settings.training_data))
    for done, some in _counted(photos, _PHOTOS_AT_ONCE):
        _report_part(report, _CAPTURES_UNTIL, 1.0, done, len(photos), "looking at the folder of photos")
        files = [(key, path.read_bytes()) for key, path in some]
        pictures = [(key, sha256(file).hexdigest(), _decoded(sources.settings, file)) for key, file in files]
        seen = [(key, digest, image) for key, digest, image in pictures if image is not None]
        for (key, digest, image), sample in zip(seen, _look(sources, [image for *_, image in seen]), strict=True):
            if sample is not None and not reasons_against(sample.quality, SEARCH_LIMITS):
                collector.add(_of_sample(f"photo:{digest}", key, float("nan"), sample, image))


def _photos(sources: Sources, folder: Path) -> Iterator[tuple[str, Path]]:
    """The key of whose it is and each photo. A subfolder named as somebody's employee code is theirs."""
    if not folder.is_dir():
        raise TrainingError("ROLLCALL_TRAINING_DATA is no folder on the machine that trains: mount it, or unset that")
    people = sorted(path for path in folder.iterdir() if path.is_dir())
    with sources.database.read() as session:
        needs_consent = sources.settings.require_consent
        enrolled = queries.people_by_code(session, [path.name for path in people], needs_consent=needs_consent)
    for person in people:
        key, may_be_learned_from = enrolled.get(person.name, (f"folder:{_digest(person.name)}", True))
        files = sorted(person.iterdir()) if may_be_learned_from else []
        yield from ((key, path) for path in files if path.suffix.lower() in _PHOTO_SUFFIXES and path.is_file())


def _digest(name: str) -> str:
    return sha256(name.encode(errors="surrogateescape")).hexdigest()


def _decoded(settings: Settings, file: bytes) -> RgbImage | None:
    try:
        return decode_image(file, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    except ImageError:
        return None


def _look(sources: Sources, images: Sequence[RgbImage]) -> list[Sample | None]:
    """The face that each picture is about; None where none is found."""
    if not images:
        return []
    analysis = sources.inference().analyze(images, lane=Lane.BULK)
    sized = zip(images, analysis.samples, strict=True)
    return [
        most_prominent(Photo(samples, (image.shape[1], image.shape[0]))) if samples else None
        for image, samples in sized
    ]


def _of_sample(ref: str, person_key: str, time_s: float, sample: Sample, image: RgbImage) -> Found:
    return Found(ref, person_key, time_s, {sample.model: sample.embedding}, image, sample.face.landmarks)


def _report_part(report: OnProgress, start: float, end: float, done: int, n: int, what: str) -> None:
    report(start + (end - start) * done / n, f"{what}: {done} of {n}")


def _counted(things: Sequence[T], n: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Portions, and how many came before each."""
    for start in range(0, len(things), n):
        yield start, things[start : start + n]

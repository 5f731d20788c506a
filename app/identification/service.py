"""Identify the faces of an image and compare two images."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from app.auth.scopes import Principal
from app.db.engine import Database
from app.errors import ProblemError
from app.identification import queries, schemas
from app.identification.searcher import Probe, Searched, Searcher
from app.identification.views import People, decision_view, ground_view, quality_view, shown_people
from app.inference.images import ImageReader
from app.inference.port import Inference
from ml.enrolling import Photo, most_prominent
from ml.types import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """The samples of one image and what was decided about each."""

    image_wh: tuple[int, int]
    samples: Sequence[Sample]
    searched: Searched
    timing: schemas.TimingMs


@dataclass(frozen=True, slots=True)
class Identifier:
    """Everything that identifying needs."""

    inference: Inference
    images: ImageReader
    searcher: Searcher

    def identify(self, data: bytes, max_faces: int, request_id: str, caller: Principal) -> Identified:
        """Decide who is in an image, and store that; ImageError when the bytes are not one."""
        started = perf_counter()
        image = self.images.read(data)
        decoded = perf_counter()
        analysis = self.inference.analyze([image], max_faces)
        samples = analysis.samples[0]
        analyzed = perf_counter()
        probes = [Probe(sample.embedding, sample.quality) for sample in samples]
        searched = self.searcher.search(probes, request_id, caller)
        ended = perf_counter()
        waited = (analyzed - decoded) - analysis.detect_s - analysis.embed_s
        timing = schemas.TimingMs(
            decode=_ms(decoded - started),
            detect=_ms(waited + analysis.detect_s),
            embed=_ms(analysis.embed_s),
            search=_ms(ended - analyzed),
            total=_ms(ended - started),
        )
        return Identified((image.shape[1], image.shape[0]), samples, searched, timing)

    def compare(self, a: bytes, b: bytes) -> tuple[float, Sample, Sample]:
        """The cosine of the two most prominent faces; refuses an image without a face."""
        first, second = (self._only_face(name, data) for name, data in (("a", a), ("b", b)))
        return float(first.embedding @ second.embedding), first, second

    def _only_face(self, name: str, data: bytes) -> Sample:
        image = self.images.read(data)
        samples = self.inference.analyze([image]).samples[0]
        if not samples:
            raise ProblemError(422, "no_face", f"No face was found in image {name}.")
        return most_prominent(Photo(samples, (image.shape[1], image.shape[0])))


def answer(
    identified: Identified, database: Database, top_k: int, model: str, request_id: str
) -> schemas.Identification:
    """An identification as the API shows it."""
    with database.read() as session:
        people = queries.person_refs(session, shown_people(identified.searched, top_k))
    return schemas.Identification(
        request_id=request_id,
        model=model,
        **ground_view(identified.searched),
        image=schemas.ImageSize(width=identified.image_wh[0], height=identified.image_wh[1]),
        faces=[_face_view(identified, index, people, top_k) for index in range(len(identified.samples))],
        timing_ms=identified.timing,
    )


def _face_view(identified: Identified, index: int, people: People, top_k: int) -> schemas.Face:
    sample = identified.samples[index]
    return schemas.Face(
        box_xyxy=[round(float(v), 1) for v in sample.face.box_xyxy],
        landmarks=[[round(float(x), 1), round(float(y), 1)] for x, y in sample.face.landmarks],
        detection_score=round(sample.face.detection_score, 4),
        quality=quality_view(sample),
        **decision_view(identified.searched, index, people, top_k),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)

"""Identify the faces of an image and compare two images."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.auth.scopes import Principal
from app.db.engine import Database
from app.errors import ProblemError
from app.identification import queries, schemas
from app.identification.searcher import Probe, Searched, Searcher
from app.identification.views import People, decision_view, ground_view, quality_view, shown_people
from app.inference.images import ImageReader
from app.inference.port import Analysis, Ask, Inference, Lane, Place
from ml.enrolling import Photo, most_prominent
from ml.image import Decoded
from ml.quality import SEARCH_LIMITS, QualityLimits
from ml.types import RgbImage, Sample

T = TypeVar("T")
Cut = Callable[[RgbImage, Sequence[Sample]], Sequence[RgbImage]]
"""Cuts from an image what is to be kept of each face: called before the image is let go."""


@dataclass(frozen=True, slots=True)
class Glance:
    """How an image is looked at: `max_faces` at most, `enlarged` so often for small ones, and what is `cut` out."""

    max_faces: int
    enlarged: float = 1.0
    cut: Cut | None = None


class Wait(Protocol):
    """How a caller waits for what other threads do."""

    async def __call__(self, result: "Future[T]") -> T: ...


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The samples of one image, when its request came, and seconds of each stage so far; `crops` as they were cut."""

    image_wh: tuple[int, int]
    samples: Sequence[Sample]
    started_s: float
    decode_s: float
    queue_s: float
    detect_s: float
    embed_s: float
    crops: Sequence[RgbImage] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """What was seen in one image and what was decided about each face."""

    seen: Seen
    searched: Searched
    timing: schemas.TimingMs


@dataclass(frozen=True, slots=True)
class Identifier:
    """Everything that identifying needs."""

    inference: Inference
    images: ImageReader
    searcher: Searcher

    async def look(self, data: bytes, glance: Glance, wait: Wait) -> Seen:
        """Decode an image and find its faces, holding no thread meanwhile.

        Raises:
            InferenceBusyError: too much waits already; nothing was decoded.
            ImageError: the bytes are no image that we accept.
        """
        started = perf_counter()
        with self.inference.place() as place:
            decoded = await wait(self.images.submit(data))
            if glance.enlarged > 1:
                decoded = await run_in_threadpool(decoded.enlarged, glance.enlarged)
            decoded_s = perf_counter()
            analysis = await wait(place.submit(Ask([decoded.image], glance.max_faces)))
            looked_s = perf_counter()
            cut = glance.cut
            crops = await run_in_threadpool(cut, decoded.image, analysis.samples[0]) if cut else ()
        return _seen(decoded, analysis, crops, (started, decoded_s, looked_s))

    def look_at_leisure(self, data: bytes, glance: Glance) -> Seen:
        """As `look`, behind everybody in front of a camera; waits.

        Raises:
            ImageError: the bytes are no image that we accept.
        """
        started = perf_counter()
        decoded = self.images.read(data).enlarged(glance.enlarged)
        decoded_s = perf_counter()
        analysis = self.inference.analyze([decoded.image], glance.max_faces, Lane.BULK)
        looked_s = perf_counter()
        crops = glance.cut(decoded.image, analysis.samples[0]) if glance.cut else ()
        return _seen(decoded, analysis, crops, (started, decoded_s, looked_s))

    def decide(self, seen: Seen, request_id: str, caller: Principal) -> Identified:
        """Decide who the faces are, and store that; a few queries."""
        return _timed(seen, lambda probes: self.searcher.search(probes, request_id, caller))

    def judge(
        self, seen: Seen, request_id: str, caller: Principal, limits: QualityLimits = SEARCH_LIMITS
    ) -> Identified:
        """Decide who the faces are, for whoever stores that themselves."""
        return _timed(seen, lambda probes: self.searcher.judge(probes, request_id, caller, limits=limits))

    async def compare(self, a: bytes, b: bytes, wait: Wait) -> tuple[float, Sample, Sample]:
        """The cosine of the two most prominent faces; refuses an image without a face.

        One image after the other, so that a call never holds more than one of them decoded.
        """
        model = self.inference.info.model
        with self.inference.place() as place:
            pictures = (("a", a), ("b", b))
            first, second = [await self._only_face(name, data, place, model, wait) for name, data in pictures]
        return float(first.embedding @ second.embedding), first, second

    async def _only_face(self, name: str, data: bytes, place: Place, model: str, wait: Wait) -> Sample:
        decoded = await wait(self.images.submit(data))
        samples = (await wait(place.submit(Ask([decoded.image], model=model)))).samples[0]
        if not samples:
            raise ProblemError(422, "no_face", f"No face was found in image {name}.")
        return most_prominent(Photo([decoded.in_full(sample) for sample in samples], decoded.full_wh))


def answer(identified: Identified, database: Database, top_k: int, request_id: str) -> schemas.Identification:
    """An identification as the API shows it."""
    with database.read() as session:
        return answer_in(session, identified, top_k, request_id)


def answer_in(session: Session, identified: Identified, top_k: int, request_id: str) -> schemas.Identification:
    """The same in a session that is open already."""
    people = queries.person_refs(session, shown_people(identified.searched, top_k))
    width, height = identified.seen.image_wh
    return schemas.Identification(
        request_id=request_id,
        model=identified.searched.circumstances.model,
        **ground_view(identified.searched),
        image=schemas.ImageSize(width=width, height=height),
        faces=[_face_view(identified, index, people, top_k) for index in range(len(identified.seen.samples))],
        timing_ms=identified.timing,
    )


def _face_view(identified: Identified, index: int, people: People, top_k: int) -> schemas.Face:
    sample = identified.seen.samples[index]
    return schemas.Face(
        box_xyxy=[round(float(v), 1) for v in sample.face.box_xyxy],
        landmarks=[[round(float(x), 1), round(float(y), 1)] for x, y in sample.face.landmarks],
        detection_score=round(sample.face.detection_score, 4),
        quality=quality_view(sample, identified.searched.limits),
        **decision_view(identified.searched, index, people, top_k),
    )


def _seen(decoded: Decoded, analysis: Analysis, crops: Sequence[RgbImage], at_s: tuple[float, float, float]) -> Seen:
    started_s, decoded_s, looked_s = at_s
    return Seen(
        image_wh=decoded.full_wh,
        samples=[decoded.in_full(sample) for sample in analysis.samples[0]],
        started_s=started_s,
        decode_s=decoded_s - started_s,
        queue_s=looked_s - decoded_s - analysis.detect_s - analysis.embed_s,
        detect_s=analysis.detect_s,
        embed_s=analysis.embed_s,
        crops=crops,
    )


def _timed(seen: Seen, search: Callable[[Sequence[Probe]], Searched]) -> Identified:
    began = perf_counter()
    searched = search([Probe(sample.embedding, sample.model, sample.quality) for sample in seen.samples])
    ended = perf_counter()
    timing = schemas.TimingMs(
        decode=_ms(seen.decode_s),
        queue=_ms(seen.queue_s),
        detect=_ms(seen.detect_s),
        embed=_ms(seen.embed_s),
        search=_ms(ended - began),
        total=_ms(ended - seen.started_s),
    )
    return Identified(seen, searched, timing)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)

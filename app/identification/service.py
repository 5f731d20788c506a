"""Identify the faces of an image and compare two images."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from app.auth.scopes import Principal
from app.db.engine import Database
from app.decisions.log import Circumstances, DecidedFace, DecisionLog
from app.errors import ProblemError
from app.gallery.replica import GalleryReplica, GalleryVersion
from app.identification import queries, schemas
from app.inference.images import ImageReader
from app.inference.port import Inference
from app.operating_points.current import CurrentPoint, PointInForce
from ml.calibration import odds
from ml.decision import decide
from ml.enrolling import Photo, most_prominent
from ml.quality import SEARCH_LIMITS, reasons_against
from ml.scoring import rank_candidates
from ml.types import Decision, Sample

# The runner-up decides along with the best, so at least this many people are searched for, whatever is shown.
_MIN_CANDIDATES = 8
# Candidates of every decision that are kept, whatever is shown.
_KEPT_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class IdentifyOptions:
    """How much of the answer the caller wants."""

    top_k: int
    max_faces: int


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """The samples of one image, what was decided about each and stored as which event, and on what ground."""

    image_wh: tuple[int, int]
    samples: Sequence[Sample]
    decisions: Sequence[Decision]
    event_ids: Sequence[str | None]
    gallery: GalleryVersion
    point: CurrentPoint
    timing: schemas.TimingMs


@dataclass(frozen=True, slots=True)
class Identifier:
    """Everything that identifying needs."""

    database: Database
    inference: Inference
    gallery: GalleryReplica
    point: PointInForce
    images: ImageReader
    log: DecisionLog

    def identify(self, data: bytes, options: IdentifyOptions, request_id: str, caller: Principal) -> Identified:
        """Decide who is in an image, and store that; ImageError when the bytes are not one."""
        started = perf_counter()
        image = self.images.read(data)
        decoded = perf_counter()
        analysis = self.inference.analyze([image], options.max_faces)
        samples = analysis.samples[0]
        analyzed = perf_counter()
        decisions, version, point = self._search(samples, options.top_k)
        event_ids = self._store(samples, decisions, version, point, request_id, caller)
        ended = perf_counter()
        waited = (analyzed - decoded) - analysis.detect_s - analysis.embed_s
        timing = schemas.TimingMs(
            decode=_ms(decoded - started),
            detect=_ms(waited + analysis.detect_s),
            embed=_ms(analysis.embed_s),
            search=_ms(ended - analyzed),
            total=_ms(ended - started),
        )
        image_wh = (image.shape[1], image.shape[0])
        return Identified(image_wh, samples, decisions, event_ids, version, point, timing)

    def compare(self, a: bytes, b: bytes) -> tuple[float, Sample, Sample]:
        """The cosine of the two most prominent faces; refuses an image without a face."""
        first, second = (self._only_face(name, data) for name, data in (("a", a), ("b", b)))
        return float(first.embedding @ second.embedding), first, second

    def _search(self, samples: Sequence[Sample], top_k: int) -> tuple[list[Decision], GalleryVersion, CurrentPoint]:
        card = self.inference.card
        probes = np.array([sample.embedding for sample in samples], dtype=np.float32).reshape(len(samples), card.dim)
        hits, version = self.gallery.search(probes, max(top_k, _MIN_CANDIDATES))
        point = self.point.read()
        ranked = [rank_candidates(near, card.score_rule, max(top_k, _KEPT_CANDIDATES)) for near in hits]
        reasons = [reasons_against(sample.quality, SEARCH_LIMITS) for sample in samples]
        return decide(ranked, reasons, point.threshold, point.margins), version, point

    def _store(
        self,
        samples: Sequence[Sample],
        decisions: Sequence[Decision],
        version: GalleryVersion,
        point: CurrentPoint,
        request_id: str,
        caller: Principal,
    ) -> list[str | None]:
        circumstances = Circumstances(
            request_id=request_id,
            actor=caller.actor,
            threshold=point.threshold,
            operating_point_id=point.id,
            gallery_revision=version.revision,
            model=self.gallery.model,
        )
        faces = [
            DecidedFace(decision, sample.quality, reasons_against(sample.quality, SEARCH_LIMITS))
            for sample, decision in zip(samples, decisions, strict=True)
        ]
        return self.log.store(faces, circumstances)

    def _only_face(self, name: str, data: bytes) -> Sample:
        image = self.images.read(data)
        samples = self.inference.analyze([image]).samples[0]
        if not samples:
            raise ProblemError(422, "no_face", f"No face was found in image {name}.")
        return most_prominent(Photo(samples, (image.shape[1], image.shape[0])))


def answer(
    identified: Identified, database: Database, options: IdentifyOptions, model: str, request_id: str
) -> schemas.Identification:
    """An identification as the API shows it: with the people's names, as they are in the database now."""
    shown = [candidate.person_id for d in identified.decisions for candidate in d.candidates[: options.top_k]]
    with database.read() as session:
        people = queries.person_refs(session, set(shown))
    version, point = identified.gallery, identified.point
    return schemas.Identification(
        request_id=request_id,
        model=model,
        gallery=schemas.GalleryInfo(
            n_people=version.n_people, n_templates=version.n_templates, revision=version.revision
        ),
        gallery_revision=version.revision,
        operating_point=schemas.OperatingPointRef(
            id=point.id, threshold=round(point.threshold, 6), target_fpir=point.target_fpir
        ),
        image=schemas.ImageSize(width=identified.image_wh[0], height=identified.image_wh[1]),
        faces=[face_view(identified, index, people, options.top_k) for index in range(len(identified.samples))],
        timing_ms=identified.timing,
    )


def face_view(identified: Identified, index: int, people: dict[str, schemas.PersonRef], top_k: int) -> schemas.Face:
    """One face as the API shows it; somebody erased since the search is not shown, nor anybody in their place."""
    sample, decision = identified.samples[index], identified.decisions[index]
    person = people.get(decision.person_id) if decision.person_id else None
    outcome = "unknown" if decision.outcome == "identified" and person is None else decision.outcome.value
    return schemas.Face(
        event_id=identified.event_ids[index],
        box_xyxy=[round(float(v), 1) for v in sample.face.box_xyxy],
        landmarks=[[round(float(x), 1), round(float(y), 1)] for x, y in sample.face.landmarks],
        detection_score=round(sample.face.detection_score, 4),
        quality=quality_view(sample),
        outcome=outcome,
        person=person,
        score=_rounded(decision.score),
        margin=_rounded(decision.margin),
        odds=None if decision.score is None else _two_digits(odds(decision.score, identified.point.curves)),
        candidates=[
            schemas.Candidate(person=people[candidate.person_id], score=round(candidate.score, 6))
            for candidate in decision.candidates[:top_k]
            if candidate.person_id in people
        ],
    )


def quality_view(sample: Sample) -> schemas.Quality:
    """A sample's quality as the API shows it."""
    reasons = reasons_against(sample.quality, SEARCH_LIMITS)
    return schemas.Quality(score=sample.quality.score, reasons=[reason.value for reason in reasons])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _two_digits(value: float) -> float:
    """More would be a precision that nobody has."""
    return float(f"{value:.2g}")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)

"""Decisions as the API shows them, with the people's names as they are in the database now."""

from collections.abc import Mapping
from typing import TypedDict

from app.identification import schemas
from app.identification.searcher import Searched
from ml.quality import SEARCH_LIMITS, QualityLimits, reasons_against
from ml.types import Decision, Sample

People = Mapping[str, schemas.PersonRef]


class Ground(TypedDict):
    """What every answer says of the ground it stands on."""

    gallery: schemas.GalleryInfo
    gallery_revision: int
    operating_point: schemas.OperatingPointRef


class Decided(TypedDict):
    """What every answer says of a decision."""

    event_id: str | None
    outcome: str
    person: schemas.PersonRef | None
    score: float | None
    margin: float | None
    odds: float | None
    candidates: list[schemas.Candidate]


def shown_people(searched: Searched, top_k: int) -> set[str]:
    """The ids of everybody who will be shown."""
    return {candidate.person_id for decision in searched.decisions for candidate in decision.candidates[:top_k]}


def ground_view(searched: Searched) -> Ground:
    """Gallery and operating point of a search."""
    version, point = searched.gallery, searched.point
    return Ground(
        gallery=schemas.GalleryInfo(
            n_people=version.n_people, n_templates=version.n_templates, revision=version.revision
        ),
        gallery_revision=version.revision,
        operating_point=schemas.OperatingPointRef(
            id=point.id, threshold=round(point.threshold, 6), target_fpir=point.target_fpir
        ),
    )


def decision_view(searched: Searched, index: int, people: People, top_k: int) -> Decided:
    """One decision; somebody erased since the search is not shown, nor anybody in their place."""
    decision = searched.decisions[index]
    person = people.get(decision.person_id) if decision.person_id else None
    outcome = "unknown" if decision.outcome == "identified" and person is None else decision.outcome.value
    return Decided(
        event_id=searched.event_ids[index],
        outcome=outcome,
        person=person,
        score=_rounded(decision.score),
        margin=_rounded(decision.margin),
        odds=searched.odds(decision),
        candidates=_candidates(decision, people, top_k),
    )


def quality_view(sample: Sample, limits: QualityLimits = SEARCH_LIMITS) -> schemas.Quality:
    """A sample's quality, and what stands against searching it."""
    reasons = reasons_against(sample.quality, limits)
    return schemas.Quality(score=sample.quality.score, reasons=[reason.value for reason in reasons])


def _candidates(decision: Decision, people: People, top_k: int) -> list[schemas.Candidate]:
    return [
        schemas.Candidate(person=people[candidate.person_id], score=round(candidate.score, 6))
        for candidate in decision.candidates[:top_k]
        if candidate.person_id in people
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)

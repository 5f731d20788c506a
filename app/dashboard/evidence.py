"""One event: the face beside the person it was named, what speaks for that, and what to do if it is wrong."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.attendance import corrections, schemas, views
from app.crops.queries import with_crop
from app.dashboard.face_words import REASONS
from app.dashboard.frame.actors import actor_names
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.dashboard.sightings import OddsBook
from app.db.tables import Camera, Event, Site, UnknownFace
from app.db.types import utc_now
from app.decisions import queries as decisions
from app.http.dependencies import DatabaseDep
from app.identification.queries import person_refs
from app.identification.schemas import PersonRef

router = APIRouter(include_in_schema=False)

METHODS: Final = {"face": N_("Face"), "pin": N_("PIN"), "badge": N_("Badge"), "manual": N_("By hand")}
_WORTH_TELLING_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Where scores are drawn, in percent of a bar that begins at `least` and ends at `most`."""

    least: float
    most: float

    @classmethod
    def of(cls, scores: list[float]) -> "Scale":
        least, most = min(0.0, *scores), max(0.001, *scores)
        return cls(least, most + 0.1 * (most - least))

    def x(self, score: float) -> float:
        return round(100 * (score - self.least) / (self.most - self.least), 2)


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody said of the decision."""

    is_correct: bool
    person: PersonRef | None
    at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of the history, and what it changed: name, before, after."""

    said: schemas.Correction
    changes: list[tuple[str, Any, Any]]


@router.get("/events/{event_id}")
def evidence_page(request: Request, event_id: str, visitor: VisitorDep, database: DatabaseDep) -> HTMLResponse:
    book: OddsBook = request.app.state.odds_book
    with database.read() as session:
        event = corrections.get_event(session, event_id)
        detail = views.event_detail(session, event)
        data: dict[str, Any] = {
            "event": detail,
            "word": _word(session, event_id),
            "site": session.get(Site, event.site_id),
            "camera": session.get(Camera, event.camera_id) if event.camera_id else None,
            "has_crop": bool(with_crop(session, [event_id], utc_now())),
            "cluster_id": _cluster(session, event_id),
            "odds": _odds(session, detail, book),
            "people": person_refs(session, _people_of(detail)),
            "told": [Told(each, _changes(each)) for each in detail.corrections],
        }
        word: Word | None = data["word"]
        actors = {detail.created_by, *(each.actor for each in detail.corrections)}
        data["names"] = actor_names(session, actors if word is None or word.by is None else {*actors, word.by})
    return render(request, visitor, "evidence.html", scale=_scale(detail), **_words(event, detail), **data)


def _words(event: Event, detail: schemas.EventDetail) -> dict[str, Any]:
    offset_s = detail.capture.clock_offset_s if detail.capture else 0.0
    wall = event.occurred_at.astimezone(ZoneInfo(event.timezone))
    return {
        "wall": f"{wall:%H:%M:%S}",
        "clock_was_wrong_s": offset_s if abs(offset_s) >= _WORTH_TELLING_S else None,
        "reasons": REASONS,
        "methods": METHODS,
    }


def _scale(detail: schemas.EventDetail) -> Scale | None:
    evidence = detail.evidence
    if evidence is None:
        return None
    scores = [evidence.threshold, *(candidate.score for candidate in evidence.candidates)]
    return Scale.of(scores if evidence.score is None else [*scores, evidence.score])


def _word(session: Session, event_id: str) -> Word | None:
    decision = decisions.decision(session, event_id)
    if decision is None or decision.is_correct is None:
        return None
    people = person_refs(session, {decision.true_person_id} if decision.true_person_id else set())
    return Word(decision.is_correct, people.get(decision.true_person_id or ""), decision.judged_at, decision.judged_by)


def _cluster(session: Session, event_id: str) -> str | None:
    """Where an unknown face waits for somebody to say who it is."""
    return session.scalars(select(UnknownFace.cluster_id).where(UnknownFace.event_id == event_id)).one_or_none()


def _odds(session: Session, detail: schemas.EventDetail, book: OddsBook) -> float | None:
    evidence = detail.evidence
    return None if evidence is None else book.odds(session, evidence.operating_point_id, evidence.score)


def _people_of(detail: schemas.EventDetail) -> set[str]:
    """Whom the history names."""
    said = [value.get("person_id") for each in detail.corrections for value in (each.before, each.after)]
    return {str(person_id) for person_id in said if person_id}


def _changes(said: schemas.Correction) -> list[tuple[str, Any, Any]]:
    """What was different, before and after; nothing where the event was written by hand."""
    if not said.before:
        return []
    return [(what, _value(what, said.before.get(what)), _value(what, became)) for what, became in said.after.items()]


def _value(what: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if what == "occurred_at" and value else value

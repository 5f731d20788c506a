"""Events as the API shows them, with the people's names as they are in the database now."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from app.attendance import queries, schemas
from app.attendance.plan import DayStatus
from app.db.tables import Capture, Day, DecisionRow, Event
from app.decisions import queries as decision_queries
from app.identification.queries import person_refs
from app.identification.schemas import Candidate, PersonRef

_STILL_TO_COME: Final = (DayStatus.MISSING_OUT.value, DayStatus.ABSENT.value)


def status_now(day: Day, now: datetime) -> str:
    """Until a day is over, somebody who has not left, or not come, may still do so."""
    return "open" if now < day.closes_at and day.status in _STILL_TO_COME else day.status


def recorded_views(session: Session, events: Sequence[Event]) -> list[schemas.RecordedEvent]:
    """What a sender is told."""
    people = _people(session, events)
    names = schemas.RecordedEvent.model_fields.keys() - {"person"}
    return [
        schemas.RecordedEvent.model_validate(_columns(event, names) | {"person": people.get(event.person_id or "")})
        for event in events
    ]


def event_views(session: Session, events: Sequence[Event]) -> list[schemas.EventView]:
    people = _people(session, events)
    return [schemas.EventView.model_validate(_whole(event, people)) for event in events]


def event_detail(session: Session, event: Event) -> schemas.EventDetail:
    """One event with its evidence and its history."""
    capture = session.get(Capture, event.capture_id) if event.capture_id else None
    decision = decision_queries.decision(session, event.id)
    corrections = [
        schemas.Correction(at=row.at, actor=row.actor, reason=row.reason, before=row.before, after=row.after)
        for row in queries.corrections(session, event.id)
    ]
    return schemas.EventDetail.model_validate(
        _whole(event, _people(session, [event]))
        | {
            "capture": capture_view(capture) if capture else None,
            "evidence": _evidence(session, decision) if decision else None,
            "corrections": corrections,
        }
    )


def capture_view(capture: Capture) -> schemas.CaptureView:
    return schemas.CaptureView(
        id=capture.id,
        captured_at=capture.captured_at,
        occurred_at=capture.occurred_at,
        clock_offset_s=round(capture.clock_offset_s, 3),
    )


def _evidence(session: Session, decision: DecisionRow) -> schemas.Evidence:
    candidates = decision_queries.candidates(session, decision.id)
    ids = {candidate.person_id for candidate in candidates} | {decision.person_id or ""}
    people = person_refs(session, ids)
    return schemas.Evidence(
        outcome=decision.outcome,
        person=people.get(decision.person_id or ""),
        score=decision.score,
        margin=decision.margin,
        threshold=decision.threshold,
        quality=decision.quality,
        reasons=decision.reasons,
        model=decision.model,
        operating_point_id=decision.operating_point_id,
        gallery_revision=decision.gallery_revision,
        candidates=[Candidate(person=people[each.person_id], score=round(each.score, 6)) for each in candidates],
    )


def _people(session: Session, events: Iterable[Event]) -> dict[str, PersonRef]:
    return person_refs(session, {event.person_id for event in events if event.person_id})


def _whole(event: Event, people: Mapping[str, PersonRef]) -> dict[str, Any]:
    return _columns(event, schemas.EventView.model_fields.keys() - {"person"}) | {
        "person": people.get(event.person_id or "")
    }


def _columns(event: Event, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(event, name) for name in names}

"""What the service said about one capture, picked out of its answer. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ml.types import Outcome


class _Person(BaseModel):
    id: str | None = None
    name: str | None = None
    employee_code: str | None = None


class _Quality(BaseModel):
    reasons: list[str] = []


class _Face(BaseModel):
    box_xyxy: tuple[float, float, float, float]
    outcome: str
    person: _Person | None = None
    score: float | None = None
    odds: float | None = None
    quality: _Quality | None = None


class _Event(BaseModel):
    id: str | None = None
    direction: str | None = None
    duplicate_of: str | None = None


class _Answer(BaseModel):
    """As much of an answer as is used here."""

    faces: list[_Face]
    events: list[_Event]


def is_answer(body: object) -> bool:
    """Whether this comes from the service at all: a hotel's log-in page answers 200 too."""
    try:
        _Answer.model_validate(body)
    except ValidationError:
        return False
    return True


def summary(body: Mapping[str, Any], face_xyxy: tuple[float, float, float, float]) -> dict[str, Any]:
    """Outcome, person, score and event of the face that was meant; of no face, `low_quality` with the reason."""
    face = _meant(body["faces"], face_xyxy)
    if face is None:
        return _summary(Outcome.LOW_QUALITY.value, reasons=["no_face"])
    person = face.get("person") or {}
    event = _event_of(body["events"], face, len(body["faces"]))
    return _summary(
        str(face["outcome"]),
        name=person.get("name"),
        employee_code=person.get("employee_code"),
        person_id=person.get("id"),
        score=face.get("score"),
        odds=face.get("odds"),
        reasons=list((face.get("quality") or {}).get("reasons", [])),
        event_id=event.get("id"),
        direction=event.get("direction"),
        duplicate_of=event.get("duplicate_of"),
    )


def without_name(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as it may leave the terminal: for logs, files and other programs."""
    return {field: value for field, value in answer.items() if field != "name"}


def outcome_of(answer: Mapping[str, Any]) -> Outcome | None:
    """The outcome as a value; None where a newer service knows one that we do not."""
    try:
        return Outcome(answer["outcome"])
    except ValueError:
        return None


def _summary(outcome: str, **known: Any) -> dict[str, Any]:
    unset: dict[str, Any] = dict.fromkeys(
        ("name", "employee_code", "person_id", "score", "odds", "event_id", "direction", "duplicate_of")
    )
    return {"outcome": outcome, **unset, "reasons": [], **known}


def _meant(faces: list[dict[str, Any]], face_xyxy: tuple[float, float, float, float]) -> dict[str, Any] | None:
    """The face nearest to where the client saw it."""
    return min(faces, key=lambda face: _distance(face["box_xyxy"], face_xyxy), default=None)


def _distance(a: tuple[float, ...] | list[float], b: tuple[float, ...]) -> float:
    return float((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2)


def _event_of(events: list[dict[str, Any]], face: Mapping[str, Any], n_faces: int) -> dict[str, Any]:
    """An event has the id of the decision it was made from."""
    for event in events:
        if face.get("event_id") is not None and event.get("id") == face["event_id"]:
            return event
    return events[0] if len(events) == 1 and n_faces == 1 else {}

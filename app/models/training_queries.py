"""All SQL that a training reads faces with, in portions: a training takes minutes and must keep no transaction open."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from app.db.tables import (
    DecisionRow,
    Event,
    EventCorrection,
    EventCrop,
    Job,
    Model,
    Person,
    SuspiciousTemplateRow,
    Template,
    TemplateCrop,
    TemplateEmbedding,
    TrainingRun,
)

T = TypeVar("T")

# Ids in one IN (...): below every database's limit on bound values.
_IDS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class StoredTemplate:
    """One template, and the embedding that it was enrolled with."""

    id: int
    person_id: str
    model: str
    embedding: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConfirmedCapture:
    """An event of which somebody said, or confirmed, whose face it shows, and of which the face is still kept."""

    event_id: str
    person_id: str
    occurred_at: datetime


def templates_after(session: Session, after: int, limit: int, *, needs_consent: bool) -> list[StoredTemplate]:
    """Templates of people who may be learned from, by id, from the one after this on.

    Those that the latest calibration found to be nearer to somebody else are left out: they would teach a mistake.
    """
    is_suspicious = select(SuspiciousTemplateRow.template_id).where(SuspiciousTemplateRow.template_id == Template.id)
    of = (
        select(Template.id, Template.person_id, Template.model, Template.embedding, Template.created_at)
        .join(Person, Person.id == Template.person_id)
        .where(Template.id > after, ~is_suspicious.exists(), *_may_be_learned_from(needs_consent))
    )
    return [StoredTemplate(*row) for row in session.execute(of.order_by(Template.id).limit(limit))]


def embeddings_by(session: Session, model: str, template_ids: Sequence[int]) -> dict[int, bytes]:
    """By template its embedding by another model than the one it was enrolled with, where there is one."""
    found: dict[int, bytes] = {}
    for some in _portions(template_ids):
        of = select(TemplateEmbedding.template_id, TemplateEmbedding.embedding)
        among = of.where(TemplateEmbedding.model == model, TemplateEmbedding.template_id.in_(some))
        found.update((template_id, embedding) for template_id, embedding in session.execute(among))
    return found


def crops_of(session: Session, template_ids: Sequence[int]) -> dict[int, tuple[list[Any], bytes]]:
    """By template its landmarks and its sealed crop, where one is kept."""
    found: dict[int, tuple[list[Any], bytes]] = {}
    for some in _portions(template_ids):
        of = select(TemplateCrop.template_id, TemplateCrop.landmarks, TemplateCrop.sealed_crop)
        for template_id, landmarks, sealed in session.execute(of.where(TemplateCrop.template_id.in_(some))):
            found[template_id] = landmarks, sealed
    return found


def confirmed_captures(session: Session, now: datetime, *, needs_consent: bool) -> list[ConfirmedCapture]:
    """The newest first. A crop follows its event, so that a face is always with whoever was named last."""
    named = EventCrop.person_id
    is_right = and_(DecisionRow.is_correct.is_(True), DecisionRow.person_id == named)
    is_put_right = and_(DecisionRow.is_correct.is_(False), DecisionRow.true_person_id == named)
    says_so = EventCorrection.after["person_id"].as_string() == named
    is_corrected = select(EventCorrection.id).where(EventCorrection.event_id == Event.id, says_so).exists()
    of = (
        select(Event.id, named, Event.occurred_at)
        .join(EventCrop, EventCrop.event_id == Event.id)
        .join(Person, Person.id == named)
        .outerjoin(DecisionRow, DecisionRow.id == Event.id)
        .where(
            Event.is_deleted.is_(False),
            Event.person_id == named,
            EventCrop.expires_at > now,
            or_(is_right, is_put_right, is_corrected),
            *_may_be_learned_from(needs_consent),
        )
    )
    rows = session.execute(of.order_by(Event.occurred_at.desc(), Event.id))
    return [ConfirmedCapture(*row) for row in rows]


def sealed_crops(session: Session, event_ids: Sequence[str]) -> dict[str, bytes]:
    """By event the sealed crop of its face, where it is still kept."""
    found: dict[str, bytes] = {}
    for some in _portions(event_ids):
        of = select(EventCrop.event_id, EventCrop.sealed_crop).where(EventCrop.event_id.in_(some))
        found.update((event_id, sealed) for event_id, sealed in session.execute(of))
    return found


def people_by_code(session: Session, codes: Sequence[str], *, needs_consent: bool) -> dict[str, tuple[str, bool]]:
    """By employee code the person's id, and whether they may be learned from."""
    found: dict[str, tuple[str, bool]] = {}
    for some in _portions(codes):
        of = select(Person.employee_code, Person.id, Person.active, Person.consent_given_at)
        for code, person_id, is_active, consent in session.execute(of.where(Person.employee_code.in_(some))):
            found[code] = person_id, is_active and (consent is not None or not needs_consent)
    return found


def training_run(session: Session, job_id: str) -> TrainingRun | None:
    return session.get(TrainingRun, job_id)


def model_of_job(session: Session, job_id: str) -> Model | None:
    """The model that a job has stored already."""
    return session.scalars(select(Model).where(Model.job_id == job_id)).first()


def note_curves(session: Session, job_id: str, curves: dict[str, Any]) -> None:
    session.execute(update(TrainingRun).where(TrainingRun.job_id == job_id).values(curves=curves))


def unfinished_jobs(session: Session, job_ids: Collection[str]) -> set[str]:
    """Those of these jobs that are queued or running."""
    found = set[str]()
    for some in _portions(sorted(job_ids)):
        of = select(Job.id).where(Job.id.in_(some), Job.status.in_(("queued", "running")))
        found |= set(session.scalars(of))
    return found


def _may_be_learned_from(needs_consent: bool) -> list[ColumnElement[bool]]:
    return [Person.active.is_(True), *([Person.consent_given_at.is_not(None)] if needs_consent else [])]


def _portions(ids: Sequence[T]) -> list[Sequence[T]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]

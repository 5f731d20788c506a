"""All SQL about kept face crops of templates and of recognised captures."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.orm import Session

from app.db.tables import Event, EventCrop, Person, SuspiciousTemplateRow, Template, TemplateCrop, UnknownFace

# Ids in one IN (...): below every database's limit on bound values.
_IDS_AT_ONCE = 500


def add_template_crops(session: Session, rows: Sequence[dict[str, object]]) -> None:
    session.execute(insert(TemplateCrop), rows)


def event_crop(session: Session, event_id: str, now: datetime) -> bytes | None:
    """Sealed; None where none is kept, or its time is over."""
    of = select(EventCrop.sealed_crop).where(EventCrop.event_id == event_id, EventCrop.expires_at > now)
    return session.scalars(of).one_or_none()


def unknown_crop(session: Session, event_id: str, now: datetime) -> tuple[bytes, str | None] | None:
    """Sealed, of a face that is still nobody's, and which cluster it is in, if in any yet."""
    of = select(UnknownFace.sealed_crop, UnknownFace.cluster_id).join(Event, Event.id == UnknownFace.event_id)
    is_kept = UnknownFace.expires_at > now, Event.person_id.is_(None), Event.is_deleted.is_(False)
    row = session.execute(of.where(UnknownFace.event_id == event_id, *is_kept)).one_or_none()
    return None if row is None else (row.sealed_crop, row.cluster_id)


def template_crop(session: Session, template_id: int) -> bytes | None:
    of = select(TemplateCrop.sealed_crop).where(TemplateCrop.template_id == template_id)
    return session.scalars(of).one_or_none()


def portrait(session: Session, person_id: str) -> bytes | None:
    """Sealed, of the best template that has a crop."""
    of = select(TemplateCrop.sealed_crop).join(Template, Template.id == TemplateCrop.template_id)
    best = of.where(Template.person_id == person_id).order_by(Template.quality.desc(), Template.id).limit(1)
    return session.scalars(best).one_or_none()


def person_exists(session: Session, person_id: str) -> bool:
    return session.scalars(select(Person.id).where(Person.id == person_id)).one_or_none() is not None


def templates(session: Session, person_id: str) -> Sequence[Row[Template, int | None, int | None]]:
    """A person's templates, the oldest first; of each its id again where it has a crop, and where it is suspicious."""
    statement = (
        select(Template, TemplateCrop.template_id, SuspiciousTemplateRow.template_id)
        .outerjoin(TemplateCrop, TemplateCrop.template_id == Template.id)
        .outerjoin(SuspiciousTemplateRow, SuspiciousTemplateRow.template_id == Template.id)
        .where(Template.person_id == person_id)
        .order_by(Template.id)
    )
    return session.execute(statement).all()


def with_crop(session: Session, event_ids: Collection[str], now: datetime) -> set[str]:
    """Those of a few events of which a face is kept."""
    if not event_ids:
        return set()
    named = select(EventCrop.event_id).where(EventCrop.event_id.in_(event_ids), EventCrop.expires_at > now)
    kept = select(UnknownFace.event_id).where(UnknownFace.event_id.in_(event_ids), UnknownFace.expires_at > now)
    found = set(session.scalars(named))
    if unknown := session.scalars(kept).all():
        # Apart from the other: SQLite would begin with everybody's events that name nobody.
        still = select(Event.id, Event.person_id, Event.is_deleted).where(Event.id.in_(unknown))
        found |= {row.id for row in session.execute(still) if row.person_id is None and not row.is_deleted}
    return found


def give(session: Session, event_ids: Collection[str], person_id: str) -> None:
    """These events' crops are another person's."""
    for some in _portions(list(event_ids)):
        session.execute(update(EventCrop).where(EventCrop.event_id.in_(some)).values(person_id=person_id))


def delete_event_crops(session: Session, event_ids: Collection[str]) -> int:
    n_deleted = 0
    for some in _portions(list(event_ids)):
        gone = delete(EventCrop).where(EventCrop.event_id.in_(some)).returning(EventCrop.event_id)
        n_deleted += len(session.scalars(gone).all())
    return n_deleted


def delete_of_person(session: Session, person_id: str) -> int:
    """Crops of their events and templates; returns how many there were."""
    events = delete(EventCrop).where(EventCrop.person_id == person_id).returning(EventCrop.event_id)
    theirs = select(Template.id).where(Template.person_id == person_id)
    templates = delete(TemplateCrop).where(TemplateCrop.template_id.in_(theirs)).returning(TemplateCrop.template_id)
    unsynchronised = {"synchronize_session": False}
    n_events = len(session.scalars(events.execution_options(**unsynchronised)).all())
    return n_events + len(session.scalars(templates.execution_options(**unsynchronised)).all())


def expired(session: Session, now: datetime, limit: int) -> list[str]:
    return list(session.scalars(select(EventCrop.event_id).where(EventCrop.expires_at <= now).limit(limit)))


def kept_since(session: Session, after: str, limit: int) -> Sequence[Row[str, datetime, datetime]]:
    """Event id, when it happened and when its crop expires; by id, from the one after this on."""
    of = select(EventCrop.event_id, Event.occurred_at, EventCrop.expires_at).join(Event, Event.id == EventCrop.event_id)
    return session.execute(of.where(EventCrop.event_id > after).order_by(EventCrop.event_id).limit(limit)).all()


def set_expiry(session: Session, event_id: str, expires_at: datetime) -> None:
    session.execute(update(EventCrop).where(EventCrop.event_id == event_id).values(expires_at=expires_at))


def some_template_crops(session: Session, limit: int) -> list[int]:
    return list(session.scalars(select(TemplateCrop.template_id).limit(limit)))


def delete_template_crops(session: Session, template_ids: Collection[int]) -> None:
    session.execute(delete(TemplateCrop).where(TemplateCrop.template_id.in_(template_ids)))


def _portions(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]

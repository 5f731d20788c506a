"""Keeping crops of faces, sealed; inside a session that the caller commits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from app.crops import queries
from app.crops.cutting import FaceCrop
from app.db.tables import Event, EventCrop
from app.db.types import utc_now
from app.sealing import Sealer
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class CropKeeper:
    """Seals crops; `event_days` 0 keeps none of captures, `keeps_templates` says whether templates have any."""

    sealer: Sealer
    event_days: int
    keeps_templates: bool

    @classmethod
    def of(cls, settings: Settings, sealer: Sealer) -> "CropKeeper":
        return cls(sealer, settings.crop_retention_days, settings.keep_template_crops)

    def keep_of_templates(self, session: Session, crops: Iterable[tuple[int, FaceCrop | None]]) -> None:
        """Beside templates that are flushed; for as long as these are kept."""
        rows: list[dict[str, object]] = [
            {"template_id": id_, "landmarks": crop.landmarks, "sealed_crop": self.sealer.seal(crop.jpeg)}
            for id_, crop in crops
            if crop is not None and self.keeps_templates
        ]
        if rows:
            queries.add_template_crops(session, rows)

    def keep_of_event(self, session: Session, event: Event, jpeg: bytes) -> None:
        """Beside an event that names somebody; nothing where the event is older than crops are kept."""
        expires_at = event.occurred_at + timedelta(days=self.event_days)
        if event.person_id is not None and expires_at > utc_now():
            sealed = self.sealer.seal(jpeg)
            session.add(
                EventCrop(event_id=event.id, person_id=event.person_id, expires_at=expires_at, sealed_crop=sealed)
            )


def follow(session: Session, events: Sequence[Event]) -> None:
    """After events were corrected: their crops are of whoever they are said to be, or of nobody we may keep."""
    by_person: dict[str, list[str]] = {}
    for event in events:
        if event.person_id is not None:
            by_person.setdefault(event.person_id, []).append(event.id)
    for person_id, event_ids in by_person.items():
        queries.give(session, event_ids, person_id)
    queries.delete_event_crops(session, [event.id for event in events if event.person_id is None])


def forget(session: Session, person_id: str) -> int:
    """Delete what is kept of a person who is erased, before they are; returns how many crops that was."""
    return queries.delete_of_person(session, person_id)

"""What the ledger keeps of a person who is erased: that somebody was there, and nothing of who."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from app.attendance import queries
from app.cameras import snapshot_queries
from app.crops import keeping as crops
from app.review import service as review
from app.webhooks import service as webhooks

# Free text may hold a name.
_ERASED: Final = "The person was erased."


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was about the person."""

    n_events: int
    n_crops: int


def forget(session: Session, person_id: str) -> Forgotten:
    """To be called before the person is deleted, which takes their days, approvals, PIN and badge along.

    Captures of the person that are being recorded are waited for, and later ones find nobody.
    """
    queries.lock_people(session, {person_id})
    n_events = queries.count_about(session, person_id)
    n_crops = review.forget(session, person_id) + crops.forget(session, person_id)
    for correction in queries.corrections_about(session, person_id):
        correction.before = _without(correction.before, person_id)
        correction.after = _without(correction.after, person_id)
        correction.reason = _ERASED
    session.flush()
    queries.anonymise_events(session, person_id, _ERASED)
    webhooks.forget_person(session, person_id)
    snapshot_queries.delete_taken(session)
    return Forgotten(n_events, n_crops)


def _without(said: dict[str, Any], person_id: str) -> dict[str, Any]:
    return {name: None if value == person_id else value for name, value in said.items()}

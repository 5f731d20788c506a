"""Kept crops of faces, opened for people to look at, and what a person is recognised by."""

from typing import Final

from sqlalchemy.orm import Session

from app.crops import queries, schemas
from app.db.types import utc_now
from app.enrolment.schemas import Pose, Source
from app.errors import ProblemError
from app.sealing import SealBrokenError, Sealer

# What the audit log says was looked at where a face is not with others like it yet: a few seconds after it was seen.
UNSORTED: Final = "unsorted"


def of_event(session: Session, event_id: str, sealer: Sealer) -> tuple[bytes, str | None]:
    """The JPEG of the face that an event was made of, or 404; and of a stranger's, the cluster it is in."""
    now = utc_now()
    if (sealed := queries.event_crop(session, event_id, now)) is not None:
        return _opened(sealed, sealer), None
    if (unknown := queries.unknown_crop(session, event_id, now)) is not None:
        return _opened(unknown[0], sealer), unknown[1] or UNSORTED
    raise _not_found("No picture of this event is kept: it has expired, or none was made.")


def of_template(session: Session, template_id: int, sealer: Sealer) -> bytes:
    """The JPEG of the face that a template was made of, or 404."""
    sealed = queries.template_crop(session, template_id)
    if sealed is None:
        raise _not_found("No picture of this template is kept. Enrol the person again to have one.")
    return _opened(sealed, sealer)


def portrait(session: Session, person_id: str, sealer: Sealer) -> bytes:
    """The JPEG of a person's best template that has one, or 404."""
    sealed = queries.portrait(session, person_id)
    if sealed is None:
        raise _not_found("No picture of this person is kept. Enrol them again to have one.")
    return _opened(sealed, sealer)


def templates(session: Session, person_id: str) -> list[schemas.TemplateView]:
    """A person's templates, the oldest first; 404 where there is no such person."""
    if not queries.person_exists(session, person_id):
        raise ProblemError(404, "person_not_found", "There is no person with this id.")
    return [
        schemas.TemplateView(
            id=template.id,
            enrolment_id=template.enrolment_id,
            quality=round(template.quality, 4),
            pose=Pose(yaw_deg=template.yaw_deg, pitch_deg=template.pitch_deg, roll_deg=template.roll_deg),
            source=Source.model_validate(template.source),
            has_crop=crop_of is not None,
            created_at=template.created_at,
            suspicious=suspicious is not None,
        )
        for template, crop_of, suspicious in queries.templates(session, person_id)
    ]


def _opened(sealed: bytes, sealer: Sealer) -> bytes:
    try:
        return sealer.open(sealed)
    except SealBrokenError:
        detail = "This picture was sealed with another ROLLCALL_SECRET_KEY; set NEW,OLD to see it until it is deleted."
        raise ProblemError(404, "crop_unreadable", detail) from None


def _not_found(detail: str) -> ProblemError:
    return ProblemError(404, "crop_not_found", detail)

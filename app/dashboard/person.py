"""One person: how well they are enrolled, enrolling them, what was recorded of them lately, and erasing them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.attendance import queries as attendance
from app.attendance import views
from app.attendance.queries import EventFilter
from app.dashboard.face_words import counted, reason_of, words_in
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.dashboard.people import choices
from app.db.tables import Enrolment
from app.db.types import utc_now
from app.enrolment import queries as enrolments
from app.enrolment import service as service_of_enrolments
from app.http.dependencies import DatabaseDep, SettingsDep
from app.people import queries, service
from app.people.schemas import Coverage
from app.shifts import queries as shifts
from ml.pose import POSES, main_pose
from ml.types import Pose

router = APIRouter(include_in_schema=False)

_MOST_EVENTS: Final = 20
_MOST_ENROLMENTS: Final = 20
_MOST_ROSTERED: Final = 20


@dataclass(frozen=True, slots=True)
class ShownTemplate:
    """One template as the page shows it; `direction` is the pose that it shows most."""

    id: int
    enrolment_id: str
    quality: float
    direction: str
    pose: Pose
    source: dict[str, Any]
    created_at: datetime
    is_suspicious: bool


@dataclass(frozen=True, slots=True)
class ShownEnrolment:
    """One upload: `files` are photos with the reason against each; of a video the reasons are counted."""

    id: str
    kind: str
    status: str
    file_name: str | None
    created_at: datetime
    n_templates: int
    frames_read: int
    reasons: dict[str, int]
    files: list[tuple[str, str]]
    warnings: list[str]
    error: str | None


@router.get("/people/{person_id}")
def person_page(
    person_id: str, request: Request, visitor: VisitorDep, database: DatabaseDep, settings: SettingsDep
) -> HTMLResponse:
    with database.read() as session:
        row = service.get(session, person_id)
        person = service.views(session, [row])[0]
        data = {
            "person": person,
            "missing": missing(person.coverage),
            "templates": _templates(session, person_id, settings.templates_per_person_max),
            "enrolments": _enrolments(session, person_id),
            "events": _events(session, person_id),
            "pin": attendance.credential(session, person_id, "pin"),
            "badge": attendance.credential(session, person_id, "badge"),
            "roster": _roster(session, person_id, utc_now().astimezone(visitor.taste.zone).date()),
            "deactivated_at": row.deactivated_at,
            **choices(session),
        }
        named = {entry.shift_id for entry in data["roster"]} | {person.shift_id or ""}
        data["shift_names"] = shifts.names_of(session, named)
    return render(
        request,
        visitor,
        "person.html",
        words=words_in(visitor.taste.language),
        requires_consent=settings.require_consent,
        max_files=settings.max_enroll_files,
        **data,
    )


def missing(coverage: Coverage) -> list[str]:
    """The directions that no template shows, in the order in which they are asked for."""
    return [pose for pose in POSES if not getattr(coverage, pose)]


def _templates(session: Session, person_id: str, limit: int) -> list[ShownTemplate]:
    shown = []
    for row in queries.templates_to_show(session, person_id, limit):
        pose = Pose(row.yaw_deg, row.pitch_deg, row.roll_deg)
        shown.append(
            ShownTemplate(
                id=row.id,
                enrolment_id=row.enrolment_id,
                quality=row.quality,
                direction=main_pose(pose),
                pose=pose,
                source=row.source,
                created_at=row.created_at,
                is_suspicious=row.is_suspicious,
            )
        )
    return shown


def _enrolments(session: Session, person_id: str) -> list[ShownEnrolment]:
    left = enrolments.n_templates_by_enrolment(session, person_id)
    latest = enrolments.latest_of(session, person_id, _MOST_ENROLMENTS)
    return [_shown(session, enrolment, left.get(enrolment.id, 0)) for enrolment in latest]


def _shown(session: Session, enrolment: Enrolment, n_templates: int) -> ShownEnrolment:
    is_photos = enrolment.kind == "images"
    status, error = enrolment.status, enrolment.error
    if status == "queued":  # its job knows more; few are waiting at a time
        view = service_of_enrolments.view(session, enrolment)
        status, error = view.status, view.error
    return ShownEnrolment(
        id=enrolment.id,
        kind=enrolment.kind,
        status=status,
        file_name=enrolment.file_name,
        created_at=enrolment.created_at,
        n_templates=n_templates,
        frames_read=enrolment.frames_read,
        reasons={} if is_photos else counted(enrolment.rejected),
        files=[(each["source"]["file"], each["reason"]) for each in enrolment.rejected] if is_photos else [],
        warnings=_firsts(enrolment.warnings),
        error=reason_of(error),
    )


def _firsts(warnings: Sequence[str]) -> list[str]:
    """Each kind of warning once."""
    return list(dict.fromkeys(reason_of(warning) or "" for warning in warnings))


def _events(session: Session, person_id: str) -> list[Any]:
    wanted = EventFilter(person_id=person_id)
    rows = attendance.list_events(session, wanted, order="desc", after=None, limit=_MOST_EVENTS)
    return list(views.event_views(session, rows))


def _roster(session: Session, person_id: str, today: date) -> list[Any]:
    """What is planned for days from today on, beside the standing shift."""
    rows = shifts.list_assignments(
        session, person_id=person_id, first=today, last=None, after=None, limit=_MOST_ROSTERED
    )
    return [row for row in rows if not row.is_standing]

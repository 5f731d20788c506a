"""Face crops by URL, for pages that show them, and a person's templates."""

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.auth.dependencies import OperatorDep
from app.crops import schemas, service
from app.db.engine import Database
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep, SealerDep
from app.http.pagination import MAX_ID
from app.review.service import note_view, was_viewed

router = APIRouter(prefix="/v1", tags=["Review"])

# On the disk of a browser a face would outlive its retention, its erasure, and whoever had signed in.
_HEADERS: Final = {"Cache-Control": "no-store"}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}}}},
    304: {"description": "The same as `If-None-Match` says."},
}
# A head and shoulders, in a grey that is seen on light and on dark.
_NOBODY: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#8a94a6" stroke-width="1.4">'
    '<circle cx="12" cy="9.5" r="3.5"/><path d="M5.5 20a6.5 6.5 0 0 1 13 0"/></svg>'
)
Placeholder = Annotated[
    bool, Query(description="Where no crop is kept, answer 200 with a drawing of a person, for a page, and not 404.")
]
TemplateId = Annotated[int, Path(ge=0, le=MAX_ID)]


@router.get("/events/{event_id}/crop", response_class=Response, responses=_JPEG)
def get_event_crop(
    request: Request,
    event_id: str,
    database: DatabaseDep,
    sealer: SealerDep,
    caller: OperatorDep,
    placeholder: Placeholder = False,
) -> Response:
    """The face that an event was made of, as JPEG.

    Of people who were recognised it is kept for `ROLLCALL_CROP_RETENTION_DAYS`, of unknown faces as the site says; that
    somebody looked at an unknown face is noted in the audit log. 404 `crop_not_found` once it is gone, and
    `crop_unreadable` where it was sealed with another key.
    """
    with database.read() as session:
        try:
            crop, cluster_id = service.of_event(session, event_id, sealer)
        except ProblemError as problem:
            return _instead(problem, placeholder)
        is_noted = cluster_id is None or was_viewed(session, cluster_id, caller)
    if cluster_id is not None and not is_noted:
        with database.write() as session:
            note_view(session, cluster_id, caller)
    return _answer(request, crop)


@router.get("/templates/{template_id}/crop", response_class=Response, responses=_JPEG)
def get_template_crop(
    request: Request,
    template_id: TemplateId,
    database: DatabaseDep,
    sealer: SealerDep,
    _caller: OperatorDep,
    placeholder: Placeholder = False,
) -> Response:
    """The face that a template was made of, as JPEG; 404 `crop_not_found` where none was kept."""
    return _shown(request, database, lambda session: service.of_template(session, template_id, sealer), placeholder)


@router.get("/people/{person_id}/templates")
def list_templates(person_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Templates:
    """What a person is recognised by, template by template, the oldest first."""
    with database.read() as session:
        return schemas.Templates(items=service.templates(session, person_id))


@router.get("/people/{person_id}/portrait", response_class=Response, responses=_JPEG)
def get_portrait(
    request: Request,
    person_id: str,
    database: DatabaseDep,
    sealer: SealerDep,
    _caller: OperatorDep,
    placeholder: Placeholder = False,
) -> Response:
    """The crop of a person's best template, as JPEG; 404 `crop_not_found` where none was kept."""
    return _shown(request, database, lambda session: service.portrait(session, person_id, sealer), placeholder)


def _shown(request: Request, database: Database, find: Callable[[Session], bytes], placeholder: bool) -> Response:
    try:
        with database.read() as session:
            crop = find(session)
    except ProblemError as problem:
        return _instead(problem, placeholder)
    return _answer(request, crop)


def _instead(problem: ProblemError, placeholder: bool) -> Response:
    """What is shown where there is no crop."""
    if not placeholder:
        raise problem
    return Response(_NOBODY, media_type="image/svg+xml", headers=_HEADERS)


def _answer(request: Request, crop: bytes) -> Response:
    etag = f'"{sha256(crop).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(crop, media_type="image/jpeg", headers=headers)

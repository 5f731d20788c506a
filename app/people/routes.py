"""`/v1/people`."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.auth.dependencies import OPERATOR, OperatorDep
from app.db.engine import Database
from app.db.tables import Person
from app.enrolment.dependencies import UploadsDep
from app.enrolment.service import cancel_clips
from app.errors import ProblemError
from app.http.content_type import CSV, FORM, media_type, require_type
from app.http.dependencies import DatabaseDep, GalleryChangedDep, SettingsDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.people import csv_file, importing, queries, schemas, service

router = APIRouter(prefix="/v1/people", tags=["People"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
EXPORT_CHUNK = 500

CSV_SCHEMA = {"schema": {"type": "string"}}
UPLOAD_SCHEMA = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
    }
}
CSV_BODY = {"requestBody": {"required": True, "content": {CSV: CSV_SCHEMA, FORM: UPLOAD_SCHEMA}}}
SEND_CSV = "Send the CSV as the body, as text/csv, or as the file `file` of a multipart/form-data form."


async def csv_upload(request: Request) -> AsyncIterator[bytes]:
    """The CSV, sent as the body itself or as `file` of a form."""
    if media_type(request) != FORM:
        yield await request.body()
        return
    try:
        file = (await request.form()).get("file")
        if not isinstance(file, UploadFile):
            raise ProblemError(422, "fields_invalid", SEND_CSV)
        yield await file.read()
    finally:
        await request.close()


@router.post("", status_code=201, response_model=schemas.Person)
def create_person(new: schemas.PersonCreate, caller: OperatorDep, idempotency: IdempotencyDep) -> Response:
    """Adds a person. They can be recognised once they are enrolled."""

    def work(session: Session) -> Answer:
        person = service.create(session, new, caller)
        return Answer(201, service.views(session, [person])[0], {"Location": f"/v1/people/{person.id}"})

    return idempotency.write(work)


@router.get("")
def list_people(
    database: DatabaseDep,
    page: PageDep,
    _caller: OperatorDep,
    query: Annotated[str | None, Query(max_length=200, description="Part of a name or employee_code.")] = None,
    department: Annotated[str | None, Query(max_length=200)] = None,
    active: bool | None = None,
) -> Page[schemas.Person]:
    """People, oldest first."""
    with database.read() as session:
        rows = queries.list_people(
            session,
            query=query,
            department=department,
            active=active,
            after=CURSOR.decode(page.cursor),
            limit=page.limit + 1,
        )
        shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
        return Page(items=service.views(session, shown), next_cursor=next_cursor)


@router.post(
    "/import",
    response_model=schemas.ImportResult,
    openapi_extra=CSV_BODY,
    dependencies=[OPERATOR, Depends(require_type(CSV, FORM, send=SEND_CSV))],
)
def import_people(
    content: Annotated[bytes, Depends(csv_upload)],
    settings: SettingsDep,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Creates or updates people from CSV with the columns employee_code, name, department, timezone, shift_id, site_id.

    All but the first two may be left out; a `shift_id` that differs counts from today on. Every row is taken whole or,
    with an entry in `errors`, not at all; all good rows are written at once.
    """
    rows = csv_file.read_rows(content, settings.max_import_rows)

    def work(session: Session) -> Answer:
        return Answer(200, importing.import_people(session, rows, caller, settings.timezone))

    return idempotency.write(work)


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": {CSV: CSV_SCHEMA}}})
def export_people(database: DatabaseDep, _caller: OperatorDep) -> StreamingResponse:
    """Everybody, as CSV that the import takes back. Cells that a spreadsheet would run get an apostrophe in front."""
    headers = {"Content-Disposition": 'attachment; filename="people.csv"'}
    lines = csv_file.write_rows(_export_rows(database))
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{person_id}")
def get_person(person_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Person:
    """One person."""
    with database.read() as session:
        return service.views(session, [service.get(session, person_id)])[0]


@router.patch("/{person_id}")
def update_person(
    person_id: str,
    update: schemas.PersonUpdate,
    database: DatabaseDep,
    settings: SettingsDep,
    gallery_changed: GalleryChangedDep,
    caller: OperatorDep,
) -> schemas.Person:
    """Changes the fields that are sent; null empties a field. Who is not `active` is recognised no more.

    Another `shift_id` counts from today on; days before keep the one that they had.
    """
    with database.write_in_turn() as session:
        person = service.update(session, person_id, update, caller, settings.timezone)
        view = service.views(session, [person])[0]
    gallery_changed()
    return view


@router.delete("/{person_id}")
def erase_person(
    person_id: str,
    database: DatabaseDep,
    uploads: UploadsDep,
    gallery_changed: GalleryChangedDep,
    caller: OperatorDep,
) -> schemas.ErasureReceipt:
    """Erases a person: embeddings, face crops, clips and name go at once, from every store and replica."""
    with database.write_in_turn() as session:
        clips = cancel_clips(session, person_id, caller)
        receipt = service.erase(session, person_id, caller)
    for clip in clips:
        uploads.remove(clip)
    database.scrub()
    gallery_changed()
    return receipt


def _cursor_of(person: Person) -> str:
    return CURSOR.encode((person.created_at, person.id))


def _export_rows(database: Database) -> Iterator[dict[str, object]]:
    """Reads in chunks, each in its own short transaction, so that a slow client holds nothing open."""
    after: tuple[datetime, str] | None = None
    while True:
        with database.read() as session:
            people = queries.list_people(session, after=after, limit=EXPORT_CHUNK)
            views = service.views(session, people)
        for view in views:
            yield {**view.model_dump(mode="json", include=set(csv_file.EXPORTED)), **_consent_cells(view)}
        if len(people) < EXPORT_CHUNK:
            return
        after = people[-1].created_at, people[-1].id


def _consent_cells(view: schemas.Person) -> dict[str, object]:
    consent = view.consent.model_dump(mode="json") if view.consent else {}
    return {f"consent_{name}": value for name, value in consent.items()}

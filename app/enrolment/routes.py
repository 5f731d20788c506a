"""`/v1/enroll` and `/v1/enrolments`."""

from pathlib import PurePath
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, UploadFile
from starlette.responses import Response

from app.auth.dependencies import OPERATOR, OperatorDep
from app.crops.keeping import CropKeeper
from app.enrolment import schemas, service
from app.enrolment.dependencies import UploadsDep
from app.enrolment.photos import Upload
from app.enrolment.service import Enroller, EnrollRequest
from app.enrolment.videos import Clip, VideoIntake
from app.errors import ProblemError
from app.gallery.dependencies import GalleryDep
from app.http.content_type import FORM, FORM_WITHOUT_FILES, require_type
from app.http.dependencies import DatabaseDep, SealerDep, SettingsDep
from app.http.fields import Name
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.inference.dependencies import ImageReaderDep, InferenceDep
from app.operating_points.dependencies import PointInForceDep
from app.people.schemas import EmployeeCode
from ml.containers import HEAD_BYTES, is_video

router = APIRouter(prefix="/v1", tags=["Enrol"])

_FILE_NAME_CHARS = 120
_SEND_PHOTOS = "Send a multipart/form-data form with employee_code, name and the photos, or one video, as `files`."


@router.post(
    "/enroll",
    status_code=201,
    response_model=schemas.Enrolment,
    responses={202: {"model": schemas.Enrolment}},
    dependencies=[OPERATOR, Depends(require_type(FORM, FORM_WITHOUT_FILES, send=_SEND_PHOTOS))],
)
def enroll(
    employee_code: Annotated[EmployeeCode, Form(description="Whose face this is.")],
    files: Annotated[list[UploadFile], File(description="Photos of this person, or one video.")],
    database: DatabaseDep,
    uploads: UploadsDep,
    gallery: GalleryDep,
    inference: InferenceDep,
    images: ImageReaderDep,
    point: PointInForceDep,
    settings: SettingsDep,
    sealer: SealerDep,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
    name: Annotated[Name | None, Form(description="Needed when the person is new.")] = None,
    consent: Annotated[bool, Form(description="`true` when the person agrees now.")] = False,
    on_duplicate: Annotated[
        Literal["refuse", "allow"], Form(description="What to do when the face already belongs to somebody else.")
    ] = "refuse",
) -> Response:
    """Enrols a person from one or more photos (JPEG, PNG, WebP), or from one video (MP4, MOV, AVI, WebM, GIF).

    Photos: every file is judged by itself: good ones are kept, the others are listed in `rejected` with a reason. What
    is answered is stored and found by the next search.

    A video of one person turning the head, ten seconds or so, is answered at once with 202 and read by a job: ask for
    `Location` until `status` is `done` or `failed`. The person is added when the employee_code is new.
    """
    request = EnrollRequest(employee_code, name, has_consent=consent, allows_duplicate=on_duplicate == "allow")
    clip = _clip(files)
    if clip is not None:
        intake = VideoIntake(database, uploads, settings)
        return idempotency.run(lambda store: intake.take(request, clip, caller, store))
    photos = _photos(files, settings.max_enroll_files)
    enroller = Enroller(database, inference, gallery, images, point, settings, CropKeeper.of(settings, sealer))

    def attempt(store: Store) -> Answer:
        seen = enroller.read(request, photos)
        gallery.catch_up()  # in the transaction it would keep everybody else from enrolling
        with database.write_in_turn() as session:
            enrolment = enroller.store(session, request, seen, caller)
            return store(session, Answer(201, enrolment, {"Location": f"/v1/enrolments/{enrolment.id}"}))

    answer = idempotency.run(attempt)
    gallery.hear()
    return answer


@router.get("/enrolments/{enrolment_id}")
def get_enrolment(enrolment_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Enrolment:
    """What became of an upload."""
    with database.read() as session:
        return service.view(session, service.get(session, enrolment_id))


@router.delete("/enrolments/{enrolment_id}")
def remove_enrolment(
    enrolment_id: str, database: DatabaseDep, uploads: UploadsDep, gallery: GalleryDep, caller: OperatorDep
) -> schemas.EnrolmentRemoval:
    """Removes an enrolment's templates, and its clip and job if these are still there; the person stays."""
    with database.write_in_turn() as session:
        receipt = service.remove(session, enrolment_id, caller)
    uploads.remove(enrolment_id)
    database.scrub()
    gallery.hear()
    return receipt


def _clip(files: list[UploadFile]) -> Clip | None:
    """The video, if that is what was sent."""
    videos = [file for file in files if is_video(_head(file))]
    if videos and len(files) > 1:
        raise ProblemError(422, "one_video_alone", "Send one video, or photos, but not several videos or both at once.")
    return Clip(_display_name(videos[0].filename), videos[0].file) if videos else None


def _head(file: UploadFile) -> bytes:
    head = file.file.read(HEAD_BYTES)
    file.file.seek(0)
    return head


def _photos(files: list[UploadFile], max_files: int) -> list[Upload]:
    if len(files) > max_files:
        raise ProblemError(413, "too_many_files", f"Send at most {max_files} files in one call.")
    return [Upload(_display_name(file.filename), file.file.read()) for file in files]


def _display_name(filename: str | None) -> str:
    """What to call a file in answers: no folders, no control characters, not too long."""
    name = PurePath((filename or "").replace("\\", "/")).name
    return "".join(char for char in name if char.isprintable())[:_FILE_NAME_CHARS] or "file"

"""The one table from what went wrong to what the caller is told (RFC 9457 `application/problem+json`).

A feature refuses by raising `ProblemError`. Everything else that may be raised is mapped by `problem_for`; what it does
not know becomes 500 `internal_error`, and the stack is logged, never sent.
"""

from collections.abc import Callable, Mapping, Sequence
from errno import EDQUOT, ENOSPC
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, InterfaceError, InternalError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.db.engine import TooManyWritersError
from app.hashing import HashingBusyError
from app.inference.admission import InferenceBusyError, InferenceClosedError
from ml.errors import ImageError, ModelError, VideoError

# What a database that is away raises; InternalError is what PostgreSQL's driver makes of one that has become a
# read-only standby. Whoever met one of these may try again.
DATABASE_AWAY: Final = (OperationalError, InterfaceError, InternalError, PendingRollbackError, PoolTimeoutError)

MEDIA_TYPE = "application/problem+json"
# How soon a caller may try again when something outside the request was in the way.
RETRY_AFTER_S = 5
# The same for a queue that moves.
SOON_S = 1

IMAGE_STATUS = {
    "image_empty": 400,
    "image_invalid": 400,
    "image_truncated": 400,
    "image_too_large": 413,
    "image_type_unsupported": 415,
}
VIDEO_STATUS = {
    "video_empty": 400,
    "video_invalid": 400,
    "video_truncated": 400,
    "video_no_frames": 400,
    "video_too_large": 413,
    "video_type_unsupported": 415,
}
HTTP_CODES = {400: "body_invalid", 404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}
HTTP_DETAILS = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take this method; /docs lists what it takes.",
}


class FieldError(BaseModel):
    """One field that was refused; its value is never repeated."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """Every error of this service (RFC 9457). Some codes add a member, such as `person` with `duplicate_person`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field("about:blank", description="Always `about:blank`: `code` says more.")
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="What went wrong and what to do, for a person.")
    code: str = Field(description="What went wrong, for a program; never changes.", examples=["person_not_found"])
    request_id: str = Field(description="Also in `X-Request-Id`; the server's log has the same.")
    errors: list[FieldError] | None = Field(None, description="The fields that were refused, with 422.")


class ProblemError(HTTPException):
    """A refusal. It is an `HTTPException` so that FastAPI lets it pass when raised while a body is read."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code
        self.errors = list(errors) if errors is not None else None
        self.extra = dict(extra or {})


def problem_for(exc: Exception) -> ProblemError:
    """The refusal that stands for any exception."""
    if is_disk_full(exc):
        detail = "The server's disk is full. Nothing was changed; try again when its administrator has made room."
        return ProblemError(507, "storage_full", detail)
    for kinds, describe in TABLE:
        if isinstance(exc, kinds):
            return describe(exc)
    return ProblemError(
        500, "internal_error", "Something went wrong on the server. Its log has the reason under this request_id."
    )


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """The answer for one refusal."""
    body = Problem(
        title=HTTPStatus(problem.status_code).phrase,
        status=problem.status_code,
        detail=problem.detail,
        code=problem.code,
        request_id=request_id,
        errors=problem.errors,
        **problem.extra,
    )
    content = body.model_dump_json(exclude={"errors"} if problem.errors is None else None)
    return Response(content, problem.status_code, headers=problem.headers, media_type=MEDIA_TYPE)


def is_disk_full(exc: BaseException | None) -> bool:
    """Whether an exception was caused by a full disk, be it a file's, a spooled upload's or the database's."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in (ENOSPC, EDQUOT):
            return True
        if isinstance(exc, OperationalError) and "database or disk is full" in str(exc.orig):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _own(exc: Any) -> ProblemError:
    problem: ProblemError = exc
    return problem


def _video(exc: VideoError) -> ProblemError:
    return ProblemError(VIDEO_STATUS.get(exc.code, 400), exc.code, str(exc))


def _image(exc: Any) -> ProblemError:
    return ProblemError(IMAGE_STATUS.get(exc.code, 400), exc.code, str(exc))


def _model(exc: Any) -> ProblemError:
    return ProblemError(503, "model_unavailable", str(exc), headers={"Retry-After": str(RETRY_AFTER_S)})


def _fields(exc: Any) -> ProblemError:
    errors = [FieldError(loc=list(error["loc"]), msg=error["msg"]) for error in exc.errors()]
    return ProblemError(422, "fields_invalid", "Some fields are missing or wrong; see errors.", errors=errors)


def _stored_value(_exc: Any) -> ProblemError:
    return ProblemError(422, "fields_invalid", "A value cannot be stored or searched: remove unusual characters.")


def _database(_exc: Any) -> ProblemError:
    # It may have gone away after it has committed, so this cannot say that nothing was changed.
    detail = "The database does not answer. Try again; what carries an Idempotency-Key is not done twice."
    return ProblemError(503, "database_unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _line_too_long(_exc: Any) -> ProblemError:
    detail = "Too many others are changing the gallery just now. Nothing was changed; try again."
    return ProblemError(429, "overloaded", detail, headers={"Retry-After": str(SOON_S)})


def _hashing_busy(_exc: Any) -> ProblemError:
    detail = "Too many passwords or PINs are being checked just now. Try again in a moment."
    return ProblemError(429, "overloaded", detail, headers={"Retry-After": str(SOON_S)})


def _inference_busy(exc: InferenceBusyError) -> ProblemError:
    detail = "More pictures are sent than can be looked at. Nothing was done with this one; try again."
    return ProblemError(429, "overloaded", detail, headers={"Retry-After": str(exc.retry_after_s)})


def _inference_closed(_exc: Any) -> ProblemError:
    detail = "The service is ending, or starting again. Nothing was done; try again."
    return ProblemError(503, "not_ready", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _gone(_exc: Any) -> ProblemError:
    return ProblemError(400, "client_disconnected", "The connection ended before the request was complete.")


def _http(exc: Any) -> ProblemError:
    if isinstance(exc.__context__, MultiPartException):
        return ProblemError(400, "multipart_invalid", f"The multipart body cannot be read: {exc.detail}")
    code = HTTP_CODES.get(exc.status_code, HTTPStatus(exc.status_code).phrase.lower().replace(" ", "_"))
    return ProblemError(exc.status_code, code, HTTP_DETAILS.get(exc.status_code, str(exc.detail)), headers=exc.headers)


# First match wins.
TABLE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], ProblemError]], ...] = (
    (ProblemError, _own),
    (ImageError, _image),
    (VideoError, _video),
    (ModelError, _model),
    (RequestValidationError, _fields),
    (DataError, _stored_value),
    (TooManyWritersError, _line_too_long),
    (InferenceBusyError, _inference_busy),
    (HashingBusyError, _hashing_busy),
    (InferenceClosedError, _inference_closed),
    (DATABASE_AWAY, _database),
    (ClientDisconnect, _gone),  # nobody reads the answer; this keeps it from being logged as our failure
    (HTTPException, _http),
)

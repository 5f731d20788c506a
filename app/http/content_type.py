"""What type of body a request says it has, and the refusal of one that a route cannot read."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from app.errors import ProblemError

FORM = "multipart/form-data"
JSON = "application/json"
CSV = "text/csv"
# Carries no files, but is what most clients send for a form without any: they are told which field is missing.
FORM_WITHOUT_FILES = "application/x-www-form-urlencoded"


def media_type(request: Request) -> str:
    """The Content-Type without its parameters; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_type(*accepted: str, send: str) -> Callable[[Request], Awaitable[None]]:
    """For `Depends`: refuses other types with 415; `send` tells the caller what to send."""

    async def check(request: Request) -> None:
        if media_type(request) not in accepted:
            raise ProblemError(415, "type_unsupported", f"{send} The header Content-Type must say so.")

    return check

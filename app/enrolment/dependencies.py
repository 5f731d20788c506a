"""How a route gets the folder of uploaded clips."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.enrolment.uploads import Uploads


def _uploads(request: Request) -> Uploads:
    uploads: Uploads = request.app.state.uploads
    return uploads


UploadsDep = Annotated[Uploads, Depends(_uploads)]

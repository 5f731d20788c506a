"""How a route gets the folder of uploaded clips, and who sweeps it."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.enrolment.sweeper import UploadSweeper
from app.enrolment.uploads import Uploads


def _uploads(request: Request) -> Uploads:
    uploads: Uploads = request.app.state.uploads
    return uploads


def _sweeper(request: Request) -> UploadSweeper:
    sweeper: UploadSweeper = request.app.state.sweeper
    return sweeper


SweeperDep = Annotated[UploadSweeper, Depends(_sweeper)]
UploadsDep = Annotated[Uploads, Depends(_uploads)]

"""What pages load: our own style sheets and modules, catalogues, and plotly from its installed package."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from app.dashboard.frame.messages import as_module
from app.dashboard.frame.taste import LANGUAGES
from app.errors import ProblemError

STATIC: Final = Path(__file__).parents[1] / "static"
_ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
_FOR_A_DAY: Final = {"Cache-Control": "public, max-age=86400"}

router = APIRouter(prefix="/assets", include_in_schema=False)


@router.get("/messages/{language}.js")
async def messages(language: str) -> Response:
    if language not in LANGUAGES:
        raise ProblemError(404, "not_found", "There is no such language.")
    return Response(as_module(language), media_type="text/javascript", headers=_ASK_AGAIN)


@router.get("/plotly.min.js")
def plotly() -> FileResponse:
    """The whole library in one file, as the package brings it."""
    return FileResponse(str(files("plotly") / "package_data" / "plotly.min.js"), headers=_FOR_A_DAY)


def add_assets(app: FastAPI) -> None:
    """Serves `/assets`."""
    app.include_router(router)
    app.mount("/assets", _Fresh(directory=STATIC), name="assets")


class _Fresh(StaticFiles):
    """Files that a browser asks about each time, most often to be told that nothing changed.

    Left to guess, it would keep some for days, and after an upgrade new modules would meet old ones.
    """

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers.update(_ASK_AGAIN)
        return answer

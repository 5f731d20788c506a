"""How a route gets inference."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.inference.port import Inference


def _inference(request: Request) -> Inference:
    inference: Inference = request.app.state.inference
    return inference


InferenceDep = Annotated[Inference, Depends(_inference)]

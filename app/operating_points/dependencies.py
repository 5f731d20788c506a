"""How a route gets the operating points."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.operating_points.service import OperatingPoints


def _points(request: Request) -> OperatingPoints:
    points: OperatingPoints = request.app.state.operating_points
    return points


OperatingPointsDep = Annotated[OperatingPoints, Depends(_points)]

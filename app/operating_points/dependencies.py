"""How a route gets the operating points."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.gallery.dependencies import GalleryDep
from app.operating_points.calibrator import Calibrator
from app.operating_points.current import PointInForce
from app.operating_points.recalibrator import Recalibrator


async def _in_force(request: Request) -> PointInForce:
    in_force: PointInForce = request.app.state.point_in_force
    return in_force


async def _calibrator(request: Request) -> Calibrator:
    calibrator: Calibrator = request.app.state.calibrator
    return calibrator


def _caught_up(calibrator: "CalibratorDep", gallery: GalleryDep) -> Calibrator:
    gallery.catch_up()
    return calibrator


async def _recalibrator(request: Request) -> Recalibrator:
    recalibrator: Recalibrator = request.app.state.recalibrator
    return recalibrator


PointInForceDep = Annotated[PointInForce, Depends(_in_force)]
CalibratorDep = Annotated[Calibrator, Depends(_calibrator)]
CaughtUpCalibratorDep = Annotated[Calibrator, Depends(_caught_up)]
"""For whoever calibrates: the gallery that is searched has everything that is committed."""
RecalibratorDep = Annotated[Recalibrator, Depends(_recalibrator)]

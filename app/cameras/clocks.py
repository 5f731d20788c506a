"""How wrong a camera's clock is: measured by its heartbeats, remembered for captures that come late."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from app.auth.scopes import Principal
from app.cameras import queries, schemas
from app.cameras.service import camera_for
from app.db.tables import Camera, CameraClock
from app.errors import ProblemError

# The time on the network is part of every measurement; smaller differences say nothing about the clock.
_SAME_WITHIN_S: Final = 0.5
# A steady clock is noted this often all the same: of two measurements the nearer one counts.
_NOTED_EVERY: Final = timedelta(minutes=15)
# A hundred days of a steady clock. They are counted, not dated, because a clock without a battery begins in 1970.
_KEPT: Final = 10_000

log = structlog.get_logger(__name__)


def clock_offset_s(session: Session, camera: Camera, device_at: datetime) -> float:
    """What to add to this time of the camera's own clock to make it true: as measured nearest to it, else 0."""
    clocks = queries.nearest_clocks(session, camera.id, device_at)
    nearest = min(clocks, key=lambda clock: abs(clock.device_at - device_at), default=None)
    return 0.0 if nearest is None else nearest.offset_s


def heartbeat(
    session: Session, caller: Principal, beat: schemas.Heartbeat, now: datetime
) -> tuple[Camera, float | None]:
    """The camera that beats, and what its clock lacks; `now` is the true time when the heartbeat came."""
    camera = camera_for(session, caller, beat.camera_id)
    if camera is None:
        detail = "This key belongs to no camera. Add one with POST /v1/cameras, and use the key that it is given."
        raise ProblemError(403, "camera_unknown", detail)
    queries.lock_camera(session, camera.id)  # a heartbeat and its retry take turns
    camera.last_seen_at = max(now, camera.last_seen_at or now)
    if beat.version is not None:
        log.debug("camera.heartbeat", camera_id=camera.id, version=beat.version)
    if beat.device_time is None:
        return camera, None
    offset_s = (now - beat.device_time).total_seconds()
    if _is_news(queries.last_clock(session, camera.id), now, offset_s):
        _note(session, camera, beat.device_time, offset_s)
    return camera, offset_s


def _is_news(last: CameraClock | None, now: datetime, offset_s: float) -> bool:
    if last is None or abs(last.offset_s - offset_s) > _SAME_WITHIN_S:
        return True
    return now - (last.device_at + timedelta(seconds=last.offset_s)) >= _NOTED_EVERY


def _note(session: Session, camera: Camera, device_at: datetime, offset_s: float) -> None:
    session.add(CameraClock(camera_id=camera.id, device_at=device_at, offset_s=offset_s))
    camera.clock_offset_s = offset_s
    session.flush()
    queries.forget_clocks(session, camera.id, keep=_KEPT)

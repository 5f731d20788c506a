"""What a camera sees right now: somebody asks, the camera takes its newest frame, and both see what we make of it.

Nothing of this is an event or a decision: it is looked at as a capture would be, and forgotten after minutes. The
picture shows people, so it is sealed, and goes with the first person who is erased meanwhile.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import cv2
import numpy as np
from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.cameras import queries as cameras
from app.cameras import service, snapshot_queries
from app.cameras.schemas import Policy
from app.cameras.snapshot_schemas import Snapshot, SnapshotFace, Trouble
from app.db.clock import shared_now
from app.db.engine import Database
from app.db.tables import Camera, CameraSnapshot
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.identification.queries import person_refs
from app.identification.schemas import ImageSize
from app.identification.service import Glance, Identified
from app.identification.views import People, quality_view
from app.sealing import Sealer
from ml.quality import SEARCH_LIMITS, QualityLimits
from ml.types import Outcome, RgbImage, Sample

# Two heartbeats of our own client: one that asks for wishes more rarely still hears of this one.
ANSWER_S: Final = 60
KEPT: Final = timedelta(minutes=5)
MAX_FACES: Final = 20
# What is shown of it: enough to see why a face is too small, and a tenth of what a camera sends.
_SHOWN_SIDE_PX: Final = 1280
_JPEG_QUALITY: Final = 85


def ask(session: Session, camera_id: str, caller: Principal) -> CameraSnapshot:
    """Want a picture; two who ask at once wait for the same one."""
    camera = service.standing(cameras.lock_camera(session, camera_id))
    now, old = shared_now(session), snapshot_queries.of_camera(session, camera.id)
    if old is not None and status_of(old, now) == "wanted":
        return old
    wanted = old or CameraSnapshot(camera_id=camera.id)
    wanted.id, wanted.status, wanted.asked_by, wanted.asked_at = new_id("snp"), "wanted", caller.actor, now
    wanted.expires_at, wanted.taken_at, wanted.found, wanted.sealed_picture = now + KEPT, None, None, None
    session.add(wanted)
    session.flush()
    record(session, caller.actor, "camera.snapshot_asked", camera.id)
    return wanted


def wanted_of(session: Session, camera_id: str) -> str | None:
    """Which picture of this camera somebody waits for."""
    return snapshot_queries.wanted_of(session, camera_id, shared_now(session) - timedelta(seconds=ANSWER_S))


def find(session: Session, camera_id: str) -> CameraSnapshot:
    """The camera's, or 404 where nobody has asked for one lately."""
    service.get(session, camera_id)
    found = snapshot_queries.of_camera(session, camera_id)
    if found is None or found.expires_at <= shared_now(session):
        detail = "There is no picture of this camera (any more). POST /v1/cameras/{id}/snapshot asks for one."
        raise ProblemError(404, "snapshot_not_found", detail)
    return found


def awaited(session: Session, snapshot_id: str, caller: Principal) -> tuple[CameraSnapshot, Camera]:
    """What a camera may answer to, while somebody waits for it."""
    wanted = snapshot_queries.with_id(session, snapshot_id)
    if wanted is not None and wanted.camera_id != caller.camera_id:
        raise ProblemError(403, "camera_mismatch", "Another camera was asked for this picture. Send it with its key.")
    if wanted is None or status_of(wanted, shared_now(session)) != "wanted":
        raise ProblemError(404, "snapshot_not_found", "Nobody waits for this picture any more. Wait to be asked again.")
    return wanted, service.get(session, wanted.camera_id)


def status_of(snapshot: CameraSnapshot, now: datetime) -> str:
    """As stored, or `unanswered`."""
    is_late = snapshot.status == "wanted" and now >= snapshot.asked_at + timedelta(seconds=ANSWER_S)
    return "unanswered" if is_late else snapshot.status


def smallest_face(camera: Camera, sent_px: int | None) -> int | None:
    """As for a capture: the policy, or else what the camera says; None: as everywhere."""
    return Policy.model_validate(camera.policy).min_face_px or sent_px


def limits_of(camera: Camera, sent_px: int | None) -> QualityLimits:
    """What a face must be like to be searched for, as for a capture."""
    least, policy = smallest_face(camera, sent_px), Policy.model_validate(camera.policy)
    return replace(
        SEARCH_LIMITS,
        min_face_px=SEARCH_LIMITS.min_face_px if least is None else least,
        min_score=SEARCH_LIMITS.min_score if policy.min_quality is None else policy.min_quality,
    )


def glance(least_px: int | None, detector_min_px: int) -> Glance:
    """How the picture is looked at by a detector that sees faces from so many px on; its copy is what is shown."""
    enlarged = 1.0 if least_px is None else max(1.0, detector_min_px / least_px)
    return Glance(MAX_FACES, enlarged, lambda image, _samples: [shown(image)])


def shown(image: RgbImage) -> RgbImage:
    """The picture, at most 1280 px wide and high."""
    ratio = min(1.0, _SHOWN_SIDE_PX / max(image.shape[:2]))
    if ratio == 1.0:
        return image.copy()  # a view would keep the whole picture in memory
    size_wh = max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def as_jpeg(image: RgbImage) -> bytes:
    """The picture as a file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])


def keep(session: Session, snapshot: CameraSnapshot, identified: Identified, sealer: Sealer) -> None:
    """Store what was seen, in a transaction of the caller's."""
    snapshot.status, snapshot.taken_at = "done", shared_now(session)
    snapshot.expires_at = snapshot.taken_at + KEPT
    snapshot.found = _found(identified)
    snapshot.sealed_picture = sealer.seal(as_jpeg(identified.seen.crops[0]))


def give_up(session: Session, snapshot: CameraSnapshot, trouble: Trouble) -> None:
    """The camera is there, and has nothing to show."""
    snapshot.status, snapshot.taken_at, snapshot.found = "failed", shared_now(session), {"trouble": trouble}


def picture(session: Session, camera_id: str, sealer: Sealer, caller: Principal) -> bytes:
    """The JPEG; the audit log notes who looked."""
    snapshot = find(session, camera_id)
    if snapshot.sealed_picture is None:
        raise ProblemError(
            404, "snapshot_not_taken", "The camera has not sent this picture yet. Ask again in a moment."
        )
    record(session, caller.actor, "camera.snapshot_viewed", camera_id)
    return sealer.open(snapshot.sealed_picture)


def view(session: Session, snapshot: CameraSnapshot) -> Snapshot:
    """A snapshot as the API shows it, with people's names as they are now."""
    found: dict[str, Any] = snapshot.found or {}
    people = person_refs(session, {face["person_id"] for face in found.get("faces", []) if face["person_id"]})
    faces = [_face_view(face, people) for face in found.get("faces", [])]
    return Snapshot(
        id=snapshot.id,
        camera_id=snapshot.camera_id,
        status=status_of(snapshot, shared_now(session)),
        asked_at=snapshot.asked_at,
        answer_by=snapshot.asked_at + timedelta(seconds=ANSWER_S),
        taken_at=snapshot.taken_at,
        expires_at=snapshot.expires_at,
        **{**found, "faces": faces},
    )


class SnapshotPurger:
    """Deletes what has expired; to be called now and then, in any number of replicas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def purge(self) -> None:
        now = utc_now()
        with self._database.read() as session:  # looked up first, because SQLite's writers wait for one another
            if not snapshot_queries.any_expired(session, now):
                return
        with self._database.write() as session:
            snapshot_queries.delete_expired(session, now)
        self._database.scrub()


def _found(identified: Identified) -> dict[str, Any]:
    """What was made of the picture, as JSON: ids of people, never names."""
    searched, (width, height) = identified.searched, identified.seen.image_wh
    return {
        "image": ImageSize(width=width, height=height).model_dump(),
        "min_face_px": round(searched.limits.min_face_px),
        "threshold": round(searched.point.threshold, 6),
        "model": searched.circumstances.model,
        "timing_ms": identified.timing.model_dump(),
        "faces": [_face(identified, index, sample) for index, sample in enumerate(identified.seen.samples)],
    }


def _face(identified: Identified, index: int, sample: Sample) -> dict[str, Any]:
    decision, quality = identified.searched.decisions[index], quality_view(sample, identified.searched.limits)
    return {
        "box_xyxy": [round(float(v), 1) for v in sample.face.box_xyxy],
        "size_px": round(float(sample.face.size_px), 1),
        "outcome": decision.outcome.value,
        "person_id": decision.person_id,
        "score": None if decision.score is None else round(decision.score, 6),
        "quality": quality.score,
        "reasons": quality.reasons,
    }


def _face_view(face: dict[str, Any], people: People) -> SnapshotFace:
    """Somebody who was erased since is unknown."""
    person = people.get(face["person_id"] or "")
    known = {name: value for name, value in face.items() if name not in ("person_id", "outcome")}
    is_gone = face["outcome"] == Outcome.IDENTIFIED and person is None
    return SnapshotFace(**known, outcome=Outcome.UNKNOWN.value if is_gone else face["outcome"], person=person)

"""The job that enrols a clip. It may run again after a crash: what it leaves behind is written once, in one commit."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.audit.service import record
from app.db.tables import Enrolment
from app.db.types import utc_now
from app.enrolment import queries, service
from app.enrolment.preflight import Preflight, preflight
from app.enrolment.uploads import Uploads
from app.gallery.changes import record_additions
from app.gallery.queries import claim_model, lock_gallery
from app.inference.clips import TO_ENROLL, ClipReader, SeenClip, video_limits
from app.jobs.context import Equipment, JobContext
from app.operating_points.current import PointInForce
from ml.clip import ClipChoice, choose_from_clip
from ml.errors import VideoError
from ml.types import FloatArray

# Looking at the frames takes nearly all the time.
_LOOKED_AT = 0.95

# What to do about a clip of which nothing can be enrolled, for the person who filmed it.
REFUSALS = {
    "no_face": "No face was found. Film one person who looks into the camera, upright and uncovered.",
    "several_people": "Two people are in this clip. Film one person alone.",
    "identity_conflict": "This clip goes from one person to another, or shows somebody else than was enrolled before.",
    "face_too_small": "The face is too small. Go closer to the camera.",
    "blurred": "All frames are blurred. Hold the camera still and turn the head slowly.",
    "too_dark": "The face is too dark. Turn towards the light.",
    "too_bright": "The face is too bright. Avoid direct light.",
    "extreme_pose": "The face is turned away all the time. Look into the camera, then turn the head slowly.",
    "low_detection_score": "No frame shows a face clearly. Film again in better light.",
    "duplicate_frame": "This person has these templates already.",
    "too_many_templates": "This person has as many templates as are kept; delete an older enrolment first.",
    "upload_missing": "The clip is not on the machine that was to read it: all machines must share the data folder.",
    "duplicate_person": "This face already belongs to somebody else. If they really are two people, send "
    "on_duplicate=allow.",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing can be enrolled: a stable word and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """What was seen in the clip, chosen from it, and to be expected of that."""

    seen: SeenClip
    choice: ClipChoice
    verdict: Preflight | None

    @property
    def embeddings(self) -> FloatArray:
        return embeddings_of(self.choice)


def enroll_video(context: JobContext) -> dict[str, Any]:
    """Enrol the clip of one enrolment, once, or say why not; the clip is deleted afterwards unless it is to be kept."""
    enrolment_id = str(context.payload["enrolment_id"])
    settings = context.equipment.settings
    uploads = Uploads(settings.uploads_path)
    person_id = _waiting_person(context, enrolment_id)
    if person_id is not None:
        looked = _look(context, uploads, enrolment_id, person_id)
        context.report(_LOOKED_AT, "storing the templates")
        with context.write() as session:
            _store(session, context, enrolment_id, looked)
    if not settings.keep_uploads:
        uploads.remove(enrolment_id)
    return {"enrolment_id": enrolment_id}


def _waiting_person(context: JobContext, enrolment_id: str) -> str | None:
    """Whose clip it is; None when the enrolment is done, deleted, or its person erased."""
    with context.equipment.database.read() as session:
        enrolment = queries.enrolment_by_id(session, enrolment_id)
        return enrolment.person_id if enrolment is not None and enrolment.status == "queued" else None


def _look(context: JobContext, uploads: Uploads, enrolment_id: str, person_id: str) -> _Looked | Refused:
    equipment = context.equipment
    settings, inference, gallery = equipment.settings, equipment.inference, equipment.gallery
    reader = ClipReader(inference, video_limits(settings), TO_ENROLL)
    try:
        seen = reader.read(
            uploads.path(enrolment_id), lambda share: context.report(_LOOKED_AT * share, "looking at the frames")
        )
    except FileNotFoundError:
        return _refused("upload_missing")
    except VideoError as error:
        return Refused(error.code, str(error))
    gallery.catch_up()
    enrolled = gallery.embeddings_of(person_id)
    room = settings.templates_per_person_max - len(enrolled)
    if room < 1:
        return _refused("too_many_templates")
    bounds = inference.card.pair_bounds
    most = min(room, settings.templates_per_clip_max)
    choice = choose_from_clip(seen.tracked, enrolled, bounds, max_templates=most)
    return _Looked(seen, choice, _judge(choice, enrolled, person_id, equipment) if choice.chosen else None)


def _judge(choice: ClipChoice, enrolled: FloatArray, person_id: str, equipment: Equipment) -> Preflight:
    threshold = PointInForce(equipment.database, equipment.gallery.model).read().threshold
    rule = equipment.inference.card.score_rule
    return preflight(embeddings_of(choice), enrolled, person_id, equipment.gallery, rule, threshold)


def embeddings_of(choice: ClipChoice) -> FloatArray:
    """`(n, D)` of the chosen frames."""
    return np.array([frame.sample.embedding for frame in choice.chosen], dtype=np.float32)


def _store(session: Session, context: JobContext, enrolment_id: str, looked: _Looked | Refused) -> None:
    lock_gallery(session)  # from here on nobody else enrols, so the check for the same face cannot be overtaken
    enrolment = queries.enrolment_by_id(session, enrolment_id)
    if enrolment is None or enrolment.status != "queued":
        return
    refused = looked if isinstance(looked, Refused) else _note(session, context, enrolment, looked)
    enrolment.status, enrolment.progress, enrolment.finished_at = "done", 1.0, utc_now()
    if refused is not None:
        enrolment.status, enrolment.error = "failed", f"{refused.code}: {refused.detail}"
    detail = {"templates": queries.n_templates_in(session, enrolment_id), "refused": refused.code if refused else None}
    record(session, context.claim.worker, "enrolment.created", enrolment_id, detail)


def _note(session: Session, context: JobContext, enrolment: Enrolment, looked: _Looked) -> Refused | None:
    """Write down what was seen, and the templates unless they are refused."""
    choice = looked.choice
    enrolment.frames_read, enrolment.faces_seen = looked.seen.n_frames, looked.seen.n_faces
    enrolment.rejected = [
        {"source": _source(enrolment, frame.index, frame.time_s), "reason": frame.reason.value}
        for frame in choice.rejected
    ]
    if choice.refused is not None:
        return _refused(choice.refused.value)
    equipment = context.equipment
    twin = service.same_face(
        session, looked.embeddings, enrolment.person_id, equipment.gallery, equipment.inference.card
    )
    if twin is not None and not context.payload["allows_duplicate"]:
        enrolment.duplicate_of = twin
        return _refused("duplicate_person")
    enrolment.preflight = None if looked.verdict is None else asdict(looked.verdict)
    enrolment.warnings = [
        *_warnings(choice),
        *service.warnings_about(session, enrolment.person_id, len(choice.chosen), looked.verdict, twin),
    ]
    _add_templates(session, context, enrolment, choice)
    return None


def _add_templates(session: Session, context: JobContext, enrolment: Enrolment, choice: ClipChoice) -> None:
    claim_model(session, context.equipment.gallery.model)
    templates = [
        service.template(enrolment, _source(enrolment, frame.index, frame.time_s), frame.sample)
        for frame in choice.chosen
    ]
    session.add_all(templates)
    session.flush()
    record_additions(session, [(template.id, enrolment.person_id) for template in templates])


def _warnings(choice: ClipChoice) -> list[str]:
    said = [f"coverage: {sentence}" for sentence in choice.advice]
    if choice.passers_by:
        seconds = sum(other.seconds for other in choice.passers_by)
        said.append(f"passers_by: {len(choice.passers_by)} other people were ignored, for {seconds:.1f} s in all")
    return said


def _source(enrolment: Enrolment, frame: int, time_s: float) -> dict[str, Any]:
    return {"file": enrolment.file_name or "clip", "frame": frame, "time_s": round(time_s, 3)}


def _refused(code: str) -> Refused:
    return Refused(code, REFUSALS.get(code, "Nothing in this clip can be enrolled; `rejected` says why."))

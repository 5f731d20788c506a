"""The job that enrols a clip. It may run again after a crash: what it leaves behind is written once, in one commit."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.audit.service import record
from app.crops.keeping import CropKeeper
from app.db.tables import Enrolment
from app.db.types import utc_now
from app.enrolment import queries, service
from app.enrolment.preflight import preflight
from app.enrolment.uploads import Uploads
from app.gallery.changes import record_additions
from app.gallery.queries import claim_model, lock_gallery
from app.inference.clips import TO_ENROLL, ClipReader, SeenClip, video_limits
from app.jobs.context import JobContext
from app.jobs.queries import job_by_id
from app.operating_points.current import PointInForce
from app.people import queries as people_queries
from app.people import service as people_service
from app.sealing import Sealer
from app.settings import Settings
from ml.clip import ClipChoice, advise, choose_from_clip
from ml.errors import VideoError
from ml.types import FloatArray

# While another model is being loaded.
_MODEL_EVERY_S = 0.5
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
    "person_inactive": "This person was deactivated meanwhile; activate them and send the clip again.",
    "consent_missing": "Consent was withdrawn meanwhile. Ask the person, and send the clip again with consent=true.",
    "duplicate_person": "This face already belongs to somebody else. If they really are two people, send "
    "on_duplicate=allow.",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing can be enrolled: a stable word and a sentence."""

    code: str
    detail: str


def enroll_video(context: JobContext) -> dict[str, Any]:
    """Enrol the clip of one enrolment, once, or say why not; the clip is deleted afterwards unless it is to be kept."""
    enrolment_id = str(context.payload["enrolment_id"])
    settings = context.equipment.settings
    uploads = Uploads(settings.uploads_path)
    if _is_waiting(context, enrolment_id):
        context.report(0.0, "getting ready")  # a worker loads its networks for its first job
        while not _enrolled(context, enrolment_id, uploads.path(enrolment_id)):
            context.report(0.0, "another model is in force now: looking again")
    if not settings.keep_uploads:
        uploads.remove(enrolment_id)
    return {"enrolment_id": enrolment_id}


def _enrolled(context: JobContext, enrolment_id: str, path: Path) -> bool:
    """Look at the clip and write down what came of it; False where the model was switched meanwhile."""
    gallery = context.equipment.gallery
    seen = _look(context, path)
    context.report(_LOOKED_AT, "storing the templates")
    while not gallery.hear():  # in the transaction it would keep everybody else from enrolling
        context.report(_LOOKED_AT, "getting another model ready")
        sleep(_MODEL_EVERY_S)
    with context.write() as session:
        lock_gallery(session)  # from here on nobody else enrols, so that no check below can be overtaken
        gallery.catch_up(session)
        if not isinstance(seen, Refused) and seen.model != gallery.model:
            return False
        _store(session, context, enrolment_id, seen)
    return True


def _is_waiting(context: JobContext, enrolment_id: str) -> bool:
    """Not when the enrolment is done, deleted, or its person erased."""
    with context.equipment.database.read() as session:
        enrolment = queries.enrolment_by_id(session, enrolment_id)
        return enrolment is not None and enrolment.status == "queued"


def _look(context: JobContext, path: Path) -> SeenClip | Refused:
    equipment = context.equipment
    settings = equipment.settings
    reader = ClipReader(
        equipment.inference, video_limits(settings), TO_ENROLL, keeps_crops=settings.keep_template_crops
    )
    try:
        return reader.read(path, lambda share: context.report(_LOOKED_AT * share, "looking at the frames"))
    except FileNotFoundError:
        return _refused("upload_missing")
    except VideoError as error:
        return Refused(error.code, str(error))


def _store(session: Session, context: JobContext, enrolment_id: str, seen: SeenClip | Refused) -> None:
    """The gallery is locked, and of the model that looked at the clip."""
    enrolment = queries.enrolment_by_id(session, enrolment_id)
    if enrolment is None or enrolment.status != "queued":
        return
    refused = seen if isinstance(seen, Refused) else _enroll(session, context, enrolment, seen)
    enrolment.status, enrolment.progress, enrolment.finished_at = "done", 1.0, utc_now()
    if refused is not None:
        enrolment.status, enrolment.error = "failed", f"{refused.code}: {refused.detail}"
    _audit(session, context, enrolment_id, refused)


def _audit(session: Session, context: JobContext, enrolment_id: str, refused: Refused | None) -> None:
    """On behalf of whoever sent the clip."""
    job = job_by_id(session, context.job_id)
    by = context.claim.worker if job is None else job.created_by
    if refused is None:
        templates = len(queries.templates_of(session, enrolment_id))
        record(session, by, "enrolment.created", enrolment_id, {"templates": templates})
    else:
        record(session, by, "enrolment.refused", enrolment_id, {"reason": refused.code})


def _enroll(session: Session, context: JobContext, enrolment: Enrolment, seen: SeenClip) -> Refused | None:
    """Write down what was seen, and the templates unless they are refused."""
    enrolment.frames_read, enrolment.faces_seen = seen.n_frames, seen.n_faces
    equipment = context.equipment
    held = queries.n_templates_of(session, enrolment.person_id)
    code = _forbidden(session, enrolment.person_id, held, equipment.settings)
    if code is not None:
        return _refused(code)
    gallery = equipment.gallery
    card = equipment.inference.card_of(gallery.model)
    enrolled = gallery.embeddings_of(enrolment.person_id)
    most = min(equipment.settings.templates_per_person_max - held, equipment.settings.templates_per_clip_max)
    choice = choose_from_clip(seen.tracked, enrolled, card.pair_bounds, max_templates=most)
    enrolment.rejected = [
        {"source": _source(enrolment, frame.index, frame.time_s), "reason": frame.reason.value}
        for frame in choice.rejected
    ]
    if choice.refused is not None:
        return _refused(choice.refused.value)
    refused = _keep(session, context, enrolment, choice, enrolled)
    if refused is None:
        _keep_crops(session, context, enrolment, seen)
    return refused


def _keep_crops(session: Session, context: JobContext, enrolment: Enrolment, seen: SeenClip) -> None:
    settings = context.equipment.settings
    keeper = CropKeeper.of(settings, Sealer.of(settings))
    templates = queries.templates_of(session, enrolment.id)
    keeper.keep_of_templates(session, [(each.id, seen.crops.get(each.source["frame"])) for each in templates])


def _keep(
    session: Session, context: JobContext, enrolment: Enrolment, choice: ClipChoice, enrolled: FloatArray
) -> Refused | None:
    """Store the chosen frames beside those `enrolled (n, D)` already, unless it is somebody else's face."""
    equipment = context.equipment
    gallery = equipment.gallery
    card = equipment.inference.card_of(gallery.model)
    new = np.array([frame.sample.embedding for frame in choice.chosen], dtype=np.float32)
    twin = service.same_face(session, new, enrolment.person_id, gallery, card)
    if twin is not None and not context.payload["allows_duplicate"]:
        enrolment.duplicate_of = twin
        return _refused("duplicate_person")
    threshold = PointInForce(equipment.database).read_in(session, gallery.model).threshold
    verdict = preflight(new, enrolled, enrolment.person_id, gallery, card.score_rule, threshold)
    _add_templates(session, gallery.model, enrolment, choice)
    enrolment.preflight = asdict(verdict)
    enrolment.warnings = [
        *_warnings(session, enrolment.person_id, choice),
        *service.warnings_about(session, enrolment.person_id, 0, verdict, twin),
    ]
    return None


def _forbidden(session: Session, person_id: str, held: int, settings: Settings) -> str | None:
    """What has come between the upload and its job."""
    person = people_service.get(session, person_id)
    if not person.active:
        return "person_inactive"
    if settings.require_consent and person.consent_given_at is None:
        return "consent_missing"
    return "too_many_templates" if held >= settings.templates_per_person_max else None


def _add_templates(session: Session, model: str, enrolment: Enrolment, choice: ClipChoice) -> None:
    claim_model(session, model)
    templates = [
        service.template(enrolment, _source(enrolment, frame.index, frame.time_s), frame.sample)
        for frame in choice.chosen
    ]
    session.add_all(templates)
    session.flush()
    record_additions(session, [(template.id, enrolment.person_id) for template in templates])


def _warnings(session: Session, person_id: str, choice: ClipChoice) -> list[str]:
    counts = people_queries.enrolment_counts(session, [person_id]).get(person_id, {})
    said = [f"coverage: {sentence}" for sentence in advise(counts)]
    if choice.passers_by:
        seconds = sum(other.seconds for other in choice.passers_by)
        said.append(f"passers_by: {len(choice.passers_by)} other people were ignored, for {seconds:.1f} s in all")
    return said


def _source(enrolment: Enrolment, frame: int, time_s: float) -> dict[str, Any]:
    return {"file": enrolment.file_name or "clip", "frame": frame, "time_s": round(time_s, 3)}


def _refused(code: str) -> Refused:
    return Refused(code, REFUSALS.get(code, "Nothing in this clip can be enrolled; `rejected` says why."))

"""Storing an enrolment: person, templates and gallery change in one transaction, or nothing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.crops.keeping import CropKeeper
from app.db.engine import Database
from app.db.tables import Enrolment, Person, Template
from app.db.types import new_id, utc_now
from app.enrolment import queries, schemas
from app.enrolment.photos import Batch, SeenFiles, Upload, choose_photos, look_at
from app.enrolment.preflight import Preflight, preflight
from app.enrolment.schemas import EnrolmentStatus
from app.errors import SOON_S, ProblemError
from app.gallery.changes import current_revision, record_additions, record_removals
from app.gallery.queries import claim_model, encode_embedding, lock_gallery
from app.gallery.replica import GalleryReplica
from app.identification.queries import person_refs
from app.identification.schemas import PersonRef
from app.inference.images import ImageReader
from app.inference.port import Inference
from app.jobs.queries import job_by_id
from app.jobs.service import cancel_if_running, told_message
from app.operating_points.current import PointInForce
from app.people import queries as people_queries
from app.people import schemas as people_schemas
from app.people import service as people_service
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.enrolling import fuse
from ml.scoring import rank_candidates
from ml.types import FloatArray, Sample

# Besides the person's own templates two more people can matter: the one who looks alike and the runner-up.
_DUPLICATE_CANDIDATES = 4
# How often a new face may be taken for somebody enrolled. All its photos are fused into one probe, so nearly all real
# duplicates score higher still: with 305 people 1 of 305 new faces was refused, and 99 of 100 second enrolments were.
_DUPLICATE_FPIR = 0.0005
FEW_TEMPLATES = 3


@dataclass(frozen=True, slots=True)
class EnrollRequest:
    """What the caller says about the person, beside the files."""

    employee_code: str
    name: str | None
    has_consent: bool
    allows_duplicate: bool


def person_to_enroll(session: Session, request: EnrollRequest, settings: Settings) -> Person | None:
    """The person as stored, or None for a new one; refuses early what would be refused after the work."""
    person = people_queries.person_by_code(session, request.employee_code)
    if person is None and not request.name:
        detail = "There is nobody with this employee_code yet: send `name` too, to add them."
        raise ProblemError(422, "name_missing", detail)
    consented = request.has_consent or (person is not None and person.consent_given_at is not None)
    if settings.require_consent and not consented:
        detail = "No consent is recorded for this person. Ask them, then send consent=true."
        raise ProblemError(409, "consent_missing", detail)
    if person is not None:
        refuse_inactive(person)
    return person


def refuse_inactive(person: Person) -> None:
    """409: who is deactivated is in no gallery, so their face could not be compared with the one sent."""
    if not person.active:
        raise ProblemError(409, "person_inactive", "This person is deactivated; activate them before enrolling.")


@dataclass(frozen=True, slots=True)
class Enroller:
    """Everything that enrolling needs."""

    database: Database
    inference: Inference
    gallery: GalleryReplica
    images: ImageReader
    point: PointInForce
    settings: Settings
    crops: CropKeeper

    def read(self, request: EnrollRequest, uploads: Sequence[Upload]) -> SeenFiles:
        """Look at the files; slow, and outside any transaction."""
        with self.database.read() as session:
            person_to_enroll(session, request, self.settings)
        return look_at(uploads, self.inference, self.images, keeps_crops=self.crops.keeps_templates)

    def store(self, session: Session, request: EnrollRequest, seen: SeenFiles, caller: Principal) -> schemas.Enrolment:
        """Write everything that one call enrols; the caller commits, so it is all there or nothing is."""
        lock_gallery(session)  # from here on nobody else enrols, so that no check below can be overtaken
        person = person_for(session, request, self.settings, caller)
        self.gallery.catch_up(session)
        refuse_switched(seen.model, self.gallery)
        card = self.inference.card_of(seen.model)
        enrolled = self.gallery.embeddings_of(person.id)
        batch = choose_photos(seen, enrolled, card.pair_bounds)
        refuse_too_many(session, person, len(batch.kept), self.settings)
        twin = same_face(session, embeddings_of(batch), person.id, self.gallery, card)
        if twin is not None and not request.allows_duplicate:
            raise _duplicate(session, twin)
        threshold = self.point.read_in(session, seen.model).threshold
        verdict = preflight(embeddings_of(batch), enrolled, person.id, self.gallery, card.score_rule, threshold)
        claim_model(session, seen.model)
        enrolment = _enrolment(session, person, batch, verdict, twin)
        templates = [
            template(enrolment, {"file": kept.file, "frame": None, "time_s": None}, kept.sample) for kept in batch.kept
        ]
        session.add_all(templates)
        session.flush()
        crops = zip(templates, batch.kept, strict=True)
        self.crops.keep_of_templates(session, [(template.id, kept.crop) for template, kept in crops])
        record_additions(session, [(template.id, person.id) for template in templates])
        record(session, caller.actor, "enrolment.created", enrolment.id, {"templates": len(templates)})
        return view(session, enrolment)


def refuse_switched(model: str, gallery: GalleryReplica) -> None:
    """503: another model is in force by now than the one that looked at the files."""
    if model != gallery.model:
        detail = "The model was switched while the files were looked at; send them again."
        raise ProblemError(503, "gallery_behind", detail, headers={"Retry-After": str(SOON_S)})


def embeddings_of(batch: Batch) -> FloatArray:
    """`(n, D)` of the photos that are kept."""
    return np.array([kept.sample.embedding for kept in batch.kept], dtype=np.float32)


def person_for(session: Session, request: EnrollRequest, settings: Settings, caller: Principal) -> Person:
    """The person as stored, or added now; with the consent that the call gives."""
    person = person_to_enroll(session, request, settings) or _new_person(session, request, caller)
    _record_consent(person, request, session, caller)
    return person


def same_face(
    session: Session, embeddings: FloatArray, person_id: str, gallery: GalleryReplica, card: ModelCard
) -> str | None:
    """The other enrolled person whose face `(n, D)` embeddings show, if any; before the gallery is changed."""
    gallery.catch_up(session)
    hits, version = gallery.search(fuse(embeddings)[None], _DUPLICATE_CANDIDATES)
    ranked = rank_candidates(hits[0].without(person_id), card.score_rule, 1)
    threshold = card.prior.threshold(_DUPLICATE_FPIR, version.n_people)
    return ranked[0].person_id if ranked and ranked[0].score >= threshold else None


def remove(session: Session, enrolment_id: str, caller: Principal) -> schemas.EnrolmentRemoval:
    """Delete an enrolment and its templates."""
    enrolment = get(session, enrolment_id)
    if enrolment.job_id is not None:
        cancel_if_running(session, enrolment.job_id, caller.actor)
    templates = queries.templates_of(session, enrolment_id)
    revision = record_removals(session, [(template.id, enrolment.person_id) for template in templates])
    queries.delete_enrolment(session, enrolment_id)
    record(session, caller.actor, "enrolment.removed", enrolment_id, {"templates": len(templates)})
    return schemas.EnrolmentRemoval(
        enrolment_id=enrolment_id, templates_deleted=len(templates), gallery_revision=revision
    )


def cancel_clips(session: Session, person_id: str, caller: Principal) -> list[str]:
    """Cancel the jobs of a person's clips; returns the enrolments, whose clips may still be there.

    To be called before the gallery is locked: a job locks first itself, and then the gallery.
    """
    clips = queries.clips_of(session, person_id)
    for clip in clips:
        if clip.job_id is not None:
            cancel_if_running(session, clip.job_id, caller.actor)
    return [clip.id for clip in clips]


def get(session: Session, enrolment_id: str) -> Enrolment:
    """The enrolment, or 404."""
    enrolment = queries.enrolment_by_id(session, enrolment_id)
    if enrolment is None:
        raise ProblemError(404, "enrolment_not_found", "There is no enrolment with this id.")
    return enrolment


def view(session: Session, enrolment: Enrolment) -> schemas.Enrolment:
    """An enrolment as the API shows it."""
    person = people_service.views(session, [people_service.get(session, enrolment.person_id)])[0]
    state = _state(session, enrolment)
    return schemas.Enrolment(
        id=enrolment.id,
        person=person,
        kind="images" if enrolment.kind == "images" else "video",
        status=state.status,
        progress=state.progress,
        message=state.message,
        job_id=enrolment.job_id,
        frames_read=enrolment.frames_read,
        faces_seen=enrolment.faces_seen,
        templates=[_template_view(template) for template in queries.templates_of(session, enrolment.id)],
        rejected=[schemas.Rejection.model_validate(rejection) for rejection in enrolment.rejected],
        coverage=person.coverage,
        warnings=enrolment.warnings,
        preflight=schemas.Preflight(**enrolment.preflight) if enrolment.preflight else None,
        error=state.error,
        duplicate_of=_person_ref(session, enrolment.duplicate_of),
        gallery_revision=current_revision(session),
    )


@dataclass(frozen=True, slots=True)
class _State:
    """How far an enrolment is; a video's is told by its job until that has written down how it ended."""

    status: EnrolmentStatus
    progress: float
    error: str | None
    message: str | None = None


def _state(session: Session, enrolment: Enrolment) -> _State:
    if enrolment.status == "done":
        return _State("done", 1.0, None)
    if enrolment.status == "failed":
        return _State("failed", 1.0, enrolment.error)
    job = job_by_id(session, enrolment.job_id) if enrolment.job_id else None
    if job is not None and job.status in ("queued", "running"):
        return _State(
            "running" if job.status == "running" else "queued", job.progress, None, told_message(session, job)
        )
    _refresh(session, enrolment)  # it may have ended between the two questions
    if enrolment.status != "queued":
        return _state(session, enrolment)
    if job is None or job.status == "done":
        return _State("failed", 1.0, "job_gone: The job of this enrolment is not kept any more; send the clip again.")
    if job.status == "cancelled":
        return _State("failed", job.progress, "cancelled: This enrolment was cancelled.")
    return _State("failed", job.progress, f"job_failed: {job.error}")


def _refresh(session: Session, enrolment: Enrolment) -> None:
    try:
        session.refresh(enrolment)
    except InvalidRequestError:  # its person was erased between the two questions
        raise ProblemError(404, "enrolment_not_found", "There is no enrolment with this id.") from None


def _person_ref(session: Session, person_id: str | None) -> PersonRef | None:
    return person_refs(session, {person_id}).get(person_id) if person_id is not None else None


def _new_person(session: Session, request: EnrollRequest, caller: Principal) -> Person:
    new = people_schemas.PersonCreate(employee_code=request.employee_code, name=request.name or "")
    return people_service.create(session, new, caller)


def _record_consent(person: Person, request: EnrollRequest, session: Session, caller: Principal) -> None:
    if request.has_consent and person.consent_given_at is None:
        person.consent_given_at, person.consent_method = utc_now(), "given at enrolment"
        record(session, caller.actor, "person.consent_recorded", person.id)


def refuse_too_many(session: Session, person: Person, n_new: int, settings: Settings) -> None:
    """409 when somebody would have more templates than are kept."""
    held = queries.n_templates_of(session, person.id)
    if held + n_new > settings.templates_per_person_max:
        detail = (
            f"This person has {held} templates of at most {settings.templates_per_person_max}; "
            "delete an older enrolment first."
        )
        raise ProblemError(409, "too_many_templates", detail)


def _duplicate(session: Session, person_id: str) -> ProblemError:
    """Names the other person, because the operator has to decide which of the two records is right."""
    other = people_service.get(session, person_id)
    detail = (
        f"This face already belongs to employee_code {other.employee_code} ({other.name}). "
        "If they really are two people, send on_duplicate=allow."
    )
    person = {"id": other.id, "employee_code": other.employee_code, "name": other.name}
    return ProblemError(409, "duplicate_person", detail, extra={"person": person})


def _enrolment(session: Session, person: Person, batch: Batch, verdict: Preflight, twin: str | None) -> Enrolment:
    now = utc_now()
    enrolment = Enrolment(
        id=new_id("enr"),
        person_id=person.id,
        kind="images",
        status="done",
        progress=1.0,
        frames_read=batch.n_images,
        faces_seen=batch.faces_seen,
        rejected=[{"source": {"file": file}, "reason": reason} for file, reason in batch.rejected],
        warnings=warnings_about(session, person.id, len(batch.kept), verdict, twin),
        preflight=asdict(verdict),
        error=None,
        created_at=now,
        finished_at=now,
    )
    session.add(enrolment)
    session.flush()
    return enrolment


def warnings_about(
    session: Session, person_id: str, n_new: int, verdict: Preflight | None, twin: str | None
) -> list[str]:
    """What to say of a person who is about to get new templates."""
    warnings = []
    n_templates = queries.n_templates_of(session, person_id) + n_new
    if verdict is not None and verdict.is_doubtful:
        warnings.append(
            f"hard_to_recognise: {verdict.n_recognised} of {verdict.n_searched} would be recognised by the others at "
            "the threshold in force; enrol again in better light, or closer"
        )
    if n_templates < FEW_TEMPLATES:
        warnings.append(f"few_templates: {n_templates} so far; {FEW_TEMPLATES} or more are recognised more reliably")
    if twin is not None:
        warnings.append(f"duplicate_person: looks like {twin}; enrolled all the same, as asked")
    return warnings


def template(enrolment: Enrolment, source: dict[str, Any], sample: Sample) -> Template:
    """A sample as it is stored."""
    pose = sample.quality.pose
    return Template(
        person_id=enrolment.person_id,
        enrolment_id=enrolment.id,
        model=sample.model,
        embedding=encode_embedding(sample.embedding),
        quality=sample.quality.score,
        yaw_deg=pose.yaw_deg,
        pitch_deg=pose.pitch_deg,
        roll_deg=pose.roll_deg,
        source=source,
        created_at=utc_now(),
    )


def _template_view(template: Template) -> schemas.Template:
    return schemas.Template(
        id=template.id,
        quality=template.quality,
        pose=schemas.Pose(yaw_deg=template.yaw_deg, pitch_deg=template.pitch_deg, roll_deg=template.roll_deg),
        source=schemas.Source.model_validate(template.source),
    )

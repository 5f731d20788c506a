"""One model in place of another: everything is made ready beside the one in use, and then changes in one commit.

    embed what is missing ─► calibrate ─► every replica loads it ─► one commit: model, threshold, log, registry, audit

A crash before the commit leaves everything as it was, and the job begins again; after it, there is nothing left to do.
"""

from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic, sleep
from typing import Final

from sqlalchemy.orm import Session

from app.audit.service import record
from app.db.tables import GalleryState, Model
from app.db.types import utc_now
from app.errors import ProblemError
from app.gallery import queries as gallery_queries
from app.gallery.changes import current_revision, record_switch
from app.gallery.loading import load
from app.gallery.replica import version_of
from app.gallery.service import live_replicas
from app.jobs.context import JobCancelled, JobContext
from app.jobs.queries import job_by_id
from app.models import registry
from app.models.embedding import Reembedder
from app.models.holding import ModelHolder
from app.models.queries import PersonWithout
from app.models.standby import former_champion, is_trouble_with, set_standby
from app.operating_points import service as points
from app.operating_points.calibrator import Calibrated, calibrate
from app.sealing import Sealer
from ml.errors import ModelError

# Shares of the job: embedding takes nearly all the time.
_EMBEDDED, _CALIBRATED, _LOADED = 0.8, 0.85, 0.95
# How long replicas may take to load a model and a large gallery.
_REPLICAS_WITHIN_S: Final = 180.0
_LOOK_EVERY_S: Final = 0.1
# A margin that was measured as nothing would make nothing of every other.
_LEAST_MARGIN: Final = 1e-4


def promote_model(context: JobContext) -> dict[str, object]:
    """The job behind `POST /v1/models/{id}/promote`."""
    model_id = str(context.payload["model_id"])
    accepts_missing, reason = bool(context.payload["accept_missing"]), context.payload.get("reason")
    revision = promote(context, model_id, accept_missing=accepts_missing, reason=reason)
    return {"model_id": model_id, "gallery_revision": revision}


def prepare(context: JobContext, model_id: str) -> Calibrated:
    """Embed everybody with a model and calibrate it, without putting it to use; its report says what it would do.

    Raises:
        ProblemError: 409, it cannot be loaded here.
        JobStop: as `context.report`.
    """
    word = _word(context, model_id)
    holder, reembedder = _tools(context)
    try:
        holder.hold(word)
    except ModelError as error:  # not the worker's own networks, which would make it unfit for every job
        raise ProblemError(409, "model_unavailable", f"This worker cannot load the model: {error}") from error
    # A second pass is short: it is for whoever was enrolled during the first.
    for _ in range(2):
        reembedder.embed_missing(
            word,
            lambda done, total: context.report(
                _EMBEDDED * (done / total if total else 1.0), f"embedding the kept faces: {done} of {total}"
            ),
        )
    context.report(_EMBEDDED, "finding the threshold")
    calibrated = _calibrated(context, word)
    with context.write() as session:
        _note_readiness(session, model_id, calibrated)
    return calibrated


def promote(context: JobContext, model_id: str, *, accept_missing: bool, reason: str | None) -> int:
    """Put a model to use on every replica; returns the gallery's revision from which on it is.

    Raises:
        ProblemError: 409, some people would have to enrol again and nobody accepted that, or a replica or this worker
            cannot load it.
        JobStop: as `context.report`.
    """
    database = context.equipment.database
    with database.read() as session:
        if _is_done(session, context, model_id):
            return current_revision(session)
    calibrated = prepare(context, model_id)
    with context.write() as session:
        gallery_queries.lock_gallery(session)
        set_standby(session, calibrated.model)
    try:
        return _switch(context, model_id, calibrated, accept_missing=accept_missing, reason=reason)
    except (Exception, JobCancelled):  # however else it ends, `settle_standby` sees to it
        with database.write_in_turn() as session:
            gallery_queries.lock_gallery(session)
            if gallery_queries.models_in_force(session).standby == calibrated.model:
                set_standby(session, former_champion(session))
        raise


def switch_to_standby(session: Session, by: str, reason: str | None, *, accept_missing: bool) -> tuple[int, int]:
    """Go back to the model that every replica keeps ready, with its own last threshold.

    Returns:
        The revision, and how many people the model does not know and never will.

    Raises:
        ProblemError: 409, there is none, or some people would have to enrol again and nobody accepted that.
    """
    gallery_queries.lock_gallery(session)
    model = registry.standby(session)
    if model is None or model.promoted_at is None:
        raise ProblemError(409, "nothing_to_roll_back", "No model that was in use before is kept ready now.")
    n_missing = _refuse_missing(
        session, model, registry.people_without(session, model.word, as_of_now=True), accept_missing
    )
    revision = _exchange(session, model)
    points.resume_model(session, model.word, by, reason or "rolled back")
    record(session, by, "model.rolled_back", model.id, {"model": model.word, "n_people_missing": n_missing})
    return revision, n_missing


def _is_done(session: Session, context: JobContext, model_id: str) -> bool:
    """Whether an attempt before this one got so far, even if somebody has gone back since."""
    model, job = registry.by_id(session, model_id), job_by_id(session, context.job_id)
    was_promoted = model.promoted_at is not None and job is not None and model.promoted_at >= job.created_at
    return model.status == "champion" or was_promoted


def _switch(
    context: JobContext, model_id: str, calibrated: Calibrated, *, accept_missing: bool, reason: str | None
) -> int:
    """The commit. Whoever was enrolled since is embedded first, so that nobody is lost on the way."""
    _, reembedder = _tools(context)
    while True:
        _wait_for_replicas(context, calibrated.model)
        left = set(reembedder.embed_missing(calibrated.model))
        with context.write() as session:
            gallery_queries.lock_gallery(session)
            if gallery_queries.models_in_force(session).standby != calibrated.model:  # another promotion's, meanwhile
                set_standby(session, calibrated.model)
                continue
            if set(gallery_queries.unembedded(session, calibrated.model)) - left:
                continue
            model = registry.by_id(session, model_id)
            missing = registry.people_without(session, model.word, as_of_now=True)
            n_missing = _refuse_missing(session, model, missing, accept_missing)
            by = registry.asked_by(session, context.job_id)
            revision = _exchange(session, model)
            points.adopt_model(session, calibrated, by, reason or "another model")
            record(session, by, "model.promoted", model.id, {"model": model.word, "n_people_missing": n_missing})
            return revision


def _refuse_missing(session: Session, model: Model, missing: Sequence[PersonWithout], accept_missing: bool) -> int:
    if missing and not accept_missing:
        detail = (
            f"{len(missing)} people would have to enrol again, because nothing is kept of them that this model could "
            f"embed: GET /v1/models/{model.id} names those it never could. Whoever was enrolled this second is "
            "embedded within the next: try again. Send accept_missing to go on without them."
        )
        raise ProblemError(409, "people_would_be_missing", detail)
    return len(missing)


def _exchange(session: Session, model: Model) -> int:
    """Champion and standby change places; the gallery is locked, so that rows are as they will stay."""
    session.refresh(model)
    state = session.get_one(GalleryState, 1, populate_existing=True)
    champion, now = registry.champion(session), utc_now()
    session.refresh(champion)
    state.model, state.standby_model = model.word, champion.word
    champion.status, champion.retired_at = "retired", now
    model.status, model.promoted_at, model.retired_at = "champion", now, None
    margins = (max(registry.stored_card(each).look_alike_margin, _LEAST_MARGIN) for each in (model, champion))
    new, old = margins
    points.rescale_complaints(session, new / old)
    return record_switch(session)


def _wait_for_replicas(context: JobContext, word: str) -> None:
    """Until all that are alive have loaded it: then none has to stop answering when the switch comes."""
    until_s = monotonic() + _REPLICAS_WITHIN_S
    while True:
        context.report(_CALIBRATED, "waiting for every replica to load the model")
        with context.equipment.database.read() as session:
            others = [row for row in live_replicas(session) if row.standby_model != word and row.model != word]
        if not others:
            context.report(_LOADED, "switching")
            return
        for row in others:
            if is_trouble_with(word, row.standby_trouble):
                raise ProblemError(409, "replica_not_ready", f"{row.host} cannot load the model: {row.standby_trouble}")
        if monotonic() > until_s:
            hosts = ", ".join(sorted({row.host for row in others}))
            raise ProblemError(409, "replica_not_ready", f"Not ready after {_REPLICAS_WITHIN_S:.0f} s: {hosts}.")
        sleep(_LOOK_EVERY_S)


def _calibrated(context: JobContext, word: str) -> Calibrated:
    equipment = context.equipment
    card = equipment.inference.card_of(word)
    with equipment.database.snapshot() as session:
        index = load(session, model=word, dim=card.dim)
    return calibrate(equipment.database, index.gallery.snapshot(), version_of(index), card)


def _note_readiness(session: Session, model_id: str, calibrated: Calibrated) -> None:
    """What the model would do here, beside what was measured of it."""
    model = registry.by_id(session, model_id)
    point = points.point_for(session, calibrated)
    readiness = {
        "threshold": point.threshold,
        "target_fpir": point.target_fpir,
        "expected_fpir": asdict(point.expected_fpir),
        "expected_fnir": asdict(point.expected_fnir),
        "n_people": point.n_people,
        "n_templates": point.n_templates,
    }
    model.report = {**(model.report or {}), "here": readiness}


def _word(context: JobContext, model_id: str) -> str:
    with context.equipment.database.read() as session:
        return registry.by_id(session, model_id).word


def _tools(context: JobContext) -> tuple[ModelHolder, Reembedder]:
    equipment = context.equipment
    sealer = Sealer.of(equipment.settings)
    holder = ModelHolder(equipment.database, equipment.inference, sealer, equipment.settings.backbone)
    return holder, Reembedder(equipment.database, equipment.inference, sealer)

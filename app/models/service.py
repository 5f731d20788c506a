"""Asking for trainings and promotions, going back, and throwing models away; in the caller's session."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.engine import Database
from app.db.tables import Job, Model, TrainingRun
from app.db.types import utc_now
from app.errors import ProblemError
from app.gallery.queries import lock_gallery, models_in_force
from app.jobs import queries as job_queries
from app.jobs import service as jobs
from app.models import queries, registry, schemas

TRAINING, MEASURING = "retrain", "measure_backbone"

# Deleted in one transaction: some ten milliseconds, so that no capture waits for it.
_EMBEDDINGS_AT_ONCE = 1000


def request_training(
    session: Session, *, strategy: schemas.Strategy, policy: schemas.Policy, seed: int, by: str
) -> TrainingRun:
    """Have a model trained and judged.

    Raises:
        ProblemError: 409 `training_running`; one at a time.
    """
    queries.lock_models(session)
    _refuse_second(session, TRAINING, "A model is being trained already")
    job = jobs.enqueue(session, TRAINING, {"strategy": strategy, "policy": policy, "seed": seed}, by)
    run = TrainingRun(job_id=job.id, strategy=strategy, policy=policy, seed=seed, created_at=utc_now())
    session.add(run)
    asked = {"strategy": strategy, "policy": policy, "seed": seed}
    record(session, by, "model.training_requested", job.id, asked)
    session.flush()
    return run


def request_measuring(session: Session, backbone: str, by: str) -> Job:
    """Have another published network judged.

    Raises:
        ProblemError: 409; it is in use already, or another one is being measured.
    """
    queries.lock_models(session)
    champion = registry.champion(session)
    if (champion.kind, champion.backbone) == ("backbone", backbone):
        raise ProblemError(409, "model_is_champion", "This network is in use already.")
    _refuse_second(session, MEASURING, "A network is being measured already")
    job = jobs.enqueue(session, MEASURING, {"backbone": backbone}, by)
    record(session, by, "model.measuring_requested", job.id, {"backbone": backbone})
    return job


def request_promotion(session: Session, model_id: str, wanted: schemas.Promote, by: str) -> Job:
    """Have a model put to use, once it has embedded everybody.

    Raises:
        ProblemError: 404; or 409, with what speaks against it.
    """
    queries.lock_models(session)
    model = registry.by_id(session, model_id)
    if model.status == "champion":
        raise ProblemError(409, "model_is_champion", "This model is in use already.")
    if model.status == "refused" and not wanted.even_if_not_better:
        why = model.reason or "nobody has measured it"
        detail = f"This model is not known to be better: {why}. Send even_if_not_better and a reason to use it anyway."
        raise ProblemError(409, "model_not_better", detail)
    if not wanted.accept_missing:
        _refuse_missing(session, model)
    _refuse_second(session, registry.PROMOTION, "A model is being promoted already")
    payload = {"model_id": model.id, "accept_missing": wanted.accept_missing, "reason": wanted.reason}
    job = jobs.enqueue(session, registry.PROMOTION, payload, by)
    accepted = {"accept_missing": wanted.accept_missing, "even_if_not_better": wanted.even_if_not_better}
    record(session, by, "model.promotion_requested", model.id, {**accepted, "job_id": job.id})
    return job


def roll_back(session: Session, model_id: str, wanted: schemas.RollBack, by: str) -> schemas.RolledBack:
    """Go back to the model that every replica keeps ready; `model_id` is the champion's, or that one's.

    Raises:
        ProblemError: 404; or 409: there is none, or it is another one.
    """
    from app.models.switching import switch_to_standby

    lock_gallery(session)  # first: what is read before may be another model's champion by the time of the commit
    model = registry.by_id(session, model_id)
    if not registry.is_in_use(session, model):
        detail = (
            "Only the model in use, and the one kept ready beside it, can be rolled back; promote this one instead."
        )
        raise ProblemError(409, "model_not_standby", detail)
    revision, n_missing = switch_to_standby(session, by, wanted.reason, accept_missing=wanted.accept_missing)
    session.flush()
    now = registry.champion(session)
    return schemas.RolledBack(model=now.word, champion_id=now.id, gallery_revision=revision, n_people_missing=n_missing)


def discard(database: Database, model_id: str, caller: Principal) -> schemas.Discarded:
    """Throw a model away, with its weights and embeddings.

    Raises:
        ProblemError: 404; or 409: it is in use.
    """
    with database.write_in_turn() as session:
        model = registry.by_id(session, model_id)
        word = model.word
        registry.discard(session, model, caller)
    n_deleted = sweep(database)
    database.scrub()
    return schemas.Discarded(model_id=model_id, model=word, n_embeddings_deleted=n_deleted)


def sweep(database: Database) -> int:
    """Delete what discarded models have embedded, in portions, also what a crash left; returns how many these were."""
    n_deleted = 0
    while True:
        with database.write() as session:
            n = registry.delete_orphans(session, _EMBEDDINGS_AT_ONCE)
        if not n:
            return n_deleted
        n_deleted += n


def training(session: Session, job_id: str) -> schemas.Training:
    """One training.

    Raises:
        ProblemError: 404.
    """
    run = queries.run(session, job_id)
    if run is None:
        raise ProblemError(404, "training_not_found", "There is no training with this job id.")
    job = job_queries.job_by_id(session, job_id)
    return schemas.Training.of(run, None if job is None else jobs.views(session, [job])[0])


def views(session: Session, rows: Sequence[Model]) -> list[schemas.Model]:
    """Models as the API shows them."""
    sizes, standby_word = queries.sizes(session, [row.id for row in rows]), models_in_force(session).standby
    return [
        schemas.Model.of(row, registry.stored_card(row), is_standby=row.word == standby_word, n_bytes=sizes.get(row.id))
        for row in rows
    ]


def detail(session: Session, model_id: str) -> schemas.ModelDetail:
    """One model, and what a promotion would find.

    Raises:
        ProblemError: 404.
    """
    row = registry.by_id(session, model_id)
    people = registry.people_without(session, row.word)
    readiness = schemas.Readiness.of(registry.coverage(session, row.word), people)
    return schemas.ModelDetail(**views(session, [row])[0].model_dump(), readiness=readiness)


def _refuse_missing(session: Session, model: Model) -> None:
    people = registry.people_without(session, model.word)
    if people:
        n, verb = len(people), "person" if len(people) == 1 else "people"
        detail = (
            f"{n} {verb} would have to enrol again, because no picture of theirs is kept that this model could "
            f"embed; GET /v1/models/{model.id} names them. Send accept_missing to promote it anyway."
        )
        raise ProblemError(409, "people_would_be_missing", detail, extra={"n_people": n})


def _refuse_second(session: Session, kind: str, what: str) -> None:
    running = queries.unfinished_jobs(session, [kind])
    if running:
        code = "promotion_running" if kind == registry.PROMOTION else "training_running"
        detail = f"{what}: wait for {running[0].id}, or cancel it."
        raise ProblemError(409, code, detail, extra={"job_id": running[0].id})

"""`/v1/retrain` and `/v1/models`."""

from datetime import datetime

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.dependencies import AdminDep, OperatorDep
from app.http.dependencies import DatabaseDep, GalleryChangedDep, SettingsDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep
from app.http.pagination import CursorCodec, PageDep, cut_page
from app.models import queries, registry, schemas, service

router = APIRouter(prefix="/v1/models", tags=["Models"])
retrain_router = APIRouter(prefix="/v1/retrain", tags=["Models"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@retrain_router.post("", status_code=202, response_model=schemas.Queued)
def retrain(
    settings: SettingsDep, caller: AdminDep, idempotency: IdempotencyDep, wanted: schemas.Retrain | None = None
) -> Response:
    """Trains a model on the faces that are kept, and judges it on people it never saw.

    It is kept only as a challenger, or used, if it finds more people at the same share of false alarms, beyond chance;
    `GET /v1/models` says how it was judged. One at a time: 409 `training_running` while another is not over.
    """
    asked = wanted or schemas.Retrain()
    strategy = asked.strategy or settings.retrain_strategy
    policy = asked.policy or settings.retrain_policy

    def work(session: Session) -> Answer:
        run = service.request_training(session, strategy=strategy, policy=policy, seed=asked.seed, by=caller.actor)
        return Answer(202, schemas.Queued(job_id=run.job_id), {"Location": f"/v1/retrain/{run.job_id}"})

    return idempotency.write(work)


@retrain_router.get("/{job_id}")
def get_training(job_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Training:
    """One training: how far it is, its curves so far, and the model that came out of it."""
    with database.read() as session:
        return service.training(session, job_id)


@router.post("", status_code=202, response_model=schemas.Queued)
def measure_backbone(wanted: schemas.Measure, caller: AdminDep, idempotency: IdempotencyDep) -> Response:
    """Judges another published network against the one in use, by the face crops that are kept.

    Nothing is switched: `GET /v1/models` has its verdict afterwards, and `GET /v1/models/{id}` who would have to enrol
    again.
    """

    def work(session: Session) -> Answer:
        job = service.request_measuring(session, wanted.backbone, caller.actor)
        return Answer(202, schemas.Queued(job_id=job.id), {"Location": f"/v1/jobs/{job.id}"})

    return idempotency.write(work)


@router.get("")
def list_models(database: DatabaseDep, page: PageDep, _caller: OperatorDep) -> schemas.ModelList:
    """The models that there are, newest first: which one is in use, and why each of the others is not."""
    with database.read() as session:
        rows = queries.list_models(session, before=CURSOR.decode(page.cursor), limit=page.limit + 1)
        shown, next_cursor = cut_page(rows, page.limit, lambda row: CURSOR.encode((row.created_at, row.id)))
        champion, standby = queries.model_with_status(session, "champion"), registry.standby(session)
        return schemas.ModelList(
            champion_id=champion and champion.id,
            standby_id=standby and standby.id,
            items=service.views(session, shown),
            next_cursor=next_cursor,
        )


@router.get("/{model_id}")
def get_model(model_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.ModelDetail:
    """One model; `readiness` says of whom it has embeddings, and who would have to enrol again if it were promoted."""
    with database.snapshot() as session:
        return service.detail(session, model_id)


@router.post("/{model_id}/promote", status_code=202, response_model=schemas.Queued)
def promote(
    model_id: str, caller: AdminDep, idempotency: IdempotencyDep, wanted: schemas.Promote | None = None
) -> Response:
    """Puts a model to use, without downtime, as soon as it has embedded everybody and has a threshold of its own.

    The one in use stays ready to be gone back to. 409 `model_not_better` for a model that was not measured to be
    better, unless `even_if_not_better` and a reason are sent; 409 `people_would_be_missing` while nothing is kept that
    it could embed some people by, unless `accept_missing` is.
    """

    def work(session: Session) -> Answer:
        job = service.request_promotion(session, model_id, wanted or schemas.Promote(), caller.actor)
        return Answer(202, schemas.Queued(job_id=job.id), {"Location": f"/v1/jobs/{job.id}"})

    return idempotency.write(work)


@router.post("/{model_id}/rollback", response_model=schemas.RolledBack)
def roll_back(
    model_id: str,
    gallery_changed: GalleryChangedDep,
    caller: AdminDep,
    idempotency: IdempotencyDep,
    wanted: schemas.RollBack | None = None,
) -> Response:
    """Goes back to the model that every replica keeps ready, at once; `model_id` is its id, or the champion's.

    The two change places: doing it again undoes it.
    """

    def work(session: Session) -> Answer:
        return Answer(200, service.roll_back(session, model_id, wanted or schemas.RollBack(), caller.actor))

    answer = idempotency.write(work, in_turn=True)
    gallery_changed()
    return answer


@router.delete("/{model_id}")
def discard(model_id: str, database: DatabaseDep, caller: AdminDep) -> schemas.Discarded:
    """Deletes a model with its weights and embeddings; 409 for the one in use and the one kept ready beside it."""
    return service.discard(database, model_id, caller)

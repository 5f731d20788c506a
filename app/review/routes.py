"""`/v1/unknowns` and `/v1/review`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.auth.dependencies import OperatorDep
from app.crops.keeping import CropKeeper
from app.enrolment.service import Enroller
from app.gallery.dependencies import GalleryDep
from app.http.dependencies import DatabaseDep, SealerDep, SettingsDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.inference.dependencies import ImageReaderDep, InferenceDep
from app.operating_points.dependencies import PointInForceDep
from app.operating_points.schemas import LiveEstimate
from app.review import labels, queries, schemas, service
from app.review.assigning import Assigner
from app.review.clustering import Clusterer

router = APIRouter(prefix="/v1", tags=["Review"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}}}}
}


async def _clusterer(request: Request) -> Clusterer:
    clusterer: Clusterer = request.app.state.clusterer
    return clusterer


async def _assigner(
    database: DatabaseDep,
    inference: InferenceDep,
    gallery: GalleryDep,
    images: ImageReaderDep,
    point: PointInForceDep,
    settings: SettingsDep,
    sealer: SealerDep,
) -> Assigner:
    crops = CropKeeper.of(settings, sealer)
    return Assigner(Enroller(database, inference, gallery, images, point, settings, crops), sealer)


ClustererDep = Annotated[Clusterer, Depends(_clusterer)]
AssignerDep = Annotated[Assigner, Depends(_assigner)]


@router.get("/unknowns")
def list_unknowns(
    database: DatabaseDep,
    clusterer: ClustererDep,
    page: PageDep,
    _caller: OperatorDep,
    status: schemas.Status = "open",
) -> Page[schemas.Unknown]:
    """Unknown faces, those of one stranger together, the last seen first.

    They are kept, sealed, only where a site's `unknown_days` says so, and for as long. Decide about each: assign the
    faces to somebody, or dismiss them.
    """
    clusterer.run()
    before = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_clusters(session, status=status, before=before, limit=page.limit + 1)
        shown, next_cursor = cut_page(rows, page.limit, lambda row: CURSOR.encode((row.last_seen_at, row.id)))
        return Page(items=service.views(session, shown), next_cursor=next_cursor)


@router.get("/unknowns/{cluster_id}")
def get_unknown(cluster_id: str, database: DatabaseDep, caller: OperatorDep) -> schemas.Unknown:
    """The faces of one stranger, more of them than in the list; the audit log notes who looked."""
    with database.write() as session:
        view = service.view(session, service.get(session, cluster_id))
        service.note_view(session, cluster_id, caller)
    return view


@router.get("/unknowns/{cluster_id}/faces/{event_id}/crop", response_class=Response, responses=_JPEG)
def get_crop(cluster_id: str, event_id: str, database: DatabaseDep, sealer: SealerDep, caller: OperatorDep) -> Response:
    """One face, as JPEG. Nobody on the way may keep it; the audit log notes who looked."""
    with database.write() as session:
        crop = service.crop(session, cluster_id, event_id, sealer)
        service.note_view(session, cluster_id, caller)
    return Response(crop, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.post("/unknowns/{cluster_id}/assign", response_model=schemas.Assigned)
def assign(
    cluster_id: str,
    wanted: schemas.Assign,
    assigner: AssignerDep,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Says who the faces of a stranger are.

    The best of them are enrolled, with the checks of `POST /v1/enroll` (`consent_missing`, `duplicate_person`, ...),
    so that the person is recognised from the next request on; their events become the person's, each with a correction
    that says so; their crops are deleted. Where no face is good enough the answer is 422 `crops_not_good_enough`, and
    nothing is changed: send `enroll: false` to only correct the events. Faces that were dismissed can be assigned all
    the same; of those that are somebody's already the answer is 409 `unknown_resolved`.
    """
    enroller = assigner.enroller

    def attempt(store: Store) -> Answer:
        seen = assigner.read(cluster_id, wanted)
        enroller.gallery.catch_up()  # in the transaction it would keep everybody else from enrolling
        with enroller.database.write_in_turn() as session:
            return store(session, Answer(200, assigner.store(session, cluster_id, wanted, seen, caller)))

    answer = idempotency.run(attempt)
    enroller.database.scrub()
    enroller.gallery.catch_up()
    return answer


@router.post("/unknowns/{cluster_id}/dismiss", response_model=schemas.Unknown)
def dismiss(
    cluster_id: str,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
    wanted: schemas.Dismiss | None = None,
) -> Response:
    """Says that the faces are a stranger's. Seen again while faces are kept, the same stranger is not asked about.

    If that was a mistake, or the stranger is one no more, assign them or open them again.
    """

    def work(session: Session) -> Answer:
        cluster = service.dismiss(session, cluster_id, wanted.reason if wanted else None, caller)
        return Answer(200, service.view(session, cluster))

    return idempotency.write(work)


@router.post("/unknowns/{cluster_id}/reopen", response_model=schemas.Unknown)
def reopen(cluster_id: str, caller: OperatorDep, idempotency: IdempotencyDep) -> Response:
    """Takes a dismissal back: the faces are listed again, and none of them counts as a stranger's any more."""

    def work(session: Session) -> Answer:
        return Answer(200, service.view(session, service.reopen(session, cluster_id, caller)))

    return idempotency.write(work)


@router.get("/review/estimate")
def estimate(
    database: DatabaseDep,
    inference: InferenceDep,
    _caller: OperatorDep,
    days: Annotated[int, Query(ge=1, le=366, description="How far back to look.")] = labels.WINDOW_DAYS,
) -> LiveEstimate:
    """How often strangers are named and enrolled people missed in real traffic, by what operators said of it.

    What was said of some faces is taken to hold for those that nobody judged, as if they had been drawn by chance:
    judge faces as they come, not only those that look odd. A word about a cluster tells what all its faces were, but
    is one word about the others. Faces that were named and faces that were not are judged apart; each kind needs some.
    """
    with database.read() as session:
        return labels.live_estimate(session, inference.info.model, days)

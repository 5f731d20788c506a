"""`/v1/threshold`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body
from starlette.responses import Response

from app.auth.dependencies import AdminDep, OperatorDep
from app.db.tables import OperatingPointRow
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.operating_points import queries, schemas, service, views
from app.operating_points.dependencies import CalibratorDep, CaughtUpCalibratorDep, RecalibratorDep
from app.review.labels import live_estimate

router = APIRouter(prefix="/v1/threshold", tags=["Threshold"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@router.get("")
def current(database: DatabaseDep, calibrator: CalibratorDep, _caller: OperatorDep) -> schemas.CurrentOperatingPoint:
    """The threshold in force, why it is what it is, and in manual mode what auto mode would choose.

    `live` says how it does, by what operators said of real faces.
    """
    with database.read() as session:
        state = queries.state(session)
        row = _in_force(queries.point(session, state.current_id) if state.current_id else None)
        suggested = queries.point(session, state.suggested_id) if state.suggested_id else None
        live = live_estimate(session, calibrator.model)
        return schemas.CurrentOperatingPoint.of(row, suggested, calibrator.is_busy, live)


@router.put("")
def change(
    new: Annotated[schemas.NewThreshold, Body()],
    database: DatabaseDep,
    calibrator: CaughtUpCalibratorDep,
    caller: AdminDep,
) -> schemas.OperatingPoint:
    """Chooses how often a stranger may be given a name (auto), or the threshold itself (manual).

    It counts from the next request on, on every replica.
    """
    calibrated = calibrator.quick()
    with database.write_in_turn() as session:
        if isinstance(new, schemas.ManualThreshold):
            row = service.set_manual(session, calibrated, new.threshold, caller.actor, new.reason)
        else:
            row = service.set_auto(session, calibrated, new.wanted_fpir, caller.actor, new.reason)
    return schemas.OperatingPoint.model_validate(row)


@router.post("/recalibrate", response_model=schemas.OperatingPoint, responses={202: {"model": schemas.Queued}})
def recalibrate(
    database: DatabaseDep,
    calibrator: CaughtUpCalibratorDep,
    recalibrator: RecalibratorDep,
    caller: AdminDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Calculates the operating point anew: at once for small galleries, else in the background (202)."""

    def in_background(store: Store) -> Answer:
        message = "Calculating in the background; GET /v1/threshold shows the new point when it is there."
        with database.write() as session:
            service.request_recalibration(session, caller.actor)
            answer = store(session, Answer(202, schemas.Queued(message=message), {"Location": "/v1/threshold"}))
        recalibrator.wake()
        return answer

    def attempt(store: Store) -> Answer:
        if not calibrator.is_small:
            return in_background(store)
        calibrated = calibrator.fresh()
        with database.write_in_turn() as session:
            row = service.recalibrate(session, calibrated, caller.actor, schemas.ASKED_FOR)
            return store(session, Answer(200, schemas.OperatingPoint.model_validate(_in_force(row))))

    return idempotency.run(attempt)


@router.post("/preview")
def preview(
    wanted: schemas.PreviewRequest, database: DatabaseDep, calibrator: CaughtUpCalibratorDep, _caller: OperatorDep
) -> schemas.Preview:
    """What a threshold would do: expected FPIR and FNIR, and which decisions of late would be others."""
    calibrated = calibrator.quick()
    with database.read() as session:
        return service.preview(session, calibrated, wanted.threshold)


@router.get("/curve")
def curve(database: DatabaseDep, _caller: OperatorDep) -> schemas.Curve:
    """FPIR and FNIR by threshold, and the scores behind them, as of the operating point in force."""
    with database.read() as session:
        state = queries.state(session)
        row = _in_force(queries.point(session, state.current_id) if state.current_id else None)
    counts = {name: row.evidence[name] for name in ("n_mated", "n_non_mated")}
    return schemas.Curve(**row.curves, **counts)


@router.get("/history")
def history(database: DatabaseDep, page: PageDep, _caller: OperatorDep) -> Page[schemas.OperatingPoint]:
    """Every operating point there was, with who made it and why, newest first."""
    with database.read() as session:
        rows = queries.points(session, before=CURSOR.decode(page.cursor), limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, lambda row: CURSOR.encode((row.created_at, row.id)))
    return Page(items=[schemas.OperatingPoint.model_validate(row) for row in shown], next_cursor=next_cursor)


@router.post("/history/{point_id}/restore", response_model=schemas.OperatingPoint)
def restore(
    point_id: str,
    database: DatabaseDep,
    calibrator: CaughtUpCalibratorDep,
    caller: AdminDep,
    idempotency: IdempotencyDep,
    wanted: schemas.Restore | None = None,
) -> Response:
    """Puts an earlier threshold in force again.

    The mode becomes manual, because in auto mode the next change of the gallery would replace it; the expected rates
    are those of today's gallery.
    """

    def attempt(store: Store) -> Answer:
        calibrated = calibrator.quick()
        with database.write_in_turn() as session:
            row = service.restore(session, calibrated, point_id, caller.actor, wanted.reason if wanted else None)
            return store(session, Answer(200, schemas.OperatingPoint.model_validate(row)))

    return idempotency.run(attempt)


@router.get("/look-alikes")
def look_alikes(database: DatabaseDep, _caller: OperatorDep) -> schemas.LookAlikes:
    """Pairs of people who need a larger lead over each other: found in the gallery, or complained of."""
    with database.read() as session:
        return views.look_alikes(session)


@router.delete("/look-alikes/{person_a}/{person_b}")
def forget_complaints(
    person_a: str, person_b: str, database: DatabaseDep, caller: AdminDep
) -> schemas.ForgottenComplaints:
    """Forgets what operators said of two people, in whichever order they are given; it counts from the next request on.

    Judging the event again does the same for one complaint, as long as the event is kept.
    """
    with database.write_in_turn() as session:
        return service.forget_complaints(session, person_a, person_b, caller.actor)


@router.get("/suspicious-templates")
def suspicious_templates(database: DatabaseDep, _caller: OperatorDep) -> schemas.SuspiciousTemplates:
    """Templates nearer to somebody else than to their own person, worst first; nothing is deleted by itself."""
    with database.read() as session:
        return views.suspicious_templates(session)


def _in_force(row: OperatingPointRow | None) -> OperatingPointRow:
    if row is None:
        raise ProblemError(503, "not_ready", "No operating point is in force yet; try again.")
    return row

"""Everything that changes the operating point in force.

A calibration is made first, outside any transaction; then the point is stored, put in force and audited in one.
"""

from dataclasses import asdict

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from app.audit.service import record
from app.db.engine import Database
from app.db.tables import OperatingPointRow, RecalibrationRequest, ThresholdState
from app.db.types import new_id, utc_now
from app.decisions import queries as decision_queries
from app.decisions.rules import replay
from app.errors import ProblemError
from app.gallery.queries import lock_gallery, stored_model
from app.gallery.rules import refuse_other_model
from app.identification.queries import person_refs
from app.operating_points import queries, schemas
from app.operating_points.calibrator import Calibrated, Calibrator
from ml.decision import pair_of
from ml.findings import find_look_alikes, find_suspicious
from ml.types import OperatingPoint

SYSTEM = "system"
# Decisions that a preview decides again: enough to see a share of 1 %, and done in half a second.
_PREVIEWED = 5000
_CHANGES_SHOWN = 200
# A threshold that lets nobody through, or everybody, means no rate.
_LEAST_FPIR = 1e-6


def ensure_point(database: Database, calibrator: Calibrator) -> None:
    """See to it that a point for the backbone in use is in force."""
    with database.read() as session:
        current_id = queries.state(session).current_id
        current = queries.point(session, current_id) if current_id else None
    if current is None or current.model != calibrator.model:
        calibrated = calibrator.fresh() if calibrator.is_small else calibrator.from_card()
        reason = "first start" if current is None else "another backbone"
        with database.write_in_turn() as session:
            set_auto(session, calibrated, None, SYSTEM, reason)


def set_auto(
    session: Session, calibrated: Calibrated, target_fpir: float | None, by: str, reason: str | None
) -> OperatingPointRow:
    """Auto mode: keep a target FPIR (None: the one kept so far) as people come and go."""
    state = _lock(session, calibrated)
    state.mode, state.target_fpir = "auto", target_fpir or state.target_fpir
    row = _put_in_force(session, state, calibrated, _auto_point(calibrated, state), by, reason)
    _audit(session, by, "threshold.set", row)
    if calibrated.found is None:  # the background may have finished since the card spoke, and this have replaced that
        request_recalibration(session, SYSTEM)
    return row


def set_manual(
    session: Session, calibrated: Calibrated, threshold: float, by: str, reason: str | None
) -> OperatingPointRow:
    """Manual mode: this threshold stays, and calibrations only suggest."""
    row = _fix(session, calibrated, threshold, by, reason)
    _audit(session, by, "threshold.set", row)
    return row


def restore(session: Session, calibrated: Calibrated, point_id: str, by: str, reason: str | None) -> OperatingPointRow:
    """An earlier threshold again, in manual mode, with what is to be expected of it today."""
    earlier = queries.point(session, point_id)
    if earlier is None:
        raise ProblemError(404, "operating_point_not_found", "There is no operating point with this id.")
    if earlier.model != calibrated.model:
        detail = f"That point was for {earlier.model}; its scores mean nothing to {calibrated.model}."
        raise ProblemError(409, "model_mismatch", detail)
    row = _fix(session, calibrated, earlier.threshold, by, reason or f"restored from {point_id}")
    _audit(session, by, "threshold.restored", row, {"restored": point_id})
    return row


def point_for(session: Session, calibrated: Calibrated) -> OperatingPoint:
    """What would be in force with another model: in auto mode for the same target, else for the same expected FPIR."""
    state = queries.state(session)
    current = queries.point(session, state.current_id) if state.current_id else None
    if state.mode == "auto" or current is None:
        return _auto_point(calibrated, state)
    expected = min(max(current.expected_fpir["value"], _LEAST_FPIR), 1 - _LEAST_FPIR)
    return calibrated.calibration.point_at(calibrated.calibration.threshold(expected), calibrated.model)


def adopt_model(session: Session, calibrated: Calibrated, by: str, reason: str) -> OperatingPointRow:
    """Another model is in force from this commit on: its own threshold is, too. The mode stays as it is."""
    state = _lock(session, calibrated)
    row = _put_in_force(session, state, calibrated, point_for(session, calibrated), by, reason)
    _audit(session, by, "threshold.set", row)
    return row


def resume_model(session: Session, model: str, by: str, reason: str) -> None:
    """A model that was in force before is so again, with its last threshold; what look-alikes there are by it is found
    out in the background.

    Raises:
        ProblemError: 409, it never was in force.
    """
    lock_gallery(session)
    state = queries.lock_state(session)
    earlier = queries.latest_in_force(session, model)
    if earlier is None:
        raise ProblemError(409, "model_mismatch", f"There is no threshold for {model}: promote it instead.")
    columns = {column.key: getattr(earlier, column.key) for column in inspect(OperatingPointRow).columns}
    row = OperatingPointRow(
        **columns
        | {"id": new_id("op"), "mode": state.mode, "created_at": utc_now(), "created_by": by, "reason": reason}
    )
    session.add(row)
    session.flush()
    _replace_suggestion(session, state, None)
    state.current_id = row.id
    queries.forget_findings(session)
    _audit(session, by, "threshold.set", row)
    request_recalibration(session, by)


def rescale_complaints(session: Session, ratio: float) -> None:
    """Margins that operators' complaints asked for, in the scores of another model."""
    queries.scale_complaints(session, ratio)


def request_recalibration(session: Session, by: str) -> None:
    """Have it done in the background, by whichever replica comes to it first."""
    session.add(RecalibrationRequest(id=new_id("rcl"), requested_by=by, created_at=utc_now()))
    session.flush()


def recalibrate(session: Session, calibrated: Calibrated, by: str, reason: str) -> OperatingPointRow | None:
    """In auto mode put the new point in force, in manual mode suggest it.

    None, for the system, when another replica did it for this gallery or a newer one.
    """
    state = _lock(session, calibrated)
    if by == SYSTEM and state.calibrated_revision >= calibrated.gallery_revision:
        return None
    put = _put_in_force if state.mode == "auto" else _suggest
    row = put(session, state, calibrated, _auto_point(calibrated, state), by, reason)
    _audit(session, by, "threshold.recalibrated", row)
    return row


def preview(session: Session, calibrated: Calibrated, threshold: float) -> schemas.Preview:
    """What a threshold would do: to strangers and enrolled people, and to the decisions of late."""
    point = calibrated.calibration.point_at(threshold, calibrated.model)
    faces = decision_queries.newest(session, calibrated.model, _PREVIEWED)
    replayed = replay(faces, threshold, queries.pair_margins(session))
    shown = replayed.changes[:_CHANGES_SHOWN]
    people = person_refs(session, {face.first_id for face in shown if face.first_id})
    return schemas.Preview.of(point, replayed, shown, people)


def forget_complaints(session: Session, person_a: str, person_b: str, by: str) -> schemas.ForgottenComplaints:
    """What operators said of two people counts no more; what the gallery itself shows of them still does."""
    lock_gallery(session)
    queries.lock_state(session)
    n_forgotten = queries.forget_complaints(session, person_a, person_b)
    if not n_forgotten:
        raise ProblemError(404, "complaint_not_found", "Nobody has complained of these two people.")
    a, b = pair_of(person_a, person_b)
    record(session, by, "threshold.complaints_forgotten", a, {"other": b, "n_complaints": n_forgotten})
    margin = queries.pair_margins(session).get((a, b), 0.0)
    return schemas.ForgottenComplaints(person_a=a, person_b=b, n_complaints=n_forgotten, margin=margin)


def _lock(session: Session, calibrated: Calibrated) -> ThresholdState:
    """The writers' turn: first the gallery's, so that nobody is erased meanwhile, then the threshold's."""
    lock_gallery(session)
    refuse_other_model(stored_model(session), calibrated.model)
    return queries.lock_state(session)


def _auto_point(calibrated: Calibrated, state: ThresholdState) -> OperatingPoint:
    return calibrated.calibration.operating_point(state.target_fpir, calibrated.model)


def _fix(session: Session, calibrated: Calibrated, threshold: float, by: str, reason: str | None) -> OperatingPointRow:
    state = _lock(session, calibrated)
    state.mode = "manual"
    chosen = calibrated.calibration.point_at(threshold, calibrated.model)
    row = _put_in_force(session, state, calibrated, chosen, by, reason)
    _suggest(session, state, calibrated, _auto_point(calibrated, state), by, "suggested beside a manual threshold")
    return row


def _put_in_force(
    session: Session,
    state: ThresholdState,
    calibrated: Calibrated,
    point: OperatingPoint,
    by: str,
    reason: str | None,
) -> OperatingPointRow:
    row = _add(session, calibrated, point, state.mode, by, reason)
    _replace_suggestion(session, state, None)
    state.current_id = row.id
    _store_findings(session, state, calibrated, row.threshold)
    return row


def _suggest(
    session: Session,
    state: ThresholdState,
    calibrated: Calibrated,
    point: OperatingPoint,
    by: str,
    reason: str | None,
) -> OperatingPointRow:
    row = _add(session, calibrated, point, "auto", by, reason, is_suggestion=True)
    _replace_suggestion(session, state, row.id)
    in_force = queries.point(session, state.current_id) if state.current_id else None
    _store_findings(session, state, calibrated, (in_force or row).threshold)
    return row


def _replace_suggestion(session: Session, state: ThresholdState, point_id: str | None) -> None:
    if state.suggested_id is not None:
        queries.empty_curves(session, state.suggested_id)
    state.suggested_id = point_id


def _add(
    session: Session,
    calibrated: Calibrated,
    point: OperatingPoint,
    mode: str,
    by: str,
    reason: str | None,
    *,
    is_suggestion: bool = False,
) -> OperatingPointRow:
    row = OperatingPointRow(
        id=new_id("op"),
        threshold=point.threshold,
        mode=mode,
        is_suggestion=is_suggestion,
        target_fpir=point.target_fpir,
        expected_fpir=asdict(point.expected_fpir),
        expected_fnir=asdict(point.expected_fnir),
        method=point.method,
        model=point.model,
        n_people=point.n_people,
        n_templates=point.n_templates,
        gallery_revision=calibrated.gallery_revision,
        evidence=asdict(point.evidence),
        curves=asdict(calibrated.curves),
        created_at=utc_now(),
        created_by=by,
        reason=reason,
    )
    session.add(row)
    session.flush()
    return row


def _store_findings(session: Session, state: ThresholdState, calibrated: Calibrated, threshold: float) -> None:
    margin, found = calibrated.look_alike_margin, calibrated.found
    state.calibrated_revision = calibrated.gallery_revision
    if found is not None:  # else those of the last search stand until there is another
        queries.replace_look_alikes(session, find_look_alikes(found, threshold), margin)
        queries.replace_suspicious(session, find_suspicious(found, margin))
        state.n_searched, state.n_templates = len(found.template_ids), calibrated.n_templates
    session.flush()


def _audit(session: Session, by: str, action: str, row: OperatingPointRow, more: dict[str, str] | None = None) -> None:
    detail = {
        "mode": row.mode,
        "threshold": round(row.threshold, 6),
        "target_fpir": row.target_fpir,
        "is_suggestion": row.is_suggestion,
    }
    record(session, by, action, row.id, detail | (more or {}))

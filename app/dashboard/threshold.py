"""Threshold: what it does, what another one would do, and everything that calibrations found out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.dashboard.frame.actors import actor_names
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.plotly import style_ids
from app.dashboard.frame.visitor import VisitorDep
from app.http.dependencies import DatabaseDep
from app.http.pagination import PageRequest
from app.operating_points import queries, routes, views
from app.operating_points.dependencies import CalibratorDep
from app.operating_points.schemas import ASKED_FOR, PRESETS, Curve, Interval, OperatingPoint
from ml.calibration import FEWEST_PEOPLE

router = APIRouter(include_in_schema=False)

# Of each list, on the page that shows everything; the rest has a page of its own.
_SHOWN: Final = 6
_HISTORY_SHOWN: Final = 8
# Rates that the table beside the chart has a row for, as near as the curve's points come.
_TABLE_FPIRS: Final = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# The reasons that the service itself gives, in words for people.
_REASONS: Final = {
    "first start": N_("The first start"),
    "another backbone": N_("Another network"),
    ASKED_FOR: N_("Somebody asked for it"),
    "templates changed": N_("People were enrolled or removed"),
    "suggested beside a manual threshold": N_("Suggested beside a fixed threshold"),
}
_RESTORED: Final = "restored from "


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that says what the chart shows."""

    threshold: float
    fpir: Interval
    fnir: Interval


@router.get("/threshold")
def threshold_page(
    request: Request, visitor: VisitorDep, database: DatabaseDep, calibrator: CalibratorDep
) -> HTMLResponse:
    curve = routes.curve(database, visitor.principal)
    with database.read() as session:
        state = queries.state(session)
        current, suggestion = _point(session, state.current_id), _point(session, state.suggested_id)
        history = [OperatingPoint.model_validate(row) for row in _newest(session)]
        pairs, suspicious = views.look_alikes(session), views.suspicious_templates(session)
        names = _names(session, history)
        in_force_id, target_fpir = state.current_id, state.target_fpir
    return render(
        request,
        visitor,
        "threshold.html",
        current=current,
        suggestion=suggestion,
        target_fpir=target_fpir,
        curve=curve,
        table=table_of(curve),
        presets=PRESETS,
        history=history[:_HISTORY_SHOWN],
        has_more_history=len(history) > _HISTORY_SHOWN,
        in_force_id=in_force_id,
        pairs=pairs,
        suspicious=suspicious,
        n_shown=_SHOWN,
        names=names,
        fewest_people=FEWEST_PEOPLE,
        is_calibrating=calibrator.is_busy,
        style_ids=style_ids(),
        **_WORDS,
    )


@router.get("/threshold/history")
def history_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = routes.history(database, PageRequest(cursor=cursor), visitor.principal)
    with database.read() as session:
        names, in_force_id = _names(session, page.items), queries.state(session).current_id
    return render(request, visitor, "threshold_history.html", page=page, names=names, in_force_id=in_force_id, **_WORDS)


@router.get("/threshold/look-alikes")
def look_alikes_page(request: Request, visitor: VisitorDep, database: DatabaseDep) -> HTMLResponse:
    return render(request, visitor, "look_alikes.html", pairs=routes.look_alikes(database, visitor.principal))


@router.get("/threshold/suspicious-templates")
def suspicious_page(request: Request, visitor: VisitorDep, database: DatabaseDep) -> HTMLResponse:
    suspicious = routes.suspicious_templates(database, visitor.principal)
    return render(request, visitor, "suspicious.html", suspicious=suspicious)


def table_of(curve: Curve) -> list[Row]:
    """The curve at a few of its points, for whoever cannot see the chart; each once, by rising threshold."""
    nearest = [min(range(len(curve.fpir)), key=lambda i: abs(curve.fpir[i] - fpir)) for fpir in _TABLE_FPIRS]
    return [
        Row(
            threshold=curve.thresholds[i],
            fpir=_interval(i, curve.fpir, curve.fpir_low, curve.fpir_high),
            fnir=_interval(i, curve.fnir, curve.fnir_low, curve.fnir_high),
        )
        for i in dict.fromkeys(nearest)
    ]


def per_thousand(rate: float) -> float:
    """Of 1 000, so many: with a decimal where they are few."""
    n = 1000 * rate
    return round(n, 1) if n < 10 else round(n)


def reason_of(point: OperatingPoint) -> tuple[bool, str]:
    """Why there is this point, and whether that is a message rather than somebody's own words."""
    reason = point.reason or ""
    if reason.startswith(_RESTORED):
        return True, N_("An earlier one was restored")
    return reason in _REASONS, _REASONS.get(reason, reason)


_WORDS: Final[dict[str, Any]] = {"per_thousand": per_thousand, "reason_of": reason_of}


def _interval(i: int, values: list[float], lows: list[float], highs: list[float]) -> Interval:
    """Without its ends where the curve has none."""
    return Interval(value=values[i], low=lows[i] if lows else values[i], high=highs[i] if highs else values[i])


def _point(session: Session, point_id: str | None) -> OperatingPoint | None:
    row = queries.point(session, point_id) if point_id else None
    return OperatingPoint.model_validate(row) if row else None


def _newest(session: Session) -> Iterable[Any]:
    return queries.points(session, before=None, limit=_HISTORY_SHOWN + 1)


def _names(session: Session, points: Iterable[OperatingPoint]) -> dict[str, str]:
    return actor_names(session, {point.created_by for point in points})

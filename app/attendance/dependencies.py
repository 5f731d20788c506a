"""How a route gets what the ledger is written with. All `async`: anything else would cost a thread each."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Query
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.attendance.captures import Recorder, Sender
from app.attendance.day_queries import PeopleFilter
from app.attendance.ledger import Bookkeeper
from app.attendance.moments import DeviceClock
from app.auth.dependencies import CameraDep
from app.crops.keeping import CropKeeper
from app.db.clock import shared_now
from app.db.engine import Database
from app.decisions.dependencies import DecisionLogDep
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep, SealerDep, SettingsDep
from app.http.fields import Moment
from app.metrics.attendance import AttendanceMetrics

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


async def _bookkeeper(settings: SettingsDep) -> Bookkeeper:
    return Bookkeeper(settings.timezone)


BookkeeperDep = Annotated[Bookkeeper, Depends(_bookkeeper)]


async def _metrics(request: Request) -> AttendanceMetrics:
    metrics: AttendanceMetrics = request.app.state.attendance_metrics
    return metrics


async def _recorder(
    database: DatabaseDep,
    bookkeeper: BookkeeperDep,
    log: DecisionLogDep,
    sealer: SealerDep,
    metrics: Annotated[AttendanceMetrics, Depends(_metrics)],
    settings: SettingsDep,
) -> Recorder:
    crops = CropKeeper.of(settings, sealer)
    return Recorder(database, bookkeeper, log, sealer, metrics, settings.capture_max_age_days, crops)


RecorderDep = Annotated[Recorder, Depends(_recorder)]


async def _sender(
    request: Request,
    database: DatabaseDep,
    caller: CameraDep,
    device_time: Annotated[
        str | None,
        Header(alias="X-Device-Time", description="The device's clock when it sends this, RFC 3339 with offset."),
    ] = None,
) -> Sender:
    """To be asked for before the body is read, which may take seconds that are nobody's clock's fault."""
    clock = DeviceClock(
        None if device_time is None else moment_of("X-Device-Time", device_time),
        await run_in_threadpool(_now, database),
    )
    return Sender(caller, request.state.request_id, clock)


SenderDep = Annotated[Sender, Depends(_sender)]


async def _people_filter(
    query: Annotated[str | None, Query(max_length=200, description="Part of a name or employee_code.")] = None,
    department: Annotated[str | None, Query(max_length=200)] = None,
) -> PeopleFilter:
    """Of whom, among everybody; of one `person_id` it does not matter."""
    return PeopleFilter(query or None, department or None)


WhoDep = Annotated[PeopleFilter, Depends(_people_filter)]


def moment_of(name: str, text: str) -> datetime:
    """A time that a header or a form holds; else 422."""
    try:
        return _MOMENT.validate_python(text)
    except ValidationError:
        detail = f"{name}: send a time with its offset, such as 2026-11-20T08:59:12+01:00."
        raise ProblemError(422, "fields_invalid", detail) from None


def _now(database: Database) -> datetime:
    with database.read() as session:
        return shared_now(session)

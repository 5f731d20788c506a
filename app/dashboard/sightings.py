"""Events as the dashboard shows them: who, where, how sure, and whether there is a picture. For Today and its feed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.orm import Session

from app.crops.queries import with_crop
from app.db.tables import Camera, DecisionRow, Event, OperatingPointRow, Person, Site
from app.db.types import utc_now
from app.identification.schemas import PersonRef
from ml.calibration import Curves, odds

# Of operating points: one is in force, and the events shown were decided at the latest few.
_POINTS_KNOWN: Final = 16


SeenRow: TypeAlias = Row[Event, str, str, str, str, float | None, float, str]


class Place(BaseModel):
    """Enough of a camera or a site to show."""

    id: str
    name: str


class Sighting(BaseModel):
    """One event; `odds`: a stranger reaches its score once in so many searches."""

    id: str
    outcome: str
    method: str
    person: PersonRef | None
    direction: str | None
    occurred_at: datetime
    camera: Place | None
    site: Place
    score: float | None
    threshold: float | None
    odds: float | None
    duplicate_of: str | None
    is_deleted: bool
    has_crop: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a list shows; empty: all. `since` is their earliest time."""

    camera_id: str = ""
    site_id: str = ""
    outcome: str = ""
    since: datetime | None = None


class OddsBook:
    """How rarely strangers reach a score, at the operating point that it was decided at. Safe to share."""

    def __init__(self) -> None:
        self._known: dict[str, Curves] = {}

    def odds(self, session: Session, point_id: str | None, score: float | None) -> float | None:
        """Two digits: more would be more than is known."""
        if point_id is None or score is None:
            return None
        curves = self._known.get(point_id)
        if curves is None:
            row = session.get(OperatingPointRow, point_id)
            if row is None or not row.curves:  # those of a suggestion that another one has replaced are emptied
                return None
            if len(self._known) >= _POINTS_KNOWN:
                self._known.clear()
            self._known[point_id] = curves = Curves(**row.curves)
        return float(f"{odds(score, curves):.2g}")


def of_events(session: Session, event_ids: Collection[str], book: OddsBook) -> list[Sighting]:
    """A few hundred events at most, the oldest first."""
    if not event_ids:
        return []
    rows = session.execute(_columns().where(Event.id.in_(event_ids)).order_by(Event.occurred_at, Event.id)).all()
    return _seen(session, rows, book)


def latest(session: Session, wanted: Wanted, limit: int, book: OddsBook) -> list[Sighting]:
    """The newest presences first: what only repeats one is not listed."""
    conditions: list[ColumnElement[bool]] = [Event.is_deleted.is_(False), Event.duplicate_of.is_(None)]
    equal = {Event.camera_id: wanted.camera_id, Event.site_id: wanted.site_id, Event.outcome: wanted.outcome}
    conditions += [column == value for column, value in equal.items() if value]
    if wanted.since is not None:
        conditions.append(Event.occurred_at >= wanted.since)
    newest = select(Event.id).where(*conditions).order_by(Event.occurred_at.desc(), Event.id.desc()).limit(limit)
    return of_events(session, list(session.scalars(newest)), book)[::-1]


def _columns() -> Select[Event, str, str, str, str, float | None, float, str]:
    columns = (
        Event,
        Person.employee_code,
        Person.name.label("person_name"),
        Camera.name.label("camera_name"),
        Site.name.label("site_name"),
        DecisionRow.score,
        DecisionRow.threshold,
        DecisionRow.operating_point_id,
    )
    joined = select(*columns).join(Site, Site.id == Event.site_id).outerjoin(Person, Person.id == Event.person_id)
    return joined.outerjoin(Camera, Camera.id == Event.camera_id).outerjoin(DecisionRow, DecisionRow.id == Event.id)


def _seen(session: Session, rows: Sequence[SeenRow], book: OddsBook) -> list[Sighting]:
    pictured = with_crop(session, [row.Event.id for row in rows], utc_now())
    return [
        Sighting(
            id=row.Event.id,
            outcome=row.Event.outcome,
            method=row.Event.method,
            person=_person(row),
            direction=row.Event.direction,
            occurred_at=row.Event.occurred_at,
            camera=Place(id=row.Event.camera_id, name=row.camera_name) if row.Event.camera_id else None,
            site=Place(id=row.Event.site_id, name=row.site_name),
            score=row.score,
            threshold=row.threshold,
            odds=book.odds(session, row.operating_point_id, row.score),
            duplicate_of=row.Event.duplicate_of,
            is_deleted=row.Event.is_deleted,
            has_crop=row.Event.id in pictured,
        )
        for row in rows
    ]


def _person(row: SeenRow) -> PersonRef | None:
    if row.Event.person_id is None:
        return None
    return PersonRef(id=row.Event.person_id, employee_code=row.employee_code, name=row.person_name)

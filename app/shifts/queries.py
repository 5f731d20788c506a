"""All SQL about shifts and who works them."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, or_, select, true, tuple_
from sqlalchemy.orm import Session

from app.db.tables import Person, Shift, ShiftAssignment, Site


def shift_by_id(session: Session, shift_id: str) -> Shift | None:
    return session.get(Shift, shift_id)


def names_of(session: Session, shift_ids: Collection[str]) -> dict[str, str]:
    """Names of those of these shifts that there are, retired or not."""
    rows = session.execute(select(Shift.id, Shift.name).where(Shift.id.in_(shift_ids)))
    return {row.id: row.name for row in rows}


def lock_to_retire(session: Session, shift_id: str) -> Shift | None:
    """Nobody is assigned the shift until the commit."""
    return _locked(session, select(Shift).where(Shift.id == shift_id).with_for_update(key_share=True))


def lock_to_assign(session: Session, shift_id: str) -> Shift | None:
    """Nobody retires the shift until the commit."""
    return _locked(session, select(Shift).where(Shift.id == shift_id).with_for_update(read=True))


def assignable_ids(session: Session) -> set[str]:
    return set(session.scalars(select(Shift.id).where(Shift.retired_at.is_(None))))


def list_shifts(
    session: Session, *, is_retired: bool | None, after: tuple[datetime, str] | None, limit: int
) -> list[Shift]:
    """Oldest first, after the one with this `(created_at, id)`."""
    statement = select(Shift).order_by(Shift.created_at, Shift.id).limit(limit)
    if is_retired is not None:
        statement = statement.where(Shift.retired_at.is_not(None) if is_retired else Shift.retired_at.is_(None))
    if after is not None:
        statement = statement.where(tuple_(Shift.created_at, Shift.id) > after)
    return list(session.scalars(statement))


def n_assigned_from(session: Session, shift_id: str, day: date) -> int:
    """How many work this shift on that day or later."""
    statement = select(func.count(ShiftAssignment.person_id.distinct()))
    return session.scalars(statement.where(ShiftAssignment.shift_id == shift_id, _ends_from(day))).one()


def n_assigned_by_shift(session: Session, shift_ids: Collection[str], day: date) -> dict[str, int]:
    """How many work each of these shifts on that day or later; none are left out."""
    counted = select(ShiftAssignment.shift_id, func.count(ShiftAssignment.person_id.distinct()))
    wanted = counted.where(ShiftAssignment.shift_id.in_(shift_ids), _ends_from(day))
    return {shift_id: n for shift_id, n in session.execute(wanted.group_by(ShiftAssignment.shift_id))}


def list_workers(
    session: Session, shift_id: str, day: date, *, after: tuple[datetime, str] | None, limit: int
) -> list[tuple[ShiftAssignment, Person]]:
    """Who works this shift on that day or later, in the order in which it was assigned."""
    order = ShiftAssignment.created_at, ShiftAssignment.id
    statement = select(ShiftAssignment, Person).join(Person, Person.id == ShiftAssignment.person_id)
    statement = statement.where(ShiftAssignment.shift_id == shift_id, _ends_from(day)).order_by(*order).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*order) > after)
    return [(assignment, person) for assignment, person in session.execute(statement)]


def assignment_by_id(session: Session, assignment_id: str) -> ShiftAssignment | None:
    return session.get(ShiftAssignment, assignment_id)


def standing_of(session: Session, person_id: str) -> list[ShiftAssignment]:
    """All that a person ever had, the current one and past ones."""
    statement = select(ShiftAssignment).where(ShiftAssignment.person_id == person_id, ShiftAssignment.is_standing)
    return list(session.scalars(statement))


def is_rostered(session: Session, person_id: str, shift_id: str, first: date, last: date) -> bool:
    """Whether the roster has this person for this shift on one of these days already."""
    statement = select(ShiftAssignment.id).where(
        ShiftAssignment.person_id == person_id,
        ShiftAssignment.shift_id == shift_id,
        ShiftAssignment.is_standing.is_(False),
        _covers(first, last),
    )
    return session.scalars(statement.limit(1)).first() is not None


def list_assignments(
    session: Session,
    *,
    person_id: str | None,
    first: date | None,
    last: date | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[ShiftAssignment]:
    """Oldest first, those that cover a day between these."""
    order = ShiftAssignment.created_at, ShiftAssignment.id
    statement = select(ShiftAssignment).where(_covers(first, last)).order_by(*order).limit(limit)
    if person_id is not None:
        statement = statement.where(ShiftAssignment.person_id == person_id)
    if after is not None:
        statement = statement.where(tuple_(*order) > after)
    return list(session.scalars(statement))


def assignments_with_shifts(
    session: Session, person_ids: Collection[str], first: date, last: date
) -> Sequence[Row[ShiftAssignment, Shift]]:
    """Those of these people that cover a day between these, each with its shift."""
    statement = (
        select(ShiftAssignment, Shift)
        .join(Shift, Shift.id == ShiftAssignment.shift_id)
        .where(ShiftAssignment.person_id.in_(person_ids), _covers(first, last))
        .order_by(ShiftAssignment.created_at, ShiftAssignment.id)
    )
    return session.execute(statement).all()


def homes(
    session: Session, person_ids: Collection[str], default_site: str
) -> Sequence[Row[str, str | None, str, str | None]]:
    """Per person: id, own zone, the id of their site, and its zone."""
    return session.execute(_homes(default_site).where(Person.id.in_(person_ids))).all()


def home_zone(session: Session, person_id: str, default_site: str) -> str | None:
    """The zone of the clock that a person lives by, where one is set."""
    _, own, _, of_site = session.execute(_homes(default_site).where(Person.id == person_id)).one()
    return own or of_site


def delete_assignment(session: Session, assignment_id: str) -> bool:
    """Whether it was still there."""
    gone = delete(ShiftAssignment).where(ShiftAssignment.id == assignment_id).returning(ShiftAssignment.id)
    return session.scalars(gone).one_or_none() is not None


def _homes(default_site: str) -> Select[str, str | None, str, str | None]:
    is_home = Site.id == func.coalesce(Person.site_id, default_site)
    columns = Person.id, Person.timezone, Site.id.label("site_id"), Site.timezone.label("site_zone")
    return select(*columns).join(Site, is_home)


def _covers(first: date | None, last: date | None) -> ColumnElement[bool]:
    begins = or_(ShiftAssignment.first_date.is_(None), ShiftAssignment.first_date <= last) if last else true()
    return and_(begins, _ends_from(first) if first else true())


def _ends_from(day: date) -> ColumnElement[bool]:
    return or_(ShiftAssignment.last_date.is_(None), ShiftAssignment.last_date >= day)


def _locked(session: Session, statement: Select[Shift]) -> Shift | None:
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()

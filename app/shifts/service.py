"""What can be done to shifts, and what is expected of people; inside a session that the caller commits."""

from collections import defaultdict
from collections.abc import Collection
from datetime import date, time, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.attendance import plan
from app.attendance.rules import refuse_impossible
from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Shift
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.shifts import queries, schemas
from app.sites.queries import holidays_between
from app.sites.service import DEFAULT_SITE

# The last place on earth where a day is still today: whoever works a shift "today" somewhere is found.
_LAST_ZONE = timedelta(hours=-12)


def get(session: Session, shift_id: str) -> Shift:
    """The shift, or 404."""
    shift = queries.shift_by_id(session, shift_id)
    if shift is None:
        raise _not_found()
    return shift


def create(session: Session, new: schemas.ShiftCreate, caller: Principal) -> Shift:
    fields = new.model_dump(mode="json")
    basics = {name: fields.pop(name) for name in ("name", "starts", "ends", "days")}
    shift = Shift(id=new_id("shf"), created_at=utc_now(), rules=fields, **basics)
    try:
        refuse_impossible(planned(shift))
    except ValueError as wrong:
        raise ProblemError(422, "shift_impossible", str(wrong)) from None
    session.add(shift)
    session.flush()
    record(session, caller.actor, "shift.created", shift.id)
    return shift


def retire(session: Session, shift_id: str, caller: Principal) -> None:
    """From now on nobody can be assigned it; 409 while somebody is."""
    shift = queries.lock_to_retire(session, shift_id)
    if shift is None or shift.retired_at is not None:
        raise _not_found()
    if n_people := queries.n_assigned_from(session, shift_id, first_day_that_counts()):
        detail = (
            f"{n_people} people work this shift today or later. Give them another `shift_id` and delete its entries "
            "of the roster first; GET /v1/roster lists them."
        )
        raise ProblemError(409, "shift_in_use", detail, extra={"n_people": n_people})
    shift.retired_at = utc_now()
    record(session, caller.actor, "shift.retired", shift.id)


def first_day_that_counts() -> date:
    """Whatever is assigned up to a day before this one is over, everywhere on earth."""
    return (utc_now() + _LAST_ZONE).date()


def view(shift: Shift) -> schemas.Shift:
    return schemas.Shift(
        id=shift.id,
        name=shift.name,
        starts=shift.starts,
        ends=shift.ends,
        days=shift.days,
        created_at=shift.created_at,
        retired_at=shift.retired_at,
        **schemas.Rules.model_validate(shift.rules).model_dump(),
    )


def planned(shift: Shift) -> plan.Shift:
    """The shift as the rules see it."""
    starts, ends = _time(shift.starts), _time(shift.ends)
    return plan.Shift(shift.id, shift.name, starts, ends, frozenset(shift.days), _rules(shift.rules))


def plans_of(
    session: Session, person_ids: Collection[str], first: date, last: date, default_zone: str
) -> dict[str, plan.Plan]:
    """What is expected of these people between two days, by their ids; who is not there is left out.

    Holidays are those of the site that a person belongs to now, also on days before they moved there.
    Three statements for any number of people, which is to stay below ten thousand: each is a parameter.
    """
    homes = queries.homes(session, person_ids, DEFAULT_SITE)
    assignments = _assignments(session, person_ids, first, last)
    holidays = _Holidays(session, first, last)
    return {
        home.id: plan.Plan(
            assignments=tuple(assignments.get(home.id, ())),
            holidays=holidays.at(home.site_id),
            home_zone=home.timezone or home.site_zone or default_zone,
        )
        for home in homes
    }


def _assignments(
    session: Session, person_ids: Collection[str], first: date, last: date
) -> dict[str, list[plan.Assignment]]:
    shifts: dict[str, plan.Shift] = {}
    found: dict[str, list[plan.Assignment]] = defaultdict(list)
    for row, shift in queries.assignments_with_shifts(session, person_ids, first, last):
        if shift.id not in shifts:
            shifts[shift.id] = planned(shift)
        assignment = plan.Assignment(shifts[shift.id], row.first_date, row.last_date, row.is_standing)
        found[row.person_id].append(assignment)
    return found


class _Holidays:
    """The holidays between two days, read once; each site's are put together once."""

    def __init__(self, session: Session, first: date, last: date) -> None:
        self._all = holidays_between(session, first, last)
        self._by_site: dict[str, dict[date, str]] = {}

    def at(self, site_id: str) -> dict[date, str]:
        if site_id not in self._by_site:
            here = (holiday for holiday in self._all if holiday.site_id in (None, site_id))
            self._by_site[site_id] = {holiday.local_date: holiday.name for holiday in here}
        return self._by_site[site_id]


def _rules(stored: dict[str, Any]) -> plan.ShiftRules:
    rules = schemas.Rules.model_validate(stored)
    breaks = tuple(plan.Break(_time(pause.starts), _time(pause.ends)) for pause in rules.breaks)
    return plan.ShiftRules(**rules.model_dump(exclude={"breaks"}), breaks=breaks)


def _time(wall: str) -> time:
    return time.fromisoformat(wall)


def _not_found() -> ProblemError:
    return ProblemError(404, "shift_not_found", "There is no shift with this id. GET /v1/shifts lists them.")

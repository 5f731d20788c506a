from datetime import date, time, timedelta
from typing import Any

import pytest
from sqlalchemy import event, update
from starlette.testclient import TestClient

from app.attendance.plan import Assignment, Plan, Shift
from app.db.engine import Database
from app.db.tables import ShiftAssignment
from app.db.types import utc_now
from app.shifts.service import plans_of
from tests.app.factories import make_person

FIRST, LAST = date(2026, 4, 1), date(2026, 4, 30)
DAY = timedelta(days=1)


def post(client: TestClient, headers: dict[str, str], path: str, **fields: Any) -> str:
    response = client.post(f"/v1/{path}", json=fields, headers=headers)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def plan_of(database: Database, person_id: str, first: date = FIRST, last: date = LAST) -> Plan:
    with database.read() as session:
        return plans_of(session, [person_id], first, last, "Asia/Tokyo")[person_id]


def shift(client: TestClient, headers: dict[str, str], name: str = "Day", starts: str = "09:00") -> str:
    return post(client, headers, "shifts", name=name, starts=starts, ends="17:00")


def test_somebody_without_anything_has_an_empty_plan_and_nobody_has_none(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    person_id = post(client, admin, "people", employee_code="E1", name="Ada")
    assert plan_of(database, person_id) == Plan(home_zone="Asia/Tokyo")
    with database.read() as session:
        assert plans_of(session, ["per_none"], FIRST, LAST, "UTC") == plans_of(session, [], FIRST, LAST, "UTC") == {}


def test_the_home_zone_is_the_persons_else_the_sites_else_the_deployments(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    lima = post(client, admin, "sites", name="Lima", timezone="America/Lima")
    there = post(client, admin, "people", employee_code="E1", name="Ada", site_id=lima)
    travels = post(client, admin, "people", employee_code="E2", name="Bob", site_id=lima, timezone="Europe/Berlin")
    assert plan_of(database, there).home_zone == "America/Lima"
    assert plan_of(database, travels).home_zone == "Europe/Berlin"
    client.patch("/v1/sites/site_default", json={"timezone": "Europe/Paris"}, headers=admin)
    anywhere = post(client, admin, "people", employee_code="E3", name="Cy")
    assert plan_of(database, anywhere).home_zone == "Europe/Paris"


def test_a_standing_shift_that_changes_is_two_assignments(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    old, new = shift(client, admin, "Old"), shift(client, admin, "New", "08:00")
    ada = {"employee_code": "E1", "name": "Ada", "timezone": "UTC", "shift_id": old}
    person_id = post(client, admin, "people", **ada)
    with database.write() as session:
        session.execute(update(ShiftAssignment).values(created_at=utc_now() - 9 * DAY))
    client.patch(f"/v1/people/{person_id}", json={"shift_id": new}, headers=admin)
    today = utc_now().date()
    before, after = Shift(old, "Old", time(9), time(17)), Shift(new, "New", time(8), time(17))
    plan = plan_of(database, person_id, today - DAY, today)
    assert plan.assignments == (Assignment(before, None, today - DAY), Assignment(after, today, None))
    assert plan_of(database, person_id, today, today).assignments == plan.assignments[1:]
    assert plan_of(database, person_id, today - DAY, today - DAY).assignments == plan.assignments[:1]


def test_the_roster_of_a_day_may_hold_two_shifts_beside_the_standing_one(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    ids = [shift(client, admin, name, starts) for name, starts in (("A", "09:00"), ("B", "08:00"), ("C", "07:00"))]
    person_id = post(client, admin, "people", employee_code="E1", name="Ada", shift_id=ids[0])
    dates = {"first_date": str(FIRST), "last_date": str(FIRST + DAY)}
    for shift_id in ids[1:]:
        post(client, admin, "roster", person_id=person_id, shift_id=shift_id, **dates)
    plan = plan_of(database, person_id)
    assert [(a.shift.name, a.first_date, a.last_date, a.is_standing) for a in plan.assignments] == [
        ("A", None, None, True),
        ("B", FIRST, FIRST + DAY, False),
        ("C", FIRST, FIRST + DAY, False),
    ]
    assert len(plan_of(database, person_id, FIRST + 2 * DAY).assignments) == 1


def test_holidays_are_those_of_the_persons_site_and_of_all(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    lima = post(client, admin, "sites", name="Lima")
    there = post(client, admin, "people", employee_code="E1", name="Ada", site_id=lima)
    here = post(client, admin, "people", employee_code="E2", name="Bob")
    post(client, admin, "holidays", date="2026-04-03", name="Viernes Santo", site_id=lima)
    post(client, admin, "holidays", date="2026-04-03", name="Good Friday")
    post(client, admin, "holidays", date="2026-04-23", name="Book Day", site_id="site_default")
    post(client, admin, "holidays", date="2026-05-01", name="Labour Day")
    assert plan_of(database, there).holidays == {date(2026, 4, 3): "Viernes Santo"}
    assert plan_of(database, here).holidays == {date(2026, 4, 3): "Good Friday", date(2026, 4, 23): "Book Day"}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_plans_of_many_people_take_three_statements(database: Database) -> None:
    with database.write() as session:
        ids = [make_person(session=session).id for _ in range(50)]
    statements: list[str] = []
    with database.read() as session:
        event.listen(session.connection(), "before_cursor_execute", lambda *args: statements.append(args[2]))
        assert len(plans_of(session, ids, FIRST, LAST, "UTC")) == 50
    assert len(statements) == 3

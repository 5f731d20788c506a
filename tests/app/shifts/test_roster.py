import threading
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.attendance.rules import REACH_DAYS
from app.db.engine import Database
from app.db.tables import Person, ShiftAssignment, StaleDay
from app.db.types import utc_now
from app.shifts.stale import lock_everybody, lock_person, mark_person
from tests.app.attendance_days import make_day
from tests.app.factories import make_person

TODAY = utc_now().date()
DAY = timedelta(days=1)
# The person of these tests: their midnight is that of the tests' clock.
ADA = {"employee_code": "E1", "name": "Ada Byron", "timezone": "UTC"}


@pytest.fixture
def shifts(client: TestClient, operator: dict[str, str]) -> list[str]:
    times = {"starts": "09:00", "ends": "17:00"}
    made = [client.post("/v1/shifts", json={"name": name, **times}, headers=operator) for name in "ABC"]
    return [response.json()["id"] for response in made]


def hire(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/people", json={**ADA, **fields}, headers=headers)


def assign(client: TestClient, headers: dict[str, str], person_id: str, shift_id: str | None) -> Any:
    return client.patch(f"/v1/people/{person_id}", json={"shift_id": shift_id}, headers=headers)


def roster(client: TestClient, headers: dict[str, str], person_id: str, shift_id: str, first: date, last: date) -> Any:
    dates = {"first_date": first.isoformat(), "last_date": last.isoformat()}
    return client.post("/v1/roster", json={"person_id": person_id, "shift_id": shift_id, **dates}, headers=headers)


def standing(client: TestClient, headers: dict[str, str], person_id: str) -> list[tuple[str, str | None, str | None]]:
    items = client.get(f"/v1/roster?person_id={person_id}", headers=headers).json()["items"]
    return [(item["shift_id"], item["first_date"], item["last_date"]) for item in items if item["is_standing"]]


def hired_long_ago(database: Database) -> None:
    with database.write() as session:
        session.execute(update(ShiftAssignment).values(created_at=utc_now() - timedelta(days=100)))


def stale_days(database: Database) -> list[date]:
    with database.read() as session:
        return list(session.scalars(select(StaleDay.local_date).order_by(StaleDay.local_date)))


def make_days(*, database: Database, person_id: str, dates: list[date]) -> None:
    with database.write() as session:
        for local_date in dates:
            make_day(session=session, person=session.get_one(Person, person_id), local_date=local_date)


def test_a_first_shift_counts_for_the_past_too(client: TestClient, operator: dict[str, str], shifts: list[str]) -> None:
    person = hire(client, operator, shift_id=shifts[0]).json()
    assert person["shift_id"] == shifts[0]
    assert standing(client, operator, person["id"]) == [(shifts[0], None, None)]
    later = hire(client, operator, employee_code="E2").json()
    assert assign(client, operator, later["id"], shifts[1]).json()["shift_id"] == shifts[1]
    assert standing(client, operator, later["id"]) == [(shifts[1], None, None)]


def test_another_shift_counts_from_today_on(
    client: TestClient, operator: dict[str, str], shifts: list[str], database: Database
) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    hired_long_ago(database)
    make_days(database=database, person_id=person_id, dates=[TODAY - 30 * DAY, TODAY])
    assign(client, operator, person_id, shifts[1])
    yesterday, today = str(TODAY - DAY), str(TODAY)
    assert standing(client, operator, person_id) == [(shifts[0], None, yesterday), (shifts[1], today, None)]
    assert stale_days(database) == [TODAY]
    assign(client, operator, person_id, shifts[2])  # the second was a slip
    assert standing(client, operator, person_id) == [(shifts[0], None, yesterday), (shifts[2], today, None)]
    assign(client, operator, person_id, None)
    assert standing(client, operator, person_id) == [(shifts[0], None, yesterday)]
    assert client.get(f"/v1/people/{person_id}", headers=operator).json()["shift_id"] is None
    assign(client, operator, person_id, shifts[0])
    assert standing(client, operator, person_id) == [(shifts[0], None, yesterday), (shifts[0], today, None)]


def test_a_first_shift_that_was_a_slip_is_replaced_in_the_past_too(
    client: TestClient, operator: dict[str, str], shifts: list[str], database: Database
) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    make_days(database=database, person_id=person_id, dates=[TODAY - 30 * DAY, TODAY])
    assign(client, operator, person_id, shifts[1])
    assert standing(client, operator, person_id) == [(shifts[1], None, None)]
    assert stale_days(database) == [TODAY - 30 * DAY, TODAY]


def test_the_same_shift_again_changes_nothing(
    client: TestClient, operator: dict[str, str], shifts: list[str], database: Database
) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    hired_long_ago(database)
    make_days(database=database, person_id=person_id, dates=[TODAY])
    assert assign(client, operator, person_id, shifts[0]).status_code == 200
    assert client.patch(f"/v1/people/{person_id}", json={"name": "Ada"}, headers=operator).status_code == 200
    assert standing(client, operator, person_id) == [(shifts[0], None, None)]
    assert stale_days(database) == []


def test_the_first_shift_of_somebody_who_was_added_long_ago_begins_today(
    client: TestClient, operator: dict[str, str], shifts: list[str], database: Database
) -> None:
    person_id = hire(client, operator).json()["id"]
    with database.write() as session:
        session.execute(update(Person).values(created_at=utc_now() - 300 * DAY))
    assign(client, operator, person_id, shifts[0])
    assign(client, operator, person_id, shifts[1])
    assert standing(client, operator, person_id) == [(shifts[1], str(TODAY), None)]


def test_whoever_comes_back_works_their_shift_again_from_today_on(
    client: TestClient, operator: dict[str, str], shifts: list[str], database: Database
) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    hired_long_ago(database)
    url = f"/v1/people/{person_id}"
    for active in (False, True):
        client.patch(url, json={"active": active}, headers=operator)
    assert standing(client, operator, person_id) == [(shifts[0], None, None)]
    client.patch(url, json={"active": False}, headers=operator)
    with database.write() as session:
        session.execute(update(Person).values(deactivated_at=utc_now() - 9 * DAY))
    client.patch(url, json={"active": True}, headers=operator)
    assert standing(client, operator, person_id) == [
        (shifts[0], None, str(TODAY - 10 * DAY)),
        (shifts[0], str(TODAY), None),
    ]


def test_another_zone_or_site_leaves_the_days_of_a_person_as_they_are(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    person_id = hire(client, admin).json()["id"]
    make_days(database=database, person_id=person_id, dates=[TODAY - 300 * DAY, TODAY])
    url = f"/v1/people/{person_id}"
    moved = client.patch(url, json={"site_id": "site_default", "timezone": "Asia/Tokyo"}, headers=admin).json()
    assert (moved["site_id"], moved["timezone"]) == ("site_default", "Asia/Tokyo")
    assert stale_days(database) == []


@pytest.mark.parametrize("wrong", [{"shift_id": "shf_none"}, {"site_id": "site_none"}], ids=str)
def test_a_person_has_no_shift_or_site_that_is_not_there(
    client: TestClient, operator: dict[str, str], wrong: dict[str, str]
) -> None:
    code = next(iter(wrong)).replace("_id", "_not_found")
    refused = hire(client, operator, **wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    person = hire(client, operator).json()
    refused = client.patch(f"/v1/people/{person['id']}", json={**wrong, "name": "Bob"}, headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert client.get(f"/v1/people/{person['id']}", headers=operator).json() == person


def test_an_entry_of_the_roster_is_added_listed_and_taken_back(
    client: TestClient, operator: dict[str, str], shifts: list[str], database: Database
) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    far = REACH_DAYS + 1
    touched = [TODAY - REACH_DAYS * DAY, TODAY, TODAY + (6 + REACH_DAYS) * DAY]
    make_days(database=database, person_id=person_id, dates=[TODAY - far * DAY, *touched, TODAY + (6 + far) * DAY])
    response = roster(client, operator, person_id, shifts[1], TODAY, TODAY + 6 * DAY)
    entry = response.json()
    assert response.status_code == 201
    assert (entry["first_date"], entry["last_date"]) == (str(TODAY), str(TODAY + 6 * DAY))
    assert not entry["is_standing"]
    assert stale_days(database) == touched
    listed = client.get(f"/v1/roster?person_id={person_id}", headers=operator).json()["items"]
    assert listed[1] == entry
    for first, last, found in ((-9, -1, 1), (-9, 0, 2), (6, 9, 2), (7, 9, 1)):
        query = f"from={TODAY + first * DAY}&to={TODAY + last * DAY}"
        assert len(client.get(f"/v1/roster?{query}", headers=operator).json()["items"]) == found
    assert client.delete(f"/v1/roster/{entry['id']}", headers=operator).status_code == 204
    again = client.delete(f"/v1/roster/{entry['id']}", headers=operator)
    assert (again.status_code, again.json()["code"]) == (404, "roster_entry_not_found")
    assert client.get("/v1/roster?limit=1", headers=operator).json() == {"items": [listed[0]], "next_cursor": None}


def test_a_day_may_have_several_shifts_but_none_of_them_twice(
    client: TestClient, operator: dict[str, str], shifts: list[str]
) -> None:
    person_id = hire(client, operator).json()["id"]
    assert roster(client, operator, person_id, shifts[0], TODAY, TODAY + DAY).status_code == 201
    assert roster(client, operator, person_id, shifts[1], TODAY, TODAY).status_code == 201
    twice = roster(client, operator, person_id, shifts[0], TODAY + DAY, TODAY + 2 * DAY)
    assert (twice.status_code, twice.json()["code"]) == (409, "roster_overlap")
    assert roster(client, operator, person_id, shifts[0], TODAY + 2 * DAY, TODAY + 3 * DAY).status_code == 201


def test_a_standing_shift_is_not_taken_back_as_an_entry(
    client: TestClient, operator: dict[str, str], shifts: list[str]
) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    (entry,) = client.get(f"/v1/roster?person_id={person_id}", headers=operator).json()["items"]
    refused = client.delete(f"/v1/roster/{entry['id']}", headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (409, "assignment_standing")


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"person_id": "per_none"}, 404, "person_not_found"),
        ({"shift_id": "shf_none"}, 422, "shift_not_found"),
        ({"first_date": "2026-02-01", "last_date": "2026-01-31"}, 422, "fields_invalid"),
        ({"first_date": "0001-01-01"}, 422, "fields_invalid"),
        ({"last_date": "9999-12-31"}, 422, "fields_invalid"),
        ({"last_date": None}, 422, "fields_invalid"),
        ({"first_date": "2026-02-30"}, 422, "fields_invalid"),
    ],
    ids=str,
)
def test_wrong_entries_are_refused(
    client: TestClient, operator: dict[str, str], shifts: list[str], wrong: dict[str, Any], status: int, code: str
) -> None:
    right = {"person_id": hire(client, operator).json()["id"], "shift_id": shifts[0]}
    dates = {"first_date": "2026-01-01", "last_date": "2026-01-31"}
    refused = client.post("/v1/roster", json={**right, **dates, **wrong}, headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_an_erased_persons_assignments_go_too(client: TestClient, operator: dict[str, str], shifts: list[str]) -> None:
    person_id = hire(client, operator, shift_id=shifts[0]).json()["id"]
    roster(client, operator, person_id, shifts[1], TODAY, TODAY)
    assert client.delete(f"/v1/people/{person_id}", headers=operator).status_code == 200
    assert client.get("/v1/roster", headers=operator).json()["items"] == []
    assert client.delete(f"/v1/shifts/{shifts[0]}", headers=operator).status_code == 204


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_day_that_is_worked_out_while_a_holiday_is_added_is_marked(database: Database) -> None:
    with database.write() as session:
        person = make_person(session=session)
    is_locked, is_marked = threading.Event(), threading.Event()

    def add_holiday() -> None:
        is_locked.wait(10)
        with database.write() as session:
            lock_everybody(session)
            mark_person(session, person.id)
        is_marked.set()

    adding = threading.Thread(target=add_holiday)
    adding.start()
    with database.write() as session:
        assert lock_person(session, person.id) is not None
        is_locked.set()
        assert not is_marked.wait(0.3)  # it waits for us
        make_day(session=session, person=person, local_date=TODAY)
    adding.join(10)
    assert stale_days(database) == [TODAY]

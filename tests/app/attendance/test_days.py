"""Days through REST: what happened, who was absent, what is still open, and what somebody approved."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.attendance.days import DayRange, before, page_of_days, read_block, stream_days
from app.attendance.stale import StaleDays
from app.db.engine import Database
from app.db.tables import Event, Holiday, Person, StaleDay
from app.db.types import utc_now
from app.shifts.stale import mark_holiday, mark_person
from tests.app.attendance.factories import BOOKS, add_events, make_assignment, make_event, make_shift, make_worker
from tests.app.factories import make_person

Headers = dict[str, str]


def last_weekday(weekday: int) -> date:
    """The latest such day that is over everywhere."""
    day = utc_now().date() - timedelta(days=3)
    return day - timedelta(days=(day.weekday() - weekday) % 7)


def at(day: date, hours: float) -> datetime:
    """On a wall in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hours)


def listed(client: TestClient, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    """Every page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params = query if cursor is None else {**query, "cursor": cursor}
        page = client.get("/v1/days", params=params, headers=headers)
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return items


def between(first: date, last: date) -> dict[str, str]:
    return {"from": first.isoformat(), "to": last.isoformat()}


def test_who_was_expected_and_did_not_come_is_absent_and_nobody_else(
    client: TestClient, operator: Headers, database: Database
) -> None:
    monday = last_weekday(0)
    came, missing = make_worker(database=database), make_worker(database=database)
    make_worker(database=database, shift=None)
    gone = make_worker(database=database)
    with database.write() as session:
        session.execute(update(Person).where(Person.id == gone).values(active=False))
        new = make_person(session=session)
        make_assignment(session=session, person_id=new.id, shift=make_shift(session=session))
    add_events(
        database=database,
        events=[make_event(person_id=came, at=at(monday, hours), timezone="UTC") for hours in (8.9, 17.1)],
    )
    days = listed(client, operator, **between(monday - timedelta(days=2), monday))
    assert [(day["date"], day["person"]["id"], day["status"]) for day in days] == sorted(
        [(monday.isoformat(), came, "present"), (monday.isoformat(), missing, "absent")]
    )
    absent = next(day for day in days if day["status"] == "absent")
    assert (absent["version"], absent["updated_at"], absent["n_events"]) == (0, None, 0)
    assert absent["parts"][0]["expected_from"] is not None


def test_who_left_was_absent_until_then_and_is_no_more(
    client: TestClient, operator: Headers, database: Database
) -> None:
    monday = last_weekday(0)
    worker = make_worker(database=database)
    client.patch(f"/v1/people/{worker}", json={"active": False}, headers=operator)
    left_on = monday - timedelta(days=4)
    with database.write() as session:
        session.execute(update(Person).where(Person.id == worker).values(deactivated_at=at(left_on, 12)))
    for query in ({}, {"person_id": worker}):
        days = listed(client, operator, **between(monday - timedelta(days=7), monday), **query)
        assert [day["date"] for day in days] == [str(monday - timedelta(days=n)) for n in (7, 6, 5)]


def test_nobody_is_absent_on_a_holiday_nor_before_the_day_begins(
    client: TestClient, operator: Headers, database: Database
) -> None:
    monday = last_weekday(0)
    worker = make_worker(database=database)
    with database.write() as session:
        session.add(Holiday(id="hol_1", site_id=None, local_date=monday, name="Founders' day"))
    assert listed(client, operator, **between(monday, monday)) == []
    later = utc_now().date() + timedelta(days=1)
    ahead = listed(client, operator, person_id=worker, **between(later, later + timedelta(days=9)))
    assert ahead == []


def test_a_day_is_open_until_its_window_closes(client: TestClient, operator: Headers, database: Database) -> None:
    now = utc_now()
    shift = {"starts": f"{(now - timedelta(hours=2)):%H:%M}", "ends": f"{(now + timedelta(hours=2)):%H:%M}"}
    come, late = make_worker(database=database, shift=None), make_worker(database=database, shift=None)
    with database.write() as session:
        row = make_shift(session=session, days=list(range(7)), **shift)
        for person_id in (come, late):
            make_assignment(session=session, person_id=person_id, shift=row)
    add_events(database=database, events=[make_event(person_id=come, at=now - timedelta(hours=1.9), timezone="UTC")])
    day = (now - timedelta(hours=2)).date()
    days = listed(client, operator, **between(day, day))
    assert {each["person"]["id"]: each["status"] for each in days} == {come: "open", late: "open"}
    answer = client.post(f"/v1/days/{come}/{day}/approve", json={}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (409, "day_open")


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_together_are_the_stream_whatever_their_size(
    client: TestClient, operator: Headers, database: Database, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("app.attendance.days._BLOCK", 2)
    monday = last_weekday(0)
    people = [make_worker(database=database) for _ in range(5)]
    saturday = monday + timedelta(days=-2)
    add_events(database=database, events=[make_event(person_id=people[2], at=at(saturday, hours)) for hours in (9, 12)])
    add_events(database=database, events=[make_event(person_id=people[0], at=at(monday, 9))])
    wanted = between(monday - timedelta(days=7), monday)
    places = [(day["date"], day["person"]["id"]) for day in listed(client, operator, limit=limit, **wanted)]
    assert places == sorted(places)
    assert len(places) == 6 * 5 + 1
    stream = stream_days(database, first=monday - timedelta(days=7), last=monday, person_id=None, default_zone="UTC")
    assert [(day.date.isoformat(), day.person.id) for day in stream] == places
    mine = listed(client, operator, limit=limit, person_id=people[2], **wanted)
    assert [(day["date"], day["person"]["id"]) for day in mine] == [place for place in places if place[1] == people[2]]


def test_an_approval_is_current_until_the_day_changes(
    client: TestClient, operator: Headers, database: Database
) -> None:
    monday = last_weekday(0)
    worker = make_worker(database=database)
    first, *_ = add_events(
        database=database, events=[make_event(person_id=worker, at=at(monday, hours)) for hours in (8, 16)]
    )
    answer = client.post(f"/v1/days/{worker}/{monday}/approve", json={"note": "seen"}, headers=operator)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["approval"]["note"], answer.json()["approval"]["is_current"]) == ("seen", True)
    client.patch(f"/v1/events/{first}", json={"is_deleted": True, "reason": "x"}, headers=operator)
    (day,) = listed(client, operator, **between(monday, monday))
    assert (day["approval"]["is_current"], day["n_corrections"], day["version"]) == (False, 1, 2)
    client.post(f"/v1/days/{worker}/{monday}/approve", json={}, headers=operator)
    (day,) = listed(client, operator, person_id=worker, **between(monday, monday))
    assert day["approval"]["is_current"]


def test_an_absence_can_be_approved_and_a_day_off_cannot(
    client: TestClient, operator: Headers, database: Database
) -> None:
    worker = make_worker(database=database)
    monday, sunday = last_weekday(0), last_weekday(6)
    answer = client.post(f"/v1/days/{worker}/{monday}/approve", json={"note": "ill"}, headers=operator)
    assert (answer.json()["status"], answer.json()["approval"]["is_current"]) == ("absent", True)
    add_events(database=database, events=[make_event(person_id=worker, at=at(monday, 9))])
    (day,) = listed(client, operator, **between(monday, monday))
    assert not day["approval"]["is_current"]
    for place in (f"{worker}/{sunday}", f"per_nobody/{monday}"):
        assert client.post(f"/v1/days/{place}/approve", json={}, headers=operator).status_code == 404


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"from": "2026-02-02", "to": "2026-02-01"}, "range_invalid"),
        ({"from": "2025-01-01", "to": "2026-02-01"}, "range_too_long"),
        ({"from": "0001-01-01"}, "fields_invalid"),
        ({"from": "yesterday"}, "fields_invalid"),
        ({"cursor": "WyJhIiwiOTk5OS0xMi0zMSJd"}, "cursor_invalid"),
        ({"cursor": "x"}, "cursor_invalid"),
    ],
)
def test_a_range_that_cannot_be_is_refused(
    client: TestClient, operator: Headers, camera: Headers, query: dict[str, str], code: str
) -> None:
    answer = client.get("/v1/days", params=query, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert client.get("/v1/days", headers=camera).status_code == 403


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_page_ends_where_it_would_take_too_long(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.attendance.days._LOOKED_AT_PER_PAGE", 40)
    make_worker(database=ledger)
    monday = last_weekday(0)
    wanted = DayRange(monday - timedelta(days=9), monday - timedelta(days=1))
    pages, place = [], before(wanted.first)
    with ledger.read() as session:
        while place is not None:
            shown, place = page_of_days(session, wanted, place, 50, "UTC")  # type: ignore[assignment]
            pages.append(len(shown))
        assert read_block(session, wanted, before(monday), "UTC").days == []
    assert pages == [2, 3, 0]


def test_an_approved_absence_is_not_current_any_more_when_something_else_was_expected(
    client: TestClient, operator: Headers, database: Database
) -> None:
    worker, monday = make_worker(database=database), last_weekday(0)
    answer = client.post(f"/v1/days/{worker}/{monday}/approve", json={"note": "ill"}, headers=operator)
    assert answer.json()["approval"]["is_current"]
    with database.write() as session:
        shift = make_shift(session=session, starts="12:00", ends="20:00")
        make_assignment(session=session, person_id=worker, shift=shift, first=monday, last=monday)
        mark_person(session, worker, monday, monday)
    StaleDays(database, BOOKS).work()
    (day,) = listed(client, operator, **between(monday, monday))
    assert (day["status"], day["version"], day["approval"]["is_current"]) == ("absent", 2, False)
    with database.write() as session:
        session.add(Holiday(id="hol_1", site_id=None, local_date=monday, name="Founders' day"))
        mark_holiday(session, monday)
    StaleDays(database, BOOKS).work()
    assert listed(client, operator, **between(monday, monday)) == []


def test_a_person_whose_days_cannot_be_worked_out_stops_nobody_else(database: Database) -> None:
    monday = last_weekday(0)
    bad, good = sorted(make_worker(database=database) for _ in range(2))
    for who in (bad, good):
        add_events(database=database, events=[make_event(person_id=who, at=at(monday, 9))])
    with database.write() as session:
        session.execute(update(Event).where(Event.person_id == bad).values(timezone="No/Where"))
        session.add_all(StaleDay(person_id=who, local_date=monday) for who in (bad, good))
    assert StaleDays(database, BOOKS).work() == 1
    with database.read() as session:
        assert session.scalars(select(StaleDay.person_id)).all() == [bad]


def test_a_changed_plan_is_worked_out_anew(client: TestClient, operator: Headers, database: Database) -> None:
    monday = last_weekday(0)
    worker = make_worker(database=database)
    add_events(database=database, events=[make_event(person_id=worker, at=at(monday, hours)) for hours in (8, 16)])
    admin_shift = {"name": "Late", "starts": "12:00", "ends": "20:00"}
    with database.write() as session:
        shift = make_shift(session=session, starts=admin_shift["starts"], ends=admin_shift["ends"])
        make_assignment(session=session, person_id=worker, shift=shift, first=monday, last=monday)
        session.add(StaleDay(person_id=worker, local_date=monday))
    stale = StaleDays(database, BOOKS)
    stale.work()
    assert stale.work() == 0
    (day,) = listed(client, operator, **between(monday, monday))
    assert day["version"] == 2
    assert day["parts"][0]["shift_id"] == shift.id
    with database.read() as session:
        assert session.get(StaleDay, (worker, monday)) is None

"""Timesheets and unknown faces, as the server writes them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from sqlalchemy import event as sql_event
from starlette.testclient import TestClient

from app.dashboard.frame.taste import LANGUAGES
from app.dashboard.timesheet import Month
from app.db.engine import Database
from app.db.tables import EventCrop, Holiday, Person
from app.db.types import utc_now
from app.sealing import Sealer
from tests.app.attendance.factories import add_events, make_event, make_worker
from tests.app.attendance.test_days import last_weekday
from tests.app.dashboard.visitors import sign_in
from tests.app.factories import make_embedding, make_person
from tests.app.review.factories import make_camera, make_site, make_unknown

Headers = dict[str, str]


@pytest.fixture
def csrf(client: TestClient, database: Database) -> Headers:
    """Somebody is signed in, who may do what operators may."""
    return sign_in(client=client, database=database, role="operator")


@pytest.fixture
def monday() -> date:
    return last_weekday(0)


def at(day: date, wall: str) -> datetime:
    """On a wall in UTC."""
    return datetime.fromisoformat(f"{day}T{wall}").replace(tzinfo=UTC)


def came(database: Database, person_id: str, day: date, *walls: str) -> list[str]:
    events = [make_event(person_id=person_id, at=at(day, wall), timezone="UTC") for wall in walls]
    return add_events(database=database, events=events)


def cell(text: str, person_id: str, day: date) -> str:
    """What the grid says of a day, in words."""
    found = re.search(rf'href="/attendance/{person_id}/{day}"[^>]*title="([^"]*)"', text)
    assert found, f"no cell of {day}"
    return found[1].strip()


def month_of(day: date) -> dict[str, str]:
    return {"month": f"{day:%Y-%m}"}


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement about days and plans that is sent meanwhile; what goes on beside has to do with others."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if re.search(r"FROM (days|day_approvals|events|shift_assignments|holidays)\b", statement):
            sent.append(statement)

    sql_event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    sql_event.remove(database.engine, "before_cursor_execute", note)


def test_a_month_begins_and_ends_where_calendars_say_so() -> None:
    month = Month.named("2028-02", datetime(2026, 11, 20, 23, tzinfo=UTC), "Asia/Ho_Chi_Minh")
    assert (month.first, month.last, len(month.days)) == (date(2028, 2, 1), date(2028, 2, 29), 29)
    assert (month.before, month.name, month.after) == ("2028-01", "2028-02", "2028-03")
    now = Month.named(None, datetime(2026, 11, 30, 23, tzinfo=UTC), "Asia/Ho_Chi_Minh")
    assert (now.name, now.today) == ("2026-12", date(2026, 12, 1))


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_without_anything_say_what_to_do_first(client: TestClient, database: Database, language: str) -> None:
    sign_in(client=client, database=database, language=language)
    for path in ("/attendance", "/unknown", "/unknown?status=assigned", "/unknown?status=dismissed"):
        page = client.get(path)
        assert page.status_code == 200
        assert f'lang="{language}"' in page.text and 'class="empty"' in page.text
        assert "style=" not in page.text


def test_the_grid_says_of_each_day_what_it_was_and_adds_up(
    client: TestClient, csrf: Headers, database: Database, monday: date
) -> None:
    person_id = make_worker(database=database)
    came(database, person_id, monday, "08:55", "17:00")
    came(database, person_id, monday + timedelta(days=1), "09:40")
    text = client.get("/attendance", params=month_of(monday)).text
    assert cell(text, person_id, monday) == "Present, 8:05 worked"
    if (monday + timedelta(days=1)).month == monday.month:
        assert cell(text, person_id, monday + timedelta(days=1)) == "Check-out missing"
    sunday = monday - timedelta(days=1)
    assert cell(client.get("/attendance", params=month_of(sunday)).text, person_id, sunday) == "Day off"
    alone = client.get("/attendance", params={**month_of(monday), "person_id": person_id}).text
    assert "Came 08:55, left 17:00" in alone and "Hours worked" in alone


def test_a_holiday_is_shaded_and_named(client: TestClient, csrf: Headers, database: Database, monday: date) -> None:
    person_id = make_worker(database=database)
    with database.write() as session:
        session.add(Holiday(id="hol_1", site_id=None, local_date=monday, name="Founders' Day"))
    text = client.get("/attendance", params=month_of(monday)).text
    assert cell(text, person_id, monday) == "Holiday: Founders&#39; Day"


def test_people_are_found_by_name_and_department_and_turned_over_in_pages(
    client: TestClient, csrf: Headers, database: Database
) -> None:
    with database.write() as session:
        for number in range(35):
            department = "Engines" if number % 2 else "Office"
            person = make_person(session=session, name=f"Person {number:02}", department=department)
            person.created_at = utc_now() - timedelta(days=100 - number)
    first = client.get("/attendance").text
    assert (first.count('scope="row"'), "More people" in first) == (25, True)
    link = re.search(r'href="(/attendance\?cursor=[^"]+)"', first)
    assert link
    rest = client.get(link[1].replace("&amp;", "&")).text
    assert rest.count('scope="row"') == 10
    assert client.get("/attendance?query=person+07").text.count('scope="row"') == 1
    engines = client.get("/attendance?department=Engines").text
    assert engines.count('scope="row"') == 17
    assert "department=Engines" in engines and "/v1/attendance.csv?" in engines
    assert "Nobody found" in client.get("/attendance?query=nobody").text


def test_the_grid_asks_as_much_of_the_database_for_many_people_as_for_few(
    client: TestClient, csrf: Headers, database: Database, monday: date
) -> None:
    came(database, make_worker(database=database), monday, "08:55", "17:00")
    client.get("/attendance")
    with statements(database) as of_one:
        client.get("/attendance", params=month_of(monday))
    for _ in range(12):
        came(database, make_worker(database=database), monday, "08:55", "17:00")
    with statements(database) as of_many:
        client.get("/attendance", params=month_of(monday))
    assert 0 < len(of_many) == len(of_one)


def test_files_and_days_are_of_whom_the_grid_is_about(
    client: TestClient, csrf: Headers, database: Database, monday: date
) -> None:
    ada, grace = make_worker(database=database), make_worker(database=database)
    with database.write() as session:
        for person_id, name, department in ((ada, "Ada Byron", "Engines"), (grace, "Grace Hopper", "Compilers")):
            person = session.get_one(Person, person_id)
            person.name, person.search_text, person.department = name, name.casefold(), department
    came(database, ada, monday, "08:55", "17:00")
    query = {"from": str(monday), "to": str(monday)}
    for wanted in ({"department": "Engines"}, {"query": "ADA"}, {"query": "ada", "department": "Engines"}):
        assert _names(client.get("/v1/attendance.csv", params=query | wanted).text) == ["Ada Byron"]
        days = client.get("/v1/days", params=query | wanted).json()["items"]
        assert [day["person"]["id"] for day in days] == [ada]
    absent = client.get("/v1/attendance.csv", params=query | {"department": "Compilers"}).text
    assert _names(absent) == ["Grace Hopper"] and "absent" in absent
    both = client.get("/v1/attendance.csv", params=query | {"department": "", "query": ""}).text
    assert sorted(_names(both)) == ["Ada Byron", "Grace Hopper"]
    assert _names(client.get("/v1/attendance.csv", params=query | {"query": "%"}).text) == []


def test_a_day_shows_each_presence_once_and_why_it_is_what_it_is(
    client: TestClient, csrf: Headers, database: Database, monday: date
) -> None:
    person_id = make_worker(database=database)
    ids = came(database, person_id, monday, "08:58", "08:59", "09:00", "17:01")
    with database.write() as session:
        expires_at = utc_now() + timedelta(days=1)
        session.add(EventCrop(event_id=ids[0], person_id=person_id, expires_at=expires_at, sealed_crop=b"sealed"))
    text = client.get(f"/attendance/{person_id}/{monday}").text
    assert "IN of Day: 08:58, 2 min before its start." in text
    assert "Seen 2 more times in the same presence" in text
    assert text.count('class="face"') == 1 and f"/v1/events/{ids[0]}/crop" in text
    assert text.count("data-correct=") == 2
    assert "times of UTC" in text and "Approve this day" in text
    assert "style=" not in text


def test_a_day_tells_who_changed_what_and_whether_it_was_approved_before(
    client: TestClient, csrf: Headers, database: Database, monday: date
) -> None:
    person_id = make_worker(database=database)
    came_at, left_at = came(database, person_id, monday, "08:58", "17:01")
    page = f"/attendance/{person_id}/{monday}"
    assert client.post(f"/v1/days/{person_id}/{monday}/approve", json={"note": "Fine"}, headers=csrf).status_code == 201
    assert "Approved as it is now." in client.get(page).text
    deleted = {"is_deleted": True, "reason": "Not hers"}
    assert client.patch(f"/v1/events/{left_at}", json=deleted, headers=csrf).status_code == 200
    moved = {"occurred_at": f"{monday}T09:30:00Z", "direction": "in", "reason": "The clock was wrong"}
    assert client.patch(f"/v1/events/{came_at}", json=moved, headers=csrf).status_code == 200
    text = client.get(page).text
    assert "The day has changed since it was approved." in text and "Approve again" in text
    assert "<del>Counts</del> → <ins>Deleted</ins>" in text
    assert "<del>08:58</del> → <ins>09:30</ins>" in text
    assert "<del>As the rules say</del> → <ins>In</ins>" in text
    assert "“Not hers”" in text and "<strong>Anna</strong>" in text
    assert f'data-restore="{left_at}"' in text
    grid = client.get("/attendance", params=month_of(monday)).text
    assert cell(grid, person_id, monday) == "Check-out missing, changed after it was approved"


@pytest.mark.parametrize("language", LANGUAGES)
def test_days_on_which_nothing_happened_say_so(
    client: TestClient, database: Database, monday: date, language: str
) -> None:
    sign_in(client=client, database=database, language=language)
    person_id = make_worker(database=database)
    for day in (monday, monday - timedelta(days=1), utc_now().date() + timedelta(days=9)):
        page = client.get(f"/attendance/{person_id}/{day}")
        assert page.status_code == 200 and 'class="empty"' in page.text
    assert "absent" in client.get("/v1/days", params={"person_id": person_id, "from": str(monday)}).text


def test_times_are_those_of_the_wall_and_of_the_viewer_where_they_differ(
    client: TestClient, csrf: Headers, database: Database, monday: date
) -> None:
    person_id = make_worker(database=database)
    came(database, person_id, monday, "08:58", "17:01")
    assert "your time" not in client.get(f"/attendance/{person_id}/{monday}").text
    client.cookies.set("rollcall_zone", "Asia/Ho_Chi_Minh")
    assert "15:58 your time" in client.get(f"/attendance/{person_id}/{monday}").text


def test_strangers_are_shown_with_whom_they_are_like_and_who_decided(
    client: TestClient, csrf: Headers, database: Database, app: FastAPI
) -> None:
    sealer: Sealer = app.state.sealer
    with database.write() as session:
        make_site(session=session)
        person = make_person(session=session, name="Ada Byron")
        event_id = make_unknown(
            session=session,
            sealer=sealer,
            embedding=_embedding(),
            seen_at=utc_now() - timedelta(hours=1),
            camera=make_camera(session=session, name="Back door"),
            candidates=[(person.id, 0.41)],
        )
    text = client.get("/unknown").text
    for words in ("Seen 1 time", "Back door", "Ada Byron", "0.41", f"/faces/{event_id}/crop"):
        assert words in text
    (cluster,) = client.get("/v1/unknowns").json()["items"]
    detail = client.get(f"/unknown/{cluster['id']}")
    assert detail.status_code == 200 and "Face number 1" in detail.text
    dismissed = client.post(f"/v1/unknowns/{cluster['id']}/dismiss", json={"reason": "Visitor"}, headers=csrf)
    assert dismissed.status_code == 200
    assert "Nothing to decide" in client.get("/unknown").text
    text = client.get("/unknown?status=dismissed").text
    assert "“Visitor”" in text and "Anna" in text and 'data-do="reopen"' in text


def test_who_is_not_there_is_not_found_and_who_is_not_signed_in_is_asked_to(
    client: TestClient, database: Database, monday: date
) -> None:
    html = {"Accept": "text/html"}
    for path in ("/attendance", "/unknown", f"/attendance/per_1/{monday}", "/unknown/unk_1"):
        assert client.get(path, headers=html, follow_redirects=False).status_code == 303
    sign_in(client=client, database=database)
    for path in (f"/attendance/per_1/{monday}", "/unknown/unk_1", "/attendance?person_id=per_1"):
        page = client.get(path, headers=html)
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert client.get("/attendance?month=2026-13").status_code == 422


def _names(csv: str) -> list[str]:
    return [line.split(",")[2] for line in csv.splitlines()[1:]]


def _embedding() -> NDArray[np.float32]:
    return np.frombuffer(make_embedding(seed=1), dtype="<f4").astype(np.float32)

"""Today and the evidence of an event, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.attendance.ledger import Bookkeeper
from app.dashboard.figures import Figures, work_out
from app.dashboard.sightings import OddsBook, Wanted, latest
from app.db.engine import Database
from app.db.tables import Camera, Event, Holiday, Person, Shift, Site
from app.db.types import new_id, utc_now
from tests.app import photos
from tests.app.attendance.factories import make_assignment, make_event, make_shift
from tests.app.attendance.test_captures import make_camera, send
from tests.app.dashboard.visitors import sign_in
from tests.app.enrolment.test_enroll import enroll
from tests.app.factories import make_person
from tests.app.review.factories import make_decision

Headers = dict[str, str]
ZONE = "Europe/Berlin"
EVERY_DAY = list(range(7))
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
# A Friday morning, on the wall.
MORNING = datetime(2026, 11, 20, 10, 0, tzinfo=ZoneInfo(ZONE))


def make_worker(*, session: Session, shift: Shift | None, **fields: Any) -> Person:
    """Somebody who was added long ago and works a shift."""
    person = make_person(session=session, **fields)
    person.created_at = LONG_AGO
    if shift is not None:
        make_assignment(session=session, person_id=person.id, shift=shift)
    session.flush()
    return person


def come(session: Session, person_id: str | None, *ats: datetime, **columns: Any) -> list[Event]:
    """Somebody is seen at these times; the days follow."""
    events = [make_event(person_id=person_id, at=at, **columns) for at in ats]
    Bookkeeper(ZONE).add(session, events)
    return events


def figures_at(session: Session, now: datetime, site_id: str = "site_default") -> Figures:
    return work_out(session, session.get_one(Site, site_id), ZoneInfo(ZONE), now)


def sign_in_as(client: TestClient, database: Database, role: str = "operator", language: str = "en") -> None:
    sign_in(client=client, database=database, role=role, language=language)


def page(client: TestClient, path: str = "/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def record_grace(client: TestClient, operator: Headers, camera: Headers) -> str:
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    return str(send(client, camera, photos.grace(variant=2)).json()["events"][0]["id"])


def test_the_figures_count_who_came_who_is_late_and_who_is_missing(database: Database) -> None:
    with database.write() as session:
        early = make_shift(session=session, starts="08:00", ends="16:00")
        late = make_shift(session=session, starts="13:00", ends="21:00")
        on_time, tardy, gone, *_absent = [make_worker(session=session, shift=early) for _ in range(5)]
        make_worker(session=session, shift=late)
        make_worker(session=session, shift=None)
        make_worker(session=session, shift=make_shift(session=session, days=[5, 6]))
        come(session, on_time.id, MORNING.replace(hour=7, minute=55))
        come(session, tardy.id, MORNING.replace(hour=9))
        come(session, gone.id, MORNING.replace(hour=7), MORNING.replace(hour=9, minute=30))
        come(session, None, MORNING.replace(hour=9), MORNING.replace(hour=3), MORNING - timedelta(days=1))
        found = figures_at(session, MORNING)
    assert (found.day, found.n_came, found.n_late, found.n_left) == (MORNING.date(), 3, 1, 1)
    assert (found.n_absent, found.n_expected_later, found.n_unknown) == (2, 1, 2)


def test_nobody_is_absent_on_a_holiday_or_before_they_were_added_or_when_they_have_left(database: Database) -> None:
    with database.write() as session:
        shift = make_shift(session=session, starts="08:00", ends="16:00")
        make_worker(session=session, shift=shift).active = False
        make_worker(session=session, shift=shift).created_at = MORNING + timedelta(days=1)
        worker = make_worker(session=session, shift=shift)
        session.flush()
        assert figures_at(session, MORNING).n_absent == 1
        session.add(Holiday(id=new_id("hol"), local_date=MORNING.date(), name="A holiday"))
        session.flush()
        assert figures_at(session, MORNING).n_absent == 0
        assert figures_at(session, MORNING + timedelta(days=3)).n_absent == 2
        assert worker.active


def test_a_roster_goes_before_the_standing_shift(database: Database) -> None:
    with database.write() as session:
        early = make_shift(session=session, starts="08:00", ends="16:00")
        late = make_shift(session=session, starts="13:00", ends="21:00")
        person = make_worker(session=session, shift=early)
        day = MORNING.date()
        make_assignment(session=session, person_id=person.id, shift=late, first=day, last=day)
        found = figures_at(session, MORNING)
    assert (found.n_absent, found.n_expected_later) == (0, 1)


def test_who_came_last_night_for_a_shift_that_goes_on_is_told_of_apart(database: Database) -> None:
    with database.write() as session:
        night = make_shift(session=session, starts="22:00", ends="06:00", days=EVERY_DAY)
        day = make_shift(session=session, starts="08:00", ends="16:00", days=EVERY_DAY)
        worker, sleeper = make_worker(session=session, shift=night), make_worker(session=session, shift=day)
        midnight = MORNING.replace(hour=0)
        come(session, worker.id, midnight - timedelta(hours=2))
        come(session, sleeper.id, midnight - timedelta(hours=16))  # and forgot to check out
        found = figures_at(session, MORNING.replace(hour=2))
        assert (found.n_came, found.n_from_yesterday, found.n_expected_later) == (0, 1, 2)
        assert figures_at(session, MORNING.replace(hour=7)).n_from_yesterday == 0


def test_a_site_has_its_own_people_and_strangers(database: Database) -> None:
    with database.write() as session:
        now = utc_now()
        other = Site(
            id=new_id("site"), name="Hanoi", repeat_window_s=120, unknown_days=0, created_at=now, updated_at=now
        )
        session.add(other)
        session.flush()
        shift = make_shift(session=session, starts="08:00", ends="16:00")
        make_worker(session=session, shift=shift, site_id=other.id)
        come(session, None, MORNING, site_id=other.id)
        here, there = figures_at(session, MORNING), figures_at(session, MORNING, other.id)
    assert (here.n_absent, here.n_unknown, there.n_absent, there.n_unknown) == (0, 0, 1, 1)


def test_where_nothing_has_happened_the_page_says_what_to_do_first(client: TestClient, database: Database) -> None:
    sign_in_as(client, database)
    shown = page(client)
    assert "First steps" in shown
    assert "Nobody has been seen yet" in shown
    with database.write() as session:
        come(session, make_person(session=session).id, utc_now())
    assert "First steps" not in page(client)


def test_the_list_shows_the_newest_first_without_repeats_and_what_was_deleted(database: Database) -> None:
    with database.write() as session:
        person, now = make_person(session=session), utc_now()
        first, repeat = come(session, person.id, now - timedelta(minutes=9), now - timedelta(minutes=8))
        stranger, deleted = come(session, None, now - timedelta(minutes=5), now - timedelta(minutes=4))
        Bookkeeper(ZONE).correct(session, deleted, {"is_deleted": True}, "a test", "key:test")
        assert repeat.duplicate_of == first.id
        shown = latest(session, Wanted(), 10, OddsBook())
        assert [each.id for each in shown] == [stranger.id, first.id]
        assert [each.id for each in latest(session, Wanted(outcome="unknown"), 10, OddsBook())] == [stranger.id]
        assert latest(session, Wanted(camera_id="cam_x"), 10, OddsBook()) == []


def test_a_recognised_face_is_listed_with_its_picture_and_what_its_score_means(
    client: TestClient, operator: Headers, database: Database
) -> None:
    _, camera = make_camera(database=database)
    event_id = record_grace(client, operator, camera)
    sign_in_as(client, database)
    shown = page(client)
    assert f'src="/v1/events/{event_id}/crop?placeholder=true"' in shown
    assert "Grace Hopper" in shown
    assert "strangers score" in shown or "stranger scores" in shown
    assert "Door" in shown
    assert client.get("/today/figures").json()["n_came"] == 1


@pytest.mark.parametrize("query", ["?outcome=unknown", "?camera=cam_x", "?site=site_default&outcome=attack_suspected"])
def test_filters_leave_out_what_is_not_wanted(
    client: TestClient, operator: Headers, database: Database, query: str
) -> None:
    _, camera = make_camera(database=database)
    record_grace(client, operator, camera)
    sign_in_as(client, database)
    assert "Grace Hopper" not in page(client, f"/{query}")


def test_a_silent_camera_is_told_of(client: TestClient, database: Database) -> None:
    _, camera = make_camera(database=database)
    client.post("/v1/cameras/heartbeat", headers=camera)
    sign_in_as(client, database)
    assert "was last heard of" not in page(client)
    with database.write() as session:
        for row in session.query(Camera):
            row.last_seen_at = utc_now() - timedelta(minutes=10)
    assert "Door was last heard of" in page(client)


def test_a_name_is_shown_as_text(client: TestClient, database: Database) -> None:
    with database.write() as session:
        person = make_person(session=session, name="<script>alert(1)</script>")
        (event,) = come(session, person.id, utc_now())
    sign_in_as(client, database)
    for path in ("/", f"/events/{event.id}"):
        assert "<script>alert" not in page(client, path)


def test_a_site_that_is_not_there_is_not_found(client: TestClient, database: Database) -> None:
    sign_in_as(client, database)
    assert client.get("/?site=site_x").status_code == 404


def test_the_evidence_of_a_recognised_face(
    client: TestClient, operator: Headers, admin: Headers, database: Database
) -> None:
    _, camera = make_camera(database=database)
    event_id = record_grace(client, operator, camera)
    sign_in_as(client, database)
    shown = page(client, f"/events/{event_id}")
    for words in ("Grace Hopper", "reaches the threshold", "Yes, this is Grace Hopper", "Nothing was changed by hand"):
        assert words in shown
    wrong = {"correct": False}
    assert client.post(f"/v1/events/{event_id}/feedback", json=wrong, headers=operator).status_code == 200
    shown = page(client, f"/events/{event_id}")
    assert "This decision was wrong." in shown
    assert "feedback: not this person" in shown


def test_the_evidence_of_what_was_written_by_hand(client: TestClient, operator: Headers, database: Database) -> None:
    with database.write() as session:
        person_id = make_person(session=session).id
    at = (utc_now() - timedelta(hours=1)).isoformat()
    new = {"person_id": person_id, "occurred_at": at, "direction": "in", "reason": "forgot the badge"}
    event_id = client.post("/v1/events", json=new, headers=operator).json()["id"]
    earlier = {"occurred_at": (utc_now() - timedelta(hours=2)).isoformat(), "reason": "it was earlier"}
    assert client.patch(f"/v1/events/{event_id}", json=earlier, headers=operator).status_code == 200
    sign_in_as(client, database)
    shown = page(client, f"/events/{event_id}")
    for words in ("By hand", "forgot the badge", "it was earlier", "Written by hand"):
        assert words in shown


def test_the_evidence_of_a_face_that_was_not_named_says_why(client: TestClient, database: Database) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        below = make_decision(session=session, at=utc_now(), candidates=[(ada.id, 0.41)])
        lead = make_decision(session=session, at=utc_now(), candidates=[(ada.id, 0.61)])
        come(session, None, utc_now(), id=below.id, method="face")
        come(session, None, utc_now(), id=lead.id, method="face")
    sign_in_as(client, database)
    assert "is below the threshold 0.5" in page(client, f"/events/{below.id}")
    assert "the lead over the next person was too small" in page(client, f"/events/{lead.id}")


def test_an_event_that_is_not_there_is_not_found(client: TestClient, database: Database) -> None:
    sign_in_as(client, database)
    assert client.get("/events/evt_x").status_code == 404


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_pages_speak_the_visitors_language(
    client: TestClient, operator: Headers, database: Database, language: str
) -> None:
    _, camera = make_camera(database=database)
    event_id = record_grace(client, operator, camera)
    sign_in_as(client, database, language=language)
    assert ("As it happens" in page(client)) == (language == "en")
    assert ("Why this was decided" in page(client, f"/events/{event_id}")) == (language == "en")


def test_figures_are_kept_for_a_moment_for_all_who_ask(app: FastAPI, client: TestClient, database: Database) -> None:
    sign_in_as(client, database)
    before = client.get("/today/figures").json()
    with database.write() as session:
        come(session, None, utc_now())
    assert client.get("/today/figures").json() == before

"""What is said of an event corrects the ledger, and makes the live estimate; on both databases."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from starlette.testclient import TestClient

from app.attendance.ledger import Bookkeeper
from app.db.engine import Database
from app.db.tables import Day, Event, EventCorrection
from app.review.estimate import FEWEST_JUDGED
from app.sealing import Sealer
from tests.app.crowd import enrol_crowd
from tests.app.decisions.test_decisions import judge
from tests.app.review.factories import MODEL, make_decision, make_event
from tests.app.review.test_assign import assign, keep, only_cluster
from tests.app.review.test_unknowns import dismiss

Headers = dict[str, str]
CROP = b"a jpeg"


def record_event(database: Database, at: datetime, person_id: str | None, candidates: list[tuple[str, float]]) -> str:
    """An event with the days that follow, as a capture leaves it."""
    outcome = "identified" if person_id else "unknown"
    with database.write() as session:
        decision = make_decision(session=session, at=at, outcome=outcome, person_id=person_id, candidates=candidates)
        make_event(session=session, decision=decision)
        if person_id:
            Bookkeeper("UTC").recompute(session, person_id, [at])
        return decision.id


def days_of(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {day.person_id: day.n_events for day in session.scalars(select(Day).where(Day.n_events > 0))}


def person_of(database: Database, event_id: str) -> tuple[str | None, str]:
    with database.read() as session:
        event = session.get_one(Event, event_id)
        return event.person_id, event.outcome


def live(client: TestClient, headers: Headers, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/review/estimate", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_not_this_person_but_that_one_moves_the_event_and_the_days(
    client: TestClient, operator: Headers, database: Database, start: datetime
) -> None:
    a, b = enrol_crowd(database=database, n_people=2)
    event_id = record_event(database, start, a, [(a, 0.6), (b, 0.58)])
    assert days_of(database) == {a: 1}
    receipt = judge(client, operator, event_id, correct=False, person_id=b)
    assert receipt["is_event_corrected"] is True
    assert (person_of(database, event_id), days_of(database)) == ((b, "identified"), {b: 1})


def test_not_this_person_leaves_the_event_to_nobody_and_judging_again_gives_it_back(
    client: TestClient, operator: Headers, database: Database, start: datetime
) -> None:
    a, _ = enrol_crowd(database=database, n_people=2)
    event_id = record_event(database, start, a, [(a, 0.6)])
    judge(client, operator, event_id, correct=False)
    assert (person_of(database, event_id), days_of(database)) == ((None, "unknown"), {})
    judge(client, operator, event_id, correct=False)  # the same word again changes nothing
    judge(client, operator, event_id, correct=True)
    assert (person_of(database, event_id), days_of(database)) == ((a, "identified"), {a: 1})
    with database.read() as session:
        said = [(row.before["person_id"], row.after["person_id"]) for row in session.scalars(select(EventCorrection))]
    assert said == [(a, None), (None, a)]


def test_an_unknown_face_that_was_somebody_becomes_theirs(
    client: TestClient, operator: Headers, database: Database, start: datetime
) -> None:
    a, _ = enrol_crowd(database=database, n_people=2)
    event_id = record_event(database, start, None, [(a, 0.4)])
    judge(client, operator, event_id, correct=False, person_id=a)
    assert (person_of(database, event_id), days_of(database)) == ((a, "identified"), {a: 1})
    judge(client, operator, event_id, correct=True)
    assert (person_of(database, event_id), days_of(database)) == ((None, "unknown"), {})


def test_a_decision_that_is_no_event_is_judged_as_before(
    client: TestClient, operator: Headers, database: Database, start: datetime
) -> None:
    a, b = enrol_crowd(database=database, n_people=2)
    with database.write() as session:
        decision = make_decision(
            session=session, at=start, outcome="identified", person_id=a, candidates=[(a, 0.6), (b, 0.58)]
        )
    receipt = judge(client, operator, decision.id, correct=False, person_id=b)
    assert receipt["is_event_corrected"] is False and receipt["raised"] is not None


def test_the_estimate_says_what_to_judge_until_it_can_say_more(
    client: TestClient, operator: Headers, database: Database, start: datetime
) -> None:
    assert live(client, operator)["advice"] == "No face was decided about in this time."
    a, _ = enrol_crowd(database=database, n_people=2)
    with database.write() as session:
        for number in range(30):
            at = start + timedelta(seconds=number)
            make_decision(session=session, at=at, outcome="identified", person_id=a, candidates=[(a, 0.6)])
            make_decision(session=session, at=at)
        make_decision(session=session, at=start, outcome="low_quality")
        make_decision(session=session, at=start, model="other/1")
        make_decision(session=session, at=start - timedelta(days=31))
    estimate = live(client, operator)
    assert (estimate["n_identified"], estimate["n_unknown"], estimate["model"]) == (30, 30, MODEL)
    assert estimate["fpir"] is None and f"at least {FEWEST_JUDGED} more events" in estimate["advice"]
    assert live(client, operator, days=60)["n_unknown"] == 31
    assert client.get("/v1/review/estimate", params={"days": 0}, headers=operator).status_code == 422


def test_what_operators_say_shows_beside_the_operating_point(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    a, b = enrol_crowd(database=database, n_people=2)
    later = start + timedelta(hours=2)  # the two are enrolled by then
    named = [record_event(database, later, a, [(a, 0.6), (b, 0.3)]) for _ in range(20)]
    unknown = [record_event(database, later, None, [(a, 0.3)]) for _ in range(14)]
    for event_id in named[:18]:
        judge(client, operator, event_id, correct=True)
    judge(client, operator, named[18], correct=False)
    judge(client, operator, named[19], correct=False, person_id=b)
    for event_id in unknown:
        judge(client, operator, event_id, correct=True)
    keep(database, sealer, start, *[CROP] * 4, stranger=900, decided_at=later)
    dismiss(client, operator, only_cluster(client, operator))
    keep(database, sealer, start, *[CROP] * 2, stranger=901, decided_at=later)
    answer = assign(client, operator, only_cluster(client, operator), person_id=a, enroll=False)
    assert answer.json()["was_enrolled"] is True
    estimate = client.get("/v1/threshold", headers=operator).json()["live"]
    assert estimate["advice"] is None
    assert (estimate["n_identified_judged"], estimate["n_unknown_judged"]) == (20, 20)
    assert round(estimate["fpir"]["value"], 6) == round(1 / 19, 6)
    assert round(estimate["fnir"]["value"], 6) == round(3 / 21, 6)
    assert round(estimate["misidentification"]["value"], 6) == round(1 / 21, 6)
    assert estimate["fnir"]["low"] < 3 / 21 < estimate["fnir"]["high"]


def test_a_correction_of_the_ledger_counts_as_a_word_about_the_decision(
    client: TestClient, operator: Headers, database: Database, start: datetime
) -> None:
    a, b = enrol_crowd(database=database, n_people=2)
    event_id = record_event(database, start + timedelta(hours=2), a, [(a, 0.6), (b, 0.5)])
    other = record_event(database, start + timedelta(hours=3), a, [(a, 0.6), (b, 0.5)])
    with database.write() as session:
        books = Bookkeeper("UTC")
        books.correct(session, session.get_one(Event, event_id), {"person_id": b}, "it was b", "key:test")
        books.correct(session, session.get_one(Event, other), {"given_direction": "out"}, "went out", "key:test")
    assert live(client, operator)["n_identified_judged"] == 1

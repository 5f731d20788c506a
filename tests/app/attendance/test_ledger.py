"""Days follow from events, whatever is added, corrected or deleted, in whatever order, by however many at once."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.event import listen, remove

from app.db.engine import Database
from app.db.tables import Day, Event, EventCorrection, Webhook, WebhookDelivery
from app.db.types import utc_now
from app.errors import ProblemError
from tests.app.attendance.factories import (
    BOOKS,
    add_events,
    days_of,
    judged_events,
    make_event,
    make_worker,
    refuse_difference,
)

MONDAY = date(2026, 11, 2)


def at(hours: float, day: int = 0) -> datetime:
    """A time on a wall in Berlin, which is an hour ahead of UTC in November; `day` counts from Monday the 2nd."""
    return datetime(2026, 11, 2, tzinfo=UTC) + timedelta(days=day, hours=hours - 1)


def correct(database: Database, event_id: str, reason: str = "as he says", **changes: Any) -> None:
    with database.write() as session:
        event = session.get(Event, event_id)
        assert event is not None
        BOOKS.correct(session, event, changes, reason, "key:test")


def test_an_event_makes_a_day_and_the_next_one_completes_it(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    add_events(database=ledger, events=[make_event(person_id=worker, at=at(9))])
    assert days_of(database=ledger, person_id=worker)[MONDAY]["status"] == "missing_out"
    add_events(database=ledger, events=[make_event(person_id=worker, at=at(17))])
    day = days_of(database=ledger, person_id=worker)[MONDAY]
    assert (day["status"], day["worked_s"], day["first_in"]) == ("present", 8 * 3600, at(9))
    refuse_difference(database=ledger, people=[worker])


def test_events_in_any_order_make_the_same_days(ledger: Database) -> None:
    first, second = make_worker(database=ledger), make_worker(database=ledger)
    times = [at(hours, day) for day in range(12) for hours in (8.95, 8.96, 12, 12.5, 17.1)]
    for time in times:
        add_events(database=ledger, events=[make_event(person_id=first, at=time)])
    shuffled = random.Random(7).sample(times, len(times))
    for time in shuffled:
        add_events(database=ledger, events=[make_event(person_id=second, at=time)])
    refuse_difference(database=ledger, people=[first, second])
    one, other = (days_of(database=ledger, person_id=who) for who in (first, second))
    assert {day: row["worked_s"] for day, row in one.items()} == {day: row["worked_s"] for day, row in other.items()}


def test_many_events_at_once_are_worked_out_together(ledger: Database) -> None:
    worker = make_worker(database=ledger, shift="22:00-06:00")
    events = [make_event(person_id=worker, at=at(hours, day)) for day in range(40) for hours in (6.02, 21.9)]
    add_events(database=ledger, events=events)
    refuse_difference(database=ledger, people=[worker])


def test_events_corrected_together_are_as_if_corrected_one_by_one(ledger: Database) -> None:
    first, second, third = (make_worker(database=ledger) for _ in range(3))
    times = [at(hours, day) for day in range(30) for hours in (9, 12, 12.5, 17)]
    add_events(database=ledger, events=[make_event(person_id=first, at=at(8, day)) for day in range(30)])
    together = add_events(database=ledger, events=[make_event(person_id=None, at=time) for time in times])
    one_by_one = add_events(database=ledger, events=[make_event(person_id=third, at=time) for time in times])
    with ledger.write() as session:
        events = [session.get_one(Event, id_) for id_ in together]
        BOOKS.correct_all(session, events, {"person_id": first}, "theirs", "key:test")
        events = [session.get_one(Event, id_) for id_ in together[60:]]
        BOOKS.correct_all(session, events, {"person_id": second}, "no, theirs", "key:test")
    for id_ in one_by_one[60:]:
        correct(ledger, id_, person_id=second)
    refuse_difference(database=ledger, people=[first, second, third])
    with ledger.read() as session:
        n_corrections = session.scalars(select(func.count()).select_from(EventCorrection)).one()
    assert n_corrections == len(times) + 2 * (len(times) - 60)


def test_a_late_event_changes_only_the_days_it_touches(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    add_events(
        database=ledger,
        events=[make_event(person_id=worker, at=at(hours, day)) for day in range(5) for hours in (9, 17)],
    )
    with ledger.write() as session:
        session.query(Day).update({"version": 7})
    add_events(database=ledger, events=[make_event(person_id=worker, at=at(17.5, day=2))])
    with ledger.read() as session:
        versions = {row[0]: row[1] for row in session.execute(select(Day.local_date, Day.version))}
    assert versions == {MONDAY + timedelta(days=n): 8 if n == 2 else 7 for n in range(5)}


def test_a_correction_keeps_what_was_and_works_the_days_out_anew(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    came, left = add_events(
        database=ledger, events=[make_event(person_id=worker, at=at(9)), make_event(person_id=worker, at=at(15))]
    )
    correct(ledger, left, reason="camera clock", occurred_at=at(17))
    correct(ledger, left, reason="he forgot", occurred_at=at(18))
    assert days_of(database=ledger, person_id=worker)[MONDAY]["worked_s"] == 9 * 3600
    with ledger.read() as session:
        rows = session.scalars(select(EventCorrection).order_by(EventCorrection.id)).all()
        history = [(row.event_id, row.reason, row.before, row.after) for row in rows]
    times = [{"occurred_at": at(hours).isoformat()} for hours in (15, 17, 18)]
    assert history == [(left, "camera clock", times[0], times[1]), (left, "he forgot", times[1], times[2])]
    refuse_difference(database=ledger, people=[worker])
    assert judged_events(database=ledger, person_id=worker)[came][1] == "in"


def test_what_changes_nothing_leaves_no_trace(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    (came,) = add_events(database=ledger, events=[make_event(person_id=worker, at=at(9))])
    correct(ledger, came, occurred_at=at(9), person_id=worker)
    with ledger.read() as session:
        assert session.scalars(select(EventCorrection)).all() == []
        assert session.scalars(select(Day.version)).all() == [1]


def test_a_deleted_event_is_out_of_the_days_and_can_be_brought_back(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    came, left = add_events(
        database=ledger, events=[make_event(person_id=worker, at=at(9)), make_event(person_id=worker, at=at(17))]
    )
    before = days_of(database=ledger, person_id=worker)
    correct(ledger, left, is_deleted=True)
    assert days_of(database=ledger, person_id=worker)[MONDAY]["status"] == "missing_out"
    correct(ledger, came, is_deleted=True)
    assert days_of(database=ledger, person_id=worker) == {}
    correct(ledger, came, is_deleted=False)
    correct(ledger, left, is_deleted=False)
    assert days_of(database=ledger, person_id=worker) == before
    refuse_difference(database=ledger, people=[worker])


def test_an_event_given_to_somebody_else_changes_both_peoples_days(ledger: Database) -> None:
    one, other = make_worker(database=ledger), make_worker(database=ledger)
    came, left = add_events(
        database=ledger, events=[make_event(person_id=one, at=at(9)), make_event(person_id=one, at=at(17))]
    )
    correct(ledger, left, person_id=other)
    assert days_of(database=ledger, person_id=one)[MONDAY]["n_events"] == 1
    assert days_of(database=ledger, person_id=other)[MONDAY]["n_events"] == 1
    correct(ledger, came, person_id=None)
    assert days_of(database=ledger, person_id=one) == {}
    with ledger.read() as session:
        event = session.get(Event, came)
        assert event is not None
        assert (event.outcome, event.person_id, event.explanation) == ("unknown", None, "Nobody was named.")
    refuse_difference(database=ledger, people=[one, other])


def test_an_unknown_face_that_is_given_a_name_counts(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    (seen,) = add_events(database=ledger, events=[make_event(person_id=None, at=at(9), outcome="unknown")])
    correct(ledger, seen, person_id=worker)
    assert days_of(database=ledger, person_id=worker)[MONDAY]["n_events"] == 1
    with ledger.read() as session:
        event = session.get(Event, seen)
        assert event is not None
        assert event.outcome == "identified"
    with pytest.raises(ProblemError) as refused:
        correct(ledger, seen, person_id="per_nobody")
    assert refused.value.code == "person_not_found"


def test_repeats_are_kept_and_linked_to_the_first(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    first, again = add_events(
        database=ledger,
        events=[make_event(person_id=worker, at=at(9)), make_event(person_id=worker, at=at(9) + timedelta(seconds=30))],
    )
    judged = judged_events(database=ledger, person_id=worker)
    assert judged[again][2] == first
    correct(ledger, first, is_deleted=True)
    assert judged_events(database=ledger, person_id=worker)[again][2] is None


def test_who_is_in_sight_all_day_costs_no_more_with_every_capture(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    add_events(database=ledger, events=[make_event(person_id=worker, at=at(9))])
    read: list[str] = []

    def note(*statement: Any) -> None:
        read.append(statement[2])

    listen(ledger.engine, "before_cursor_execute", note)
    for n in range(1, 30):
        add_events(database=ledger, events=[make_event(person_id=worker, at=at(9) + timedelta(seconds=10 * n))])
    remove(ledger.engine, "before_cursor_execute", note)
    assert not [statement for statement in read if "FROM days" in statement]
    judged = judged_events(database=ledger, person_id=worker)
    assert len({said[4] for said in judged.values()}) == 2
    refuse_difference(database=ledger, people=[worker])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(6))
def test_repeats_in_any_order_make_what_follows_from_all_of_them_at_once(ledger: Database, seed: int) -> None:
    rng = random.Random(seed)
    worker, other = make_worker(database=ledger), make_worker(database=ledger, shift="22:00-06:00")
    moments = [at(11.9) + timedelta(seconds=rng.choice((20, 60, 110)) * n) for n in range(80)]
    for moment in rng.sample(moments * 2, 130):
        columns = {
            "given_direction": rng.choice([None, None, None, "in", "out"]),
            "repeat_window_s": rng.choice([60, 120, 120, 600]),
        }
        who = rng.choice([worker, worker, other])
        add_events(database=ledger, events=[make_event(person_id=who, at=moment, **columns)])
        if rng.random() < 0.05:
            refuse_difference(database=ledger, people=[who])
    refuse_difference(database=ledger, people=[worker, other])


def test_a_day_that_empties_and_fills_again_never_has_a_version_that_it_had(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    (came,) = add_events(database=ledger, events=[make_event(person_id=worker, at=at(9))])
    for version, is_deleted in enumerate((True, False, True, False), start=2):
        correct(ledger, came, is_deleted=is_deleted)
        with ledger.read() as session:
            (day,) = session.scalars(select(Day))
            assert (day.version, day.n_events, day.status == "absent") == (version, not is_deleted, is_deleted)


def test_two_who_change_one_person_at_once_take_turns(ledger: Database) -> None:
    people = [make_worker(database=ledger) for _ in range(2)]
    rng = random.Random(3)
    jobs = [
        [make_event(person_id=who, at=at(rng.uniform(6, 20), day=rng.randrange(3))) for who in people]
        for _ in range(24)
    ]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda events: add_events(database=ledger, events=events), jobs))
    assert sum(len(judged_events(database=ledger, person_id=who)) for who in people) == 48
    refuse_difference(database=ledger, people=people)


def test_two_who_name_one_unknown_face_at_once_do_not_both_succeed_in_silence(ledger: Database) -> None:
    people = [make_worker(database=ledger) for _ in range(2)]

    def give(event_id: str, person_id: str) -> str:
        try:
            correct(ledger, event_id, person_id=person_id)
        except ProblemError as refused:
            return refused.code
        return "done"

    with ThreadPoolExecutor(2) as threads:
        for hours in range(9, 17):
            (seen,) = add_events(database=ledger, events=[make_event(person_id=None, at=at(hours))])
            said = set(threads.map(give, [seen] * 2, people))
            assert said in ({"done"}, {"done", "event_changed"})
    refuse_difference(database=ledger, people=people)


def test_any_row_of_changes_leaves_what_follows_from_all_events_at_once(ledger: Database) -> None:
    rng = random.Random(11)
    people = [make_worker(database=ledger, shift=shift) for shift in ("09:00-17:00", "22:00-06:00")]
    events: list[str] = []
    for _ in range(60):
        time, who = at(rng.uniform(0, 24), day=rng.randrange(9)), rng.choice(people)
        kind = rng.choice(["add", "add", "move", "delete", "restore", "give", "direction"])
        if kind == "add" or not events:
            given = rng.choice([None, None, "in", "out"])
            events += add_events(database=ledger, events=[make_event(person_id=who, at=time, given_direction=given)])
        elif kind == "move":
            correct(ledger, rng.choice(events), occurred_at=time)
        elif kind == "give":
            correct(ledger, rng.choice(events), person_id=rng.choice([*people, None]))
        elif kind == "direction":
            correct(ledger, rng.choice(events), given_direction=rng.choice(["in", "out", None]))
        else:
            correct(ledger, rng.choice(events), is_deleted=kind == "delete")
    refuse_difference(database=ledger, people=people)


def make_listener(*, database: Database) -> None:
    with database.write() as session:
        topics = ["event.created", "event.changed", "day.changed"]
        session.add(
            Webhook(
                id="whk_1",
                url="http://localhost:1/",
                topics=topics,
                sealed_secret=b"",
                active=True,
                created_at=utc_now(),
                created_by="key:test",
            )
        )


def told(*, database: Database) -> list[tuple[str, dict[str, Any]]]:
    with database.read() as session:
        sent = session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id))
        return [(row.topic, row.payload or {}) for row in sent]


def test_whoever_listens_is_told_of_events_that_another_one_changes(ledger: Database) -> None:
    worker = make_worker(database=ledger)
    _, last = add_events(
        database=ledger, events=[make_event(person_id=worker, at=at(9)), make_event(person_id=worker, at=at(13))]
    )
    make_listener(database=ledger)
    (between,) = add_events(database=ledger, events=[make_event(person_id=worker, at=at(11))])
    correct(ledger, between, is_deleted=True)
    of_events = [(topic, said) for topic, said in told(database=ledger) if topic != "day.changed"]
    assert [(topic, said["event_id"], said["direction"]) for topic, said in of_events] == [
        ("event.created", between, "out"),
        ("event.changed", last, "in"),
        ("event.changed", between, None),
        ("event.changed", last, "out"),
    ]


def test_until_a_day_is_over_whoever_listens_is_told_that_it_is_open(ledger: Database) -> None:
    worker, now = make_worker(database=ledger), utc_now()
    make_listener(database=ledger)
    add_events(database=ledger, events=[make_event(person_id=worker, at=at(9))])
    add_events(database=ledger, events=[make_event(person_id=worker, at=now, given_direction="in")])
    over, still = (said for topic, said in told(database=ledger) if topic == "day.changed")
    assert (over["status"], still["status"]) == ("missing_out", "open")
    assert datetime.fromisoformat(over["closes_at"]) < now < datetime.fromisoformat(still["closes_at"])


def test_whoever_listens_is_told_of_the_event_and_then_of_its_day(ledger: Database) -> None:
    worker = make_worker(database=ledger, employee_code="W1")
    make_listener(database=ledger)
    (came,) = add_events(database=ledger, events=[make_event(person_id=worker, at=at(9))])
    correct(ledger, came, is_deleted=True)
    topics, payloads = zip(*told(database=ledger), strict=True)
    assert topics == ("event.created", "day.changed", "event.changed", "day.changed")
    assert all(payload["employee_code"] == "W1" for payload in payloads)
    assert [payload.get("version") for payload in payloads] == [1, 1, 3, 2]
    assert (payloads[3]["n_events"], payloads[3]["status"]) == (0, "absent")
    assert "Ada" not in str(payloads)

"""Unknown faces become somebody's: enrolled, corrected, judged and deleted in one step, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.event import listen
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import (
    AuditEntry,
    Day,
    DecisionRow,
    Event,
    EventCorrection,
    Person,
    Template,
    UnknownCluster,
    UnknownFace,
)
from app.sealing import Sealer
from tests.app import photos
from tests.app.crowd import face
from tests.app.enrolment.test_enroll import enroll
from tests.app.factories import make_headers, make_person
from tests.app.review.factories import make_unknown
from tests.app.review.test_unknowns import dismiss, unknowns

Headers = dict[str, str]
GRACE = [photos.grace(variant=variant) for variant in range(3)]


def keep(
    database: Database, sealer: Sealer, start: datetime, *crops: bytes, stranger: int = 1, **fields: Any
) -> list[str]:
    """Faces of one stranger, ten minutes apart; returns the ids of the events."""
    with database.write() as session:
        return [
            make_unknown(
                session=session,
                sealer=sealer,
                embedding=face(seed=stranger, photo=number),
                seen_at=start + timedelta(minutes=10 * number),
                crop=crop,
                **fields,
            )
            for number, crop in enumerate(crops)
        ]


def assign(client: TestClient, headers: Headers, cluster_id: str, **body: Any) -> Any:
    return client.post(f"/v1/unknowns/{cluster_id}/assign", json=body, headers=headers)


def only_cluster(client: TestClient, headers: Headers) -> str:
    (item,) = unknowns(client, headers)
    return str(item["id"])


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def add_person(database: Database, **fields: Any) -> Person:
    with database.write() as session:
        return make_person(session=session, **fields)


def test_a_stranger_who_is_assigned_is_recognised_from_the_next_request_on(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    ids = keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    answer = assign(client, operator, cluster_id, employee_code="G1", name="Grace Hopper", consent=True)
    body = answer.json()
    assert (answer.status_code, body["status"], body["was_enrolled"]) == (200, "assigned", False), body
    assert (body["person"]["employee_code"], body["n_events_corrected"], body["n_crops_deleted"]) == ("G1", 3, 3)
    assert len(body["enrolment"]["templates"]) == 3
    assert {each["source"]["file"] for each in body["enrolment"]["templates"]} == {f"{id_}.jpg" for id_ in ids}
    found = client.post("/v1/identify", files={"image": photos.grace(variant=4)}, headers=operator).json()
    assert found["faces"][0]["person"]["employee_code"] == "G1"
    assert found["gallery_revision"] == body["gallery_revision"]


def test_the_ledger_says_that_it_was_them_and_that_somebody_said_so(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    ids = keep(database, sealer, start, *GRACE)
    body = assign(
        client, operator, only_cluster(client, operator), employee_code="G1", name="Grace", consent=True
    ).json()
    with database.read() as session:
        events = session.scalars(select(Event).where(Event.id.in_(ids))).all()
        corrections = session.scalars(select(EventCorrection)).all()
        days = session.scalars(select(Day)).all()
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert {(event.person_id, event.outcome) for event in events} == {(body["person"]["id"], "identified")}
    assert sorted(row.event_id for row in corrections) == sorted(ids)
    assert {row.reason for row in corrections} == {"assigned from unknown faces"}
    assert sum(day.n_events for day in days) == 3 and {day.person_id for day in days} == {body["person"]["id"]}
    assert actions.count("unknown.assigned") == 1


def test_nothing_of_the_faces_is_kept_afterwards(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    assign(client, operator, cluster_id, employee_code="G1", name="Grace", consent=True)
    assert count(database, UnknownFace) == 0 and unknowns(client, operator) == []
    (item,) = unknowns(client, operator, status="assigned")
    assert (item["id"], item["n_faces"], item["faces"], item["was_enrolled"]) == (cluster_id, 3, [], False)
    assert item["person"]["employee_code"] == "G1"


def test_somebody_enrolled_was_missed_and_their_faces_are_judged_so(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    enroll(client, operator, "G1", photos.grace(variant=5), name="Grace Hopper")
    keep(database, sealer, start, GRACE[0], decided_at=start - timedelta(days=1))
    with database.write() as session:
        template = session.scalars(select(Template)).one()
        template.created_at = start
        grace_id = template.person_id
    keep(database, sealer, start + timedelta(minutes=1), GRACE[1])
    body = assign(client, operator, only_cluster(client, operator), person_id=grace_id).json()
    assert body["was_enrolled"] is False  # not when the first face was looked for
    assert body["enrolment"]["person"]["n_templates"] == 3
    with database.read() as session:
        rows = session.scalars(select(DecisionRow).order_by(DecisionRow.at)).all()
    assert [(row.is_correct, row.true_person_id) for row in rows] == [(True, None), (False, grace_id)]


def test_the_checks_of_an_enrolment_hold_and_what_is_refused_changes_nothing(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    enroll(client, operator, "G1", photos.grace(variant=3), photos.grace(variant=4), name="Grace Hopper")
    keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    add_person(database, employee_code="N1")

    def code(**body: Any) -> tuple[int, str]:
        answer = assign(client, operator, cluster_id, **body)
        return answer.status_code, answer.json()["code"]

    assert code(employee_code="N1") == (409, "consent_missing")
    assert code(employee_code="N1", name="Somebody New", consent=True) == (409, "employee_code_taken")
    assert code(employee_code="X9", consent=True) == (422, "name_missing")
    assert code(employee_code="X9", enroll=False) == (422, "name_missing")
    assert code(person_id="per_none", consent=True) == (404, "person_not_found")
    assert code(employee_code="N1", consent=True) == (409, "duplicate_person")
    assert code() == (422, "fields_invalid")
    assert code(person_id="per_1", employee_code="N1") == (422, "fields_invalid")
    assert (count(database, UnknownFace), count(database, Template), count(database, EventCorrection)) == (3, 2, 0)
    assert unknowns(client, operator)[0]["status"] == "open"
    allowed = assign(client, operator, cluster_id, employee_code="N1", consent=True, on_duplicate="allow")
    assert allowed.status_code == 200


def test_faces_that_are_not_good_enough_to_enrol_can_still_be_assigned(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, photos.nobody(), photos.blurred())
    cluster_id = only_cluster(client, operator)
    refused = assign(client, operator, cluster_id, employee_code="G1", name="Grace", consent=True)
    assert (refused.status_code, refused.json()["code"]) == (422, "crops_not_good_enough")
    assert "enroll=false" in refused.json()["detail"] and len(refused.json()["errors"]) == 2
    assert count(database, Person) == 0
    body = assign(client, operator, cluster_id, employee_code="G1", name="Grace", enroll=False).json()
    assert (body["n_events_corrected"], body["enrolment"], body["person"]["name"]) == (2, None, "Grace")
    assert (count(database, Template), count(database, UnknownFace)) == (0, 0)


def test_the_faces_of_somebody_else_are_not_enrolled_for_a_person_they_do_not_look_like(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    enrolment = enroll(client, operator, "E1", photos.eileen(), name="Eileen Collins").json()
    keep(database, sealer, start, *GRACE)
    refused = assign(client, operator, only_cluster(client, operator), person_id=enrolment["person"]["id"])
    assert (refused.status_code, refused.json()["code"]) == (422, "crops_not_good_enough")
    assert "identity_conflict" in refused.json()["errors"][0]["msg"]


def test_events_stay_as_they_are_where_that_is_wanted_and_those_of_others_always(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    ids = keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    ada = add_person(database, employee_code="A1")
    with database.write() as session:
        session.get_one(Event, ids[0]).person_id = ada.id
    grace = add_person(database, employee_code="G1")
    body = assign(client, operator, cluster_id, person_id=grace.id, enroll=False).json()
    assert (body["n_events_corrected"], body["n_crops_deleted"]) == (2, 3)
    keep(database, sealer, start, *GRACE, stranger=2)
    body = assign(
        client, operator, only_cluster(client, operator), person_id=grace.id, enroll=False, correct_events=False
    ).json()
    assert body["n_events_corrected"] == 0
    with database.read() as session:
        people = [session.get_one(Event, id_).person_id for id_ in ids]
        assert session.scalars(select(func.count()).where(Event.person_id.is_(None))).one() == 3
    assert people == [ada.id, grace.id, grace.id]


def test_a_stranger_who_was_dismissed_can_be_assigned_all_the_same(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    enroll(client, operator, "G1", photos.grace(variant=5), name="Grace Hopper")
    ids = keep(database, sealer, start, *GRACE[:2], decided_at=start + timedelta(hours=2))  # enrolled by then
    cluster_id = only_cluster(client, operator)
    dismiss(client, operator, cluster_id, reason="looks like Grace")
    ids += keep(database, sealer, start + timedelta(hours=1), GRACE[2], decided_at=start + timedelta(hours=2))
    unknowns(client, operator)
    body = assign(client, operator, cluster_id, employee_code="G1").json()
    assert (body["status"], body["was_enrolled"], body["n_events_corrected"]) == ("assigned", True, 3), body
    with database.read() as session:
        rows = [session.get_one(DecisionRow, id_) for id_ in ids]
        assert session.get_one(UnknownCluster, cluster_id).reason is None  # it may name the person
    assert [(row.is_correct, row.true_person_id) for row in rows] == [(False, body["person"]["id"])] * 3


def test_faces_that_an_operator_gave_to_somebody_else_are_no_misses_of_the_person(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    body = enroll(client, operator, "G1", photos.grace(variant=5), name="Grace Hopper").json()
    ids = keep(database, sealer, start, *GRACE, decided_at=start + timedelta(hours=2))
    cluster_id = only_cluster(client, operator)
    with database.write() as session:
        session.get_one(Event, ids[0]).person_id = make_person(session=session, employee_code="A1").id
    assign(client, operator, cluster_id, person_id=body["person"]["id"], enroll=False)
    with database.read() as session:
        assert [session.get_one(DecisionRow, id_).is_correct for id_ in ids] == [None, False, False]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_assigning_many_faces_works_out_the_days_once(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, *[GRACE[0]] * 40)
    cluster_id = only_cluster(client, operator)
    statements: list[str] = []
    listen(database.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    body = assign(client, operator, cluster_id, employee_code="G1", name="G", enroll=False).json()
    assert body["n_events_corrected"] == 40
    assert sum(statement.startswith("SELECT") for statement in statements) < 2 * 40


def test_only_the_few_best_crops_are_enrolled(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, *(photos.grace(variant=variant) for variant in range(6)), photos.nobody())
    body = assign(client, operator, only_cluster(client, operator), employee_code="G1", name="G", consent=True).json()
    assert len(body["enrolment"]["templates"]) == 5 and body["n_events_corrected"] == 7


def test_the_same_request_again_does_nothing_twice_and_another_one_is_too_late(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    headers, body = operator | {"Idempotency-Key": "k1"}, {"employee_code": "G1", "name": "Grace", "consent": True}
    first, again = assign(client, headers, cluster_id, **body), assign(client, headers, cluster_id, **body)
    assert (first.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (200, first.json(), "true")
    late = assign(client, operator, cluster_id, **body)
    assert (late.status_code, late.json()["code"]) == (409, "unknown_resolved")
    assert count(database, Template) == 3


def test_two_operators_at_once_assign_once(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    people = [add_person(database, employee_code=code) for code in ("A1", "B1")]
    wanted = [(make_headers(database=database, scope="operator"), person.id) for person in people]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda each: assign(client, each[0], cluster_id, person_id=each[1], enroll=False), wanted)
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    with database.read() as session:
        assert len(set(session.scalars(select(Event.person_id)))) == 1


def test_erasing_the_person_leaves_an_assigned_cluster_without_them(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    headers = operator | {"Idempotency-Key": "k1"}
    body = assign(client, headers, cluster_id, employee_code="G1", name="Grace", consent=True).json()
    assert client.delete(f"/v1/people/{body['person']['id']}", headers=operator).status_code == 200
    with database.read() as session:
        assert session.get_one(UnknownCluster, cluster_id).person_id is None
        assert {event.person_id for event in session.scalars(select(Event))} == {None}
        assert {row.true_person_id for row in session.scalars(select(DecisionRow))} == {None}
    again = assign(client, headers, cluster_id, employee_code="G1", name="Grace", consent=True)
    assert again.json()["code"] == "idempotency_erased"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_was_kept_is_not_in_the_database_file_any_more(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime, app: FastAPI
) -> None:
    keep(database, sealer, start, *GRACE)
    cluster_id = only_cluster(client, operator)
    with database.read() as session:
        sealed = session.scalars(select(UnknownFace.sealed_crop)).first() or b""
    assign(client, operator, cluster_id, employee_code="G1", name="Grace", consent=True)
    path = database.engine.url.database or ""
    for name in (path, f"{path}-wal"):
        with open(name, "rb") as file:  # noqa: PTH123
            assert sealed[100:180] not in file.read()


def test_a_visitor_seen_by_a_camera_is_assigned_and_then_recognised_by_it(
    client: TestClient, operator: Headers, camera: Headers, start: datetime
) -> None:
    def capture(variant: int) -> dict[str, Any]:
        answer = client.post("/v1/captures", files={"image": photos.grace(variant=variant)}, headers=camera)
        (event,) = answer.json()["events"]
        return dict(event)

    first = [capture(variant) for variant in range(3)]
    assert {event["outcome"] for event in first} == {"unknown"}
    (item,) = unknowns(client, operator)
    assert item["n_faces"] == 3
    crop = client.get(item["faces"][0]["crop_url"], headers=operator)
    assert crop.content.startswith(b"\xff\xd8")
    body = assign(client, operator, item["id"], employee_code="G1", name="Grace", consent=True).json()
    assert (body["n_events_corrected"], len(body["enrolment"]["templates"])) == (3, 3)
    again = capture(4)
    assert (again["person"]["employee_code"], again["duplicate_of"]) == ("G1", first[0]["id"])

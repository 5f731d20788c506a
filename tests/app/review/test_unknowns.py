"""Unknown faces are kept, put together, shown, dismissed and forgotten, on both databases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import func, select, text
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, DecisionRow, Event, UnknownCluster, UnknownFace, Webhook, WebhookDelivery
from app.review.clustering import Clusterer
from app.review.retention import FacePurger
from app.sealing import Sealer
from tests.app.crowd import face
from tests.app.factories import make_headers, make_person
from tests.app.review.factories import make_camera, make_capture, make_site, make_unknown

Headers = dict[str, str]


def keep(
    database: Database, sealer: Sealer, people: Sequence[int], start: datetime, *, every_s: float = 600, **fields: Any
) -> list[str]:
    """One face after the other, of these strangers; returns the ids of the events."""
    with database.write() as session:
        return [
            make_unknown(
                session=session,
                sealer=sealer,
                embedding=face(seed=person, photo=number),
                seen_at=start + timedelta(seconds=every_s * number),
                **fields,
            )
            for number, person in enumerate(people)
        ]


def unknowns(client: TestClient, headers: Headers, **params: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/unknowns", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def dismiss(client: TestClient, headers: Headers, cluster_id: str, **body: Any) -> Any:
    return client.post(f"/v1/unknowns/{cluster_id}/dismiss", json=body, headers=headers)


def reopen(client: TestClient, headers: Headers, cluster_id: str) -> Any:
    return client.post(f"/v1/unknowns/{cluster_id}/reopen", headers=headers)


def n_kept(database: Database) -> int:
    with database.read() as session:
        return session.scalars(select(func.count()).select_from(UnknownFace)).one()


def events_of(item: dict[str, Any]) -> set[str]:
    return {face["event_id"] for face in item["faces"]}


def test_the_faces_of_one_stranger_are_listed_together_the_last_seen_first(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    with database.write() as session:
        camera = make_camera(session=session, name="Back door")
        ada = make_person(session=session, employee_code="A1")
    ids = keep(database, sealer, [1, 2, 1, 1], start, camera=camera, candidates=[(ada.id, 0.4)])
    first, second = unknowns(client, operator)
    assert (first["status"], first["n_faces"], events_of(first)) == ("open", 3, {ids[0], ids[2], ids[3]})
    assert (second["n_faces"], events_of(second)) == (1, {ids[1]})
    assert first["cameras"] == [{"id": camera.id, "name": "Back door"}]
    assert [(each["person"]["employee_code"], each["score"]) for each in first["looks_like"]] == [("A1", 0.4)]
    assert datetime.fromisoformat(first["first_seen_at"]) == start
    assert datetime.fromisoformat(first["last_seen_at"]) == start + timedelta(minutes=30)


def test_a_face_that_comes_later_joins_its_cluster_and_the_list_is_walked_by_pages(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1, 2, 3], start)
    known = {item["id"]: item["n_faces"] for item in unknowns(client, operator)}
    keep(database, sealer, [2], start + timedelta(minutes=50))
    after = unknowns(client, operator)
    assert {item["id"] for item in after} == set(known)
    assert [item["n_faces"] for item in after] == [2, 1, 1]
    page = client.get("/v1/unknowns", params={"limit": 2}, headers=operator).json()
    rest = client.get("/v1/unknowns", params={"limit": 2, "cursor": page["next_cursor"]}, headers=operator).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == [item["id"] for item in after]
    assert rest["next_cursor"] is None


def test_several_at_once_put_every_face_to_one_cluster_once(
    app: FastAPI, database: Database, sealer: Sealer, start: datetime
) -> None:
    app.state.clustering.stop()
    keep(database, sealer, [number % 7 for number in range(60)], start, every_s=10)
    state = app.state
    replicas = [Clusterer(database, sealer, state.inference) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        n_put = list(pool.map(lambda replica: replica.run(), replicas))
    with database.read() as session:
        clusters = session.scalars(select(UnknownCluster)).all()
        assert session.scalars(select(func.count()).where(UnknownFace.cluster_id.is_(None))).one() == 0
    assert sum(n_put) == 60
    assert sorted(cluster.n_faces for cluster in clusters) == [8, 8, 8, 9, 9, 9, 9]


def test_two_faces_of_one_picture_are_never_one_stranger(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    with database.write() as session:
        capture = make_capture(session=session, at=start)
    keep(database, sealer, [1, 1], start, every_s=0, capture=capture)
    assert [item["n_faces"] for item in unknowns(client, operator)] == [1, 1]


def test_a_visit_is_one_presence_whatever_the_order_in_which_its_faces_come(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    late = keep(database, sealer, [1], start + timedelta(seconds=200))
    unknowns(client, operator)
    early = keep(database, sealer, [1, 1], start, every_s=100)
    again = keep(database, sealer, [1], start + timedelta(minutes=30))
    unknowns(client, operator)
    with database.read() as session:
        events = {event.id: event for event in session.scalars(select(Event))}
    first_of = {event.id: event.duplicate_of for event in events.values()}
    assert first_of == {early[0]: None, early[1]: early[0], late[0]: early[0], again[0]: None}
    assert "same visitor" in events[late[0]].explanation and "same visitor" not in events[again[0]].explanation


def test_who_listens_is_told_that_a_visitor_was_there_before(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    with database.write() as session:
        session.add(
            Webhook(
                id="whk_1",
                url="https://example.invalid",
                topics=["event.changed"],
                sealed_secret=b"",
                active=True,
                created_at=start,
                created_by="key:test",
            )
        )
    ids = keep(database, sealer, [1, 1, 2], start, every_s=60)
    unknowns(client, operator)
    with database.read() as session:
        told = [each.payload for each in session.scalars(select(WebhookDelivery)) if each.payload]
    assert [(each["event_id"], each["duplicate_of"]) for each in told] == [(ids[1], ids[0])]


def test_a_crop_is_sealed_in_the_database_and_shown_to_operators_only(
    client: TestClient,
    operator: Headers,
    camera: Headers,
    database: Database,
    sealer: Sealer,
    start: datetime,
) -> None:
    keep(database, sealer, [1], start, crop=b"\xff\xd8 a face")
    with database.read() as session:
        row = session.scalars(select(UnknownFace)).one()
    assert b"face" not in row.sealed_crop and face(seed=1).tobytes()[:16] not in row.sealed_embedding
    item = unknowns(client, operator)[0]
    url = item["faces"][0]["crop_url"]
    answer = client.get(url, headers=operator)
    assert (answer.status_code, answer.content) == (200, b"\xff\xd8 a face")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/jpeg", "no-store")
    assert client.get(url, headers=camera).json()["code"] == "scope_insufficient"
    assert client.get(url.replace(item["id"], "unk_other"), headers=operator).json()["code"] == "crop_not_found"


def test_who_looked_at_a_stranger_is_noted_once_for_all_they_looked_at(
    client: TestClient, operator: Headers, admin: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1, 1], start)
    item = unknowns(client, operator)[0]
    for headers in (operator, operator, admin):
        assert client.get(f"/v1/unknowns/{item['id']}", headers=headers).json()["id"] == item["id"]
        assert client.get(item["faces"][0]["crop_url"], headers=headers).status_code == 200
    with database.read() as session:
        viewed = session.scalars(select(AuditEntry).where(AuditEntry.action == "unknown.viewed")).all()
    assert [entry.target for entry in viewed] == [item["id"]] * 2
    assert len({entry.actor for entry in viewed}) == 2


def test_a_face_sealed_with_a_key_that_is_gone_is_a_cluster_by_itself_and_says_so(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, Sealer(["another secret key"]), [1], start)
    keep(database, sealer, [1], start)
    assert [item["n_faces"] for item in unknowns(client, operator)] == [1, 1]
    answers = [client.get(item["faces"][0]["crop_url"], headers=operator) for item in unknowns(client, operator)]
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert "crop_unreadable" in {answer.json()["code"] for answer in answers if answer.status_code == 409}


def test_faces_of_another_backbone_are_not_compared(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1, 1], start, model="other/1")
    assert [item["n_faces"] for item in unknowns(client, operator)] == [1, 1]


def test_a_dismissed_stranger_who_comes_again_stays_dismissed_but_counts(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    ids = keep(database, sealer, [1, 2], start)
    cluster_id = next(item["id"] for item in unknowns(client, operator) if events_of(item) == {ids[0]})
    answer = dismiss(client, operator, cluster_id, reason="post")
    assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, "dismissed", "post")
    ids += keep(database, sealer, [1], start + timedelta(minutes=40))
    assert [events_of(item) for item in unknowns(client, operator)] == [{ids[1]}]
    dismissed = unknowns(client, operator, status="dismissed")
    assert [(item["id"], item["n_faces"], events_of(item)) for item in dismissed] == [(cluster_id, 2, {ids[0], ids[2]})]
    with database.read() as session:
        rows = {row.id: row for row in session.scalars(select(DecisionRow))}
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert [rows[id_].is_correct for id_ in ids] == [True, None, True]
    assert {rows[id_].judged_by for id_ in (ids[0], ids[2])} == {answer.json()["resolved_by"]}
    assert "unknown.dismissed" in actions


def test_a_dismissal_that_is_taken_back_leaves_nothing_of_what_followed_from_it(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1, 1], start)
    cluster_id = unknowns(client, operator)[0]["id"]
    assert reopen(client, operator, cluster_id).json()["code"] == "unknown_not_dismissed"
    dismiss(client, operator, cluster_id, reason="post")
    keep(database, sealer, [1], start + timedelta(minutes=40))
    unknowns(client, operator)
    with database.write() as session:  # what followed for a face that is not kept any more goes too
        session.delete(session.scalars(select(UnknownFace).order_by(UnknownFace.seen_at)).first())
    body = reopen(client, operator, cluster_id).json()
    assert (body["status"], body["reason"], body["resolved_at"], body["resolved_by"]) == ("open", None, None, None)
    assert [item["id"] for item in unknowns(client, operator)] == [cluster_id]
    with database.read() as session:
        rows = session.scalars(select(DecisionRow)).all()
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert [(row.is_correct, row.judged_at, row.judged_by) for row in rows] == [(None, None, None)] * 3
    assert "unknown.reopened" in actions
    assert dismiss(client, operator, cluster_id).status_code == 200


def test_a_dismissal_says_nothing_of_faces_that_were_given_to_somebody(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    ids = keep(database, sealer, [1, 1], start)
    cluster_id = unknowns(client, operator)[0]["id"]
    with database.write() as session:
        session.get_one(Event, ids[0]).person_id = make_person(session=session).id
    dismiss(client, operator, cluster_id)
    with database.read() as session:
        assert [session.get_one(DecisionRow, id_).is_correct for id_ in ids] == [None, True]


def test_who_decides_second_is_told_so_and_the_same_request_again_gets_the_same_answer(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1], start)
    cluster_id = unknowns(client, operator)[0]["id"]
    headers = operator | {"Idempotency-Key": "k1"}
    first, again = dismiss(client, headers, cluster_id), dismiss(client, headers, cluster_id)
    assert (first.status_code, again.json()) == (200, first.json())
    second = dismiss(client, operator, cluster_id)
    assert (second.status_code, second.json()["code"]) == (409, "unknown_resolved")
    assert dismiss(client, operator, "unk_none").json()["code"] == "unknown_not_found"
    assert dismiss(client, operator, cluster_id, why="x").status_code == 422


def test_two_operators_at_once_decide_once(
    client: TestClient, database: Database, sealer: Sealer, start: datetime, operator: Headers
) -> None:
    keep(database, sealer, [1], start)
    cluster_id = unknowns(client, operator)[0]["id"]
    both = [make_headers(database=database, scope="operator") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda headers: dismiss(client, headers, cluster_id), both))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


def test_a_site_that_keeps_nothing_keeps_nothing_and_late_faces_are_kept_no_longer_than_others(
    database: Database, sealer: Sealer, start: datetime
) -> None:
    with database.write() as session:
        make_site(session=session, unknown_days=0)
    keep(database, sealer, [1], start)
    assert n_kept(database) == 0
    with database.write() as session:
        make_site(session=session, unknown_days=7)
    keep(database, sealer, [1], start - timedelta(days=8))
    assert n_kept(database) == 0
    keep(database, sealer, [1], start - timedelta(days=6))
    assert n_kept(database) == 1


def test_what_has_expired_is_shown_no_more_and_purged_with_its_cluster(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1, 2], start)
    shown = unknowns(client, operator)
    with database.write() as session:
        session.execute(text("UPDATE unknown_faces SET expires_at = seen_at"))
    assert [item["faces"] for item in unknowns(client, operator)] == [[], []]
    assert client.get(shown[0]["faces"][0]["crop_url"], headers=operator).status_code == 404
    assert FacePurger(database).purge() == 2
    assert (n_kept(database), unknowns(client, operator)) == (0, [])
    assert client.get(f"/v1/unknowns/{shown[0]['id']}", headers=operator).json()["code"] == "unknown_not_found"


@pytest.mark.parametrize(("unknown_days", "n_left"), [(0, 0), (10, 1), (30, 2)])
def test_a_site_that_keeps_faces_for_a_shorter_time_purges_those_it_has(
    database: Database, sealer: Sealer, start: datetime, unknown_days: int, n_left: int
) -> None:
    keep(database, sealer, [1], start)
    keep(database, sealer, [2], start - timedelta(days=20))
    with database.write() as session:
        make_site(session=session, unknown_days=unknown_days)
    FacePurger(database).purge()
    assert n_kept(database) == n_left


def test_purging_many_is_done_in_portions_and_dismissed_clusters_stay_without_faces(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    keep(database, sealer, [1] * 520, start, every_s=1)
    cluster_id = unknowns(client, operator)[0]["id"]
    dismiss(client, operator, cluster_id)
    with database.write() as session:
        make_site(session=session, unknown_days=0)
    assert FacePurger(database).purge() == 520
    left = unknowns(client, operator, status="dismissed")
    assert [(item["id"], item["n_faces"], item["faces"]) for item in left] == [(cluster_id, 520, [])]


def test_a_face_that_somebody_gave_a_name_or_deleted_is_no_unknown_any_more(
    client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    ids = keep(database, sealer, [1, 1, 1], start)
    unknowns(client, operator)
    with database.write() as session:
        ada = make_person(session=session)
        session.get_one(Event, ids[0]).person_id = ada.id
        session.get_one(Event, ids[1]).is_deleted = True
    assert [events_of(item) for item in unknowns(client, operator)] == [{ids[2]}]
    assert FacePurger(database).purge() == 2


def test_erasing_a_person_deletes_the_faces_that_were_said_to_be_theirs(
    app: FastAPI, client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    app.state.face_purger.stop()
    ids = keep(database, sealer, [1, 2], start)
    with database.write() as session:
        ada = make_person(session=session)
        session.get_one(Event, ids[0]).person_id = ada.id
    receipt = client.delete(f"/v1/people/{ada.id}", headers=operator).json()
    assert (n_kept(database), receipt["crops_deleted"]) == (1, 1)


def test_erasing_a_person_deletes_the_faces_that_were_likest_to_them(
    app: FastAPI, client: TestClient, operator: Headers, database: Database, sealer: Sealer, start: datetime
) -> None:
    app.state.face_purger.stop()
    with database.write() as session:
        make_site(session=session)
        ada, bob = make_person(session=session), make_person(session=session)
        for candidates in ([(ada.id, 0.4), (bob.id, 0.3)], [(bob.id, 0.4), (ada.id, 0.3)]):
            make_unknown(session=session, sealer=sealer, embedding=face(seed=1), seen_at=start, candidates=candidates)
    receipt = client.delete(f"/v1/people/{ada.id}", headers=operator).json()
    assert (n_kept(database), receipt["crops_deleted"]) == (1, 1)


def test_a_secret_key_that_was_replaced_still_opens_what_the_old_one_sealed(
    client: TestClient, operator: Headers, app: FastAPI, database: Database, start: datetime
) -> None:
    old, new = SecretStr("old secret key 123"), SecretStr("new secret key 123,old secret key 123")
    keep(database, Sealer([old.get_secret_value()]), [1], start)
    app.state.sealer = Sealer(new.get_secret_value().split(","))
    item = unknowns(client, operator)[0]
    assert client.get(item["faces"][0]["crop_url"], headers=operator).status_code == 200


def test_only_operators_see_unknown_faces(client: TestClient, camera: Headers) -> None:
    for path in ("/v1/unknowns", "/v1/unknowns/unk_1", "/v1/review/estimate"):
        assert client.get(path, headers=camera).status_code == 403
    for path in ("/v1/unknowns/unk_1/assign", "/v1/unknowns/unk_1/dismiss", "/v1/unknowns/unk_1/reopen"):
        assert client.post(path, json={"employee_code": "A"}, headers=camera).status_code == 403

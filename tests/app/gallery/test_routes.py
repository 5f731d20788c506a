from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db.engine import Database
from tests.app.factories import make_person, make_template

Headers = dict[str, str]


def replicas(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = client.get("/v1/gallery", headers=headers).json()["replicas"]
    return shown


def test_every_replica_reports_how_far_it_is_and_what_its_audit_found(
    app: FastAPI, client: TestClient, database: Database, admin: Headers, operator: Headers
) -> None:
    with database.write() as session:
        make_template(session=session, person=make_person(session=session))
    asked = client.post("/v1/gallery/audit", headers=admin)
    assert asked.status_code == 202
    assert (asked.json()["revision"], asked.json()["n_log_entries"]) == (1, 1)
    app.state.gallery_upkeep.caretaker.look()
    (replica,) = replicas(client, operator)
    assert (replica["kind"], replica["is_silent"], replica["is_audit_pending"]) == ("api", False, False)
    audit = replica["audit"]
    assert (audit["is_clean"], audit["n_stored"], audit["n_indexed"], audit["revision"]) == (True, 1, 1, 1)
    assert len(audit["fingerprint"]) == 32


def test_a_rebuild_is_followed_by_an_audit(app: FastAPI, client: TestClient, admin: Headers) -> None:
    client.post("/v1/gallery/rebuild", headers=admin)
    app.state.gallery_upkeep.caretaker.look()
    (replica,) = replicas(client, admin)
    assert replica["rebuilt_at"] is not None and replica["audit"]["is_clean"]
    assert not replica["is_rebuild_pending"] and not replica["is_audit_pending"]


def test_only_an_admin_may_ask_for_that_and_it_is_on_record(
    client: TestClient, admin: Headers, operator: Headers, camera: Headers
) -> None:
    for path in ("/v1/gallery/audit", "/v1/gallery/rebuild"):
        assert client.post(path, headers=operator).status_code == 403
        assert client.post(path, headers=admin).status_code == 202
    assert client.get("/v1/gallery", headers=camera).status_code == 403
    actions = [entry["action"] for entry in client.get("/v1/audit", headers=admin).json()["items"]]
    assert {"gallery.audit_requested", "gallery.rebuild_requested"} <= set(actions)


def test_a_service_that_ends_is_no_replica_any_more(app: FastAPI, client: TestClient, admin: Headers) -> None:
    from app.main import create_app

    other = create_app(app.state.settings, app.state.inference)
    with TestClient(other):
        other.state.gallery_upkeep.caretaker.look()
        assert len(replicas(client, admin)) == 2
    assert len(replicas(client, admin)) == 1

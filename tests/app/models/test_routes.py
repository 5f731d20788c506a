from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import GalleryState, Job, Model, TrainingRun
from app.db.types import utc_now
from app.jobs import service as jobs
from app.jobs.rules import JobStatus
from app.settings import Settings
from tests.app.factories import make_person
from tests.app.models.factories import BACKBONE, WORD, make_champion, make_crop, make_model, make_templates

Headers = dict[str, str]
CHALLENGER = "dlib-resnet+projection/1"


@pytest.fixture
def backend() -> str:
    return "sqlite"  # the SQL is tried on both by test_registry


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retrain_strategy": "finetune", "retrain_policy": "never"})


@pytest.fixture
def champion(database: Database) -> Model:
    with database.write() as session:
        return make_champion(session=session)


@pytest.fixture
def challenger(database: Database, champion: Model) -> Model:
    with database.write() as session:
        return make_model(session=session, word=CHALLENGER)


def refusal(answer: Any) -> str:
    return f"{answer.status_code} {answer.json().get('code')}"


def actions(client: TestClient, headers: Headers) -> list[str]:
    return [entry["action"] for entry in client.get("/v1/audit", headers=headers).json()["items"]]


def payload(database: Database, job_id: str) -> tuple[str, dict[str, Any]]:
    with database.read() as session:
        job = session.get(Job, job_id)
        assert job is not None
        return job.kind, job.payload


def end_all(database: Database) -> None:
    """As if a worker had done everything."""
    with database.write() as session:
        for job in session.scalars(select(Job)):
            jobs.end(job, JobStatus.DONE)


def test_a_training_is_asked_for_once_and_shown_with_its_curves(
    client: TestClient, database: Database, admin: Headers, operator: Headers, challenger: Model
) -> None:
    asked = client.post("/v1/retrain", json={"strategy": "projection", "policy": "ask", "seed": 7}, headers=admin)
    assert asked.status_code == 202, asked.text
    job_id = asked.json()["job_id"]
    assert asked.headers["location"] == f"/v1/retrain/{job_id}"
    assert payload(database, job_id) == ("retrain", {"strategy": "projection", "policy": "ask", "seed": 7})
    again = client.post("/v1/retrain", headers=admin)
    assert (refusal(again), again.json()["job_id"]) == ("409 training_running", job_id)
    shown = client.get(f"/v1/retrain/{job_id}", headers=operator).json()
    assert (shown["job"]["status"], shown["strategy"], shown["policy"], shown["seed"]) == (
        *("queued", "projection", "ask"),
        7,
    )
    assert (shown["curves"], shown["model_id"]) == (None, None)
    with database.write() as session:
        curves = {"loss": [2.5, 1.5], "validation_fnir": [0.5, 0.25], "learning_rate": [1e-3, 1e-4], "best_epoch": 1}
        session.execute(update(TrainingRun).values(curves=curves, model_id=challenger.id))
        session.delete(session.get(Job, job_id))
    shown = client.get(f"/v1/retrain/{job_id}", headers=operator).json()
    assert (shown["job"], shown["model_id"], shown["curves"]) == (None, challenger.id, curves)
    assert refusal(client.get("/v1/retrain/job_none", headers=operator)) == "404 training_not_found"
    assert "model.training_requested" in actions(client, admin)


def test_what_is_not_said_is_as_the_settings_have_it(client: TestClient, database: Database, admin: Headers) -> None:
    job_id = client.post("/v1/retrain", headers=admin).json()["job_id"]
    assert payload(database, job_id)[1] == {"strategy": "finetune", "policy": "never", "seed": 0}


def test_the_same_request_sent_again_asks_for_nothing_new(
    client: TestClient, database: Database, admin: Headers, challenger: Model
) -> None:
    for path, body in (
        ("/v1/retrain", {"seed": 1}),
        ("/v1/models", {"backbone": "sface"}),
        (f"/v1/models/{challenger.id}/promote", {}),
    ):
        headers = {**admin, "Idempotency-Key": path}
        first, again = (client.post(path, json=body, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()
    with database.read() as session:
        assert len(session.scalars(select(Job)).all()) == 3


def test_a_wrong_wish_is_refused_by_its_field(client: TestClient, admin: Headers) -> None:
    for path, body in (
        ("/v1/retrain", {"strategy": "magic"}),
        ("/v1/retrain", {"seed": 2**31}),
        ("/v1/retrain", {"startegy": "projection"}),
        ("/v1/models", {"backbone": "nonsense"}),
        ("/v1/models", {"backbone": "yunet"}),
        ("/v1/models", {"backbone": "onnx:"}),
        ("/v1/models/mdl_1/promote", {"even_if_not_better": True}),
        ("/v1/models/mdl_1/promote", {"even_if_not_better": True, "reason": " "}),
    ):
        answer = client.post(path, json=body, headers=admin)
        assert refusal(answer) == "422 fields_invalid" and answer.json()["errors"], body


def test_another_network_is_measured_but_not_the_one_in_use(
    client: TestClient, database: Database, admin: Headers, champion: Model
) -> None:
    assert refusal(client.post("/v1/models", json={"backbone": BACKBONE}, headers=admin)) == "409 model_is_champion"
    asked = client.post("/v1/models", json={"backbone": "onnx:other.onnx"}, headers=admin)
    assert payload(database, asked.json()["job_id"]) == ("measure_backbone", {"backbone": "onnx:other.onnx"})
    assert refusal(client.post("/v1/models", json={"backbone": "sface"}, headers=admin)) == "409 training_running"
    end_all(database)
    assert client.post("/v1/models", json={"backbone": "sface"}, headers=admin).status_code == 202


def test_models_are_listed_with_how_they_were_judged(
    client: TestClient, database: Database, operator: Headers, champion: Model, challenger: Model
) -> None:
    with database.write() as session:
        refused = make_model(session=session, status="refused", reason="no better")
        session.execute(update(GalleryState).values(standby_model=CHALLENGER))
        session.execute(update(Model).where(Model.word == CHALLENGER).values(promoted_at=utc_now()))  # it was in use
    shown = client.get("/v1/models", headers=operator).json()
    assert (shown["champion_id"], shown["standby_id"], shown["next_cursor"]) == (champion.id, challenger.id, None)
    assert [item["id"] for item in shown["items"]] == [refused.id, challenger.id, champion.id]
    bad, good, first = shown["items"]
    assert (bad["status"], bad["reason"], bad["is_standby"]) == ("refused", "no better", False)
    assert (good["model"], good["n_bytes"], good["is_standby"]) == (CHALLENGER, len(b"weights"), True)
    assert good["report"] == {"target_fpir": 0.01, "n_people": 120}
    assert (first["model"], first["status"], first["n_bytes"], first["report"]) == (WORD, "champion", None, None)
    assert set(first["card"]) == {"licence", "quality_note", "limits", "weights_origin", "dim"}
    page = client.get("/v1/models", params={"limit": 2}, headers=operator).json()
    rest = client.get("/v1/models", params={"limit": 2, "cursor": page["next_cursor"]}, headers=operator).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == [refused.id, challenger.id, champion.id]


def test_a_model_names_who_would_have_to_enrol_again_and_is_not_promoted_unnoticed(
    client: TestClient, database: Database, admin: Headers, operator: Headers, champion: Model
) -> None:
    with database.write() as session:
        model = make_model(session=session, word="finetuned/1", kind="finetune")
        ada, bob = make_person(session=session), make_person(session=session, name="Bob", employee_code="B1")
        make_templates(session=session, person=ada, n=2, n_crops=1)
        (lonely,) = make_templates(session=session, person=bob, n=1)
    path = f"/v1/models/{model.id}"
    assert client.get(path, headers=operator).json()["readiness"] == {
        "n_templates": 3,
        "n_embedded": 0,
        "n_missing_with_crop": 1,
        "n_missing_without_crop": 2,
        "n_people_to_enrol_again": 1,
        "people_to_enrol_again": [{"id": bob.id, "employee_code": "B1", "name": "Bob", "n_templates": 1}],
    }
    refused = client.post(f"{path}/promote", headers=admin)
    assert (refusal(refused), refused.json()["n_people"]) == ("409 people_would_be_missing", 1)
    assert "Bob" not in refused.text
    accepted = client.post(f"{path}/promote", json={"accept_missing": True, "reason": "new cameras"}, headers=admin)
    assert payload(database, accepted.json()["job_id"]) == (
        "promote_model",
        {"model_id": model.id, "accept_missing": True, "reason": "new cameras"},
    )
    assert refusal(client.post(f"{path}/promote", json={"accept_missing": True}, headers=admin)) == (
        "409 promotion_running"
    )
    assert refusal(client.delete(path, headers=admin)) == "409 model_busy"
    assert "model.promotion_requested" in actions(client, admin)
    end_all(database)
    with database.write() as session:
        make_crop(session=session, template=lonely)
    assert client.post(f"{path}/promote", headers=admin).status_code == 202


def test_a_model_that_is_not_better_needs_a_reason_and_the_champion_no_promotion(
    client: TestClient, database: Database, admin: Headers, champion: Model
) -> None:
    with database.write() as session:
        model = make_model(session=session, status="refused", reason="no better than chance")
    path = f"/v1/models/{model.id}/promote"
    refused = client.post(path, headers=admin)
    assert refusal(refused) == "409 model_not_better" and "no better than chance" in refused.json()["detail"]
    wanted = {"even_if_not_better": True, "reason": "the vendor says so"}
    assert client.post(path, json=wanted, headers=admin).status_code == 202
    assert refusal(client.post(f"/v1/models/{champion.id}/promote", headers=admin)) == "409 model_is_champion"
    assert refusal(client.post("/v1/models/mdl_none/promote", headers=admin)) == "404 model_not_found"


def test_a_model_is_discarded_but_not_the_one_in_use(
    client: TestClient, admin: Headers, champion: Model, challenger: Model
) -> None:
    assert refusal(client.delete(f"/v1/models/{champion.id}", headers=admin)) == "409 model_is_champion"
    deleted = client.delete(f"/v1/models/{challenger.id}", headers=admin)
    assert (deleted.status_code, deleted.json()["model"]) == (200, CHALLENGER)
    assert refusal(client.get(f"/v1/models/{challenger.id}", headers=admin)) == "404 model_not_found"
    assert refusal(client.delete(f"/v1/models/{challenger.id}", headers=admin)) == "404 model_not_found"
    assert "model.discarded" in actions(client, admin)


def test_only_an_admin_may_change_models_and_a_camera_may_not_even_look(
    client: TestClient, admin: Headers, operator: Headers, camera: Headers, challenger: Model
) -> None:
    path = f"/v1/models/{challenger.id}"
    for post in ("/v1/retrain", "/v1/models", f"{path}/promote", f"{path}/rollback"):
        assert refusal(client.post(post, json={}, headers=operator)) == "403 scope_insufficient"
    assert refusal(client.delete(path, headers=operator)) == "403 scope_insufficient"
    for get in ("/v1/models", path, "/v1/retrain/job_1"):
        assert refusal(client.get(get, headers=camera)) == "403 scope_insufficient"
    assert client.get(path, headers=operator).status_code == 200


def test_what_is_neither_in_use_nor_kept_ready_cannot_be_rolled_back(
    client: TestClient, admin: Headers, challenger: Model
) -> None:
    refused = client.post(f"/v1/models/{challenger.id}/rollback", headers=admin)
    assert refusal(refused) == "409 model_not_standby"
    assert refusal(client.post("/v1/models/mdl_none/rollback", headers=admin)) == "404 model_not_found"

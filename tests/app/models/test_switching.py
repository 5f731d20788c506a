"""A model takes another one's place: nobody is kept waiting, no answer mixes the two, and going back is instant.

The challenger turns every embedding by a rotation: it decides exactly as the champion does, as long as pictures,
templates and threshold are all its own, and recognises nobody where they are mixed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import sleep

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.tables import GalleryState, OperatingPointRow, TemplateCrop, TemplateEmbedding
from app.inference.port import Inference
from app.main import create_app
from app.models import registry
from app.settings import Settings
from ml.backbones import load_backbone
from ml.backbones.cards import find_card
from tests.app import photos
from tests.app.models.deployment import Deployment, named
from tests.app.models.rotations import BASE
from tests.ml.backbones.test_onnx_file import make_network


def test_everybody_is_recognised_by_the_new_model_on_every_replica_under_the_same_ids(deployment: Deployment) -> None:
    enrolled = [deployment.enroll("G1", photos.grace), deployment.enroll("E1", photos.eileen)]
    before = deployment.identify(0, photos.grace(variant=5))
    model = deployment.add_rotation(seed=1)
    job = deployment.promote(model, reason="it is better")
    assert job["status"] == "done", job
    deployment.wait_until(lambda: all(app.state.gallery.model == model.word for app in deployment.apps))
    for replica in (0, 1):
        after = deployment.identify(replica, photos.grace(variant=5))
        assert (after["model"], named(after)) == (model.word, "G1")
        assert after["faces"][0]["score"] == pytest.approx(before["faces"][0]["score"], abs=1e-4)
    listed = deployment.clients[1].get("/v1/models", headers=deployment.admin).json()
    status = {item["model"]: (item["status"], item["is_standby"]) for item in listed["items"]}
    assert status == {model.word: ("champion", False), BASE: ("retired", True)}
    people = deployment.clients[1].get("/v1/people", headers=deployment.admin).json()["items"]
    assert {person["id"] for person in people} == {each["person"]["id"] for each in enrolled}
    with deployment.database.read() as session:
        point = session.scalars(select(OperatingPointRow).order_by(OperatingPointRow.created_at.desc())).first()
        assert point is not None and point.model == model.word
    audits = [deployment.apps[n].state.gallery.audit() for n in (0, 1)]
    assert all(report.is_clean for report in audits)


def test_going_back_takes_less_than_a_second_and_loses_nobody_who_was_enrolled_since(deployment: Deployment) -> None:
    deployment.enroll("G1", photos.grace)
    model = deployment.add_rotation(seed=2)
    deployment.promote(model)
    deployment.wait_until(lambda: all(app.state.gallery.standby_model == BASE for app in deployment.apps))
    deployment.enroll("E1", photos.eileen)
    standby = [app.state.gallery for app in deployment.apps]
    deployment.wait_until(lambda: not any(gallery.pending(BASE) for gallery in standby))
    answer = deployment.clients[0].post(f"/v1/models/{model.id}/rollback", json={}, headers=deployment.admin)
    assert (answer.status_code, answer.json()["model"]) == (200, BASE), answer.text
    assert deployment.wait_until(lambda: all(gallery.model == BASE for gallery in standby)) < 2.0
    for replica in (0, 1):
        said = [deployment.identify(replica, face(variant=5)) for face in (photos.grace, photos.eileen)]
        assert [(each["model"], named(each)) for each in said] == [(BASE, "G1"), (BASE, "E1")]
    again = deployment.clients[0].post(f"/v1/models/{model.id}/rollback", json={}, headers=deployment.admin)
    assert again.json()["model"] == model.word  # and forth: the other one is the standby now


def test_eight_callers_see_no_error_and_no_mixed_answer_during_switches(deployment: Deployment) -> None:
    deployment.enroll("G1", photos.grace)
    deployment.enroll("E1", photos.eileen)
    model = deployment.add_rotation(seed=3)
    picture, ended = photos.grace(variant=4), Event()
    score = deployment.identify(0, picture)["faces"][0]["score"]
    deployment.wait_until(lambda: all(app.state.gallery.version().n_people == 2 for app in deployment.apps))

    def call(number: int) -> list[tuple[str, str | None, float]]:
        seen = []
        while not ended.is_set():
            said = deployment.identify(number % 2, picture)
            seen.append((said["model"], named(said), said["faces"][0]["score"]))
        return seen

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(call, number) for number in range(8)]
        try:
            assert deployment.promote(model)["status"] == "done"
            for _ in range(3):
                sleep(1.0)
                answer = deployment.clients[0].post(
                    f"/v1/models/{model.id}/rollback", json={}, headers=deployment.admin
                )
                assert answer.status_code == 200, answer.text
            sleep(1.0)
        finally:
            ended.set()
        seen = [each for caller in callers for each in caller.result()]
    assert {word for word, _, _ in seen} == {BASE, model.word}
    assert {name for _, name, _ in seen} == {"G1"}
    assert all(found == pytest.approx(score, abs=1e-3) for _, _, found in seen)


def test_an_interrupted_promotion_changes_nothing_and_goes_on_where_it_was(deployment: Deployment) -> None:
    deployment.enroll("G1", photos.grace)
    model = deployment.add_rotation(seed=4)
    answer = deployment.clients[0].post(f"/v1/models/{model.id}/promote", json={}, headers=deployment.admin)
    stopping = Event()
    stopping.set()
    assert deployment.work(answer.json()["job_id"], stopping)["status"] == "queued"
    with deployment.database.read() as session:
        assert session.scalars(select(GalleryState.model)).one() == BASE
    assert named(deployment.identify(0, photos.grace(variant=3))) == "G1"
    assert deployment.work(answer.json()["job_id"])["status"] == "done"
    with deployment.database.read() as session:
        assert session.scalars(select(GalleryState.model)).one() == model.word
        n_embedded = len(session.scalars(select(TemplateEmbedding.template_id)).all())
    assert n_embedded == 3


def test_people_of_whom_nothing_was_kept_are_named_before_anything_is_touched(deployment: Deployment) -> None:
    deployment.enroll("G1", photos.grace)
    card = replace(find_card("dlib-resnet"), version="plain-copy")
    with deployment.database.write() as session:
        for crop in session.scalars(select(TemplateCrop)):
            session.delete(crop)
        other = registry.add(
            session,
            kind="backbone",
            backbone="dlib-resnet",
            card=card,
            status="challenger",
            reason="a test says so",
            report=None,
            job_id=None,
            by="test",
            weights=None,
            sealer=deployment.apps[0].state.sealer,
        )
    shown = deployment.clients[0].get(f"/v1/models/{other.id}", headers=deployment.admin).json()
    assert [each["employee_code"] for each in shown["readiness"]["people_to_enrol_again"]] == ["G1"]
    refused = deployment.clients[0].post(f"/v1/models/{other.id}/promote", json={}, headers=deployment.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "people_would_be_missing")


def test_a_process_that_starts_after_a_switch_serves_the_new_model(
    deployment: Deployment, settings: Settings, inferences: list[Inference]
) -> None:
    deployment.enroll("G1", photos.grace)
    model = deployment.add_rotation(seed=5)
    assert deployment.promote(model)["status"] == "done"
    late = inferences[2]
    late.serve(BASE)
    with TestClient(create_app(settings, late)) as client:
        files = {"image": ("p.jpg", photos.grace(variant=3), "image/jpeg")}
        said = client.post("/v1/identify", files=files, headers=deployment.admin).json()
        assert (said["model"], named(said)) == (model.word, "G1")


def test_another_network_embeds_the_crops_that_were_kept_and_replicas_without_its_file_hold_it_up(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.enroll("G1", photos.grace)
    file = make_network(tmp_path)
    backbone = f"onnx:{file}"
    card = load_backbone(backbone).card
    with deployment.database.write() as session:
        other = registry.add(
            session,
            kind="backbone",
            backbone=backbone,
            card=card,
            status="challenger",
            reason="a test says so",
            report=None,
            job_id=None,
            by="test",
            weights=None,
            sealer=deployment.apps[0].state.sealer,
        )
    away = file.rename(file.with_suffix(".away"))
    failed = deployment.promote(other)
    assert failed["status"] == "failed" and "there is no file" in failed["error"], failed
    assert named(deployment.identify(0, photos.grace(variant=4))) == "G1"
    away.rename(file)
    assert deployment.promote(other)["status"] == "done"
    deployment.wait_until(lambda: all(app.state.gallery.model == card.model for app in deployment.apps))
    said = deployment.identify(1, photos.grace(variant=4))
    assert said["model"] == card.model
    assert all(app.state.gallery.audit().is_clean for app in deployment.apps)
    assert deployment.apps[0].state.gallery.version().n_templates == 3
    model_id = deployment.clients[0].get("/v1/models", headers=deployment.admin).json()["champion_id"]
    back = deployment.clients[0].post(f"/v1/models/{model_id}/rollback", json={}, headers=deployment.admin)
    assert back.json()["model"] == BASE, back.text
    assert named(deployment.identify(0, photos.grace(variant=4))) == "G1"

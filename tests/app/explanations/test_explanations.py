"""Why an event was decided as it was: the real networks, real crops, on both databases."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import EventCrop, Template, TemplateCrop, TemplateEmbedding
from app.db.types import new_id, utc_now
from app.explanations import queries
from app.gallery.queries import decode_embeddings
from app.inference.batched import BatchedInference
from app.inference.port import Inference
from app.inference.remote import connect
from ml.alignment import align_face
from ml.image import decode_image
from tests.app import photos
from tests.app.crops.test_crops import record_grace
from tests.app.factories import make_embedding, make_person, make_template
from tests.app.inference.served import SharedRunner, make_settings, served
from tests.app.review.factories import make_decision, make_event, make_site, make_unknown

Headers = dict[str, str]


@pytest.fixture
def backend() -> str:
    return "sqlite"


def explain(client: TestClient, headers: Headers, event_id: str, ending: str = "") -> Any:
    return client.get(f"/v1/events/{event_id}/explain{ending}", headers=headers)


def refused(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def keep_unknown(
    *, session: Session, app: FastAPI, crop: bytes, candidates: list[tuple[str, float]], model: str = "dlib-resnet/1"
) -> str:
    make_site(session=session)
    seen_at = utc_now() - timedelta(hours=1)
    embedding = decode_embeddings([make_embedding()], 128)[0]
    sealer = app.state.sealer
    return make_unknown(
        session=session,
        sealer=sealer,
        embedding=embedding,
        seen_at=seen_at,
        crop=crop,
        candidates=candidates,
        model=model,
    )


def test_a_recognised_face_is_explained_by_its_closest_template(
    app: FastAPI, client: TestClient, operator: Headers, camera: Headers, database: Database, inference: Inference
) -> None:
    event_id = record_grace(client, operator, camera)
    answer = explain(client, operator, event_id)
    found = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (found["event_id"], found["model"], found["made_by"]) == (event_id, "dlib-resnet/1", "occlusion")
    assert found["person"]["employee_code"] == "G1"
    scores = scores_by_hand(app, database, inference, event_id)
    assert found["template_id"] == max(scores, key=lambda id_: scores[id_])
    assert found["score"] == pytest.approx(scores[found["template_id"]], abs=1e-3)
    heat = np.array(found["heat"])
    assert heat.shape == (7, 7) and found["n_across"] == 7
    assert heat[2:5, 2:5].mean() > 3 * abs(heat[[0, 0, -1, -1], [0, -1, 0, -1]]).max()
    assert client.get(found["template_crop_url"], headers=operator).headers["content-type"] == "image/jpeg"
    drawn = client.get(found["picture_url"], headers=operator)
    assert (drawn.headers["content-type"], drawn.headers["cache-control"]) == ("image/png", "no-store")
    kept = client.get(f"/v1/events/{event_id}/crop", headers=operator)
    assert Image.open(BytesIO(drawn.content)).size == Image.open(BytesIO(kept.content)).size


def scores_by_hand(app: FastAPI, database: Database, inference: Inference, event_id: str) -> dict[int, float]:
    """Cosines of the event's kept face with all templates."""
    with database.read() as session:
        crop = decode_image(app.state.sealer.open(session.get_one(EventCrop, event_id).sealed_crop))
        rows = session.execute(select(Template.id, Template.embedding)).all()
    face = inference.analyze([crop], 1).samples[0][0].face
    card = inference.card
    (probe,) = inference.embed_chips([align_face(crop, face, card.template_array, card.chip_size_px)])
    return {row.id: float(decode_embeddings([row.embedding], card.dim)[0] @ probe) for row in rows}


def test_an_unknown_face_is_explained_by_who_came_nearest_with_one_look_of_the_networks_that_is_noted_once(
    app: FastAPI, client: TestClient, operator: Headers, admin: Headers, database: Database, inference: Inference
) -> None:
    with database.write() as session:
        ada, ben = make_person(session=session, name="Ada"), make_person(session=session, name="Ben")
        template = make_template(session=session, person=ben)
        make_template(session=session, person=ada)
        near = [(ben.id, 0.4), (ada.id, 0.3)]
        event_id = keep_unknown(session=session, app=app, crop=photos.grace(variant=3), candidates=near)
        template_id = template.id
    app.state.inference = counting = Counting(inference)
    found = explain(client, operator, event_id).json()
    assert (found["person"]["name"], found["template_id"]) == ("Ben", template_id)
    assert found["template_crop_url"] is None
    assert -1 <= found["score"] <= 1
    assert counting.n_chips == 1 + 1 + 49
    assert explain(client, operator, event_id, ".png").status_code == 200
    assert counting.n_chips == 1 + 1 + 49 + 1, "the map is known"
    noted = client.get("/v1/audit?action=unknown.viewed", headers=admin).json()["items"]
    assert len(noted) == 1


class Counting:
    """The real networks; counts the chips that they embed."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self.n_chips = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inference, name)

    def embed_chips(self, chips: Any, model: str | None = None) -> Any:
        self.n_chips += len(chips)
        return self._inference.embed_chips(chips, model)


def test_an_event_that_is_not_there_is_not_found_and_cameras_may_not_ask(
    client: TestClient, operator: Headers, camera: Headers
) -> None:
    for ending in ("", ".png"):
        assert refused(explain(client, operator, "evt_none", ending)) == (404, "event_not_found")
        assert refused(explain(client, camera, "evt_none", ending)) == (403, "scope_insufficient")


def test_where_no_picture_is_kept_it_says_how_to_keep_one(
    client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        near = [(ada.id, 0.9)]
        decision = make_decision(session=session, at=utc_now(), outcome="identified", person_id=ada.id, candidates=near)
        event_id = make_event(session=session, decision=decision).id
    answer = explain(client, operator, event_id)
    assert refused(answer) == (404, "crop_gone")
    assert "ROLLCALL_CROP_RETENTION_DAYS" in answer.json()["detail"]


def test_a_picture_whose_time_is_over_is_gone(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        make_template(session=session, person=ada)
        decision = make_decision(session=session, at=utc_now(), outcome="identified", person_id=ada.id)
        event = make_event(session=session, decision=decision)
        crop = EventCrop(
            event_id=event.id,
            person_id=ada.id,
            expires_at=utc_now() - timedelta(seconds=1),
            sealed_crop=app.state.sealer.seal(photos.grace()),
        )
        session.add(crop)
        event_id = event.id
    assert refused(explain(client, operator, event_id)) == (404, "crop_gone")


def test_a_stranger_who_resembles_nobody_has_nobody_to_be_compared_with(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        alone = keep_unknown(session=session, app=app, crop=photos.grace(), candidates=[])
        ada = make_person(session=session)
        no_templates = keep_unknown(session=session, app=app, crop=photos.grace(), candidates=[(ada.id, 0.4)])
    for event_id in (alone, no_templates):
        assert refused(explain(client, operator, event_id)) == (409, "nobody_to_compare")


def test_what_another_model_decided_is_not_explained_by_this_one(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        ada, ben = make_person(session=session), make_person(session=session)
        make_template(session=session, person=ada)
        make_template(session=session, person=ben, model="other/1")
        near_ada, near_ben = [(ada.id, 0.4)], [(ben.id, 0.4)]
        # Its templates are by another model; they are by the same one, which is not loaded.
        by = {"session": session, "app": app, "crop": photos.grace(), "model": "other/1"}
        events = [keep_unknown(candidates=near_ada, **by), keep_unknown(candidates=near_ben, **by)]
    for event_id in events:
        assert refused(explain(client, operator, event_id)) == (409, "model_changed")


def test_one_face_at_a_time_is_explained(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        make_template(session=session, person=ada)
        event_id = keep_unknown(session=session, app=app, crop=photos.nobody(), candidates=[(ada.id, 0.4)])
    with app.state.explainer.turn():
        for ending in ("", ".png"):
            answer = explain(client, operator, event_id, ending)
            assert refused(answer) == (429, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
    for _ in range(2):  # its turn has come, and is given back although no face is found in the picture
        assert refused(explain(client, operator, event_id)) == (409, "face_not_found")


def test_networks_on_other_machines_cannot_explain(
    app: FastAPI, client: TestClient, operator: Headers, database: Database, inference: Inference
) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        make_template(session=session, person=ada)
        event_id = keep_unknown(session=session, app=app, crop=photos.grace(), candidates=[(ada.id, 0.4)])
    with served(SharedRunner(inference)) as workers:
        remote = BatchedInference(connect(make_settings(workers[0].url, inference_timeout_s=20.0), 0.0))
        app.state.inference = remote
        try:
            assert refused(explain(client, operator, event_id)) == (409, "explanation_unavailable")
        finally:
            app.state.inference = inference
            remote.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_template_is_compared_as_the_deciding_model_embeds_it(database: Database) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        old, new = (make_template(session=session, person=ada, model=model) for model in ("one/1", "two/1"))
        other = make_template(session=session, person=ada, model="three/1")
        session.add(TemplateEmbedding(model="two/1", template_id=old.id, embedding=b"made later"))
        session.add(TemplateEmbedding(model="four/1", template_id=other.id, embedding=b"of another"))
        session.add(TemplateCrop(template_id=new.id, landmarks=[], sealed_crop=b""))
        expected = [(old.id, b"made later", None), (new.id, new.embedding, new.id)]
        person_id = ada.id
    with database.read() as session:
        assert [tuple(row) for row in queries.embeddings(session, person_id, "two/1")] == expected
        assert [row.id for row in queries.embeddings(session, person_id, "one/1")] == [expected[0][0]]
        assert queries.embeddings(session, new_id("per"), "two/1") == []


def test_a_face_that_looked_like_somebody_who_was_erased_is_gone_with_them(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        ada = make_person(session=session)
        make_template(session=session, person=ada)
        event_id = keep_unknown(session=session, app=app, crop=photos.grace(), candidates=[(ada.id, 0.4)])
        person_id = ada.id
    assert client.delete(f"/v1/people/{person_id}", headers=operator).status_code == 200
    assert refused(explain(client, operator, event_id)) == (404, "crop_gone")

"""Identifying through REST with the real networks."""

import base64
from io import BytesIO

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from app.db.engine import Database
from app.operating_points.queries import complain, lock_state
from tests.app import photos
from tests.app.crowd import enrol_crowd
from tests.app.enrolment.test_enroll import enroll

Headers = dict[str, str]


@pytest.fixture
def backend() -> str:
    return "sqlite"


def identify(client: TestClient, headers: Headers, image: bytes, query: str = "") -> dict:  # type: ignore[type-arg]
    answer = client.post(f"/v1/identify{query}", files={"image": ("a.jpg", image)}, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_stranger_is_unknown_and_an_enrolled_person_is_named(
    client: TestClient, operator: Headers, camera: Headers
) -> None:
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    named = identify(client, camera, photos.grace(variant=4))
    stranger = identify(client, camera, photos.eileen())
    assert named["faces"][0]["outcome"] == "identified"
    assert named["faces"][0]["person"]["name"] == "Grace Hopper"
    assert named["faces"][0]["score"] >= named["operating_point"]["threshold"]
    assert stranger["faces"][0]["outcome"] == "unknown"
    assert stranger["faces"][0]["person"] is None
    assert stranger["faces"][0]["candidates"][0]["person"]["employee_code"] == "G1"
    assert named["model"] == "dlib-resnet/1"
    assert named["gallery"] == {"n_people": 1, "n_templates": 2, "revision": 1}
    assert named["image"] == {"width": 512, "height": 600}
    assert set(named["timing_ms"]) == {"decode", "queue", "detect", "embed", "search", "total"}


def test_two_people_in_one_picture_are_told_apart(client: TestClient, operator: Headers) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    enroll(client, operator, "E1", photos.eileen(), name="Eileen")
    faces = identify(client, operator, photos.two_people())["faces"]
    left_to_right = sorted(faces, key=lambda face: face["box_xyxy"][0])
    assert [face["person"]["employee_code"] for face in left_to_right] == ["G1", "E1"]
    assert all(len(face["landmarks"]) == 5 and face["margin"] > 0 for face in faces)


def test_one_person_is_never_given_to_two_faces(client: TestClient, operator: Headers) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    one = Image.open(BytesIO(photos.grace()))
    twice = Image.new("RGB", (one.width * 2, one.height))
    twice.paste(one, (0, 0))
    twice.paste(one.point(lambda value: int(value * 0.8)), (one.width, 0))
    outcomes = [face["outcome"] for face in identify(client, operator, photos.jpeg(twice))["faces"]]
    assert sorted(outcomes) == ["identified", "unknown"]


def test_a_picture_without_a_face_has_no_faces(client: TestClient, operator: Headers) -> None:
    assert identify(client, operator, photos.nobody())["faces"] == []


def test_an_empty_gallery_knows_nobody(client: TestClient, operator: Headers) -> None:
    face = identify(client, operator, photos.grace())["faces"][0]
    assert (face["outcome"], face["score"], face["margin"], face["candidates"]) == ("unknown", None, None, [])


def test_the_image_may_come_as_base64(client: TestClient, operator: Headers) -> None:
    body = {"image_base64": base64.b64encode(photos.grace()).decode()}
    answer = client.post("/v1/identify", json=body, headers=operator)
    assert len(answer.json()["faces"]) == 1


@pytest.mark.parametrize(
    "body", [{"image_base64": "%%%"}, {"image_base64": "é"}, {"image": "aGk="}, [], {"image_base64": 5}]
)
def test_json_that_holds_no_base64_image_is_refused(client: TestClient, operator: Headers, body: object) -> None:
    answer = client.post("/v1/identify", json=body, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed_and_boxes_are_of_the_upright_image(
    client: TestClient, operator: Headers, orientation: int
) -> None:
    image = Image.open(BytesIO(photos.grace()))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL transpositions that the orientation reverses
    stored = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    stored.save(buffer, "JPEG", quality=95, exif=exif)
    answer = identify(client, operator, buffer.getvalue())
    assert answer["image"] == {"width": 512, "height": 600}
    x1, y1, x2, y2 = answer["faces"][0]["box_xyxy"]
    assert 200 < (x1 + x2) / 2 < 320
    assert 160 < (y1 + y2) / 2 < 280


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 400, "image_empty"),
        (b"just text", 415, "image_type_unsupported"),
        (photos.grace()[:2000], 400, "image_truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(50), 400, "image_truncated"),
    ],
)
def test_bytes_that_are_no_image_are_refused(
    client: TestClient, operator: Headers, image: bytes, status: int, code: str
) -> None:
    answer = client.post("/v1/identify", files={"image": ("a.jpg", image)}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client: TestClient, operator: Headers) -> None:
    buffer = BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    answer = client.post("/v1/identify", files={"image": ("bomb.png", buffer.getvalue())}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (413, "image_too_large")


def test_the_number_of_candidates_and_faces_can_be_limited(client: TestClient, operator: Headers) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    enroll(client, operator, "E1", photos.eileen(), name="Eileen")
    answer = identify(client, operator, photos.two_people(), "?top_k=1&max_faces=1")
    assert len(answer["faces"]) == 1
    assert len(answer["faces"][0]["candidates"]) == 1
    assert answer["faces"][0]["margin"] is not None


def test_a_revision_that_is_not_reached_is_503(
    client: TestClient, operator: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.gallery.replica.WAIT_FOR_REVISION_S", 0.1)
    headers = {**operator, "X-Min-Gallery-Revision": "99"}
    answer = client.post("/v1/identify", files={"image": photos.grace()}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "gallery_behind")
    assert "Retry-After" in answer.headers


def test_compare_tells_one_person_from_two(client: TestClient, camera: Headers) -> None:
    def compare(a: bytes, b: bytes) -> dict:  # type: ignore[type-arg]
        return dict(client.post("/v1/compare", files={"a": a, "b": b}, headers=camera).json())

    assert compare(photos.grace(), photos.grace(variant=2))["same_person"] is True
    assert compare(photos.grace(), photos.eileen())["same_person"] is False
    missing = client.post("/v1/compare", files={"a": photos.grace(), "b": photos.nobody()}, headers=camera)
    assert (missing.status_code, missing.json()["code"]) == (422, "no_face")


def test_the_system_says_what_really_runs(app: FastAPI, client: TestClient, operator: Headers) -> None:
    system = client.get("/v1/system", headers=operator).json()
    assert system["device"] == "cpu"
    assert system["model"]["name"] == "dlib-resnet/1"
    assert system["model"]["detector"] == "mtcnn"
    assert system["database"] == "sqlite"


def test_how_many_candidates_are_shown_changes_no_decision(
    app: FastAPI, client: TestClient, database: Database, operator: Headers
) -> None:
    """Grace and whoever comes last among many were once confused, and now need a lead that she does not have."""
    grace = enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace").json()["person"]["id"]
    enrol_crowd(database=database, n_people=12)
    app.state.gallery.catch_up()
    ranked = identify(client, operator, photos.grace(variant=4), "?top_k=50")["faces"][0]["candidates"]
    assert ranked[0]["person"]["id"] == grace and len(ranked) == 13
    with database.write() as session:
        lock_state(session)
        complain(session, "evt_1", grace, ranked[9]["person"]["id"], margin=5.0)
    for top_k in (1, 3, 50):
        face = identify(client, operator, photos.grace(variant=4), f"?top_k={top_k}")["faces"][0]
        assert face["outcome"] == "unknown"
        assert len(face["candidates"]) == min(top_k, 13)

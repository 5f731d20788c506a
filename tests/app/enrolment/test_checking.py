"""Checking a picture before it is enrolled, with the real networks, on both databases."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import DecisionRow, Enrolment, Person, Template
from tests.app import photos

Headers = dict[str, str]


def check(client: TestClient, headers: Headers, photo: bytes) -> Any:
    return client.post("/v1/enroll/check", files={"image": photo}, headers=headers)


def test_a_good_picture_is_told_with_the_direction_that_an_enrolment_counts(
    client: TestClient, operator: Headers
) -> None:
    checked = check(client, operator, photos.grace()).json()
    assert (checked["good"], checked["reasons"], checked["faces"]) == (True, [], 1)
    face = checked["face"]
    assert (face["direction"], face["quality"]["reasons"]) == ("frontal", [])
    enrolled = client.post(
        "/v1/enroll",
        data={"employee_code": "G1", "name": "Grace", "consent": "true"},
        files={"files": photos.grace()},
        headers=operator,
    ).json()
    assert enrolled["coverage"][face["direction"]] == 1
    assert enrolled["templates"][0]["pose"] == face["pose"]
    assert enrolled["templates"][0]["quality"] == face["quality"]["score"]


def test_somebody_who_looks_down_is_told_so(client: TestClient, operator: Headers) -> None:
    assert check(client, operator, photos.eileen()).json()["face"]["direction"] == "down"


@pytest.mark.parametrize(
    ("photo", "reason"),
    [(photos.nobody(), "no_face"), (photos.two_people(), "several_people"), (photos.blurred(), "blurred")],
)
def test_a_picture_that_would_be_refused_is_told_why(
    client: TestClient, operator: Headers, photo: bytes, reason: str
) -> None:
    checked = check(client, operator, photo).json()
    assert not checked["good"]
    assert reason in checked["reasons"]
    assert (checked["face"] is None) == (checked["faces"] == 0) == (reason == "no_face")


def test_nothing_is_kept_of_what_is_checked(client: TestClient, operator: Headers, database: Database) -> None:
    check(client, operator, photos.grace())
    with database.read() as session:
        assert [session.query(table).count() for table in (Person, Enrolment, Template, DecisionRow)] == [0, 0, 0, 0]


def test_a_camera_may_not_check_and_a_file_that_is_no_picture_is_refused(
    client: TestClient, operator: Headers, camera: Headers
) -> None:
    assert check(client, camera, photos.grace()).json()["code"] == "scope_insufficient"
    assert check(client, operator, b"hello").json()["code"] == "image_type_unsupported"

"""Calls that take files say what to send when the body is of another type."""

import pytest
from starlette.testclient import TestClient

Headers = dict[str, str]

TAKES = {
    "/v1/identify": ("multipart/form-data", "`image`", "application/json"),
    "/v1/compare": ("multipart/form-data", "`a` and `b`"),
    "/v1/enroll": ("multipart/form-data", "employee_code", "`files`"),
    "/v1/people/import": ("text/csv", "multipart/form-data", "`file`"),
}


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/xml", "image/jpeg", "nonsense"])
@pytest.mark.parametrize("path", TAKES)
def test_another_type_is_refused_and_the_right_one_named(
    client: TestClient, operator: Headers, path: str, content_type: str | None
) -> None:
    headers = operator if content_type is None else {**operator, "Content-Type": content_type}
    answer = client.post(path, content=b"employee_code,name\nE1,Ada\n", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "type_unsupported")
    assert [word for word in (*TAKES[path], "Content-Type") if word not in answer.json()["detail"]] == []


@pytest.mark.parametrize("path", ["/v1/compare", "/v1/enroll", "/v1/people/import"])
def test_json_is_refused_where_it_cannot_be_read(client: TestClient, operator: Headers, path: str) -> None:
    answer = client.post(path, json={"image_base64": ""}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (415, "type_unsupported")


@pytest.mark.parametrize("path", TAKES)
def test_a_form_without_the_file_is_told_which_field_is_missing(
    client: TestClient, operator: Headers, path: str
) -> None:
    answer = client.post(path, files={"other": b"x"}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")


@pytest.mark.parametrize("path", ["/v1/identify", "/v1/compare", "/v1/enroll"])
def test_a_form_without_any_file_is_told_so_whatever_the_client_calls_it(
    client: TestClient, operator: Headers, path: str
) -> None:
    answer = client.post(path, data={"employee_code": "E1"}, headers=operator)
    assert answer.request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")


def test_the_type_is_read_in_any_case_and_with_parameters(client: TestClient, operator: Headers) -> None:
    for content_type in ("TEXT/CSV", "text/csv; charset=utf-8", "text/csv;header=present"):
        content = b"employee_code,name\nE1,Ada\n"
        answer = client.post("/v1/people/import", content=content, headers={**operator, "Content-Type": content_type})
        assert answer.status_code == 200, answer.text


def test_a_stranger_is_told_nothing_about_types(client: TestClient) -> None:
    assert client.post("/v1/identify", content=b"x").json()["code"] == "key_missing"

"""Hostile requests to a real server: each gets the documented refusal, and the service works on as before.

The tests share one server and run in their order: the last ones look at what all the others have left behind.
"""

import socket
from collections.abc import Callable, Iterator
from itertools import chain, product, repeat
from pathlib import Path
from time import sleep

import httpx
import pytest

from tests.app import photos
from tests.e2e import hostile
from tests.server import Server, enroll, identify, running_server

# What must never be in the log.
NAME = "Wilhelmina Unmistakable"
FILE_NAME = "holiday-on-sark.jpg"
UNKNOWN_KEY = "rck_" + "x" * 43
# Decoding a picture of 50 megapixels, which is allowed, takes more; nothing here should.
MEMORY_GROWTH_MB = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile")
    with running_server(folder / "data", ROLLCALL_BODY_TIMEOUT_S="1", ROLLCALL_WORKERS="0") as server:
        yield server


@pytest.fixture(scope="module")
def operator_key(server: Server) -> str:
    return server.new_key("operator")


@pytest.fixture(scope="module")
def camera_key(server: Server) -> str:
    return server.new_key("camera")


@pytest.fixture(scope="module")
def baseline_mb(server: Server, operator_key: str) -> float:
    """Peak memory once everything that is loaded or compiled lazily has been used."""
    with server.client(operator_key) as client:
        assert enroll(client, "G1", photos.grace(), photos.grace(variant=1), name=NAME).status_code == 201
        for photo in (photos.grace(), photos.two_people(), photos.nobody()):
            assert identify(client, photo).status_code == 200
    return server.peak_memory_mb()


@pytest.fixture(scope="module")
def client(server: Server, operator_key: str, baseline_mb: float) -> Iterator[httpx.Client]:
    with server.client(operator_key) as client:
        yield client


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert "Traceback" not in answer.text


UNREADABLE: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 400, "image_empty"),
    "text": (lambda: b"These are no pixels.", 415, "image_type_unsupported"),
    "html": (lambda: b"<script>alert(1)</script>" * 100, 415, "image_type_unsupported"),
    "truncated JPEG": (lambda: photos.grace()[:20_000], 400, "image_truncated"),
    "damaged PNG": (hostile.png_that_lies, 400, "image_invalid"),
    "pixel bomb": (hostile.pixel_bomb, 413, "image_too_large"),
    "more bytes than an image may have": (lambda: b"\xff\xd8\xff" + bytes(21_000_000), 413, "image_too_large"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_is_no_image_is_refused(client: httpx.Client, kind: str) -> None:
    make, status, code = UNREADABLE[kind]
    data = make()
    for path, field in (("/v1/identify", "image"), ("/v1/enroll", "files")):
        form = {"employee_code": "X1", "name": NAME, "consent": "true"}
        answer = client.post(path, data=form, files={field: (FILE_NAME, data, "image/jpeg")})
        assert_refused(answer, status, code)


def test_an_animated_gif_is_a_clip_and_no_photo(client: httpx.Client) -> None:
    assert_refused(identify(client, hostile.animated("GIF")), 415, "image_type_unsupported")


UNUSUAL: dict[str, Callable[[], bytes]] = {
    "CMYK": hostile.cmyk,
    "16-bit PNG": hostile.png_16_bit,
    "16-bit grey PNG": hostile.png_16_bit_grey,
    "animated WebP": lambda: hostile.animated("WEBP"),
    "APNG": lambda: hostile.animated("PNG"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_image_shows_the_same_person(client: httpx.Client, kind: str) -> None:
    answer = identify(client, UNUSUAL[kind]())
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"] == {"width": 512, "height": 600}
    assert answer.json()["faces"][0]["person"]["employee_code"] == "G1"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_shows_the_same_person(client: httpx.Client, orientation: int) -> None:
    answer = identify(client, hostile.oriented(orientation)).json()
    assert answer["image"] == {"width": 512, "height": 600}
    assert [face["person"]["employee_code"] for face in answer["faces"]] == ["G1"]


@pytest.mark.parametrize("make", [hostile.one_pixel, hostile.thread])
def test_an_image_too_small_for_a_face_has_none(client: httpx.Client, make: Callable[[], bytes]) -> None:
    answer = identify(client, make())
    assert answer.status_code == 200, answer.text
    assert answer.json()["faces"] == []


def test_a_damaged_jpeg_is_either_refused_or_looked_at(client: httpx.Client) -> None:
    answer = identify(client, hostile.broken_middle())
    if answer.status_code != 200:
        assert_refused(answer, 400, "image_invalid")


def test_a_path_in_a_file_name_stays_a_name(client: httpx.Client, server: Server) -> None:
    before = files_of(server.data_dir.parent)
    for name in (f"../../{FILE_NAME}", f"/etc/{FILE_NAME}", f"C:\\windows\\{FILE_NAME}", f"a\x00b/{FILE_NAME}", ".."):
        files = {"files": (name, photos.grace(variant=2), "image/jpeg")}
        answer = client.post("/v1/enroll", data={"employee_code": "G1"}, files=files)
        assert answer.status_code < 500, answer.text
        if answer.status_code == 201:
            shown = [t["source"]["file"] for t in answer.json()["templates"] + answer.json()["rejected"]]
            assert all("/" not in file and "\\" not in file for file in shown)
    assert files_of(server.data_dir.parent) == before


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


FORM = "multipart/form-data; boundary=b"
IMAGE_PART = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
MALFORMED: dict[str, tuple[str, bytes, str, int, str]] = {
    "no boundary": ("/v1/identify", b"x", "multipart/form-data", 400, "multipart_invalid"),
    "not multipart": ("/v1/identify", b"hello", FORM, 400, "multipart_invalid"),
    "no field name": ("/v1/identify", form(b"Content-Disposition: form-data\r\n\r\nx"), FORM, 400, "multipart_invalid"),
    "another boundary": ("/v1/identify", form(IMAGE_PART, boundary=b"c"), FORM, 400, "multipart_invalid"),
    "a text where the file should be": (
        "/v1/identify",
        form(b'Content-Disposition: form-data; name="image"\r\n\r\nx'),
        FORM,
        422,
        "fields_invalid",
    ),
    "enrol: not multipart": ("/v1/enroll", b"hello", FORM, 400, "multipart_invalid"),
    "enrol: no fields": ("/v1/enroll", form(), FORM, 422, "fields_invalid"),
    "text": ("/v1/identify", b"hello", "text/plain", 415, "type_unsupported"),
    "an image without a form": ("/v1/identify", photos.grace(), "image/jpeg", 415, "type_unsupported"),
    "no type": ("/v1/identify", b"hello", "", 415, "type_unsupported"),
    "broken JSON": ("/v1/identify", b'{"image_base64": ', "application/json", 422, "fields_invalid"),
    "deep JSON": ("/v1/identify", b"[" * 100_000, "application/json", 422, "fields_invalid"),
    "JSON that is not UTF-8": ("/v1/identify", b'{"image_base64": "\xff"}', "application/json", 422, "fields_invalid"),
    "enrol: JSON": ("/v1/enroll", b"{}", "application/json", 415, "type_unsupported"),
    "people: text": ("/v1/people", b"hello", "text/plain", 422, "fields_invalid"),
    "people: broken JSON": ("/v1/people", b"{", "application/json", 422, "fields_invalid"),
    "people: NUL": (
        "/v1/people",
        b'{"employee_code": "a\\u0000", "name": "b"}',
        "application/json",
        422,
        "fields_invalid",
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_body_that_cannot_be_read_is_refused(client: httpx.Client, kind: str) -> None:
    path, content, content_type, status, code = MALFORMED[kind]
    assert_refused(client.post(path, content=content, headers={"Content-Type": content_type}), status, code)


def test_a_form_with_far_too_much_in_it_is_refused(client: httpx.Client) -> None:
    fields = {"employee_code": "X1", "name": "n" * 30_000_000}
    assert_refused(client.post("/v1/enroll", data=fields, files={"files": b"x"}), 400, "multipart_invalid")
    assert_refused(client.post("/v1/identify", data=fields, files={"image": b"x"}), 413, "request_too_large")
    many = [("files", (FILE_NAME, b"x")) for _ in range(51)]
    assert_refused(client.post("/v1/enroll", data={"employee_code": "X1"}, files=many), 413, "too_many_files")
    assert_refused(client.post("/v1/enroll", files=many * 21), 400, "multipart_invalid")
    parts = {f"field{number}": "x" for number in range(1100)}
    assert_refused(client.post("/v1/enroll", data=parts, files={"files": b"x"}), 400, "multipart_invalid")


def test_a_body_without_a_length_is_counted_while_it_comes(client: httpx.Client) -> None:
    for path, start in (("/v1/identify", b"--b\r\n" + IMAGE_PART), ("/v1/people", b"{")):
        body = chain([start], repeat(bytes(1_000_000), 29))
        answer = client.post(path, content=body, headers={"Content-Type": FORM})
        assert_refused(answer, 413, "request_too_large")


def test_a_body_that_stops_coming_is_refused(server: Server, operator_key: str) -> None:
    head = f"POST /v1/identify HTTP/1.1\r\nHost: x\r\nX-API-Key: {operator_key}\r\nContent-Type: {FORM}\r\n"
    answer = exchange(server, f"{head}Content-Length: 1000\r\n\r\n".encode() + b"--b\r\n")
    assert b" 408 " in answer.splitlines()[0]
    assert b'"request_timeout"' in answer


def test_a_client_that_leaves_in_the_middle_is_no_failure(server: Server, operator_key: str) -> None:
    for path, kind in product(("/v1/enroll", "/v1/identify", "/v1/people"), (FORM, "application/json")):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {operator_key}\r\nContent-Type: {kind}\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + form(IMAGE_PART)[:40])
            sleep(0.02)  # until it is being read


def test_bytes_that_are_no_http_are_refused(server: Server) -> None:
    assert b" 400 " in exchange(server, b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n").splitlines()[0]


def exchange(server: Server, request: bytes) -> bytes:
    """Send bytes and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_nobody_gets_in_without_the_right_key(server: Server, camera_key: str, baseline_mb: float) -> None:
    with server.client() as stranger, server.client(UNKNOWN_KEY) as guesser, server.client(camera_key) as camera:
        for path, field in (("/v1/identify", "image"), ("/v1/enroll", "files")):
            files = {field: (FILE_NAME, photos.grace())}
            assert_refused(stranger.post(path, files=files), 401, "key_missing")
            assert_refused(guesser.post(path, files=files), 401, "key_unknown")
        assert identify(camera, photos.grace()).status_code == 200
        assert_refused(enroll(camera, "X1", photos.grace(), name=NAME), 403, "scope_insufficient")
        assert_refused(camera.get("/v1/people", params={"query": NAME}), 403, "scope_insufficient")
        assert_refused(camera.get("/v1/audit"), 403, "scope_insufficient")
        for value, code in (
            ("Bearer", "key_missing"),
            (f"Bearer {UNKNOWN_KEY}", "key_unknown"),
            ("Basic eA==", "key_missing"),
        ):
            assert_refused(stranger.get("/v1/people", headers={"Authorization": value}), 401, code)


def test_questions_that_make_no_sense_are_refused(client: httpx.Client) -> None:
    image = {"image": photos.grace()}
    for query in ("top_k=0", "top_k=many", "max_faces=1000000000", "max_faces=-1", f"top_k={'9' * 5000}"):
        assert_refused(client.post(f"/v1/identify?{query}", files=image), 422, "fields_invalid")
    behind = {"X-Min-Gallery-Revision": "-1"}
    assert_refused(client.post("/v1/identify", files=image, headers=behind), 422, "fields_invalid")
    assert_refused(client.get("/v1/people", params={"cursor": "nonsense"}), 422, "cursor_invalid")
    assert_refused(client.get("/v1/enrolments/" + "x" * 3000), 404, "enrolment_not_found")
    assert_refused(client.get("/v1/nowhere"), 404, "not_found")
    assert_refused(client.put("/v1/identify"), 405, "method_not_allowed")


def test_nothing_of_it_was_stored_and_the_service_works_as_before(client: httpx.Client) -> None:
    people = client.get("/v1/people").json()["items"]
    assert [person["employee_code"] for person in people] == ["G1"]
    answer = identify(client, photos.grace(variant=4)).json()
    assert answer["faces"][0]["person"]["name"] == NAME
    assert client.get("/health/ready").status_code == 200


def test_memory_stayed_bounded(client: httpx.Client, server: Server, baseline_mb: float) -> None:
    assert server.peak_memory_mb() - baseline_mb < MEMORY_GROWTH_MB


def test_the_log_has_every_request_and_nobody_in_it(
    server: Server, client: httpx.Client, operator_key: str, camera_key: str
) -> None:
    log = server.log
    assert "route=/v1/identify" in log
    for secret in (operator_key, camera_key, UNKNOWN_KEY, NAME, NAME.split()[1], FILE_NAME, "holiday", "data:image"):
        assert secret not in log
    assert len(server.printed_keys) == 1  # the admin's, once, at the first start
    assert "http.failed" not in log
    assert "Traceback" not in log
    assert "status=5" not in log

"""Many cameras at once while people are being enrolled and erased."""

import threading
from collections.abc import Iterator

import pytest

from tests.app import photos
from tests.server import Server, enroll, identify, running_server

N_CAMERAS = 8
N_ENROLMENTS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("concurrency") / "data") as server:
        yield server


def test_cameras_are_answered_while_people_come_and_go(server: Server) -> None:
    key, is_over = server.printed_keys[0], threading.Event()
    probes = [photos.grace(variant=4), photos.eileen(variant=2), photos.two_people(), photos.nobody()]
    statuses: list[int] = []

    def look(camera: int) -> None:
        with server.client(key) as client:
            last, n_seen = 0, 0
            while not is_over.is_set() or n_seen < 3:
                answer = identify(client, probes[(camera + n_seen) % len(probes)])
                statuses.append(answer.status_code)
                assert answer.status_code == 200, answer.text
                n_seen += 1
                assert answer.json()["gallery"]["revision"] >= last
                last = answer.json()["gallery"]["revision"]

    cameras = [threading.Thread(target=look, args=(camera,)) for camera in range(N_CAMERAS)]
    for camera in cameras:
        camera.start()
    try:
        with server.client(key) as client:
            kept = enroll(client, "KEPT", photos.grace(), name="Somebody")
            assert kept.status_code == 201, kept.text
            for number in range(N_ENROLMENTS):
                new = enroll(client, f"N{number}", photos.eileen(variant=number % 6), name="Somebody")
                assert new.status_code == 201, new.text
                assert client.delete(f"/v1/people/{new.json()['person']['id']}").status_code == 200
    finally:
        is_over.set()
        for camera in cameras:
            camera.join()
    assert len(statuses) >= 3 * N_CAMERAS
    with server.client(key) as client:
        end = identify(client, photos.grace()).json()
    assert end["gallery"] == {"n_people": 1, "n_templates": 1, "revision": 1 + 2 * N_ENROLMENTS}
    assert end["faces"][0]["person"]["employee_code"] == "KEPT"
    assert "http.failed" not in server.log

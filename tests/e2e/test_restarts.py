"""What a real server process keeps when it is stopped and started again."""

from collections.abc import Iterator

import pytest

from tests.app import photos
from tests.server import Server, enroll, identify, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("restarts") / "data", ROLLCALL_WORKERS="0") as server:
        yield server


def test_the_first_start_prints_a_key_that_may_do_everything(server: Server) -> None:
    assert len(server.printed_keys) == 1
    with server.client(server.printed_keys[0]) as client:
        assert client.get("/v1/audit").status_code == 200


def test_the_data_folder_is_closed_to_other_users(server: Server) -> None:
    assert server.data_dir.stat().st_mode & 0o077 == 0


def test_after_a_restart_people_are_still_found_and_no_key_is_printed(server: Server) -> None:
    with server.client(server.printed_keys[0]) as client:
        enrolled = enroll(client, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
        assert enrolled.status_code == 201, enrolled.text
        server.stop()
        server.start()
        found = identify(client, photos.grace(variant=4)).json()
        stranger = identify(client, photos.eileen()).json()
    assert found["faces"][0]["person"] == {
        name: enrolled.json()["person"][name] for name in ("id", "employee_code", "name")
    }
    assert found["gallery"] == {"n_people": 1, "n_templates": 2, "revision": 1}
    assert stranger["faces"][0]["outcome"] == "unknown"
    assert len(server.printed_keys) == 1

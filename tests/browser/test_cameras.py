"""Cameras in a real browser: add one, use its key, and see what it sees, through a real `rollcall camera`."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.app import clips
from tests.browser.conftest import WAIT_MS
from tests.server import ROLLCALL, Server, environment

KEY = re.compile(r"^rck_[\w-]{43}$")

pytestmark = pytest.mark.timeout(300)


@contextmanager
def camera_client(server: Server, key: str, film: Path, folder: Path) -> Iterator[None]:
    """A running client that plays a film as fast as it was filmed."""
    arguments = ["--server", server.url, "--spool", folder / "spool", "--source", film, "--realtime"]
    process = subprocess.Popen(
        [ROLLCALL, "camera", *arguments],
        env=environment(folder, ROLLCALL_API_KEY=key, OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def take_picture(page: Page) -> None:
    """Asks again while there is none: on a busy machine the client takes long to load its networks."""
    answer = page.locator("#test > .notice")
    for _ in range(5):
        page.get_by_role("button", name="Take a picture now").click()
        expect(page.locator("#test .waiting")).to_be_visible()
        expect(answer).to_be_visible(timeout=4 * WAIT_MS)
        if "no picture" not in answer.inner_text():
            return


def test_the_first_camera_is_added_its_key_is_shown_once_and_what_it_sees_is_shown(
    page: Page, service: Server, tmp_path: Path, assert_accessible: Callable[[Page], None]
) -> None:
    page.goto("/cameras")
    expect(page.get_by_role("heading", name="No camera yet")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Add the first camera").click()
    page.get_by_label("Name").fill("Front door")
    page.get_by_label("What passing it means").select_option("in")
    assert_accessible(page)
    page.get_by_role("button", name="Add", exact=True).click()
    key = page.get_by_label("Key", exact=True).inner_text()
    assert KEY.match(key)
    expect(page.get_by_label("Link", exact=True)).to_have_text(f"{service.url}/kiosk#key={key}")
    page.wait_for_function("() => document.querySelector('img.qr').naturalWidth > 100")
    assert_accessible(page)
    page.get_by_role("tab", name="Service").click()
    expect(page.get_by_label("Commands", exact=True)).to_contain_text(f"ROLLCALL_API_KEY={key}")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("heading", name="Front door")).to_be_visible()
    assert key not in page.content()

    film = clips.eileen(tmp_path / "eileen.mp4", n=1200)
    with camera_client(service, key, film, tmp_path):
        expect(page.get_by_text("Online")).to_be_visible(timeout=6 * WAIT_MS)
        take_picture(page)
        expect(page.get_by_text("One face was found.")).to_be_visible()
    expect(page.get_by_role("img", name="The picture that the camera has taken")).to_be_visible()
    expect(page.locator(".seen-box")).to_have_count(1)
    assert_accessible(page)
    page.goto("/cameras")
    expect(page.get_by_role("link", name="Front door")).to_be_visible()
    assert_accessible(page)


def test_a_camera_is_changed_given_a_new_key_and_deleted(
    page: Page, api: httpx.Client, service: Server, assert_accessible: Callable[[Page], None]
) -> None:
    camera = api.post("/v1/cameras", json={"name": "Back gate"}).json()
    page.goto(f"/cameras/{camera['id']}")
    expect(page.get_by_text("Never seen")).to_be_visible()
    page.get_by_label("Name").fill("Garden gate")
    page.get_by_label("Smallest face, in pixels").fill("60")
    page.get_by_label("Unknown faces").select_option("ignore")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    changed = api.get(f"/v1/cameras/{camera['id']}").json()
    assert changed["name"] == "Garden gate"
    assert changed["policy"] == {"min_face_px": 60, "min_quality": None, "unknown": "ignore", "liveness": "off"}

    page.get_by_role("button", name="New key").click()
    page.get_by_label("The key it has now counts").select_option("0")
    page.get_by_role("button", name="Make a new key").click()
    key = page.get_by_label("Key", exact=True).inner_text()
    page.get_by_role("button", name="Done").click()
    for given, status in ((camera["key"], 401), (key, 200)):
        with service.client(given) as client:
            assert client.post("/v1/cameras/heartbeat").status_code == status
    expect(page.get_by_text("Online")).to_be_visible(timeout=WAIT_MS)

    page.get_by_role("button", name="Delete").click()
    page.get_by_label("Type Garden gate to confirm").fill("Garden gate")
    assert_accessible(page)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/cameras")
    assert api.get(f"/v1/cameras/{camera['id']}").json()["deleted_at"] is not None
    page.goto(f"/cameras/{camera['id']}")
    expect(page.get_by_text("This camera was deleted.")).to_be_visible()


def test_a_camera_that_does_not_answer_is_told_of_in_words(page: Page, api: httpx.Client) -> None:
    camera = api.post("/v1/cameras", json={"name": "Roof"}).json()
    page.goto(f"/cameras/{camera['id']}")
    page.get_by_role("button", name="Take a picture now").click()
    expect(page.get_by_text("Asked the camera.")).to_be_visible()
    wanted = api.get(f"/v1/cameras/{camera['id']}/snapshot").json()["id"]
    form = {"trouble": (None, "no_picture")}
    headers = {"X-API-Key": camera["key"]}
    assert api.post(f"/v1/cameras/snapshots/{wanted}", files=form, headers=headers).status_code == 200
    expect(page.get_by_text("gets no picture from its camera")).to_be_visible(timeout=WAIT_MS)

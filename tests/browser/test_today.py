"""Today and the evidence of an event in a real browser: events appear by themselves, and wrong ones are put right."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.app import photos
from tests.server import Server

Check = Callable[[Page], None]


@pytest.fixture(scope="module")
def camera(api: httpx.Client, service: Server) -> Iterator[httpx.Client]:
    """A camera at the door, and two people whom it may see."""
    api.patch("/v1/sites/site_default", json={"unknown_days": 30, "repeat_window_s": 0})
    key = api.post("/v1/cameras", json={"name": "Front door"}).json()["key"]
    for code, name, face in (("G1", "Grace Hopper", photos.grace), ("E1", "Eileen Collins", photos.eileen)):
        files = [("files", (f"{n}.jpg", face(variant=n), "image/jpeg")) for n in range(2)]
        data = {"employee_code": code, "name": name, "consent": "true"}
        assert api.post("/v1/enroll", data=data, files=files).status_code == 201
    with service.client(key) as client:
        yield client


def capture(camera: httpx.Client, picture: bytes) -> dict[str, Any]:
    """The event of the one face that the camera sees."""
    answer = camera.post("/v1/captures", files={"image": picture})
    assert answer.status_code == 200, answer.text
    event: dict[str, Any] = answer.json()["events"][0]
    return event


def test_nothing_has_happened_yet(page: Page, assert_accessible: Check) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    expect(page.get_by_role("link", name="To the people")).to_be_visible()
    expect(page.locator("#live-state")).to_have_text("Live")
    assert_accessible(page)


def test_whoever_comes_appears_at_once_and_the_figures_follow(
    page: Page, camera: httpx.Client, assert_accessible: Check
) -> None:
    page.goto("/")
    expect(page.locator("#live-state")).to_have_text("Live")
    capture(camera, photos.grace(variant=2))
    row = page.locator(".sighting", has_text="Grace Hopper").first
    expect(row).to_be_visible()
    expect(row).to_contain_text("1 in ")
    expect(row).to_contain_text("Front door")
    expect(row.locator("img")).to_have_js_property("complete", True)
    expect(page.locator('[data-figure="n_came"]')).to_have_text("1")
    expect(page.locator("#live-said")).to_contain_text("Grace Hopper")
    assert_accessible(page)


def test_a_pause_holds_events_back_until_it_ends(page: Page, camera: httpx.Client) -> None:
    page.goto("/")
    expect(page.locator("#live-state")).to_have_text("Live")
    page.get_by_role("button", name="Pause").click()
    capture(camera, photos.eileen(variant=3))
    show = page.get_by_role("button", name="Show 1 new")
    expect(show).to_be_visible()
    expect(page.locator(".sighting", has_text="Eileen Collins")).to_have_count(0)
    show.click()
    expect(page.locator(".sighting", has_text="Eileen Collins")).to_have_count(1)


def test_a_filter_shows_one_kind_of_events_only(page: Page, camera: httpx.Client) -> None:
    page.goto("/")
    page.get_by_label("Outcome").select_option("unknown")
    page.wait_for_url("**/?**outcome=unknown**")
    expect(page.get_by_text("Nobody has been seen yet")).to_be_visible()
    expect(page.locator("#live-state")).to_have_text("Live")
    capture(camera, photos.grace(variant=4))
    expect(page.locator('[data-figure="n_came"]')).to_have_text("2")
    expect(page.locator(".sighting")).to_have_count(0)


def test_an_operator_says_that_it_was_somebody_else_and_the_event_is_corrected(
    page: Page, camera: httpx.Client, assert_accessible: Check
) -> None:
    event = capture(camera, photos.grace(variant=5))
    page.goto(f"/events/{event['id']}")
    expect(page.get_by_role("heading", name="Grace Hopper", level=1)).to_be_visible()
    expect(page.get_by_alt_text("The face that was seen", exact=True)).to_have_js_property("complete", True)
    assert_accessible(page)
    page.get_by_role("button", name="No, somebody else").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name="Person").fill("Eil")
    dialog.get_by_role("option", name="Eileen Collins").click()
    dialog.get_by_role("button", name="Say so").click()
    expect(page.get_by_role("heading", name="Eileen Collins", level=1)).to_be_visible()
    expect(page.get_by_text("This decision was wrong: it was Eileen Collins.")).to_be_visible()
    page.get_by_role("button", name="Yes, this is Grace Hopper").click()
    expect(page.get_by_role("heading", name="Grace Hopper", level=1)).to_be_visible()
    expect(page.get_by_text("This decision was right.")).to_be_visible()


def test_a_match_is_explained_by_a_picture_and_a_sentence(
    page: Page, camera: httpx.Client, assert_accessible: Check
) -> None:
    event = capture(camera, photos.grace())
    page.goto(f"/events/{event['id']}")
    explanation = page.get_by_role("group", name="Why did it match?")
    expect(explanation).to_be_hidden()
    page.get_by_role("button", name="Show which parts count").click()
    expect(explanation).to_be_visible()
    heat = explanation.get_by_alt_text("with colours over the parts that count")
    expect(heat).to_have_attribute("src", re.compile(r"^/v1/events/.+"))
    assert heat.evaluate("image => image.naturalWidth") > 0
    expect(explanation.get_by_alt_text("The template of Grace Hopper")).to_be_visible()
    sentence = re.compile(r"of Grace Hopper is 0\.\d{3}\. Of what spoke for it, \d+% lies in the upper part")
    expect(explanation.locator("[data-explain-words]")).to_have_text(sentence)
    assert_accessible(page)


def test_an_event_is_corrected_and_deleted_with_a_reason(page: Page, camera: httpx.Client) -> None:
    event = capture(camera, photos.eileen(variant=2))
    page.goto(f"/events/{event['id']}")
    page.get_by_role("button", name="Correct").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Direction").select_option("out")
    dialog.get_by_label("Delete it: it counts for nothing").check()
    dialog.get_by_label("Why").fill("a rehearsal")
    dialog.get_by_role("button", name="Correct").click()
    expect(page.get_by_text("“a rehearsal”")).to_be_visible()
    expect(page.locator(".lead").get_by_text("Deleted")).to_be_visible()


def test_the_feed_comes_back_by_itself_when_the_service_was_away(
    page: Page, service: Server, camera: httpx.Client
) -> None:
    page.goto("/")
    expect(page.locator("#live-state")).to_have_text("Live")
    service.stop()
    expect(page.locator("#live-state")).to_have_text("Connecting again")
    service.start()
    expect(page.locator("#live-state")).to_have_text("Live", timeout=40_000)
    capture(camera, photos.grace())
    expect(page.locator(".sighting").first).to_contain_text("Grace Hopper")
    failures: list[str] = page.failures  # type: ignore[attr-defined]
    failures.clear()

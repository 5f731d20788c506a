"""What people press counts, however late the page's modules come, and whatever is drawn anew under their finger."""

import httpx
from playwright.sync_api import Page, Route, expect

from tests.app import photos
from tests.server import enroll

HELD_MS = 1_500


def test_a_button_that_is_pressed_before_the_modules_are_there_is_not_unheard(page: Page) -> None:
    late: list[Route] = []
    page.route("**/assets/js/people.js", lambda route: late.append(route))
    with page.expect_request("**/assets/js/people.js"):
        page.goto("/people", wait_until="commit")
    page.get_by_role("button", name="Add a person").first.click()
    dialog = page.get_by_role("dialog", name="Add a person")
    expect(dialog).to_be_hidden()
    (route,) = late
    route.continue_()
    expect(dialog).to_be_visible()


def test_a_button_that_is_drawn_anew_while_it_is_held_down_is_pressed_all_the_same(
    page: Page, api: httpx.Client
) -> None:
    person_id = enroll(api, "P1", photos.grace(), name="Ada Byron").json()["person"]["id"]
    page.goto(f"/people/{person_id}")
    button = page.locator("#person-aside").get_by_role("button", name="Set", exact=True).first
    button.hover()
    page.mouse.down()
    reload = "import('/assets/js/parts.js').then(({ reloadParts }) => reloadParts('#person-aside'))"
    page.evaluate(f"void (window.reloaded = {reload})")
    page.wait_for_timeout(HELD_MS)
    page.mouse.up()
    expect(page.get_by_role("dialog", name="Set a PIN")).to_be_visible()
    page.evaluate("window.reloaded")


def test_a_press_that_is_never_told_to_end_stops_nothing(page: Page, api: httpx.Client) -> None:
    """As where the right button opens a menu."""
    assert api.post("/v1/people", json={"employee_code": "R1", "name": "Radia Perlman"}).status_code == 201
    page.goto("/people")
    page.get_by_role("heading", name="People").first.hover()
    page.mouse.down(button="right")
    page.get_by_role("searchbox").fill("nobody")
    expect(page.get_by_role("heading", name="Nobody matches")).to_be_visible()
    page.mouse.up(button="right")

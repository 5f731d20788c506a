"""Unknown faces in a browser: somebody says who they are, or that they do not matter."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.db.types import utc_now
from tests.app import photos

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module", autouse=True)
def site(api: httpx.Client) -> str:
    """The only site, which keeps unknown faces for a month."""
    site_id = str(api.get("/v1/sites").json()["items"][0]["id"])
    assert api.patch(f"/v1/sites/{site_id}", json={"unknown_days": 30}).status_code == 200
    return site_id


def capture(api: httpx.Client, *pictures: bytes) -> None:
    """Pictures as a camera sends them, some minutes apart."""
    now = utc_now() - timedelta(hours=1)
    for number, picture in enumerate(pictures):
        data = {"captured_at": (now + timedelta(minutes=5 * number)).isoformat()}
        answer = api.post("/v1/captures", files={"image": ("a.jpg", picture)}, data=data)
        assert answer.status_code == 200, answer.text


def test_a_stranger_is_named_by_keyboard_and_recognised_from_then_on(
    page: Page, api: httpx.Client, assert_accessible: Callable[[Page], None]
) -> None:
    capture(api, photos.grace(), photos.grace(variant=2), photos.grace(variant=4))
    page.goto("/unknown")
    card = page.locator(".cluster")
    expect(card).to_have_count(1)
    expect(card.get_by_role("heading")).to_have_text("Seen 3 times")
    expect(card.locator("img.face")).to_have_count(3)
    assert_accessible(page)
    page.keyboard.press("j")
    expect(card).to_be_focused()
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="Who is this?")
    dialog.get_by_label("Name").fill("Grace Hopper")
    dialog.get_by_label("Employee code").fill("E-1")
    dialog.get_by_label("Department").fill("Compilers")
    assert_accessible(page)
    dialog.get_by_role("button", name="Assign them").click()
    expect(dialog.get_by_role("alert")).to_contain_text("No consent is recorded")
    dialog.get_by_label("They agree").check()
    dialog.get_by_role("button", name="Assign them").click()
    expect(page.get_by_text("Nothing to decide")).to_be_visible()
    assert_accessible(page)
    page.goto("/unknown?status=assigned")
    expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()
    assert_accessible(page)
    (person,) = api.get("/v1/people", params={"query": "E-1"}).json()["items"]
    assert (person["department"], person["n_templates"] > 0) == ("Compilers", True)
    found = api.post("/v1/identify", files={"image": ("a.jpg", photos.grace(variant=1))}).json()["faces"][0]
    assert found["person"]["name"] == "Grace Hopper"
    page.failures.clear()  # type: ignore[attr-defined]  # the refusal that was asked for


def test_a_stranger_is_dismissed_and_opened_again_and_looked_at(
    page: Page, api: httpx.Client, assert_accessible: Callable[[Page], None]
) -> None:
    capture(api, photos.eileen(), photos.eileen(variant=2))
    page.goto("/unknown")
    page.get_by_role("button", name="Dismiss…").click()
    dialog = page.get_by_role("dialog", name="Dismiss these faces?")
    dialog.get_by_label("Why").fill("Visitor")
    dialog.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("Nothing to decide")).to_be_visible()

    page.goto("/unknown?status=dismissed")
    expect(page.get_by_text("“Visitor”")).to_be_visible()
    expect(page.get_by_text("Anna Nguyễn,")).to_be_visible()
    page.get_by_role("button", name="Open again").click()
    expect(page.get_by_text("Nothing was dismissed")).to_be_visible()

    page.goto("/unknown")
    page.get_by_role("link", name="Seen 2 times").click()
    expect(page.get_by_role("img", name="Face number 2")).to_be_visible()
    assert_accessible(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for path in ("/unknown", page.url):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path


def test_who_comes_too_late_is_told_and_who_chooses_an_enrolled_face_is_asked(page: Page, api: httpx.Client) -> None:
    page.goto("/unknown")
    (cluster,) = api.get("/v1/unknowns").json()["items"]
    other = api.post("/v1/people", json={"employee_code": "E-2", "name": "Eileen Collins"}).json()
    enrolled = {"employee_code": "E-3", "name": "Pamela Melroy", "consent": "true"}
    files = [("files", ("a.jpg", photos.eileen(variant=1)))]
    assert api.post("/v1/enroll", data=enrolled, files=files).status_code == 201

    page.get_by_role("button", name="Assign…").click()
    dialog = page.get_by_role("dialog", name="Who is this?")
    dialog.get_by_role("combobox", name="Person").fill("e-2")
    dialog.get_by_role("option", name="Eileen Collins").click()
    dialog.get_by_label("They agree").check()
    dialog.get_by_role("button", name="Assign them").click()
    expect(dialog.get_by_role("alert")).to_contain_text("already enrolled as Pamela Melroy")
    assert api.post(f"/v1/unknowns/{cluster['id']}/dismiss").status_code == 200
    body = {"person_id": other["id"], "enroll": False}
    assert api.post(f"/v1/unknowns/{cluster['id']}/assign", json=body).status_code == 200
    dialog.get_by_role("button", name="They are two people").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody else has just decided")
    expect(page.get_by_text("Nothing to decide")).to_be_visible()
    page.failures.clear()  # type: ignore[attr-defined]  # the two refusals


def test_where_no_site_keeps_faces_the_page_says_how_to_switch_it_on(
    page: Page, api: httpx.Client, site: str, assert_accessible: Callable[[Page], None]
) -> None:
    assert api.patch(f"/v1/sites/{site}", json={"unknown_days": 0}).status_code == 200
    page.goto("/unknown")
    expect(page.get_by_text("Unknown faces are kept at no site")).to_be_visible()
    expect(page.get_by_role("link", name="Switch it on for a site")).to_have_attribute("href", "/settings/sites")
    assert_accessible(page)

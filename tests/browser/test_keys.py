"""Keys, in a browser."""

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import sign_in
from tests.server import Server


def test_a_key_is_made_shown_once_and_revoked(
    page: Page, service: Server, api: httpx.Client, assert_accessible: Callable[[Page], None]
) -> None:
    api.post("/v1/cameras", json={"name": "Front door"}).raise_for_status()
    page.goto("/keys")
    expect(page.get_by_role("row").filter(has_text="Key of the camera")).to_be_visible()
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("What it is for").fill("Payroll")
    page.get_by_label("It ends").select_option(label="In 90 days")
    assert_accessible(page)
    page.get_by_role("button", name="Make the key").click()
    secret = page.get_by_role("dialog").get_by_text(re.compile(r"^rck_[\w-]{43}$")).inner_text()
    assert_accessible(page)
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("The key for Payroll is ready.")).to_be_visible()
    assert secret not in page.content()
    headers = {"X-API-Key": secret}
    assert httpx.get(f"{service.url}/v1/people", headers=headers, trust_env=False).status_code == 200

    page.get_by_role("button", name="Revoke Payroll").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("The key Payroll is revoked.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Payroll")).to_have_count(0)
    assert httpx.get(f"{service.url}/v1/people", headers=headers, trust_env=False).status_code == 401
    page.get_by_role("link", name="All, also ended").click()
    expect(page.get_by_role("row").filter(has_text="Payroll").get_by_text("Revoked")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("link", name="History of Payroll").click()
    expect(page.get_by_role("cell", name="key.revoked")).to_be_visible()


def test_a_key_whose_answer_was_lost_is_made_once(page: Page, api: httpx.Client) -> None:
    page.route("**/v1/keys", lost, times=1)
    page.goto("/keys")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("What it is for").fill("Doors")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("The service does not answer")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("The key for Doors was made, but lost on its way here.")).to_be_visible()
    assert [key["name"] for key in api.get("/v1/keys").json()["items"]].count("Doors") == 1
    assert all("ERR_FAILED" in each for each in page.failures)  # type: ignore[attr-defined]
    page.failures.clear()  # type: ignore[attr-defined]


def test_whoever_is_signed_out_signs_in_beside_the_page_and_goes_on(page: Page, service: Server) -> None:
    page.goto("/keys")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("What it is for").fill("Lift")
    page.context.clear_cookies()
    page.get_by_role("button", name="Make the key").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("You are signed out.")).to_be_visible()
    with page.context.expect_page() as opened:
        dialog.get_by_role("link", name="Sign in").click()
    opened.value.close()
    sign_in(page.context, service)
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("dialog", name="Key for Lift")).to_be_visible()
    assert all("401" in each for each in page.failures)  # type: ignore[attr-defined]
    page.failures.clear()  # type: ignore[attr-defined]


def lost(route: Route) -> None:
    """The service does what is asked, and nobody hears of it."""
    route.fetch()
    route.abort()

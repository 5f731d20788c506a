"""Users and one's own account, in a browser."""

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, sign_in
from tests.server import Server


def test_a_user_is_added_changed_given_a_password_and_disabled(
    page: Page, service: Server, browser: Browser, assert_accessible: Callable[[Page], None]
) -> None:
    page.goto("/users")
    expect(page.get_by_text("You are the only administrator.")).to_be_visible()
    page.get_by_role("button", name="Add a user").click()
    dialog = page.get_by_role("dialog", name="Add a user")
    dialog.get_by_label("Name", exact=True).fill("Ben Okafor")
    dialog.get_by_label("User name").fill("Ben")
    dialog.get_by_role("button", name="Make one").click()
    assert_accessible(page)
    dialog.get_by_role("button", name="Add", exact=True).click()
    secrets = page.get_by_role("dialog", name="What to hand over")
    expect(secrets.get_by_text(service.url)).to_be_visible()
    password = secrets.get_by_text(re.compile(r"^\w{5}(-\w{5}){3}$")).inner_text()
    assert_accessible(page)
    secrets.get_by_role("button", name="Done").click()
    expect(page.get_by_text("Ben Okafor can sign in now.")).to_be_visible()
    form = {"username": "ben", "password": password}
    assert httpx.post(f"{service.url}/login", data=form, trust_env=False).status_code == 303

    page.get_by_role("button", name="Edit Ben Okafor").click()
    page.get_by_role("radio", name="Administrator").check()
    page.get_by_role("button", name="Save").click()
    ben = page.get_by_role("row").filter(has_text="Ben Okafor")
    expect(ben.get_by_text("Administrator")).to_be_visible()
    expect(page.get_by_text("You are the only administrator.")).to_have_count(0)

    page.get_by_role("button", name="New password for Ben Okafor").click()
    page.get_by_role("dialog").get_by_label("Password", exact=True).fill("short")
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("dialog")).to_be_visible()  # the browser itself says what is missing
    page.get_by_role("dialog").get_by_label("Password", exact=True).fill("another long sentence")
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_text("The new password counts from now on.")).to_be_visible()

    page.get_by_role("button", name="Disable Ben Okafor").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(ben.get_by_text("Disabled")).to_be_visible()
    assert_accessible(page)
    form = {"username": "ben", "password": "another long sentence"}
    assert httpx.post(f"{service.url}/login", data=form, trust_env=False).status_code == 401


def test_one_changes_ones_password_and_signs_the_other_browsers_out(
    page: Page, service: Server, browser: Browser, assert_accessible: Callable[[Page], None]
) -> None:
    elsewhere = browser.new_context(base_url=service.url)
    sign_in(elsewhere, service)
    page.goto("/users")
    page.get_by_role("link", name="Anna Nguyễn").click()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    page.wait_for_load_state("networkidle")  # so that the button has its module
    expect(page.get_by_text("Another browser").first).to_be_visible()
    page.get_by_role("button", name="Sign out everywhere else").click()
    expect(page.get_by_text("Another browser")).to_have_count(0)
    assert elsewhere.request.get("/v1/users/me").status == 401
    elsewhere.close()

    page.get_by_label("Current password").fill("wrong")
    page.get_by_label("New password", exact=True).fill("a new long sentence")
    page.get_by_label("New password, once more").fill("a new long sentence")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert").filter(has_text="The current password is wrong.")).to_be_visible()
    assert_accessible(page)
    page.failures.clear()  # type: ignore[attr-defined]  # Chromium writes every 403 to the console
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_label("Current password")).to_have_value("")
    form = {"username": "anna", "password": "a new long sentence"}
    assert httpx.post(f"{service.url}/login", data=form, trust_env=False).status_code == 303

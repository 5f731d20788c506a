"""Signing in and out, in a browser."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD


def test_who_signs_in_gets_where_they_wanted_to_and_out_again(
    stranger: Page, assert_accessible: Callable[[Page], None]
) -> None:
    stranger.goto("/audit")
    assert_accessible(stranger)
    stranger.get_by_label("User name").fill("Anna")
    stranger.get_by_label("Password").fill(PASSWORD)
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("heading", name="Audit")).to_be_visible()
    expect(stranger.get_by_role("cell", name="user.signed_in").first).to_be_visible()
    assert_accessible(stranger)
    stranger.get_by_role("button", name="Sign out").click()
    stranger.goto("/audit")
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()


def test_too_many_wrong_passwords_are_told_with_how_long_to_wait(
    stranger: Page, assert_accessible: Callable[[Page], None]
) -> None:
    stranger.goto("/login")
    for _ in range(6):
        stranger.get_by_label("User name").fill("nobody")
        stranger.get_by_label("Password").fill("not it")
        with stranger.expect_navigation():
            stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("alert")).to_contain_text("It is open again in 5 minutes.")
    assert_accessible(stranger)
    stranger.failures.clear()  # type: ignore[attr-defined]  # Chromium writes every 401 to the console


def test_the_reference_works_under_its_policy(page: Page) -> None:
    page.goto("/docs")
    expect(page.get_by_role("heading", name="Rollcall")).to_be_visible()
    expect(page.get_by_text("/v1/users/me/password")).to_be_visible()

"""Settings in a browser: sites, holidays, shifts and webhooks are made where an administrator looks for them."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest
from playwright.sync_api import Page, expect

Accessible = Callable[[Page], None]


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    """The address of somebody who takes every message."""
    with HTTPServer(("127.0.0.1", 0), _Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hooks"
        server.shutdown()


def test_a_site_and_a_year_of_holidays_are_added_and_a_bad_line_says_what_is_wrong(
    page: Page, assert_accessible: Accessible
) -> None:
    page.goto("/settings/sites?year=2026")
    expect(page.get_by_text("No holidays in 2026")).to_be_visible()
    page.get_by_role("button", name="Add a site").click()
    page.get_by_label("Name").fill("Hà Nội")
    page.get_by_label("Time zone").fill("Asia/Nowhere")
    page.get_by_label("Keep unknown faces").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("IANA time zone")
    page.failures.clear()  # type: ignore[attr-defined]  # the browser notes the 422
    assert_accessible(page)
    page.get_by_label("Time zone").fill("Asia/Ho_Chi_Minh")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The site was added.")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Hà Nội")).to_contain_text("kept for 5 days")

    page.get_by_role("button", name="Add holidays").first.click()
    page.get_by_label("Days, one in a line").fill("2026-12-25 Christmas\n26.12.2026 Boxing Day\n2026/5/1\tLabour Day")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("These lines were not taken")).to_be_visible()
    expect(page.get_by_label("Days, one in a line")).to_have_value("26.12.2026 Boxing Day")
    page.get_by_label("Days, one in a line").fill("2026-12-26 Boxing Day")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Boxing Day")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Labour Day")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Delete Boxing Day").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The holiday was deleted.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Boxing Day")).to_have_count(0)


def test_a_night_shift_is_added_people_are_put_on_it_and_taken_off(
    page: Page, api: httpx.Client, assert_accessible: Accessible
) -> None:
    for code, name in (("N1", "Ada Byron"), ("N2", "Grace Hopper")):
        assert api.post("/v1/people", json={"employee_code": code, "name": name}).status_code == 201
    page.goto("/settings/shifts")
    page.get_by_role("button", name="Add a shift").first.click()
    page.get_by_label("Name").fill("Night watch")
    page.get_by_label("Starts").fill("22:00")
    page.get_by_label("Ends").fill("06:00")
    page.get_by_role("button", name="Add a break").click()
    page.get_by_label("Break from").fill("01:00")
    page.get_by_label("Break to").fill("01:30")
    preview = page.get_by_role("img", name="From 22:00 to 06:00, 8:00 hours")
    expect(preview).to_be_visible()
    assert preview.locator(".shift-work").count() == 2  # before and after midnight
    assert_accessible(page)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="Night watch")).to_be_visible()

    page.get_by_role("button", name="Assign people").first.click()
    for name in ("Ada", "Grace"):
        page.get_by_role("combobox", name="Find people").fill(name)
        expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
        page.get_by_role("listbox").get_by_role("option").filter(has_text=name).click()
    expect(page.get_by_role("list", name="Chosen people").get_by_role("listitem")).to_have_count(2)
    page.get_by_role("button", name="Leave out Grace Hopper").click()
    assert_accessible(page)
    page.get_by_role("button", name="Assign", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Ada Byron")).to_contain_text("Usual shift")

    page.get_by_role("button", name="Assign people").first.click()
    page.get_by_role("combobox", name="Find people").fill("Grace")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    page.get_by_role("listbox").get_by_role("option").filter(has_text="Grace").click()
    page.get_by_label("Only on some days").check()
    page.get_by_label("First day").fill("2031-03-03")
    page.get_by_label("Last day").fill("2031-03-07")
    page.get_by_role("button", name="Assign", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Grace Hopper")).to_contain_text("Mar 3, 2031")
    assert_accessible(page)

    page.get_by_role("button", name="Retire").click()
    page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    expect(page.get_by_role("alert")).to_contain_text("2 people work this shift")
    page.failures.clear()  # type: ignore[attr-defined]  # the browser notes the 409
    for name in ("Ada Byron", "Grace Hopper"):
        page.get_by_role("button", name=f"Take off: {name}").click()
        page.get_by_role("dialog").get_by_role("button", name="Take off").click()
        expect(page.get_by_text(f"{name} is off this shift.")).to_be_visible()
    expect(page.get_by_text("Nobody works this shift")).to_be_visible()


def test_a_webhook_is_added_tested_given_a_new_secret_and_deleted(
    page: Page, receiver: str, assert_accessible: Accessible
) -> None:
    page.goto("/settings/webhooks")
    page.get_by_role("button", name="Add a webhook").first.click()
    page.get_by_label("Address").fill(receiver)
    page.get_by_label("A day was worked out").uncheck()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("dialog .secret code")).to_contain_text("whsec_")
    first = page.locator("dialog .secret code").inner_text()
    assert_accessible(page)
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
    assert first not in page.content()

    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("The test arrived: answer 204")).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Address").fill("http://127.0.0.1:9/hooks")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The webhook was changed.")).to_be_visible()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("No connection. Check the name")).to_be_visible()

    page.get_by_role("button", name="Make a new secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Make a new secret").click()
    expect(page.locator("dialog .secret code")).not_to_have_text(first)
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Switch it off").click()
    expect(page.get_by_text("This webhook is switched off")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No webhooks yet")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_overview_fits_the_screen_and_can_be_used_by_everybody(
    page: Page, assert_accessible: Accessible, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("/settings")
    page.get_by_text("Limits", exact=True).click()
    expect(page.get_by_text("ROLLCALL_MAX_VIDEO_BYTES")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert_accessible(page)

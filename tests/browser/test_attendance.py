"""Timesheets in a browser: the grid, a day that is corrected and approved, and the files to take along."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from app.db.types import utc_now

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def day() -> date:
    """One that is over everywhere."""
    return utc_now().date() - timedelta(days=5)


@pytest.fixture
def ada(api: httpx.Client, day: date) -> Iterator[dict[str, str]]:
    """Somebody who works from eight to five every day, and once came half an hour late and did not check out."""
    shift = {"name": "Day", "starts": "08:00", "ends": "17:00", "days": list(range(7))}
    shift_id = api.post("/v1/shifts", json=shift).json()["id"]
    person = {"employee_code": f"E-{shift_id[-4:]}", "name": "Ada Byron", "department": "Engines", "shift_id": shift_id}
    made = api.post("/v1/people", json=person).json()
    write_event(api, made["id"], day, "08:30")
    yield made
    assert api.delete(f"/v1/people/{made['id']}").status_code == 200


def write_event(api: httpx.Client, person_id: str, day: date, wall: str) -> None:
    at = datetime.combine(day, time.fromisoformat(wall), UTC)
    body = {"person_id": person_id, "occurred_at": at.isoformat(), "reason": "made for a test"}
    assert api.post("/v1/events", json=body).status_code == 201


def month_url(day: date, **query: str) -> str:
    return str(httpx.URL("/attendance", params={"month": f"{day:%Y-%m}", **query}))


def cell_of(page: Page, person_id: str, day: date) -> Locator:
    return page.locator(f'a.cell[href="/attendance/{person_id}/{day}"]')


def test_a_day_is_corrected_and_completed_and_the_grid_and_the_audit_log_tell(
    page: Page, ada: dict[str, str], day: date, assert_accessible: Callable[[Page], None]
) -> None:
    page.goto(month_url(day))
    cell = cell_of(page, ada["id"], day)
    expect(cell).to_contain_text("Check-out missing")
    assert_accessible(page)
    cell.click()
    expect(page.get_by_text("Came 08:30 (30 min late), no check-out")).to_be_visible()
    expect(page.get_by_role("img", name="The day along the clock")).to_be_visible()
    assert_accessible(page)

    page.get_by_role("button", name="Correct 08:30").click()
    dialog = page.get_by_role("dialog", name="Correct the event")
    expect(dialog.get_by_label("Time in UTC")).to_have_value(f"{day}T08:30")
    dialog.get_by_role("button", name="Correct").click()
    expect(dialog).to_be_visible()  # a reason is needed
    dialog.get_by_label("Why").fill("The gate's clock was wrong")
    dialog.get_by_role("button", name="Correct").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing is different yet")
    dialog.get_by_label("Time in UTC").fill(f"{day}T07:58:00")
    dialog.get_by_role("button", name="Correct").click()
    expect(page.locator("#toasts")).to_contain_text("The event was corrected")
    expect(page.get_by_text("“The gate's clock was wrong”")).to_be_visible()
    expect(page.locator(".history del", has_text="08:30")).to_be_visible()
    assert_accessible(page)

    page.get_by_role("button", name="Add an event").first.click()
    dialog = page.get_by_role("dialog", name="Add an event")
    dialog.get_by_label("Time in UTC").fill(f"{day}T17:05:00")
    dialog.get_by_label("Direction").select_option("out")
    dialog.get_by_label("Why").fill("Forgot to check out")
    assert_accessible(page)
    dialog.get_by_role("button", name="Add the event").click()
    expect(page.get_by_text("Came 07:58, left 17:05")).to_be_visible()
    expect(page.get_by_text("written by hand").first).to_be_visible()

    page.goto(month_url(day))
    expect(cell_of(page, ada["id"], day)).to_contain_text("Present, 9:07 worked")
    page.goto("/audit?action=event.corrected")
    expect(page.get_by_role("cell", name="Anna Nguyễn").first).to_be_visible()


def test_a_day_is_approved_and_says_so_when_it_has_changed_since(
    page: Page, api: httpx.Client, ada: dict[str, str], day: date
) -> None:
    write_event(api, ada["id"], day, "17:00")
    page.goto(f"/attendance/{ada['id']}/{day}")
    page.get_by_label("Note (optional)").fill("Checked with the gate")
    page.get_by_role("button", name="Approve this day").click()
    expect(page.get_by_text("Approved as it is now.")).to_be_visible()
    expect(page.get_by_text("“Checked with the gate”")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)

    page.get_by_role("button", name="Delete 17:00").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("That was somebody else")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The day has changed since it was approved.")).to_be_visible()
    page.goto(month_url(day))
    expect(cell_of(page, ada["id"], day)).to_contain_text("changed after it was approved")
    page.goto(f"/attendance/{ada['id']}/{day}")
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("dialog").get_by_label("Why").fill("It was her after all")
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    expect(page.get_by_text("The event was restored")).to_be_visible()
    page.get_by_role("button", name="Approve again").click()
    expect(page.get_by_text("Approved as it is now.")).to_be_visible()


def test_an_event_is_given_to_whom_it_was(page: Page, api: httpx.Client, ada: dict[str, str], day: date) -> None:
    grace = api.post("/v1/people", json={"employee_code": "E-GRACE", "name": "Grace Hopper"}).json()
    page.goto(f"/attendance/{ada['id']}/{day}")
    page.get_by_role("button", name="Correct 08:30").click()
    dialog = page.get_by_role("dialog", name="Correct the event")
    person = dialog.get_by_role("combobox", name="Person")
    person.fill("hopp")
    expect(dialog.get_by_role("option", name="Grace Hopper")).to_have_attribute("aria-selected", "true")
    person.press("Enter")
    expect(person).to_have_value("Grace Hopper (E-GRACE)")
    dialog.get_by_label("Why").fill("It was Grace")
    dialog.get_by_role("button", name="Correct").click()
    expect(page.locator("#toasts")).to_contain_text("The event is Grace Hopper's now.")
    expect(page.get_by_text("Nobody was seen").first).to_be_visible()
    page.goto(f"/attendance/{grace['id']}/{day}")
    expect(page.locator(".history")).to_contain_text("Ada Byron → Grace Hopper")


def test_the_keyboard_walks_the_grid_and_opens_a_day(page: Page, ada: dict[str, str], day: date) -> None:
    page.goto(month_url(day, query="Ada"))
    grid = page.get_by_role("grid")
    expect(grid.locator('a.cell[tabindex="0"]')).to_have_count(1)
    grid.locator('a.cell[tabindex="0"]').focus()
    page.keyboard.press("Home")
    for _ in range(day.day - 1):
        page.keyboard.press("ArrowRight")
    expect(cell_of(page, ada["id"], day)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    expect(grid.locator('a.cell[tabindex="0"]')).to_have_count(1)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/attendance/{ada['id']}/{day:%Y-%m}-01")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Ada Byron")


@pytest.mark.parametrize(("name", "suffix"), [("CSV", "csv"), ("Excel", "xlsx"), ("Odoo", "csv")])
def test_what_is_shown_is_taken_along_as_a_file(
    page: Page, api: httpx.Client, ada: dict[str, str], day: date, name: str, suffix: str
) -> None:
    other = api.post("/v1/people", json={"employee_code": f"E-{suffix}-{name}", "name": "Somebody Else"}).json()
    for person_id, wall in ((ada["id"], "17:00"), (other["id"], "09:00"), (other["id"], "12:00")):
        write_event(api, person_id, day, wall)
    page.goto(month_url(day, department="Engines"))
    expect(page.get_by_text("of everybody in “Engines”")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    assert download.value.suggested_filename.endswith(f"{day.replace(day=1)}_{_last(day)}.{suffix}")
    content = download.value.path().read_bytes()
    if suffix == "csv":
        assert b"Ada Byron" in content and b"Somebody Else" not in content
    else:
        assert content.startswith(b"PK")
    assert api.delete(f"/v1/people/{other['id']}").status_code == 200


def test_on_a_phone_the_month_is_a_calendar_and_one_persons_a_list(
    page: Page, ada: dict[str, str], day: date, assert_accessible: Callable[[Page], None]
) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for url in (month_url(day), month_url(day, person_id=ada["id"]), f"/attendance/{ada['id']}/{day}"):
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), url
        assert_accessible(page)
    page.goto(month_url(day, person_id=ada["id"]))
    listed = page.get_by_role("region", name="Day by day")
    expect(listed.get_by_text("Check-out missing")).to_be_visible()
    expect(listed.get_by_text("08:30", exact=True)).to_be_visible()


def _last(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)

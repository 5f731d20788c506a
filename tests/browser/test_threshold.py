"""The threshold in a browser: tried with the mouse and the keyboard, previewed, applied, restored."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.db.engine import Database, open_database
from app.decisions.log import Circumstances, DecisionLog
from app.settings import Settings
from tests.app.crowd import enrol_crowd
from tests.app.decisions.test_decisions import MODEL, decided
from tests.server import Server

Accessible = Callable[[Page], None]
SCORES = [0.42 + number / 200 for number in range(24)]


@pytest.fixture(scope="module", autouse=True)
def crowd(service: Server, api: httpx.Client) -> None:
    """Twelve people, and faces of late that scored more and more."""
    database = open_database(Settings(data_dir=Path(service.data_dir)))
    people = enrol_crowd(database=database, n_people=12)
    api.post("/v1/gallery/rebuild").raise_for_status()
    point = api.put("/v1/threshold", json={"mode": "auto", "preset": "normal"}).raise_for_status().json()
    assert point["n_people"] == 12
    remember(database, people, point["threshold"], point["id"])
    database.dispose()


def remember(database: Database, people: list[str], threshold: float, point_id: str) -> None:
    log = DecisionLog(database, 30)
    for number, score in enumerate(SCORES):
        person = people[number % len(people)]
        log.store(
            [decided([(person, score)], threshold)],
            Circumstances(f"req{number}", "key:test", threshold, point_id, 36, MODEL),
        )


def drag_line(page: Page, share: float) -> None:
    """Drags the line to a share of the chart's width."""
    page.locator("#chart").evaluate("chart => chart.scrollIntoView({block: 'center'})")
    grip, chart = page.locator(".threshold-grip").bounding_box(), page.locator("#chart").bounding_box()
    assert grip and chart
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(chart["x"] + share * chart["width"], grip["y"] + 5, steps=5)
    page.mouse.up()


def value(page: Page) -> float:
    return float(page.locator("#number").input_value())


def without_missing_faces(page: Page) -> None:
    """The faces of this file have no pictures: pages show a drawing, and the browser notes that there was none."""
    failures: list[str] = page.failures  # type: ignore[attr-defined]
    failures[:] = [each for each in failures if "/crop" not in each and "/portrait" not in each]


def test_a_threshold_is_tried_previewed_applied_and_restored(page: Page, assert_accessible: Accessible) -> None:
    page.goto("/threshold")
    expect(page.locator("#line")).to_be_visible()
    assert_accessible(page)
    in_force = value(page)
    drag_line(page, 0.9)
    assert value(page) > in_force
    expect(page.locator("#difference")).to_contain_text("fewer strangers are named")
    expect(page.locator("#preview-words")).to_contain_text("would no longer have been named")
    expect(page.locator("#changes li").first).to_contain_text("Ada Byron")
    expect(page.locator("input[value=manual]")).to_be_checked()
    assert_accessible(page)
    chosen = value(page)
    page.get_by_label("Why? (for the history)").fill("Too many visitors were named")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text(f"The threshold is {chosen:.4f} from now on.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Too many visitors were named")).to_contain_text("Anna Nguyễn")
    expect(page.get_by_text("Automatic mode would choose")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=f"{in_force:.4f}").filter(has=page.get_by_role("button"))
    row.last.get_by_role("button", name="Restore").click()
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    expect(page.get_by_text(f"The threshold is {in_force:.4f} from now on.")).to_be_visible()
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_text("the threshold follows by itself from now on")).to_be_visible()
    without_missing_faces(page)


def test_keys_presets_and_numbers_move_the_line_too(page: Page) -> None:
    page.goto("/threshold")
    expect(page.locator("#line")).to_be_visible()
    balanced = value(page)
    page.get_by_role("button", name="Strict").click()
    strict = value(page)
    assert strict > balanced
    expect(page.locator("#strangers-n")).to_have_text("1")
    expect(page.locator("input[value=auto]")).to_be_checked()
    expect(page.get_by_label("Strangers named at most, in percent")).to_have_value("0.1")
    page.get_by_role("slider", name="Threshold to try").focus()
    page.keyboard.press("ArrowRight")
    assert strict < value(page) < strict + 0.01
    expect(page.locator("input[value=manual]")).to_be_checked()
    page.get_by_role("spinbutton", name="Threshold").fill("0.45")
    page.keyboard.press("Enter")
    expect(page.locator("#flag")).to_have_text("0.4500")
    page.get_by_role("button", name="In force").click()
    expect(page.locator("#difference")).to_have_text("This is the threshold in force.")
    page.get_by_label("Strangers named at most, in percent").fill("5")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Relaxed")).to_have_attribute("aria-pressed", "true")
    without_missing_faces(page)


def test_the_chart_follows_the_theme_and_fits_a_phone(page: Page, assert_accessible: Accessible) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.goto("/threshold")
    expect(page.locator("#line")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    bar = page.locator("#plot .barlayer path").first
    dark = bar.evaluate("path => getComputedStyle(path).fill")
    page.emulate_media(color_scheme="light")
    expect(bar).not_to_have_css("fill", dark)
    drag_line(page, 0.5)
    assert_accessible(page)
    page.get_by_role("button", name="Calculate anew").click()
    expect(page.get_by_text("The threshold was calculated anew.")).to_be_visible()
    without_missing_faces(page)


def test_networks_in_use_are_shown_and_the_gallery_is_compared(page: Page, assert_accessible: Accessible) -> None:
    page.goto("/models")
    assert_accessible(page)
    page.get_by_role("button", name="Compare with the database").click()
    expect(page.locator("#toasts")).to_contain_text("Done: every process has answered.")
    expect(page.get_by_role("row").filter(has_text="service")).to_contain_text("Equal")

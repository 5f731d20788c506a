"""People, importing, one person, and the three ways to enrol a face, in a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page, expect

from tests.app import clips, photos
from tests.browser.conftest import CHROMIUM, WAIT_MS, sign_in, watched
from tests.browser.head_turns import write_motion_jpeg
from tests.server import Server, enroll

Accessible = Callable[[Page], None]
CONSENT = "This person has agreed that their face is used to record attendance."
JOB_MS = 180_000  # a worker loads its networks for its first job, beside other tests


@pytest.fixture(scope="module")
def n_workers() -> int:
    return 1


@pytest.fixture(autouse=True)
def nobody(api: httpx.Client) -> None:
    """Each test begins with an empty list, and with faces that belong to nobody."""
    for person in api.get("/v1/people").json()["items"]:
        api.delete(f"/v1/people/{person['id']}")


def add(api: httpx.Client, code: str, name: str, **fields: Any) -> str:
    answer = api.post("/v1/people", json={"employee_code": code, "name": name, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def jpeg(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def test_nobody_is_there_then_somebody_is_added_found_and_edited(page: Page, assert_accessible: Accessible) -> None:
    page.goto("/people")
    expect(page.get_by_role("heading", name="Nobody is here yet")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Add a person").first.click()
    dialog = page.get_by_role("dialog", name="Add a person")
    dialog.get_by_label("Employee code").fill("E1")
    dialog.get_by_label("Name", exact=True).fill("Ada Byron")
    dialog.get_by_label("Department").fill("Research")
    dialog.get_by_role("checkbox", name=CONSENT).check()
    assert_accessible(page)
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name="Ada Byron")).to_be_visible()
    search = page.get_by_role("searchbox")
    search.fill("nobody")
    expect(page.get_by_role("heading", name="Nobody matches")).to_be_visible()
    expect(search).to_be_focused()
    search.fill("ada")
    expect(page.get_by_role("link", name="Ada Byron")).to_be_visible()
    page.wait_for_url("**/people?query=ada")
    page.get_by_role("link", name="Ada Byron").click()
    expect(page.get_by_role("heading", name="Ada Byron", level=1)).to_be_visible()
    page.wait_for_load_state()  # what listens to the button comes with the page's modules
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit")
    dialog.get_by_label("Time zone").fill("Mars/Olympus")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("IANA")
    page.failures.clear()  # type: ignore[attr-defined]  # the browser reports the refusal
    dialog.get_by_label("Time zone").fill("Asia/Tokyo")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Asia/Tokyo", exact=True)).to_be_visible()
    assert_accessible(page)


def test_a_code_that_is_taken_is_said_in_the_dialog(page: Page, api: httpx.Client) -> None:
    add(api, "TAKEN", "Somebody")
    page.goto("/people")
    page.get_by_role("button", name="Add a person").click()
    dialog = page.get_by_role("dialog", name="Add a person")
    dialog.get_by_label("Employee code").fill("TAKEN")
    dialog.get_by_label("Name", exact=True).fill("Somebody else")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Another person has this employee_code.")
    page.failures.clear()  # type: ignore[attr-defined]


def test_a_file_is_imported_row_by_row(page: Page, api: httpx.Client, assert_accessible: Accessible) -> None:
    add(api, "I1", "Old name")
    page.goto("/people/import")
    rows = b"employee_code,name,department\nI1,New name,\nI2,Second,Sales\nI3,,Sales\nI2,Again,\n"
    page.get_by_label("Drop a CSV file here").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": rows})
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", name="What became of the rows")).to_be_visible()
    results = [row.inner_text().split("\t") for row in page.locator(".import-row").all()]
    assert [row[:3] for row in results] == [
        ["2", "I1,New name,", "Changed"],
        ["3", "I2,Second,Sales", "Added"],
        ["4", "I3,,Sales", "Refused"],
        ["5", "I2,Again,", "Refused"],
    ]
    assert "An earlier row" in results[3][3]
    assert_accessible(page)


def test_photos_are_enrolled_and_each_that_is_not_says_why(
    page: Page, api: httpx.Client, assert_accessible: Accessible
) -> None:
    person_id = add(api, "P1", "Grace Hopper")
    page.goto(f"/people/{person_id}")
    page.get_by_role("tab", name="Photos").click()
    files = [
        jpeg("face.jpg", photos.grace()),
        jpeg("face.jpg", photos.grace(variant=1)),
        jpeg("no.jpg", photos.nobody()),
    ]
    page.get_by_label("Drop photos here").set_input_files(files)
    page.get_by_role("button", name="Enrol these pictures").click()
    expect(page.get_by_text("No consent is recorded")).to_be_visible()
    page.get_by_role("checkbox", name=CONSENT).check()
    page.get_by_role("button", name="Enrol these pictures").click()
    expect(page.get_by_text("Enrolled: 2 templates were added.")).to_be_visible()
    expect(page.locator("#enroll-result")).to_contain_text("no.jpg No face was found")
    expect(page.locator("#templates .template")).to_have_count(2)
    expect(page.locator("#person-lead")).to_contain_text("Active")
    assert api.get(f"/v1/people/{person_id}").json()["consent"]["method"] == "given at enrolment"
    assert_accessible(page)


def test_a_face_that_is_somebody_elses_shows_both_and_can_be_allowed(page: Page, api: httpx.Client) -> None:
    enroll(api, "P1", photos.grace(), name="Grace Hopper")
    twin = add(api, "P2", "Twin", consent={"given_at": "2026-01-01T00:00:00Z", "method": "signed form"})
    page.goto(f"/people/{twin}")
    page.get_by_role("tab", name="Photos").click()
    page.get_by_label("Drop photos here").set_input_files([jpeg("a.jpg", photos.grace(variant=3))])
    page.get_by_role("button", name="Enrol these pictures").click()
    expect(page.get_by_text("This face already belongs to Grace Hopper (P1).")).to_be_visible()
    page.failures.clear()  # type: ignore[attr-defined]
    page.get_by_role("button", name="They are two people: enrol all the same").click()
    expect(page.get_by_text("Enrolled: one template was added.")).to_be_visible()
    expect(page.get_by_text("looks like somebody else’s").first).to_be_visible()


def test_a_video_is_sent_read_and_enrolled(
    page: Page, api: httpx.Client, tmp_path: Path, assert_accessible: Accessible
) -> None:
    person_id = add(api, "V1", "Eileen Collins")
    page.goto(f"/people/{person_id}")
    page.get_by_role("checkbox", name=CONSENT).check()
    page.get_by_role("tab", name="Video").click()
    page.get_by_label("Drop a video here").set_input_files(clips.both(tmp_path / "both.mp4"))
    page.get_by_role("button", name="Send and enrol").click()
    expect(page.locator("#enroll-result")).to_contain_text("Two people are in the picture", timeout=JOB_MS)
    page.get_by_label("Drop a video here").set_input_files(clips.eileen(tmp_path / "eileen.mp4"))
    page.get_by_role("button", name="Send and enrol").click()
    expect(page.get_by_text("templates were added.")).to_be_visible(timeout=JOB_MS)
    expect(page.locator("#enrolments .enrolment")).to_have_count(2)
    expect(page.locator("#enrolments")).to_contain_text("eileen.mp4")
    assert api.get(f"/v1/people/{person_id}").json()["n_templates"] >= 1
    assert_accessible(page)


@pytest.fixture
def filmed(browser: Browser, service: Server, tmp_path: Path) -> Iterator[Page]:
    """A page of anna whose camera films somebody who turns the head."""
    clip = write_motion_jpeg(tmp_path / "head.mjpeg")
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
    chromium = browser.browser_type.launch(
        executable_path=CHROMIUM, args=[*options, f"--use-file-for-fake-video-capture={clip}"]
    )
    context = chromium.new_context(base_url=service.url, locale="en-GB", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    sign_in(context, service)
    yield from watched(context.new_page())
    chromium.close()


def test_the_webcam_takes_all_directions_by_itself(
    filmed: Page, api: httpx.Client, assert_accessible: Accessible
) -> None:
    person_id = add(api, "W1", "Grace Hopper")
    filmed.goto(f"/people/{person_id}")
    filmed.get_by_role("button", name="Start the camera").click()
    expect(filmed.get_by_text("No consent is recorded")).to_be_visible()
    filmed.get_by_role("checkbox", name=CONSENT).check()
    filmed.get_by_role("button", name="Start the camera").click()
    expect(filmed.locator("#webcam-shots .shot").first).to_be_visible(timeout=JOB_MS)
    assert_accessible(filmed)
    filmed.get_by_role("button", name="Take it again").first.click()
    expect(filmed.locator("#webcam-shots .shot")).to_have_count(5, timeout=2 * JOB_MS)
    expect(filmed.locator("#webcam")).to_be_hidden()
    filmed.get_by_role("button", name="Enrol these pictures").click()
    expect(filmed.get_by_text("Enrolled: 5 templates were added.")).to_be_visible()
    expect(filmed.locator("#person-aside")).to_contain_text("All directions are enrolled.")
    coverage = api.get(f"/v1/people/{person_id}").json()["coverage"]
    assert all(coverage.values())


def test_the_camera_says_what_is_wrong_slows_down_and_stops_out_of_sight(page: Page, api: httpx.Client) -> None:
    """The browser's own fake camera shows no face."""
    person_id = add(api, "W3", "Nobody", consent={"given_at": "2026-01-01T00:00:00Z", "method": "signed form"})
    page.goto(f"/people/{person_id}")
    page.get_by_role("button", name="Start the camera").click()
    said = page.locator("#webcam-say")
    expect(said).to_contain_text("No face was found")
    page.get_by_role("button", name="Take a picture now").click()
    expect(page.locator("#webcam-shots .shot")).to_have_count(0)
    busy = {"status": 429, "detail": "Busy.", "code": "overloaded"}
    page.route("**/v1/enroll/check", lambda route: route.fulfill(status=429, json=busy))
    expect(said).to_contain_text("goes on more slowly")
    page.unroute("**/v1/enroll/check")
    expect(said).to_contain_text("No face was found")
    page.failures.clear()  # type: ignore[attr-defined]
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("The camera was stopped because the page was out of sight.")).to_be_visible()
    expect(page.locator("#webcam")).to_be_hidden()
    assert page.evaluate("document.getElementById('webcam-video').srcObject") is None


def test_a_browser_that_gives_no_camera_says_what_to_do(context: BrowserContext, page: Page, api: httpx.Client) -> None:
    person_id = add(api, "W2", "No camera", consent={"given_at": "2026-01-01T00:00:00Z", "method": "signed form"})
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }"
    )
    page.goto(f"/people/{person_id}")
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_text("Allow it beside the address of this page")).to_be_visible()
    plain = context.new_page()
    plain.add_init_script("Object.defineProperty(Navigator.prototype, 'mediaDevices', { value: undefined });")
    plain.goto(f"/people/{person_id}")
    plain.get_by_role("button", name="Start the camera").click()
    expect(plain.get_by_text("Open this page by https")).to_be_visible()


def test_pin_consent_and_leaving(page: Page, api: httpx.Client) -> None:
    enrolled = enroll(api, "L1", photos.eileen(variant=2), name="Leaving").json()
    person_id = enrolled["person"]["id"]
    page.goto(f"/people/{person_id}")
    aside = page.locator("#person-aside")
    aside.get_by_role("button", name="Set", exact=True).first.click()
    page.get_by_role("button", name="Make one up").click()
    page.get_by_role("dialog", name="Set a PIN").get_by_role("button", name="Save").click()
    expect(aside.get_by_role("button", name="Remove")).to_be_visible()
    dialog = page.get_by_role("dialog", name="Withdraw consent")
    aside.get_by_role("button", name="Withdraw").click()
    dialog.get_by_role("button", name="Withdraw").click()
    expect(aside.get_by_text("Not recorded")).to_be_visible()
    person = api.get(f"/v1/people/{person_id}").json()
    assert (person["consent"], person["n_templates"]) == (None, 0)
    aside.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_text("Activate them before enrolling.")).to_be_visible()
    assert not api.get(f"/v1/people/{person_id}").json()["active"]


def test_an_erasure_asks_for_the_code_and_shows_a_receipt(
    page: Page, api: httpx.Client, assert_accessible: Accessible
) -> None:
    enrolled = enroll(api, "X1", photos.eileen(), name="Goes Away").json()
    person_id = enrolled["person"]["id"]
    api.post("/v1/punches", json={"person_id": person_id})
    page.goto(f"/people/{person_id}")
    page.get_by_role("button", name="Erase this person").click()
    dialog = page.get_by_role("dialog", name="Erase Goes Away?")
    erase = dialog.get_by_role("button", name="Erase")
    expect(erase).to_be_disabled()
    dialog.get_by_label("Type X1 to confirm").fill("X1")
    erase.click()
    receipt = page.get_by_role("region", name="Receipt of an erasure")
    expect(receipt).to_contain_text(person_id)
    expect(receipt.locator("dt:has-text('Templates deleted') + dd")).to_have_text("1")
    expect(receipt.locator("dt:has-text('Events that name nobody') + dd")).to_have_text("1")
    assert "Goes Away" not in page.content()
    assert api.get(f"/v1/people/{person_id}").status_code == 404
    assert_accessible(page)


def test_markup_in_a_name_and_a_code_is_shown_as_text(page: Page, api: httpx.Client) -> None:
    name, code = '<img src=x onerror="document.title=1">', '"><script>alert(1)</script>'
    person_id = add(api, code, name, department="</script><b>R&D")
    page.goto("/people")
    expect(page.get_by_text(name)).to_be_visible()
    expect(page.get_by_text(code)).to_be_visible()
    page.get_by_role("searchbox").fill("onerror")
    expect(page.locator("#people-results tbody tr")).to_have_count(1)
    page.goto(f"/people/{person_id}")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name="Erase this person").click()
    expect(page.get_by_role("dialog", name=f"Erase {name}?")).to_be_visible()
    assert page.locator("img[src='x']").count() == 0

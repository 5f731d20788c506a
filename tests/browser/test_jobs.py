"""Jobs in a browser: their progress moves, what came of them appears, and they can be cancelled."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.app import clips

Accessible = Callable[[Page], None]
JOB_MS = 180_000


@pytest.fixture(scope="module")
def n_workers() -> int:
    return 1


def send_clip(api: httpx.Client, path: Path, code: str, name: str) -> None:
    form = {"employee_code": code, "name": name, "consent": "true"}
    answer = api.post("/v1/enroll", data=form, files={"files": (path.name, path.read_bytes(), "video/mp4")})
    assert answer.status_code == 202, answer.text


@pytest.mark.timeout(400)  # a worker loads its networks first, which takes long where others work too
def test_jobs_are_watched_to_their_end_and_cancelled(
    page: Page, api: httpx.Client, tmp_path: Path, assert_accessible: Accessible
) -> None:
    page.goto("/jobs")
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    assert_accessible(page)
    send_clip(api, clips.eileen(tmp_path / "eileen.mp4", n=12), "E1", "Eileen Collins")
    send_clip(api, clips.nobody(tmp_path / "nobody.mp4", n=4), "E2", "Nobody There")
    send_clip(api, clips.grace(tmp_path / "grace.mp4", n=120), "E3", "Grace Hopper")
    page.reload()
    assert_accessible(page)
    last = page.get_by_role("row").filter(has_text="Grace Hopper")
    last.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(last).to_contain_text("ancelled")
    first = page.get_by_role("row").filter(has_text="Eileen Collins")
    expect(first).to_contain_text(re.compile("[0-9]+ templates? of"), timeout=JOB_MS)
    expect(first.locator("progress")).to_have_count(0, timeout=JOB_MS)
    refused = page.get_by_role("row").filter(has_text="Nobody There")
    expect(refused).to_contain_text("No face was found.", timeout=JOB_MS)
    assert_accessible(page)
    page.get_by_label("Status").select_option("Cancelled")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("row").filter(has_text="Grace Hopper")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Eileen Collins")).to_have_count(0)

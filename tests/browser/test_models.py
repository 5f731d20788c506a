"""Models in a browser: one is put to use and gone back from, a training says what it lacks, curves are drawn."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from app.db.engine import open_database
from app.sealing import Sealer
from app.settings import Settings
from tests.app.crowd import enrol_crowd
from tests.app.models.factories import make_model
from tests.app.models.rotations import BASE, make_rotation
from tests.server import Server

Accessible = Callable[[Page], None]
REFUSED = "dlib-resnet+projection/refused"
CURVES = {"loss": [2.5, 1.5, 1.25], "validation_fnir": [0.5, 0.25, 0.3], "learning_rate": [1e-3] * 3, "best_epoch": 1}
# A worker loads its networks first, which takes long where others work too.
JOB_MS = 120_000


@pytest.fixture(scope="module")
def n_workers() -> int:
    return 1


@pytest.fixture(scope="module", autouse=True)
def challenger(service: Server, api: httpx.Client) -> str:
    """Twelve people, a model that is as good as the one in use, and one that is not; the word of the first."""
    settings = Settings(data_dir=Path(service.data_dir))
    database, sealer = open_database(settings), Sealer.of(settings)
    enrol_crowd(database=database, n_people=12)
    with database.write() as session:
        make_model(session=session, word=REFUSED, status="refused", report={"curves": CURVES}, sealer=sealer)
    word = make_rotation(database=database, sealer=sealer).word
    database.dispose()
    api.post("/v1/gallery/rebuild").raise_for_status()
    return word


def model_card(page: Page, word: str) -> Locator:
    return page.get_by_role("article", name=word)


@pytest.mark.timeout(400)
def test_a_model_is_put_to_use_and_gone_back_from(
    page: Page, api: httpx.Client, challenger: str, assert_accessible: Accessible
) -> None:
    page.goto("/models")
    assert_accessible(page)
    model_card(page, challenger).get_by_role("button", name="Use this model").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("0 of 36 templates are embedded by it already; 36 more will be")
    expect(dialog.get_by_role("checkbox")).to_have_count(0)
    assert_accessible(page)
    dialog.get_by_role("button", name="Use it").click()
    work = page.locator("#model-work")
    expect(work.locator("progress")).to_be_visible()
    expect(work).to_contain_text("The model is in use.", timeout=JOB_MS)
    in_use = page.get_by_role("region", name="In use")
    expect(in_use.get_by_role("heading", name=challenger)).to_be_visible()
    assert_accessible(page)
    in_use.get_by_role("button", name="Go back").click()
    page.get_by_role("dialog").get_by_role("button", name="Go back").click()
    expect(page.get_by_text(f"{BASE} is in use again.")).to_be_visible()
    expect(in_use.get_by_role("heading", name=BASE)).to_be_visible()
    listed = api.get("/v1/models").json()
    word_of = {item["id"]: item["model"] for item in listed["items"]}
    assert (word_of[listed["champion_id"]], word_of[listed["standby_id"]]) == (BASE, challenger)


@pytest.mark.timeout(400)
def test_what_speaks_against_a_model_or_a_training_is_said_on_a_phone_too(
    page: Page, assert_accessible: Accessible
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.goto("/models")
    page.get_by_role("button", name="Start training").click()
    refused = model_card(page, REFUSED)
    refused.get_by_text("How it learned").click()
    expect(refused).to_contain_text("The best was round 2, with 25%.")
    expect(refused.locator(".curves-plot .scatterlayer .trace")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    refused.get_by_role("button", name="Use this model").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Tick the box first")
    dialog.get_by_label("although it was not measured to be better").check()
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Say why")
    assert_accessible(page)
    dialog.get_by_role("button", name="Cancel").click()
    lacking = "Enrol more people with several photos each"
    expect(page.locator("#model-work")).to_contain_text(lacking, timeout=JOB_MS)
    assert_accessible(page)
    refused.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(page.locator("#toasts")).to_contain_text(f"{REFUSED} is gone.")
    expect(refused).to_have_count(0)

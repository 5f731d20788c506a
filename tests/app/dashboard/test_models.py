"""The page of models, as the service renders it: what is in use, what else there is and why not, and work on it."""

from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.dashboard.models import Measured, Scale
from app.db.engine import Database
from app.db.tables import GalleryState, Job, Model
from app.jobs import service as jobs
from app.jobs.rules import JobStatus
from app.operating_points.schemas import Interval
from tests.app.dashboard.visitors import sign_in
from tests.app.models.factories import make_model

BASE = "dlib-resnet/1"
BETTER, WORSE = "dlib-resnet+projection/better", "dlib-resnet+projection/worse"


@pytest.fixture
def backend() -> str:
    return "sqlite"  # the SQL is tried on both by tests/app/models


def side(fnir: float) -> dict[str, Any]:
    around = {"value": fnir, "low": fnir - 0.02, "high": fnir + 0.02}
    return {"fnir": around, "rank1": {"value": 0.9, "low": 0.8, "high": 1.0}, "threshold": 0.6, "fpir": 0.01}


def report(*, new: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    counts = {"n_people": 155, "n_mated": 310, "n_non_mated": 1240}
    difference = {"value": new - 0.08, "low": low, "high": high}
    return {
        **{"is_better": high < 0, "reason": "it says so", "target_fpir": 0.01, "difference": difference},
        **{"champion": side(0.08), "challenger": side(new), **counts, **more},
    }


HERE = {
    **{"threshold": 0.5123, "target_fpir": 0.01, "n_people": 42, "n_templates": 120},
    "expected_fpir": {"value": 0.0098, "low": 0.006, "high": 0.015},
    "expected_fnir": {"value": 0.031, "low": 0.02, "high": 0.05},
}
CURVES = {"loss": [2.5, 1.5], "validation_fnir": [0.5, None], "learning_rate": [1e-3, 1e-4], "best_epoch": 0}


@pytest.fixture
def judged(client: TestClient, database: Database) -> dict[str, str]:
    """A challenger and a refused model beside the champion; ids by what they are."""
    with database.write() as session:
        better = make_model(
            session=session,
            word=BETTER,
            reason="missed 4 % instead of 8 % of <searches>",
            report=report(new=0.04, low=-0.07, high=-0.01, here=HERE, curves=CURVES, n_train_people=90),
        )
        worse = make_model(session=session, word=WORSE, status="refused", report=report(new=0.07, low=-0.04, high=0.02))
        return {"better": better.id, "worse": worse.id}


def shown(client: TestClient) -> str:
    answer = client.get("/models", headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def card(page: str, word: str) -> str:
    """What the page says of one of the other models."""
    found = [part for part in page.split('<article class="card model"')[1:] if f">{word}<" in part]
    assert len(found) == 1
    return found[0].split("</article>")[0]


def test_before_anything_was_trained_the_page_says_what_to_do(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    page = shown(client)
    assert "There are none yet." in page and 'id="train"' in page and "data-rollback" not in page
    assert page.count(" checked") == 2  # strategy and policy, as the settings have them
    assert 'value="scratch" disabled' in page and "ROLLCALL_TRAINING_DATA" in page
    assert 'data-work="' not in page


@pytest.mark.usefixtures("judged")
def test_each_model_says_how_it_was_judged_and_what_it_would_do_here(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    better, worse = card(shown(client), BETTER), card(shown(client), WORSE)
    assert "Better, not in use" in better and "missed 4 % instead of 8 % of &lt;searches&gt;" in better
    assert "It misses 4% fewer of all searches (1% to 7%): more than chance." in better
    assert "4% <small>(2%–6%)</small>" in better and "8% <small>(6%–10%)</small>" in better
    assert "155 people that neither has learned from: 310 searches as staff, 1,240 as strangers" in better
    assert "Threshold 0.5123" in better and "0.98% <small>(0.6%–1.5%)</small>" in better and "90 people" in better
    assert "data-curves=" in better and "data-curves=" not in worse
    assert "Not known to be better" in worse and "which may be chance" in worse and "Expected here" not in worse
    assert f'<a href="/models">{BETTER}' not in better


def test_administrators_act_and_operators_look(client: TestClient, database: Database, judged: dict[str, str]) -> None:
    sign_in(client=client, database=database)
    page = shown(client)
    assert all(f'data-promote="{id_}"' in page and f'data-discard="{id_}"' in page for id_ in judged.values())
    sign_in(client=client, database=database, role="operator", name="Otto")
    page = shown(client)
    assert BETTER in page and WORSE in page
    for hook in ("data-promote", "data-discard", "data-rollback", 'id="train"', 'id="measure"', "promote-dialog"):
        assert hook not in page


def test_the_model_before_is_kept_ready_to_go_back_to(
    client: TestClient, database: Database, judged: dict[str, str]
) -> None:
    with database.write() as session:  # as a switch leaves it
        old = session.scalars(select(Model).where(Model.word == BASE)).one()
        new = session.get_one(Model, judged["better"])
        new.status, old.status, old.retired_at = "champion", "retired", old.created_at
        session.get_one(GalleryState, 1).standby_model = BASE
        old_id = old.id
    sign_in(client=client, database=database)
    page = shown(client)
    in_use = page.split('id="in-use"')[1].split("</article>")[0]
    assert f"<h3>{BETTER}</h3>" in in_use and f'data-rollback="{old_id}"' in in_use
    assert "It misses 4% fewer of all searches" in in_use
    assert f"{BASE} is kept ready: going back to it takes a second." in in_use
    kept = card(page, BASE)
    assert "Kept ready" in kept and "Was in use" in kept and "data-promote" not in kept and "data-discard" not in kept
    sign_in(client=client, database=database, role="operator", name="Otto")
    page = shown(client)
    assert "data-rollback" not in page and "is kept ready" in page


def test_work_that_is_not_over_is_shown_and_goes_when_it_is(
    client: TestClient, database: Database, admin: dict[str, str]
) -> None:
    asked = client.post("/v1/retrain", json={}, headers=admin)
    assert asked.status_code == 202, asked.text
    job_id = asked.json()["job_id"]
    sign_in(client=client, database=database)
    page = shown(client)
    assert f'data-work="{job_id}" data-kind="retrain"' in page and "Training a new model" in page
    assert f'data-cancel="{job_id}"' in page
    sign_in(client=client, database=database, role="operator", name="Otto")
    assert f'data-work="{job_id}"' in shown(client) and "data-cancel" not in shown(client)
    with database.write() as session:
        jobs.end(session.get_one(Job, job_id), JobStatus.CANCELLED)
    assert "data-work" not in shown(client)


@pytest.mark.usefixtures("judged")
def test_the_page_speaks_vietnamese(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database, language="vi")
    page = shown(client)
    assert "Các mô hình khác" in page and "Dùng mô hình này" in page and "vượt mức ngẫu nhiên" in page
    assert "Better, not in use" not in page and "Train a new model" not in page


def test_rates_are_drawn_within_the_picture() -> None:
    scale = Scale.of(Interval(value=0.08, low=0.06, high=0.1), Interval(value=0.04, low=0.0, high=0.06))
    assert scale.x(0.0) == 0.0 and 90 < scale.x(0.1) < 100 and scale.x(0.04) == pytest.approx(scale.x(0.08) / 2, 0.01)
    assert Scale.of(Interval(value=0.0, low=0.0, high=0.0)).x(0.0) == 0.0


@pytest.mark.parametrize("report", [None, {}, {"champion": "strange"}, {"target_fpir": 0.01, "n_people": None}])
def test_a_report_that_says_little_or_is_of_another_release_is_shown_as_little(report: Any) -> None:
    measured = Measured.of(report)
    assert measured.champion is None and measured.here is None

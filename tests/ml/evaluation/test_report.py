import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ml.evaluation.page import render_page
from ml.evaluation.report import Circumstances, as_json, write_report
from ml.evaluation.run import CARD_ALONE, ON_GALLERY, ModelResult, choose_protocol
from ml.metrics import threshold_at_fpir
from tests.ml.evaluation.conftest import OPTIONS

VOID = {"meta", "br", "hr", "img", "link"}
RATE = {"value", "low", "high"}
ROW = {
    "target_fpir",
    "threshold",
    "fpir",
    "fnir",
    "misidentified",
    "n_other_named",
    "counts",
    "accuracy",
    "precision",
    "recall",
    "f1",
}
MODEL = {
    "model",
    "backbone",
    "is_mirrored",
    "enrolment",
    "mated",
    "strangers",
    "effect",
    "variants",
    "gallery_sizes",
    "calibration",
    "margins",
    "fitted_prior",
    "fusion",
    "strategies",
}


class Balanced(HTMLParser):
    """Collects text, and fails on a tag that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(
    small_folder: Path,
    results: list[ModelResult],
    circumstances: Circumstances,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("reports") / "new folder"
    write_report(out, choose_protocol(small_folder, None, OPTIONS), results, OPTIONS, circumstances)
    return out


@pytest.fixture
def report(written: Path) -> Any:
    return json.loads((written / "report.json").read_text())


@pytest.fixture
def page(written: Path) -> Balanced:
    parser = Balanced()
    parser.feed((written / "report.html").read_text())
    parser.close()
    return parser


def test_the_json_has_its_schema(report: Any) -> None:
    assert set(report) == {"schema_version", "created_at", "n_seconds", "versions", "data", "models"}
    assert (report["schema_version"], report["created_at"]) == (1, "2026-07-29T12:00:00+00:00")
    assert {"python", "numpy", "torch"} <= set(report["versions"])
    assert report["data"] == {
        "folder": "R&D <people>",
        "protocol": report["data"]["protocol"],
        "n_known": 1,
        "n_gallery_photos": 3,
        "n_mated_photos": 2,
        "n_strangers": 2,
        "n_stranger_photos": 2,
        "n_cohort_photos": 0,
        "detector": "mtcnn",
        "min_face_px": 40,
        "device": "cpu",
        "seed": 0,
    }
    assert [model["model"] for model in report["models"]] == ["dlib-resnet/1", "dlib-resnet/1-plain"]
    for model in report["models"]:
        assert set(model) == MODEL
        assert model["fusion"] is model["strategies"] is None  # nobody asked for them
        assert set(model["enrolment"]) == {"n_enrolled", "n_failed", "n_templates", "n_refused"}
        for variant in model["variants"]:
            assert set(variant) == {"name", "title", "rank1", "rows", "curve"}
            assert all(set(row) == ROW and set(row["fnir"]) == RATE for row in variant["rows"])
            assert len({len(values) for values in variant["curve"].values()}) == 1


def test_every_number_is_finite(report: Any) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [number for item in value for number in numbers(item)]
        return [value] if isinstance(value, float) else []

    found = numbers(report)
    assert len(found) > 100 and all(math.isfinite(number) for number in found)


def test_the_page_is_well_formed_and_complete_in_itself(page: Balanced) -> None:
    assert page.open == []
    assert page.seen.count("svg") == 6 and page.seen.count("table") == 8
    assert all(link.startswith("#") for link in page.links)
    assert "script" not in page.seen


def test_names_on_the_page_are_escaped(written: Path, page: Balanced) -> None:
    assert "R&D <people>" in page.text
    assert "<people>" not in (written / "report.html").read_text()


def test_nobody_is_named_and_no_photo_is_shown(written: Path) -> None:
    for file in written.iterdir():
        text = file.read_text()
        assert not re.search("hopper|eileen|nobody/|0\\.jpg", text, re.IGNORECASE)
        assert "data:image" not in text and "<image" not in text


def test_the_page_shows_the_numbers_of_the_json(report: Any, page: Balanced) -> None:
    fixed = report["models"][0]["variants"][0]["rows"][-1]
    assert fixed["target_fpir"] is None
    assert "customary fixed tolerance of 0.6" in page.text
    product = report["models"][0]["variants"][-1]
    assert f"{product['rank1']['value'] * 100:.1f} %" in page.text
    assert "1 no face, 0 below the gate, 0 unreadable" in page.text
    assert "misses more" in page.text


def test_what_was_promised_stands_beside_what_was_shown(report: Any, page: Balanced) -> None:
    rows = report["models"][0]["calibration"]
    assert {row["calibration"] for row in rows} == {CARD_ALONE, ON_GALLERY}
    for row in rows:
        is_own = row["calibration"] == ON_GALLERY
        assert (row["kept_share"] is not None) == (row["fnir_kept_share"] is not None) == is_own
    assert page.text.count(ON_GALLERY) == 8 and page.text.count("within its interval") == 4


def test_look_alikes_are_decided_with_and_without_a_lead(report: Any, page: Balanced) -> None:
    without, with_lead = report["models"][0]["margins"]
    assert (without["margin"], with_lead["margin"]) == (0.0, 0.02)
    assert without["threshold"] == with_lead["threshold"]
    assert set(without) == {"margin", "n_pairs", "threshold", "fpir", "fnir", "misidentified"}
    assert page.text.count("Look-alikes") == 2


def test_figures_are_valid_svg_that_takes_the_ink_of_the_page(written: Path) -> None:
    html = (written / "report.html").read_text()
    figures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.get("viewBox") and not root.get("width")
        assert "currentColor" in figure
    assert "#010203" not in html
    assert "prefers-color-scheme: dark" in html


def test_a_threshold_that_refuses_nobody_is_called_any(
    small_folder: Path, results: list[ModelResult], circumstances: Circumstances
) -> None:
    lowest = threshold_at_fpir([0.5], 1.0)
    result = replace(results[0], sizes=[replace(row, threshold=lowest) for row in results[0].sizes])
    report = as_json(choose_protocol(small_folder, None, OPTIONS), [result], OPTIONS, circumstances)
    json.dumps(report, allow_nan=False)
    assert render_page(report, [result]).count("<td>any</td>") == len(result.sizes)

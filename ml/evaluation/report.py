"""Results -> report.json and report.html: the same numbers, without names or photos of anybody."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from ml.evaluation.fusion import FusionTable
from ml.evaluation.page import render_page
from ml.evaluation.pooling import PoolingTable
from ml.evaluation.protocol import Protocol
from ml.evaluation.run import Machine, ModelResult, Options
from ml.evaluation.strategies import StrategyTable
from ml.evaluation.variants import OperatingRow, VariantResult
from ml.metrics import ConfusionCounts, DetCurve

SCHEMA_VERSION: Final = 1
HTML_NAME: Final = "report.html"
JSON_NAME: Final = "report.json"
_LIBRARIES: Final = (
    "rollcall",
    "numpy",
    "torch",
    "facenet-pytorch",
    "opencv-python-headless",
    "onnxruntime",
    "pillow",
    "scikit-learn",
)
_CURVE_POINTS: Final = 200


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was measured, when, and on what."""

    created_at: datetime
    folder: str
    machine: Machine
    n_seconds: float


def write_report(
    out: Path, protocol: Protocol, results: Sequence[ModelResult], options: Options, circumstances: Circumstances
) -> dict[str, Any]:
    """Write both files into `out`, which is made where it is missing.

    Returns:
        What was written as JSON.

    Raises:
        OSError: the folder cannot be written.
    """
    report = as_json(protocol, results, options, circumstances)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, allow_nan=False)
    (out / JSON_NAME).write_text(text + "\n", encoding="utf-8")
    (out / HTML_NAME).write_text(render_page(report, results), encoding="utf-8")
    return report


def as_json(
    protocol: Protocol, results: Sequence[ModelResult], options: Options, circumstances: Circumstances
) -> dict[str, Any]:
    """Everything measured, as JSON allows it; keys are only ever added within one `schema_version`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": circumstances.created_at.isoformat(timespec="seconds"),
        "n_seconds": round(circumstances.n_seconds, 1),
        "versions": {"python": platform.python_version(), **_versions()},
        "data": {
            "folder": circumstances.folder,
            "protocol": protocol.source,
            "n_known": len(protocol.known),
            "n_gallery_photos": protocol.n_gallery_photos,
            "n_mated_photos": protocol.n_probes,
            "n_strangers": len({photo.person for photo in protocol.strangers}),
            "n_stranger_photos": len(protocol.strangers),
            "n_cohort_photos": len(protocol.cohort),
            "detector": circumstances.machine.detector,
            "min_face_px": circumstances.machine.min_face_px,
            "device": circumstances.machine.device,
            "seed": options.seed,
        },
        "models": [_model(result) for result in results],
    }


def _model(result: ModelResult) -> dict[str, Any]:
    enrolment = result.enrolment
    return {
        "model": result.model,
        "backbone": result.backbone,
        "is_mirrored": result.is_mirrored,
        "enrolment": {
            "n_enrolled": enrolment.people.n_people,
            "n_failed": enrolment.n_failed,
            "n_templates": len(enrolment.people.embeddings),
            "n_refused": dict(sorted(enrolment.n_refused.items())),
        },
        "mated": asdict(result.mated),
        "strangers": asdict(result.strangers),
        "effect": [asdict(row) for row in result.effect],
        "variants": [_variant(variant) for variant in result.variants],
        "gallery_sizes": [asdict(row) for row in result.sizes],
        "calibration": [asdict(row) for row in result.calibration],
        "margins": [asdict(row) for row in result.margins],
        "fitted_prior": asdict(result.fitted_prior) if result.fitted_prior else None,
        "fusion": _fusion(result.fusion) if result.fusion else None,
        "strategies": _strategies(result.strategies) if result.strategies else None,
    }


def _variant(result: VariantResult) -> dict[str, Any]:
    return {
        "name": result.variant.name,
        "title": result.variant.title,
        "rank1": asdict(result.rank1),
        "rows": [_row(row) for row in result.rows],
        "curve": _curve(result.curve),
    }


def _fusion(table: FusionTable) -> dict[str, Any]:
    return asdict(table) | {
        "best": table.best.title if table.best else None,
        "is_default_best": table.is_default_best,
        "beyond_chance": table.beyond_chance,
        "within_chance": table.within_chance,
        "verdict": table.verdict,
        "pooling": _pooling(table.pooling) if table.pooling else None,
    }


def _pooling(table: PoolingTable) -> dict[str, Any]:
    return asdict(table) | {
        "is_no_worse": table.is_no_worse,
        "is_promise_kept": table.is_promise_kept,
        "breaking": table.breaking,
        "verdict": table.verdict,
    }


def _strategies(table: StrategyTable) -> dict[str, Any]:
    return asdict(table) | {"rows": [asdict(row) | _rates(row.counts) for row in table.rows]}


def _row(row: OperatingRow) -> dict[str, Any]:
    return asdict(row) | _rates(row.counts)


def _rates(counts: ConfusionCounts) -> dict[str, Any]:
    return {name: asdict(getattr(counts, name)) for name in ("accuracy", "precision", "recall", "f1")}


def _curve(curve: DetCurve) -> dict[str, list[float]]:
    """The part where strangers are seldom named, thinned out."""
    places = np.unique(np.linspace(0, len(curve.fpir) - 1, _CURVE_POINTS).astype(int))
    return {name: getattr(curve, name)[places].tolist() for name in ("thresholds", "fpir", "fnir")}


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return found

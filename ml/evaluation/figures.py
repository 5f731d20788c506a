"""Figures of the report, as SVG that takes its ink from the page around it, light or dark."""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from numpy.typing import NDArray
from scipy.special import ndtri

from ml.evaluation.fusion import FusionTable
from ml.evaluation.sizes import SizeRow
from ml.evaluation.variants import PRODUCT, OperatingRow, VariantResult
from ml.metrics import DetCurve

# Okabe and Ito's colours, which stay apart for colour-blind eyes, without black and yellow; readable on light and dark.
_COLOURS: Final = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#8c8c8c", "#0f80d0")
_INK: Final = "#010203"  # replaced by the page's text colour; no figure uses it otherwise
_DET_TICKS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.85)
_FPIR_RANGE: Final = (0.0004, 0.9)
_FNIR_RANGE: Final = (0.002, 0.9)
_SIZE: Final = (7.2, 4.6)
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "grid.color": _INK,
    "grid.alpha": 0.15,
}


def det_figure(results: Sequence[VariantResult]) -> str:
    """FNIR against FPIR of every variant, on normal-deviate axes: scores that are normal make straight lines."""

    def draw(axes: Axes) -> None:
        for number, result in enumerate(results):
            is_product = result.variant.name == PRODUCT
            x, y = _visible(result.curve)
            colour = _COLOURS[-1] if is_product else _COLOURS[number % (len(_COLOURS) - 1)]
            axes.plot(x, y, color=colour, linewidth=2.6 if is_product else 1.3, label=result.variant.title)
            _mark_fixed(axes, result, colour)
        _normal_deviate(axes)
        axes.set(xlabel="FPIR: strangers who are given a name", ylabel="FNIR: enrolled people who are missed")
        axes.legend(fontsize=8, loc="upper right")

    return _svg(draw)


def histogram_figure(result: VariantResult, row: OperatingRow) -> str:
    """How mated and non-mated searches score, and where the threshold of one row lies."""
    searches = result.searches
    mated, strangers = (s[np.isfinite(s)] for s in (searches.mated.scores, searches.non_mated.scores))

    def draw(axes: Axes) -> None:
        both = np.concatenate([mated, strangers])
        if not len(both):
            return
        bins = np.linspace(both.min(), both.max() + 1e-6, 70).tolist()
        kinds = ((strangers, "strangers", _COLOURS[3]), (mated, "enrolled people, right at rank 1", _COLOURS[-1]))
        for scores, label, colour in kinds:
            shares = np.full(len(scores), 1 / max(1, len(scores)))
            axes.hist(scores, bins, weights=shares, alpha=0.6, color=colour, label=f"{label} ({len(scores)})")
        if row.threshold > both.min():  # else nobody has to be refused
            label = f"threshold {row.threshold:.4f}"
            axes.axvline(row.threshold, color=_INK, linestyle="--", linewidth=1.2, label=label)
        axes.set(xlabel="decision score", ylabel="share of photos")
        axes.legend(fontsize=8, loc="upper center")

    return _svg(draw)


def size_figure(rows: Sequence[SizeRow]) -> str:
    """FNIR by gallery size, a line per target FPIR, with 95 % intervals."""

    def draw(axes: Axes) -> None:
        for number, target in enumerate(sorted({row.target_fpir for row in rows}, reverse=True)):
            own = [row for row in rows if row.target_fpir == target]
            sizes = [row.n_people for row in own]
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(
                sizes, [row.fnir.value for row in own], "o-", color=colour, markersize=4, label=f"{target * 100:g} %"
            )
            axes.fill_between(sizes, [r.fnir.low for r in own], [r.fnir.high for r in own], color=colour, alpha=0.15)
        axes.set_xscale("log")
        axes.set_xticks(sorted({row.n_people for row in rows}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_ylim(bottom=0)
        axes.set(xlabel="enrolled people", ylabel="FNIR")
        axes.legend(title="at FPIR", fontsize=8, loc="upper left")

    return _svg(draw)


def fusion_figure(table: FusionTable) -> str:
    """FNIR of every way to combine frames and search them, with 95 % intervals; the default stands out."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(table.rows):
            value, low, high = row.fnir.value, row.fnir.low, row.fnir.high
            colour = _COLOURS[-1] if row.is_default else _COLOURS[5]
            axes.errorbar([value], [place], xerr=[[value - low], [high - value]], fmt="o", color=colour, markersize=4)
        axes.set_yticks(range(len(table.rows)), [row.title for row in table.rows], fontsize=8)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1, symbol=" %"))
        axes.set_xlim(left=0)
        axes.set(xlabel=f"FNIR at FPIR {table.target_fpir * 100:g} %")

    return _svg(draw)


def _svg(draw: Callable[[Axes], None]) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(True, linewidth=0.6)
        draw(axes)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(text.getvalue())


def _inline(svg: str) -> str:
    """What belongs into an HTML page: no prolog, no metadata, a size that follows the page, and its ink."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    return body.replace(_INK, "currentColor")


def _visible(curve: DetCurve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve in normal deviates, without its ends, where a rate of 0 or 1 has none."""
    shown = _is_within(curve.fpir, _FPIR_RANGE) & _is_within(curve.fnir, _FNIR_RANGE)
    return np.asarray(ndtri(curve.fpir[shown])), np.asarray(ndtri(curve.fnir[shown]))


def _is_within(rates: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.bool_]:
    return (rates >= bounds[0]) & (rates <= bounds[1])


def _mark_fixed(axes: Axes, result: VariantResult, colour: str) -> None:
    for row in result.rows:
        if row.target_fpir is None:
            x = float(ndtri(np.clip(row.fpir.value, *_FPIR_RANGE)))
            y = float(ndtri(np.clip(row.fnir.value, *_FNIR_RANGE)))
            axes.plot([x], [y], "X", color=colour, markersize=9, label=f"… at the fixed tolerance {-row.threshold:g}")


def _normal_deviate(axes: Axes) -> None:
    places, labels = ndtri(np.array(_DET_TICKS)), [f"{tick * 100:g} %" for tick in _DET_TICKS]
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.set_xlim(*ndtri(np.array(_FPIR_RANGE)))
    axes.set_ylim(*ndtri(np.array(_FNIR_RANGE)))

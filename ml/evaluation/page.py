"""The report as one HTML page that needs nothing else: style, figures and numbers are inside."""

from collections.abc import Sequence
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from ml.evaluation.figures import det_figure, fusion_figure, histogram_figure, size_figure
from ml.evaluation.pooling import POOLING_TITLE
from ml.evaluation.run import ModelResult
from ml.evaluation.strategies_page import STRATEGIES_SECTION
from ml.evaluation.variants import DEFAULT_FPIR, PRODUCT

_LOWEST_SCORE: Final = -100.0  # where nobody has to be refused, the smallest of all numbers is threshold enough

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --muted: #5b6570; --line: #d9dee3; --mark: #e8f1fb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --paper: #14181c; --muted: #9aa5b0; --line: #333b43; --mark: #1d2c3c; }
}
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 2px solid var(--line); padding-top: 1.5rem; }
p, dl { max-width: 46rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--muted); } dd { margin: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: .4rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
td small { display: block; color: var(--muted); } tr.product { background: var(--mark); }
figure { margin: 1.5rem 0; max-width: 46rem; } figcaption { color: var(--muted); }
svg { width: 100%; height: auto; color: var(--ink); }
pre { overflow-x: auto; background: var(--mark); padding: 1rem; font-size: 12px; }
"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rollcall evaluation: {{ report.data.folder }}</title><style>{{ style }}</style></head>
<body>
<h1>Rollcall evaluation: {{ report.data.folder }}</h1>
<p>{{ report.data.n_known }} people enrolled with {{ report.data.n_gallery_photos }} photos and searched with
{{ report.data.n_mated_photos }} others; {{ report.data.n_stranger_photos }} photos of {{ report.data.n_strangers }}
strangers, who are enrolled nowhere. Protocol: {{ report.data.protocol }}.</p>
<dl>
<dt>measured</dt><dd>{{ report.created_at }}, in {{ report.n_seconds }} s</dd>
<dt>models</dt><dd>{% for model in report.models %}{{ model.model }}{{ ", " if not loop.last }}{% endfor %}</dd>
<dt>detector</dt><dd>{{ report.data.detector }}, faces from {{ report.data.min_face_px }} px,
on {{ report.data.device }}</dd>
<dt>seed</dt><dd>{{ report.data.seed }}</dd>
<dt>versions</dt><dd>{% for name, version in report.versions.items() %}{{ name }} {{ version }}
{{- ", " if not loop.last }}{% endfor %}</dd>
</dl>
<p><b>FNIR</b>: share of enrolled people's photos in which nobody was given their name. <b>FPIR</b>: share of strangers'
photos in which any face was given a name. <b>Misidentified</b>: enrolled people's photos in which only a wrong name was
given; part of FNIR. Photos without a usable face count as misses, or as strangers rejected. Small figures are 95 %
intervals; those of FNIR come from drawing people, and strangers, again.</p>
{% for model, figures in models %}
<h2>{{ model.model }}</h2>
<p>{{ model.enrolment.n_enrolled }} people enrolled with {{ model.enrolment.n_templates }} templates,
{{ model.enrolment.n_failed }} failed to enrol (FTE).
{% if model.enrolment.n_refused %}Gallery photos refused:
{% for reason, n in model.enrolment.n_refused.items() %}{{ reason }} {{ n }}{{ ", " if not loop.last }}{% endfor %}.
{% endif %}
Failures to acquire (FTA) among {{ model.mated.n_photos }} mated photos: {{ fta(model.mated) }}; among
{{ model.strangers.n_photos }} photos of strangers: {{ fta(model.strangers) }}. {{ model.mated.n_faces }} and
{{ model.strangers.n_faces }} faces were searched for: every face of a photo is.</p>
<div class="wide"><table>
<caption>FNIR at a target FPIR, by way of scoring; thresholds are chosen on these strangers</caption>
<thead><tr><th>scoring</th><th>rank 1</th>
{% for row in model.variants[-1].rows %}<th>FPIR {{ short(row.target_fpir) }}</th>{% endfor %}
<th>misidentified*</th><th>F1*</th></tr></thead>
<tbody>{% for variant in model.variants %}
<tr{% if variant.name == product %} class="product"{% endif %}><td>{{ variant.title }}</td>
<td>{{ rate(variant.rank1) }}</td>
{% for row in variant.rows if row.target_fpir is not none %}<td>{{ rate(row.fnir) }}</td>{% endfor %}
{% set shown = shown_row(variant) %}<td>{{ shown.counts.n_misidentified }}</td><td>{{ rate(shown.f1) }}</td></tr>
{% endfor %}</tbody></table></div>
<p>* at FPIR {{ short(shown_target) }}.
{% for variant in model.variants %}{% for row in variant.rows if row.target_fpir is none %}
With the customary fixed tolerance of {{ -row.threshold }}, {{ variant.title }} names {{ short(row.fpir.value) }} of
strangers and misses {{ short(row.fnir.value) }} of enrolled people ({{ row.counts.n_misidentified }} misidentified).
{% endfor %}{% endfor %}</p>
{% if model.effect %}<p>Without the mirror image, the product's rule misses more (percentage points, people and
strangers drawn for both at once):
{% for row in model.effect %}at FPIR {{ short(row.target_fpir) }} {{ points(row.fnir) }}
{{- "; " if not loop.last else "." }}{% endfor %}</p>{% endif %}
<figure>{{ figures.det }}<figcaption>Every threshold of every way of scoring, {{ model.enrolment.n_enrolled }} people;
further down and left is better.</figcaption></figure>
<figure>{{ figures.histogram }}<figcaption>Scores by the product's rule, and its threshold at FPIR
{{ short(shown_target) }}.</figcaption></figure>
<h3>By gallery size, the product's rule</h3>
<figure>{{ figures.sizes }}<figcaption>FNIR by gallery size, for four targets; the
intervals come from drawing people again, with thresholds as they are.</figcaption></figure>
<div class="wide"><table>
<caption>Measured on random galleries, and what the model card's prior expects without looking</caption>
<thead><tr><th>people</th><th>galleries</th><th>target FPIR</th><th>threshold</th><th>FNIR</th>
<th>prior's threshold</th><th>its FPIR here</th><th>its FNIR here</th></tr></thead>
<tbody>{% for row in model.gallery_sizes %}
<tr><td>{{ row.n_people }}</td><td>{{ row.n_galleries }}</td><td>{{ short(row.target_fpir) }}</td>
<td>{{ score(row.threshold) }}</td><td>{{ rate(row.fnir) }}</td>
<td>{{ score(row.prior_threshold) }}</td><td>{{ short(row.prior_fpir) }}</td>
<td>{{ short(row.prior_fnir) }}</td></tr>{% endfor %}</tbody></table></div>
<h3>Promised and shown</h3>
<div class="wide"><table>
<caption>Thresholds chosen without these strangers and probes, and what they do to them; means over galleries</caption>
<thead><tr><th>calibration</th><th>people</th><th>galleries</th><th>promised FPIR</th><th>threshold</th>
<th>shown FPIR</th><th>least to most</th><th>within its interval</th><th>expected FNIR</th><th>shown FNIR</th>
<th>within its interval</th></tr></thead>
<tbody>{% for row in model.calibration %}
<tr><td>{{ row.calibration }}</td><td>{{ row.n_people }}</td><td>{{ row.n_galleries }}</td>
<td>{{ short(row.target_fpir) }}</td><td>{{ score(row.threshold) }}</td><td>{{ short(row.shown_fpir) }}</td>
<td>{{ short(row.least_fpir) }} to {{ short(row.most_fpir) }}</td><td>{{ kept(row.kept_share) }}</td>
<td>{{ short(row.expected_fnir) }}</td><td>{{ short(row.shown_fnir) }}</td><td>{{ kept(row.fnir_kept_share) }}</td></tr>
{% endfor %}</tbody></table></div>
<h3>Look-alikes</h3>
<div class="wide"><table>
<caption>Decisions at the threshold that the gallery's own calibration promises FPIR {{ short(shown_target) }} for, with
and without a lead that people who would pass for one another must have over each other</caption>
<thead><tr><th>lead</th><th>pairs</th><th>FPIR</th><th>FNIR</th><th>misidentified</th></tr></thead>
<tbody>{% for row in model.margins %}
<tr><td>{{ row.margin or "none" }}</td><td>{{ row.n_pairs }}</td>
<td>{{ rate(row.fpir) }}</td><td>{{ rate(row.fnir) }}</td><td>{{ rate(row.misidentified) }}</td></tr>
{% endfor %}</tbody></table></div>
{% if model.fusion %}
<h3>Many templates or one</h3>
<p><b>{{ model.fusion.verdict }}</b></p>
{% if model.fusion.rows %}
<figure>{{ figures.fusion }}<figcaption>Ways to combine a person's photos, and to search what they
make.</figcaption></figure>
<div class="wide"><table>
<caption>At FPIR {{ short(model.fusion.target_fpir) }}. More missed: percentage points more than the default, people and
strangers drawn for both at once. Bytes, per person: templates, fused ones that are searched besides, and a classifier's
weights. Time: median for one face in this gallery, on one thread of the machine that made this report, without the
service around it.</caption>
<thead><tr><th>frames, search</th><th>FNIR</th><th>more missed</th><th>rank 1</th><th>bytes</th><th>µs a search</th>
<th>s to learn</th><th>chosen</th></tr></thead>
<tbody>{% for row in model.fusion.rows %}
<tr{% if row.is_default %} class="product"{% endif %}><td>{{ row.title }}{{ " (default)" if row.is_default }}</td>
<td>{{ rate(row.fnir) }}</td><td>{{ points(row.difference) if row.difference else "–" }}</td>
<td>{{ rate(row.rank1) }}</td><td>{{ whole(row.n_bytes) }}</td><td>{{ whole(row.search_us) }}</td>
<td>{{ "–" if row.fit_s is none else "%.1f" | format(row.fit_s) }}</td><td>{{ row.setting }}</td></tr>
{% endfor %}</tbody></table></div>
<p>The PCA of the cohort and the LSTM are learned from the cohort, classifiers from the gallery; nothing is learned from
strangers or probes. Score of a classifier: kNN, the winner's cosines over k; linear SVM, the highest decision value;
logistic regression, the logarithm of the highest probability's odds. C by cross-validation on people's own photos.</p>
{% endif %}
{% if model.fusion.pooling %}{% set pooling = model.fusion.pooling %}
<h4>{{ pooling_title }}</h4>
<p><b>{{ pooling.verdict }}</b></p>
<div class="wide"><table>
<caption>At the threshold that names {{ short(pooling.target_fpir) }} of strangers by a single photo,
{{ score(pooling.threshold) }}. Frames are stood in for by 2 to 8 photos of one person, the main face of each: of
enrolled people those they are searched with, of strangers the cohort's, who are enrolled nowhere. The frames of a clip
agree more with each other. More missed: percentage points more than the best single frame, people drawn for both at
once. Intervals of this table come from drawing people again, with the threshold as it is.</caption>
<thead><tr><th>pooling</th><th>FPIR, {{ pooling.n_non_mated }} tracks</th><th>FNIR, {{ pooling.n_mated }} tracks</th>
<th>more missed</th></tr></thead>
<tbody>{% for row in pooling.rows %}
<tr{% if row.is_product %} class="product"{% endif %}><td>{{ row.title }}{{ " (the service)" if row.is_product }}</td>
<td>{{ rate(row.fpir) }}</td><td>{{ rate(row.fnir) }}</td>
<td>{{ points(row.difference) if row.difference else "–" }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
{% for each in model.fusion.left_out %}<p>Left out: {{ each.title }}, because {{ each.reason }}.</p>{% endfor %}
{% endif %}
{% include "strategies" %}
{% endfor %}
</body>
</html>
"""


def render_page(report: dict[str, Any], results: Sequence[ModelResult]) -> str:
    """Render the page.

    Args:
        report: what goes into report.json.
        results: the same models, for the figures.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=DictLoader({"strategies": STRATEGIES_SECTION}),
    )
    helpers = {
        "fta": _fta,
        "kept": _kept,
        "points": _points,
        "rate": _rate,
        "score": _score,
        "short": _percent,
        "whole": _whole,
    }
    return environment.from_string(_PAGE).render(
        report=report,
        models=list(zip(report["models"], (_figures(result) for result in results), strict=True)),
        style=Markup(_STYLE),
        product=PRODUCT,
        pooling_title=POOLING_TITLE,
        shown_row=_shown_row,
        shown_target=DEFAULT_FPIR,
        **helpers,
    )


def _figures(result: ModelResult) -> dict[str, Markup]:
    row = next(row for row in result.product.rows if row.target_fpir == DEFAULT_FPIR)
    return {
        "det": Markup(det_figure(result.variants)),
        "histogram": Markup(histogram_figure(result.product, row)),
        "sizes": Markup(size_figure(result.sizes)),
        "fusion": Markup(fusion_figure(result.fusion) if result.fusion and result.fusion.rows else ""),
    }


def _shown_row(variant: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in variant["rows"] if row["target_fpir"] == DEFAULT_FPIR)
    return row


def _fta(acquisition: dict[str, int]) -> str:
    kinds = {"n_no_face": "no face", "n_refused": "below the gate", "n_unreadable": "unreadable"}
    return ", ".join(f"{acquisition[key]} {words}" for key, words in kinds.items())


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.1f} %"


def _kept(share: float | None) -> str:
    return "–" if share is None else _percent(share)


def _whole(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _rate(interval: dict[str, float]) -> Markup:
    value, low, high = (f"{interval[key] * 100:.1f}" for key in ("value", "low", "high"))
    return Markup("{} %<small>{}–{}</small>").format(value, low, high)


def _score(threshold: float) -> str:
    return f"{threshold:.4f}" if threshold > _LOWEST_SCORE else "any"


def _points(difference: dict[str, float]) -> str:
    value, low, high = (f"{difference[key] * 100:+.1f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"

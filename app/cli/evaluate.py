"""`rollcall evaluate`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.failures import told_plainly
from app.cli.strategies_table import print_strategies
from app.settings import Settings

if TYPE_CHECKING:
    from ml.evaluation.protocol import Protocol
    from ml.evaluation.run import Machine, ModelResult, Options

_DEFAULT_OUT = Path("report")
_DEFAULT_CACHE = Path(".cache/evaluate")


@told_plainly
def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="One subfolder of photos per person, or images/ with these."),
    ],
    protocol: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='JSON: {"known": {person: {"gallery": [file], "probes": [file]}}, "cohort": [person/file], '
            '"strangers": [person/file]}. Default: FOLDER/protocol.json, or one made from the photos there are.',
        ),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for report.html and report.json.")] = Path(
        "report"
    ),
    backbone: Annotated[
        list[str] | None, typer.Option(help="Backbone to measure; may be repeated. Default: the service's.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain/--mirrored", help="Also measure embeddings without the mirror image's.")
    ] = False,
    max_strangers: Annotated[int | None, typer.Option(min=1, help="Search only the first so many strangers.")] = None,
    fit_prior: Annotated[
        bool, typer.Option("--fit-prior", help="Also print a ScorePrior measured on the cohort, for a model card.")
    ] = False,
    fusion: Annotated[
        bool,
        typer.Option(
            "--fusion",
            help="Also compare ways to combine a person's photos into templates, classifiers, and ways to make one "
            "decision of several frames. Looks at the cohort too, and then takes half a minute or more for 300 people.",
        ),
    ] = False,
    strategies: Annotated[
        bool,
        typer.Option(
            "--strategies",
            help="Also compare the service with the customary ways: fixed tolerance, kNN, SVM, logistic regression, "
            "softmax, and networks trained on the gallery and the cohort. Takes minutes.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="For everything that is drawn at random.")] = 0,
    cache: Annotated[
        Path, typer.Option(file_okay=False, help="Folder that keeps what was seen in photos: biometric data.")
    ] = _DEFAULT_CACHE,
) -> None:
    """Measure how well people in FOLDER are recognised, and how often strangers are given a name.

    Needs no running service. People are enrolled with some of their photos and searched with others, strangers are only
    searched; several ways of scoring are compared on the same faces. The report holds no names and no photos.
    """
    # Imported late: torch and FAISS take seconds to import, and a wrong option should be told at once.
    from ml.evaluation.report import Circumstances, write_report
    from ml.evaluation.run import Machine, Options, choose_protocol

    started, created_at = perf_counter(), datetime.now(UTC)
    if cache.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the cache {cache} lies inside the folder of photos: name another one with --cache")
    settings, notes = Settings(), Console(stderr=True)
    options = Options(
        seed,
        max_strangers,
        is_plain_measured=plain,
        is_prior_fitted=fit_prior,
        is_fusion_compared=fusion,
        is_strategy_compared=strategies,
    )
    chosen = choose_protocol(folder, protocol, options)
    notes.print(f"Protocol {chosen.source}.", markup=False)
    machine = Machine(settings.detector, settings.device, settings.models_path, settings.min_face_px)
    results = _measure(chosen, backbone or [settings.backbone], machine, options, cache)
    circumstances = Circumstances(created_at, folder.resolve().name, machine, perf_counter() - started)
    report = write_report(out, chosen, results, options, circumstances)
    for model in report["models"]:
        Console().print(_summary(model))
        if model["effect"]:
            Console().print(_effect(model["effect"]), markup=False)
        if model["fusion"]:
            _print_fusion(model["fusion"])
        if model["strategies"]:
            print_strategies(model["strategies"])
    if fit_prior:
        _print_priors(notes, results)
    notes.print(f"Report: {out / 'report.html'}", markup=False)


def _measure(
    protocol: "Protocol", backbones: Sequence[str], machine: "Machine", options: "Options", cache: Path
) -> "list[ModelResult]":
    from ml.evaluation.cache import ArrayCache
    from ml.evaluation.run import evaluate, load_backbones, photos_of
    from ml.evaluation.samples import PhotoReader

    loaded = load_backbones(backbones, machine, options)
    networks = [network for one in loaded for network in one.all]
    reader = PhotoReader(networks, ArrayCache(cache), min_face_px=machine.min_face_px)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Looking at photos", total=len(photos_of(protocol)))

        def on_progress(n_done: int, n_new: int) -> None:
            words = f"Looking at photos ({n_new} new, {n_done - n_new} from the cache)"
            progress.update(task, completed=n_done, description=words)

        return evaluate(protocol, loaded, reader, options, on_progress)


def _summary(model: dict[str, Any]) -> Table:
    enrolment, mated, strangers = model["enrolment"], model["mated"], model["strangers"]
    table = Table(
        title=f"{model['model']}: FNIR at a target FPIR, 95 % intervals below",
        caption=(
            f"{enrolment['n_enrolled']} people enrolled, {enrolment['n_failed']} failed; no usable face in "
            f"{_n_failed(mated)} of {mated['n_photos']} mated photos and {_n_failed(strangers)} of "
            f"{strangers['n_photos']} of strangers"
        ),
    )
    table.add_column("scoring")
    product = model["variants"][-1]
    targets = [row["target_fpir"] for row in product["rows"]]
    for heading in ("rank 1", *(f"FPIR {target * 100:g} %" for target in targets)):
        table.add_column(heading, justify="right")
    for variant in model["variants"]:
        rows = [row for row in variant["rows"] if row["target_fpir"] is not None]
        cells = [_rate(variant["rank1"]), *(_rate(row["fnir"]) for row in rows)]
        table.add_row(variant["title"] + _fixed(variant), *cells, style="bold" if variant is product else None)
    return table


def _print_fusion(fusion: dict[str, Any]) -> None:
    if fusion["rows"]:
        Console().print(_fusion_table(fusion))
    for each in fusion["left_out"]:
        Console().print(f"Left out: {each['title']}, because {each['reason']}.", markup=False)
    Console().print(fusion["verdict"], markup=False)
    if fusion["pooling"]:
        Console().print(_pooling_table(fusion["pooling"]))
        Console().print(fusion["pooling"]["verdict"], markup=False)


def _fusion_table(fusion: dict[str, Any]) -> Table:
    table = Table(
        title="Many templates or one",
        caption="More missed: percentage points more than the default. Microseconds: this machine's, on one thread",
    )
    table.add_column("frames, search")
    headings = (
        f"FNIR at FPIR {fusion['target_fpir'] * 100:g} %",
        "more missed",
        "rank 1",
        "bytes a person",
        "µs a search",
    )
    for heading in (*headings, "s to learn", "chosen"):
        table.add_column(heading, justify="right")
    for row in fusion["rows"]:
        title = f"{row['title']}\n(default)" if row["is_default"] else row["title"]
        difference = _points(row["difference"], "\n") if row["difference"] else "–"
        numbers = (_number(row["n_bytes"]), _number(row["search_us"]), _number(row["fit_s"], 1), row["setting"])
        style = "bold" if row["is_default"] else None
        table.add_row(title, _rate(row["fnir"]), difference, _rate(row["rank1"]), *numbers, style=style)
    return table


def _pooling_table(pooling: dict[str, Any]) -> Table:
    from ml.evaluation.pooling import POOLING_TITLE

    table = Table(
        title=POOLING_TITLE,
        caption=f"At the threshold that names {pooling['target_fpir'] * 100:g} % of strangers by a single photo. "
        "Photos stand in for frames. More missed: percentage points more than the best single frame",
    )
    table.add_column("pooling")
    headings = (f"FPIR\n{pooling['n_non_mated']} tracks", f"FNIR\n{pooling['n_mated']} tracks", "more missed")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in pooling["rows"]:
        title = f"{row['title']}\n(the service)" if row["is_product"] else row["title"]
        difference = _points(row["difference"], "\n") if row["difference"] else "–"
        style = "bold" if row["is_product"] else None
        table.add_row(title, _rate(row["fpir"]), _rate(row["fnir"]), difference, style=style)
    return table


def _number(value: float | None, n_decimals: int = 0) -> str:
    return "–" if value is None else f"{value:,.{n_decimals}f}"


def _points(difference: dict[str, float], between: str = " ") -> str:
    value, low, high = (100 * difference[key] for key in ("value", "low", "high"))
    return f"{value:+.1f}{between}({low:+.1f} to {high:+.1f})"


def _effect(rows: list[dict[str, Any]]) -> str:
    points = [f"{_points(row['fnir'])} at FPIR {row['target_fpir'] * 100:g} %" for row in rows]
    return f"Without the mirror image, percentage points more missed by the product's rule: {'; '.join(points)}"


def _fixed(variant: dict[str, Any]) -> str:
    """What the variant's customary threshold does, where it has one."""
    rows = [row for row in variant["rows"] if row["target_fpir"] is None]
    return "".join(f"\nat tolerance {-row['threshold']}: FPIR {row['fpir']['value'] * 100:.1f} %" for row in rows)


def _rate(interval: dict[str, float]) -> str:
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} %\n[dim]{low:.1f}–{high:.1f}[/dim]"


def _n_failed(acquisition: dict[str, int]) -> int:
    return acquisition["n_no_face"] + acquisition["n_refused"] + acquisition["n_unreadable"]


def _print_priors(notes: Console, results: "list[ModelResult]") -> None:
    from ml.evaluation.prior import as_source, largest_difference

    for result in results:
        if result.fitted_prior is None:
            continue
        typer.echo(f"# {result.model}\n{as_source(result.fitted_prior)}")
        difference = largest_difference(result.fitted_prior, result.card_prior)
        words = "the card's has other levels" if difference is None else f"{difference[0]:.4f}, {difference[1]:.4f}"
        notes.print(f"Largest difference from the card's prior, non-mated and mated: {words}", markup=False)

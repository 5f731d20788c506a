"""The table of `rollcall evaluate --strategies`."""

from typing import Any

from rich.console import Console
from rich.table import Table

_RATES = ("accuracy", "precision", "recall", "f1")


def print_strategies(table: dict[str, Any], console: Console | None = None) -> None:
    """Print what each way misses and takes, its rates, what became of the searches, how each threshold was set.

    Three tables, because a terminal of 80 letters cuts off what stands in one.
    """
    screen = console or Console()
    if table["rows"]:
        screen.print(_errors_table(table))
        screen.print(_rates_table(table))
        screen.print(_counts_table(table))
    for row in table["rows"]:
        screen.print(f"{row['title']}: {row['note']}", markup=False, highlight=False)
    for each in table["left_out"]:
        screen.print(f"Left out: {each['title']}, because {each['reason']}.", markup=False, highlight=False)


def _errors_table(table: dict[str, Any]) -> Table:
    shown = Table(
        title="Ways to recognise people",
        caption="FNIR with the threshold that names exactly so many of these strangers. "
        "Time: for one face whose embedding is there, on one thread",
    )
    shown.add_column("way")
    headings = (f"FNIR at FPIR {table['target_fpir'] * 100:g} %", "rank 1", "FPIR in use", "s to learn", "µs a search")
    for heading in headings:
        shown.add_column(heading, justify="right")
    for row in table["rows"]:
        fnir = _rate(row["fnir"]) if row["fnir"] else "refuses\nnobody"
        times = (_number(row["train_s"], 1), _number(row["search_us"], 0))
        shown.add_row(_title(row), fnir, _rate(row["rank1"]), _rate(row["fpir"]), *times, style=_style(row))
    return shown


def _rates_table(table: dict[str, Any]) -> Table:
    shown = Table(title="Each with the threshold it would have in use")
    shown.add_column("way")
    for heading in _RATES:
        shown.add_column(heading, justify="right")
    for row in table["rows"]:
        rates = (f"{row[name]['value'] * 100:.1f} %" for name in _RATES)
        shown.add_row(_title(row), *rates, style=_style(row))
    return shown


def _counts_table(table: dict[str, Any]) -> Table:
    shown = Table(title="What became of the searches")
    shown.add_column("way")
    for heading in ("enrolled: right", "wrong name", "missed", "strangers: named", "refused"):
        shown.add_column(heading, justify="right")
    names = ("n_identified_right", "n_misidentified", "n_missed", "n_strangers_named", "n_strangers_rejected")
    for row in table["rows"]:
        shown.add_row(_title(row), *(str(row["counts"][name]) for name in names), style=_style(row))
    return shown


def _title(row: dict[str, Any]) -> str:
    return f"{row['title']}\n(the service)" if row["is_default"] else str(row["title"])


def _style(row: dict[str, Any]) -> str | None:
    return "bold" if row["is_default"] else None


def _rate(interval: dict[str, float]) -> str:
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} %\n[dim]{low:.1f}–{high:.1f}[/dim]"


def _number(value: float | None, n_decimals: int) -> str:
    return "–" if value is None else f"{value:,.{n_decimals}f}"

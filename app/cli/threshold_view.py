"""Operating points as a person at a terminal reads them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Json = Mapping[str, Any]

FINDINGS: Mapping[str, str] = {
    "look-alikes": "pairs of people who are easily taken for each other",
    "suspicious-templates": "photos that look more like somebody else",
}
"""What calibrations find, by the end of its address."""


def print_current(console: Console, point: Json, found: Mapping[str, int]) -> None:
    """The point in force; `found` counts the `FINDINGS`."""
    console.print(f"[bold]Threshold {point['threshold']:.4f}[/bold], {_mode(point)}")
    console.print(_rates(point))
    facts = Table.grid(padding=(0, 2))
    for name, words in (("rests on", _evidence(point)), ("gallery", _gallery(point)), ("set", _made(point))):
        facts.add_row(name, escape(words))
    if point["suggestion"]:
        facts.add_row("suggestion", _suggestion(point["suggestion"]))
    for name, words in FINDINGS.items():
        facts.add_row(name, f"{found[name]} {words}" + (f": see GET /v1/threshold/{name}" if found[name] else ""))
    console.print(facts)
    if point["is_calibrating"]:
        console.print("A calibration is running: look again in a moment.")


def print_preview(console: Console, preview: Json) -> None:
    """What a threshold would do, and the decisions that it would change."""
    console.print(f"[bold]Threshold {preview['threshold']:.4f}[/bold] would mean")
    console.print(_rates(preview))
    console.print(
        f"Of {preview['n_events']} stored decisions, {preview['n_named']} of which named somebody, "
        f"{preview['n_no_longer_named']} would no longer and {preview['n_newly_named']} would newly name somebody."
    )
    if preview["changes"]:
        console.print(_changes(preview["changes"]))


def print_history(console: Console, page: Json, current: Json) -> None:
    """A page of the history; `current` says what is in force and suggested now."""
    suggested = current["suggestion"] or {"id": None}
    marks = {current["id"]: "  (in force)", suggested["id"]: "  (suggested)"}
    for point in page["items"]:
        mark = marks.get(point["id"], "  (was only suggested)" if point["is_suggestion"] else "")
        console.print(f"[bold]{point['id']}[/bold]  {point['threshold']:.4f}  {_chosen(point)}{mark}", highlight=False)
        fpir, fnir = (_percent(point[name]["value"]) for name in ("expected_fpir", "expected_fnir"))
        console.print(f"  expected FPIR {fpir}, FNIR {fnir} with {point['n_people']:,} people", highlight=False)
        console.print(f"  {escape(_made(point))}", highlight=False)
    console.print("An earlier one is put in force again by `rollcall threshold restore ID`.")
    if page["next_cursor"]:
        console.print("There are older ones: --limit shows more.")


def _mode(point: Json) -> str:
    if point["mode"] == "manual":
        return "set by hand: it stays until somebody changes it."
    return f"automatic: {_percent(point['target_fpir'])} of strangers' faces may be given a name."


def _rates(point: Json) -> Table:
    table = Table("expected", "rate", "95 % interval")
    for words, name in (
        ("strangers' faces given a name (FPIR)", "expected_fpir"),
        ("enrolled people's faces not recognised (FNIR)", "expected_fnir"),
    ):
        rate = point[name]
        table.add_row(words, _percent(rate["value"]), f"{_percent(rate['low'])} to {_percent(rate['high'])}")
    return table


def _evidence(point: Json) -> str:
    evidence = point["evidence"]
    return (
        f"{evidence['n_mated']:,} searches of enrolled people for themselves and {evidence['n_non_mated']:,} as if "
        f"they were strangers; {evidence['source']}. Method: {point['method']}."
    )


def _gallery(point: Json) -> str:
    return f"{point['n_people']:,} people with {point['n_templates']:,} templates of {point['model']}"


def _made(point: Json) -> str:
    why = f": {point['reason']}" if point["reason"] else ", no reason given"
    return f"{_time(point['created_at'])} UTC by {point['created_by']}{why}"


def _suggestion(point: Json) -> str:
    target = _percent(point["target_fpir"])
    command = f"rollcall threshold set --target {point['target_fpir']:g}"
    return f"{point['threshold']:.4f} for a target of {target}; to take it: {command}"


def _chosen(point: Json) -> str:
    return "by hand" if point["mode"] == "manual" else f"for a target of {_percent(point['target_fpir'])}"


def _changes(changes: list[Json]) -> Table:
    table = Table("when (UTC)", "was", "would be", "who", "score", "threshold then")
    for change in changes:
        person = change["person"]
        who = escape(f"{person['name']} ({person['employee_code']})") if person else "erased since"
        outcomes = change["outcome"].upper(), change["new_outcome"].upper()
        table.add_row(
            _time(change["at"]), *outcomes, who, f"{change['score']:.4f}", f"{change['decided_threshold']:.4f}"
        )
    return table


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M}"

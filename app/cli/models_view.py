"""Models as a person at a terminal reads them."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

Json = Mapping[str, Any]

_STATUS: Final = {
    "champion": "in use",
    "challenger": "measured to be better",
    "refused": "not measured to be better",
    "retired": "was in use",
}
_KIND: Final = {
    "backbone": "as published",
    "projection": "trained here, a head on {}",
    "finetune": "trained here, from {}",
    "scratch": "trained here, from nothing",
}
_PEOPLE_SHOWN = 20


def print_models(console: Console, page: Json) -> None:
    """A page of models, the newest first."""
    for model in page["items"]:
        _print_head(console, model)
    _say(console, "`rollcall models show ID` shows who would have to enrol again before one is promoted.")
    if page["next_cursor"]:
        _say(console, "There are older ones: --limit shows more.")


def print_detail(console: Console, model: Json) -> None:
    """One model, whom it would not know, and what can be done with it."""
    _print_head(console, model)
    _say(console, f"  licence  {model['card']['licence']}")
    _say(console, f"  limits   {model['card']['limits']}")
    _print_readiness(console, model["readiness"])
    if model["status"] != "champion":
        _say(console, f"To use it: {_promotion(model)}")


def _print_head(console: Console, model: Json) -> None:
    ready = ", kept ready to go back to" if model["is_standby"] else ""
    _say(console, f"{model['id']}  {model['model']}  {_STATUS[model['status']]}{ready}")
    size = "" if model["n_bytes"] is None else f", {model['n_bytes'] / 1e6:,.1f} MB"
    made_at = model["created_at"][:16].replace("T", " ")
    _say(console, f"  {_KIND[model['kind']].format(model['backbone'])}{size}, {made_at} by {model['created_by']}")
    if model["reason"]:
        _say(console, f"  {model['reason']}")


def _print_readiness(console: Console, readiness: Json) -> None:
    _say(
        console,
        f"Of {readiness['n_templates']:,} templates it has embedded {readiness['n_embedded']:,}, can embed "
        f"{readiness['n_missing_with_crop']:,} by itself, and {readiness['n_missing_without_crop']:,} not at all.",
    )
    n, people = readiness["n_people_to_enrol_again"], readiness["people_to_enrol_again"]
    if not n:
        _say(console, "Nobody would have to enrol again.")
        return
    _say(console, f"{n:,} {'person' if n == 1 else 'people'} would have to enrol again:")
    for person in people[:_PEOPLE_SHOWN]:
        _say(console, f"  {person['employee_code']}  {person['name']}")
    if n > _PEOPLE_SHOWN:
        _say(console, f"  … and {n - _PEOPLE_SHOWN:,} more")


def _promotion(model: Json) -> str:
    """The command that puts it to use."""
    if model["is_standby"]:
        return "rollcall models rollback"
    missing = " --accept-missing" if model["readiness"]["n_people_to_enrol_again"] else ""
    anyway = ' --even-if-not-better --reason "…"' if model["status"] == "refused" else ""
    return f"rollcall models promote {model['id']}{missing}{anyway}"


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)

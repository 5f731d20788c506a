"""`rollcall threshold`."""

import json
from time import monotonic, sleep
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from app.auth.scopes import Scope
from app.cli import threshold_view as view
from app.cli.client import DEFAULT_URL, Client, KeyOption, RefusedError, ServiceError, UrlOption, open_client
from app.cli.failures import told_plainly
from app.operating_points.schemas import ASKED_FOR, Preset

app = typer.Typer(help="The threshold that names people: what it is, why, and what another one would do.")

_PATH = "/v1/threshold"
# A gallery of 100,000 templates takes minutes; whoever has more looks again later.
_PATIENCE_S = 600.0
_ASK_EVERY_S = 1.0
_LOOKED_THROUGH = 50

JsonOption = Annotated[bool, typer.Option("--json", help="Print the service's answer as it is.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why, for the history.")]


def _share(text: str) -> float:
    """`1%` and `0.01` are the same."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise typer.BadParameter(f"{text!r} is no share: write 1% or 0.01")
    return share


@app.command()
@told_plainly
def show(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Show the threshold in force: how often it errs, what that rests on, and who set it when and why."""
    with open_client(url, key, Scope.OPERATOR) as client:
        if as_json:
            _print_json(client.get(_PATH))
        else:
            _show(client)


@app.command("set")
@told_plainly
def set_threshold(
    target: Annotated[
        float | None,
        typer.Option(parser=_share, metavar="SHARE", help="Share of strangers that may be given a name: 1% or 0.01."),
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="A usual target: strict 0.1 %, normal 1 %, relaxed 5 %.")
    ] = None,
    manual: Annotated[float | None, typer.Option(help="The threshold itself, which then stays as it is.")] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Choose how often a stranger may be given a name (--target or --preset), or the threshold itself (--manual).

    It counts from the next picture on.
    """
    if sum(value is not None for value in (target, preset, manual)) != 1:
        raise typer.BadParameter("give one of --target 1%, --preset normal or --manual 0.49, and only one")
    auto = {"mode": "auto", "target_fpir": target, "preset": preset, "reason": reason}
    with open_client(url, key, Scope.ADMIN) as client:
        client.put(_PATH, auto if manual is None else {"mode": "manual", "threshold": manual, "reason": reason})
        _show(client)


@app.command()
@told_plainly
def recalibrate(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Calculate the threshold anew from the people who are enrolled; a manual one stays, beside a new suggestion."""
    with open_client(url, key, Scope.ADMIN) as client:
        before = _last_asked_for(client)
        answer = client.post_json(f"{_PATH}/recalibrate")
        if answer.get("status") == "queued":
            _wait_for_another_than(before, client)
        _show(client)


# Without the setting, click takes a negative threshold for an option.
@app.command(context_settings={"ignore_unknown_options": True})
@told_plainly
def preview(
    threshold: Annotated[float, typer.Argument(help="The threshold to try, for example 0.49.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Show what a threshold would do: how often it errs, and what it would have decided of late. Changes nothing."""
    with open_client(url, key, Scope.OPERATOR) as client:
        answer = client.post_json(f"{_PATH}/preview", {"threshold": threshold})
    if as_json:
        _print_json(answer)
    else:
        view.print_preview(Console(), answer)


@app.command()
@told_plainly
def history(
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most entries shown.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Show the thresholds there were, the newest first, with who set them and why."""
    with open_client(url, key, Scope.OPERATOR) as client:
        page = client.get(f"{_PATH}/history?limit={limit}")
        if as_json:
            _print_json(page)
        else:
            view.print_history(Console(), page, client.get(_PATH))


@app.command()
@told_plainly
def restore(
    point_id: Annotated[str, typer.Argument(metavar="ID", help="As `rollcall threshold history` shows it.")],
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Put an earlier threshold in force again, as a manual one."""
    with open_client(url, key, Scope.ADMIN) as client:
        try:
            client.post_json(f"{_PATH}/history/{quote(point_id, safe='')}/restore", {"reason": reason})
        except RefusedError as refusal:
            if refusal.problem.get("status") != 404:
                raise
            message = f"there is no operating point {point_id}: `rollcall threshold history` shows those there are"
            raise ServiceError(message) from refusal
        _show(client)


def _show(client: Client) -> None:
    found = {name: len(client.get(f"{_PATH}/{name}")["items"]) for name in view.FINDINGS}
    view.print_current(Console(), client.get(_PATH), found)


def _last_asked_for(client: Client) -> str | None:
    """The id of the newest point that somebody asked for: the service also calculates by itself meanwhile."""
    newest = client.get(f"{_PATH}/history?limit={_LOOKED_THROUGH}")["items"]
    return next((str(point["id"]) for point in newest if point["reason"] == ASKED_FOR), None)


def _wait_for_another_than(before: str | None, client: Client) -> None:
    deadline = monotonic() + _PATIENCE_S
    with Console(stderr=True).status("Calculating; that takes a while in a large gallery …"):
        while monotonic() < deadline:
            if _last_asked_for(client) not in (before, None):
                return
            sleep(_ASK_EVERY_S)
    raise ServiceError(
        f"not done after {_PATIENCE_S / 60:.0f} minutes: the service goes on; look later with `rollcall threshold "
        "show`, and at the service's log if nothing changes"
    )


def _print_json(answer: Any) -> None:
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))

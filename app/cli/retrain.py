"""`rollcall retrain`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from app.auth.scopes import Scope
from app.cli import models_view as view
from app.cli.client import DEFAULT_URL, KeyOption, UrlOption, open_client
from app.cli.failures import told_plainly
from app.cli.following import Json, follow
from app.models.schemas import Policy, Strategy


@told_plainly
def retrain(
    strategy: Annotated[
        Strategy | None,
        typer.Option(
            help="projection: a small head on the embeddings, in minutes. finetune: the network's last blocks, too. "
            "scratch: a small network from nothing. Else as ROLLCALL_RETRAIN_STRATEGY has it."
        ),
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="Of a model that is better: auto uses it, ask gets it ready and waits, never only keeps it. "
            "Else as ROLLCALL_RETRAIN_POLICY has it."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same faces and seed give the same model.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Show how far it is, and at the end how it was judged.")] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Let the running service train a model on the faces that it keeps, and judge it on people it never saw.

    It can only get better: a model that is not measured to find more people is not used. The service goes on when this
    command is interrupted.
    """
    with open_client(url, key, Scope.ADMIN) as client:
        wanted = {"strategy": strategy, "policy": policy, "seed": seed}
        job_id = client.post_json("/v1/retrain", wanted)["job_id"]
        if not wait:
            typer.echo(f"Training has been asked for: {job_id}. `rollcall models show` says how it was judged.")
            return
        training = follow(lambda: client.get(f"/v1/retrain/{job_id}"), _last_values)
        model = None if training["model_id"] is None else client.get(f"/v1/models/{training['model_id']}")
    _tell(Console(), training, model)


def _tell(console: Console, training: Json, model: Any) -> None:
    if last := _last_values(training):
        console.print(f"At the end: {last}.", markup=False, highlight=False)
    if model is None:
        console.print("The model that came out was discarded since.")
    else:
        view.print_detail(console, model)


def _last_values(training: Json) -> str:
    """Of each curve, what the last epoch made of it."""
    curves = training["curves"]
    if curves is None or not curves["loss"]:
        return ""
    told = [f"epoch {len(curves['loss'])}", f"loss {_number(curves['loss'][-1])}"]
    if curves["validation_fnir"]:
        told.append(f"FNIR {_percent(curves['validation_fnir'][-1])} on people it does not learn from")
    return ", ".join(told)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"

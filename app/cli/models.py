"""`rollcall models`."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import Progress

from app.auth.scopes import Scope
from app.cli import models_view as view
from app.cli.client import DEFAULT_URL, Client, KeyOption, ServiceError, UrlOption, open_client
from app.cli.failures import told_plainly
from app.cli.following import Json, follow_job
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.backbones.cards import all_cards, find_card
from ml.backbones.weights import pull_weights, weights_path

app = typer.Typer(help="The networks that can be used, and their files; and the models of the running service.")

_PATH = "/v1/models"

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `rollcall models show` shows it.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why, for the record.")]


@app.command("list")
@told_plainly
def list_models() -> None:
    """Show every network: what it is for, its licence, how good it is and whether its file is here."""
    settings, console = Settings(), Console()
    for card in all_cards():
        console.print(f"[bold]{card.name}[/bold] ({card.kind}, {card.model})  {_in_use(card, settings)}")
        console.print(f"  weights  {_whereabouts(card, settings.models_path)}")
        console.print(f"  licence  {card.licence}")
        console.print(f"  origin   {card.weights_origin}")
        console.print(f"  quality  {card.quality_note}")
        console.print(f"  limits   {card.limits}\n")
    console.print("Any ArcFace-style network: ROLLCALL_BACKBONE=onnx:FILE (112x112, needs the extra \\[onnx]).")


@app.command()
@told_plainly
def pull(
    name: Annotated[str, typer.Argument(help="A name that `rollcall models list` shows.")],
    from_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Take the file from here, on a machine without internet."),
    ] = None,
) -> None:
    """Fetch a network's file from its publisher, check it and put it where the service looks for it."""
    card = find_card(name)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(card.name, total=None)
        pulled = pull_weights(
            card,
            Settings().models_path,
            from_file=from_file,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    checked = "" if pulled.is_checked else ", its publisher names none to compare with"
    typer.echo(f"{card.name} is ready: {pulled.path} (sha256 {pulled.sha256}{checked})")


@app.command()
@told_plainly
def show(
    model_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One model, and who would have to enrol again for it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most models shown.")] = 20,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Show the service's models, the newest first: which is in use, and how each was judged."""
    with open_client(url, key, Scope.OPERATOR) as client:
        if model_id is None:
            view.print_models(Console(), client.get(f"{_PATH}?limit={limit}"))
        else:
            view.print_detail(Console(), client.get(_path(model_id)))


@app.command()
@told_plainly
def promote(
    model_id: IdArgument,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Even if some people would have to enrol again.")
    ] = False,
    even_if_not_better: Annotated[
        bool, typer.Option("--even-if-not-better", help="Although it was not measured to be; needs --reason.")
    ] = False,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Put a model to use, on every replica and without downtime; the one before is kept ready to go back to."""
    if even_if_not_better and reason is None:
        raise typer.BadParameter("--even-if-not-better needs --reason, for the record")
    wanted = {"accept_missing": accept_missing, "even_if_not_better": even_if_not_better, "reason": reason}
    with open_client(url, key, Scope.ADMIN) as client:
        follow_job(client, client.post_json(f"{_path(model_id)}/promote", wanted)["job_id"])
        typer.echo(f"{client.get(_path(model_id))['model']} is in use now.")


@app.command()
@told_plainly
def rollback(
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Go back, although some people would have to enrol again.")
    ] = False,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Go back at once to the model that was in use before; doing it again undoes it."""
    with open_client(url, key, Scope.ADMIN) as client:
        champion_id = client.get(f"{_PATH}?limit=1")["champion_id"]
        answer = client.post_json(
            f"{_path(champion_id)}/rollback", {"accept_missing": accept_missing, "reason": reason}
        )
        typer.echo(f"{answer['model']} is in use now, from gallery revision {answer['gallery_revision']} on.")


@app.command()
@told_plainly
def switch(
    backbone: Annotated[
        str, typer.Argument(help="A name that `rollcall models list` shows, or onnx:FILE with a file of the worker's.")
    ],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Measure another network on the faces that are kept, and say what it takes to switch to it. Switches nothing."""
    with open_client(url, key, Scope.ADMIN) as client:
        result = follow_job(client, client.post_json(_PATH, {"backbone": backbone})["job_id"])
        view.print_detail(Console(), _made(client, result))


@app.command()
@told_plainly
def discard(model_id: IdArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Delete a model that is not in use, with its weights and embeddings."""
    with open_client(url, key, Scope.ADMIN) as client:
        receipt = client.delete(_path(model_id))
    typer.echo(f"{receipt['model']} is deleted, and {receipt['n_embeddings_deleted']:,} embeddings with it.")


def _path(model_id: str) -> str:
    return f"{_PATH}/{quote(model_id, safe='')}"


def _made(client: Client, result: Json) -> Json:
    """The model that a job has measured."""
    if "model_id" not in result:
        raise ServiceError("the service did not say which model it measured: `rollcall models show` lists them all")
    made: Json = client.get(_path(str(result["model_id"])))
    return made


def _in_use(card: ModelCard, settings: Settings) -> str:
    return "[green]in use[/green]" if card.name in (settings.backbone, settings.detector) else ""


def _whereabouts(card: ModelCard, models_dir: Path) -> str:
    if card.weights is None:
        return "inside an installed package"
    path = weights_path(card, models_dir)
    return f"here: {path}" if path.exists() else f"not here: rollcall models pull {card.name}"

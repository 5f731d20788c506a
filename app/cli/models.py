"""`rollcall models`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from app.cli.failures import told_plainly
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.backbones.cards import all_cards, find_card
from ml.backbones.weights import pull_weights, weights_path

app = typer.Typer(help="The networks that can be used, and their files.")


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


def _in_use(card: ModelCard, settings: Settings) -> str:
    return "[green]in use[/green]" if card.name in (settings.backbone, settings.detector) else ""


def _whereabouts(card: ModelCard, models_dir: Path) -> str:
    if card.weights is None:
        return "inside an installed package"
    path = weights_path(card, models_dir)
    return f"here: {path}" if path.exists() else f"not here: rollcall models pull {card.name}"

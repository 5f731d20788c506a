"""The command line's table of contents."""

from typing import Annotated

import typer

from app import __version__
from app.cli.backup import backup
from app.cli.camera import camera
from app.cli.cameras import app as cameras_app
from app.cli.cluster import app as cluster_app
from app.cli.demo import demo
from app.cli.enroll import enroll
from app.cli.enroll_video import enroll_video
from app.cli.evaluate import evaluate
from app.cli.exports import app as exports_app
from app.cli.gallery import app as gallery_app
from app.cli.identify import identify
from app.cli.imports import app as imports_app
from app.cli.inference import inference
from app.cli.keys import app as keys_app
from app.cli.migrate import migrate
from app.cli.models import app as models_app
from app.cli.retrain import retrain
from app.cli.serve import serve
from app.cli.threshold import app as threshold_app
from app.cli.tune_engine import tune_engine
from app.cli.users import app as users_app
from app.cli.worker import worker

app = typer.Typer(
    name="rollcall",
    help="Face-recognition attendance: enrol people, identify them, and know how often that goes wrong.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


app.command("serve")(serve)
app.command("worker")(worker)
app.command("inference")(inference)
app.command("tune-engine")(tune_engine)
app.command("migrate")(migrate)
app.command("backup")(backup)
app.command("enroll")(enroll)
app.command("enroll-video")(enroll_video)
app.command("identify")(identify)
app.command("camera")(camera)
app.command("demo")(demo)
app.command("evaluate")(evaluate)
app.add_typer(imports_app, name="import")
app.add_typer(exports_app, name="export")
app.add_typer(cluster_app, name="cluster")
app.add_typer(gallery_app, name="gallery")
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")
app.add_typer(cameras_app, name="cameras")
app.add_typer(models_app, name="models")
app.command("retrain")(retrain)
app.add_typer(threshold_app, name="threshold")

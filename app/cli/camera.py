"""`rollcall camera`."""

import signal
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.client import DEFAULT_URL, ServiceError
from app.cli.failures import told_plainly
from app.logs import configure_logging
from app.settings import Settings

if TYPE_CHECKING:  # OpenCV and torch take seconds to import
    from app.camera.client import Looking
    from app.camera.console import Console
    from app.camera.source import Source
    from app.camera.watcher import OnFrame

NOT_ALL_DELIVERED = 3


def _print_systemd(wanted: bool) -> None:
    if wanted:
        typer.echo(files("app.camera").joinpath("rollcall-camera.service").read_text(), nl=False)
        raise typer.Exit


@told_plainly
def camera(
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            envvar="ROLLCALL_SOURCE",
            help="rtsp://… or http://…, /dev/video0, a number such as 0, or a film. Without: only deliver. With a "
            "password in it, best in the environment: everybody on the machine can read the list of processes.",
        ),
    ] = None,
    server: Annotated[str, typer.Option("--server", envvar="ROLLCALL_URL", help="Where the service runs.")] = (
        DEFAULT_URL
    ),
    key: Annotated[
        str | None,
        typer.Option("--key", envvar="ROLLCALL_API_KEY", help="The camera's API key; it also encrypts the spool."),
    ] = None,
    old_key: Annotated[
        list[str] | None,
        typer.Option("--old-key", envvar="ROLLCALL_OLD_API_KEY", help="An earlier key, for what still waits under it."),
    ] = None,
    direction: Annotated[
        Literal["in", "out"] | None, typer.Option(help="What a punch here is, where the camera is set to both.")
    ] = None,
    spool: Annotated[
        Path, typer.Option(envvar="ROLLCALL_SPOOL", help="Folder where captures wait, encrypted; one per camera.")
    ] = Path("camera-spool"),
    spool_max_mb: Annotated[int, typer.Option(min=1, help="Most that waits; the oldest are kept.")] = 500,
    min_face_px: Annotated[
        int | None,
        typer.Option(
            min=12,
            help="Smallest face sent, in pixels.",
            show_default="the camera's policy, else 7 % of the picture's height, 18 to 40",
        ),
    ] = None,
    started_at: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S"], help="When a film began.")
    ] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="Play a film as fast as it was filmed.")] = False,
    wait_s: Annotated[float, typer.Option(min=0, help="Longest wait at a film's end until all is delivered.")] = 60.0,
    webhook: Annotated[str | None, typer.Option(help="URL that each answer is posted to, as JSON without names.")] = (
        None
    ),
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object per line, without names.")] = False,
    no_snapshots: Annotated[
        bool, typer.Option("--no-snapshots", help="Never show operators of the service what the camera sees right now.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the picture in a window, where OpenCV has windows.")] = (
        False
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; say what would be sent.")] = False,
    save: Annotated[Path | None, typer.Option(help="With --dry-run: folder for the pictures.")] = None,
    print_systemd: Annotated[
        bool,
        typer.Option("--print-systemd", callback=_print_systemd, is_eager=True, help="Print a systemd unit and stop."),
    ] = False,
) -> None:
    """Watch a camera and send the best picture of each visitor to the service.

    Captures are written to an encrypted spool first and delivered in order with their original times, however long the
    service or the network is away. Ctrl-C or SIGTERM ends it; what waits is delivered by the next start.

    Exit status: 0 ended as asked, with everything of a film delivered; 1 it cannot start, and says why; 2 wrong
    options; 3 a film has ended and captures still wait in the spool: run it again without --source to deliver them.
    """
    configure_logging(Settings())
    from app.camera.client import Client, Looking, Server
    from app.camera.console import Console

    console = Console(sys.stdout, is_json=json_lines)
    stop = _stopped_by_signals()
    looking = Looking(direction, min_face_px, _window(stop) if show else None, not no_snapshots)
    opened = None
    if source is not None:
        from app.camera.source import open_source

        opened = open_source(source, console, started_at=_aware(started_at), is_realtime=realtime)
    if dry_run:
        _rehearse(opened, looking, console, stop, save)
        return
    if save is not None:
        raise ServiceError("--save goes with --dry-run: pictures of visitors are kept nowhere else but in the spool")
    if key is None:
        raise ServiceError(
            "no key given: make one with `rollcall keys create --scope camera NAME`, or add the camera through "
            "POST /v1/cameras, and set ROLLCALL_API_KEY"
        )
    target = Server(server, [key, *(old_key or [])], spool, spool_max_mb * 1_000_000, webhook)
    if not Client(target, looking, console).run(opened, stop, wait_s):
        raise typer.Exit(NOT_ALL_DELIVERED)


def _rehearse(source: "Source | None", looking: "Looking", console: "Console", stop: Event, save: Path | None) -> None:
    from app.camera.client import rehearse

    if source is None:
        raise ServiceError("--dry-run sends nothing, so it needs a --source to look at")
    rehearse(source, looking, console, stop, save)


def _window(stop: Event) -> "OnFrame":
    from app.camera.window import Window

    return Window(stop).show


def _stopped_by_signals() -> Event:
    """Set by what asks the process to end; asked again, it ends at once."""
    stop = Event()

    def ask(number: int, _frame: object) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


def _aware(given: datetime | None) -> datetime | None:
    """Without an offset it is this machine's time."""
    return None if given is None else given.astimezone(UTC)

"""`rollcall cameras`."""

from datetime import datetime
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from sqlalchemy.orm import Session

from app.cameras import queries, schemas, service
from app.cli.client import ServiceError
from app.cli.failures import told_plainly
from app.cli.own_database import ACTOR, existing, opened
from app.errors import ProblemError
from app.settings import Settings
from app.sites.service import DEFAULT_SITE

# Read at once; there may be thousands.
_CHUNK = 500

app = typer.Typer(help="Cameras and their keys. A key is stored hashed, so it is shown once and cannot be shown again.")


@app.command()
@told_plainly
def create(
    name: Annotated[str, typer.Argument(help="Where it hangs, e.g. 'front door'.")],
    site: Annotated[str, typer.Option(metavar="ID", help="The site where it stands.")] = DEFAULT_SITE,
    direction: Annotated[Literal["in", "out", "both"], typer.Option(help="What passing it means.")] = "both",
) -> None:
    """Add a camera to the database that the settings name, and print its key alone on standard output."""
    try:
        new = schemas.CameraCreate(name=name, site_id=site, direction=direction)
    except ValidationError as wrong:
        raise ServiceError(f"{wrong.errors()[0]['loc'][0]}: {wrong.errors()[0]['msg']}") from None
    with opened(Settings()) as database, database.write() as session:
        camera, key = service.create(session, new, ACTOR)
    typer.echo(f"{camera.id} is added; this is its key:", err=True)
    typer.echo(key)


@app.command("list")
@told_plainly
def list_cameras() -> None:
    """Show every camera: where it stands, when it was last heard of and how wrong its clock is."""
    settings = existing()
    with opened(settings) as database, database.read() as session:
        cameras = _all(session, settings.timezone)
    console = Console()
    for camera in cameras:
        head = f"{camera.id}  {camera.direction}  {escape(camera.name)}  {camera.site_id}  {camera.timezone}"
        console.print(head, highlight=False, soft_wrap=True)
        console.print(f"  {_state(camera)}", highlight=False, soft_wrap=True)
    console.print(f"{len(cameras)} cameras; times are UTC.")


@app.command()
@told_plainly
def rotate_key(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="As `rollcall cameras list` shows it.")],
    grace_s: Annotated[
        int, typer.Option("--grace", min=0, max=86_400, help="Seconds for which its keys of now still count.")
    ] = 3600,
) -> None:
    """Make a new key for a camera, and print it alone on standard output."""
    try:
        with opened(existing()) as database, database.write() as session:
            key, end_at = service.rotate_key(session, camera_id, grace_s, ACTOR)
    except ProblemError as problem:
        raise ServiceError("there is no camera with this id; `rollcall cameras list` shows them") from problem
    typer.echo(f"the keys that it had end at {_time(end_at)} UTC; this is the new one:", err=True)
    typer.echo(key)


def _all(session: Session, default_zone: str) -> list[schemas.Camera]:
    found: list[schemas.Camera] = []
    after: tuple[datetime, str] | None = None
    while rows := queries.list_cameras(session, after=after, limit=_CHUNK):
        found += service.views(session, rows, default_zone)
        after = rows[-1].created_at, rows[-1].id
    return found


def _state(camera: schemas.Camera) -> str:
    seen = f"last seen {_time(camera.last_seen_at)}" if camera.last_seen_at else "never seen"
    words = ["online" if camera.is_online else seen]
    if camera.clock_offset_s is not None:
        slow_or_fast = "slow" if camera.clock_offset_s > 0 else "fast"
        words.append(f"clock {abs(camera.clock_offset_s):.1f} s {slow_or_fast}")
    return ", ".join(words)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"

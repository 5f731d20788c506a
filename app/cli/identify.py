"""`rollcall identify`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, KeyOption, RefusedError, UrlOption, open_client
from app.cli.failures import told_plainly


@told_plainly
def identify(
    images: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Photos to look at.")],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Say who is in each photo, through the running service."""
    table = face_table()
    n_failed = 0
    with open_client(url, key, Scope.CAMERA) as client:
        for image in images:
            try:
                add_faces(table, image.name, client.post_files("/v1/identify", {}, [("image", image)]))
            except RefusedError as refusal:
                n_failed += 1
                table.add_row(image.name, "", "refused", str(refusal), "", "")
    Console().print(table)
    if n_failed:
        raise typer.Exit(1)


def face_table() -> Table:
    """An empty table of faces."""
    return Table("photo", "face", "outcome", "who", "score", "threshold")


def add_faces(table: Table, name: str, answer: dict[str, Any]) -> None:
    """One row per face of an identify answer."""
    threshold = f"{answer['operating_point']['threshold']:.4f}"
    for face in answer["faces"]:
        x1, y1, x2, y2 = face["box_xyxy"]
        person = face["person"]
        who = f"{person['name']} ({person['employee_code']})" if person else ", ".join(face["quality"]["reasons"])
        score = "" if face["score"] is None else f"{face['score']:.4f}"
        box = f"{x2 - x1:.0f}x{y2 - y1:.0f} at {x1:.0f},{y1:.0f}"
        table.add_row(name, box, face["outcome"].upper(), who, score, threshold)
    if not answer["faces"]:
        table.add_row(name, "", "no face", "", "", threshold)

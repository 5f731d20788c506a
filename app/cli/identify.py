"""`rollcall identify`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, RefusedError, UrlOption, open_client
from app.cli.failures import told_plainly
from ml.containers import HEAD_BYTES, is_video


@told_plainly
def identify(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Photos and clips to look at.")],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Say who is in each photo or clip (MP4, MOV, AVI, WebM, GIF), through the running service.

    In a clip everybody is followed from frame to frame, and is one line.
    """
    table = face_table()
    n_failed = 0
    with open_client(url, key, Scope.CAMERA) as client:
        for file in files:
            try:
                _look(client, file, table)
            except RefusedError as refusal:
                n_failed += 1
                table.add_row(file.name, "", "refused", str(refusal), "", "")
    Console().print(table)
    if n_failed:
        raise typer.Exit(1)


def _look(client: Client, file: Path, table: Table) -> None:
    with file.open("rb") as opened:
        is_clip = is_video(opened.read(HEAD_BYTES))
    if is_clip:
        add_tracks(table, file.name, client.post_files("/v1/identify/video", {}, [("video", file)]))
    else:
        add_faces(table, file.name, client.post_files("/v1/identify", {}, [("image", file)]))


def face_table() -> Table:
    """An empty table of faces."""
    return Table("file", "face", "outcome", "who", "score", "threshold")


def add_faces(table: Table, name: str, answer: dict[str, Any]) -> None:
    """One row per face of an identify answer."""
    for face in answer["faces"]:
        _add(table, name, answer, face, face["quality"], _box(face["box_xyxy"]))
    if not answer["faces"]:
        table.add_row(name, "", "no face", "", "", _threshold(answer))


def add_tracks(table: Table, name: str, answer: dict[str, Any]) -> None:
    """One row per tracked face of an identify-video answer."""
    for track in answer["tracks"]:
        best = track["best_frame"]
        when = f"{track['first_s']:.1f}-{track['last_s']:.1f} s, best {_box(best['box_xyxy'])}"
        _add(table, name, answer, track, best["quality"], when)
    if not answer["tracks"]:
        table.add_row(name, "", "no face", "", "", _threshold(answer))


def _add(
    table: Table, name: str, answer: dict[str, Any], decided: dict[str, Any], quality: dict[str, Any], where: str
) -> None:
    person = decided["person"]
    who = f"{person['name']} ({person['employee_code']})" if person else ", ".join(quality["reasons"])
    score = "" if decided["score"] is None else f"{decided['score']:.4f}"
    table.add_row(name, where, decided["outcome"].upper(), who, score, _threshold(answer))


def _box(box_xyxy: list[float]) -> str:
    x1, y1, x2, y2 = box_xyxy
    return f"{x2 - x1:.0f}x{y2 - y1:.0f} at {x1:.0f},{y1:.0f}"


def _threshold(answer: dict[str, Any]) -> str:
    return f"{answer['operating_point']['threshold']:.4f}"

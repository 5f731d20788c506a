"""`rollcall enroll-video`."""

from collections import Counter
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, UrlOption, open_client
from app.cli.failures import told_plainly

_ASK_EVERY_S = 0.3


@told_plainly
def enroll_video(
    employee_code: Annotated[str, typer.Argument(help="Whose face this is.")],
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Ten seconds of one person who turns the head slowly."),
    ],
    name: Annotated[str | None, typer.Option(help="Needed when the person is new.")] = None,
    consent: Annotated[bool, typer.Option("--consent", help="The person has agreed to be enrolled.")] = False,
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Enrol even if the face already belongs to somebody else.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Enrol a person from a video (MP4, MOV, AVI, WebM or GIF) through the running service.

    Frames are chosen that are sharp and show different poses; what is still missing is said at the end. The service
    goes on when this command is interrupted.
    """
    fields = {"employee_code": employee_code, "consent": "true" if consent else "false"}
    fields |= {} if name is None else {"name": name}
    fields |= {"on_duplicate": "allow"} if allow_duplicate else {}
    with open_client(url, key, Scope.OPERATOR) as client:
        queued = client.post_files("/v1/enroll", fields, [("files", file)])
        enrolment = _followed(client, queued)
    _report(Console(), enrolment)
    if enrolment["status"] != "done":
        raise typer.Exit(1)


def _followed(client: Client, enrolment: dict[str, Any]) -> dict[str, Any]:
    """The enrolment as it is in the end; a bar shows how far it is."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("waiting for a worker", total=1.0)
        while enrolment["status"] in ("queued", "running"):
            sleep(_ASK_EVERY_S)
            enrolment = client.get(f"/v1/enrolments/{enrolment['id']}")
            progress.update(task, completed=enrolment["progress"], description=_told(enrolment))
    return enrolment


def _told(enrolment: dict[str, Any]) -> str:
    """What is being done, in a few words."""
    if enrolment["status"] in ("done", "failed"):
        return str(enrolment["status"])
    return str(enrolment["message"] or "waiting for a worker")


def _report(console: Console, enrolment: dict[str, Any]) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if enrolment["status"] == "done":
        poses = ", ".join(f"{pose} {n}" for pose, n in enrolment["coverage"].items() if n)
        say(f"Enrolled {enrolment['person']['name']} with {len(enrolment['templates'])} templates ({poses}).")
    else:
        say(f"Not enrolled. {enrolment['error']}")
    if enrolment["duplicate_of"] is not None:
        other = enrolment["duplicate_of"]
        say(f"It is the face of {other['name']} ({other['employee_code']}).")
    reasons = Counter(rejection["reason"] for rejection in enrolment["rejected"])
    left_out = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    say(f"Looked at {enrolment['frames_read']} frames; left out: {left_out or 'none'}.")
    for warning in enrolment["warnings"]:
        say(f"- {warning}")

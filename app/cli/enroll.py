"""`rollcall enroll`."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, RefusedError, ServiceError, UrlOption, open_client
from app.cli.failures import told_plainly

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass
class Summary:
    """What became of a folder."""

    n_people: int = 0
    n_templates: int = 0
    n_known: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


@told_plainly
def enroll(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="One subfolder of photos per person.")],
    consent: Annotated[
        bool, typer.Option("--consent", help="Everybody in the folder has agreed to be enrolled.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Enrol everybody in FOLDER through the running service.

    A subfolder's name is the employee_code, and the name with underscores as spaces. What cannot be enrolled is listed
    with the reason; running it again adds only what is missing.
    """
    people = [path for path in sorted(folder.iterdir()) if path.is_dir() and photos_in(path)]
    if not people:
        raise ServiceError(f"{folder} has no subfolders with photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    summary = Summary()
    console = Console()
    with open_client(url, key, Scope.OPERATOR) as client:
        for person in track(people, description="Enrolling", console=Console(stderr=True)):
            _enroll_person(client, person, consent, summary)
    _report(console, summary)
    if not summary.n_people + summary.n_known:
        raise typer.Exit(1)


def photos_in(folder: Path) -> list[Path]:
    """The photos directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)


def _enroll_person(client: Client, folder: Path, consent: bool, summary: Summary) -> None:
    fields = {"employee_code": folder.name, "name": folder.name.replace("_", " ")}
    if consent:
        fields["consent"] = "true"
    try:
        enrolment = client.post_files("/v1/enroll", fields, [("files", path) for path in photos_in(folder)])
    except RefusedError as refusal:
        if _is_known(refusal):
            summary.n_known += 1
        else:
            summary.refused.append((folder.name, str(refusal)))
        return
    summary.n_people += 1
    summary.n_templates += len(enrolment["templates"])
    summary.reasons.update(rejection["reason"] for rejection in enrolment["rejected"])


def _is_known(refusal: RefusedError) -> bool:
    """Whether nothing was left to enrol because the good photos are enrolled already."""
    reasons = {error["msg"].partition(":")[0] for error in refusal.problem.get("errors") or []}
    # Of photos that contradict each other none is kept; only then can a repeat be one of this call.
    return "duplicate_frame" in reasons and "identity_conflict" not in reasons


def _report(console: Console, summary: Summary) -> None:
    console.print(f"Enrolled {summary.n_people} people with {summary.n_templates} photos.")
    if summary.n_known:
        console.print(f"Nothing new for {summary.n_known} people: their photos are enrolled already.")
    if summary.reasons:
        left_out = ", ".join(f"{reason} {n}" for reason, n in summary.reasons.most_common())
        console.print(f"Photos left out: {left_out}.")
    if summary.refused:
        table = Table("person", "why not", title=f"{len(summary.refused)} people were not enrolled")
        for name, why in summary.refused:
            table.add_row(name, why)
        console.print(table)

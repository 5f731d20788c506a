"""`rollcall enroll`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, RefusedError, ServiceError, UrlOption, open_client
from app.cli.enrolment_summary import Outcome, Summary, outcome_of, outcome_of_refusal, report
from app.cli.failures import told_plainly

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


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
            summary.add(person.name, _enroll_person(client, person, consent))
    report(console, summary)
    if not summary.is_anybody:
        raise typer.Exit(1)


def photos_in(folder: Path) -> list[Path]:
    """The photos directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)


def _enroll_person(client: Client, folder: Path, consent: bool) -> Outcome:
    fields = {"employee_code": folder.name, "name": folder.name.replace("_", " ")}
    if consent:
        fields["consent"] = "true"
    try:
        return outcome_of(client.post_files("/v1/enroll", fields, [("files", path) for path in photos_in(folder)]))
    except RefusedError as refusal:
        return outcome_of_refusal(refusal)

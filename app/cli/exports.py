"""`rollcall export`."""

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Annotated
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.progress import FileSizeColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, Client, KeyOption, UrlOption, open_client
from app.cli.export_frappe import FromOption, ToOption, frappe
from app.cli.failures import told_plainly

app = typer.Typer(help="Take people and attendance out, for spreadsheets, payroll and other systems.")
app.command("frappe")(frappe)

_COLUMNS = (SpinnerColumn(), TextColumn("{task.description}"), FileSizeColumn(), TimeElapsedColumn())
PersonOption = Annotated[str | None, typer.Option("--person", metavar="ID", help="Only this person, as per_….")]


@app.command()
@told_plainly
def people(
    file: Annotated[
        Path | None,
        typer.Argument(dir_okay=False, help="Written so that only you can read it; default: standard output."),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Write everybody as CSV: who they are, their consent and how many templates they have, no pictures or embeddings.

    `rollcall import people` takes the file back.
    """
    with open_client(url, key, Scope.OPERATOR) as client:
        content = client.get_content("/v1/people/export")
    if file is None:
        typer.echo(content, nl=False)
    else:
        _write_privately(file, lambda opened: opened.write(content))


@app.command()
@told_plainly
def attendance(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="FILE.csv or FILE.xlsx; only you can read it.")],
    first: FromOption,
    last: ToOption,
    person: PersonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Write days: when people came and left, how long they worked, what was late, and why; at most 366 dates at once.

    FILE.xlsx has a sheet of totals per person, too.
    """
    if file.suffix not in (".csv", ".xlsx"):
        raise ValueError("the file's name must end in .csv or .xlsx")
    query = _query(first=first, last=last, person=person)
    with open_client(url, key, Scope.OPERATOR) as client:
        _download(client, f"/v1/attendance{file.suffix}?{query}", file)


@app.command()
@told_plainly
def odoo(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="FILE.csv; only you can read it.")],
    first: FromOption,
    last: ToOption,
    person: PersonOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Write when people were there as CSV for Odoo's Attendances, times in UTC.

    Odoo finds employees by name (employee_id); the employee_code is in barcode. Who has not checked out is left out.
    """
    with open_client(url, key, Scope.OPERATOR) as client:
        _download(client, f"/v1/attendance/odoo.csv?{_query(first=first, last=last, person=person)}", file)


def _query(*, first: datetime, last: datetime, person: str | None) -> str:
    asked = {"from": first.date(), "to": last.date(), "person_id": person}
    return urlencode({name: value for name, value in asked.items() if value is not None})


def _download(client: Client, path: str, file: Path) -> None:
    """How long it will be is not known before it ends."""
    with Progress(*_COLUMNS, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"Writing {file.name}", total=None)
        tell = partial(progress.advance, task)
        _write_privately(file, lambda opened: client.download(path, opened, tell))


def _write_privately(file: Path, write: Callable[[IO[bytes]], object]) -> None:
    """The file is there when it is whole; one that was there before stays if this fails."""
    if file.exists() and not file.is_file():  # such as /dev/stdout
        with file.open("wb") as opened:
            write(opened)
        return
    part = file.with_name(f"{file.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            write(opened)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

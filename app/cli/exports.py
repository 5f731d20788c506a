"""`rollcall export`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, KeyOption, UrlOption, open_client
from app.cli.failures import told_plainly

app = typer.Typer(help="Take people out.")


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
        _write_privately(file, content)


def _write_privately(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)

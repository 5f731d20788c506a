"""`rollcall import`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.auth.scopes import Scope
from app.cli.client import DEFAULT_URL, KeyOption, UrlOption, open_client
from app.cli.enrolment_summary import printable
from app.cli.failures import told_plainly
from app.cli.import_compreface import compreface

app = typer.Typer(help="Take people over, from a CSV file or from CompreFace. Both can be run again.")
app.command("compreface")(compreface)


@app.command()
@told_plainly
def people(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="UTF-8; at most 10,000 rows at once.")],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Add and change people by a CSV file: employee_code, name, department, timezone, shift_id and site_id.

    All but the first two columns may be left out. Good rows are taken; the others are listed with their line and the
    reason.
    """
    with open_client(url, key, Scope.OPERATOR) as client:
        result = client.post_csv("/v1/people/import", file.read_bytes())
    console = Console()
    console.print(f"Added {result['created']} people, changed {result['updated']}, unchanged {result['unchanged']}.")
    if result["errors"]:
        table = Table("line", "why not", title=f"{len(result['errors'])} rows were left out")
        for error in result["errors"]:
            table.add_row(str(error["line"]), escape(printable(f"{error['code']}: {error['detail']}")))
        console.print(table)
        raise typer.Exit(1)

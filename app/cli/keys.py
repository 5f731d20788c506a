"""`rollcall keys`."""

from typing import Annotated

import typer

from app.auth.scopes import Scope
from app.auth.service import create_key
from app.cli.failures import told_plainly
from app.db.engine import open_database
from app.db.migrate import upgrade
from app.settings import Settings

app = typer.Typer(help="API keys. They are stored hashed, so a key is shown once and cannot be shown again.")


@app.callback()
def _group() -> None:
    pass


@app.command()
@told_plainly
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, e.g. 'front door'.")],
    scope: Annotated[Scope, typer.Option(help="camera: identify. operator: and people, enrolment. admin: everything.")],
) -> None:
    """Make a key in the database that the settings name, and print it alone on standard output."""
    database = open_database(Settings())
    try:
        upgrade(database.engine)
        with database.write() as session:
            typer.echo(create_key(session, name, scope)[1])
    finally:
        database.dispose()

"""`rollcall keys`."""

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from app.audit.service import record
from app.auth.queries import all_keys
from app.auth.scopes import Scope
from app.auth.service import create_key, is_active, revoke_key
from app.cli.client import ServiceError
from app.cli.failures import told_plainly
from app.cli.own_database import ACTOR, existing, opened
from app.db.tables import ApiKey
from app.db.types import utc_now
from app.errors import ProblemError
from app.settings import Settings

app = typer.Typer(help="API keys. They are stored hashed, so a key is shown once and cannot be shown again.")


@app.command()
@told_plainly
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, e.g. 'front door'.")],
    scope: Annotated[Scope, typer.Option(help="camera: identify. operator: and people, enrolment. admin: everything.")],
) -> None:
    """Make a key in the database that the settings name, and print it alone on standard output."""
    with opened(Settings()) as database, database.write() as session:
        key, secret = create_key(session, name, scope)
        record(session, ACTOR, "key.created", key.id, {"scope": scope.value})
    typer.echo(secret)


@app.command("list")
@told_plainly
def list_keys(
    active: Annotated[bool, typer.Option("--active", help="Leave out keys that are revoked or expired.")] = False,
) -> None:
    """Show every key there is or was: what it is for, what it may do and when it was used; never the key itself."""
    with opened(existing()) as database, database.read() as session:
        keys = [key for key in all_keys(session) if not active or is_active(key, utc_now())]
    console = Console()
    for key in keys:
        style = "dim" if key.revoked_at else None
        console.print(f"{key.id}  {key.scope}  {escape(key.name)}", style=style, highlight=False, soft_wrap=True)
        console.print(f"  {_times(key)}", style=style, highlight=False, soft_wrap=True)
    console.print(f"{len(keys)} keys; times are UTC.")


@app.command()
@told_plainly
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `rollcall keys list` shows it.")]) -> None:
    """Refuse a key from its next request on; for good."""
    try:
        with opened(existing()) as database, database.write() as session:
            if revoke_key(session, key_id):
                record(session, ACTOR, "key.revoked", key_id)
    except ProblemError as problem:
        raise ServiceError(f"{problem.detail} `rollcall keys list` shows them.") from problem
    typer.echo(f"{key_id} is revoked: it is refused from its next request on.")


def _times(key: ApiKey) -> str:
    created, last_used, expires, revoked = map(
        _time, (key.created_at, key.last_used_at, key.expires_at, key.revoked_at)
    )
    words = [f"created {created}", f"last used {last_used}" if last_used else "never used"]
    words += [f"expires {expires}"] if expires else []
    words += [f"revoked {revoked}"] if revoked else []
    return ", ".join(words)


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"

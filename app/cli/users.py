"""`rollcall users`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.orm import Session

from app.auth.scopes import Scope
from app.cli.failures import told_plainly
from app.cli.own_database import ACTOR, existing, opened
from app.db.tables import User
from app.errors import ProblemError
from app.hashing import SlowHasher
from app.sealing import Sealer
from app.settings import Settings
from app.users import queries, service
from app.users.tries import Tries

app = typer.Typer(
    help="People who sign in to the dashboard. What is changed here counts for a running service at once."
)


class Role(StrEnum):
    """The scopes that people can have."""

    OPERATOR = Scope.OPERATOR.value
    ADMIN = Scope.ADMIN.value


UsernameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What they sign in with.")]
PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, for scripts.")
]


@app.command()
@told_plainly
def create(
    username: UsernameArgument,
    role: Annotated[Role, typer.Option(help="operator: people and attendance. admin: everything.")],
    name: Annotated[str | None, typer.Option(help="What they are called; else NAME.")] = None,
    password_stdin: PasswordOption = False,
) -> None:
    """Let somebody sign in; asks for their password."""
    with opened(Settings()) as database:
        shown = service.checked_username(username)
        password_hash = _hashed(password_stdin)
        with database.write() as session:
            service.create_user(session, username, name or username, Scope(role), password_hash, actor=ACTOR)
    typer.echo(f"{shown} can sign in now.")


@app.command("list")
@told_plainly
def list_users() -> None:
    """Show who may sign in, and who was disabled."""
    with opened(existing()) as database, database.read() as session:
        users = queries.all_users(session)
    console = Console()
    for user in users:
        style = "dim" if user.disabled_at else None
        line = f"{escape(user.username)}  {user.role}  {escape(user.name)}  {_state(user)}"
        console.print(line, style=style, highlight=False, soft_wrap=True)
    console.print(f"{len(users)} users; times are UTC.")


@app.command()
@told_plainly
def reset_password(username: UsernameArgument, password_stdin: PasswordOption = False) -> None:
    """Give somebody a new password: they are signed out everywhere, and a lock after wrong passwords ends."""
    settings = existing()
    with opened(settings) as database:
        with database.read() as session:
            user = _named(session, username)
        password_hash = _hashed(password_stdin)
        with database.write() as session:
            service.update_user(session, user.id, {}, password_hash, actor=ACTOR)
            Tries(database, Sealer.of(settings)).forget(session, user.username)
    typer.echo(f"The new password of {user.username} counts from now on.")


@app.command()
@told_plainly
def disable(username: UsernameArgument) -> None:
    """Sign somebody out at once, and keep them from signing in."""
    with _changed(username, {"disabled": True}) as user:
        typer.echo(f"{user.username} cannot sign in any more.")


@app.command()
@told_plainly
def enable(username: UsernameArgument) -> None:
    """Let somebody sign in again who was disabled."""
    with _changed(username, {"disabled": False}) as user:
        typer.echo(f"{user.username} can sign in now.")


@contextmanager
def _changed(username: str, changes: dict[str, Any]) -> Iterator[User]:
    with opened(existing()) as database:
        with database.write() as session:
            user = service.update_user(session, _named(session, username).id, changes, None, actor=ACTOR)
        yield user


def _named(session: Session, username: str) -> User:
    try:
        return service.find_user_named(session, username)
    except ProblemError:
        raise ValueError(f"there is no user {username}; `rollcall users list` shows them") from None


def _hashed(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return service.hashed(SlowHasher(), password)


def _state(user: User) -> str:
    if user.disabled_at is not None:
        return f"disabled {user.disabled_at:%Y-%m-%d %H:%M}"
    return f"last signed in {user.last_login_at:%Y-%m-%d %H:%M}" if user.last_login_at else "never signed in"

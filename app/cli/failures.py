"""Errors a person can cause are told in one line, without a stack trace."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.cli.client import ServiceError
from app.errors import ProblemError
from app.inference.cluster import ClusterError
from ml.errors import MlError

P = ParamSpec("P")
R = TypeVar("R")


def told_plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what the person can mend into a message and exit status 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (MlError, ServiceError, ClusterError, ValueError, OSError, DBAPIError, CommandError) as error:
            typer.secho(f"rollcall: {_message(error)}", err=True, fg=typer.colors.RED)
            raise typer.Exit(1) from None
        except ProblemError as error:
            typer.secho(f"rollcall: {error.detail}", err=True, fg=typer.colors.RED)
            raise typer.Exit(1) from None

    return run


def _message(error: Exception) -> str:
    if isinstance(error, ValidationError):
        wrong = (f"ROLLCALL_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors() if e["loc"])
        return "; ".join(wrong)
    if isinstance(error, DBAPIError):
        reason = str(error.orig).splitlines()[0]
        return f"the database cannot be used: {reason}; check ROLLCALL_DATABASE_URL, or ROLLCALL_DATA_DIR without one"
    if isinstance(error, CommandError):
        return f"the database is from a newer release; start that one ({error})"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)

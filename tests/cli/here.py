"""Commands run in the tests' own process, where warnings are errors: to start one takes longer than most of them take.

What only a process has, such as standard output that nobody else writes to or an end by a signal, is tested with
`tests.server.run_rollcall`.
"""

import os
from pathlib import Path
from typing import Protocol

from typer.testing import CliRunner

from app.cli import app
from tests.server import ENGINE, Finished

# Wide enough that no table or help text breaks a word.
WIDE = {"COLUMNS": "200"}
OTHERS = ("ROLLCALL_", "COMPREFACE_", "FRAPPE_")


def run_here(data_dir: Path, *args: str | Path, typed: str | None = None, **settings: str) -> Finished:
    """Run one command to its end with no settings but these; `typed` is its standard input."""
    unset = {name: None for name in os.environ if name.startswith(OTHERS)}
    given = {"ROLLCALL_DATA_DIR": str(data_dir), "ROLLCALL_ENGINE": ENGINE, **WIDE, **settings}
    words = [str(arg) for arg in args]
    done = CliRunner().invoke(app, words, env={**unset, **given}, input=typed, catch_exceptions=False)
    return Finished(done.exit_code, done.stdout, done.stderr)


class Service(Protocol):
    """One that runs on this machine."""

    @property
    def url(self) -> str: ...

    @property
    def data_dir(self) -> Path: ...


def run_beside(server: Service, *args: str | Path, typed: str | None = None, **settings: str) -> Finished:
    """Run a command on a service's own machine: the address is known, a key is not given."""
    return run_here(server.data_dir, *args, typed=typed, **{"ROLLCALL_URL": server.url, **settings})

"""`rollcall backup`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import URL

from app.cli.client import ServiceError, has_database
from app.cli.failures import told_plainly
from app.db.backup import Backup, BackupError, back_up, pg_dump_command
from app.db.engine import database_url, open_database
from app.settings import Settings


@told_plainly
def backup(file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file; nothing is overwritten.")]) -> None:
    """Copy the embedded database while the service runs, check the copy, and say how to restore it.

    A backup is biometric data, and still holds whoever is erased after it was made: delete old ones, and erase these
    people again after a restore. FILE is closed to other users of the machine. On PostgreSQL this only says which
    command to use.
    """
    settings = Settings()
    if not has_database(settings):
        raise ServiceError(f"there is no database in {settings.data_dir}: set ROLLCALL_DATA_DIR to the service's")
    url = database_url(settings)
    if url.get_backend_name() != "sqlite":
        command = pg_dump_command(url, file)
        raise ServiceError(f"PostgreSQL makes its own backups, also while the service runs: (umask 077; {command})")
    _report(_made(settings, file), url)


def _made(settings: Settings, file: Path) -> Backup:
    """The backup; a bar shows how far it is."""
    database = open_database(settings)
    progress = Progress(console=Console(stderr=True))
    task = progress.add_task("copying", total=None)

    def on_progress(done: int, total: int) -> None:
        progress.start()  # not before there is something to show: a refusal needs no bar
        progress.update(task, completed=done, total=total, description="copying" if done < total else "checking")

    try:
        return back_up(database.engine, file, on_progress)
    except BackupError as error:
        raise ServiceError(str(error)) from error
    finally:
        if progress.live.is_started:
            progress.stop()
        database.dispose()


def _report(made: Backup, url: URL) -> None:
    typer.echo(f"{made.path} is a sound copy of {url.database} ({made.n_bytes:,} bytes, schema {made.revision}).")
    typer.echo(f"To restore it: stop the service, delete {url.database}-wal and {url.database}-shm if they are there,")
    typer.echo(f"copy {made.path} over {url.database}, and start the service.")

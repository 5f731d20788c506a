"""Where a job that trains keeps what it needs to go on after a crash, and nothing after its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from shutil import rmtree
from typing import Final

from app.db.engine import Database
from app.errors import DATABASE_AWAY, ProblemError
from app.inference.admission import InferenceBusyError
from app.jobs.context import JobContext, JobInterrupted, JobLost, JobUnequipped
from app.models import training_queries as queries
from app.settings import Settings

FOLDER: Final = "training"
_GOES_ON: Final = (JobInterrupted, JobLost, JobUnequipped, InferenceBusyError, *DATABASE_AWAY)


@contextmanager
def workshop(context: JobContext) -> Iterator[Path]:
    """A private folder for as long as the job is not over: another attempt goes on with what is in it."""
    settings = context.equipment.settings
    sweep_leftovers(context.equipment.database, settings)
    folder = settings.data_dir / FOLDER / context.job_id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException as error:
        if not _is_to_go_on(error):
            clear(settings, context.job_id)
        raise
    clear(settings, context.job_id)


def _is_to_go_on(error: BaseException) -> bool:
    """Whether the job will be started again, by the same rules as in `app.jobs.runner`."""
    if isinstance(error, ProblemError):
        return error.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return isinstance(error, _GOES_ON)


def clear(settings: Settings, job_id: str) -> None:
    rmtree(settings.data_dir / FOLDER / job_id, ignore_errors=True)


def sweep_leftovers(database: Database, settings: Settings) -> int:
    """Delete what jobs left behind that nobody will go on with; returns how many jobs' folders that were."""
    folder = settings.data_dir / FOLDER
    job_ids = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if not job_ids:
        return 0
    with database.read() as session:  # after the folder was read: whoever is in it had begun before
        dead = set(job_ids) - queries.unfinished_jobs(session, job_ids)
    for job_id in dead:
        clear(settings, job_id)
    return len(dead)

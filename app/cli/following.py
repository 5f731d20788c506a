"""A bar for a job of the service, for as long as it takes."""

from collections.abc import Callable, Mapping
from time import sleep
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.cli.client import Client, ServiceError

_ASK_EVERY_S = 0.5
_UNFINISHED = ("queued", "running")

Json = Mapping[str, Any]


def follow(ask: Callable[[], Json], more: Callable[[Json], str] = lambda answer: "") -> Json:
    """Ask for something with a `job` in it, until that is over; returns the last answer.

    Args:
        ask: asks the service.
        more: what to say beside the job's own message.

    Raises:
        ServiceError: the job failed, or was cancelled; or it is so old that the service has forgotten it.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("waiting for a worker", total=1.0)
        answer = ask()
        while answer["job"] is not None and answer["job"]["status"] in _UNFINISHED:
            parts = answer["job"]["message"] or "waiting for a worker", more(answer)
            told = ", ".join(part for part in parts if part)
            progress.update(task, completed=answer["job"]["progress"], description=escape(told))
            sleep(_ASK_EVERY_S)
            answer = ask()
    _refuse_failed(answer["job"])
    return answer


def follow_job(client: Client, job_id: str) -> Json:
    """As `follow`, for a job alone; returns its result.

    Raises:
        ServiceError: it failed, or was cancelled.
    """
    result: Json = follow(lambda: {"job": client.get(f"/v1/jobs/{job_id}")})["job"]["result"]
    return result


def _refuse_failed(job: Json | None) -> None:
    if job is None:
        raise ServiceError("that was too long ago: the service has forgotten the job")
    if job["status"] == "cancelled":
        raise ServiceError(f"somebody cancelled the job {job['id']}")
    if job["status"] == "failed":
        raise ServiceError(str(job["error"]))

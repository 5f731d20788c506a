"""Jobs: long work, how far it is, and who is there to do it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.dashboard.frame.actors import actor_names
from app.dashboard.frame.messages import translate
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.dashboard.models import WORK
from app.db.tables import Enrolment, Job, Person, Template
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep
from app.http.pagination import PageRequest
from app.jobs import routes, service
from app.jobs.handlers import built_in
from app.jobs.schemas import Status

router = APIRouter(include_in_schema=False)

STATUSES: Final = {
    "queued": N_("Waiting"),
    "running": N_("Running"),
    "done": N_("Done"),
    "failed": N_("Failed"),
    "cancelled": N_("Cancelled"),
}
KINDS: Final = {"enroll_video": N_("Enrolment by video"), **WORK}
QUEUES: Final = {"video": N_("Videos"), "training": N_("Model training")}
# What jobs say of themselves; here so that the catalogues have them.
MESSAGES: Final = (
    N_("getting ready"),
    N_("looking at the frames"),
    N_("storing the templates"),
    N_("No worker is running: start one with `rollcall worker`, or set ROLLCALL_WORKERS."),
    N_("The worker cannot load its networks; the log says why."),
    N_("Something went wrong while this job ran. The server's log has the reason under the job's id."),
    N_("The database did not answer in 3 attempts at this job, so it is not tried again."),
    N_(
        "The worker died 3 times while it ran this job, so it is not tried again. "
        "The usual cause is too little memory; the server's log may say more."
    ),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an enrolment's job was for, and what came of it; `error` is for a person, in the page's language."""

    person_id: str
    person_name: str
    status: str
    error: str | None
    n_frames: int
    n_templates: int


@router.get("/jobs")
def jobs_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    status: Annotated[str, Query(max_length=20)] = "",
    kind: Annotated[str, Query(max_length=50)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = routes.list_jobs(database, PageRequest(cursor=cursor), visitor.principal, _status(status), kind or None)
    with database.read() as session:
        workload = service.workload(session)
        outcomes = _outcomes(session, [job.id for job in page.items], visitor.taste.language)
        names = actor_names(session, {job.created_by for job in page.items})
    return render(
        request,
        visitor,
        "jobs.html",
        page=page,
        outcomes=outcomes,
        names=names,
        workload=workload,
        wanted=status,
        kind=kind,
        statuses=STATUSES,
        kinds={name: KINDS.get(name, name) for name in built_in()},
        on_models=WORK.keys(),
        queues=QUEUES,
        told=lambda words: translate(visitor.taste.language, words),
    )


def _status(word: str) -> Status | None:
    """The filter's word; an empty one filters nothing."""
    known: dict[str, Any] = {each: each for each in get_args(Status)}
    if word and word not in known:
        raise ProblemError(422, "fields_invalid", "There is no such status; choose one of the list.")
    return known.get(word)


def _outcomes(session: Session, job_ids: Sequence[str], language: str) -> dict[str, Outcome]:
    """By job. An enrolment that was removed, or whose person was erased, has none."""
    payloads = session.execute(select(Job.id, Job.payload).where(Job.id.in_(job_ids), Job.kind == "enroll_video"))
    job_of = {payload["enrolment_id"]: job_id for job_id, payload in payloads}
    n_templates = select(func.count()).where(Template.enrolment_id == Enrolment.id).scalar_subquery()
    joined = select(Enrolment, Person.name, n_templates).join(Person, Person.id == Enrolment.person_id)
    return {
        job_of[enrolment.id]: Outcome(
            person_id=enrolment.person_id,
            person_name=name,
            status=enrolment.status,
            error=_said(enrolment.error, language),
            n_frames=enrolment.frames_read,
            n_templates=n,
        )
        for enrolment, name, n in session.execute(joined.where(Enrolment.id.in_(job_of)))
    }


def _said(error: str | None, language: str) -> str | None:
    """An enrolment's error without the word for programs that it begins with."""
    return translate(language, error.partition(": ")[2] or error) if error else None

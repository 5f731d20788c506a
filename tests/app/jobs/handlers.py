"""Jobs that misbehave, for workers that tests start: `--handlers tests.app.jobs.handlers:kinds`."""

import os
import signal
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import select

from app.audit.service import record
from app.db.tables import AuditEntry
from app.errors import ProblemError
from app.jobs.context import JobContext
from app.jobs.handlers import Kind, Kinds

PLACE = "tests.app.jobs.handlers:kinds"
EFFECT = "test.effect"


def kinds() -> Kinds:
    """All in one queue, but for one kind that waits apart from them."""
    together = [count, deaf, die, equip, look_around, refuse, stumble]
    return {each.__name__: Kind("test", each) for each in together} | {"count_apart": Kind("apart", count)}


def count(context: JobContext) -> dict[str, Any]:
    """Counts slowly, says so in a file, and leaves its effect once."""
    diary = Path(context.payload["diary"])
    n, step_s = context.payload["n"], context.payload["step_s"]
    note(diary, context, "start")
    for done in range(n):
        context.report(done / n, f"pid {os.getpid()}")
        sleep(step_s)
    with context.write() as session:
        known = select(AuditEntry.id).where(AuditEntry.action == EFFECT, AuditEntry.target == context.job_id)
        if session.scalars(known).first() is None:
            record(session, "test", EFFECT, context.job_id)
    note(diary, context, "end")
    return {"n": n, "attempt": context.attempt}


def note(diary: Path, context: JobContext, event: str) -> None:
    line = f"{monotonic()} {context.job_id} {os.getpid()} {event}\n"
    with diary.open("a") as file:
        file.write(line)  # one short write to a file opened for appending is not torn


def deaf(context: JobContext) -> dict[str, Any]:
    """Never looks up from its work."""
    context.report(0.5, f"pid {os.getpid()}")
    sleep(context.payload["s"])
    return {}


def die(_context: JobContext) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def equip(context: JobContext) -> dict[str, Any]:
    """Needs the networks."""
    return {"dim": context.equipment.inference.card.dim}


def look_around(_context: JobContext) -> dict[str, Any]:
    """What has been imported by a worker that had nothing heavy to do."""
    return {"modules": sorted({"torch", "faiss", "dbos"} & set(sys.modules))}


def refuse(_context: JobContext) -> dict[str, Any]:
    raise ProblemError(422, "no_face", "The clip shows nobody.")


def stumble(_context: JobContext) -> dict[str, Any]:
    raise RuntimeError("a secret of the server")

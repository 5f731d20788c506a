"""What the jobs that judge models share: progress, the verdict that is written down, and errors that are told."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, Final, Literal

import numpy as np

from app.audit.service import record
from app.db.tables import Model
from app.errors import DATABASE_AWAY, ProblemError
from app.jobs.context import JobContext
from app.jobs.queries import job_by_id
from app.models import registry
from app.models import training_queries as queries
from app.models.gathered import Alignment
from app.models.training_data import Sources
from app.models.training_networks import Champion, Networks
from app.operating_points import queries as point_queries
from app.sealing import Sealer
from ml.backbones.card import ModelCard
from ml.errors import ModelError, TrainingError
from ml.training.judge import Verdict
from ml.training.types import TrainingCurves

# How much of the job has been done when its parts are over.
GATHERED, READY, MIDDLE, TRAINED, EMBEDDED = 0.3, 0.4, 0.6, 0.85, 0.95
# Curves change with every epoch, which may take a hundredth of a second.
_CURVES_EVERY_S: Final = 2.0


class Progress:
    """Tells the job how far its training is; curves are written down now and then."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._written_s = -math.inf

    def part(self, start: float, end: float) -> Callable[[float, str], None]:
        return lambda share, message: self._context.report(start + (end - start) * share, message)

    def training(self, share: float, message: str, curves: TrainingCurves) -> None:
        self._context.report(READY + (TRAINED - READY) * share, message)
        if monotonic() - self._written_s >= _CURVES_EVERY_S:
            self._written_s = monotonic()
            self._note(curves)

    def _note(self, curves: TrainingCurves) -> None:
        try:
            with self._context.write() as session:
                queries.note_curves(session, self._context.job_id, as_json(asdict(curves)))
        except DATABASE_AWAY:  # they can be told with the next epoch
            return


@dataclass(frozen=True, slots=True, eq=False)
class JudgedModel:
    """A model to be kept."""

    kind: Literal["backbone", "projection", "finetune", "scratch"]
    backbone: str
    word: str
    card: ModelCard
    weights: bytes | None
    verdict: Verdict
    more: dict[str, Any]


def equipment_of(context: JobContext) -> tuple[Networks, Sources, float]:
    """The networks, where faces come from, and the share of strangers that may be named."""
    equipment = context.equipment
    sealer = Sealer.of(equipment.settings)
    with equipment.database.read() as session:
        networks = Networks(equipment.settings, Champion.read(session, sealer))
        target_fpir = point_queries.state(session).target_fpir
    sources = Sources(equipment.database, equipment.settings, sealer, lambda: equipment.inference)
    return networks, sources, target_fpir


def different(*alignments: Alignment) -> tuple[Alignment, ...]:
    return tuple(dict.fromkeys(alignments))


def store(context: JobContext, judged: JudgedModel) -> str:
    """In one commit, and only if the job is still this worker's to do. Returns the model's id."""
    verdict = judged.verdict
    sealer = Sealer.of(context.equipment.settings)
    with context.write() as session:
        job = job_by_id(session, context.job_id)
        by = context.claim.worker if job is None else job.created_by
        model = registry.add(
            session,
            kind=judged.kind,
            backbone=judged.backbone,
            card=judged.card,
            status="challenger" if verdict.is_better else "refused",
            reason=verdict.reason,
            report=as_json({**asdict(verdict), **judged.more}),
            job_id=context.job_id,
            by=by,
            weights=judged.weights,
            sealer=sealer,
            word=judged.word,
        )
        if (run := queries.training_run(session, context.job_id)) is not None:
            run.model_id, run.curves = model.id, as_json(judged.more["curves"])
        done = "model.measured" if judged.kind == "backbone" else "model.trained"
        said = {"model": judged.word, "kind": judged.kind, "job_id": context.job_id}
        record(session, by, done if verdict.is_better else "model.refused", model.id, said)
        return model.id


def stored_already(context: JobContext) -> str | None:
    """The model that an earlier attempt at this job has left."""
    with context.equipment.database.read() as session:
        model = queries.model_of_job(session, context.job_id)
        return None if model is None else model.id


def result_of(context: JobContext, model_id: str) -> dict[str, Any]:
    with context.equipment.database.read() as session:
        model = session.get_one(Model, model_id)
        return {"model_id": model.id, "model": model.word, "status": model.status, "reason": model.reason}


@contextmanager
def told() -> Iterator[None]:
    """What makes a training impossible is said to whoever asked for it; another worker would meet the same."""
    try:
        yield
    except TrainingError as error:
        raise ProblemError(422, "training_impossible", str(error)) from error
    except ModelError as error:
        detail = f"A network cannot be used on the machine that trains: {error}"
        raise ProblemError(422, "training_impossible", detail) from error


def as_json(value: Any) -> Any:
    """Plain values as JSON has them: no NaN, which PostgreSQL does not take, but null."""
    match value:
        case dict():
            return {str(key): as_json(each) for key, each in value.items()}
        case list() | tuple():
            return [as_json(each) for each in value]
        case np.generic():
            return as_json(value.item())
        case float() if not math.isfinite(value):
            return None
        case _:
            return value

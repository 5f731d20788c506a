"""Models and trainings on the wire."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.db.tables import Model as ModelRow
from app.db.tables import TrainingRun
from app.http.fields import Input, Line
from app.identification.schemas import PersonRef
from app.jobs.schemas import Job
from app.models.queries import Coverage, PersonWithout
from ml.backbones import ONNX_PREFIX
from ml.backbones.card import ModelCard
from ml.backbones.cards import find_card
from ml.errors import ModelError

Strategy = Literal["projection", "finetune", "scratch"]
Policy = Literal["auto", "ask", "never"]
Status = Literal["champion", "challenger", "refused", "retired"]
Reason = Annotated[Line | None, Field(min_length=1, max_length=200, description="Why, for the record.")]

# Columns that are shown as they are.
_STORED = (
    *("kind", "backbone", "status", "reason", "report", "job_id"),
    *("created_at", "created_by", "promoted_at", "retired_at"),
)
# What a column of whole numbers holds on every database.
_LARGEST_SEED = 2**31 - 1
# With more, an answer would be megabytes; `n_people_to_enrol_again` has the whole number.
_PEOPLE_SHOWN = 500


class Retrain(Input):
    """What to train, and what becomes of it; what is left out is as the settings have it."""

    strategy: Strategy | None = Field(
        None,
        description="projection: a small head on the embeddings, in minutes. finetune: the network's last blocks, too. "
        "scratch: a small network from nothing, which needs ROLLCALL_TRAINING_DATA.",
    )
    policy: Policy | None = Field(
        None, description="Of a model that is better: auto uses it, ask gets it ready and waits, never only keeps it."
    )
    seed: int = Field(0, ge=0, le=_LARGEST_SEED, description="The same faces and seed give the same model.")


class Measure(Input):
    """Another published network."""

    backbone: Annotated[Line, Field(min_length=1, max_length=500)] = Field(
        description="A name that `rollcall models list` shows, or `onnx:FILE` with a file that the worker has.",
        examples=["facenet-vggface2"],
    )

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name.startswith(ONNX_PREFIX):
            if not name.removeprefix(ONNX_PREFIX):
                raise ValueError("name a file after `onnx:`")
            return name
        try:
            kind = find_card(name).kind
        except ModelError as error:
            raise ValueError(str(error)) from None
        if kind != "backbone":
            raise ValueError(f"{name} is a detector and makes no embeddings: choose a backbone")
        return name


class Promote(Input):
    """Whether to put up with what speaks against it."""

    accept_missing: bool = Field(False, description="Promote, although some people would have to enrol again.")
    even_if_not_better: bool = Field(False, description="Promote, although it was not measured to be better.")
    reason: Reason = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.even_if_not_better and self.reason is None:
            raise ValueError("even_if_not_better needs a reason, for the record")
        return self


class RollBack(Input):
    accept_missing: bool = Field(False, description="Go back, although some people would have to enrol again.")
    reason: Reason = None


class Queued(BaseModel):
    """A job that was asked for."""

    job_id: str = Field(description="GET /v1/jobs/{id} says how far it is.")


class Curves(BaseModel):
    """One number for each finished epoch."""

    model_config = ConfigDict(extra="ignore")

    loss: list[float | None] = Field([], description="Mean training loss.")
    validation_fnir: list[float | None] = Field([], description="FNIR at FPIR 1 % on people who are not learned from.")
    learning_rate: list[float | None] = []
    best_epoch: int = Field(-1, description="From 0, the one that is kept; -1: none was better than the start.")


class Training(BaseModel):
    """What a training was asked to do, and how it went so far."""

    job: Job | None = Field(description="Null when it ended so long ago that the job is forgotten.")
    strategy: Strategy
    policy: Policy
    seed: int
    curves: Curves | None = Field(description="Null before the first epoch.")
    model_id: str | None = Field(description="What came out of it.")
    created_at: datetime

    @classmethod
    def of(cls, run: TrainingRun, job: Job | None) -> Self:
        fields = {name: getattr(run, name) for name in ("strategy", "policy", "seed", "model_id", "created_at")}
        curves = None if run.curves is None else Curves.model_validate(run.curves)
        return cls(job=job, curves=curves, **fields)


class Card(BaseModel):
    """Facts about a network."""

    model_config = ConfigDict(from_attributes=True)

    licence: str
    quality_note: str
    limits: str
    weights_origin: str
    dim: int = Field(description="Length of its embeddings.")


class Model(BaseModel):
    """What turns faces into embeddings, and how it was judged."""

    id: str
    model: str = Field(description="Stored with every embedding of it.", examples=["dlib-resnet/1"])
    kind: Literal["backbone", "projection", "finetune", "scratch"] = Field(
        description="backbone: as published. The others were trained here."
    )
    backbone: str = Field(description="The network that it stands on; empty for one from scratch.")
    status: Status = Field(
        description="champion: in use. challenger: measured to be better. refused: not so. retired: was in use."
    )
    is_standby: bool = Field(description="Whether every replica keeps it ready, to go back to within a second.")
    reason: str | None = Field(description="Why it has this status, in words.")
    report: dict[str, Any] | None = Field(description="What was measured: FNIR of both models at the target FPIR, …")
    created_at: datetime
    created_by: str
    promoted_at: datetime | None
    retired_at: datetime | None
    job_id: str | None = Field(description="The job that made it.")
    n_bytes: int | None = Field(description="Size of what was trained; null for a published network.")
    card: Card

    @classmethod
    def of(cls, row: ModelRow, card: ModelCard, *, is_standby: bool, n_bytes: int | None) -> Self:
        fields = {name: getattr(row, name) for name in _STORED}
        shown = Card.model_validate(card)
        return cls(id=row.id, model=row.word, is_standby=is_standby, n_bytes=n_bytes, card=shown, **fields)


class ModelList(BaseModel):
    """The models that there are, the newest first."""

    champion_id: str | None = Field(description="In use; null while the service starts for the first time.")
    standby_id: str | None
    items: list[Model]
    next_cursor: str | None


class PersonToEnrol(PersonRef):
    n_templates: int


class Readiness(BaseModel):
    """What a promotion would find: of active people's templates, which this model has embedded or can embed."""

    n_templates: int
    n_embedded: int
    n_missing_with_crop: int = Field(
        description="It can embed them by itself: their crop is kept, or the embedding that a projection starts from."
    )
    n_missing_without_crop: int = Field(description="It cannot: there is nothing to embed.")
    n_people_to_enrol_again: int
    people_to_enrol_again: list[PersonToEnrol] = Field(
        description=f"People with templates, all of them of the last kind; at most {_PEOPLE_SHOWN}, by employee code."
    )

    @classmethod
    def of(cls, coverage: Coverage, people: Sequence[PersonWithout]) -> Self:
        return cls(
            **asdict(coverage),
            n_people_to_enrol_again=len(people),
            people_to_enrol_again=[
                PersonToEnrol(**each.person.model_dump(), n_templates=each.n_templates)
                for each in people[:_PEOPLE_SHOWN]
            ],
        )


class ModelDetail(Model):
    readiness: Readiness


class Discarded(BaseModel):
    """What was deleted."""

    model_id: str
    model: str
    n_embeddings_deleted: int = Field(description="Also those that a crash had left of models deleted before.")


class RolledBack(BaseModel):
    """What is in use now."""

    model: str
    champion_id: str
    gallery_revision: int
    n_people_missing: int = Field(description="Active people of whom the model has no template, and never will.")

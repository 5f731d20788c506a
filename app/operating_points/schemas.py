"""Operating points on the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.db.tables import OperatingPointRow
from app.decisions.rules import Replayed, StoredFace
from app.identification.schemas import PersonRef
from ml import types

Preset = Literal["strict", "normal", "relaxed"]
PRESETS: Mapping[str, float] = {"strict": 0.001, "normal": 0.01, "relaxed": 0.05}
# The reason of a point that somebody wanted to be calculated anew, as opposed to one that the service did by itself.
ASKED_FOR = "asked for"

Reason = Annotated[str | None, Field(max_length=200, description="Why, for the history.")]


class Interval(BaseModel):
    """A rate, 0 to 1, with its 95 % interval."""

    model_config = ConfigDict(from_attributes=True)

    value: float
    low: float
    high: float


class Evidence(BaseModel):
    """How many searches an operating point rests on, and where they come from."""

    n_mated: int
    n_non_mated: int
    source: str


class OperatingPoint(BaseModel):
    """A threshold and what it means: `score >= threshold` names somebody."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    threshold: float
    mode: Literal["auto", "manual"]
    is_suggestion: bool = Field(description="True for what manual mode only suggests: it has never named anybody.")
    target_fpir: float | None = Field(description="Share of strangers that may be given a name; null when manual.")
    expected_fpir: Interval = Field(description="Share of strangers' faces expected to be given a name.")
    expected_fnir: Interval = Field(description="Share of enrolled people's faces expected not to be recognised.")
    method: str = Field(
        description="`model card` alone in a new gallery, and in a large one until it was searched after a restart."
    )
    model: str
    n_people: int
    n_templates: int
    gallery_revision: int
    evidence: Evidence
    created_at: datetime
    created_by: str = Field(description="`key:<key id>`, or `system` for what happened by itself.")
    reason: str | None


class LiveEstimate(BaseModel):
    """What operators said of faces that came by, extrapolated to all of them; see `GET /v1/review/estimate`."""

    days: int = Field(description="How far back it looks.")
    model: str
    n_identified: int = Field(description="Faces that were named in this time.")
    n_identified_judged: int = Field(description="Those of them of which an operator said whether that was right.")
    n_unknown: int = Field(description="Faces that were not named.")
    n_unknown_judged: int
    fpir: Interval | None = Field(description="Share of strangers' faces that were named; null: not known yet.")
    fnir: Interval | None = Field(description="Share of enrolled people's faces not named, or named as somebody else.")
    misidentification: Interval | None = Field(description="The latter alone.")
    advice: str | None = Field(description="What to judge before there is an estimate; null when there is one.")
    n_identified_wanted: int = Field(description="How many more named faces have to be judged before there is one.")
    n_unknown_wanted: int = Field(description="How many more unknown faces have to be judged.")


class CurrentOperatingPoint(OperatingPoint):
    """What is in force."""

    suggestion: OperatingPoint | None = Field(description="In manual mode: what auto mode would choose now.")
    is_calibrating: bool = Field(description="Whether a calibration is running in the replica that answers.")
    live: LiveEstimate = Field(description="What operators said of the last 30 days, beside what was expected.")

    @classmethod
    def of(
        cls, row: OperatingPointRow, suggested: OperatingPointRow | None, is_calibrating: bool, live: LiveEstimate
    ) -> Self:
        suggestion = OperatingPoint.model_validate(suggested) if suggested else None
        point = OperatingPoint.model_validate(row)
        return cls(**point.model_dump(), suggestion=suggestion, is_calibrating=is_calibrating, live=live)


class AutoThreshold(BaseModel):
    """Keep a target FPIR, given as a number or as a preset; neither keeps the target there was."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["auto"]
    target_fpir: float | None = Field(None, ge=0.0001, le=0.2)
    preset: Preset | None = Field(None, description="strict 0.001, normal 0.01, relaxed 0.05")
    reason: Reason = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.target_fpir is not None and self.preset is not None:
            raise ValueError("send target_fpir or preset, not both")
        return self

    @property
    def wanted_fpir(self) -> float | None:
        return PRESETS[self.preset] if self.preset else self.target_fpir


class ManualThreshold(BaseModel):
    """Keep this threshold whatever happens."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["manual"]
    threshold: float = Field(ge=-2.0, le=2.0, allow_inf_nan=False, description="On the scale of decision scores.")
    reason: Reason = None


NewThreshold = Annotated[AutoThreshold | ManualThreshold, Field(discriminator="mode")]


class Restore(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason = None


class PreviewRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    threshold: float = Field(ge=-2.0, le=2.0, allow_inf_nan=False)


class Change(BaseModel):
    """One decision of late that would be another."""

    event_id: str
    at: datetime
    score: float
    decided_threshold: float
    outcome: str = Field(description="As it was decided.")
    new_outcome: Literal["identified", "unknown"]
    person: PersonRef | None = Field(description="Whom it named, or would name; null once they are erased.")


class Preview(BaseModel):
    """What a threshold would do."""

    threshold: float
    expected_fpir: Interval
    expected_fnir: Interval
    method: str = Field(
        description="What the expected rates rest on: `model card` alone until a large gallery was searched once."
    )
    n_events: int = Field(
        description="Stored decisions that were decided again, by the rules and margins in force: the newest 5,000."
    )
    n_named: int = Field(description="Of these, faces that were named.")
    n_no_longer_named: int
    n_newly_named: int
    changes: list[Change] = Field(description="The newest first, at most 200.")

    @classmethod
    def of(
        cls,
        point: types.OperatingPoint,
        replayed: Replayed,
        shown: Sequence[StoredFace],
        people: Mapping[str, PersonRef],
    ) -> Self:
        return cls(
            threshold=point.threshold,
            expected_fpir=Interval.model_validate(point.expected_fpir),
            expected_fnir=Interval.model_validate(point.expected_fnir),
            method=point.method,
            n_events=replayed.n_decisions,
            n_named=replayed.n_named,
            n_no_longer_named=replayed.n_no_longer_named,
            n_newly_named=replayed.n_newly_named,
            changes=[
                Change(
                    event_id=face.row.id,
                    at=face.row.at,
                    score=round(face.row.score or 0.0, 6),
                    decided_threshold=round(face.row.threshold, 6),
                    outcome=face.row.outcome,
                    new_outcome="unknown" if face.is_named else "identified",
                    person=people.get(face.first_id) if face.first_id else None,
                )
                for face in shown
            ],
        )


class Curve(BaseModel):
    """Rates by threshold for the operating point in force, and how the scores it rests on are spread.

    Bin i of a histogram reaches from `bin_edges[i]` to `bin_edges[i + 1]`. The ends of the rates' 95 % intervals are
    empty for a point that an earlier release made.
    """

    thresholds: list[float]
    fpir: list[float]
    fpir_low: list[float] = []
    fpir_high: list[float] = []
    fnir: list[float]
    fnir_low: list[float] = []
    fnir_high: list[float] = []
    bin_edges: list[float]
    mated_histogram: list[int]
    non_mated_histogram: list[int]
    n_mated: int
    n_non_mated: int


class LookAlike(BaseModel):
    """Two people who must lead each other by `margin` to be named."""

    person_a: PersonRef
    person_b: PersonRef
    source: Literal["look_alike", "feedback"]
    score: float | None = Field(description="The highest score that one reached as the other; null for feedback.")
    margin: float
    n_complaints: int = Field(description="Events that operators complained of; 0 for look-alikes.")


class Findings(BaseModel):
    """How much of the gallery was looked at: in a large one a sample, with at least one template of everybody."""

    n_searched: int = Field(description="Templates that the last calibration searched for.")
    n_templates: int = Field(description="Templates that there were then.")


class LookAlikes(Findings):
    items: list[LookAlike]


class ForgottenComplaints(BaseModel):
    """What operators had said of two people, and what counts no more."""

    person_a: str
    person_b: str
    n_complaints: int = Field(description="Complaints that were forgotten.")
    margin: float = Field(description="The lead that they still need over each other, because they look alike; else 0.")


class SuspiciousTemplate(BaseModel):
    """A template nearer to somebody else than to the rest of its own person."""

    template_id: str
    enrolment_id: str
    file: str | None
    person: PersonRef
    nearer_to: PersonRef
    lead: float = Field(description="How far the other person's decision score is ahead.")
    suggestion: str


class SuspiciousTemplates(Findings):
    items: list[SuspiciousTemplate]


class Queued(BaseModel):
    """A calibration that runs in the background."""

    status: Literal["queued"] = "queued"
    message: str

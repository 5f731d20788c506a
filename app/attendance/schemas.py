"""The ledger on the wire: captures, events, days, and what people say about them."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, model_validator

from app.http.fields import Id, Input, Line, Moment
from app.identification.schemas import Candidate, Identification, PersonRef

Direction = Literal["in", "out"]
Method = Literal["face", "pin", "badge", "manual"]
DayStatusView = Literal[
    "present", "late", "half_day", "absent", "missing_out", "missing_in", "day_off", "holiday", "open"
]

# Below, small faces cost false alarms too: only a camera's policy, which an administrator sets, may go there.
LEAST_SENT_PX: Final = 18
SmallestSentFace = Annotated[int, Field(ge=LEAST_SENT_PX, le=10_000)]
Reason = Annotated[Line, Field(min_length=1, max_length=500)]
PinDigits = Annotated[str, Field(pattern=r"^[0-9]{4,12}$", description="4 to 12 digits.")]
BadgeText = Annotated[Line, Field(min_length=1, max_length=200)]


class CaptureView(BaseModel):
    """One picture as it was recorded."""

    id: str
    captured_at: datetime = Field(description="What the camera's clock said.")
    occurred_at: datetime = Field(description="The same, corrected by how wrong that clock is.")
    clock_offset_s: float = Field(description="What was added to `captured_at`.")


class RecordedEvent(BaseModel):
    """Somebody was there, as it stands in the ledger."""

    id: str
    person: PersonRef | None = Field(description="Null for an unknown face, and for somebody who was erased.")
    outcome: str = Field(examples=["identified", "unknown"])
    direction: Direction | None
    occurred_at: datetime
    local_date: date | None = Field(description="The working day it belongs to, on the wall clock where it happened.")
    duplicate_of: str | None = Field(description="The first event of the same presence; null: this is it.")
    explanation: str


class Recording(Identification):
    """Who is in a picture, and what was recorded of that; a face of low quality makes no event."""

    capture: CaptureView
    events: list[RecordedEvent]


class EventView(RecordedEvent):
    """One event with where it comes from."""

    method: Method
    given_direction: Direction | None = Field(description="What the camera or sender said; null: it follows.")
    timezone: str = Field(description="The person's own then, or else that of the wall clock where it happened.")
    camera_id: str | None
    site_id: str
    capture_id: str | None
    shift_id: str | None
    is_deleted: bool
    received_at: datetime
    created_by: str


class Evidence(BaseModel):
    """Why a face was given this name, or none: the decision as it was made."""

    outcome: str
    person: PersonRef | None
    score: float | None
    margin: float | None
    threshold: float
    quality: float
    reasons: list[str]
    model: str
    operating_point_id: str
    gallery_revision: int
    candidates: list[Candidate] = Field(description="Best first; without those who were erased.")


class Correction(BaseModel):
    """What somebody changed about an event; `before` is empty where the event was written by hand."""

    at: datetime
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


class EventDetail(EventView):
    """One event with all that is known of it."""

    capture: CaptureView | None
    evidence: Evidence | None = Field(description="Null for punches.")
    corrections: list[Correction] = Field(description="Oldest first.")


class ManualEvent(Input):
    """Somebody was there, as an operator knows."""

    person_id: Id
    occurred_at: Moment
    direction: Direction | None = None
    reason: Reason


class EventChange(Input):
    """What was wrong about an event: a field that is not sent stays, null empties it."""

    occurred_at: Moment | None = None
    direction: Direction | None = None
    person_id: Id | None = None
    is_deleted: bool | None = None
    reason: Reason

    @model_validator(mode="after")
    def _says_something(self) -> "EventChange":
        if not self.changes:
            raise ValueError("say what to change: occurred_at, direction, person_id or is_deleted")
        for name in ("occurred_at", "is_deleted"):
            if name in self.changes and self.changes[name] is None:
                raise ValueError(f"{name} cannot be null; leave it out to keep it")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """The columns that are to change, with their new values."""
        columns = {"direction": "given_direction"}
        return {columns.get(name, name): getattr(self, name) for name in self.model_fields_set - {"reason"}}


class Punch(Input):
    """Somebody says who they are, by PIN or badge, or an operator does."""

    employee_code: Annotated[Line, Field(min_length=1, max_length=64)] | None = None
    person_id: Id | None = None
    badge: BadgeText | None = None
    pin: PinDigits | None = None
    occurred_at: Moment | None = Field(None, description="By the sender's clock; left out: now.")
    direction: Direction | None = None
    camera_id: Id | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _names_one(self) -> "Punch":
        if sum(given is not None for given in (self.employee_code, self.person_id, self.badge)) != 1:
            raise ValueError("give one of employee_code, person_id and badge")
        return self


class Pin(Input):
    """A secret number of somebody's own."""

    pin: PinDigits


class Badge(Input):
    """What a badge says of itself when it is read."""

    badge: BadgeText


class Credential(BaseModel):
    """That somebody has a PIN or a badge; never what it is."""

    person_id: str
    kind: Literal["pin", "badge"]
    created_at: datetime


class DayPart(BaseModel):
    """One shift of a day, or all of it where no shift is assigned."""

    shift_id: str | None
    shift_name: str | None
    expected_from: datetime | None
    expected_to: datetime | None
    first_in: datetime | None
    last_out: datetime | None
    worked_s: int
    break_s: int
    late_s: int
    early_leave_s: int
    overtime_s: int
    status: str
    explanation: str


class Approval(BaseModel):
    """That somebody approved a day."""

    at: datetime
    actor: str
    note: str | None
    is_current: bool = Field(description="Whether the day is still as it was then.")


class Day(BaseModel):
    """One person's day."""

    date: date
    person: PersonRef
    department: str | None
    timezone: str
    status: DayStatusView = Field(
        description="`open`: it is not over yet, and a check-out, or the person, may still come."
    )
    first_in: datetime | None
    last_out: datetime | None
    worked_s: int
    break_s: int
    late_s: int
    early_leave_s: int
    overtime_s: int
    n_events: int
    n_corrections: int = Field(description="How often somebody wrote or corrected an event of this day by hand.")
    closes_at: datetime
    explanation: str
    parts: list[DayPart]
    version: int = Field(description="Grows with every change; 0: nothing has ever happened on this day.")
    updated_at: datetime | None
    approval: Approval | None = Field(description="The latest one.")


class ApprovalNote(Input):
    """What to remember about an approval."""

    note: Reason | None = None


class BatchLine(Input):
    """One line of a batch."""

    captured_at: Moment
    image_base64: str
    direction: Direction | None = None
    camera_id: Id | None = None
    min_face_px: SmallestSentFace | None = None
    idempotency_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]


class BatchAnswer(BaseModel):
    """What became of one line of a batch."""

    line: int = Field(description="Counted from 1.")
    status: Literal["recorded", "already_recorded", "refused"]
    code: str | None = None
    detail: str | None = None
    retry: bool | None = Field(None, description="With `refused`: true where the same line may be good later.")
    capture_id: str | None = None
    events: list[RecordedEvent] | None = None


class BatchSummary(BaseModel):
    """How many lines there were."""

    lines: int
    recorded: int
    already_recorded: int
    refused: int


class BatchEnd(BaseModel):
    """The last line of an answer to a batch."""

    summary: BatchSummary

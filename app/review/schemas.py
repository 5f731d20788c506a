"""Unknown faces on the wire."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from app.enrolment.schemas import Enrolment
from app.http.fields import Id, Input, Line, Name
from app.identification.schemas import Candidate, PersonRef
from app.people.schemas import EmployeeCode

Status = Literal["open", "assigned", "dismissed"]


class CameraRef(BaseModel):
    """Enough of a camera to show."""

    id: str
    name: str


class Face(BaseModel):
    """One face that is kept for a while."""

    event_id: str
    quality: float = Field(description="0 to 1.")
    seen_at: datetime
    camera_id: str | None
    crop_url: str = Field(description="The face as JPEG; asking for it is noted in the audit log.")


class Unknown(BaseModel):
    """Unknown faces that look like one person."""

    id: str
    status: Status
    n_faces: int = Field(description="How often they were seen; of these faces some may have expired.")
    first_seen_at: datetime
    last_seen_at: datetime
    cameras: list[CameraRef] = Field(description="Those that saw the faces still kept.")
    looks_like: list[Candidate] = Field(
        description="The enrolled people whom the best face is nearest to, though none was near enough to be named."
    )
    faces: list[Face] = Field(description="The best of those still kept, best first.")
    person: PersonRef | None = Field(description="Whom they were assigned to; null also once that person is erased.")
    was_enrolled: bool | None = Field(
        description="Of assigned faces: whether the person was enrolled when they were seen, so that each was a miss."
    )
    reason: str | None = Field(description="What whoever dismissed them said.")
    resolved_at: datetime | None
    resolved_by: str | None


class Assign(Input):
    """Who these faces are: somebody there is, or somebody new with a name."""

    person_id: Id | None = None
    employee_code: EmployeeCode | None = None
    name: Name | None = Field(None, description="Needed when the employee_code is new.")
    consent: bool = Field(False, description="`true` when the person agrees now to being enrolled.")
    on_duplicate: Literal["refuse", "allow"] = Field(
        "refuse", description="What to do when the face already belongs to somebody else."
    )
    enroll: bool = Field(True, description="Enrol the best of the faces, so that they are recognised from now on.")
    correct_events: bool = Field(True, description="Give the events of these faces to the person.")

    @model_validator(mode="after")
    def _names_one(self) -> "Assign":
        if (self.person_id is None) == (self.employee_code is None):
            raise ValueError("give person_id or employee_code, one of them")
        return self


class Assigned(BaseModel):
    """What became of a cluster that was assigned."""

    id: str
    status: Status
    person: PersonRef
    was_enrolled: bool = Field(description="Whether the person was enrolled when they were seen, so each was a miss.")
    enrolment: Enrolment | None = Field(description="What was enrolled; null with `enroll: false`.")
    n_events_corrected: int
    n_crops_deleted: int = Field(description="Crops and embeddings of unknown faces that are kept no longer.")
    gallery_revision: int


class Dismiss(Input):
    """That these faces are nobody's who should be known."""

    reason: Annotated[Line, Field(min_length=1, max_length=500)] | None = Field(
        None, description="Why, without names: it is kept for as long as the cluster, also when people are erased."
    )

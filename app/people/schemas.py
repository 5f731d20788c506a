"""People on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from app.http.fields import Id, Input, Line, Moment, Name, TimeZone

EmployeeCode = Annotated[Line, Field(min_length=1, max_length=64)]
Department = Annotated[Line, Field(min_length=1, max_length=200)]


class Consent(Input):
    """That the person agreed, when and how."""

    given_at: Moment
    method: Annotated[Line, Field(min_length=1, max_length=100, examples=["signed form"])]


class PersonCreate(Input):
    """A new person."""

    employee_code: EmployeeCode
    name: Name
    department: Department | None = None
    timezone: TimeZone | None = Field(
        None, description="IANA name, for what is recorded from now on; null: that of wherever they punch."
    )
    shift_id: Id | None = Field(None, description="The shift that they work, whatever the day.")
    site_id: Id | None = Field(None, description="Where they belong, for its holidays; null: the first site.")
    consent: Consent | None = None


class PersonUpdate(Input):
    """What to change: a field that is not sent stays, null empties it."""

    employee_code: EmployeeCode | None = None
    name: Name | None = None
    department: Department | None = None
    timezone: TimeZone | None = None
    shift_id: Id | None = Field(None, description="Another one counts from today on; see `/v1/roster`.")
    site_id: Id | None = None
    active: bool | None = None
    consent: Consent | None = None

    @field_validator("employee_code", "name", "active")
    @classmethod
    def _never_empty(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it")
        return value

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Coverage(BaseModel):
    """How many templates show the face in each pose."""

    frontal: int = 0
    left: int = 0
    right: int = 0
    up: int = 0
    down: int = 0


class Person(BaseModel):
    """A person, and how well they are enrolled."""

    id: str
    employee_code: str
    name: str
    department: str | None
    timezone: str | None
    shift_id: str | None
    site_id: str | None
    active: bool
    consent: Consent | None
    n_templates: int
    coverage: Coverage
    created_at: datetime
    updated_at: datetime


class ErasureReceipt(BaseModel):
    """What was erased with the person. Keep it: the person's id is all that is left."""

    person_id: str
    templates_deleted: int
    crops_deleted: int
    events_anonymised: int
    gallery_revision: int


class ImportProblem(BaseModel):
    """A row that was left out."""

    line: int = Field(description="Line of the file, counted from 1 with the header.")
    code: str
    detail: str


class ImportLines(BaseModel):
    """Where in the file the rows that were taken are: their lines, counted from 1 with the header."""

    created: list[int] = Field(default_factory=list)
    updated: list[int] = Field(default_factory=list)
    unchanged: list[int] = Field(default_factory=list)


class ImportResult(BaseModel):
    """What became of each row; those with an error changed nothing."""

    created: int
    updated: int
    unchanged: int
    errors: list[ImportProblem]
    lines: ImportLines = Field(default_factory=ImportLines)

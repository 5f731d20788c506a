"""People on the wire."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

# Unicode's spaces other than the common one, which `isprintable` refuses: U+3000 is usual in Japanese names.
WIDE_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Zero-width (non-)joiners, which Persian and Indic names need.
JOINERS = re.compile("[\u200c\u200d]")


def _clean(value: Any) -> Any:
    """NFC, plain spaces, stripped: the same word typed on two keyboards must be the same value."""
    if not isinstance(value, str):
        return value
    text = WIDE_SPACES.sub(" ", unicodedata.normalize("NFC", value)).strip()
    if not JOINERS.sub("", text).isprintable():
        raise ValueError("must not contain control characters")
    return text


def _time_zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ValueError, KeyError, OSError):  # a bad path, an unknown name, a folder such as "America"
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the first or last day of the calendar
        raise ValueError("must be a real date") from None


Line = Annotated[str, BeforeValidator(_clean)]
EmployeeCode = Annotated[Line, Field(min_length=1, max_length=64)]
Name = Annotated[Line, Field(min_length=1, max_length=200)]
Department = Annotated[Line, Field(min_length=1, max_length=200)]
TimeZone = Annotated[Line, Field(min_length=1, max_length=64), AfterValidator(_time_zone)]
ShiftId = Annotated[Line, Field(min_length=1, max_length=40)]


class _Input(BaseModel):
    """Unknown fields are refused, because a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Consent(_Input):
    """That the person agreed, when and how."""

    given_at: Annotated[AwareDatetime, AfterValidator(_utc)]
    method: Annotated[Line, Field(min_length=1, max_length=100, examples=["signed form"])]


class PersonCreate(_Input):
    """A new person."""

    employee_code: EmployeeCode
    name: Name
    department: Department | None = None
    timezone: TimeZone | None = Field(None, description="IANA name; null: the deployment's own.")
    shift_id: ShiftId | None = None
    consent: Consent | None = None


class PersonUpdate(_Input):
    """What to change: a field that is not sent stays, null empties it."""

    employee_code: EmployeeCode | None = None
    name: Name | None = None
    department: Department | None = None
    timezone: TimeZone | None = None
    shift_id: ShiftId | None = None
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


class ImportResult(BaseModel):
    """What became of each row; those with an error changed nothing."""

    created: int
    updated: int
    unchanged: int
    errors: list[ImportProblem]

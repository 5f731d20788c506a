"""Sites and holidays on the wire."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.http.fields import CalendarDay, Id, Input, Name, TimeZone

RepeatWindow = Annotated[int, Field(ge=0, le=3600, description="Captures no further apart are one presence.")]
UnknownDays = Annotated[
    int, Field(ge=0, le=365, description="How long crops of unknown faces are kept; 0: not at all.")
]


class SiteCreate(Input):
    """A new site."""

    name: Name
    timezone: TimeZone | None = Field(None, description="IANA name; null: the deployment's own.")
    repeat_window_s: RepeatWindow = 120
    unknown_days: UnknownDays = 0


class SiteUpdate(Input):
    """What to change: a field that is not sent stays. Events keep the zone and the window that they were made with."""

    name: Name | None = None
    timezone: TimeZone | None = None
    repeat_window_s: RepeatWindow | None = None
    unknown_days: UnknownDays | None = None

    @field_validator("name", "repeat_window_s", "unknown_days")
    @classmethod
    def _never_empty(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it")
        return value

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Site(BaseModel):
    """A place with one clock on its wall."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    timezone: str | None
    repeat_window_s: int
    unknown_days: int
    created_at: datetime
    updated_at: datetime


class HolidayCreate(Input):
    """A day on which nobody is expected."""

    date: CalendarDay
    name: Name
    site_id: Id | None = Field(None, description="Where; null: at all sites.")


class Holiday(BaseModel):
    """A day on which nobody is expected: at one site, or where `site_id` is null at all of them."""

    id: str
    date: date
    name: str
    site_id: str | None

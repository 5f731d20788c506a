"""What several features accept in a body, and refuse in the same words."""

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

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
Name = Annotated[Line, Field(min_length=1, max_length=200)]
TimeZone = Annotated[Line, Field(min_length=1, max_length=64), AfterValidator(_time_zone)]
Id = Annotated[Line, Field(min_length=1, max_length=40)]
Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
# Days that attendance is planned for: a mistyped year is refused, and there is room for a zone's hours on either side.
CalendarDay = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))]


class Input(BaseModel):
    """Unknown fields are refused, because a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

"""Times and numbers as a visitor reads them."""

from datetime import date, datetime, timedelta
from typing import Final

from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.numbers import format_decimal, format_percent
from markupsafe import Markup

from app.dashboard.frame.taste import Taste
from app.db.types import utc_now

NOTHING: Final = "–"


class Formats:
    """Filters of the templates, for one visitor."""

    def __init__(self, taste: Taste) -> None:
        self._taste = taste

    def moment(self, at: datetime | None) -> str:
        """Date and time in the visitor's zone, as a `<time>` that also holds the exact one."""
        if at is None:
            return NOTHING
        local = at.astimezone(self._taste.zone)
        return _time(at, format_datetime(local, "medium", locale=self._taste.locale))

    def clock(self, at: datetime | None) -> str:
        """Hours and minutes in the visitor's zone."""
        if at is None:
            return NOTHING
        return _time(at, format_time(at.astimezone(self._taste.zone), "short", locale=self._taste.locale))

    def ago(self, at: datetime | None) -> str:
        """How long ago, roughly; exact in the tooltip."""
        if at is None:
            return NOTHING
        words = format_timedelta(at - utc_now(), add_direction=True, locale=self._taste.locale)
        return _time(
            at, words, title=format_datetime(at.astimezone(self._taste.zone), "full", locale=self._taste.locale)
        )

    def day(self, day: date | None) -> str:
        """A calendar day, which has no zone."""
        return NOTHING if day is None else format_date(day, "medium", locale=self._taste.locale)

    def hours(self, seconds: float | None) -> str:
        """`7:45` of 27 900 seconds."""
        if seconds is None:
            return NOTHING
        minutes = round(seconds / 60)
        return f"{minutes // 60}:{minutes % 60:02}"

    def number(self, value: float | None) -> str:
        return NOTHING if value is None else format_decimal(value, locale=self._taste.locale)

    def share(self, value: float | None) -> str:
        """`1.2 %` of 0.012."""
        return NOTHING if value is None else format_percent(value, "#,##0.##%", locale=self._taste.locale)

    def lasting(self, span: timedelta) -> str:
        return format_timedelta(span, locale=self._taste.locale)


def _time(at: datetime, words: str, title: str | None = None) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), title or at.isoformat(), words)

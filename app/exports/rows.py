"""Days as rows of a table: of ours, and of the one that Odoo imports."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from app.attendance.schemas import Day

COLUMNS = (
    "date",
    "employee_code",
    "name",
    "department",
    "status",
    "first_in",
    "last_out",
    "worked_h",
    "late_min",
    "early_leave_min",
    "overtime_min",
    "explanation",
)
# Odoo finds an employee by name; the badge number is for scripts that import by it, and for namesakes.
ODOO_COLUMNS = ("barcode", "employee_id", "check_in", "check_out")


def day_row(day: Day) -> dict[str, object]:
    """One day; times are those of the wall clock, with their distance from UTC."""
    return {
        "date": day.date.isoformat(),
        "employee_code": day.person.employee_code,
        "name": day.person.name,
        "department": day.department,
        "status": day.status,
        "first_in": _text(local(day.first_in, day.timezone)),
        "last_out": _text(local(day.last_out, day.timezone)),
        "worked_h": hours(day.worked_s),
        "late_min": minutes(day.late_s),
        "early_leave_min": minutes(day.early_leave_s),
        "overtime_min": minutes(day.overtime_s),
        "explanation": day.explanation,
    }


def odoo_rows(day: Day) -> Iterator[dict[str, object]]:
    """Each time that somebody was there, from coming to going, in UTC; one whose end is missing is left out.

    Odoo refuses times that overlap, as those of two shifts may, so these are made one.
    """
    for came, left in _presences(day):
        yield {
            "barcode": day.person.employee_code,
            "employee_id": day.person.name,
            "check_in": _odoo_time(came),
            "check_out": _odoo_time(left),
        }


def local(at: datetime | None, zone: str) -> datetime | None:
    """The time on the wall."""
    return None if at is None else at.astimezone(ZoneInfo(zone))


def hours(seconds: int) -> float:
    return round(seconds / 3600, 2)


def minutes(seconds: int) -> int:
    return round(seconds / 60)


def _presences(day: Day) -> list[tuple[datetime, datetime]]:
    whole = sorted((part.first_in, part.last_out) for part in day.parts if part.first_in and part.last_out)
    merged: list[tuple[datetime, datetime]] = []
    for came, left in whole:
        if merged and came <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(left, merged[-1][1])
        elif came < left:
            merged.append((came, left))
    return merged


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _odoo_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"

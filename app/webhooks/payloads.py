"""What messages say about events and days: ids, codes, times and seconds; never a name, a picture or a score."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.attendance.views import status_now
from app.db.tables import Day, Event
from app.db.types import utc_now


def event_payload(event: Event, employee_code: str | None, version: int) -> dict[str, Any]:
    """An event as it is now; a later `version` of it takes its place. `employee_code` is null for an unknown face."""
    return {
        "event_id": event.id,
        "person_id": event.person_id,
        "employee_code": employee_code,
        "camera_id": event.camera_id,
        "site_id": event.site_id,
        "method": event.method,
        "outcome": event.outcome,
        "direction": event.direction,
        "duplicate_of": event.duplicate_of,
        "is_deleted": event.is_deleted,
        "occurred_at": _utc(event.occurred_at),
        "occurred_at_local": _local(event.occurred_at, event.timezone),
        "timezone": event.timezone,
        "date": event.local_date.isoformat() if event.local_date else None,
        "shift_id": event.shift_id,
        "version": version,
    }


def taken_away_payload(event: Event, version: int) -> dict[str, Any]:
    """An event for somebody whose it no longer is: nothing in it says whose it is now."""
    nobodys = {"person_id": None, "outcome": "unknown", "duplicate_of": None, "shift_id": None}
    return event_payload(event, None, version) | nobodys | {"direction": event.given_direction}


def day_payload(day: Day, employee_code: str | None) -> dict[str, Any]:
    """A day as it is now; a later `version` of the same day and person takes its place.

    Until `closes_at` a missing check-out, or person, reads `open`; no other message says when that is over.
    """
    return {
        "person_id": day.person_id,
        "employee_code": employee_code,
        "date": day.local_date.isoformat(),
        "timezone": day.timezone,
        "status": status_now(day, utc_now()),
        "closes_at": _utc(day.closes_at),
        "first_in": _utc(day.first_in),
        "first_in_local": _local(day.first_in, day.timezone),
        "last_out": _utc(day.last_out),
        "last_out_local": _local(day.last_out, day.timezone),
        "worked_s": day.worked_s,
        "break_s": day.break_s,
        "late_s": day.late_s,
        "early_leave_s": day.early_leave_s,
        "overtime_s": day.overtime_s,
        "n_events": day.n_events,
        "version": day.version,
    }


def _utc(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _local(at: datetime | None, zone: str) -> str | None:
    return None if at is None else at.astimezone(ZoneInfo(zone)).isoformat()

"""Sums of attendance on the wire."""

from pydantic import BaseModel, Field

from app.identification.schemas import PersonRef


class MonthSummary(BaseModel):
    """What one person's month comes to: days by status, and seconds."""

    month: str = Field(examples=["2026-11"])
    person: PersonRef
    department: str | None
    n_present: int
    n_late: int
    n_half_day: int
    n_absent: int
    n_missing: int = Field(description="Days without their first check-in or last check-out.")
    n_off: int = Field(description="Days off and holidays on which the person came nevertheless.")
    n_open: int = Field(description="Days that are not over yet.")
    worked_s: int
    late_s: int
    early_leave_s: int
    overtime_s: int

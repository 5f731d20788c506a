"""What a person's days come to, added up."""

from dataclasses import dataclass, field

from app.attendance.schemas import Day


@dataclass(slots=True)
class Totals:
    """Days by status, and seconds. `n_off` are days off and holidays on which somebody came nevertheless."""

    n_present: int = 0
    n_late: int = 0
    n_half_day: int = 0
    n_absent: int = 0
    n_missing: int = 0
    n_off: int = 0
    n_open: int = 0
    worked_s: int = 0
    late_s: int = 0
    early_leave_s: int = 0
    overtime_s: int = 0

    def add(self, day: Day) -> None:
        counter = COUNTERS[day.status]
        setattr(self, counter, getattr(self, counter) + 1)
        self.worked_s += day.worked_s
        self.late_s += day.late_s
        self.early_leave_s += day.early_leave_s
        self.overtime_s += day.overtime_s


COUNTERS = {
    "present": "n_present",
    "late": "n_late",
    "half_day": "n_half_day",
    "absent": "n_absent",
    "missing_in": "n_missing",
    "missing_out": "n_missing",
    "day_off": "n_off",
    "holiday": "n_off",
    "open": "n_open",
}


@dataclass(slots=True)
class PersonTotals:
    """Somebody's, with who that is."""

    employee_code: str
    name: str
    department: str | None
    totals: Totals = field(default_factory=Totals)

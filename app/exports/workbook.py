"""Days as an Excel workbook, written row by row: memory does not grow with the number of days."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import IO, Any

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from app.attendance.schemas import Day
from app.exports.rows import COLUMNS, hours, local, minutes
from app.exports.totals import PersonTotals

# What Excel can hold in one sheet; more days go on in another one.
MOST_ROWS = 1_048_576
# "timezone" because a cell of a time cannot say it; the CSV file says the distance from UTC in each time.
DAY_COLUMNS = (*COLUMNS[:-1], "timezone", COLUMNS[-1])
TOTAL_COLUMNS = (
    "employee_code",
    "name",
    "department",
    "present_days",
    "late_days",
    "half_days",
    "absent_days",
    "missing_punch_days",
    "worked_days_off",
    "open_days",
    "worked_h",
    "late_min",
    "early_leave_min",
    "overtime_min",
)
_WIDTHS = {"name": 24, "department": 18, "first_in": 17, "last_out": 17, "timezone": 18, "explanation": 80}
_WIDTH = 14


def write_workbook(file: IO[bytes], days: Iterable[Day], most_rows: int = MOST_ROWS) -> None:
    """A sheet of days, or several, and one of each person's totals."""
    with Workbook(file, {"constant_memory": True, "default_date_format": "yyyy-mm-dd"}) as workbook:
        writer = _Writer(workbook, most_rows)
        people: dict[str, PersonTotals] = {}
        for day in days:
            writer.write("Days", DAY_COLUMNS, _day_cells(day))
            person = PersonTotals(day.person.employee_code, day.person.name, day.department)
            people.setdefault(day.person.id, person).totals.add(day)
        writer.finish("Days", DAY_COLUMNS)
        for total in sorted(people.values(), key=lambda total: total.employee_code):
            writer.write("Totals", TOTAL_COLUMNS, _total_cells(total))
        writer.finish("Totals", TOTAL_COLUMNS)


class _Writer:
    """Fills one sheet after the other, each with a frozen header and a filter on every column."""

    def __init__(self, workbook: Workbook, most_rows: int) -> None:
        self._workbook = workbook
        self._most_rows = most_rows
        self._sheet: Worksheet | None = None
        self._n_rows = self._n_sheets = 0
        self._bold = workbook.add_format({"bold": True})
        self._time = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})

    def write(self, title: str, columns: Sequence[str], cells: Sequence[Any]) -> None:
        """One row more, on a new sheet where there is none or it is full."""
        if self._sheet is not None and self._n_rows == self._most_rows:
            self._close(columns)
        sheet = self._sheet or self._open(title, columns)
        for place, cell in enumerate(cells):
            self._write_cell(sheet, self._n_rows, place, cell)
        self._n_rows += 1

    def finish(self, title: str, columns: Sequence[str]) -> None:
        """No more of this; a sheet without rows says that there are none."""
        if self._sheet is None:
            self._open(title, columns)
        self._close(columns)
        self._n_sheets = 0

    def _open(self, title: str, columns: Sequence[str]) -> Worksheet:
        self._n_sheets += 1
        sheet = self._workbook.add_worksheet(title if self._n_sheets == 1 else f"{title} {self._n_sheets}")
        for place, name in enumerate(columns):
            sheet.set_column(place, place, _WIDTHS.get(name, _WIDTH))
            sheet.write_string(0, place, name, self._bold)
        sheet.freeze_panes(1, 0)
        self._sheet, self._n_rows = sheet, 1
        return sheet

    def _close(self, columns: Sequence[str]) -> None:
        if self._sheet is not None:
            self._sheet.autofilter(0, 0, max(1, self._n_rows - 1), len(columns) - 1)
        self._sheet = None

    def _write_cell(self, sheet: Worksheet, row: int, column: int, cell: Any) -> None:
        """By type: a text is never taken for a formula or an address, whatever it starts with."""
        if cell is None:
            return
        if isinstance(cell, str):
            sheet.write_string(row, column, cell)
        elif isinstance(cell, int | float):
            sheet.write_number(row, column, cell)
        else:
            sheet.write_datetime(row, column, cell, self._format_of(cell))

    def _format_of(self, cell: Any) -> Format | None:
        return self._time if isinstance(cell, datetime) else None  # None: the workbook's, for dates


def _day_cells(day: Day) -> list[Any]:
    return [
        day.date,
        day.person.employee_code,
        day.person.name,
        day.department,
        day.status,
        _wall_time(day.first_in, day.timezone),
        _wall_time(day.last_out, day.timezone),
        hours(day.worked_s),
        minutes(day.late_s),
        minutes(day.early_leave_s),
        minutes(day.overtime_s),
        day.timezone,
        day.explanation,
    ]


def _total_cells(total: PersonTotals) -> list[Any]:
    *counts, worked_s, late_s, early_leave_s, overtime_s = astuple(total.totals)
    seconds = hours(worked_s), minutes(late_s), minutes(early_leave_s), minutes(overtime_s)
    return [total.employee_code, total.name, total.department, *counts, *seconds]


def _wall_time(at: datetime | None, zone: str) -> datetime | None:
    """Without its zone, which Excel has no place for."""
    wall = local(at, zone)
    return None if wall is None else wall.replace(tzinfo=None, microsecond=0)

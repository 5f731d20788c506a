"""Makes days as the ledger stores them, and reads workbooks. Every argument is a keyword."""

import re
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

from sqlalchemy.orm import Session

from app.db.tables import Day, Person
from app.db.types import utc_now

MONDAY = date(2026, 11, 2)
_SHEETS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def at(day: date, wall: str) -> datetime:
    """A time in UTC."""
    return datetime.combine(day, time.fromisoformat(wall), UTC)


def make_part(*, first_in: datetime | None, last_out: datetime | None) -> dict[str, Any]:
    return {
        "shift_id": None,
        "shift_name": None,
        "expected_from": None,
        "expected_to": None,
        "first_in": first_in.isoformat() if first_in else None,
        "last_out": last_out.isoformat() if last_out else None,
        "worked_s": 0,
        "break_s": 0,
        "late_s": 0,
        "early_leave_s": 0,
        "overtime_s": 0,
        "status": "present",
        "explanation": "",
    }


def make_day(
    *,
    session: Session,
    person: Person,
    day: date = MONDAY,
    first_in: datetime | None = None,
    last_out: datetime | None = None,
    parts: list[tuple[datetime | None, datetime | None]] | None = None,
    **columns: Any,
) -> Day:
    row = Day(
        person_id=person.id,
        local_date=day,
        first_in=first_in,
        last_out=last_out,
        parts=[make_part(first_in=came, last_out=left) for came, left in parts or [(first_in, last_out)]],
        **{
            "timezone": "Europe/Berlin",
            "status": "present",
            "worked_s": 0,
            "break_s": 0,
            "late_s": 0,
            "early_leave_s": 0,
            "overtime_s": 0,
            "n_events": 2,
            "closes_at": at(day, "23:00") + timedelta(days=1),
            "explanation": "",
            "version": 1,
            "updated_at": utc_now(),
            **columns,
        },
    )
    session.add(row)
    session.flush()
    return row


def read_workbook(content: bytes) -> dict[str, list[list[str | float | None]]]:
    """Sheets by name: rows of texts and numbers, as a spreadsheet finds them in the file; no formula is allowed."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = re.findall(r'<sheet name="([^"]+)"', archive.read("xl/workbook.xml").decode())
        sheets = [archive.read(f"xl/worksheets/sheet{n}.xml") for n in range(1, len(names) + 1)]
    return {name: _rows(sheet) for name, sheet in zip(names, sheets, strict=True)}


def _rows(sheet: bytes) -> list[list[str | float | None]]:
    assert b"<f>" not in sheet and b"<hyperlink" not in sheet
    assert b'state="frozen"' in sheet and b"<autoFilter" in sheet
    root = ElementTree.fromstring(sheet)
    rows = []
    for row in root.iter(f"{_SHEETS}row"):
        cells = {_column(str(cell.get("r"))): _value(cell) for cell in row}
        rows.append([cells.get(n) for n in range(max(cells) + 1)])
    return rows


def _column(place: str) -> int:
    number = 0
    for letter in place.rstrip("0123456789"):
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element) -> str | float | None:
    if cell.get("t") == "inlineStr":
        return "".join(text.text or "" for text in cell.iter(f"{_SHEETS}t"))
    value = cell.find(f"{_SHEETS}v")
    return None if value is None or value.text is None else float(value.text)

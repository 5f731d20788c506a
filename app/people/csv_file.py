"""People as a CSV file, in and out; text only, no SQL.

Spreadsheets run a cell that starts with one of `RISKY` as a formula, so a written one gets an apostrophe in front,
which is taken off again when such a file is read.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.errors import ProblemError

RISKY = ("=", "+", "-", "@", "\t", "\r")
REQUIRED = ("employee_code", "name")
# Enough that passing a piece on costs little beside writing it.
_PIECE_LETTERS = 65_536
IMPORTED = (*REQUIRED, "department", "timezone", "shift_id", "site_id")
EXPORTED = (*IMPORTED, "id", "active", "consent_given_at", "consent_method", "n_templates", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an imported file: the columns it has; an empty cell is None where that is allowed."""

    line: int
    cells: dict[str, str | None]


def read_rows(content: bytes, max_rows: int) -> list[Row]:
    """The rows of a file with a header line; columns that only the export has are ignored."""
    reader = csv.DictReader(io.StringIO(_decode(content), newline=""), strict=True, restkey="", restval="")
    try:
        _check_header(reader.fieldnames or [])
        rows = [Row(reader.line_num, _cells(record)) for record in _at_most(reader, max_rows)]
    except csv.Error as exc:
        raise ProblemError(400, "csv_invalid", f"Line {reader.line_num} is not valid CSV: {exc}.") from None
    return rows


def write_rows(rows: Iterable[dict[str, object]], columns: Sequence[str] = EXPORTED) -> Iterator[str]:
    """The header line, then each row, as text in pieces of many rows."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _guard(value) for name, value in row.items()})
        if buffer.tell() > _PIECE_LETTERS:
            yield _take(buffer)
    yield _take(buffer)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProblemError(400, "csv_invalid", "The file is not UTF-8. Save it as “CSV UTF-8”.") from None


def _check_header(columns: Iterable[str]) -> None:
    found = [column.strip() for column in columns]
    missing = [column for column in REQUIRED if column not in found]
    unknown = [column for column in found if column not in EXPORTED]
    if missing or unknown or len(set(found)) < len(found):
        detail = f"The first line must name the columns {', '.join(IMPORTED)}; all but the first two may be left out."
        raise ProblemError(422, "csv_columns_invalid", detail)


def _at_most(reader: Iterable[dict[str, str]], max_rows: int) -> Iterator[dict[str, str]]:
    for n_rows, record in enumerate(reader, 1):
        if n_rows > max_rows:
            raise ProblemError(413, "import_too_large", f"More than {max_rows:,} rows. Split the file.")
        yield record


def _cells(record: dict[str, str]) -> dict[str, str | None]:
    if "" in record:
        raise csv.Error("it has more cells than the header")
    cells = {name.strip(): value for name, value in record.items()}
    texts = {name: _unguard(cells[name].strip()) for name in IMPORTED if name in cells}
    return {name: text if text or name in REQUIRED else None for name, text in texts.items()}


def _guard(value: object) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if text.startswith(RISKY) else text


def _unguard(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(RISKY) else text


def _take(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text

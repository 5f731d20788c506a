"""Excel files a piece at a time (ECMA-376 part 1, §18): tables with a frozen header and a filter on every column.

Nothing is written to a disk: a ZIP file need not know how long a part will be when it begins, nor a workbook how many
sheets it has.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile

_PIECE_BYTES: Final = 65_536
# What Excel can hold in one cell.
_MOST_LETTERS: Final = 32_767
# Excel's beginning of time, as it counts from March 1900 on.
_DAY_ZERO: Final = datetime(1899, 12, 30)
_WIDTHS: Final = {"name": 24, "department": 18, "first_in": 17, "last_out": 17, "timezone": 18, "explanation": 80}
_WIDTH: Final = 14
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# What XML cannot say, and what would be taken for how Excel says it: `_x000D_`.
_UNSAYABLE: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")

_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_KINDS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_LINKS: Final = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES: Final = "http://schemas.openxmlformats.org/package/2006/content-types"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
# Places in the list of cell formats in `_STYLES`.
_DATE, _TIME, _BOLD = 1, 2, 3
_STYLES: Final = (
    f'{_XML}<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table's title, which is plain, and the names of its columns, at most 26."""

    title: str
    columns: Sequence[str]


class Package:
    """A workbook that is being written: `sheet` after sheet, then `end`; what they yield is the file."""

    def __init__(self) -> None:
        self._out = _Pieces()
        self._zip = ZipFile(self._out, "w", ZIP_DEFLATED)
        self._filters: list[tuple[str, str]] = []

    def sheet(self, sheet: Sheet, rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
        """A sheet of these rows of texts, numbers, dates, times without a zone, and None."""
        n_rows = 1
        with self._zip.open(f"xl/worksheets/sheet{len(self._filters) + 1}.xml", "w") as part:
            part.write(_beginning(sheet).encode())
            for n_rows, cells in enumerate(rows, 2):
                part.write(_row(n_rows, cells).encode())
                if self._out.n_bytes > _PIECE_BYTES:
                    yield self._out.take()
            last = _LETTERS[len(sheet.columns) - 1]
            n_filtered = max(2, n_rows)
            part.write(f'</sheetData><autoFilter ref="A1:{last}{n_filtered}"/></worksheet>'.encode())
        self._filters.append((sheet.title, f"$A$1:${last}${n_filtered}"))

    def end(self) -> Iterator[bytes]:
        """What says which sheets there are."""
        numbers = range(1, len(self._filters) + 1)
        self._zip.writestr("xl/styles.xml", _STYLES)
        self._zip.writestr("xl/workbook.xml", _workbook(self._filters))
        sheets = [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
        self._zip.writestr("xl/_rels/workbook.xml.rels", _links([*sheets, ("rIdStyles", "styles", "styles.xml")]))
        self._zip.writestr("_rels/.rels", _links([("rId1", "officeDocument", "xl/workbook.xml")]))
        self._zip.writestr("[Content_Types].xml", _content_types(len(self._filters)))
        self._zip.close()
        yield self._out.take()


class _Pieces:
    """Where a ZIP file is written to that cannot go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.n_bytes = 0

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        self.n_bytes += len(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written can still be taken."""

    def take(self) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces, self.n_bytes = [], 0
        return whole


def _beginning(sheet: Sheet) -> str:
    widths = [_WIDTHS.get(name, _WIDTH) for name in sheet.columns]
    columns = (f'<col min="{n}" max="{n}" width="{width}" customWidth="1"/>' for n, width in enumerate(widths, 1))
    names = (_text_cell(f"{letter}1", name, _BOLD) for letter, name in zip(_LETTERS, sheet.columns, strict=False))
    return (
        f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/>'
        f'</sheetView></sheetViews><cols>{"".join(columns)}</cols><sheetData><row r="1">{"".join(names)}</row>'
    )


def _row(number: int, cells: Sequence[Any]) -> str:
    written = (_cell(f"{letter}{number}", cell) for letter, cell in zip(_LETTERS, cells, strict=False))
    return f'<row r="{number}">{"".join(written)}</row>'


def _cell(place: str, cell: Any) -> str:
    """By type: a text is never taken for a formula or an address, whatever it starts with."""
    if cell is None or cell == "":
        return ""
    if isinstance(cell, str):
        return _text_cell(place, cell)
    if isinstance(cell, datetime):
        return f'<c r="{place}" s="{_TIME}"><v>{(cell - _DAY_ZERO) / timedelta(days=1)}</v></c>'
    if isinstance(cell, date):
        return f'<c r="{place}" s="{_DATE}"><v>{(cell - _DAY_ZERO.date()).days}</v></c>'
    return f'<c r="{place}"><v>{cell}</v></c>'


def _text_cell(place: str, text: str, style: int = 0) -> str:
    said = _UNSAYABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text[:_MOST_LETTERS])
    return f'<c r="{place}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{escape(said)}</t></is></c>'


def _workbook(filters: Sequence[tuple[str, str]]) -> str:
    sheets = (f'<sheet name="{title}" sheetId="{n}" r:id="rId{n}"/>' for n, (title, _) in enumerate(filters, 1))
    names = (
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{n}" hidden="1">\'{title}\'!{place}</definedName>'
        for n, (title, place) in enumerate(filters)
    )
    return (
        f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_KINDS}"><bookViews><workbookView/></bookViews>'
        f"<sheets>{''.join(sheets)}</sheets><definedNames>{''.join(names)}</definedNames></workbook>"
    )


def _links(links: Iterable[tuple[str, str, str]]) -> str:
    written = (f'<Relationship Id="{id_}" Type="{_KINDS}/{kind}" Target="{to}"/>' for id_, kind, to in links)
    return f'{_XML}<Relationships xmlns="{_LINKS}">{"".join(written)}</Relationships>'


def _content_types(n_sheets: int) -> str:
    parts = {"workbook": "sheet.main", "styles": "styles"}
    parts |= {f"worksheets/sheet{n}": "worksheet" for n in range(1, n_sheets + 1)}
    written = (
        f'<Override PartName="/xl/{name}.xml" ContentType="{_TYPE}.{kind}+xml"/>' for name, kind in parts.items()
    )
    return (
        f'{_XML}<Types xmlns="{_TYPES}">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{"".join(written)}</Types>'
    )

"""The file of a declaration: CSV, XLSX or JSON to rows of texts, each with its number. Pure; nothing of a file is trusted.

Limits come before the work: bytes, what a workbook unpacks to, rows, columns and the length of a cell.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NoReturn
from xml.etree.ElementTree import ParseError

import openpyxl
from defusedxml import DefusedXmlException

from .declaration import FIELDS, HEADINGS
from .uplink import plain

MAX_BYTES = 16 << 20
MAX_UNPACKED_BYTES = 128 << 20  # of a workbook: 100,000 rows are about 60 MB of XML
MAX_ROWS = 100_000
MAX_COLUMNS = 64
MAX_CELL = 1_000  # characters; a field takes less

FORMATS = ("csv", "xlsx", "json")
Rows = Iterator[tuple[int, dict[str, str]]]
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_FIELD_OF = {plain(heading): field for field, headings in HEADINGS.items() for heading in headings}


class Unreadable(Exception):
    """A file that is refused whole: a stable code, what is wrong and what to do in two languages."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(code)
        self.code, self.zh, self.en = code, zh, en


def rows_of(data: bytes, format_: str) -> list[tuple[int, dict[str, str]]]:
    """-> (row number in the file, field → text), without blank rows. Raises Unreadable."""
    if not data:
        _refuse("file.empty", "文件是空的", "the file is empty")
    _must_be(data, format_)
    reader = {"csv": _csv, "xlsx": _xlsx, "json": _json}[format_]
    found = list(reader(data))
    if not found:
        _refuse("file.no_rows", "文件里没有数据行", "the file has no rows of data")
    return found


def _must_be(data: bytes, format_: str) -> None:
    """What it claims to be, by its first bytes."""
    if data.startswith(_OLD_EXCEL):
        _refuse(
            "file.old_excel",
            "这是旧版 .xls 或加密的工作簿，请另存为未加密的 .xlsx 或 CSV",
            "an old .xls, or an encrypted workbook: save it as .xlsx without a password, or as CSV",
        )
    is_zip, is_json = data.startswith(_ZIP), data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    claims = {"xlsx": is_zip, "json": is_json, "csv": not is_zip and not is_json and b"\0" not in data[:4096]}
    if not claims[format_]:
        _refuse(
            "file.not_what_it_claims",
            f"内容不是 {format_.upper()}，请检查文件与 Content-Type",
            f"its content is no {format_.upper()}: compare the file with the Content-Type",
        )


def _csv(data: bytes) -> Rows:
    text = _decoded(data)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from _table((reader.line_num, cells) for cells in reader)
    except csv.Error as error:
        _refuse("file.csv", f"CSV 第 {reader.line_num} 行无法解析：{error}", f"line {reader.line_num} of the CSV cannot be read: {error}")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("gb18030")  # as Excel in China writes it
    except UnicodeDecodeError:
        _refuse("file.encoding", "编码既不是 UTF-8 也不是 GBK，请另存为 UTF-8", "neither UTF-8 nor GBK: save it as UTF-8")


def _xlsx(data: bytes) -> Rows:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_UNPACKED_BYTES:
                _refuse("file.unpacks_too_large", "工作簿解压后过大", "the workbook unpacks to too much")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of its size is only a claim
        yield from _table((n, [_cell(value) for value in row]) for n, row in enumerate(sheet.iter_rows(values_only=True), 1))
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, TypeError, OSError, ParseError, DefusedXmlException) as error:
        _refuse(
            "file.xlsx",
            f"工作簿无法读取（{type(error).__name__}），请重新另存为 .xlsx",
            f"the workbook cannot be read ({type(error).__name__}): save it as .xlsx anew",
        )


def _cell(value: object) -> str:
    """A formula stays what it is, `=…`, and is refused with its row."""
    match value:
        case None:
            return ""
        case datetime():
            return value.date().isoformat()
        case date():
            return value.isoformat()
        case float() if value.is_integer() and abs(value) < 10**15:
            return str(int(value))
        case int() if abs(value) >= 10**15:  # Excel keeps fifteen digits, and writes zeroes for the others
            return f"{value:.14E}"
    return str(value)


def _table(rows: Iterable[tuple[int, Sequence[str]]]) -> Rows:
    """The first row that is not blank has the headings; columns that we have no use for are not read."""
    columns: dict[str, int] | None = None
    count = 0
    for row_no, cells in rows:
        if len(cells) > MAX_COLUMNS and any(cell.strip() for cell in cells[MAX_COLUMNS:]):
            _refuse("file.too_many_columns", f"第 {row_no} 行超过 {MAX_COLUMNS} 列", f"row {row_no} has more than {MAX_COLUMNS} columns")
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = _columns(cells)
            continue
        count += 1
        _must_be_few(count)
        yield row_no, {field: _bounded(cells[at]) if at < len(cells) else "" for field, at in columns.items()}
    if columns is None:
        _refuse("file.empty", "文件是空的", "the file is empty")


def _columns(headings: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, heading in enumerate(headings):
        field = _FIELD_OF.get(plain(heading[:MAX_CELL]))
        if field is None:
            continue
        if field in found:
            _refuse("file.heading_twice", f"“{heading}”与另一列重复", f"two columns are {field}")
        found[field] = at
    if missing := [field for field in FIELDS if field not in found]:
        zh = "、".join(HEADINGS[field][0] for field in missing)
        _refuse("file.columns_missing", f"缺少列：{zh}", f"columns are missing: {', '.join(missing)}")
    return found


def _json(data: bytes) -> Rows:
    """{"rows": [{"brand": …, …}]}; numbers keep the digits that they were written with."""
    try:
        document: Any = json.loads(data.decode("utf-8-sig"), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        _refuse("file.json", f"JSON 无法解析：{reason}", f"the JSON cannot be read: {reason}")
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        _refuse("file.json_shape", '应为 {"rows": [ … ]}', 'must be {"rows": [ … ]}')
    _must_be_few(len(rows))
    for row_no, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not all(isinstance(row.get(field, ""), str | None) for field in FIELDS):
            _refuse("file.json_shape", f"第 {row_no} 行应为对象，字段为文本", f"row {row_no} must be an object of texts")
        yield row_no, {field: _bounded(row.get(field) or "") for field in FIELDS}


def _must_be_few(count: int) -> None:
    if count > MAX_ROWS:
        _refuse("file.too_many_rows", f"超过 {MAX_ROWS} 行，请分批申报", f"more than {MAX_ROWS} rows: declare in parts")


def _bounded(cell: str) -> str:
    """Longer than any field takes: what is wrong with it is said of its row."""
    return cell[:MAX_CELL]


def _refuse(code: str, zh: str, en: str) -> NoReturn:
    raise Unreadable(code, zh, en)

"""Tables that people send, CSV and XLSX, to rows of texts with their numbers. Pure; nothing of a file is trusted.

Limits come before the work: what a workbook unpacks to, columns, the length of a cell; bytes and rows are the caller's.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import NoReturn
from xml.etree.ElementTree import ParseError

import openpyxl
from defusedxml import DefusedXmlException

MAX_UNPACKED_BYTES = 128 << 20  # of a workbook: 100,000 rows are about 60 MB of XML
MAX_COLUMNS = 64
MAX_CELL = 1_000  # characters; a field takes less

Cells = Iterator[tuple[int, list[str]]]  # row number in the file, its cells; no blank row
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


class Unreadable(Exception):
    """A file that is refused whole: a stable code, what is wrong and what to do in two languages."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(code)
        self.code, self.zh, self.en = code, zh, en


def must_be(data: bytes, format_: str) -> None:
    """What it claims to be, by its first bytes."""
    if data.startswith(_OLD_EXCEL):
        refuse(
            "file.old_excel",
            "这是旧版 .xls 或加密的工作簿，请另存为未加密的 .xlsx 或 CSV",
            "an old .xls, or an encrypted workbook: save it as .xlsx without a password, or as CSV",
        )
    is_zip, is_json = data.startswith(_ZIP), data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    claims = {"xlsx": is_zip, "json": is_json, "ndjson": is_json, "csv": not is_zip and not is_json and b"\0" not in data[:4096]}
    if not claims[format_]:
        refuse(
            "file.not_what_it_claims",
            f"内容不是 {format_.upper()}，请检查文件与 Content-Type",
            f"its content is no {format_.upper()}: compare the file with the Content-Type",
        )


def cells(data: bytes, format_: str, moment: Callable[[datetime], str]) -> Cells:
    """`format_`: csv or xlsx; `moment`: what a cell that is a date and a time says. Raises Unreadable."""
    rows = _csv(data) if format_ == "csv" else _xlsx(data, moment)
    for row_no, row in rows:
        if len(row) > MAX_COLUMNS and any(cell.strip() for cell in row[MAX_COLUMNS:]):
            refuse("file.too_many_columns", f"第 {row_no} 行超过 {MAX_COLUMNS} 列", f"row {row_no} has more than {MAX_COLUMNS} columns")
        if any(cell.strip() for cell in row):
            yield row_no, row


def _csv(data: bytes) -> Cells:
    text = decoded(data)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        refuse("file.csv", f"CSV 第 {reader.line_num} 行无法解析：{error}", f"line {reader.line_num} of the CSV cannot be read: {error}")


def decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("gb18030")  # as Excel in China writes it
    except UnicodeDecodeError:
        refuse("file.encoding", "编码既不是 UTF-8 也不是 GBK，请另存为 UTF-8", "neither UTF-8 nor GBK: save it as UTF-8")


def _xlsx(data: bytes, moment: Callable[[datetime], str]) -> Cells:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_UNPACKED_BYTES:
                refuse("file.unpacks_too_large", "工作簿解压后过大", "the workbook unpacks to too much")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of its size is only a claim
        for n, row in enumerate(sheet.iter_rows(values_only=True), 1):
            yield n, [_cell(value, moment) for value in row]
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, TypeError, OSError, ParseError, DefusedXmlException) as error:
        refuse(
            "file.xlsx",
            f"工作簿无法读取（{type(error).__name__}），请重新另存为 .xlsx",
            f"the workbook cannot be read ({type(error).__name__}): save it as .xlsx anew",
        )


def _cell(value: object, moment: Callable[[datetime], str]) -> str:
    """A formula stays what it is, `=…`, and is refused with its row."""
    match value:
        case None:
            return ""
        case datetime():
            return moment(value)
        case date():
            return value.isoformat()
        case float() if value.is_integer() and abs(value) < 10**15:
            return str(int(value))
        case int() if abs(value) >= 10**15:  # Excel keeps fifteen digits, and writes zeroes for the others
            return f"{value:.14E}"
    return str(value)


def clock(at: datetime) -> str:
    """A cell that is a date and a time, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def refuse(code: str, zh: str, en: str) -> NoReturn:
    raise Unreadable(code, zh, en)

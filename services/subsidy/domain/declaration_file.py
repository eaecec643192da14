"""The file of a declaration: CSV, XLSX or JSON to rows of texts, each with its number. Pure; nothing of a file is trusted.

Limits come before the work: bytes and rows here, the others in shared/tables.py.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.tables import MAX_CELL, cells, must_be, refuse

from .declaration import FIELDS, HEADINGS
from .uplink import plain

MAX_BYTES = 16 << 20
MAX_ROWS = 100_000

FORMATS = ("csv", "xlsx", "json")
Rows = Iterator[tuple[int, dict[str, str]]]
_FIELD_OF = {plain(heading): field for field, headings in HEADINGS.items() for heading in headings}


def rows_of(data: bytes, format_: str) -> list[tuple[int, dict[str, str]]]:
    """-> (row number in the file, field → text), without blank rows. Raises Unreadable."""
    if not data:
        refuse("file.empty", "文件是空的", "the file is empty")
    must_be(data, format_)
    found = list(_json(data) if format_ == "json" else _table(data, format_))
    if not found:
        refuse("file.no_rows", "文件里没有数据行", "the file has no rows of data")
    return found


def _table(data: bytes, format_: str) -> Rows:
    """The first row has the headings; columns that we have no use for are not read."""
    columns: dict[str, int] | None = None
    count = 0
    for row_no, row in cells(data, format_, _day):
        if columns is None:
            columns = _columns(row)
            continue
        count += 1
        _must_be_few(count)
        yield row_no, {field: _bounded(row[at]) if at < len(row) else "" for field, at in columns.items()}
    if columns is None:
        refuse("file.empty", "文件是空的", "the file is empty")


def _day(at: datetime) -> str:
    return at.date().isoformat()


def _columns(headings: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, heading in enumerate(headings):
        field = _FIELD_OF.get(plain(heading[:MAX_CELL]))
        if field is None:
            continue
        if field in found:
            refuse("file.heading_twice", f"“{heading}”与另一列重复", f"two columns are {field}")
        found[field] = at
    if missing := [field for field in FIELDS if field not in found]:
        zh = "、".join(HEADINGS[field][0] for field in missing)
        refuse("file.columns_missing", f"缺少列：{zh}", f"columns are missing: {', '.join(missing)}")
    return found


def _json(data: bytes) -> Rows:
    """{"rows": [{"brand": …, …}]}; numbers keep the digits that they were written with."""
    try:
        document: Any = json.loads(data.decode("utf-8-sig"), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        refuse("file.json", f"JSON 无法解析：{reason}", f"the JSON cannot be read: {reason}")
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        refuse("file.json_shape", '应为 {"rows": [ … ]}', 'must be {"rows": [ … ]}')
    _must_be_few(len(rows))
    for row_no, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not all(isinstance(row.get(field, ""), str | None) for field in FIELDS):
            refuse("file.json_shape", f"第 {row_no} 行应为对象，字段为文本", f"row {row_no} must be an object of texts")
        yield row_no, {field: _bounded(row.get(field) or "") for field in FIELDS}


def _must_be_few(count: int) -> None:
    if count > MAX_ROWS:
        refuse("file.too_many_rows", f"超过 {MAX_ROWS} 行，请分批申报", f"more than {MAX_ROWS} rows: declare in parts")


def _bounded(cell: str) -> str:
    """Longer than any field takes: what is wrong with it is said of its row."""
    return cell[:MAX_CELL]

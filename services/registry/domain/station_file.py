"""Stations as a table, CSV or XLSX: what its columns are called, and its cells as the fields of `POST /v1/stations`. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.tables import MAX_CELL, refuse

MAX_BYTES = 2 << 20
MAX_ROWS = 1_000  # one transaction, which nobody else can write beside
# field → its headings, the first of them as we write it
HEADINGS: Mapping[str, Sequence[str]] = {
    "name": ("name", "名称", "站点名称"),
    "level": ("level", "级别", "层级"),
    "division_code": ("division_code", "区划代码"),
    "lat": ("lat", "纬度"),
    "lng": ("lng", "经度"),
    "operator_id": ("operator_id", "运营企业"),
    "brands": ("brands", "品牌"),
    "operating_status": ("operating_status", "运营状态"),
    "opened_on": ("opened_on", "开业日期"),
    "services_per_week": ("services_per_week", "每周服务次数"),
    "staff": ("staff", "人员数"),
    "effective_at": ("effective_at", "生效时间"),
    "namespace": ("namespace", "编码体系"),
    "site_code": ("site_code", "网点编码"),
    "site_name": ("site_name", "网点名称"),
}
NEEDED = ("name", "level", "division_code", "effective_at")
COMPUTED = ("station_id", "township_code", "filing_status", "version")  # that we write and do not read back
_FIELD_OF = {heading: field for field, headings in HEADINGS.items() for heading in headings}
WORDS: Mapping[str, Mapping[str, str]] = {
    "level": {"县级统仓共配中心": "county_hub", "县级": "county_hub", "乡镇": "township", "乡镇级": "township"}
    | {"村": "village", "村级": "village"},
    "operating_status": {"筹建": "planned", "营业": "open", "运营": "open", "停业": "suspended", "暂停": "suspended", "关闭": "closed"},
}
_DAY = re.compile(r"([0-9]{4})[-/年]([0-9]{1,2})[-/月]([0-9]{1,2})日?\Z")
_SEPARATORS = re.compile(r"[,;，；、\s]+")
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula


def rows(cells: Iterable[tuple[int, Sequence[str]]]) -> Iterator[tuple[int, dict[str, str]]]:
    """-> (row number, field → cell, empty ones left out). The first row has the headings. Raises shared.tables.Unreadable."""
    places: dict[int, str] | None = None
    count = 0
    for row_no, row in cells:
        if places is None:
            places = _places(row)
            continue
        count += 1
        if count > MAX_ROWS:
            refuse("file.too_many_rows", f"超过 {MAX_ROWS} 行，请分批导入", f"more than {MAX_ROWS} rows: import it in parts")
        told = {field: row[at].strip()[: MAX_CELL + 1] for at, field in places.items() if at < len(row)}
        yield row_no, {field: cell for field, cell in told.items() if cell}
    if places is None:
        refuse("file.empty", "文件是空的", "the file is empty")


def _places(headings: Sequence[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for at, heading in enumerate(headings):
        name = unicodedata.normalize("NFKC", heading).strip().lower()
        field = _FIELD_OF.get(name)
        if field in found.values():
            refuse("file.heading_twice", f"“{heading[:64]}”与另一列重复", f"two columns are {field}")
        if field:
            found[at] = field
        elif name and name not in COMPUTED:
            known = ", ".join(HEADINGS)
            refuse(
                "file.heading_unknown",
                f"没有“{heading[:64]}”这一列，可用：{known}",
                f"no column is called {heading[:64]}: there are {known}",
            )
    if missing := [field for field in NEEDED if field not in found.values()]:
        refuse("file.columns_missing", f"缺少列：{', '.join(missing)}", f"columns are missing: {', '.join(missing)}")
    return found


def body(row: Mapping[str, str]) -> dict[str, Any]:
    """The row as `POST /v1/stations` takes it; what is wrong with a cell is said there."""
    found: dict[str, Any] = {field: row[field] for field in ("name", "division_code", "operator_id") if field in row}
    found |= {field: WORDS[field].get(row[field], row[field]) for field in WORDS if field in row}
    if "effective_at" in row:
        found["effective_at"] = moment(row["effective_at"])
    if "opened_on" in row:
        found["opened_on"] = moment(row["opened_on"])[:10]
    found |= {field: row[field] for field in ("services_per_week", "staff") if field in row}
    if "brands" in row:
        found["brands"] = [brand.lower() for brand in _SEPARATORS.split(row["brands"]) if brand]
    if "lat" in row or "lng" in row:
        found["location"] = {field: row[field] for field in ("lat", "lng") if field in row}
    alias = {field: row[field] for field in ("namespace", "site_code", "site_name") if field in row}
    return found | ({"aliases": [alias]} if alias else {})


def moment(cell: str) -> str:
    """A day is its first moment in Shanghai."""
    day = _DAY.match(cell)
    return f"{day[1]}-{int(day[2]):02d}-{int(day[3]):02d}T00:00:00+08:00" if day else cell


def formulas(row: Mapping[str, str]) -> list[str]:
    """The fields whose cell is one."""
    return [field for field, cell in row.items() if cell.startswith("=")]


def safe(cell: str) -> str:
    """A text that a spreadsheet shows and does not run (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell


def field_of(pointer: str) -> str:
    """The column that a pointer into the body means; "": the row as a whole."""
    parts = [part for part in pointer.lstrip("#").split("/") if part and not part.isdigit()]
    column = next((part for part in reversed(parts) if part in HEADINGS), None)
    return column or {"location": "lat", "aliases": "site_name"}.get(parts[0] if parts else "", "")

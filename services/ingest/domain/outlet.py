"""Rows of a file that an outlet exports, by the columns that its feed has saved, to events of the canonical API. Pure."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from shared.tables import MAX_CELL, refuse

FIELDS = (
    "brand", "waybill_no", "action", "raw_action", "event_ref", "scanned_at", "site_code", "site_name", "origin", "destination", "goods",
    "order_no", "weight_g",
)  # fmt: skip
NEEDED = ("brand", "waybill_no", "action", "scanned_at")
FORMULA = "cell.formula"
_TIME = re.compile(r"([0-9]{4})[-/年]([0-9]{1,2})[-/月]([0-9]{1,2})日?[ T]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\Z")


class Columns(NamedTuple):
    """`headings`: field → heading of its column; `fixed`: field → what every row says; `values`: field → word of the file → ours."""

    headings: Mapping[str, str]
    fixed: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]


def missing(given: Container[str]) -> list[str]:
    """The fields that an event needs and that are not given."""
    return [field for field in NEEDED if field not in given]


def events(rows: Iterable[tuple[int, Sequence[str]]], columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    """-> (row number, event as `POST /v1/scans` takes it; what is wrong with it is said there). The first row has the headings.

    A row with a formula is the event `{"cell.formula": heading}`, which is none. Raises shared.tables.Unreadable.
    """
    places: dict[str, int] | None = None
    for row_no, cells in rows:
        if places is None:
            places = _places(cells, columns)
            continue
        told = {field: cells[at].strip()[:MAX_CELL] if at < len(cells) else "" for field, at in places.items()}
        formula = next((columns.headings[field] for field, cell in told.items() if cell.startswith("=")), None)
        yield row_no, {FORMULA: formula} if formula else _event(told, columns)
    if places is None:
        refuse("file.empty", "文件是空的", "the file is empty")


def _places(headings: Sequence[str], columns: Columns) -> dict[str, int]:
    found = {}
    names = [heading.strip() for heading in headings]
    for field, heading in columns.headings.items():
        if names.count(heading) != 1:
            twice = names.count(heading) > 1
            refuse(
                "file.heading_twice" if twice else "file.columns_missing",
                f"列“{heading[:64]}”{'重复' if twice else '不在文件中'}",
                f"the column {heading[:64]} is {'there twice' if twice else 'not in the file'}",
            )
        found[field] = names.index(heading)
    return found


def _event(told: Mapping[str, str], columns: Columns) -> dict[str, Any]:
    event: dict[str, Any] = {field: word for field, word in {**columns.fixed, **told}.items() if word}
    if "action" in columns.values and "raw_action" not in event and "action" in event:
        event["raw_action"] = event["action"]  # the outlet's own word
    for field, words in columns.values.items():
        if field in event:
            event[field] = words.get(event[field], event[field])
    if "scanned_at" in event:
        event["scanned_at"] = _moment(event["scanned_at"])
    if "weight_g" in event and event["weight_g"].isdigit():
        event["weight_g"] = int(event["weight_g"])
    return event


def _moment(text: str) -> str:
    """As a spreadsheet writes it, +08:00; anything else as it stands."""
    match = _TIME.match(text)
    if not match:
        return text
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return datetime(year, month, day, hour, minute, second).isoformat() + "+08:00"  # noqa: DTZ001 - a wall clock of the county
    except ValueError:
        return text

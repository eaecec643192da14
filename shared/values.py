"""The values that requests and answers of the three APIs are made of: moments, days, whole numbers, texts, filters, `as_of`."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, PlainSerializer

from shared.calendar import rfc3339
from shared.problems import invalid, mistake

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
MAX_CURSOR_BYTES = 2048
MAX_FILTER_VALUES = 100
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # outside, a time is a typing error
CONTROL = frozenset(map(chr, [*range(0x20), 0x7F, *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
_NUMBER = re.compile(r"\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*\Z")


def _shown(at: datetime) -> str:
    return rfc3339(at)


def _written_out(value: object) -> object:
    """A `+08:00` in a query that was not percent-encoded arrives as a space. A bare number, which pydantic would take for seconds since
    1970, is nobody's date."""
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.match(value)):
        raise mistake("time.not_written_out", "应写明日期，如 2023-07-01。", "must be written out, as 2023-07-01")
    return value.replace(" ", "+") if isinstance(value, str) and value[-6:-5] == " " else value


def _whole(value: object) -> object:
    """JSON has one kind of number: 7.0 is a whole one (JSON Schema, "integer")."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _safe(text: str) -> str:
    if not CONTROL.isdisjoint(text):
        raise mistake("text.control", "不得含控制字符。", "control characters are not allowed")
    return text


def _in_range(at: datetime) -> datetime:
    if not EARLIEST <= at < LATEST:
        raise mistake("time.out_of_range", "时间须在 2000 年至 2100 年之间。", "must lie between 2000 and 2100")
    return at


Instant = Annotated[AwareDatetime, BeforeValidator(_written_out), PlainSerializer(_shown, return_type=str)]
Moment = Annotated[Instant, AfterValidator(_in_range)]  # an instant that somebody gives: PostgreSQL's calendar is shorter than Python's
Day = Annotated[date, BeforeValidator(_written_out)]  # in Shanghai
AS_WHOLE = BeforeValidator(_whole)  # where nothing else is converted; last in an Annotated, so that OpenAPI still shows the bounds
Whole = Annotated[int, AS_WHOLE]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="items a page")]
CursorParam = Annotated[str | None, Query(max_length=MAX_CURSOR_BYTES, description="`next_cursor` of the page before; pins its revision")]


def SafeText(max_length: int, min_length: int = 1) -> Any:
    """Text without NUL, control or bidirectional characters, bounded."""
    return Annotated[str, Field(min_length=min_length, max_length=max_length), AfterValidator(_safe)]


class AsOf(BaseModel):
    """As of when an answer is true; a field that the answering service has no use for is null (`api.md` §1)."""

    valid_at: Instant | None = None
    known_at: Instant | None = None
    watermark: Instant | None = None
    revision: int | None = None
    registry_revision: int | None = None
    pending_reassessments: int | None = None
    set_aside: int | None = None  # messages that nobody could read yet: in no total


def parse_many(text: str | None) -> list[str] | None:
    """Several values of one filter, comma-separated; None: no filter."""
    if text is None:
        return None
    values = [v for v in (part.strip() for part in text.split(",")) if v]
    if len(values) > MAX_FILTER_VALUES:
        raise invalid(
            "#query", "too_many", f"一个条件最多 {MAX_FILTER_VALUES} 个值。", f"A filter takes at most {MAX_FILTER_VALUES} values."
        )
    return values


def parse_choices(name: str, text: str | None, known: Sequence[str]) -> list[str] | None:
    """As `parse_many`, of the query's filter `name` over an enumeration: a misspelt value would answer an empty list in silence."""
    values = parse_many(text)
    if unknown := [v for v in values or () if v not in known]:
        raise invalid(
            f"#query/{name}", "enum", f"{unknown[0]} 无效，可用：{', '.join(known)}。", f"{unknown[0]} is none of {', '.join(known)}."
        )
    return values


def check_range(first: date | None, end: date | None) -> None:
    """422 unless the query's `from` (inclusive) lies before its `to` (exclusive): the empty list would say that there was nothing."""
    if first is not None and end is not None and first >= end:
        raise invalid(
            "#query/to", "range.invalid", "结束时间（to，不含）须晚于开始时间（from）。", "`to` (exclusive) must be after `from`."
        )

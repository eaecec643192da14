"""HTTP shapes of `/v1/clocks`."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from services.registry.domain.clocks import Clock
from services.registry.schemas import DIVISION_CODES, DatedQuery, Label
from shared.values import AsOf, Day

STATUSES = ("due", "overdue")


class ClockQuery(DatedQuery):
    """Several values of one filter: comma-separated."""

    clock: str | None = Field(None, max_length=200, description=" ".join(Clock))
    status: Literal["due", "overdue"] | None = None
    due_before: Day | None = Field(None, description="exclusive; with what nobody can count yet")
    responsible: Literal["filer", "authority"] | None = None
    township_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)
    station_id: str | None = Field(None, max_length=40)


class ClockItem(BaseModel):
    """`due_on`: the last day; null with `calendar.ended` where the working days of that year are not announced yet."""

    clock: Clock
    label: Label
    basis: str = Field(description="document and article")
    term_days: int
    counted_in: Literal["calendar_days", "working_days"]
    informational: bool = Field(description="the administration's own term; the county only mirrors its receipts")
    station_id: str
    station_name: str
    township_code: str | None
    filing_id: str | None
    responsible: Literal["filer", "authority"]
    responsible_id: str | None = Field(description="of the operator that files; null for an authority, and where a station has none")
    responsible_name: str | None
    about: list[str] = Field(description="brands that it is about; of filing.change the fields that changed")
    started_on: date = Field(description="the day that the term runs from, which does not count")
    due_on: date | None
    days_left: int | None = Field(description="calendar days; negative: overdue")
    status: Literal["due", "overdue"]
    reason_code: Literal["calendar.ended"] | None


class ClockList(BaseModel):
    items: list[ClockItem]
    next_cursor: str | None
    calendar_ends_on: date = Field(description="last day of the State Council's calendar that is known here")
    as_of: AsOf

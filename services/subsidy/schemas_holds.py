"""The shapes of holds and rulings (api.md §4)."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.subsidy.domain.said import BY_HAND
from services.subsidy.schemas import MAX_REVISION, Brand, Choice, Digest, Hold, PageQuery, Ruling, Several, Shape, Stations, Waybill
from shared.problems import mistake
from shared.values import CONTROL, AsOf, Instant

MAX_CHOICES = 64


def _plain(text: str) -> str:
    """Without control or bidirectional characters, and not blank."""
    if not CONTROL.isdisjoint(text):
        raise mistake("text.control", "不得含控制字符。", "control characters are not allowed")
    if not (stripped := text.strip()):
        raise mistake("text.blank", "不得为空白，请写明理由。", "must not be blank: say why")
    return stripped


Why = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_plain)]


class HoldQuery(PageQuery):
    reason_code: Several | None = None
    station_id: Stations | None = None
    status: Literal["open", "released"] | None = Field(None, description="what waits still, or what has ended")


class RulingQuery(PageQuery):
    after_revision: int = Field(0, ge=0, le=MAX_REVISION, description="what was said since that revision")


class HoldDecision(Shape):
    """`subject`: that of the hold as you saw it; `choices`: to release a contested hold, a content for every contested event."""

    decision: Literal["release", "confirm"]
    reason: Why
    subject: Digest
    choices: list[Choice] = Field([], max_length=MAX_CHOICES)


class NewHold(Shape):
    brand: Brand
    waybill_no: Waybill
    reason_code: Literal[BY_HAND]  # type: ignore[valid-type]
    note: Why


class NamedRuling(Ruling):
    parcel_id: str
    brand: str
    waybill_no: str


class Rulings(Shape):
    items: list[NamedRuling]
    next_cursor: str | None
    as_of: AsOf


class PlacedHold(NamedRuling):
    as_of: AsOf


class ListedHold(Hold):
    parcel_id: str
    brand: str
    waybill_no: str | None
    station_id: str | None
    beneficiary_id: str | None
    service_date: date | None


class Holds(Shape):
    items: list[ListedHold]
    redacted: list[str]
    next_cursor: str | None
    as_of: AsOf


class ToldContent(Shape):
    content: str
    action: str
    raw_action: str
    scanned_at: Instant
    site_namespace: str
    site_code: str | None
    site_name: str | None


class ContestedEvent(Shape):
    event_id: str
    contents: list[ToldContent]


class WouldBe(Shape):
    outcome: str | None
    reason_codes: list[str]
    amount_fen: int
    beneficiary_id: str | None
    station_id: str | None
    service_date: date | None


class OneHold(ListedHold):
    """`would_be`: what a release would make of the parcel; of a contested hold, each way in which it was told."""

    contested: list[ContestedEvent]
    would_be: list[WouldBe]
    redacted: list[str]
    as_of: AsOf

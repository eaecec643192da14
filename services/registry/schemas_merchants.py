"""HTTP shapes of merchants 申报主体 (`api.md` §3); docs/registry-merchants.md says what they mean."""

import unicodedata
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from services.registry.schemas import DIVISION_CODES, Body, Code, DatedQuery, ListQuery, Name, Note
from shared.contracts.registry import MerchantKind, Qualification, SalesStatus
from shared.problems import mistake
from shared.values import MAX_CURSOR_BYTES, AsOf, Day, Instant, Moment

MAX_SHOPS = 50
MAX_SALES_FEN = 10**14  # a slip of the unit rather than a year's sales
HISTORY_LIMIT = 100  # a page; each item is a whole record
EARLIEST_REGISTRATION = date(1949, 10, 1)
LATEST_REGISTRATION = date(2100, 1, 1)


def _half_width(text: str) -> str:
    """Platforms are compared with a policy's list letter by letter, so only one way to write them is kept."""
    return unicodedata.normalize("NFKC", text)


def _plausible(day: date) -> date:
    if not EARLIEST_REGISTRATION <= day < LATEST_REGISTRATION:
        raise mistake("date.out_of_range", "日期须在 1949 年 10 月至 2100 年之间。", "must lie between October 1949 and 2100")
    return day


Registered = Annotated[Day, Field(description="of the market registration"), AfterValidator(_plausible)]
Platform = Annotated[Name, Field(max_length=50, description="as the policy lists it", examples=["淘宝"]), AfterValidator(_half_width)]
Seen = Annotated[int, Field(ge=1, le=10**15, description="the `version` that was looked at: nobody decides on what has since changed: 409")]


class ShopGiven(Body):
    platform: Platform
    shop: Name


def _distinct(shops: list[ShopGiven]) -> list[ShopGiven]:
    return list({(s.platform, s.shop): s for s in shops}.values())


Shops = Annotated[list[ShopGiven], Field(max_length=MAX_SHOPS), AfterValidator(_distinct)]


class NewMerchant(Body):
    name: Name
    kind: MerchantKind
    registered_on: Registered
    division_code: Code
    licence_no: Name | None = None
    shops: Shops = Field(default_factory=list)
    effective_at: Moment


class MerchantChange(Body):
    """Absent: not changed. `licence_no` may become null; `shops` are all of them from then on."""

    name: Name = Field(default_factory=str)  # a factory: the OpenAPI shows no default for what is absent
    kind: MerchantKind = Field(default_factory=lambda: MerchantKind.ENTERPRISE)
    registered_on: Registered = Field(default_factory=lambda: EARLIEST_REGISTRATION)
    division_code: Code = Field(default_factory=str)
    licence_no: Name | None = None
    shops: Shops = Field(default_factory=list)
    effective_at: Moment


class Decision(Body):
    """`reason` is required but for an approval. `approved` approves the shops that held at `effective_at`."""

    decision: Literal["approved", "rejected", "withdrawn"]
    version: Seen
    effective_at: Moment
    reason: Note | None = None


class SalesDeclared(Body):
    year: int = Field(ge=2000, lt=2100)
    sales_fen: int = Field(ge=0, le=MAX_SALES_FEN)
    document: Note


class SalesReview(Body):
    decision: Literal["reviewed", "rejected"]
    version: Seen
    reason: Note | None = None


class MerchantQuery(DatedQuery):
    """Several values of one filter: comma-separated."""

    q: str | None = Field(None, max_length=100, description="part of the name, where it is shown")
    qualification: str | None = Field(None, max_length=200, description=" ".join(Qualification))
    division_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)


class HistoryQuery(ListQuery):
    limit: int = Field(HISTORY_LIMIT, ge=1, le=HISTORY_LIMIT)
    cursor: str | None = Field(None, max_length=MAX_CURSOR_BYTES, description="`next_cursor` of the page before; pins its revision")


class ShopItem(BaseModel):
    platform: str
    shop: str
    approved: bool = Field(description="seen by a reviewer; counts for nothing until then")


class SalesItem(BaseModel):
    year: int
    sales_fen: int
    document: str
    status: SalesStatus
    reason: str | None


class MerchantSegmentItem(BaseModel):
    name: str | None = Field(description="null where hidden: an individual business's is its owner's")
    kind: MerchantKind
    registered_on: date
    division_code: str
    licence_no: str | None
    shops: list[ShopItem]
    qualification: Qualification
    reason: str | None = Field(description="of the decision")
    valid_from: Instant
    valid_to: Instant | None


class MerchantItem(MerchantSegmentItem):
    merchant_id: str
    sales: list[SalesItem]
    recorded_at: Instant
    version: int
    redacted: list[str] = Field(description="what this token does not see")


class MerchantAnswer(MerchantItem):
    as_of: AsOf


class MerchantList(BaseModel):
    items: list[MerchantItem]
    next_cursor: str | None
    as_of: AsOf


class RecordedMerchant(BaseModel):
    """One write: all that was believed from then on."""

    version: int
    recorded_at: Instant
    superseded_at: Instant | None
    actor: str
    reason: str | None
    segments: list[MerchantSegmentItem]
    sales: list[SalesItem]


class MerchantHistory(BaseModel):
    merchant_id: str
    items: list[RecordedMerchant]
    next_cursor: str | None
    as_of: AsOf


def changes_of(change: MerchantChange) -> dict[str, Any]:
    """The fields that were given, without the time; shops as (platform, shop)."""
    given = {name: getattr(change, name) for name in change.model_fields_set - {"effective_at"}}
    return given | ({"shops": keys_of(change.shops)} if "shops" in given else {})


def keys_of(shops: list[ShopGiven]) -> list[tuple[str, str]]:
    return [(s.platform, s.shop) for s in shops]

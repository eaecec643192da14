"""The shapes of api.md §4, for OpenAPI and for the tests that hold our answers against them."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.subsidy.domain.budget import Source
from shared.values import DEFAULT_LIMIT, MAX_CURSOR_BYTES, MAX_LIMIT, AsOf, Day, Instant, Moment, SafeText

Brand = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]
_PLAIN = r"^[^\x00-\x1f\x7f]+$"  # PostgreSQL stores no NUL, and nobody searches for a control character
Waybill = Annotated[str, StringConstraints(max_length=64, pattern=_PLAIN)]
Several = Annotated[str, StringConstraints(max_length=2000, pattern=_PLAIN)]  # values of one filter, comma-separated
Version = Annotated[str, StringConstraints(max_length=80, pattern=_PLAIN)]
MAX_REVISION = 2**62
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
EventId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
MAX_BUDGET_FEN = 10**13  # a hundred thousand million yuan: beyond, somebody has slipped


def _each(pattern: str) -> str:
    """One or more values of a filter, each of that form: a misspelt id would answer an empty list in silence."""
    return rf"^ *{pattern} *(, *{pattern} *)*$"


Townships = Annotated[str, StringConstraints(max_length=2000, pattern=_each("[0-9]{12}"))]
Stations = Annotated[str, StringConstraints(max_length=2000, pattern=_each("stn_[0-9A-Za-z_]{1,40}"))]
Beneficiaries = Annotated[str, StringConstraints(max_length=2000, pattern=_each("(opr|mer)_[0-9A-Za-z_]{1,40}"))]
Periods = Annotated[str, StringConstraints(max_length=2000, pattern=_each("[0-9]{4}-(0[1-9]|1[0-2])"))]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PageQuery(BaseModel):
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="items a page")
    cursor: str | None = Field(None, max_length=MAX_CURSOR_BYTES, description="`next_cursor` of the page before; pins its revision")


class SummaryQuery(PageQuery):
    first: Day = Field(alias="from", description="first Shanghai day")
    end: Day = Field(alias="to", description="Shanghai day after the last one")
    date_basis: Literal["service", "posted"] = Field("service", description="the deciding scan's day, or the ledger's")
    group_by: Several | None = Field(None, description="at most three of day | month, township, station, brand, direction, outcome")
    township_code: Townships | None = None
    station_id: Stations | None = None
    brand: Several | None = None
    direction: Several | None = None
    outcome: Several | None = None
    known_at: Moment | None = Field(None, description="what had been recorded by then")


class PayoutQuery(PageQuery):
    first: Day | None = Field(None, alias="from", description="first Shanghai day")
    end: Day | None = Field(None, alias="to", description="Shanghai day after the last one")
    date_basis: Literal["service", "posted"] = "service"
    brand: Several | None = None
    direction: Several | None = None
    kind: Several | None = None
    stage: Several | None = None
    station_id: Stations | None = None
    beneficiary_id: Beneficiaries | None = None
    period: Periods | None = Field(None, description="months, e.g. 2023-07")
    after_revision: int | None = Field(None, ge=0, le=MAX_REVISION, description="what has changed since that revision")


class SiteQuery(PageQuery):
    namespace: Several | None = None


class KnownQuery(BaseModel):
    known_at: Moment | None = Field(None, description="what had been recorded by then")


class Label(Shape):
    zh: str
    en: str


class Figures(Shape):
    parcels: int
    payable: int
    pending: int
    held: int
    refused: int
    accrued_fen: int
    held_fen: int
    approved_fen: int
    paid_fen: int
    clawed_back_fen: int


class SummaryItem(Figures):
    key: dict[str, str | None]
    label: Label


class CeilingState(Shape):
    policy_version: str
    limit_fen_per_parcel: int
    headroom_fen: int
    enforced: str


class Summary(Shape):
    first: date = Field(alias="from")
    end: date = Field(alias="to")
    date_basis: str
    group_by: list[str]
    totals: Figures
    items: list[SummaryItem]
    ceilings: list[CeilingState]
    rates_status: str | None
    next_cursor: str | None
    as_of: AsOf


class Payout(Shape):
    payout_id: str
    revision: int
    registry_revision: int | None
    parcel_id: str
    brand: str
    waybill_no: str | None
    scheme: str
    kind: str
    amount_fen: int
    reverses: str | None
    adjusts: str | None = Field(description="the accrual that a cap, vesting or adjustment (or the reversal of one) belongs to")
    stage: str
    beneficiary_id: str
    station_id: str | None  # null: uplink, from a place that is no registered station
    service_date: date
    posted_at: Instant
    period: str
    policy_version: str
    rates_status: str
    reason_codes: list[str]


class Payouts(Shape):
    items: list[Payout]
    redacted: list[str]
    next_cursor: str | None
    as_of: AsOf


class Choice(Shape):
    """Of a contested event: the content that counts."""

    event_id: EventId
    content: Digest


class Chosen(Choice):
    among: Digest


class Ruling(Shape):
    """`subject` null: a hold placed by hand. `said_by`: the subject of the token."""

    decision: str
    reason_code: str
    subject: str | None
    choices: list[Chosen]
    reason: str
    said_by: str
    said_at: Instant
    revision: int


class Hold(Shape):
    """`subject`: digest of what is held, which a decision must name. `placed_by`: `rule`, or the subject of a person's token."""

    hold_id: str
    reason_code: str
    placed_at: Instant
    placed_by: str
    note: str | None
    held_fen: int
    subject: str | None
    released_at: Instant | None
    decisions: list[Ruling]


class Parcel(Shape):
    parcel_id: str
    brand: str
    waybill_no: str | None
    first_seen_at: Instant
    direction: str
    outcome: str | None
    stage: str | None
    reason_codes: list[str]
    net_fen: int
    held_fen: int
    beneficiary_id: str | None
    station_id: str | None
    service_date: date | None
    policy_version: str | None
    rates_status: str | None
    payout_ids: list[str]
    holds: list[Hold]
    rulings: list[Ruling]
    related: list[str] = Field(description="waybill numbers of the same brand that its events name: its way back, or its way there")
    redacted: list[str]
    as_of: AsOf


class FactUsed(Shape):
    name: str
    value: str | bool | list[str]
    source_type: str
    source_id: str | None
    source_version: int | None


class Step(Shape):
    clause_id: str
    basis: str
    document: str | None
    section: str | None
    quote: str | None
    result: str
    reason_code: str | None
    facts: list[FactUsed]


class ArithmeticLine(Shape):
    kind: str
    rate_id: str | None
    reason_code: str | None
    amount_fen: int


class Alternative(Shape):
    fact: str
    value: str | bool
    on: date
    amount_fen: int
    difference_fen: int


class Explanation(Shape):
    parcel_id: str
    trace_version: int
    outcome: str | None
    net_fen: int
    policy_version: str | None
    rates_status: str | None
    steps: list[Step]
    arithmetic: list[ArithmeticLine]
    alternatives: list[Alternative]
    rulings: list[Ruling]
    pending_reassessment: bool
    text: Label
    as_of: AsOf


class EvidenceEvent(Shape):
    event_id: str
    content: str
    verdict: str
    receipt_id: str
    feed: str
    partition: int
    position: int
    action: str
    raw_action: str
    mapping_version: int
    scanned_at: Instant
    received_at: Instant
    site_namespace: str
    site_code: str | None
    site_name: str | None
    station_id: str | None
    mapped_by: str | None
    verified: str
    payload_sha256: str
    role: str
    retracts: dict[str, str | None] | None
    corroborates: str | None


class Evidence(Shape):
    parcel_id: str
    events: list[EvidenceEvent]
    rulings: list[Ruling]
    redacted: list[str]
    as_of: AsOf


class UnmappedSite(Shape):
    namespace: str
    site_code: str | None
    site_name: str | None
    parcels: int
    first_seen_at: Instant
    last_seen_at: Instant


class UnmappedSites(Shape):
    items: list[UnmappedSite]
    next_cursor: str | None
    as_of: AsOf


class ClosingStep(Shape):
    step: str = Field(description="`ceiling.<scheme>`, `entity_year`, `budget.<scheme>.<year>`, in this order")
    state: str = Field(description="planned | done")
    carried_in_fen: int = Field(description="what the last closed month had left over")
    excess_fen: int = Field(description="what had to be taken back, carried_in included; negative: what could be given")
    adjusted_fen: int = Field(description="planned: of the plan; done: of what was posted")
    lines: int = Field(description="of the plan; one that was reversed meanwhile is left out")
    carried_out_fen: int = Field(description="what could not be taken back: the next month's")


class Period(Shape):
    period: str
    status: str = Field(description="open | closing | closed")
    parcels: int = Field(description="accruals less their reversals")
    gross_fen: int = Field(description="of the same lines")
    adjusted_fen: int = Field(description="of caps, vestings and adjustments, and of their reversals")
    net_fen: int
    carried_in_fen: int
    carried_out_fen: int
    steps: list[ClosingStep]
    closed_at: Instant | None
    closed_by: str | None


class ClosedPeriod(Period):
    as_of: AsOf


class PeriodList(Shape):
    items: list[Period]
    next_cursor: str | None
    as_of: AsOf


class NewBudget(Shape):
    county_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
    scheme: Literal["downlink", "uplink"]
    year: int = Field(ge=2000, le=2099, description="of the service dates that it pays for")
    source: Source
    amount_fen: int = Field(ge=1, le=MAX_BUDGET_FEN)
    document: SafeText(200) = Field(description="the one that grants it; once for each source, scheme and year")  # type: ignore[valid-type]


class BudgetLine(Shape):
    source: str
    amount_fen: int
    document: str
    recorded_at: Instant
    recorded_by: str


class BudgetSource(Shape):
    source: str
    amount_fen: int
    committed_fen: int
    available_fen: int


class Budget(Shape):
    county_code: str
    scheme: str
    year: int
    exhaustion: str | None = Field(description="first_come | pro_rata | hold, as the policy says; null: it says nothing")
    accrued_fen: int = Field(description="what the programme has promised, open months included")
    unfunded_fen: int = Field(description="what of it no source covers; a close takes it back as the policy says")
    sources: list[BudgetSource] = Field(description="in the order in which they are used")
    lines: list[BudgetLine]


class RecordedBudget(Budget):
    as_of: AsOf


class Budgets(Shape):
    items: list[Budget]
    next_cursor: str | None
    as_of: AsOf


class BudgetQuery(BaseModel):
    scheme: Literal["downlink", "uplink"] | None = None
    year: int | None = Field(None, ge=2000, le=2099)

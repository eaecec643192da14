"""HTTP shapes of filings."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from services.registry.domain.transitions import TRANSITIONS
from services.registry.schemas import Body, Brands, Date, DatedQuery, Name, Note, OperatorId
from services.registry.schemas_documents import MAX_GIVEN, Material
from services.registry.schemas_licences import MAX_SCOPES
from shared.contracts.registry import DocumentKind, FilerType, FilingStatus
from shared.values import AsOf, Instant, Moment


class NewFiling(Body):
    """`status` beyond draft and submitted is the postal administration's decision: it needs `filings:decide`, and a `receipt_no`."""

    filer_id: OperatorId
    covers_brands: Annotated[Brands, Field(min_length=1)]
    authority: Name
    receipt_no: Name | None = None
    status: FilingStatus = FilingStatus.DRAFT
    opened_on: Date
    submitted_at: Moment | None = None
    decided_at: Moment | None = None
    filer_type: FilerType = FilerType.ENTERPRISE
    materials: list[Material] = Field([], max_length=MAX_GIVEN)
    scope: list[Name] = Field([], max_length=MAX_SCOPES, description="业务范围, in the words of the filer's licence")
    effective_at: Moment


class Transition(Body):
    to: FilingStatus = Field(description="; ".join(f"{a} → {' | '.join(b)}" for a, b in TRANSITIONS.items() if b))
    effective_at: Moment
    receipt_no: Name | None = None
    note: Note | None = None


class Correction(Body):
    """What we recorded for a period was wrong; `receipt_no` where none is known yet.

    `valid_to` null: until the next status recorded to begin after `valid_from`, which stays; with a `valid_to`, whatever is recorded
    before it is replaced.
    """

    valid_from: Moment
    valid_to: Moment | None = None
    status: FilingStatus
    receipt_no: Name | None = None
    reason: Note


class FilingQuery(DatedQuery):
    history: bool = Field(False, description="every period that was ever believed, superseded ones included")


class FilingItem(BaseModel):
    filing_id: str
    filer_id: str
    covers_brands: list[str]
    authority: str
    receipt_no: str | None
    status: str
    opened_on: date
    submitted_at: Instant | None
    decided_at: Instant | None
    filer_type: FilerType
    scope: list[str]
    materials: list[Material]
    missing_materials: list[DocumentKind] = Field(description="what art. 6 of the filing regulation asks of this filer and is not there")
    valid_from: Instant
    valid_to: Instant | None
    recorded_at: Instant
    superseded_at: Instant | None
    actor: str | None = Field(description="who recorded this row; null where not known")
    reason: str | None = Field(description="of the correction or the transition's note; null where none was given")


class FilingAnswer(FilingItem):
    station_id: str
    as_of: AsOf


class FilingList(BaseModel):
    station_id: str
    items: list[FilingItem]
    next_cursor: str | None
    as_of: AsOf

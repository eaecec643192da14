"""HTTP shapes of checklists, inspections and what is to be put right."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.registry.domain.baseline import Criterion
from services.registry.schemas import DIVISION_CODES, Body, Date, DatedQuery, Label, Note, OneQuery
from services.registry.schemas_documents import DocumentId
from shared.contracts.programme import Department, InspectionStatus, Result, Round, Verdict
from shared.values import AsOf, Instant, Moment

MAX_ITEMS = 50
MAX_EVIDENCE = 20  # of one item
StationId = Annotated[str, Field(pattern=r"^stn_[0-9]{1,19}$", examples=["stn_1"])]
InspectionId = Annotated[str, Field(pattern=r"^ins_[0-9]{1,19}$", examples=["ins_7"])]


class GivenItem(Body):
    item: str = Field(min_length=1, max_length=40, description="of the checklist (GET /v1/checklists)")
    verdict: Verdict
    value: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False, description="as measured, in the item's unit")
    note: Note | None = None
    evidence: list[DocumentId] = Field([], max_length=MAX_EVIDENCE, description="SHA-256 of photos and papers")


class NewInspection(Body):
    """`client_id`: made by the device, once for each inspection: sent again after hours without a network, it is the same one."""

    client_id: str = Field(pattern=r"^[0-9A-Za-z-]{8,64}$")
    station_id: StationId
    checklist: str = Field(min_length=1, max_length=40)
    round: Round
    inspected_at: Moment
    follows: InspectionId | None = Field(None, description="the inspection whose rectification this one looks at: its unmet items suffice")
    items: list[GivenItem] = Field(min_length=1, max_length=MAX_ITEMS)


class NewSignature(Body):
    """Both departments, by different persons, with the same result and day: then it is decided."""

    department: Department
    result: Result
    rectify_by: Date | None = None
    effective_at: Moment


class Withdrawal(Body):
    reason: Note
    effective_at: Moment


class InspectionQuery(DatedQuery):
    """Several values of one filter: comma-separated."""

    status: str | None = Field(None, max_length=200, description=" ".join(InspectionStatus))
    round: str | None = Field(None, max_length=100, description=" ".join(Round))
    checklist: str | None = Field(None, max_length=200)
    station_id: StationId | None = None
    township_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)


class RectificationQuery(DatedQuery):
    status: Literal["open", "overdue", "done"] | None = None
    station_id: StationId | None = None
    township_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)


class BaselineQuery(OneQuery):
    township_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)
    regressed: bool | None = Field(None, description="true: only what was met then and is not now")


class CriterionItem(BaseModel):
    item: str
    label: Label
    unit: str | None
    at_least: float | None


class ChecklistItem(BaseModel):
    """`basis`: `reported`, as the source tells it; `derived`, put together by us from what the source says."""

    checklist: str
    level: str
    edition: int
    title: Label
    basis: Literal["reported", "derived"]
    source: str
    note: Label
    items: list[CriterionItem]


class ChecklistList(BaseModel):
    items: list[ChecklistItem]


class FoundItem(BaseModel):
    item: str
    label: Label
    verdict: Verdict
    value: float | None
    note: str | None
    evidence: list[str]


class SignatureItem(BaseModel):
    department: Department
    signer: str
    result: Result
    rectify_by: date | None
    signed_at: Instant


class ConflictItem(BaseModel):
    inspection_id: str
    items: list[str]


class InspectionItem(BaseModel):
    """`conflicts`: other inspections of the same round that saw an item differently; nothing is signed while there is one."""

    inspection_id: str
    client_id: str
    station_id: str
    station_name: str | None
    township_code: str | None
    checklist: str
    round: Round
    inspector: str
    inspected_at: Instant
    follows: str | None
    items: list[FoundItem]
    signatures: list[SignatureItem]
    status: InspectionStatus
    rectify_by: date | None
    reason: str | None
    conflicts: list[ConflictItem]
    valid_from: Instant
    recorded_at: Instant
    version: int


class InspectionAnswer(InspectionItem):
    as_of: AsOf


class InspectionList(BaseModel):
    items: list[InspectionItem]
    next_cursor: str | None
    as_of: AsOf


class RectificationItem(BaseModel):
    station_id: str
    station_name: str | None
    township_code: str | None
    inspection_id: str
    item: str
    label: Label
    due_on: date
    status: Literal["open", "overdue", "done"]
    done_by: str | None
    done_at: Instant | None


class RectificationList(BaseModel):
    items: list[RectificationItem]
    next_cursor: str | None
    as_of: AsOf


class BaselineItem(BaseModel):
    """`then`, `now`: null where nobody has recorded what would tell."""

    criterion: Criterion
    label: Label
    division_code: str
    division_name: str
    then: bool | None
    now: bool | None
    regressed: bool


class BaselineList(BaseModel):
    """一特色三标准 of 2022, as far as facts of the register tell it."""

    source: str
    measured_at: Instant
    items: list[BaselineItem]
    as_of: AsOf

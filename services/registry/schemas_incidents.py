"""HTTP shapes of incidents."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from services.registry.domain.incidents import TRANSITIONS
from services.registry.schemas import DIVISION_CODES, Body, Brand, Date, DatedQuery, Note, OperatorId
from shared.contracts.registry import IncidentKind, IncidentSource, IncidentStatus
from shared.values import AsOf, Instant, Moment

MAX_PARCELS = 100


class Parcel(Body):
    brand: Brand
    waybill_no: str = Field(pattern="^[0-9A-Za-z-]{4,32}$")


class NewIncident(Body):
    """`summary` names places and parcels, nobody's number; at least one of station, operator and parcels."""

    kind: IncidentKind
    source: IncidentSource
    station_id: Annotated[str, Field(pattern=r"^stn_[0-9]{1,19}$")] | None = None
    operator_id: OperatorId | None = None
    parcels: list[Parcel] = Field([], max_length=MAX_PARCELS)
    summary: Note
    due_on: Date
    effective_at: Moment


class IncidentStep(Body):
    to: IncidentStatus = Field(description="; ".join(f"{a} → {' | '.join(b)}" for a, b in TRANSITIONS.items()))
    due_on: Date | None = None
    note: Note | None = None
    effective_at: Moment


class IncidentQuery(DatedQuery):
    """Several values of one filter: comma-separated."""

    status: str | None = Field(None, max_length=200, description=" ".join(IncidentStatus))
    kind: str | None = Field(None, max_length=200, description=" ".join(IncidentKind))
    station_id: str | None = Field(None, max_length=40)
    operator_id: str | None = Field(None, max_length=40)
    township_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)
    overdue: bool | None = None


class StepItem(BaseModel):
    status: IncidentStatus
    due_on: date | None
    note: str | None
    valid_from: Instant
    valid_to: Instant | None


class IncidentItem(BaseModel):
    """`status`, `due_on`, `overdue` at the moment; `steps`: all of them."""

    incident_id: str
    kind: IncidentKind
    source: IncidentSource
    station_id: str | None
    operator_id: str | None
    township_code: str | None = Field(description="of the station")
    parcels: list[Parcel]
    summary: str
    status: IncidentStatus
    due_on: date | None
    overdue: bool
    steps: list[StepItem]
    recorded_at: Instant
    version: int


class IncidentAnswer(IncidentItem):
    as_of: AsOf


class IncidentList(BaseModel):
    items: list[IncidentItem]
    next_cursor: str | None
    as_of: AsOf

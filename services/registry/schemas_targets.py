"""HTTP shapes of programmes, nominations and progress."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.registry.schemas import Body, Code, Date, Label, ListQuery, Name, Note, OneQuery
from services.registry.schemas_inspections import StationId
from shared.contracts.programme import Counts, GateOf, InspectionStatus, Round
from shared.contracts.registry import Level
from shared.values import AS_WHOLE, AsOf, Instant, Moment

MAX_DUES = 10
MAX_GATES = 20
ProgrammeId = Annotated[str, Field(pattern=r"^prg_[0-9]{1,19}$", examples=["prg_0"])]


class GivenDue(Body):
    due_on: Date
    source: Name
    quote: Note


class GivenTarget(Body):
    level: Level
    count: Annotated[int, Field(ge=1, le=10_000), AS_WHOLE]
    counts: Counts
    starts_on: Date
    dues: list[GivenDue] = Field(min_length=1, max_length=MAX_DUES)


class GivenGate(Body):
    gate: str = Field(pattern="^[a-z0-9_]{1,40}$")
    due_on: Date
    percent: Annotated[int, Field(ge=1, le=100), AS_WHOLE]
    of: GateOf
    levels: list[Level] = Field(min_length=1, max_length=len(Level))
    source: Name
    quote: Note


class GivenRound(Body):
    """When an inspection round is to take place; `ad_hoc` has no days of its own."""

    round: Literal[Round.JUNE, Round.OCTOBER]
    first_day: Date
    last_day: Date
    source: Name
    quote: Note


class NewProgramme(Body):
    year: Annotated[int, Field(ge=2020, le=2099), AS_WHOLE]
    name: Name
    nominate_by: Date
    targets: list[GivenTarget] = Field(min_length=1, max_length=len(Level))
    gates: list[GivenGate] = Field([], max_length=MAX_GATES)
    rounds: list[GivenRound] = Field([], max_length=2)


class ProgrammeChange(Body):
    """Absent: not changed. What a later document sets otherwise; what was set before stays readable with `known_at`."""

    name: Name = Field(default_factory=str)  # a factory: the OpenAPI shows no default for what is absent
    nominate_by: Date = Field(default_factory=lambda: date.max)
    targets: list[GivenTarget] = Field(default_factory=list, min_length=1, max_length=len(Level))
    gates: list[GivenGate] = Field(default_factory=list, max_length=MAX_GATES)
    rounds: list[GivenRound] = Field(default_factory=list, max_length=2)
    reason: Note


class NewNomination(Body):
    """A township or village; with `station_id` that station alone counts for it. `reason`: of a change after `nominate_by`."""

    level: Level
    division_code: Code
    station_id: StationId | None = None
    reason: Note | None = None
    effective_at: Moment


class NominationEnd(Body):
    reason: Note | None = None
    effective_at: Moment


class ProgrammeQuery(ListQuery):
    year: int | None = Field(None, ge=2020, le=2099)


class KnownQuery(BaseModel):
    known_at: Moment | None = Field(None, description="as recorded by then")


class TargetQuery(OneQuery):
    programme_id: ProgrammeId | None = Field(None, description="absent: that of the year of `valid_at`, or the latest before it")


class DueItem(BaseModel):
    due_on: date
    source: str
    quote: str


class TargetItem(BaseModel):
    level: Level
    count: int
    counts: Counts
    starts_on: date
    dues: list[DueItem]


class GateItem(BaseModel):
    gate: str
    due_on: date
    percent: int
    of: GateOf
    levels: list[Level]
    source: str
    quote: str


class RoundItem(BaseModel):
    round: Round
    first_day: date
    last_day: date
    source: str
    quote: str


class NominationItem(BaseModel):
    nomination_id: str
    level: Level
    division_code: str
    station_id: str | None
    valid_from: Instant
    valid_to: Instant | None
    reason: str | None
    ended_because: str | None


class ProgrammeItem(BaseModel):
    programme_id: str
    year: int
    name: str
    nominate_by: date
    targets: list[TargetItem]
    gates: list[GateItem]
    rounds: list[RoundItem]
    nominations: list[NominationItem]
    recorded_at: Instant
    version: int


class ProgrammeAnswer(ProgrammeItem):
    as_of: AsOf


class ProgrammeList(BaseModel):
    items: list[ProgrammeItem]
    next_cursor: str | None
    as_of: AsOf


class Evidence(BaseModel):
    """What makes it count: the filing with its receipt, or the inspection that both departments passed."""

    filing_id: str | None
    receipt_no: str | None
    authority: str | None
    filing_status: str | None
    inspection_id: str | None


class Lack(BaseModel):
    code: str
    label: Label


class PlaceItem(BaseModel):
    nomination_id: str
    level: Level
    division_code: str
    division_name: str
    station_id: str | None
    station_name: str | None
    done: bool
    since: Instant | None
    evidence: Evidence
    missing: list[Lack]


class ForecastItem(BaseModel):
    """A straight line from the first day of the window through what is done; null where nothing is."""

    per_month: float
    complete_on: date | None
    in_time: bool = Field(description="by the latest day by which the target is due")


class LevelProgress(BaseModel):
    """`count`: of the target; for a township, of its own places on the list."""

    level: Level
    counts: Counts
    count: int
    nominated: int
    done: int
    starts_on: date
    dues: list[DueItem]
    forecast: ForecastItem | None
    items: list[PlaceItem]


class GateProgress(BaseModel):
    """`needed`: whole stations, rounded up; more than its target on one level is nothing that another lacks. `met` null: not yet."""

    gate: str
    level: Level | None
    due_on: date
    percent: int
    count: int
    needed: int
    done: int
    met: bool | None
    met_on: date | None
    source: str
    quote: str


class TargetAnswer(BaseModel):
    """`gates` and forecasts are of the whole county: a township's own list has none."""

    programme_id: str
    year: int
    name: str
    nominate_by: date
    levels: list[LevelProgress]
    gates: list[GateProgress]
    as_of: AsOf


class PlannedItem(BaseModel):
    """`status`: `planned`, or `overdue` after the round's last day; else that of the inspection."""

    round: Round
    first_day: date
    last_day: date
    nomination_id: str
    level: Level
    division_code: str
    division_name: str
    station_id: str | None
    station_name: str | None
    checklist: str
    inspection_id: str | None
    status: Literal["planned", "overdue"] | InspectionStatus


class PlanQuery(TargetQuery):
    round: Literal[Round.JUNE, Round.OCTOBER] | None = None
    status: Literal["planned", "overdue"] | InspectionStatus | None = None


class PlanAnswer(BaseModel):
    programme_id: str
    items: list[PlannedItem]
    as_of: AsOf


Format = Literal["csv", "xlsx"]
TableName = Literal["targets", "gates", "acceptance", "rectifications", "filings", "incidents"]


class TableQuery(OneQuery):
    programme_id: ProgrammeId | None = None

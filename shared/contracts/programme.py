"""Records of `tongcun.registry.v1` by which the county's plan is checked: programmes with their targets, and inspections."""

from datetime import date, datetime
from enum import StrEnum

import msgspec

from shared.contracts.records import Level, Record


class Counts(StrEnum):
    """What makes a station count towards a target."""

    FILED = "filed"  # open, with a filing in force (推进…快递网点末端备案)
    STANDARD = "standard"  # open, and its level's standard accepted by both departments (服务标准化; 统仓共配一体化)


class GateOf(StrEnum):
    EACH_LEVEL = "each_level"
    OVERALL = "overall"


class Due(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One day by which a target is to be met. Documents disagree: each keeps its own."""

    due_on: date
    source: str  # document and clause
    quote: str


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: Level
    count: int  # stations
    counts: Counts
    starts_on: date  # the first day of its window
    dues: tuple[Due, ...]  # by day


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share that is to be done by the end of a day, rounded up to whole stations ("至少")."""

    gate: str
    due_on: date
    percent: int
    of: GateOf
    levels: tuple[Level, ...]
    source: str
    quote: str


class Nomination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A township or village on the list of those that are to be built up; with `station_id` that station alone counts for it."""

    nomination_id: str
    level: Level
    division_code: str
    station_id: str | None
    valid_from: datetime
    valid_to: datetime | None
    reason: str | None  # of a change after the list was to be fixed
    ended_because: str | None = None


class Round(StrEnum):
    """督导考核和验收 (notice 垣发改字〔2023〕30号, 五(六)): late June, late October, and whenever somebody looks."""

    JUNE = "june"
    OCTOBER = "october"
    AD_HOC = "ad_hoc"


class InspectionRound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a round is to take place: from the first to the last of its days."""

    round: Round
    first_day: date
    last_day: date
    source: str
    quote: str


class Programme(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="programme"):
    programme_id: str
    year: int
    name: str
    nominate_by: date  # the last day on which the list changes without a reason
    targets: tuple[Target, ...]
    gates: tuple[Gate, ...]
    nominations: tuple[Nomination, ...] = ()
    rounds: tuple[InspectionRound, ...] = ()


class Verdict(StrEnum):
    MET = "met"
    NOT_MET = "not_met"
    NOT_APPLICABLE = "not_applicable"


class Department(StrEnum):
    """Who signs an acceptance (五(六))."""

    REFORM = "development_reform"  # 县发展改革局
    INDUSTRY = "industry_it"  # 县工科局


class Result(StrEnum):
    PASS = "pass"  # noqa: S105 - no password
    RECTIFY = "rectify"
    FAIL = "fail"


class InspectionStatus(StrEnum):
    RECORDED = "recorded"
    SIGNED = "signed"  # by one of the two
    DISPUTED = "disputed"  # by both, with different results
    PASSED = "passed"
    RECTIFY = "rectify"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


DECIDED = frozenset({InspectionStatus.PASSED, InspectionStatus.RECTIFY, InspectionStatus.FAILED})


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    item: str  # of the checklist
    verdict: Verdict
    value: float | None  # as measured, in the item's unit
    note: str | None
    evidence: tuple[str, ...]  # `sha256:…` of what proves it


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    department: Department
    signer: str  # subject of the token
    result: Result
    rectify_by: date | None
    signed_at: datetime


class InspectionSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    status: InspectionStatus
    rectify_by: date | None
    reason: str | None  # of a withdrawal


class Inspection(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="inspection"):
    inspection_id: str
    client_id: str  # given by the device, which may have had no network: sent again, it is the same inspection
    station_id: str
    checklist: str
    round: Round
    inspector: str  # subject of the token
    follows: str | None  # the inspection whose rectification this one looks at
    items: tuple[ItemResult, ...]
    signatures: tuple[Signature, ...]  # in order; a department's newest counts
    segments: tuple[InspectionSegment, ...]

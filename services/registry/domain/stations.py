"""Stations: where one may stand, whose it is, and how a change cuts its life."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from services.registry.domain.divisions import county_of
from services.registry.domain.names import plain
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import changed_from, index_at, overlap
from shared.calendar import shanghai_day
from shared.contracts.registry import (
    Division,
    DivisionSegment,
    Level,
    OperatingStatus,
    Operator,
    OperatorSegment,
    OperatorStatus,
    Station,
    StationSegment,
)
from shared.contracts.scan import BRANDS
from shared.standing import at

_TOWNSHIP_KINDS = frozenset({"town", "township", "statistical"})
_VILLAGE_KINDS = frozenset({"village", "community"})
# In which kind of division a station of a level may stand. A hub stands anywhere in the county.
PLACES: Mapping[Level, frozenset[str]] = {
    Level.COUNTY_HUB: _TOWNSHIP_KINDS | _VILLAGE_KINDS | {"county"},
    Level.TOWNSHIP: _TOWNSHIP_KINDS | _VILLAGE_KINDS,
    Level.VILLAGE: _VILLAGE_KINDS,
}


def place(level: Level, code: str, division: Division | None, moment: datetime) -> str | None:
    """The township code of a station of that level in that division; Invalid where it cannot stand."""
    segment = at(division.segments, moment) if division else None
    if segment is None:
        raise Invalid(
            "division.unknown",
            f"该时间没有区划 {code}，见 /v1/divisions。",
            f"There was no division {code} then: see /v1/divisions.",
            "/division_code",
        )
    if segment.kind not in PLACES[level]:
        raise Invalid(
            "station.division_kind",
            f"{level} 级站点不能设在 {segment.kind} 类区划，可设在：{', '.join(sorted(PLACES[level]))}。",
            f"A {level} station cannot stand in a division of kind {segment.kind}; it can in: {', '.join(sorted(PLACES[level]))}.",
            "/division_code",
        )
    return None if level is Level.COUNTY_HUB else _township(code, segment)


def _township(code: str, segment: DivisionSegment) -> str | None:
    return code if segment.kind in _TOWNSHIP_KINDS else segment.parent_code


def check_operator(operator: Operator | None, moment: datetime) -> None:
    """Whoever runs a station is registered while it does."""
    then = at(operator.segments, moment) if operator else None
    if then is not None and then.status is OperatorStatus.REMOVED:
        raise Invalid(
            "operator.removed",
            "该运营企业当时已被清退，不能运营站点；恢复资格请先变更其状态。",
            "That operator had been removed then and runs no station: admit it again first.",
            "/operator_id",
        )
    if then is None:
        raise Invalid(
            "operator.unknown",
            "该时间没有此运营企业，请先登记（POST /v1/operators）。",
            "There was no such operator then: register it first (POST /v1/operators).",
            "/operator_id",
        )


def check_name(new: OperatorSegment, operators: Iterable[Operator]) -> None:
    """One name is one operator's at a time: a request sent again after a timeout must not split a beneficiary in two."""
    for other in operators:
        for segment in other.segments:
            if overlap(segment, new) and plain(segment.name) == plain(new.name):
                raise Conflict(
                    "operator.name_taken",
                    f"该时段已有同名运营企业 {other.operator_id}（{segment.name}）：同一家请直接使用此编号，另一家请用可区分的全称。",
                    f"Operator {other.operator_id} ({segment.name}) bears this name in that period: "
                    "use its id if it is the same, else give a full name that tells the two apart.",
                )


def changed_operator(operator: Operator, moment: datetime, changes: dict[str, object]) -> Operator:
    """The operator with another name or status from `moment` until the next recorded change."""
    status = changes.get("status")
    if status is not None and status is not OperatorStatus.ADMITTED and not changes.get("reason"):
        raise Invalid("operator.reason_required", "暂停或清退须写明原因。", "Suspended or removed: say why.", "/reason")
    if "reason" in changes and status is None:
        raise Invalid("operator.reason_alone", "原因须与状态一并填写。", "A reason is that of a status: give both.", "/reason")
    fields = changes | ({"reason": changes.get("reason")} if status is not None else {})
    segments = changed_from(operator.segments, moment, fields)
    if segments is None:
        raise Conflict(
            "operator.not_registered_then",
            "该运营企业在该生效时间尚未登记。",
            "This operator was not registered at effective_at.",
        )
    return replace(operator, segments=segments)


def check_filer(operator: Operator | None) -> None:
    """A filer may have filed before the programme registered it, so only that it is known counts."""
    if operator is None:
        raise Invalid(
            "operator.unknown",
            "没有此运营企业，请先登记（POST /v1/operators）。",
            "There is no such operator: register it first (POST /v1/operators).",
            "/filer_id",
        )


def patched(station: Station, effective_at: datetime, changes: dict[str, object]) -> Station:
    """The station with `changes` from `effective_at` until the next recorded change."""
    segments = changed_from(station.segments, effective_at, changes)
    if segments is None:
        raise Conflict(
            "station.not_registered_then",
            f"该站点自 {station.segments[0].valid_from.isoformat()} 起登记，生效时间不能更早。",
            f"The station is registered from {station.segments[0].valid_from.isoformat()}: effective_at cannot be earlier.",
        )
    return replace(station, segments=segments)


def check_opening(segments: Iterable[StationSegment]) -> None:
    """Nothing is open before the day on which it opened."""
    for segment in segments:
        if segment.operating_status is OperatingStatus.OPEN and segment.opened_on and shanghai_day(segment.valid_from) < segment.opened_on:
            raise Invalid(
                "station.before_opening",
                f"站点于 {segment.opened_on} 开业，不能自 {segment.valid_from.isoformat()} 起为营业状态。",
                f"It opened on {segment.opened_on} and is not open from {segment.valid_from.isoformat()} on.",
                "/opened_on",
            )


def segment_at(station: Station, moment: datetime) -> StationSegment | None:
    i = index_at(station.segments, moment)
    return None if i is None else station.segments[i]


def writable_by(station: Station, operator_id: str | None, start: datetime, end: datetime | None) -> bool:
    """Whether whoever is limited to `operator_id` (None: nobody is) may change what the station was in a period.

    It must run the station all that time: a former operator does not write about its successor's time, nor the successor about its.
    """
    if operator_id is None:
        return True
    period = _Period(start, end)
    touched = [s for s in station.segments if overlap(s, period)]
    return index_at(station.segments, start) is not None and all(s.operator_id == operator_id for s in touched)


@dataclass(frozen=True)
class _Period:
    valid_from: datetime
    valid_to: datetime | None


def places_of(segment: StationSegment) -> list[str]:
    """The codes of all that it stands in: its division, the township, the county."""
    return [code for code in (segment.division_code, segment.township_code, county_of(segment.division_code)) if code]


def brands_of(station: Station) -> set[str]:
    """Every brand that it serves or has served, or that a filing of it covers."""
    return {b for s in station.segments for b in s.brands} | {b for f in station.filings for b in f.covers_brands}


def as_a_brand_sees(station: Station, brand: str) -> Station:
    """Without what concerns other brands alone: their filings, and how they call it."""
    filings = tuple(f for f in station.filings if brand in f.covers_brands)
    aliases = tuple(a for a in station.aliases if a.namespace == brand or a.namespace not in BRANDS)
    return replace(station, filings=filings, aliases=aliases)


def readable_by(station: Station, kind: str | None, claim: str | None) -> bool:
    """An operator sees the stations that it runs or has run, a township those in it, a brand those that serve it or are filed for it.

    A sender's feed sees none; for everybody else the register is open.
    """
    match kind:
        case "operator":
            return any(s.operator_id == claim for s in station.segments)
        case "township":
            return any(s.township_code == claim for s in station.segments)
        case "brand":
            return claim in brands_of(station)
        case "feed":
            return False
        case _:
            return True

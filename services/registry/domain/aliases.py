"""Aliases: which station a sender's site is. One site is claimed by one station at a time."""

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import overlap
from shared.contracts.registry import Alias, Station
from shared.sites import site_id


def site_of(alias: Alias) -> bytes:
    """The alias's site; it names one, by code or by name and not by both."""
    if (alias.site_code is None) == (alias.site_name is None):
        raise Invalid("alias.one_of", "请给出 site_code 或 site_name 之一。", "Give either site_code or site_name.", "/site_code")
    site = site_id(alias.namespace, alias.site_code, alias.site_name)
    if site is None:
        pointer = "/site_code" if alias.site_code is not None else "/site_name"
        raise Invalid("alias.blank", "名称或代码规范化后为空。", "Nothing is left of the name or code once it is normalised.", pointer)
    if alias.valid_to is not None and alias.valid_to <= alias.valid_from:
        raise Invalid("period.empty", "结束时间必须晚于开始时间。", "valid_to must be later than valid_from.", "/valid_to")
    return site


def claimed(station: Station, new: Alias, others: Iterable[Station]) -> Station:
    """The station with one more alias; Conflict names whoever claims the site in that period."""
    site = site_of(new)
    for other in (station, *(o for o in others if o.station_id != station.station_id)):
        for alias in other.aliases:
            if overlap(alias, new) and site_id(alias.namespace, alias.site_code, alias.site_name) == site:
                raise _taken(station, other, alias)
    return replace(station, aliases=(*station.aliases, new))


def ended(station: Station, alias_id: str, effective_at: datetime) -> tuple[Station, Alias] | None:
    """(the station, the alias as it ended); None: no such alias. One that ends before it began has never held and is dropped."""
    alias = next((a for a in station.aliases if a.alias_id == alias_id), None)
    if alias is None:
        return None
    if alias.valid_to is not None and alias.valid_to <= effective_at:
        raise Conflict(
            "alias.ended",
            f"此别名已于 {alias.valid_to.isoformat()} 结束。",
            f"This alias ended at {alias.valid_to.isoformat()}: nothing is left to end.",
        )
    end = replace(alias, valid_to=max(effective_at, alias.valid_from))
    kept = (end if a is alias else a for a in station.aliases)
    return replace(station, aliases=tuple(a for a in kept if a.valid_to is None or a.valid_from < a.valid_to)), end


def _taken(station: Station, other: Station, alias: Alias) -> Conflict:
    name = other.segments[-1].name
    until = alias.valid_to.isoformat() if alias.valid_to else None
    if other.station_id == station.station_id:
        return Conflict(
            "alias.exists",
            f"本站点已有此别名（{alias.alias_id}）。",
            f"The station claims this site already ({alias.alias_id}); end that first.",
        )
    return Conflict(
        "alias.claimed",
        f"该时段此别名属于站点 {name}（{other.station_id}），自 {alias.valid_from.isoformat()} 至 {until or '今'}；请先结束那一条。",
        f"In that period this site belongs to station {other.station_id} ({name}), from {alias.valid_from.isoformat()}"
        f" to {until or 'now'}: end that alias first.",
    )

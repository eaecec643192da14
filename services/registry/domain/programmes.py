"""Programmes: a year's targets, and the list of townships and villages that are to meet them. Pure.

The list is fixed by a day (notice 垣发改字〔2023〕30号, 五(三): 3月底前…详细名单); what changes it afterwards says why.
"""

from collections.abc import Sequence
from datetime import date, datetime

from msgspec.structs import replace

from services.registry.domain.licences import within
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import overlap
from shared.calendar import shanghai_day
from shared.contracts.programme import Due, Nomination, Programme


def check_plan(programme: Programme) -> None:
    """One target a level; gates speak of levels that have one; every day lies in the year or the one after."""
    year, levels = programme.year, [t.level for t in programme.targets]
    _check_once(levels, "target.twice", "同一级别只能有一个任务。", "A level has one target.", "/targets")
    for i, target in enumerate(programme.targets):
        _check_dues(target.dues, target.starts_on, f"/targets/{i}")
        _check_year(year, target.starts_on, f"/targets/{i}/starts_on")
        for j, due in enumerate(target.dues):
            _check_year(year, due.due_on, f"/targets/{i}/dues/{j}/due_on")
    if lost := next((n for n in programme.nominations if n.level not in levels), None):
        raise Conflict(
            "target.nominated",
            f"名单上还有 {lost.level} 级的地点（{lost.nomination_id}），不能取消该级任务。",
            f"A place of level {lost.level} is on the list ({lost.nomination_id}): its target stays.",
        )
    _check_once([g.gate for g in programme.gates], "gate.twice", "节点名称重复。", "A gate's name is given twice.", "/gates")
    for i, gate in enumerate(programme.gates):
        _check_year(year, gate.due_on, f"/gates/{i}/due_on")
        if unknown := [level for level in gate.levels if level not in levels]:
            raise Invalid("gate.level", f"{unknown[0]} 级没有任务。", f"There is no target of level {unknown[0]}.", f"/gates/{i}/levels")
    _check_once([r.round for r in programme.rounds], "round.twice", "轮次重复。", "A round is given twice.", "/rounds")
    for i, planned in enumerate(programme.rounds):
        _check_year(year, planned.first_day, f"/rounds/{i}/first_day")
        if planned.last_day < planned.first_day:
            raise Invalid("round.ends_before", "结束早于开始。", "It ends before it begins.", f"/rounds/{i}/last_day")


def _check_once(names: Sequence[str], code: str, zh: str, en: str, pointer: str) -> None:
    if len(set(names)) < len(names):
        raise Invalid(code, zh, en, pointer)


def _check_dues(dues: tuple[Due, ...], starts_on: date, pointer: str) -> None:
    for j, due in enumerate(dues):
        if due.due_on < starts_on:
            raise Invalid("target.due_before_start", "期限早于开始日期。", "It is due before it starts.", f"{pointer}/dues/{j}/due_on")


def _check_year(year: int, day: date, pointer: str) -> None:
    if day.year not in (year, year + 1):
        raise Invalid("date.other_year", f"日期不在 {year} 年或次年。", f"This is neither in {year} nor in the year after.", pointer)


def nominated(programme: Programme, new: Nomination, today: date) -> Programme:
    """The programme with one more place on its list. `today`: of the write; late is what comes late or is dated late."""
    if new.level not in {t.level for t in programme.targets}:
        raise Invalid("nomination.level", "该方案没有这一级的任务。", "The programme has no target of this level.", "/level")
    _check_reason(programme, new.valid_from, new.reason, today)
    for other in programme.nominations:
        # one within the other: the same station would count for both
        nested = within(other.division_code, new.division_code) or within(new.division_code, other.division_code)
        if overlap(other, new) and other.level is new.level and nested:
            raise Conflict(
                "nomination.exists",
                f"该时段名单上已有此地点，或包含它、位于其中的地点（{other.nomination_id}）。",
                f"This place, one around it or one in it is on the list in that period already ({other.nomination_id}).",
            )
    return replace(programme, nominations=(*programme.nominations, new))


def struck(programme: Programme, nomination_id: str, at: datetime, reason: str | None, today: date) -> Programme | None:
    """The programme without that place from a moment on; None: there is no such nomination."""
    found = next((n for n in programme.nominations if n.nomination_id == nomination_id), None)
    if found is None:
        return None
    if found.valid_to is not None or at <= found.valid_from:
        raise Conflict(
            "nomination.not_then",
            "该名单条目在该时间无法移出（尚未列入或已移出）。",
            "At that time it was not on the list yet, or is off it already.",
        )
    _check_reason(programme, at, reason, today)
    ended = replace(found, valid_to=at, ended_because=reason)
    return replace(programme, nominations=tuple(ended if n is found else n for n in programme.nominations))


def _check_reason(programme: Programme, at: datetime, reason: str | None, today: date) -> None:
    if reason is None and max(shanghai_day(at), today) > programme.nominate_by:
        raise Invalid(
            "nomination.reason_required",
            f"名单应于 {programme.nominate_by} 前确定，此后变更须说明原因。",
            f"The list was to be fixed by {programme.nominate_by}: a later change says why.",
            "/reason",
        )

"""Incidents 服务质量问题: complaints and findings, from their opening to their end. Pure.

Ours: the notice names what is to be looked into (五(五)), not how. Drawn in docs/registry-incidents.md; a test holds the drawing to this.
"""

from datetime import date, datetime

from msgspec.structs import replace

from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import changed_from, index_at
from shared.calendar import shanghai_day
from shared.contracts.registry import Incident, IncidentSegment
from shared.contracts.registry import IncidentStatus as S
from shared.personal import is_personal

TRANSITIONS: dict[S, tuple[S, ...]] = {
    S.OPEN: (S.INVESTIGATING, S.SUBSTANTIATED, S.UNFOUNDED),
    S.INVESTIGATING: (S.SUBSTANTIATED, S.UNFOUNDED),
    S.SUBSTANTIATED: (S.RECTIFIED,),
    S.RECTIFIED: (S.CLOSED, S.SUBSTANTIATED),  # what was rectified is looked at, and may not be
    S.UNFOUNDED: (S.CLOSED, S.INVESTIGATING),
    S.CLOSED: (S.INVESTIGATING,),  # something new has come to light
}
DUE = frozenset({S.OPEN, S.INVESTIGATING, S.SUBSTANTIATED, S.RECTIFIED})  # statuses in which somebody has to do something by a day


def opened(at: datetime, due_on: date | None) -> IncidentSegment:
    _check_due(S.OPEN, at, due_on)
    return IncidentSegment(valid_from=at, valid_to=None, status=S.OPEN, due_on=due_on, note=None)


def moved(incident: Incident, to: S, at: datetime, due_on: date | None, note: str | None) -> Incident:
    """The incident after a step; a step is the latest one, or it would rewrite what was done on its account."""
    last = incident.segments[-1]
    if at <= last.valid_from:
        raise Conflict(
            "incident.step_not_latest",
            f"最近一步已于 {last.valid_from.isoformat()} 记录，新的一步必须更晚。",
            f"The latest step was at {last.valid_from.isoformat()}: a new one is later.",
        )
    if to not in TRANSITIONS[last.status]:
        options = ", ".join(TRANSITIONS[last.status])
        raise Conflict(
            "incident.transition_not_allowed",
            f"当前状态为 {last.status}，不能变为 {to}；可变为：{options}。",
            f"It is {last.status} and cannot become {to}; allowed: {options}.",
        )
    _check_due(to, at, due_on)
    segments = changed_from(incident.segments, at, {"status": to, "due_on": due_on, "note": note})
    assert segments is not None  # the last one has no end
    return replace(incident, segments=segments)


def overdue(incident: Incident, moment: datetime) -> bool:
    i = index_at(incident.segments, moment)
    due_on = None if i is None else incident.segments[i].due_on
    return due_on is not None and due_on < shanghai_day(moment)


def check_words(text: str, pointer: str) -> None:
    """An incident goes to everybody who reads the log: it names places and parcels, nobody's number."""
    if is_personal(text):
        raise Invalid(
            "text.personal_data",
            "不得含电话、证件号等个人信息；当事人请留在原始材料中。",
            "No telephone or identity numbers: who it was stays in the papers.",
            pointer,
        )


def _check_due(status: S, at: datetime, due_on: date | None) -> None:
    if status in DUE and due_on is None:
        raise Invalid("incident.due_required", "此状态须写明办理期限。", "This status has a day by which it is dealt with.", "/due_on")
    if status not in DUE and due_on is not None:
        raise Invalid("incident.due_not_here", "此状态没有办理期限。", "Nothing is due in this status.", "/due_on")
    if due_on is not None and due_on < shanghai_day(at):
        raise Invalid("incident.due_before", "办理期限早于该步骤。", "The day is before the step.", "/due_on")

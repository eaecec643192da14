"""Inspections 督导验收: what was found item by item, and what the two departments make of it (notice 垣发改字〔2023〕30号, 五(六)). Pure.

A station meets its standard from the day on which both departments have signed `pass`, until a later inspection of it is decided otherwise.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import changed_from
from shared.calendar import shanghai_day
from shared.contracts.programme import (
    DECIDED,
    Inspection,
    InspectionSegment,
    ItemResult,
    Result,
    Round,
    Signature,
    Verdict,
)
from shared.contracts.programme import InspectionStatus as S
from shared.standing import at as segment_at

CLOCK_SKEW = timedelta(minutes=15)
_DECISION = {Result.PASS: S.PASSED, Result.RECTIFY: S.RECTIFY, Result.FAIL: S.FAILED}


class Task(NamedTuple):
    """What a station has to put right, by a day; `done_by`: the inspection that found it so."""

    inspection: Inspection
    item: ItemResult
    due_on: date
    done_by: Inspection | None
    done_at: datetime | None


def recorded(at: datetime) -> tuple[InspectionSegment, ...]:
    return (InspectionSegment(valid_from=at, valid_to=None, status=S.RECORDED, rectify_by=None, reason=None),)


def check_past(moment: datetime, now: datetime) -> None:
    """What was found was found already; a device's clock may be a little fast."""
    if moment > now + CLOCK_SKEW:
        raise Invalid(
            "inspection.in_the_future",
            "检查时间在未来，请核对设备时钟。",
            "This is in the future: check the device's clock.",
            "/inspected_at",
        )


def status_at(inspection: Inspection, moment: datetime) -> InspectionSegment | None:
    return segment_at(inspection.segments, moment)


def not_met(inspection: Inspection) -> list[str]:
    return [item.item for item in inspection.items if item.verdict is Verdict.NOT_MET]


def signed(inspection: Inspection, signature: Signature) -> Inspection:
    """With one more signature; a department's newest counts, until both agree."""
    last = inspection.segments[-1]
    _check_open(inspection, last, signature.signed_at)
    other = next((s for s in reversed(inspection.signatures) if s.department is not signature.department), None)
    if other and other.signer == signature.signer:
        raise Conflict(
            "signature.same_person",
            "两个部门须由不同的人签字。",
            "Nobody signs for both departments: another person signs for this one.",
        )
    _check_result(inspection, signature)
    status, rectify_by = S.SIGNED, None
    if other:
        agreed = (other.result, other.rectify_by) == (signature.result, signature.rectify_by)
        status, rectify_by = (_DECISION[signature.result], signature.rectify_by) if agreed else (S.DISPUTED, None)
    changes: dict[str, object] = {"status": status, "rectify_by": rectify_by}
    segments = changed_from(inspection.segments, signature.signed_at, changes)
    assert segments is not None  # the last one has no end
    return replace(inspection, signatures=(*inspection.signatures, signature), segments=segments)


def signatures_at(inspection: Inspection, moment: datetime) -> list[Signature]:
    """Each department's newest by then."""
    found = {s.department: s for s in inspection.signatures if s.signed_at <= moment}
    return list(found.values())


def withdrawn(inspection: Inspection, at: datetime, reason: str) -> Inspection:
    last = inspection.segments[-1]
    _check_open(inspection, last, at)
    segments = changed_from(inspection.segments, at, {"status": S.WITHDRAWN, "rectify_by": None, "reason": reason})
    assert segments is not None
    return replace(inspection, segments=segments)


def _check_open(inspection: Inspection, last: InspectionSegment, at: datetime) -> None:
    if last.status in DECIDED or last.status is S.WITHDRAWN:
        raise Conflict(
            "inspection.decided",
            f"该检查已为 {last.status}，不能再改；如情况有变，请另行检查。",
            f"This inspection is {last.status} and stays so: what has changed since is another inspection.",
        )
    if at <= last.valid_from:
        raise Invalid(
            "inspection.step_not_latest",
            f"最近一步已于 {last.valid_from.isoformat()} 记录，时间须更晚。",
            f"The latest step was at {last.valid_from.isoformat()}: a new one is later.",
            "/effective_at",
        )


def _check_result(inspection: Inspection, signature: Signature) -> None:
    failing = not_met(inspection)
    if signature.result is Result.PASS and (failing or not any(item.verdict is Verdict.MET for item in inspection.items)):
        raise Conflict(
            "signature.items_not_met",
            f"有未达标的检查项（{', '.join(failing)}），或没有达标项，不能通过。",
            f"Items are not met ({', '.join(failing)}), or none is: this does not pass.",
        )
    if signature.result is not Result.PASS and not failing:
        raise Conflict(
            "signature.nothing_to_rectify",
            "没有未达标的检查项，无可整改或判为不通过。",
            "No item is unmet: there is nothing to rectify or to fail.",
        )
    if (signature.result is Result.RECTIFY) != (signature.rectify_by is not None):
        raise Invalid(
            "signature.rectify_by",
            "限期整改须写明期限；其他结论不写。",
            "`rectify` has the day by which; the other results have none.",
            "/rectify_by",
        )
    if signature.rectify_by is not None and signature.rectify_by < shanghai_day(signature.signed_at):
        raise Invalid("signature.rectify_by", "整改期限早于签字。", "The day is before the signature.", "/rectify_by")


def conflicts(inspection: Inspection, others: Iterable[Inspection], moment: datetime) -> dict[str, list[str]]:
    """Other inspections of the same occasion that saw an item differently, as they stood: id → those items.

    Two devices without a network may each have recorded one; nothing is merged, one of the two is withdrawn by somebody.
    """
    own = {item.item: item.verdict for item in inspection.items}
    found = {}
    for other in others:
        same = other.inspection_id != inspection.inspection_id and occasion(other) == occasion(inspection)
        if not same or not _stands(status_at(other, moment)):
            continue
        if differing := [item.item for item in other.items if own.get(item.item, item.verdict) is not item.verdict]:
            found[other.inspection_id] = differing
    return found


def contradicted(inspection: Inspection, others: Iterable[Inspection]) -> list[str]:
    """The ids of those of the same occasion that are open still and saw it differently, by all that is recorded so far."""
    still = [o for o in others if o.segments[-1].status not in DECIDED]
    return list(conflicts(inspection, still, datetime.max.replace(tzinfo=UTC)))


def occasion(inspection: Inspection) -> tuple[object, ...]:
    """What two who were there would both be telling of: a year's round, or an ad hoc look of one day."""
    day = shanghai_day(inspection.segments[0].valid_from)
    when: object = day if inspection.round is Round.AD_HOC else day.year
    return inspection.station_id, inspection.checklist, inspection.round, inspection.follows, when


def of_round(inspections: Iterable[Inspection], round_: Round, year: int, moment: datetime) -> Inspection | None:
    """The latest of a year's round, as far as it had taken place by then and was not withdrawn; it may be early or late."""
    found = [
        i
        for i in inspections
        if i.round is round_ and shanghai_day(i.segments[0].valid_from).year == year and _stands(status_at(i, moment))
    ]
    return max(found, key=lambda i: i.segments[0].valid_from, default=None)


def _stands(then: InspectionSegment | None) -> bool:
    return then is not None and then.status is not S.WITHDRAWN


def standard_at(inspections: Iterable[Inspection], moment: datetime) -> tuple[Inspection, InspectionSegment] | None:
    """The inspection that says what the station was worth at a moment, and since when: of those decided by then, the latest look at it."""
    decided = ((i, s) for i in inspections if (s := status_at(i, moment)) and s.status in DECIDED)
    return max(decided, key=lambda pair: _lateness(*pair), default=None)


def _lateness(inspection: Inspection, then: InspectionSegment) -> tuple[datetime, datetime, int, str]:
    return inspection.segments[0].valid_from, then.valid_from, len(inspection.inspection_id), inspection.inspection_id


def tasks(inspections: Iterable[Inspection], moment: datetime) -> Iterator[Task]:
    """Of one station: what its decided inspections want put right, and what has been."""
    given = list(inspections)
    for inspection in given:
        then = status_at(inspection, moment)
        if then is None or then.status is not S.RECTIFY or then.rectify_by is None:
            continue
        for item in inspection.items:
            if item.verdict is Verdict.NOT_MET:
                done = _done(inspection, item.item, given, moment)
                yield Task(inspection, item, then.rectify_by, *(done or (None, None)))


def _done(inspection: Inspection, item: str, given: Sequence[Inspection], moment: datetime) -> tuple[Inspection, datetime] | None:
    """The first decided inspection that followed it, or followed one that did, and found the item met."""
    after = {inspection.inspection_id}
    found = []
    for other in given:  # in order of recording: what follows comes later
        if other.follows not in after:
            continue
        after.add(other.inspection_id)
        then = status_at(other, moment)
        if then and then.status in DECIDED and any(i.item == item and i.verdict is Verdict.MET for i in other.items):
            found.append((other, then.valid_from))
    return min(found, key=lambda pair: pair[1], default=None)


def check_follows(earlier: Inspection, others: Iterable[Inspection], new: Inspection) -> list[str]:
    """-> the items that are looked at again, each met or not. It follows what the station is held to now, and nothing that is over."""
    if (earlier.station_id, earlier.checklist) != (new.station_id, new.checklist):
        en = "It follows an inspection of another station or checklist."
        raise Conflict("inspection.follows_another", "所跟进的检查不是此站点的同一检查表。", en)
    held = standard_at((o for o in others if o.checklist == new.checklist), new.segments[0].valid_from)
    if held is None or held[0].inspection_id != earlier.inspection_id or held[1].status is not S.RECTIFY:
        now = f"{held[0].inspection_id} ({held[1].status})" if held else "–"
        raise Conflict(
            "inspection.nothing_to_follow",
            f"所跟进的检查当时不在整改中，或已有更晚的结论：{now}。",
            f"The inspection that it follows was not in rectification then, or a later one was decided: {now}.",
        )
    needed = not_met(earlier)
    for i, item in enumerate(new.items):
        if item.item in needed and item.verdict is Verdict.NOT_APPLICABLE:
            en = "What was to be put right is met or not."
            raise Invalid("item.must_be_judged", "整改项须判定达标或未达标。", en, f"/items/{i}/verdict")
    return needed

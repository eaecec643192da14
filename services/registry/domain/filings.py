"""Filings: opening, transitions, corrections. Pure functions from a filing to the next one; they raise Refused."""

from collections.abc import Container
from datetime import date, datetime

from msgspec.structs import replace

from services.registry.domain import segments
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.transitions import TRANSITIONS, WITH_RECEIPT, allowed
from shared.calendar import shanghai_day
from shared.contracts.registry import Filing, FilingSegment, FilingStatus


def opened(filing: Filing, effective_at: datetime, status: FilingStatus, receipt_no: str | None) -> Filing:
    """`filing` (without segments) as first recorded: in `status` from `effective_at` on."""
    _check_open(filing.opened_on, effective_at, "/effective_at")
    _check_receipt(status, receipt_no, known=None)
    if filing.decided_at and status not in WITH_RECEIPT:
        raise Invalid("filing.not_decided", "尚未决定的备案没有决定时间。", "It is not decided: there is no decided_at.", "/decided_at")
    if filing.submitted_at and status is FilingStatus.DRAFT:
        raise Invalid("filing.not_submitted", "草稿没有提交时间。", "A draft has no time of submission.", "/submitted_at")
    submitted_at = filing.submitted_at or (effective_at if status is FilingStatus.SUBMITTED else None)
    decided_at = filing.decided_at or (effective_at if status is FilingStatus.FILED else None)
    if submitted_at and decided_at and submitted_at > decided_at:
        raise Invalid(
            "filing.decided_before_submitted", "决定时间早于提交时间。", "The decision is earlier than the submission.", "/decided_at"
        )
    first = FilingSegment(valid_from=effective_at, valid_to=None, status=status, receipt_no=receipt_no)
    return replace(filing, submitted_at=submitted_at, decided_at=decided_at, segments=(first,))


def moved(filing: Filing, to: FilingStatus, effective_at: datetime, receipt_no: str | None) -> Filing:
    """The filing after a transition: every status that it records leads on to the next one by the drawing.

    A back-dated one must also lead on to the status recorded next. One at the very moment at which the present status began takes its
    place, so it must follow from the status before, too.
    """
    i = segments.index_at(filing.segments, effective_at)
    if i is None:
        raise Conflict(
            "filing.not_open_then",
            "此备案在该生效时间尚无记录；如记录有误，请用更正（corrections）。",
            "This filing has no status at effective_at: if what is recorded is wrong, post a correction.",
        )
    now, after = filing.segments[i], filing.segments[i + 1] if i + 1 < len(filing.segments) else None
    if not allowed(now.status, to):
        raise _not_allowed(now.status, to)
    before = filing.segments[i - 1] if i and now.valid_from == effective_at else None
    if before and not allowed(before.status, to):
        raise Conflict(
            "filing.transition_same_moment",
            f"{now.status} 于同一时刻生效，其前的 {before.status} 不能变为 {to}；请填写更晚的 effective_at，或用更正（corrections）。",
            f"{now.status} began at this very moment, and {before.status} before it cannot become {to}: "
            "give a later effective_at, or post a correction.",
        )
    if after and after.valid_from == now.valid_to and not allowed(to, after.status):
        raise Conflict(
            "filing.transition_contradicts_later",
            f"之后已记录为 {after.status}，从 {to} 不能到达；如记录有误，请用更正（corrections）。",
            f"{after.status} is recorded next, which {to} cannot reach: if that is wrong, post a correction.",
        )
    _check_receipt(to, receipt_no, known=now.receipt_no)
    carried = (receipt_no or now.receipt_no) if to in WITH_RECEIPT else None
    later = segments.changed_from(filing.segments, effective_at, {"status": to, "receipt_no": carried})
    assert later is not None  # index_at found the segment
    return replace(
        filing,
        segments=later,
        submitted_at=filing.submitted_at or (effective_at if to is FilingStatus.SUBMITTED else None),
        decided_at=filing.decided_at or (effective_at if to is FilingStatus.FILED else None),
    )


def corrected(
    filing: Filing, status: FilingStatus, valid_from: datetime, valid_to: datetime | None, receipt_no: str | None = None
) -> Filing:
    """What we recorded for [valid_from, valid_to) was wrong: it was `status`. No transition rule applies, since nothing happened.

    Without `valid_to` it holds until the next status recorded to begin after `valid_from`, as every back-dated change does (api §3):
    a cancellation recorded for July survives a correction of June. To replace it as well, name an end or correct it where it begins.
    """
    if valid_to is not None and valid_to <= valid_from:
        raise Invalid("period.empty", "结束时间必须晚于开始时间。", "valid_to must be later than valid_from.", "/valid_to")
    _check_open(filing.opened_on, valid_from, "/valid_from")
    known = next((s.receipt_no for s in reversed(filing.segments) if s.receipt_no), None)
    _check_receipt(status, receipt_no, known)
    carried = (receipt_no or known) if status in WITH_RECEIPT else None
    end = valid_to or segments.next_beginning(filing.segments, valid_from)
    new = FilingSegment(valid_from=valid_from, valid_to=end, status=status, receipt_no=carried)
    return _redated(filing, replace(filing, segments=segments.overwritten(filing.segments, new)))


def _redated(before: Filing, after: Filing) -> Filing:
    """`submitted_at` and `decided_at` follow the corrected segments; what was told when it was opened stays where they say nothing new."""
    submitted_at = _follows(before.submitted_at, FilingStatus.SUBMITTED, before, after, {FilingStatus.DRAFT})
    decided_at = _follows(before.decided_at, FilingStatus.FILED, before, after, set(FilingStatus) - WITH_RECEIPT)
    if submitted_at and decided_at and submitted_at > decided_at:
        submitted_at = None  # the submission that we knew of cannot have led to this decision
    return replace(after, submitted_at=submitted_at, decided_at=decided_at)


def _follows(
    told: datetime | None, status: FilingStatus, before: Filing, after: Filing, too_early: Container[FilingStatus]
) -> datetime | None:
    """When `status` first began, if the correction moved that; never a time for a filing that did not get beyond `too_early`."""
    if all(s.status in too_early for s in after.segments):
        return None
    was, now = (next((s.valid_from for s in f.segments if s.status is status), None) for f in (before, after))
    return told if was == now else now


def receipts_of(filing: Filing) -> set[tuple[str, str]]:
    """(authority, receipt_no) that the filing has had; a receipt number is unique per authority."""
    return {(filing.authority, s.receipt_no) for s in filing.segments if s.receipt_no}


def _check_open(opened_on: date, moment: datetime, pointer: str) -> None:
    """An outlet is filed after it has opened (art. 5: within 20 days of it)."""
    if shanghai_day(moment) < opened_on:
        raise Invalid(
            "filing.before_opening",
            f"网点开办日期为 {opened_on.isoformat()}，备案状态不能早于该日：请填写该日或之后的时间；开办日期有误的，请以正确日期新开备案。",
            f"The outlet opened on {opened_on.isoformat()} and cannot have been filed before: give a time from that day on, "
            "or open a filing with the right opened_on if the day itself is wrong.",
            pointer,
        )


def _check_receipt(status: FilingStatus, receipt_no: str | None, known: str | None) -> None:
    if status in WITH_RECEIPT and not (receipt_no or known):
        raise Invalid(
            "filing.receipt_required",
            "备案须有回执编号（《快递末端网点备案暂行规定》第七条）。",
            "A filing that is decided has a receipt number (art. 7 of the filing regulation).",
            "/receipt_no",
        )
    if receipt_no and status not in WITH_RECEIPT:
        raise Invalid(
            "filing.receipt_not_yet", "备案决定之前没有回执编号。", "There is no receipt before the filing is decided.", "/receipt_no"
        )


def _not_allowed(status: FilingStatus, to: FilingStatus) -> Conflict:
    options = ", ".join(TRANSITIONS[status])
    return Conflict(
        "filing.transition_not_allowed",
        f"当时状态为 {status}，不能变为 {to}；可变为：{options or '无（已终结，请新开备案）'}。",
        f"It was {status} then and cannot become {to}; allowed: {options or 'none (it has ended: open a new filing)'}.",
    )

"""Licences of those who file: an outlet is filed within area and term of its filer's licence, and its filing ends with it. Pure.

《快递末端网点备案暂行规定》 art. 8: an outlet may not exceed its filer's licence in scope, area and term; art. 10: where the licence is
cancelled, or the branch struck off the register, the outlet's filing lapses by itself. Of a filer whose licences nobody has recorded,
nothing is known and nothing is checked.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import index_at, overwritten
from shared.contracts.registry import FILED, Filing, FilingSegment, FilingStatus, Licence, Operator, Station

BOUND = FILED | {FilingStatus.SUSPENDED}  # statuses that a filing does not keep without a licence
_LEVELS = (2, 4, 6, 9)  # leading digits of a province, city, county, township; a village has all twelve


def within(division_code: str, area: str) -> bool:
    """Whether the division is the area, or lies in it."""
    length = next((n for n in _LEVELS if set(area[n:]) <= {"0"}), len(area))
    return division_code.startswith(area[:length])


def end_of(licence: Licence) -> datetime | None:
    return min((end for end in (licence.valid_to, licence.ended_at) if end), default=None)


def reaches(licence: Licence, filing: Filing, division_code: str) -> bool:
    """In scope and area. Where one of the two does not tell its scope, nothing contradicts it."""
    in_scope = not licence.scope or set(filing.scope) <= set(licence.scope)
    return in_scope and any(within(division_code, area) for area in licence.areas)


def covers(licence: Licence, filing: Filing, division_code: str, moment: datetime) -> bool:
    end = end_of(licence)
    return licence.valid_from <= moment and (end is None or moment < end) and reaches(licence, filing, division_code)


def check(operator: Operator | None, filing: Filing, station: Station, moment: datetime, pointer: str) -> None:
    """Whether the filer may have this outlet filed from that moment on."""
    place = _place(station, moment)
    if operator is None or not operator.licences or place is None:
        return
    if any(covers(licence, filing, place, moment) for licence in operator.licences):
        return
    raise Invalid(
        "filing.beyond_licence",
        f"备案人 {filing.filer_id} 当时没有地域和业务范围覆盖 {place} 的有效许可（《快递末端网点备案暂行规定》第八条）；有变动请先登记。",
        f"Filer {filing.filer_id} had no licence then that covers {place} and its scope (art. 8 of the filing regulation): "
        "record a new one first.",
        pointer,
    )


def added(operator: Operator, new: Licence, others: Iterable[Operator]) -> Operator:
    if new.valid_to is not None and new.valid_to <= new.valid_from:
        raise Invalid("period.empty", "结束时间必须晚于开始时间。", "valid_to must be later than valid_from.", "/valid_to")
    for other in others:
        if any((known.authority, known.number) == (new.authority, new.number) for known in other.licences):
            raise Conflict(
                "licence.number_taken",
                f"该许可证号已登记在运营企业 {other.operator_id} 名下。",
                f"This licence number is recorded for operator {other.operator_id}.",
            )
    return replace(operator, licences=(*operator.licences, new))


def ended(operator: Operator, licence_id: str, at: datetime, reason: str) -> Operator | None:
    """None: the operator has no such licence. One that ends where it begins was never one: so a mistake is taken back."""
    licence = next((known for known in operator.licences if known.licence_id == licence_id), None)
    if licence is None:
        return None
    if licence.ended_at is not None:
        raise Conflict("licence.ended", "该许可已经终止。", "This licence has ended already.")
    if at < licence.valid_from or (licence.valid_to is not None and at >= licence.valid_to):
        raise Invalid("licence.not_valid_then", "该时间许可并不有效。", "It was not valid at that time.", "/effective_at")
    new = replace(licence, ended_at=at, reason=reason)
    return replace(operator, licences=tuple(new if known is licence else known for known in operator.licences))


def lapsed(operator: Operator, station: Station, now: datetime) -> Station | None:
    """The station whose filings of that operator have ended with their licences by `now`; None: none has."""
    after = tuple(_lapsed(operator, station, filing, now) for filing in station.filings)
    return None if after == station.filings else replace(station, filings=after)


def _lapsed(operator: Operator, station: Station, filing: Filing, now: datetime) -> Filing:
    i = index_at(filing.segments, now)
    place = _place(station, now)
    if filing.filer_id != operator.operator_id or i is None or filing.segments[i].status not in BOUND or place is None:
        return filing
    if any(covers(licence, filing, place, now) for licence in operator.licences):
        return filing
    since = filing.segments[i].valid_from
    last = max(_ends(operator, filing, place, since, now), default=None)
    if last is None:
        return filing
    end, status = last[0], FilingStatus.LAPSED if last[1] else FilingStatus.EXPIRED
    final = FilingSegment(valid_from=end, valid_to=None, status=status, receipt_no=filing.segments[i].receipt_no)
    return replace(filing, segments=overwritten(filing.segments, final))  # what was planned for later, too: it has ended


def _ends(operator: Operator, filing: Filing, place: str, since: datetime, now: datetime) -> Iterator[tuple[datetime, bool]]:
    """(when a licence that covered it ended, whether before its term), of those that ended while the filing stood."""
    for licence in operator.licences:
        end = end_of(licence)
        if end is not None and since <= end <= now and licence.valid_from < end and reaches(licence, filing, place):
            yield end, end == licence.ended_at


def _place(station: Station, moment: datetime) -> str | None:
    i = index_at(station.segments, moment)
    return None if i is None else station.segments[i].division_code

"""Applicants for the uplink subsidy (申报主体): what they tell of themselves, and what a reviewer says of it.

Pure functions from a merchant to the next one; they raise Refused. Source: 《关于开展2023年度农村寄递物流上行快件补助工作的通知》
(domain facts §4.1, rules 1–3 and 5); the county's first review is 垣发改字〔2023〕30号's. docs/registry-merchants.md draws the states.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import takewhile
from typing import Any

from msgspec.structs import replace

from services.registry.domain.names import plain
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import changed_from, index_at, overlap
from shared.calendar import shanghai_day
from shared.contracts.registry import Division, Merchant, MerchantSegment, Qualification, Sales, SalesStatus, Shop
from shared.standing import at

Q = Qualification
# What a reviewer may decide of what was; approved again: shops that were added since are approved, too.
DECISIONS: Mapping[Q, tuple[Q, ...]] = {
    Q.SUBMITTED: (Q.APPROVED, Q.REJECTED),
    Q.APPROVED: (Q.APPROVED, Q.WITHDRAWN),
    Q.REJECTED: (Q.APPROVED,),
    Q.WITHDRAWN: (Q.APPROVED,),
}
REVIEWS: Mapping[SalesStatus, tuple[SalesStatus, ...]] = {
    SalesStatus.DECLARED: (SalesStatus.REVIEWED, SalesStatus.REJECTED),
    SalesStatus.REVIEWED: (SalesStatus.REJECTED,),
    SalesStatus.REJECTED: (SalesStatus.REVIEWED,),
}
# Who the applicant is: of another one nothing was approved. Shops are approved one by one.
IDENTITY = ("name", "kind", "registered_on", "division_code", "licence_no")

Key = tuple[str, str]  # (platform, shop)


def patched(merchant: Merchant, effective_at: datetime, changes: Mapping[str, object]) -> Merchant:
    """The merchant with `changes` (`shops` as keys) from `effective_at` until the next recorded change.

    What is changed is under review again, no more than that: another identity needs another approval, a shop that is added is not
    approved and leaves the others as they are. Who was rejected or withdrawn applies again by changing something.
    """
    now = _held(merchant, effective_at)
    fields: dict[str, object] = dict(changes)
    if "shops" in fields:
        fields["shops"] = _shops(now, fields["shops"])
    new = replace(now, **fields)
    if new != now and (now.qualification is not Q.APPROVED or _identity(new) != _identity(now)):
        fields |= {"qualification": Q.SUBMITTED, "reason": None}
    segments = changed_from(merchant.segments, effective_at, fields)
    assert segments is not None  # _held found it
    changed = replace(merchant, segments=segments)
    for segment in segments:
        check_registered(segment)
    return changed


def _shops(now: MerchantSegment, keys: Any) -> tuple[Shop, ...]:
    seen = {(s.platform, s.shop) for s in now.shops if s.approved}
    return tuple(Shop(platform=platform, shop=shop, approved=(platform, shop) in seen) for platform, shop in keys)


def decided(merchant: Merchant, decision: Qualification, effective_at: datetime, reason: str | None) -> Merchant:
    """The merchant after a reviewer's decision: from `effective_at` until something else was decided, or it became another's identity.

    A later segment that differs by its shops alone is decided with it, so that a shop announced for next month does not outlive a
    withdrawal; an approval is of the shops that held at `effective_at`, and of no others.
    """
    now = _held(merchant, effective_at)
    if decision not in DECISIONS[now.qualification]:
        raise _not_allowed(now.qualification, decision)
    if decision is now.qualification and all(s.approved for s in now.shops):
        return merchant
    if decision is not Q.APPROVED and reason is None:
        raise Invalid("merchant.reason_required", "不予认定或撤销认定须说明理由。", "Say why it is rejected or withdrawn.", "/reason")
    cut = changed_from(merchant.segments, effective_at, {})
    assert cut is not None  # _held found it
    seen = {_key(s) for s in now.shops}
    first = next(i for i, s in enumerate(cut) if s.valid_from == effective_at)
    count = sum(1 for _ in _run(cut[first:]))
    after = (_with_decision(s, decision, reason, seen) for s in cut[first : first + count])
    return replace(merchant, segments=(*cut[:first], *after, *cut[first + count :]))


def _run(segments: tuple[MerchantSegment, ...]) -> Iterator[MerchantSegment]:
    """The first, and those after it about which the same was decided of the same identity."""
    first = segments[0]
    return takewhile(lambda s: (s.qualification, s.reason, _identity(s)) == (first.qualification, first.reason, _identity(first)), segments)


def _with_decision(segment: MerchantSegment, decision: Qualification, reason: str | None, seen: set[Key]) -> MerchantSegment:
    approved = decision is Q.APPROVED
    shops = tuple(replace(s, approved=approved and (s.approved or _key(s) in seen)) for s in segment.shops)
    return replace(segment, qualification=decision, reason=reason, shops=shops)


def _held(merchant: Merchant, moment: datetime) -> MerchantSegment:
    i = index_at(merchant.segments, moment)
    if i is None:
        start = merchant.segments[0].valid_from.isoformat()
        raise Conflict(
            "merchant.not_registered_then",
            f"该申报主体自 {start} 起登记，生效时间不能更早。",
            f"The merchant is registered from {start}: effective_at cannot be earlier.",
        )
    return merchant.segments[i]


def _identity(segment: MerchantSegment) -> tuple[object, ...]:
    return tuple(getattr(segment, name) for name in IDENTITY)


def _key(shop: Shop) -> Key:
    """Which shop it is."""
    return plain(shop.platform), plain(shop.shop)


def check_registered(segment: MerchantSegment) -> None:
    """Nobody applies before its market registration."""
    if shanghai_day(segment.valid_from) < segment.registered_on:
        raise Invalid(
            "merchant.before_registration",
            f"市场主体登记日期为 {segment.registered_on.isoformat()}，生效时间（{segment.valid_from.isoformat()}）不能更早。",
            f"Its market registration is of {segment.registered_on.isoformat()}: it cannot apply from {segment.valid_from.isoformat()}.",
            "/registered_on",
        )


def check_division(code: str, division: Division | None, moment: datetime) -> None:
    if division is None or at(division.segments, moment) is None:
        raise Invalid(
            "division.unknown",
            f"该时间没有区划 {code}，见 /v1/divisions。",
            f"There was no division {code} then: see /v1/divisions.",
            "/division_code",
        )


def check_distinct(merchant: Merchant, others: Iterable[Merchant]) -> None:
    """One applicant is registered once: a request sent again after a timeout must not double a yearly cap.

    One licence number is one applicant's. One name is, unless two licence numbers tell the two apart. The answer does not say whose:
    a merchant asks, too.
    """
    for mine, theirs in _meeting(merchant, others):
        licences = [plain(s.licence_no) if s.licence_no else None for s in (mine, theirs)]
        if licences[0] is not None and licences[0] == licences[1]:
            raise Conflict(
                "merchant.licence_taken",
                "该时段已有执照编号相同的申报主体：同一主体请直接变更原登记，否则请核对执照编号。",
                "Another registration has this licence number in that period: change that one if it is the same applicant, "
                "else check the number.",
            )
        if plain(mine.name) == plain(theirs.name) and None in licences:
            raise Conflict(
                "merchant.name_taken",
                "该时段已有同名申报主体：同一主体请直接变更原登记；不同主体请双方填写执照编号以示区分。",
                "Another registration bears this name in that period: change that one if it is the same applicant, "
                "else give the licence numbers of both.",
            )


def check_shops(merchant: Merchant, others: Iterable[Merchant]) -> None:
    """A shop is approved for one applicant at a time. Several may name it: the reviewer says whose it is."""
    for mine, theirs in _meeting(merchant, others):
        if {mine.qualification, theirs.qualification} == {Q.APPROVED} and (both := _approved(mine) & _approved(theirs)):
            platform, shop = min(both)
            raise Conflict(
                "merchant.shop_taken",
                f"店铺“{shop}”（{platform}）在该时段已认定给其他申报主体“{theirs.name}”，请先核实归属。",
                f"The shop {shop} on {platform} is approved for another applicant then ({theirs.name}): find out whose it is.",
            )


def _meeting(merchant: Merchant, others: Iterable[Merchant]) -> Iterator[tuple[MerchantSegment, MerchantSegment]]:
    """Segments of the merchant and of another that share a moment."""
    return (
        (mine, theirs)
        for other in others
        if other.merchant_id != merchant.merchant_id
        for mine in merchant.segments
        for theirs in other.segments
        if overlap(mine, theirs)
    )


def _approved(segment: MerchantSegment) -> set[Key]:
    return {_key(s) for s in segment.shops if s.approved}


def declared(merchant: Merchant, year: int, sales_fen: int, document: str, today: date) -> Merchant:
    """The merchant with a year's sales told (again): what was reviewed of another figure or document is under review again."""
    if year > today.year:
        raise Invalid("sales.year_ahead", f"{year} 年尚未开始，请核对年份。", f"{year} has not begun: check the year.", "/year")
    if year < (since := min(s.registered_on.year for s in merchant.segments)):
        raise Invalid(
            "sales.before_registration",
            f"该主体于 {since} 年登记，没有 {year} 年的销售额。",
            f"The applicant was registered in {since}: it had no sales in {year}.",
            "/year",
        )
    new = Sales(year=year, sales_fen=sales_fen, document=document, status=SalesStatus.DECLARED, reason=None)
    old = sales_of(merchant, year)
    if old and (old.sales_fen, old.document) == (sales_fen, document):
        return merchant
    return _with_sales(merchant, new)


def reviewed(merchant: Merchant, year: int, decision: SalesStatus, reason: str | None) -> Merchant | None:
    """None: nothing was declared for that year."""
    sales = sales_of(merchant, year)
    if sales is None:
        return None
    if decision not in REVIEWS[sales.status]:
        raise Conflict(
            "sales.decided",
            f"{year} 年销售额已是 {sales.status}，无需再次作出同一决定。",
            f"The sales of {year} are {sales.status} already: nothing is left to decide.",
        )
    if decision is SalesStatus.REJECTED and reason is None:
        raise Invalid("sales.reason_required", "不予认可须说明理由。", "Say why they are rejected.", "/reason")
    return _with_sales(merchant, replace(sales, status=decision, reason=reason))


def sales_of(merchant: Merchant, year: int) -> Sales | None:
    return next((s for s in merchant.sales if s.year == year), None)


def _with_sales(merchant: Merchant, new: Sales) -> Merchant:
    others = (s for s in merchant.sales if s.year != new.year)
    return replace(merchant, sales=tuple(sorted([*others, new], key=lambda s: s.year)))


def tellers(past: Iterable[tuple[str, Merchant]]) -> set[str]:
    """Who has told anything about the merchant. `past`: (actor, what they recorded), oldest first; who only decided is none of them."""
    found: set[str] = set()
    before: Merchant | None = None
    for actor, merchant in past:
        if before is None or _told(before) != _told(merchant):
            found.add(actor)
        before = merchant
    return found


def _told(merchant: Merchant) -> tuple[object, ...]:
    """Without what was decided; where only that made two segments of one, it is one."""
    pieces: list[MerchantSegment] = []
    for s in merchant.segments:
        shops = tuple(replace(shop, approved=False) for shop in s.shops)
        bare = replace(s, qualification=Q.SUBMITTED, reason=None, shops=shops)
        if pieces and replace(pieces[-1], valid_from=bare.valid_from, valid_to=bare.valid_to) == bare:
            pieces[-1] = replace(pieces[-1], valid_to=bare.valid_to)
        else:
            pieces.append(bare)
    return *pieces, *((s.year, s.sales_fen, s.document) for s in merchant.sales)


def _not_allowed(was: Qualification, decision: Qualification) -> Conflict:
    options = ", ".join(DECISIONS[was])
    return Conflict(
        "merchant.decision_not_allowed",
        f"当时为 {was}，不能决定为 {decision}；可决定为：{options}。",
        f"It was {was} then and cannot become {decision}; allowed: {options}.",
    )

"""Reads of merchants, and what of one is shown to whom."""

from datetime import datetime
from itertools import pairwise
from typing import Any

from services.registry import repository
from services.registry import schemas_merchants as schemas
from services.registry.domain.history import Recorded
from services.registry.schemas import DatedQuery, OneQuery
from services.registry.service.access import is_id, knows_merchants, merchant_limit, no_merchant
from services.registry.service.reads import named, pin, pin_list
from shared.auth import Principal
from shared.contracts.registry import Merchant, MerchantKind, MerchantSegment, Qualification
from shared.db import Database
from shared.standing import at
from shared.values import parse_choices, parse_many


def item(merchant: Merchant, recorded_at: datetime, moment: datetime, principal: Principal) -> schemas.MerchantItem | None:
    """None: it was not registered then."""
    segment = at(merchant.segments, moment)
    if segment is None:
        return None
    shown = schemas.MerchantItem(
        **dict(_segment(segment)),
        merchant_id=merchant.merchant_id,
        sales=_sales(merchant),
        recorded_at=recorded_at,
        version=merchant.version,
        redacted=[],
    )
    return shown if knows_merchants(principal) else _without_personal_data(shown)


def _without_personal_data(shown: schemas.MerchantItem) -> schemas.MerchantItem:
    hidden: dict[str, Any] = {"licence_no": None, "reason": None, "sales": [], "shops": []}
    if shown.kind is MerchantKind.INDIVIDUAL:
        hidden |= {"name": None}
    return shown.model_copy(update=hidden | {"redacted": sorted(hidden)})


def _segment(segment: MerchantSegment) -> schemas.MerchantSegmentItem:
    return schemas.MerchantSegmentItem(
        name=segment.name,
        kind=segment.kind,
        registered_on=segment.registered_on,
        division_code=segment.division_code,
        licence_no=segment.licence_no,
        shops=[schemas.ShopItem(platform=s.platform, shop=s.shop, approved=s.approved) for s in segment.shops],
        qualification=segment.qualification,
        reason=segment.reason,
        valid_from=segment.valid_from,
        valid_to=segment.valid_to,
    )


def _sales(merchant: Merchant) -> list[schemas.SalesItem]:
    return [
        schemas.SalesItem(year=s.year, sales_fen=s.sales_fen, document=s.document, status=s.status, reason=s.reason) for s in merchant.sales
    ]


async def merchants(database: Database, principal: Principal, query: schemas.MerchantQuery) -> schemas.MerchantList:
    own = merchant_limit(principal)
    qualifications, divisions = parse_choices("qualification", query.qualification, list(Qualification)), parse_many(query.division_code)
    async with database.read() as read:
        pinned = await pin_list(read, query)
        found = await repository.every(read, Merchant, pinned.revision.revision)
    items = [
        shown
        for merchant, recorded_at in found
        if own in (None, merchant.merchant_id)
        and (shown := item(merchant, recorded_at, pinned.moment, principal))
        and (qualifications is None or shown.qualification in qualifications)
        and (divisions is None or shown.division_code in divisions)
        and named(query.q, shown.name or "")
    ]
    page, cursor = pinned.page(items, query.limit)
    return schemas.MerchantList(items=page, next_cursor=cursor, as_of=pinned.as_of())


async def merchant(database: Database, principal: Principal, merchant_id: str, query: OneQuery) -> schemas.MerchantAnswer:
    _check_own(principal, merchant_id)
    async with database.read() as read:
        pinned = await pin(read, query.valid_at, query.known_at)
        found = await repository.found_one(read, Merchant, merchant_id, pinned.revision.revision)
    shown = item(found.record, found.recorded_at, pinned.moment, principal) if found and isinstance(found.record, Merchant) else None
    if shown is None:
        raise no_merchant()
    return schemas.MerchantAnswer(**dict(shown), as_of=pinned.as_of())


async def history(database: Database, principal: Principal, merchant_id: str, query: schemas.HistoryQuery) -> schemas.MerchantHistory:
    _check_own(principal, merchant_id)
    async with database.read() as read:
        pinned = await pin_list(read, DatedQuery(known_at=query.known_at, cursor=query.cursor))
        past = await repository.past(read, Merchant, merchant_id, pinned.revision.revision)
    if not past:
        raise no_merchant()
    ends = [*(later.recorded_at for _, later in pairwise(past)), None]
    rows = [_recorded(row, end) for row, end in zip(past, ends, strict=True)]
    page, cursor = pinned.page(rows[::-1], query.limit)
    return schemas.MerchantHistory(merchant_id=merchant_id, items=page, next_cursor=cursor, as_of=pinned.as_of())


def _recorded(row: Recorded[Merchant], superseded_at: datetime | None) -> schemas.RecordedMerchant:
    return schemas.RecordedMerchant(
        version=row.record.version,
        recorded_at=row.recorded_at,
        superseded_at=superseded_at,
        actor=row.actor or "",
        reason=row.reason,
        segments=[_segment(s) for s in row.record.segments],
        sales=_sales(row.record),
    )


def _check_own(principal: Principal, merchant_id: str) -> None:
    if not is_id(merchant_id) or merchant_limit(principal) not in (None, merchant_id):
        raise no_merchant()

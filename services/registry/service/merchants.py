"""Writes about merchants (申报主体): the county registers them, they tell, a reviewer decides. Each is one position of the log."""

from datetime import datetime

from services.registry import repository
from services.registry import schemas_merchants as schemas
from services.registry.domain import merchants as rules
from services.registry.domain.history import Recorded
from services.registry.domain.segments import check_ahead
from services.registry.schemas import OneQuery
from services.registry.service import merchant_reads as reads
from services.registry.service.access import is_id, merchant_limit, no_merchant
from services.registry.service.recording import Recording, recording
from shared.auth import Principal
from shared.calendar import shanghai_day
from shared.contracts.registry import Division, Merchant, MerchantSegment, Qualification, SalesStatus, Shop
from shared.db import Database
from shared.problems import Problem, invalid, not_found


async def create(database: Database, principal: Principal, body: schemas.NewMerchant) -> schemas.MerchantAnswer:
    if merchant_limit(principal) is not None:
        raise Problem(
            403,
            "merchant.registered_by_county",
            "申报主体由县发改局登记；本企业的变更请修改原登记。",
            "The county's coordinator registers merchants: change what is registered of yourself instead.",
        )
    async with recording(database, principal.subject) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        segment = MerchantSegment(
            valid_from=body.effective_at,
            valid_to=None,
            name=body.name,
            kind=body.kind,
            registered_on=body.registered_on,
            division_code=body.division_code,
            licence_no=body.licence_no,
            shops=tuple(Shop(platform=platform, shop=shop, approved=False) for platform, shop in schemas.keys_of(body.shops)),
            qualification=Qualification.SUBMITTED,
            reason=None,
        )
        rules.check_registered(segment)
        await _check_division(draft, body.division_code, body.effective_at)
        merchant = Merchant(version=0, merchant_id=f"mch_{draft.revision}", segments=(segment,), sales=())
        rules.check_distinct(merchant, await _all(draft))
        return _answer(draft, principal, draft.put(merchant), body.effective_at)


async def change(database: Database, principal: Principal, merchant_id: str, body: schemas.MerchantChange) -> schemas.MerchantAnswer:
    changes = schemas.changes_of(body)
    if not changes:
        raise invalid("", "patch.empty", "请至少给出一个要变更的字段。", "Name at least one field to change.")
    async with recording(database, principal.subject) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        merchant = await _existing(draft, principal, merchant_id)
        if "division_code" in changes:
            await _check_division(draft, body.division_code, body.effective_at)
        changed = rules.patched(merchant, body.effective_at, changes)
        rules.check_distinct(changed, await _all(draft))
        if changed != merchant:
            return _answer(draft, principal, draft.put(changed), body.effective_at)
        draft.unchanged = True
    return await reads.merchant(database, principal, merchant_id, OneQuery(valid_at=body.effective_at))


async def decide(database: Database, principal: Principal, merchant_id: str, body: schemas.Decision) -> schemas.MerchantAnswer:
    async with recording(database, principal.subject, body.reason) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        merchant = await _for_review(draft, principal, merchant_id, body.version)
        decided = rules.decided(merchant, Qualification(body.decision), body.effective_at, body.reason)
        rules.check_shops(decided, await _all(draft))
        if decided != merchant:
            return _answer(draft, principal, draft.put(decided), body.effective_at)
        draft.unchanged = True
    return await reads.merchant(database, principal, merchant_id, OneQuery(valid_at=body.effective_at))


async def declare_sales(database: Database, principal: Principal, merchant_id: str, body: schemas.SalesDeclared) -> schemas.MerchantAnswer:
    async with recording(database, principal.subject) as draft:
        merchant = await _existing(draft, principal, merchant_id)
        today = shanghai_day(draft.recorded_at)
        declared = rules.declared(merchant, body.year, body.sales_fen, body.document, today)
        moment = _shown_at(merchant, draft.recorded_at)
        if declared != merchant:
            return _answer(draft, principal, draft.put(declared), moment)
        draft.unchanged = True
    return await reads.merchant(database, principal, merchant_id, OneQuery(valid_at=moment))


async def review_sales(
    database: Database, principal: Principal, merchant_id: str, year: int, body: schemas.SalesReview
) -> schemas.MerchantAnswer:
    async with recording(database, principal.subject, body.reason) as draft:
        merchant = await _for_review(draft, principal, merchant_id, body.version)
        reviewed = rules.reviewed(merchant, year, SalesStatus(body.decision), body.reason)
        if reviewed is None:
            raise not_found("该年度的销售额", "declaration of that year's sales", "sales.not_found")
        return _answer(draft, principal, draft.put(reviewed), _shown_at(merchant, draft.recorded_at))


async def _existing(draft: Recording, principal: Principal, merchant_id: str) -> Merchant:
    """The merchant as known now, if it is the caller's or the caller is limited to none."""
    mine = is_id(merchant_id) and merchant_limit(principal) in (None, merchant_id)
    merchant = await repository.one(draft.tx, Merchant, merchant_id, draft.known) if mine else None
    if merchant is None:
        raise no_merchant()
    return merchant


async def _for_review(draft: Recording, principal: Principal, merchant_id: str, seen_version: int) -> Merchant:
    """The merchant, if the caller may decide about it: never about what it has told itself, nor about what has changed since it looked."""
    merchant = await _existing(draft, principal, merchant_id)
    past: list[Recorded[Merchant]] = await repository.past(draft.tx, Merchant, merchant_id, draft.known)
    told_by = rules.tellers((row.actor or "", row.record) for row in past)
    if merchant_limit(principal) is not None or principal.subject in told_by:
        raise Problem(
            403,
            "merchant.own",
            "不能审核本人登记或申报的内容，请由另一位审核人员办理。",
            "You have told (part of) this yourself, or it is about you: another reviewer has to decide.",
        )
    if merchant.version != seen_version:
        raise Problem(
            409,
            "merchant.changed",
            f"该申报主体已变更为第 {merchant.version} 版，您看到的是第 {seen_version} 版，请重新查看后再决定。",
            f"The merchant is at version {merchant.version} and you looked at {seen_version}: look again, then decide.",
        )
    return merchant


async def _check_division(draft: Recording, code: str, moment: datetime) -> None:
    rules.check_division(code, await repository.one(draft.tx, Division, code, draft.known), moment)


async def _all(draft: Recording) -> list[Merchant]:
    """A county has some hundreds of applicants."""
    return [merchant for merchant, _ in await repository.every(draft.tx, Merchant, draft.known)]


def _shown_at(merchant: Merchant, now: datetime) -> datetime:
    """Sales have a year and no moment of their own: shown with what the merchant is now, or will be first."""
    return max(now, merchant.segments[0].valid_from)


def _answer(draft: Recording, principal: Principal, merchant: Merchant, moment: datetime) -> schemas.MerchantAnswer:
    """The merchant as it now was at the moment that the write was about."""
    shown = reads.item(merchant, draft.recorded_at, moment, principal)
    assert shown is not None
    return schemas.MerchantAnswer(**dict(shown), as_of=draft.as_of(moment))

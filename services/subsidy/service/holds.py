"""What waits for a person: the list, one hold and what it is about, decisions on it, holds placed by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from services.subsidy.domain.fold import Assessment, contested_events, versions_that_count
from services.subsidy.domain.said import CONTESTED, NOTHING_TO_PAY, Word, digest_of
from services.subsidy.repository import holds as sql
from services.subsidy.schemas_holds import HoldDecision, NewHold
from services.subsidy.service import refusals
from services.subsidy.service.admin import AdminBatch, admin_batch
from services.subsidy.service.ids import HoldKey, hold_key, uuid_text
from services.subsidy.service.known import Books, Known
from services.subsidy.service.lists import Cursor, Filters
from services.subsidy.service.parcels import Found, Traced, find, trace_of
from services.subsidy.service.rulings import hold, ruling, said_of
from services.subsidy.service.tenancy import Tenant, tenant_of
from shared.auth import Principal
from shared.http import decode_page, encode_page
from shared.identity import parcel_id
from shared.problems import FieldError, Problem

NEWEST = 2**62  # a revision that is never reached: all there is
Contested = Mapping[bytes, Sequence[bytes]]  # event id → its contents


class Seen(NamedTuple):
    """One hold at a revision, its parcel, and how that was computed."""

    key: HoldKey
    row: asyncpg.Record
    found: Found
    traced: Traced

    @property
    def is_open(self) -> bool:
        return self.row["released_at"] is None

    @property
    def contested(self) -> Contested:
        if not self.is_open or self.row["reason_code"] != CONTESTED:
            return {}
        return contested_events(versions_that_count(self.traced.events, self.traced.said))

    @property
    def would_be(self) -> Sequence[Assessment]:
        """What a release would make of the parcel: one result, or one for each way in which it was told."""
        if not self.is_open:
            return ()
        if self.row["reason_code"] == CONTESTED:
            return self.traced.trace.variants
        return (self.traced.trace.released,) if self.traced.trace.released else ()


class Holds:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def list(self, tenant: Tenant, filters: Filters, status: str | None, limit: int, cursor_text: str | None) -> dict[str, Any]:
        cursor = Cursor(cursor_text)
        async with self._books.known(pinned=cursor.pinned) as known:
            rows = await known.read.fetch(
                sql.LIST, known.revision, *cursor.after[:2], filters.get("reason_code"), filters.get("station_id"), status, limit + 1,
                *tenant.restriction,
            )  # fmt: skip
            page = rows[:limit]
            rulings = await sql.rulings_of(known.read, [row["parcel_key"] for row in page], known.revision)
            return {
                "items": [_listed(row, rulings.get(row["parcel_key"], ()), tenant) for row in page],
                "redacted": ["waybill_no"] if tenant.masked else [],
                "next_cursor": cursor.next(known, (page[-1]["revision"], page[-1]["parcel_key"], 0)) if len(rows) > limit else None,
                "as_of": known.as_of,
            }

    async def rulings(self, after_revision: int, limit: int, cursor: str | None) -> dict[str, Any]:
        """All that people said of holds, in its order: with the logs and the policies, all that a recomputation needs."""
        pinned, after = decode_page(cursor)
        async with self._books.known(pinned=pinned) as known:
            rows = await known.read.fetch(sql.RULINGS, known.revision, max(after, after_revision), limit + 1)
            page = rows[:limit]
            return {
                "items": [_named(row) | ruling(row) for row in page],
                "next_cursor": encode_page(known.revision, page[-1]["revision"]) if len(rows) > limit else None,
                "as_of": known.as_of,
            }

    async def show(self, tenant: Tenant, hold_id: str) -> dict[str, Any]:
        async with self._books.known() as known:
            seen = await self._see(known, tenant, hold_id)
            return {
                **_listed(seen.row, seen.found.rulings, tenant),
                "contested": [_told_twice(event_id, contents, seen.found) for event_id, contents in seen.contested.items()],
                "would_be": [_result(a) for a in seen.would_be],
                "redacted": ["waybill_no"] if tenant.masked else [],
                "as_of": known.as_of,
            }

    async def decide(self, principal: Principal, hold_id: str, body: HoldDecision) -> dict[str, Any]:
        """409 where what is held is not what the decision names, or has been decided: nobody decides what changed since they looked."""
        tenant = tenant_of(principal)
        async with self._books.known() as known:
            seen = await self._see(known, tenant, hold_id)
        choices = _may_decide(seen, principal, body)
        async with admin_batch(self._books.database) as batch:
            await self._still_undecided(batch, seen)
            await batch.tx.execute(
                sql.ADD_RULING, seen.key.parcel_key, batch.batch_no, seen.found.brand, seen.found.waybill_no, body.decision,
                seen.row["reason_code"], seen.row["subject"], msgspec.json.encode(choices).decode(), principal.subject, body.reason,
            )  # fmt: skip
            await batch.reassess([seen.key.parcel_key])
        return await self.show(tenant, hold_id)

    async def place(self, principal: Principal, body: NewHold) -> dict[str, Any]:
        """On any parcel that was seen; it holds as soon as there is something to hold."""
        async with self._books.known() as known:
            found = await find(known, tenant_of(principal), body.brand, body.waybill_no)
        async with admin_batch(self._books.database) as batch:
            said = (await sql.rulings_of(batch.tx, [found.key], NEWEST)).get(found.key, [])
            about = [r["decision"] for r in said if r["reason_code"] == body.reason_code]
            if about and about[-1] == Word.PLACE:
                raise refusals.hold_placed_already()
            await batch.tx.execute(
                sql.ADD_RULING, found.key, batch.batch_no, found.brand, found.waybill_no, Word.PLACE, body.reason_code, None, "[]",
                principal.subject, body.note,
            )  # fmt: skip
            await batch.reassess([found.key])
        async with self._books.known() as known:
            said = (await sql.rulings_of(known.read, [found.key], known.revision))[found.key]
            placed = next(r for r in reversed(said) if r["reason_code"] == body.reason_code)
            return (
                {"parcel_id": parcel_id(found.key), "brand": found.brand, "waybill_no": found.waybill_no}
                | ruling(placed)
                | {"as_of": known.as_of}
            )

    async def _see(self, known: Known, tenant: Tenant, hold_id: str) -> Seen:
        key = hold_key(hold_id)
        row = await known.read.fetchrow(sql.ONE, known.revision, *key) if key else None
        if key is None or row is None:
            raise refusals.no_hold()
        try:
            found = await find(known, tenant, row["brand"], row["waybill_no"])
        except Problem:
            raise refusals.no_hold() from None
        return Seen(key, row, found, await trace_of(self._books, known, found))

    async def _still_undecided(self, batch: AdminBatch, seen: Seen) -> None:
        """Behind the gate: the hold is the parcel's open one and about the same; the subject covers all that was looked at before."""
        if await batch.tx.fetchval(sql.STILL_OPEN, *seen.key) != seen.row["subject"]:
            raise refusals.hold_changed()
        said = await sql.rulings_of(batch.tx, [seen.key.parcel_key], NEWEST)
        if said_of(seen.row, said.get(seen.key.parcel_key, ())).decisions:
            raise refusals.hold_decided()


def _may_decide(seen: Seen, principal: Principal, body: HoldDecision) -> list[tuple[str, str, str]]:
    """-> the choices to record. Never by whoever gains, nor by whoever placed the hold."""
    gaining = {seen.row["beneficiary_id"], *(a.beneficiary_id for a in seen.would_be)}
    if principal.claim is not None and principal.claim in gaining:
        raise refusals.gains_from_hold()
    placing = said_of(seen.row, seen.found.rulings).placing
    if placing and placing["said_by"] == principal.subject:
        raise refusals.own_hold()
    subject = seen.row["subject"]
    if not seen.is_open or subject is None or subject.hex() != body.subject:
        raise refusals.hold_changed()
    if said_of(seen.row, seen.found.rulings).decisions:
        raise refusals.hold_decided()
    reason = seen.row["reason_code"]
    release = Word(body.decision) is Word.RELEASE
    if release and reason in NOTHING_TO_PAY:
        raise refusals.nothing_to_release(reason)
    wanted = seen.contested if release else {}
    return _choices(wanted, {UUID(c.event_id).bytes: bytes.fromhex(c.content) for c in body.choices}, [c.event_id for c in body.choices])


def _choices(wanted: Contested, given: Mapping[bytes, bytes], named: Sequence[str]) -> list[tuple[str, str, str]]:
    """One content for each contested event, and nothing else -> [(event id, content, digest of the contents seen)]."""
    errors = []
    for missing in sorted(wanted.keys() - given.keys()):
        zh, en = f"请为有出入的扫描 {uuid_text(missing)} 选定一个版本。", f"Choose a content for event {uuid_text(missing)}."
        errors.append(FieldError("/choices", "choice.missing", zh, en))
    for i, text in enumerate(named):
        contents = wanted.get(event := UUID(text).bytes)
        if contents is None or given[event] not in contents or text in named[:i]:
            zh, en = "此扫描或版本不在这次争议之中。", "No contested event of this hold, or no content of it."
            errors.append(FieldError(f"/choices/{i}", "choice.unknown", zh, en))
    if errors:
        raise Problem(422, "request.invalid", "请求内容有误，请按 errors 修改。", "The request is not valid; see errors.", errors)
    return [(str(UUID(bytes=e)), content.hex(), digest_of(wanted[e]).hex()) for e, content in sorted(given.items())]


def _listed(row: asyncpg.Record, rulings: Sequence[asyncpg.Record], tenant: Tenant) -> dict[str, Any]:
    return hold(row, rulings) | {
        "parcel_id": parcel_id(row["parcel_key"]),
        "brand": row["brand"],
        "waybill_no": None if tenant.masked else row["waybill_no"],
        "station_id": row["station_id"],
        "beneficiary_id": row["beneficiary_id"],
        "service_date": row["service_date"],
    }


def _named(row: asyncpg.Record) -> dict[str, Any]:
    return {"parcel_id": parcel_id(row["parcel_key"]), "brand": row["brand"], "waybill_no": row["waybill_no"]}


def _told_twice(event_id: bytes, contents: Sequence[bytes], found: Found) -> dict[str, Any]:
    """A contested event: each content as its newest reading has it."""
    newest = {row["content"]: row for row in sorted(found.evidence, key=lambda r: r["mapping_version"]) if row["event_id"] == event_id}
    plain = ("action", "raw_action", "scanned_at", "site_namespace", "site_code", "site_name")
    return {
        "event_id": uuid_text(event_id),
        "contents": [{"content": c.hex(), **{name: newest[c][name] for name in plain}} for c in contents],
    }


def _result(a: Assessment) -> dict[str, Any]:
    return {
        "outcome": a.outcome,
        "reason_codes": list(a.reason_codes),
        "amount_fen": a.amount_fen,
        "beneficiary_id": a.beneficiary_id,
        "station_id": a.station_id,
        "service_date": a.service_date,
    }

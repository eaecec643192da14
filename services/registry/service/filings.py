"""Writes about filings (末端备案): the filer submits, the postal administration decides, the county records its receipt."""

from datetime import datetime

from msgspec.structs import replace

from services.registry import repository
from services.registry import schemas_documents as given
from services.registry import schemas_filings as schemas
from services.registry.domain import filings as rules
from services.registry.domain import licences, materials
from services.registry.domain.history import Recorded, Row, filing_rows
from services.registry.domain.refusals import Conflict
from services.registry.domain.segments import check_ahead, shown_at
from services.registry.domain.stations import check_filer, writable_by
from services.registry.domain.transitions import is_submission
from services.registry.service import documents, reads, shown
from services.registry.service.access import is_id, may_see, need, no_filing, no_station, operator_limit
from services.registry.service.recording import Recording, filing_term, receipt_term, recording
from shared.auth import Principal
from shared.contracts.registry import FILED, Filing, FilingStatus, Material, Operator, Station
from shared.db import Database
from shared.problems import invalid
from shared.standing import holds


async def open_filing(database: Database, principal: Principal, station_id: str, body: schemas.NewFiling) -> schemas.FilingAnswer:
    need(principal, _scope(body.status))
    limit = operator_limit(principal)
    if limit is not None and body.filer_id != limit:
        raise invalid("/filer_id", "filing.filer_not_yours", "只能以本企业名义备案。", "You can only file in your own name.")
    async with recording(database, principal.subject) as draft:
        station = await repository.one(draft.tx, Station, station_id, draft.known) if is_id(station_id) else None
        if station is None or not may_see(principal, station) or not writable_by(station, limit, body.effective_at, None):
            raise no_station()
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        check_filer(await repository.one(draft.tx, Operator, body.filer_id, draft.known))
        for i, material in enumerate(body.materials):
            await documents.check(draft.tx, principal, material.document_id, f"/materials/{i}/document_id", material.kind)
        filing = rules.opened(_blank(body, f"fil_{draft.revision}"), body.effective_at, body.status, body.receipt_no)
        await _check_licence(draft, station, filing, body.status, body.effective_at, "/effective_at")
        await _check_receipts(draft, filing)
        changed = draft.put(replace(station, filings=(*station.filings, filing)))
        return await _answer(draft, changed, filing.filing_id, body.effective_at)


def _blank(body: schemas.NewFiling, filing_id: str) -> Filing:
    return Filing(
        filing_id=filing_id,
        filer_id=body.filer_id,
        covers_brands=tuple(body.covers_brands),
        authority=body.authority,
        opened_on=body.opened_on,
        submitted_at=body.submitted_at,
        decided_at=body.decided_at,
        segments=(),
        filer_type=body.filer_type,
        scope=tuple(dict.fromkeys(body.scope)),
        materials=tuple(dict.fromkeys(map(_material, body.materials))),
    )


def _material(body: given.Material) -> Material:
    return Material(kind=body.kind, document_id=body.document_id)


async def add_material(database: Database, principal: Principal, filing_id: str, body: given.Material) -> schemas.FilingAnswer:
    """What was handed in says nothing about when, so it is no period of the filing: it is known from its revision on."""
    async with recording(database, principal.subject) as draft:
        station, filing = await _existing(draft, principal, filing_id)
        await documents.check(draft.tx, principal, body.document_id, "/document_id", body.kind)
        moment = shown_at(filing.segments, draft.recorded_at)
        changed = materials.added(filing, _material(body))
        if changed != filing:
            return await _answer(draft, await _save(draft, station, changed), filing_id, moment)
        draft.unchanged = True
    return await _recorded(database, station.station_id, filing_id, moment)


async def move_filing(database: Database, principal: Principal, filing_id: str, body: schemas.Transition) -> schemas.FilingAnswer:
    need(principal, _scope(body.to))
    async with recording(database, principal.subject, body.note) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        station, filing = await _existing(draft, principal, filing_id)
        moved = rules.moved(filing, body.to, body.effective_at, body.receipt_no)
        await _check_licence(draft, station, filing, body.to, body.effective_at, "/effective_at")
        return await _answer(draft, await _save(draft, station, moved), filing_id, body.effective_at)


async def correct_filing(database: Database, principal: Principal, filing_id: str, body: schemas.Correction) -> schemas.FilingAnswer:
    async with recording(database, principal.subject, body.reason) as draft:
        check_ahead(body.valid_from, draft.recorded_at, "/valid_from")
        station, filing = await _existing(draft, principal, filing_id)
        corrected = rules.corrected(filing, body.status, body.valid_from, body.valid_to, body.receipt_no)
        await _check_licence(draft, station, filing, body.status, body.valid_from, "/valid_from")
        if corrected != filing:
            return await _answer(draft, await _save(draft, station, corrected), filing_id, body.valid_from)
        draft.unchanged = True
    return await _recorded(database, station.station_id, filing_id, body.valid_from)


def _scope(status: FilingStatus) -> str:
    return "filings:submit" if is_submission(status) else "filings:decide"


async def _existing(draft: Recording, principal: Principal, filing_id: str) -> tuple[Station, Filing]:
    """The filing and its station, if the caller may see them; a filer writes about its own filings."""
    limit = operator_limit(principal)
    ids = await repository.traced(draft.tx, [filing_term(filing_id)]) if is_id(filing_id) else []
    for station in await repository.some(draft.tx, Station, ids, draft.known):
        for filing in station.filings:
            if filing.filing_id == filing_id and may_see(principal, station) and limit in (None, filing.filer_id):
                return station, filing
    raise no_filing()


async def _check_licence(draft: Recording, station: Station, filing: Filing, status: FilingStatus, moment: datetime, pointer: str) -> None:
    if status in FILED:
        licences.check(await repository.one(draft.tx, Operator, filing.filer_id, draft.known), filing, station, moment, pointer)


async def _save(draft: Recording, station: Station, filing: Filing) -> Station:
    await _check_receipts(draft, filing)
    return draft.put(replace(station, filings=tuple(filing if f.filing_id == filing.filing_id else f for f in station.filings)))


async def _check_receipts(draft: Recording, filing: Filing) -> None:
    """A receipt number is unique per authority (domain facts §3.1)."""
    receipts = rules.receipts_of(filing)
    ids = await repository.traced(draft.tx, [receipt_term(*r) for r in receipts]) if receipts else []
    for station in await repository.some(draft.tx, Station, ids, draft.known):
        for other in station.filings:
            if other.filing_id != filing.filing_id and receipts & rules.receipts_of(other):
                raise Conflict(
                    "filing.receipt_taken",
                    f"该回执编号已用于备案 {other.filing_id}（站点 {station.station_id}），请核对。",
                    f"This receipt number belongs to filing {other.filing_id} of station {station.station_id}: check it.",
                )


async def _answer(draft: Recording, station: Station, filing_id: str, moment: datetime) -> schemas.FilingAnswer:
    """The filing as it now was at the moment that the write was about."""
    past = await repository.past(draft.tx, Station, station.station_id, draft.known)
    row = _holding(filing_rows([*past, Recorded(draft.recorded_at, station, draft.actor, draft.reason)]), filing_id, moment)
    return schemas.FilingAnswer(**dict(shown.filing_item(row)), station_id=station.station_id, as_of=draft.as_of(moment))


async def _recorded(database: Database, station_id: str, filing_id: str, moment: datetime) -> schemas.FilingAnswer:
    """The filing as it is recorded, for a request that changes nothing."""
    async with database.read() as read:
        at = await reads.pin(read, moment, None)
        rows = filing_rows(await repository.past(read, Station, station_id, at.revision.revision))
    row = _holding(rows, filing_id, moment)
    return schemas.FilingAnswer(**dict(shown.filing_item(row)), station_id=station_id, as_of=at.as_of())


def _holding(rows: list[Row], filing_id: str, moment: datetime) -> Row:
    return next(r for r in rows if r.filing.filing_id == filing_id and r.superseded_at is None and holds(r.segment, moment))

"""Writes about operators, stations and their aliases. Each is one position of the log."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from services.registry import repository, schemas
from services.registry import schemas_documents as given
from services.registry.domain import aliases
from services.registry.domain import stations as rules
from services.registry.domain.refusals import Invalid
from services.registry.domain.segments import check_ahead, shown_at
from services.registry.service import documents, reads, shown
from services.registry.service.access import is_id, may_see, no_operator, no_station, operator_limit
from services.registry.service.recording import Recording, recording, site_term
from shared.auth import Principal
from shared.contracts.registry import Alias, Division, DocumentKind, Level, Operator, OperatorSegment, Station, StationSegment
from shared.db import Database
from shared.problems import Problem, invalid, not_found
from shared.values import AsOf


async def create_operator(database: Database, principal: Principal, body: schemas.NewOperator) -> schemas.OperatorAnswer:
    async with recording(database, principal.subject) as draft:
        segment = OperatorSegment(valid_from=body.effective_at, valid_to=None, name=body.name)
        rules.check_name(segment, [o for o, _ in await repository.every(draft.tx, Operator, draft.known)])
        operator = draft.put(Operator(version=0, operator_id=f"opr_{draft.revision}", segments=(segment,)))
    item = shown.operator_item(operator, draft.recorded_at, body.effective_at)
    assert item is not None
    return schemas.OperatorAnswer(**dict(item), as_of=draft.as_of(body.effective_at))


async def change_operator(database: Database, actor: str, operator_id: str, body: schemas.OperatorChange) -> schemas.OperatorAnswer:
    changes = schemas.changes_of(body)
    if not changes:
        raise invalid("", "patch.empty", "请至少给出一个要变更的字段。", "Name at least one field to change.")
    async with recording(database, actor, body.reason) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        operator = await existing_operator(draft, operator_id)
        changed = rules.changed_operator(operator, body.effective_at, changes)
        if "name" in changes:
            others = [o for o, _ in await repository.every(draft.tx, Operator, draft.known) if o.operator_id != operator_id]
            for segment in changed.segments:
                rules.check_name(segment, others)
        operator = draft.put(changed)
    item = shown.operator_item(operator, draft.recorded_at, body.effective_at)
    assert item is not None
    return schemas.OperatorAnswer(**dict(item), as_of=draft.as_of(body.effective_at))


async def existing_operator(draft: Recording, operator_id: str) -> Operator:
    operator = await repository.one(draft.tx, Operator, operator_id, draft.known) if is_id(operator_id) else None
    if operator is None:
        raise no_operator()
    return operator


async def create_station(database: Database, principal: Principal, body: schemas.NewStation) -> schemas.StationAnswer:
    _own_operator(principal, body.operator_id)
    async with recording(database, principal.subject) as draft:
        segment = StationSegment(
            valid_from=body.effective_at,
            valid_to=None,
            name=body.name,
            division_code=body.division_code,
            township_code=await _township(draft, body.level, body.division_code, body.effective_at),
            brands=tuple(body.brands),
            operating_status=body.operating_status,
            opened_on=body.opened_on,
            services_per_week=body.services_per_week,
            staff=body.staff,
            **await _operator(draft, body.operator_id, body.effective_at),
            **_place(body.location),
        )
        rules.check_opening([segment])
        id_ = f"stn_{draft.revision}"
        station = Station(version=0, station_id=id_, level=body.level, segments=(segment,), aliases=(), filings=())
        new = [_alias(given, f"als_{draft.revision}_{i}", body.effective_at) for i, given in enumerate(body.aliases, 1)]
        return await _answer(draft, draft.put(await _with_aliases(draft, station, new, "/aliases/{}")), body.effective_at)


async def change_station(database: Database, principal: Principal, station_id: str, body: schemas.StationChange) -> schemas.StationAnswer:
    changes = schemas.changes_of(body)
    if not changes:
        raise invalid("", "patch.empty", "请至少给出一个要变更的字段。", "Name at least one field to change.")
    if "operator_id" in changes:
        _own_operator(principal, body.operator_id)
    async with recording(database, principal.subject) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        station = await _existing(draft, principal, station_id)
        held = rules.segment_at(station, body.effective_at)
        _check_writable(principal, station, body.effective_at, held.valid_to if held else None)
        changed = rules.patched(station, body.effective_at, await _fields(draft, station, body, changes))
        rules.check_opening(changed.segments)
        if changed != station:
            return await _answer(draft, draft.put(changed), body.effective_at)
        draft.unchanged = True
    return await reads.station(database, principal, station_id, schemas.OneQuery(valid_at=body.effective_at))


async def _fields(draft: Recording, station: Station, body: schemas.StationChange, changes: dict[str, Any]) -> dict[str, object]:
    """The fields of the body as those of a segment."""
    plain = ("name", "operating_status", "opened_on", "services_per_week", "staff")
    fields: dict[str, object] = {name: changes[name] for name in plain if name in changes}
    if "brands" in changes:
        fields["brands"] = tuple(body.brands)
    if "location" in changes:
        fields |= _place(body.location)
    if "operator_id" in changes:
        fields |= await _operator(draft, body.operator_id, body.effective_at)
    if "division_code" in changes:
        township = await _township(draft, station.level, body.division_code, body.effective_at)
        fields |= {"division_code": body.division_code, "township_code": township}
    return fields


async def set_photos(database: Database, principal: Principal, station_id: str, body: given.StationPhotos) -> schemas.StationAnswer:
    """They are of what it looks like, without a period: known from their revision on."""
    async with recording(database, principal.subject) as draft:
        station = await _existing(draft, principal, station_id)
        _check_writable(principal, station, draft.recorded_at, None)
        for i, document_id in enumerate(body.photos):
            await documents.check(draft.tx, principal, document_id, f"/photos/{i}", DocumentKind.PHOTO)
        moment = shown_at(station.segments, draft.recorded_at)
        changed = replace(station, photos=tuple(dict.fromkeys(body.photos)))
        if changed != station:
            return await _answer(draft, draft.put(changed), moment)
        draft.unchanged = True
    return await reads.station(database, principal, station_id, schemas.OneQuery(valid_at=moment))


async def add_alias(database: Database, principal: Principal, station_id: str, body: schemas.NewAlias) -> schemas.AliasAnswer:
    async with recording(database, principal.subject) as draft:
        station = await _existing(draft, principal, station_id)
        _check_writable(principal, station, body.valid_from, body.valid_to)
        alias = _alias(body, f"als_{draft.revision}", body.valid_from)
        draft.put(await _with_aliases(draft, station, [alias]))
    return _alias_answer(station_id, alias, draft.as_of(alias.valid_from))


async def end_alias(
    database: Database, principal: Principal, station_id: str, alias_id: str, effective_at: datetime
) -> schemas.AliasAnswer:
    async with recording(database, principal.subject) as draft:
        station = await _existing(draft, principal, station_id)
        found = aliases.ended(station, alias_id, effective_at)
        if found is None:
            raise not_found("别名", "alias", "alias.not_found")
        before = next(a for a in station.aliases if a.alias_id == alias_id)
        _check_writable(principal, station, max(effective_at, before.valid_from), before.valid_to)
        changed, alias = found
        draft.put(changed)
    return _alias_answer(station_id, alias, draft.as_of(effective_at))


async def _existing(draft: Recording, principal: Principal, station_id: str) -> Station:
    """The station as known now, if the caller may see it."""
    station = await repository.one(draft.tx, Station, station_id, draft.known) if is_id(station_id) else None
    if station is None or not may_see(principal, station):
        raise no_station()
    return station


def _check_writable(principal: Principal, station: Station, start: datetime, end: datetime | None) -> None:
    if not rules.writable_by(station, operator_limit(principal), start, end):
        raise no_station()


def _own_operator(principal: Principal, operator_id: str | None) -> None:
    """An operator registers stations of its own; a hand-over is the county's to record."""
    limit = operator_limit(principal)
    if limit is not None and operator_id != limit:
        raise Problem(
            403,
            "station.operator_not_yours",
            "只能登记本企业运营的站点；变更运营企业请由县发改局办理。",
            "You can only name yourself as the operator: the county's coordinator records a hand-over.",
        )


async def _township(draft: Recording, level: Level, code: str, moment: datetime) -> str | None:
    return rules.place(level, code, await repository.one(draft.tx, Division, code, draft.known), moment)


async def _operator(draft: Recording, operator_id: str | None, moment: datetime) -> dict[str, Any]:
    if operator_id is not None:
        rules.check_operator(await repository.one(draft.tx, Operator, operator_id, draft.known), moment)
    return {"operator_id": operator_id}


def _place(location: schemas.Location | None) -> dict[str, Any]:
    return {"lat": location.lat, "lng": location.lng} if location else {"lat": None, "lng": None}


def _alias(given: schemas.InlineAlias, alias_id: str, effective_at: datetime) -> Alias:
    return Alias(
        alias_id=alias_id,
        namespace=given.namespace,
        site_code=given.site_code,
        site_name=given.site_name,
        valid_from=given.valid_from or effective_at,
        valid_to=given.valid_to,
    )


async def _with_aliases(draft: Recording, station: Station, new: Sequence[Alias], pointer: str = "") -> Station:
    """The station with more aliases, checked against everybody who has ever claimed one of the sites. `pointer`: where they stand."""
    terms = [site_term(_site(alias, pointer.format(i))) for i, alias in enumerate(new)]
    others = await repository.some(draft.tx, Station, await repository.traced(draft.tx, terms), draft.known) if terms else []
    for alias in new:
        station = aliases.claimed(station, alias, others)
    return station


def _site(alias: Alias, pointer: str) -> bytes:
    try:
        return aliases.site_of(alias)
    except Invalid as e:
        raise dataclasses.replace(e, pointer=pointer + e.pointer) from None


def _alias_answer(station_id: str, alias: Alias, as_of: AsOf) -> schemas.AliasAnswer:
    return schemas.AliasAnswer(**dict(shown.alias_item(alias)), station_id=station_id, as_of=as_of)


async def _answer(draft: Recording, station: Station, moment: datetime) -> schemas.StationAnswer:
    """The station as it now was at the moment that the write was about."""
    divisions = await shown.divisions_of(draft.tx, [station], draft.known)
    item = shown.station_item(divisions, station, draft.recorded_at, moment)
    assert item is not None
    return schemas.StationAnswer(**dict(item), as_of=draft.as_of(moment))

"""Incidents: told, dealt with step by step, and seen by whom they concern."""

from collections.abc import Iterable
from datetime import datetime

from services.registry import repository
from services.registry import schemas_incidents as schemas
from services.registry.domain import incidents as rules
from services.registry.domain.segments import check_ahead
from services.registry.schemas import OneQuery
from services.registry.service.access import is_id, may_see, no_operator, no_station
from services.registry.service.reads import Pin, pin, pin_list
from services.registry.service.recording import Recording, recording
from shared.auth import Principal
from shared.contracts.registry import Incident, IncidentKind, IncidentParcel, IncidentStatus, Operator, Station
from shared.db import Database, Read
from shared.problems import Problem, invalid, not_found
from shared.standing import at as segment_at
from shared.values import parse_choices, parse_many

Stations = dict[str, Station]


async def tell(database: Database, principal: Principal, body: schemas.NewIncident) -> schemas.IncidentAnswer:
    if body.station_id is None and body.operator_id is None and not body.parcels:
        raise invalid("", "incident.about_nothing", "请至少写明站点、企业或快件之一。", "Name a station, an operator or a parcel.")
    async with recording(database, principal.subject) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        rules.check_words(body.summary, "/summary")
        station = await _station(draft, body.station_id)
        if body.operator_id and await repository.one(draft.tx, Operator, body.operator_id, draft.known) is None:
            raise no_operator()
        then = segment_at(station.segments, body.effective_at) if station else None
        incident = draft.put(
            Incident(
                version=0,
                incident_id=f"inc_{draft.revision}",
                kind=body.kind,
                source=body.source,
                station_id=body.station_id,
                operator_id=body.operator_id or (then.operator_id if then else None),
                parcels=tuple(IncidentParcel(brand=p.brand, waybill_no=p.waybill_no.upper()) for p in body.parcels),
                summary=body.summary,
                segments=(rules.opened(body.effective_at, body.due_on),),
            )
        )
        return _answer(draft, incident, station, body.effective_at)


async def step(database: Database, principal: Principal, incident_id: str, body: schemas.IncidentStep) -> schemas.IncidentAnswer:
    async with recording(database, principal.subject, body.note) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        if body.note:
            rules.check_words(body.note, "/note")
        incident = await repository.one(draft.tx, Incident, incident_id, draft.known) if is_id(incident_id) else None
        if incident is None:
            raise no_incident()
        moved = draft.put(rules.moved(incident, body.to, body.effective_at, body.due_on, body.note))
        return _answer(draft, moved, await _station(draft, incident.station_id), body.effective_at)


async def _station(draft: Recording, station_id: str | None) -> Station | None:
    if station_id is None:
        return None
    station = await repository.one(draft.tx, Station, station_id, draft.known)
    if station is None:
        raise no_station()
    return station


async def show(database: Database, principal: Principal, incident_id: str, query: OneQuery) -> schemas.IncidentAnswer:
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        found = await repository.found_one(read, Incident, incident_id, at.revision.revision) if is_id(incident_id) else None
        stations = await _stations(read, at, [found.record] if found and isinstance(found.record, Incident) else [])
    item = None
    if found is not None and isinstance(found.record, Incident) and _may_see(principal, found.record, stations):
        item = _item(found.record, stations, found.recorded_at, at.moment)
    if item is None:
        raise no_incident()
    return schemas.IncidentAnswer(**dict(item), as_of=at.as_of())


async def incidents(database: Database, principal: Principal, query: schemas.IncidentQuery) -> schemas.IncidentList:
    wanted = {
        "status": parse_choices("status", query.status, list(IncidentStatus)),
        "kind": parse_choices("kind", query.kind, list(IncidentKind)),
        "station_id": parse_many(query.station_id),
        "operator_id": parse_many(query.operator_id),
        "township_code": parse_many(query.township_code),
        "overdue": None if query.overdue is None else [query.overdue],
    }
    async with database.read() as read:
        at = await pin_list(read, query)
        found = await seen(read, principal, at)
    items = [item for item in found if all(values is None or getattr(item, name) in values for name, values in wanted.items())]
    page, cursor = at.page(items, query.limit)
    return schemas.IncidentList(items=page, next_cursor=cursor, as_of=at.as_of())


async def seen(read: Read, principal: Principal, at: Pin) -> list[schemas.IncidentItem]:
    """Whatever the caller may see, in order of recording."""
    found = await repository.every(read, Incident, at.revision.revision)
    stations = await _stations(read, at, [incident for incident, _ in found])
    shown = (_item(i, stations, when, at.moment) for i, when in found if _may_see(principal, i, stations))
    return [item for item in shown if item]


async def _stations(read: Read, at: Pin, about: Iterable[Incident]) -> Stations:
    ids = {incident.station_id for incident in about if incident.station_id}
    return {s.station_id: s for s in await repository.some(read, Station, ids, at.revision.revision)}


def _may_see(principal: Principal, incident: Incident, stations: Stations) -> bool:
    """An operator what is about it or a station of its own, a township what is about a station in it; the county all."""
    if principal.claim_kind is None or (principal.claim_kind == "operator" and incident.operator_id == principal.claim):
        return True
    station = stations.get(incident.station_id or "")
    return principal.claim_kind in ("operator", "township") and station is not None and may_see(principal, station)


def _item(incident: Incident, stations: Stations, recorded_at: datetime, moment: datetime) -> schemas.IncidentItem | None:
    """None: it had not been told by then."""
    now = segment_at(incident.segments, moment)
    if now is None:
        return None
    station = stations.get(incident.station_id or "")
    place = segment_at(station.segments, moment) if station else None
    return schemas.IncidentItem(
        incident_id=incident.incident_id,
        kind=incident.kind,
        source=incident.source,
        station_id=incident.station_id,
        operator_id=incident.operator_id,
        township_code=place.township_code if place else None,
        parcels=[schemas.Parcel(brand=p.brand, waybill_no=p.waybill_no) for p in incident.parcels],
        summary=incident.summary,
        status=now.status,
        due_on=now.due_on,
        overdue=rules.overdue(incident, moment),
        steps=[
            schemas.StepItem(status=s.status, due_on=s.due_on, note=s.note, valid_from=s.valid_from, valid_to=s.valid_to)
            for s in incident.segments
        ],
        recorded_at=recorded_at,
        version=incident.version,
    )


def _answer(draft: Recording, incident: Incident, station: Station | None, moment: datetime) -> schemas.IncidentAnswer:
    stations = {station.station_id: station} if station else {}
    item = _item(incident, stations, draft.recorded_at, moment)
    assert item is not None
    return schemas.IncidentAnswer(**dict(item), as_of=draft.as_of(moment))


def no_incident() -> Problem:
    return not_found("问题记录", "incident", "incident.not_found")

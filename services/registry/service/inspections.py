"""Inspections: recorded by whoever was there, signed by both departments, seen by whom they concern."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from services.registry import repository
from services.registry import schemas_inspections as schemas
from services.registry.domain import inspections as rules
from services.registry.domain.checklists import check_items, checklist_for, checklists
from services.registry.domain.incidents import check_words
from services.registry.domain.segments import check_ahead
from services.registry.schemas import Label, OneQuery
from services.registry.service import documents
from services.registry.service.access import is_id, may_see, no_station
from services.registry.service.reads import Pin, pin, pin_list
from services.registry.service.recording import Recording, client_term, inspections_term, recording
from shared.auth import Principal
from shared.calendar import shanghai_day
from shared.contracts.programme import Department, Inspection, InspectionStatus, ItemResult, Round, Signature
from shared.contracts.registry import DocumentKind, Station
from shared.db import Database, Read
from shared.problems import Problem, not_found
from shared.standing import at as segment_at
from shared.values import parse_choices, parse_many

Found = tuple[Inspection, datetime]  # and when it was recorded
SIGNERS = {Department.REFORM: "coordinator", Department.INDUSTRY: "reviewer"}  # which role signs for which department


async def record(database: Database, principal: Principal, body: schemas.NewInspection) -> tuple[schemas.InspectionAnswer, bool]:
    """-> (the inspection, whether it is new). Sent again by its device it is answered as it is; anything else under its id is 409."""
    async with recording(database, principal.subject) as draft:
        known = await _under(draft.tx, [client_term(body.client_id)], draft.known)
        if not known:
            return _answer(draft, await _recorded(draft, principal, body), *await _around(draft, body.station_id), body.inspected_at), True
        [before] = known
        if _told(before) != _told(_inspection(draft, principal, body)):
            raise Problem(
                409,
                "inspection.client_id_taken",
                f"此 client_id 已用于检查 {before.inspection_id}，内容不同。",
                f"This client_id is that of inspection {before.inspection_id}, which says something else.",
            )
        draft.unchanged = True
    return await show(database, principal, before.inspection_id, OneQuery(valid_at=body.inspected_at)), False


def _told(inspection: Inspection) -> tuple[object, ...]:
    i = inspection
    return i.station_id, i.checklist, i.round, i.follows, i.items, i.segments[0].valid_from


async def _recorded(draft: Recording, principal: Principal, body: schemas.NewInspection) -> Inspection:
    rules.check_past(body.inspected_at, draft.recorded_at)
    station = await repository.one(draft.tx, Station, body.station_id, draft.known)
    if station is None or not may_see(principal, station) or segment_at(station.segments, body.inspected_at) is None:
        raise no_station()
    checklist = checklist_for(body.checklist, station.level)
    earlier = await repository.one(draft.tx, Inspection, body.follows, draft.known) if body.follows else None
    if body.follows and earlier is None:
        raise no_inspection()
    inspection = _inspection(draft, principal, body)
    others = await of_station(draft.tx, station.station_id, draft.known)
    check_items(checklist, inspection.items, rules.check_follows(earlier, others, inspection) if earlier else None)
    for i, item in enumerate(inspection.items):
        if item.note:
            check_words(item.note, f"/items/{i}/note")
        for j, document_id in enumerate(item.evidence):
            await documents.check(draft.tx, principal, document_id, f"/items/{i}/evidence/{j}", DocumentKind.PHOTO, DocumentKind.OTHER)
    return draft.put(inspection)


def _inspection(draft: Recording, principal: Principal, body: schemas.NewInspection) -> Inspection:
    return Inspection(
        version=0,
        inspection_id=f"ins_{draft.revision}",
        client_id=body.client_id,
        station_id=body.station_id,
        checklist=body.checklist,
        round=body.round,
        inspector=principal.subject,
        follows=body.follows,
        items=tuple(ItemResult(item=i.item, verdict=i.verdict, value=i.value, note=i.note, evidence=tuple(i.evidence)) for i in body.items),
        signatures=(),
        segments=rules.recorded(body.inspected_at),
    )


async def sign(database: Database, principal: Principal, inspection_id: str, body: schemas.NewSignature) -> schemas.InspectionAnswer:
    role = SIGNERS[body.department]
    if role not in principal.roles:
        raise Problem(
            403,
            "signature.other_department",
            f"该部门由 {role} 角色签字。",
            f"For that department somebody of role {role} signs.",
        )
    async with recording(database, principal.subject) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        inspection, station, others = await _existing(draft, principal, inspection_id)
        if found := rules.contradicted(inspection, others):
            ids = ", ".join(found)
            raise Problem(
                409,
                "inspection.conflict",
                f"同一轮次的检查 {ids} 结论不同，请先撤回其中不对的。",
                f"{ids} of the same round saw it differently: withdraw what is wrong first.",
            )
        signature = Signature(
            department=body.department,
            signer=principal.subject,
            result=body.result,
            rectify_by=body.rectify_by,
            signed_at=body.effective_at,
        )
        signed = draft.put(rules.signed(inspection, signature))
        return _answer(draft, signed, station, others, body.effective_at)


async def withdraw(database: Database, principal: Principal, inspection_id: str, body: schemas.Withdrawal) -> schemas.InspectionAnswer:
    async with recording(database, principal.subject, body.reason) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        check_words(body.reason, "/reason")
        inspection, station, others = await _existing(draft, principal, inspection_id)
        withdrawn = draft.put(rules.withdrawn(inspection, body.effective_at, body.reason))
        return _answer(draft, withdrawn, station, others, body.effective_at)


async def _existing(draft: Recording, principal: Principal, inspection_id: str) -> tuple[Inspection, Station, list[Inspection]]:
    """The inspection, its station, and every inspection of the station."""
    found = await repository.one(draft.tx, Inspection, inspection_id, draft.known) if is_id(inspection_id) else None
    if found is None:
        raise no_inspection()
    station, others = await _around(draft, found.station_id)
    if not may_see(principal, station):
        raise no_inspection()
    return found, station, others


async def _around(draft: Recording, station_id: str) -> tuple[Station, list[Inspection]]:
    station = await repository.one(draft.tx, Station, station_id, draft.known)
    assert station is not None  # nothing is ever deleted
    return station, await of_station(draft.tx, station_id, draft.known)


async def of_station(read: Read, station_id: str, revision: int) -> list[Inspection]:
    return await _under(read, [inspections_term(station_id)], revision)


async def of_stations(read: Read, station_ids: Iterable[str], revision: int) -> dict[str, list[Inspection]]:
    """Station -> its inspections, in order of recording."""
    return _by_station(await _under(read, [inspections_term(s) for s in station_ids], revision))


async def _under(read: Read, terms: Sequence[str], revision: int) -> list[Inspection]:
    return [i for _, i, _ in await repository.under(read, Inspection, terms, revision) if i] if terms else []


async def show(database: Database, principal: Principal, inspection_id: str, query: OneQuery) -> schemas.InspectionAnswer:
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        found = await repository.found_one(read, Inspection, inspection_id, at.revision.revision) if is_id(inspection_id) else None
        if found is None or not isinstance(found.record, Inspection):
            raise no_inspection()
        [station] = await repository.some(read, Station, [found.record.station_id], at.revision.revision)
        others = await of_station(read, station.station_id, at.revision.revision)
    item = _item(found.record, station, others, found.recorded_at, at.moment) if may_see(principal, station) else None
    if item is None:
        raise no_inspection()
    return schemas.InspectionAnswer(**dict(item), as_of=at.as_of())


async def inspections(database: Database, principal: Principal, query: schemas.InspectionQuery) -> schemas.InspectionList:
    statuses = parse_choices("status", query.status, list(InspectionStatus))
    rounds = parse_choices("round", query.round, list(Round))
    used = parse_choices("checklist", query.checklist, list(checklists()))
    townships = parse_many(query.township_code)
    async with database.read() as read:
        at = await pin_list(read, query)
        found, stations = await _visible(read, principal, at, query.station_id)
    wanted = [
        (i, when)
        for i, when in found
        if (then := rules.status_at(i, at.moment))
        and (statuses is None or then.status in statuses)
        and (rounds is None or i.round in rounds)
        and (used is None or i.checklist in used)
        and (townships is None or _township(stations[i.station_id], at.moment) in townships)
    ]
    page, cursor = at.page(wanted, query.limit)
    return schemas.InspectionList(items=_items(page, found, stations, at.moment), next_cursor=cursor, as_of=at.as_of())


def _township(station: Station, moment: datetime) -> str | None:
    segment = segment_at(station.segments, moment)
    return segment.township_code if segment else None


def _items(
    page: Iterable[Found], found: Iterable[Found], stations: Mapping[str, Station], moment: datetime
) -> list[schemas.InspectionItem]:
    """What had taken place by then; each beside the others of its occasion."""
    occasions: dict[object, list[Inspection]] = {}
    for inspection, _ in found:
        occasions.setdefault(rules.occasion(inspection), []).append(inspection)
    shown = (_item(i, stations[i.station_id], occasions[rules.occasion(i)], when, moment) for i, when in page)
    return [item for item in shown if item]


async def seen(read: Read, principal: Principal, at: Pin) -> list[schemas.InspectionItem]:
    """Whatever the caller may see, in order of recording."""
    found, stations = await _visible(read, principal, at, None)
    return _items(found, found, stations, at.moment)


def _by_station(inspections: Iterable[Inspection]) -> dict[str, list[Inspection]]:
    found: dict[str, list[Inspection]] = {}
    for inspection in inspections:
        found.setdefault(inspection.station_id, []).append(inspection)
    return found


async def _visible(read: Read, principal: Principal, at: Pin, station_id: str | None) -> tuple[list[Found], dict[str, Station]]:
    """-> (the inspections, their stations)"""
    term = inspections_term(station_id) if station_id else repository.kind_term("inspection")
    found = [(i, when) for _, i, when in await repository.under(read, Inspection, [term], at.revision.revision) if i]
    ids = {i.station_id for i, _ in found}
    stations = {s.station_id: s for s in await repository.some(read, Station, ids, at.revision.revision) if may_see(principal, s)}
    return [(i, when) for i, when in found if i.station_id in stations], stations


async def rectifications(database: Database, principal: Principal, query: schemas.RectificationQuery) -> schemas.RectificationList:
    townships = parse_many(query.township_code)
    async with database.read() as read:
        at = await pin_list(read, query)
        items = await tasks(read, principal, at, query.station_id)
    wanted = [item for item in items if query.status in (None, item.status) and (townships is None or item.township_code in townships)]
    page, cursor = at.page(wanted, query.limit)
    return schemas.RectificationList(items=page, next_cursor=cursor, as_of=at.as_of())


async def tasks(read: Read, principal: Principal, at: Pin, station_id: str | None) -> list[schemas.RectificationItem]:
    """What has to be put right, the longest overdue first."""
    found, stations = await _visible(read, principal, at, station_id)
    by_station = _by_station(i for i, _ in found)
    items = [_task(task, stations[id_], at.moment) for id_, of in by_station.items() for task in rules.tasks(of, at.moment)]
    return sorted(items, key=lambda i: (i.due_on, i.station_id, i.item))


def _task(task: rules.Task, station: Station, moment: datetime) -> schemas.RectificationItem:
    segment = segment_at(station.segments, moment)
    late = task.due_on < shanghai_day(moment)
    return schemas.RectificationItem(
        station_id=station.station_id,
        station_name=segment.name if segment else None,
        township_code=segment.township_code if segment else None,
        inspection_id=task.inspection.inspection_id,
        item=task.item.item,
        label=_label(task.inspection.checklist, task.item.item),
        due_on=task.due_on,
        status="done" if task.done_by else "overdue" if late else "open",
        done_by=task.done_by.inspection_id if task.done_by else None,
        done_at=task.done_at,
    )


def _item(
    inspection: Inspection, station: Station, others: Iterable[Inspection], recorded_at: datetime, moment: datetime
) -> schemas.InspectionItem | None:
    """None: it had not taken place by then."""
    then = rules.status_at(inspection, moment)
    if then is None:
        return None
    segment = segment_at(station.segments, moment)
    return schemas.InspectionItem(
        inspection_id=inspection.inspection_id,
        client_id=inspection.client_id,
        station_id=inspection.station_id,
        station_name=segment.name if segment else None,
        township_code=segment.township_code if segment else None,
        checklist=inspection.checklist,
        round=inspection.round,
        inspector=inspection.inspector,
        inspected_at=inspection.segments[0].valid_from,
        follows=inspection.follows,
        items=[
            schemas.FoundItem(
                item=i.item,
                label=_label(inspection.checklist, i.item),
                verdict=i.verdict,
                value=i.value,
                note=i.note,
                evidence=list(i.evidence),
            )
            for i in inspection.items
        ],
        signatures=[
            schemas.SignatureItem(department=s.department, signer=s.signer, result=s.result, rectify_by=s.rectify_by, signed_at=s.signed_at)
            for s in rules.signatures_at(inspection, moment)
        ],
        status=then.status,
        rectify_by=then.rectify_by,
        reason=then.reason,
        conflicts=[
            schemas.ConflictItem(inspection_id=id_, items=differing)
            for id_, differing in rules.conflicts(inspection, others, moment).items()
        ],
        valid_from=then.valid_from,
        recorded_at=recorded_at,
        version=inspection.version,
    )


def _label(checklist: str, item: str) -> Label:
    found = next(i for i in checklists()[checklist].items if i.item == item)
    return Label(zh=found.zh, en=found.en)


def _answer(
    draft: Recording, inspection: Inspection, station: Station, others: Iterable[Inspection], moment: datetime
) -> schemas.InspectionAnswer:
    item = _item(inspection, station, others, draft.recorded_at, moment)
    assert item is not None
    return schemas.InspectionAnswer(**dict(item), as_of=draft.as_of(moment))


def no_inspection() -> Problem:
    return not_found("检查记录", "inspection", "inspection.not_found")


def checklist_items() -> schemas.ChecklistList:
    return schemas.ChecklistList(
        items=[
            schemas.ChecklistItem(
                checklist=c.checklist,
                level=c.level,
                edition=c.edition,
                title=Label(zh=c.title.zh, en=c.title.en),
                basis=c.basis,
                source=c.source,
                note=Label(zh=c.note.zh, en=c.note.en),
                items=[
                    schemas.CriterionItem(item=i.item, label=Label(zh=i.zh, en=i.en), unit=i.unit, at_least=i.at_least) for i in c.items
                ],
            )
            for c in checklists().values()
        ]
    )

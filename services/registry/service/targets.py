"""Progress of a programme, with its evidence, as of any moment and as known at any revision."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from services.registry import repository
from services.registry import schemas_targets as schemas
from services.registry.domain import progress as rules
from services.registry.domain.checklists import checklists
from services.registry.domain.divisions import short_name
from services.registry.domain.inspections import of_round, status_at
from services.registry.schemas import Label
from services.registry.service import inspections
from services.registry.service.access import is_id, may_see, seen
from services.registry.service.programmes import dues_of, no_programme
from services.registry.service.reads import Pin, pin
from services.registry.service.recording import level_term
from shared.auth import Principal
from shared.calendar import shanghai_day
from shared.contracts.programme import InspectionRound, Programme, Target
from shared.contracts.registry import Division, Level, Station
from shared.db import Database, Read
from shared.standing import at as segment_at

# What a place lacks, as its officials read it; `station.…`, `filing.…` and `inspection.…` carry the status.
LACKS = {
    "station.none": ("尚未登记站点", "No station is registered"),
    "station.planned": ("站点筹建中", "The station is planned"),
    "station.suspended": ("站点暂停营业", "The station is suspended"),
    "station.closed": ("站点已关闭", "The station is closed"),
    "filing.none": ("没有末端备案", "Nothing has been filed"),
    "filing.draft": ("备案尚未提交", "The filing is a draft"),
    "filing.submitted": ("备案已提交，待回执", "The filing is submitted, without a receipt"),
    "filing.correction_requested": ("备案须补正", "The filing is to be corrected"),
    "filing.resubmitted": ("备案已补正，待回执", "The filing is resubmitted, without a receipt"),
    "filing.lapsed": ("备案已失效", "The filing has lapsed"),
    "filing.cancelled": ("备案已注销", "The filing is cancelled"),
    "filing.expired": ("备案已到期", "The filing has expired"),
    "filing.suspended": ("备案暂停", "The filing is suspended"),
    "inspection.none": ("尚未通过两部门验收", "No inspection is signed by both departments"),
    "inspection.rectify": ("限期整改中", "It is to be rectified"),
    "inspection.failed": ("验收未通过", "The inspection was failed"),
}


Names = dict[str, tuple[str, str | None]]  # division -> its name, and the township that it is in or is


async def targets(database: Database, principal: Principal, query: schemas.TargetQuery) -> schemas.TargetAnswer:
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        return await progress(read, principal, at, query.programme_id)


async def progress(read: Read, principal: Principal, at: Pin, programme_id: str | None) -> schemas.TargetAnswer:
    programme = await _programme(read, at, programme_id)
    given = await _given(read, programme, at)
    names = await _names(read, programme, at)
    own = principal.claim_kind in ("township", "operator")
    levels: list[schemas.LevelProgress] = []
    periods: dict[Level, list[rules.Period]] = {}
    for target in programme.targets:
        periods[target.level] = rules.counted(programme, target, given)
        places = [p for p in rules.places(programme, target, given, at.moment) if _may_see(principal, p, names)]
        done = sum(p.done for p in places) if own else rules.done_at(periods[target.level], at.moment)
        levels.append(
            schemas.LevelProgress(
                level=target.level,
                counts=target.counts,
                count=len(places) if own else target.count,
                nominated=len(places),
                done=done,
                starts_on=target.starts_on,
                dues=dues_of(target),
                forecast=None if own else _forecast(target, periods[target.level], at.moment),
                items=[_place(p, names, principal) for p in places],
            )
        )
    gates = [] if own else [_gate(state) for state in rules.gates(programme, periods, at.moment)]
    return schemas.TargetAnswer(
        programme_id=programme.programme_id,
        year=programme.year,
        name=programme.name,
        nominate_by=programme.nominate_by,
        levels=levels,
        gates=gates,
        as_of=at.as_of(),
    )


async def plan(database: Database, principal: Principal, query: schemas.PlanQuery) -> schemas.PlanAnswer:
    """Which places each round is to look at, and what has come of it."""
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        programme = await _programme(read, at, query.programme_id)
        given, names = await _given(read, programme, at), await _names(read, programme, at)
    items = [
        _planned(planned, place, given, names, at.moment)
        for planned in programme.rounds
        if query.round in (None, planned.round)
        for target in programme.targets
        for place in rules.places(programme, target, given, at.moment)
        if _may_see(principal, place, names)
    ]
    wanted = [item for item in items if query.status in (None, item.status)]
    return schemas.PlanAnswer(programme_id=programme.programme_id, items=wanted, as_of=at.as_of())


def _planned(planned: InspectionRound, place: rules.Place, given: rules.Given, names: Names, moment: datetime) -> schemas.PlannedItem:
    nomination = place.nomination
    there = {s.station_id: s for s in rules.stations_of(nomination, given)}
    looked_at = [inspection for station_id in there for inspection in given.inspections.get(station_id, ())]
    found = of_round(looked_at, planned.round, planned.first_day.year, moment)
    station = there[found.station_id] if found else place.station
    segment = segment_at(station.segments, moment) if station else None
    then = status_at(found, moment) if found else None
    late = shanghai_day(moment) > planned.last_day
    return schemas.PlannedItem(
        round=planned.round,
        first_day=planned.first_day,
        last_day=planned.last_day,
        nomination_id=nomination.nomination_id,
        level=nomination.level,
        division_code=nomination.division_code,
        division_name=names[nomination.division_code][0],
        station_id=station.station_id if station else None,
        station_name=segment.name if segment else None,
        checklist=next(c.checklist for c in checklists().values() if c.level is nomination.level),
        inspection_id=found.inspection_id if found else None,
        status=then.status if then else "overdue" if late else "planned",
    )


async def _programme(read: Read, at: Pin, programme_id: str | None) -> Programme:
    found: Programme | None
    if programme_id is not None:
        found = await repository.one(read, Programme, programme_id, at.revision.revision) if is_id(programme_id) else None
    else:
        year = shanghai_day(at.moment).year
        known = [p for p, _ in await repository.every(read, Programme, at.revision.revision) if p.year <= year]
        found = max(known, key=lambda p: p.year, default=None)
    if found is None:
        raise no_programme()
    return found


async def _given(read: Read, programme: Programme, at: Pin) -> rules.Given:
    """The stations that may count for one of its places, and their inspections."""
    revision = at.revision.revision
    ids = {n.station_id for n in programme.nominations if n.station_id}
    terms = sorted({level_term(n.level, n.division_code) for n in programme.nominations if n.station_id is None})
    found = {s.station_id: s for s in await repository.some(read, Station, ids, revision)} if ids else {}
    found |= {id_: s for id_, s, _ in await repository.under(read, Station, terms, revision) if s} if terms else {}
    return rules.Given(found, await inspections.of_stations(read, found, revision))


async def _names(read: Read, programme: Programme, at: Pin) -> Names:
    codes = {n.division_code for n in programme.nominations}
    found: Names = {}
    for division in await repository.some(read, Division, codes, at.revision.revision):
        segment = segment_at(division.segments, at.moment) or division.segments[-1]
        township = segment.parent_code if segment.kind in ("village", "community") else division.code
        found[division.code] = short_name(segment.name, segment.kind), township
    return found


def _may_see(principal: Principal, place: rules.Place, names: Names) -> bool:
    """A township its own places, an operator those of its own stations; the plan itself is no secret."""
    match principal.claim_kind:
        case "township":
            return names[place.nomination.division_code][1] == principal.claim
        case "operator":
            return place.station is not None and may_see(principal, place.station)
        case _:
            return True


def _place(place: rules.Place, names: Names, principal: Principal) -> schemas.PlaceItem:
    """To a tenant without its station and evidence where it may not see them; whether the place counts is no secret."""
    nomination, own = place.nomination, seen(principal, place.station) if place.station else None
    filing, segment = place.filing if own and place.filing and place.filing[0] in own.filings else (None, None)
    return schemas.PlaceItem(
        nomination_id=nomination.nomination_id,
        level=nomination.level,
        division_code=nomination.division_code,
        division_name=names[nomination.division_code][0],
        station_id=own.station_id if own else None,
        station_name=place.segment.name if own and place.segment else None,
        done=place.done,
        since=place.since,
        evidence=schemas.Evidence(
            filing_id=filing.filing_id if filing else None,
            receipt_no=segment.receipt_no if segment else None,
            authority=filing.authority if filing else None,
            filing_status=segment.status if segment else None,
            inspection_id=place.inspection.inspection_id if own and place.inspection else None,
        ),
        missing=_lacks(place.missing),
    )


def _lacks(codes: Iterable[str]) -> list[schemas.Lack]:
    return [schemas.Lack(code=code, label=Label(zh=LACKS[code][0], en=LACKS[code][1])) for code in codes]


def _forecast(target: Target, periods: Sequence[rules.Period], moment: datetime) -> schemas.ForecastItem | None:
    found = rules.forecast(target, periods, moment)
    if found is None:
        return None
    in_time = found.complete_on is not None and found.complete_on <= target.dues[-1].due_on
    return schemas.ForecastItem(per_month=found.per_month, complete_on=found.complete_on, in_time=in_time)


def _gate(state: rules.GateState) -> schemas.GateProgress:
    return schemas.GateProgress(
        gate=state.gate.gate,
        level=state.level,
        due_on=state.gate.due_on,
        percent=state.gate.percent,
        count=state.total,
        needed=state.needed,
        done=state.done,
        met=state.met,
        met_on=state.met_on,
        source=state.gate.source,
        quote=state.gate.quote,
    )

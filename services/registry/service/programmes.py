"""Writes and reads of programmes and their lists of places."""

from datetime import datetime

from msgspec.structs import replace

from services.registry import repository
from services.registry import schemas_targets as schemas
from services.registry.domain import programmes as rules
from services.registry.domain import stations as station_rules
from services.registry.domain.incidents import check_words
from services.registry.domain.segments import check_ahead
from services.registry.schemas import DatedQuery
from services.registry.service.access import is_id, no_station
from services.registry.service.reads import pin, pin_list
from services.registry.service.recording import Recording, recording
from shared.calendar import shanghai_day
from shared.contracts.programme import Due, Gate, InspectionRound, Nomination, Programme, Round, Target
from shared.contracts.registry import Division, Station
from shared.db import Database
from shared.problems import Problem, invalid, not_found
from shared.standing import at as segment_at


async def create(database: Database, actor: str, body: schemas.NewProgramme) -> schemas.ProgrammeAnswer:
    async with recording(database, actor) as draft:
        for other, _ in await repository.every(draft.tx, Programme, draft.known):
            if other.year == body.year:
                raise Problem(
                    409,
                    "programme.exists",
                    f"{body.year} 年已有方案 {other.programme_id}，请变更它。",
                    f"There is a programme of {body.year}: change {other.programme_id}.",
                )
        programme = programme_of(f"prg_{draft.revision}", body)
        rules.check_plan(programme)
        return _answer(draft, draft.put(programme))


def programme_of(programme_id: str, body: schemas.NewProgramme) -> Programme:
    """Not recorded yet (version 0)."""
    return Programme(
        version=0,
        programme_id=programme_id,
        year=body.year,
        name=body.name,
        nominate_by=body.nominate_by,
        targets=tuple(map(_target, body.targets)),
        gates=tuple(map(_gate, body.gates)),
        rounds=tuple(map(_round, body.rounds)),
    )


def _target(given: schemas.GivenTarget) -> Target:
    dues = (Due(due_on=d.due_on, source=d.source, quote=d.quote) for d in given.dues)
    by_day = tuple(sorted(dues, key=lambda d: d.due_on))
    return Target(level=given.level, count=given.count, counts=given.counts, starts_on=given.starts_on, dues=by_day)


def _gate(given: schemas.GivenGate) -> Gate:
    levels = tuple(dict.fromkeys(given.levels))
    return Gate(
        gate=given.gate, due_on=given.due_on, percent=given.percent, of=given.of, levels=levels, source=given.source, quote=given.quote
    )


def _round(given: schemas.GivenRound) -> InspectionRound:
    return InspectionRound(
        round=Round(given.round), first_day=given.first_day, last_day=given.last_day, source=given.source, quote=given.quote
    )


async def change(database: Database, actor: str, programme_id: str, body: schemas.ProgrammeChange) -> schemas.ProgrammeAnswer:
    given = body.model_fields_set - {"reason"}
    if not given:
        raise invalid("", "patch.empty", "请至少给出一个要变更的字段。", "Name at least one field to change.")
    async with recording(database, actor, body.reason) as draft:
        old = await _existing(draft, programme_id)
        new = replace(
            old,
            name=body.name if "name" in given else old.name,
            nominate_by=body.nominate_by if "nominate_by" in given else old.nominate_by,
            targets=tuple(map(_target, body.targets)) if "targets" in given else old.targets,
            gates=tuple(map(_gate, body.gates)) if "gates" in given else old.gates,
            rounds=tuple(map(_round, body.rounds)) if "rounds" in given else old.rounds,
        )
        rules.check_plan(new)
        return _answer(draft, draft.put(new))


async def nominate(database: Database, actor: str, programme_id: str, body: schemas.NewNomination) -> schemas.ProgrammeAnswer:
    async with recording(database, actor, body.reason) as draft:
        programme = await _existing(draft, programme_id)
        _check(body.effective_at, body.reason, draft)
        division = await repository.one(draft.tx, Division, body.division_code, draft.known)
        station_rules.place(body.level, body.division_code, division, body.effective_at)
        if body.station_id is not None:
            await _check_station(draft, body.station_id, body)
        new = Nomination(
            nomination_id=f"nom_{draft.revision}",
            level=body.level,
            division_code=body.division_code,
            station_id=body.station_id,
            valid_from=body.effective_at,
            valid_to=None,
            reason=body.reason,
        )
        return _answer(draft, draft.put(rules.nominated(programme, new, shanghai_day(draft.recorded_at))))


async def strike(
    database: Database, actor: str, programme_id: str, nomination_id: str, body: schemas.NominationEnd
) -> schemas.ProgrammeAnswer:
    async with recording(database, actor, body.reason) as draft:
        programme = await _existing(draft, programme_id)
        _check(body.effective_at, body.reason, draft)
        struck = rules.struck(programme, nomination_id, body.effective_at, body.reason, shanghai_day(draft.recorded_at))
        if struck is None:
            raise not_found("名单条目", "nomination", "nomination.not_found")
        return _answer(draft, draft.put(struck))


def _check(moment: datetime, reason: str | None, draft: Recording) -> None:
    check_ahead(moment, draft.recorded_at, "/effective_at")
    if reason:
        check_words(reason, "/reason")


async def _check_station(draft: Recording, station_id: str, body: schemas.NewNomination) -> None:
    station = await repository.one(draft.tx, Station, station_id, draft.known)
    segment = segment_at(station.segments, body.effective_at) if station else None
    if station is None or segment is None:
        raise no_station()
    if station.level is not body.level or body.division_code not in station_rules.places_of(segment):
        raise Problem(
            409,
            "nomination.station_elsewhere",
            "该站点当时不在所填区划，或级别不同。",
            "That station was not in that division then, or is of another level.",
        )


async def _existing(draft: Recording, programme_id: str) -> Programme:
    programme = await repository.one(draft.tx, Programme, programme_id, draft.known) if is_id(programme_id) else None
    if programme is None:
        raise no_programme()
    return programme


async def programme(database: Database, programme_id: str, query: schemas.KnownQuery) -> schemas.ProgrammeAnswer:
    async with database.read() as read:
        at = await pin(read, None, query.known_at)
        found = await repository.found_one(read, Programme, programme_id, at.revision.revision) if is_id(programme_id) else None
    if found is None or not isinstance(found.record, Programme):
        raise no_programme()
    return schemas.ProgrammeAnswer(**dict(_item(found.record, found.recorded_at)), as_of=at.as_of())


async def programmes(database: Database, query: schemas.ProgrammeQuery) -> schemas.ProgrammeList:
    async with database.read() as read:
        at = await pin_list(read, DatedQuery(known_at=query.known_at, cursor=query.cursor))
        found = await repository.every(read, Programme, at.revision.revision)
    items = [_item(p, when) for p, when in sorted(found, key=lambda pair: pair[0].year) if query.year in (None, p.year)]
    page, cursor = at.page(items, query.limit)
    return schemas.ProgrammeList(items=page, next_cursor=cursor, as_of=at.as_of())


def _item(programme: Programme, recorded_at: datetime) -> schemas.ProgrammeItem:
    return schemas.ProgrammeItem(
        programme_id=programme.programme_id,
        year=programme.year,
        name=programme.name,
        nominate_by=programme.nominate_by,
        targets=[
            schemas.TargetItem(level=t.level, count=t.count, counts=t.counts, starts_on=t.starts_on, dues=dues_of(t))
            for t in programme.targets
        ],
        gates=[
            schemas.GateItem(
                gate=g.gate, due_on=g.due_on, percent=g.percent, of=g.of, levels=list(g.levels), source=g.source, quote=g.quote
            )
            for g in programme.gates
        ],
        rounds=[
            schemas.RoundItem(round=r.round, first_day=r.first_day, last_day=r.last_day, source=r.source, quote=r.quote)
            for r in programme.rounds
        ],
        nominations=[
            schemas.NominationItem(
                nomination_id=n.nomination_id,
                level=n.level,
                division_code=n.division_code,
                station_id=n.station_id,
                valid_from=n.valid_from,
                valid_to=n.valid_to,
                reason=n.reason,
                ended_because=n.ended_because,
            )
            for n in programme.nominations
        ],
        recorded_at=recorded_at,
        version=programme.version,
    )


def dues_of(target: Target) -> list[schemas.DueItem]:
    return [schemas.DueItem(due_on=d.due_on, source=d.source, quote=d.quote) for d in target.dues]


def _answer(draft: Recording, programme: Programme) -> schemas.ProgrammeAnswer:
    return schemas.ProgrammeAnswer(**dict(_item(programme, draft.recorded_at)), as_of=draft.as_of(draft.recorded_at))


def no_programme() -> Problem:
    return not_found("方案", "programme", "programme.not_found")

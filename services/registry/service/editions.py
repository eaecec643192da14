"""A new edition of the county's divisions, in one position of the log; without `dry_run=false` only what it would change."""

from collections.abc import Iterable, Mapping

from services.registry import repository
from services.registry import schemas_editions as schemas
from services.registry.domain import editions as rules
from services.registry.domain.segments import check_ahead
from services.registry.service import reads
from services.registry.service.recording import place_term, recording
from shared.contracts.registry import Division, DivisionSegment, Station
from shared.db import Database, Read
from shared.problems import FieldError, Problem
from shared.tables import Unreadable, cells, clock, must_be
from shared.values import AsOf

VILLAGES = ("village", "community")


async def take(database: Database, actor: str, data: bytes, format_: str, query: schemas.EditionQuery) -> schemas.EditionAnswer:
    """Raises Problem 422 for a table with a flaw: half an edition is none."""
    table = _table(data, format_)
    async with recording(database, actor, f"{query.source} (edition {query.edition})") as draft:
        check_ahead(query.effective_at, draft.recorded_at, "#query/effective_at")
        known = [d for d, _ in await repository.every(draft.tx, Division, draft.known)]
        found = rules.changes(known, table, query.edition, query.effective_at)
        standing = {change.division.code: await _standing(draft.tx, change, draft.known, query) for change in found}
        items = [_item(change, standing[change.division.code]) for change in found]
        for change in found:
            draft.put(change.division)
        for station in _resettled(found, standing, query):
            draft.put(station)
        as_of = draft.as_of(query.effective_at)
        if query.dry_run or not found:
            draft.unchanged = True
            as_of = (await reads.pin(draft.tx, query.effective_at, None)).as_of()
    counts = {what: sum(change.what is what for change in found) for what in rules.What}
    return schemas.EditionAnswer(
        dry_run=query.dry_run, counts=schemas.EditionCounts(rows=len(table), **counts), items=items, as_of=AsOf(**dict(as_of))
    )


def _table(data: bytes, format_: str) -> list[rules.Row]:
    try:
        must_be(data, format_)
        table, flaws = rules.rows(cells(data, format_, clock))
    except Unreadable as e:
        raise Problem(422, e.code, f"{e.zh}。", f"{e.en}.") from None
    if flaws:
        errors = [FieldError(f"/rows/{flaw.row_no}/{flaw.column}", flaw.code, flaw.zh, flaw.en) for flaw in flaws[:100]]
        raise Problem(
            422,
            "edition.invalid",
            "表格有误，未作任何变更；见 errors。",
            "The table has flaws, and nothing was changed; see errors.",
            errors,
        )
    return table


async def _standing(read: Read, change: rules.Change, revision: int, query: schemas.EditionQuery) -> list[Station]:
    code = change.division.code
    found = await repository.under(read, Station, [place_term(code)], revision)
    return [station for _, station, _ in found if station and rules.standing_in(station, code, query.effective_at)]


def _resettled(found: Iterable[rules.Change], standing: Mapping[str, list[Station]], query: schemas.EditionQuery) -> list[Station]:
    """The stations of villages that lie in another township now; one that stood in several of them changes once."""
    changed: dict[str, Station] = {}
    for change in found:
        if change.after and change.before and change.after.parent_code != change.before.parent_code and change.after.kind in VILLAGES:
            for station in standing[change.division.code]:
                now = changed.get(station.station_id, station)
                moved = rules.resettled(now, change.division.code, change.after.parent_code or "", query.effective_at)
                if moved != now:
                    changed[station.station_id] = moved
    return list(changed.values())


def _item(change: rules.Change, standing: Iterable[Station]) -> schemas.DivisionChange:
    return schemas.DivisionChange(
        code=change.division.code,
        change=change.what,
        before=_state(change.before),
        after=_state(change.after),
        stations=[s.station_id for s in standing],
    )


def _state(segment: DivisionSegment | None) -> schemas.DivisionState | None:
    return schemas.DivisionState(name=segment.name, kind=segment.kind, parent_code=segment.parent_code) if segment else None

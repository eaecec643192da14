"""A new edition of the county's divisions, in one position of the log; without `dry_run=false` only what it would change."""

from services.registry import repository
from services.registry import schemas_editions as schemas
from services.registry.domain import editions as rules
from services.registry.domain.segments import check_ahead
from services.registry.service import reads
from services.registry.service.recording import place_term, recording
from shared.contracts.registry import Division, DivisionSegment, Station
from shared.db import Database, Read
from shared.problems import FieldError, Problem
from shared.standing import at as segment_at
from shared.tables import Unreadable, cells, clock, must_be
from shared.values import AsOf


async def take(database: Database, actor: str, data: bytes, format_: str, query: schemas.EditionQuery) -> schemas.EditionAnswer:
    """Raises Problem 422 for a table with a flaw: half an edition is none."""
    table = _table(data, format_)
    async with recording(database, actor, f"{query.source} (edition {query.edition})") as draft:
        check_ahead(query.effective_at, draft.recorded_at, "#query/effective_at")
        known = [d for d, _ in await repository.every(draft.tx, Division, draft.known)]
        found = rules.changes(known, table, query.edition, query.effective_at)
        items = [await _item(draft.tx, change, draft.known, query) for change in found]
        for change in found:
            draft.put(change.division)
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


async def _item(read: Read, change: rules.Change, revision: int, query: schemas.EditionQuery) -> schemas.DivisionChange:
    found = await repository.under(read, Station, [place_term(change.division.code)], revision)
    standing = [
        id_
        for id_, station, _ in found
        if station
        and (then := segment_at(station.segments, query.effective_at))
        and change.division.code in (then.division_code, then.township_code)
    ]
    return schemas.DivisionChange(
        code=change.division.code, change=change.what, before=_state(change.before), after=_state(change.after), stations=standing
    )


def _state(segment: DivisionSegment | None) -> schemas.DivisionState | None:
    return schemas.DivisionState(name=segment.name, kind=segment.kind, parent_code=segment.parent_code) if segment else None

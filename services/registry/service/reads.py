"""Reads: one snapshot per answer, at a stored revision and a moment of the world; a page pins both."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from services.registry import repository, schemas
from services.registry import schemas_filings as of_filings
from services.registry.domain.history import Row, filing_rows
from services.registry.domain.inspections import standard_at
from services.registry.domain.search import meant
from services.registry.repository import Revision
from services.registry.service import shown
from services.registry.service.access import is_id, no_operator, no_station, seen
from services.registry.service.recording import brand_term, inspections_term, operator_term, place_term
from shared.auth import Principal
from shared.contracts.programme import Inspection, InspectionSegment, InspectionStatus
from shared.contracts.registry import DIVISION_KINDS, Division, FilingStatus, Level, OperatingStatus, Operator, OperatorStatus, Station
from shared.contracts.scan import BRANDS
from shared.db import Database, Read
from shared.http import MAX_OFFSET, bad_cursor, decode_cursor, encode_cursor
from shared.problems import invalid
from shared.standing import holds, standing_at
from shared.values import EARLIEST, LATEST, AsOf, parse_choices, parse_many

CHUNK = 1000  # stations that are read at once
MAX_FEATURES = 10_000  # of one map: a county has some hundreds of stations
BEFORE_ALL = Revision(-1, datetime.min.replace(tzinfo=UTC))  # nothing was recorded yet: every list is empty

T = TypeVar("T")


@dataclass(frozen=True)
class Pin:
    """What a read is true of: a revision, a moment, and in a list the place to go on from (so many items, or behind that id)."""

    revision: Revision
    moment: datetime
    offset: int = 0
    after: str | None = None

    def as_of(self) -> AsOf:
        if self.revision is BEFORE_ALL:
            return AsOf(valid_at=self.moment)
        number, recorded_at = self.revision
        return AsOf(valid_at=self.moment, known_at=recorded_at, revision=number, registry_revision=number)

    def page(self, items: Sequence[T], limit: int) -> tuple[list[T], str | None]:
        """-> (one page, the cursor of the next)."""
        end = self.offset + limit
        return list(items[self.offset : end]), self.cursor(end) if end < len(items) else None

    def cursor(self, onwards: int | str) -> str:
        """Of the page that begins after so many items, or behind that id."""
        place = "o" if isinstance(onwards, int) else "a"
        return encode_cursor({"r": self.revision.revision, "v": self.moment.isoformat(), place: onwards})


async def pin(read: Read, valid_at: datetime | None, known_at: datetime | None, known_revision: int | None = None) -> Pin:
    """known_at resolves down to a stored revision; without it, the newest."""
    moment = valid_at or datetime.now(UTC)
    if known_revision is not None:
        revision = await repository.revision_number(read, known_revision)
        if revision is None:
            raise invalid("#query/known_revision", "revision.unknown", "没有这个登记版本。", "The registry has no such revision (yet).")
    else:
        revision = await (repository.revision_at(read, known_at) if known_at else repository.newest(read))
    return Pin(revision or BEFORE_ALL, moment)


async def pin_list(read: Read, query: schemas.DatedQuery, *, by_id: bool = False) -> Pin:
    """The pin of a list: a cursor brings its own. `by_id`: pages follow ids, as where a list is too long to be counted through."""
    if query.cursor is None:
        return await pin(read, query.valid_at, query.known_at)
    number, moment, onwards = _state(decode_cursor(query.cursor))
    revision = BEFORE_ALL if number == -1 else await repository.revision_number(read, number)
    match onwards:
        case int() if revision and not by_id and 0 <= onwards <= MAX_OFFSET:
            return Pin(revision, moment, offset=onwards)
        case str() if revision and by_id and is_id(onwards):
            return Pin(revision, moment, after=onwards)
    raise bad_cursor()


def _state(state: dict[str, Any]) -> tuple[int, datetime, int | str]:
    match state:
        case {"r": int(number), "v": str(text), "o": int(onwards)} | {"r": int(number), "v": str(text), "a": str(onwards)}:
            try:
                moment = datetime.fromisoformat(text)
                if moment.tzinfo and EARLIEST <= moment < LATEST:
                    return number, moment, onwards
            except ValueError:
                pass
    raise bad_cursor()


def in_order(id_: str) -> tuple[int, str]:
    """Ids end in the revision that made them: shorter is earlier."""
    return len(id_), id_


def named(q: str | None, *names: str) -> bool:
    return q is None or meant(q, *names)


async def divisions(database: Database, query: schemas.DivisionQuery) -> schemas.DivisionList:
    parents, kinds = parse_many(query.parent_code), parse_choices("kind", query.kind, DIVISION_KINDS)
    async with database.read() as read:
        at = await pin_list(read, query)
        found = await repository.every(read, Division, at.revision.revision)
    items = [
        item
        for division, _ in found
        if (item := shown.division_item(division, at.moment))
        and (parents is None or item.parent_code in parents)
        and (kinds is None or item.kind in kinds)
        and named(query.q, item.name, item.label.en)
    ]
    page, cursor = at.page(items, query.limit)
    return schemas.DivisionList(items=page, next_cursor=cursor, as_of=at.as_of())


async def operators(database: Database, principal: Principal, query: schemas.OperatorQuery) -> schemas.OperatorList:
    own, statuses = principal.tenant("operator"), parse_choices("status", query.status, list(OperatorStatus))
    async with database.read() as read:
        at = await pin_list(read, query)
        found = await repository.every(read, Operator, at.revision.revision)
    items = [
        item
        for operator, recorded_at in found
        if own in (None, operator.operator_id)
        and (item := shown.operator_item(operator, recorded_at, at.moment))
        and (statuses is None or item.status in statuses)
        and named(query.q, item.name)
    ]
    page, cursor = at.page(items, query.limit)
    return schemas.OperatorList(items=page, next_cursor=cursor, as_of=at.as_of())


async def operator(database: Database, principal: Principal, operator_id: str, query: schemas.OneQuery) -> schemas.OperatorAnswer:
    if not is_id(operator_id) or principal.tenant("operator") not in (None, operator_id):
        raise no_operator()
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        found = await repository.found_one(read, Operator, operator_id, at.revision.revision)
    item = shown.operator_item(found.record, found.recorded_at, at.moment) if found and isinstance(found.record, Operator) else None
    if item is None:
        raise no_operator()
    return schemas.OperatorAnswer(**item.model_dump(), as_of=at.as_of())


async def stations(database: Database, principal: Principal, query: schemas.StationQuery) -> schemas.StationList:
    items, at = await filtered(database, principal, query, query.limit + 1)
    cursor = at.cursor(items[query.limit - 1].station_id) if len(items) > query.limit else None
    return schemas.StationList(items=items[: query.limit], next_cursor=cursor, as_of=at.as_of())


async def map_of_stations(database: Database, principal: Principal, query: schemas.MapQuery) -> schemas.StationMap:
    items, at = await filtered(database, principal, schemas.StationQuery.model_validate(query.model_dump()), MAX_FEATURES + 1)
    if len(items) > MAX_FEATURES:
        raise invalid(
            "#query",
            "map.too_large",
            f"站点超过 {MAX_FEATURES} 个，请按乡镇等条件筛选。",
            f"More than {MAX_FEATURES} stations: filter them.",
        )
    return schemas.StationMap(features=[shown.feature(item) for item in items], as_of=at.as_of())


async def filtered(
    database: Database, principal: Principal, query: schemas.StationQuery, limit: int | None = None
) -> tuple[list[schemas.StationItem], Pin]:
    """The first `limit` of them (None: all), in order of registration."""
    wanted, items = _Wanted(query), list[schemas.StationItem]()
    async with database.read() as read:
        at = await pin_list(read, query, by_id=True)
        async for found in walk(read, principal, at, wanted.terms(principal), limit):
            divisions = await shown.divisions_of(read, (s for s, _ in found), at.revision.revision)
            shown_then = (shown.station_item(divisions, station, recorded_at, at.moment) for station, recorded_at in found)
            items += [item for item in shown_then if item and wanted.matches(item)]
            if limit is not None and len(items) >= limit:
                break
    return items[:limit], at


async def walk(
    read: Read, principal: Principal, at: Pin, terms: Sequence[str], first: int | None = None
) -> AsyncIterator[list[tuple[Station, datetime]]]:
    """Whatever the caller may see of the stations under the terms, some at a time: `first` of them first."""
    after, size = at.after, min(first or CHUNK, CHUNK)
    while True:
        found = await repository.under(read, Station, terms, at.revision.revision, after, size)
        yield [(own, recorded_at) for _, station, recorded_at in found if station and (own := seen(principal, station))]
        if len(found) < size:
            return
        after, size = found[-1][0], CHUNK


def terms_of(principal: Principal, places: Sequence[str] | None) -> list[str]:
    """Under which terms the stations of these places stand; None: all that the caller may see."""
    if places:
        return [place_term(code) for code in places]
    if township := principal.tenant("township"):
        return [place_term(township)]
    if operator := principal.tenant("operator"):
        return [operator_term(operator)]
    if brand := principal.tenant("brand"):
        return [brand_term(brand)]
    if principal.tenant("feed"):
        return []
    return [repository.kind_term("station")]


class _Wanted:
    """The filters of a list of stations."""

    def __init__(self, query: schemas.StationQuery) -> None:
        self.q = query.q
        self.brands = parse_choices("brand", query.brand, BRANDS)
        self.fields = {
            "county_code": parse_many(query.county_code),
            "township_code": parse_many(query.township_code),
            "level": parse_choices("level", query.level, list(Level)),
            "filing_status": parse_choices("filing_status", query.filing_status, ["none", *FilingStatus]),
            "operating_status": parse_choices("operating_status", query.operating_status, list(OperatingStatus)),
        }

    def terms(self, principal: Principal) -> list[str]:
        return terms_of(principal, self.fields["township_code"] or self.fields["county_code"])

    def matches(self, item: schemas.StationItem) -> bool:
        return (
            all(values is None or getattr(item, name) in values for name, values in self.fields.items())
            and (self.brands is None or not set(self.brands).isdisjoint(item.brands))
            and named(self.q, item.name)
        )


async def station(database: Database, principal: Principal, station_id: str, query: schemas.OneQuery) -> schemas.StationAnswer:
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        record, recorded_at = await _visible(read, principal, station_id, at)
        divisions = await shown.divisions_of(read, [record], at.revision.revision)
    item = shown.station_item(divisions, record, recorded_at, at.moment)
    if item is None:
        raise no_station()
    return schemas.StationAnswer(**dict(item), as_of=at.as_of())


async def _visible(read: Read, principal: Principal, station_id: str, at: Pin) -> tuple[Station, datetime]:
    found = await repository.found_one(read, Station, station_id, at.revision.revision) if is_id(station_id) else None
    own = seen(principal, found.record) if found and isinstance(found.record, Station) else None
    if found is None or own is None:
        raise no_station()
    return own, found.recorded_at


async def filings(database: Database, principal: Principal, station_id: str, query: of_filings.FilingQuery) -> of_filings.FilingList:
    """Without history: of each filing what held at the moment, as known at the revision."""
    async with database.read() as read:
        at = await pin_list(read, query)
        await _visible(read, principal, station_id, at)
        rows = filing_rows(await repository.past(read, Station, station_id, at.revision.revision))
    if brand := principal.tenant("brand"):
        rows = [r for r in rows if brand in r.filing.covers_brands]
    if not query.history:
        rows = [r for r in rows if r.superseded_at is None and holds(r.segment, at.moment)]
    page, cursor = at.page(sorted(rows, key=_filing_order), query.limit)
    return of_filings.FilingList(station_id=station_id, items=[shown.filing_item(r) for r in page], next_cursor=cursor, as_of=at.as_of())


def _filing_order(row: Row) -> tuple[tuple[int, str], datetime, datetime]:
    return in_order(row.filing.filing_id), row.segment.valid_from, row.recorded_at


async def standing(database: Database, principal: Principal, query: schemas.StandingQuery) -> schemas.StandingAnswer:
    if query.known_at and query.known_revision is not None:
        raise invalid("#query/known_revision", "one_of", "known_at 与 known_revision 只能给一个。", "Give one of the two.")
    if principal.tenant("brand") not in (None, query.brand):
        raise no_station()
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at, query.known_revision)
        record, _ = await _visible(read, principal, query.station_id, at)
        divisions = await shown.divisions_of(read, [record], at.revision.revision)
        inspected = await repository.under(read, Inspection, [inspections_term(record.station_id)], at.revision.revision)
    return _standing(record, divisions, standard_at((i for _, i, _ in inspected if i), at.moment), query, at)


def _standing(
    station: Station,
    divisions: shown.Divisions,
    decided: tuple[Inspection, InspectionSegment] | None,
    query: schemas.StandingQuery,
    at: Pin,
) -> schemas.StandingAnswer:
    found = standing_at(station, divisions, query.brand, at.moment)
    if found is None:
        raise no_station()
    return schemas.StandingAnswer(
        station_id=found.station_id,
        brand=query.brand,
        level=found.level,
        division_code=found.division_code,
        operator_id=found.operator_id,
        operating_status=found.operating_status,
        filed=found.filed,
        filing_id=found.filing_id,
        standard=decided is not None and decided[1].status is InspectionStatus.PASSED,
        inspection_id=decided[0].inspection_id if decided else None,
        segment=schemas.SegmentItem(valid_from=found.valid_from, valid_to=found.valid_to),
        as_of=at.as_of(),
    )

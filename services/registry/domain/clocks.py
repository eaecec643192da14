"""The clocks of the filing regulation: what is due at a moment, since when, and by whom. Pure.

《快递末端网点备案暂行规定》: an outlet is filed within 20 days of its opening (art. 5) and a change within 10 (art. 9), both 日, calendar
days, of the filer; the administration files within 5 工作日 and asks for all corrections at once within 2 (art. 7): told for information,
since the county only mirrors its receipts. The day from which a term runs is not counted.

Ours, where the regulation says nothing (docs/registry-clocks.md): a brand that joins an open outlet is filed within 20 days of joining; so
is one whose filing has ended; no term is put off because its last day is a holiday.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.registry.domain import working_days
from services.registry.domain.segments import Segment, index_at
from shared.calendar import shanghai_day
from shared.contracts.registry import Filing, FilingStatus, Level, OperatingStatus, Station, StationSegment

S = FilingStatus
ENDED = frozenset({S.LAPSED, S.CANCELLED, S.EXPIRED})
WAITS_FOR_AUTHORITY = frozenset({S.SUBMITTED, S.RESUBMITTED})
CHANGES = ("name", "division_code", "operator_id", "lat", "lng")  # of a station, that its filings name (art. 9: 名称、…负责人等)


class Clock(StrEnum):
    OPENING = "filing.opening"
    CHANGE = "filing.change"
    DECISION = "filing.decision"
    CORRECTION_NOTICE = "filing.correction_notice"


class Term(NamedTuple):
    days: int
    working: bool
    article: str
    zh: str
    en: str


TERMS: dict[Clock, Term] = {
    Clock.OPENING: Term(20, False, "第五条", "开办之日起 20 日内备案", "to be filed within 20 days of opening"),
    Clock.CHANGE: Term(10, False, "第九条", "变更之日起 10 日内办理变更备案", "a change to be filed within 10 days"),
    Clock.DECISION: Term(5, True, "第七条", "材料齐全的，5 个工作日内备案", "complete material is filed within 5 working days"),
    Clock.CORRECTION_NOTICE: Term(
        2, True, "第七条", "材料不齐的，2 个工作日内一次告知补正", "corrections are asked for, all at once, within 2 working days"
    ),
}
INFORMATIONAL = frozenset({Clock.DECISION, Clock.CORRECTION_NOTICE})  # the administration's own


class Running(NamedTuple):
    """`who`: the operator that files, or the authority's name; None: the station has no operator. `about`: brands, or what has changed."""

    clock: Clock
    station_id: str
    filing_id: str | None
    who: str | None
    about: tuple[str, ...]
    started_on: date
    due_on: date | None  # None: past the end of the known calendar


def running(station: Station, at: datetime) -> list[Running]:
    """Every clock of the station that runs at that moment, overdue ones included. A county hub is no terminal outlet: it has none."""
    i = index_at(station.segments, at)
    if i is None or station.level is Level.COUNTY_HUB:
        return []
    found = [*_openings(station, station.segments[i], at)]
    for filing in station.filings:
        found += _of_filing(station, filing, at)
    return found


def _openings(station: Station, now: StationSegment, at: datetime) -> Iterable[Running]:
    """Brands that an open outlet serves and nobody has filed: together, where they have waited equally long for the same filer."""
    waiting: dict[tuple[date, str | None, str | None], list[str]] = {}
    for brand in now.brands or ("",):
        since = _since(at, _cuts(station), lambda moment, brand=brand: _unfiled(station, brand, moment))  # type: ignore[misc]
        if since is None:
            continue
        draft = next((f for f in station.filings if (not brand or brand in f.covers_brands) and _status(f, at) is S.DRAFT), None)
        started = draft.opened_on if draft else shanghai_day(since)
        key = started, draft.filing_id if draft else None, draft.filer_id if draft else now.operator_id
        waiting.setdefault(key, []).append(brand)
    for (started, filing_id, who), brands in waiting.items():
        yield _run(Clock.OPENING, station, filing_id, who, tuple(b for b in brands if b), started)


def _unfiled(station: Station, brand: str, moment: datetime) -> bool:
    """Whether the outlet is open, serves the brand ("": none that we know of) and no filing of it is before the administration."""
    i = index_at(station.segments, moment)
    if i is None:
        return False
    then = station.segments[i]
    if then.operating_status is not OperatingStatus.OPEN or (brand and brand not in then.brands):
        return False
    living = (_status(f, moment) for f in station.filings if not brand or brand in f.covers_brands)
    return not any(status is not None and status is not S.DRAFT and status not in ENDED for status in living)


def _of_filing(station: Station, filing: Filing, at: datetime) -> Iterable[Running]:
    i = index_at(filing.segments, at)
    if i is None:
        return
    segment = filing.segments[i]
    if segment.status in WAITS_FOR_AUTHORITY:
        started = shanghai_day(segment.valid_from)
        yield _run(Clock.DECISION, station, filing.filing_id, filing.authority, filing.covers_brands, started)
        if segment.status is S.SUBMITTED:
            yield _run(Clock.CORRECTION_NOTICE, station, filing.filing_id, filing.authority, filing.covers_brands, started)
    elif segment.status is S.FILED and (changed := _first_change(station, segment.valid_from, at)):
        moment, fields = changed
        yield _run(Clock.CHANGE, station, filing.filing_id, filing.filer_id, fields, shanghai_day(moment))


def _first_change(station: Station, filed_at: datetime, at: datetime) -> tuple[datetime, tuple[str, ...]] | None:
    """The first change after `filed_at` that no later status of the filing has answered, and what changed up to `at`."""
    first, fields = None, set[str]()
    for before, after in zip(station.segments, station.segments[1:], strict=False):
        if filed_at < after.valid_from <= at and before.valid_to == after.valid_from:
            changed = {name for name in CHANGES if getattr(before, name) != getattr(after, name)}
            first = first or (after.valid_from if changed else None)
            fields |= changed
    if first is None:
        return None
    if fields & {"lat", "lng"}:
        fields = fields - {"lat", "lng"} | {"location"}
    return first, tuple(sorted(fields))


def _run(clock: Clock, station: Station, filing_id: str | None, who: str | None, about: tuple[str, ...], started: date) -> Running:
    term = TERMS[clock]
    due = working_days.nth_after(started, term.days) if term.working else started + timedelta(days=term.days)
    return Running(clock, station.station_id, filing_id, who, about, started, due)


def _status(filing: Filing, moment: datetime) -> FilingStatus | None:
    i = index_at(filing.segments, moment)
    return None if i is None else filing.segments[i].status


def _cuts(station: Station) -> list[datetime]:
    """Every moment at which anything of the station or of its filings began or ended."""
    lives: list[tuple[Segment, ...]] = [station.segments, *(f.segments for f in station.filings)]
    ends = [m for life in lives for s in life for m in (s.valid_from, s.valid_to) if m]
    return sorted(set(ends), reverse=True)


def _since(at: datetime, cuts: Iterable[datetime], holds: Callable[[datetime], bool]) -> datetime | None:
    """Since when `holds` has been true without a break; None: it is not. `cuts`: where it may change, latest first."""
    if not holds(at):
        return None
    since = at
    for cut in cuts:
        if cut > at:
            continue
        if not holds(cut):
            break
        since = cut
    return since

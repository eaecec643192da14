"""How far the targets are, and by what evidence: which nominated places count, since when, and what the others lack. Pure.

A place counts while one of its stations does: while it is open and filed, or open and its standard accepted, as the target has it. From
the periods in which each place counts follow the figures of any moment, the day on which a gate was reached, and the pace.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from services.registry.domain.inspections import standard_at
from services.registry.domain.segments import Segment
from services.registry.domain.stations import places_of
from shared.calendar import day_start, shanghai_day
from shared.contracts.programme import Counts, Gate, GateOf, Inspection, InspectionStatus, Nomination, Programme, Target
from shared.contracts.registry import FILED, Filing, FilingSegment, Level, OperatingStatus, Station, StationSegment
from shared.standing import at, best_filing, holds

ONE_DAY = timedelta(days=1)
MAX_FORECAST = timedelta(days=3650)  # a pace that needs longer is none


class Period(NamedTuple):
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True)
class Given:
    """What was known: stations by id, and the inspections of each."""

    stations: Mapping[str, Station]
    inspections: Mapping[str, Sequence[Inspection]]


@dataclass(frozen=True)
class Place:
    """A nominated place at a moment. `missing`: codes of what keeps it from counting, none where it counts."""

    nomination: Nomination
    station: Station | None  # that counts, or that lacks least
    segment: StationSegment | None  # of the station then
    since: datetime | None
    filing: tuple[Filing, FilingSegment] | None
    inspection: Inspection | None
    missing: tuple[str, ...]

    @property
    def done(self) -> bool:
        return self.since is not None


class GateState(NamedTuple):
    gate: Gate
    level: Level | None  # null: all of the gate's levels together
    total: int
    needed: int
    done: int  # by the end of its day, or by now where that is earlier
    met: bool | None  # null: its day is not over and it is not met yet
    met_on: date | None


class Forecast(NamedTuple):
    """By the pace since the window began, as a straight line."""

    per_month: float
    complete_on: date | None


def places(programme: Programme, target: Target, given: Given, moment: datetime) -> list[Place]:
    """Of those that are on the list then."""
    return [_place(n, target, given, moment) for n in programme.nominations if n.level == target.level and holds(n, moment)]


def counted(programme: Programme, target: Target, given: Given) -> list[Period]:
    """The periods in which each place that was ever on the list counted while it was on it."""
    found: list[Period] = []
    for nomination in programme.nominations:
        if nomination.level == target.level:
            found += _within(_union(nomination, target, given), nomination)
    return found


def done_at(periods: Iterable[Period], moment: datetime) -> int:
    return sum(holds(p, moment) for p in periods)


def gates(programme: Programme, periods: Mapping[Level, Sequence[Period]], moment: datetime) -> list[GateState]:
    """`periods`: of each level, as `counted` tells."""
    counts = {t.level: t.count for t in programme.targets}
    states = []
    for gate in programme.gates:
        of = [[level] for level in gate.levels] if gate.of is GateOf.EACH_LEVEL else [list(gate.levels)]
        states += [_gate(gate, levels, counts, periods, moment) for levels in of]
    return states


def forecast(target: Target, periods: Sequence[Period], moment: datetime) -> Forecast | None:
    """None: nothing is done yet, or the window has not begun. What is complete was so on the day on which it became it."""
    done, elapsed = done_at(periods, moment), moment - day_start(target.starts_on)
    if done == 0 or elapsed <= timedelta(0):
        return None
    per_month = round(done / (elapsed / ONE_DAY) * 30, 2)
    if done >= target.count:
        return Forecast(per_month, _reached(periods, lambda then: done_at(periods, then) >= target.count, moment))
    needed = elapsed * (target.count - done) / done
    return Forecast(per_month, None if needed > MAX_FORECAST else shanghai_day(moment + needed))


def _reached(periods: Iterable[Period], enough: Callable[[datetime], bool], moment: datetime) -> date | None:
    """The first day by `moment` on which it was enough: it can become so only where a period begins."""
    return next((shanghai_day(then) for then in sorted({p.valid_from for p in periods if p.valid_from <= moment}) if enough(then)), None)


def needed(count: int, percent: int) -> int:
    """Whole stations of a share: 50 % of 3 are 2 ("至少")."""
    return -(-count * percent // 100)


def _gate(
    gate: Gate, levels: list[Level], counts: Mapping[Level, int], periods: Mapping[Level, Sequence[Period]], moment: datetime
) -> GateState:
    total = sum(counts[level] for level in levels)
    wanted = needed(total, gate.percent)
    ends = day_start(gate.due_on + ONE_DAY)

    def so_far(then: datetime) -> int:
        # more than its target on one level is nothing that another lacks
        return sum(min(counts[level], done_at(periods[level], then)) for level in levels)

    met_on = _reached((p for level in levels for p in periods[level]), lambda then: so_far(then) >= wanted, moment)
    over = moment >= ends
    done = so_far(ends - timedelta(microseconds=1) if over else moment)
    met = done >= wanted or (None if not over else False)
    return GateState(gate, levels[0] if gate.of is GateOf.EACH_LEVEL else None, total, wanted, done, met, met_on)


def _place(nomination: Nomination, target: Target, given: Given, moment: datetime) -> Place:
    judged = [_judged(nomination, s, target, given, moment) for s in stations_of(nomination, given)]
    judged = [p for p in judged if p.segment]
    if not judged:
        return Place(nomination, None, None, None, None, None, ("station.none",))
    return min(judged, key=lambda p: (not p.done, p.since or moment, len(p.missing), p.station.station_id if p.station else ""))


def _judged(nomination: Nomination, station: Station, target: Target, given: Given, moment: datetime) -> Place:
    inspections = given.inspections.get(station.station_id, ())
    periods = _within(_periods(nomination, station, target, inspections), nomination)
    since = next((p.valid_from for p in periods if holds(p, moment)), None)
    segment = _segment(nomination, station, moment)
    filing, decided = best_filing(station.filings, moment), standard_at(inspections, moment)
    missing: list[str] = []
    if segment and since is None:
        if segment.operating_status is not OperatingStatus.OPEN:
            missing.append(f"station.{segment.operating_status}")
        if target.counts is Counts.FILED and (filing is None or filing[1].status not in FILED):
            missing.append(f"filing.{filing[1].status if filing else 'none'}")
        if target.counts is Counts.STANDARD and (decided is None or decided[1].status is not InspectionStatus.PASSED):
            missing.append(f"inspection.{decided[1].status if decided else 'none'}")
    return Place(nomination, station, segment, since, filing, decided[0] if decided else None, tuple(missing))


def stations_of(nomination: Nomination, given: Given) -> list[Station]:
    if nomination.station_id is not None:
        return [s for s in [given.stations.get(nomination.station_id)] if s]
    return [s for s in given.stations.values() if s.level == nomination.level and any(_stands_in(x, nomination) for x in s.segments)]


def _segment(nomination: Nomination, station: Station, moment: datetime) -> StationSegment | None:
    """What the station was then, if it stood in the place. Places do not overlap, so no station counts for two."""
    segment = at(station.segments, moment)
    return segment if segment and _stands_in(segment, nomination) else None


def _stands_in(segment: StationSegment, nomination: Nomination) -> bool:
    return nomination.division_code in places_of(segment)


def _union(nomination: Nomination, target: Target, given: Given) -> list[Period]:
    """The periods in which at least one station counts for the place."""
    found = sorted(
        (p for s in stations_of(nomination, given) for p in _periods(nomination, s, target, given.inspections.get(s.station_id, ()))),
        key=lambda p: p.valid_from,
    )
    joined: list[Period] = []
    for period in found:
        last = joined[-1] if joined else None
        if last is None or (last.valid_to is not None and last.valid_to < period.valid_from):
            joined.append(period)
        elif last.valid_to is not None:
            joined[-1] = Period(last.valid_from, None if period.valid_to is None else max(last.valid_to, period.valid_to))
    return joined


def _periods(nomination: Nomination, station: Station, target: Target, inspections: Sequence[Inspection]) -> list[Period]:
    """In which the station counts: its life cut where anything about it changes, and what belongs together joined again."""
    dated: list[Segment] = [
        *station.segments,
        *(s for f in station.filings for s in f.segments),
        *(s for i in inspections for s in i.segments),
    ]
    cuts = sorted({d.valid_from for d in dated} | {d.valid_to for d in dated if d.valid_to})
    found: list[Period] = []
    for start, end in pairwise([*cuts, None]):
        assert start is not None
        if not _counts(nomination, station, target, inspections, start):
            continue
        if found and found[-1].valid_to == start:
            found[-1] = Period(found[-1].valid_from, end)
        else:
            found.append(Period(start, end))
    return found


def _counts(nomination: Nomination, station: Station, target: Target, inspections: Sequence[Inspection], moment: datetime) -> bool:
    segment = _segment(nomination, station, moment)
    if segment is None or segment.operating_status is not OperatingStatus.OPEN:
        return False
    if target.counts is Counts.FILED:
        filing = best_filing(station.filings, moment)
        return filing is not None and filing[1].status in FILED
    decided = standard_at(inspections, moment)
    return decided is not None and decided[1].status is InspectionStatus.PASSED


def _within(periods: Iterable[Period], nomination: Nomination) -> list[Period]:
    """The parts of them in which the place was on the list."""
    cut = (Period(max(p.valid_from, nomination.valid_from), _earlier(p.valid_to, nomination.valid_to)) for p in periods)
    return [p for p in cut if p.valid_to is None or p.valid_from < p.valid_to]


def _earlier(a: datetime | None, b: datetime | None) -> datetime | None:
    ends = [e for e in (a, b) if e is not None]
    return min(ends) if ends else None

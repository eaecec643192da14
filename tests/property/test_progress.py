"""Progress is told in two ways, by periods and place by place: they agree on every day, and with a count by hand."""

from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.domain import progress as rules
from shared.calendar import SHANGHAI
from shared.contracts import programme as p
from shared.contracts import registry as r

START = datetime(2023, 3, 1, tzinfo=SHANGHAI)
DAYS = 12
VILLAGES = ("140827100200", "140827100205")


def moment(day: int) -> datetime:
    return START + timedelta(days=day)


def cut(draw: st.DrawFn, values: list[Any]) -> list[tuple[int, int | None, Any]]:
    """A life: periods in order with a value each, perhaps with gaps, perhaps without an end."""
    days = sorted(draw(st.sets(st.integers(0, DAYS), min_size=1, max_size=5)))
    ends = [*days[1:], None]
    life = [(a, b, draw(st.sampled_from(values))) for a, b in zip(days, ends, strict=True)]
    return [piece for piece in life if draw(st.integers(0, 5))]


@st.composite
def stations(draw: st.DrawFn, number: int, level: r.Level) -> r.Station:
    life = cut(draw, [(code, status) for code in VILLAGES for status in ("open", "open", "suspended")])
    filings = draw(st.lists(st.just(0), max_size=2))
    return r.Station(
        version=1,
        station_id=f"stn_{number}",
        level=level,
        aliases=(),
        segments=tuple(
            r.StationSegment(
                valid_from=moment(a), valid_to=None if b is None else moment(b), name=f"点{number}", division_code=code,
                township_code="140827100000", operator_id=None, brands=(), operating_status=r.OperatingStatus(status), lat=None, lng=None,
            )
            for a, b, (code, status) in life
        ),
        filings=tuple(
            r.Filing(
                filing_id=f"fil_{number}_{i}", filer_id="opr_1", covers_brands=("zto",), authority="x", opened_on=date(2023, 3, 1),
                submitted_at=None, decided_at=None,
                segments=tuple(
                    r.FilingSegment(valid_from=moment(a), valid_to=None if b is None else moment(b), status=status, receipt_no=None)
                    for a, b, status in cut(draw, [r.FilingStatus.FILED, r.FilingStatus.SUBMITTED, r.FilingStatus.CHANGE_PENDING])
                ),
            )
            for i, _ in enumerate(filings)
        ),
    )  # fmt: skip


@st.composite
def inspections(draw: st.DrawFn, number: int, station_id: str) -> p.Inspection:
    statuses = [
        p.InspectionStatus.PASSED,
        p.InspectionStatus.SIGNED,
        p.InspectionStatus.RECTIFY,
        p.InspectionStatus.WITHDRAWN,
    ]
    return p.Inspection(
        version=1, inspection_id=f"ins_{number}", client_id=f"device-{number}", station_id=station_id, checklist="village-2018",
        round=p.Round.JUNE, inspector="x", follows=None, items=(), signatures=(),
        segments=tuple(
            p.InspectionSegment(
                valid_from=moment(a), valid_to=None if b is None else moment(b), status=status, rectify_by=None, reason=None,
            )
            for a, b, status in cut(draw, statuses)
        ),
    )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> tuple[p.Programme, rules.Given]:
    level = r.Level.VILLAGE
    known = [draw(stations(n, level)) for n in range(draw(st.integers(0, 4)))]
    seen = {
        s.station_id: [draw(inspections(10 * n + i, s.station_id)) for i in range(draw(st.integers(0, 2)))] for n, s in enumerate(known)
    }
    nominations = []
    for number, code in enumerate(VILLAGES):
        for a, b, own in cut(draw, [False, True]):
            station = draw(st.sampled_from([s.station_id for s in known])) if own and known else None
            nominations.append(
                p.Nomination(
                    nomination_id=f"nom_{number}_{a}", level=level, division_code=code, station_id=station,
                    valid_from=moment(a), valid_to=None if b is None else moment(b), reason=None,
                )
            )  # fmt: skip
    target = p.Target(
        level=level, count=draw(st.integers(1, 3)), counts=draw(st.sampled_from(list(p.Counts))), starts_on=START.date(),
        dues=(p.Due(due_on=date(2023, 11, 30), source="x", quote="x"),),
    )  # fmt: skip
    gate = p.Gate(
        gate="half", due_on=START.date() + timedelta(days=6), percent=50, of=p.GateOf.OVERALL, levels=(level,), source="x", quote="x"
    )
    plan = p.Programme(
        version=1, programme_id="prg_0", year=2023, name="x", nominate_by=START.date(), targets=(target,), gates=(gate,),
        nominations=tuple(nominations),
    )  # fmt: skip
    return plan, rules.Given({s.station_id: s for s in known}, seen)


def holds(piece: Any, at: datetime) -> bool:
    return bool(piece.valid_from <= at and (piece.valid_to is None or at < piece.valid_to))


def by_hand(plan: p.Programme, known: rules.Given, at: datetime) -> set[str]:
    """Which nominations count, looking at every fact anew."""
    [target] = plan.targets
    found = set()
    for n in plan.nominations:
        for s in known.stations.values():
            now = [x for x in s.segments if holds(x, at) and x.operating_status == "open"]
            there = any(x.division_code == n.division_code for x in now) and n.station_id in (None, s.station_id)
            if not (holds(n, at) and now and there):
                continue
            if target.counts == "filed":
                good = any(holds(x, at) and x.status in ("filed", "change_pending") for f in s.filings for x in f.segments)
            else:
                decided = [
                    (i.segments[0].valid_from, x.valid_from, len(i.inspection_id), i.inspection_id, x.status)
                    for i in known.inspections[s.station_id] for x in i.segments
                    if holds(x, at) and x.status in ("passed", "rectify", "failed")
                ]  # fmt: skip
                good = bool(decided) and max(decided)[4] == "passed"
            if good:
                found.add(n.nomination_id)
    return found


@settings(max_examples=400, deadline=None)
@given(worlds())
def test_periods_places_and_a_count_by_hand_agree(world: tuple[p.Programme, rules.Given]) -> None:
    plan, known = world
    [target], [gate] = plan.targets, plan.gates
    periods = rules.counted(plan, target, known)
    for day in range(-1, DAYS + 2):
        at = moment(day)
        places = rules.places(plan, target, known, at)
        done = by_hand(plan, known, at)
        assert {x.nomination.nomination_id for x in places if x.done} == done
        assert rules.done_at(periods, at) == len(done)
        assert all(bool(x.missing) != x.done for x in places)
        assert all(x.since is None or x.since <= at for x in places)
        [state] = rules.gates(plan, {target.level: periods}, at)
        at_gate = min(at, moment(6))  # nothing happens within a day
        assert state.done == min(target.count, len(by_hand(plan, known, at_gate)))
        assert state.needed == (target.count + 1) // 2
        assert state.met is (True if state.done >= state.needed else False if day > 6 else None)
        reached = [d for d in range(DAYS + 1) if d <= day and len(by_hand(plan, known, moment(d))) >= state.needed]
        assert state.met_on == (moment(reached[0]).date() if reached else None)
    assert gate.percent == 50

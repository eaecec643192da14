"""Runs every row of clocks.md, and what the table cannot say."""

import re
from datetime import date, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.registry.domain import clocks, working_days
from services.registry.domain.segments import changed_from
from shared.calendar import day_start
from shared.contracts.registry import Filing, FilingSegment, FilingStatus, Level, OperatingStatus, Station, StationSegment

PAGE = Path(__file__).with_name("clocks.md").read_text(encoding="utf-8")
TODAY_OPEN = re.compile(r"(?P<clock>[a-z_.]+)\[(?P<about>.*)\] (?P<started>\S+)→(?P<due>\S+)(?P<late> !)?\Z")
CHANGES: dict[str, dict[str, object]] = {
    "名称": {"name": "新名称"},
    "企业": {"operator_id": "opr_2"},
    "位置": {"lat": 35.3},
    "停业": {"operating_status": OperatingStatus.CLOSED},
    "营业": {"operating_status": OperatingStatus.OPEN},
}


def rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def moment(day: str) -> datetime:
    return day_start(date.fromisoformat(day))


@pytest.mark.parametrize(("start", "count", "due"), [row[:3] for row in rows("工作日")])
def test_working_days(start: str, count: str, due: str) -> None:
    found = working_days.nth_after(date.fromisoformat(start), int(count))
    assert (found.isoformat() if found else "无") == due


@pytest.mark.parametrize(("number", "opened", "filing", "changes", "at", "expected"), rows("时限"))
def test_terms(number: str, opened: str, filing: str, changes: str, at: str, expected: str) -> None:
    station = the_station(opened, filing, changes)
    assert [told(r, at) for r in sorted(clocks.running(station, moment(at)), key=lambda r: (r.started_on, r.clock))] == [
        e for e in expected.split("；") if e
    ]


def told(running: clocks.Running, at: str) -> str:
    late = running.due_on is not None and running.due_on < date.fromisoformat(at)
    text = f"{running.clock}[{','.join(running.about)}] {running.started_on}→{running.due_on or '无'}{' !' if late else ''}"
    assert TODAY_OPEN.match(text)
    return text


def the_station(opened: str, filing: str, changes: str) -> Station:
    planned = StationSegment(
        valid_from=moment("2023-03-01"), valid_to=moment(opened), name="上王村便民服务点", division_code="140827100200",
        township_code="140827100000", operator_id="opr_1", brands=("zto",), operating_status=OperatingStatus.PLANNED, lat=35.2, lng=111.6,
    )  # fmt: skip
    segments: tuple[StationSegment, ...] = (
        planned,
        replace(planned, valid_from=moment(opened), valid_to=None, operating_status=OperatingStatus.OPEN),
    )
    for change in changes.split("；") if changes else []:
        day, _, what = change.partition(" ")
        brands = set(segments[-1].brands)
        wish = CHANGES.get(what) or {"brands": tuple(sorted(brands | {what[1:]} if what[0] == "+" else brands - {what[1:]}))}
        changed = changed_from(segments, moment(day), wish)
        assert changed
        segments = changed
    filings = (the_filing(opened, filing),) if filing else ()
    return Station(version=1, station_id="stn_1", level=Level.VILLAGE, segments=segments, aliases=(), filings=filings)


def the_filing(opened: str, told_of: str) -> Filing:
    steps = [step.split(" ") for step in told_of.split("；")]
    starts = [moment(day) for day, _ in steps]
    segments = tuple(
        FilingSegment(valid_from=start, valid_to=end, status=FilingStatus(status), receipt_no="R1")
        for (_, status), start, end in zip(steps, starts, [*starts[1:], None], strict=True)
    )
    return Filing(
        filing_id="fil_1", filer_id="opr_1", covers_brands=("zto",), authority="运城市邮政管理局", opened_on=date.fromisoformat(opened),
        submitted_at=None, decided_at=None, segments=segments,
    )  # fmt: skip


def test_a_county_hub_is_no_terminal_outlet_and_before_it_is_registered_nothing_runs() -> None:
    station = the_station("2023-06-01", "", "")
    assert clocks.running(replace(station, level=Level.COUNTY_HUB), moment("2023-07-01")) == []
    assert clocks.running(station, moment("2023-02-01")) == []


def test_a_draft_is_its_filers_and_runs_from_the_day_that_it_tells() -> None:
    station = the_station("2023-06-01", "2023-06-10 draft", "")
    draft = replace(station.filings[0], filer_id="opr_7", opened_on=date(2023, 5, 20))
    (running,) = clocks.running(replace(station, filings=(draft,)), moment("2023-06-12"))
    assert (running.filing_id, running.who, running.started_on) == ("fil_1", "opr_7", date(2023, 5, 20))


def test_the_calendar_reaches_beyond_the_programmes_years() -> None:
    assert date(2004, 1, 1) >= working_days.STARTS
    assert date(2026, 12, 31) <= working_days.ENDS

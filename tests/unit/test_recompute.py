"""The recomputation notices what it is there to notice: a changed log, a wrong payout, a wrong total."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo import recompute as recomputation
from deploy.demo.months import adjusted_fen, compare_months
from deploy.demo.recompute import (
    CELL,
    EVER,
    SUMMARY_DAYS,
    Disproved,
    Partition,
    Report,
    compare,
    compare_payouts,
    read_log,
    read_partitions,
    to_ask,
    windows,
)
from deploy.demo.rules import Result

PAID = Result("payable", ("rate.x",), 45, 0, "opr_1", "stn_1", "140827100000", date(2023, 7, 14), "downlink")
PARCEL = ("zto", "731")


ORIGIN = b"o" * 32


def log_of(values: list[str], origin: bytes = ORIGIN) -> list[dict[str, Any]]:
    chain, items = origin, []
    for position, value in enumerate(values):
        chain = sha256(chain + sha256(value.encode()).digest()).digest()
        items.append({"position": position, "appended_at": "2023-07-14T00:00:00+08:00", "value": value, "chain": chain.hex()})
    return items


def serving(items: list[dict[str, Any]], page: int = 2) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/0"):
            return httpx.Response(404)
        start = int(request.url.params.get("from_position", 0))
        body = {
            "items": items[start : start + page],
            "next_position": min(start + page, len(items)),
            "head": len(items),
            "origin": ORIGIN.hex(),
        }
        return httpx.Response(200, json=body)

    return answer


def client(items: list[dict[str, Any]]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(serving(items)))


def test_reads_every_page_of_every_partition() -> None:
    values = [json.dumps({"n": n}) for n in range(5)]
    with client(log_of(values)) as http:
        assert read_partitions(http, "http://log") == [Partition(values, log_of(values)[-1]["chain"])]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("the first value changed", lambda items: items[0].update(value='{"n": 9}')),
        ("a value changed", lambda items: items[3].update(value='{"n": 9}')),
        ("a position left out", lambda items: items.pop(2)),
        ("two exchanged", lambda items: items.insert(1, items.pop(2))),
        ("a chain changed", lambda items: items[4].update(chain="00" * 32)),
    ],
)
def test_a_changed_log_is_disproved(name: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    items = log_of([json.dumps({"n": n}) for n in range(5)])
    change(items)
    with client(items) as http, pytest.raises(Disproved, match="not what its chain says"):
        read_log(http, "http://log", 0)


def payout(amount_fen: int, revision: int, reverses: str | None = None, **other: Any) -> dict[str, Any]:
    where: dict[str, Any] = {
        "beneficiary_id": "opr_1",
        "station_id": "stn_1",
        "service_date": "2023-07-14",
        "brand": "zto",
        "waybill_no": "731",
    }
    where |= {"scheme": "downlink", "posted_at": "2026-11-24T23:30:00+00:00", "reason_codes": ["rate.x"], "adjusts": None}
    where |= {"period": "2023-07", "policy_version": "p1"}
    return {"payout_id": f"pay_{revision}", "revision": revision, "amount_fen": amount_fen, "reverses": reverses} | where | other


PAYOUTS = [
    ("as recomputed", [payout(45, 1)], True),
    ("reversed and posted anew in one batch", [payout(40, 1), payout(-40, 2, "pay_1"), payout(45, 2) | {"payout_id": "pay_2b"}], True),
    ("nothing posted", [], False),
    ("one fen more", [payout(46, 1)], False),
    ("paid twice", [payout(45, 1), payout(45, 2)], False),
    ("to somebody else", [payout(45, 1, beneficiary_id="opr_2")], False),
    ("at another station", [payout(45, 1, station_id="stn_2")], False),
    ("on another day", [payout(45, 1, service_date="2023-07-15")], False),
    ("in another direction", [payout(45, 1, scheme="uplink")], False),
    ("a parcel that no log knows", [payout(45, 1), payout(45, 2, waybill_no="732")], False),
    ("reversed to nothing", [payout(45, 1), payout(-45, 2, "pay_1")], False),
]


@pytest.mark.parametrize(("name", "payouts", "equal"), PAYOUTS, ids=[name for name, *_ in PAYOUTS])
def test_payouts(name: str, payouts: list[dict[str, Any]], equal: bool) -> None:
    assert (compare_payouts({PARCEL: PAID}, payouts) == []) is equal


def test_a_parcel_that_earns_nothing_may_have_been_reversed() -> None:
    refused = Result("refused", ("parcel.returned",), service_date=date(2023, 7, 14))
    assert compare_payouts({PARCEL: refused}, [payout(45, 1), payout(-45, 2, "pay_1")]) == []


# Against a platform that says what it likes: every list of the API from these few facts, and one of them wrong.

REFUSED = Result("refused", ("parcel.returned",), 0, 0, "opr_1", "stn_1", "140827100000", date(2023, 7, 14), "downlink")
NOWHERE = Result("pending", ("site.unmapped",), service_date=date(2023, 7, 15), direction="downlink")
RESULTS = {PARCEL: PAID, ("zto", "732"): REFUSED, ("zto", "733"): NOWHERE, ("zto", "734"): Result()}
POSTED_ON = "2026-11-25"  # the Shanghai day of the payouts' posted_at


def answered(r: Result) -> dict[str, Any]:
    return {
        "outcome": r.outcome,
        "reason_codes": list(r.reasons),
        "net_fen": r.net_fen,
        "beneficiary_id": r.beneficiary_id,
        "station_id": r.station_id,
        "service_date": str(r.service_date),
        "direction": r.direction,
    }


def cell(day: str, row: list[int], station: str | None = "stn_1", township: str | None = "140827100000") -> dict[str, Any]:
    key = {"day": day, "station_id": station, "brand": "zto", "township_code": township, "direction": "downlink"}
    return key | dict(zip(CELL, row, strict=True))


@dataclass
class Platform:
    """What the subsidy API says; `service` and `posted` are the finest cells of its totals."""

    payouts: list[dict[str, Any]] = field(default_factory=lambda: [payout(45, 1)])
    parcels: dict[str, dict[str, Any]] = field(default_factory=lambda: {f"/{p[0]}/{p[1]}": answered(r) for p, r in RESULTS.items()})
    service: list[dict[str, Any]] = field(
        default_factory=lambda: [
            cell("2023-07-14", [2, 1, 0, 0, 1, 45, 0]),
            cell("2023-07-15", [1, 0, 1, 0, 0, 0, 0], None, None),
        ]
    )
    posted: list[dict[str, Any]] = field(default_factory=lambda: [cell(POSTED_ON, [1, 1, 0, 0, 0, 45, 0])])
    asked: list[str] = field(default_factory=list)
    periods: list[dict[str, Any]] = field(default_factory=list)  # none: that of the payouts
    totals_are_off_by: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, asked = request.url.path, request.url.params
        if path.startswith("/v1/parcels"):
            self.asked.append(path.removeprefix("/v1/parcels"))
            said = self.parcels.get(self.asked[-1])
            return httpx.Response(200, json=said) if said else httpx.Response(404)
        if path == "/v1/payouts":
            wanted = [p for p in self.payouts if asked.get("from", "") <= p["service_date"] < asked.get("to", "9")]
            return httpx.Response(200, json={"items": wanted, "next_cursor": None})
        if path == "/v1/periods":
            return httpx.Response(200, json={"items": self.periods or [month(self.payouts)], "next_cursor": None})
        found = [c for c in getattr(self, asked["date_basis"]) if asked["from"] <= c["day"] < asked["to"]]
        return httpx.Response(200, json=self.summed(found, asked["group_by"].split(",")))

    def summed(self, found: list[dict[str, Any]], group_by: list[str]) -> dict[str, Any]:
        names = [{"township": "township_code", "station": "station_id"}.get(group, group) for group in group_by]
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for c in found:
            groups[tuple(c[name] for name in names)].append(c)
        items = [{"key": dict(zip(names, key, strict=True))} | sums(group) for key, group in groups.items()]
        totals = sums(found)
        return {"items": items, "totals": totals | {"accrued_fen": totals["accrued_fen"] + self.totals_are_off_by}, "next_cursor": None}


def month(payouts: list[dict[str, Any]], **other: Any) -> dict[str, Any]:
    """July, as its lines add up; all of these lines are of it."""
    plain = [p for p in payouts if p["adjusts"] is None]
    gross, adjusted = sum(p["amount_fen"] for p in plain), sum(p["amount_fen"] for p in payouts if p["adjusts"])
    parcels = sum(1 if p["reverses"] is None else -1 for p in plain)
    told = {"period": "2023-07", "status": "open", "parcels": parcels, "gross_fen": gross, "adjusted_fen": adjusted}
    return told | {"carried_out_fen": 0} | other


def sums(found: list[dict[str, Any]]) -> dict[str, int]:
    return {column: sum(c[column] for c in found) for column in CELL}


def differences(platform: Platform, results: dict[tuple[str, str], Result] = RESULTS) -> list[str]:
    with httpx.Client(transport=httpx.MockTransport(platform)) as http:
        return compare(http, "http://subsidy", results)


def test_of_one_month_only_that_is_compared() -> None:
    late = payout(45, 9, waybill_no="799", service_date="2024-02-29", period="2024-02")
    platform = Platform(payouts=[*Platform().payouts, late], periods=[month(Platform().payouts)])
    with httpx.Client(transport=httpx.MockTransport(platform)) as http:
        assert compare(http, "http://subsidy", RESULTS, (), "2023-07") == []
        assert any("799" in line for line in compare(http, "http://subsidy", RESULTS, (), "2024-02"))


def test_a_platform_that_says_the_truth() -> None:
    platform = Platform()
    assert differences(platform) == []
    assert platform.asked == ["/zto/732", "/zto/733"]  # the payable one's payout tells all, the one in transit has nothing to tell


def invented(day: str) -> list[dict[str, Any]]:
    return [payout(45, 1), payout(45, 2, waybill_no="799", service_date=day)]


def moved(cells: list[dict[str, Any]], **other: Any) -> list[dict[str, Any]]:
    return [cells[0] | other, *cells[1:]]


LIES: dict[str, tuple[Platform, str]] = {
    "a month that is not its lines": (Platform(periods=[month([payout(46, 1)])]), "2023-07: 明细 lines [1, 45, 0]"),
    "a month that has no lines": (Platform(periods=[month([payout(45, 1)]), month([], period="2023-09", parcels=1)]), "2023-09"),
    "a payout on a day that no parcel has": (Platform(payouts=invented("2024-02-29")), "799"),
    "a payout before all time": (Platform(payouts=invented("1999-12-31")), "799"),
    "a payout after all time": (Platform(payouts=invented("2150-01-01")), "799"),
    "money in the totals that no payout has": (Platform(service=[*Platform().service, cell("2031-05-01", [1, 1, 0, 0, 0, 45, 0])]), "2031"),
    "posted money that no payout has": (Platform(posted=[*Platform().posted, cell("2026-11-26", [1, 1, 0, 0, 0, 45, 0])]), "posted"),
    "posted on another day": (Platform(posted=moved(Platform().posted, day="2026-11-24")), "2026-11-24"),
    "another township": (Platform(service=moved(Platform().service, township_code="140827101000")), "140827101000"),
    "another direction": (Platform(service=moved(Platform().service, direction="uplink")), "uplink"),
    "another day": (Platform(service=moved(Platform().service, day="2023-07-16")), "2023-07-16"),
    "another station": (Platform(service=moved(Platform().service, station_id="stn_2")), "stn_2"),
    "one fen at stake": (Platform(service=moved(Platform().service, held_fen=1)), "service"),
    "a cell left out": (Platform(service=Platform().service[:1]), "2023-07-15"),
    "totals that are not those of the cells": (Platform(totals_are_off_by=1), "totals"),
    "other reasons": (Platform(parcels=Platform().parcels | {"/zto/732": answered(REFUSED) | {"reason_codes": ["x"]}}), "732"),
    "another outcome": (Platform(parcels=Platform().parcels | {"/zto/733": answered(NOWHERE) | {"outcome": "held"}}), "733"),
    "a parcel that it never saw": (Platform(parcels={"/zto/732": answered(REFUSED)}), "never seen"),
    "another rate for the same money": (
        Platform(
            payouts=[payout(45, 1, reason_codes=["rate.y"])],
            parcels=Platform().parcels | {"/zto/731": answered(PAID) | {"reason_codes": ["rate.y"]}},
        ),
        "rate.y",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_platform_that_lies_is_found_out(lie: str) -> None:
    platform, says = LIES[lie]
    assert any(says in line for line in differences(platform)), differences(platform)


def test_payouts_though_no_parcel_has_an_outcome_are_found() -> None:
    """Nothing was recomputed, so there is no day to look at: all that is posted is too much."""
    nothing = Platform(payouts=[payout(45, 1)], parcels={}, service=[], posted=[])
    found = differences(nothing, {PARCEL: Result()})
    assert any("recomputed nothing" in line for line in found)
    assert any(line.startswith("posted") for line in found)


def test_a_payout_keeps_its_reasons_where_only_they_have_changed() -> None:
    """docs/rules.md, the books: so the parcel itself is asked."""
    stale = [payout(45, 1, reason_codes=["rate.of_before"])]
    assert to_ask({PARCEL: PAID}, stale) == [PARCEL]
    assert differences(Platform(payouts=stale)) == []


def test_windows_leave_no_day_out() -> None:
    days = {date(1990, 5, 1), date(2023, 7, 14), date(2150, 1, 1)}
    periods: Iterator[tuple[date, date]] = ((date.fromisoformat(w["from"]), date.fromisoformat(w["to"])) for w in windows(days))
    reached = min(days)
    for start, end in periods:
        assert start == reached
        assert 0 < (end - start).days <= SUMMARY_DAYS
        reached = end
    assert reached == date(2150, 1, 2)
    assert next(windows([]))["from"] == str(EVER[0])


def test_parcels_in_transit_are_counted_apart() -> None:
    report = Report(5, 1, RESULTS)
    assert (report.in_transit, report.count("payable")) == (1, 1)
    zh, en = report.figures
    assert [n for n in ("3", "1", "45") if n in zh and n in en] == ["3", "1", "45"]


# Carried away


def carried(place: Path, *arguments: str, packages: str = sysconfig.get_path("purelib")) -> subprocess.CompletedProcess[str]:
    """As an auditor runs it: a directory with two files, a Python that has the two packages (-S: and not this project)."""
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=place,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": packages, "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    for name in ("recompute.py", "incident_rules.py", "months.py", "records.py", "rules.py", "uplink_rules.py"):
        shutil.copy(Path(recomputation.__file__).with_name(name), tmp_path)
    return tmp_path


def test_it_works_when_carried_away_alone(bare: Path) -> None:
    assert carried(bare, "-c", "import deploy").returncode != 0  # the project is out of reach
    helped = carried(bare, "recompute.py", "--help")
    assert helped.returncode == 0, helped.stderr
    for words in ("--policy", "审计员", "role auditor", "pip install", "Exit code"):
        assert words in helped.stdout
    nobody = [argument for name in ("ingest", "registry", "subsidy") for argument in (f"--{name}", "http://127.0.0.1:9")]
    ran = carried(bare, "recompute.py", *nobody, "--token", "x")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("无法复算 · cannot recompute: ")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(("status", "says"), [(401, "role auditor"), (500, "it broke")])
def test_a_refusal_is_one_line(status: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*_: Any, **__: Any) -> None:
        request = httpx.Request("GET", "http://registry/v1/log/0")
        httpx.Response(status, text="it broke", request=request).raise_for_status()

    monkeypatch.setattr(recomputation, "recompute", refused)
    nobody = [argument for name in ("ingest", "registry", "subsidy") for argument in (f"--{name}", "http://x")]
    assert recomputation.main([*nobody, "--token", "x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"HTTP {status}" in line
    assert says in line


def test_a_python_without_the_packages_says_which(bare: Path) -> None:
    ran = carried(bare, "recompute.py", "--help", packages="")
    assert ran.returncode == 1
    assert "httpx" in ran.stderr
    assert "pip install httpx common-expression-language" in ran.stderr


# closings


def cap(amount_fen: int, revision: int, **other: Any) -> dict[str, Any]:
    return payout(amount_fen, revision, adjusts="pay_1", reason_codes=["ceiling.average"], **other)


def test_what_a_closing_took_off_is_no_part_of_what_a_parcel_is_entitled_to() -> None:
    assert compare_payouts({PARCEL: PAID}, [payout(45, 1), cap(-5, 2)]) == []
    assert adjusted_fen([payout(45, 1), cap(-5, 2), cap(5, 3, reverses="pay_2")]) == {PARCEL: 0}


LIMITS = {("p1", "downlink"): 40}
MONTHS: list[tuple[str, list[dict[str, Any]], dict[str, Any], bool]] = [
    ("capped to the limit", [payout(45, 1), cap(-5, 2)], {"status": "closed"}, True),
    ("not closed yet", [payout(45, 1)], {}, True),
    ("closed above the limit", [payout(45, 1)], {"status": "closed"}, False),
    ("what cannot be taken is carried on", [payout(45, 1)], {"status": "closed", "carried_out_fen": 5}, True),
    ("one fen too little taken", [payout(45, 1), cap(-4, 2)], {"status": "closed"}, False),
    ("more is told to be taken than was", [payout(45, 1)], {"adjusted_fen": -5}, False),
]


@pytest.mark.parametrize(("name", "payouts", "told", "true"), MONTHS, ids=[m[0] for m in MONTHS])
def test_months_are_added_up(name: str, payouts: list[dict[str, Any]], told: dict[str, Any], true: bool) -> None:
    assert (compare_months(payouts, [month(payouts, **told)], LIMITS) == []) == true


def test_a_closed_month_may_not_exceed_the_ceiling_together_with_those_before_it() -> None:
    june, july = payout(50, 1, period="2023-06"), payout(30, 2)
    told = [month([june], period="2023-06", status="closed", carried_out_fen=10), month([july], status="closed")]
    assert compare_months([june, july], told, LIMITS) == []
    assert compare_months([june, july | {"amount_fen": 31}], [told[0], month([july | {"amount_fen": 31}], status="closed")], LIMITS)

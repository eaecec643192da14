"""`tongcun demo`: the main job end to end, in one command, and what it prints adds up."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from deploy.embedded.installation import Installation
from deploy.platform import Access
from tests.e2e.terminal import ROOT, directory, free_base, printed, tongcun, up

POLICY = ROOT / "services/subsidy/policies/yuanqu-2023.1.toml"
ONE_FEN_MORE = """
    update payout set amount_fen = amount_fen + 1
    where (parcel_key, seq) = (select parcel_key, seq from payout where amount_fen > 0 order by parcel_key, seq limit 1)
    returning amount_fen
"""
COUNTED = ("parcels", "payable", "pending", "held", "refused", "accrued_fen", "held_fen")


class Demonstrated(NamedTuple):
    var: Path
    output: str
    result: dict[str, Any]
    statement: bytes


@pytest.fixture(scope="module")
def demo() -> Iterator[Demonstrated]:
    """One run for all tests of this file."""
    with directory() as place:
        ran = tongcun(place / "var", "demo", "--json", str(place / "demo.json"), within_s=240)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ran.stderr == ""
        yield Demonstrated(
            place / "var", ran.stdout, json.loads((place / "demo.json").read_text()), (place / "var/demo/statement.csv").read_bytes()
        )


def test_everything_agrees_to_the_fen(demo: Demonstrated) -> None:
    recomputed = demo.result["recomputed"]
    assert demo.result["ok"] is True
    assert demo.result["problems"] == recomputed["differences"] == []
    assert recomputed["statement_fen"] == demo.result["totals"]["accrued_fen"] > 0
    assert recomputed["net_fen"] >= recomputed["statement_fen"]
    assert recomputed["payable"] >= demo.result["totals"]["payable"]
    assert recomputed["parcels"] - recomputed["in_transit"] >= demo.result["totals"]["parcels"]
    for judged in ("已判定 {} 件", "{} judged"):
        assert judged.format(recomputed["parcels"] - recomputed["in_transit"]) in demo.output


def test_stations_townships_and_beneficiaries_add_up_to_the_total(demo: Demonstrated) -> None:
    totals = demo.result["totals"]
    for name in COUNTED:
        assert sum(row[name] for row in demo.result["stations"]) == totals[name], name
        assert sum(row[name] for row in demo.result["townships"].values()) == totals[name], name
    assert sum(demo.result["beneficiaries"].values()) == totals["accrued_fen"]
    assert sum(u["parcels"] for u in demo.result["unpaid"]) == totals["pending"] + totals["held"] + totals["refused"]


def test_late_truth_is_a_reversal_and_a_new_line(demo: Demonstrated) -> None:
    """A filing corrected and an alias mapped late post again what they changed; returns only reverse."""
    lines = demo.result["lines"]
    assert lines["reversal"]["lines"] >= 6
    assert lines["accrual"]["lines"] - lines["reversal"]["lines"] == demo.result["totals"]["payable"]
    assert lines["accrual"]["amount_fen"] + lines["reversal"]["amount_fen"] == demo.result["totals"]["accrued_fen"]


def test_nothing_is_dropped_in_silence(demo: Demonstrated) -> None:
    items = demo.result["completeness"]
    for item in items:
        events = item["events"]
        assert item["balanced"] is True
        assert events["received"] == sum(events[v] for v in ("accepted", "duplicate", "conflict", "quarantined", "rejected"))
    assert sum(i["events"]["accepted"] + i["events"]["conflict"] for i in items) == demo.result["recomputed"]["scan_positions"]
    assert sum(i["pushes"]["unauthenticated"] for i in items) == sum(i["pushes"]["unparseable"] for i in items) == 1
    assert sum(i["events"]["quarantined"] for i in items) == 2


def test_it_is_the_month_that_was_promised(demo: Demonstrated) -> None:
    received = sum(i["events"]["received"] for i in demo.result["completeness"])
    duplicates = sum(i["events"]["duplicate"] for i in demo.result["completeness"])
    assert 2_900 <= demo.result["recomputed"]["parcels"] <= 3_300
    assert 11_500 <= demo.result["recomputed"]["scan_positions"] <= 12_500
    assert duplicates == pytest.approx(received * 0.20, rel=0.05)
    assert {u["reason_code"] for u in demo.result["unpaid"]} >= {
        "site.unmapped",
        "station.not_open",
        "parcel.returned",
        "parcel.refused",
        "evidence.contested",
        "evidence.voided",
        "transfer.unlinked",
        "uplink.needs_declaration",
    }


def test_the_plan_is_told_with_its_evidence(demo: Demonstrated) -> None:
    june, july = demo.result["targets"].values()
    assert [(level["count"], level["done"]) for level in june["levels"]] == [(1, 1), (3, 2), (10, 4)]
    assert [(level["count"], level["done"]) for level in july["levels"]] == [(1, 1), (3, 3), (10, 10)]
    gates = {(g["gate"], g["level"]): (g["done"], g["needed"], g["met"], g["met_on"]) for g in july["gates"] if g["due_on"] == "2023-06-30"}
    assert gates == {
        ("june", "township"): (2, 2, True, "2023-06-28"),
        ("june", "village"): (4, 5, False, "2023-07-04"),
        ("june_overall", None): (7, 7, True, "2023-06-28"),
    }
    for place in (place for level in july["levels"] for place in level["items"]):
        found = place["evidence"]
        assert found["receipt_no"] or found["inspection_id"], place


def test_the_average_stays_below_the_ceiling(demo: Demonstrated) -> None:
    (ceiling,) = demo.result["ceilings"]
    totals = demo.result["totals"]
    assert totals["accrued_fen"] <= ceiling["limit_fen_per_parcel"] * totals["payable"]


def test_three_parcels_are_explained_in_both_languages(demo: Demonstrated) -> None:
    payable, refused, reversed_ = demo.result["explained"]
    assert (payable["outcome"], refused["outcome"], reversed_["outcome"]) == ("payable", "refused", "refused")
    for told in (payable, refused, reversed_):
        assert told["waybill_no"] in demo.output
        for text in told["text"].values():
            assert text.splitlines()[0][:40] in demo.output
    assert "冲回" in reversed_["text"]["zh"]
    assert "reversed" in reversed_["text"]["en"]


def test_the_statement_is_a_file_that_a_spreadsheet_reads_and_does_not_execute(demo: Demonstrated) -> None:
    assert demo.statement.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(demo.statement.decode("utf-8-sig").splitlines()))
    fen = sum(int(row["金额（元） amount_yuan"].replace(".", "")) for row in rows)
    assert fen == demo.result["totals"]["accrued_fen"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_a_stranger_can_read_it(demo: Demonstrated) -> None:
    for words in ("Tongcun turns every parcel", "通村", "all of it today", "样例费率", "What is not paid, and why", "to the fen"):
        assert words in demo.output
    assert "Traceback" not in demo.output


def test_what_up_prints_works_as_it_stands(demo: Demonstrated) -> None:
    """Every command, in a shell that knows nothing else; and no other verb needs TONGCUN_VAR for the demo than `--demo`."""
    with up(demo.var, "--demo", "--port-base", str(free_base())) as running:
        summary, explain, push = (printed(demo.var, line) for line in running.to_try)
        status = tongcun(demo.var, "status", "--demo")
        feeds = tongcun(demo.var, "feed", "list", "--demo")
        elsewhere = tongcun(demo.var, "status")
        live = tongcun(demo.var, "push", "zto", "--feed", "zto-yuanqu", "--demo")
    assert json.loads(summary.stdout)["totals"]["accrued_fen"] == demo.result["totals"]["accrued_fen"], summary.stderr
    told = json.loads(explain.stdout)
    assert (told["outcome"], told["text"]) == ("payable", demo.result["explained"][0]["text"])
    assert push.returncode == 0, push.stderr
    assert "nothing of it reaches the money" in push.stdout
    assert (status.returncode, feeds.returncode) == (0, 0)
    assert "zto-sandbox" in feeds.stdout
    assert (elsewhere.returncode, "./tongcun status --demo" in elsewhere.stdout) == (1, True)
    assert (live.returncode, "sandbox feed only" in live.stderr) == (1, True)


def recomputed(access: Access) -> subprocess.CompletedProcess[str]:
    """As an auditor runs it: addresses, a token, the county's own policy."""
    urls = [argument for service, url in access.urls.items() for argument in (f"--{service}", url)]
    command = [sys.executable, "-m", "deploy.demo.recompute", *urls, "--token", access.token("auditor"), "--policy", str(POLICY)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


async def test_one_fen_changed_in_the_database_is_found(demo: Demonstrated) -> None:
    """By somebody who may do everything there. The demo's data is served as it was left."""
    with up(demo.var, "--demo", "--port-base", str(free_base())):
        installation = Installation(demo.var / "demo")
        assert "equal to the fen" in (before := recomputed(Access(installation))).stdout, before.stdout + before.stderr
        pg = await asyncpg.connect(installation.superuser_dsn("subsidy"))
        await pg.execute("set session_replication_role = replica")  # who may do everything switches the triggers off, too
        changed = await pg.fetchval(ONE_FEN_MORE)
        await pg.close()
        assert changed is not None
        after = recomputed(Access(installation))
    assert (before.returncode, after.returncode) == (0, 1)
    *read, month, parcel, cell, totals, last = after.stdout.splitlines()
    assert read == before.stdout.splitlines()[:-1]  # logs, policy and what was folded are as they were
    assert [line for line in read if line.startswith("政策 policy yuanqu-2023.1 sha256 ")]
    assert month.startswith("2023-07: 明细 lines [")  # the month is told as it was added up when it was posted
    assert "posted" in parcel
    assert last.startswith("✗ 不一致 4 处")
    assert cell.startswith("posted (")  # its day, station and brand
    assert totals.startswith("posted totals")

"""The recomputation notices what it is there to notice: a changed log, a wrong payout, a wrong total."""

import json
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from typing import Any

import httpx
import pytest

from deploy.demo.recompute import CELL, Disproved, cells, compare_payouts, compare_summary, read_log, read_partitions
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
        assert read_partitions(http, "http://log") == [values]


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
    where = {"beneficiary_id": "opr_1", "station_id": "stn_1", "service_date": "2023-07-14", "brand": "zto", "waybill_no": "731"}
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
    ("a parcel that no log knows", [payout(45, 1), payout(45, 2, waybill_no="732")], False),
    ("reversed to nothing", [payout(45, 1), payout(-45, 2, "pay_1")], False),
]


@pytest.mark.parametrize(("name", "payouts", "equal"), PAYOUTS, ids=[name for name, *_ in PAYOUTS])
def test_payouts(name: str, payouts: list[dict[str, Any]], equal: bool) -> None:
    assert (compare_payouts({PARCEL: PAID}, payouts) == []) is equal


def test_a_parcel_that_earns_nothing_may_have_been_reversed() -> None:
    refused = Result("refused", ("parcel.returned",), service_date=date(2023, 7, 14))
    assert compare_payouts({PARCEL: refused}, [payout(45, 1), payout(-45, 2, "pay_1")]) == []


def test_summary_cells_and_totals() -> None:
    results = {
        PARCEL: PAID,
        ("zto", "732"): Result("pending", ("site.unmapped",), service_date=date(2023, 7, 14)),
        ("zto", "733"): Result(),
    }
    items = [
        {"key": {"day": day, "station_id": station, "brand": brand}, **dict(zip(CELL, row, strict=True))}
        for (day, station, brand), row in cells(results.items()).items()
    ]
    totals = dict(zip(CELL, [2, 1, 1, 0, 0, 45, 0], strict=True))
    assert len(items) == 2  # a parcel in transit is in no total
    assert compare_summary(results, items, totals) == []
    assert compare_summary(results, items, totals | {"accrued_fen": 46}) != []
    assert compare_summary(results, items[:1], totals) != []
    items[0]["held_fen"] = 1
    assert compare_summary(results, items, totals) != []

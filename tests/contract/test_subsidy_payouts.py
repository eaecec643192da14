"""Payouts: the example of api.md §4 held against the running API, their filters and pages."""

import json

import httpx
import pytest

from services.subsidy import schemas
from tests.contract.subsidy_api import JULY, get
from tests.integration.subsidy_books import Books, at, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)

# The example, as api.md prints it.
PAYOUT = json.loads("""{"payout_id": "pay_b2", "revision": 18230, "registry_revision": 412, "parcel_id": "pcl_b1", "brand": "zto",
    "waybill_no": "73100196611386", "scheme": "downlink", "kind": "accrual", "amount_fen": 48, "reverses": null, "adjusts": null,
    "stage": "accrued",
    "beneficiary_id": "opr_1", "station_id": "stn_42", "service_date": "2023-07-14", "posted_at": "2023-07-14T09:12:05+08:00",
    "period": "2023-07", "policy_version": "yuanqu-2023.1", "rates_status": "sample", "reason_codes": ["rate.village.filed"]}""")


async def test_payouts_are_lines_with_their_reversals(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    await books.change(station(filings=[filing(at(1))], version=2))
    body = await get(client, "/v1/payouts", schemas.Payouts, **JULY)
    assert all(set(item) == set(PAYOUT) for item in body["items"])
    accrual, reversal, again = body["items"]
    assert (accrual["amount_fen"], reversal["amount_fen"], again["amount_fen"]) == (36, -36, 44)
    assert (accrual["reverses"], reversal["reverses"], again["reverses"]) == (None, accrual["payout_id"], None)
    assert (accrual["registry_revision"], again["registry_revision"]) == (0, 1)
    assert accrual["posted_at"].endswith("+08:00")


async def test_pages_of_payouts_keep_their_revision_while_the_books_grow(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(*(scan(f"W{n}") for n in range(7)))
    seen, cursor = [], None
    for n in range(20):
        body = await get(client, "/v1/payouts", schemas.Payouts, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["waybill_no"] for item in body["items"]]
        await books.send(scan(f"LATE{n}"))
        if (cursor := body["next_cursor"]) is None:
            break
    assert sorted(seen) == [f"W{n}" for n in range(7)]
    newer = await get(client, "/v1/payouts", schemas.Payouts, after_revision=body["as_of"]["revision"])
    assert {item["waybill_no"] for item in newer["items"]} == {f"LATE{n}" for n in range(n + 1)}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"brand": "zto"}, 1), ({"brand": "yto,sto"}, 0), ({"direction": "downlink"}, 1), ({"direction": "uplink"}, 0),
        ({"kind": "accrual"}, 1), ({"kind": "reversal"}, 0), ({"stage": "accrued"}, 1), ({"station_id": "stn_42"}, 1),
        ({"station_id": "stn_1"}, 0), ({"beneficiary_id": "opr_1"}, 1), ({"period": "2023-07, 2023-08"}, 1), ({"period": "2023-08"}, 0),
        ({"from": "2023-07-15"}, 0), ({"to": "2023-07-14"}, 0), (JULY | {"date_basis": "posted"}, 0),
        ({"from": "2024-01-01", "date_basis": "posted"}, 1),
    ],
)  # fmt: skip
async def test_payouts_are_filtered(books: Books, client: httpx.AsyncClient, filters: dict[str, str], found: int) -> None:
    await books.send(scan())
    assert len((await get(client, "/v1/payouts", schemas.Payouts, **filters))["items"]) == found

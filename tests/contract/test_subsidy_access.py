"""Who may ask what: wrong questions, tokens, and the rows that a tenant sees."""

from typing import Any

import httpx
import pytest

from services.subsidy import schemas
from shared.http import encode_cursor
from tests.contract.subsidy_api import JULY, get, problem
from tests.integration.subsidy_books import Books, bearer, scan

pytest_plugins = ("tests.integration.subsidy_fixtures",)

UNREAL = ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"]  # before and after PostgreSQL's and anybody's calendar
FORGED: list[dict[str, Any]] = [  # of all forms, none ours
    {"r": 10**30, "o": 0}, {"r": 1, "o": 10**30}, {"r": 1, "o": float("inf")}, {"r": float("nan"), "o": 0}, {"r": 1.5, "o": 0},
    {"r": 1, "o": -1}, {"r": 1, "a": [10**30, "", 0]}, {"r": 1, "a": [float("inf"), "", 0]}, {"r": 1, "a": [1, "\x00", 0]},
    {"r": 1, "a": [1, "\ud800", 0]}, {"r": 1, "a": [1, "zz", 0]}, {"r": 1, "a": [1, "", 2**31]}, {"r": True, "a": {}}, {},
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/summary", {}),
        ("/v1/summary", {"from": "2023-08-01", "to": "2023-07-01"}),
        ("/v1/summary", {"from": "0001-01-01", "to": "9999-12-31"}),
        ("/v1/summary", {"from": "2023-13-01", "to": "2023-07-01"}),
        ("/v1/summary", JULY | {"group_by": "weather"}),
        ("/v1/summary", JULY | {"group_by": "day,station,brand,direction"}),
        ("/v1/summary", JULY | {"group_by": "day,month"}),
        ("/v1/summary", JULY | {"group_by": "day); drop table payout; --"}),
        ("/v1/summary", JULY | {"known_at": "2023-07-01T00:00:00"}),
        ("/v1/summary", JULY | {"cursor": "AAAA"}),
        ("/v1/summary", JULY | {"cursor": "eyJyIjo5OTk5OTk5LCJvIjowfQ"}),
        ("/v1/summary", JULY | {"township": "140827100000"}),
        ("/v1/summary", JULY | {"brand": "a\x00"}),
        ("/v1/payouts", {"limit": "0"}),
        ("/v1/payouts", {"limit": "1001"}),
        ("/v1/payouts", {"after_revision": "9" * 30}),
        ("/v1/payouts", {"date_basis": "accepted"}),
        ("/v1/payouts", {"cursor": "eyJyIjoxfQ"}),
        ("/v1/payouts", {"cursor": "eyJyIjoxLCJhIjpbMSwienoiLDFdfQ"}),
        ("/v1/parcels/zto/W1%00", {}),
        ("/v1/parcels/ZTO!/W1", {}),
        ("/v1/parcels/zto/" + "9" * 65, {}),
        ("/v1/holds", {"known_at": "2023-07-01T00:00:00+08:00"}),
        *(
            (path, dict(base, known_at=at))
            for at in UNREAL
            for path, base in [
                ("/v1/summary", JULY),
                ("/v1/parcels/zto/W1", {}),
                ("/v1/parcels/zto/W1/explain", {}),
                ("/v1/parcels/zto/W1/evidence", {}),
            ]
        ),
        *(
            (path, dict(base, cursor=encode_cursor(state)))
            for state in FORGED
            for path, base in [
                ("/v1/summary", JULY),
                ("/v1/payouts", {}),
                ("/v1/holds", {}),
                ("/v1/unmapped-sites", {}),
                ("/v1/policies", {}),
            ]
        ),
        ("/v1/summary", JULY | {"outcome": "payed"}),
        ("/v1/summary", JULY | {"direction": "Downlink"}),
        ("/v1/payouts", {"kind": "accrual,accural"}),
        ("/v1/payouts", {"stage": "payed"}),
        ("/v1/payouts", {"brand": "ZTO"}),
        ("/v1/policies", {"limit": "0"}),
        ("/v1/policies", {"state": "active"}),
        ("/v1/policies/yuanqu-2023.1", {"known_at": "2023-07-01T00:00:00+08:00"}),
        ("/v1/payouts", {"from": "2023-08-01", "to": "2023-07-01"}),
        ("/v1/payouts", {"from": "2023-07-01", "to": "2023-07-01"}),
        ("/v1/payouts", {"period": "2023-13"}),
        ("/v1/payouts", {"period": "2023-07,July"}),
        ("/v1/payouts", {"station_id": "42"}),
        ("/v1/payouts", {"station_id": "stn_42,opr_1"}),
        ("/v1/payouts", {"beneficiary_id": "stn_42"}),
        ("/v1/holds", {"station_id": "station 42"}),
        ("/v1/summary", JULY | {"township_code": "1408271"}),
    ],
)
async def test_what_cannot_be_asked_is_422_with_a_sentence(client: httpx.AsyncClient, path: str, params: dict[str, str]) -> None:
    body = await problem(client, path, 422, **params)
    assert body["code"] == "request.invalid"
    assert body["errors"]


async def test_a_dashboard_sees_payouts_without_waybill_numbers(books: Books, client: httpx.AsyncClient, keys: tuple[str, str]) -> None:
    await books.send(scan())
    client.headers.update(bearer(keys[0], "dashboard"))
    body = await get(client, "/v1/payouts", schemas.Payouts)
    assert [item["waybill_no"] for item in body["items"]] == [None]
    assert body["redacted"] == ["waybill_no"]
    await problem(client, "/v1/parcels/zto/W1", 403)


@pytest.mark.parametrize(
    ("role", "claim", "payouts", "parcel"),
    [
        ("operator", ("operator", "opr_1"), 1, 200),
        ("operator", ("operator", "opr_2"), 0, 404),
        ("merchant", ("merchant", "mer_1"), 0, 404),
        ("township", ("township", "140827100000"), 1, 403),
        ("township", ("township", "140827101000"), 0, 403),
        ("brand", ("brand", "zto"), None, 200),
        ("brand", ("brand", "yto"), None, 404),
        ("brand", ("feed", "zto-yuanqu"), None, 404),
        ("finance", None, 1, 200),
    ],
)
async def test_a_tenant_sees_its_own_rows_only(
    books: Books,
    client: httpx.AsyncClient,
    keys: tuple[str, str],
    role: str,
    claim: tuple[str, str] | None,
    payouts: int | None,
    parcel: int,
) -> None:
    await books.send(scan())
    client.headers.update(bearer(keys[0], role, claim))
    for path in ("", "/explain", "/evidence"):
        assert (await client.get(f"/v1/parcels/zto/W1{path}")).status_code == parcel
    if payouts is None:
        await problem(client, "/v1/payouts", 403)
        return
    assert len((await get(client, "/v1/payouts", schemas.Payouts))["items"]) == payouts
    assert (await get(client, "/v1/summary", schemas.Summary, group_by="brand", **JULY))["totals"]["payable"] == payouts


async def test_a_token_is_needed_and_health_needs_none(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    await problem(client, "/v1/policies", 401)
    assert (await client.get("/readyz")).json() == {"status": "ok", "checks": {"database": "ok"}}


async def test_every_operation_declares_its_scope(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    assert len(operations) == 25
    assert all(next(iter(operation["security"][0].values())) for operation in operations)

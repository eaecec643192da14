"""The months and budgets of the API: who may, what it answers, and what it says when it cannot."""

from typing import Any

import httpx
import pytest

from services.subsidy import schemas
from tests.contract.subsidy_api import JULY, get, problem
from tests.integration.subsidy_books import COUNTY, Books, bearer, emptied, filing, scan, station
from tests.integration.subsidy_books import at as on
from tests.integration.test_subsidy_closing import filed, filed_station, policy

pytest_plugins = ("tests.integration.subsidy_fixtures",)
BUDGET = {
    "county_code": COUNTY, "scheme": "downlink", "year": 2023, "source": "province", "amount_fen": 100_000, "document": "晋财建〔2023〕1号",
}  # fmt: skip


@pytest.fixture
def finance(keys: tuple[str, str]) -> dict[str, str]:
    return bearer(keys[0], "finance")


async def close(client: httpx.AsyncClient, headers: dict[str, str], period: str = "2023-07") -> httpx.Response:
    return await client.post(f"/v1/periods/{period}/close", headers=headers)


async def test_a_month_is_closed_and_listed(books: Books, client: httpx.AsyncClient, finance: dict[str, str]) -> None:
    await books.send(scan("W1"), scan("W2"))
    (open_month,) = (await get(client, "/v1/periods", schemas.PeriodList))["items"]
    assert (open_month["period"], open_month["status"], open_month["parcels"], open_month["gross_fen"]) == ("2023-07", "open", 2, 72)
    answer = await close(client, finance)
    assert answer.status_code == 200, answer.text
    schemas.ClosedPeriod.model_validate(answer.json())
    (closed,) = (await get(client, "/v1/periods", schemas.PeriodList))["items"]
    assert (closed["status"], closed["closed_by"], closed["net_fen"], closed["steps"][0]["step"]) == (
        "closed",
        "test",
        72,
        "ceiling.downlink",
    )


@pytest.mark.parametrize(
    ("period", "status", "code"),
    [
        ("2023-06", 404, "period.not_found"),
        ("2098-01", 409, "period.not_over"),
        ("2023-08", 409, "period.earlier_open"),
        ("2023-13", 422, "request.invalid"),
        ("July", 422, "request.invalid"),
    ],
)
async def test_what_cannot_be_closed_says_why_in_both_languages(
    books: Books, client: httpx.AsyncClient, finance: dict[str, str], period: str, status: int, code: str
) -> None:
    await books.send(scan("W1"), scan("W2", scanned_at=on(14).replace(month=8)))
    details = set()
    for language in ("zh-CN", "en"):
        answer = await close(client, finance | {"Accept-Language": language}, period)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        details.add(answer.json()["detail"])
    assert len(details) == 2
    assert await books.rows("select * from period") == []


async def test_a_closed_month_is_not_closed_again(books: Books, client: httpx.AsyncClient, finance: dict[str, str]) -> None:
    await books.send(scan("W1"))
    assert (await close(client, finance)).status_code == 200
    again = await close(client, finance)
    assert (again.status_code, again.json()["code"]) == (409, "period.closed")


async def test_a_close_that_waits_says_when_to_come_again(books: Books, client: httpx.AsyncClient, finance: dict[str, str]) -> None:
    await books.send(scan("W1"))
    await books.change(station(filings=[filing(on(1))], version=2), drain=False)
    answer = await close(client, finance)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (409, "period.reassessments_pending", "10")


@pytest.mark.parametrize("role", ["auditor", "reviewer", "coordinator", "dashboard"])
async def test_only_finance_closes_and_gives(books: Books, client: httpx.AsyncClient, keys: tuple[str, str], role: str) -> None:
    headers = bearer(keys[0], role)
    assert (await close(client, headers)).status_code == 403
    assert (await client.post("/v1/budgets", json=BUDGET, headers=headers)).status_code == 403


async def test_a_budget_is_recorded_once_and_shown(books: Books, client: httpx.AsyncClient, finance: dict[str, str]) -> None:
    await books.send(scan("W1"))
    answer = await client.post("/v1/budgets", json=BUDGET, headers=finance)
    assert answer.status_code == 201, answer.text
    schemas.RecordedBudget.model_validate(answer.json())
    again = await client.post("/v1/budgets", json=BUDGET, headers=finance)
    assert (again.status_code, again.json()["code"]) == (409, "budget.recorded")
    (item,) = (await get(client, "/v1/budgets", schemas.Budgets, scheme="downlink", year=2023))["items"]
    assert item["sources"][0] == {"source": "province", "amount_fen": 100_000, "committed_fen": 36, "available_fen": 99_964}
    assert (await get(client, "/v1/budgets", schemas.Budgets, year=2024))["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_fen": 0}, {"amount_fen": -5}, {"amount_fen": 10**14}, {"amount_fen": 1.5}, {"source": "bank"},
        {"scheme": "sideways"}, {"year": 1999}, {"document": ""}, {"document": "a\u202eb"},
        {"county_code": "110101000000"}, {"county_code": "x"},
        {"note": "hello"},
    ],
)  # fmt: skip
async def test_a_budget_line_that_is_wrong_changes_nothing(
    books: Books, client: httpx.AsyncClient, finance: dict[str, str], wrong: dict[str, Any]
) -> None:
    answer = await client.post("/v1/budgets", json=BUDGET | wrong, headers=finance)
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(wrong))}"
    assert await books.rows("select * from budget") == []


async def test_a_query_that_is_no_year_is_refused(books: Books, client: httpx.AsyncClient) -> None:
    await problem(client, "/v1/budgets", 422, year="soon")


async def test_a_capped_parcel_says_what_was_taken_why_and_what_is_left(
    subsidy_dsns: Any, keys: tuple[str, str], client: httpx.AsyncClient, finance: dict[str, str]
) -> None:
    """In the parcel, in its lines and in the explanation; and before the close, by `known_at`, what it was then."""
    async with emptied(subsidy_dsns, [policy()]) as capped:
        await capped.change(filed_station())
        await capped.send(filed("W1"), filed("W2"))
        before = (await get(client, "/v1/parcels/zto/W1", schemas.Parcel))["as_of"]["known_at"]
        assert (await close(client, finance)).status_code == 200
        parcel = await get(client, "/v1/parcels/zto/W1", schemas.Parcel)
        assert (parcel["net_fen"], parcel["outcome"], len(parcel["payout_ids"])) == (40, "payable", 2)
        explained = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
        assert explained["net_fen"] == sum(line["amount_fen"] for line in explained["arithmetic"]) == 40
        assert explained["arithmetic"][1] == {"kind": "cap", "rate_id": None, "reason_code": "ceiling.average", "amount_fen": -4}
        assert "当月平均每件超过政策上限" in explained["text"]["zh"]
        assert "above the policy's ceiling" in explained["text"]["en"]
        (cap,) = (await get(client, "/v1/payouts", schemas.Payouts, kind="cap", limit=1))["items"]
        assert (cap["amount_fen"], cap["reverses"], cap["period"]) == (-4, None, "2023-07")
        assert cap["adjusts"].startswith("pay_")
        assert (await get(client, "/v1/parcels/zto/W1", schemas.Parcel, known_at=before))["net_fen"] == 44
        (ceiling,) = [c for c in (await get(client, "/v1/summary", schemas.Summary, **JULY))["ceilings"] if c["limit_fen_per_parcel"] == 40]
        assert ceiling["headroom_fen"] == 0

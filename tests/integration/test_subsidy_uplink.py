"""A merchant declares, its parcels set out, its year is worked out at the close: over HTTP and the worker's own transactions.

The fixture audits the books after each test.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from services.subsidy import schemas
from services.subsidy import schemas_declarations as shapes
from services.subsidy.domain.declaration import FIELDS, HEADINGS
from services.subsidy.domain.policy_file import load
from services.subsidy.service import declarations
from services.subsidy.service.admin import AdminBatch, admin_batch
from services.subsidy.service.closing import Closings
from services.subsidy.service.declarations import Declarations
from services.subsidy.service.known import Books as Known
from services.subsidy.settings import POLICIES
from shared.auth import issue
from shared.calendar import SHANGHAI
from shared.contracts.registry import Shop
from shared.contracts.scan import ScanEvent
from shared.db import Database
from tests.contract.subsidy_api import get, problem
from tests.integration.subsidy_books import Books, at, audit, emptied, filing, merchant, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
CSV = "text/csv"


def line(waybill: str, order: str | None = None, **of: str) -> dict[str, str]:
    sound = {
        "brand": "中通", "waybill_no": waybill, "declared_on": "2023-07-14", "platform": "淘宝", "order_no": order or f"ORD-{waybill}",
        "product": "山地苹果", "destination": "浙江省杭州市", "freight": "3.20",
    }  # fmt: skip
    return sound | of


def file_of(*lines: dict[str, str]) -> bytes:
    rows = [[HEADINGS[field][0] for field in FIELDS], *([row[field] for field in FIELDS] for row in lines)]
    return "\n".join(map(",".join, rows)).encode()


def sent(waybill: str, moment: datetime | None = None, **of: Any) -> ScanEvent:
    return scan(waybill, "picked_up", moment, **of)


class Merchant:
    """Somebody who declares, with a token of its own."""

    def __init__(self, client: httpx.AsyncClient, private: str, merchant_id: str = "mch_9") -> None:
        self.client, self.merchant_id = client, merchant_id
        token = issue(private, subject=f"clerk of {merchant_id}", roles=["merchant"], ttl_s=60, claim=("merchant", merchant_id))
        self.token = {"Authorization": f"Bearer {token}"}

    async def declare(self, data: bytes, type_: str = CSV, **query: str) -> httpx.Response:
        return await self.client.post("/v1/declarations", content=data, params=query, headers=self.token | {"Content-Type": type_})

    async def declared(self, *lines: dict[str, str]) -> dict[str, Any]:
        answer = await self.declare(file_of(*lines))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        shapes.DeclarationAnswer.model_validate(body)
        return body

    async def rows(self, declaration_id: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/v1/declarations/{declaration_id}/rows", params=query, headers=self.token)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def withdraw(self, declaration_id: str) -> httpx.Response:
        path = f"/v1/declarations/{declaration_id}/withdraw"
        return await self.client.post(path, json={"reason": "填错了"}, headers=self.token)


@pytest.fixture
async def shop(books: Books, client: httpx.AsyncClient, keys: tuple[str, str]) -> Merchant:
    await books.change(merchant())
    return Merchant(client, keys[0])


async def parcel(client: httpx.AsyncClient, waybill: str) -> tuple[Any, ...]:
    found = await get(client, f"/v1/parcels/zto/{waybill}", schemas.Parcel)
    return found["direction"], found["outcome"], found["reason_codes"], found["net_fen"], found["beneficiary_id"]


PAID = ("uplink", "payable", ["rate.uplink.flat"], 100, "mch_9")
WAITS = ("uplink", "pending", ["uplink.needs_declaration"], 0, None)


@pytest.mark.parametrize("scans_first", [True, False])
async def test_scans_and_declaration_come_in_any_order(books: Books, client: httpx.AsyncClient, shop: Merchant, scans_first: bool) -> None:
    if scans_first:
        await books.send(sent("YQ-A"))
        await shop.declared(line("YQ-A"))
    else:
        await shop.declared(line("YQ-A"))
        await books.drain()
        await books.send(sent("YQ-A"))
    await books.drain()
    assert await parcel(client, "YQ-A") == PAID
    assert await books.balance("YQ-A") == 100
    explained = await get(client, "/v1/parcels/zto/YQ-A/explain", schemas.Explanation)
    assert explained["net_fen"] == 100
    assert "付给垣曲县山里果业有限公司" in explained["text"]["zh"]
    july = {"from": "2023-07-01", "to": "2023-08-01"}
    for group, key, zh in (
        ("reason", "rate.uplink.flat", "上行件定额"), ("beneficiary", "mch_9", "垣曲县山里果业有限公司"), ("direction", "uplink", "上行"),
    ):  # fmt: skip
        (cell,) = (await get(client, "/v1/summary", schemas.Summary, group_by=group, **july))["items"]
        assert (cell["parcels"], cell["accrued_fen"]) == (1, 100)
        assert key in str(cell)
        assert zh in str(cell)
    accounts = await books.rows("select debit, credit from posting")
    assert [tuple(r.values()) for r in accounts] == [("programme/140827000000/uplink/2023", "payable/mch_9/accrued")]


async def test_what_the_registry_says_of_the_merchant_later_reaches_its_parcels(
    books: Books, client: httpx.AsyncClient, shop: Merchant
) -> None:
    """With a station in the same batch: both kinds of parcels are judged anew."""
    await books.send(sent("YQ-A"), scan("DOWN"))
    await shop.declared(line("YQ-A", platform="京东"), line("YQ-B"))
    await books.drain()
    assert (await parcel(client, "YQ-A"))[1:3] == ("refused", ["merchant.no_shop"])
    seen = merchant(version=2)
    shops = (*seen.segments[0].shops, Shop(platform="京东", shop="山里果业", approved=True))
    await books.change(
        replace(seen, segments=(replace(seen.segments[0], shops=shops),)), station(filings=[filing(at(1))], version=2), drain=False
    )
    waiting = await get(client, "/v1/parcels/zto/YQ-A/explain", schemas.Explanation)
    assert waiting["pending_reassessment"] is True
    await books.drain()
    assert await parcel(client, "YQ-A") == PAID
    assert (await parcel(client, "DOWN"))[3] == 44


async def test_a_declared_parcel_in_transit_needs_no_receipt_and_its_return_takes_it_back(
    books: Books, client: httpx.AsyncClient, shop: Merchant
) -> None:
    await books.send(sent("YQ-A"), sent("YQ-B"), scan("YQ-B", "signed", at(18), None))
    assert (await client.get("/v1/parcels/zto/YQ-A")).json()["outcome"] is None
    assert await parcel(client, "YQ-B") == WAITS
    await shop.declared(line("YQ-A"), line("YQ-B", freight="0.85"))
    await books.drain()
    assert await parcel(client, "YQ-A") == PAID
    assert (await parcel(client, "YQ-B"))[2:4] == (["rate.uplink.freight"], 85)
    await books.send(scan("YQ-A", "returned", at(20), None))
    assert (await parcel(client, "YQ-A"))[1:4] == ("refused", ["uplink.went_back"], 0)
    assert await books.balance("YQ-A") == 0


async def test_every_row_gets_a_verdict_with_its_reason(books: Books, client: httpx.AsyncClient, shop: Merchant) -> None:
    body = await shop.declared(
        line("YQ-A"), line("YQ-A"), line("YQ-B", "ORD-YQ-A"), line("YQ-C", product="=1+1"), line("YQ-D", freight="免费")
    )
    assert [body[n] for n in ("status", "rows", "judged", "accepted", "duplicate", "refused")] == ["judged", 5, 5, 1, 1, 3]
    rows = await shop.rows(body["declaration_id"])
    assert [(r["row_no"], r["verdict"], r["reason_code"], r["field"]) for r in rows] == [
        (2, "accepted", None, None), (3, "duplicate", "waybill.repeated", "waybill_no"), (4, "refused", "order.used", "order_no"),
        (5, "refused", "cell.formula", "product"), (6, "refused", "freight.invalid", "freight"),
    ]  # fmt: skip
    assert all(r["zh"] and r["en"] for r in rows[1:])
    assert [r["row_no"] for r in await shop.rows(body["declaration_id"], verdict="refused", limit=2)] == [4, 5]
    await books.send(sent("YQ-A"))
    assert [(r["outcome"], r["net_fen"]) for r in await shop.rows(body["declaration_id"], verdict="accepted")] == [("payable", 100)]


async def test_the_same_file_twice_declares_once(shop: Merchant) -> None:
    first, again = await shop.declared(line("YQ-A")), await shop.declared(line("YQ-A"))
    assert first["declaration_id"] == again["declaration_id"]
    assert again["accepted"] == 1


async def test_the_second_applicant_for_a_waybill_is_refused_and_told_nothing_of_the_first(
    books: Books, client: httpx.AsyncClient, shop: Merchant, keys: tuple[str, str]
) -> None:
    await books.change(merchant("mch_10", name="别家果业有限公司"))
    other = Merchant(client, keys[0], "mch_10")
    both = await asyncio.gather(shop.declared(line("YQ-A")), other.declared(line("YQ-A", "ORD-OTHER")))
    assert sorted(b["accepted"] for b in both) == [0, 1]
    loser, lost = (shop, both[0]) if both[1]["accepted"] else (other, both[1])
    (row,) = await loser.rows(lost["declaration_id"])
    assert (row["verdict"], row["reason_code"]) == ("refused", "waybill.declared_by_another")
    assert "mch_" not in str(row)
    won = both[0] if both[0]["accepted"] else both[1]
    assert (await loser.client.get(f"/v1/declarations/{won['declaration_id']}", headers=loser.token)).status_code == 404
    assert (await loser.withdraw(won["declaration_id"])).status_code == 404


async def test_a_withdrawal_takes_back_what_was_accrued_and_frees_the_parcels(
    books: Books, client: httpx.AsyncClient, shop: Merchant
) -> None:
    await books.send(sent("YQ-A"), scan("YQ-A", "signed", at(18), None))
    first = await shop.declared(line("YQ-A"))
    await books.drain()
    known = (await get(client, "/v1/parcels/zto/YQ-A", schemas.Parcel))["as_of"]["known_at"]
    answer = await shop.withdraw(first["declaration_id"])
    assert (answer.status_code, answer.json()["status"]) == (200, "withdrawn")
    assert (await shop.withdraw(first["declaration_id"])).status_code == 409
    await books.drain()
    assert await parcel(client, "YQ-A") == WAITS
    assert await books.balance("YQ-A") == 0
    then = await get(client, "/v1/parcels/zto/YQ-A/explain", schemas.Explanation, known_at=known)
    assert then["net_fen"] == 100
    again = await shop.declared(line("YQ-A"))
    assert again["declaration_id"] != first["declaration_id"]
    await books.drain()
    assert await parcel(client, "YQ-A") == PAID


async def test_a_declaration_that_dies_between_its_rows_is_ended_by_the_same_file(
    books: Books, shop: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception): ...

    def die(name: str) -> None:
        raise Died

    data = file_of(*(line(f"YQ-{n}") for n in range(10)))
    monkeypatch.setattr(declarations, "CHUNK", 4)
    monkeypatch.setattr(declarations, "hit", die)
    service = Declarations(Known(books.database))
    with pytest.raises(Died):
        await service.submit("mch_9", data, "csv", None, "clerk")
    monkeypatch.setattr(declarations, "hit", lambda name: None)
    (unfinished,) = (await service.all("mch_9", 10, None))["items"]
    assert (unfinished["status"], unfinished["accepted"]) == ("unfinished", 4)
    ended = await service.submit("mch_9", data, "csv", None, "clerk")
    assert (ended["status"], ended["accepted"], ended["duplicate"]) == ("judged", 10, 0)


async def test_what_a_file_or_a_caller_may_get_wrong(
    books: Books, client: httpx.AsyncClient, shop: Merchant, keys: tuple[str, str]
) -> None:
    async def refused(answer: httpx.Response, status: int, code: str) -> None:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text

    sound = file_of(line("YQ-A"))
    await refused(await shop.declare(sound, "text/plain"), 415, "file.type")
    await refused(await shop.declare(sound, "application/json"), 422, "file.not_what_it_claims")
    await refused(await shop.declare(b"x" * ((16 << 20) + 1)), 413, "body.too_large")
    await refused(await shop.declare(sound, wrong="1"), 422, "request.invalid")
    await refused(await Merchant(client, keys[0], "mch_unknown").declare(sound), 409, "merchant.not_registered")
    auditor = await client.post("/v1/declarations", content=sound, headers={"Content-Type": CSV})
    assert auditor.status_code == 403
    assert await books.rows("select * from declaration") == []
    await problem(client, "/v1/declarations/dec_none", 404)
    await problem(client, "/v1/declarations/dec_none/rows", 404)
    await problem(client, "/v1/merchants/mch_none/years/2023", 404)
    await problem(client, "/v1/merchants/mch_9/years/2019", 404)
    assert (await get(client, "/v1/declarations", shapes.Declarations))["items"] == []


# The year


def policy(min_parcels: int, min_sales_fen: int, cap_fen: int) -> tuple[Any, str]:
    text = (POLICIES / "yuanqu-2023.1.toml").read_text()
    for old, new in (
        ("min_parcels = 1000\n", f"min_parcels = {min_parcels}\n"), ("min_sales_fen = 10_000_000\n", f"min_sales_fen = {min_sales_fen}\n"),
        ("cap_fen = 100_000_000\n", f"cap_fen = {cap_fen}\n"),
    ):  # fmt: skip
        assert text.count(old) == 1
        text = text.replace(old, new)
    return load(text.encode()), text


@pytest.fixture
async def year(subsidy_dsns: Any) -> AsyncIterator[Books]:
    """3 parcels and 500 yuan of sales a year, at most 2.50 yuan."""
    async with emptied(subsidy_dsns, [policy(3, 50_000, 250)]) as made:
        yield made
        await made.drain()
        await audit(made)


def on(month: int, day: int) -> datetime:
    return datetime(2023, month, day, 9, tzinfo=SHANGHAI)


async def declare(books: Books, *lines: dict[str, str]) -> None:
    await Declarations(Known(books.database)).submit("mch_9", file_of(*lines), "csv", None, "clerk")
    await books.drain()


async def close(books: Books, *periods: str) -> dict[str, Any]:
    month: dict[str, Any] = {}
    for period in periods:
        month = await Closings(Known(books.database)).close(period, "finance-1")
    return month


async def left(books: Books) -> dict[str, int]:
    return {r["waybill_no"]: r["fen"] for r in await books.rows("select waybill_no, net_fen + adjusted_fen as fen from parcel order by 1")}


async def test_the_cap_of_a_year_cuts_the_latest_first(year: Books) -> None:
    await year.change(merchant(sales_fen=50_000))
    await year.send(*(sent(w, on(7, day)) for w, day in (("YQ-A", 14), ("YQ-B", 15), ("YQ-C", 16), ("YQ-D", 17))))
    await declare(year, *(line(w) for w in ("YQ-A", "YQ-B", "YQ-C", "YQ-D")))
    month = await close(year, "2023-07")
    assert await left(year) == {"YQ-A": 100, "YQ-B": 100, "YQ-C": 50, "YQ-D": 0}
    assert month["net_fen"] == 250
    caps = await year.rows("select kind, reason_codes[1] as reason, amount_fen from payout where kind <> 'accrual' order by 3")
    assert [tuple(r.values()) for r in caps] == [("cap", "cap.annual", -100), ("cap", "cap.annual", -50)]


async def test_what_the_cap_cut_comes_back_when_another_parcel_goes_back(year: Books) -> None:
    await year.change(merchant(sales_fen=50_000))
    await year.send(*(sent(w, on(7, day)) for w, day in (("YQ-A", 14), ("YQ-B", 15), ("YQ-C", 16))))
    await declare(year, *(line(w) for w in ("YQ-A", "YQ-B", "YQ-C")))
    await close(year, "2023-07")
    await year.send(scan("YQ-A", "returned", on(8, 3), None), sent("YQ-D", on(8, 2)))
    await declare(year, line("YQ-D"))
    await close(year, "2023-08")
    assert await left(year) == {"YQ-A": 0, "YQ-B": 100, "YQ-C": 100, "YQ-D": 50}


async def test_a_year_below_its_conditions_is_taken_back_when_it_is_over_and_given_back_when_they_are_met(year: Books) -> None:
    """Two parcels of three, and no sales that anybody has seen; then the third, then the review."""
    await year.change(merchant())
    await year.send(sent("YQ-A", on(11, 14)), sent("YQ-B", on(12, 15)))
    await declare(year, line("YQ-A"), line("YQ-B"))
    await close(year, "2023-11")
    assert await left(year) == {"YQ-A": 100, "YQ-B": 100}
    await close(year, "2023-12")
    assert await left(year) == {"YQ-A": 0, "YQ-B": 0}
    kinds = await year.rows("select distinct kind, reason_codes[1] as reason, period from payout where kind <> 'accrual'")
    assert [tuple(r.values()) for r in kinds] == [("vesting", "vesting.not_met", "2023-12")]
    await year.send(sent("YQ-C", on(12, 30)))
    await declare(year, line("YQ-C"))
    await year.change(merchant(sales_fen=50_000, version=2))
    await close(year, "2024-01")
    assert await left(year) == {"YQ-A": 100, "YQ-B": 100, "YQ-C": 50}


async def test_the_year_is_shown_before_it_is_over(year: Books, subsidy_dsns: Any) -> None:
    await year.change(merchant(sales_fen=20_000))
    await year.send(sent("YQ-A", on(7, 14)))
    await declare(year, line("YQ-A"))
    found = await Declarations(Known(year.database)).year("mch_9", 2023)
    assert (found["parcels"], found["net_fen"], found["reviewed_sales_fen"], found["vested"]) == (1, 100, 20_000, False)
    assert (found["min_parcels"], found["min_sales_fen"], found["cap_fen"]) == (3, 50_000, 250)


@pytest.mark.parametrize("seed", range(3))
async def test_the_year_comes_to_the_same_whatever_comes_first(year: Books, seed: int) -> None:
    """Scans, declarations and closes in any order: after the last close every line is what the order of the year gives it."""
    await year.change(merchant(sales_fen=50_000))
    days = {f"YQ-{n}": on(10 + n % 3, 2 + n) for n in range(7)}
    happens: list[tuple[str, str]] = [(what, w) for w in days for what in ("scan", "declare")]
    chance = random.Random(seed)
    chance.shuffle(happens)
    for at_n, (what, w) in enumerate(happens):
        if what == "scan":
            await year.send(sent(w, days[w]))
        else:
            await declare(year, line(w))
        if at_n == 4 + seed:
            (row,) = await year.rows("select min(period) as period from period_total")
            if row["period"]:
                await close(year, row["period"])
    for period in ("2023-10", "2023-11", "2023-12", "2024-01"):
        rows = await year.rows(
            "select 1 from period_total where period = $1 and not exists (select from period p where p.period = $1)", period
        )
        later = await year.rows("select 1 from period where period >= $1", period)
        if rows and not later:
            await close(year, period)
    in_order = sorted(days, key=lambda w: days[w])
    assert [(await left(year))[w] for w in in_order][:2] == [100, 100]
    assert sum((await left(year)).values()) == 250


async def test_a_hundred_thousand_rows_of_which_one_in_a_hundred_is_wrong(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are sound are accepted, in turns that scans pass between."""
    await books.change(merchant())
    wrong = [{"freight": "-1"}, {"waybill_no": "7.3E+13"}, {"product": "=A1"}, {"declared_on": "2023-02-30"}]
    lines = [line(f"YQ{n:08}", **(wrong[n // 100 % 4] if n % 100 == 0 else {})) for n in range(100_000)]
    service = Declarations(Known(books.database))
    turns = 0

    @contextlib.asynccontextmanager
    async def counted(database: Database) -> AsyncIterator[AdminBatch]:
        nonlocal turns
        turns += 1
        async with admin_batch(database) as batch:
            yield batch

    monkeypatch.setattr(declarations, "admin_batch", counted)
    found = await service.submit("mch_9", file_of(*lines), "csv", "七月.csv", "clerk")
    assert [found[n] for n in ("rows", "judged", "accepted", "duplicate", "refused")] == [100_000, 100_000, 99_000, 0, 1_000]
    assert turns == 1 + 100_000 // declarations.CHUNK + 1
    refused = await service.rows("mch_9", found["declaration_id"], ["refused"], 1000, None)
    assert {r["reason_code"] for r in refused["items"]} == {"freight.invalid", "waybill.rounded", "cell.formula", "date.invalid"}

"""What was known at a revision is what fresh books come to that have been told as much, and no more: parcels, totals, lines."""

import random
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any

import pytest

from services.subsidy.migrate import install
from services.subsidy.schemas import NewBudget
from services.subsidy.schemas_holds import NewHold
from services.subsidy.service.budgets import Budgets
from services.subsidy.service.closing import Closings
from services.subsidy.service.declarations import Declarations
from services.subsidy.service.holds import Holds
from services.subsidy.service.known import Books as Known
from services.subsidy.service.merging import merge
from services.subsidy.service.parcels import Parcels
from services.subsidy.service.tenancy import Tenant
from services.subsidy.settings import POLICIES
from shared.problems import Problem
from tests.conftest import MakeDatabase
from tests.incident_support import incident, policy
from tests.integration.subsidy_books import COUNTY, PARTITIONS, Books, at, cells, emptied, filing, merchant, scan, station
from tests.integration.test_subsidy_closing import FILED_SITE, august, filed_station
from tests.integration.test_subsidy_machine import REVIEWER
from tests.integration.test_subsidy_uplink import file_of, line

pytest_plugins = ("tests.integration.subsidy_fixtures",)
Op = Callable[[Books], Awaitable[object]]
WAYBILLS = [*(f"DOWN{n}" for n in range(8)), *(f"SENT{n}" for n in range(4))]


def life(seed: int) -> list[Op]:
    """Scans, late ones, returns, registry changes, incidents, declarations, holds, money and a close, in some order."""
    chance = random.Random(seed)
    ops: list[Op] = []
    for n in range(8):
        site = chance.choice([FILED_SITE, "上王村便民服务点", "陌生地方"])
        ops.append(lambda b, n=n, site=site: b.send(scan(f"DOWN{n}", scanned_at=chance_day(n), site=site)))  # type: ignore[misc]
    for n in range(4):
        ops.append(lambda b, n=n: b.send(scan(f"SENT{n}", "picked_up", at(5 + n))))  # type: ignore[misc]
        ops.append(lambda b, n=n: declared(b, f"SENT{n}"))  # type: ignore[misc]
    ops += [
        lambda b: b.send(scan("DOWN1", "returned", august(9), None), scan("SENT1", "returned", august(9), None)),
        lambda b: b.change(filed_station(2, at(12))),
        lambda b: b.change(station(filings=[filing(at(3))], version=2)),
        lambda b: b.change(merchant()),
        lambda b: b.change(incident((at(4), "open"), waybills=("DOWN0", "DOWN3"), station_id="stn_42")),
        lambda b: b.change(incident((at(4), "open"), (at(9), "substantiated"), waybills=("DOWN3",), station_id="stn_42")),
        lambda b: b.change(incident((at(4), "open"), waybills=("DOWN1", "DOWN4"), kind="illegal_charge", incident_id="inc_2")),
        lambda b: held(b, "DOWN2"),
        lambda b: Budgets(Known(b.database)).add(MONEY, "finance-1"),
    ]
    chance.shuffle(ops)
    return [*ops[: len(ops) // 2], closed, *ops[len(ops) // 2 :], closed]


def chance_day(n: int) -> datetime:
    return at(2 + n) if n % 3 else august(2 + n)


MONEY = NewBudget(county_code=COUNTY, scheme="downlink", year=2023, source="province", amount_fen=90, document="晋财建〔2023〕1号")


async def declared(books: Books, waybill: str) -> None:
    try:
        await Declarations(Known(books.database)).submit("mch_9", file_of(line(waybill)), "csv", None, "clerk")
    except Problem as refused:
        assert refused.code == "merchant.not_registered"  # noqa: PT017 - in this order nobody had been registered yet


async def held(books: Books, waybill: str) -> None:
    body = NewHold(brand="zto", waybill_no=waybill, reason_code="hold.suspicion", note="同一天三百件")
    try:
        await Holds(Known(books.database)).place(REVIEWER, body)
    except Problem as refused:
        assert refused.status == 404  # noqa: PT017 - in this order it had not been seen yet


async def closed(books: Books) -> None:
    try:
        await Closings(Known(books.database)).close("2023-07", "finance-1")
    except Problem as refused:
        assert refused.code in ("period.not_found", "period.closed")  # noqa: PT017 - nothing posted yet, or closed before


async def told(books: Books, op: Op) -> None:
    await op(books)
    await books.drain()


async def shown(books: Books, known_at: datetime | None) -> dict[str, Any]:
    """Every parcel as the API shows it, without the numbers that name batches."""
    parcels = Parcels(Known(books.database))
    found: dict[str, Any] = {}
    for waybill in WAYBILLS:
        try:
            body = await parcels.show(Tenant(), "zto", waybill, known_at)
            explained = await parcels.explain(Tenant(), "zto", waybill, known_at)
        except Problem as missing:
            assert missing.status == 404  # noqa: PT017
            continue
        plain = (
            "direction",
            "outcome",
            "reason_codes",
            "net_fen",
            "held_fen",
            "beneficiary_id",
            "station_id",
            "service_date",
            "payout_ids",
        )
        found[waybill] = {name: body[name] for name in plain} | {n: explained[n] for n in ("steps", "arithmetic", "alternatives")}
    return found


@pytest.fixture(scope="module")
async def fresh_dsns(make_database: MakeDatabase) -> Any:
    dsns = await make_database("subsidy")
    await install(dsns.owner, PARTITIONS, POLICIES)
    return dsns


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_known_then_is_what_a_replay_comes_to(subsidy_dsns: Any, fresh_dsns: Any, seed: int) -> None:
    ops = life(seed)
    stops = sorted(random.Random(seed).sample(range(1, len(ops)), 4))
    then: list[tuple[int, int, datetime]] = []
    async with emptied(subsidy_dsns, [policy()]) as books:
        await books.change(filed_station())
        for n, op in enumerate(ops, 1):
            await told(books, op)
            if n in stops:
                (row,) = await books.rows("select revision, recorded_at from batch order by revision desc limit 1")
                then.append((n, row["revision"], row["recorded_at"]))
        await merge(books.database, date.max)
        for n, revision, recorded_at in then:
            async with emptied(fresh_dsns, [policy()]) as fresh:
                await fresh.change(filed_station())
                for op in ops[:n]:
                    await told(fresh, op)
                assert await shown(books, recorded_at) == await shown(fresh, None)
                for basis in ("service", "posted"):
                    assert await cells(books, basis, now=False, revision=revision) == await cells(fresh, basis, now=True), basis

"""A filing stays within its filer's licence and ends with it: by a cancellation at once, by its term when the worker looks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from services.registry.domain import licences as rules
from services.registry.service import licences
from shared.contracts.registry import Filing, Licence
from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, VILLAGE, Registry, day, running

COUNTY, CITY, PROVINCE, TOWN = "140827000000", "140800000000", "140000000000", "140827100000"


@pytest.fixture
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


@pytest.mark.parametrize(
    ("area", "inside"),
    [
        *((area, True) for area in (COUNTY, CITY, PROVINCE, TOWN, VILLAGE)),
        *((area, False) for area in (OTHER_VILLAGE, "140827101000", "140826000000", "140700000000", "410000000000")),
    ],
)
def test_what_lies_in_an_area(area: str, inside: bool) -> None:
    assert rules.within(VILLAGE, area) is inside


def test_a_licence_covers_from_its_beginning_to_the_first_of_its_ends() -> None:
    at = datetime(2023, 6, 1, tzinfo=UTC)
    licence = Licence(
        licence_id="lic_1", number="1", authority="a", holder="h", areas=(COUNTY,), valid_from=at, valid_to=at + timedelta(days=10),
        ended_at=at + timedelta(days=5), reason=None,
    )  # fmt: skip
    filing = Filing(
        filing_id="fil_1", filer_id="opr_1", covers_brands=("zto",), authority="a", opened_on=at.date(), submitted_at=None, decided_at=None,
        segments=(),
    )  # fmt: skip
    days = [rules.covers(licence, filing, VILLAGE, at + timedelta(days=n)) for n in (-1, 0, 4, 5, 9)]
    assert days == [False, True, True, False, False]
    scopes: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        ((), ("国内",)),
        (("国内",), ()),
        (("国内", "国际"), ("国内",)),
        (("国内",), ("国际",)),
    ]
    told = [rules.covers(replace(licence, scope=a), replace(filing, scope=b), VILLAGE, at) for a, b in scopes]
    assert told == [True, True, True, False], "where one of the two tells nothing, nothing contradicts it"


async def licence(registry: Registry, operator: str, *, expect: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"number": "晋邮20230001", "authority": "山西省邮政管理局", "holder": "垣曲分公司", "areas": [COUNTY], "valid_from": day(1, 1)}
    made: dict[str, Any] = await registry.call("POST", f"/v1/operators/{operator}/licences", body | fields, expect=expect)
    return made


async def statuses(registry: Registry, station: str, **query: Any) -> list[tuple[str, str]]:
    found = await registry.get(f"/v1/stations/{station}/filings", history=True, **query)
    return [(i["status"], i["valid_from"][:10]) for i in found["items"] if i["superseded_at"] is None]


async def filed(registry: Registry, operator: str, at: str = day(6, 12)) -> tuple[str, str]:
    """-> (station, filing), filed from `at` on."""
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator, status="submitted")
    await registry.move(filing, "filed", at, receipt_no="YQ-1")
    return station, filing


async def test_nothing_is_filed_beyond_its_scope(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    made = await licence(registry, operator, number="晋邮20230077", scope=["国内快递"])
    assert made["licences"][0]["scope"] == ["国内快递"]
    abroad = await registry.filing(station, operator, status="submitted", scope=["国内快递", "国际快递"])
    to = {"to": "filed", "effective_at": day(6, 12), "receipt_no": "YQ-77"}
    refused = await registry.call("POST", f"/v1/filings/{abroad}/transitions", to, expect=422)
    assert refused["errors"][0]["code"] == "filing.beyond_licence"
    await licence(registry, operator, number="晋邮20230078", scope=["国际快递", "国内快递"])
    shown = await registry.call("POST", f"/v1/filings/{abroad}/transitions", to)
    assert (shown["status"], shown["scope"]) == ("filed", ["国内快递", "国际快递"])


async def test_nothing_is_filed_beyond_a_licence(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator, status="submitted")
    (shown,) = (await licence(registry, operator, valid_to=day(7, 1)))["licences"]
    assert shown["status"] in ("valid", "expired")
    for at in (day(7, 1), day(8, 1)):
        refused = await registry.call(
            "POST", f"/v1/filings/{filing}/transitions", {"to": "filed", "effective_at": at, "receipt_no": "YQ-1"}, expect=422
        )
        assert (refused["errors"][0]["code"], refused["errors"][0]["pointer"]) == ("filing.beyond_licence", "/effective_at")
    correction = {"valid_from": day(8, 1), "status": "filed", "receipt_no": "YQ-1", "reason": "误记"}
    refused = await registry.call("POST", f"/v1/filings/{filing}/corrections", correction, expect=422)
    assert refused["errors"][0]["code"] == "filing.beyond_licence"
    await registry.move(filing, "filed", day(6, 30), receipt_no="YQ-1")
    elsewhere = await registry.operator()
    await licence(registry, elsewhere, number="晋邮20230002", areas=["140829000000"])
    other = await registry.station(operator_id=elsewhere, name="下王村便民服务点", division_code=OTHER_VILLAGE)
    body = {"filer_id": elsewhere, "covers_brands": ["zto"], "authority": "运城市邮政管理局", "opened_on": "2023-05-30"}
    body |= {"effective_at": day(6, 1), "status": "filed", "receipt_no": "YQ-2"}
    refused = await registry.call("POST", f"/v1/stations/{other}/filings", body, expect=422)
    assert refused["errors"][0]["code"] == "filing.beyond_licence"


async def test_a_cancelled_licence_takes_its_filings_with_it(registry: Registry) -> None:
    operator = await registry.operator()
    made = await licence(registry, operator)
    (one,) = made["licences"]
    station, _ = await filed(registry, operator)
    untouched, _ = await filed_by_another(registry)
    before = made["as_of"]["revision"]
    path = f"/v1/operators/{operator}/licences/{one['licence_id']}/end"
    ended = await registry.call("POST", path, {"effective_at": day(9, 1), "reason": "许可注销"}, expect=200)
    assert [(i["status"], i["ended_at"], i["reason"]) for i in ended["licences"]] == [("ended", day(9, 1), "许可注销")]
    assert await statuses(registry, station) == [("submitted", "2023-06-01"), ("filed", "2023-06-12"), ("lapsed", "2023-09-01")]
    assert (await statuses(registry, untouched))[-1][0] == "filed"
    for at, is_filed in ((day(8, 31), True), (day(9, 1), False)):
        standing = await registry.get("/v1/standing", station_id=station, brand="zto", valid_at=at)
        assert standing["filed"] is is_filed
        assert standing["as_of"]["revision"] > before
    believed = await registry.get(
        "/v1/standing", station_id=station, brand="zto", valid_at=day(9, 1), known_revision=ended["as_of"]["revision"] - 1
    )
    assert believed["filed"] is True, "what was believed stays readable"
    again = await registry.call("POST", path, {"effective_at": day(9, 2), "reason": "再次"}, expect=409)
    assert again["code"] == "licence.ended"
    missing = f"/v1/operators/{operator}/licences/lic_999/end"
    assert (await registry.call("POST", missing, {"effective_at": day(9, 2), "reason": "x"}, expect=404))["code"] == "licence.not_found"


async def filed_by_another(registry: Registry) -> tuple[str, str]:
    """By an operator whose licences nobody has recorded."""
    operator = await registry.operator()
    station = await registry.station(operator_id=operator, name="下王村便民服务点", division_code=OTHER_VILLAGE)
    filing = await registry.filing(station, operator, status="submitted")
    await registry.move(filing, "filed", day(6, 12), receipt_no="YQ-9")
    return station, filing


async def test_a_term_that_is_over_is_noticed_and_a_renewal_in_time_is_none(registry: Registry) -> None:
    operator = await registry.operator()
    await licence(registry, operator, valid_to=day(9, 1))
    station, _ = await filed(registry, operator)
    renewed = await registry.operator()
    await licence(registry, renewed, number="晋邮20230002", valid_to=day(9, 1))
    await licence(registry, renewed, number="晋邮20230003", valid_from=day(9, 1))
    kept = await registry.station(operator_id=renewed, name="下王村便民服务点", division_code=OTHER_VILLAGE)
    filing = await registry.filing(kept, renewed, status="submitted")
    await registry.move(filing, "filed", day(6, 12), receipt_no="YQ-2")
    assert await licences.lapse(registry.database) == 1
    assert await licences.lapse(registry.database) == 0, "once"
    assert (await statuses(registry, station))[-1] == ("expired", "2023-09-01")
    assert (await statuses(registry, kept))[-1] == ("filed", "2023-06-12")
    rows = (await registry.get(f"/v1/stations/{station}/filings", history=True))["items"]
    (last,) = [r for r in rows if r["status"] == "expired"]
    assert (last["actor"], last["receipt_no"]) == ("system", "YQ-1")
    assert "第八、十条" in last["reason"]


async def test_the_worker_looks_until_it_is_stopped(registry: Registry) -> None:
    operator = await registry.operator()
    await licence(registry, operator, valid_to=day(9, 1))
    station, _ = await filed(registry, operator)
    stop = asyncio.Event()
    looking = asyncio.create_task(licences.run(registry.database, stop))
    for _ in range(100):
        if (await statuses(registry, station))[-1][0] == "expired":
            break
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(looking, 2)
    assert (await statuses(registry, station))[-1][0] == "expired"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"areas": []}, 422, "too_short"),
        ({"areas": ["1408"]}, 422, "string_pattern_mismatch"),
        ({"number": " "}, 422, "text.blank"),
        ({"valid_to": day(1, 1)}, 422, "period.empty"),
        ({"valid_from": "2099-01-01T00:00:00+08:00"}, 422, "moment.too_far_ahead"),
    ],
)
async def test_a_wrong_licence_changes_nothing(registry: Registry, fields: dict[str, Any], status: int, code: str) -> None:
    operator = await registry.operator()
    told = await licence(registry, operator, expect=status, **fields)
    assert [e["code"] for e in told["errors"]] == [code]
    assert (await registry.get(f"/v1/operators/{operator}"))["licences"] == []


async def test_a_number_is_one_operators(registry: Registry) -> None:
    one, other = await registry.operator(), await registry.operator()
    made = await licence(registry, one)
    told = await licence(registry, other, expect=409)
    assert (told["code"], one in told["detail"]) == ("licence.number_taken", True)
    path = f"/v1/operators/{one}/licences/{made['licences'][0]['licence_id']}/end"
    early = await registry.call("POST", path, {"effective_at": "2022-12-31T00:00:00+08:00", "reason": "x"}, expect=422)
    assert early["errors"][0]["code"] == "licence.not_valid_then"
    await licence(registry, "opr_999", expect=404)

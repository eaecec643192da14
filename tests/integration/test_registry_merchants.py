"""Merchants over the real database, by HTTP: registered by the county, told by themselves, decided by a reviewer who told nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, VILLAGE, Registry, day, running

TAOBAO, DOUYIN = {"platform": "淘宝", "shop": "历山核桃铺"}, {"platform": "抖音", "shop": "垣曲山货"}


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def registered(registry: Registry, name: str, **fields: Any) -> dict[str, Any]:
    body = {"name": name, "kind": "enterprise", "registered_on": "2022-05-01", "division_code": VILLAGE, "shops": [TAOBAO]}
    answer: dict[str, Any] = await registry.call("POST", "/v1/merchants", body | {"effective_at": day(1, 5)} | fields, expect=201)
    return answer


async def decide(registry: Registry, merchant: dict[str, Any], decision: str, at: str, expect: int | None = None, **fields: Any) -> Any:
    body = {"decision": decision, "version": merchant["version"], "effective_at": at} | fields
    path = f"/v1/merchants/{merchant['merchant_id']}/qualification"
    return await registry.call("POST", path, body, role="reviewer", expect=expect)


async def test_an_applicant_is_submitted_until_a_reviewer_approves_it_with_its_shops(registry: Registry) -> None:
    new = await registered(registry, "甲农业公司")
    assert (new["qualification"], new["shops"]) == ("submitted", [TAOBAO | {"approved": False}])
    approved = await decide(registry, new, "approved", day(2, 1))
    assert (approved["qualification"], approved["shops"]) == ("approved", [TAOBAO | {"approved": True}])
    path = f"/v1/merchants/{new['merchant_id']}"
    assert (await registry.get(path, valid_at=day(1, 20)))["qualification"] == "submitted"
    assert (await registry.get(path, valid_at=day(3, 1)))["qualification"] == "approved"
    assert (await registry.get(path, valid_at=day(3, 1), known_at=new["as_of"]["known_at"]))["qualification"] == "submitted"


async def test_a_shop_that_is_added_is_not_approved_and_the_others_stay(registry: Registry) -> None:
    shop = {"platform": "淘宝", "shop": "乙的铺子"}
    new = await registered(registry, "乙合作社", shops=[shop])
    await decide(registry, new, "approved", day(2, 1))
    path = f"/v1/merchants/{new['merchant_id']}"
    changed = await registry.call(
        "PATCH", path, {"shops": [shop, DOUYIN], "effective_at": day(3, 1)}, role="merchant", merchant=new["merchant_id"]
    )
    assert changed["qualification"] == "approved"
    assert changed["shops"] == [shop | {"approved": True}, DOUYIN | {"approved": False}]
    again = await decide(registry, changed, "approved", day(3, 2))
    assert all(s["approved"] for s in again["shops"])


async def test_another_identity_is_under_review_again(registry: Registry) -> None:
    new = await registered(registry, "丙公司", shops=[])
    await decide(registry, new, "approved", day(2, 1))
    path = f"/v1/merchants/{new['merchant_id']}"
    changed = await registry.call("PATCH", path, {"division_code": OTHER_VILLAGE, "effective_at": day(4, 1)})
    assert (changed["qualification"], changed["division_code"]) == ("submitted", OTHER_VILLAGE)
    assert (await registry.get(path, valid_at=day(3, 1)))["qualification"] == "approved"


async def test_nobody_decides_about_what_they_told_or_what_changed_since_they_looked(registry: Registry) -> None:
    new = await registered(registry, "丁公司", shops=[])
    mine = new["merchant_id"]
    stale = await registry.call("PATCH", f"/v1/merchants/{mine}", {"licence_no": "L-4", "effective_at": day(1, 6)})
    refused = await decide(registry, new, "approved", day(2, 1), expect=409)
    assert refused["code"] == "merchant.changed"
    body = {"decision": "approved", "version": stale["version"], "effective_at": day(2, 1)}
    own = await registry.call("POST", f"/v1/merchants/{mine}/qualification", body, role="merchant", merchant=mine, expect=403)
    assert own["code"] == "scope.missing"
    without = await decide(registry, stale, "rejected", day(2, 1), expect=422)
    assert without["errors"][0]["pointer"] == "/reason"
    rejected = await decide(registry, stale, "rejected", day(2, 1), reason="执照已注销")
    assert (rejected["qualification"], rejected["reason"]) == ("rejected", "执照已注销")
    assert (await decide(registry, rejected, "withdrawn", day(2, 2), expect=409, reason="x"))["code"] == "merchant.decision_not_allowed"


async def test_a_years_sales_are_declared_and_reviewed(registry: Registry) -> None:
    new = await registered(registry, "戊公司", shops=[])
    path = f"/v1/merchants/{new['merchant_id']}/sales"
    told = await registry.call("POST", path, {"year": 2023, "sales_fen": 12_000_000, "document": "后台截图 7 张"})
    assert told["sales"] == [{"year": 2023, "sales_fen": 12_000_000, "document": "后台截图 7 张", "status": "declared", "reason": None}]
    seen = {"decision": "reviewed", "version": told["version"]}
    reviewed = await registry.call("POST", f"{path}/2023/review", seen, role="reviewer")
    assert reviewed["sales"][0]["status"] == "reviewed"
    assert (await registry.call("POST", f"{path}/2022/review", seen | {"version": reviewed["version"]}, role="reviewer", expect=404))[
        "code"
    ] == "sales.not_found"
    again = await registry.call("POST", path, {"year": 2023, "sales_fen": 9_000_000, "document": "更正"})
    assert again["sales"][0]["status"] == "declared"
    assert (await registry.call("POST", path, {"year": 2099, "sales_fen": 1, "document": "x"}, expect=422))["errors"]


async def test_one_applicant_is_registered_once_and_one_shop_is_one_applicants(registry: Registry) -> None:
    shop = {"platform": "快手", "shop": "同一个铺子"}
    first = await registered(registry, "己公司", licence_no="L-6", shops=[shop])
    base = {"kind": "enterprise", "registered_on": "2022-05-01", "division_code": VILLAGE, "shops": [shop], "effective_at": day(1, 5)}
    same = await registry.call("POST", "/v1/merchants", base | {"name": "别名", "licence_no": "L－6"}, expect=409)
    assert same["code"] == "merchant.licence_taken"
    assert (await registry.call("POST", "/v1/merchants", base | {"name": "己 公司"}, expect=409))["code"] == "merchant.name_taken"
    second = await registered(registry, "庚公司", shops=[shop])
    await decide(registry, first, "approved", day(2, 1))
    assert (await decide(registry, second, "approved", day(2, 1), expect=409))["code"] == "merchant.shop_taken"


async def test_who_sees_what(registry: Registry) -> None:
    new = await registered(registry, "张三", kind="individual", licence_no="L-7", shops=[])
    path = f"/v1/merchants/{new['merchant_id']}"
    hidden = await registry.get(path, role="dashboard")
    assert (hidden["name"], hidden["licence_no"], hidden["sales"], hidden["shops"]) == (None, None, [], [])
    assert hidden["redacted"] == ["licence_no", "name", "reason", "sales", "shops"]
    assert (await registry.get(path, role="auditor"))["licence_no"] == "L-7"
    assert (await registry.call("GET", path, role="merchant", merchant="mch_none", expect=404))["code"] == "merchant.not_found"
    own = await registry.call("GET", "/v1/merchants", role="merchant", merchant=new["merchant_id"])
    assert [m["merchant_id"] for m in own["items"]] == [new["merchant_id"]]
    body = {"name": "x", "kind": "enterprise", "registered_on": "2022-05-01", "division_code": VILLAGE, "effective_at": day(1, 5)}
    refused = await registry.call("POST", "/v1/merchants", body, role="merchant", merchant=new["merchant_id"], expect=403)
    assert refused["code"] == "merchant.registered_by_county"


async def test_history_says_who_recorded_what_and_nothing_is_erased(registry: Registry) -> None:
    new = await registered(registry, "辛公司", shops=[])
    path = f"/v1/merchants/{new['merchant_id']}"
    await decide(registry, new, "approved", day(2, 1))
    await registry.call("PATCH", path, {"name": "辛集团", "effective_at": day(1, 5)})  # back-dated: until the next recorded change
    told = (await registry.get(f"{path}/history"))["items"]
    assert [(row["version"], row["actor"]) for row in told] == [(3, "test:coordinator"), (2, "test:reviewer"), (1, "test:coordinator")]
    assert [row["segments"][0]["name"] for row in told] == ["辛集团", "辛公司", "辛公司"]
    assert told[0]["superseded_at"] is None
    assert told[1]["superseded_at"] == told[0]["recorded_at"]
    listed = await registry.get("/v1/merchants", q="辛集团", valid_at=day(1, 10))
    assert len(listed["items"]) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"registered_on": "2023-02-01"}, "merchant.before_registration"),
        ({"division_code": "140827999999"}, "division.unknown"),
        ({"shops": [TAOBAO] * 51}, None),
        ({"name": ""}, None),
        ({"kind": "person"}, None),
        ({"registered_on": "1900-01-01"}, None),
        ({"colour": "red"}, None),
    ],
)
async def test_bad_input_changes_nothing(registry: Registry, change: dict[str, Any], code: str | None) -> None:
    before = (await registry.get("/v1/merchants"))["as_of"]["revision"]
    body = {"name": "坏", "kind": "enterprise", "registered_on": "2022-05-01", "division_code": VILLAGE, "effective_at": day(1, 5)}
    refused = await registry.call("POST", "/v1/merchants", body | change, expect=422)
    assert code in (None, refused["errors"][0]["code"])
    assert (await registry.get("/v1/merchants"))["as_of"]["revision"] == before

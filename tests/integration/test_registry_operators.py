"""Lead operators 动态管理: admitted, suspended, removed, with reason and dates; and what a removed one is not given."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import Registry, day, running, station_body


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def change(registry: Registry, operator: str, expect: int = 200, **fields: Any) -> Any:
    return await registry.call("PATCH", f"/v1/operators/{operator}", fields, expect=expect)


async def test_an_operator_is_suspended_admitted_again_and_removed(registry: Registry) -> None:
    operator = await registry.operator("动态管理甲")
    first = await registry.get(f"/v1/operators/{operator}")
    assert (first["status"], first["reason"]) == ("admitted", None)
    suspended = await change(registry, operator, status="suspended", reason="违规收费，限期整改", effective_at=day(5, 1))
    assert (suspended["status"], suspended["reason"], suspended["valid_from"]) == ("suspended", "违规收费，限期整改", day(5, 1))
    await change(registry, operator, status="admitted", effective_at=day(6, 1))
    await change(registry, operator, status="removed", reason="整改后再次违规", effective_at=day(8, 1))
    told = []
    for at in (day(4, 30), day(5, 1), day(6, 1), day(8, 1)):
        one = await registry.get(f"/v1/operators/{operator}", valid_at=at)
        told.append((one["status"], one["reason"]))
    assert told == [("admitted", None), ("suspended", "违规收费，限期整改"), ("admitted", None), ("removed", "整改后再次违规")]
    before = await registry.get(f"/v1/operators/{operator}", valid_at=day(8, 1), known_at=first["as_of"]["known_at"])
    assert before["status"] == "admitted", "what was believed stays readable"
    listed = await registry.get("/v1/operators", status="removed,suspended", valid_at=day(8, 2))
    assert [i["operator_id"] for i in listed["items"]] == [operator]
    body = station_body(operator_id=operator)
    refused = await registry.call("POST", "/v1/stations", body | {"effective_at": day(8, 1)}, expect=422)
    assert [(e["code"], e["pointer"]) for e in refused["errors"]] == [("operator.removed", "/operator_id")]
    await registry.call("POST", "/v1/stations", body | {"effective_at": day(5, 2)})  # suspended: nothing is taken from it


async def test_it_is_renamed_and_its_earlier_name_stays_its_own(registry: Registry) -> None:
    operator = await registry.operator("改名前的公司")
    await change(registry, operator, name="改名后的公司", effective_at=day(7, 1))
    names = [(await registry.get(f"/v1/operators/{operator}", valid_at=at))["name"] for at in (day(6, 30), day(7, 1))]
    assert names == ["改名前的公司", "改名后的公司"]
    other = await registry.operator("另一家公司")
    taken = await change(registry, other, expect=409, name="改名后的公司", effective_at=day(8, 1))
    assert (taken["code"], operator in taken["detail"]) == ("operator.name_taken", True)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 422, "patch.empty"),
        ({"status": "removed"}, 422, "operator.reason_required"),
        ({"reason": "无状态"}, 422, "operator.reason_alone"),
        ({"status": "gone", "reason": "x"}, 422, "enum"),
        ({"name": None}, 422, "string_type"),
        ({"status": "suspended", "reason": "x", "effective_at": "2022-06-01T00:00:00+08:00"}, 409, "operator.not_registered_then"),
    ],
)
async def test_a_wrong_change_is_told_and_changes_nothing(registry: Registry, fields: dict[str, Any], status: int, code: str) -> None:
    operator = await registry.operator()
    before = await registry.get(f"/v1/operators/{operator}")
    told = await change(registry, operator, expect=status, **{"effective_at": day(3, 1)} | fields)
    assert code in [told["code"], *(e["code"] for e in told["errors"])]
    assert (await registry.get(f"/v1/operators/{operator}"))["version"] == before["version"]


async def test_nobody_changes_an_operator_that_is_none(registry: Registry) -> None:
    for missing in ("opr_999999", "nothing"):
        told = await change(registry, missing, expect=404, name="x", effective_at=day(3, 1))
        assert told["code"] == "operator.not_found"

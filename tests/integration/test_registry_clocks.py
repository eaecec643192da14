"""`/v1/clocks` and the map of stations, over the API: filters, two times, whose they are."""

from collections.abc import AsyncIterator

import pytest

from services.registry.domain import working_days
from tests.conftest import MakeDatabase
from tests.registry_api import AUTHORITY, OTHER_VILLAGE, TOWN, VILLAGE, Registry, day, running


@pytest.fixture
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def test_what_is_due_overdue_and_by_whom(registry: Registry) -> None:
    mine, other = await registry.operator("甲"), await registry.operator("乙")
    filed = await registry.station(operator_id=mine, effective_at=day(6, 1))
    await registry.station(operator_id=other, name="下王村便民服务点", division_code=OTHER_VILLAGE, effective_at=day(6, 15))
    filing = await registry.filing(filed, mine, status="submitted", opened_on="2023-06-01", effective_at=day(6, 19))

    told = await registry.get("/v1/clocks", valid_at=day(6, 22))
    assert told["calendar_ends_on"] == working_days.ENDS.isoformat()
    assert [(i["clock"], i["status"], i["due_on"], i["days_left"]) for i in told["items"]] == [
        ("filing.correction_notice", "overdue", "2023-06-21", -1),
        ("filing.decision", "due", "2023-06-27", 5),
        ("filing.opening", "due", "2023-07-05", 13),
    ]
    notice, decision, opening = told["items"]
    assert (notice["filing_id"], notice["responsible"], notice["responsible_name"]) == (filing, "authority", AUTHORITY)
    assert (notice["informational"], notice["counted_in"], decision["basis"]) == (
        True,
        "working_days",
        "《快递末端网点备案暂行规定》第七条",
    )
    assert (opening["responsible_id"], opening["responsible_name"], opening["about"]) == (other, "乙", ["zto"])
    for query, expected in (
        ({"status": "overdue"}, [notice]),
        ({"clock": "filing.opening,filing.change"}, [opening]),
        ({"responsible": "authority"}, [notice, decision]),
        ({"due_before": "2023-06-27"}, [notice]),
        ({"station_id": filed}, [notice, decision]),
        ({"township_code": TOWN, "limit": 1}, [notice]),
        ({"township_code": "140827999000"}, []),
    ):
        assert (await registry.get("/v1/clocks", valid_at=day(6, 22), **query))["items"] == expected, query
    (own,) = (await registry.call("GET", f"/v1/clocks?valid_at={day(6, 22)[:19]}Z", role="operator", operator=other, expect=200))["items"]
    assert own["clock"] == "filing.opening", "another's clocks are nobody's business"

    await registry.move(filing, "filed", day(6, 20), receipt_no="YQ-1")
    assert [i["clock"] for i in (await registry.get("/v1/clocks", valid_at=day(6, 22)))["items"]] == ["filing.opening"]
    before = await registry.get("/v1/clocks", valid_at=day(6, 22), known_at=told["as_of"]["known_at"])
    assert before["items"] == told["items"], "what was believed stays readable"
    assert (await registry.get("/v1/clocks", valid_at=day(5, 1)))["items"] == []


@pytest.mark.parametrize("query", [{"clock": "filing.openin"}, {"status": "late"}, {"due_before": "1688000000"}, {"township_code": "14"}])
async def test_a_misspelt_filter_is_told(registry: Registry, query: dict[str, str]) -> None:
    answer = await registry.client.get("/v1/clocks", params=query, headers=registry.token("auditor"))
    assert answer.status_code == 422


async def test_the_map_has_what_the_list_has(registry: Registry) -> None:
    placed = await registry.station(location={"lat": 35.29, "lng": 111.67})
    await registry.station(name="下王村便民服务点", division_code=OTHER_VILLAGE)
    answer = await registry.client.get("/v1/stations.geojson", headers=registry.token("auditor"))
    assert answer.headers["content-type"] == "application/geo+json"
    found = answer.json()
    assert (found["type"], [f["geometry"] for f in found["features"]]) == (
        "FeatureCollection",
        [{"type": "Point", "coordinates": [111.67, 35.29]}, None],
    )
    listed = (await registry.get("/v1/stations"))["items"]
    assert [f["properties"] for f in found["features"]] == listed
    assert found["features"][0]["id"] == placed
    (one,) = (await registry.get("/v1/stations.geojson", q="xwc"))["features"]
    assert one["properties"]["division_code"] == OTHER_VILLAGE
    assert [i["division_code"] for i in (await registry.get("/v1/stations", q="shangwang"))["items"]] == [VILLAGE]
    unchanged = await registry.client.get(
        "/v1/stations.geojson", headers=registry.token("auditor") | {"If-None-Match": answer.headers["etag"]}
    )
    assert unchanged.status_code == 304

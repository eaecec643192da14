"""What a caller gets wrong is told to the caller: never a 5xx, and nothing is recorded."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import JUNE, Registry, day, filing_body, running, station_body


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        await started.operator()
        await started.station()
        yield started


async def revision(registry: Registry) -> int:
    return int((await registry.get("/v1/divisions", limit=1))["as_of"]["revision"])


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"unknown": 1}, "/unknown"),
        ({"name": "nul\u0000"}, "/name"),
        ({"name": "\u202e反"}, "/name"),
        ({"name": "  "}, "/name"),
        ({"name": "长" * 101}, "/name"),
        ({"name": 10**30}, "/name"),
        ({"name": None}, "/name"),
        ({"level": "province"}, "/level"),
        ({"division_code": "14082710020"}, "/division_code"),
        ({"division_code": "１４０８２７１００２００"}, "/division_code"),
        ({"brands": ["zt0"]}, "/brands/0"),
        ({"brands": "zto"}, "/brands"),
        ({"operating_status": "opened"}, "/operating_status"),
        ({"location": {"lat": 91, "lng": 0}}, "/location"),
        ({"location": {"lat": 10**30, "lng": 0}}, "/location"),
        ({"location": {"lat": 35, "lng": 111, "crs": "GCJ02"}}, "/location/crs"),
        ({"operator_id": "opr_1' or 1=1"}, "/operator_id"),
        ({"operator_id": "opr_999"}, "/operator_id"),
        ({"effective_at": "2023-06-01T00:00:00"}, "/effective_at"),
        ({"effective_at": "2023-02-30T00:00:00+08:00"}, "/effective_at"),
        ({"effective_at": "0001-01-01T00:00:00+08:00"}, "/effective_at"),
        ({"effective_at": "9999-12-31T23:59:59-12:00"}, "/effective_at"),
        ({"effective_at": 10**30}, "/effective_at"),
        ({"aliases": [{"namespace": "zto"}]}, "/aliases/0/site_code"),
        ({"aliases": [{"namespace": "zto", "site_name": "甲", "site_code": "A"}]}, "/aliases/0/site_code"),
        ({"aliases": [{"namespace": "zto", "site_name": "甲", "valid_to": day(2, 1)}]}, "/aliases/0/valid_to"),
        ({"aliases": [{"namespace": "zto", "site_name": f"甲{i}"} for i in range(51)]}, "/aliases"),
    ],
)
async def test_a_wrong_station_is_422_with_a_pointer(registry: Registry, fields: dict[str, Any], pointer: str) -> None:
    before = await revision(registry)
    answer = await registry.call("POST", "/v1/stations", station_body(**fields), expect=422)
    assert pointer in [e["pointer"] for e in answer["errors"]]
    assert await revision(registry) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"\xff"', b"[" * 5000, b'{"name": "\\ud800"}', b"\x00"])
async def test_what_is_no_json_object_is_refused(registry: Registry, body: bytes) -> None:
    headers = registry.token("admin") | {"content-type": "application/json", "accept-language": "en"}
    answer = await registry.client.post("/v1/stations", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_large_body_is_413(registry: Registry) -> None:
    answer = await registry.client.post(
        "/v1/stations", content=b" " * 70_000, headers=registry.token("admin") | {"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body.too_large")


@pytest.mark.parametrize(
    "query",
    [
        "cursor=!!!",
        "cursor=e30",
        "cursor=eyJyIjoxLCJ2IjoiMjAyMyIsIm8iOjB9",  # {"r":1,"v":"2023","o":0}
        "cursor=eyJyIjo5OTk5OTksInYiOiIyMDIzLTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwibyI6MH0",  # a revision that is not there
        "limit=0",
        "limit=1001",
        "limit=" + "9" * 30,
        "valid_at=yesterday",
        "known_at=2023-06-01",
        "level=vilage",
        "operating_status=opened",
        "filing_status=filled",
        "brand=zt0",
        "townshp_code=140827100000",
        "q=" + "x" * 101,
    ],
)
async def test_a_wrong_filter_is_422_rather_than_an_empty_list(registry: Registry, query: str) -> None:
    answer = await registry.client.get(f"/v1/stations?{query}", headers=registry.token("auditor"))
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("query", ["kind=vilage", "kind=village,vilage", "parent_code=14082710", "kinds=village"])
async def test_a_wrong_filter_of_divisions_is_422(registry: Registry, query: str) -> None:
    answer = await registry.client.get(f"/v1/divisions?{query}", headers=registry.token("auditor"))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"#query/{query.split('=')[0]}")


async def test_a_write_with_a_query_that_it_does_not_know_writes_nothing(registry: Registry) -> None:
    before = await revision(registry)
    body = {"name": "试一试", "effective_at": JUNE}
    answer = await registry.call("POST", "/v1/operators?dry_run=1", body, expect=422)
    assert answer["errors"][0]["pointer"] == "#query/dry_run"
    assert await revision(registry) == before


async def test_a_name_that_no_consumer_can_have_is_422(registry: Registry) -> None:
    await registry.call("PUT", "/v1/log/consumers/Sub%20sidy", {"positions": []}, role="service", expect=422)


@pytest.mark.parametrize("station", ["stn_999999", "nothing", "stn_1%00", "stn_" + "9" * 40, "站"])
async def test_what_is_not_there_is_404(registry: Registry, station: str) -> None:
    for path in (f"/v1/stations/{station}", f"/v1/stations/{station}/filings"):
        assert (await registry.client.get(path, headers=registry.token("auditor"))).status_code == 404
    change = {"name": "x", "effective_at": JUNE}
    assert (await registry.client.patch(f"/v1/stations/{station}", json=change, headers=registry.token("admin"))).status_code == 404


async def test_a_change_of_nothing_is_refused(registry: Registry) -> None:
    await registry.call("PATCH", "/v1/stations/stn_2", {"effective_at": JUNE}, expect=422)
    for field in ("name", "brands", "operating_status", "division_code", "level", "station_id", "version"):
        answer = await registry.call("PATCH", "/v1/stations/stn_2", {field: None, "effective_at": JUNE}, expect=422)
        assert answer["errors"][0]["pointer"] == f"/{field}"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"covers_brands": []}, "/covers_brands"),
        ({"filer_id": "opr_999"}, "/filer_id"),
        ({"opened_on": "2023-13-01"}, "/opened_on"),
        ({"status": "none"}, "/status"),
        ({"status": "filed", "receipt_no": "R", "submitted_at": day(6, 2), "decided_at": day(6, 1)}, "/decided_at"),
        ({"status": "submitted", "decided_at": day(6, 1)}, "/decided_at"),
        ({"status": "draft", "submitted_at": day(6, 1)}, "/submitted_at"),
        ({"recorded_at": JUNE}, "/recorded_at"),
    ],
)
async def test_a_wrong_filing_is_422_with_a_pointer(registry: Registry, fields: dict[str, Any], pointer: str) -> None:
    answer = await registry.call("POST", "/v1/stations/stn_2/filings", filing_body(filer_id="opr_1") | fields, expect=422)
    assert answer["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(("partition", "status"), [("1", 404), ("-1", 422), ("9" * 30, 422), ("x", 422)])
async def test_a_log_that_is_not_there(registry: Registry, partition: str, status: int) -> None:
    assert (await registry.client.get(f"/v1/log/{partition}", headers=registry.token("auditor"))).status_code == status


@pytest.mark.parametrize(
    "positions",
    [
        [{"partition": 7, "next_position": 0, "chain": None, "asks": 0}],
        [{"partition": 0, "next_position": -1, "chain": None, "asks": 0}],
        [{"partition": 0, "next_position": 0, "chain": "zz", "asks": 0}],
        [{"partition": 0}],
        None,
    ],
)
async def test_a_wrong_report_is_422_and_closes_nothing(registry: Registry, positions: Any) -> None:
    await registry.call("PUT", "/v1/log/consumers/subsidy", {"positions": positions}, role="service", expect=422)
    await registry.operator()


async def test_both_times_of_knowledge_at_once_are_refused(registry: Registry) -> None:
    query = {"station_id": "stn_2", "brand": "zto"}
    await registry.get("/v1/standing", **query, known_at=JUNE, known_revision=1, expect=422)
    await registry.get("/v1/standing", **query, known_revision=10**12, expect=422)
    await registry.get("/v1/standing", **query, valid_at="2021-01-01T00:00:00+08:00", expect=404)

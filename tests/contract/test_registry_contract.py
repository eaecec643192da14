"""The REST contract's examples for the registry, word for word but for ids and the times at which we recorded them."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import AUTHORITY, VILLAGE, Registry, day, running

MIDNIGHT = "2023-06-12T00:00:00+08:00"
STATION: dict[str, Any] = {
    "station_id": "stn_42",
    "name": "上王村便民服务点",
    "level": "village",
    "division_code": "140827100200",
    "township_code": "140827100000",
    "county_code": "140827000000",
    "location": {"lat": 35.29, "lng": 111.67, "crs": "WGS84"},
    "operator_id": "opr_1",
    "brands": ["zto", "yto"],
    "operating_status": "open",
    "opened_on": "2023-03-01",
    "services_per_week": 7,
    "staff": 2,
    "filing_status": "filed",
    "aliases": [
        {
            "alias_id": "als_5",
            "namespace": "zto",
            "site_code": None,
            "site_name": "上王村便民服务点",
            "valid_from": "2023-03-01T00:00:00+08:00",
            "valid_to": None,
        }
    ],
    "photos": [],  # added: decision 0010
    "valid_from": MIDNIGHT,
    "valid_to": None,
    "recorded_at": "2023-06-13T10:02:00+08:00",
    "version": 3,
}
FILING: dict[str, Any] = {
    "filing_id": "fil_7",
    "filer_id": "opr_1",
    "covers_brands": ["zto"],
    "authority": "运城市邮政管理局",
    "receipt_no": "DEMO-7",
    "status": "filed",
    "opened_on": "2023-05-30",
    "submitted_at": "2023-06-08T10:00:00+08:00",
    "decided_at": MIDNIGHT,
    "filer_type": "enterprise",  # added, as the next three: decision 0010
    "scope": [],
    "materials": [],
    "missing_materials": ["licence", "identity", "photo"],
    "valid_from": MIDNIGHT,
    "valid_to": None,
    "recorded_at": "2023-06-13T10:02:00+08:00",
    "superseded_at": None,
    "actor": "test:postal",  # added: decision 0010
    "reason": "回执已核对",
}
STANDING: dict[str, Any] = {
    "station_id": "stn_42",
    "brand": "zto",
    "level": "village",
    "division_code": "140827100200",
    "operator_id": "opr_1",
    "operating_status": "open",
    "filed": True,
    "filing_id": "fil_7",
    "standard": False,
    "inspection_id": None,
    "segment": {"valid_from": MIDNIGHT, "valid_to": None},
}
DIVISION: dict[str, Any] = {
    "code": "140827100200",
    "name": "上王村",
    "label": {"zh": "上王村", "en": "Shangwang"},
    "kind": "village",
    "parent_code": "140827100000",
    "rural": True,
    "edition": 2023,
}
AS_OF = {"valid_at", "known_at", "watermark", "revision", "registry_revision", "pending_reassessments", "set_aside"}
OURS = ("station_id", "operator_id", "filing_id", "filer_id", "alias_id")


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


@pytest.fixture(scope="module")
async def station_id(registry: Registry) -> str:
    """The example's station, told as its history says: registered with its alias, filing submitted, filed."""
    operator = await registry.operator()
    given = ("name", "level", "division_code", "location", "brands", "operating_status", "opened_on", "services_per_week", "staff")
    alias = {k: v for k, v in STATION["aliases"][0].items() if k != "alias_id"}
    body = {k: STATION[k] for k in given} | {"operator_id": operator, "aliases": [alias], "effective_at": day(3, 1)}
    station = str((await registry.call("POST", "/v1/stations", body))["station_id"])
    opened = {"filer_id": operator, "covers_brands": ["zto"], "authority": AUTHORITY, "opened_on": "2023-05-30", "status": "submitted"}
    filing = await registry.call("POST", f"/v1/stations/{station}/filings", opened | {"effective_at": FILING["submitted_at"]})
    decided = {"to": "filed", "effective_at": MIDNIGHT, "receipt_no": "DEMO-7", "note": "回执已核对"}
    await registry.call("POST", f"/v1/filings/{filing['filing_id']}/transitions", decided, role="postal")
    return station


def same(shown: Any, example: Any) -> None:
    """Same fields, same values; ids keep their prefix, and what the clock gave keeps its form."""
    if isinstance(example, dict):
        assert shown.keys() == example.keys()
        for key, value in example.items():
            if key == "recorded_at":
                assert datetime.fromisoformat(shown[key]).utcoffset() == timedelta(hours=8)
            elif key in OURS:
                assert shown[key].startswith(value[:4])
            else:
                same(shown[key], value)
    elif isinstance(example, list):
        assert len(shown) == len(example)
        for one, other in zip(shown, example, strict=True):
            same(one, other)
    else:
        assert shown == example


async def test_stations(registry: Registry, station_id: str) -> None:
    answer = await registry.get("/v1/stations", township_code="140827100000", filing_status="filed", brand="zto", q="上王村")
    assert answer.keys() == {"items", "next_cursor", "as_of"}
    assert answer["as_of"].keys() == AS_OF
    same(answer["items"], [STATION])
    one = await registry.get(f"/v1/stations/{station_id}")
    assert one.pop("as_of").keys() == AS_OF
    assert one == answer["items"][0]


async def test_filings(registry: Registry, station_id: str) -> None:
    answer = await registry.get(f"/v1/stations/{station_id}/filings")
    assert answer.keys() == {"station_id", "items", "next_cursor", "as_of"}
    same(answer["items"], [FILING])


async def test_standing(registry: Registry, station_id: str) -> None:
    answer = await registry.get("/v1/standing", station_id=station_id, brand="zto")
    as_of = answer.pop("as_of")
    assert as_of["revision"] == as_of["registry_revision"]
    same(answer, STANDING)
    before = await registry.get("/v1/standing", station_id=station_id, brand="zto", valid_at="2023-06-11T23:59:59+08:00")
    assert (before["filed"], before["segment"]["valid_to"]) == (False, MIDNIGHT)


async def test_divisions(registry: Registry) -> None:
    answer = await registry.get("/v1/divisions", parent_code="140827100000", kind="village", q="上王")
    same(answer["items"], [DIVISION])
    assert answer["items"][0]["code"] == VILLAGE

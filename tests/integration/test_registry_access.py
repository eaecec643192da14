"""Who may do what: every role on every operation, and another's resource is not there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.auth import ROLES
from tests.conftest import MakeDatabase
from tests.registry_api import Registry, day, filing_body, running, station_body

WRITERS = {"coordinator", "admin"}
READERS = set(ROLES) - {"service"}
JULY = day(7, 1)


@dataclass
class Scene:
    registry: Registry
    mine: str  # an operator, with a station and a submitted filing
    theirs: str
    my_station: str
    their_station: str
    my_filing: str
    their_filing: str


@pytest.fixture(scope="module")
async def scene(make_database: MakeDatabase) -> AsyncIterator[Scene]:
    async with running(make_database) as registry:
        mine, theirs = await registry.operator("甲"), await registry.operator("乙")
        one, other = await registry.station(operator_id=mine), await registry.station(operator_id=theirs, level="county_hub")
        filings = [await registry.filing(s, o, status="submitted") for s, o in ((one, mine), (other, theirs))]
        yield Scene(registry, mine, theirs, one, other, *filings)


def operations(scene: Scene) -> dict[str, tuple[str, str, Any, set[str]]]:
    """name: (method, path, a body that is well formed, the roles that may); a rule may refuse what the body says."""
    station, filing = f"/v1/stations/{scene.my_station}", f"/v1/filings/{scene.my_filing}"
    alias = {"namespace": "zto", "site_name": "某处", "site_code": "both", "valid_from": JULY}
    correction = {"valid_from": JULY, "valid_to": JULY, "status": "filed", "reason": "误记"}
    return {
        "divisions": ("GET", "/v1/divisions?limit=1", None, READERS),
        "operators": ("GET", "/v1/operators", None, READERS),
        "operator": ("GET", f"/v1/operators/{scene.mine}", None, READERS),
        "stations": ("GET", "/v1/stations?limit=1", None, READERS),
        "station": ("GET", station, None, READERS),
        "filings": ("GET", f"{station}/filings", None, READERS),
        "standing": ("GET", f"/v1/standing?station_id={scene.my_station}&brand=zto", None, READERS),
        "new operator": ("POST", "/v1/operators", {"name": "丙", "effective_at": JULY}, WRITERS),
        "new station": ("POST", "/v1/stations", station_body(operator_id=scene.mine), WRITERS | {"operator"}),
        "change station": ("PATCH", station, {"brands": ["zto"], "effective_at": JULY}, WRITERS | {"operator"}),
        "new alias": ("POST", f"{station}/aliases", alias, WRITERS | {"operator"}),
        "end alias": ("DELETE", f"{station}/aliases/als_999?effective_at={JULY}", None, WRITERS | {"operator"}),
        "submit": ("POST", f"{station}/filings", filing_body(filer_id=scene.mine), WRITERS | {"operator"}),
        "record a decision": ("POST", f"{station}/filings", filing_body(filer_id=scene.mine, status="filed"), WRITERS),
        "resubmit": ("POST", f"{filing}/transitions", {"to": "resubmitted", "effective_at": JULY}, WRITERS | {"operator"}),
        "decide": ("POST", f"{filing}/transitions", {"to": "lapsed", "effective_at": JULY}, WRITERS | {"postal"}),
        "correct": ("POST", f"{filing}/corrections", correction, WRITERS | {"postal"}),
        "read log": ("GET", "/v1/log/0?limit=1", None, {"auditor", "admin"}),
        "consumers": ("GET", "/v1/log/consumers", None, {"auditor", "admin"}),
        "report": ("PUT", "/v1/log/consumers/x", {"positions": []}, {"service"}),
        "reopen": ("POST", "/v1/log/0/reopen", None, {"admin"}),
        "remove consumer": ("DELETE", "/v1/log/consumers/x", None, {"admin"}),
    }


@pytest.mark.parametrize("role", sorted(ROLES))
async def test_each_role_may_exactly_this(scene: Scene, role: str) -> None:
    claim = {"operator": {"operator": scene.mine}, "township": {"township": "140827100000"}}.get(role, {})
    for name, (method, path, body, roles) in operations(scene).items():
        answer = await scene.registry.client.request(method, path, json=body, headers=scene.registry.token(role, **claim))
        may = answer.status_code not in (401, 403)
        assert may is (role in roles), (role, name, answer.status_code, answer.text)
        assert answer.status_code < 500


async def test_without_a_token_nothing_but_health_and_docs(scene: Scene) -> None:
    for method, path, body, _ in operations(scene).values():
        assert (await scene.registry.client.request(method, path, json=body)).status_code == 401
    for path in ("/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert (await scene.registry.client.get(path)).status_code == 200, path


async def test_another_operators_resources_are_not_there(scene: Scene) -> None:
    station, filing = f"/v1/stations/{scene.their_station}", f"/v1/filings/{scene.their_filing}"
    for method, path, body in (
        ("GET", station, None),
        ("GET", f"{station}/filings", None),
        ("GET", f"/v1/standing?station_id={scene.their_station}&brand=zto", None),
        ("GET", f"/v1/operators/{scene.theirs}", None),
        ("PATCH", station, {"operating_status": "closed", "effective_at": JULY}),
        ("POST", f"{station}/aliases", {"namespace": "zto", "site_name": "抢占", "valid_from": JULY}),
        ("DELETE", f"{station}/aliases/als_1?effective_at={JULY}", None),
        ("POST", f"{station}/filings", filing_body(filer_id=scene.mine)),
        ("POST", f"{filing}/transitions", {"to": "resubmitted", "effective_at": JULY}),
    ):
        await scene.registry.call(method, path, body, role="operator", operator=scene.mine, expect=404)
    listed = await scene.registry.call("GET", "/v1/stations", role="operator", operator=scene.mine)
    assert {i["operator_id"] for i in listed["items"]} == {scene.mine}
    assert [
        i["operator_id"] for i in (await scene.registry.call("GET", "/v1/operators", role="operator", operator=scene.mine))["items"]
    ] == [scene.mine]


async def test_a_township_sees_its_own_stations(scene: Scene) -> None:
    await scene.registry.call("GET", f"/v1/stations/{scene.my_station}", role="township", township="140827100000")
    await scene.registry.call("GET", f"/v1/stations/{scene.my_station}", role="township", township="140827101000", expect=404)


async def test_a_brand_sees_the_stations_that_serve_it(scene: Scene) -> None:
    registry = scene.registry
    station = await registry.station(brands=["sto"], operator_id=scene.mine)
    await registry.filing(station, scene.mine, covers_brands=["jt"], status="submitted")
    filing = await registry.filing(station, scene.mine, covers_brands=["sto"], status="submitted")
    for brand, filings in (("sto", [filing]), ("yto", None)):
        own: dict[str, Any] = {"role": "brand", "brand": brand}
        listed = [i["station_id"] for i in (await registry.call("GET", "/v1/stations", **own))["items"]]
        assert (station in listed) is (filings is not None)
        shown = await registry.call("GET", f"/v1/stations/{station}/filings", expect=200 if filings else 404, **own)
        assert [f["filing_id"] for f in shown.get("items", [])] == (filings or [])
    sto: dict[str, Any] = {"role": "brand", "brand": "sto"}
    alias = {"namespace": "jt", "site_code": "J-77", "valid_from": JULY}
    await registry.call("POST", f"/v1/stations/{station}/aliases", alias)
    shown = await registry.call("GET", f"/v1/stations/{station}", **sto)
    assert "J-77" not in str(shown)
    await registry.call("GET", f"/v1/standing?station_id={station}&brand=jt", expect=404, **sto)
    running_out = (await registry.call("GET", "/v1/clocks", **sto))["items"]
    assert {c["filing_id"] for c in running_out if c["station_id"] == station} <= {filing, None}
    sender: dict[str, Any] = {"role": "brand", "feed": "sto-yuanqu"}
    await registry.call("GET", f"/v1/stations/{station}", expect=404, **sender)
    assert (await registry.call("GET", "/v1/stations", **sender))["items"] == []
    jt = await registry.call("GET", "/v1/stations", role="brand", brand="jt")
    assert [i["station_id"] for i in jt["items"]] == [station], "filed for it is enough"


async def test_an_operator_names_only_itself(scene: Scene) -> None:
    as_me: dict[str, Any] = {"role": "operator", "operator": scene.mine}
    for operator in (scene.theirs, None):
        refused = await scene.registry.call("POST", "/v1/stations", station_body(operator_id=operator), expect=403, **as_me)
        assert refused["code"] == "station.operator_not_yours"
    path = f"/v1/stations/{scene.my_station}"
    await scene.registry.call("PATCH", path, {"operator_id": scene.theirs, "effective_at": JULY}, expect=403, **as_me)
    refused = await scene.registry.call("POST", f"{path}/filings", filing_body(filer_id=scene.theirs), expect=422, **as_me)
    assert refused["errors"][0]["pointer"] == "/filer_id"


async def test_an_operator_whose_tenant_is_nobody_owns_nothing(scene: Scene) -> None:
    path = f"/v1/stations/{scene.my_station}"
    await scene.registry.call("PATCH", path, {"name": "改名", "effective_at": JULY}, role="operator", expect=404)
    await scene.registry.call("POST", "/v1/stations", station_body(operator_id=scene.mine), role="operator", expect=403)


async def test_a_handed_over_station_is_each_operators_in_its_time(scene: Scene) -> None:
    registry = scene.registry
    station = await registry.station(operator_id=scene.mine)
    path = f"/v1/stations/{station}"
    await registry.call("PATCH", path, {"operator_id": scene.theirs, "effective_at": JULY})
    rename = {"name": "改名", "effective_at": day(5, 1)}
    await registry.call("PATCH", path, rename, role="operator", operator=scene.theirs, expect=404)
    await registry.call("PATCH", path, rename, role="operator", operator=scene.mine)
    open_ended = {"namespace": "zto", "site_name": "交接处", "valid_from": day(5, 1)}
    await registry.call("POST", f"{path}/aliases", open_ended, role="operator", operator=scene.mine, expect=404)
    await registry.call("POST", f"{path}/aliases", open_ended | {"valid_to": JULY}, role="operator", operator=scene.mine)

"""Complaints and findings: the drawing, deadlines, both times, and whose they are."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.registry.domain.incidents import TRANSITIONS
from shared.contracts.registry import IncidentStatus
from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, TOWN, Registry, day, running

PAGE = Path(__file__).parents[2] / "docs" / "registry-incidents.md"


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def told(registry: Registry, expect: int = 201, **fields: Any) -> Any:
    body = {
        "kind": "illegal_charge",
        "source": "complaint",
        "summary": "村级取件加收2元",
        "due_on": "2023-07-20",
        "effective_at": day(7, 10),
    }
    return await registry.call("POST", "/v1/incidents", body | fields, expect=expect)


async def step(registry: Registry, incident: str, to: str, at: str, expect: int = 200, **fields: Any) -> Any:
    return await registry.call("POST", f"/v1/incidents/{incident}/steps", {"to": to, "effective_at": at} | fields, expect=expect)


def test_the_page_draws_what_is_allowed() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", PAGE.read_text(encoding="utf-8"), re.M))
    assert drawn == {(str(a), str(b)) for a, after in TRANSITIONS.items() for b in after}
    assert set(TRANSITIONS) == set(IncidentStatus)


async def test_from_complaint_to_its_end_over_both_times(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    made = await told(registry, station_id=station, parcels=[{"brand": "zto", "waybill_no": "zt73100196611386"}])
    incident = made["incident_id"]
    assert (made["operator_id"], made["township_code"], made["status"], made["due_on"]) == (operator, TOWN, "open", "2023-07-20")
    assert made["parcels"] == [{"brand": "zto", "waybill_no": "ZT73100196611386"}]
    await step(registry, incident, "substantiated", day(7, 15), due_on="2023-08-01", note="现场核实属实")
    await step(registry, incident, "rectified", day(7, 28), due_on="2023-08-10", note="已退费，已整改")
    ended = await step(registry, incident, "closed", day(8, 9))
    assert [(s["status"], s["note"]) for s in ended["steps"]] == [
        ("open", None), ("substantiated", "现场核实属实"), ("rectified", "已退费，已整改"), ("closed", None),
    ]  # fmt: skip
    path = f"/v1/incidents/{incident}"
    seen = [(i["status"], i["overdue"]) for i in [await registry.get(path, valid_at=day(*d)) for d in ((7, 11), (7, 16), (8, 2), (8, 9))]]
    assert seen == [("open", False), ("substantiated", False), ("rectified", False), ("closed", False)]
    before = await registry.get(path, valid_at=day(8, 9), known_at=made["as_of"]["known_at"])
    assert (before["status"], before["overdue"], len(before["steps"])) == ("open", True, 1), "as it was known then: long overdue"
    await registry.get(path, valid_at=day(7, 1), expect=404)
    (last,) = (await registry.get("/v1/revisions", record_id=incident, limit=1))["items"]
    assert last["records"] == [{"kind": "incident", "id": incident, "version": 4}]
    reopened = await step(registry, incident, "investigating", day(9, 1), due_on="2023-09-10")
    assert reopened["status"] == "investigating"


async def test_lists_filter_and_everybody_sees_his_own(registry: Registry) -> None:
    mine, theirs = await registry.operator(), await registry.operator()
    station = await registry.station(operator_id=mine, name="下王村便民服务点", division_code=OTHER_VILLAGE)
    at_mine = (await told(registry, station_id=station, kind="false_data", source="finding"))["incident_id"]
    about_them = (await told(registry, operator_id=theirs, kind="unconsented_receipt"))["incident_id"]
    await step(registry, about_them, "unfounded", day(7, 12))
    queries: list[tuple[dict[str, Any], list[str]]] = [
        ({"kind": "false_data,unconsented_receipt"}, [at_mine, about_them]),
        ({"status": "unfounded"}, [about_them]),
        ({"station_id": station}, [at_mine]),
        ({"operator_id": theirs}, [about_them]),
        ({"overdue": "true", "kind": "false_data"}, [at_mine]),
        ({"township_code": "140827999000"}, []),
    ]
    for query, expected in queries:
        found = (await registry.get("/v1/incidents", valid_at=day(8, 1), **query))["items"]
        assert [i["incident_id"] for i in found] == expected, query
    for claim, expected in (({"operator": mine}, [at_mine]), ({"operator": theirs}, [about_them])):
        found = await registry.call("GET", "/v1/incidents?kind=false_data,unconsented_receipt", role="operator", expect=200, **claim)
        assert [i["incident_id"] for i in found["items"]] == expected
    await registry.call("GET", f"/v1/incidents/{about_them}", role="operator", operator=mine, expect=404)
    town = await registry.call("GET", "/v1/incidents?kind=false_data", role="township", township=TOWN, expect=200)
    assert [i["incident_id"] for i in town["items"]] == [at_mine]
    elsewhere = await registry.call("GET", "/v1/incidents", role="township", township="140827101000", expect=200)
    assert elsewhere["items"] == []
    for role in ("dashboard", "brand", "merchant"):
        await registry.call("GET", "/v1/incidents", role=role, expect=403)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 422, "incident.about_nothing"),
        ({"station_id": "stn_999999"}, 404, "station.not_found"),
        ({"operator_id": "opr_999999"}, 404, "operator.not_found"),
        ({"operator_id": "opr_1", "kind": "rude"}, 422, "enum"),
        ({"parcels": [{"brand": "abc", "waybill_no": "73100196611386"}]}, 422, "brand.unknown"),
        ({"parcels": [{"brand": "zto", "waybill_no": "1"}]}, 422, "string_pattern_mismatch"),
        ({"parcels": [{"brand": "zto", "waybill_no": "73100196611386"}], "summary": "找张三 13812345678"}, 422, "text.personal_data"),
        ({"parcels": [{"brand": "zto", "waybill_no": "73100196611386"}], "due_on": "2023-07-09"}, 422, "incident.due_before"),
    ],
)
async def test_a_wrong_incident_is_not_recorded(registry: Registry, fields: dict[str, Any], status: int, code: str) -> None:
    before = (await registry.get("/v1/incidents"))["as_of"]["revision"]
    answer = await told(registry, expect=status, **fields)
    assert code in [answer["code"], *(e["code"] for e in answer["errors"])]
    assert (await registry.get("/v1/incidents"))["as_of"]["revision"] == before


async def test_a_wrong_step_is_not_taken(registry: Registry) -> None:
    parcels = [{"brand": "zto", "waybill_no": "73100196611387"}]
    incident = (await told(registry, parcels=parcels))["incident_id"]
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"to": "closed", "at": day(7, 12)}, 409, "incident.transition_not_allowed"),
        ({"to": "unfounded", "at": day(7, 10)}, 409, "incident.step_not_latest"),
        ({"to": "substantiated", "at": day(7, 12)}, 422, "incident.due_required"),
        ({"to": "unfounded", "at": day(7, 12), "due_on": "2023-07-20"}, 422, "incident.due_not_here"),
        ({"to": "unfounded", "at": day(7, 12), "note": "电话 13812345678"}, 422, "text.personal_data"),
    ]
    for fields, status, code in wrong:
        answer = await step(registry, incident, expect=status, **fields)
        assert code in [answer["code"], *(e["code"] for e in answer["errors"])], fields
    assert (await registry.get(f"/v1/incidents/{incident}"))["version"] == 1
    await step(registry, "inc_999999", "unfounded", day(7, 12), expect=404)

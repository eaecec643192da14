"""Checklists, inspections, the two signatures, what is to be put right, and what two devices saw differently."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import openpyxl
import pytest

from services.registry.domain.checklists import checklists
from shared.contracts.programme import DECIDED, InspectionStatus
from tests import media
from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, TOWN, Registry, day, running

MET = ["premises", "area", "reception", "shelves", "scanner"]  # of township-2024
REFORM, INDUSTRY = ("coordinator", "development_reform"), ("reviewer", "industry_it")
NO_PHOTO = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


def body(station: str, *unmet: str, **fields: Any) -> dict[str, Any]:
    items = [{"item": i, "verdict": "not_met" if i in unmet else "met"} for i in MET]
    base = {"client_id": str(uuid4()), "station_id": station, "checklist": "township-2024", "round": "june"}
    return base | {"inspected_at": day(6, 20, 10), "items": items} | fields


async def township(registry: Registry, **fields: Any) -> str:
    return await registry.station(name="新城镇快递综合服务站", level="township", division_code=TOWN, **fields)


async def inspected(registry: Registry, station: str, *unmet: str, expect: int = 201, **fields: Any) -> Any:
    return await registry.call("POST", "/v1/inspections", body(station, *unmet, **fields), role="reviewer", expect=expect)


async def signed(registry: Registry, inspection: str, who: tuple[str, str], result: str, at: str, expect: int = 200, **fields: Any) -> Any:
    role, department = who
    given = {"department": department, "result": result, "effective_at": at} | fields
    return await registry.call("POST", f"/v1/inspections/{inspection}/signatures", given, role=role, expect=expect)


async def photo(registry: Registry) -> str:
    headers = registry.token("reviewer") | {"Content-Type": "image/png"}
    answer = await registry.client.post("/v1/documents", params={"kind": "photo"}, content=media.png(), headers=headers)
    return str(answer.json()["document_id"])


async def test_every_checklist_says_where_it_is_from(registry: Registry) -> None:
    told = (await registry.get("/v1/checklists"))["items"]
    assert {c["checklist"]: (c["level"], c["edition"], c["basis"]) for c in told} == {
        "township-2024": ("township", 2024, "reported"),
        "county-2024": ("county_hub", 2024, "reported"),
        "village-2018": ("village", 2018, "derived"),
    }
    assert all(c["source"] and c["note"]["zh"] and c["title"]["en"] for c in told)
    assert [(i["item"], i["at_least"]) for i in told[0]["items"]][:2] == [("premises", None), ("area", 10)]
    assert [c.checklist for c in checklists().values()] == [c["checklist"] for c in told]


async def test_both_departments_make_it_standard(registry: Registry) -> None:
    station = await township(registry)
    made = await inspected(registry, station)
    inspection, path = made["inspection_id"], f"/v1/inspections/{made['inspection_id']}"
    assert (made["status"], made["township_code"], made["conflicts"], made["signatures"]) == ("recorded", TOWN, [], [])
    assert made["items"][1]["label"]["zh"] == "场所面积不小于10平方米"
    once = await signed(registry, inspection, REFORM, "pass", day(6, 25))
    assert once["status"] == "signed"
    passed = await signed(registry, inspection, INDUSTRY, "pass", day(6, 26))
    assert passed["status"] == "passed"
    seen = [(await registry.get(path, valid_at=day(6, d)))["status"] for d in (21, 25, 26)]
    assert seen == ["recorded", "signed", "passed"]
    assert (await registry.get(path, valid_at=day(6, 26), known_at=once["as_of"]["known_at"]))["status"] == "signed"
    await registry.get(path, valid_at=day(6, 19), expect=404)
    again = await signed(registry, inspection, REFORM, "pass", day(6, 27), expect=409)
    assert again["code"] == "inspection.decided"


async def test_what_is_not_met_is_put_right_by_a_day(registry: Registry) -> None:
    station = await township(registry)
    inspection = (await inspected(registry, station, "shelves", "scanner"))["inspection_id"]
    assert (await signed(registry, inspection, REFORM, "pass", day(6, 25), expect=409))["code"] == "signature.items_not_met"
    assert (await signed(registry, inspection, REFORM, "rectify", day(6, 25), expect=422))["errors"][0]["pointer"] == "/rectify_by"
    await signed(registry, inspection, REFORM, "rectify", day(6, 25), rectify_by="2023-07-10")
    disputed = await signed(registry, inspection, INDUSTRY, "rectify", day(6, 26), rectify_by="2023-07-20")
    assert disputed["status"] == "disputed"
    agreed = await signed(registry, inspection, REFORM, "rectify", day(6, 27), rectify_by="2023-07-20")
    assert (agreed["status"], agreed["rectify_by"]) == ("rectify", "2023-07-20")

    async def tasks(at: str, **params: Any) -> list[tuple[str, str]]:
        found = await registry.get("/v1/rectifications", station_id=station, valid_at=at, **params)
        return [(t["item"], t["status"]) for t in found["items"]]

    assert await tasks(day(7, 20)) == [("scanner", "open"), ("shelves", "open")]
    assert await tasks(day(7, 21), status="overdue") == [("scanner", "overdue"), ("shelves", "overdue")]
    later = {"follows": inspection, "inspected_at": day(7, 25), "round": "ad_hoc"}
    only = [{"item": "shelves", "verdict": "met"}]
    assert (await inspected(registry, station, items=only, expect=422, **later))["errors"][0]["code"] == "item.missing"
    unknown = [*only, {"item": "scanner", "verdict": "met", "evidence": [NO_PHOTO]}]
    told = (await inspected(registry, station, items=unknown, expect=422, **later))["errors"][0]
    assert (told["code"], told["pointer"]) == ("document.unknown", "/items/1/evidence/0")
    both = [*only, {"item": "scanner", "verdict": "met", "evidence": [await photo(registry)]}]
    follow = (await inspected(registry, station, items=both, **later))["inspection_id"]
    assert await tasks(day(7, 26)) == [("scanner", "overdue"), ("shelves", "overdue")], "recorded is not decided"
    await signed(registry, follow, REFORM, "pass", day(7, 26))
    await signed(registry, follow, INDUSTRY, "pass", day(7, 27))
    assert await tasks(day(7, 28)) == [("scanner", "done"), ("shelves", "done")]
    assert await tasks(day(7, 21)) == [("scanner", "overdue"), ("shelves", "overdue")]


async def test_a_device_without_a_network_may_send_it_again(registry: Registry) -> None:
    station = await township(registry)
    given = body(station)
    first = await registry.call("POST", "/v1/inspections", given, role="reviewer", expect=201)
    again = await registry.call("POST", "/v1/inspections", given, role="coordinator", expect=200)
    assert again["inspection_id"] == first["inspection_id"]
    other = await registry.call("POST", "/v1/inspections", given | {"round": "october"}, role="reviewer", expect=409)
    assert other["code"] == "inspection.client_id_taken"
    assert first["inspection_id"] in other["detail"]


async def test_two_who_saw_it_differently_are_shown_and_nothing_is_merged(registry: Registry) -> None:
    station = await township(registry)
    one = (await inspected(registry, station))["inspection_id"]
    same = await inspected(registry, station)
    assert same["conflicts"] == []
    two = await inspected(registry, station, "shelves", inspected_at=day(6, 20, 11))
    assert {c["inspection_id"]: c["items"] for c in two["conflicts"]} == {one: ["shelves"], same["inspection_id"]: ["shelves"]}
    refused = await signed(registry, one, REFORM, "pass", day(6, 25), expect=409)
    assert refused["code"] == "inspection.conflict"
    withdrawal = {"reason": "看错了站点", "effective_at": day(6, 24)}
    gone = await registry.call("POST", f"/v1/inspections/{two['inspection_id']}/withdrawal", withdrawal, role="reviewer")
    assert (gone["status"], gone["reason"]) == ("withdrawn", "看错了站点")
    await signed(registry, one, REFORM, "pass", day(6, 25))


async def decided(registry: Registry, inspection: str, result: str, month: int, number: int, **fields: Any) -> None:
    for who, hour in ((REFORM, 9), (INDUSTRY, 15)):
        await signed(registry, inspection, who, result, day(month, number, hour), **fields)


async def standing(registry: Registry, station: str, at: str) -> tuple[bool, str | None]:
    found = await registry.get("/v1/standing", station_id=station, brand="zto", valid_at=at)
    return found["standard"], found["inspection_id"]


async def test_what_has_changed_since_is_another_inspection(registry: Registry) -> None:
    """A look that failed is over: a later one of the same kind contradicts nothing, and counts."""
    station = await township(registry)
    bad = (await inspected(registry, station, "area", round="ad_hoc", inspected_at=day(4, 10)))["inspection_id"]
    await decided(registry, bad, "fail", 4, 12)
    good = (await inspected(registry, station, round="ad_hoc", inspected_at=day(8, 10)))["inspection_id"]
    await decided(registry, good, "pass", 8, 12)
    assert [await standing(registry, station, day(m, 20)) for m in (4, 8)] == [(False, bad), (True, good)]
    june = (await inspected(registry, station, "scanner", inspected_at=day(6, 20)))["inspection_id"]
    next_june = await inspected(registry, station, inspected_at="2024-06-20T10:00:00+08:00")
    assert next_june["conflicts"] == [], "another year's round"
    await decided(registry, june, "fail", 9, 1)  # signed late
    assert await standing(registry, station, day(9, 20)) == (True, good), "the latest look counts, not the latest signature"


async def test_a_signature_of_an_earlier_hour_gets_round_no_conflict(registry: Registry) -> None:
    station = await township(registry)
    one = (await inspected(registry, station))["inspection_id"]
    await inspected(registry, station, "area", inspected_at=day(6, 20, 15))
    assert (await signed(registry, one, REFORM, "pass", day(6, 20, 11), expect=409))["code"] == "inspection.conflict"


async def test_what_took_two_tries_is_done(registry: Registry) -> None:
    station = await township(registry)
    first = (await inspected(registry, station, "shelves", "scanner"))["inspection_id"]
    await decided(registry, first, "rectify", 6, 22, rectify_by="2023-07-10")
    some = [{"item": "shelves", "verdict": "met"}, {"item": "scanner", "verdict": "not_met"}]
    second = (await inspected(registry, station, items=some, round="ad_hoc", follows=first, inspected_at=day(7, 8)))["inspection_id"]
    await decided(registry, second, "rectify", 7, 9, rectify_by="2023-07-30")
    rest = [{"item": "scanner", "verdict": "met"}]
    again: dict[str, Any] = {"items": rest, "round": "ad_hoc", "inspected_at": day(7, 28)}
    over = await inspected(registry, station, follows=first, expect=409, **again)
    assert (over["code"], second in over["detail"]) == ("inspection.nothing_to_follow", True)
    aside = await inspected(registry, station, follows=second, expect=422, **again | {"items": [rest[0] | {"verdict": "not_applicable"}]})
    assert aside["errors"][0]["code"] == "item.must_be_judged"
    third = (await inspected(registry, station, follows=second, **again))["inspection_id"]
    await decided(registry, third, "pass", 7, 29)
    found = (await registry.get("/v1/rectifications", station_id=station, valid_at=day(8, 1)))["items"]
    assert {(t["inspection_id"], t["item"], t["status"], t["done_by"]) for t in found} == {
        (first, "shelves", "done", second), (first, "scanner", "done", third), (second, "scanner", "done", third),
    }  # fmt: skip
    assert await standing(registry, station, day(8, 1)) == (True, third)


async def test_an_old_rectification_does_not_mend_a_later_failure(registry: Registry) -> None:
    station = await township(registry)
    first = (await inspected(registry, station, "shelves"))["inspection_id"]
    await decided(registry, first, "rectify", 6, 22, rectify_by="2023-07-10")
    october = (await inspected(registry, station, "area", "shelves", round="october", inspected_at=day(10, 22)))["inspection_id"]
    await decided(registry, october, "fail", 10, 25)
    items = [{"item": "shelves", "verdict": "met"}]
    told = await inspected(registry, station, items=items, round="ad_hoc", follows=first, inspected_at=day(11, 2), expect=409)
    assert told["code"] == "inspection.nothing_to_follow"


async def test_nothing_passes_by_what_does_not_apply(registry: Registry) -> None:
    station = await township(registry)
    items = [{"item": i, "verdict": "not_applicable"} for i in MET]
    inspection = (await inspected(registry, station, items=items))["inspection_id"]
    assert (await signed(registry, inspection, REFORM, "pass", day(6, 25), expect=409))["code"] == "signature.items_not_met"


async def test_a_tablet_whose_clock_is_fast_sends_again(registry: Registry) -> None:
    station = await township(registry)
    given = body(station, inspected_at=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    first = await registry.call("POST", "/v1/inspections", given, role="reviewer", expect=201)
    again = await registry.call("POST", "/v1/inspections", given, role="reviewer", expect=200)
    assert again["inspection_id"] == first["inspection_id"]


async def test_a_signature_that_was_given_again_is_not_forgotten(registry: Registry) -> None:
    station = await township(registry)
    inspection = (await inspected(registry, station, "area"))["inspection_id"]
    await signed(registry, inspection, REFORM, "rectify", day(6, 22), rectify_by="2023-07-01")
    await signed(registry, inspection, INDUSTRY, "fail", day(6, 23))
    await signed(registry, inspection, REFORM, "fail", day(6, 24))
    shown = [await registry.get(f"/v1/inspections/{inspection}", valid_at=day(6, d)) for d in (22, 23, 24)]
    assert [(s["status"], [(x["department"], x["result"]) for x in s["signatures"]]) for s in shown] == [
        ("signed", [("development_reform", "rectify")]),
        ("disputed", [("development_reform", "rectify"), ("industry_it", "fail")]),
        ("failed", [("development_reform", "fail"), ("industry_it", "fail")]),
    ]


async def test_nobody_signs_for_both(registry: Registry) -> None:
    station = await township(registry)
    inspection = (await inspected(registry, station))["inspection_id"]
    assert (await signed(registry, inspection, ("coordinator", "industry_it"), "pass", day(6, 25), expect=403))["code"]
    assert (await signed(registry, inspection, ("admin", "industry_it"), "pass", day(6, 25), expect=403))["code"]


AN_HOUR_AHEAD = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"checklist": "township-1999"}, 422, "checklist.unknown"),
    ({"checklist": "village-2018"}, 409, "checklist.level"),
    ({"items": [{"item": "premises", "verdict": "met"}]}, 422, "item.missing"),
    ({"items": [{"item": i, "verdict": "met"} for i in [*MET, "area"]]}, 422, "item.twice"),
    ({"items": [{"item": "lift", "verdict": "met"}]}, 422, "item.unknown"),
    ({"items": [{"item": "area", "verdict": "met", "value": 9.5}]}, 422, "item.verdict_contradicts_value"),
    ({"items": [{"item": "area", "verdict": "not_met", "value": 10}]}, 422, "item.verdict_contradicts_value"),
    ({"items": [{"item": "shelves", "verdict": "met", "value": 3}]}, 422, "item.not_measured"),
    ({"items": [{"item": i, "verdict": "met", "note": "请找张三 13835912345"} for i in MET]}, 422, "text.personal_data"),
    ({"items": [{"item": "area", "verdict": "met", "evidence": ["photo.jpg"]}]}, 422, "string_pattern_mismatch"),
    ({"items": []}, 422, "too_short"),
    ({"station_id": "stn_999999"}, 404, "station.not_found"),
    ({"inspected_at": day(1, 1)}, 404, "station.not_found"),  # it was not registered yet
    ({"inspected_at": AN_HOUR_AHEAD}, 422, "inspection.in_the_future"),
    ({"follows": "ins_999999"}, 404, "inspection.not_found"),
    ({"client_id": "x"}, 422, "string_pattern_mismatch"),
]


@pytest.mark.parametrize(("fields", "status", "code"), BAD)
async def test_bad_inspections_change_nothing(registry: Registry, fields: dict[str, Any], status: int, code: str) -> None:
    station = await township(registry)
    before = (await registry.get("/v1/inspections", limit=1))["as_of"]["revision"]
    told = await inspected(registry, station, expect=status, **fields)
    assert code in {told["code"], *(e["code"] for e in told.get("errors") or [])}, told
    assert (await registry.get("/v1/inspections", limit=1))["as_of"]["revision"] == before


async def test_following_what_is_not_in_rectification_is_refused(registry: Registry) -> None:
    station, other = await township(registry), await township(registry)
    first = (await inspected(registry, station))["inspection_id"]
    assert (await inspected(registry, station, follows=first, expect=409))["code"] == "inspection.nothing_to_follow"
    assert (await inspected(registry, other, follows=first, expect=409))["code"] == "inspection.follows_another"


async def test_whose_inspections_they_are(registry: Registry) -> None:
    operator, stranger = await registry.operator(), await registry.operator()
    station = await township(registry, operator_id=operator)
    inspection = (await inspected(registry, station))["inspection_id"]
    path = f"/v1/inspections/{inspection}"
    assert (await registry.call("GET", path, role="operator", operator=operator))["inspection_id"] == inspection
    assert (await registry.call("GET", path, role="township", township=TOWN))["inspection_id"] == inspection
    await registry.call("GET", path, role="operator", operator=stranger, expect=404)
    await registry.call("GET", path, role="township", township=OTHER_VILLAGE, expect=404)
    own = await registry.call("GET", "/v1/inspections", role="operator", operator=operator)
    assert [i["inspection_id"] for i in own["items"]] == [inspection]
    assert (await registry.call("GET", "/v1/rectifications", role="operator", operator=stranger))["items"] == []


async def test_the_acceptance_goes_up_as_a_table(registry: Registry) -> None:
    station = await township(registry)
    inspection = (await inspected(registry, station, "shelves"))["inspection_id"]
    await signed(registry, inspection, REFORM, "rectify", day(6, 25), rectify_by="2023-07-10")
    decided = await signed(registry, inspection, INDUSTRY, "rectify", day(6, 26), rectify_by="2023-07-10")
    pinned = {"valid_at": day(7, 1), "known_at": decided["as_of"]["known_at"]}
    answers = {
        suffix: await registry.client.get(f"/v1/tables/acceptance.{suffix}", params=pinned, headers=registry.token("auditor"))
        for suffix in ("csv", "xlsx")
    }
    rows = list(csv.reader(io.StringIO(answers["csv"].content.decode("utf-8-sig"))))
    sheet = openpyxl.load_workbook(io.BytesIO(answers["xlsx"].content)).active
    assert [[c or "" for c in row] for row in sheet.values] == rows
    [row] = [r for r in rows if r[0] == inspection]
    assert row[1:4] == ["june", station, "新城镇快递综合服务站"]
    assert row[9:] == ["有货架", "rectify", "rectify", "rectify", "2023-07-10"]
    revision = decided["as_of"]["revision"]
    assert f'filename="acceptance-2023-07-01-r{revision}.csv"' in answers["csv"].headers["content-disposition"]
    for name in ("rectifications", "filings", "incidents", "targets", "gates"):
        answer = await registry.client.get(f"/v1/tables/{name}.csv", params=pinned, headers=registry.token("auditor"))
        assert answer.status_code == 200, (name, answer.text)
        lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert {len(line) for line in lines} == {len(lines[0])}, name
    await registry.get("/v1/tables/salaries.csv", expect=422)
    await registry.get("/v1/tables/targets.pdf", expect=422)


def test_the_page_draws_what_can_become_of_an_inspection() -> None:
    page = (Path(__file__).parents[2] / "docs" / "registry-targets.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", page, re.M))
    statuses = set(InspectionStatus)
    assert {status for pair in drawn for status in pair} == statuses
    assert not [a for a, _ in drawn if a in DECIDED or a == "withdrawn"], "what is decided stays so"

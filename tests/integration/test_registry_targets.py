"""The 1 / 3 / 10 of 2023: the list of places, which count and by what evidence, gates, the pace, and all of it as of any day."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import JUNE, OTHER_VILLAGE, TOWN, VILLAGE, Registry, day, running, station_body

OTHER_TOWN = "140827101000"
WHY = {"reason": "补录2023年名单"}


@pytest.fixture
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


@pytest.fixture(scope="module")
async def shared(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    """For what is refused, and changes nothing."""
    async with running(make_database) as started:
        yield started


async def nominate(registry: Registry, level: str, code: str, at: str = day(3, 25), expect: int = 201, **fields: Any) -> Any:
    given = {"level": level, "division_code": code, "effective_at": at} | WHY | fields
    return await registry.call("POST", "/v1/programmes/prg_0/nominations", given, expect=expect)


async def progress(registry: Registry, at: str, **params: Any) -> Any:
    return await registry.get("/v1/targets", valid_at=at, **params)


def of(answer: Any, level: str) -> Any:
    return next(found for found in answer["levels"] if found["level"] == level)


@dataclass
class Village:
    station: str
    filing: str


async def filed_village(registry: Registry, operator: str, code: str, filed_at: str, receipt: str) -> Village:
    station = await registry.station(division_code=code, operator_id=operator)
    filing = await registry.filing(station, operator, effective_at=day(4, 1), opened_on="2023-03-15")
    await registry.move(filing, "submitted", day(4, 2))
    await registry.move(filing, "filed", filed_at, receipt_no=receipt)
    return Village(station, filing)


async def passed(registry: Registry, station: str, checklist: str, items: list[str], at: int) -> str:
    given: dict[str, Any] = {
        "client_id": str(uuid4()),
        "station_id": station,
        "checklist": checklist,
        "round": "june",
        "inspected_at": day(6, at - 1),
    }
    given["items"] = [{"item": i, "verdict": "met"} for i in items]
    made = await registry.call("POST", "/v1/inspections", given, role="reviewer")
    path = f"/v1/inspections/{made['inspection_id']}/signatures"
    for role, department, hour in (("coordinator", "development_reform", 1), ("reviewer", "industry_it", 2)):
        sign = {"department": department, "result": "pass", "effective_at": day(6, at, hour)}
        await registry.call("POST", path, sign, role=role)
    return str(made["inspection_id"])


async def test_the_notice_is_there_from_the_first_day(registry: Registry) -> None:
    answer = await progress(registry, day(4, 1))
    assert answer["programme_id"] == "prg_0"
    assert [(level["level"], level["counts"], level["count"], level["done"]) for level in answer["levels"]] == [
        ("county_hub", "standard", 1, 0), ("township", "standard", 3, 0), ("village", "filed", 10, 0),
    ]  # fmt: skip
    assert [d["due_on"] for d in of(answer, "village")["dues"]] == ["2023-10-31", "2023-11-30"], "the notice has two days: both, cited"
    gates = {(g["gate"], g["level"]): (g["due_on"], g["needed"], g["count"], g["met"]) for g in answer["gates"]}
    assert gates == {
        ("june", "township"): ("2023-06-30", 2, 3, None),
        ("june", "village"): ("2023-06-30", 5, 10, None),
        ("june_overall", None): ("2023-06-30", 7, 14, None),
        ("september_overall", None): ("2023-09-30", 13, 14, None),
        ("done", "county_hub"): ("2023-11-30", 1, 1, None),
        ("done", "township"): ("2023-11-30", 3, 3, None),
        ("done", "village"): ("2023-11-30", 10, 10, None),
    }
    assert all("垣发改字〔2023〕30号" in g["source"] and g["quote"] for g in answer["gates"])
    assert {g["met"] for g in (await progress(registry, day(12, 1)))["gates"]} == {False}
    assert (await registry.get("/v1/targets", valid_at="2022-06-01T00:00:00+08:00", expect=404))["code"] == "programme.not_found"


async def test_a_village_counts_while_it_is_open_and_filed(registry: Registry) -> None:
    operator = await registry.operator()
    await nominate(registry, "village", VILLAGE)
    await nominate(registry, "village", OTHER_VILLAGE)
    village = await filed_village(registry, operator, VILLAGE, day(5, 10), "YC-1")
    answer = of(await progress(registry, day(5, 9)), "village")
    assert (answer["nominated"], answer["done"], answer["forecast"]) == (2, 0, None)
    assert [(p["division_name"], [m["code"] for m in p["missing"]]) for p in answer["items"]] == [
        ("上王村", ["filing.submitted"]), (answer["items"][1]["division_name"], ["station.none"]),
    ]  # fmt: skip
    done = of(await progress(registry, day(5, 10)), "village")
    [place] = [p for p in done["items"] if p["done"]]
    assert (done["done"], place["station_id"], place["since"], place["missing"]) == (1, village.station, day(5, 10), [])
    assert place["evidence"] | {"authority": ""} == {
        "filing_id": village.filing, "receipt_no": "YC-1", "authority": "", "filing_status": "filed", "inspection_id": None,
    }  # fmt: skip
    await registry.call("PATCH", f"/v1/stations/{village.station}", {"operating_status": "suspended", "effective_at": day(8, 1)})
    assert of(await progress(registry, day(8, 2)), "village")["items"][0]["missing"][0]["code"] == "station.suspended"
    assert of(await progress(registry, day(7, 31)), "village")["done"] == 1


async def test_a_township_counts_when_both_departments_have_passed_it(registry: Registry) -> None:
    await nominate(registry, "township", TOWN)
    station = await registry.station(name="新城镇快递综合服务站", level="township", division_code=TOWN)
    assert of(await progress(registry, day(6, 1)), "township")["items"][0]["missing"][0]["code"] == "inspection.none"
    inspection = await passed(registry, station, "township-2024", ["premises", "area", "reception", "shelves", "scanner"], 25)
    standing = [await registry.get("/v1/standing", station_id=station, brand="zto", valid_at=day(6, d)) for d in (24, 26)]
    assert [(s["standard"], s["inspection_id"]) for s in standing] == [(False, None), (True, inspection)]
    plans = {}
    for at in (day(6, 1), day(6, 26), day(11, 1)):
        found = (await registry.get("/v1/inspection-plan", valid_at=at))["items"]
        plans[at] = [(p["round"], p["status"], p["checklist"], p["station_id"]) for p in found]
    assert plans == {
        day(6, 1): [(r, "planned", "township-2024", station) for r in ("june", "october")],
        day(6, 26): [("june", "passed", "township-2024", station), ("october", "planned", "township-2024", station)],
        day(11, 1): [("june", "passed", "township-2024", station), ("october", "overdue", "township-2024", station)],
    }
    late = await registry.get("/v1/inspection-plan", valid_at=day(11, 1), status="overdue", round="october")
    assert [p["division_code"] for p in late["items"]] == [TOWN]
    answer = of(await progress(registry, day(6, 26)), "township")
    [place] = answer["items"]
    assert (answer["done"], place["since"], place["evidence"]["inspection_id"]) == (1, day(6, 25, 2), inspection)


async def test_gates_are_judged_at_the_end_of_their_day(registry: Registry) -> None:
    operator = await registry.operator()
    codes = [d["code"] for d in (await registry.get("/v1/divisions", kind="village", limit=6))["items"]]
    for i, code in enumerate(codes):
        await nominate(registry, "village", code)
        await filed_village(registry, operator, code, day(6, 26 + i) if i < 5 else day(7, 3), f"YC-{i}")
    at_the_end = {g["gate"]: g for g in (await progress(registry, day(7, 10)))["gates"] if g["level"] in ("village", None)}
    june = at_the_end["june"]
    assert (june["needed"], june["done"], june["met"], june["met_on"]) == (5, 5, True, "2023-06-30")
    overall = at_the_end["june_overall"]
    assert (overall["needed"], overall["done"], overall["met"], overall["met_on"]) == (7, 5, False, None)
    forecast = of(await progress(registry, day(6, 30)), "village")["forecast"]
    # five in 121 days: the other five take as long again
    assert forecast == {"per_month": 1.24, "complete_on": "2023-10-29", "in_time": True}


async def test_the_list_is_fixed_by_the_end_of_march(registry: Registry) -> None:
    refused = await nominate(registry, "village", VILLAGE, reason=None, expect=422)
    assert refused["errors"][0]["code"] == "nomination.reason_required"
    made = await nominate(registry, "village", VILLAGE)
    [nomination] = made["nominations"]
    station = await registry.station(division_code=VILLAGE)
    named = await nominate(registry, "village", VILLAGE, at=day(5, 1), station_id=station, expect=409)
    assert named["code"] == "nomination.exists", "a place is on the list once"
    again = await nominate(registry, "village", VILLAGE, at=day(5, 1), expect=409)
    assert (again["code"], nomination["nomination_id"] in again["detail"]) == ("nomination.exists", True)
    end = f"/v1/programmes/prg_0/nominations/{nomination['nomination_id']}/end"
    without = await registry.call("POST", end, {"effective_at": day(8, 1)}, expect=422)
    assert without["errors"][0]["code"] == "nomination.reason_required"
    gone = await registry.call("POST", end, {"effective_at": day(8, 1), "reason": "该村整体搬迁"})
    assert (gone["nominations"][0]["valid_to"], gone["nominations"][0]["ended_because"]) == (day(8, 1), "该村整体搬迁")
    await nominate(registry, "village", OTHER_VILLAGE, at=day(8, 1), reason="替换上王村")
    names = [[p["division_code"] for p in of(await progress(registry, day(m, 2)), "village")["items"]] for m in (7, 8)]
    assert names == [[VILLAGE], [OTHER_VILLAGE]]
    assert (await registry.call("POST", end, {"effective_at": day(9, 1), **WHY}, expect=409))["code"] == "nomination.not_then"
    missing = "/v1/programmes/prg_0/nominations/nom_999/end"
    assert (await registry.call("POST", missing, {"effective_at": day(9, 1), **WHY}, expect=404))["code"] == "nomination.not_found"


@pytest.mark.parametrize(
    ("level", "code", "fields", "status", "problem"),
    [
        ("village", "140827999999", {}, 422, "division.unknown"),
        ("village", TOWN, {}, 422, "station.division_kind"),
        ("village", VILLAGE, {"station_id": "stn_999"}, 404, "station.not_found"),
        ("village", VILLAGE, {"effective_at": "2031-01-01T00:00:00+08:00"}, 422, "moment.too_far_ahead"),
        ("village", VILLAGE, {"reason": "问李四 13835912345"}, 422, "text.personal_data"),
    ],
)
async def test_bad_nominations(shared: Registry, level: str, code: str, fields: dict[str, Any], status: int, problem: str) -> None:
    told = await nominate(shared, level, code, expect=status, **fields)
    assert problem in {told["code"], *(e["code"] for e in told.get("errors") or [])}


async def test_a_station_elsewhere_does_not_count_for_a_place(registry: Registry) -> None:
    station = await registry.station(division_code=OTHER_VILLAGE)
    assert (await nominate(registry, "village", VILLAGE, station_id=station, expect=409))["code"] == "nomination.station_elsewhere"
    operator = await registry.operator()
    await nominate(registry, "village", VILLAGE)
    village = await filed_village(registry, operator, VILLAGE, day(5, 10), "YC-1")
    await registry.call("PATCH", f"/v1/stations/{village.station}", {"division_code": OTHER_VILLAGE, "effective_at": day(9, 1)})
    assert [of(await progress(registry, day(m, 2)), "village")["done"] for m in (8, 9)] == [1, 0]


async def test_no_station_counts_for_two_places(registry: Registry) -> None:
    await nominate(registry, "township", TOWN)
    inside = await nominate(registry, "township", VILLAGE, expect=409)
    assert inside["code"] == "nomination.exists"


async def test_the_hub_counts_for_the_county(registry: Registry) -> None:
    await nominate(registry, "county_hub", "140827000000")
    hub = await registry.station(name="县中心", level="county_hub", division_code="140827104003")
    await passed(registry, hub, "county-2024", ["county_seat", "brands", "area", "conveyor"], 25)
    assert of(await progress(registry, day(7, 1)), "county_hub")["done"] == 1


async def test_what_was_complete_in_time_stays_so(registry: Registry) -> None:
    operator = await registry.operator()
    target = {"level": "village", "count": 1, "counts": "filed", "starts_on": "2023-03-01"}
    due = {"due_on": "2023-11-30", "source": "县文件", "quote": "11月"}
    await registry.call("PATCH", "/v1/programmes/prg_0", {"reason": "试点", "targets": [target | {"dues": [due]}], "gates": []})
    await nominate(registry, "village", VILLAGE)
    await filed_village(registry, operator, VILLAGE, day(5, 10), "YC-1")
    for at in (day(6, 1), day(12, 5)):
        forecast = of(await progress(registry, at), "village")["forecast"]
        assert (forecast["complete_on"], forecast["in_time"]) == ("2023-05-10", True)
    gone = {"reason": "取消", "targets": [target | {"level": "township", "dues": [due]}]}
    assert (await registry.call("PATCH", "/v1/programmes/prg_0", gone, expect=409))["code"] == "target.nominated"


async def test_any_station_of_a_place_may_be_the_one_that_was_inspected(registry: Registry) -> None:
    await nominate(registry, "township", TOWN)
    await registry.station(name="甲站", level="township", division_code=TOWN)
    second = await registry.station(name="乙站", level="township", division_code=TOWN)
    inspection = await passed(registry, second, "township-2024", ["premises", "area", "reception", "shelves", "scanner"], 24)
    found = (await registry.get("/v1/inspection-plan", valid_at=day(7, 5), round="june"))["items"]
    assert [(p["status"], p["station_id"], p["inspection_id"]) for p in found] == [("passed", second, inspection)]


async def test_a_tenant_sees_whether_a_place_counts_and_not_by_whose_papers(registry: Registry) -> None:
    operator = await registry.operator()
    await nominate(registry, "village", VILLAGE)
    village = await filed_village(registry, operator, VILLAGE, day(5, 10), "YC-1")
    told = {}
    tenants: list[tuple[str, dict[str, Any]]] = [
        ("brand", {"brand": "sf"}), ("brand", {"brand": "zto"}), ("brand", {"feed": "zto-1"}), ("operator", {"operator": "opr_9"}),
    ]  # fmt: skip
    for role, claim in tenants:
        level = of(await registry.call("GET", f"/v1/targets?valid_at={day(6, 1).replace('+', '%2B')}", role=role, **claim), "village")
        places = [(p["done"], p["station_id"], p["evidence"]["receipt_no"]) for p in level["items"]]
        told[next(iter(claim.values()))] = (level["count"], level["done"], places)
    assert told == {
        "sf": (10, 1, [(True, None, None)]),
        "zto": (10, 1, [(True, village.station, "YC-1")]),
        "zto-1": (10, 1, [(True, None, None)]),
        "opr_9": (0, 0, []),
    }


async def test_what_was_reported_can_be_reported_again(registry: Registry) -> None:
    """A correction in August changes what June was, not what was known of it in July."""
    operator = await registry.operator()
    await nominate(registry, "village", VILLAGE)
    village = await filed_village(registry, operator, VILLAGE, day(5, 10), "YC-1")
    reported = await progress(registry, day(6, 30))
    known = reported["as_of"]["known_at"]
    wrong = {"valid_from": day(5, 10), "status": "submitted", "reason": "回执实为7月签发"}
    await registry.call("POST", f"/v1/filings/{village.filing}/corrections", wrong)
    assert of(await progress(registry, day(6, 30)), "village")["done"] == 0
    assert await progress(registry, day(6, 30), known_at=known) == reported


async def test_a_township_sees_its_own(registry: Registry) -> None:
    operator = await registry.operator()
    villages = (await registry.get("/v1/divisions", parent_code=OTHER_TOWN, kind="village", limit=1))["items"]
    await nominate(registry, "village", VILLAGE)
    await nominate(registry, "village", villages[0]["code"])
    await filed_village(registry, operator, VILLAGE, day(5, 10), "YC-1")
    seen = {}
    for town in (TOWN, OTHER_TOWN):
        answer = await registry.call("GET", f"/v1/targets?valid_at={day(6, 1).replace('+', '%2B')}", role="township", township=town)
        level = of(answer, "village")
        seen[town] = (level["count"], level["done"], [p["division_code"] for p in level["items"]], answer["gates"], level["forecast"])
    assert seen == {TOWN: (1, 1, [VILLAGE], [], None), OTHER_TOWN: (1, 0, [villages[0]["code"]], [], None)}


PLAN: dict[str, Any] = {
    "year": 2024,
    "name": "2024年提质工程",
    "nominate_by": "2024-03-31",
    "targets": [
        {
            "level": "village", "count": 5, "counts": "filed", "starts_on": "2024-03-01",
            "dues": [{"due_on": "2024-11-30", "source": "县文件", "quote": "11月全面完成"}],
        }
    ],
    "gates": [],
}  # fmt: skip
GATE = {
    "gate": "june",
    "due_on": "2024-06-30",
    "percent": 50,
    "of": "each_level",
    "levels": ["village"],
    "source": "县文件",
    "quote": "过半",
}


ROUND = {"round": "june", "first_day": "2024-06-21", "last_day": "2024-06-30", "source": "县文件", "quote": "6月下旬"}


async def test_another_year_has_a_programme_of_its_own(registry: Registry) -> None:
    made = await registry.call("POST", "/v1/programmes", PLAN)
    assert (await registry.get("/v1/targets", valid_at="2024-05-01T00:00:00+08:00"))["programme_id"] == made["programme_id"]
    assert (await progress(registry, day(12, 31)))["programme_id"] == "prg_0"
    assert (await registry.call("POST", "/v1/programmes", PLAN, expect=409))["code"] == "programme.exists"
    path = f"/v1/programmes/{made['programme_id']}"
    await registry.call("PATCH", path, {"reason": "按市文件调整", "gates": [GATE]})
    assert [g["gate"] for g in (await registry.get(path))["gates"]] == ["june"]
    assert (await registry.get(path, known_at=made["as_of"]["known_at"]))["gates"] == []
    assert [p["year"] for p in (await registry.get("/v1/programmes"))["items"]] == [2023, 2024]
    assert (await registry.call("PATCH", path, {"reason": "无"}, expect=422))["code"] == "request.invalid"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"targets": PLAN["targets"] * 2}, "target.twice"),
        ({"targets": [PLAN["targets"][0] | {"starts_on": "2024-12-01"}]}, "target.due_before_start"),
        ({"targets": [PLAN["targets"][0] | {"starts_on": "2020-03-01"}]}, "date.other_year"),
        ({"gates": [GATE, GATE]}, "gate.twice"),
        ({"gates": [GATE | {"levels": ["township"]}]}, "gate.level"),
        ({"gates": [GATE | {"due_on": "2034-06-30"}]}, "date.other_year"),
        ({"rounds": [ROUND, ROUND]}, "round.twice"),
        ({"rounds": [ROUND | {"last_day": "2024-06-01"}]}, "round.ends_before"),
    ],
)
async def test_bad_programmes(shared: Registry, changes: dict[str, Any], code: str) -> None:
    told = await shared.call("POST", "/v1/programmes", PLAN | changes, expect=422)
    assert code in {e["code"] for e in told["errors"]}


async def test_what_2022_had_and_is_gone_is_told(registry: Registry) -> None:
    before = "2022-06-01T00:00:00+08:00"
    open_all_along = await registry.station(effective_at=before, services_per_week=7)
    await registry.call("PATCH", f"/v1/stations/{open_all_along}", {"services_per_week": 3, "effective_at": JUNE})
    closed = await registry.station(division_code=OTHER_VILLAGE, effective_at=before)
    await registry.call("PATCH", f"/v1/stations/{closed}", {"operating_status": "closed", "effective_at": JUNE})
    answer = await registry.get("/v1/baseline", regressed=True, valid_at=day(7, 1))
    assert [(i["criterion"], i["division_code"]) for i in answer["items"]] == [
        ("daily_service", VILLAGE), ("village_outlet", OTHER_VILLAGE),
    ]  # fmt: skip
    unknown = await registry.get("/v1/baseline", valid_at=day(5, 1), township_code=TOWN)
    told = {(i["criterion"], i["division_code"]): (i["then"], i["now"]) for i in unknown["items"]}
    assert told["daily_service", OTHER_VILLAGE] == (None, None), "nobody has recorded how often it is served"
    assert told["township_station", TOWN] == (False, False)


async def test_nothing_is_open_before_it_opened(registry: Registry) -> None:
    told = await registry.call("POST", "/v1/stations", station_body(opened_on="2023-03-02"), expect=422)
    assert told["errors"][0]["code"] == "station.before_opening"
    station = await registry.station(operating_status="planned", opened_on="2023-05-01", staff=2, services_per_week=7)
    early = {"operating_status": "open", "effective_at": day(4, 1)}
    assert (await registry.call("PATCH", f"/v1/stations/{station}", early, expect=422))["errors"][0]["code"] == "station.before_opening"
    await registry.call("PATCH", f"/v1/stations/{station}", {"operating_status": "open", "staff": 3, "effective_at": day(5, 1)})
    staff = [(await registry.get(f"/v1/stations/{station}", valid_at=day(m, 2)))["staff"] for m in (4, 5)]
    assert staff == [2, 3]

"""The demo's 1 / 3 / 10: the list of places, the inspections of June and July, and what the register makes of them."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from deploy.client import Api
from deploy.demo.county import FILED_FROM_START, FILED_IN_JULY, Station
from deploy.demo.seed import Seeded
from deploy.demo.show import Show
from shared.calendar import SHANGHAI, day_start, rfc3339

PROGRAMME = "prg_0"  # the notice of 2023, there from the first day
NOMINATED_AT = datetime(2023, 3, 28, tzinfo=SHANGHAI)
WHY = "演示数据补录 / entered for the demo"  # the list was to be fixed by the end of March 2023
TOWNSHIPS = (0, 3, 6)  # by their place in the order of division codes; the last is put right in July
CHECKLISTS = {"county_hub": "county-2024", "township": "township-2024"}
LEVELS = {"county_hub": "县级统仓共配 county hub", "township": "乡镇快递综合服务站 township", "village": "村级便民服务点 village"}
JUNE_END, JULY_END = date(2023, 6, 30), date(2023, 7, 31)


def _at(month: int, day: int, hour: int) -> str:
    return rfc3339(datetime(2023, month, day, hour, tzinfo=SHANGHAI))


async def plan_and_inspect(registry: Api, reviewer: Api, seeded: Seeded) -> None:
    """`registry` as coordinator, who signs for 发改局; `reviewer`, who inspects and signs for 工科局."""
    county = seeded.county
    towns = [county.townships[i] for i in TOWNSHIPS]
    villages = [county.villages[i] for i in (*FILED_FROM_START, *FILED_IN_JULY)]
    for station in (county.hub, *towns, *villages):
        await _nominate(registry, station)
    for station in (county.hub, *towns[:2]):
        inspection = await _inspect(reviewer, seeded, station, "june", _at(6, 26, 10))
        await _sign(registry, reviewer, inspection, 28, "pass")
    first = await _inspect(reviewer, seeded, towns[2], "june", _at(6, 27, 10), unmet="shelves")
    await _sign(registry, reviewer, first, 29, "rectify", rectify_by="2023-07-20")
    later = await _inspect(reviewer, seeded, towns[2], "ad_hoc", _at(7, 17, 10), follows=first)
    await _sign(registry, reviewer, later, 18, "pass", month=7)


async def _nominate(registry: Api, station: Station) -> None:
    body = {"level": station.level, "division_code": station.division_code, "effective_at": rfc3339(NOMINATED_AT), "reason": WHY}
    await registry.post(f"/v1/programmes/{PROGRAMME}/nominations", body)


async def _inspect(
    reviewer: Api, seeded: Seeded, station: Station, round_: str, at: str, *, unmet: str = "", follows: str | None = None
) -> str:
    checklist = CHECKLISTS[station.level]
    criteria = next(c for c in (await reviewer.get("/v1/checklists"))["items"] if c["checklist"] == checklist)["items"]
    body = {
        "client_id": str(uuid5(NAMESPACE_OID, f"{station.site_code}|{at}")),
        "station_id": seeded.stations[station.site_code],
        "checklist": checklist,
        "round": round_,
        "inspected_at": at,
        "follows": follows,
        "items": [_found(item, met=item["item"] != unmet) for item in criteria],
    }
    return str((await reviewer.post("/v1/inspections", body))["inspection_id"])


def _found(item: dict[str, Any], *, met: bool) -> dict[str, Any]:
    """What is measured is measured a little above what is asked."""
    value = None if item["at_least"] is None else item["at_least"] + 1
    return {"item": item["item"], "verdict": "met" if met else "not_met", "value": value}


async def _sign(
    registry: Api, reviewer: Api, inspection: str, day: int, result: str, *, month: int = 6, rectify_by: str | None = None
) -> None:
    for api, department, hour in ((registry, "development_reform", 9), (reviewer, "industry_it", 15)):
        body = {"department": department, "result": result, "rectify_by": rectify_by, "effective_at": _at(month, day, hour)}
        await api.post(f"/v1/inspections/{inspection}/signatures", body)


async def board(registry: Api, day: date) -> dict[str, Any]:
    """The progress as it was at the end of a day."""
    end = day_start(day + timedelta(days=1)) - timedelta(seconds=1)
    found: dict[str, Any] = await registry.get("/v1/targets", valid_at=rfc3339(end), programme_id=PROGRAMME)
    return found


def show_board(show: Show, june: dict[str, Any], july: dict[str, Any]) -> list[str]:
    """-> a problem where the board does not say what the demo has made."""
    show.title("2023年任务（1 / 3 / 10）进度，依据可逐项查看", "The targets of 2023 (1 / 3 / 10), each with its evidence at /v1/targets")
    columns = [("级别", "level"), ("任务", "target"), ("6月30日", "30 June"), ("7月31日", "31 July"), ("最迟", "due")]
    pairs = list(zip(june["levels"], july["levels"], strict=True))
    show.table(columns, [(LEVELS[a["level"]], a["count"], a["done"], b["done"], a["dues"][-1]["due_on"]) for a, b in pairs])
    for gate in july["gates"]:
        if gate["due_on"] <= str(JULY_END):
            level = LEVELS[gate["level"]] if gate["level"] else "合计 overall"
            mark = "✓" if gate["met"] else "✗"
            late = f"，{gate['met_on']} 达到 · reached then" if gate["met_on"] and not gate["met"] else ""
            show.text(f"{gate['due_on']} {gate['percent']}% {level}: {gate['done']} / {gate['needed']} {mark}{late}（{gate['source']}）")
    made = [(1, 1), (2, 3), (len(FILED_FROM_START), len(FILED_FROM_START) + len(FILED_IN_JULY))]
    told = [(a["done"], b["done"]) for a, b in pairs]
    return [] if told == made else [f"targets: the register counts {told}, the demo has made {made}"]

"""The tables that the county sends upwards, as rows of texts: what the lists and the progress say, and nothing of its own.

No form of the province's or the city's is public, so the columns are ours, with their names in both languages.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from services.registry import schemas_targets as schemas
from services.registry.domain.station_file import safe
from services.registry.schemas_inspections import InspectionItem
from services.registry.service import incidents, inspections, reads, targets
from services.registry.service.reads import Pin, pin
from shared.auth import Principal
from shared.calendar import rfc3339
from shared.contracts.programme import Department
from shared.db import Database, Read
from shared.standing import at as segment_at

Rows = list[list[Any]]
LEVELS = {"county_hub": "县级统仓共配", "township": "乡镇快递综合服务站", "village": "村级快递便民服务点"}
HEADINGS: Mapping[str, Sequence[str]] = {
    "targets": (
        "级别 level", "任务数 target", "区划代码 division", "名单 place", "站点编号 station", "站点 station name", "是否完成 done",
        "完成时间 since", "备案编号 filing", "回执编号 receipt", "备案机关 authority", "验收编号 inspection", "欠缺 missing",
    ),
    "gates": (
        "节点 gate", "级别 level", "截止 due", "比例 percent", "任务数 target", "应完成 needed", "已完成 done", "是否达到 met",
        "达到日期 met on", "依据 source",
    ),
    "acceptance": (
        "验收编号 inspection", "轮次 round", "站点编号 station", "站点 station name", "乡镇代码 township", "检查表 checklist",
        "检查时间 inspected", "检查人 inspector", "达标项 met", "未达标项 not met", "发改局 reform", "工科局 industry", "结论 result",
        "整改期限 rectify by",
    ),
    "rectifications": (
        "站点编号 station", "站点 station name", "乡镇代码 township", "验收编号 inspection", "整改项 item", "期限 due", "状态 status",
        "复查编号 done by", "完成时间 done",
    ),
    "filings": (
        "站点编号 station", "站点 station name", "级别 level", "区划代码 division", "乡镇代码 township", "备案编号 filing", "开办者 filer",
        "品牌 brands", "状态 status", "回执编号 receipt", "备案机关 authority", "开办日期 opened", "自 since",
    ),
    "incidents": (
        "编号 incident", "类别 kind", "来源 source", "站点编号 station", "乡镇代码 township", "企业 operator", "快件数 parcels",
        "摘要 summary", "状态 status", "期限 due", "是否逾期 overdue",
    ),
}  # fmt: skip


async def table(
    database: Database, principal: Principal, name: schemas.TableName, query: schemas.TableQuery
) -> tuple[list[list[str]], Pin]:
    """-> (headings and rows, what they are true of)"""
    async with database.read() as read:
        at = await pin(read, query.valid_at, query.known_at)
        rows = await _TABLES[name](read, principal, at, query.programme_id)
    return [list(HEADINGS[name]), *([_cell(value) for value in row] for row in rows)], at


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "是" if value else "否"
        case datetime():
            return rfc3339(value)
        case date():
            return value.isoformat()
        case _:
            return safe(str(value))


async def _targets(read: Read, principal: Principal, at: Pin, programme_id: str | None) -> Rows:
    answer = await targets.progress(read, principal, at, programme_id)
    return [
        [
            LEVELS[level.level], level.count, p.division_code, p.division_name, p.station_id, p.station_name, p.done, p.since,
            p.evidence.filing_id, p.evidence.receipt_no, p.evidence.authority, p.evidence.inspection_id,
            "；".join(lack.label.zh for lack in p.missing),
        ]
        for level in answer.levels for p in level.items
    ]  # fmt: skip


async def _gates(read: Read, principal: Principal, at: Pin, programme_id: str | None) -> Rows:
    answer = await targets.progress(read, principal, at, programme_id)
    return [
        [
            g.gate, LEVELS[g.level] if g.level else "合计", g.due_on, g.percent, g.count, g.needed, g.done, g.met, g.met_on,
            f"{g.source}：{g.quote}",
        ]
        for g in answer.gates
    ]  # fmt: skip


async def _acceptance(read: Read, principal: Principal, at: Pin, _programme_id: str | None) -> Rows:
    return [_inspected(item) for item in await inspections.seen(read, principal, at)]


def _inspected(item: InspectionItem) -> list[Any]:
    signed = {s.department: s.result for s in item.signatures}
    of = {verdict: "；".join(i.label.zh for i in item.items if i.verdict == verdict) for verdict in ("met", "not_met")}
    return [
        item.inspection_id, item.round, item.station_id, item.station_name, item.township_code, item.checklist, item.inspected_at,
        item.inspector, of["met"], of["not_met"], signed.get(Department.REFORM), signed.get(Department.INDUSTRY), item.status,
        item.rectify_by,
    ]  # fmt: skip


async def _rectifications(read: Read, principal: Principal, at: Pin, _programme_id: str | None) -> Rows:
    return [
        [t.station_id, t.station_name, t.township_code, t.inspection_id, t.label.zh, t.due_on, t.status, t.done_by, t.done_at]
        for t in await inspections.tasks(read, principal, at, None)
    ]


async def _filings(read: Read, principal: Principal, at: Pin, _programme_id: str | None) -> Rows:
    """One row a filing, as it stood."""
    rows: Rows = []
    async for stations in reads.walk(read, principal, at, reads.terms_of(principal, None)):
        for station, _ in stations:
            then = segment_at(station.segments, at.moment)
            for filing in station.filings:
                held = segment_at(filing.segments, at.moment)
                if then and held:
                    rows.append([
                        station.station_id, then.name, LEVELS[station.level], then.division_code, then.township_code, filing.filing_id,
                        filing.filer_id, ";".join(filing.covers_brands), held.status, held.receipt_no, filing.authority, filing.opened_on,
                        held.valid_from,
                    ])  # fmt: skip
    return rows


async def _incidents(read: Read, principal: Principal, at: Pin, _programme_id: str | None) -> Rows:
    return [
        [
            i.incident_id, i.kind, i.source, i.station_id, i.township_code, i.operator_id, len(i.parcels), i.summary, i.status, i.due_on,
            i.overdue,
        ]
        for i in await incidents.seen(read, principal, at)
    ]  # fmt: skip


_TABLES: Mapping[schemas.TableName, Callable[[Read, Principal, Pin, str | None], Awaitable[Rows]]] = {
    "targets": _targets, "gates": _gates, "acceptance": _acceptance, "rectifications": _rectifications, "filings": _filings,
    "incidents": _incidents,
}  # fmt: skip

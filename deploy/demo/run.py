"""The demo: the main job end to end on an empty installation, told to whoever knows nothing, checked by whoever trusts nobody."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from deploy.client import TIMEOUT_S, Api, Json, Refused
from deploy.demo import lade, statement, targets, wire
from deploy.demo.generator import Month, Push, month
from deploy.demo.recompute import Disproved, Report, recompute
from deploy.demo.rules import Result
from deploy.demo.seed import seed, tell_what_was_unknown
from deploy.demo.send import AT_ONCE, Answer, Sender
from deploy.demo.show import Show
from deploy.demo.statement import Statement
from deploy.embedded.installation import write_whole
from deploy.feed_operations import keep_secret
from deploy.platform import Access
from deploy.welcome import SANDBOX_FEED
from shared.calendar import shanghai_day

SEED = 30  # of the generator, after the notice's number: every run tells the same month
SETTLED_WITHIN_S = 60.0
RECEIVED = [
    ("数据源", "feed"),
    ("推送", "pushes"),
    ("签名不符", "unauthentic"),
    ("不可读", "unparseable"),
    ("扫描", "scans"),
    ("接收", "accepted"),
    ("重复", "duplicate"),
    ("冲突", "conflict"),
    ("隔离", "quarantined"),
    ("拒绝", "rejected"),
    ("平", "balanced"),
]
SETTLED = "settled.json"  # in the installation: the demo's data is complete, it agreed with the recomputation, a parcel to look at

Numbers = tuple[str, str]  # brand, waybill number


@dataclass
class Demo:
    """What the run knows so far. `problems`: every disagreement, one line each; empty means that all is well."""

    access: Access
    http: httpx.AsyncClient
    show: Show
    problems: list[str] = field(default_factory=list)

    def api(self, service: str, role: str) -> Api:
        return Api(self.http, self.access.urls[service], self.access.token(role))


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=AT_ONCE * 2))


async def fill(demo: Demo) -> Month:
    """County, senders, the month, then what becomes known late; returns when all of it is on the books."""
    show = demo.show
    seeded = await seed(demo.api("registry", "coordinator"), demo.api("registry", "postal"), demo.api("ingest", "admin"))
    keep_secret(demo.access, SANDBOX_FEED, seeded.secrets[SANDBOX_FEED].decode())
    show.step("已登记 83 个站点（1 县 11 乡 71 村）与 3 个数据源", "83 stations (1 hub, 11 townships, 71 villages), 3 senders")
    july = month(seeded.county, lade.read(len(seeded.county.villages)), SEED)
    sender = Sender(demo.http, demo.access.urls["ingest"], seeded.secrets)
    await _send(demo, sender, july.first, "推送七月的扫描", "pushing July's scans")
    await settled(demo)
    show.step("首轮入账完毕；现在送来迟到的事实", "first round on the books; now what becomes known late")
    await tell_what_was_unknown(demo.api("registry", "coordinator"), demo.api("registry", "postal"), seeded)
    await targets.plan_and_inspect(demo.api("registry", "coordinator"), demo.api("registry", "reviewer"), seeded)
    await _send(demo, sender, july.late, "推送迟到的扫描", "pushing late scans")
    await _send_bad(demo, sender)
    await settled(demo)
    demo.problems += sender.unexpected
    return july


async def _send(demo: Demo, sender: Sender, pushes: tuple[Push, ...], zh: str, en: str) -> None:
    letters = list(wire.letters(pushes))
    began = time.monotonic()
    with demo.show.progress(zh, en, len(letters)) as count:
        await sender.send_all(letters, count)
    seconds = max(time.monotonic() - began, 0.001)
    scans = sum(len(push.scans) for push in pushes)
    demo.show.step(f"{scans} 条扫描，{len(letters)} 次推送，{seconds:.1f} 秒", f"{scans} scans in {len(letters)} signed pushes")


async def _send_bad(demo: Demo, sender: Sender) -> None:
    """Each is answered in the sender's own words; none is a 5xx."""
    demo.show.title("送来的错误，各得明确的答复", "What goes wrong on the way, and the answer to it")
    for bad in wire.bad_letters("73900000000001"):
        answer: Answer = await sender.send(bad.letter)
        demo.show.text(f"{bad.zh} · {bad.en} → {bad.then}\n  {answer.text}")
        if answer.stored is not bad.stored:
            demo.problems.append(f"{bad.en}: answered {answer.status} {answer.text}")


async def settled(demo: Demo) -> None:
    """Until all that was acknowledged before now is on the books, and every registry change has been carried through."""
    acknowledged = datetime.now(UTC)
    revision = (await demo.api("registry", "auditor").get("/v1/stations", limit=1))["as_of"]["revision"]
    subsidy = demo.api("subsidy", "auditor")
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        as_of = (await subsidy.get("/v1/summary", **statement.MONTH, limit=1))["as_of"]
        if _reached(as_of, acknowledged, revision):
            return
        await asyncio.sleep(0.1)
    raise Refused(
        f"the books did not catch up within {SETTLED_WITHIN_S:g} s (as_of {as_of}): see the logs in "
        f"{demo.access.installation.log} / 记账未能及时完成,请查看日志"
    )


def _reached(as_of: Json, acknowledged: datetime, revision: int) -> bool:
    watermark, applied = as_of["watermark"], as_of["registry_revision"]
    if watermark is None or applied is None or as_of["pending_reassessments"]:
        return False
    return datetime.fromisoformat(watermark) >= acknowledged and applied >= revision


# What is printed


async def tell(demo: Demo, july: Month, csv_path: Path) -> Json:
    """All that the demo prints once the books are settled -> the same as JSON."""
    report, steps = await _recomputed(demo)
    subsidy, registry = demo.api("subsidy", "auditor"), demo.api("registry", "auditor")
    found = await statement.read(subsidy, registry)
    found.unpaid = unpaid(report)
    completeness = await _completeness(demo, report)
    statement.show(demo.show, found)
    statement.show_ceiling(demo.show, found)
    if not statement.within_ceiling(found):
        demo.problems.append("the average is above the ceiling")
    statement.write_csv(found, csv_path)
    demo.show.text(f"表格文件 · as a file: {csv_path}")
    boards = [await targets.board(registry, day) for day in (targets.JUNE_END, targets.JULY_END)]
    demo.problems += targets.show_board(demo.show, *boards)
    explained = await _explain(demo, report, july)
    _verdict(demo, report, steps, found)
    return {
        "completeness": completeness,
        "totals": found.totals,
        "ceilings": found.ceilings,
        "townships": {name: asdict(row) for name, row in found.by("township").items()},
        "stations": [asdict(row) for row in found.rows],
        "beneficiaries": {name: row.accrued_fen for name, row in found.by("beneficiary").items() if name},
        "lines": {kind: {"lines": n, "amount_fen": found.lines_fen[kind]} for kind, n in sorted(found.lines.items())},
        "unpaid": [{"outcome": o, "reason_code": code, "parcels": n} for (o, code), n in sorted(found.unpaid.items())],
        "targets": {str(day): told for day, told in zip((targets.JUNE_END, targets.JULY_END), boards, strict=True)},
        "explained": explained,
        "recomputed": {
            "scan_positions": report.scan_positions,
            "registry_positions": report.registry_positions,
            "parcels": len(report.results),
            "in_transit": report.in_transit,
            "payable": report.count("payable"),
            "net_fen": report.net_fen,
            "statement_fen": month_fen(report),
            "differences": report.differences,
        },
        "as_of": found.as_of,
    }


def in_month(result: Result) -> bool:
    """A parcel belongs to the month of its service date: what arrived on the last evening may be August's."""
    return result.service_date is not None and statement.MONTH["from"] <= str(result.service_date) < statement.MONTH["to"]


def unpaid(report: Report) -> Counter[tuple[str, str]]:
    """(outcome, first reason) → parcels of the month; the recomputation has asked the platform for each of them."""
    july = (r for r in report.results.values() if in_month(r))
    return Counter((r.outcome, r.reasons[0]) for r in july if r.outcome not in (None, "payable"))


def month_fen(report: Report) -> int:
    return sum(r.net_fen for r in report.results.values() if in_month(r))


async def _recomputed(demo: Demo) -> tuple[Report, list[str]]:
    """With nothing but addresses and an auditor's token, as an auditor would; what it says is shown at the end."""
    steps: list[str] = []
    urls, token = demo.access.urls, demo.access.token("auditor")
    report = await asyncio.to_thread(recompute, urls["ingest"], urls["registry"], urls["subsidy"], token, steps.append)
    demo.problems += report.differences
    return report, steps


async def _completeness(demo: Demo, report: Report) -> list[Json]:
    today = shanghai_day(datetime.now(UTC))
    days = {"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}
    items = [item async for item in demo.api("ingest", "auditor").pages("/v1/completeness", **days)]
    demo.show.title("收到了什么（全部于今天收到）", "What was received (all of it today)")
    demo.show.table(RECEIVED, [_received(item) for item in items])
    demo.show.text("扫描 = 接收 + 重复 + 冲突 + 隔离 + 拒绝：一条不丢。")
    demo.show.text("scans = accepted + duplicate + conflict + quarantined + rejected: nothing is lost.")
    logged = sum(item["events"]["accepted"] + item["events"]["conflict"] for item in items if item["mode"] == "live")
    demo.problems += [f"completeness of {item['feed']} does not add up" for item in items if not item["balanced"]]
    if logged != report.scan_positions:
        demo.problems.append(f"{logged} scans accepted, {report.scan_positions} positions in the log")
    return items


def _received(item: Json) -> tuple[object, ...]:
    pushes, events = item["pushes"], item["events"]
    counts = (events[name] for name in ("received", "accepted", "duplicate", "conflict", "quarantined", "rejected"))
    return item["feed"], pushes["received"], pushes["unauthenticated"], pushes["unparseable"], *counts, "✓" if item["balanced"] else "✗"


async def _explain(demo: Demo, report: Report, july: Month) -> list[Json]:
    subsidy = demo.api("subsidy", "auditor")
    told = []
    for zh, en, numbers in _examples(report, july):
        explained = await subsidy.get(f"/v1/parcels/{numbers[0]}/{numbers[1]}/explain")
        demo.show.title(f"一件{zh}的快件：{numbers[0]} {numbers[1]}", f"a parcel that is {en}")
        demo.show.text(explained["text"]["zh"])
        demo.show.line()
        demo.show.text(explained["text"]["en"])
        net_fen = report.results[numbers].net_fen
        if explained["net_fen"] != net_fen:
            demo.problems.append(f"{numbers}: explained {explained['net_fen']} fen, recomputed {net_fen}")
        told.append({"brand": numbers[0], "waybill_no": numbers[1], "what": en, "outcome": explained["outcome"], "text": explained["text"]})
    return told


def _examples(report: Report, july: Month) -> list[tuple[str, str, Numbers]]:
    """A real one that is paid, one that is refused, one that was on the books before its return became known."""
    real = [(p.brand, p.waybill_no) for p in july.told("real")]
    payable = next(numbers for numbers in real if report.results[numbers].outcome == "payable")
    refused = next(numbers for numbers, r in sorted(report.results.items()) if "station.not_open" in r.reasons)
    late = july.told("returned_late")[0]
    return [("应付", "payable", payable), ("不付", "refused", refused), ("先记后冲销", "reversed", (late.brand, late.waybill_no))]


def _verdict(demo: Demo, report: Report, steps: list[str], found: Statement) -> None:
    demo.show.title("独立复算（只凭日志与政策，不用本系统的代码）", "Recomputed independently, from the logs and the policy alone")
    for step in steps:
        demo.show.text(step)
    demo.problems += _bridge(demo.show, report, found.totals["parcels"])
    if found.totals["accrued_fen"] != month_fen(report):
        demo.problems.append(f"statement {found.totals['accrued_fen']} fen, recomputed {month_fen(report)} fen")
    if demo.problems:
        demo.show.line(f"    ✗ 不一致 {len(demo.problems)} 处 · {len(demo.problems)} disagreements:")
        for problem in demo.problems[:20]:
            demo.show.line(f"      {problem}")
        return
    zh, en = report.figures
    demo.show.line(f"    ✓ 逐件一致，分毫不差：{zh} · the same parcel by parcel, to the fen: {en}")


def _bridge(show: Show, report: Report, stated: int) -> list[str]:
    """From all parcels to those of the month's statement (`stated`) -> a problem where the two do not meet."""
    judged = len(report.results) - report.in_transit
    ours = sum(map(in_month, report.results.values()))
    show.text(f"补贴表：已判定 {judged} 件 − 计入其他月份 {judged - ours} 件 = 七月 {ours} 件")
    show.text(f"The statement: {judged} judged − {judged - ours} counted in another month = {ours} of July")
    return [] if ours == stated else [f"statement {stated} parcels, recomputed {ours}"]


INTRODUCTION = """通村：每一件送到村里的快件，变成一行精确到分、说得清、经得起审计的补贴。
快递企业按各自的格式推送扫描；县里登记站点与备案；系统按公开的政策逐件算出补贴，说明理由；任何人都可以重算。

Tongcun turns every parcel that reaches a village into a line of subsidy: exact to the fen, explained in plain words, provable.
Couriers push their scans in their own formats; the county keeps its stations and filings; each parcel is paid or not by a dated,
cited policy, and anybody may compute it again. What follows is July 2023 in Yuanqu: real divisions, 72 real parcels, sample rates."""


async def demonstrate(access: Access, show: Show, csv_path: Path) -> Json:
    """Fill the installation and tell what came of it. `problems` in the answer is empty when everything agrees.

    Only then is the installation marked as settled: what was interrupted or disagrees is not served as the demo's data later.
    """
    async with client() as http:
        demo = Demo(access, http, show)
        try:
            july = await fill(demo)
            told = await tell(demo, july, csv_path)
        except (Disproved, httpx.HTTPError) as error:
            raise Refused(f"the recomputation could not be done: {error} / 无法复算") from None
    if not demo.problems:
        shown = told["explained"][0]
        write_whole(access.installation.var / SETTLED, json.dumps({"seed": SEED, "parcel": [shown["brand"], shown["waybill_no"]]}))
    return {"ok": not demo.problems, "problems": demo.problems, **told}


def settled_parcel(var: Path) -> Numbers | None:
    """A payable parcel of the demo that is complete there; None where there is none, or one of another version."""
    try:
        brand, waybill_no = json.loads((var / SETTLED).read_text())["parcel"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return brand, waybill_no


def check_agreement(told: Json) -> None:
    """Raises Refused: figures that the recomputation contradicts are not served."""
    if not told["ok"]:
        raise Refused(
            f"演示与独立复算不一致 · the demo and its recomputation disagree in {len(told['problems'])} places, listed above: not served; "
            "./tongcun demo --keep to look into it"
        )

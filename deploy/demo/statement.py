"""The statement: who is owed what for July 2023, station by station, and what is not paid and why. Reads the API, adds integers, prints."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.client import Api, Json, Refused
from deploy.demo.show import Show
from shared.money import yuan

REASONS = {
    "evidence.contested": ("同一次扫描说法不一，须人工核定", "one scan told in two ways: a person decides"),
    "evidence.no_station": ("扫描未指明乡镇或村级站点", "no township or village station named"),
    "evidence.voided": ("到站记录已被取回或撤销", "taken back or retracted"),
    "parcel.refused": ("收件人拒收", "refused by the addressee"),
    "parcel.returned": ("已退回寄件方", "returned to the sender"),
    "parcel.returning": ("正在退回寄件方", "on its way back to the sender"),
    "policy.no_rate": ("政策没有适用的档次", "the policy has no rate for it"),
    "policy.not_in_force": ("当时没有生效的政策", "no policy in force then"),
    "site.unmapped": ("扫描地点不属于任何登记站点", "the place belongs to no registered station"),
    "station.no_operator": ("站点没有登记运营企业", "the station has no operator"),
    "station.not_open": ("站点当时没有营业", "the station was not open then"),
    "station.not_rural": ("站点不在农村", "the station is not rural"),
    "transfer.unlinked": ("已转其他快递企业，须人工核定", "handed to another carrier: a person decides"),
    "uplink.needs_declaration": ("上行件，须由经营主体申报", "sent from the county: its merchant must declare it"),
    "waybill.reused": ("运单号疑似重复使用", "the number seems to be used twice"),
}
OUTCOMES = {"pending": ("待定", "pending"), "held": ("暂缓", "held"), "refused": ("不付", "refused")}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula when a cell begins with it
COLUMNS = [
    ("乡镇 / 站点", "township / station"),
    ("件", "parcels"),
    ("应付", "payable"),
    ("元", "yuan"),
    ("待定", "pending"),
    ("暂缓", "held"),
    ("不付", "refused"),
]
COUNTED = ("parcels", "payable", "pending", "held", "refused", "accrued_fen", "held_fen")
MONTH = {"from": "2023-07-01", "to": "2023-08-01"}
Paid = dict[str, tuple[int, int]]  # of a station: beneficiary's name → parcels (accruals less reversals), fen


@dataclass(frozen=True, slots=True)
class Row:
    """What one beneficiary is owed for one station's month, and what nobody is owed there; amounts in fen.

    The row without a station holds the parcels that reached none.
    """

    township: str
    station: str
    beneficiary: str
    parcels: int
    payable: int
    pending: int
    held: int
    refused: int
    accrued_fen: int
    held_fen: int


@dataclass(slots=True)
class Statement:
    rows: list[Row] = field(default_factory=list)
    totals: Json = field(default_factory=dict)
    ceilings: list[Json] = field(default_factory=list)
    unpaid: Counter[tuple[str, str]] = field(default_factory=Counter)  # (outcome, reason code) -> parcels
    lines: Counter[str] = field(default_factory=Counter)  # kind of payout -> how many
    lines_fen: Counter[str] = field(default_factory=Counter)
    policy_version: str = ""
    as_of: Json = field(default_factory=dict)

    def by(self, name: str) -> dict[str, Row]:
        """Rows added up by `township` or `beneficiary`."""
        return _by(self.rows, name)


def _by(rows: Iterable[Row], name: str) -> dict[str, Row]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, name)].append(row)
    return {key: _sum(group) for key, group in groups.items()}


def _sum(rows: Iterable[Row]) -> Row:
    rows = list(rows)
    return Row("", "", "", *(sum(getattr(row, name) for row in rows) for name in COUNTED))


async def read(subsidy: Api, registry: Api) -> Statement:
    """From /v1/summary (counts, amounts) and /v1/payouts (who is paid); the two must agree station by station."""
    townships = {d["code"]: f"{d['label']['zh']} {d['label']['en']}" async for d in registry.pages("/v1/divisions")}
    stations = {s["station_id"]: s["name"] async for s in registry.pages("/v1/stations")}
    operators = {o["operator_id"]: o["name"] async for o in registry.pages("/v1/operators")}
    paid: dict[str, Paid] = defaultdict(dict)
    lines, lines_fen = Counter[str](), Counter[str]()
    async for payout in subsidy.pages("/v1/payouts", **MONTH):
        name = str(operators.get(payout["beneficiary_id"], payout["beneficiary_id"]))
        parcels, fen = paid[payout["station_id"]].get(name, (0, 0))
        paid[payout["station_id"]][name] = parcels + (1 if payout["reverses"] is None else -1), fen + payout["amount_fen"]
        lines[payout["kind"]] += 1
        lines_fen[payout["kind"]] += payout["amount_fen"]
    page = await subsidy.get("/v1/summary", **MONTH, group_by="township,station", limit=1)
    statement = Statement(totals=page["totals"], ceilings=page["ceilings"], as_of=page["as_of"], lines=lines, lines_fen=lines_fen)
    async for item in subsidy.pages("/v1/summary", **MONTH, group_by="township,station"):
        township, station_id = item["key"]["township_code"], item["key"]["station_id"]
        names = townships.get(township, ""), stations.get(station_id, station_id or "")
        statement.rows += rows_of(item, *names, paid.get(station_id, {}))
    statement.rows.sort(key=lambda row: (row.township == "", row.township, row.station, row.beneficiary == "", row.beneficiary))
    statement.policy_version = page["ceilings"][0]["policy_version"] if page["ceilings"] else ""
    return statement


def rows_of(item: Json, township: str, station: str, paid: Paid) -> list[Row]:
    """One row; where the station changed hands and several are owed, one for each of them, and one for what nobody is owed."""
    paid_fen = sum(fen for _, fen in paid.values())
    if paid_fen != item["accrued_fen"]:
        raise Refused(f"payouts of {station}: {paid_fen} fen, summary: {item['accrued_fen']} fen / 明细与汇总不一致")
    owed = {name: sums for name, sums in sorted(paid.items()) if any(sums)}
    if len(owed) <= 1:
        return [Row(township, station, next(iter(owed), ""), *(item[name] for name in COUNTED))]
    rows = [Row(township, station, name, parcels, parcels, 0, 0, 0, fen, 0) for name, (parcels, fen) in owed.items()]
    rest = (item[name] - sum(getattr(row, name) for row in rows) for name in COUNTED)
    unpaid = Row(township, station, "", *rest)
    return [*rows, unpaid] if unpaid.parcels else rows


# Printing


def show(out: Show, statement: Statement) -> None:
    totals = statement.totals
    out.title("补贴表（2023 年 7 月，样例费率）", "Statement, July 2023, sample rates")
    out.table(COLUMNS, _table(statement))
    out.title("受益人", "Beneficiaries")
    rows = sorted(statement.by("beneficiary").items())
    out.table([("", ""), ("应付件", "payable"), ("元", "yuan")], [(name, r.payable, yuan(r.accrued_fen)) for name, r in rows if name])
    _books(out, statement)
    out.title("未付的及其原因", "What is not paid, and why")
    out.table([("", ""), ("", ""), ("件", "parcels")], _unpaid(statement.unpaid), words=2)
    if totals["held_fen"]:
        out.text(f"暂缓所涉 {yuan(totals['held_fen'])} 元，核定前不付。 {yuan(totals['held_fen'])} yuan are at stake in what is held.")


def _books(out: Show, statement: Statement) -> None:
    accruals, reversals = statement.lines["accrual"], statement.lines["reversal"]
    posted, reversed_ = yuan(statement.lines_fen["accrual"]), yuan(statement.lines_fen["reversal"])
    out.text(
        f"账只增不改：记入 {accruals} 笔 {posted} 元，冲回 {reversals} 笔 {reversed_} 元（退件、迟到的扫描、补登的站点名称、更正的备案）。"
    )
    out.text(
        f"The books only grow: {accruals} lines posted, {posted} yuan; {reversals} reversed, {reversed_} yuan (returns, late scans, a "
        "station's name learnt late, a filing corrected)."
    )
    out.text("记入与冲回各多少笔，取决于迟到的事实在哪一批之后到达，每次运行略有不同；净额不变。")
    out.text("How many lines are posted and reversed depends on when late facts arrived, and differs between runs; the net does not.")


def _table(statement: Statement) -> Iterable[tuple[Any, ...]]:
    for township, total in statement.by("township").items():
        yield (township or "未到任何登记站点 reached no registered station", *_cells(total))
        if township:
            stations = _by((row for row in statement.rows if row.township == township), "station")
            yield from ((f"  {station}", *_cells(row)) for station, row in stations.items())
    yield ("合计 total", *_cells(_sum(statement.rows)))


def _cells(row: Row) -> tuple[Any, ...]:
    return row.parcels, row.payable, yuan(row.accrued_fen), row.pending or "", row.held or "", row.refused or ""


def _unpaid(unpaid: Counter[tuple[str, str]]) -> Iterable[tuple[str, str, int]]:
    for (outcome, code), parcels in sorted(unpaid.items(), key=lambda pair: (pair[0][0], -pair[1])):
        zh, en = REASONS.get(code, (code, code))
        yield "{} {}".format(*OUTCOMES[outcome]), f"{zh} · {en}", parcels


def show_ceiling(out: Show, statement: Statement) -> None:
    """Σ ≤ ceiling × count, in integers: nothing is divided to decide, and what is shown is cut, not rounded."""
    total_fen, parcels = statement.totals["accrued_fen"], statement.totals["payable"]
    out.title("平均每件与上限", "Average against the ceiling")
    for ceiling in statement.ceilings:
        limit_fen = ceiling["limit_fen_per_parcel"]
        allowed_fen = limit_fen * parcels
        hundredths = total_fen * 100 // max(parcels, 1)
        verdict = ("未超过", "within it") if total_fen <= allowed_fen else ("超过", "ABOVE it")
        average = f"{hundredths // 100}.{hundredths % 100:02d}"
        out.text(
            f"合计 {yuan(total_fen)} 元 ÷ {parcels} 件 ≈ {average} 分/件；上限 {limit_fen} 分 × {parcels} 件 = {yuan(allowed_fen)} 元："
            f"{verdict[0]}，余 {yuan(allowed_fen - total_fen)} 元。"
        )
        out.text(
            f"{yuan(total_fen)} yuan over {parcels} parcels; the province's ceiling of {limit_fen} fen on the average allows "
            f"{yuan(allowed_fen)} yuan: {verdict[1]}, {yuan(allowed_fen - total_fen)} yuan left."
        )


def within_ceiling(statement: Statement) -> bool:
    return all(statement.totals["accrued_fen"] <= c["limit_fen_per_parcel"] * statement.totals["payable"] for c in statement.ceilings)


def plain_cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def write_csv(statement: Statement, path: Path) -> None:
    """UTF-8 with BOM, so that spreadsheet programs read the Chinese."""
    header = ["乡镇 township", "站点 station", "受益人 beneficiary", "件数 parcels", "应付件 payable", "金额（元） amount_yuan"]
    header += ["待定件 pending", "暂缓件 held", "不付件 refused", "暂缓金额（元） held_yuan", "政策 policy", "费率 rates"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in statement.rows:
            counts = (row.parcels, row.payable, yuan(row.accrued_fen).replace(",", ""), row.pending, row.held, row.refused)
            names = (row.township, row.station or "未到登记站点 no station", row.beneficiary)
            last = (yuan(row.held_fen).replace(",", ""), statement.policy_version, "sample 样例")
            writer.writerow(plain_cell(cell) for cell in (*names, *counts, *last))

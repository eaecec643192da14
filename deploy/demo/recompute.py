"""The independent recomputation: the same fen, from the two logs and the policy, by somebody who trusts nobody.

独立复算：只凭两本日志与政策，不用本系统的代码，逐件算到分。

It uses nothing of the platform but HTTP and docs/rules.md (see rules.py). An auditor carries this file, incident_rules.py, months.py,
records.py, rules.py and uplink_rules.py away to any machine with Python 3.11 or newer and two packages
(pip install httpx common-expression-language), and runs, with a token of the role auditor:

    python recompute.py --ingest http://127.0.0.1:8101 --registry http://127.0.0.1:8102 \\
        --subsidy http://127.0.0.1:8103 --token JWT --policy yuanqu-2023.1.toml

In a checkout: python -m deploy.demo.recompute, with the same options.

It reads every position of both logs, checks their hash chains, folds every parcel anew and compares with all that the platform says:
every payout ever posted, on whatever day and for whatever parcel; outcome and reasons of every parcel (a payable one's are on its
payout; the others are asked for); every cell of the totals, by service day and by posted day. What people decided of holds
is read from the platform, and so is the policy; with --policy it must be the county's own file, byte for byte and in all that decides.
What it prints of each log (positions, chain) is worth keeping: the next audit must find the same chain there.

Exit code 0: equal to the fen. 1: not, each difference a line; or not to be done. 退出码 0：分毫不差；1：不一致（逐条列出）或无法复算。
"""

import argparse
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

if __package__:
    import httpx

    from deploy.demo.incident_rules import by_parcel
    from deploy.demo.months import adjusted_fen, compare_months, is_adjustment, limits_of
    from deploy.demo.records import Declared, Json, Registry, Ruling, Scan, content_of, partition_of, ruling_of, scan_of, shanghai_day
    from deploy.demo.rules import Policy, Result, judge
    from deploy.demo.uplink_rules import live
else:  # carried away, beside incident_rules.py, months.py, records.py, rules.py and uplink_rules.py
    try:
        import httpx
        from incident_rules import by_parcel  # type: ignore[import-not-found, no-redef]
        from months import adjusted_fen, compare_months, is_adjustment, limits_of  # type: ignore[import-not-found, no-redef]
        from records import Declared, Json, Registry, Ruling, Scan, content_of, partition_of, ruling_of, scan_of, shanghai_day  # type: ignore[import-not-found, no-redef]
        from rules import Policy, Result, judge  # type: ignore[import-not-found, no-redef]
        from uplink_rules import live  # type: ignore[import-not-found, no-redef]
    except ModuleNotFoundError as missing:
        sys.exit(
            f"缺少 {missing.name} · it is missing: keep incident_rules.py, months.py, records.py, rules.py and uplink_rules.py beside it, "
            "and pip install httpx common-expression-language"
        )

PAGE = 1000
CELL = ["parcels", "payable", "pending", "held", "refused", "accrued_fen", "held_fen"]
BY_DAY, BY_PLACE = ("day", "station_id", "brand"), ("township_code", "station_id", "direction")  # keys of the totals that are compared
DECIDES = {  # what of a policy decides: compared between the county's file and what the platform answers
    "clauses": ("clause_id", "scheme", "mode", "condition", "reason_code"),
    "tiers": ("rate_id", "scheme", "when", "amount_fen"),
    "ceilings": ("scheme", "limit_fen_per_parcel"),
}
UPLINK = ("at_most_fen", "min_parcels", "min_sales_fen", "cap_fen", "registered_before", "platforms", "catalogue")
SUMMARY_DAYS = 3_660  # of one question for totals, at most
EVER = (date(2000, 1, 1), date(2100, 1, 1))  # totals are read for at least these days, so that no day is out of sight

Numbers = tuple[str, str]  # brand, waybill number
Cells = dict[tuple[str | None, ...], list[int]]  # key → the columns CELL


class Disproved(Exception):
    """A log does not hold what its own chain says, or a file is no policy; nothing that follows would mean anything."""


@dataclass(frozen=True, slots=True)
class Partition:
    """What one partition of a log holds: values in order, and the chain after the last (hex)."""

    values: list[str]
    chain: str


def get(client: httpx.Client, url: str, **params: str | int) -> Json:
    answer = client.get(url, params=params)
    answer.raise_for_status()
    document: Json = answer.json()
    return document


def pages(client: httpx.Client, url: str, **params: str | int) -> Iterator[Json]:
    """Every page of a list, by its cursor."""
    cursor: dict[str, str | int] = {}
    while True:
        page = get(client, url, limit=PAGE, **params, **cursor)
        yield page
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def read_log(client: httpx.Client, url: str, partition: int) -> Partition:
    """All of a partition; each position's chain = SHA-256(chain before, SHA-256(value)), from the log's origin on."""
    values: list[str] = []
    before = b""
    while True:
        page = get(client, f"{url}/v1/log/{partition}", from_position=len(values), limit=PAGE)
        before = before or bytes.fromhex(page["origin"])
        for item in page["items"]:
            before = sha256(before + sha256(item["value"].encode()).digest()).digest()
            if item["position"] != len(values) or item["chain"] != before.hex():
                raise Disproved(f"{url}/v1/log/{partition}: position {item['position']} is not what its chain says")
            values.append(item["value"])
        if not page["items"] or len(values) >= page["head"]:
            return Partition(values, before.hex())


def read_partitions(client: httpx.Client, url: str) -> list[Partition]:
    """All partitions of a service's log, until it says that there is no further one."""
    partitions: list[Partition] = []
    while client.get(f"{url}/v1/log/{len(partitions)}", params={"limit": 1}).status_code != httpx.codes.NOT_FOUND:
        partitions.append(read_log(client, url, len(partitions)))
    return partitions


def scans_of(logs: list[Partition]) -> dict[Numbers, list[Scan]]:
    """The scans of every parcel (brand, waybill number). Raises Disproved where one is not what it says of itself."""
    parcels: dict[Numbers, list[Scan]] = defaultdict(list)
    for partition, log in enumerate(logs):
        for text in log.values:
            value = json.loads(text)
            parcel = value["brand"], value["waybill_no"]
            if partition_of(*parcel, len(logs)) != partition or content_of(value) != value["content"]:
                raise Disproved(f"event {value['event_id']} of {parcel} is not what its content hash and partition say")
            parcels[parcel].append(scan_of(value))
    return parcels


def read_rulings(client: httpx.Client, url: str) -> dict[Numbers, list[Ruling]]:
    """What people said of the holds of each parcel."""
    found: dict[Numbers, list[Ruling]] = defaultdict(list)
    for page in pages(client, f"{url}/v1/rulings"):
        for item in page["items"]:
            found[item["brand"], item["waybill_no"]].append(ruling_of(item))
    return found


def read_declared(client: httpx.Client, url: str) -> dict[Numbers, Declared]:
    """The rows that declare parcels: accepted, of declarations that nobody has withdrawn."""
    found: dict[Numbers, Declared] = {}
    for page in pages(client, f"{url}/v1/declarations"):
        for item in page["items"]:
            rows = pages(client, f"{url}/v1/declarations/{item['declaration_id']}/rows", verdict="accepted")
            if item["status"] != "withdrawn":
                found.update(live((row for page in rows for row in page["items"]), item["merchant_id"]))
    return found


def positions(logs: Iterable[Partition]) -> int:
    return sum(len(log.values) for log in logs)


@dataclass(slots=True)
class Report:
    """What was read, what came out, and every difference, one line each."""

    scan_positions: int
    registry_positions: int
    results: dict[Numbers, Result]
    differences: list[str] = field(default_factory=list)

    @property
    def in_transit(self) -> int:
        """Parcels that nothing has been decided of yet."""
        return sum(r.outcome is None for r in self.results.values())

    @property
    def figures(self) -> tuple[str, str]:
        """The same numbers in Chinese and English."""
        judged, payable = len(self.results) - self.in_transit, self.count("payable")
        zh = f"已判定 {judged} 件，其中应付 {payable} 件，共 {self.net_fen} 分"
        return zh, f"{judged} parcels judged, {payable} of them payable, {self.net_fen} fen"

    @property
    def net_fen(self) -> int:
        return sum(r.net_fen for r in self.results.values())

    def count(self, outcome: str) -> int:
        return sum(r.outcome == outcome for r in self.results.values())


# The policy


def deciding(policy: Mapping[str, object]) -> Json:
    """All that decides in a policy, as the file or as the platform has it."""
    found: Json = {name: policy.get(name) for name in ("policy_version", "county_code", "tables")}
    found |= {name: datetime.fromisoformat(str(policy.get(name))) for name in ("valid_from", "valid_to")}
    for name, keys in DECIDES.items():
        entries = policy.get(name)
        found[name] = [[entry.get(key) for key in keys] for entry in entries] if isinstance(entries, list) else None
    uplink = policy.get("uplink")
    found["uplink"] = [str(uplink.get(key)) for key in UPLINK] if isinstance(uplink, dict) else None
    return found


def compare_policy(file: bytes, answered: Iterable[Json]) -> list[str]:
    """The county's own TOML against what the platform says that it pays by: every byte, and each thing that decides."""
    try:
        mine = deciding(tomllib.loads(file.decode()))
    except ValueError as error:
        raise Disproved(f"--policy: 不是政策文件 · no policy ({error})") from None
    version, hashed = mine["policy_version"], sha256(file).hexdigest()
    theirs = next((policy for policy in answered if policy["policy_version"] == version), None)
    if theirs is None:
        return [f"policy {version}: 县里有此文件，平台没有 · the county has it, the platform answers no such policy"]
    differences = (
        [] if hashed == theirs["sha256"] else [f"policy {version}: 县里文件 file sha256 {hashed}, 平台 platform {theirs['sha256']}"]
    )
    said = deciding(theirs)
    return differences + [f"policy {version} {name}: {_apart(mine[name], said[name])}" for name in mine if mine[name] != said[name]]


def _apart(mine: object, theirs: object) -> str:
    """Of two lists, the entries that only one of them has."""
    if isinstance(mine, list) and isinstance(theirs, list):
        mine, theirs = [e for e in mine if e not in theirs], [e for e in theirs if e not in mine]
    return f"文件 file {mine}, 平台 platform {theirs}"


# Payouts and parcels


def standing(payouts: Iterable[Json]) -> tuple[dict[Numbers, int], dict[Numbers, list[Json]]]:
    """By parcel: the sum of its payouts but for what closings took off, and those of them that were not reversed."""
    net_fen: dict[Numbers, int] = defaultdict(int)
    live: dict[Numbers, dict[str, Json]] = defaultdict(dict)
    for payout in sorted(payouts, key=lambda p: (p["revision"], p["amount_fen"] > 0)):
        if is_adjustment(payout):
            continue
        parcel = payout["brand"], payout["waybill_no"]
        net_fen[parcel] += payout["amount_fen"]
        if payout["reverses"] is None:
            live[parcel][payout["payout_id"]] = payout
        else:
            live[parcel].pop(payout["reverses"], None)
    return dict(net_fen), {parcel: list(left.values()) for parcel, left in live.items()}


def compare_payouts(results: Mapping[Numbers, Result], payouts: Iterable[Json]) -> list[str]:
    """Per parcel: the sum of its payouts, and beneficiary, station, service date and direction of the standing one."""
    net_fen, live = standing(payouts)
    differences = []
    for parcel in sorted(results.keys() | net_fen.keys()):
        r, posted = results.get(parcel, Result()), net_fen.get(parcel, 0)
        mine = [(r.net_fen, r.beneficiary_id, r.station_id, str(r.service_date), r.direction)] if r.net_fen else []
        theirs = [(posted, p["beneficiary_id"], p["station_id"], p["service_date"], p["scheme"]) for p in live.get(parcel, [])]
        if mine != theirs or posted != r.net_fen:
            differences.append(f"{parcel[0]} {parcel[1]}: 复算 recomputed {mine or 'nothing'}, 账上 posted {theirs or posted}")
    return differences


def to_ask(results: Mapping[Numbers, Result], payouts: Iterable[Json]) -> list[Numbers]:
    """The parcels whose outcome and reasons no payout tells.

    A payout stays where a parcel's reasons change and its amount does not, so one that tells others than ours settles nothing either.
    """
    _, live = standing(payouts)
    told = {parcel: [p["reason_codes"] for p in left] for parcel, left in live.items()}
    return sorted(p for p, r in results.items() if r.outcome and (r.outcome != "payable" or told.get(p) != [list(r.reasons)]))


def compare_parcel(parcel: Numbers, r: Result, answer: Json | None, adjusted: int = 0) -> list[str]:
    """`answer`: `GET /v1/parcels/…`, or None where the platform has never seen it; `adjusted`: fen, by closings."""
    names = ["outcome", "reason_codes", "net_fen", "beneficiary_id", "station_id", "service_date", "direction"]
    mine = [r.outcome, list(r.reasons), r.net_fen + adjusted, r.beneficiary_id, r.station_id, str(r.service_date), r.direction]
    theirs = [answer[name] for name in names] if answer else None
    said = theirs or "that it was never seen"
    return [] if mine == theirs else [f"{parcel[0]} {parcel[1]}: 复算 recomputed {mine}, 平台 answered {said}"]


def ask(client: httpx.Client, url: str, parcel: Numbers) -> Json | None:
    answer = client.get(f"{url}/v1/parcels/{parcel[0]}/{parcel[1]}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    answer.raise_for_status()
    document: Json = answer.json()
    return document


# Totals


def add(cells: Cells, key: tuple[str | None, ...], row: Iterable[int]) -> None:
    cells[key] = [a + b for a, b in zip(cells.get(key, [0] * len(CELL)), row, strict=True)]


def cells(results: Mapping[Numbers, Result], by: tuple[str, ...], adjusted: Mapping[Numbers, int] = MappingProxyType({})) -> Cells:
    """As `GET /v1/summary` counts them by service day; a parcel in transit is in none."""
    found: Cells = {}
    for parcel, r in results.items():
        brand = parcel[0]
        if r.outcome is not None:
            names: dict[str, str | None] = {"day": str(r.service_date), "brand": brand, "direction": r.direction}
            names |= {"station_id": r.station_id, "township_code": r.township_code}
            row = [1, *(int(r.outcome == outcome) for outcome in CELL[1:5]), r.net_fen + adjusted.get(parcel, 0), r.held_fen]
            add(found, tuple(names[name] for name in by), row)
    return found


def posted_cells(payouts: Iterable[Json]) -> Cells:
    """As `GET /v1/summary` counts them BY_DAY on which they were posted: accruals less reversals."""
    found: Cells = {}
    for p in payouts:
        sign = 0 if is_adjustment(p) else 1 if p["reverses"] is None else -1
        day = str(shanghai_day(datetime.fromisoformat(p["posted_at"])))
        add(found, (day, p["station_id"], p["brand"]), [sign, sign, 0, 0, 0, p["amount_fen"], 0])
    return {key: row for key, row in found.items() if any(row)}  # reversed on its own day: nothing


def compare_cells(name: str, mine: Cells, theirs: Cells, totals: list[int]) -> list[str]:
    """Every cell, and that the totals are those of the cells. `name`: of the totals; the posted ones are added up from the payouts."""
    whose = "账上 payouts" if name == "posted" else "复算 recomputed"
    keys = sorted(mine.keys() | theirs.keys(), key=str)
    differences = [f"{name} {k}: {whose} {mine.get(k)}, 汇总 summary {theirs.get(k)}" for k in keys if mine.get(k) != theirs.get(k)]
    sums = [sum(column) for column in zip(*mine.values(), strict=True)] or [0] * len(CELL)
    return differences if sums == totals else [*differences, f"{name} totals: {whose} {sums}, 汇总 summary {totals}"]


def windows(days: Iterable[date]) -> Iterator[dict[str, str]]:
    """EVER and every one of `days`, in pieces that one question may ask for."""
    known = [*EVER, *(day + timedelta(days=n) for day in days for n in (0, 1))]
    start, end = min(known), max(known)
    while start < end:
        until = min(start + timedelta(days=SUMMARY_DAYS), end)
        yield {"from": str(start), "to": str(until)}
        start = until


def read_summary(
    client: httpx.Client, url: str, basis: str, by: tuple[str, ...], periods: Iterable[Mapping[str, str]]
) -> tuple[Cells, list[int]]:
    """The cells and the totals of all periods."""
    found: Cells = {}
    totals = [0] * len(CELL)
    group_by = ",".join(name.removesuffix("_id").removesuffix("_code") for name in by)
    for period in periods:
        page: Json = {}
        for page in pages(client, f"{url}/v1/summary", **period, date_basis=basis, group_by=group_by):
            for item in page["items"]:
                add(found, tuple(item["key"][name] for name in by), [item[column] for column in CELL])
        totals = [total + page["totals"][column] for total, column in zip(totals, CELL, strict=True)]
    return {key: row for key, row in found.items() if any(row)}, totals


# All of it


def compare(
    client: httpx.Client, url: str, results: Mapping[Numbers, Result], policies: Iterable[Json] = (), month: str | None = None
) -> list[str]:
    """What was recomputed against all that the platform says, on whatever day it says it; or of one month (yyyy-mm): its parcels and their
    lines by service day, and its closing."""
    payouts = [payout for page in pages(client, f"{url}/v1/payouts") for payout in page["items"]]
    told = [m for m in get(client, f"{url}/v1/periods")["items"] if month is None or m["period"] == month]
    differences = compare_months([p for p in payouts if month is None or p["period"] <= month], told, limits_of(policies), month)
    if month:
        results = {parcel: r for parcel, r in results.items() if str(r.service_date).startswith(month)}
        payouts = [p for p in payouts if p["service_date"].startswith(month)]
    adjusted = adjusted_fen(payouts)
    differences += compare_payouts(results, payouts)
    for parcel in to_ask(results, payouts):
        differences += compare_parcel(parcel, results[parcel], ask(client, url, parcel), adjusted.get(parcel, 0))
    days = {date.fromisoformat(p["service_date"]) for p in payouts} | {r.service_date for r in results.values() if r.service_date}
    periods = [only(month)] if month else list(windows(days))
    for by in (BY_DAY, BY_PLACE):
        differences += compare_cells("service", cells(results, by, adjusted), *read_summary(client, url, "service", by, periods))
    if not month:  # what was posted on a day is of any month
        differences += compare_cells("posted", posted_cells(payouts), *read_summary(client, url, "posted", BY_DAY, periods))
    return differences


def only(month: str) -> dict[str, str]:
    first = date.fromisoformat(f"{month}-01")
    return {"from": str(first), "to": str((first + timedelta(days=31)).replace(day=1))}


def recompute(
    ingest: str, registry: str, subsidy: str, token: str, tell: Callable[[str], None] = lambda _: None, own_policies: Iterable[bytes] = (),
    month: str | None = None,
) -> Report:  # fmt: skip
    """Read and fold all there is; compare it, or what is of one month. `tell` hears of each step. `own_policies`: the county's files."""
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        changes, scans = read_partitions(client, registry), read_partitions(client, ingest)
        for name, logs in (("registry", changes), ("ingest", scans)):
            for number, log in enumerate(logs):
                tell(f"日志 log {name}/{number}: {len(log.values)} 条 positions, 链 chain {log.chain}")
        parcels = scans_of(scans)
        tell(f"读到 {positions(scans)} 条扫描、{positions(changes)} 条登记变更，哈希链逐条核对无误")
        tell(f"{positions(scans)} scans and {positions(changes)} registry changes read, every hash chain verified")
        versions = [p["policy_version"] for page in pages(client, f"{subsidy}/v1/policies") for p in page["items"]]
        answered = [get(client, f"{subsidy}/v1/policies/{version}") for version in versions]
        for policy in answered:
            tell(f"政策 policy {policy['policy_version']} sha256 {policy['sha256']}")
        differences = [line for file in own_policies for line in compare_policy(file, answered)]
        known = Registry.of([json.loads(text) for log in changes for text in log.values])
        policies = [Policy(document) for document in answered]
        rulings, declared = read_rulings(client, subsidy), read_declared(client, subsidy)
        naming = by_parcel(known)
        results = {
            parcel: judge(parcel[0], told, known, policies, rulings.get(parcel, ()), declared.get(parcel), naming.get(parcel, ()))
            for parcel, told in parcels.items()
        }
        differences += compare(client, subsidy, results, answered, month)
    in_transit = sum(r.outcome is None for r in results.values())
    judged = len(results) - in_transit
    tell(f"按 docs/rules.md 与上述政策重算：{len(results)} 件 − 在途 {in_transit} 件 = 已判定 {judged} 件")
    tell(f"Folded anew from docs/rules.md and that policy: {len(results)} parcels − {in_transit} in transit = {judged} judged")
    shown = {p: r for p, r in results.items() if month is None or str(r.service_date).startswith(month)}
    return Report(positions(scans), positions(changes), shown, differences)


def options_of(arguments: list[str]) -> argparse.Namespace:
    about, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter)
    for port, (name, zh) in enumerate((("ingest", "接收服务"), ("registry", "登记服务"), ("subsidy", "补贴服务")), 8101):
        parser.add_argument(f"--{name}", required=True, metavar="URL", help=f"{zh}的地址 · its address, like http://127.0.0.1:{port}")
    parser.add_argument("--token", required=True, metavar="JWT", help="审计员令牌 · a token of the role auditor")
    policy = "县里自己的政策文件，可多次给出 · the county's own policy file (TOML); may be given several times"
    parser.add_argument("--policy", action="append", default=[], type=Path, metavar="FILE", help=policy)
    period = "只核对该月，如 2023-07 · only this month's parcels, lines and closing"
    parser.add_argument("--period", metavar="YYYY-MM", type=month_of, help=period)
    return parser.parse_args(arguments)


def month_of(text: str) -> str:
    """Raises ValueError where that is no month."""
    date.fromisoformat(f"{text}-01")
    return text


def main(arguments: list[str]) -> int:
    options = options_of(arguments)
    try:
        own = [path.read_bytes() for path in options.policy]
        report = recompute(options.ingest, options.registry, options.subsidy, options.token, print, own, options.period)
    except httpx.HTTPStatusError as error:
        answer = error.response
        why = "须用有效的审计员令牌 · it takes a valid token of the role auditor" if answer.status_code in (401, 403) else answer.text[:200]
        print(f"无法复算 · cannot recompute: HTTP {answer.status_code} from {answer.url}: {why}", file=sys.stderr)
        return 1
    except (Disproved, httpx.HTTPError, OSError) as error:
        print(f"无法复算 · cannot recompute: {error}", file=sys.stderr)
        return 1
    for line in report.differences:
        print(line)
    zh, en = report.figures
    if report.differences:
        print(f"✗ 不一致 {len(report.differences)} 处；复算：{zh} · {len(report.differences)} differences; recomputed: {en}")
        return 1
    print(f"✓ 复算一致，分毫不差：{zh} · equal to the fen: {en}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

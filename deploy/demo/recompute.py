"""The independent recomputation: the same fen, from the two logs and the policy, by somebody who trusts nobody.

It uses nothing of the platform but HTTP and docs/rules.md (see rules.py), so an auditor can carry this file and rules.py away:

    python -m deploy.demo.recompute --ingest http://127.0.0.1:8101 --registry http://127.0.0.1:8102 \\
        --subsidy http://127.0.0.1:8103 --token JWT

It reads every position of both logs, checks their hash chains, folds every parcel anew and compares with all that the platform says:
every payout ever posted, on whatever day and for whatever parcel; outcome and reasons of every parcel (a payable one's are on its
payout; the others are asked for); every cell of the totals, by service day and by posted day. Exit code 0: equal to the fen. 1: not.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256

import httpx

from deploy.demo.rules import Json, Policy, Registry, Result, Scan, judge, scan_of, shanghai_day

PAGE = 1000
FACTS = [
    "brand", "waybill_no", "raw_action", "scanned_at", "site_namespace", "site_code", "site_name",
    "origin", "destination", "goods", "order_no", "weight_g",
]  # fmt: skip
CELL = ["parcels", "payable", "pending", "held", "refused", "accrued_fen", "held_fen"]
BY_DAY, BY_PLACE = ("day", "station_id", "brand"), ("township_code", "station_id", "direction")  # keys of the totals that are compared
SUMMARY_DAYS = 3_660  # of one question for totals, at most
EVER = (date(2000, 1, 1), date(2100, 1, 1))  # totals are read for at least these days, so that no day is out of sight

Numbers = tuple[str, str]  # brand, waybill number
Cells = dict[tuple[str | None, ...], list[int]]  # key → the columns CELL


class Disproved(Exception):
    """A log does not hold what its own chain says; nothing that follows would mean anything."""


def content_of(value: Json) -> str:
    """SHA-256 of the scan facts as sent: an RFC 8785 array; the sender's own action only where it sent one (mapping version 0)."""
    retracts = value.get("retracts") or {}
    facts = [value[name] for name in FACTS]
    facts += [retracts.get("event_id"), retracts.get("previous_action"), None if value["mapping_version"] else value["action"]]
    return sha256(json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def partition_of(brand: str, waybill_no: str, partitions: int) -> int:
    return int.from_bytes(sha256(f"{brand}|{waybill_no}".encode()).digest()[:4], "big") % partitions


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


def read_log(client: httpx.Client, url: str, partition: int) -> list[str]:
    """The values of a partition, in order; each position's chain = SHA-256(chain before, SHA-256(value)), from the log's origin on."""
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
            return values


def read_partitions(client: httpx.Client, url: str) -> list[list[str]]:
    """All partitions of a service's log, until it says that there is no further one."""
    partitions: list[list[str]] = []
    while client.get(f"{url}/v1/log/{len(partitions)}", params={"limit": 1}).status_code != httpx.codes.NOT_FOUND:
        partitions.append(read_log(client, url, len(partitions)))
    return partitions


def read_scans(client: httpx.Client, url: str) -> tuple[dict[Numbers, list[Scan]], int]:
    """The scans of every parcel (brand, waybill number), and how many positions hold them."""
    logs = read_partitions(client, url)
    parcels: dict[Numbers, list[Scan]] = defaultdict(list)
    for partition, values in enumerate(logs):
        for text in values:
            value = json.loads(text)
            parcel = value["brand"], value["waybill_no"]
            if partition_of(*parcel, len(logs)) != partition or content_of(value) != value["content"]:
                raise Disproved(f"event {value['event_id']} of {parcel} is not what its content hash and partition say")
            parcels[parcel].append(scan_of(value))
    return parcels, sum(map(len, logs))


@dataclass(slots=True)
class Report:
    """What was read, what came out, and every difference, one line each."""

    scan_positions: int
    registry_positions: int
    results: dict[Numbers, Result]
    differences: list[str] = field(default_factory=list)

    @property
    def net_fen(self) -> int:
        return sum(r.net_fen for r in self.results.values())

    def count(self, outcome: str) -> int:
        return sum(r.outcome == outcome for r in self.results.values())


# Payouts and parcels


def standing(payouts: Iterable[Json]) -> tuple[dict[Numbers, int], dict[Numbers, list[Json]]]:
    """By parcel: the sum of all its payouts, and those of them that were not reversed."""
    net_fen: dict[Numbers, int] = defaultdict(int)
    live: dict[Numbers, dict[str, Json]] = defaultdict(dict)
    for payout in sorted(payouts, key=lambda p: (p["revision"], p["amount_fen"] > 0)):
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
            differences.append(f"{parcel[0]} {parcel[1]}: recomputed {mine or 'nothing'}, posted {theirs or posted}")
    return differences


def to_ask(results: Mapping[Numbers, Result], payouts: Iterable[Json]) -> list[Numbers]:
    """The parcels whose outcome and reasons no payout tells.

    A payout stays where a parcel's reasons change and its amount does not, so one that tells others than ours settles nothing either.
    """
    _, live = standing(payouts)
    told = {parcel: [p["reason_codes"] for p in left] for parcel, left in live.items()}
    return sorted(p for p, r in results.items() if r.outcome and (r.outcome != "payable" or told.get(p) != [list(r.reasons)]))


def compare_parcel(parcel: Numbers, r: Result, answer: Json | None) -> list[str]:
    """`answer`: `GET /v1/parcels/…`, or None where the platform has never seen it."""
    names = ["outcome", "reason_codes", "net_fen", "beneficiary_id", "station_id", "service_date", "direction"]
    mine = [r.outcome, list(r.reasons), r.net_fen, r.beneficiary_id, r.station_id, str(r.service_date), r.direction]
    theirs = [answer[name] for name in names] if answer else None
    return [] if mine == theirs else [f"{parcel[0]} {parcel[1]}: recomputed {mine}, answered {theirs or 'that it was never seen'}"]


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


def cells(results: Mapping[Numbers, Result], by: tuple[str, ...]) -> Cells:
    """As `GET /v1/summary` counts them by service day; a parcel in transit is in none."""
    found: Cells = {}
    for (brand, _), r in results.items():
        if r.outcome is not None:
            names: dict[str, str | None] = {"day": str(r.service_date), "brand": brand, "direction": r.direction}
            names |= {"station_id": r.station_id, "township_code": r.township_code}
            row = [1, *(int(r.outcome == outcome) for outcome in CELL[1:5]), r.net_fen, r.held_fen]
            add(found, tuple(names[name] for name in by), row)
    return found


def posted_cells(payouts: Iterable[Json]) -> Cells:
    """As `GET /v1/summary` counts them BY_DAY on which they were posted: accruals less reversals."""
    found: Cells = {}
    for p in payouts:
        sign = 1 if p["reverses"] is None else -1
        day = str(shanghai_day(datetime.fromisoformat(p["posted_at"])))
        add(found, (day, p["station_id"], p["brand"]), [sign, sign, 0, 0, 0, p["amount_fen"], 0])
    return {key: row for key, row in found.items() if any(row)}  # reversed on its own day: nothing


def compare_cells(name: str, mine: Cells, theirs: Cells, totals: list[int]) -> list[str]:
    """Every cell, and that the totals are those of the cells. `name`: of the totals; the posted ones are added up from the payouts."""
    whose = "payouts" if name == "posted" else "recomputed"
    keys = sorted(mine.keys() | theirs.keys(), key=str)
    differences = [f"{name} {k}: {whose} {mine.get(k)}, summary {theirs.get(k)}" for k in keys if mine.get(k) != theirs.get(k)]
    sums = [sum(column) for column in zip(*mine.values(), strict=True)] or [0] * len(CELL)
    return differences if sums == totals else [*differences, f"{name} totals: {whose} {sums}, summary {totals}"]


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


def compare(client: httpx.Client, url: str, results: Mapping[Numbers, Result]) -> list[str]:
    """What was recomputed against all that the platform says, on whatever day it says it."""
    payouts = [payout for page in pages(client, f"{url}/v1/payouts") for payout in page["items"]]
    differences = compare_payouts(results, payouts)
    for parcel in to_ask(results, payouts):
        differences += compare_parcel(parcel, results[parcel], ask(client, url, parcel))
    days = {date.fromisoformat(p["service_date"]) for p in payouts} | {r.service_date for r in results.values() if r.service_date}
    periods = list(windows(days))
    for by in (BY_DAY, BY_PLACE):
        differences += compare_cells("service", cells(results, by), *read_summary(client, url, "service", by, periods))
    differences += compare_cells("posted", posted_cells(payouts), *read_summary(client, url, "posted", BY_DAY, periods))
    return differences


def recompute(ingest: str, registry: str, subsidy: str, token: str, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Read, fold and compare all there is; `tell` hears of each step."""
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        changes = [json.loads(text) for values in read_partitions(client, registry) for text in values]
        parcels, positions = read_scans(client, ingest)
        tell(f"{positions} scans and {len(changes)} registry changes read, every hash chain verified")
        versions = [p["policy_version"] for page in pages(client, f"{subsidy}/v1/policies") for p in page["items"]]
        policies = [Policy(get(client, f"{subsidy}/v1/policies/{v}")) for v in versions]
        known = Registry.of(changes)
        results = {parcel: judge(parcel[0], scans, known, policies) for parcel, scans in parcels.items()}
        tell(f"{len(results)} parcels folded anew from docs/rules.md and policy {', '.join(versions)}")
        return Report(positions, len(changes), results, compare(client, subsidy, results))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("ingest", "registry", "subsidy", "token"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args(arguments)
    try:
        report = recompute(options.ingest, options.registry, options.subsidy, options.token, print)
    except (Disproved, httpx.HTTPError) as error:
        print(f"cannot recompute: {error} / 无法复算", file=sys.stderr)
        return 1
    print("\n".join(report.differences) or f"equal to the fen: {report.net_fen} fen, {report.count('payable')} parcels / 复算一致,分毫不差")
    return 1 if report.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

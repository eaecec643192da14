"""The independent recomputation: the same fen, from the two logs and the policy, by somebody who trusts nobody.

It uses nothing of the platform but HTTP and docs/rules.md (see rules.py), so an auditor can carry this file and rules.py away:

    python -m deploy.demo.recompute --ingest http://127.0.0.1:8101 --registry http://127.0.0.1:8102 \\
        --subsidy http://127.0.0.1:8103 --token JWT

It reads every position of both logs, checks their hash chains, folds every parcel anew and compares each with what the platform says
that it owes. Exit code 0: equal to the fen. 1: not.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

import httpx

from deploy.demo.rules import Json, Policy, Registry, Result, Scan, judge, scan_of

PAGE = 1000
FACTS = [
    "brand", "waybill_no", "raw_action", "scanned_at", "site_namespace", "site_code", "site_name",
    "origin", "destination", "goods", "order_no", "weight_g",
]  # fmt: skip
CELL = ["parcels", "payable", "pending", "held", "refused", "accrued_fen", "held_fen"]


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
    """Every item of a list, by its cursor."""
    cursor: dict[str, str | int] = {}
    while True:
        page = get(client, url, limit=PAGE, **params, **cursor)
        yield from page["items"]
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


def read_scans(client: httpx.Client, url: str) -> tuple[dict[tuple[str, str], list[Scan]], int]:
    """The scans of every parcel (brand, waybill number), and how many positions hold them."""
    logs = read_partitions(client, url)
    parcels: dict[tuple[str, str], list[Scan]] = defaultdict(list)
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
    results: dict[tuple[str, str], Result]
    differences: list[str] = field(default_factory=list)

    @property
    def net_fen(self) -> int:
        return sum(r.net_fen for r in self.results.values())

    def count(self, outcome: str) -> int:
        return sum(r.outcome == outcome for r in self.results.values())


def compare_payouts(results: Mapping[tuple[str, str], Result], payouts: Iterable[Json]) -> list[str]:
    """Per parcel: the sum of its payouts, and the beneficiary, station and service date of the standing one."""
    net_fen: dict[tuple[str, str], int] = defaultdict(int)
    live: dict[tuple[str, str], dict[str, Json]] = defaultdict(dict)
    for payout in sorted(payouts, key=lambda p: (p["revision"], p["amount_fen"] > 0)):
        parcel = payout["brand"], payout["waybill_no"]
        net_fen[parcel] += payout["amount_fen"]
        if payout["reverses"] is None:
            live[parcel][payout["payout_id"]] = payout
        else:
            live[parcel].pop(payout["reverses"], None)
    differences = []
    for parcel in sorted(results.keys() | net_fen.keys()):
        result = results.get(parcel, Result())
        mine = [(result.net_fen, result.beneficiary_id, result.station_id, str(result.service_date))] if result.net_fen else []
        theirs = [(net_fen[parcel], p["beneficiary_id"], p["station_id"], p["service_date"]) for p in live[parcel].values()]
        if mine != theirs or net_fen[parcel] != result.net_fen:
            differences.append(f"{parcel[0]} {parcel[1]}: recomputed {mine or 'nothing'}, posted {theirs or net_fen[parcel]}")
    return differences


def cells(results: Iterable[tuple[tuple[str, str], Result]]) -> dict[tuple[str, str | None, str], list[int]]:
    """(service day, station, brand) → the columns CELL, as `GET /v1/summary` counts them."""
    found: dict[tuple[str, str | None, str], list[int]] = defaultdict(lambda: [0] * len(CELL))
    for (brand, _), r in results:
        if r.outcome is None:
            continue
        row = [1, *(int(r.outcome == o) for o in CELL[1:5]), r.net_fen, r.held_fen]
        cell = found[str(r.service_date), r.station_id, brand]
        cell[:] = [a + b for a, b in zip(cell, row, strict=True)]
    return dict(found)


def compare_summary(results: Mapping[tuple[str, str], Result], items: Iterable[Json], totals: Json) -> list[str]:
    """Every cell of day × station × brand, and the totals."""
    mine = cells(results.items())
    theirs = {(i["key"]["day"], i["key"]["station_id"], i["key"]["brand"]): [i[name] for name in CELL] for i in items}
    theirs = {key: row for key, row in theirs.items() if any(row)}
    keys = sorted(mine.keys() | theirs.keys(), key=str)
    differences = [f"{k}: recomputed {mine.get(k)}, summary {theirs.get(k)}" for k in keys if mine.get(k) != theirs.get(k)]
    sums = [sum(column) for column in zip(*mine.values(), strict=True)] or [0] * len(CELL)
    said = [totals[name] for name in CELL]
    return differences if sums == said else [*differences, f"totals: recomputed {sums}, summary {said}"]


def recompute(ingest: str, registry: str, subsidy: str, token: str, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Read, fold and compare all there is; `tell` hears of each step."""
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        changes = [json.loads(text) for values in read_partitions(client, registry) for text in values]
        parcels, positions = read_scans(client, ingest)
        tell(f"{positions} scans and {len(changes)} registry changes read, every hash chain verified")
        versions = [p["policy_version"] for p in get(client, f"{subsidy}/v1/policies")["items"]]
        policies = [Policy(get(client, f"{subsidy}/v1/policies/{v}")) for v in versions]
        known = Registry.of(changes)
        results = {parcel: judge(parcel[0], scans, known, policies) for parcel, scans in parcels.items()}
        tell(f"{len(results)} parcels folded anew from docs/rules.md and policy {', '.join(versions)}")
        report = Report(positions, len(changes), results)
        days = [r.service_date for r in results.values() if r.service_date]
        if not days:
            return report
        window = {"from": str(min(days)), "to": str(max(days) + timedelta(days=1))}
        report.differences += compare_payouts(results, pages(client, f"{subsidy}/v1/payouts", **window))
        grouped = {**window, "date_basis": "service", "group_by": "day,station,brand"}
        totals = get(client, f"{subsidy}/v1/summary", limit=1, **grouped)["totals"]
        report.differences += compare_summary(results, pages(client, f"{subsidy}/v1/summary", **grouped), totals)
        return report


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

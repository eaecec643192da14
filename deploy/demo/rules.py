"""docs/rules.md in Python, once more: one parcel's events, the registry and the policy become one outcome ("rule n" is its n-th paragraph).

Written from that page by itself, for the recomputation (recompute.py). It imports nothing of the platform: the standard library and a
CEL evaluator. It reads the logs' values and the policy as the REST contract shows them, as plain JSON, and is as literal as the rules:
where it and the services disagree, one of them misreads them.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from itertools import islice, product
from math import prod
from typing import Any

import cel

Json = dict[str, Any]
Site = tuple[str, str, str]  # namespace, "code" or "name", normalised text

FACTS = [
    "brand", "waybill_no", "raw_action", "scanned_at", "site_namespace", "site_code", "site_name",
    "origin", "destination", "goods", "order_no", "weight_g",
]  # fmt: skip
SHANGHAI = timezone(timedelta(hours=8))
RECEIPTS = frozenset({"station_pickup", "signed", "signed_by_agent"})
CLOSING = RECEIPTS | {"station_inbound", "returning", "returned", "refused"}
KNOWN = CLOSING | {
    "picked_up", "departed", "arrived", "out_for_delivery", "taken_back", "delivery_failed", "transferred", "retracted", "unknown",
}  # fmt: skip
DEPTH = {"village": 0, "township": 1}  # the deepest level decides
REUSED_AFTER = timedelta(days=180)
MOST_COMBINATIONS = 16


@dataclass(frozen=True, slots=True)
class Scan:
    """One version of one event, as the scans log holds it."""

    event_id: str
    content: str
    mapping_version: int
    feed: str
    action: str
    at: datetime
    site: Site | None
    origin: str | None = None
    retracts_id: str | None = None
    retracts_action: str | None = None

    @property
    def is_retraction(self) -> bool:
        return self.retracts_id is not None or self.retracts_action is not None


def site_of(namespace: str, code: str | None, name: str | None) -> Site | None:
    """A scan's site is its code if it has one, else its name; NFKC, no white space, lower case, one trailing 店, 站 or 点 dropped."""
    text = "".join(unicodedata.normalize("NFKC", code or name or "").split()).lower()
    plain = text[:-1] if len(text) > 1 and text[-1] in "店站点" else text
    return (namespace, "code" if code else "name", plain) if plain else None


def content_of(value: Json) -> str:
    """SHA-256 of the scan facts as sent (docs/design.md §4): an RFC 8785 array; the sender's own action only where mapping version is 0."""
    retracts = value.get("retracts") or {}
    facts = [value[name] for name in FACTS]
    facts += [retracts.get("event_id"), retracts.get("previous_action"), None if value["mapping_version"] else value["action"]]
    return sha256(json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def partition_of(brand: str, waybill_no: str, partitions: int) -> int:
    return int.from_bytes(sha256(f"{brand}|{waybill_no}".encode()).digest()[:4], "big") % partitions


def scan_of(value: Json) -> Scan:
    retracts = value.get("retracts") or {}
    return Scan(
        event_id=value["event_id"],
        content=value["content"],
        mapping_version=value["mapping_version"],
        feed=value["feed"],
        action=value["action"] if value["action"] in KNOWN else "unknown",  # rule 1
        at=datetime.fromisoformat(value["scanned_at"]),
        site=site_of(value["site_namespace"], value["site_code"], value["site_name"]),
        origin=value["origin"],
        retracts_id=retracts.get("event_id"),
        retracts_action=retracts.get("previous_action"),
    )


def holds(dated: Json, at: datetime) -> bool:
    """From (inclusive) and to (exclusive; null: still)."""
    end = dated["valid_to"]
    return datetime.fromisoformat(dated["valid_from"]) <= at and (end is None or at < datetime.fromisoformat(end))


def segment(segments: Iterable[Json], at: datetime) -> Json | None:
    return next((s for s in segments if holds(s, at)), None)


@dataclass(slots=True)
class Registry:
    """The newest snapshot of every station and division, and who claims which site."""

    stations: dict[str, Json] = field(default_factory=dict)
    divisions: dict[str, Json] = field(default_factory=dict)
    claims: dict[Site, list[tuple[Json, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Iterable[Json]) -> "Registry":
        """From the values of the registry log, in order: each holds full-history snapshots of what it changed."""
        registry = cls()
        for change in changes:
            for record in change["records"]:
                if record["type"] == "station":
                    registry.stations[record["station_id"]] = record
                elif record["type"] == "division":
                    registry.divisions[record["code"]] = record
        for station_id, station in registry.stations.items():
            for alias in station["aliases"]:
                site = site_of(alias["namespace"], alias["site_code"], alias["site_name"])
                if site:
                    registry.claims.setdefault(site, []).append((alias, station_id))
        return registry

    def station_at(self, scan: Scan) -> str | None:
        """The station whose alias claims exactly this scan's site at the scan's time."""
        claims = self.claims.get(scan.site, []) if scan.site else []
        return next((station_id for alias, station_id in claims if holds(alias, scan.at)), None)

    def level(self, station_id: str) -> str:
        return str(self.stations[station_id]["level"])

    def standing(self, station_id: str, at: datetime) -> Json | None:
        """What the station was then; null where it was not registered."""
        return segment(self.stations[station_id]["segments"], at)

    def filed(self, station_id: str, brand: str, at: datetime) -> bool:
        filings = (f for f in self.stations[station_id]["filings"] if brand in f["covers_brands"])
        return any((now := segment(f["segments"], at)) and now["status"] in ("filed", "change_pending") for f in filings)

    def rural(self, division_code: str, at: datetime) -> bool:
        division = self.divisions.get(division_code)
        now = segment(division["segments"], at) if division else None
        return now is not None and now["kind"] in ("village", "town", "township")


# what the policy says


@dataclass(frozen=True, slots=True)
class Decided:
    outcome: str
    reasons: tuple[str, ...]
    amount_fen: int = 0


class Policy:
    """One policy as `GET /v1/policies/{version}` shows it (rule 13)."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.version: str = document["policy_version"]
        self.county: str = document["county_code"][:6]
        self.clauses = [(c, cel.compile(c["condition"])) for c in document["clauses"] if c["scheme"] == "downlink"]
        self.tiers = [t for t in document["tiers"] if t["scheme"] == "downlink"]
        self.distance: Mapping[str, str] = document["tables"].get("distance", {})
        self.memo: dict[tuple[object, ...], Decided] = {}

    def in_force(self, at: datetime) -> bool:
        return bool(self.document["status"] == "active") and holds(self.document, at)

    def decide(self, facts: Json, has_operator: bool) -> Decided:
        key = (*facts["parcel"].values(), *facts["deciding"].values(), *facts["station"].values(), has_operator)
        if key not in self.memo:
            self.memo[key] = self._decide(facts, has_operator)
        return self.memo[key]

    def _decide(self, facts: Json, has_operator: bool) -> Decided:
        failed = [c["reason_code"] for c, condition in self.clauses if c["mode"] == "require" and condition.execute(facts) is not True]
        if failed:
            return Decided("refused", tuple(failed))
        if not has_operator:
            return Decided("pending", ("station.no_operator",))
        tier = next((t for t in self.tiers if all(facts["station"][name] == wanted for name, wanted in t["when"].items())), None)
        if tier is None:
            return Decided("held", ("policy.no_rate",))
        return Decided("payable", (f"rate.{tier['rate_id']}",), tier["amount_fen"])


# the fold


@dataclass(frozen=True, slots=True)
class Result:
    """One parcel. `outcome` is null in transit; amounts in fen."""

    outcome: str | None = None
    reasons: tuple[str, ...] = ()
    net_fen: int = 0
    held_fen: int = 0
    beneficiary_id: str | None = None
    station_id: str | None = None
    township_code: str | None = None
    service_date: date | None = None
    direction: str = "unknown"

    @property
    def agreement(self) -> tuple[object, ...]:
        return self.outcome, self.net_fen + self.held_fen, self.beneficiary_id, self.station_id, self.service_date


def judge(brand: str, versions: Iterable[Scan], registry: Registry, policies: list[Policy]) -> Result:
    """Rules 1 and 2: which reading of each event counts, and what to do when an event was told in several ways."""
    newest: dict[tuple[str, str], Scan] = {}
    for scan in versions:
        known = newest.get((scan.event_id, scan.content))
        if known is None or known.mapping_version < scan.mapping_version:
            newest[scan.event_id, scan.content] = scan
    told: dict[str, list[Scan]] = defaultdict(list)
    for (event_id, _), scan in sorted(newest.items()):
        told[event_id].append(scan)
    if not any(map(closes, newest.values())):
        return Result()
    combinations = prod(map(len, told.values()))
    results = [judge_set(brand, events, registry, policies) for events in islice(product(*told.values()), MOST_COMBINATIONS)]
    if combinations == 1 or (combinations <= MOST_COMBINATIONS and len({r.agreement for r in results}) == 1):
        return results[0]
    largest_fen = max(r.net_fen + r.held_fen for r in results)
    shown = judge_set(brand, first_closing(list(told.values())), registry, policies)
    return replace(shown, outcome="held", reasons=("evidence.contested",), net_fen=0, held_fen=largest_fen)


def first_closing(told: list[list[Scan]]) -> tuple[Scan, ...]:
    """The first combination that has a closing action: the last event changes fastest, so the last one that can give it does."""
    smallest = [contents[0] for contents in told]
    if not any(map(closes, smallest)):
        i = max(i for i, contents in enumerate(told) if any(map(closes, contents)))
        smallest[i] = next(filter(closes, told[i]))
    return tuple(smallest)


def closes(scan: Scan) -> bool:
    return scan.action in CLOSING and not scan.is_retraction


def judge_set(brand: str, events: tuple[Scan, ...], registry: Registry, policies: list[Policy]) -> Result:
    """Rules 3 to 5 over one combination."""
    told = [e for e in events if not e.is_retraction]
    closing = [e for e in told if e.action in CLOSING]
    if not closing:
        return Result()
    cancelled = retracted(events)
    left = [e for e in told if e.event_id not in cancelled]
    result = judge_left(brand, left, min(e.at for e in closing), registry, policies)
    times = [e.at for e in left]
    if times and max(times) - min(times) > REUSED_AFTER:
        return replace(result, outcome="held", reasons=("waybill.reused",), net_fen=0, held_fen=result.net_fen + result.held_fen)
    return result


def retracted(events: tuple[Scan, ...]) -> set[str]:
    """Rule 3: the ids of the events that retractions cancel."""
    targets = [e for e in events if not e.is_retraction]
    by_id = [e for e in events if e.retracts_id is not None]
    cancelled = {t.event_id for t in targets for r in by_id if t.event_id == r.retracts_id and t.feed == r.feed}
    for r in sorted((e for e in events if e.retracts_id is None and e.retracts_action is not None), key=lambda e: (e.at, e.event_id)):
        may = [t for t in targets if (t.action, t.feed) == (r.retracts_action, r.feed) and t.at <= r.at and t.event_id not in cancelled]
        if may:
            latest = max(t.at for t in may)
            cancelled.add(min(t.event_id for t in may if t.at == latest))
    return cancelled


def judge_left(brand: str, left: list[Scan], first_closing_at: datetime, registry: Registry, policies: list[Policy]) -> Result:
    """Rules 6 to 13, in the order of judgement: 8, 6, 9, 10, 11, 12, 13."""
    voided = voided_by_take_backs(left, registry)
    standing_closing = [e for e in left if e.action in CLOSING and e.event_id not in voided]
    direction = "uplink" if is_uplink(left, registry, policies) else "downlink"
    day = shanghai_day(min((e.at for e in standing_closing), default=first_closing_at))
    pending = Result(outcome="pending", service_date=day, direction=direction)
    if not standing_closing:
        return replace(pending, reasons=("evidence.voided",))
    if direction == "uplink":
        return replace(pending, reasons=("uplink.needs_declaration",))
    doors = [e for e in standing_closing if e.action in RECEIPTS or e.action == "station_inbound"]
    deciding = deciding_event(doors, registry)
    if reason := returned(left):
        refused = replace(pending, outcome="refused", reasons=(reason,))
        return placed(refused, deciding, registry) if deciding else refused
    if any(e.action == "taken_back" and registry.station_at(e) is None and inbound_before(left, e) for e in left):
        return replace(pending, reasons=("site.unmapped",))
    if deciding is None:
        unmapped = any(e.site and registry.station_at(e) is None for e in doors)
        return replace(pending, reasons=("site.unmapped" if unmapped else "evidence.no_station",))
    decided = by_policy(brand, deciding, left, registry, policies)
    result = placed(replace(pending, outcome=decided.outcome, reasons=decided.reasons), deciding, registry)
    if any(e.action == "transferred" for e in left):
        return replace(result, outcome="held", reasons=("transfer.unlinked",), held_fen=decided.amount_fen)
    return replace(result, net_fen=decided.amount_fen)


def voided_by_take_backs(left: list[Scan], registry: Registry) -> set[str]:
    """Rule 7."""
    takes = [(registry.station_at(e), e.at) for e in left if e.action == "taken_back"]
    inbounds = [(e, registry.station_at(e)) for e in left if e.action == "station_inbound"]
    return {e.event_id for e, station in inbounds if station and any(s == station and e.at <= at for s, at in takes)}


def inbound_before(left: list[Scan], take: Scan) -> bool:
    return any(e.action == "station_inbound" and e.at <= take.at for e in left)


def is_uplink(left: list[Scan], registry: Registry, policies: list[Policy]) -> bool:
    """Rule 6."""
    counties = {p.county for p in policies}
    if any(e.origin is not None and e.origin[:6] in counties for e in left):
        return True
    picked_up = [(registry.station_at(e), e.at) for e in left if e.action == "picked_up"]
    return any(station is not None and registry.standing(station, at) is not None for station, at in picked_up)


def returned(left: list[Scan]) -> str | None:
    """Rule 9: the reason, if the parcel went back."""
    actions = {e.action for e in left}
    if "returned" in actions or "returning" in actions:
        return "parcel.returned" if "returned" in actions else "parcel.returning"
    refusals = [e.at for e in left if e.action == "refused"]
    receipts = [e.at for e in left if e.action in RECEIPTS]
    return "parcel.refused" if any(not any(r > at for r in receipts) for at in refusals) else None


def deciding_event(doors: list[Scan], registry: Registry) -> tuple[Scan, str] | None:
    """Rule 11: the event that opens the door to money, and its station."""
    mapped = [(e, s) for e in doors if (s := registry.station_at(e)) and registry.level(s) in DEPTH and registry.standing(s, e.at)]
    return min(mapped, key=lambda pair: (DEPTH[registry.level(pair[1])], pair[0].at, pair[0].event_id), default=None)


def placed(result: Result, deciding: tuple[Scan, str], registry: Registry) -> Result:
    """Station, township, beneficiary and service date, as the deciding event has them."""
    scan, station_id = deciding
    standing = registry.standing(station_id, scan.at) or {}
    return replace(
        result,
        station_id=station_id,
        township_code=standing["township_code"],
        beneficiary_id=standing["operator_id"],
        service_date=shanghai_day(scan.at),
    )


def by_policy(brand: str, deciding: tuple[Scan, str], left: list[Scan], registry: Registry, policies: list[Policy]) -> Decided:
    """Rule 13."""
    scan, station_id = deciding
    policy = next((p for p in policies if p.in_force(scan.at)), None)
    if policy is None:
        return Decided("held", ("policy.not_in_force",))
    standing = registry.standing(station_id, scan.at) or {}
    hubs = (registry.station_at(e) for e in left if e.action == "arrived")
    facts = {
        "parcel": {"direction": "downlink", "brand": brand, "hub_arrived": any(h and registry.level(h) == "county_hub" for h in hubs)},
        "deciding": {"action": scan.action},
        "station": {
            "level": registry.level(station_id),
            "operating_status": standing["operating_status"],
            "filed": registry.filed(station_id, brand, scan.at),
            "rural": registry.rural(standing["division_code"], scan.at),
            "distance": policy.distance.get(standing["division_code"], "near"),
        },
    }
    return policy.decide(facts, standing["operator_id"] is not None)


def shanghai_day(at: datetime) -> date:
    return at.astimezone(SHANGHAI).date()

"""docs/rules.md in Python, once more: one parcel's events, the registry and the policy become one outcome ("rule n" is its n-th paragraph).

Written from that page by itself, for the recomputation (recompute.py). It imports nothing of the platform: the standard library and a
CEL evaluator. It reads what records.py reads and the policy as the REST contract shows it, as plain JSON, and is as literal as the rules:
where it and the services disagree, one of them misreads them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import islice, product
from math import prod

import cel

if __package__:
    from deploy.demo import uplink_rules
    from deploy.demo.incident_rules import Seen
    from deploy.demo.records import CLOSING, RECEIPTS, Declared, Json, Registry, Ruling, Scan, holds, shanghai_day
else:  # carried away
    import uplink_rules  # type: ignore[import-not-found, no-redef]
    from incident_rules import Seen  # type: ignore[import-not-found, no-redef]
    from records import CLOSING, RECEIPTS, Declared, Json, Registry, Ruling, Scan, holds, shanghai_day  # type: ignore[import-not-found, no-redef]

DEPTH = {"village": 0, "township": 1}  # the deepest level decides
REUSED_AFTER = timedelta(days=180)
MOST_COMBINATIONS = 16

# what the policy says


@dataclass(frozen=True, slots=True)
class Decided:
    outcome: str
    reasons: tuple[str, ...]
    amount_fen: int = 0
    holds: tuple[str, ...] = ()  # reasons of the clauses that hold what would be paid
    held_by: tuple[str, ...] = ()  # their conditions


class Policy:
    """One policy as `GET /v1/policies/{version}` shows it (rule 13)."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.version: str = document["policy_version"]
        self.county: str = document["county_code"][:6]
        self.clauses = [(c, cel.compile(c["condition"])) for c in document["clauses"] if c["scheme"] == "downlink"]
        self.uplink_clauses = [(c, cel.compile(c["condition"])) for c in document["clauses"] if c["scheme"] == "uplink"]
        self.tiers = [t for t in document["tiers"] if t["scheme"] == "downlink"]
        self.distance: Mapping[str, str] = document["tables"].get("distance", {})
        self.reads_incidents = any("incident." in c["condition"] for c in document["clauses"])
        self.memo: dict[tuple[object, ...], Decided] = {}

    def in_force(self, at: datetime) -> bool:
        return bool(self.document["status"] == "active") and holds(self.document, at)

    def decide(self, facts: Json, has_operator: bool) -> Decided:
        incidents = json.dumps([facts.get("incident"), facts.get("station_incident")])
        key = (*facts["parcel"].values(), *facts["deciding"].values(), *facts["station"].values(), incidents, has_operator)
        if key not in self.memo:
            self.memo[key] = self._decide(facts, has_operator)
        return self.memo[key]

    def _decide(self, facts: Json, has_operator: bool) -> Decided:
        failed = [c for c, condition in self.clauses if condition.execute(facts) is not True]
        if refusals := tuple(c["reason_code"] for c in failed if c["mode"] == "require"):
            return Decided("refused", refusals)
        if not has_operator:
            return Decided("pending", ("station.no_operator",))
        tier = next((t for t in self.tiers if all(facts["station"][name] == wanted for name, wanted in t["when"].items())), None)
        if tier is None:
            return Decided("held", ("policy.no_rate",))
        holding = [c for c in failed if c["mode"] == "hold"]
        holds, held_by = tuple(c["reason_code"] for c in holding), tuple(c["condition"] for c in holding)
        return Decided("payable", (f"rate.{tier['rate_id']}",), tier["amount_fen"], holds, held_by)


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
    def amount_fen(self) -> int:
        return self.net_fen + self.held_fen

    @property
    def agreement(self) -> tuple[object, ...]:
        return self.outcome, self.amount_fen, self.beneficiary_id, self.station_id, self.service_date


# what people said (rule 14)

NOT_RELEASED = ("policy.not_in_force", "policy.no_rate", "evidence.contested")


@dataclass(frozen=True, slots=True)
class People:
    """The rulings on one parcel, in the order of their revisions, the row that declares it, and the incidents that name it."""

    rulings: tuple[Ruling, ...] = ()
    declared: Declared | None = None
    naming: tuple[Json, ...] = ()

    def over(
        self, below: Result, reasons: tuple[str, ...], about: Iterable[Result] = (), told: Iterable[list[str]] = (), after: int = -1
    ) -> Result:
        """A hold over a result, or what was decided of it."""
        if below.reasons == ("hold.confirmed",):
            return below
        held = replace(below, outcome="held", reasons=reasons, net_fen=0, held_fen=below.amount_fen)
        if not self.rulings:
            return held
        subject = subject_of(reasons, list(about) or [below], told)
        words = [r.decision for r in self.rulings if (r.reason_code, r.subject) == (reasons[0], subject) and r.revision > after]
        if words[-1:] == ["confirm"]:
            return replace(held, outcome="refused", reasons=("hold.confirmed",), held_fen=0)
        return below if words[-1:] == ["release"] and reasons[0] not in NOT_RELEASED else held

    def choose(self, contents: list[Scan]) -> list[Scan]:
        """Of a contested event, the content that a person has named; all, where nobody has named one of exactly these."""
        if len(contents) < 2 or not self.rulings:
            return contents
        among = sha256(bytes.fromhex("".join(sorted(e.content for e in contents)))).hexdigest()
        named = [c for r in self.rulings for e, c, a in r.choices if (e, a) == (contents[0].event_id, among)]
        return [e for e in contents if e.content == named[-1]] if named else contents

    def by_hand(self, result: Result) -> Result:
        """The holds that people placed, the latest first; a reason that was placed again counts once."""
        placed = {r.reason_code: r.revision for r in self.rulings if r.decision == "place"}
        for reason, revision in sorted(placed.items(), key=lambda item: -item[1]):
            if result.outcome in ("payable", "held"):
                result = self.over(result, (reason,), after=revision)
        return result


def subject_of(reasons: tuple[str, ...], about: list[Result], told: Iterable[list[str]]) -> str:
    results: list[list[object]] = []
    for r in about:
        day = str(r.service_date) if r.service_date else None
        row: list[object] = [r.amount_fen, r.beneficiary_id, r.station_id, day]
        if row not in results:
            results.append(row)
    text = json.dumps([list(reasons), results, list(told)], ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def judge(
    brand: str, versions: Iterable[Scan], registry: Registry, policies: list[Policy], rulings: Iterable[Ruling] = (),
    declared: Declared | None = None, naming: Iterable[Json] = (),
) -> Result:  # fmt: skip
    people = People(tuple(sorted(rulings, key=lambda r: r.revision)), declared, tuple(naming))
    return people.by_hand(judge_evidence(brand, versions, registry, policies, people))


def judge_evidence(brand: str, versions: Iterable[Scan], registry: Registry, policies: list[Policy], people: People) -> Result:
    """Rules 1 and 2: which reading of each event counts, and what to do when an event was told in several ways."""
    newest: dict[tuple[str, str], Scan] = {}
    for scan in versions:
        known = newest.get((scan.event_id, scan.content))
        if known is None or known.mapping_version < scan.mapping_version:
            newest[scan.event_id, scan.content] = scan
    told: dict[str, list[Scan]] = defaultdict(list)
    for (event_id, _), scan in sorted(newest.items()):
        told[event_id].append(scan)
    told = {event_id: people.choose(contents) for event_id, contents in told.items()}
    if not any(closes(scan) for contents in told.values() for scan in contents) and people.declared is None:
        return Result()
    combinations = prod(map(len, told.values()))
    results = [judge_set(brand, events, registry, policies, people) for events in islice(product(*told.values()), MOST_COMBINATIONS)]
    if combinations == 1 or (combinations <= MOST_COMBINATIONS and len({r.agreement for r in results}) == 1):
        return results[0]
    shown = judge_set(brand, first_closing(list(told.values())), registry, policies, people)
    if shown.outcome is None:
        return results[0]
    shown = replace(shown, reasons=(), net_fen=0, held_fen=max(r.amount_fen for r in results))
    contested = [[event_id, *(e.content for e in contents)] for event_id, contents in told.items() if len(contents) > 1]
    return people.over(shown, ("evidence.contested",), results, contested)


def first_closing(told: list[list[Scan]]) -> tuple[Scan, ...]:
    """The first combination that has a closing action: the last event changes fastest, so the last one that can give it does."""
    smallest = [contents[0] for contents in told]
    if not any(map(closes, smallest)) and any(closes(scan) for contents in told for scan in contents):
        i = max(i for i, contents in enumerate(told) if any(map(closes, contents)))
        smallest[i] = next(filter(closes, told[i]))
    return tuple(smallest)


def closes(scan: Scan) -> bool:
    return scan.action in CLOSING and not scan.is_retraction


def judge_set(brand: str, events: tuple[Scan, ...], registry: Registry, policies: list[Policy], people: People) -> Result:
    """Rules 3 to 5 over one combination."""
    told = [e for e in events if not e.is_retraction]
    closing = [e for e in told if e.action in CLOSING]
    cancelled = retracted(events)
    left = [e for e in told if e.event_id not in cancelled]
    if people.declared and is_uplink(left, registry, policies):
        result = judge_declared(brand, left, people.declared, registry, policies, people)
    elif not closing:
        return Result()
    else:
        result = judge_left(brand, left, min(e.at for e in closing), registry, policies, people)
    times = [e.at for e in left]
    reused = bool(times) and max(times) - min(times) > REUSED_AFTER
    return people.over(result, ("waybill.reused",)) if reused else result


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


def judge_left(
    brand: str, left: list[Scan], first_closing_at: datetime, registry: Registry, policies: list[Policy], people: People
) -> Result:
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
    policy = next((p for p in policies if deciding and p.in_force(deciding[0].at)), None)
    result = by_policy(brand, pending, deciding, left, registry, policy, people) if deciding and policy else None
    if (way := returned(left)) != "none":
        if result is None:
            refused = replace(pending, outcome="refused", reasons=(f"parcel.{way}",))
            return placed(refused, deciding, registry) if deciding else refused
        if result.outcome == "refused":
            return result
    if any(e.action == "taken_back" and registry.station_at(e) is None and inbound_before(left, e) for e in left):
        return replace(pending, reasons=("site.unmapped",))
    if deciding is None:
        unmapped = any(e.site and registry.station_at(e) is None for e in doors)
        return replace(pending, reasons=("site.unmapped" if unmapped else "evidence.no_station",))
    if result is None:
        result = people.over(placed(replace(pending, outcome="held"), deciding, registry), ("policy.not_in_force",))
    return people.over(result, ("transfer.unlinked",)) if any(e.action == "transferred" for e in left) else result


def judge_declared(brand: str, left: list[Scan], declared: Declared, registry: Registry, policies: list[Policy], people: People) -> Result:
    """Rule 15."""
    scan, station_id = out = uplink_rules.deciding(left, registry, {p.county for p in policies})
    standing = registry.standing(station_id, scan.at) if station_id else None
    result = Result(
        "held", (), 0, 0, declared.merchant_id, station_id, standing["township_code"] if standing else None, shanghai_day(scan.at), "uplink"
    )
    policy = next((p for p in policies if p.in_force(scan.at)), None)
    if policy is None:
        return people.over(result, ("policy.not_in_force",))
    if policy.document["uplink"] is None:
        return replace(result, outcome="refused", reasons=("uplink.not_subsidised",))
    seen = uplink_rules.facts(brand, returned(left), left, out, declared, policy, registry)
    incidents = Seen.at(people.naming, station_id if standing else None, scan.at, registry) if policy.reads_incidents else None
    seen |= incidents.facts() if incidents else {}
    if refusals := uplink_rules.clauses_not_met(policy, seen, "require"):
        return replace(result, outcome="refused", reasons=tuple(c["reason_code"] for c in refusals))
    reason, fen = uplink_rules.amount(policy, declared)
    result = replace(result, outcome="payable", reasons=(reason,), net_fen=fen)
    if holding := uplink_rules.clauses_not_met(policy, seen, "hold"):
        told = incidents.held_for(c["condition"] for c in holding) if incidents else []
        result = people.over(result, tuple(c["reason_code"] for c in holding), told=told)
    return people.over(result, ("transfer.unlinked",)) if any(e.action == "transferred" for e in left) else result


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


def returned(left: list[Scan]) -> str:
    """Rule 9: the way in which the parcel went back, or none."""
    actions = {e.action for e in left}
    if "returned" in actions or "returning" in actions:
        return "returned" if "returned" in actions else "returning"
    refusals = [e.at for e in left if e.action == "refused"]
    receipts = [e.at for e in left if e.action in RECEIPTS]
    return "refused" if any(not any(r > at for r in receipts) for at in refusals) else "none"


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


def by_policy(
    brand: str, pending: Result, deciding: tuple[Scan, str], left: list[Scan], registry: Registry, policy: Policy, people: People
) -> Result:
    """Rule 13."""
    scan, station_id = deciding
    standing = registry.standing(station_id, scan.at) or {}
    hubs = (registry.station_at(e) for e in left if e.action == "arrived")
    facts = {
        "parcel": {
            "direction": "downlink",
            "brand": brand,
            "hub_arrived": any(h and registry.level(h) == "county_hub" for h in hubs),
            "returned": returned(left),
            "final_receipt": any(e.action in RECEIPTS for e in left),
        },
        "deciding": {"action": scan.action},
        "station": {
            "level": registry.level(station_id),
            "operating_status": standing["operating_status"],
            "filed": registry.filed(station_id, brand, scan.at),
            "rural": registry.rural(standing["division_code"], scan.at),
            "distance": policy.distance.get(standing["division_code"], "near"),
        },
    }
    incidents = Seen.at(people.naming, station_id, scan.at, registry) if policy.reads_incidents else None
    decided = policy.decide(facts | (incidents.facts() if incidents else {}), standing["operator_id"] is not None)
    result = placed(replace(pending, outcome=decided.outcome, reasons=decided.reasons, net_fen=decided.amount_fen), deciding, registry)
    if decided.outcome == "held":
        return people.over(replace(result, reasons=()), decided.reasons)
    told = incidents.held_for(decided.held_by) if incidents else []
    return people.over(result, decided.holds, told=told) if decided.holds else result

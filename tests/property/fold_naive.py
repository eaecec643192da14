"""docs/rules.md a second time, as literally as it is written and as slow as it likes: sets, filters and no shared code with the fold.

Only the registry (shared.standing), the calendar and the policy's clauses are common; the demo's recomputation has its own of those, too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import sha256
from itertools import islice, product
from uuid import UUID

from services.subsidy.domain.events import Event
from services.subsidy.domain.facts import INCIDENTS, Facts, context
from services.subsidy.domain.policy import Policies, Policy
from services.subsidy.domain.said import NOTHING, Ruling, Said
from shared.calendar import shanghai_day
from shared.contracts.registry import Incident
from shared.contracts.scan import Action
from shared.standing import Directory, Standing

RECEIPTS = ["station_pickup", "signed", "signed_by_agent"]
CLOSING = ["station_inbound", *RECEIPTS, "returning", "returned", "refused"]


@dataclass(frozen=True)
class Naive:
    outcome: str | None = None
    reason_codes: tuple[str, ...] = ()
    net_fen: int = 0
    held_fen: int = 0
    beneficiary_id: str | None = None
    station_id: str | None = None
    township_code: str | None = None
    service_date: date | None = None
    subject: bytes | None = None


@dataclass(frozen=True)
class People:
    """14. What people said, as it stands in the rules: who decided what of which subject."""

    rulings: Sequence[Ruling]
    incidents: Sequence[Incident] = ()  # that name the parcel

    def over(
        self, below: Naive, reasons: Sequence[str], about: Sequence[Naive] = (), told: Sequence[Sequence[str]] = (), after: int = -1
    ) -> Naive:
        if below.reason_codes == ("hold.confirmed",):
            return below
        held = replace(below, outcome="held", reason_codes=tuple(reasons), net_fen=0, held_fen=below.net_fen + below.held_fen)
        results: list[list[object]] = []
        for r in about or [below]:
            day = None if r.service_date is None else r.service_date.isoformat()
            row: list[object] = [r.net_fen + r.held_fen, r.beneficiary_id, r.station_id, day]
            if row not in results:
                results.append(row)
        text = json.dumps([list(reasons), results, [list(t) for t in told]], ensure_ascii=False, separators=(",", ":"))
        subject = sha256(text.encode()).digest()
        words = [r for r in self.rulings if r.subject == subject and r.reason_code == reasons[0] and r.number > after]
        word = sorted(words, key=lambda r: r.number)[-1].decision if words else None
        if word == "confirm":
            return replace(held, outcome="refused", reason_codes=("hold.confirmed",), held_fen=0)
        if word == "release" and reasons[0] not in ["policy.not_in_force", "policy.no_rate", "evidence.contested"]:
            return below
        return replace(held, subject=subject)

    def choose(self, contents: list[Event]) -> list[Event]:
        among = sha256(b"".join(sorted(e.content for e in contents))).digest()
        for r in sorted(self.rulings, key=lambda r: -r.number):
            choice = r.choices.get(contents[0].event_id)
            if len(contents) > 1 and choice and choice.among == among:
                return [e for e in contents if e.content == choice.content]
        return contents

    def by_hand(self, below: Naive) -> Naive:
        placings = [r for r in self.rulings if r.decision == "place"]
        latest = [p for p in placings if not any(q.reason_code == p.reason_code and q.number > p.number for q in placings)]
        for p in sorted(latest, key=lambda p: -p.number):
            if below.outcome in ["payable", "held"]:
                below = self.over(below, [p.reason_code], after=p.number)
        return below


def naive_assess(brand: str, versions: Sequence[Event], directory: Directory, policies: Policies, said: Said = NOTHING) -> Naive:
    people = People(said.rulings, said.incidents)
    return people.by_hand(_by_evidence(brand, versions, directory, policies, people))


def _by_evidence(brand: str, versions: Sequence[Event], directory: Directory, policies: Policies, people: People) -> Naive:
    # 1. Of the versions of an event with the same content, the one with the highest mapping_version counts.
    counting = [
        v
        for v in versions
        if all(v.mapping_version >= w.mapping_version for w in versions if (w.event_id, w.content) == (v.event_id, v.content))
    ]
    counting = [
        v._replace(action=v.action if v.action in list(Action) else "unknown") for i, v in enumerate(counting) if v not in counting[:i]
    ]
    # 2. Contested.
    ids = sorted({v.event_id for v in counting})
    choices = [people.choose(sorted((v for v in counting if v.event_id == i), key=lambda v: v.content)) for i in ids]
    results = [_One(brand, list(chosen), directory, policies, people).result() for chosen in islice(product(*choices), 10_000)]
    if all(r.outcome is None for r in results):
        return Naive()
    if len(results) == 1:
        return results[0]
    agreed = {(r.outcome, r.net_fen + r.held_fen, r.beneficiary_id, r.station_id, r.service_date) for r in results}
    if len(results) <= 16 and len(agreed) == 1:
        return results[0]
    first = next(r for r in results if r.outcome is not None)
    shown = replace(first, reason_codes=(), net_fen=0, held_fen=max(r.net_fen + r.held_fen for r in results[:16]))
    told = [[str(UUID(bytes=c[0].event_id)), *(v.content.hex() for v in c)] for c in choices if len(c) > 1]
    return people.over(shown, ["evidence.contested"], results[:16], told)


class _One:
    """One combination."""

    def __init__(self, brand: str, events: list[Event], directory: Directory, policies: Policies, people: People) -> None:
        self.brand, self.events, self.directory, self.policies, self.people = brand, events, directory, policies, people

    def maps(self, e: Event) -> str | None:
        return self.directory.station_at(e.site, e.scanned_at)

    def result(self) -> Naive:
        # 3. Retractions.
        retractions = [e for e in self.events if e.retracts_event_id is not None or e.retracts_previous_action is not None]
        others = [e for e in self.events if e not in retractions]
        cancelled = [e for e in others if any(r.retracts_event_id == e.event_id and r.feed == e.feed for r in retractions)]
        for r in sorted((r for r in retractions if r.retracts_previous_action is not None), key=lambda r: (r.scanned_at, r.event_id)):
            wanted = [
                e
                for e in others
                if e.action == r.retracts_previous_action and e.feed == r.feed and e not in cancelled and e.scanned_at <= r.scanned_at
            ]
            wanted = [e for e in wanted if e.scanned_at == max(w.scanned_at for w in wanted)]
            wanted = [e for e in wanted if e.event_id == min(w.event_id for w in wanted)]
            cancelled += wanted
        left = [e for e in others if e not in cancelled]
        # 4. In transit.
        if not [e for e in others if e.action in CLOSING]:
            return Naive()
        below = self.below(left, [e for e in others if e.action in CLOSING])
        # 5. Reused number.
        if any(a.scanned_at - b.scanned_at > timedelta(seconds=15_552_000) for a in left for b in left):
            return self.people.over(below, ["waybill.reused"])
        return below

    def below(self, left: list[Event], closing_ever: list[Event]) -> Naive:
        inbounds = [e for e in left if e.action == "station_inbound"]
        take_backs = [e for e in left if e.action == "taken_back"]
        # 7. Take-backs.
        voided = [
            e
            for e in inbounds
            if any(self.maps(t) is not None and self.maps(t) == self.maps(e) and e.scanned_at <= t.scanned_at for t in take_backs)
        ]
        closing = [e for e in left if e.action in CLOSING and e not in voided]
        # 8. Voided.
        if not closing:
            return Naive("pending", ("evidence.voided",), service_date=shanghai_day(min(e.scanned_at for e in closing_ever)))
        unplaced = Naive("pending", service_date=shanghai_day(min(e.scanned_at for e in closing)))
        # 6. Direction.
        county = self.policies.county_code
        if any(e.origin and county and e.origin[:6] == county[:6] for e in left) or any(
            e.action == "picked_up" and (s := self.maps(e)) and self.directory.standing(s, self.brand, e.scanned_at) for e in left
        ):
            return replace(unplaced, reason_codes=("uplink.needs_declaration",))
        # 11. Deciding event.
        doors = [e for e in closing if e.action in ["station_inbound", *RECEIPTS]]
        standing_of = {e.event_id: self.directory.standing(s, self.brand, e.scanned_at) for e in doors if (s := self.maps(e))}
        deciding = None
        for level in ("township", "village"):
            at_level = [e for e in doors if (st := standing_of.get(e.event_id)) and st.level == level]
            if at_level:
                deciding = sorted(at_level, key=lambda e: (e.scanned_at, e.event_id))[0]
        standing = standing_of[deciding.event_id] if deciding else None
        placed = unplaced
        if deciding and standing:
            placed = Naive(
                beneficiary_id=standing.operator_id,
                station_id=standing.station_id,
                township_code=standing.township_code,
                service_date=shanghai_day(deciding.scanned_at),
            )
        # 9. Return.
        actions = [e.action for e in left]
        receipts = [e for e in left if e.action in RECEIPTS]
        unanswered = [r for r in left if r.action == "refused" and not any(e.scanned_at > r.scanned_at for e in receipts)]
        back = "returned" if "returned" in actions else "returning" if "returning" in actions else "refused" if unanswered else "none"
        in_force = [p for p in self.policies.versions if deciding and p.valid_from <= deciding.scanned_at < p.valid_to]
        if back != "none" and not in_force:
            return replace(placed, outcome="refused", reason_codes=(f"parcel.{back}",))
        if in_force and deciding and standing:
            result = self.policy(in_force[0], placed, left, deciding, standing, back, bool(receipts))
            if back != "none" and result.outcome == "refused":
                return result
        # 10. Unmapped take-back.
        if any(self.maps(t) is None and any(e.scanned_at <= t.scanned_at for e in inbounds) for t in take_backs):
            return replace(unplaced, reason_codes=("site.unmapped",))
        if deciding is None or standing is None:
            unmapped = any(e.site is not None and self.maps(e) is None for e in doors)
            return replace(unplaced, reason_codes=("site.unmapped" if unmapped else "evidence.no_station",))
        if not in_force:
            result = self.people.over(replace(placed, outcome="held"), ["policy.not_in_force"])
        # 12. Transfer.
        return self.people.over(result, ["transfer.unlinked"]) if "transferred" in actions else result

    def policy(
        self, policy: Policy, placed: Naive, left: list[Event], deciding: Event, standing: Standing, back: str, receipt: bool
    ) -> Naive:
        # 13. Policy.
        hub = any(e.action == "arrived" and (s := self.maps(e)) and self.directory.stations[s].level == "county_hub" for e in left)
        distance = policy.tables["distance"].get(standing.division_code, "near")
        facts = Facts(
            direction="downlink",
            brand=self.brand,
            hub_arrived=hub,
            returned=back,
            final_receipt=receipt,
            action=deciding.action,
            level=standing.level,
            operating_status=standing.operating_status,
            filed=standing.filed,
            rural=standing.rural,
            distance=distance,
        )
        clauses = [c for c in policy.clauses if c.scheme == "downlink"]
        counting = self.incidents(deciding, standing)
        asked = {name for c in clauses for name in c.reads}
        statuses = {name: tuple(sorted({status for n, _, status in counting if n == name})) for name, _, _ in counting if name in asked}
        seen = context(facts._replace(incidents=tuple(statuses.items())), INCIDENTS)
        untrue = [c for c in clauses if c.program.execute(seen) is not True]
        refusing = tuple(c.reason_code for c in untrue if c.mode == "require")
        holding = tuple(c.reason_code for c in untrue if c.mode == "hold")
        if refusing:
            return replace(placed, outcome="refused", reason_codes=refusing)
        if standing.operator_id is None:
            return replace(placed, outcome="pending", reason_codes=("station.no_operator",))
        known = {"level": standing.level, "filed": standing.filed, "distance": distance}
        tiers = [t for t in policy.tiers if t.scheme == "downlink" and all(known[name] == v for name, v in t.when.items())]
        if not tiers:
            return self.people.over(replace(placed, outcome="held"), ["policy.no_rate"])
        paid = replace(placed, outcome="payable", reason_codes=(f"rate.{tiers[0].rate_id}",), net_fen=tiers[0].amount_fen)
        read = [name for c in untrue if c.mode == "hold" for name in c.reads]
        held_for = sorted({(incident, status) for name, incident, status in counting if name in read})
        return self.people.over(paid, holding, told=[list(pair) for pair in held_for]) if holding else paid

    def incidents(self, deciding: Event, standing: Standing) -> list[tuple[str, str, str]]:
        """Of all that count: the fact to which they count, their id and their status."""
        found = [(f"incident.{i.kind}", i) for i in self.people.incidents]
        for i in self.directory.incidents.values():
            then = [
                s for s in i.segments if s.valid_from <= deciding.scanned_at and (s.valid_to is None or deciding.scanned_at < s.valid_to)
            ]
            if i.station_id == standing.station_id and then and then[0].status not in ["unfounded", "closed"]:
                found.append((f"station_incident.{i.kind}", i))
        last = [(name, i.incident_id, [str(s.status) for s in i.segments][-2:]) for name, i in found]
        return [(name, i, of[-1]) for name, i, of in last if of[-1] != "unfounded" and of != ["unfounded", "closed"]]

"""docs/rules.md a second time, as literally as it is written and as slow as it likes: sets, filters and no shared code with the fold.

Only the registry (shared.standing), the calendar and the policy's clauses are common; the demo's recomputation has its own of those, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice, product

from services.subsidy.domain.events import Event
from services.subsidy.domain.facts import Facts
from services.subsidy.domain.policy import Policies, decide
from shared.calendar import shanghai_day
from shared.contracts.scan import Action
from shared.standing import Directory

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

    def held(self, reason: str) -> "Naive":
        return replace(self, outcome="held", reason_codes=(reason,), net_fen=0, held_fen=self.net_fen + self.held_fen)


def naive_assess(brand: str, versions: Sequence[Event], directory: Directory, policies: Policies) -> Naive:
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
    choices = [sorted((v for v in counting if v.event_id == i), key=lambda v: v.content) for i in ids]
    results = [_One(brand, list(chosen), directory, policies).result() for chosen in islice(product(*choices), 10_000)]
    if all(r.outcome is None for r in results):
        return Naive()
    if len(results) == 1:
        return results[0]
    agreed = {(r.outcome, r.net_fen + r.held_fen, r.beneficiary_id, r.station_id, r.service_date) for r in results}
    if len(results) <= 16 and len(agreed) == 1:
        return results[0]
    first = next(r for r in results if r.outcome is not None)
    return replace(first.held("evidence.contested"), held_fen=max(r.net_fen + r.held_fen for r in results[:16]))


class _One:
    """One combination."""

    def __init__(self, brand: str, events: list[Event], directory: Directory, policies: Policies) -> None:
        self.brand, self.events, self.directory, self.policies = brand, events, directory, policies

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
            return below.held("waybill.reused")
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
        for action in ("returned", "returning"):
            if action in actions:
                return replace(placed, outcome="refused", reason_codes=(f"parcel.{action}",))
        for r in (e for e in left if e.action == "refused"):
            if not any(e.action in RECEIPTS and e.scanned_at > r.scanned_at for e in left):
                return replace(placed, outcome="refused", reason_codes=("parcel.refused",))
        # 10. Unmapped take-back.
        if any(self.maps(t) is None and any(e.scanned_at <= t.scanned_at for e in inbounds) for t in take_backs):
            return replace(unplaced, reason_codes=("site.unmapped",))
        if deciding is None or standing is None:
            unmapped = any(e.site is not None and self.maps(e) is None for e in doors)
            return replace(unplaced, reason_codes=("site.unmapped" if unmapped else "evidence.no_station",))
        # 13. Policy.
        hub = any(e.action == "arrived" and (s := self.maps(e)) and self.directory.stations[s].level == "county_hub" for e in left)
        in_force = [p for p in self.policies.versions if p.valid_from <= deciding.scanned_at < p.valid_to]
        if not in_force:
            result = replace(placed, outcome="held", reason_codes=("policy.not_in_force",))
        else:
            distance = in_force[0].tables["distance"].get(standing.division_code, "near")
            facts = Facts(
                "downlink",
                self.brand,
                hub,
                deciding.action,
                standing.level,
                standing.operating_status,
                standing.filed,
                standing.rural,
                distance,
            )
            decision = decide(in_force[0], facts)
            result = replace(placed, outcome=decision.outcome, reason_codes=decision.reason_codes, net_fen=decision.amount_fen)
            if decision.outcome != "refused" and standing.operator_id is None:
                result = replace(placed, outcome="pending", reason_codes=("station.no_operator",))
        # 12. Transfer.
        return result.held("transfer.unlinked") if "transferred" in actions else result

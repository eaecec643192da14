"""From the set of a parcel's events to one outcome: docs/rules.md, rule by rule. Pure; nothing depends on the order of arrival."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from hashlib import sha256
from itertools import islice, product
from math import prod
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

import msgspec

from shared.calendar import shanghai_day
from shared.standing import Directory, Standing

from .events import CLOSING_ACTIONS, Event
from .facts import AnyFacts, Facts
from .incidents import Behind, behind, found, held_for
from .policy import DOWNLINK, UPLINK, Decision, Outcome, Policies, Policy
from .reading import Reading, read
from .said import CONFIRMED, CONTESTED, NOTHING, NOTHING_TO_PAY, Declared, Said, Word, chosen, decided, placed
from .uplink import Sent, facts_of, rate, sent

MAX_COMBINATIONS = 16
NOT_RELEASED = NOTHING_TO_PAY | {CONTESTED}  # by the word alone: a contested hold ends by naming contents


class Assessment(NamedTuple):
    """What a parcel comes to. `outcome` None: in transit, in no total. Only payable has a net amount, only held a held one."""

    direction: str
    outcome: Outcome | None
    reason_codes: tuple[str, ...]
    net_fen: int
    held_fen: int
    beneficiary_id: str | None
    station_id: str | None
    township_code: str | None
    service_date: date | None
    deciding_event_id: bytes | None
    decision: Decision | None  # what the policy said of the facts; also where a hold stands over it
    subject: bytes | None = None  # of held: digest of what a ruling on it would be about (rule 14)

    @property
    def amount_fen(self) -> int:
        """Paid or held."""
        return self.net_fen + self.held_fen

    @property
    def facts(self) -> AnyFacts | None:
        return self.decision.facts if self.decision else None

    @property
    def reason_code(self) -> str | None:
        """The first of them, by which totals are told apart."""
        return self.reason_codes[0] if self.reason_codes else None

    @property
    def policy_version(self) -> str | None:
        return self.decision.policy_version if self.decision else None

    @property
    def agreement(self) -> tuple[object, ...]:
        """What contested combinations must agree on (rule 2)."""
        return self.outcome, self.amount_fen, self.beneficiary_id, self.station_id, self.service_date


class Deciding(NamedTuple):
    event: Event
    standing: Standing | None  # of its station; None: an uplink parcel that set out somewhere else


def assess(brand: str, events: Sequence[Event], directory: Directory, policies: Policies, said: Said = NOTHING) -> Assessment:
    """The outcome of a parcel. `events`: all versions of all its events, in any order; `said`: what people said of it, in any order."""
    below = _by_evidence(brand, events, directory, policies, said)
    return _by_hand(below, said) if said.rulings else below


def _by_evidence(brand: str, events: Sequence[Event], directory: Directory, policies: Policies, said: Said) -> Assessment:
    if len({e.event_id for e in events}) == len(events):
        return judge(brand, read(events, directory, policies.county_prefix), directory, policies, said)
    versions = versions_that_count(events, said)
    count = combinations_of(versions)
    if count == 1:
        return judge(brand, read(_smallest(versions), directory, policies.county_prefix), directory, policies, said)
    return _contested(brand, versions, count, directory, policies, said)


def _by_hand(below: Assessment, said: Said) -> Assessment:
    """Rule 14: holds that people placed, the earliest over all others. Where there is nothing to pay there is nothing to hold yet."""
    for placing in placed(said.rulings):
        if below.outcome in (Outcome.PAYABLE, Outcome.HELD):
            below = _held_over(below, (placing.reason_code,), said, after=placing.number)
    return below


Versions = dict[bytes, dict[bytes, Event]]  # event_id → content → the event, both in ascending order


def current_versions(events: Sequence[Event]) -> Versions:
    """Rule 1: of the versions with the same content, the one with the highest mapping version."""
    found: dict[bytes, dict[bytes, Event]] = {}
    for event in events:
        contents = found.setdefault(event.event_id, {})
        known = contents.get(event.content)
        if known is None or known.mapping_version < event.mapping_version:
            contents[event.content] = event
    return {event_id: dict(sorted(contents.items())) for event_id, contents in sorted(found.items())}


def versions_that_count(events: Sequence[Event], said: Said) -> Versions:
    """Rules 1 and 14: of a contested event of which a person has named the content, that one alone."""
    versions = current_versions(events)
    for event_id, contents in versions.items() if said.rulings else ():
        if len(contents) > 1 and (content := chosen(said.rulings, event_id, contents)):
            versions[event_id] = {content: contents[content]}
    return versions


def combinations_of(versions: Versions) -> int:
    return prod(len(contents) for contents in versions.values())


def _smallest(versions: Versions) -> list[Event]:
    return [next(iter(contents.values())) for contents in versions.values()]


def combinations_in_order(versions: Versions) -> Iterator[tuple[Event, ...]]:
    """In order of contents: of the events in order of their ids, the last one's content moves first."""
    return product(*(contents.values() for contents in versions.values()))


def _contested(brand: str, versions: Versions, count: int, directory: Directory, policies: Policies, said: Said) -> Assessment:
    """Rule 2. More combinations than the limit are held unseen: nobody may make us compute for ever."""
    results = [
        judge(brand, read(events, directory, policies.county_prefix), directory, policies, said)
        for events in islice(combinations_in_order(versions), MAX_COMBINATIONS)
    ]
    if count <= MAX_COMBINATIONS and len({r.agreement for r in results}) == 1:
        return results[0]
    shown = judge(brand, read(shown_combination(versions), directory, policies.county_prefix), directory, policies, said)
    if shown.outcome is None:
        return results[0]  # no combination has a closing action
    largest_fen = max(r.amount_fen for r in results)
    shown = shown._replace(outcome=Outcome.HELD, reason_codes=(), net_fen=0, held_fen=largest_fen, deciding_event_id=None, decision=None)
    return _held_over(shown, (CONTESTED,), said, about=results, told=contested_events(versions))


def contested_events(versions: Versions) -> dict[bytes, list[bytes]]:
    """The events that are still told in several ways, with their contents."""
    return {event_id: list(contents) for event_id, contents in versions.items() if len(contents) > 1}


def shown_combination(versions: Versions) -> list[Event]:
    """The combination of smallest contents that has a closing action, which gives a contested hold its station and day.

    All smallest, if that has one; else with the last event changed that can close the parcel, to its smallest closing content: the
    first such combination in order, found without walking through them.
    """
    chosen = _smallest(versions)
    if any(closes(e) for e in chosen):
        return chosen
    for i, contents in reversed(list(enumerate(versions.values()))):
        if closing := next((e for e in contents.values() if closes(e)), None):
            return [*chosen[:i], closing, *chosen[i + 1 :]]
    return chosen


def closes(event: Event) -> bool:
    return event.action in CLOSING_ACTIONS and not event.is_retraction


def judge(brand: str, reading: Reading, directory: Directory, policies: Policies, said: Said) -> Assessment:
    """Rules 4 to 13 for one combination, in the order of judgement: 4, 5, 8, 6, 9, 10, 11, 12, 13."""
    if reading.first_closing_ever is None and not (reading.uplink and said.declared):
        return Assessment(reading.direction, None, (), 0, 0, None, None, None, None, None, None)
    below = _below_reuse(brand, reading, directory, policies, said)
    return _held_over(below, ("waybill.reused",), said) if reading.reused else below


def _below_reuse(brand: str, reading: Reading, directory: Directory, policies: Policies, said: Said) -> Assessment:
    if reading.uplink and said.declared:
        return _declared(brand, reading, said.declared, directory, policies, said)
    if reading.first_closing_left is None:
        return _placed(reading, None, Outcome.PENDING, ("evidence.voided",))
    if reading.uplink:
        return _placed(reading, None, Outcome.PENDING, ("uplink.needs_declaration",))
    return _downlink(brand, reading, deciding_of(brand, reading, directory), directory, policies, said)


def _downlink(brand: str, reading: Reading, deciding: Deciding | None, directory: Directory, policies: Policies, said: Said) -> Assessment:
    """Rules 9 to 13."""
    policy = policies.at(deciding.event.scanned_at) if deciding else None
    below = _by_policy(brand, reading, deciding, policy, directory, policies, said) if deciding and policy else None
    if reading.returned != "none":
        if below is None:
            return _placed(reading, deciding, Outcome.REFUSED, (f"parcel.{reading.returned}",))
        if below.outcome is Outcome.REFUSED:
            return below
    if reading.unmapped_take_back:
        return _placed(reading, None, Outcome.PENDING, ("site.unmapped",))
    if deciding is None:
        unmapped = any(station is None and event.site is not None for event, station in reading.candidates)
        return _placed(reading, None, Outcome.PENDING, ("site.unmapped" if unmapped else "evidence.no_station",))
    if below is None:
        below = _held_over(_placed(reading, deciding, Outcome.HELD, ()), ("policy.not_in_force",), said)
    return _held_over(below, ("transfer.unlinked",), said) if reading.transferred else below


def _declared(brand: str, reading: Reading, declared: Declared, directory: Directory, policies: Policies, said: Said) -> Assessment:
    """Rule 15: an uplink parcel whose merchant has declared it."""
    out = sent(brand, reading.left, directory, policies.county_prefix)
    assert out, "a parcel is uplink by the scan that decides"
    policy = policies.at(out.event.scanned_at)
    if policy is None:
        return _held_over(_sent(out, declared, Outcome.HELD, ()), ("policy.not_in_force",), said)
    if policy.uplink is None:
        return _sent(out, declared, Outcome.REFUSED, ("uplink.not_subsidised",))
    facts = facts_of(brand, reading, out, declared, policy.uplink, directory, policy.county_code)
    reads, station_id = policy.incidents[UPLINK], out.standing.station_id if out.standing else None
    stands = behind(reads, said.incidents, station_id, out.event.scanned_at, directory) if reads else ()
    decision = policies.decide(policy, facts._replace(incidents=found(stands)))
    if decision.outcome is Outcome.REFUSED:
        return _sent(out, declared, Outcome.REFUSED, decision.reason_codes, decision=decision)
    rate_id, amount_fen = rate(policy.uplink, declared.freight_fen)
    below = _sent(out, declared, Outcome.PAYABLE, (f"rate.{rate_id}",), net_fen=amount_fen, decision=decision)
    if decision.outcome is Outcome.HELD:
        below = _held_over(below, decision.reason_codes, said, incidents=held_for(stands, policy, decision))
    return _held_over(below, ("transfer.unlinked",), said) if reading.transferred else below


def _sent(
    out: Sent, declared: Declared, outcome: Outcome, reason_codes: tuple[str, ...], *, net_fen: int = 0, decision: Decision | None = None
) -> Assessment:
    """The day is that of the deciding scan, the money the merchant's, the station where it was picked up, if it was at one."""
    event, standing = out
    station_id, township_code = (standing.station_id, standing.township_code) if standing else (None, None)
    day, merchant_id = shanghai_day(event.scanned_at), declared.merchant_id
    return Assessment(
        "uplink", outcome, reason_codes, net_fen, 0, merchant_id, station_id, township_code, day, event.event_id, decision
    )  # fmt: skip


def _held_over(
    below: Assessment,
    reason_codes: tuple[str, ...],
    said: Said,
    *,
    about: Sequence[Assessment] = (),
    told: Mapping[bytes, Sequence[bytes]] = MappingProxyType({}),
    incidents: Sequence[Sequence[str]] = (),
    after: int = -1,
) -> Assessment:
    """A hold over an outcome keeps its place and what it would be worth, until a person decides (rule 14).

    `about`: the results that it stands over, where they are several; `told`: contested events and their contents; `incidents`: those that
    it is for.
    """
    if below.reason_codes == (CONFIRMED,):
        return below  # a person has decided that nothing is paid
    subject = subject_of(reason_codes, about or (below,), told, incidents)
    word = decided(said.rulings, reason_codes[0], subject, after) if said.rulings else None
    if word == Word.RELEASE and reason_codes[0] not in NOT_RELEASED:
        return below
    held = below._replace(outcome=Outcome.HELD, reason_codes=reason_codes, net_fen=0, held_fen=below.amount_fen, subject=subject)
    if word == Word.CONFIRM:
        return held._replace(outcome=Outcome.REFUSED, reason_codes=(CONFIRMED,), held_fen=0, subject=None)
    return held


def subject_of(
    reason_codes: Sequence[str], about: Sequence[Assessment], told: Mapping[bytes, Sequence[bytes]], incidents: Sequence[Sequence[str]]
) -> bytes:
    """Digest of what a ruling on a hold is about (rule 14): when any of it changes, nobody has decided that yet.

    Not of the outcome below: a hold below that ends without changing what is at stake leaves the one above decided.
    """
    results = dict.fromkeys((a.amount_fen, a.beneficiary_id, a.station_id, a.service_date) for a in about)
    versions = [[str(UUID(bytes=event_id)), *(c.hex() for c in contents)] for event_id, contents in told.items()]
    return sha256(msgspec.json.encode([reason_codes, list(results), [*versions, *incidents]])).digest()


_DEPTH = {"village": 0, "township": 1}


def deciding_of(brand: str, reading: Reading, directory: Directory) -> Deciding | None:
    """Rule 11: the deepest level, then the earliest, then the smallest event id."""
    best: Deciding | None = None
    best_rank: tuple[object, ...] = ()
    for event, station_id in reading.candidates:
        if station_id is None or (standing := directory.standing(station_id, brand, event.scanned_at)) is None:
            continue
        if (depth := _DEPTH.get(standing.level)) is None:
            continue
        rank = depth, event.scanned_at, event.event_id
        if best is None or rank < best_rank:
            best, best_rank = Deciding(event, standing), rank
    return best


def _by_policy(
    brand: str, reading: Reading, deciding: Deciding, policy: Policy, directory: Directory, policies: Policies, said: Said
) -> Assessment:
    """Rule 13."""
    event, standing = deciding
    assert standing, "a downlink parcel is decided at a station"
    facts = Facts(
        "downlink",
        brand,
        reading.hub_arrived,
        reading.returned,
        reading.final_receipt,
        event.action,
        standing.level,
        standing.operating_status,
        standing.filed,
        standing.rural,
        policy.distance(standing.division_code),
    )
    stands: tuple[Behind, ...] = ()
    if reads := policy.incidents[DOWNLINK]:
        stands = behind(reads, said.incidents, standing.station_id, event.scanned_at, directory)
        facts = facts._replace(incidents=found(stands))
    decision = policies.decide(policy, facts)
    if decision.outcome is Outcome.REFUSED:
        return _placed(reading, deciding, Outcome.REFUSED, decision.reason_codes, decision=decision)
    if standing.operator_id is None:
        return _placed(reading, deciding, Outcome.PENDING, ("station.no_operator",), decision=decision)
    if decision.rate_id is None:
        return _held_over(_placed(reading, deciding, Outcome.HELD, (), decision=decision), decision.reason_codes, said)
    rate = (f"rate.{decision.rate_id}",)
    paid = _placed(reading, deciding, Outcome.PAYABLE, rate, net_fen=decision.amount_fen, decision=decision)
    if decision.outcome is Outcome.PAYABLE:
        return paid
    return _held_over(paid, decision.reason_codes, said, incidents=held_for(stands, policy, decision))


def _placed(
    reading: Reading,
    deciding: Deciding | None,
    outcome: Outcome,
    reason_codes: tuple[str, ...],
    *,
    net_fen: int = 0,
    held_fen: int = 0,
    decision: Decision | None = None,
) -> Assessment:
    """Station, beneficiary and service date are the deciding event's; without one the day is that of the earliest closing action."""
    if deciding is None:
        moment = reading.first_closing_left or reading.first_closing_ever
        assert moment is not None, "a parcel without a closing action has no outcome"
        day = shanghai_day(moment)
        return Assessment(reading.direction, outcome, reason_codes, net_fen, held_fen, None, None, None, day, None, decision)
    event, standing = deciding
    assert standing, "a downlink parcel is decided at a station"
    return Assessment(
        reading.direction,
        outcome,
        reason_codes,
        net_fen,
        held_fen,
        standing.operator_id,
        standing.station_id,
        standing.township_code,
        shanghai_day(event.scanned_at),
        event.event_id,
        decision,
    )

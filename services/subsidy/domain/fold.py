"""From the set of a parcel's events to one outcome: docs/rules.md, rule by rule. Pure; nothing depends on the order of arrival."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice, product
from math import prod
from typing import NamedTuple

from shared.calendar import shanghai_day
from shared.standing import Directory, Standing

from .events import CLOSING_ACTIONS, Event
from .facts import Facts
from .policy import Decision, Outcome, Policies
from .reading import Reading, read

MAX_COMBINATIONS = 16


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

    @property
    def amount_fen(self) -> int:
        """Paid or held."""
        return self.net_fen + self.held_fen

    @property
    def facts(self) -> Facts | None:
        return self.decision.facts if self.decision else None

    @property
    def policy_version(self) -> str | None:
        return self.decision.policy_version if self.decision else None

    @property
    def agreement(self) -> tuple[object, ...]:
        """What contested combinations must agree on (rule 2)."""
        return self.outcome, self.amount_fen, self.beneficiary_id, self.station_id, self.service_date


class Deciding(NamedTuple):
    event: Event
    standing: Standing


def assess(brand: str, events: Sequence[Event], directory: Directory, policies: Policies) -> Assessment:
    """The outcome of a parcel. `events`: all versions of all its events, in any order."""
    if len({e.event_id for e in events}) == len(events):
        return judge(brand, read(events, directory, policies.county_prefix), directory, policies)
    versions = current_versions(events)
    count = combinations_of(versions)
    if count == 1:
        return judge(brand, read(_smallest(versions), directory, policies.county_prefix), directory, policies)
    return _contested(brand, versions, count, directory, policies)


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


def combinations_of(versions: Versions) -> int:
    return prod(len(contents) for contents in versions.values())


def _smallest(versions: Versions) -> list[Event]:
    return [next(iter(contents.values())) for contents in versions.values()]


def combinations_in_order(versions: Versions) -> Iterator[tuple[Event, ...]]:
    """In order of contents: of the events in order of their ids, the last one's content moves first."""
    return product(*(contents.values() for contents in versions.values()))


def _contested(brand: str, versions: Versions, count: int, directory: Directory, policies: Policies) -> Assessment:
    """Rule 2. More combinations than the limit are held unseen: nobody may make us compute for ever."""
    results = [
        judge(brand, read(chosen, directory, policies.county_prefix), directory, policies)
        for chosen in islice(combinations_in_order(versions), MAX_COMBINATIONS)
    ]
    if count <= MAX_COMBINATIONS and len({r.agreement for r in results}) == 1:
        return results[0]
    shown = judge(brand, read(shown_combination(versions), directory, policies.county_prefix), directory, policies)
    if shown.outcome is None:
        return results[0]  # no combination has a closing action
    largest_fen = max(r.amount_fen for r in results)
    return _held_over(shown, "evidence.contested")._replace(held_fen=largest_fen, deciding_event_id=None, decision=None)


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


def judge(brand: str, reading: Reading, directory: Directory, policies: Policies) -> Assessment:
    """Rules 4 to 13 for one combination, in the order of judgement: 4, 5, 8, 6, 9, 10, 11, 12, 13."""
    if reading.first_closing_ever is None:
        return Assessment(reading.direction, None, (), 0, 0, None, None, None, None, None, None)
    below = _below_reuse(brand, reading, deciding_of(brand, reading, directory), policies)
    return _held_over(below, "waybill.reused") if reading.reused else below


def _below_reuse(brand: str, reading: Reading, deciding: Deciding | None, policies: Policies) -> Assessment:
    if reading.first_closing_left is None:
        return _placed(reading, None, Outcome.PENDING, ("evidence.voided",))
    if reading.uplink:
        return _placed(reading, None, Outcome.PENDING, ("uplink.needs_declaration",))
    if reading.return_reason:
        return _placed(reading, deciding, Outcome.REFUSED, (reading.return_reason,))
    if reading.unmapped_take_back:
        return _placed(reading, None, Outcome.PENDING, ("site.unmapped",))
    if deciding is None:
        unmapped = any(station is None and event.site is not None for event, station in reading.candidates)
        return _placed(reading, None, Outcome.PENDING, ("site.unmapped" if unmapped else "evidence.no_station",))
    below = _by_policy(brand, reading, deciding, policies)
    return _held_over(below, "transfer.unlinked") if reading.transferred else below


def _held_over(below: Assessment, reason_code: str) -> Assessment:
    """A hold over an outcome keeps its place and what it would be worth."""
    return below._replace(outcome=Outcome.HELD, reason_codes=(reason_code,), net_fen=0, held_fen=below.amount_fen)


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


def _by_policy(brand: str, reading: Reading, deciding: Deciding, policies: Policies) -> Assessment:
    """Rule 13."""
    event, standing = deciding
    policy = policies.at(event.scanned_at)
    if policy is None:
        return _placed(reading, deciding, Outcome.HELD, ("policy.not_in_force",))
    facts = Facts(
        "downlink",
        brand,
        reading.hub_arrived,
        event.action,
        standing.level,
        standing.operating_status,
        standing.filed,
        standing.rural,
        policy.distance(standing.division_code),
    )
    decision = policies.decide(policy, facts)
    if decision.outcome is not Outcome.REFUSED and standing.operator_id is None:
        return _placed(reading, deciding, Outcome.PENDING, ("station.no_operator",), decision=decision)
    return _placed(reading, deciding, decision.outcome, decision.reason_codes, net_fen=decision.amount_fen, decision=decision)


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

"""The slow path: the same computation as `fold.assess`, with every step that led to it. /explain, /evidence and the texts read this."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import islice
from uuid import UUID

from shared.calendar import SHANGHAI
from shared.standing import Directory

from .events import CLOSING_ACTIONS, FINAL_RECEIPTS, Event
from .facts import INCIDENTS, AnyFacts, FactValue, by_name
from .fold import (
    MAX_COMBINATIONS,
    NOT_RELEASED,
    Assessment,
    Deciding,
    Versions,
    assess,
    combinations_in_order,
    combinations_of,
    deciding_of,
    judge,
    shown_combination,
    versions_that_count,
)
from .incidents import Behind, behind
from .policy import Clause, Decision, Outcome, Policies, Policy
from .reading import READ_ACTIONS, Reading, at_hub, read
from .said import CONTESTED, NOTHING, Declared, Ruling, Said, Word
from .uplink import sent

TRACE_VERSION = 2

NEVER_YET = 2**62  # the number of a ruling that comes after all others


class Role(StrEnum):
    DECIDING = "deciding"
    SUPPORTING = "supporting"  # a rule looked at it
    CORROBORATING = "corroborating"  # another feed tells the deciding scan, too
    CONTESTED = "contested"  # told with several contents
    # no rule reads it, or a take-back voids it, or a newer reading of the same content replaces it, or a person chose another content
    IGNORED = "ignored"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Seen:
    """One version of one event, and what became of it."""

    event: Event
    role: Role
    station_id: str | None  # that its site mapped to at its time
    corroborates: bytes | None  # event id


@dataclass(frozen=True, slots=True)
class FactUsed:
    name: str
    value: FactValue
    source_type: str  # station, filing, division, policy, event, incident, parcel
    source_id: str | None
    source_version: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """`result`: pass, fail, hold, would_fail; unknown where the parcel waits; not_applicable where it was refused before any clause."""

    clause: Clause
    result: str
    facts: tuple[FactUsed, ...]

    @property
    def reason_code(self) -> str | None:
        return self.clause.reason_code if self.result in ("fail", "hold", "would_fail") else None


@dataclass(frozen=True, slots=True)
class Line:
    kind: str
    rate_id: str
    amount_fen: int
    when: Mapping[str, FactValue]  # what the tier asks for


@dataclass(frozen=True, slots=True)
class Alternative:
    """What the same parcel would be worth, had one fact been another on the day that decided."""

    fact: str
    value: FactValue
    on: date
    amount_fen: int
    difference_fen: int


@dataclass(frozen=True, slots=True)
class Trace:
    brand: str
    assessment: Assessment
    deciding: Deciding | None
    policy: Policy | None
    steps: tuple[Step, ...]
    arithmetic: tuple[Line, ...]  # adds up to the assessment's net
    alternatives: tuple[Alternative, ...]
    seen: tuple[Seen, ...]  # every version, in order of (scanned_at, event_id, content, mapping_version)
    declared: Declared | None  # by which an uplink parcel was judged
    incidents: tuple[Behind, ...]  # that stand behind facts which a clause reads
    variants: tuple[Assessment, ...]  # of a contested hold: what its combinations come to, each once
    released: Assessment | None  # of any other hold that a person may release: what the parcel would then be
    policies: Policies = field(repr=False, compare=False)  # in which what was posted earlier finds its words


def trace(brand: str, events: Sequence[Event], directory: Directory, policies: Policies, said: Said = NOTHING) -> Trace:
    assessment = assess(brand, events, directory, policies, said)
    versions = versions_that_count(events, said)
    reading = read(shown_combination(versions), directory, policies.county_prefix)
    deciding = _deciding(brand, assessment, reading, directory, policies)
    moment = deciding.event.scanned_at if deciding else reading.first_closing_ever
    variants = _variants(brand, versions, directory, policies, said) if assessment.reason_codes == (CONTESTED,) else ()
    policy = (policies.at(moment) if moment else None) or _policy_of_amount(assessment, variants, policies)
    seen = _seen(events, versions, reading, deciding, directory)
    incidents = _incidents(assessment, policy, deciding, directory, said)
    return Trace(
        brand=brand,
        assessment=assessment,
        deciding=deciding,
        policy=policy,
        steps=_steps(assessment, policy, deciding, seen, directory, said.declared, incidents),
        arithmetic=_arithmetic(assessment, policy),
        alternatives=_alternatives(assessment, policy, policies, said.declared),
        seen=seen,
        variants=variants,
        declared=said.declared if assessment.direction == "uplink" else None,
        incidents=incidents,
        released=_released(brand, events, directory, policies, said, assessment),
        policies=policies,
    )


def _deciding(brand: str, assessment: Assessment, reading: Reading, directory: Directory, policies: Policies) -> Deciding | None:
    if assessment.deciding_event_id is None:
        return None
    if assessment.direction == "uplink":
        out = sent(brand, reading.left, directory, policies.county_prefix)
        return Deciding(out.event, out.standing) if out else None
    return deciding_of(brand, reading, directory)


def _incidents(
    assessment: Assessment, policy: Policy | None, deciding: Deciding | None, directory: Directory, said: Said
) -> tuple[Behind, ...]:
    """Those that the decision was made with."""
    if policy is None or deciding is None or assessment.decision is None:
        return ()
    station_id = deciding.standing.station_id if deciding.standing else None
    return behind(policy.incidents[assessment.direction], said.incidents, station_id, deciding.event.scanned_at, directory)


def _released(
    brand: str, events: Sequence[Event], directory: Directory, policies: Policies, said: Said, held: Assessment
) -> Assessment | None:
    if held.subject is None or held.reason_codes[0] in NOT_RELEASED:
        return None
    release = Ruling(NEVER_YET, Word.RELEASE, held.reason_codes[0], held.subject, {})
    return assess(brand, events, directory, policies, said._replace(rulings=(*said.rulings, release)))


def _policy_of_amount(assessment: Assessment, variants: Sequence[Assessment], policies: Policies) -> Policy | None:
    """Where the versions of a scan are told on both sides of a policy's end, the amount held is the other version's."""
    versions = (v.policy_version for v in variants if assessment.held_fen and v.amount_fen == assessment.held_fen)
    return next((policies.version(version) for version in versions if version), None)


def _variants(brand: str, versions: Versions, directory: Directory, policies: Policies, said: Said) -> tuple[Assessment, ...]:
    chosen = islice(combinations_in_order(versions), min(MAX_COMBINATIONS, combinations_of(versions)))
    results = (judge(brand, read(events, directory, policies.county_prefix), directory, policies, said) for events in chosen)
    return tuple({r.agreement: r for r in results}.values())


# evidence


def _seen(
    events: Sequence[Event], versions: Versions, reading: Reading, deciding: Deciding | None, directory: Directory
) -> tuple[Seen, ...]:
    ordered = sorted(set(events), key=lambda e: (e.scanned_at, e.version))
    return tuple(_see(e, versions, reading, deciding, directory) for e in ordered)


def _see(event: Event, versions: Versions, reading: Reading, deciding: Deciding | None, directory: Directory) -> Seen:
    station_id = directory.station_at(event.site, event.scanned_at)
    contents = versions[event.event_id]
    if event.content not in contents or contents[event.content].mapping_version != event.mapping_version:
        role = Role.IGNORED
    elif deciding and event == deciding.event:
        role = Role.DECIDING
    elif len(contents) > 1:
        role = Role.CONTESTED
    elif event.event_id in reading.cancelled:
        role = Role.RETRACTED
    elif event.event_id in reading.voided:
        role = Role.IGNORED
    elif deciding and _tells_again(event, station_id, deciding):
        role = Role.CORROBORATING
    elif event.is_retraction or event.action in CLOSING_ACTIONS or event.action in READ_ACTIONS:
        role = Role.SUPPORTING
    else:
        role = Role.IGNORED
    return Seen(event, role, station_id, deciding.event.event_id if deciding and role is Role.CORROBORATING else None)


def _tells_again(event: Event, station_id: str | None, deciding: Deciding) -> bool:
    """The same act at the same station on the same day, told by another feed: a label at read time, never a merge."""
    decided, at = deciding.event, deciding.standing
    return (
        at is not None
        and not event.is_retraction
        and event.action == decided.action
        and event.feed != decided.feed
        and station_id == at.station_id
        and event.scanned_at.astimezone(SHANGHAI).date() == decided.scanned_at.astimezone(SHANGHAI).date()
    )


# clauses and amounts


def _steps(
    assessment: Assessment,
    policy: Policy | None,
    deciding: Deciding | None,
    seen: Sequence[Seen],
    directory: Directory,
    declared: Declared | None,
    incidents: Sequence[Behind],
) -> tuple[Step, ...]:
    if policy is None or assessment.outcome is None:
        return ()
    clauses = policy.clauses_of(assessment.direction)
    decision = assessment.decision
    if decision is None or deciding is None:
        waits = assessment.outcome is not Outcome.REFUSED
        return tuple(Step(c, "unknown" if waits else "not_applicable", ()) for c in clauses)
    told_by = _told_by(decision.facts, seen, directory)

    def used(name: str) -> list[FactUsed]:
        if name in INCIDENTS:
            return _incidents_used(name, decision, incidents)
        return [_fact_used(name, decision, deciding, told_by, declared, directory)]

    return tuple(
        Step(clause, result, tuple(fact for name in clause.reads for fact in used(name)))
        for clause, (_, result) in zip(clauses, decision.results, strict=True)
    )


def _incidents_used(name: str, decision: Decision, incidents: Sequence[Behind]) -> list[FactUsed]:
    """One for each incident that stands behind the fact; one without a source where none does."""
    value = by_name(decision.facts).get(name, ())
    used = [FactUsed(name, value, "incident", b.incident.incident_id, b.incident.version) for b in incidents if b.fact == name]
    return used or [FactUsed(name, value, "incident", None, None)]


def _told_by(facts: AnyFacts, seen: Sequence[Seen], directory: Directory) -> dict[str, Event]:
    """The first event that makes a fact about the parcel's way what it is, where one does."""
    left = [s.event for s in seen if s.role not in (Role.RETRACTED, Role.IGNORED) and not s.event.is_retraction]
    ways = {
        "parcel.hub_arrived": (e for e in left if e.action == "arrived" and at_hub(e, directory)),
        "parcel.returned": (e for e in left if e.action == facts.returned),
        "parcel.final_receipt": (e for e in left if e.action in FINAL_RECEIPTS),
    }
    return {name: event for name, events in ways.items() if (event := next(events, None))}


def _fact_used(
    name: str, decision: Decision, deciding: Deciding, told_by: Mapping[str, Event], declared: Declared | None, directory: Directory
) -> FactUsed:
    """A fact, its value and the record that it was read from."""
    event, standing = deciding
    value = by_name(decision.facts)[name]
    match name:
        case _ if name in told_by:
            return FactUsed(name, value, "event", str(UUID(bytes=told_by[name].event_id)), told_by[name].mapping_version)
        case _ if declared and name.startswith("declaration."):
            return FactUsed(name, value, "declaration", declared.declaration_id, declared.row_no)
        case _ if declared and name.startswith("merchant."):
            merchant = directory.merchants.get(declared.merchant_id)
            return FactUsed(name, value, "merchant", declared.merchant_id, merchant.version if merchant else None)
        case "deciding.action" | "parcel.picked_up_in_county":
            return FactUsed(name, value, "event", str(UUID(bytes=event.event_id)), event.mapping_version)
        case _ if standing is None:
            pass
        case "station.filed" if standing.filing_id:
            return FactUsed(name, value, "filing", standing.filing_id, standing.station_version)
        case "station.rural":
            return FactUsed(name, value, "division", standing.division_code, None)
        case "station.distance":
            return FactUsed(name, value, "policy", decision.policy_version, None)
        case _ if name.startswith("station."):
            return FactUsed(name, value, "station", standing.station_id, standing.station_version)
    return FactUsed(name, value, "parcel", None, None)


def _arithmetic(assessment: Assessment, policy: Policy | None) -> tuple[Line, ...]:
    if assessment.outcome is not Outcome.PAYABLE or assessment.decision is None or policy is None:
        return ()
    if assessment.direction == "uplink":
        return (Line("accrual", assessment.reason_codes[0].removeprefix("rate."), assessment.net_fen, {}),)
    return tuple(Line("accrual", t.rate_id, t.amount_fen, t.when) for t in policy.tiers if t.rate_id == assessment.decision.rate_id)


# What somebody can see to: a station's filing, its opening, the way through the hub, the parcel's way back, the addressee's receipt.
_WITHIN_REACH: Mapping[str, tuple[tuple[str, str, FactValue], ...]] = {
    "downlink": (
        ("station.filed", "filed", True),
        ("station.operating_status", "operating_status", "open"),
        ("parcel.hub_arrived", "hub_arrived", True),
        ("parcel.returned", "returned", "none"),
        ("parcel.final_receipt", "final_receipt", True),
    ),
    # The merchant's qualification and shop, its declaration, the way of its parcel.
    "uplink": (
        ("merchant.qualified", "qualified", True),
        ("merchant.has_shop", "has_shop", True),
        ("declaration.platform_listed", "platform_listed", True),
        ("declaration.in_catalogue", "in_catalogue", True),
        ("declaration.consignor", "consignor", "matched"),
        ("declaration.out_of_county", "out_of_county", True),
        ("parcel.left_county", "left_county", True),
        ("parcel.returned", "returned", "none"),
    ),
}


def _alternatives(assessment: Assessment, policy: Policy | None, policies: Policies, declared: Declared | None) -> tuple[Alternative, ...]:
    """Decided again with one fact changed; what changes no fen is left out."""
    decision, day = assessment.decision, assessment.service_date
    if policy is None or decision is None or day is None or assessment.outcome is Outcome.PENDING:
        return ()
    if not (assessment.outcome is Outcome.PAYABLE or assessment.reason_codes == decision.reason_codes):
        return ()  # not the policy's clauses, but something else has decided
    freight_fen = declared.freight_fen if declared and assessment.direction == "uplink" else None
    return tuple(_worth(decision.facts, assessment.net_fen, day, policy, policies, freight_fen))


def _worth(facts: AnyFacts, net_fen: int, day: date, policy: Policy, policies: Policies, freight_fen: int | None) -> Iterator[Alternative]:
    for fact, name, value in _WITHIN_REACH[facts.direction]:
        decision = policies.decide(policy, facts._replace(**{name: value}))  # type: ignore[arg-type]
        amount_fen = decision.amount_fen if decision.outcome is Outcome.PAYABLE else 0
        if freight_fen is not None:
            amount_fen = min(amount_fen, freight_fen)
        if amount_fen != net_fen:
            yield Alternative(fact, value, day, amount_fen, amount_fen - net_fen)

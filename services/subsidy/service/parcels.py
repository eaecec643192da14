"""One parcel: what it comes to, why, and what was told about it."""

from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from services.subsidy.domain.events import Event
from services.subsidy.domain.explain import Names, Posted, Ruled, Standing, standing, text
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Policies
from services.subsidy.domain.related import related
from services.subsidy.domain.said import NOTHING, Said
from services.subsidy.domain.trace import TRACE_VERSION, FactUsed, Step, Trace, trace
from services.subsidy.repository import holds as holds_sql
from services.subsidy.repository import reads
from services.subsidy.repository.said import said_of
from services.subsidy.service.ids import payout_id, uuid_text
from services.subsidy.service.known import Books, Known
from services.subsidy.service.rulings import hold, ruling
from services.subsidy.service.tenancy import Tenant
from shared.identity import parcel_id, parcel_key
from shared.problems import not_found
from shared.standing import Directory


class Disagreement(Exception):
    """What explains a parcel does not come to what was posted: an error of ours that nobody may overlook."""


class Found(NamedTuple):
    """A parcel at a revision."""

    key: bytes
    brand: str
    waybill_no: str
    partition: int
    evidence: list[asyncpg.Record]
    assessment: asyncpg.Record | None  # None: in transit, never assessed
    payouts: list[asyncpg.Record]
    holds: list[asyncpg.Record]
    rulings: list[asyncpg.Record]


async def find(known: Known, tenant: Tenant, brand: str, waybill_no: str) -> Found:
    """404 for a parcel that was never seen by then, or is another's."""
    waybill_no = waybill_no.upper()
    key = parcel_key(brand, waybill_no)
    missing = not_found(f"快件 {brand} {waybill_no}", f"parcel {brand} {waybill_no}", "parcel.not_found")
    place = await reads.last_batch(known.read, key, known.revision)
    if place is None:
        raise missing
    partition, batch_no = place
    evidence = await known.read.fetch(reads.EVIDENCE, key, batch_no)
    if not evidence:
        raise missing
    assessment = await known.read.fetchrow(reads.ASSESSMENT, key, batch_no)
    payouts = await known.read.fetch(reads.PAYOUTS_OF, key, known.revision)
    holds = await known.read.fetch(holds_sql.OF_PARCEL, key, batch_no)
    rulings = await holds_sql.rulings_of(known.read, [key], known.revision)
    beneficiaries = {p["beneficiary_id"] for p in payouts} | ({assessment["beneficiary_id"]} if assessment else set())
    if not tenant.may_see(brand, beneficiaries, {assessment["township_code"]} if assessment else set()):
        raise missing
    return Found(key, brand, waybill_no, partition, evidence, assessment, payouts, holds, rulings.get(key, []))


class Traced(NamedTuple):
    """A parcel's trace, and all that it is a function of."""

    trace: Trace
    events: list[Event]
    directory: Directory
    policies: Policies
    said: Said


async def trace_of(books: Books, known: Known, found: Found) -> Traced:
    """As it was assessed: evidence, registry, policies and rulings of the assessment's revision (now, for one in transit)."""
    registry_revision, revision = known.registry_revision, known.revision
    if (a := found.assessment) is not None:
        registry_revision, revision = a["registry_revision"], a["revision"]
    directory = await books.directory(known.read, registry_revision)
    policies = await books.policies(known.read, revision)
    said = (await said_of(known.read, [found.key], revision)).get(found.key, NOTHING)
    said = with_incidents(said, found.key, directory, policies)
    events = [Event._make(tuple(row)[: len(Event._fields)]) for row in found.evidence]
    return Traced(trace(found.brand, events, directory, policies, said), events, directory, policies, said)


class Parcels:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def show(self, tenant: Tenant, brand: str, waybill_no: str, known_at: datetime | None) -> dict[str, Any]:
        async with self._books.known(known_at) as known:
            found = await find(known, tenant, brand, waybill_no)
            a = found.assessment
            traced = (await trace_of(self._books, known, found)).trace
            return {
                "parcel_id": parcel_id(found.key),
                "brand": brand,
                "waybill_no": _masked(tenant, found.waybill_no),
                "first_seen_at": found.evidence[0]["scanned_at"],
                # in transit nobody has judged the direction; the fold knows it from what there is
                "direction": a["direction"] if a else traced.assessment.direction,
                "outcome": a["outcome"] if a else None,
                "stage": _stage(found.payouts),
                "reason_codes": a["reason_codes"] if a else [],
                "net_fen": (a["net_fen"] if a else 0) + standing(_posted(found.payouts)).adjusted_fen,
                "held_fen": a["held_fen"] if a else 0,
                "beneficiary_id": a["beneficiary_id"] if a else None,
                "station_id": a["station_id"] if a else None,
                "service_date": a["service_date"] if a else None,
                **_policy(traced),
                "payout_ids": [payout_id(found.key, p["seq"]) for p in found.payouts],
                "holds": [hold(h, found.rulings) for h in found.holds],
                "rulings": [ruling(r) for r in found.rulings],
                "related": [_masked(tenant, number) for number in related(brand, (e["raw_action"] for e in found.evidence))],
                "redacted": _redacted(tenant),
                "as_of": known.as_of,
            }

    async def explain(self, tenant: Tenant, brand: str, waybill_no: str, known_at: datetime | None) -> dict[str, Any]:
        async with self._books.known(known_at) as known:
            found = await find(known, tenant, brand, waybill_no)
            traced, _, directory, _, _ = await trace_of(self._books, known, found)
            _must_agree(found, traced)
            moment = traced.deciding.event.scanned_at if traced.deciding else found.evidence[0]["scanned_at"]
            sites = {e["site_id"]: e["site_code"] or e["site_name"] for e in found.evidence if e["site_id"]}
            names = Names(directory, moment, sites)
            posted = _posted(found.payouts)
            stands = standing(posted)
            ruled = [Ruled(*(r[name] for name in Ruled._fields)) for r in found.rulings]
            return {
                "parcel_id": parcel_id(found.key),
                "trace_version": TRACE_VERSION,
                "outcome": traced.assessment.outcome,
                "net_fen": traced.assessment.net_fen + stands.adjusted_fen,
                **_policy(traced),
                "steps": [_step(s) for s in traced.steps],
                "arithmetic": _arithmetic(traced, stands),
                "alternatives": [
                    {"fact": x.fact, "value": x.value, "on": x.on, "amount_fen": x.amount_fen, "difference_fen": x.difference_fen}
                    for x in traced.alternatives
                ],
                "rulings": [ruling(r) for r in found.rulings],
                "pending_reassessment": await self._pending(known, found),
                "text": {"zh": text(traced, names, "zh", posted, ruled), "en": text(traced, names, "en", posted, ruled)},
                "as_of": known.as_of,
            }

    async def evidence(self, tenant: Tenant, brand: str, waybill_no: str, known_at: datetime | None) -> dict[str, Any]:
        async with self._books.known(known_at) as known:
            found = await find(known, tenant, brand, waybill_no)
            traced = (await trace_of(self._books, known, found)).trace
            seen = {s.event.version: s for s in traced.seen}
            events = []
            for row in found.evidence:
                s = seen[row["event_id"], row["content"], row["mapping_version"]]
                events.append(_told(row) | {"station_id": s.station_id, "mapped_by": _mapped_by(row, s.station_id), "role": s.role}
                              | {"corroborates": uuid_text(s.corroborates)})  # fmt: skip
            return {
                "parcel_id": parcel_id(found.key),
                "events": events,
                "rulings": [ruling(r) for r in found.rulings],
                "redacted": _redacted(tenant),
                "as_of": known.as_of,
            }

    async def _pending(self, known: Known, found: Found) -> bool:
        sites = sorted({e["site_id"] for e in found.evidence if e["site_id"]})
        since = found.assessment["revision"] if found.assessment else known.revision
        return bool(await known.read.fetchval(reads.STILL_ASKED, found.partition, known.revision, since, sites, found.key))


def _policy(traced: Trace) -> dict[str, str | None]:
    """The policy of the parcel's day, also where it has not decided, so that no amount stands without the status of its rates."""
    policy = traced.policy
    return {"policy_version": policy.policy_version if policy else None, "rates_status": policy.rates_status if policy else None}


def _must_agree(found: Found, traced: Trace) -> None:
    """Invariant 7: what explains the assessment equals what was posted."""
    stored, again = found.assessment, traced.assessment
    outcome = (stored["outcome"], stored["net_fen"], stored["held_fen"]) if stored else (None, 0, 0)
    posted_fen = sum(p["amount_fen"] for p in found.payouts) - standing(_posted(found.payouts)).adjusted_fen
    if outcome != (again.outcome, again.net_fen, again.held_fen) or posted_fen != again.net_fen:
        raise Disagreement(f"{parcel_id(found.key)}: posted {outcome}, explained {(again.outcome, again.net_fen, again.held_fen)}")


def _posted(payouts: list[asyncpg.Record]) -> list[Posted]:
    return [Posted(*(p[name] for name in Posted._fields)) for p in payouts]


def _stage(payouts: list[asyncpg.Record]) -> str | None:
    """Of the line that stands."""
    live = standing(_posted(payouts)).live
    return next((p["stage"] for p in payouts if live and p["seq"] == live.seq), None)


def _arithmetic(traced: Trace, stands: Standing) -> list[dict[str, Any]]:
    """What the policy's rate gives, then what closings took from it or gave back: together what is paid."""
    rates = [{"kind": x.kind, "rate_id": x.rate_id, "reason_code": None, "amount_fen": x.amount_fen} for x in traced.arithmetic]
    adjusted = [
        {"kind": a.kind, "rate_id": None, "reason_code": next(iter(a.reason_codes), None), "amount_fen": a.amount_fen}
        for a in stands.adjustments
    ]
    return rates + adjusted


def _step(step: Step) -> dict[str, Any]:
    citation = step.clause.citation
    return {
        "clause_id": step.clause.clause_id,
        "basis": citation.basis,
        "document": citation.document,
        "section": citation.section,
        "quote": citation.quote,
        "result": step.result,
        "reason_code": step.reason_code,
        "facts": [_fact(f) for f in step.facts],
    }


def _fact(fact: FactUsed) -> dict[str, Any]:
    return {
        "name": fact.name,
        "value": fact.value,
        "source_type": fact.source_type,
        "source_id": fact.source_id,
        "source_version": fact.source_version,
    }


def _told(row: asyncpg.Record) -> dict[str, Any]:
    """One version as the log carried it."""
    plain = ("verdict", "receipt_id", "feed", "partition", "position", "action", "raw_action", "scanned_at", "received_at",
             "site_namespace", "site_code", "site_name", "verified")  # fmt: skip
    return {
        "event_id": uuid_text(row["event_id"]),
        "content": row["content"].hex(),
        **{name: row[name] for name in plain},
        "mapping_version": row["mapping_version"],
        "payload_sha256": row["payload_sha256"].hex(),
        "retracts": _retracts(row),
    }


def _retracts(row: asyncpg.Record) -> dict[str, str | None] | None:
    if row["retracts_previous_action"] is not None:
        return {"previous_action": row["retracts_previous_action"]}
    return {"event_id": uuid_text(row["retracts_event_id"])} if row["retracts_event_id"] is not None else None


def _mapped_by(row: asyncpg.Record, station_id: str | None) -> str | None:
    if station_id is None:
        return None
    return "site_code" if row["site_code"] else "site_name"


def _masked(tenant: Tenant, waybill_no: str) -> str | None:
    return None if tenant.masked else waybill_no


def _redacted(tenant: Tenant) -> list[str]:
    return ["waybill_no"] if tenant.masked else []

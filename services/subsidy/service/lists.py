"""Payouts, unmapped sites and policies: lists that pin their revision."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import asyncpg

from services.subsidy.domain.policy import Clause, Policies, Policy, Uplink
from services.subsidy.repository import reads
from services.subsidy.service.ids import payout_id
from services.subsidy.service.known import Books, Known
from services.subsidy.service.tenancy import Tenant
from shared.http import bad_cursor, decode_cursor, decode_page, encode_cursor, encode_page
from shared.identity import parcel_id
from shared.problems import not_found
from shared.values import check_range

HEX = re.compile(r"([0-9a-f]{2})*")
MAX_SEQ = 2**31  # of a payout in its parcel
Filters = Mapping[str, list[str] | None]


class Cursor:
    """Where a page begins: a revision that all pages share, and the last row of the page before."""

    def __init__(self, text: str | None) -> None:
        self.pinned: int | None = None
        self.after: tuple[int, bytes, int] = (-1, b"", -1)
        if text is None:
            return
        match decode_cursor(text):
            case {"r": int(pinned), "a": [int(revision), str(key), int(seq)]} if HEX.fullmatch(key) and seq < MAX_SEQ:
                self.pinned, self.after = pinned, (revision, bytes.fromhex(key), seq)
            case _:
                raise bad_cursor()

    def next(self, known: Known, after: tuple[int, bytes, int]) -> str:
        return encode_cursor({"r": known.revision, "a": [after[0], after[1].hex(), after[2]]})


class Lists:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def payouts(
        self, tenant: Tenant, first: date | None, end: date | None, basis: str, filters: Filters, after_revision: int | None, limit: int,
        cursor_text: str | None,
    ) -> dict[str, Any]:  # fmt: skip
        check_range(first, end)
        cursor = Cursor(cursor_text)
        async with self._books.known(pinned=cursor.pinned) as known:
            names = ("brand", "direction", "kind", "stage", "station_id", "beneficiary_id", "period")
            rows = await known.read.fetch(
                reads.PAYOUTS[basis], known.revision, after_revision or 0, *cursor.after, first, end, *(filters.get(n) for n in names),
                limit + 1, *tenant.restriction,
            )  # fmt: skip
            policies = await self._books.policies(known.read, known.revision)
            page = rows[:limit]
            more = len(rows) > limit
            return {
                "items": [_payout(row, tenant, policies) for row in page],
                "redacted": ["waybill_no"] if tenant.masked else [],
                "next_cursor": cursor.next(known, (page[-1]["revision"], page[-1]["parcel_key"], page[-1]["seq"])) if more else None,
                "as_of": known.as_of,
            }

    async def unmapped_sites(self, tenant: Tenant, namespaces: list[str] | None, limit: int, cursor: str | None) -> dict[str, Any]:
        """What is left to map: sites where parcels were closed while no station claimed them, those with the most parcels first."""
        pinned, offset = decode_page(cursor)
        async with self._books.known(pinned=pinned) as known:
            directory = await self._books.directory(known.read, known.registry_revision)
            claims = list(zip(*directory.claims(), strict=True)) or [(), (), ()]
            rows = await known.read.fetch(reads.UNMAPPED_SITES, namespaces, *claims, known.revision, tenant.brand, limit + 1, offset)
            return {
                "items": [dict(row) for row in rows[:limit]],
                "next_cursor": encode_page(known.revision, offset + limit) if len(rows) > limit else None,
                "as_of": known.as_of,
            }

    async def policies(self, limit: int, cursor: str | None) -> dict[str, Any]:
        """In order of validity."""
        pinned, offset = decode_page(cursor)
        async with self._books.known(pinned=pinned) as known:
            versions = (await self._books.policies(known.read, known.revision)).versions
            end = offset + limit
            return {
                "items": [policy(p) for p in versions[offset:end]],
                "next_cursor": encode_page(known.revision, end) if end < len(versions) else None,
                "as_of": known.as_of,
            }

    async def policy(self, version: str) -> dict[str, Any]:
        async with self._books.known() as known:
            policies = await self._books.policies(known.read, known.revision)
            found = next((p for p in policies.versions if p.policy_version == version), None)
            if found is None:
                raise not_found(f"政策 {version}", f"policy {version}", "policy.not_found")
            return policy(found) | {"as_of": known.as_of}


def _payout(row: asyncpg.Record, tenant: Tenant, policies: Policies) -> dict[str, Any]:
    key = row["parcel_key"]
    return {
        "payout_id": payout_id(key, row["seq"]),
        "revision": row["revision"],
        "registry_revision": row["registry_revision"],
        "parcel_id": parcel_id(key),
        "brand": row["brand"],
        "waybill_no": None if tenant.masked else row["waybill_no"],
        "scheme": row["scheme"],
        "kind": row["kind"],
        "amount_fen": row["amount_fen"],
        "reverses": None if row["reverses"] is None else payout_id(key, row["reverses"]),
        "adjusts": None if row["adjusts"] is None else payout_id(key, row["adjusts"]),
        "stage": row["stage"],
        "beneficiary_id": row["beneficiary_id"],
        "station_id": row["station_id"],
        "service_date": row["service_date"],
        "posted_at": row["posted_at"],
        "period": row["period"],
        "policy_version": row["policy_version"],
        "rates_status": policies.version(row["policy_version"]).rates_status,
        "reason_codes": row["reason_codes"],
    }


def policy(p: Policy) -> dict[str, Any]:
    """The policy as it was activated, clause by clause."""
    return {
        "policy_version": p.policy_version,
        "county_code": p.county_code,
        "valid_from": p.valid_from,
        "valid_to": p.valid_to,
        "status": "active",
        "sha256": p.sha256,
        "rates_status": p.rates_status,
        "documents": [{"document": d.document, "title": d.title} for d in p.documents],
        "clauses": _clauses(p.clauses),
        "tiers": [{"rate_id": t.rate_id, "scheme": t.scheme, "when": dict(t.when), "amount_fen": t.amount_fen} for t in p.tiers],
        "tables": {name: dict(table) for name, table in p.tables.items()},
        "ceilings": [{"scheme": c.scheme, "limit_fen_per_parcel": c.limit_fen_per_parcel} for c in p.ceilings],
        "published_on": p.published_on,
        "not_below": p.not_below,
        "exhaustion": {scheme: str(rule) for scheme, rule in p.exhaustion.items()},
        "uplink": _uplink(p.uplink) if p.uplink else None,
        "golden": [
            {"name": g.name, "facts": dict(g.facts), "outcome": g.outcome, "reason_codes": g.reason_codes, "amount_fen": g.amount_fen}
            for g in p.golden
        ],
    }


def _uplink(uplink: Uplink) -> dict[str, Any]:
    return {
        "at_most_fen": uplink.at_most_fen,
        "min_parcels": uplink.min_parcels,
        "min_sales_fen": uplink.min_sales_fen,
        "cap_fen": uplink.cap_fen,
        "registered_before": uplink.registered_before,
        "platforms": uplink.platforms,
        "catalogue": uplink.catalogue,
    }


def _clauses(clauses: Sequence[Clause]) -> list[dict[str, Any]]:
    return [
        {
            "clause_id": c.clause_id,
            "scheme": c.scheme,
            "mode": c.mode,
            "condition": c.condition,
            "reason_code": c.reason_code,
            "basis": c.citation.basis,
            "document": c.citation.document,
            "section": c.citation.section,
            "quote": c.citation.quote,
            "title": dict(c.title),
            "how": dict(c.citation.how) if c.citation.how else None,
        }
        for c in clauses
    ]

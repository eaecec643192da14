"""Payouts, holds, unmapped sites and policies: lists that pin their revision."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import asyncpg

from services.subsidy.domain.events import CLOSING_ACTIONS
from services.subsidy.domain.policy import Clause, Policies, Policy
from services.subsidy.repository import reads
from services.subsidy.service.known import Books, Known
from services.subsidy.service.parcels import hold, payout_id
from services.subsidy.service.tenancy import Tenant
from shared.http import decode_cursor, encode_cursor
from shared.identity import parcel_id
from shared.problems import invalid, not_found

Filters = Mapping[str, list[str] | None]


class Cursor:
    """Where a page begins: a revision that all pages share, and the last row of the page before."""

    def __init__(self, text: str | None) -> None:
        self.pinned: int | None = None
        self.after: tuple[int, bytes, int] = (-1, b"", -1)
        if text is None:
            return
        try:
            state = decode_cursor(text)
            self.pinned, (revision, key, seq) = int(state["r"]), state["a"]
            self.after = int(revision), bytes.fromhex(key), int(seq)
        except (KeyError, TypeError, ValueError):
            raise invalid(
                "#query/cursor", "cursor.invalid", "游标无效，请从第一页重新开始。", "This cursor is not ours: begin with the first page."
            ) from None

    def next(self, known: Known, after: tuple[int, bytes, int]) -> str:
        return encode_cursor({"r": known.revision, "a": [after[0], after[1].hex(), after[2]]})


class Lists:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def payouts(
        self, tenant: Tenant, first: date | None, end: date | None, basis: str, filters: Filters, after_revision: int | None, limit: int,
        cursor_text: str | None,
    ) -> dict[str, Any]:  # fmt: skip
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

    async def holds(self, tenant: Tenant, filters: Filters, limit: int, cursor_text: str | None) -> dict[str, Any]:
        cursor = Cursor(cursor_text)
        async with self._books.known(pinned=cursor.pinned) as known:
            rows = await known.read.fetch(
                reads.HOLDS, known.revision, *cursor.after[:2], filters.get("reason_code"), filters.get("station_id"), limit + 1,
                *tenant.restriction,
            )  # fmt: skip
            page = rows[:limit]
            return {
                "items": [_listed_hold(row, tenant) for row in page],
                "redacted": ["waybill_no"] if tenant.masked else [],
                "next_cursor": cursor.next(known, (page[-1]["revision"], page[-1]["parcel_key"], 0)) if len(rows) > limit else None,
                "as_of": known.as_of,
            }

    async def unmapped_sites(self, tenant: Tenant, namespaces: list[str] | None, limit: int, cursor_text: str | None) -> dict[str, Any]:
        """Sites that no station claims, those with the most parcels first."""
        cursor = Cursor(cursor_text)
        async with self._books.known(pinned=cursor.pinned) as known:
            directory = await self._books.directory(known.read, known.registry_revision)
            sites = {s["site_id"]: s for s in await known.read.fetch(reads.SITES, namespaces) if not directory.is_mapped(s["site_id"])}
            counts = await known.read.fetch(reads.SITE_COUNTS, list(sites), sorted(CLOSING_ACTIONS), known.revision, tenant.brand)
            ordered = sorted(counts, key=lambda c: (-c["parcels"], c["site_id"]))
            offset = max(cursor.after[2], 0)
            page = ordered[offset : offset + limit]
            more = offset + limit < len(ordered)
            return {
                "items": [_site(sites[c["site_id"]], c) for c in page],
                "next_cursor": cursor.next(known, (0, b"", offset + limit)) if more else None,
                "as_of": known.as_of,
            }

    async def policies(self) -> dict[str, Any]:
        async with self._books.known() as known:
            policies = await self._books.policies(known.read, known.revision)
            return {"items": [policy(p) for p in policies.versions], "next_cursor": None, "as_of": known.as_of}

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


def _listed_hold(row: asyncpg.Record, tenant: Tenant) -> dict[str, Any]:
    return hold(row) | {
        "parcel_id": parcel_id(row["parcel_key"]),
        "brand": row["brand"],
        "waybill_no": None if tenant.masked else row["waybill_no"],
        "station_id": row["station_id"],
    }


def _site(site: asyncpg.Record, count: asyncpg.Record) -> dict[str, Any]:
    return {
        "namespace": site["namespace"],
        "site_code": site["site_code"],
        "site_name": site["site_name"],
        "parcels": count["parcels"],
        "first_seen_at": count["first_seen_at"],
        "last_seen_at": count["last_seen_at"],
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

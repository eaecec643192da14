"""Budgets: recorded as a batch of partition −1, shown with what the programme has promised."""

from typing import Any

import asyncpg

from services.subsidy.domain.budget import Source, accounts, committed
from services.subsidy.domain.policy import Policies
from services.subsidy.repository import budgets as sql
from services.subsidy.repository import standing
from services.subsidy.schemas import NewBudget
from services.subsidy.service.admin import AdminBatch, admin_batch
from services.subsidy.service.closing_steps import rule_of
from services.subsidy.service.context import policies_of
from services.subsidy.service.known import Books, Known
from shared.problems import Problem, invalid

MAX_LINES = 10_000  # of all budgets that are shown


class Budgets:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def add(self, line: NewBudget, actor: str) -> dict[str, Any]:
        """422: another county's; 409: the document is recorded already."""
        async with admin_batch(self._books.database) as batch:
            await _must_be_ours(batch, line.county_code)
            pool = line.county_code, line.scheme, line.year, line.source
            added = await batch.tx.fetchval(sql.ADD, *pool, line.document, line.amount_fen, *accounts(*pool), batch.batch_no, actor)
            if added is None:
                raise _recorded_already(line)
        async with self._books.known() as known:
            (item,) = await self._items(known, line.scheme, line.year)
            return item | {"as_of": known.as_of}

    async def show(self, scheme: str | None, year: int | None) -> dict[str, Any]:
        async with self._books.known() as known:
            return {"items": await self._items(known, scheme, year), "next_cursor": None, "as_of": known.as_of}

    async def _items(self, known: Known, scheme: str | None, year: int | None) -> list[dict[str, Any]]:
        accrued = {(r["scheme"], r["year"]): r["accrued_fen"] for r in await known.read.fetch(sql.ACCRUED)}
        policies = await self._books.policies(known.read, known.revision)
        pools: dict[tuple[str, str, int], list[asyncpg.Record]] = {}
        for row in await known.read.fetch(sql.LINES, scheme, year, MAX_LINES):
            pools.setdefault((row["county_code"], row["scheme"], row["year"]), []).append(row)
        return [_budget(pool, lines, accrued.get(pool[1:], 0), policies) for pool, lines in pools.items()]


async def _must_be_ours(batch: AdminBatch, county_code: str) -> None:
    ours = policies_of(await standing.policies(batch.tx)).county_code
    if county_code != ours:
        raise invalid(
            "/county_code", "county.foreign", f"本系统只记 {ours} 的账。", f"These books are those of {ours}: another county has its own."
        )


def _recorded_already(line: NewBudget) -> Problem:
    return Problem(
        409,
        "budget.recorded",
        f"《{line.document}》已登记为 {line.year} 年该来源的预算，未重复登记；追加预算请用新的文号。",
        f"{line.document} is recorded for this source and year; nothing was added. More money needs a document of its own.",
    )


def _budget(pool: tuple[str, str, int], lines: list[asyncpg.Record], accrued_fen: int, policies: Policies) -> dict[str, Any]:
    county_code, scheme, year = pool
    amounts = {source: sum(r["amount_fen"] for r in lines if r["source"] == source) for source in Source}
    used = committed(amounts, accrued_fen)
    return {
        "county_code": county_code,
        "scheme": scheme,
        "year": year,
        "exhaustion": rule_of(policies, scheme, year),
        "accrued_fen": accrued_fen,
        "unfunded_fen": max(0, accrued_fen - sum(used.values())),
        "sources": [
            {"source": s, "amount_fen": amounts[s], "committed_fen": used[s], "available_fen": amounts[s] - used[s]} for s in Source
        ],
        "lines": [
            {
                "source": r["source"],
                "amount_fen": r["amount_fen"],
                "document": r["document"],
                "recorded_at": r["recorded_at"],
                "recorded_by": r["actor"],
            }
            for r in lines
        ],
    }

"""Closing a month: open → closing → closed, in short transactions that scans pass between; what was begun is gone on with."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import structlog

from services.subsidy.domain.closing import Status, carried_out, ends
from services.subsidy.repository import batch as batch_sql
from services.subsidy.repository import closing as sql
from services.subsidy.repository import reads, standing
from services.subsidy.service.admin import ADMIN, AdminBatch, admin_batch
from services.subsidy.service.batch import write_ledger
from services.subsidy.service.books import Adjustment, Entries, Line, parcels_of
from services.subsidy.service.closing_steps import Month, Step, steps_of
from services.subsidy.service.context import policies_of
from services.subsidy.service.known import Books
from shared.calendar import month_of
from shared.db import Database, Read
from shared.failpoints import hit
from shared.problems import Problem, not_found

log = structlog.get_logger(__name__)

CHUNK = 5_000  # lines posted in one transaction: the gate is shut meanwhile
MAX_MONTHS = 1_000  # shown at once


class Closings:
    def __init__(self, books: Books) -> None:
        self._books = books
        self._database: Database = books.database

    async def periods(self) -> dict[str, Any]:
        """The months that have lines, newest first."""
        async with self._books.known() as known:
            rows = await sql.months(known.read, None, MAX_MONTHS)
            return {"items": await _shown(known.read, rows), "next_cursor": None, "as_of": known.as_of}

    async def close(self, period: str, actor: str) -> dict[str, Any]:
        """All of it, or what is left of one that was interrupted. 404, 409: nothing was changed."""
        async with _turn(self._database):
            if await self._status(period) is not Status.CLOSING:
                await self._begin(period, actor)
            month = await self._month(period)
            begun = await self._begun(month)
            for name, planned in begun.items():  # first of all: a step that plans forgets what was planned
                await self._finish(name, planned, month)
            for step in await self._steps(month):
                if step.name not in begun:
                    await self._finish(step.name, await self._plan(step, month), month)
            await self._end(period, actor)
        async with self._books.known() as known:
            (item,) = await _shown(known.read, await sql.months(known.read, period, 1))
            return item | {"as_of": known.as_of}

    async def _status(self, period: str) -> Status | None:
        async with self._database.read() as read:
            return await _status(read, period)

    async def _month(self, period: str) -> Month:
        async with self._database.read() as read:
            policies = policies_of(await standing.policies(read))
            return Month(period, policies.county_code or "none", policies)

    async def _begun(self, month: Month) -> dict[str, dict[str, Any]]:
        """Steps that are planned or done, in order; a budget or a policy that came since may have added others, or left one of them out."""
        async with self._database.read() as read:
            return {s["step"]: s for s in (await sql.steps(read, [month.period]))[month.period]}

    async def _steps(self, month: Month) -> list[Step]:
        async with self._database.read() as read:
            return await steps_of(read, month)

    async def _begin(self, period: str, actor: str) -> None:
        """No line joins the month from here on: workers who hold the gate have posted, the others will look at the periods anew."""
        async with admin_batch(self._database) as batch:
            await _must_be_ready(batch, period)
            await batch.tx.execute(sql.SET_STATUS, period, batch.batch_no, Status.CLOSING, actor)
        hit("close.after_closing")

    async def _finish(self, name: str, planned: dict[str, Any], month: Month) -> None:
        """Post what is planned until nothing is left of it."""
        if planned["state"] == "done":
            return
        while await self._post(month):
            hit("close.after_chunk")
        async with admin_batch(self._database) as batch:
            adjusted_fen = await batch.tx.fetchval(sql.POSTED_BY_CLOSE, month.period)
            adjusted_fen -= sum(
                s["adjusted_fen"] for s in (await sql.steps(batch.tx, [month.period]))[month.period] if s["state"] == "done"
            )
            await _note(batch, month, name, "done", planned, adjusted_fen, carried_out(planned["excess_fen"], adjusted_fen))
        hit("close.after_step")

    async def _plan(self, step: Step, month: Month) -> dict[str, Any]:
        async with self._database.write() as tx:
            await tx.execute(sql.FORGET_PLAN, month.period)  # of a close that died before it had said that it has planned
            planned = await step.plan(tx, month)
        hit("close.after_plan")
        async with admin_batch(self._database) as batch:
            lines = await batch.tx.fetchrow(sql.PLANNED, month.period)
            assert lines is not None, "an aggregate is one row"
            found = {"state": "planned", "lines": lines["lines"], **planned._asdict()}
            await _note(batch, month, step.name, "planned", found, lines["fen"], 0)
        hit("close.after_planned")
        return found

    async def _post(self, month: Month) -> bool:
        """The next lines of the plan -> whether there were any. A line that has been reversed since it was planned is left out."""
        async with admin_batch(self._database) as batch:
            tx = batch.tx
            await tx.execute(batch_sql.BY_KEY)
            planned = await sql.take_planned(tx, month.period, CHUNK)
            if not planned:
                return False
            entries = Entries(ADMIN, batch.batch_no, month.county_code, await tx.fetchval(sql.CLOCK), None)
            keys, seqs = [p["parcel_key"] for p in planned], [p["seq"] for p in planned]
            parcels = parcels_of(await tx.fetch(batch_sql.PARCELS, keys))
            lines = {(r["parcel_key"], r["seq"]): Line._make(r) for r in await tx.fetch(batch_sql.LINES, keys, seqs)}
            for p in planned:
                parcel = parcels[p["parcel_key"]]
                if parcel.live_seq == p["seq"]:
                    by = Adjustment(p["kind"], p["amount_fen"], p["reason_code"])
                    entries.adjust(parcel, lines[p["parcel_key"], p["seq"]], by, month.period)
            await write_ledger(tx, entries)
        return True

    async def _end(self, period: str, actor: str) -> None:
        hit("close.before_closed")
        async with admin_batch(self._database) as batch:
            await batch.tx.execute(sql.SET_STATUS, period, batch.batch_no, Status.CLOSED, actor)
        log.info("period.closed", period=period, actor=actor)


@contextlib.asynccontextmanager
async def _turn(database: Database) -> AsyncIterator[None]:
    """One close at a time; a process that dies gives its turn back with its connection."""
    async with database.pool.acquire() as pg:
        if not await pg.fetchval(sql.TAKE_TURN, sql.CLOSING):
            raise Problem(
                409,
                "period.closing_now",
                "正在结账中，请稍候，再查询 GET /v1/periods。",
                "A month is being closed at this moment: wait, then look at GET /v1/periods.",
            )
        try:
            yield
        finally:
            await pg.execute(sql.END_TURN, sql.CLOSING)


async def _note(batch: AdminBatch, month: Month, step: str, state: str, of: Mapping[str, Any], adjusted_fen: int, carried_fen: int) -> None:
    figures = of["carried_in_fen"], of["excess_fen"], adjusted_fen, of["lines"], carried_fen
    await batch.tx.execute(sql.SET_STEP, month.period, step, state, batch.batch_no, *figures)


async def _status(read: Read, period: str) -> Status | None:
    """None: no line was ever posted into it."""
    rows = await sql.months(read, period, 1)
    return Status(rows[0]["status"]) if rows else None


async def _must_be_ready(batch: AdminBatch, period: str) -> None:
    """404, 409: what has to be done first."""
    tx = batch.tx
    status = await _status(tx, period)
    closed_through = await standing.closed_through(tx)
    if status is Status.CLOSED or (closed_through is not None and period <= closed_through):
        raise Problem(
            409,
            "period.closed",
            f"{period} 已结账，不再变动；之后到达的数据记入下一个未结账月份。",
            f"{period} is closed and does not change any more; late truth is posted into the next open month.",
        )
    if (now := await tx.fetchval(sql.CLOCK)) < ends(period):
        raise Problem(
            409,
            "period.not_over",
            f"{period} 尚未结束，请在 {ends(period):%Y-%m-%d} 零点（北京时间）之后再结账。",
            f"{period} is not over: close it after {ends(period):%Y-%m-%d} 00:00 (Asia/Shanghai); it is {month_of(now.date())} now.",
        )
    if status is None:
        raise not_found(
            f"{period} 的入账记录（该月没有任何补贴明细，无需结账）", f"line posted in {period} (nothing to close)", "period.not_found"
        )
    if (earlier := await tx.fetchval(sql.EARLIER_OPEN, period)) is not None:
        raise Problem(
            409,
            "period.earlier_open",
            f"更早的 {earlier} 还没有结账，请先结 {earlier}。",
            f"{earlier}, which comes before, is not closed: close {earlier} first.",
        )
    if pending := await tx.fetchval(reads.PENDING_NOW):
        raise Problem(
            409,
            "period.reassessments_pending",
            f"还有 {pending} 项重新核定未完成，请等待完成后再结账（as_of.pending_reassessments 为 0）。",
            f"{pending} re-assessments are not done: close it once as_of.pending_reassessments is 0.",
            headers={"Retry-After": "10"},
        )


async def _shown(read: Read, rows: list[asyncpg.Record]) -> list[dict[str, Any]]:
    steps = await sql.steps(read, [r["period"] for r in rows])
    return [_month(row, steps[row["period"]]) for row in rows]


def _month(row: asyncpg.Record, steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "period": row["period"],
        "status": row["status"],
        "parcels": row["parcels"],
        "gross_fen": row["gross_fen"],
        "adjusted_fen": row["adjusted_fen"],
        "net_fen": row["gross_fen"] + row["adjusted_fen"],
        "carried_in_fen": sum(s["carried_in_fen"] for s in steps),
        "carried_out_fen": sum(s["carried_out_fen"] for s in steps),
        "steps": steps,
        "closed_at": row["closed_at"],
        "closed_by": row["closed_by"],
    }

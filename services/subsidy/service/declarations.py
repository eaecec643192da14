"""Declarations (申报) of merchants: a file in, a verdict for each of its rows out; withdrawn as a whole, never changed."""

import asyncio
from base64 import b32encode
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import asyncpg
import structlog

from services.subsidy.domain.declaration import REASONS, Row, Verdict, judge, read_all, repeated_rows
from services.subsidy.domain.declaration_file import rows_of
from services.subsidy.domain.entity_year import reviewed_sales
from services.subsidy.repository import declarations as sql
from services.subsidy.service.admin import admin_batch
from services.subsidy.service.known import Books
from shared.calendar import shanghai_day
from shared.failpoints import hit
from shared.http import bad_cursor, decode_cursor, encode_cursor
from shared.problems import FieldError, Problem, not_found
from shared.tables import Unreadable

log = structlog.get_logger(__name__)

CHUNK = 5_000  # rows judged in one transaction: the gate is shut meanwhile
_ID_BYTES = 15


class Declarations:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def submit(self, merchant_id: str, data: bytes, format_: str, file_name: str | None, actor: str) -> dict[str, Any]:
        """422: the file is refused and nothing was stored. The same file again gives the same declaration, and goes on with what a
        death has left of it. 409: nobody has registered the merchant."""
        today = shanghai_day(datetime.now(UTC))
        try:
            rows = await asyncio.to_thread(lambda: read_all(rows_of(data, format_), today))
        except Unreadable as e:
            raise _refused(e) from None
        digest = sha256(data).digest()
        declaration_id = await self._begin(merchant_id, digest, format_, file_name, len(rows), actor)
        repeated = repeated_rows(rows)
        while await self._judge_next(declaration_id, merchant_id, rows, repeated):
            hit("declaration.after_chunk")
        log.info("declaration.judged", declaration=declaration_id, rows=len(rows), actor=actor)
        return await self.show(merchant_id, declaration_id)

    async def _begin(self, merchant_id: str, digest: bytes, format_: str, file_name: str | None, rows: int, actor: str) -> str:
        async with admin_batch(self._books.database) as batch:
            if not await batch.tx.fetchval(sql.MERCHANT, merchant_id):
                raise Problem(
                    409,
                    "merchant.not_registered",
                    "申报主体尚未登记，请先在登记系统登记。",
                    "Nobody has registered this merchant: register it first.",
                )
            withdrawn = await batch.tx.fetchval(sql.WITHDRAWN_BEFORE, merchant_id, digest)
            declaration_id = _id(merchant_id, digest, withdrawn)
            await batch.tx.execute(sql.ADD, declaration_id, batch.batch_no, merchant_id, format_, file_name, digest, rows, actor)
        return declaration_id

    async def _judge_next(self, declaration_id: str, merchant_id: str, rows: Sequence[Row | Verdict], repeated: frozenset[int]) -> bool:
        """The next rows that nobody has judged -> whether there were any. Under the gate, so that no two files accept one parcel."""
        async with admin_batch(self._books.database) as batch:
            last = await batch.tx.fetchval(sql.JUDGED, declaration_id)
            chunk = [row for row in rows if row.row_no > last][:CHUNK]
            if not chunk:
                return False
            readable = [row for row in chunk if isinstance(row, Row)]
            live = await sql.live(batch.tx, [r.parcel_key for r in readable], [(r.platform, r.order_no) for r in readable])
            verdicts = judge(chunk, live, merchant_id, repeated)
            await sql.add_rows(batch.tx, declaration_id, batch.batch_no, merchant_id, verdicts)
            await batch.reassess([v.row.parcel_key for v in verdicts if v.row and v.verdict == "accepted"])
        return True

    async def withdraw(self, merchant_id: str | None, declaration_id: str, reason: str, actor: str) -> dict[str, Any]:
        """Its rows count no longer; its parcels may be declared again. 404, 409."""
        async with admin_batch(self._books.database) as batch:
            if await batch.tx.fetchrow(sql.ONE, declaration_id, merchant_id) is None:
                raise _no_declaration()
            done = await batch.tx.fetchval(sql.WITHDRAW, declaration_id, merchant_id, batch.batch_no, actor, reason)
            if done is None:
                raise Problem(409, "declaration.withdrawn", "这份申报已经撤回。", "This declaration is withdrawn already.")
            await batch.reassess([row[0] for row in await batch.tx.fetch(sql.ACCEPTED_KEYS, declaration_id)])
        return await self.show(merchant_id, declaration_id)

    async def show(self, merchant_id: str | None, declaration_id: str) -> dict[str, Any]:
        """`merchant_id`: whose declarations the caller may see; None: all."""
        async with self._books.known() as known:
            row = await known.read.fetchrow(sql.ONE, declaration_id, merchant_id)
            if row is None:
                raise _no_declaration()
            return _declaration(row) | {"as_of": known.as_of}

    async def all(self, merchant_id: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        pinned, after = _place(cursor)
        async with self._books.known(pinned=pinned) as known:
            rows = await known.read.fetch(sql.LIST, merchant_id, known.revision, after, limit + 1)
            more = encode_cursor({"r": known.revision, "a": rows[limit - 1]["revision"]}) if len(rows) > limit else None
            return {"items": [_declaration(row) for row in rows[:limit]], "next_cursor": more, "as_of": known.as_of}

    async def rows(
        self, merchant_id: str | None, declaration_id: str, verdicts: list[str] | None, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        """Every row with its verdict, and what its parcel comes to now."""
        _, after = _place(cursor)
        async with self._books.known() as known:
            if await known.read.fetchrow(sql.ONE, declaration_id, merchant_id) is None:
                raise _no_declaration()
            rows = await sql.page(known.read, declaration_id, after, verdicts, limit + 1)
            more = encode_cursor({"r": known.revision, "a": rows[limit - 1]["row_no"]}) if len(rows) > limit else None
            return {"items": [_row(row) for row in rows[:limit]], "next_cursor": more, "as_of": known.as_of}

    async def year(self, merchant_id: str, year: int) -> dict[str, Any]:
        """What an applicant's year has come to so far, and what it still has to. 404: no such merchant, or nothing is paid in that year."""
        async with self._books.known() as known:
            directory = await self._books.directory(known.read, known.registry_revision)
            policies = await self._books.policies(known.read, known.revision)
            merchant = directory.merchants.get(merchant_id)
            uplink = policies.uplink_of(year)
            if merchant is None or uplink is None:
                raise not_found(f"{merchant_id} {year} 年的上行补助", f"uplink year {year} of {merchant_id}", "uplink_year.not_found")
            row = await known.read.fetchrow(sql.YEAR, merchant_id, date(year, 1, 1), date(year + 1, 1, 1))
            assert row is not None, "an aggregate is one row"
            sales_fen = reviewed_sales(merchant, year)
            return {
                "merchant_id": merchant_id,
                "year": year,
                "parcels": row["parcels"],
                "gross_fen": row["gross_fen"],
                "adjusted_fen": row["adjusted_fen"],
                "net_fen": row["gross_fen"] + row["adjusted_fen"],
                "reviewed_sales_fen": sales_fen,
                "min_parcels": uplink.min_parcels,
                "min_sales_fen": uplink.min_sales_fen,
                "cap_fen": uplink.cap_fen,
                "vested": row["parcels"] >= uplink.min_parcels and sales_fen >= uplink.min_sales_fen,
                "as_of": known.as_of,
            }


def _id(merchant_id: str, digest: bytes, withdrawn: int) -> str:
    """Of the merchant and the file, so that sending it twice declares once; a file that was withdrawn may be sent again."""
    raw = sha256(f"{merchant_id}|{withdrawn}|".encode() + digest).digest()[:_ID_BYTES]
    return "dec_" + b32encode(raw).decode().lower()


def _place(cursor: str | None) -> tuple[int | None, int]:
    if cursor is None:
        return None, 0
    match decode_cursor(cursor):
        case {"r": int(pinned), "a": int(after)}:
            return pinned, after
        case _:
            raise bad_cursor()


def _declaration(row: asyncpg.Record) -> dict[str, Any]:
    status = "withdrawn" if row["withdrawn_at"] else "judged" if row["judged"] == row["rows"] else "unfinished"
    return dict(row) | {"status": status}


def _row(row: asyncpg.Record) -> dict[str, Any]:
    zh, en = REASONS[row["reason_code"]] if row["reason_code"] else (None, None)
    return dict(row) | {"zh": zh, "en": en}


def _refused(e: Unreadable) -> Problem:
    whole = FieldError(pointer="", code=e.code, zh=f"{e.zh}。", en=f"{e.en}.")
    return Problem(422, e.code, f"{e.zh}。未存储任何内容。", f"{e.en[0].upper()}{e.en[1:]}. Nothing was stored.", errors=[whole])


def _no_declaration() -> Problem:
    return not_found("申报单", "declaration", "declaration.not_found")

"""What no reader can read does not stop its partition: it is set aside, seen, and read again once the reader was mended (decision 0014)."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import structlog

from services.subsidy.repository import batch as batch_sql
from services.subsidy.repository import set_aside as sql
from services.subsidy.service.admin import admin_batch
from services.subsidy.service.evidence import REASONS, Scan, Unreadable, in_partition, read_value
from services.subsidy.service.known import Books
from shared import telemetry
from shared.db import Write
from shared.http import bad_cursor, decode_cursor, encode_cursor
from shared.log import Batch, Record

log = structlog.get_logger(__name__)


async def set_aside(tx: Write, batch: Batch, unreadable: Sequence[tuple[Record, Unreadable]]) -> None:
    """In the transaction that goes past them, so that each is there once."""
    rows = [
        (batch.partition, record.position, batch.batch_no, why.reason_code, why.detail, sha256(record.value).digest(), record.value)
        for record, why in unreadable
    ]
    await batch_sql.copy(tx, "set_aside", sql.COLUMNS, rows)
    for record, why in unreadable:
        telemetry.WORKER_SET_ASIDE.labels(why.reason_code).inc()
        log.warning("value.set_aside", partition=batch.partition, position=record.position, reason=why.reason_code, detail=why.detail)


async def read_again(tx: Write, batch: Batch, cursor: bytes, limit: int, partitions: int) -> tuple[list[tuple[int, Scan]], bytes, bool]:
    """The next values that the partition has set aside, as this worker reads them -> (scans, cursor after them, whether more follow)."""
    rows = await tx.fetch(sql.STILL, batch.partition, int.from_bytes(cursor, "big") if cursor else -1, limit)
    records = [Record(row["position"], row["value"], read_value(row["value"])) for row in rows]
    scans, _ = in_partition(batch._replace(records=records), partitions)
    await batch_sql.copy(tx, "set_aside_read", sql.READ_COLUMNS, [(batch.partition, position, batch.batch_no) for position, _ in scans])
    return scans, rows[-1]["position"].to_bytes(8, "big") if rows else cursor, len(rows) == limit


class SetAside:
    """What people do with it."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def show(self, reasons: list[str] | None, limit: int, cursor: str | None) -> dict[str, Any]:
        """In the order in which they were set aside; never their content, which may be anything."""
        pinned, after = _place(cursor)
        async with self._books.known(pinned=pinned) as known:
            rows = await known.read.fetch(sql.LIST, known.revision, reasons, *after, limit + 1)
            last = rows[limit - 1] if len(rows) > limit else None
            return {
                "items": [dict(row) | dict(zip(("zh", "en"), REASONS[row["reason_code"]], strict=True)) for row in rows[:limit]],
                "next_cursor": encode_cursor({"r": known.revision, "a": [last["revision"], last["position"]]}) if last else None,
                "as_of": known.as_of,
            }

    async def ask(self, actor: str) -> dict[str, Any]:
        """Have the owner of each partition read them again. What can be read now becomes evidence, the rest stays where it is."""
        async with admin_batch(self._books.database) as batch:
            asked = int((await batch.tx.execute(sql.ASK, batch.batch_no)).rpartition(" ")[2])
        log.info("set_aside.asked", partitions=asked, actor=actor)
        async with self._books.known() as known:
            return {"partitions": asked, "as_of": known.as_of}


def _place(cursor: str | None) -> tuple[int | None, tuple[int, int]]:
    if cursor is None:
        return None, (-1, -1)
    match decode_cursor(cursor):
        case {"r": int(pinned), "a": [int(revision), int(position)]}:
            return pinned, (revision, position)
        case _:
            raise bad_cursor()
